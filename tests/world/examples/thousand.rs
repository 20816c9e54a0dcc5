//! How fast, and how large, a world of many providers is: `cargo run --release -p dialtone-world --example thousand [PROVIDERS [DEGREE [PUTS]]]`.

use dialtone_world::{World, graph, record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let mut next = |usual: usize| arguments.next().unwrap_or(usual);
    let (nodes, degree, puts) = (next(1_000), next(6), next(1_000));
    let mut rng = StdRng::seed_from_u64(1);
    let pairs = graph::random(&mut rng, nodes, degree);
    let begun = Instant::now();
    let mut world = World::new(1, nodes, &pairs).unwatched();
    world.run(Duration::from_secs(30));
    println!(
        "{nodes} providers, {} links: {} stand after 30 s of virtual and {:.1?} of real time, {} MiB",
        pairs.len(),
        world.standing(),
        begun.elapsed(),
        resident_mib(),
    );
    let (begun, before) = (Instant::now(), world.events);
    for name in 0..puts {
        let put = record(u32::try_from(name).unwrap_or(u32::MAX), world.time(), &[], false);
        let node = world.rng.random_range(0..nodes);
        world.put_all(node, vec![put]);
        world.run(Duration::from_millis(10));
    }
    world.run(Duration::from_secs(10));
    let (took, events) = (begun.elapsed(), world.events - before);
    let held: usize = (0..nodes).map(|node| world.map(node).len()).sum();
    println!(
        "{puts} puts: {held} records held, {} sent; {events} events in {took:.1?} = {:.0} a second, {:.1} µs a record held; {} MiB",
        world.records_sent(),
        events as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / held as f64,
        resident_mib(),
    );
}

/// Memory of this process, where the system says it.
fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .map_or(0, |kib: usize| kib / 1024)
}
