//! What a peer repeats costs it time: whoever pushes what changes nothing is acknowledged no faster than repeats may come, and its window does the rest.

use crate::peering::limits::{REPEAT_COST, REPEATS_AT_ONCE};
use std::time::Duration;

/// How far ahead of its time a peer is with what it repeats (a bucket that leaks, RFC 1633's, told by when it is empty).
#[derive(Debug, Default)]
pub(super) struct Repeats {
    empty_at: Duration,
}

impl Repeats {
    /// So many records came that were held already, or outranked.
    pub fn count(&mut self, repeats: u64, now: Duration) {
        let repeats = u32::try_from(repeats).unwrap_or(u32::MAX);
        self.empty_at = self.empty_at.max(now).saturating_add(REPEAT_COST.saturating_mul(repeats));
    }

    /// From when on what comes next may be acknowledged.
    pub fn ready_at(&self) -> Duration {
        self.empty_at.saturating_sub(REPEAT_COST * REPEATS_AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_repeats_cost_nothing_and_many_as_much_time_as_they_may_take() {
        let (mut repeats, now) = (Repeats::default(), Duration::from_secs(100));
        repeats.count(u64::from(REPEATS_AT_ONCE), now);
        assert!(repeats.ready_at() <= now);
        repeats.count(1_000, now);
        assert_eq!(repeats.ready_at(), now + REPEAT_COST * 1_000);
        let later = now + Duration::from_secs(60);
        repeats.count(1, later);
        assert!(repeats.ready_at() < later, "what is long past is forgotten");
    }
}
