//! Two providers cut apart, and what it costs to be equal again, as a table: `cargo run --release -p dialtone-world --example partitions [NAMES]`.

use dialtone_world::parted;
use std::time::{Duration, Instant};

fn main() {
    let names = std::env::args().nth(1).and_then(|names| names.parse().ok()).unwrap_or(100_000);
    let (begun, all) = (Instant::now(), parted::records(names));
    println!("{names} names on both sides:\n");
    println!("| cut for | differences | equal after | records sent | bytes of comparing | all other bytes but the records |");
    println!("|---|---|---|---|---|---|");
    for (seconds, said) in [(1, "1 s"), (60, "1 min"), (3_600, "1 h"), (86_400, "24 h")] {
        for differences in [0, 1, 10, 100, 1_000, 10_000] {
            match parted::part(seconds, &all, Duration::from_secs(seconds), differences) {
                Ok(met) => println!(
                    "| {said} | {differences} | {:.2} s | {} | {} | {} |",
                    met.equal_after.as_secs_f64(),
                    met.sent,
                    met.compared_bytes,
                    met.other_bytes,
                ),
                Err(why) => println!("| {said} | {differences} | {why} | | | |"),
            }
        }
    }
    println!("\nmade in {:.0?}", begun.elapsed());
}
