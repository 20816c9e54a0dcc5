//! Floods and flapping, in a simulated world.

use dialtone_provider::peering::agreement::Limits;
use dialtone_provider::peering::limits::DAMP_CHANGES;
use dialtone_provider::peering::quota::Level;
use dialtone_shared::UnixMicros;
use dialtone_shared::VerifiedRecord;
use dialtone_world::{BEGIN, World, record};
use std::time::Duration;

fn at(world: &World) -> UnixMicros {
    UnixMicros(BEGIN * 1_000_000 + world.now.as_micros() as u64)
}

/// Records of these names, signed now.
fn records(world: &World, names: std::ops::Range<u32>) -> Vec<VerifiedRecord> {
    names.map(|name| record(name, at(world), &[], false)).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn holds_all(world: &World, node: usize, records: &[VerifiedRecord]) -> usize {
    let holds = |record: &&VerifiedRecord| world.held(node, record.name()).is_some_and(|held| held.record == **record);
    records.iter().filter(holds).count()
}

/// What a peer may bring to a provider, as if its operator had said so.
fn limit(world: &World, node: usize, peer: usize, limits: Limits) {
    let share = world.nodes[node].quotas.share(world.nodes[peer].name, limits);
    share.limit(limits);
}

/// A star: provider 0 in the middle, of whose peers 1 may bring 200 names and 2 any number.
fn star(seed: u64) -> World {
    let mut world = World::new(seed, 3, &[(1, 0), (2, 0)]);
    let mut agreements = (*world.nodes[0].agreements).clone();
    let flooder = world.nodes[1].name;
    if let Some(agreement) = agreements.get_mut(&flooder) {
        agreement.limits.names = 200;
    }
    world.nodes[0].agreements = agreements.into();
    world
}

#[test]
fn a_flood_of_new_names_ends_at_the_limit_while_known_names_and_other_peers_notice_nothing() {
    for seed in 0..4 {
        let mut world = star(seed);
        let known = records(&world, 0..50);
        world.put_all(1, known.clone());
        world.run(secs(20));
        assert_eq!(holds_all(&world, 0, &known), 50);
        let links = world.links.len();

        // Ten times what may come.
        let flood = records(&world, 1_000..3_000);
        world.put_all(1, flood.clone());
        let honest = records(&world, 5_000..5_200);
        world.put_all(2, honest.clone());
        world.run(secs(10));
        let updates = records(&world, 0..50);
        world.put_all(1, updates.clone());
        world.run(secs(20));

        assert_eq!(holds_all(&world, 0, &updates), 50, "known names still update");
        assert_eq!(holds_all(&world, 0, &honest), 200, "honest peers are refused nothing");
        assert_eq!(holds_all(&world, 0, &flood), 150, "new names come in up to the limit");
        assert_eq!(holds_all(&world, 2, &flood), 150, "and no further");
        let standing = world.nodes[0].quotas.standing(&world.nodes[1].name);
        assert_eq!((standing.held, standing.level, standing.refusing), (Some(200), Level::Full, true));
        assert_eq!(world.links.len(), links, "the link stayed up");
        let sent = world.records_sent();
        world.run(secs(120));
        assert_eq!(world.records_sent(), sent, "what is refused is not offered again and again");

        // The operators agree on more: nothing of it was lost.
        limit(&world, 0, 1, Limits::default());
        world.run(secs(60));
        assert_eq!(holds_all(&world, 0, &flood), 2_000);
        assert_eq!(holds_all(&world, 2, &flood), 2_000);
        assert!(!world.nodes[0].quotas.standing(&world.nodes[1].name).refusing);
        let last = records(&world, 0..50);
        world.put_all(1, last.clone());
        world.run(secs(5));
        assert_eq!(holds_all(&world, 2, &last), 50, "the feed goes on at its front");
    }
}

#[test]
fn what_was_refused_survives_a_crash_of_the_sender_and_a_new_link() {
    for seed in 0..4 {
        let mut world = star(seed);
        let flood = records(&world, 0..700);
        world.put_all(1, flood.clone());
        world.run(secs(20));
        assert_eq!(holds_all(&world, 0, &flood), 200);
        let link = world.links.len() - 1;
        world.cut(link);
        world.crash(1, true);
        world.run(secs(30));
        limit(&world, 0, 1, Limits::default());
        let mut agreements = (*world.nodes[0].agreements).clone();
        agreements.values_mut().for_each(|agreement| agreement.limits = Limits::default());
        world.nodes[0].agreements = agreements.into();
        world.run(secs(60));
        assert_eq!(holds_all(&world, 0, &flood), 700, "seed {seed}");
    }
}

#[test]
fn a_peer_that_is_faster_than_agreed_is_slowed_and_loses_nothing() {
    let mut world = World::new(1, 2, &[(1, 0)]);
    let mut agreements = (*world.nodes[0].agreements).clone();
    agreements
        .values_mut()
        .for_each(|agreement| agreement.limits.changes_per_second = 100);
    world.nodes[0].agreements = agreements.into();
    let flood = records(&world, 0..2_000);
    world.put_all(1, flood.clone());
    world.run(secs(5));
    let early = holds_all(&world, 0, &flood);
    assert!((256..1_100).contains(&early), "a burst and the rate: {early}");
    let links = world.links.len();
    world.run(secs(40));
    assert_eq!((holds_all(&world, 0, &flood), world.links.len()), (2_000, links));
}

/// Ten changes a second of one name at provider 0 of a line of three, for so long; a link is cut every second, if `flapping`.
fn flap(seed: u64, time: u64, flapping: bool) -> (World, VerifiedRecord) {
    let mut world = World::new(seed, 3, &[(0, 1), (1, 2)]);
    world.run(secs(2));
    let mut last = record(1, at(&world), &[], false);
    for tick in 0..time * 10 {
        last = record(1, at(&world), &[], false);
        world.put_all(0, vec![last.clone()]);
        if flapping && tick % 10 == 0 {
            let standing = world.links.len() - 1;
            world.cut(standing);
        }
        world.run(Duration::from_millis(100));
    }
    (world, last)
}

#[test]
fn a_name_that_flaps_is_sent_about_once_a_second_and_others_do_not_wait_for_it() {
    let (mut world, last) = flap(1, 120, false);
    let sent = world.records_sent();
    let most = 2 * (DAMP_CHANGES as u64 + 130);
    assert!(sent <= most, "{sent} sent over two links, of 1,200 changes; {most} would be fine");
    let others = records(&world, 100..120);
    world.put_all(0, others.clone());
    world.run(Duration::from_millis(900));
    assert_eq!(holds_all(&world, 2, &others), 20, "other names do not wait");
    world.run(secs(4));
    assert_eq!(holds_all(&world, 2, &[last]), 1, "its last state arrives");
}

#[test]
fn a_peer_that_flaps_costs_no_more_than_twice_what_a_stable_one_does() {
    let (stable, _) = flap(2, 120, false);
    let (mut flapping, last) = flap(2, 120, true);
    let (stable, sent) = (stable.records_sent(), flapping.records_sent());
    assert!(sent <= 2 * stable, "{sent} records sent, {stable} over stable links");
    flapping.run(secs(90));
    assert_eq!(holds_all(&flapping, 2, &[last]), 1, "and everything arrives in the end");
    assert!(flapping.links.len() < 60, "{} links in two minutes", flapping.links.len());
}
