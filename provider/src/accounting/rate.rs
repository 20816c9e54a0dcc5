//! So many in a second: the generic cell rate algorithm, whose whole state is one instant.

use dialtone_shared::UnixMicros;

/// How many in a second, and how many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Microseconds between two, at the steady rate.
    interval: u64,
    /// Microseconds' worth that may come at once.
    burst: u64,
}

/// What is remembered of one customer: when all that it was allowed would have come at the steady rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meter {
    earned_until: u64,
}

impl Rate {
    /// `per_second`, with `burst_secs` seconds' worth at once; `None` for 0, which is without limit.
    pub fn new(per_second: u32, burst_secs: u32) -> Option<Self> {
        let interval = 1_000_000_u64.checked_div(u64::from(per_second))?.max(1);
        Some(Self {
            interval,
            burst: interval.max(u64::from(burst_secs) * 1_000_000),
        })
    }
}

impl Meter {
    /// Takes one at `now`, or says in how many microseconds one can be taken.
    ///
    /// # Errors
    /// The microseconds to wait.
    pub fn take(&mut self, rate: &Rate, now: UnixMicros) -> Result<(), u64> {
        // Should the clock have gone back, what was earned is forgotten beyond one burst: nobody is locked out.
        let standing = self.earned_until.clamp(now.0, now.0.saturating_add(rate.burst));
        let after = standing.saturating_add(rate.interval);
        let wait = after.saturating_sub(now.0.saturating_add(rate.burst));
        if wait > 0 {
            return Err(wait);
        }
        self.earned_until = after;
        Ok(())
    }

    /// Gives one back that was taken but cost nothing.
    pub fn give_back(&mut self, rate: &Rate) {
        self.earned_until = self.earned_until.saturating_sub(rate.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const START: u64 = 1_700_000_000 * SECOND;

    fn taken(meter: &mut Meter, rate: &Rate, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| meter.take(rate, UnixMicros(now)).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let rate = Rate::new(10, 5).unwrap();
        let mut meter = Meter::default();
        assert_eq!(taken(&mut meter, &rate, START, 100), 50);
        assert_eq!(taken(&mut meter, &rate, START + SECOND, 100), 10);
        assert_eq!(
            taken(&mut meter, &rate, START + 3600 * SECOND, 100),
            50,
            "no more than a burst is saved up"
        );
    }

    #[test]
    fn who_waits_as_long_as_told_passes() {
        let rate = Rate::new(3, 1).unwrap();
        let mut meter = Meter::default();
        let mut now = START;
        for _ in 0..100 {
            if let Err(wait) = meter.take(&rate, UnixMicros(now)) {
                assert!(wait <= SECOND / 3 + 1, "{wait}");
                now += wait;
                meter.take(&rate, UnixMicros(now)).unwrap();
            }
        }
    }

    #[test]
    fn what_cost_nothing_is_given_back() {
        let rate = Rate::new(1, 1).unwrap();
        let mut meter = Meter::default();
        for _ in 0..10 {
            meter.take(&rate, UnixMicros(START)).unwrap();
            meter.give_back(&rate);
        }
        assert_eq!(taken(&mut meter, &rate, START, 10), 1);
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let rate = Rate::new(1, 5).unwrap();
        let mut meter = Meter::default();
        assert_eq!(taken(&mut meter, &rate, START + 86_400 * SECOND, 5), 5);
        let wait = meter.take(&rate, UnixMicros(START)).unwrap_err();
        assert!(wait <= SECOND, "{wait}");
    }

    #[test]
    fn no_limit_is_no_rate() {
        assert_eq!(Rate::new(0, 5), None);
    }
}
