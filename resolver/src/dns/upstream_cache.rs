//! What upstream resolvers said lately: each answer under its own question, apart from everything that is signed (RFC 2308, RFC 9520), and for
//! bad times the last answers that were had (RFC 8767).
//! Time is an argument.

use crate::dns::domain::Domain;
use crate::dns::forward::{Answered, Asked};
use crate::dns::rcode::UpstreamError;
use crate::dns::settings::{UPSTREAM_CACHE_ENTRIES, UPSTREAM_CACHED_BYTES_MAX, UPSTREAM_FAILURE_SECS, UPSTREAM_STALE_MAX};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The answers that are kept.
#[derive(Debug)]
pub struct UpstreamCache(LruCache<Asked, Kept>);

#[derive(Debug)]
struct Kept {
    /// The last answer, when it came and how long it holds; `None`: there was none.
    answer: Option<(Arc<Answered>, Instant, Duration)>,
    /// Until when there is no use in asking.
    failed_until: Option<Instant>,
}

impl UpstreamCache {
    /// An empty one.
    pub fn new() -> Self {
        Self(LruCache::new(CACHE_ENTRIES))
    }

    /// What is known of `asked` at `now`: an answer and its age, or that it failed a moment ago.
    pub fn get(&mut self, asked: &Asked, now: Instant) -> Option<Result<(Arc<Answered>, Duration), UpstreamError>> {
        let kept = self.0.get(asked)?;
        if let Some((answered, since, ttl)) = &kept.answer {
            let age = now.saturating_duration_since(*since);
            if age < *ttl {
                return Some(Ok((Arc::clone(answered), age)));
            }
        }
        let has_failed = kept.failed_until.is_some_and(|until| now < until);
        if !has_failed && !kept.is_of_use(now) {
            self.0.pop(asked);
        }
        has_failed.then_some(Err(UpstreamError::FailedBefore))
    }

    /// The last answer to `asked`, if its time is over, but not for too long.
    pub fn stale(&mut self, asked: &Asked, now: Instant) -> Option<Arc<Answered>> {
        let kept = self.0.get(asked)?;
        let (answered, since, ttl) = kept.answer.as_ref()?;
        let is_over = now.saturating_duration_since(*since) >= *ttl;
        (is_over && kept.is_of_use(now)).then(|| Arc::clone(answered))
    }

    /// Whether asking for it failed a moment ago: also where there is an answer, which was to be had anew before its time is over.
    pub fn has_failed(&self, asked: &Asked, now: Instant) -> bool {
        let failed_until = self.0.peek(asked).and_then(|kept| kept.failed_until);
        failed_until.is_some_and(|until| now < until)
    }

    /// Keeps an outcome that came at `now`. An answer takes the place of the one before; a failure stands beside it.
    pub fn put(&mut self, asked: Asked, outcome: &Result<Arc<Answered>, UpstreamError>, now: Instant) {
        match outcome {
            // What was is not true any more, and this cannot be kept.
            Ok(answered) if answered.bytes() > UPSTREAM_CACHED_BYTES_MAX || answered.ttl == 0 => {
                self.0.pop(&asked);
            }
            Ok(answered) => {
                let ttl = Duration::from_secs(u64::from(answered.ttl));
                let kept = Kept {
                    answer: Some((Arc::clone(answered), now, ttl)),
                    failed_until: None,
                };
                self.0.put(asked, kept);
            }
            // Nothing was asked, so nothing was learnt.
            Err(UpstreamError::Busy | UpstreamError::FailedBefore) => {}
            Err(UpstreamError::TimedOut | UpstreamError::Failed | UpstreamError::Untrusted) => {
                let answer = self.0.pop(&asked).and_then(|kept| kept.answer);
                let failed_until = Some(now + Duration::from_secs(u64::from(UPSTREAM_FAILURE_SECS)));
                self.0.put(asked, Kept { answer, failed_until });
            }
        }
    }

    /// Forgets what is kept of names that are `meant`, and says of how many questions.
    pub fn forget(&mut self, meant: impl Fn(&Domain) -> bool) -> usize {
        let keys: Vec<Asked> = self
            .0
            .iter()
            .map(|(asked, _)| asked)
            .filter(|asked| meant(&asked.name))
            .cloned()
            .collect();
        keys.iter().filter_map(|asked| self.0.pop(asked)).count()
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

impl Kept {
    /// Whether there is an answer that may still be given, if only for want of another.
    fn is_of_use(&self, now: Instant) -> bool {
        let is_young = |(_, since, ttl): &(_, Instant, Duration)| now.saturating_duration_since(*since) < *ttl + UPSTREAM_STALE_MAX;
        self.answer.as_ref().is_some_and(is_young)
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
        assert!(cache.stale(&asked("www.example"), at(59)).is_none(), "it holds");
        assert!(cache.get(&asked("www.example"), at(60)).is_none());
        assert!(cache.stale(&asked("www.example"), at(60 + 86_399)).is_some());
        assert!(cache.stale(&asked("www.example"), at(60 + 86_400)).is_none());
        assert!(cache.get(&asked("www.example"), at(60 + 86_400)).is_none());
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
    fn a_failure_leaves_the_last_answer_and_an_answer_ends_it() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut cache = UpstreamCache::new();
        cache.put(asked("a"), &Ok(Arc::new(answered(60))), start);
        cache.put(asked("a"), &Err(UpstreamError::TimedOut), at(70));
        assert_eq!(cache.get(&asked("a"), at(71)), Some(Err(UpstreamError::FailedBefore)));
        assert!(cache.stale(&asked("a"), at(71)).is_some());
        assert_eq!(cache.get(&asked("a"), at(75)), None, "asked again");
        cache.put(asked("a"), &Ok(Arc::new(answered(60))), at(76));
        assert!(matches!(cache.get(&asked("a"), at(77)), Some(Ok(_))));
        // One that is not to be kept is the truth all the same.
        cache.put(asked("a"), &Ok(Arc::new(answered(0))), at(140));
        assert!(cache.stale(&asked("a"), at(141)).is_none());
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
