//! Which seeds a test runs, and the line that runs one of them again.

use std::env::var;
use std::ops::Range;

/// The seeds to run: the one of `PEERING_SEED`, or as many as `PEERING_SEEDS` says, or `usual`.
pub fn seeds(usual: u64) -> Range<u64> {
    let number = |variable| var(variable).ok().and_then(|value| value.parse::<u64>().ok());
    match number("PEERING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PEERING_SEEDS").unwrap_or(usual),
    }
}

/// Runs `promise` with each seed.
///
/// # Panics
/// One broke it: says which, why, and how to run that one again. `test` is what cargo needs to find it: `-p PACKAGE --test FILE NAME`.
pub fn in_worlds<T>(test: &str, usual: u64, mut promise: impl FnMut(u64) -> Result<T, String>) -> Vec<T> {
    let again = |seed| format!("once more: PEERING_SEED={seed} cargo test {test}");
    let run = |seed| {
        // A promise may also panic: then the line stands where it is looked for all the same.
        let says = Says(again(seed));
        let kept = promise(seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        std::mem::forget(says);
        kept
    };
    seeds(usual).map(run).collect()
}

/// Says something if the test ends before it is forgotten.
struct Says(String);

impl Drop for Says {
    fn drop(&mut self) {
        eprintln!("{}", self.0);
    }
}
