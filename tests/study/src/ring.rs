//! Point A of the design spectrum: one ring of all providers' hosts, where a name's hash says who keeps it, whoever was paid for it.
//! Not built, so computed: each name has one home, found in one step.

use crate::figures::Ring;
use crate::names;
use crate::trace::Trace;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// For each number of providers, what the trace costs on such a ring.
pub fn rings(trace: &Trace, providers: impl IntoIterator<Item = usize>) -> Vec<Ring> {
    // The hash of a name is the name.
    let hashes: Vec<u64> = (0..trace.names).map(hash).collect();
    providers.into_iter().map(|providers| ring(trace, &hashes, providers)).collect()
}

fn hash(number: usize) -> u64 {
    u64::from_be_bytes(*names::name(number).digest().first_chunk().unwrap_or(&[0; 8]))
}

fn ring(trace: &Trace, hashes: &[u64], providers: usize) -> Ring {
    let mut rng = StdRng::seed_from_u64(3);
    // Each provider has many places on the ring, so many that their parts are as good as equal.
    let home = |number: usize| ((u128::from(hashes[number]) * providers as u128) >> 64) as usize;
    let mut served = vec![0_usize; providers];
    let puts_crossing = (0..trace.names)
        .filter(|number| rng.random_range(0..providers) != home(*number))
        .count();
    let mut gets_crossing = 0;
    for (_, number) in &trace.queries {
        let home = home(*number);
        served[home] += 1;
        gets_crossing += usize::from(rng.random_range(0..providers) != home);
    }
    let gets = trace.queries.len() as f64;
    Ring {
        providers,
        puts_crossing: puts_crossing as f64 / trace.names as f64,
        gets_crossing: gets_crossing as f64 / gets,
        held: trace.names as f64 / providers as f64,
        busiest: served.into_iter().max().unwrap_or_default() as f64 / (gets / providers as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_in_n_operations_cross_a_border_of_a_ring_of_n() {
        let trace = Trace::new(1, 0.05);
        for ring in rings(&trace, [2, 16]) {
            let expected = 1.0 - 1.0 / ring.providers as f64;
            assert!((ring.gets_crossing - expected).abs() < 0.02, "{ring:?}");
            assert!((ring.puts_crossing - expected).abs() < 0.03, "{ring:?}");
            assert!(ring.busiest > 1.0, "a name that everybody asks for has one home: {ring:?}");
        }
    }
}
