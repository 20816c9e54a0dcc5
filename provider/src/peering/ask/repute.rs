//! How well a peer answers: how long it usually takes, how often it has what is asked for, and whether it answers at all.

use super::limits::{FAILURES_TO_SET_ASIDE, LATENCIES_KEPT, MERIT_HALF_LIFE, PROBE_EVERY, USUAL_MIN, USUAL_UNKNOWN};
use std::time::Duration;

/// What is known of how one peer answers. Times are since some beginning.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Repute {
    /// The last times to answer, in microseconds, in a ring.
    latencies: Vec<u32>,
    next: usize,
    /// Asks and hits, each counting half after a half-life.
    asks: f32,
    hits: f32,
    weighed: Duration,
    /// Failures since the last answer, and when the last was.
    failures: u32,
    failed: Duration,
}

impl Repute {
    /// It answered after `took`; `hit`: with a record.
    pub fn answered(&mut self, now: Duration, took: Duration, hit: bool) {
        self.failures = 0;
        self.took(took);
        self.weigh(now, hit);
    }

    /// It did not answer, or wrongly.
    pub fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.failed = now;
        self.weigh(now, false);
    }

    /// Nobody waits for its answer any more, after `took`. That it was slow must count, or it would for ever be taken to be as quick as it
    /// once was.
    pub fn not_awaited(&mut self, took: Duration) {
        if took > self.usual() {
            self.took(took);
        }
    }

    /// The time within which nine of ten of its last answers came.
    pub fn usual(&self) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let ninth = (sorted.len() * 9).div_ceil(10).saturating_sub(1);
        let usual = sorted.get(ninth).map(|micros| Duration::from_micros(u64::from(*micros)));
        usual.unwrap_or(USUAL_UNKNOWN).max(USUAL_MIN)
    }

    /// How often it has what is asked for, in quarters: finer would only be chance. One that was never asked stands in the middle.
    pub fn merit(&self, now: Duration) -> u8 {
        let fade = self.fade(now);
        let share = (self.hits * fade + 0.5) / (self.asks * fade + 1.0);
        // Between 0 and 1, so between 0 and 4.
        (share * 4.0).round() as u8
    }

    /// Whether it failed so often that it is not asked now.
    pub fn is_aside(&self, now: Duration) -> bool {
        self.failures >= FAILURES_TO_SET_ASIDE && now < self.failed + PROBE_EVERY
    }

    fn took(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        match self.latencies.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.latencies.push(micros),
        }
        self.next = (self.next + 1) % LATENCIES_KEPT;
    }

    fn weigh(&mut self, now: Duration, hit: bool) {
        let fade = self.fade(now);
        self.asks = self.asks * fade + 1.0;
        self.hits = self.hits * fade + f32::from(u8::from(hit));
        self.weighed = now;
    }

    fn fade(&self, now: Duration) -> f32 {
        let lives = now.saturating_sub(self.weighed).as_secs_f32() / MERIT_HALF_LIFE.as_secs_f32();
        (-lives).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_usual_is_what_nine_of_ten_of_the_last_answers_kept_to() {
        let mut repute = Repute::default();
        assert_eq!(repute.usual(), USUAL_UNKNOWN);
        for millis in 1..=30 {
            repute.answered(START, Duration::from_millis(millis), true);
        }
        assert_eq!(repute.usual(), millis(27));
        for _ in 0..LATENCIES_KEPT {
            repute.answered(START, millis(50), true);
        }
        assert_eq!(repute.usual(), millis(50), "what is long ago is forgotten");
        for _ in 0..LATENCIES_KEPT {
            repute.answered(START, Duration::ZERO, true);
        }
        assert_eq!(repute.usual(), USUAL_MIN);
    }

    #[test]
    fn who_grows_slow_is_soon_known_to_be_although_nobody_waits_for_it() {
        let mut repute = Repute::default();
        for _ in 0..LATENCIES_KEPT {
            repute.answered(START, millis(10), true);
        }
        repute.not_awaited(millis(3));
        for _ in 0..3 {
            assert_eq!(repute.usual(), millis(10));
            repute.not_awaited(millis(200));
        }
        repute.not_awaited(millis(200));
        assert_eq!(repute.usual(), millis(200));
    }

    #[test]
    fn what_was_found_counts_less_as_time_goes_by() {
        let mut repute = Repute::default();
        assert_eq!(repute.merit(START), 2, "nothing is known");
        (0..20).for_each(|_| repute.answered(START, millis(1), true));
        assert_eq!(repute.merit(START), 4);
        (0..20).for_each(|_| repute.answered(START, millis(1), false));
        assert_eq!(repute.merit(START), 2);
        let later = START + MERIT_HALF_LIFE * 4;
        (0..20).for_each(|_| repute.answered(later, millis(1), false));
        assert_eq!(repute.merit(later), 0);
        assert_eq!(repute.merit(later + MERIT_HALF_LIFE * 20), 2, "in the end nothing is known again");
    }

    #[test]
    fn who_fails_again_and_again_is_asked_once_a_second_until_it_answers() {
        let mut repute = Repute::default();
        (0..FAILURES_TO_SET_ASIDE).for_each(|_| {
            assert!(!repute.is_aside(START));
            repute.failed(START);
        });
        assert!(repute.is_aside(START));
        assert!(!repute.is_aside(START + PROBE_EVERY), "a probe");
        repute.failed(START + PROBE_EVERY);
        assert!(repute.is_aside(START + PROBE_EVERY));
        repute.answered(START + PROBE_EVERY, millis(1), false);
        assert!(!repute.is_aside(START + PROBE_EVERY));
    }
}
