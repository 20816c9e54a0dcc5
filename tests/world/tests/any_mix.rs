//! What holds for three to sixteen mutual providers on any connected graph, whatever each link and direction is agreed to push, and while that
//! changes. One seed again: `PEERING_SEED=7 cargo test -p dialtone-world --test any_mix NAME`; more: `PEERING_SEEDS=1000`, with `--release`.
//!
//! The bounds, where nothing else is broken:
//!
//! - what was put resolves at every provider [`KNOWN_AFTER`] later: an absence may be remembered for 5 s, and be told to another that does so too;
//! - what replaces it does so everywhere [`NEWEST_AFTER`] later: a copy is good for its TTL, here 60 s, and what could not be asked for 5 s more;
//! - what ends a name, and a key that takes over, go by value over every link, whatever is agreed: [`URGENT_AFTER`].

use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::peering::ask::limits::UNSURE_TTL_SECS;
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixSecs, VerifiedRecord};
use dialtone_world::seeds::in_worlds;
use dialtone_world::{BEGIN, World, graph, record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

const MODES: [Mode; 4] = [Mode::None, Mode::Digest, Mode::Pointers, Mode::Values];
const SECOND: Duration = Duration::from_secs(1);
const KNOWN_AFTER: Duration = Duration::from_secs(10);
const NEWEST_AFTER: Duration = Duration::from_secs(70);
const URGENT_AFTER: Duration = Duration::from_secs(5);

/// A world of 3 to 16 providers, each direction of each link in a mode of its own.
fn mixed(seed: u64) -> (World, Vec<(usize, usize)>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let nodes = 3 + (seed % 14) as usize;
    let degree = rng.random_range(2..5);
    let pairs = graph::random(&mut rng, nodes, degree);
    let mut world = World::new(seed, nodes, &pairs).asking();
    let directions: Vec<_> = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
    for (from, to) in &directions {
        let mode = MODES[rng.random_range(0..MODES.len())];
        set(&mut world, *from, *to, mode);
    }
    world.run(SECOND * 10);
    (world, directions)
}

/// From now on `from` pushes to `to` in this mode; by chance one side or the other says so.
fn set(world: &mut World, from: usize, to: usize, mode: Mode) {
    let pusher = world.rng.random_bool(0.5);
    world.agree(from, to, |agreement| agreement.push = if pusher { mode } else { Mode::Values });
    world.agree(to, from, |agreement| agreement.accept = if pusher { Mode::Values } else { mode });
}

/// What was put of each name: when, the latest last.
type Puts = BTreeMap<Name, Vec<(Duration, VerifiedRecord)>>;

/// Gets that were made: the number, what was asked for, where, and when.
type Made = Vec<(u64, Name, usize, Duration, bool)>;

fn get(world: &mut World, made: &mut Made, node: usize, name: Name, strict: bool) {
    let at = world.now;
    made.push((world.get(node, name), name, node, at, strict));
}

/// That each get was answered as is promised.
fn kept(world: &World, puts: &Puts, made: &Made) -> Result<(), String> {
    for (get, name, node, asked, strict) in made {
        let before = |patience: Duration| puts[name].iter().rev().find(|(put, _)| *put + patience < *asked);
        let all = || {
            puts[name]
                .iter()
                .map(|(at, record)| (*at, record.rank().to_string()))
                .collect::<Vec<_>>()
        };
        let said = |what: &str| {
            Err(format!(
                "{name}, asked for at provider {node} at {asked:?}, {what}; it was put: {:?}",
                all()
            ))
        };
        let Some((_, reply)) = world.gets.answers.get(get) else {
            return said("is never answered");
        };
        match (reply, before(KNOWN_AFTER)) {
            (Reply::Record(found), _) => {
                let revoked = |record: &VerifiedRecord| record.rank().revoked || record.rank().epoch > 0;
                let newest = before(NEWEST_AFTER)
                    .into_iter()
                    .chain(before(URGENT_AFTER).filter(|(_, record)| revoked(record)));
                let unsure = found.fresh.0 <= UNSURE_TTL_SECS && !strict;
                if !unsure && newest.clone().any(|(_, record)| record.outranks(&found.record)) {
                    return said(&format!("is {}", found.record.rank()));
                }
            }
            (_, None) => {}
            (other, Some(_)) => return said(&format!("is {other:?}")),
        }
    }
    Ok(())
}

/// A life of puts and gets everywhere, and what `happens` meanwhile.
fn life(world: &mut World, mut happens: impl FnMut(&mut World)) -> Result<usize, String> {
    let (mut puts, mut made) = (Puts::new(), Made::new());
    let nodes = world.nodes.len();
    for round in 0..150 {
        let (node, name) = (world.rng.random_range(0..nodes), world.rng.random_range(0..30));
        let put = match world.rng.random_range(0..25) {
            0 => record(name, world.time(), &[], true),
            1 | 2 => dialtone_world::modes::rotating(name % 10, world.rng.random_range(1..3), world.time()),
            3..10 => dialtone_world::modes::rotating(name % 10, 0, world.time()),
            _ => record(name, world.time(), &[], false),
        };
        let known = puts.entry(*put.name()).or_default();
        if known.last().is_none_or(|(_, last)| put.outranks(last)) {
            known.push((world.now, put.clone()));
            world.put(node, put, UnixSecs(BEGIN + 20 * 86_400));
        }
        if round % 5 == 4 {
            happens(world);
        }
        for _ in 0..6 {
            let (node, at) = (world.rng.random_range(0..nodes), world.rng.random_range(0..puts.len()));
            let name = *puts.keys().nth(at).expect("a name");
            get(world, &mut made, node, name, false);
            let pause = world.draw(0, 400);
            world.try_run(pause)?;
        }
    }
    world.try_run(NEWEST_AFTER + SECOND)?;
    for strict in [false, true] {
        for name in puts.keys() {
            (0..nodes).for_each(|node| get(world, &mut made, node, *name, strict));
            world.try_run(SECOND / 10)?;
        }
        world.try_run(SECOND * 5)?;
    }
    world.check()?;
    kept(world, &puts, &made)?;
    Ok(made.len())
}

#[test]
fn whatever_the_mix_of_modes_a_put_at_any_resolves_at_all_and_so_does_what_replaces_it() {
    let test = "-p dialtone-world --test any_mix whatever_the_mix_of_modes";
    in_worlds(test, 28, |seed| life(&mut mixed(seed).0, |_| {}));
}

#[test]
fn while_modes_change_a_put_at_any_goes_on_resolving_at_all() {
    let test = "-p dialtone-world --test any_mix while_modes_change";
    in_worlds(test, 28, |seed| {
        let (mut world, directions) = mixed(seed);
        life(&mut world, |world| {
            let (from, to) = directions[world.rng.random_range(0..directions.len())];
            let mode = MODES[world.rng.random_range(0..MODES.len())];
            set(world, from, to, mode);
        })
    });
}
