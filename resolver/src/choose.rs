//! Which provider to ask first: recent latency, failures in a row, and setting aside those that fail.
//!
//! ```text
//!            answered                 3 failures in a row
//!  Unknown ───────────▶ Measured ─────────────────────────▶ Aside ── answered (a probe, or asked last) ──▶ Measured
//! ```

use crate::settings::{FAILURES_TO_BREAK, PATIENCE_MAX, PATIENCE_MIN, PATIENCE_UNKNOWN};
use std::time::Duration;

/// What is known about how one provider answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Smoothed round trip and its mean deviation (RFC 6298 §2); `None`: never answered.
    latency: Option<(Duration, Duration)>,
    /// Failures since the last answer.
    failures: u32,
}

impl Health {
    /// It answered, `after` so long.
    pub fn answered(&mut self, after: Duration) {
        self.failures = 0;
        self.latency = Some(match self.latency {
            None => (after, after / 2),
            Some((smoothed, deviation)) => ((smoothed * 7 + after) / 8, (deviation * 3 + smoothed.abs_diff(after)) / 4),
        });
    }

    /// It did not answer, or not usefully.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether it is asked last, and probed beside the lookups.
    pub fn is_aside(&self) -> bool {
        self.failures >= FAILURES_TO_BREAK
    }

    /// Its usual round trip.
    pub fn latency(&self) -> Option<Duration> {
        self.latency.map(|(smoothed, _)| smoothed)
    }

    /// How long to wait for it before somebody else is asked as well.
    pub fn patience(&self) -> Duration {
        match self.latency {
            None => PATIENCE_UNKNOWN,
            Some((smoothed, deviation)) => (smoothed + deviation * 4).clamp(PATIENCE_MIN, PATIENCE_MAX),
        }
    }
}

/// In which order to ask: those that answer before those set aside; the unmeasured first, so that everyone gets measured;
/// then the quick before the slow; then as they were listed.
pub fn order(providers: &[Health]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..providers.len()).collect();
    order.sort_by_key(|index| {
        let health = &providers[*index];
        (
            health.is_aside(),
            health.failures > 0 && health.latency.is_none(),
            health.latency().unwrap_or_default(),
        )
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(latencies: &[u64], failures: usize) -> Health {
        let mut health = Health::default();
        latencies.iter().for_each(|millis| health.answered(Duration::from_millis(*millis)));
        (0..failures).for_each(|_| health.failed());
        health
    }

    #[test]
    fn the_quick_are_asked_before_the_slow_and_the_failing_last() {
        let (slow, quick, aside, unknown) = (health(&[80], 0), health(&[3], 1), health(&[1], 3), health(&[], 0));
        assert_eq!(order(&[slow, quick, aside]), [1, 0, 2]);
        assert_eq!(order(&[slow, unknown]), [1, 0], "the unmeasured is measured");
        assert_eq!(order(&[health(&[], 1), slow]), [1, 0], "but not again and again while it fails");
        assert_eq!(order(&[quick, quick]), [0, 1], "as listed");
        assert_eq!(order(&[aside, aside]), [0, 1], "if all fail, all are still asked");
    }

    #[test]
    fn one_answer_brings_a_provider_back() {
        let mut health = health(&[5], 7);
        assert!(health.is_aside());
        health.answered(Duration::from_millis(5));
        assert!(!health.is_aside());
    }

    #[test]
    fn patience_follows_the_usual_latency_within_bounds() {
        assert_eq!(Health::default().patience(), PATIENCE_UNKNOWN);
        assert_eq!(health(&[0; 20], 0).patience(), PATIENCE_MIN);
        assert_eq!(health(&[9_000; 20], 0).patience(), PATIENCE_MAX);
        let usual = health(&[100; 50], 0).patience();
        assert!(
            usual >= Duration::from_millis(100) && usual < Duration::from_millis(120),
            "{usual:?}"
        );
    }
}
