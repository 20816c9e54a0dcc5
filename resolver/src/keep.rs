//! Keeping a record alive: when to sign it anew, put it again, look whether it is still there. Events in, steps out.
//!
//! ```text
//! Changed(locators) ─▶ Publish ── Published ─┬─▶ half of its life is over ─▶ Publish
//!                        ▲                   ├─▶ half of a lease is over, or a put failed ─▶ PutAgain(at whom)
//!                        │                   └─▶ now and then ─▶ Look ── Looked ─▶ lost somewhere ─▶ PutAgain
//!                        └── nobody took it: later and later ◀──────────┘ └─▶ somebody else said otherwise ─▶ rest
//! ```
//!
//! After each event [`Keep::poll`] says what to do; while it says [`Step::WaitUntil`] there is nothing to do but to wait.

use dialtone_shared::{Rank, UnixMicros, UnixSecs};

/// A record that is kept alive at some providers.
#[derive(Debug)]
pub struct Keep {
    /// Spreads renewals, so that those of a thousand keepers that started together do not fall together.
    seed: u64,
    /// Something is to be said that is not published.
    is_due: bool,
    /// What somebody else said instead stands: nothing is said until something changes here.
    rests: bool,
    failures: u32,
    not_before: UnixMicros,
    sign_at: Option<UnixMicros>,
    look_at: UnixMicros,
    places: Vec<Place>,
}

/// How it stands with one provider.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// When the record is put there again.
    again_at: Option<UnixMicros>,
    failures: u32,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// What is to be said has changed.
    Changed,
    /// A new record was signed and put; an outcome for each provider.
    Published {
        /// When it stops being served.
        expiry: UnixSecs,
        /// What each provider came to.
        puts: Vec<Outcome>,
    },
    /// The record was put again at these providers, by number.
    PutAgain(Vec<(usize, Outcome)>),
    /// Nothing could be signed or put, and it is worth trying again.
    Failed,
    /// What each provider serves, compared with the record.
    Looked(Vec<Seen>),
    /// Somebody else said otherwise, and it stands.
    Overruled,
}

/// What a put came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Kept until then.
    Kept(UnixSecs),
    /// Not kept, or not known.
    Failed,
}

/// What a provider serves, compared with the record that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The record, or what outranks it and is somebody else's affair.
    There,
    /// Nothing, or an older one.
    Lost,
    /// It did not say.
    Unknown,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Sign and put it; who `insists` overrules what others changed meanwhile.
    Publish {
        /// Because something changed here: whoever moves knows best where it is.
        insists: bool,
    },
    /// Put the same record again at these providers.
    PutAgain(Vec<usize>),
    /// Ask every provider what it serves.
    Look,
    /// Nothing until then.
    WaitUntil(UnixMicros),
}

impl Keep {
    /// A record that is to be published at so many providers.
    pub fn new(providers: usize, seed: u64) -> Self {
        Self {
            seed,
            is_due: true,
            rests: false,
            failures: 0,
            not_before: UnixMicros(0),
            sign_at: None,
            look_at: UnixMicros(0),
            places: vec![Place::default(); providers],
        }
    }

    /// What to do now.
    pub fn poll(&self, now: UnixMicros) -> Step {
        if self.is_due {
            if now >= self.not_before {
                return Step::Publish { insists: true };
            }
            return Step::WaitUntil(self.not_before);
        }
        if self.sign_at.is_some_and(|at| now >= at) {
            if now >= self.not_before {
                return Step::Publish { insists: false };
            }
        } else {
            let due = |(at, place): (usize, &Place)| place.again_at.filter(|again| now >= *again).map(|_| at);
            let due: Vec<usize> = self.places.iter().enumerate().filter_map(due).collect();
            if !due.is_empty() {
                return Step::PutAgain(due);
            }
        }
        if now >= self.look_at {
            return Step::Look;
        }
        let sign_at = self.sign_at.map(|at| at.max(self.not_before));
        let places = self.places.iter().filter_map(|place| place.again_at).filter(|at| *at > now);
        Step::WaitUntil(places.chain(sign_at).fold(self.look_at, Ord::min))
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, now: UnixMicros, event: &Event) {
        match event {
            Event::Changed => {
                self.is_due = true;
                self.rests = false;
                // What failed before may have failed because of what has changed now; and a host that moves every second is not put off.
                self.failures = 0;
                self.not_before = self.not_before.min(after(now, GAP_MICROS));
            }
            Event::Published { expiry, puts } => {
                if !puts.iter().any(|put| matches!(put, Outcome::Kept(_))) {
                    return self.handle(now, &Event::Failed);
                }
                self.is_due = false;
                self.failures = 0;
                self.not_before = after(now, GAP_MICROS);
                self.sign_at = Some(self.halfway(now, *expiry));
                self.look_at = after(now, LOOK_MICROS);
                for (at, put) in puts.iter().enumerate() {
                    self.note(now, at, *put);
                }
            }
            Event::PutAgain(puts) => puts.iter().for_each(|(at, put)| self.note(now, *at, *put)),
            Event::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.not_before = after(now, self.backoff(self.failures));
            }
            Event::Looked(seen) => {
                self.look_at = after(now, LOOK_MICROS);
                for (place, seen) in self.places.iter_mut().zip(seen) {
                    // What waits after a failure goes on waiting: looking is no reason to hurry.
                    if *seen == Seen::Lost && place.failures == 0 && !self.rests {
                        place.again_at = Some(now);
                    }
                }
            }
            Event::Overruled => {
                self.rests = true;
                self.is_due = false;
                self.sign_at = None;
                self.look_at = after(now, LOOK_MICROS);
                self.places.fill(Place::default());
            }
        }
    }

    /// Whether somebody else's word stands.
    pub fn rests(&self) -> bool {
        self.rests
    }

    fn note(&mut self, now: UnixMicros, at: usize, put: Outcome) {
        let again_at = match put {
            Outcome::Kept(until) => self.halfway(now, until),
            Outcome::Failed => {
                let failures = self.places.get(at).map_or(0, |place| place.failures.saturating_add(1));
                after(now, self.backoff(failures))
            }
        };
        if let Some(place) = self.places.get_mut(at) {
            place.again_at = Some(again_at);
            place.failures = match put {
                Outcome::Kept(_) => 0,
                Outcome::Failed => place.failures.saturating_add(1),
            };
        }
    }

    /// Half of the time until then, up to a tenth of it earlier: there is as much time left for trying again.
    fn halfway(&self, now: UnixMicros, until: UnixSecs) -> UnixMicros {
        let left = until.micros().0.saturating_sub(now.0);
        let half = left / 2;
        after(now, (half - half / 10 * self.jitter() / 1_000).max(GAP_MICROS))
    }

    /// 1, 2, 4 … 60 seconds, and up to a quarter more.
    fn backoff(&self, failures: u32) -> u64 {
        let whole = (1_000_000_u64 << failures.saturating_sub(1).min(6)).min(BACKOFF_MAX_MICROS);
        whole + whole / 4 * self.jitter() / 1_000
    }

    /// 0 to 999, always the same for one keeper.
    fn jitter(&self) -> u64 {
        // One round of SplitMix64: neighbouring seeds are far apart.
        let mut x = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 31)) % 1_000
    }
}

/// How a provider's record stands to the one that is kept.
pub fn seen(held: Option<&Rank>, kept: &Rank) -> Seen {
    match held {
        Some(held) if crate::publish::reaches(held, kept) => Seen::There,
        Some(_) | None => Seen::Lost,
    }
}

fn after(now: UnixMicros, micros: u64) -> UnixMicros {
    UnixMicros(now.0.saturating_add(micros))
}

/// Between two publications, in microseconds: a network card that comes and goes is not told to the world each time; a move is told within
/// a second all the same.
const GAP_MICROS: u64 = 250_000;
/// Between two looks at what is served: a provider that lost a record, or came back with an older one, has it again within half a minute.
const LOOK_MICROS: u64 = 15_000_000;
/// The longest pause after failures.
const BACKOFF_MAX_MICROS: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const START: UnixMicros = UnixMicros(1_800_000_000_000_000);

    fn secs(secs: u64) -> UnixMicros {
        after(START, secs * 1_000_000)
    }

    fn until(from_start: u64) -> UnixSecs {
        START.secs().plus(from_start)
    }

    fn published(puts: &[Outcome]) -> Event {
        Event::Published {
            expiry: until(30 * DAY),
            puts: puts.to_vec(),
        }
    }

    fn kept(providers: usize) -> Keep {
        let mut keep = Keep::new(providers, 1);
        keep.handle(START, &published(&vec![Outcome::Kept(until(30 * DAY)); providers]));
        keep
    }

    /// Lives through the waits until something is to be done.
    fn next(keep: &Keep, mut now: UnixMicros) -> (UnixMicros, Step) {
        loop {
            match keep.poll(now) {
                Step::WaitUntil(at) => {
                    assert!(at > now, "a wait that does not end: {keep:?}");
                    now = at;
                }
                step => return (now, step),
            }
        }
    }

    #[test]
    fn it_publishes_at_once_and_whenever_something_changes_within_a_second() {
        let mut keep = Keep::new(2, 1);
        assert_eq!(keep.poll(START), Step::Publish { insists: true });
        keep.handle(START, &published(&[Outcome::Kept(until(DAY)), Outcome::Kept(until(DAY))]));
        assert!(matches!(keep.poll(START), Step::WaitUntil(_)));
        for change in 0..5 {
            let now = secs(change);
            keep.handle(now, &Event::Changed);
            let (at, step) = next(&keep, now);
            assert_eq!(step, Step::Publish { insists: true });
            assert!(at.0 - now.0 < 1_000_000);
            keep.handle(at, &published(&[Outcome::Kept(until(DAY)); 2]));
        }
    }

    #[test]
    fn a_record_is_signed_anew_before_half_of_its_life_is_over_and_never_expires() {
        let mut keep = kept(1);
        let (mut now, mut expires) = (START, until(30 * DAY));
        let mut signed = 0;
        while now < secs(200 * DAY) {
            let (at, step) = next(&keep, now);
            now = at;
            assert!(now.secs() < expires, "it expired");
            match step {
                Step::Publish { insists } => {
                    assert!(!insists, "nothing changed here");
                    signed += 1;
                    expires = now.secs().plus(30 * DAY);
                    let puts = vec![Outcome::Kept(expires)];
                    keep.handle(now, &Event::Published { expiry: expires, puts });
                }
                Step::Look => keep.handle(now, &Event::Looked(vec![Seen::There])),
                Step::PutAgain(at) => keep.handle(now, &Event::PutAgain(at.iter().map(|at| (*at, Outcome::Kept(expires))).collect())),
                Step::WaitUntil(_) => unreachable!("next waits"),
            }
        }
        assert!((12..=16).contains(&signed), "{signed}");
    }

    #[test]
    fn a_short_lease_is_renewed_by_putting_the_same_record_again() {
        let mut keep = Keep::new(2, 1);
        keep.handle(START, &published(&[Outcome::Kept(until(100)), Outcome::Kept(until(30 * DAY))]));
        let (mut now, mut ends) = (START, until(100));
        for _ in 0..20 {
            let (at, step) = next(&keep, now);
            now = at;
            assert!(now.secs() < ends, "the lease ended");
            match step {
                Step::PutAgain(places) => {
                    assert_eq!(places, [0]);
                    ends = now.secs().plus(100);
                    keep.handle(now, &Event::PutAgain(vec![(0, Outcome::Kept(ends))]));
                }
                Step::Look => keep.handle(now, &Event::Looked(vec![Seen::There; 2])),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn where_it_is_lost_it_is_put_again_and_where_nobody_says_it_is_not() {
        let mut keep = kept(3);
        let (now, step) = next(&keep, START);
        assert_eq!((now, step), (secs(15), Step::Look));
        keep.handle(now, &Event::Looked(vec![Seen::Lost, Seen::There, Seen::Unknown]));
        assert_eq!(keep.poll(now), Step::PutAgain(vec![0]));
    }

    #[test]
    fn who_fails_is_tried_later_and_later_and_does_not_hold_up_the_others() {
        let mut keep = Keep::new(2, 1);
        keep.handle(START, &published(&[Outcome::Failed, Outcome::Kept(until(30 * DAY))]));
        let (mut now, mut tries) = (START, Vec::new());
        while tries.len() < 9 {
            let (at, step) = next(&keep, now);
            now = at;
            match step {
                Step::PutAgain(places) => {
                    assert_eq!(places, [0]);
                    tries.push(at.0);
                    keep.handle(now, &Event::PutAgain(vec![(0, Outcome::Failed)]));
                }
                Step::Look => keep.handle(now, &Event::Looked(vec![Seen::Unknown, Seen::There])),
                other => panic!("{other:?}"),
            }
        }
        let pauses: Vec<u64> = tries.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
        assert!(
            pauses.is_sorted() && pauses[0] >= 2 && pauses[7] >= 60 && pauses[7] <= 75,
            "{pauses:?}"
        );
    }

    #[test]
    fn while_nobody_takes_it_it_goes_on_trying_and_a_change_is_tried_at_once() {
        let mut keep = Keep::new(1, 1);
        let mut now = START;
        for _ in 0..10 {
            let (at, step) = next(&keep, now);
            assert_eq!(step, Step::Publish { insists: true });
            keep.handle(at, &published(&[Outcome::Failed]));
            now = at;
        }
        assert!(matches!(keep.poll(now), Step::WaitUntil(at) if at > after(now, 50_000_000)));
        keep.handle(now, &Event::Changed);
        assert!(next(&keep, now).0 <= after(now, 1_000_000));
    }

    #[test]
    fn it_does_not_fight_whoever_said_otherwise_until_it_moves_itself() {
        let mut keep = kept(2);
        keep.handle(secs(1), &Event::Overruled);
        assert!(keep.rests());
        let mut now = secs(1);
        for _ in 0..100 {
            let (at, step) = next(&keep, now);
            assert_eq!(step, Step::Look);
            keep.handle(at, &Event::Looked(vec![Seen::Lost, Seen::There]));
            now = at;
        }
        keep.handle(now, &Event::Changed);
        assert_eq!(next(&keep, now).1, Step::Publish { insists: true });
    }

    #[test]
    fn keepers_that_start_together_do_not_renew_together() {
        let at = |seed| {
            let mut keep = Keep::new(1, seed);
            keep.handle(START, &published(&[Outcome::Kept(until(30 * DAY))]));
            keep.sign_at.unwrap().0
        };
        let mut times: Vec<u64> = (0..100).map(at).collect();
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > 80);
        assert!(times[times.len() - 1] - times[0] > DAY * 1_000_000, "spread over more than a day");
    }
}
