//! Answers that may be given again without asking: records for their TTL, absences for seconds. Bounded in entries and in bytes.

use crate::lookup::Moment;
use crate::settings::CACHE_ENTRY_OVERHEAD_BYTES;
use crate::source::Lookup;
use dialtone_shared::limits::TTL_SECS_MAX;
use dialtone_shared::{Name, Ttl, VerifiedRecord};
use lru::LruCache;
use std::time::{Duration, Instant};

/// A bounded cache of answers. Time is an argument.
#[derive(Debug)]
pub struct Cache {
    entries: LruCache<Name, Entry>,
    entries_max: usize,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    /// `None`: absent.
    record: Option<VerifiedRecord>,
    until: Instant,
}

impl Cache {
    /// An empty cache of at most `entries_max` answers and `bytes_max` bytes; 0 keeps nothing.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: LruCache::unbounded(),
            entries_max,
            bytes: 0,
            bytes_max,
        }
    }

    /// The answer about `name`, with what is left of its TTL.
    pub fn get(&mut self, name: &Name, now: Moment) -> Option<Lookup> {
        let entry = self.entries.get(name)?;
        let left = entry.until.saturating_duration_since(now.instant);
        // The wall clock too: the steady one may stand still while the machine sleeps.
        let expired = entry
            .record
            .as_ref()
            .is_some_and(|record| record.record().expiry().is_some_and(|expiry| expiry <= now.unix));
        if left.is_zero() || expired {
            self.forget(name);
            return None;
        }
        let ttl = Ttl(u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
        Some(match &entry.record {
            Some(record) => Lookup::Found {
                record: record.clone(),
                ttl,
            },
            None => Lookup::Absent { ttl },
        })
    }

    /// Keeps an answer for its TTL, and says which is to be given: a record that outranks it may have come in meanwhile.
    pub fn put(&mut self, name: &Name, answer: Lookup, now: Moment) -> Lookup {
        let (record, ttl) = match &answer {
            Lookup::Found { record, ttl } => (Some(record.clone()), *ttl),
            Lookup::Absent { ttl } => (None, *ttl),
        };
        if let Some(held @ Lookup::Found { record: better, .. }) = &self.get(name, now)
            && record.as_ref().is_none_or(|record| better.outranks(record))
        {
            return held.clone();
        }
        self.forget(name);
        if ttl.0 == 0 {
            return answer;
        }
        let until = now.instant + Duration::from_secs(u64::from(ttl.0.min(TTL_SECS_MAX)));
        let entry = Entry { record, until };
        self.bytes += entry.cost();
        self.entries.put(*name, entry);
        while self.bytes > self.bytes_max || self.entries.len() > self.entries_max {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.bytes -= evicted.cost();
        }
        answer
    }

    /// Forgets the answer about `name`.
    pub fn forget(&mut self, name: &Name) {
        if let Some(entry) = self.entries.pop(name) {
            self.bytes -= entry.cost();
        }
    }

    /// Answers held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes accounted for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Entry {
    fn cost(&self) -> usize {
        CACHE_ENTRY_OVERHEAD_BYTES + self.record.as_ref().map_or(0, |record| record.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, moment, record, record_with};
    use dialtone_shared::UnixSecs;

    fn found(record: &VerifiedRecord, ttl: u32) -> Lookup {
        Lookup::Found {
            record: record.clone(),
            ttl: Ttl(ttl),
        }
    }

    #[test]
    fn an_answer_lives_for_its_ttl_and_counts_it_down() {
        let mut cache = Cache::new(10, 1 << 20);
        let start = moment();
        let record = record(1, 10);
        cache.put(record.name(), found(&record, 60), start);
        assert_eq!(
            cache.get(record.name(), start.after(Duration::from_secs(20))),
            Some(found(&record, 40))
        );
        assert_eq!(cache.get(record.name(), start.after(Duration::from_secs(60))), None);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn an_absence_lives_for_seconds_and_dies_when_the_record_comes() {
        let mut cache = Cache::new(10, 1 << 20);
        let start = moment();
        let record = record(1, 10);
        cache.put(record.name(), Lookup::Absent { ttl: Ttl(5) }, start);
        assert_eq!(cache.get(record.name(), start), Some(Lookup::Absent { ttl: Ttl(5) }));
        cache.put(record.name(), found(&record, 60), start);
        assert_eq!(cache.get(record.name(), start), Some(found(&record, 60)));
    }

    #[test]
    fn an_older_answer_that_comes_late_does_not_displace_a_newer_one() {
        let mut cache = Cache::new(10, 1 << 20);
        let (now, old, new) = (moment(), record(1, 10), record(1, 11));
        cache.put(new.name(), found(&new, 60), now);
        assert_eq!(cache.put(old.name(), found(&old, 60), now), found(&new, 60));
        assert_eq!(cache.put(old.name(), Lookup::Absent { ttl: Ttl(5) }, now), found(&new, 60));
        assert_eq!(cache.get(old.name(), now), Some(found(&new, 60)));
    }

    #[test]
    fn a_record_is_not_given_after_its_expiry_even_if_the_steady_clock_stood_still() {
        let mut cache = Cache::new(10, 1 << 20);
        let record = record_with(1, 10, |body| body.expiry = UnixSecs(NOW.0 + 30));
        let start = moment();
        cache.put(record.name(), found(&record, 60), start);
        let slept = Moment {
            instant: start.instant,
            unix: UnixSecs(NOW.0 + 31),
        };
        assert_eq!(cache.get(record.name(), slept), None);
    }

    #[test]
    fn it_is_bounded_in_entries_and_in_bytes() {
        let now = moment();
        let mut few = Cache::new(2, 1 << 20);
        for key in 1..=3 {
            let record = record(key, 10);
            few.put(record.name(), found(&record, 60), now);
        }
        assert_eq!(few.len(), 2);
        assert_eq!(few.get(record(1, 10).name(), now), None, "the least recently used went");
        let mut small = Cache::new(100, 3 * CACHE_ENTRY_OVERHEAD_BYTES);
        for key in 1..=5 {
            let record = record(key, 10);
            small.put(record.name(), found(&record, 60), now);
        }
        assert!(small.len() < 3 && small.bytes() <= 3 * CACHE_ENTRY_OVERHEAD_BYTES);
        let mut none = Cache::new(0, 0);
        none.put(record(1, 10).name(), found(&record(1, 10), 60), now);
        assert!(none.is_empty());
    }

    #[test]
    fn a_ttl_of_nothing_is_not_kept() {
        let mut cache = Cache::new(10, 1 << 20);
        let record = record(1, 10);
        cache.put(record.name(), found(&record, 0), moment());
        assert!(cache.is_empty());
    }
}
