//! How much one peer may bring: names in all, changes and bytes a second. Beyond it the link slows and refuses new names; it never ends.
//!
//! ```text
//! names    known name ─▶ always taken          new name ─▶ taken while there is room, else refused (`limited`)
//! rates    arrived ─▶ owed until … ─▶ committed when it is paid off; more than PACE_MAX owed ─▶ new names refused as well
//! ```
//!
//! Nobody is cut off for a limit: providers that isolated themselves so took whole countries down (Optus, 2023). What is slowed is lost to
//! nobody, since the sender's log waits for its acknowledgement. What is refused is offered again by the sender, see `feed::again`.

use super::limits::{LIMIT_WARNS_PERCENT, PACE_BURST, PACE_MAX};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a peer may bring. 0: without limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Names held that came from it.
    pub names: u64,
    /// Entries a second, whatever becomes of them.
    pub changes_per_second: u32,
    /// Bytes of frames a second.
    pub bytes_per_second: u64,
}

/// What one peer has brought, over all of its links.
#[derive(Clone, PartialEq, Debug)]
pub struct Quota {
    bounds: Bounds,
    /// Names held that came from it; `None`: not counted yet.
    held: Option<u64>,
    /// New ones that are on their way into the store.
    coming: u64,
    /// New ones that were stored since a count began, which it may or may not have seen.
    counting: Option<u64>,
    changes: Owed,
    bytes: Owed,
}

/// How near the limit of names is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Far.
    Well,
    /// Four fifths are taken: the operators should talk.
    Near,
    /// New names are refused.
    Full,
}

/// What is owed of a rate: until when it is paid off at the steady rate.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Owed {
    until: Duration,
}

impl Quota {
    /// Nothing came yet. `held`: how many names of its are held; `None`: that is being counted.
    pub fn new(bounds: Bounds, held: Option<u64>) -> Self {
        Self {
            bounds,
            held,
            coming: 0,
            counting: None,
            changes: Owed::default(),
            bytes: Owed::default(),
        }
    }

    /// From now on these count. Names that are held already are kept, however few may be.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// A count of the names held begins.
    pub fn begin_count(&mut self) {
        self.counting = Some(0);
    }

    /// The count that began last came to this. What was stored meanwhile counts as not seen by it: rather one too many than too few.
    pub fn counted(&mut self, held: u64) {
        self.held = Some(held.saturating_add(self.counting.take().unwrap_or_default()));
    }

    /// Entries arrived, in a frame of so many bytes.
    pub fn arrived(&mut self, entries: usize, bytes: usize, now: Duration) {
        self.changes
            .owe(entries as f64, f64::from(self.bounds.changes_per_second), now);
        self.bytes.owe(bytes as f64, self.bounds.bytes_per_second as f64, now);
    }

    /// When what has arrived is paid off, at the latest [`PACE_MAX`] from `now`: what is committed then is within the rates.
    pub fn paid_at(&self, now: Duration) -> Duration {
        let owed = self.changes.until.max(self.bytes.until).saturating_sub(PACE_BURST);
        owed.min(now + PACE_MAX)
    }

    /// How many of `wanted` new names may come in now.
    pub fn room(&self, wanted: usize, now: Duration) -> usize {
        let owed = self.changes.until.max(self.bytes.until).saturating_sub(PACE_BURST);
        if owed > now + PACE_MAX {
            return 0;
        }
        let left = match (self.bounds.names, self.held) {
            (0, _) => return wanted,
            (_, None) => 0,
            (most, Some(held)) => most.saturating_sub(held.saturating_add(self.coming)),
        };
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// How near the limit of names is.
    pub fn level(&self) -> Level {
        match (self.bounds.names, self.held) {
            (0, _) | (_, None) => Level::Well,
            (most, Some(held)) if held >= most => Level::Full,
            (most, Some(held)) if held.saturating_mul(100) >= most.saturating_mul(LIMIT_WARNS_PERCENT) => Level::Near,
            _ => Level::Well,
        }
    }

    /// Names held that came from the peer, if they are counted.
    pub fn held(&self) -> Option<u64> {
        self.held
    }
}

impl Owed {
    fn owe(&mut self, units: f64, per_second: f64, now: Duration) {
        if per_second > 0.0 {
            // A rate that nobody can pay off is as good as one of a day.
            let takes = Duration::try_from_secs_f64((units / per_second).min(86_400.0)).unwrap_or_default();
            self.until = self.until.max(now) + takes;
        }
    }
}

/// What all links of one peer share, and what one of them has on its way into the store. When the link is gone, so is what was on its way.
#[derive(Debug)]
pub struct Share {
    quota: Arc<Mutex<Quota>>,
    coming: u64,
}

impl Share {
    /// The share of a new link.
    pub fn new(quota: Arc<Mutex<Quota>>) -> Self {
        Self { quota, coming: 0 }
    }

    /// As [`Quota::arrived`].
    pub fn arrived(&self, entries: usize, bytes: usize, now: Duration) {
        self.quota().arrived(entries, bytes, now);
    }

    /// As [`Quota::paid_at`].
    pub fn paid_at(&self, now: Duration) -> Duration {
        self.quota().paid_at(now)
    }

    /// Whether any new name may come in now: if not, none needs to be verified.
    pub fn takes_new(&self, now: Duration) -> bool {
        self.quota().room(1, now) > 0
    }

    /// Takes room for at most `wanted` new names, until they are [`Share::settled`]. Says for how many there is.
    pub fn take(&mut self, wanted: usize, now: Duration) -> usize {
        let mut quota = lock(&self.quota);
        let taken = quota.room(wanted, now);
        quota.coming += taken as u64;
        self.coming += taken as u64;
        taken
    }

    /// Of those that had room, `taken` are dealt with, and `stored` of them are held now.
    pub fn settled(&mut self, taken: usize, stored: usize) {
        let taken = (taken as u64).min(self.coming);
        self.coming -= taken;
        let mut quota = lock(&self.quota);
        quota.coming = quota.coming.saturating_sub(taken);
        quota.held = quota.held.map(|held| held.saturating_add(stored as u64));
        quota.counting = quota.counting.map(|counting| counting.saturating_add(stored as u64));
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        lock(&self.quota)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut quota = lock(&self.quota);
        quota.coming = quota.coming.saturating_sub(self.coming);
    }
}

/// A panic elsewhere leaves counts: still good.
fn lock(quota: &Mutex<Quota>) -> MutexGuard<'_, Quota> {
    quota.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn share(bounds: Bounds, held: u64) -> Share {
        Share::new(Arc::new(Mutex::new(Quota::new(bounds, Some(held)))))
    }

    fn names(names: u64) -> Bounds {
        Bounds {
            names,
            ..Bounds::default()
        }
    }

    fn secs(secs: f64) -> Duration {
        START + Duration::from_secs_f64(secs)
    }

    #[test]
    fn without_limits_everything_passes_at_once() {
        let mut share = share(Bounds::default(), 0);
        share.arrived(1_000_000, 1 << 40, START);
        assert!(share.paid_at(START) <= START);
        assert_eq!(share.take(1_000_000, START), 1_000_000);
    }

    #[test]
    fn new_names_come_in_up_to_the_limit_counting_those_on_their_way() {
        let mut share = share(names(100), 40);
        assert_eq!(share.take(50, START), 50);
        assert_eq!(share.take(50, START), 10, "60 were free, 50 are coming");
        assert!(!share.takes_new(START));
        share.settled(50, 20);
        assert_eq!(share.take(50, START), 30, "30 of the first turned out not to be stored");
        share.settled(40, 40);
        let quota = share.quota().clone();
        assert_eq!((quota.held(), quota.level()), (Some(100), Level::Full));
        assert_eq!(share.take(1, START), 0);
    }

    #[test]
    fn what_was_on_its_way_when_a_link_broke_takes_no_room_and_two_links_share_one_limit() {
        let quota = Arc::new(Mutex::new(Quota::new(names(100), Some(0))));
        let (mut first, mut second) = (Share::new(quota.clone()), Share::new(quota.clone()));
        assert_eq!((first.take(80, START), second.take(80, START)), (80, 20));
        drop(first);
        assert_eq!(second.take(200, START), 80);
        second.settled(100, 100);
        drop(second);
        assert_eq!(lock(&quota).held(), Some(100));
    }

    #[test]
    fn nothing_new_comes_in_before_it_is_known_how_much_is_held() {
        let mut share = Share::new(Arc::new(Mutex::new(Quota::new(names(100), None))));
        assert_eq!(share.take(1, START), 0);
        share.quota().begin_count();
        share.quota().counted(99);
        assert_eq!(share.take(9, START), 1);
    }

    #[test]
    fn a_count_misses_nothing_that_was_stored_meanwhile_and_forgets_what_is_gone() {
        let mut share = share(names(100), 90);
        share.quota().begin_count();
        assert_eq!(share.take(5, START), 5);
        share.settled(5, 5);
        share.quota().counted(10);
        assert_eq!(share.quota().held(), Some(15));
        assert_eq!(share.take(100, START), 85, "most of the old ones have ended");
    }

    #[test]
    fn what_comes_too_fast_waits_until_it_is_paid_off() {
        let bounds = Bounds {
            changes_per_second: 100,
            ..Bounds::default()
        };
        let share = share(bounds, 0);
        let burst = PACE_BURST.as_secs() as usize * 100;
        share.arrived(burst, 0, START);
        assert!(share.paid_at(START) <= START, "a burst passes");
        share.arrived(250, 0, START);
        assert_eq!(share.paid_at(START), secs(2.5));
        assert_eq!(share.paid_at(secs(1.0)), secs(2.5));
        share.arrived(100, 0, secs(60.0));
        assert!(share.paid_at(secs(60.0)) <= secs(60.0), "what was owed is paid off by waiting");
    }

    #[test]
    fn bytes_are_limited_as_changes_are_and_the_slower_of_the_two_counts() {
        let bounds = Bounds {
            changes_per_second: 1_000,
            bytes_per_second: 1_000,
            ..Bounds::default()
        };
        let share = share(bounds, 0);
        let burst = PACE_BURST.as_secs() as usize * 1_000;
        share.arrived(1, burst + 3_000, START);
        assert_eq!(share.paid_at(START), secs(3.0));
    }

    #[test]
    fn nobody_waits_so_long_that_the_sender_would_give_up_and_then_only_new_names_are_refused() {
        let bounds = Bounds {
            changes_per_second: 1,
            ..Bounds::default()
        };
        let mut share = share(bounds, 0);
        share.arrived(10_000, 0, START);
        assert_eq!(share.paid_at(START), START + PACE_MAX);
        assert!(PACE_MAX < super::super::limits::HOLD_PATIENCE);
        assert_eq!(share.take(5, START), 0);
        assert_eq!(share.take(5, secs(10_000.0)), 5, "when it is paid off they come in again");
    }

    #[test]
    fn the_limit_is_announced_before_it_is_reached() {
        let level = |held| Quota::new(names(100), Some(held)).level();
        assert_eq!([level(79), level(80), level(99), level(100)], [Level::Well, Level::Near, Level::Near, Level::Full]);
        assert_eq!(Quota::new(names(0), Some(1 << 40)).level(), Level::Well);
    }
}
