//! When to dial again, and which of two links between the same providers stays.

use super::limits::{LINK_STEADY, REDIAL_CONFIGURED, REDIAL_FIRST, REDIAL_MAX, REDIAL_QUARANTINE};
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
                self.failures += 1;
                doubled.min(REDIAL_MAX)
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
        CloseCode::Stopping | CloseCode::Duplicate | CloseCode::Hold | CloseCode::Store | CloseCode::Busy => Patience::BackOff,
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

/// Whether a new link takes the place of the one that is up. Both sides come to the same: the link dialled by the smaller name
/// stays. But a link to a process that is gone, or one that its own dialler has replaced, is only left over.
pub fn replaces(own: &Name, peer: &Name, standing: Which, new: Which) -> bool {
    if standing.boot != new.boot || standing.dialled == new.dialled {
        return true;
    }
    new.dialled == (own < peer)
}
