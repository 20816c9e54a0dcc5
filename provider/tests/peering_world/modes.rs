//! What every mix of modes promises: what is held, pointed to and filtered follows what is put, on every shape of network.

use crate::in_worlds;
use dialtone_provider::store::Held;
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixSecs};
use dialtone_world::graph::of_seed;
use dialtone_world::modes::rotating;
use dialtone_world::{BEGIN, World, record};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MODES: [Mode; 4] = [Mode::None, Mode::Digest, Mode::Pointers, Mode::Values];

fn any_mode(world: &mut World) -> Mode {
    MODES[world.rng.random_range(0..MODES.len())]
}

/// Every direction of every link in a mode of its own: either side may be what limits it.
fn mixed(seed: u64) -> (World, Vec<(usize, usize)>) {
    let (nodes, pairs) = of_seed(seed);
    let mut world = World::new(seed, nodes, &pairs);
    let directions: Vec<_> = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
    for (from, to) in &directions {
        let mode = any_mode(&mut world);
        set(&mut world, *from, *to, mode);
    }
    (world, directions)
}

/// Has `from` push to `to` in this mode from now on; by chance one side or the other says so.
fn set(world: &mut World, from: usize, to: usize, mode: Mode) {
    let pusher = world.rng.random_bool(0.5);
    world.agree(from, to, |agreement| agreement.push = if pusher { mode } else { Mode::Values });
    world.agree(to, from, |agreement| agreement.accept = if pusher { Mode::Values } else { mode });
    assert_eq!(world.mode(from, to), mode);
}

/// Puts something somewhere: a new record, a newer one, seldom a revocation or one by a later key.
fn put_something(world: &mut World) {
    let (node, name) = (world.rng.random_range(0..world.nodes.len()), world.rng.random_range(0..40));
    let keep_until = UnixSecs(BEGIN + world.rng.random_range(10..30) * 86_400);
    let put = match world.rng.random_range(0..40) {
        0 => record(name, world.time(), &[], true),
        1 | 2 => rotating(name % 10, world.rng.random_range(1..3), world.time()),
        3..10 => rotating(name % 10, 0, world.time()),
        _ => record(name, world.time(), &[], false),
    };
    world.put(node, put, keep_until);
}

fn held(world: &World, node: usize) -> BTreeMap<Name, Held> {
    let names = world.map(node).into_keys();
    names.map(|name| (name, world.held(node, &name).expect("held"))).collect()
}

/// That at the end of each link there is what its mode promises of everything that the other end holds or points to.
fn assert_each_has_what_was_agreed(world: &World, directions: &[(usize, usize)]) {
    assert_each_has(world, directions, &BTreeSet::new());
}

/// As [`assert_each_has_what_was_agreed`]; who is in `forgot` may lack pointers: it forgot some that one peer had told it first and another, whose
/// word was then no news, told it too. Who asks does not rely on pointers to say that there is nothing.
fn assert_each_has(world: &World, directions: &[(usize, usize)], forgot: &BTreeSet<usize>) {
    let (all, told): (Vec<_>, Vec<_>) = (0..world.nodes.len()).map(|node| (held(world, node), world.pointers(node))).unzip();
    for node in 0..world.nodes.len() {
        for (name, pointer) in &told[node] {
            let outranks = all[node].get(name).is_none_or(|held| pointer.outranks(held.record.rank()));
            assert!(outranks, "a pointer stands at {node} that leads to no more than is held there");
        }
    }
    for (from, to) in directions.iter().copied() {
        let mode = world.mode(from, to);
        let progress = world.progress(to, from).expect("a link");
        assert!(progress.received_all, "{to} is not caught up with {from} ({mode})");
        let digest = world.digest(to, from);
        assert_eq!(digest.is_some(), mode == Mode::Digest, "a digest of {from} at {to} ({mode})");
        for (name, here) in &all[from] {
            let rank = here.record.rank();
            let there = all[to].get(name).map(|held| held.record.rank());
            let has = there.is_some_and(|there| there.order() >= rank.order());
            let hinted = has
                || forgot.contains(&to)
                || told[to]
                    .get(name)
                    .is_some_and(|pointer| pointer.outranks(rank) || pointer.is_of(rank));
            let as_agreed = match mode {
                _ if rank.revoked || rank.epoch > 0 => has,
                Mode::Values => has,
                Mode::Pointers => hinted,
                Mode::Digest => hinted || digest.as_ref().is_some_and(|digest| digest.contains(name)),
                Mode::None => true,
            };
            let of = |name: &Name| world.nodes.iter().position(|node| node.name == *name);
            let learnt = here.from.as_ref().map(of);
            assert!(
                as_agreed,
                "{from} holds a record {rank}, from {learnt:?}, of which {to} knows {there:?} ({mode})"
            );
        }
        for (name, pointer) in &told[from] {
            let has = all[to].get(name).is_some_and(|held| !pointer.outranks(held.record.rank()));
            let hinted = has || told[to].get(name).is_some_and(|other| other.sequence >= pointer.sequence) || forgot.contains(&to);
            // What came from there, or is there, is not told back: it may have been forgotten there since.
            let theirs = [pointer.keeper, pointer.from].contains(&world.nodes[to].name);
            let as_agreed = theirs
                || match mode {
                    Mode::Values | Mode::Pointers => hinted,
                    Mode::Digest => hinted || digest.as_ref().is_some_and(|digest| digest.contains(name)),
                    Mode::None => true,
                };
            assert!(as_agreed, "{from} points to what {to} knows nothing of ({mode})");
        }
    }
}

/// That nothing is where nothing was to bring it.
fn assert_nobody_has_more(world: &World, directions: &[(usize, usize)], put_at: &BTreeMap<(usize, Name), ()>) {
    for node in 0..world.nodes.len() {
        let inbound = || {
            directions
                .iter()
                .filter(|(_, to)| *to == node)
                .map(|(from, _)| world.mode(*from, node))
        };
        if inbound().all(|mode| mode < Mode::Values) {
            for (name, held) in held(world, node) {
                let rank = held.record.rank();
                let urgent = rank.revoked || rank.epoch > 0;
                assert!(urgent || put_at.contains_key(&(node, name)), "{node} holds what was not put there");
            }
        }
        if inbound().all(|mode| mode < Mode::Pointers) {
            assert_eq!(world.pointers(node).len(), 0, "{node} was told of something");
        }
    }
}

#[test]
fn every_mix_of_modes_comes_to_what_was_agreed() {
    in_worlds("every_mix_of_modes_comes_to_what_was_agreed", |seed| {
        let (mut world, directions) = mixed(seed);
        world.faulty = true;
        for _ in 0..120 {
            put_something(&mut world);
            if world.rng.random_bool(0.02) {
                let node = world.rng.random_range(0..world.nodes.len());
                world.crash(node, true);
            }
            let pause = world.draw(0, 200);
            world.run(pause);
        }
        world.faulty = false;
        world.run(Duration::from_secs(90));
        assert_each_has_what_was_agreed(&world, &directions);
        let sent = world.records_sent();
        world.run(Duration::from_secs(60));
        assert_eq!(world.records_sent(), sent, "what everyone has is still being sent around");
    });
}

#[test]
fn nothing_comes_where_less_was_agreed() {
    in_worlds("nothing_comes_where_less_was_agreed", |seed| {
        let (mut world, directions) = mixed(seed);
        let mut put_at = BTreeMap::new();
        for name in 0..60 {
            let node = world.rng.random_range(0..world.nodes.len());
            let put = record(name, world.time(), &[], name % 20 == 0);
            put_at.insert((node, *put.name()), ());
            world.put_all(node, vec![put]);
            let pause = world.draw(0, 50);
            world.run(pause);
        }
        world.run(Duration::from_secs(30));
        assert_each_has_what_was_agreed(&world, &directions);
        assert_nobody_has_more(&world, &directions, &put_at);
    });
}

#[test]
fn a_mode_changes_on_a_link_that_stands_each_way_and_the_other_side_follows() {
    let mut seed = 0;
    for before in MODES {
        for after in MODES {
            for pusher in [true, false] {
                seed += 1;
                let mut world = World::new(seed, 2, &[(0, 1)]);
                let change = |world: &mut World, mode| {
                    if pusher {
                        world.agree(0, 1, |agreement| agreement.push = mode);
                    } else {
                        world.agree(1, 0, |agreement| agreement.accept = mode);
                    }
                };
                change(&mut world, before);
                let some = (0..400).map(|name| record(name, world.time(), &[], false)).collect();
                world.put_all(0, some);
                world.run(Duration::from_secs(20));
                assert_each_has_what_was_agreed(&world, &[(0, 1)]);
                change(&mut world, after);
                // While it is under way: news, an update, and what goes by value whatever is agreed.
                let news = vec![
                    record(1_000, world.time(), &[], false),
                    record(1, world.time(), &[], false),
                    record(2, world.time(), &[], true),
                    rotating(3, 1, world.time()),
                ];
                world.put_all(0, news);
                world.run(Duration::from_secs(20));
                assert_each_has_what_was_agreed(&world, &[(0, 1)]);
                let what = format!("from {before} to {after}");
                let (here, told) = (world.map(1).len(), world.pointers(1).len());
                let stayed = if before == Mode::Values { 400 } else { 0 };
                match after {
                    Mode::Values => assert_eq!((here, told), (402, 0), "{what}"),
                    Mode::Pointers => assert_eq!((here, told), (stayed.max(1) + 1, if stayed > 0 { 2 } else { 400 }), "{what}"),
                    Mode::Digest | Mode::None => assert_eq!((here, told), (stayed.max(1) + 1, 0), "{what}"),
                }
                assert_eq!(world.links.len(), world.links.iter().filter(|link| link.nodes.contains(&0)).count());
                // And back.
                change(&mut world, Mode::Values);
                world.run(Duration::from_secs(20));
                assert_eq!((world.map(1).len(), world.pointers(1).len()), (402, 0), "{what} and back");
            }
        }
    }
}

/// Modes of this world change while links break and providers crash; who may have forgotten what two peers had told it.
fn change_at_any_moment(world: &mut World, directions: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut forgot = BTreeSet::new();
    world.faulty = true;
    for _ in 0..150 {
        put_something(world);
        if world.rng.random_bool(0.3) {
            let (from, to) = directions[world.rng.random_range(0..directions.len())];
            let (before, after) = (world.mode(from, to), any_mode(world));
            set(world, from, to, after);
            let tellers = directions.iter().filter(|(_, other)| *other == to).count();
            if before >= Mode::Pointers && after < Mode::Pointers && tellers > 1 {
                forgot.insert(to);
            }
        }
        if world.rng.random_bool(0.02) {
            let node = world.rng.random_range(0..world.nodes.len());
            world.crash(node, true);
        }
        let pause = world.draw(0, 300);
        world.run(pause);
    }
    world.faulty = false;
    world.run(Duration::from_secs(90));
    forgot
}

#[test]
fn modes_that_change_at_any_moment_come_to_what_was_agreed_last() {
    in_worlds("modes_that_change_at_any_moment_come_to_what_was_agreed_last", |seed| {
        let (mut world, directions) = mixed(seed);
        let forgot = change_at_any_moment(&mut world, &directions);
        assert_each_has(&world, &directions, &forgot);
    });
}

#[test]
fn two_that_change_their_minds_at_any_moment_lose_nothing() {
    in_worlds("two_that_change_their_minds_at_any_moment_lose_nothing", |seed| {
        let (mut world, directions) = (World::new(seed, 2, &[(0, 1)]), [(0, 1), (1, 0)]);
        change_at_any_moment(&mut world, &directions);
        assert_each_has_what_was_agreed(&world, &directions);
    });
}

#[test]
fn a_digest_follows_names_by_mention_and_is_sent_anew_when_they_are_many() {
    let mut world = World::new(3, 2, &[(0, 1)]);
    world.agree(0, 1, |agreement| agreement.push = Mode::Digest);
    world.run(Duration::from_secs(5));
    let first = world.digest(1, 0).expect("a digest");
    assert_eq!(first.names(), 0);
    let names = 3_000;
    for name in 0..names {
        let put = record(name, world.time(), &[], false);
        world.put_all(0, vec![put]);
        world.run(Duration::from_millis(5));
    }
    world.run(Duration::from_secs(5));
    let last = world.digest(1, 0).expect("a digest");
    assert!(last.seed() != first.seed() && last.names() > 1_000, "made anew: {last:?}");
    assert_each_has_what_was_agreed(&world, &[(0, 1)]);
    let others = (names..names + 10_000).map(|name| *record(name, world.time(), &[], false).name());
    let mistakes = others.filter(|name| last.contains(name)).count();
    assert!(mistakes < 200, "{mistakes} mistakes in 10000");
}

#[test]
fn what_is_for_some_only_goes_by_value_where_pointers_are_pushed() {
    let mut world = World::new(4, 3, &[(0, 1), (1, 2)]);
    for (from, to) in [(0, 1), (1, 2)] {
        world.agree(from, to, |agreement| agreement.push = Mode::Pointers);
    }
    let inside = [world.nodes[0].name, world.nodes[1].name];
    let (scoped, open) = (record(1, world.time(), &inside, false), record(2, world.time(), &[], false));
    world.put_all(0, vec![scoped.clone(), open.clone()]);
    world.run(Duration::from_secs(10));
    assert!(world.held(1, scoped.name()).is_some_and(|held| held.record == scoped));
    assert!(world.held(1, open.name()).is_none());
    let told: Vec<_> = world.pointers(2).into_values().collect();
    assert_eq!(told.len(), 1, "a name leaves its scope");
    assert_eq!((told[0].name, told[0].keeper, told[0].from), (*open.name(), inside[0], inside[1]));
}
