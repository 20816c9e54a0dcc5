//! When a link looks at the log again: what is put while it rests goes out together.
//!
//! One change after a quiet time goes at once. After that a link rests for a few milliseconds, longer the more peers there are, so that all links together
//! look a few hundred times a second, however fast the log grows. Revocations wait for nobody, and of a link that rests nothing else wakes the task.

use crate::peering::limits::OFFERS_REST_FIRST;
use crate::store::{Cursor, Cursors, Lane};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How a link paces itself.
#[derive(Debug)]
pub(super) struct Pace {
    rest: Duration,
    rests_until: Instant,
    told: Cursors,
    /// Whether what is news is only offered, some time later.
    offers: bool,
}

impl Pace {
    /// That of one of so many links, which knows the log up to `told`.
    pub fn of(links: usize, told: Cursors) -> Self {
        let links = u32::try_from(links).unwrap_or(u32::MAX);
        Self {
            rest: REST_A_LINK.saturating_mul(links).min(REST_MAX),
            rests_until: Instant::now(),
            told,
            offers: false,
        }
    }

    /// From now on the link only offers what is news, or sends it at once.
    pub fn only_offers(&mut self, offers: bool) {
        if !offers && self.offers {
            self.rests_until = Instant::now();
        }
        self.offers = offers;
    }

    /// Waits until the log is to be looked at, and says where it ends then; `None`: nobody writes it any more. `urgent`: where its lane of
    /// revocations ends, told when that moves and maybe a little after `heads`. May be dropped at any time.
    pub async fn next(&mut self, heads: &mut watch::Receiver<Cursors>, urgent: &mut watch::Receiver<Cursor>) -> Option<Cursors> {
        let told = self.told;
        if Instant::now() < self.rests_until {
            tokio::select! {
                moved = urgent.wait_for(|end| *end > told[Lane::Urgent as usize]) => drop(moved.ok()?),
                () = sleep_until(self.rests_until) => {}
            }
        }
        self.told = *heads.wait_for(|heads| *heads != told).await.ok()?;
        self.rests_until = Instant::now() + if self.offers { OFFERS_REST_FIRST } else { self.rest };
        Some(self.told)
    }
}

/// Rest for each link that there is: 200 looks a second, of all of them together.
const REST_A_LINK: Duration = Duration::from_millis(5);

/// Longest rest: what somebody who waits for a change does not notice, also over several providers in a row.
const REST_MAX: Duration = Duration::from_millis(40);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_quiet_time_goes_at_once_and_those_after_it_go_together() {
        let (log, mut heads) = watch::channel([0, 0, 0]);
        let (_revoked, mut urgent) = watch::channel(0);
        let mut pace = Pace::of(4, [0; 3]);
        log.send_replace([0, 1, 0]);
        let began = Instant::now();
        assert_eq!(pace.next(&mut heads, &mut urgent).await, Some([0, 1, 0]));
        assert_eq!(began.elapsed(), Duration::ZERO);
        log.send_replace([0, 2, 0]);
        log.send_replace([0, 3, 0]);
        assert_eq!(pace.next(&mut heads, &mut urgent).await, Some([0, 3, 0]));
        assert!(began.elapsed() >= REST_A_LINK * 4 && began.elapsed() < REST_A_LINK * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_waits_for_nobody() {
        let (log, mut heads) = watch::channel([0, 1, 0]);
        let (revoked, mut urgent) = watch::channel(0);
        let mut pace = Pace::of(1_000, [0; 3]);
        pace.next(&mut heads, &mut urgent).await;
        let began = Instant::now();
        log.send_replace([1, 2, 0]);
        revoked.send_replace(1);
        assert_eq!(pace.next(&mut heads, &mut urgent).await, Some([1, 2, 0]));
        assert_eq!(began.elapsed(), Duration::ZERO);
        // What was heard of twice counts once: the link rests again.
        log.send_replace([1, 3, 0]);
        assert_eq!(pace.next(&mut heads, &mut urgent).await, Some([1, 3, 0]));
        assert!(began.elapsed() >= REST_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_missed_when_waiting_is_broken_off() {
        let (log, mut heads) = watch::channel([0, 1, 0]);
        let (_revoked, mut urgent) = watch::channel(0);
        let mut pace = Pace::of(2, [0; 3]);
        pace.next(&mut heads, &mut urgent).await;
        log.send_replace([0, 2, 0]);
        let broken_off = tokio::time::timeout(Duration::from_millis(1), pace.next(&mut heads, &mut urgent)).await;
        assert!(broken_off.is_err());
        assert_eq!(pace.next(&mut heads, &mut urgent).await, Some([0, 2, 0]));
        drop(log);
        assert_eq!(pace.next(&mut heads, &mut urgent).await, None);
    }
}
