//! What asking promises on any connected graph of providers, whatever the network does.

use super::in_worlds;
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::peering::ask::limits::{BUDGET, HOPS_MAX, PATIENCE_PER_HOP};
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixMicros, VerifiedRecord};
use dialtone_world::{BEGIN, World, graph, record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A line, a ring, a star, a full mesh or a random tree with some more links, of 3 to 16 providers.
fn pairs(seed: u64) -> (usize, Vec<(usize, usize)>) {
    let nodes = 3 + (seed / 5 % 14) as usize;
    let shape = [graph::line, graph::ring, graph::star, graph::mesh];
    let tree = || {
        let tree = (1..nodes).map(|n| ((n * 7 + seed as usize) % n, n));
        tree.chain([(0, nodes - 1)]).collect::<BTreeSet<_>>().into_iter().collect()
    };
    (nodes, shape.get(seed as usize % 5).map_or_else(tree, |shape| shape(nodes)))
}

/// Providers that push to each other in the mode that belongs to the number of a pair.
fn linked(seed: u64, nodes: usize, pairs: &[(usize, usize)], mode: impl Fn(usize) -> Mode) -> World {
    let mut world = World::with_terms(seed, nodes, pairs, |own, other, agreement| {
        let number = pairs.iter().position(|(a, b)| [(*a, *b), (*b, *a)].contains(&(own, other)));
        agreement.push = mode(number.expect("a pair"));
        agreement.accept = agreement.push;
    })
    .asking();
    // Everyone has heard of everyone else's links.
    world.run(SECOND * 10);
    world
}

fn world(seed: u64, mode: Mode) -> World {
    let (nodes, pairs) = pairs(seed);
    linked(seed, nodes, &pairs, |_| mode)
}

fn put(world: &mut World, node: usize, index: u32) -> VerifiedRecord {
    let put = record(index, world.time(), &[], false);
    world.put_all(node, vec![put.clone()]);
    put
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
                let put = put(&mut world, node, index);
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
        let old = put(&mut world, first, 1);
        // Gets go on all the time, so that there are copies of every age.
        let gets = |world: &mut World, time: Duration| {
            let until = world.now + time;
            while world.now < until {
                let node = world.rng.random_range(0..nodes);
                world.answer(node, *old.name());
                let pause = Duration::from_millis(world.rng.random_range(0..2_000));
                world.run(pause);
            }
        };
        gets(&mut world, TTL * 2);
        let new = put(&mut world, second, 1);
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
        world.network.loss = [0.0, 0.1, 0.3][(seed % 3) as usize];
        let (mut names, mut gets) = (Vec::new(), BTreeMap::new());
        for round in 0..120_u32 {
            let node = world.rng.random_range(0..nodes);
            let put = put(&mut world, node, round % 15);
            names.push((world.now, *put.name()));
            match world.rng.random_range(0..12) {
                0 => {
                    let (ones, others): (Vec<_>, Vec<_>) = (0..nodes).partition(|_| world.rng.random_bool(0.5));
                    world.partition(&ones, &others);
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
            let (_, reply) = &world.gets.answers[get];
            // What nobody had may be believed for 5 seconds.
            let known = *asked > *put + SECOND * 5;
            assert!(!(known && *reply == Reply::Absent), "a name that was put is called absent");
            counts[usize::from(matches!(reply, Reply::Record(_)))] += 1;
        }
        assert!(counts[1] > 100, "the world is too broken for this test: {counts:?}");
        // When the network is whole again, so are the answers.
        world.network.loss = 0.0;
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
        let pairs = graph::random(&mut StdRng::seed_from_u64(seed), nodes, 6);
        let mut world = linked(seed, nodes, &pairs, |_| Mode::None);
        for index in 0..10 {
            let (node, sent, began) = (world.rng.random_range(0..nodes), world.gets.questions, world.now);
            let reply = world.answer(node, nobody(index));
            assert!(matches!(reply, Reply::Absent | Reply::Unknown(_)));
            assert!(world.now - began <= PATIENCE_PER_HOP * u32::from(HOPS_MAX) + SECOND / 1_000);
            world.run(SECOND * 5);
            assert!(
                world.gets.questions - sent <= u64::from(BUDGET),
                "{} were asked",
                world.gets.questions - sent
            );
        }
    });
}

#[test]
fn however_many_ask_for_a_name_at_the_same_time_it_is_asked_for_once() {
    in_worlds("however_many_ask_for_a_name_at_the_same_time_it_is_asked_for_once", |seed| {
        let mut world = world(seed, Mode::None);
        let node = world.rng.random_range(0..world.nodes.len());
        let sent = world.gets.questions;
        world.answer(node, nobody(1));
        let once = world.gets.questions - sent;
        let gets: Vec<_> = (0..50).map(|_| world.get(node, nobody(2))).collect();
        world.run(SECOND * 4);
        assert_eq!(world.gets.questions - sent, 2 * once);
        assert!(gets.iter().all(|get| world.gets.answers[get].1 == Reply::Absent));
        assert_eq!(world.tally(node).coalesced, 49);
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
            let there_and_back = Duration::from_millis(44) * pairs(seed).1.len() as u32;
            let began = world.now;
            world.run(SECOND * 5);
            for get in gets {
                let (when, reply) = &world.gets.answers[&get];
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
        let mut world = linked(7, 32, &graph::mesh(32), |_| mode);
        let mut puts = Vec::new();
        for index in 0..200 {
            let node = world.rng.random_range(0..32);
            puts.push(put(&mut world, node, index));
        }
        world.run(SECOND * 8);
        let sent = world.gets.questions;
        for index in 0..400 {
            let node = world.rng.random_range(0..32);
            if index % 2 == 0 {
                let put = &puts[index / 2];
                assert_eq!(found(&world.answer(node, *put.name())), put);
            } else {
                assert_eq!(world.answer(node, nobody(index as u32)), Reply::Absent);
            }
        }
        world.gets.questions - sent
    };
    let (all, digests) = (asked(Mode::None), asked(Mode::Digest));
    assert!(digests > 100, "the keepers at least are asked: {digests}");
    assert!(all >= 25 * digests, "{digests} asked by digests, {all} by asking all");
}

#[test]
fn where_every_pair_has_a_mode_of_its_own_all_resolves_and_absences_are_certain() {
    in_worlds(
        "where_every_pair_has_a_mode_of_its_own_all_resolves_and_absences_are_certain",
        |seed| {
            let (nodes, pairs) = pairs(seed);
            let mut world = linked(seed, nodes, &pairs, |number| {
                [Mode::Values, Mode::None, Mode::Digest, Mode::Pointers][(number * 5 + seed as usize / 3) % 4]
            });
            for index in 0..6 {
                let node = world.rng.random_range(0..nodes);
                let put = put(&mut world, node, index);
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
        let put = put(&mut world, 0, 1);
        world.run(TTL * 3);
        for node in 0..world.nodes.len() {
            assert_eq!(found(&world.answer(node, *put.name())), &put);
            assert_eq!(world.answer(node, nobody(1)), Reply::Absent);
        }
        assert_eq!(world.gets.questions, 0);
    });
}
