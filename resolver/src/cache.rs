//! Answers that may be given again without asking: records for their TTL, absences for seconds. Bounded in entries and in bytes.

use crate::lookup::Moment;
use crate::settings::CACHE_ENTRY_OVERHEAD_BYTES;
use crate::source::Lookup;
use dialtone_shared::limits::TTL_SECS_MAX;
use dialtone_shared::{Name, Rank, Scheme, Ttl, VerifiedRecord};
use lru::LruCache;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A bounded cache of answers. Time is an argument.
#[derive(Debug)]
pub struct Cache {
    entries: LruCache<Name, Entry>,
    /// Names whose changes are told as they happen, and by which watch.
    live: HashMap<Name, u64>,
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
            live: HashMap::new(),
            entries_max,
            bytes: 0,
            bytes_max,
        }
    }

    /// The answer about `name`, with what is left of its TTL; of a record whose every change is told, all of its TTL, however long ago it came.
    pub fn get(&mut self, name: &Name, now: Moment) -> Option<Lookup> {
        let entry = self.entries.get(name)?;
        let left = entry.until.saturating_duration_since(now.instant);
        // The wall clock too: the steady one may stand still while the machine sleeps.
        let expired = entry
            .record
            .as_ref()
            .is_some_and(|record| record.record().expiry().is_some_and(|expiry| expiry <= now.unix));
        let live = entry.record.as_ref().filter(|_| self.live.contains_key(name));
        let ttl = match live {
            Some(record) => record.record().ttl_at(now.unix),
            None => Ttl(u32::try_from(left.as_secs()).unwrap_or(u32::MAX)),
        };
        if expired || (live.is_none() && left.is_zero()) {
            self.forget(name);
            return None;
        }
        Some(match &entry.record {
            Some(record) => Lookup::Found {
                record: record.clone(),
                ttl,
            },
            None => Lookup::Absent { ttl },
        })
    }

    /// The names of the records held that may change, with their ranks, the most recently asked for first.
    pub fn held(&self, most: usize) -> Vec<(Name, Rank)> {
        let records = self.entries.iter().filter_map(|(name, entry)| Some((name, entry.record.as_ref()?)));
        let changing = records.filter(|(name, _)| name.scheme() != Scheme::Content);
        changing.map(|(name, record)| (*name, *record.rank())).take(most).collect()
    }

    /// From now on every change of these names is told, by this watch: their records may be given beyond their TTL, never beyond their expiry.
    pub fn set_live<'a>(&mut self, watch: u64, names: impl Iterator<Item = &'a Name>) {
        self.live.extend(names.map(|name| (*name, watch)));
    }

    /// This watch tells nothing any more: TTLs rule again. Says for which names.
    pub fn end_live(&mut self, watch: u64) -> Vec<Name> {
        self.live.extract_if(|_, by| *by == watch).map(|(name, _)| name).collect()
    }

    /// This watch tells nothing of this name.
    pub fn end_live_of(&mut self, watch: u64, name: &Name) {
        if self.live.get(name) == Some(&watch) {
            self.live.remove(name);
        }
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
    fn what_is_told_of_is_given_beyond_its_ttl_but_not_beyond_its_expiry_nor_once_nothing_is_told() {
        let mut cache = Cache::new(10, 1 << 20);
        let start = moment();
        let record = record_with(1, 10, |body| body.expiry = UnixSecs(NOW.0 + 300));
        let name = *record.name();
        cache.put(&name, found(&record, 60), start);
        assert_eq!(cache.held(10), [(name, *record.rank())]);
        cache.set_live(7, [name].iter());
        let later = |secs| start.after(Duration::from_secs(secs));
        assert_eq!(cache.get(&name, later(70)), Some(found(&record, 60)), "all of its TTL");
        cache.end_live_of(8, &name);
        cache.end_live(8);
        assert!(cache.get(&name, later(80)).is_some(), "another watch has ended");
        assert_eq!(cache.get(&name, later(300)), None, "it has expired");
        cache.put(&name, found(&record, 60), start);
        cache.end_live(7);
        assert_eq!(cache.get(&name, later(70)), None);
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
