//! The pace of a race between addresses (RFC 8305 §5): the next one starts when one has failed, or has not succeeded for a while; whoever
//! succeeds first wins. Time is an argument.
//!
//! ```text
//!            ┌───── a while, or a failure ─────┐
//!            ▼                                 │
//!  start ─▶ try the next ── wait ──────────────┴─ all have failed, or it is too late ─▶ lost
//! ```

use crate::settings::CONNECT_PAUSE;
use std::time::{Duration, Instant};

/// A race.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Race {
    runners: usize,
    started: usize,
    failed: usize,
    next_at: Instant,
    deadline: Instant,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Try this one, beside those before.
    Try(usize),
    /// Wait for one to end, or until then.
    WaitUntil(Instant),
    /// Nobody wins.
    Lost,
}

impl Race {
    /// A race of so many, in their order.
    pub fn new(runners: usize, now: Instant, deadline: Duration) -> Self {
        Self {
            runners,
            started: 0,
            failed: 0,
            next_at: now,
            deadline: now + deadline,
        }
    }

    /// One has failed.
    pub fn failed(&mut self, now: Instant) {
        self.failed += 1;
        self.next_at = now;
    }

    /// What to do next. Poll until it says wait or lost.
    pub fn poll(&mut self, now: Instant) -> Step {
        if now >= self.deadline || self.failed >= self.runners {
            return Step::Lost;
        }
        if self.started == self.runners {
            return Step::WaitUntil(self.deadline);
        }
        if now < self.next_at {
            return Step::WaitUntil(self.next_at.min(self.deadline));
        }
        self.started += 1;
        self.next_at = now + CONNECT_PAUSE;
        Step::Try(self.started - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_starts_after_a_while_or_at_once_after_a_failure() {
        let start = Instant::now();
        let mut race = Race::new(3, start, Duration::from_secs(10));
        assert_eq!(race.poll(start), Step::Try(0));
        assert_eq!(race.poll(start), Step::WaitUntil(start + CONNECT_PAUSE));
        let soon = start + CONNECT_PAUSE / 5;
        race.failed(soon);
        assert_eq!(race.poll(soon), Step::Try(1));
        assert_eq!(race.poll(soon), Step::WaitUntil(soon + CONNECT_PAUSE));
        assert_eq!(race.poll(soon + CONNECT_PAUSE), Step::Try(2));
        assert_eq!(race.poll(soon + CONNECT_PAUSE), Step::WaitUntil(start + Duration::from_secs(10)));
        race.failed(soon);
        race.failed(soon);
        assert_eq!(race.poll(soon), Step::Lost);
    }

    #[test]
    fn it_ends_in_time_and_at_once_without_anybody() {
        let start = Instant::now();
        assert_eq!(Race::new(0, start, Duration::from_secs(1)).poll(start), Step::Lost);
        let mut race = Race::new(2, start, Duration::from_secs(1));
        race.poll(start);
        assert_eq!(race.poll(start + Duration::from_secs(1)), Step::Lost);
    }
}
