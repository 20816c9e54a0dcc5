//! What an agreement's filter promises: a name that it shuts out crosses its link in no form, and nobody takes that for absence.

use super::in_worlds;
use dialtone_provider::peering::agreement::Filter;
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixMicros, UnixSecs, VerifiedRecord};
use dialtone_world::graph::of_seed;
use dialtone_world::modes::rotating;
use dialtone_world::{BEGIN, World, record};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAMES: u32 = 20;
const MODES: [Mode; 4] = [Mode::None, Mode::Digest, Mode::Pointers, Mode::Values];

fn begin() -> UnixMicros {
    UnixMicros(BEGIN * 1_000_000)
}

fn name(index: u32) -> Name {
    *record(index, begin(), &[], false).name()
}

/// No filter, a list of what never passes, or one of all that passes.
fn any_filter(rng: &mut StdRng) -> Filter {
    let mut some = || -> BTreeSet<Name> { (0..NAMES).filter(|_| rng.random_bool(0.4)).map(name).collect() };
    let (one, other) = (some(), some());
    match rng.random_range(0..4) {
        0 => Filter::new(BTreeSet::new(), one, true),
        1 => Filter::new(one, BTreeSet::new(), true),
        2 => Filter::new(one, other, true),
        _ => Filter::default(),
    }
}

/// Which providers a name may come to from those at which it was put, over links that let it pass.
fn reached(nodes: usize, origins: &BTreeSet<usize>, passes: impl Fn(usize, usize) -> bool) -> BTreeSet<usize> {
    let (mut reached, mut todo) = (origins.clone(), Vec::from_iter(origins.iter().copied()));
    while let Some(one) = todo.pop() {
        for other in 0..nodes {
            if !reached.contains(&other) && passes(one, other) {
                reached.insert(other);
                todo.push(other);
            }
        }
    }
    reached
}

/// Every agreement gets a filter by chance.
fn filtered(seed: u64) -> (World, Vec<(usize, usize)>) {
    let (nodes, pairs) = of_seed(seed);
    let mut world = World::new(seed, nodes, &pairs);
    let directions: Vec<_> = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
    for (from, to) in &directions {
        let filter = any_filter(&mut world.rng);
        world.agree(*from, *to, |agreement| agreement.filter = filter);
    }
    (world, directions)
}

fn put_some(world: &mut World, origins: &mut BTreeMap<Name, BTreeSet<usize>>) {
    for _ in 0..60 {
        let (node, index) = (world.rng.random_range(0..world.nodes.len()), world.rng.random_range(0..NAMES));
        let put = record(index, world.time(), &[], world.rng.random_bool(0.05));
        origins.entry(*put.name()).or_default().insert(node);
        world.put(node, put, UnixSecs(BEGIN + 20 * 86_400));
        let pause = world.rng.random_range(0..400);
        world.run(Duration::from_millis(pause));
    }
    world.run(Duration::from_secs(60));
}

#[test]
fn by_value_a_name_comes_as_far_as_both_sides_of_each_link_let_it_pass_and_no_further() {
    in_worlds(
        "by_value_a_name_comes_as_far_as_both_sides_of_each_link_let_it_pass_and_no_further",
        |seed| {
            let (mut world, directions) = filtered(seed);
            let nodes = world.nodes.len();
            let linked = |one, other| directions.contains(&(one, other));
            let mut origins = BTreeMap::new();
            put_some(&mut world, &mut origins);
            let expected = |world: &World, name: &Name| reached(nodes, &origins[name], |a, b| linked(a, b) && world.passes(a, b, name));
            let holders = |world: &World, name: &Name| (0..nodes).filter(|node| world.held(*node, name).is_some()).collect::<BTreeSet<_>>();
            let mut before = BTreeMap::new();
            for name in origins.keys() {
                before.insert(*name, expected(&world, name));
                assert_eq!(holders(&world, name), before[name], "{name}");
            }
            // Filters change while the links stand: what passes now is told, although it was passed over before.
            for (from, to) in &directions {
                if world.rng.random_bool(0.5) {
                    let filter = any_filter(&mut world.rng);
                    world.agree(*from, *to, |agreement| agreement.filter = filter);
                }
            }
            world.run(Duration::from_secs(120));
            for name in origins.keys() {
                let known = before[name].clone();
                let now = reached(nodes, &known, |a, b| linked(a, b) && world.passes(a, b, name));
                assert_eq!(holders(&world, name), now, "{name} after the change");
            }
            world.check().unwrap();
        },
    );
}

#[test]
fn in_no_mode_a_name_that_is_shut_out_is_told_of_whichever_side_shuts_it_out() {
    in_worlds(
        "in_no_mode_a_name_that_is_shut_out_is_told_of_whichever_side_shuts_it_out",
        |seed| {
            let mode = MODES[(seed % 4) as usize];
            let shut: BTreeSet<Name> = (0..NAMES).step_by(2).map(name).collect();
            // Names whose later keys and revocations go by value on every link.
            let rotated = rotating(3, 1, begin());
            let shut: BTreeSet<Name> = shut.into_iter().chain([*rotated.name()]).collect();
            let filter = Filter::new(BTreeSet::new(), shut.clone(), true);
            let mut world = World::with_terms(seed, 3, &[(0, 1), (1, 2)], |own, other, agreement| {
                if own == 0 || other == 0 {
                    agreement.push = mode;
                }
                let side = if seed % 8 < 4 { (0, 1) } else { (1, 0) };
                if (own, other) == side {
                    agreement.filter = filter.clone();
                }
            });
            let early = seed % 3 == 0;
            let put = |world: &mut World| {
                for index in 0..NAMES {
                    let one = record(index, world.time(), &[], index % 10 < 2);
                    world.put(0, one, UnixSecs(BEGIN + 20 * 86_400));
                }
                world.put(0, rotated.clone(), UnixSecs(BEGIN + 20 * 86_400));
            };
            if early {
                put(&mut world);
            }
            world.run(Duration::from_secs(20));
            if !early {
                // Told one by one, after the digest.
                put(&mut world);
            }
            world.run(Duration::from_secs(20));
            for node in [1, 2] {
                for name in &shut {
                    assert_eq!(world.held(node, name), None, "{name} at {node}");
                    assert!(!world.pointers(node).contains_key(name), "{name} at {node}");
                }
            }
            for index in (1..NAMES).step_by(2) {
                let (held, pointed) = (world.held(2, &name(index)).is_some(), world.pointers(2).contains_key(&name(index)));
                assert_eq!(held, mode == Mode::Values || index % 10 == 1, "{index}");
                assert_eq!(pointed, mode == Mode::Pointers && index % 10 != 1, "{index}");
            }
            if let Some(digest) = world.digest(1, 0) {
                assert_eq!(mode, Mode::Digest);
                // Revocations are told by value alone.
                assert!(
                    (0..NAMES)
                        .filter(|index| index % 2 == 1 && index % 10 > 1)
                        .all(|index| digest.contains(&name(index)))
                );
                // Where the sender shuts them out the filter does not have them, but by mistake.
                let told = shut.iter().filter(|name| digest.contains(name)).count();
                assert!(seed % 8 >= 4 || told <= 2, "{told} of {} that are shut out", shut.len());
            } else {
                assert_ne!(mode, Mode::Digest);
            }
        },
    );
}

#[test]
fn stores_are_compared_by_what_passes_where_both_sides_mean_the_same_and_otherwise_the_log_is_played() {
    in_worlds(
        "stores_are_compared_by_what_passes_where_both_sides_mean_the_same_and_otherwise_the_log_is_played",
        |seed| {
            let alike = seed % 2 == 0;
            let shut: BTreeSet<Name> = (0..40).map(name).collect();
            let one_less = shut.iter().skip(1).copied().collect();
            let mut world = World::with_terms(seed, 2, &[(0, 1)], |own, _, agreement| {
                let except = if alike || own == 0 {
                    shut.clone()
                } else {
                    BTreeSet::clone(&one_less)
                };
                agreement.filter = Filter::new(BTreeSet::new(), except, true);
            })
            .unwatched();
            let records: Vec<VerifiedRecord> = (0..400).map(|index| record(index, begin(), &[], false)).collect();
            world.fill(0, &records[..390]);
            world.fill(1, &records[20..]);
            world.run(Duration::from_secs(60));
            assert_eq!(world.comparisons.is_empty(), !alike);
            for compared in &world.comparisons {
                assert!(
                    compared.found == Ok([0, 10]) || compared.found == Ok([10, 0]) || compared.found == Ok([0, 0]),
                    "{compared:?}"
                );
            }
            let holds = |node: usize, index: usize| world.held(node, records[index].name()).is_some();
            assert!(
                (0..20).all(|index| holds(0, index) && !holds(1, index)),
                "nothing that is shut out was sent"
            );
            assert!((390..400).all(|index| holds(0, index) && holds(1, index)), "all that passes was");
            if alike {
                assert!(
                    world.records_sent() <= 10,
                    "{} records for 10 that were missing",
                    world.records_sent()
                );
            }
        },
    );
}

/// Providers in one mode or another, and a filter at every end by chance.
fn asking(seed: u64, any: bool) -> World {
    let (nodes, pairs) = of_seed(seed / 3);
    let mut rng: StdRng = rand::SeedableRng::seed_from_u64(seed);
    let modes = [Mode::None, Mode::Digest, Mode::Pointers, Mode::Values];
    let mut world = World::new(seed, nodes, &pairs).asking();
    for (a, b) in pairs {
        let mode = modes[rng.random_range(0..modes.len())];
        for (one, other) in [(a, b), (b, a)] {
            let filter = if any { any_filter(&mut rng) } else { Filter::default() };
            world.agree(one, other, |agreement| {
                (agreement.push, agreement.accept, agreement.filter) = (mode, mode, filter);
            });
        }
    }
    world.run(Duration::from_secs(20));
    world
}

/// Who peers with whom, each way.
fn linked(world: &World) -> BTreeSet<(usize, usize)> {
    let peers =
        |node: usize| (0..world.nodes.len()).filter(move |peer| world.nodes[node].agreements.contains_key(&world.nodes[*peer].name));
    (0..world.nodes.len())
        .flat_map(|node| peers(node).map(move |peer| (node, peer)))
        .collect()
}

#[test]
fn questions_go_only_where_both_sides_let_the_name_pass_and_what_is_kept_back_is_never_called_absent() {
    in_worlds(
        "questions_go_only_where_both_sides_let_the_name_pass_and_what_is_kept_back_is_never_called_absent",
        |seed| {
            let mut world = asking(seed, true);
            let nodes = world.nodes.len();
            let mut origins = BTreeMap::new();
            for index in (0..NAMES).step_by(2) {
                let node = world.rng.random_range(0..nodes);
                let put = record(index, begin(), &[], false);
                origins.insert(*put.name(), node);
                world.put_all(node, vec![put]);
            }
            world.run(Duration::from_secs(8));
            let linked = linked(&world);
            for (put, origin) in &origins {
                let reached = reached(nodes, &BTreeSet::from([*origin]), |a, b| {
                    linked.contains(&(a, b)) && world.passes(a, b, put)
                });
                for node in 0..nodes {
                    match world.answer(node, *put) {
                        Reply::Record(_) => assert!(reached.contains(&node), "{put} of {origin} came to {node}"),
                        Reply::Unknown(why) => assert!(!reached.contains(&node), "{put} of {origin} is let pass to {node}: {why}"),
                        other => panic!("{put} of {origin} is {other:?} at {node}"),
                    }
                }
            }
        },
    );
}

#[test]
fn where_no_filter_shuts_a_name_out_an_absence_is_certain_although_there_are_filters() {
    in_worlds(
        "where_no_filter_shuts_a_name_out_an_absence_is_certain_although_there_are_filters",
        |seed| {
            let mut world = asking(seed, false);
            for (node, peer) in linked(&world) {
                if world.rng.random_bool(0.3) {
                    let filter = Filter::new(BTreeSet::new(), [name(1)].into(), true);
                    world.agree(node, peer, |agreement| agreement.filter = filter);
                }
            }
            // What has changed so is greeted anew.
            world.run(Duration::from_secs(60));
            for node in 0..world.nodes.len() {
                assert_eq!(world.answer(node, name(2)), Reply::Absent, "at {node}");
                let shut = world.nodes[node].agreements.values().any(|agreement| agreement.filter.mark() != 0);
                if shut {
                    assert!(matches!(world.answer(node, name(1)), Reply::Unknown(_)), "at {node}");
                }
            }
        },
    );
}
