//! How much one peer may bring: names in all, changes and bytes a second. Beyond it the link slows and refuses new names; it never ends.
//!
//! ```text
//! names    known name ─▶ always taken          new name ─▶ taken while there is room, else refused (`limited`)
//! rates    arrived ─▶ owed until … ─▶ committed when it is paid off; more than PACE_MAX owed ─▶ new names refused as well
//! repeats  changes nothing ─▶ costs its peer time, the more the more peers repeat: together they take no more than one may
//! ```
//!
//! Nobody is cut off for a limit: providers that isolated themselves so took whole countries down (Optus, 2023). What is slowed is lost to
//! nobody, since the sender's log waits for its acknowledgement. What is refused the sender offers again once we say that we take all: see
//! [`super::again`].

use super::agreement::Limits;
use super::limits::{BATCH_RECORDS, LIMIT_WARNS_PERCENT, PACE_BURST, PACE_MAX, REDIAL_QUARANTINE, REPEAT_COST, REPEATS_AT_ONCE};
use dialtone_shared::Name;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What all peers of a provider have brought. Links take their [`Share`] of it.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<Peers>);

#[derive(Debug, Default)]
struct Peers {
    /// Whether it is known how many names came from whom.
    counted: bool,
    /// Whether a count is under way.
    counting: bool,
    peers: BTreeMap<Name, Quota>,
}

/// What one peer has brought, over all of its links.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Quota {
    limits: Limits,
    /// Names held that came from it.
    held: u64,
    /// New ones that are on their way into the store.
    coming: u64,
    /// New ones that were stored since a count began, which it may or may not have seen.
    since: Option<u64>,
    /// Until when its changes are paid off at the agreed rate, and its bytes.
    owed: [Duration; 2],
    /// Until when what it repeated is paid off.
    repeats: Duration,
    /// Whether something was refused since there last was room to speak of.
    refusing: bool,
    /// Invalid records of late, and since when.
    invalid: (u64, Duration),
}

/// How near the limit of names is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Level {
    /// Far.
    #[default]
    Well,
    /// Four fifths are taken: the operators should talk.
    Near,
    /// New names are refused.
    Full,
}

/// How a peer stands to its limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Names held that came from it; `None`: not counted yet.
    pub held: Option<u64>,
    /// How near that is to what was agreed.
    pub level: Level,
    /// Whether something was refused and there is no room for it yet.
    pub refusing: bool,
}

impl Quotas {
    /// Those of a store in which nothing is held.
    pub fn of_nothing() -> Arc<Self> {
        let quotas = Self::default();
        quotas.counted(&BTreeMap::new());
        Arc::new(quotas)
    }

    /// Whether it is known how many names came from whom: until then no new name comes in where they are limited.
    pub fn are_counted(&self) -> bool {
        self.lock().counted
    }

    /// A count of the names held, by whom they came from, begins.
    pub fn begin_count(&self) {
        let mut books = self.lock();
        books.counting = true;
        books.peers.values_mut().for_each(|quota| quota.since = Some(0));
    }

    /// The count that began last came to this. What was stored meanwhile counts as not seen by it: rather one too many than too few.
    pub fn counted(&self, held: &BTreeMap<Name, u64>) {
        let mut books = self.lock();
        (books.counted, books.counting) = (true, false);
        for (peer, held) in held {
            books.peers.entry(*peer).or_default().held = *held;
        }
        for (peer, quota) in &mut books.peers {
            if !held.contains_key(peer) {
                quota.held = 0;
            }
            quota.held = quota.held.saturating_add(quota.since.take().unwrap_or_default());
        }
    }

    /// How a peer stands to its limits.
    pub fn standing(&self, peer: &Name) -> Standing {
        let books = self.lock();
        let quota = books.peers.get(peer).cloned().unwrap_or_default();
        Standing {
            held: books.counted.then_some(quota.held),
            level: if books.counted { quota.level() } else { Level::Well },
            refusing: quota.refusing,
        }
    }

    /// The share of a new link with `peer`, which may bring so much.
    pub fn share(self: &Arc<Self>, peer: Name, limits: Limits) -> Share {
        let share = Share {
            quotas: self.clone(),
            peer,
            coming: 0,
        };
        share.limit(limits);
        share
    }

    /// A panic elsewhere leaves counts: still good.
    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quota {
    /// Until when all is paid off, less what may come at once.
    fn paid_at(&self) -> Duration {
        self.owed[0].max(self.owed[1]).saturating_sub(PACE_BURST)
    }

    /// Until when its repeats are paid off, less what may come at once.
    fn repeats_paid_at(&self) -> Duration {
        self.repeats.saturating_sub(REPEAT_COST * REPEATS_AT_ONCE)
    }

    fn arrived(&mut self, entries: usize, bytes: usize, now: Duration) -> Duration {
        let rates = [f64::from(self.limits.changes_per_second), self.limits.bytes_per_second as f64];
        for ((owed, rate), units) in self.owed.iter_mut().zip(rates).zip([entries, bytes]) {
            *owed = if rate > 0.0 {
                // At least a second's worth a day: what nobody could pay off is forgiven in the end.
                (*owed).max(now) + Duration::try_from_secs_f64((units as f64 / rate).min(86_400.0)).unwrap_or_default()
            } else {
                Duration::ZERO
            };
        }
        self.paid_at().clamp(now, now + PACE_MAX)
    }

    fn room(&self, counted: bool, wanted: usize, now: Duration) -> usize {
        if self.paid_at() > now + PACE_MAX {
            return 0;
        }
        let left = match self.limits.names {
            0 => return wanted,
            _ if !counted => 0,
            most => most.saturating_sub(self.held.saturating_add(self.coming)),
        };
        wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn level(&self) -> Level {
        match self.limits.names {
            0 => Level::Well,
            most if self.held >= most => Level::Full,
            most if self.held.saturating_mul(100) >= most.saturating_mul(LIMIT_WARNS_PERCENT) => Level::Near,
            _ => Level::Well,
        }
    }

    /// Whether what was refused may be offered again: once there is room for a batch, or for a twentieth of what was agreed.
    fn reopens(&self, counted: bool, now: Duration) -> bool {
        let most = usize::try_from(self.limits.names).unwrap_or(usize::MAX);
        let wanted = (most / 20).clamp(1, BATCH_RECORDS);
        self.paid_at() <= now && self.room(counted, wanted, now) == wanted
    }
}

/// One link's way to what its peer has brought, and what the link has on its way into the store. When the link is gone, so is that.
#[derive(Debug)]
pub struct Share {
    quotas: Arc<Quotas>,
    peer: Name,
    coming: u64,
}

impl Share {
    /// From now on this may be brought. What is held already stays, however much that is.
    pub fn limit(&self, limits: Limits) {
        self.with(|quota, _| quota.limits = limits);
    }

    /// So many entries arrived, in a frame of so many bytes. Says when they may be committed so that the rates are kept: at the latest
    /// [`PACE_MAX`] from now.
    pub fn arrived(&self, entries: usize, bytes: usize, now: Duration) -> Duration {
        self.with(|quota, _| quota.arrived(entries, bytes, now))
    }

    /// Whether any new name may come in now: if not, none needs to be verified.
    pub fn takes_new(&self, now: Duration) -> bool {
        self.with(|quota, counted| quota.room(counted, 1, now) > 0)
    }

    /// Takes room for at most `wanted` new names, until they are [`Share::settled`]. Says for how many there is.
    pub fn take(&mut self, wanted: usize, now: Duration) -> usize {
        let taken = self.with(|quota, counted| {
            let taken = quota.room(counted, wanted, now);
            quota.coming += taken as u64;
            taken
        });
        self.coming += taken as u64;
        taken
    }

    /// Something was refused.
    pub fn refused(&self) {
        self.with(|quota, _| quota.refusing = true);
    }

    /// So many records arrived that were held already, or outranked: what comes next is acknowledged no faster than repeats may come, and the
    /// window does the rest. Peers that repeat at the same time share what one may.
    pub fn repeated(&self, repeats: u64, now: Duration) {
        if repeats == 0 {
            return;
        }
        let repeaters = self
            .quotas
            .lock()
            .peers
            .values()
            .filter(|quota| quota.repeats_paid_at() > now)
            .count();
        let repeats = u32::try_from(repeats.saturating_mul(repeaters.max(1) as u64)).unwrap_or(u32::MAX);
        self.with(|quota, _| quota.repeats = quota.repeats.max(now).saturating_add(REPEAT_COST.saturating_mul(repeats)));
    }

    /// From when on what comes next may be acknowledged, as far as repeats go.
    pub fn repeats_paid_at(&self) -> Duration {
        self.with(|quota, _| quota.repeats_paid_at())
    }

    /// So many invalid records arrived. Says how many did so of late, on all links.
    pub fn invalid(&self, count: u64, now: Duration) -> u64 {
        self.with(|quota, _| {
            if now >= quota.invalid.1 + REDIAL_QUARANTINE {
                quota.invalid = (0, now);
            }
            quota.invalid.0 = quota.invalid.0.saturating_add(count);
            quota.invalid.0
        })
    }

    /// Of those that had room, `taken` are dealt with, and `stored` of them are held now.
    pub fn settled(&mut self, taken: usize, stored: usize) {
        let taken = (taken as u64).min(self.coming);
        self.coming -= taken;
        self.with(|quota, _| {
            quota.coming = quota.coming.saturating_sub(taken);
            quota.held = quota.held.saturating_add(stored as u64);
            quota.since = quota.since.map(|since| since.saturating_add(stored as u64));
        });
    }

    /// Whether something was refused, and there was no room for it since.
    pub fn is_refusing(&self) -> bool {
        self.with(|quota, _| quota.refusing)
    }

    /// Whether everything that the peer has for us is taken: nothing was refused, or there is room for it again.
    pub fn takes_all(&self, now: Duration) -> bool {
        self.with(|quota, counted| {
            quota.refusing = quota.refusing && !quota.reopens(counted, now);
            !quota.refusing
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Quota, bool) -> T) -> T {
        let mut books = self.quotas.lock();
        let (counted, counting) = (books.counted, books.counting);
        let quota = books.peers.entry(self.peer).or_insert_with(|| Quota {
            since: counting.then_some(0),
            ..Quota::default()
        });
        act(quota, counted)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let coming = self.coming;
        self.with(|quota, _| quota.coming = quota.coming.saturating_sub(coming));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn peer() -> Name {
        Name::key_set([1; 32])
    }

    fn holding(held: u64) -> Arc<Quotas> {
        let quotas = Quotas::of_nothing();
        quotas.counted(&BTreeMap::from([(peer(), held)]));
        quotas
    }

    fn share(limits: Limits, held: u64) -> Share {
        holding(held).share(peer(), limits)
    }

    fn names(names: u64) -> Limits {
        Limits {
            names,
            ..Limits::default()
        }
    }

    fn changes(changes_per_second: u32) -> Limits {
        Limits {
            changes_per_second,
            ..Limits::default()
        }
    }

    fn secs(secs: f64) -> Duration {
        START + Duration::from_secs_f64(secs)
    }

    #[test]
    fn without_limits_everything_passes_at_once() {
        let mut share = share(Limits::default(), 0);
        assert_eq!(share.arrived(1_000_000, 1 << 40, START), START);
        assert_eq!(share.take(1_000_000, START), 1_000_000);
    }

    #[test]
    fn new_names_come_in_up_to_the_limit_counting_those_on_their_way() {
        let quotas = holding(40);
        let mut share = quotas.share(peer(), names(100));
        assert_eq!(share.take(50, START), 50);
        assert_eq!(share.take(50, START), 10, "60 were free, 50 are coming");
        assert!(!share.takes_new(START));
        share.settled(50, 20);
        assert_eq!(share.take(50, START), 30, "30 of the first turned out not to be stored");
        share.settled(40, 40);
        let standing = quotas.standing(&peer());
        assert_eq!((standing.held, standing.level), (Some(100), Level::Full));
        assert_eq!(share.take(1, START), 0);
    }

    #[test]
    fn what_was_on_its_way_when_a_link_broke_takes_no_room_and_two_links_share_one_limit() {
        let quotas = holding(0);
        let [mut first, mut second] = [(); 2].map(|()| quotas.share(peer(), names(100)));
        assert_eq!((first.take(80, START), second.take(80, START)), (80, 20));
        drop(first);
        assert_eq!(second.take(200, START), 80);
        second.settled(100, 100);
        drop(second);
        assert_eq!(quotas.standing(&peer()).held, Some(100));
    }

    #[test]
    fn one_peer_s_flood_takes_nothing_from_another() {
        let quotas = holding(0);
        let other = Name::key_set([2; 32]);
        let (mut flood, mut honest) = (quotas.share(peer(), names(10)), quotas.share(other, names(10)));
        assert_eq!((flood.take(1_000, START), honest.take(10, START)), (10, 10));
    }

    #[test]
    fn nothing_new_comes_in_before_it_is_known_how_much_is_held() {
        let quotas = Arc::new(Quotas::default());
        let (mut limited, mut free) = (quotas.share(peer(), names(100)), quotas.share(Name::key_set([2; 32]), names(0)));
        assert_eq!((limited.take(1, START), free.take(1, START)), (0, 1));
        quotas.begin_count();
        quotas.counted(&BTreeMap::from([(peer(), 99)]));
        assert_eq!(limited.take(9, START), 1);
    }

    #[test]
    fn a_count_misses_nothing_that_was_stored_meanwhile_and_forgets_what_is_gone() {
        let quotas = holding(90);
        let mut share = quotas.share(peer(), names(100));
        quotas.begin_count();
        assert_eq!(share.take(5, START), 5);
        share.settled(5, 5);
        quotas.counted(&BTreeMap::from([(peer(), 10)]));
        assert_eq!(quotas.standing(&peer()).held, Some(15));
        assert_eq!(share.take(100, START), 85, "most of the old ones have ended");
    }

    #[test]
    fn what_comes_too_fast_waits_until_it_is_paid_off() {
        let share = share(changes(100), 0);
        let burst = PACE_BURST.as_secs() as usize * 100;
        assert_eq!(share.arrived(burst, 0, START), START, "a burst passes");
        assert_eq!(share.arrived(250, 0, START), secs(2.5));
        assert_eq!(share.arrived(50, 0, secs(1.0)), secs(3.0));
        assert_eq!(
            share.arrived(100, 0, secs(60.0)),
            secs(60.0),
            "what was owed is paid off by waiting"
        );
    }

    #[test]
    fn bytes_are_limited_as_changes_are_and_the_slower_of_the_two_counts() {
        let limits = Limits {
            bytes_per_second: 1_000,
            ..changes(1_000)
        };
        let burst = PACE_BURST.as_secs() as usize * 1_000;
        assert_eq!(share(limits, 0).arrived(1, burst + 3_000, START), secs(3.0));
    }

    #[test]
    fn nobody_waits_so_long_that_the_sender_would_give_up_and_then_only_new_names_are_refused() {
        let mut share = share(changes(1), 0);
        assert_eq!(share.arrived(10_000, 0, START), START + PACE_MAX);
        assert_eq!(share.take(5, START), 0);
        assert_eq!(share.take(5, secs(10_000.0)), 5, "when it is paid off they come in again");
    }

    #[test]
    fn what_was_refused_is_asked_for_again_when_there_is_room_to_speak_of() {
        let quotas = holding(100);
        let mut share = quotas.share(peer(), names(100));
        assert!(share.takes_all(START), "nothing was refused yet");
        assert_eq!(share.take(1, START), 0);
        share.refused();
        assert!(!share.takes_all(START));
        quotas.counted(&BTreeMap::from([(peer(), 96)]));
        assert!(!share.takes_all(START), "four places are not worth the trouble");
        quotas.counted(&BTreeMap::from([(peer(), 95)]));
        assert!(share.takes_all(START));
        share.refused();
        share.limit(names(0));
        assert!(share.takes_all(START), "the operators agreed on more");
    }

    #[test]
    fn whoever_breaks_off_after_some_invalid_records_begins_no_better_anew_but_old_ones_are_forgotten() {
        let quotas = holding(0);
        assert_eq!(quotas.share(peer(), names(0)).invalid(20, START), 20);
        assert_eq!(quotas.share(peer(), names(0)).invalid(20, START), 40);
        assert_eq!(quotas.share(peer(), names(0)).invalid(1, START + REDIAL_QUARANTINE), 1);
    }

    #[test]
    fn some_repeats_cost_nothing_and_many_as_much_time_as_they_may_take() {
        let repeater = share(names(0), 0);
        repeater.repeated(u64::from(REPEATS_AT_ONCE), START);
        assert!(repeater.repeats_paid_at() <= START);
        repeater.repeated(1_000, START);
        assert_eq!(repeater.repeats_paid_at(), START + REPEAT_COST * 1_000);
        let later = START + secs(60.0);
        repeater.repeated(1, later);
        assert!(repeater.repeats_paid_at() < later, "what is long past is forgotten");
    }

    #[test]
    fn peers_that_repeat_together_take_no_more_than_one_may_and_a_new_link_begins_no_better() {
        let quotas = Quotas::of_nothing();
        let peers: Vec<_> = (1..5).map(|seed| quotas.share(Name::key_set([seed; 32]), names(0))).collect();
        peers.iter().for_each(|peer| peer.repeated(u64::from(REPEATS_AT_ONCE) + 1, START));
        peers.iter().for_each(|peer| peer.repeated(1_000, START));
        let paid_at: Vec<_> = peers.iter().map(Share::repeats_paid_at).collect();
        for (peer, before) in peers.iter().zip(&paid_at) {
            peer.repeated(1_000, START);
            assert_eq!(peer.repeats_paid_at(), *before + REPEAT_COST * 4_000);
        }
        let paid_at: Vec<_> = peers.iter().map(Share::repeats_paid_at).collect();
        let honest = quotas.share(Name::key_set([9; 32]), names(0));
        honest.repeated(u64::from(REPEATS_AT_ONCE) / 4, START);
        assert!(honest.repeats_paid_at() <= START, "who repeats a little waits for nobody");
        let again = quotas.share(Name::key_set([1; 32]), names(0));
        assert_eq!(again.repeats_paid_at(), paid_at[0]);
    }

    #[test]
    fn the_limit_is_announced_before_it_is_reached() {
        let level = |held| {
            let quotas = holding(held);
            let _share = quotas.share(peer(), names(100));
            quotas.standing(&peer()).level
        };
        assert_eq!(
            [level(79), level(80), level(99), level(100)],
            [Level::Well, Level::Near, Level::Near, Level::Full]
        );
        assert_eq!(Quotas::default().standing(&peer()).level, Level::Well);
    }
}
