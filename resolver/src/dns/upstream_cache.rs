//! What upstream resolvers said lately: each answer under its own question, apart from everything that is signed (RFC 2308, RFC 9520).
//! Time is an argument.

use crate::dns::forward::{Answered, Asked};
use crate::dns::rcode::UpstreamError;
use crate::dns::settings::{UPSTREAM_CACHE_ENTRIES, UPSTREAM_CACHED_BYTES_MAX, UPSTREAM_FAILURE_SECS};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The answers that are kept.
#[derive(Debug)]
pub struct UpstreamCache(LruCache<Asked, Kept>);

#[derive(Debug)]
struct Kept {
    /// The answer, or that there was none.
    outcome: Option<Arc<Answered>>,
    since: Instant,
    ttl: Duration,
}

impl UpstreamCache {
    /// An empty one.
    pub fn new() -> Self {
        Self(LruCache::new(CACHE_ENTRIES))
    }

    /// What is known of `asked` at `now`: an answer and its age, or that it failed a moment ago.
    pub fn get(&mut self, asked: &Asked, now: Instant) -> Option<Result<(Arc<Answered>, Duration), UpstreamError>> {
        let kept = self.0.get(asked)?;
        let age = now.saturating_duration_since(kept.since);
        if age >= kept.ttl {
            self.0.pop(asked);
            return None;
        }
        Some(match &kept.outcome {
            Some(answered) => Ok((Arc::clone(answered), age)),
            None => Err(UpstreamError::FailedBefore),
        })
    }

    /// Keeps an outcome that came at `now`.
    pub fn put(&mut self, asked: Asked, outcome: &Result<Arc<Answered>, UpstreamError>, now: Instant) {
        let (outcome, ttl) = match outcome {
            Ok(answered) if answered.bytes() > UPSTREAM_CACHED_BYTES_MAX => return,
            Ok(answered) => (Some(Arc::clone(answered)), answered.ttl),
            // Nothing was asked, so nothing was learnt.
            Err(UpstreamError::Busy | UpstreamError::FailedBefore) => return,
            Err(UpstreamError::TimedOut | UpstreamError::Failed | UpstreamError::Untrusted) => (None, UPSTREAM_FAILURE_SECS),
        };
        if ttl > 0 {
            let ttl = Duration::from_secs(u64::from(ttl));
            self.0.put(asked, Kept { outcome, since: now, ttl });
        }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for UpstreamCache {
    fn default() -> Self {
        Self::new()
    }
}

const CACHE_ENTRIES: NonZeroUsize = match NonZeroUsize::new(UPSTREAM_CACHE_ENTRIES) {
    Some(entries) => entries,
    None => NonZeroUsize::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::forward::tests::{answered, asked};
    use crate::dns::settings::UPSTREAM_TTL_SECS_MAX;

    #[test]
    fn what_is_kept_grows_old_and_is_forgotten() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut cache = UpstreamCache::new();
        cache.put(asked("www.example"), &Ok(Arc::new(answered(60))), start);
        let (kept, age) = cache.get(&asked("WWW.example"), at(59)).expect("kept").expect("an answer");
        assert_eq!(kept.records(age).0[0].ttl, 1);
        assert!(cache.get(&asked("www.example"), at(60)).is_none());
        assert!(cache.is_empty());
        // A day at most, whatever it says; with the top bit set too (RFC 8767 §4).
        for ttl in [UPSTREAM_TTL_SECS_MAX + 1, u32::MAX] {
            cache.put(asked("www.example"), &Ok(Arc::new(answered(ttl))), start);
            let (kept, age) = cache.get(&asked("www.example"), at(86_399)).expect("kept").expect("an answer");
            assert_eq!(kept.records(age).0[0].ttl, 1);
            assert!(cache.get(&asked("www.example"), at(86_400)).is_none());
        }
    }

    #[test]
    fn a_failure_is_kept_for_seconds_and_a_refusal_of_ours_not_at_all() {
        let start = Instant::now();
        let mut cache = UpstreamCache::new();
        cache.put(asked("a"), &Err(UpstreamError::TimedOut), start);
        cache.put(asked("b"), &Err(UpstreamError::Busy), start);
        let failed_before = Some(Err(UpstreamError::FailedBefore));
        let after = |secs| start + Duration::from_secs(secs);
        assert_eq!(cache.get(&asked("a"), after(4)), failed_before);
        assert_eq!(cache.get(&asked("a"), after(5)), None);
        assert_eq!(cache.get(&asked("b"), start), None);
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let start = Instant::now();
        let mut cache = UpstreamCache::new();
        let answer = Ok(Arc::new(answered(60)));
        for index in 0..UPSTREAM_CACHE_ENTRIES + 10 {
            cache.put(asked(&format!("n{index}")), &answer, start);
        }
        assert_eq!(cache.len(), UPSTREAM_CACHE_ENTRIES);
        assert!(cache.get(&asked("n9"), start).is_none());
        assert!(cache.get(&asked("n10"), start).is_some());
    }
}
