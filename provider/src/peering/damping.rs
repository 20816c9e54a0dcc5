//! Per-name damping of the sending half: a name that changes all the time is sent to the peer now and then, at its latest rank.
//!
//! ```text
//! change ─▶ fewer than DAMP_CHANGES of late? ─yes─▶ sent, and counts for one; what it counts halves every DAMP_HALF_LIFE
//!                        └─no─▶ kept aside; a later change of the name takes its place ─▶ sent as soon as there is room for one more
//! ```
//!
//! The threshold is high and nothing is shut off: low thresholds and long silences once punished the best connected networks most (RFC 7196).
//! Only changes of rank count, so that what several peers bring counts once. What is kept aside is not durable, and need not be: the position
//! that is saved stays before it, see [`Damping::oldest`].

use super::limits::{DAMP_CHANGES, DAMP_HALF_LIFE, DAMP_HELD_MAX, DAMP_NAMES};
use crate::store::{Change, Cursor};
use dialtone_shared::Name;
use std::collections::HashMap;
use std::time::Duration;

/// What is known of the names that were sent of late. At most twice [`DAMP_NAMES`]: whoever has not changed while that many others did
/// is forgotten.
#[derive(Debug, Default)]
pub struct Damping {
    young: HashMap<u64, Score>,
    old: HashMap<u64, Score>,
    held: HashMap<Name, Kept>,
    /// Changes that were kept aside.
    damped: u64,
}

/// How often a name changed of late.
#[derive(Clone, Copy, Debug)]
struct Score {
    /// Changes sent, each worth half after a half-life.
    changes: f64,
    /// As of then.
    at: Duration,
    epoch: u32,
    /// The start of the digest that was sent last.
    digest: u64,
}

/// A change that is kept aside.
#[derive(Debug)]
struct Kept {
    due: Duration,
    change: Change,
}

impl Damping {
    /// Whether a change is sent now; `None`: it is kept aside, and comes out of [`Damping::release`].
    pub fn pass(&mut self, change: Change, now: Duration) -> Option<Change> {
        let (name, rank) = (*change.held.record.name(), *change.held.record.rank());
        if let Some(kept) = self.held.get_mut(&name) {
            if kept.change.held.record.rank().epoch >= rank.epoch && !rank.revoked {
                self.damped += 1;
                kept.change = change;
                return None;
            }
            self.held.remove(&name);
        }
        let (key, digest) = (key(&name), first(&rank.digest));
        let score = self.score(key);
        let changes = score.map_or(0.0, |score| score.decayed(now));
        // A revocation, or a key that takes over from one that may be stolen, waits for nobody.
        let urgent = rank.revoked || score.is_some_and(|score| rank.epoch > score.epoch);
        // The same record with a longer lease or a better class is no new rank.
        let again = score.is_some_and(|score| score.digest == digest);
        if !urgent && !again && changes + 1.0 > DAMP_CHANGES && self.held.len() < DAMP_HELD_MAX {
            let wait = DAMP_HALF_LIFE.mul_f64((changes / (DAMP_CHANGES - 1.0)).log2().max(0.0));
            self.damped += 1;
            self.held.insert(name, Kept { due: now + wait, change });
            return None;
        }
        let changes = if again { changes } else { (changes + 1.0).min(DAMP_CHANGES) };
        let score = Score {
            changes,
            at: now,
            epoch: rank.epoch,
            digest,
        };
        self.set(key, score);
        Some(change)
    }

    /// What was kept aside and is to be sent now: at most `limit`, in the order of their positions.
    pub fn release(&mut self, now: Duration, limit: usize) -> Vec<Change> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let due = self.held.iter().filter(|(_, kept)| kept.due <= now);
        let mut due: Vec<(Cursor, Name)> = due.map(|(name, kept)| (kept.change.cursor, *name)).collect();
        due.sort_unstable();
        due.truncate(limit);
        let released = due.into_iter().filter_map(|(_, name)| {
            let change = self.held.remove(&name)?.change;
            let rank = *change.held.record.rank();
            let key = key(&name);
            let changes = self.score(key).map_or(0.0, |score| score.decayed(now));
            let score = Score {
                changes: (changes + 1.0).min(DAMP_CHANGES),
                at: now,
                epoch: rank.epoch,
                digest: first(&rank.digest),
            };
            self.set(key, score);
            Some(change)
        });
        // Collected here, since each step changes what is known.
        released.collect()
    }

    /// When [`Damping::release`] will have something.
    pub fn due(&self) -> Option<Duration> {
        self.held.values().map(|kept| kept.due).min()
    }

    /// The position of the earliest change that is kept aside: what is saved as the peer's position must stay before it.
    pub fn oldest(&self) -> Option<Cursor> {
        self.held.values().map(|kept| kept.change.cursor).min()
    }

    /// A revocation of the name goes another way: what is kept aside of it is not worth sending any more.
    pub fn forget(&mut self, name: &Name) {
        self.held.remove(name);
    }

    /// Changes that were kept aside so far.
    pub fn damped(&self) -> u64 {
        self.damped
    }

    fn score(&self, key: u64) -> Option<Score> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn set(&mut self, key: u64, score: Score) {
        if self.young.len() >= DAMP_NAMES && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, score);
    }
}

impl Score {
    fn decayed(&self, now: Duration) -> f64 {
        let halvings = now.saturating_sub(self.at).as_secs_f64() / DAMP_HALF_LIFE.as_secs_f64();
        self.changes * (-halvings).exp2()
    }
}

/// Names are digests: eight of their bytes tell them apart well enough to count by.
fn key(name: &Name) -> u64 {
    name.as_bytes().last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn first(digest: &[u8; 32]) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Class, Held};
    use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);

    fn change(name: u32, sequence: u64, cursor: Cursor) -> Change {
        change_of(name, sequence, cursor, false)
    }

    fn change_of(name: u32, sequence: u64, cursor: Cursor, revoked: bool) -> Change {
        let mut seed = [3; 32];
        seed[..4].copy_from_slice(&name.to_be_bytes());
        let secret = SecretKey::from_seed(&seed);
        let live = Body::Live {
            expiry: NOW.plus(1_000),
            ttl: Ttl(60),
            bindings: Vec::new(),
        };
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: UnixMicros(NOW.micros().0 + sequence),
            scope: Vec::new(),
            body: if revoked { Body::Revoked } else { live },
        };
        let held = Held {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Customer,
            keep_until: NOW.plus(1_000),
            from: None,
            account: None,
        };
        Change { cursor, held }
    }

    /// Ten changes a second of one name, for so long: the cursors that were sent, at once or later.
    fn flaps(damping: &mut Damping, secs: u64) -> Vec<Cursor> {
        let mut sent = Vec::new();
        for tick in 0..secs * 10 {
            let now = Duration::from_millis(tick * 100);
            sent.extend(damping.pass(change(1, tick, tick + 1), now).map(|change| change.cursor));
            sent.extend(damping.release(now, 100).into_iter().map(|change| change.cursor));
        }
        sent
    }

    #[test]
    fn a_name_that_flaps_is_sent_about_once_a_second_and_its_last_state_arrives() {
        let mut damping = Damping::default();
        let sent = flaps(&mut damping, 120);
        let burst = DAMP_CHANGES as usize;
        assert!((burst..burst + 130).contains(&sent.len()), "{} of 1,200 changes", sent.len());
        assert!(sent.is_sorted());
        let due = damping.due().expect("the last change waits");
        assert!(due < Duration::from_secs(122), "and not for long: {due:?}");
        let last = damping.release(due, 100);
        assert_eq!(last.last().map(|change| change.cursor), Some(1_200));
        assert_eq!((damping.due(), damping.oldest()), (None, None));
    }

    #[test]
    fn whoever_changes_now_and_then_is_never_kept_waiting() {
        let mut damping = Damping::default();
        for day in 0..1_000 {
            let now = Duration::from_secs(day * 2);
            assert!(damping.pass(change(1, day, day), now).is_some(), "change {day}, one in two seconds");
        }
    }

    #[test]
    fn other_names_do_not_suffer() {
        let mut damping = Damping::default();
        flaps(&mut damping, 60);
        for name in 2..200 {
            assert!(damping.pass(change(name, 1, 5_000), Duration::from_secs(60)).is_some());
        }
    }

    #[test]
    fn the_saved_position_stays_before_what_waits() {
        let mut damping = Damping::default();
        flaps(&mut damping, 30);
        let oldest = damping.oldest().expect("something waits");
        assert!(oldest > 290, "a later change took the place of the earlier: {oldest}");
        assert!(damping.pass(change(1, 9_999, 9_999), Duration::from_secs(30)).is_none());
        assert_eq!(damping.oldest(), Some(9_999));
    }

    #[test]
    fn the_same_record_again_counts_once() {
        let mut damping = Damping::default();
        for cursor in 0..1_000 {
            assert!(
                damping.pass(change(1, 1, cursor), Duration::ZERO).is_some(),
                "a renewal is no new rank"
            );
        }
    }

    #[test]
    fn a_revocation_waits_for_nobody_and_outdates_what_waits() {
        let mut damping = Damping::default();
        flaps(&mut damping, 30);
        let now = Duration::from_secs(30);
        assert!(damping.pass(change_of(1, 9_999, 9_999, true), now).is_some());
        assert_eq!(damping.oldest(), None);
        flaps(&mut damping, 30);
        damping.forget(change(1, 0, 0).held.record.name());
        assert_eq!(damping.release(Duration::from_secs(3_600), 100), Vec::new());
    }

    #[test]
    fn memory_has_an_end_and_beyond_it_changes_are_sent_rather_than_lost() {
        let mut damping = Damping::default();
        let now = Duration::ZERO;
        let names = DAMP_HELD_MAX as u32 + 50;
        let one = change(1, 1, 1);
        for sequence in 0..=DAMP_CHANGES as u64 + 1 {
            for name in 0..names {
                // Signing is slow in a test: only what the table looks at is told apart.
                let mut score = Score {
                    changes: DAMP_CHANGES,
                    at: now,
                    epoch: 0,
                    digest: sequence,
                };
                score.changes -= 0.5;
                damping.set(u64::from(name), score);
            }
        }
        assert!(damping.young.len() + damping.old.len() <= 2 * DAMP_NAMES);
        let mut sent = 0;
        for name in 0..names {
            let mut name_bytes = [0; 33];
            name_bytes.copy_from_slice(one.held.record.name().as_bytes());
            let made = change(name, 7, u64::from(name) + 1);
            let score = Score {
                changes: DAMP_CHANGES,
                at: now,
                epoch: 0,
                digest: 0,
            };
            damping.set(key(made.held.record.name()), score);
            sent += usize::from(damping.pass(made, now).is_some());
        }
        assert_eq!((damping.held.len(), sent), (DAMP_HELD_MAX, 50));
        assert_eq!(damping.release(Duration::from_secs(60), 1_000).len(), DAMP_HELD_MAX);
        for key in 0..3 * DAMP_NAMES as u64 {
            let score = Score {
                changes: 1.0,
                at: now,
                epoch: 0,
                digest: 0,
            };
            damping.set(key, score);
        }
        assert!(damping.young.len() + damping.old.len() <= 2 * DAMP_NAMES);
    }
}
