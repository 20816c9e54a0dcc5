//! The load: how often each name is asked for, by whom and when. The shape is that of the trace by which CoDoNS was measured: 47,230
//! names and 281,943 queries in twelve hours, as often as Zipf's law with the exponent 0.91 says.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

/// Names in the whole trace.
pub const NAMES: usize = 47_230;
/// Queries in the whole trace.
pub const QUERIES: usize = 281_943;
/// How long the whole trace is.
pub const LASTS: Duration = Duration::from_secs(12 * 3_600);
/// The exponent of Zipf's law: the n-th name is asked for n^-0.91 times as often as the first.
pub const EXPONENT: f64 = 0.91;

/// One part of the trace, drawn from a seed.
#[derive(Debug)]
pub struct Trace {
    /// How many names there are. The lower a name's number, the more often it is asked for.
    pub names: usize,
    /// Where in the trace's time each query is, ascending, and the name's number.
    pub queries: Vec<(Duration, usize)>,
    /// How long it is.
    pub lasts: Duration,
}

impl Trace {
    /// A trace of `scale` (at most 1) times the names, the queries and the time: so as many queries in a second as the whole has, and as
    /// many for a name.
    pub fn new(seed: u64, scale: f64) -> Self {
        let part = |whole: usize| ((whole as f64 * scale).round() as usize).max(1);
        let (names, total) = (part(NAMES), part(QUERIES));
        let lasts = LASTS.mul_f64(scale);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut asked: Vec<usize> = Vec::with_capacity(total);
        for (name, times) in times(names, total).into_iter().enumerate() {
            asked.extend(std::iter::repeat_n(name, times));
        }
        asked.shuffle(&mut rng);
        let mut at: Vec<Duration> = asked.iter().map(|_| lasts.mul_f64(rng.random())).collect();
        at.sort_unstable();
        Self {
            names,
            queries: at.into_iter().zip(asked).collect(),
            lasts,
        }
    }
}

impl Trace {
    /// Up to `most` names of those that `are_meant`, each once: the more often the trace asks for one, the likelier it is among them.
    pub fn asked(&self, rng: &mut StdRng, most: usize, are_meant: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut asked: Vec<usize> = self.queries.iter().map(|query| query.1).filter(|name| are_meant(*name)).collect();
        asked.shuffle(rng);
        let mut taken = BTreeSet::new();
        asked.retain(|name| taken.insert(*name));
        asked.truncate(most);
        asked
    }
}

/// How often each name is asked for: at least once, for a name that nobody asks for is in no trace; `total` times in all.
fn times(names: usize, total: usize) -> Vec<usize> {
    let weight = |name: usize| ((name + 1) as f64).powf(-EXPONENT);
    let rounded = |first: f64, name: usize| ((first * weight(name)).round() as usize).max(1);
    let sum = |first: f64| (0..names).map(|name| rounded(first, name)).sum::<usize>();
    let (mut low, mut high) = (0.0, total as f64);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if sum(middle) <= total { low = middle } else { high = middle }
    }
    let mut times: Vec<usize> = (0..names).map(|name| rounded(low, name)).collect();
    // What rounding left over goes to the first, of which it is the smallest part.
    times[0] += total.saturating_sub(times.iter().sum());
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_trace_has_the_names_the_queries_and_the_slope_of_the_one_it_is_shaped_after() {
        let trace = Trace::new(1, 1.0);
        let mut times = vec![0_usize; NAMES];
        for (_, name) in &trace.queries {
            times[*name] += 1;
        }
        assert_eq!((trace.names, trace.queries.len()), (NAMES, QUERIES));
        assert!(times.iter().all(|times| *times > 0));
        let slope = ((times[9] as f64).ln() - (times[999] as f64).ln()) / (1_000_f64.ln() - 10_f64.ln());
        assert!((slope - EXPONENT).abs() < 0.02, "{slope}");
        assert!(trace.queries.is_sorted_by_key(|(at, _)| *at));
        assert!(trace.queries.last().is_some_and(|(at, _)| *at <= LASTS));
    }

    #[test]
    fn names_drawn_from_the_trace_are_different_and_mostly_often_asked_for() {
        let (trace, mut rng) = (Trace::new(1, 0.02), StdRng::seed_from_u64(2));
        let drawn = trace.asked(&mut rng, 100, |name| name % 2 == 0);
        let different: BTreeSet<_> = drawn.iter().collect();
        assert_eq!((drawn.len(), different.len()), (100, 100));
        assert!(drawn.iter().all(|name| name % 2 == 0));
        // Of 944 names, half of what is asked for goes to the first fifth.
        assert!(drawn.iter().filter(|name| **name < 189).count() > 30, "{drawn:?}");
        assert_eq!(
            Trace::new(1, 0.0003).asked(&mut rng, 100, |_| true).len(),
            14,
            "no more than there are"
        );
    }

    #[test]
    fn a_part_is_as_dense_as_the_whole_and_the_same_every_time() {
        let (part, again) = (Trace::new(1, 0.01), Trace::new(1, 0.01));
        assert_eq!(part.queries, again.queries);
        assert_eq!((part.names, part.queries.len(), part.lasts.as_secs()), (472, 2_819, 432));
    }
}
