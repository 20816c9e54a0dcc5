//! Which upstream resolver is asked first, and how long it is waited for before the next is asked as well. Time is an argument.
//!
//! They are asked as they are listed: whoever runs the frontend has reasons. But one that did not answer rests, and one that is far slower than
//! another is asked after it, both for a while. For its slowness alone none is asked after one on another kind of way: nobody is to be able to move
//! questions into the clear by holding up those that are not.

use crate::choose::Health;
use crate::dns::settings::{UPSTREAM_PATIENCE_MIN, UPSTREAM_REST, UPSTREAM_SLOWER_BY, UPSTREAM_TRY};
use std::time::{Duration, Instant};

/// What is known of how each answers, by its place in the list.
#[derive(Debug)]
pub struct Choice(Vec<Standing>);

#[derive(Clone, Debug, Default)]
struct Standing {
    /// Those that follow each other in the list and are private alike have the same.
    group: usize,
    health: Health,
    /// When it last answered.
    answered: Option<Instant>,
    /// When it last answered, or was slower than another.
    measured: Option<Instant>,
    /// Until when it is asked last.
    rests_until: Option<Instant>,
}

impl Choice {
    /// Among as many as it is said of whether they are private; nothing else is known of them.
    pub fn new(are_private: impl Iterator<Item = bool>) -> Self {
        let (mut group, mut before) = (0, None);
        let standing = |is_private| {
            group += usize::from(before.replace(is_private).is_some_and(|before| before != is_private));
            let usual = Standing::default();
            Standing { group, ..usual }
        };
        Self(are_private.map(standing).collect())
    }

    /// All, the first to be asked first.
    pub fn order(&self, now: Instant) -> Vec<usize> {
        let usual = |standing: &Standing| standing.usual(now);
        let quickest = |group| {
            let alike = self.0.iter().filter(move |one| one.group == group && !one.rests(now));
            alike.filter_map(usual).min()
        };
        let is_slow = |one: &Standing| {
            let beyond = quickest(one.group).map(|quickest| quickest * 2 + UPSTREAM_SLOWER_BY);
            usual(one).zip(beyond).is_some_and(|(usual, beyond)| usual > beyond)
        };
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|place| {
            let one = &self.0[*place];
            (one.rests(now), one.group, is_slow(one))
        });
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
            one.answered = Some(now);
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

    /// It did not answer what it was asked at `since`; whether that is news. One that has answered something else meanwhile is there.
    pub fn failed(&mut self, place: usize, since: Instant, now: Instant) -> bool {
        let Some(one) = self.0.get_mut(place).filter(|one| one.answered.is_none_or(|at| at <= since)) else {
            return false;
        };
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
        let mut choice = Choice::new([false; 3].into_iter());
        assert_eq!(choice.order(start), [0, 1, 2]);
        choice.answered(0, millis(40), start);
        choice.answered(1, millis(10), start);
        assert_eq!(choice.order(start), [0, 1, 2], "a little slower is no reason");
        choice.answered(0, millis(2_000), start);
        assert_eq!(choice.order(start), [1, 2, 0]);
        assert_eq!(choice.order(start + UPSTREAM_REST), [0, 1, 2], "it may be quick again");
        assert!(choice.failed(1, start, start));
        assert!(!choice.failed(1, start, start));
        assert_eq!(choice.order(start), [0, 2, 1], "nobody who answers is quicker by far");
        assert!(!choice.all_rest(start));
        choice.failed(0, start, start);
        choice.failed(2, start, start);
        assert!(choice.all_rest(start));
        assert_eq!(choice.order(start), [0, 1, 2], "if all rest all are asked");
        choice.answered(2, millis(10), start);
        assert_eq!(choice.order(start), [2, 1, 0], "among those that rest the slow is last, too");
    }

    #[test]
    fn who_is_outrun_was_at_least_as_slow_as_that() {
        let start = Instant::now();
        let mut choice = Choice::new([false; 2].into_iter());
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

    #[test]
    fn none_is_asked_after_one_in_the_clear_for_its_slowness_and_none_rests_that_answers_others() {
        let start = Instant::now();
        let mut choice = Choice::new([true, true, false, false].into_iter());
        choice.answered(0, millis(900), start);
        choice.answered(1, millis(400), start);
        choice.answered(2, millis(90), start);
        choice.answered(3, millis(5), start);
        assert_eq!(choice.order(start), [1, 0, 3, 2]);
        choice.answered(1, millis(400), start + millis(10));
        assert!(!choice.failed(1, start, start + millis(20)), "it answered something else meanwhile");
        assert_eq!(choice.order(start + millis(20)), [1, 0, 3, 2]);
        assert!(choice.failed(1, start + millis(20), start + millis(30)));
        assert_eq!(choice.order(start + millis(30)), [0, 3, 2, 1]);
    }
}
