//! What peering costs between mutual peers: each body crosses to each provider about once, whatever the links are; and what happens where the tree that does it is torn.

use dialtone_world::{World, graph, record};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A network whose links stand and whose tree has grown.
fn grown(seed: u64, nodes: usize, pairs: &[(usize, usize)]) -> World {
    let mut world = World::new(seed, nodes, pairs);
    world.run(Duration::from_secs(10));
    assert_eq!(world.standing(), pairs.len());
    world
}

/// Puts `count` names at all providers in turn, one every 5 ms: when the last one was put.
fn put_at_all(world: &mut World, from: u32, count: u32) {
    for index in from..from + count {
        let (at, time) = (index as usize % world.nodes.len(), world.time());
        world.put_all(at, vec![record(index, time, &[], false)]);
        world.run(5 * MS);
    }
}

#[test]
fn a_body_crosses_to_each_provider_once_in_any_connected_graph() {
    for (nodes, pairs) in [
        (8, graph::mesh(8)),
        (8, graph::ring(8)),
        (8, graph::star(8)),
        (8, graph::line(8)),
        (16, graph::mesh(16)),
    ] {
        let mut world = grown(7, nodes, &pairs);
        let before = world.records_sent();
        put_at_all(&mut world, 0, 400);
        world.run(Duration::from_secs(10));
        assert!(world.all_equal() && world.map(0).len() == 400);
        let each = (world.records_sent() - before) as f64 / 400.0;
        assert!(
            each < 1.02 * (nodes - 1) as f64,
            "{each} bodies a put between {nodes}, {} links",
            pairs.len()
        );
    }
}

#[test]
fn what_is_only_offered_costs_each_pair_about_one_offer_and_nothing_once_all_is_told() {
    let mut world = grown(7, 8, &graph::mesh(8));
    let before = world.pointers_sent();
    put_at_all(&mut world, 0, 400);
    world.run(Duration::from_secs(10));
    let each = (world.pointers_sent() - before) as f64 / 400.0;
    let bare = (graph::mesh(8).len() - 7) as f64;
    assert!(each < 1.25 * bare, "{each} offers a put over {bare} links that are no branches");
    let told = world.bytes_sent();
    world.run(Duration::from_secs(600));
    assert_eq!(world.bytes_sent(), told, "silence costs nothing");
}

#[test]
fn a_put_is_at_all_of_a_mesh_while_the_tree_grows_and_without_its_root() {
    let mut world = World::new(3, 8, &graph::mesh(8));
    world.run(Duration::from_millis(200));
    put_at_all(&mut world, 0, 100);
    world.run(Duration::from_secs(2));
    assert!(world.all_equal());
    for root in 0..8 {
        // Whoever it is, one of these is the root.
        world.crash(root, true);
        let at = (root + 1) % 8;
        let one = record(200 + root as u32, world.time(), &[], false);
        world.put_all(at, vec![one.clone()]);
        // Nobody has noticed yet that it is gone: offers bring what the tree does not.
        world.run(Duration::from_millis(1_900));
        assert!(world.holders(&one) >= 7, "without {root}: {}", world.holders(&one));
        world.run(Duration::from_secs(60));
        assert!(world.all_equal());
    }
}

#[test]
fn where_nothing_passes_over_a_branch_offers_bring_it_and_the_tree_is_whole_again_afterwards() {
    let mut world = grown(5, 6, &graph::mesh(6));
    for (from, to) in (0..6).flat_map(|a| (0..6).map(move |b| (a, b))).filter(|(a, b)| a != b) {
        world.block(from, to);
        let one = record((from * 6 + to) as u32, world.time(), &[], false);
        world.put_all(from, vec![one.clone()]);
        world.run(Duration::from_secs(3));
        assert_eq!(world.holders(&one), 6, "{from} to {to}");
        world.unblock(from, to);
        world.run(Duration::from_secs(10));
    }
    let before = world.records_sent();
    put_at_all(&mut world, 100, 300);
    world.run(Duration::from_secs(10));
    let each = (world.records_sent() - before) as f64 / 300.0;
    assert!(world.all_equal() && each < 5.1, "{each} bodies a put");
}
