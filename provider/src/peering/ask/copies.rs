//! What was learnt by asking: copies of records, which are not held; how long they, and what is held, may be taken for the newest; and the
//! highest rank ever seen of a name, below which nothing is answered again. In memory, bounded; what was not asked for longest goes first.

use super::limits::{COPIES_BYTES_MAX, COPIES_MAX, COPY_OVERHEAD_BYTES};
use super::question::Found;
use crate::store::Class;
use dialtone_shared::{Name, Rank, UnixSecs, VerifiedRecord};
use lru::LruCache;
use std::cmp::Ordering;
use std::time::Duration;

/// Copies, floors, and notes of what is the newest.
#[derive(Debug)]
pub struct Copies {
    entries: LruCache<Name, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// The highest rank seen.
    rank: Rank,
    /// Until when it may be taken for the newest.
    fresh_until: Duration,
    /// The record of that rank; `None`: it is held, or nobody keeps it any more.
    copy: Option<Copy>,
}

/// A record that was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// The record.
    pub record: VerifiedRecord,
    /// Where it was learnt.
    pub class: Class,
    /// How long whoever gave it keeps it.
    pub keep_until: UnixSecs,
}

/// What is known of a name from asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The highest rank seen.
    pub rank: Rank,
    /// How long it may still be taken for the newest.
    pub fresh: Duration,
    /// The record, if it was fetched and somebody keeps it.
    pub copy: Option<Copy>,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            entries: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl Copies {
    /// What is known of `name`.
    pub fn get(&mut self, name: &Name, now: Duration) -> Option<Seen> {
        let entry = self.entries.get(name)?;
        Some(Seen {
            rank: entry.rank,
            fresh: entry.fresh_until.saturating_sub(now),
            copy: entry.copy.clone(),
        })
    }

    /// A record was fetched. One that a higher rank has been seen of is not kept.
    pub fn fetched(&mut self, now: Duration, found: &Found) {
        let copy = Copy {
            record: found.record.clone(),
            class: found.class,
            keep_until: found.keep_until,
        };
        let fresh = Duration::from_secs(u64::from(found.fresh.0));
        self.note(*found.record.name(), *found.record.rank(), now + fresh, Some(copy));
    }

    /// What is at hand of `name`, of this rank, is the newest for so long.
    pub fn confirmed(&mut self, name: &Name, rank: &Rank, fresh_until: Duration) {
        self.note(*name, *rank, fresh_until, None);
    }

    /// Nobody keeps it any more, or it is held now: the copy goes, the floor stays.
    pub fn withdrawn(&mut self, name: &Name) {
        if let Some(entry) = self.entries.get_mut(name)
            && let Some(copy) = entry.copy.take()
        {
            self.bytes -= copy.record.bytes().len();
        }
    }

    fn note(&mut self, name: Name, rank: Rank, fresh_until: Duration, copy: Option<Copy>) {
        let mut entry = Entry { rank, fresh_until, copy };
        if let Some(before) = self.entries.pop(&name) {
            self.bytes -= before.cost();
            let order = match (&before.copy, &entry.copy) {
                (Some(before), Some(new)) => before.record.rank_cmp(&new.record),
                // What is confirmed is at hand, and so the higher of the two.
                _ => before.rank.compare(&entry.rank).unwrap_or(Ordering::Less),
            };
            match order {
                Ordering::Greater => entry = before,
                Ordering::Equal => {
                    entry.fresh_until = entry.fresh_until.max(before.fresh_until);
                    entry.copy = entry.copy.or(before.copy);
                }
                Ordering::Less => {}
            }
        }
        self.bytes += entry.cost();
        self.entries.put(name, entry);
        while self.bytes > COPIES_BYTES_MAX || self.entries.len() > COPIES_MAX {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.bytes -= evicted.cost();
        }
    }

    /// Names of which something is known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is known of any.
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
        COPY_OVERHEAD_BYTES + self.copy.as_ref().map_or(0, |copy| copy.record.bytes().len())
    }
}
