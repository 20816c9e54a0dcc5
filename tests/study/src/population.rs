//! How often a provider finds a name in its own copies, by how many clients are behind it: the question that Wolman and others asked of
//! web caches. From the trace alone, with caches that keep a copy for its TTL and no longer, as a provider's does.

use crate::figures::Population;
use crate::trace::Trace;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::time::Duration;

/// For each of some numbers of providers that share all clients evenly.
pub fn populations(trace: &Trace) -> Vec<Population> {
    SPLITS.into_iter().map(|providers| population(trace, providers)).collect()
}

fn population(trace: &Trace, providers: usize) -> Population {
    let mut rng = StdRng::seed_from_u64(5);
    let at: Vec<usize> = trace.queries.iter().map(|_| rng.random_range(0..providers)).collect();
    let (mut hits, mut together) = (Vec::new(), Vec::new());
    for ttl in TTLS {
        let lasts = if ttl == 0 { Duration::MAX } else { Duration::from_secs(ttl) };
        let (mut own, mut any) = (HashMap::new(), HashMap::new());
        let (mut own_hits, mut all_hits) = (0_usize, 0_usize);
        for ((when, name), provider) in trace.queries.iter().zip(&at) {
            let fresh = |until: Option<&Duration>| until.is_some_and(|until| until > when);
            if fresh(own.get(&(*provider, *name))) {
                own_hits += 1;
            } else {
                own.insert((*provider, *name), when.saturating_add(lasts));
            }
            if fresh(any.get(name)) {
                all_hits += 1;
            } else {
                any.insert(*name, when.saturating_add(lasts));
            }
        }
        let share = |hits: usize| hits as f64 / trace.queries.len() as f64;
        hits.push((ttl, share(own_hits)));
        together.push((ttl, share(all_hits)));
    }
    Population {
        clients: 1.0 / providers as f64,
        queries: trace.queries.len() / providers,
        hits,
        together,
    }
}

/// Among how many providers the clients are split.
const SPLITS: [usize; 9] = [1, 2, 4, 8, 16, 32, 100, 316, 1_000];
/// TTLs in seconds: of a record by default, of an hour, and for ever (0), which is the limit of what copies can do.
const TTLS: [u64; 3] = [60, 3_600, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_clients_share_copies_and_the_longer_these_live_the_more_often_one_is_found() {
        let populations = populations(&Trace::new(1, 0.05));
        for pair in populations.windows(2) {
            for (larger, smaller) in pair[0].hits.iter().zip(&pair[1].hits) {
                assert!(larger.1 >= smaller.1, "{pair:?}");
            }
        }
        for population in &populations {
            assert!(population.hits.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{population:?}");
        }
        // For ever, and all together: every query but the first of each name.
        let trace = Trace::new(1, 0.05);
        let first = trace.names as f64 / trace.queries.len() as f64;
        assert!((populations[0].hits[2].1 - (1.0 - first)).abs() < 1e-9);
    }
}
