//! What was not found a moment ago: that nobody has a name, or that it could not be said.
//!
//! It is asked only after the store, the pointers and the digests, so whatever a feed brings counts at once. Only questions of clients are
//! remembered, and only clients are answered from here: an absence that is told on would otherwise grow older with every link.

use super::limits::{FAILURE_TTL, NEGATIVE_MAX, NEGATIVE_TTL};
use dialtone_shared::Name;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Absences and failures, bounded; the one not asked for longest goes first.
#[derive(Debug)]
pub struct Negative {
    entries: LruCache<Name, Entry>,
}

#[derive(Debug)]
struct Entry {
    until: Duration,
    /// Peers whose digest had it although they did not.
    false_hits: Vec<u64>,
    /// Why it could not be said; `None`: nobody has it.
    why: Option<String>,
}

/// What is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remembered {
    /// Nobody has it.
    Absent,
    /// It could not be said, and why.
    Unknown(String),
}

impl Default for Negative {
    fn default() -> Self {
        const { assert!(NEGATIVE_MAX > 0) };
        Self {
            entries: LruCache::new(NonZeroUsize::new(NEGATIVE_MAX).unwrap_or(NonZeroUsize::MIN)),
        }
    }
}

impl Negative {
    /// What is remembered of `name`. `hits`: the peers whose digest has it now; one that did not have it then is news.
    pub fn get(&mut self, name: &Name, now: Duration, mut hits: impl Iterator<Item = u64>) -> Option<Remembered> {
        let entry = self.entries.get(name)?;
        if now >= entry.until || hits.any(|hit| !entry.false_hits.contains(&hit)) {
            self.entries.pop(name);
            return None;
        }
        Some(match &entry.why {
            None => Remembered::Absent,
            Some(why) => Remembered::Unknown(why.clone()),
        })
    }

    /// Nobody has it.
    pub fn absent(&mut self, name: Name, now: Duration, false_hits: Vec<u64>) {
        let (until, why) = (now + NEGATIVE_TTL, None);
        self.entries.put(name, Entry { until, false_hits, why });
    }

    /// It could not be said.
    pub fn unknown(&mut self, name: Name, now: Duration, false_hits: Vec<u64>, why: String) {
        let (until, why) = (now + FAILURE_TTL, Some(why));
        self.entries.put(name, Entry { until, false_hits, why });
    }

    /// Somebody has it after all.
    pub fn forget(&mut self, name: &Name) {
        self.entries.pop(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    #[test]
    fn an_absence_is_remembered_for_seconds_and_a_failure_for_one() {
        let (mut negative, name) = (Negative::default(), Name::key_set([1; 32]));
        let at = |negative: &mut Negative, now: Duration| negative.get(&name, now, std::iter::empty());
        assert_eq!(at(&mut negative, NOW), None);
        negative.absent(name, NOW, vec![]);
        assert_eq!(at(&mut negative, NOW + NEGATIVE_TTL / 2), Some(Remembered::Absent));
        assert_eq!(at(&mut negative, NOW + NEGATIVE_TTL), None);
        negative.unknown(name, NOW, vec![], "why".to_owned());
        assert_eq!(at(&mut negative, NOW), Some(Remembered::Unknown("why".to_owned())));
        assert_eq!(at(&mut negative, NOW + FAILURE_TTL), None);
        negative.absent(name, NOW, vec![]);
        negative.forget(&name);
        assert_eq!(at(&mut negative, NOW), None);
    }

    #[test]
    fn a_digest_that_has_the_name_since_ends_it_at_once() {
        let (mut negative, name) = (Negative::default(), Name::key_set([1; 32]));
        negative.absent(name, NOW, vec![7]);
        assert!(negative.get(&name, NOW, [7].into_iter()).is_some(), "that one did not have it");
        assert!(negative.get(&name, NOW, [7, 8].into_iter()).is_none());
        assert!(negative.get(&name, NOW, std::iter::empty()).is_none(), "it is forgotten");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut negative = Negative::default();
        for index in 0..=NEGATIVE_MAX as u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&index.to_be_bytes());
            negative.absent(Name::key_set(digest), NOW, vec![]);
        }
        assert_eq!(negative.entries.len(), NEGATIVE_MAX);
        assert!(negative.get(&Name::key_set([0; 32]), NOW, std::iter::empty()).is_none());
    }
}
