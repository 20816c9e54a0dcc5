//! Which upstream resolver is asked first, and how long it is waited for before the next is asked as well. Time is an argument.
//!
//! They are asked as they are listed: whoever runs the frontend has reasons. But one that did not answer rests, and one that is far slower than
//! another is asked after it, both for a while.

use crate::choose::Health;
use crate::dns::settings::{UPSTREAM_PATIENCE_MIN, UPSTREAM_REST, UPSTREAM_SLOWER_BY, UPSTREAM_TRY};
use std::time::{Duration, Instant};

/// What is known of how each answers, by its place in the list.
#[derive(Debug)]
pub struct Choice(Vec<Standing>);

#[derive(Clone, Debug, Default)]
struct Standing {
    health: Health,
    /// When it last answered, or was slower than another.
    measured: Option<Instant>,
    /// Until when it is asked last.
    rests_until: Option<Instant>,
}

impl Choice {
    /// Among so many, of which nothing is known.
    pub fn new(many: usize) -> Self {
        Self(vec![Standing::default(); many])
    }

    /// All, the first to be asked first.
    pub fn order(&self, now: Instant) -> Vec<usize> {
        let usual = |standing: &Standing| standing.usual(now);
        let quickest = self.0.iter().filter(|one| !one.rests(now)).filter_map(usual).min();
        let is_slow = |one: &Standing| {
            let beyond = quickest.map(|quickest| quickest * 2 + UPSTREAM_SLOWER_BY);
            usual(one).zip(beyond).is_some_and(|(usual, beyond)| usual > beyond)
        };
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|place| (self.0[*place].rests(now), is_slow(&self.0[*place])));
        order
    }

    /// How long to wait for it before another is asked as well.
    pub fn patience(&self, place: usize) -> Duration {
        let usual = self.0.get(place).map(|one| one.health.patience()).unwrap_or_default();
        usual.clamp(UPSTREAM_PATIENCE_MIN, UPSTREAM_TRY)
    }

    /// It answered, after `took`.
    pub fn answered(&mut self, place: usize, took: Duration, now: Instant) {
        if let Some(one) = self.0.get_mut(place) {
            one.health.answered(took);
            one.measured = Some(now);
            one.rests_until = None;
        }
    }

    /// Another one answered before it, which had `took` so far.
    pub fn outrun(&mut self, place: usize, took: Duration, now: Instant) {
        if let Some(one) = self.0.get_mut(place)
            && one.health.latency().is_none_or(|usual| usual < took)
        {
            one.health.answered(took);
            one.measured = Some(now);
        }
    }

    /// It did not answer; whether that is news.
    pub fn failed(&mut self, place: usize, now: Instant) -> bool {
        let Some(one) = self.0.get_mut(place) else { return false };
        let is_news = !one.rests(now);
        one.rests_until = Some(now + UPSTREAM_REST);
        is_news
    }

    /// Whether none of them answered lately.
    pub fn all_rest(&self, now: Instant) -> bool {
        self.0.iter().all(|one| one.rests(now))
    }
}

impl Standing {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// Its usual time, if it was measured lately: one that is asked no more is to have another chance.
    fn usual(&self, now: Instant) -> Option<Duration> {
        let measured = self.measured.is_some_and(|at| now < at + UPSTREAM_REST);
        self.health.latency().filter(|_| measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn they_are_asked_as_listed_but_for_who_rests_or_is_far_slower_and_not_for_ever() {
        let start = Instant::now();
        let mut choice = Choice::new(3);
        assert_eq!(choice.order(start), [0, 1, 2]);
        choice.answered(0, millis(40), start);
        choice.answered(1, millis(10), start);
        assert_eq!(choice.order(start), [0, 1, 2], "a little slower is no reason");
        choice.answered(0, millis(2_000), start);
        assert_eq!(choice.order(start), [1, 2, 0]);
        assert_eq!(choice.order(start + UPSTREAM_REST), [0, 1, 2], "it may be quick again");
        assert!(choice.failed(1, start));
        assert!(!choice.failed(1, start));
        assert_eq!(choice.order(start), [0, 2, 1], "nobody who answers is quicker by far");
        assert!(!choice.all_rest(start));
        choice.failed(0, start);
        choice.failed(2, start);
        assert!(choice.all_rest(start));
        assert_eq!(choice.order(start), [0, 1, 2], "if all rest all are asked");
        choice.answered(2, millis(10), start);
        assert_eq!(choice.order(start), [2, 1, 0], "among those that rest the slow is last, too");
    }

    #[test]
    fn who_is_outrun_was_at_least_as_slow_as_that() {
        let start = Instant::now();
        let mut choice = Choice::new(2);
        choice.answered(1, millis(5), start);
        for _ in 0..20 {
            choice.outrun(0, millis(400), start);
        }
        assert_eq!(choice.order(start), [1, 0]);
        assert!(choice.patience(0) >= millis(400));
        assert_eq!(choice.patience(1), UPSTREAM_PATIENCE_MIN);
        for _ in 0..20 {
            choice.outrun(0, millis(1), start);
        }
        assert_eq!(choice.order(start), [1, 0], "to be outrun does not make it quicker");
    }
}
