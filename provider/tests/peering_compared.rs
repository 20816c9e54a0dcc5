//! What comparing stores promises in a simulated world: after a partition, a restored or an older copy of a store, a provider that hides records.
//!
//! `COMPARED_NAMES=100000 cargo test --release -p dialtone-provider --test peering_compared` runs the larger worlds.

use dialtone_provider::peering::reconcile::initiator::Failure;
use dialtone_shared::{UnixMicros, VerifiedRecord};
use dialtone_world::{BEGIN, World, record};
use std::time::Duration;

fn names() -> u32 {
    std::env::var("COMPARED_NAMES")
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(3_000)
}

/// Nothing passes between any two.
fn separate(world: &mut World) {
    for node in 0..world.nodes.len() {
        let others: Vec<usize> = (0..world.nodes.len()).filter(|other| *other != node).collect();
        world.partition(&[node], &others);
    }
}

/// Records of these names, signed once however many providers are given them.
fn records(numbers: std::ops::Range<u32>, sequence: UnixMicros) -> Vec<VerifiedRecord> {
    numbers.map(|number| record(number, sequence, &[], false)).collect()
}

/// Providers that hold the same, were linked, and are parted.
fn parted(seed: u64, nodes: usize, pairs: &[(usize, usize)], records: &[VerifiedRecord]) -> World {
    let mut world = World::new(seed, nodes, pairs).unwatched();
    for node in 0..nodes {
        world.fill(node, records);
    }
    world.run(Duration::from_secs(20));
    separate(&mut world);
    world.run(Duration::from_secs(1));
    world
}

fn assert_all_equal(world: &World) {
    let first = world.map(0);
    for node in 1..world.nodes.len() {
        assert!(first == world.map(node), "provider 0 and {node} differ");
    }
}

/// Bytes of comparisons since the first `before`.
fn compared_bytes(world: &World, before: usize) -> usize {
    world.comparisons[before..].iter().map(|made| made.bytes).sum()
}

#[test]
fn after_a_partition_exactly_what_the_other_side_lacks_is_sent_and_nothing_twice() {
    let n = names();
    let all = records(0..n, UnixMicros(BEGIN * 1_000_000));
    for (gap, d) in [
        (1, 0),
        (1, 1),
        (30, 1),
        (30, 100),
        (600, 100),
        (600, n / 2),
        (86_400, 0),
        (86_400, 100),
        (86_400, n / 2),
    ] {
        let mut world = parted(u64::from(d) + gap, 2, &[(0, 1)], &all);
        world.run(Duration::from_secs(gap));
        let (before, sent) = (world.comparisons.len(), world.records_sent());
        // A third is new on one side, a third on the other, and a third is newer on one.
        let now = world.time();
        let news = [records(n..n + d.div_ceil(3), now), records(n + d..n + d + d / 3, now)];
        let newer = records(0..d - (news[0].len() + news[1].len()) as u32, now);
        world.put_all(0, news[0].clone());
        world.put_all(1, news[1].clone());
        world.put_all(1, newer);
        world.heal();
        // Whoever gave up dials again when its dialler says so; from then on it is a matter of seconds.
        while world.standing() == 0 {
            world.run(Duration::from_millis(100));
        }
        world.run(Duration::from_secs(5));
        assert_all_equal(&world);
        assert_eq!(world.records_sent() - sent, u64::from(d), "gap {gap} s, {d} differ: bodies");
        let bytes = compared_bytes(&world, before);
        assert!(
            bytes <= 72 * d as usize + 2_048,
            "gap {gap} s, {d} differ: {bytes} bytes of control"
        );
    }
}

#[test]
fn three_sides_that_meet_again_send_each_record_once_to_each_who_lacks_it() {
    let n = names();
    let all = records(0..n, UnixMicros(BEGIN * 1_000_000));
    let mut world = parted(3, 3, &[(0, 1), (1, 2), (0, 2)], &all);
    world.run(Duration::from_secs(60));
    let (sent, d) = (world.records_sent(), n / 4);
    // Two of them have the same news already, and the third lacks it.
    let news = records(n..n + d, world.time());
    world.fill(0, &news);
    world.fill(1, &news);
    world.heal();
    world.run(Duration::from_secs(90));
    assert_all_equal(&world);
    assert_eq!(world.records_sent() - sent, u64::from(d));
}

#[test]
fn equal_stores_with_a_lost_position_cost_less_than_a_kilobyte_and_no_record() {
    let all = records(0..names(), UnixMicros(BEGIN * 1_000_000));
    let mut world = World::new(1, 2, &[(0, 1)]).unwatched();
    for node in 0..2 {
        world.fill(node, &all);
    }
    world.run(Duration::from_secs(30));
    assert_eq!(world.records_sent(), 0);
    assert_eq!(world.comparisons.len(), 1, "one for both sides");
    assert!(world.comparisons[0].bytes < 345, "{:?}", world.comparisons);
    // And from then on both know where they stand.
    separate(&mut world);
    world.run(Duration::from_secs(1));
    world.heal();
    world.run(Duration::from_secs(30));
    assert_eq!((world.records_sent(), world.comparisons.len()), (0, 1));
}

#[test]
fn a_store_that_was_put_back_in_time_is_noticed_and_gets_what_it_lost_and_no_more() {
    for seed in 0..10 {
        let n = names();
        let mut world = World::new(seed, 2, &[(0, 1)]).unwatched();
        world.fill(0, &records(0..n, UnixMicros(BEGIN * 1_000_000)));
        world.run(Duration::from_secs(60));
        let copy = world.copy_of_store(1);
        // Some of what is lost came from the other side, some was put here.
        for (node, numbers) in [(0, n..n + 40), (1, n + 40..n + 70)] {
            let put = records(numbers, world.time());
            world.put_all(node, put);
        }
        world.run(Duration::from_secs(60));
        assert_all_equal(&world);
        let sent = world.records_sent();
        world.roll_back(1, copy);
        world.run(Duration::from_secs(90));
        assert_all_equal(&world);
        assert_eq!(world.map(1).len() as u32, n + 70);
        assert_eq!(world.records_sent() - sent, 70, "seed {seed}");
    }
}

#[test]
fn what_one_provider_hides_is_found_with_the_first_other_one() {
    // 1 pretends to hold what 0 has: it does not pass on every twentieth. 2 hears from 1 only, until it meets 0.
    let n = names();
    let all = records(0..n, UnixMicros(BEGIN * 1_000_000));
    let told: Vec<VerifiedRecord> = (0..)
        .zip(&all)
        .filter(|(at, _)| at % 20 != 0)
        .map(|(_, record)| record.clone())
        .collect();
    let mut world = World::new(2, 3, &[(0, 2), (1, 2)]).unwatched();
    world.fill(0, &all);
    world.fill(1, &told);
    world.fill(2, &told);
    world.run(Duration::from_secs(30));
    assert!(world.map(2) == world.map(0));
    let hidden = (all.len() - told.len()) as u64;
    let received: u64 = world
        .links
        .iter()
        .map(|link| link.progress(link.nodes.iter().position(|node| *node != 2).unwrap()).records_sent)
        .sum();
    assert_eq!(received, hidden, "and nothing but that");
}

#[test]
fn all_that_start_again_at_once_agree_without_sending_records() {
    let pairs: Vec<_> = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
    let all = records(0..names(), UnixMicros(BEGIN * 1_000_000));
    let mut world = World::new(4, 5, &pairs).unwatched();
    for node in 0..5 {
        world.fill(node, &all);
    }
    world.run(Duration::from_secs(90));
    let bytes = compared_bytes(&world, 0);
    assert_eq!(world.records_sent(), 0);
    assert!(bytes <= pairs.len() * 345 * 11 / 10, "{bytes} bytes for {} pairs", pairs.len());
    (0..5).for_each(|node| world.crash(node, true));
    world.run(Duration::from_secs(30));
    assert_all_equal(&world);
    assert_eq!(world.records_sent(), 0);
    assert!(compared_bytes(&world, 0) <= 2 * pairs.len() * 345 * 11 / 10);
}

#[test]
fn stores_that_have_little_in_common_play_their_logs() {
    let mut world = World::new(5, 2, &[(0, 1)]).unwatched();
    let sequence = UnixMicros(BEGIN * 1_000_000);
    world.fill(0, &records(0..names(), sequence));
    world.fill(1, &records(names()..names() + 100, sequence));
    world.run(Duration::from_secs(60));
    assert_all_equal(&world);
    assert!(world.comparisons.iter().all(|made| made.found != Err(Failure::Answer)));
    assert_eq!(world.records_sent(), u64::from(names()) + 100);
}
