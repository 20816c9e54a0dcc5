//! Answers that may be given again without asking: records for their TTL, absences for seconds. A record stays a while longer, for when nobody can be
//! asked (RFC 8767). Bounded in entries and in bytes.

use crate::lookup::Moment;
use crate::settings::{CACHE_ENTRY_OVERHEAD_BYTES, PREFETCH_PART, PREFETCH_TTL_MIN, STALE_REST, STALE_TTL};
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
    /// How long a record stays after its TTL.
    stale_max: Duration,
}

#[derive(Debug)]
struct Entry {
    /// `None`: absent.
    record: Option<VerifiedRecord>,
    until: Instant,
    /// For how long it was to be believed when it came.
    ttl: Duration,
    /// Nobody could be asked: until then nobody is asked again.
    rests_until: Option<Instant>,
}

impl Cache {
    /// An empty cache of at most `entries_max` answers and `bytes_max` bytes; 0 keeps nothing. Records stay for `stale_max` after their TTL.
    pub fn new(entries_max: usize, bytes_max: usize, stale_max: Duration) -> Self {
        Self {
            entries: LruCache::unbounded(),
            live: HashMap::new(),
            entries_max,
            bytes: 0,
            bytes_max,
            stale_max,
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
            let stays = !expired && entry.record.is_some() && now.instant < entry.until + self.stale_max;
            if !stays {
                self.forget(name);
            }
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

    /// Whether what is known of `name` is to be believed for little longer, so that it is worth asking for before it is missed.
    pub fn is_soon_over(&self, name: &Name, now: Moment) -> bool {
        self.entries.peek(name).is_some_and(|entry| {
            let left = entry.until.saturating_duration_since(now.instant);
            let rests = entry.rests_until.is_some_and(|until| now.instant < until);
            entry.record.is_some()
                && !rests
                && !self.live.contains_key(name)
                && entry.ttl >= PREFETCH_TTL_MIN
                && left * PREFETCH_PART <= entry.ttl
        })
    }

    /// The record that was held of `name` after its TTL, for when nobody can be asked; and whether it is too early to ask again.
    pub fn stale(&self, name: &Name, now: Moment) -> Option<(VerifiedRecord, Ttl, bool)> {
        let entry = self.entries.peek(name)?;
        let record = entry.record.clone()?;
        let expired = record.record().expiry().is_some_and(|expiry| expiry <= now.unix);
        let rests = entry.rests_until.is_some_and(|until| now.instant < until);
        let ttl = record.record().ttl_at(now.unix).min(STALE_TTL);
        (!expired && now.instant < entry.until + self.stale_max).then_some((record, ttl, rests))
    }

    /// Nobody could be asked of `name`.
    pub fn rest(&mut self, name: &Name, now: Moment) {
        if let Some(entry) = self.entries.peek_mut(name) {
            entry.rests_until = Some(now.instant + STALE_REST);
        }
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
        let ttl = Duration::from_secs(u64::from(ttl.0.min(TTL_SECS_MAX)));
        let entry = Entry {
            record,
            until: now.instant + ttl,
            ttl,
            rests_until: None,
        };
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

    /// Forgets everything, but not which names are told of.
    pub fn forget_all(&mut self) {
        self.entries.clear();
        self.bytes = 0;
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
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
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
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
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
    fn after_its_ttl_a_record_stays_for_when_nobody_can_be_asked_and_never_beyond_its_expiry() {
        let mut cache = Cache::new(10, 1 << 20, Duration::from_secs(600));
        let start = moment();
        let later = |secs| start.after(Duration::from_secs(secs));
        let record = record_with(1, 10, |body| body.expiry = UnixSecs(NOW.0 + 300));
        let name = *record.name();
        cache.put(&name, found(&record, 60), start);
        assert_eq!(cache.get(&name, later(70)), None);
        assert_eq!(cache.stale(&name, later(70)), Some((record.clone(), STALE_TTL, false)));
        cache.rest(&name, later(70));
        assert!(cache.stale(&name, later(71)).is_some_and(|(.., rests)| rests));
        assert!(cache.stale(&name, later(80)).is_some_and(|(.., rests)| !rests));
        assert_eq!(
            cache.stale(&name, later(295)),
            Some((record.clone(), Ttl(5), false)),
            "what is left"
        );
        assert_eq!(cache.stale(&name, later(300)), None, "it has expired");
        // What takes its place is the truth: an absence, or a revocation.
        cache.put(&name, Lookup::Absent { ttl: Ttl(5) }, later(80));
        assert_eq!(cache.stale(&name, later(90)), None);
        let mut short = Cache::new(10, 1 << 20, Duration::from_secs(60));
        short.put(&name, found(&record, 60), start);
        assert_eq!(short.stale(&name, later(120)), None);
        assert_eq!((short.get(&name, later(120)), short.len()), (None, 0));
    }

    #[test]
    fn in_the_last_tenth_of_its_ttl_a_record_is_worth_asking_for_again() {
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
        let start = moment();
        let later = |secs| start.after(Duration::from_secs(secs));
        let record = record(1, 10);
        let name = record.name();
        cache.put(name, found(&record, 60), start);
        assert!(!cache.is_soon_over(name, later(53)) && cache.is_soon_over(name, later(54)));
        cache.rest(name, later(54));
        assert!(!cache.is_soon_over(name, later(55)), "nobody answered a second ago");
        cache.put(name, found(&record, 5), later(55));
        assert!(!cache.is_soon_over(name, later(59)), "for so short it is not worth it");
    }

    #[test]
    fn an_absence_lives_for_seconds_and_dies_when_the_record_comes() {
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
        let start = moment();
        let record = record(1, 10);
        cache.put(record.name(), Lookup::Absent { ttl: Ttl(5) }, start);
        assert_eq!(cache.get(record.name(), start), Some(Lookup::Absent { ttl: Ttl(5) }));
        cache.put(record.name(), found(&record, 60), start);
        assert_eq!(cache.get(record.name(), start), Some(found(&record, 60)));
    }

    #[test]
    fn an_older_answer_that_comes_late_does_not_displace_a_newer_one() {
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
        let (now, old, new) = (moment(), record(1, 10), record(1, 11));
        cache.put(new.name(), found(&new, 60), now);
        assert_eq!(cache.put(old.name(), found(&old, 60), now), found(&new, 60));
        assert_eq!(cache.put(old.name(), Lookup::Absent { ttl: Ttl(5) }, now), found(&new, 60));
        assert_eq!(cache.get(old.name(), now), Some(found(&new, 60)));
    }

    #[test]
    fn a_record_is_not_given_after_its_expiry_even_if_the_steady_clock_stood_still() {
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
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
        let mut few = Cache::new(2, 1 << 20, Duration::ZERO);
        for key in 1..=3 {
            let record = record(key, 10);
            few.put(record.name(), found(&record, 60), now);
        }
        assert_eq!(few.len(), 2);
        assert_eq!(few.get(record(1, 10).name(), now), None, "the least recently used went");
        let mut small = Cache::new(100, 3 * CACHE_ENTRY_OVERHEAD_BYTES, Duration::ZERO);
        for key in 1..=5 {
            let record = record(key, 10);
            small.put(record.name(), found(&record, 60), now);
        }
        assert!(small.len() < 3 && small.bytes() <= 3 * CACHE_ENTRY_OVERHEAD_BYTES);
        let mut none = Cache::new(0, 0, Duration::ZERO);
        none.put(record(1, 10).name(), found(&record(1, 10), 60), now);
        assert!(none.is_empty());
    }

    #[test]
    fn a_ttl_of_nothing_is_not_kept() {
        let mut cache = Cache::new(10, 1 << 20, Duration::ZERO);
        let record = record(1, 10);
        cache.put(record.name(), found(&record, 0), moment());
        assert!(cache.is_empty());
    }
}
