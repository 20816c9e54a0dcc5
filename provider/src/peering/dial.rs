//! When to dial again, and which of two links between the same providers stays.

use super::limits::{LINK_STEADY, REDIAL_CONFIGURED, REDIAL_FIRST, REDIAL_MAX, REDIAL_QUARANTINE, REDIAL_UNREACHED};
use dialtone_shared::Name;
use dialtone_shared::message::CloseCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Decides when a peer is dialled: pauses double from attempt to attempt, and each is drawn between its half and its whole, so that
/// providers that lost each other at once do not all come back at once.
#[derive(Debug)]
pub struct Dialler {
    rng: StdRng,
    failures: u32,
    due: Duration,
}

impl Dialler {
    /// Dials at once, then as it goes.
    pub fn new(seed: u64, now: Duration) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            failures: 0,
            due: now,
        }
    }

    /// When to dial next, if no link stands then.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// A link ended that stood for `stood` (`None`: it never did), with this code (`None`: the network).
    pub fn ended(&mut self, now: Duration, stood: Option<Duration>, code: Option<CloseCode>) {
        if stood.is_some_and(|stood| stood >= LINK_STEADY) {
            self.failures = 0;
        }
        let pause = match code.map_or(Patience::BackOff, patience) {
            Patience::BackOff => {
                let doubled = REDIAL_FIRST.saturating_mul(1 << self.failures.min(16));
                // Who does not answer is spared nothing by longer pauses; who does, and cannot keep a link, is.
                let unreached = stood.is_none() && code.is_none();
                let longest = if unreached { REDIAL_UNREACHED } else { REDIAL_MAX };
                if doubled < longest {
                    self.failures += 1;
                }
                doubled.min(longest)
            }
            Patience::Configured => REDIAL_CONFIGURED,
            Patience::Quarantine => REDIAL_QUARANTINE,
        };
        self.due = now + pause.mul_f64(self.rng.random_range(0.5..=1.0));
    }
}

/// How long to leave a peer alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// It may pass by itself, soon.
    BackOff,
    /// Someone has to change a setting.
    Configured,
    /// It did harm, or its clock is wrong.
    Quarantine,
}

/// What a close calls for, whichever side said it.
pub fn patience(code: CloseCode) -> Patience {
    match code {
        CloseCode::Stopping | CloseCode::Duplicate | CloseCode::Hold | CloseCode::Store | CloseCode::Busy | CloseCode::Changed => {
            Patience::BackOff
        }
        CloseCode::Version | CloseCode::NoAgreement | CloseCode::WrongName | CloseCode::BadProof | CloseCode::Disagreement => {
            Patience::Configured
        }
        CloseCode::Clock => Patience::Configured,
        CloseCode::Protocol | CloseCode::InvalidRecords => Patience::Quarantine,
    }
}

/// One of two links with the same peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Which {
    /// Whether we dialled it.
    pub dialled: bool,
    /// The peer's process, as it greeted.
    pub boot: [u8; 16],
}

/// Whether a new link takes the place of the one that is up between the same two nodes, each told by its name and the id of its store. Both
/// sides come to the same: the link dialled by the smaller name stays, among nodes of one provider by that of the smaller store. But a
/// link to a process that is gone, or one that its own dialler has replaced, is only left over.
pub fn replaces(own: (&Name, &[u8; 16]), peer: (&Name, &[u8; 16]), standing: Which, new: Which) -> bool {
    if standing.boot != new.boot || standing.dialled == new.dialled {
        return true;
    }
    new.dialled == (own < peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// The pauses after links that ended like this, one after another.
    fn pauses(seed: u64, count: usize, stood: Option<Duration>, code: Option<CloseCode>) -> Vec<Duration> {
        let mut dialler = Dialler::new(seed, secs(0));
        assert_eq!(dialler.due(), secs(0), "the first attempt is made at once");
        let mut now = secs(0);
        let mut next = || {
            dialler.ended(now, stood, code);
            let pause = dialler.due() - now;
            now = dialler.due();
            pause
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_are_spread() {
        for (attempt, pause) in pauses(1, 20, Some(secs(1)), None).into_iter().enumerate() {
            let whole = REDIAL_FIRST.saturating_mul(1 << attempt).min(REDIAL_MAX);
            assert!(pause >= whole / 2 && pause <= whole, "attempt {attempt}: {pause:?}");
        }
        assert_ne!(
            pauses(1, 3, None, None),
            pauses(2, 3, None, None),
            "two providers do not come back at once"
        );
        assert_eq!(pauses(1, 3, None, None), pauses(1, 3, None, None), "one seed is one story");
    }

    #[test]
    fn a_link_that_held_makes_pauses_small_again_and_a_short_one_does_not() {
        assert!(pauses(1, 9, Some(LINK_STEADY), None).iter().all(|pause| *pause <= REDIAL_FIRST));
        assert!(pauses(1, 9, Some(secs(1)), None)[8] >= REDIAL_MAX / 2);
    }

    #[test]
    fn who_does_not_answer_is_tried_every_other_second() {
        let mut dialler = Dialler::new(1, secs(0));
        for _ in 0..10_000 {
            dialler.ended(secs(0), None, None);
            assert!(dialler.due() <= REDIAL_UNREACHED);
        }
        dialler.ended(secs(0), Some(secs(1)), None);
        assert!(
            dialler.due() <= REDIAL_UNREACHED * 2,
            "that it could not be reached is not held against its links"
        );
    }

    #[test]
    fn what_needs_a_person_or_did_harm_waits_longer() {
        for (code, whole) in [
            (CloseCode::Version, REDIAL_CONFIGURED),
            (CloseCode::WrongName, REDIAL_CONFIGURED),
            (CloseCode::Clock, REDIAL_CONFIGURED),
            (CloseCode::InvalidRecords, REDIAL_QUARANTINE),
            (CloseCode::Protocol, REDIAL_QUARANTINE),
        ] {
            assert!(
                pauses(1, 5, None, Some(code))
                    .iter()
                    .all(|pause| *pause >= whole / 2 && *pause <= whole),
                "{code:?}"
            );
        }
    }

    #[test]
    fn both_sides_keep_the_same_one_of_two_links() {
        let (one, two) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let boot = [0; 16];
        // Of two providers, and of two nodes of one.
        for (small, large) in [((&one, &[9; 16]), (&two, &[3; 16])), ((&one, &[3; 16]), (&one, &[9; 16]))] {
            // The small one's link stands and the large one's is new, or the other way round.
            for first_by_small in [true, false] {
                let at = |own, peer| {
                    let standing = (own == small) == first_by_small;
                    let new = !standing;
                    replaces(own, peer, Which { dialled: standing, boot }, Which { dialled: new, boot })
                };
                assert_eq!(at(small, large), at(large, small), "both come to the same");
                assert_eq!(at(small, large), !first_by_small, "the one that the smaller dialled stays");
            }
        }
    }

    #[test]
    fn a_link_left_over_gives_way() {
        let (own, peer) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let (own, peer) = ((&own, &[1; 16]), (&peer, &[2; 16]));
        let which = |dialled, boot| Which { dialled, boot: [boot; 16] };
        assert!(
            replaces(own, peer, which(true, 1), which(false, 2)),
            "the peer's process is another"
        );
        assert!(
            replaces(own, peer, which(false, 1), which(false, 1)),
            "the peer gave its first link up"
        );
    }
}
