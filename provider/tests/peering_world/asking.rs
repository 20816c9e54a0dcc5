//! What asking promises on any connected graph of providers, whatever the network does.

use super::in_worlds;
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::peering::ask::limits::{BUDGET, HOPS_MAX, PATIENCE_PER_HOP};
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixMicros, VerifiedRecord};
use dialtone_world::asking::AskWorld;
use dialtone_world::{BEGIN, record};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A line, a ring, a star, a full mesh or a random tree with some more links, of 3 to 16 providers that push nothing.
fn pairs(seed: u64, mode: Mode) -> (usize, Vec<(usize, usize, Mode)>) {
    let nodes = 3 + (seed / 5 % 14) as usize;
    let line = (1..nodes).map(|n| (n - 1, n));
    let pairs: Vec<_> = match seed % 5 {
        0 => line.collect(),
        1 => line.chain([(nodes - 1, 0)]).collect(),
        2 => (1..nodes).map(|n| (0, n)).collect(),
        3 => (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))).collect(),
        _ => (1..nodes)
            .map(|n| ((n * 7 + seed as usize) % n, n))
            .chain([(0, nodes - 1)])
            .collect(),
    };
    (nodes, pairs.into_iter().map(|(a, b)| (a, b, mode)).collect())
}

fn world(seed: u64, mode: Mode) -> AskWorld {
    let (nodes, pairs) = pairs(seed, mode);
    let mut world = AskWorld::new(seed, nodes, &pairs);
    // Everyone has heard of everyone else's links.
    world.run(SECOND * 8);
    world
}

fn at(world: &AskWorld) -> UnixMicros {
    UnixMicros(BEGIN * 1_000_000 + world.now.as_micros() as u64)
}

fn found(reply: &Reply) -> &VerifiedRecord {
    match reply {
        Reply::Record(found) => &found.record,
        other => panic!("nothing is found: {other:?}"),
    }
}

fn nobody(index: u32) -> Name {
    *record(1_000_000 + index, UnixMicros(BEGIN * 1_000_000), &[], false).name()
}

#[test]
fn where_nothing_is_pushed_what_is_put_at_any_resolves_at_all_and_what_is_not_put_nowhere() {
    in_worlds(
        "where_nothing_is_pushed_what_is_put_at_any_resolves_at_all_and_what_is_not_put_nowhere",
        |seed| {
            let mut world = world(seed, Mode::None);
            for index in 0..4 {
                let node = world.rng.random_range(0..world.nodes.len());
                let put = record(index, at(&world), &[], false);
                world.put(node, put.clone());
                for node in 0..world.nodes.len() {
                    assert_eq!(found(&world.answer(node, *put.name())), &put, "at provider {node}");
                }
            }
            for node in 0..world.nodes.len() {
                assert_eq!(world.answer(node, nobody(node as u32)), Reply::Absent, "at provider {node}");
            }
        },
    );
}

#[test]
fn an_update_put_anywhere_is_seen_everywhere_within_the_ttl() {
    in_worlds("an_update_put_anywhere_is_seen_everywhere_within_the_ttl", |seed| {
        let mode = [Mode::None, Mode::Digest][(seed % 2) as usize];
        let mut world = world(seed, mode);
        let nodes = world.nodes.len();
        let (first, second) = (world.rng.random_range(0..nodes), world.rng.random_range(0..nodes));
        let old = record(1, at(&world), &[], false);
        world.put(first, old.clone());
        // Gets go on all the time, so that there are copies of every age.
        let gets = |world: &mut AskWorld, time: Duration| {
            let until = world.now + time;
            while world.now < until {
                let node = world.rng.random_range(0..nodes);
                world.answer(node, *old.name());
                let pause = Duration::from_millis(world.rng.random_range(0..2_000));
                world.run(pause);
            }
        };
        gets(&mut world, TTL * 2);
        let new = record(1, at(&world), &[], false);
        world.put(second, new.clone());
        gets(&mut world, TTL);
        // The seconds are those of whole seconds on the way.
        world.run(SECOND * 2);
        for node in 0..nodes {
            assert_eq!(found(&world.answer(node, *new.name())), &new, "at provider {node}");
        }
    });
}

#[test]
fn no_existing_name_is_ever_called_absent_whoever_is_cut_off() {
    in_worlds("no_existing_name_is_ever_called_absent_whoever_is_cut_off", |seed| {
        let mut world = world(seed, Mode::None);
        let nodes = world.nodes.len();
        for wire in world.wires.values_mut() {
            wire.loss = [0.0, 0.1, 0.3][(seed % 3) as usize];
        }
        let (mut names, mut gets) = (Vec::new(), BTreeMap::new());
        for round in 0..120_u32 {
            let put = record(round % 15, at(&world), &[], false);
            let node = world.rng.random_range(0..nodes);
            world.put(node, put.clone());
            names.push((world.now, *put.name()));
            match world.rng.random_range(0..12) {
                0 => {
                    let inside: BTreeSet<_> = (0..nodes).filter(|_| world.rng.random_bool(0.5)).collect();
                    world.part(&inside);
                }
                1 => world.heal(),
                _ => {}
            }
            for _ in 0..6 {
                let node = world.rng.random_range(0..nodes);
                let (put, name) = names[world.rng.random_range(0..names.len())];
                gets.insert(world.get(node, name), (put, world.now));
                let pause = Duration::from_millis(world.rng.random_range(0..500));
                world.run(pause);
            }
        }
        world.run(SECOND * 10);
        let mut counts = [0; 2];
        for (get, (put, asked)) in &gets {
            let (_, reply) = &world.answers[get];
            // What nobody had may be believed for 5 seconds.
            let known = *asked > *put + SECOND * 5;
            assert!(!(known && *reply == Reply::Absent), "a name that was put is called absent");
            counts[usize::from(matches!(reply, Reply::Record(_)))] += 1;
        }
        assert!(counts[1] > 100, "the world is too broken for this test: {counts:?}");
        // When the network is whole again, so are the answers.
        for wire in world.wires.values_mut() {
            wire.loss = 0.0;
        }
        world.heal();
        world.run(SECOND * 30);
        for node in 0..nodes {
            let (_, name) = names[world.rng.random_range(0..names.len())];
            found(&world.answer(node, name));
            assert_eq!(world.answer(node, nobody(node as u32)), Reply::Absent);
        }
    });
}

#[test]
fn one_budget_holds_for_all_that_a_question_causes_and_every_question_ends() {
    in_worlds("one_budget_holds_for_all_that_a_question_causes_and_every_question_ends", |seed| {
        // Dense and with many circles, and larger than any budget.
        let nodes = 8 + (seed % 40) as usize;
        let mut draw = AskWorld::new(seed, 1, &[]);
        let mut pairs = BTreeSet::new();
        for n in 1..nodes {
            pairs.insert((draw.rng.random_range(0..n), n));
        }
        for _ in 0..nodes * 2 {
            let (a, b) = (draw.rng.random_range(0..nodes), draw.rng.random_range(0..nodes));
            if a < b {
                pairs.insert((a, b));
            }
        }
        let pairs: Vec<_> = pairs.into_iter().map(|(a, b)| (a, b, Mode::None)).collect();
        let mut world = AskWorld::new(seed, nodes, &pairs);
        world.run(SECOND * 8);
        for index in 0..10 {
            let (node, sent, began) = (world.rng.random_range(0..nodes), world.sent, world.now);
            let reply = world.answer(node, nobody(index));
            assert!(matches!(reply, Reply::Absent | Reply::Unknown(_)));
            assert!(world.now - began <= PATIENCE_PER_HOP * u32::from(HOPS_MAX) + SECOND / 1_000);
            world.run(SECOND * 5);
            assert!(world.sent - sent <= u64::from(BUDGET), "{} were asked", world.sent - sent);
        }
    });
}

#[test]
fn however_many_ask_for_a_name_at_the_same_time_it_is_asked_for_once() {
    in_worlds("however_many_ask_for_a_name_at_the_same_time_it_is_asked_for_once", |seed| {
        let mut world = world(seed, Mode::None);
        let node = world.rng.random_range(0..world.nodes.len());
        let sent = world.sent;
        world.answer(node, nobody(1));
        let once = world.sent - sent;
        let gets: Vec<_> = (0..50).map(|_| world.get(node, nobody(2))).collect();
        world.run(SECOND * 4);
        assert_eq!(world.sent - sent, 2 * once);
        assert!(gets.iter().all(|get| world.answers[get].1 == Reply::Absent));
        assert_eq!(world.nodes[node].desk.tally().coalesced, 49);
    });
}

#[test]
fn providers_that_all_ask_for_the_same_name_at_the_same_time_do_not_wait_for_each_other() {
    in_worlds(
        "providers_that_all_ask_for_the_same_name_at_the_same_time_do_not_wait_for_each_other",
        |seed| {
            let mut world = world(seed, Mode::None);
            let gets: Vec<_> = (0..world.nodes.len()).map(|node| world.get(node, nobody(1))).collect();
            // A way there and back over all links, and nothing that lasts as long as patience does.
            let there_and_back = world.wires.values().map(|wire| wire.delay * 2).sum::<Duration>();
            let began = world.now;
            world.run(SECOND * 5);
            for get in gets {
                let (when, reply) = &world.answers[&get];
                assert_eq!(*reply, Reply::Absent);
                assert!(*when - began <= there_and_back, "it took {:?}", *when - began);
            }
        },
    );
}

#[test]
fn a_mesh_of_digests_asks_25_times_less_than_asking_all() {
    // What digests are for: most of what is asked for and not at hand, nobody near has either.
    let asked = |mode| {
        let pairs: Vec<_> = (0..32).flat_map(|a| (a + 1..32).map(move |b| (a, b, mode))).collect();
        let mut world = AskWorld::new(7, 32, &pairs);
        let puts: Vec<_> = (0..200).map(|index| record(index, at(&world), &[], false)).collect();
        for put in &puts {
            let node = world.rng.random_range(0..32);
            world.put(node, put.clone());
        }
        world.run(SECOND * 8);
        let sent = world.sent;
        for index in 0..400 {
            let node = world.rng.random_range(0..32);
            if index % 2 == 0 {
                let put = &puts[index / 2];
                assert_eq!(found(&world.answer(node, *put.name())), put);
            } else {
                assert_eq!(world.answer(node, nobody(index as u32)), Reply::Absent);
            }
        }
        world.sent - sent
    };
    let (all, digests) = (asked(Mode::None), asked(Mode::Digest));
    assert!(digests > 100, "the keepers at least are asked: {digests}");
    assert!(all >= 25 * digests, "{digests} asked by digests, {all} by asking all");
}

#[test]
fn where_some_links_push_values_and_some_nothing_all_resolves_and_absences_are_certain() {
    in_worlds(
        "where_some_links_push_values_and_some_nothing_all_resolves_and_absences_are_certain",
        |seed| {
            let (nodes, mut pairs) = pairs(seed, Mode::None);
            for (number, pair) in pairs.iter_mut().enumerate() {
                pair.2 = [Mode::Values, Mode::None, Mode::Digest][(number * 5 + seed as usize / 3) % 3];
            }
            let mut world = AskWorld::new(seed, nodes, &pairs);
            world.run(SECOND * 8);
            for index in 0..6 {
                let node = world.rng.random_range(0..nodes);
                let put = record(index, at(&world), &[], false);
                world.put(node, put.clone());
                world.run(SECOND);
                for node in 0..nodes {
                    assert_eq!(found(&world.answer(node, *put.name())), &put, "at provider {node}");
                }
            }
            for node in 0..nodes {
                assert_eq!(world.answer(node, nobody(node as u32)), Reply::Absent, "at provider {node}");
            }
        },
    );
}

#[test]
fn where_all_push_values_nobody_is_ever_asked() {
    in_worlds("where_all_push_values_nobody_is_ever_asked", |seed| {
        let mut world = world(seed, Mode::Values);
        let put = record(1, at(&world), &[], false);
        world.put(0, put.clone());
        world.run(TTL * 3);
        for node in 0..world.nodes.len() {
            assert_eq!(found(&world.answer(node, *put.name())), &put);
            assert_eq!(world.answer(node, nobody(1)), Reply::Absent);
        }
        assert_eq!(world.sent, 0);
    });
}
