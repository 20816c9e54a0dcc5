//! Who peers with whom: pairs of providers, by number. The first of a pair dials.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

/// Each with the one before.
pub fn line(nodes: usize) -> Vec<(usize, usize)> {
    (1..nodes).map(|n| (n - 1, n)).collect()
}

/// A line whose ends meet.
pub fn ring(nodes: usize) -> Vec<(usize, usize)> {
    line(nodes).into_iter().chain((nodes > 2).then(|| (nodes - 1, 0))).collect()
}

/// All with the first.
pub fn star(nodes: usize) -> Vec<(usize, usize)> {
    (1..nodes).map(|n| (0, n)).collect()
}

/// All with all.
pub fn mesh(nodes: usize) -> Vec<(usize, usize)> {
    (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))).collect()
}

/// One of the four, of 3 to 7 providers.
pub fn of_seed(seed: u64) -> (usize, Vec<(usize, usize)>) {
    let nodes = 3 + (seed / 4 % 5) as usize;
    let shape = [line, ring, star, mesh][(seed % 4) as usize];
    (nodes, shape(nodes))
}

/// Connected, and otherwise by chance: each provider has `degree` peers on average, and none less than one.
pub fn random(rng: &mut StdRng, nodes: usize, degree: usize) -> Vec<(usize, usize)> {
    let mut pairs: BTreeSet<(usize, usize)> = (1..nodes).map(|n| (rng.random_range(0..n), n)).collect();
    let all = nodes * nodes.saturating_sub(1) / 2;
    while pairs.len() < (nodes * degree / 2).min(all) {
        let (a, b) = (rng.random_range(0..nodes), rng.random_range(0..nodes));
        if a != b {
            pairs.insert((a.min(b), a.max(b)));
        }
    }
    pairs.into_iter().collect()
}
