//! The real network code under faults: real QUIC over datagrams that are lost, repeated, delayed and reordered, hosts that crash and are cut
//! off. One seed again: `PEERING_SEED=7 cargo test -p dialtone-world --test hosts`; more: `PEERING_SEEDS=1000`, and then with `--release`.

use dialtone_world::hosts;
use dialtone_world::seeds::{in_worlds, seeds};

#[test]
fn no_fault_of_the_network_or_of_a_host_breaks_a_promise() {
    let test = "-p dialtone-world --test hosts no_fault_of_the_network_or_of_a_host_breaks_a_promise";
    let runs = in_worlds(test, 6, hosts::live);
    let datagrams: u64 = runs.iter().map(|run| run.datagrams).sum();
    let worst = runs.iter().map(|run| run.converged).max();
    println!("{} runs, {datagrams} datagrams; well again after {worst:?} at worst", runs.len());
}

#[test]
fn the_same_seed_sends_the_same_datagrams_at_the_same_times() {
    for seed in seeds(2) {
        let (once, twice) = (hosts::live(seed), hosts::live(seed));
        assert!(once.is_ok(), "seed {seed}: {once:?}");
        assert_eq!(once, twice, "seed {seed} is not the same world twice");
        let other = hosts::live(seed + 1_000_000);
        assert_ne!(
            once.map(|run| run.trace),
            other.map(|run| run.trace),
            "another seed is another world"
        );
    }
}
