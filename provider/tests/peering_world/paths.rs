//! What is promised of paths: they tell by whom a record came, and change nothing about it.

use dialtone_shared::UnixSecs;
use dialtone_shared::message::mark;
use dialtone_world::graph::{line, mesh};
use dialtone_world::{BEGIN, World, record};
use std::time::Duration;

const KEEP: UnixSecs = UnixSecs(BEGIN + 20 * 86_400);

#[test]
fn a_record_tells_by_whom_it_came_down_a_row_of_providers() {
    let mut world = World::new(1, 9, &line(9));
    world.run(Duration::from_secs(5));
    let put = record(1, world.time(), &[], false);
    world.put(0, put.clone(), KEEP);
    world.run(Duration::from_secs(20));
    for node in 0..9 {
        let held = world.held(node, put.name()).expect("it came");
        let path = world.nodes[node].paths.of(&held);
        assert_eq!(usize::from(path.hops()), node);
        let before: Vec<u64> = (0..node).rev().map(|node| mark(&world.nodes[node].name)).collect();
        let expected = match before.len() {
            0..=6 => before,
            // The nearest and the first.
            long => [&before[..5], &before[long - 1..]].concat(),
        };
        assert_eq!(path.marks(), expected, "at provider {node}");
    }
    // Whoever starts anew knows by whom it came, and no more.
    world.crash(4, true);
    world.run(Duration::from_secs(20));
    let held = world.held(4, put.name()).expect("durable");
    assert_eq!(world.nodes[4].paths.of(&held).marks(), [mark(&world.nodes[3].name)]);
}

#[test]
fn a_record_that_comes_by_several_ways_is_news_once() {
    for seed in 0..10 {
        let mut world = World::new(seed, 6, &mesh(6));
        world.run(Duration::from_secs(5));
        let put = record(1, world.time(), &[], false);
        world.put(0, put.clone(), KEEP);
        world.run(Duration::from_secs(20));
        let stored: u64 = world
            .links
            .iter()
            .map(|link| link.progress(0).received.stored + link.progress(1).received.stored)
            .sum();
        assert_eq!(stored, 5, "seed {seed}");
        let lengths = (0..6).map(|node| world.nodes[node].paths.of(&world.held(node, put.name()).expect("it came")).hops());
        assert!(lengths.max() <= Some(5), "seed {seed}: no provider stands twice on a way");
    }
}

#[test]
fn a_path_costs_ten_bytes_for_the_first_provider_on_the_way_and_eight_for_each_more() {
    let bytes = |hops: u64| {
        let mut path = dialtone_shared::message::Path::default();
        (0..hops).for_each(|hop| path = path.through(hop));
        path.bytes()
    };
    assert_eq!([0, 1, 2, 3, 6, 60].map(bytes), [0, 10, 18, 27, 51, 51]);
}
