//! A life of names whose keys are replaced and that end, of searches for the tags of all their keys, and of random faults, from a seed.

use super::{BEGIN, World, graph, record};
use crate::records::rotating;
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_shared::hip::Hit;
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixSecs, VerifiedRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// What searches came to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Searches {
    /// So many led to a record while things broke.
    pub meanwhile: usize,
    /// So many led to one at the end: of a key in force, everywhere.
    pub led: usize,
    /// So many led nowhere then: of a key that was replaced, or whose name has ended.
    pub nowhere: usize,
}

/// What was put: the newest of each name, and of which name each tag ever was.
#[derive(Default)]
struct Known {
    newest: BTreeMap<Name, VerifiedRecord>,
    tags: BTreeMap<Hit, Name>,
}

/// Lives it. Who breaks what the watch looks for is told by the watch.
///
/// # Errors
/// A tag led to a record that does not carry it, to a revoked one, or behind what the provider that answered holds; or, when all is mended, it does not
/// lead where it should.
pub fn live(seed: u64) -> Result<Searches, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (nodes, degree) = (3 + (seed % 6) as usize, rng.random_range(2..4));
    let pairs = graph::random(&mut rng, nodes, degree);
    let modes: Vec<Mode> = (0..nodes * nodes).map(|_| MODES[rng.random_range(0..MODES.len())]).collect();
    let mut world = World::with_terms(seed, nodes, &pairs, |own, other, agreement| {
        agreement.push = modes[own * nodes + other]
    })
    .asking();
    world.run(SECOND * 10);
    (world.faulty, world.network.loss) = (seed.is_multiple_of(2), [0.0, 0.1, 0.3][(seed % 3) as usize]);
    let (mut known, mut searches, mut gets) = (Known::default(), Searches::default(), Vec::new());
    for round in 0..ROUNDS {
        put(&mut world, &mut known);
        if round % 5 == 4 {
            breaks(&mut world);
        }
        for _ in 0..6 {
            let at = world.rng.random_range(0..known.tags.len());
            let (node, tag) = (world.rng.random_range(0..nodes), known.tags.keys().nth(at).copied());
            gets.extend(tag.map(|tag| world.get_tag(node, tag)));
            let pause = world.draw(0, 400);
            world.try_run(pause)?;
        }
    }
    let led = |get: &&u64| matches!(world.gets.answers.get(*get), Some((_, Reply::Record(_))));
    searches.meanwhile = gets.iter().filter(led).count();
    (world.faulty, world.network.loss) = (false, 0.0);
    world.heal();
    world.try_run(NEWEST_AFTER)?;
    // The first time something may still be unsure; then it is asked about once more.
    for last in [false, true] {
        (searches.led, searches.nowhere) = everywhere(&mut world, &known, last)?;
    }
    world.check()?;
    Ok(searches)
}

/// Mostly a new record of one of a few names, seldom one by a later key, by a key that was replaced, or the end of a name.
fn put(world: &mut World, known: &mut Known) {
    let (node, number) = (world.rng.random_range(0..world.nodes.len()), world.rng.random_range(0..NAMES));
    let put = match world.rng.random_range(0..12) {
        0 => record(number, world.time(), &[], true),
        1..5 => record(number, world.time(), &[], false),
        5..7 => rotating(number, 1, world.time(), 10),
        // Of a name whose key was replaced: whoever stole the old one.
        _ => rotating(number, 0, world.time(), 10),
    };
    if !world.nodes[node].up && !known.tags.is_empty() {
        return;
    }
    let key = put.record().signing_key().expect("a key");
    known.tags.insert(Hit::of(&key), *put.name());
    let newest = known.newest.entry(*put.name()).or_insert_with(|| put.clone());
    if put.outranks(newest) {
        *newest = put.clone();
    }
    world.put(node, put, UnixSecs(BEGIN + 20 * 86_400));
}

fn breaks(world: &mut World) {
    let nodes = world.nodes.len();
    let (ones, others): (Vec<_>, Vec<_>) = (0..nodes).partition(|_| world.rng.random_bool(0.5));
    match world.rng.random_range(0..4) {
        0 => world.partition(&ones, &others),
        1 => world.heal(),
        2 => world.crash(ones.first().copied().unwrap_or(0), true),
        _ => {}
    }
}

/// Every tag, asked for everywhere: how many led to the newest record of their name, and how many nowhere, as they should.
fn everywhere(world: &mut World, known: &Known, last: bool) -> Result<(usize, usize), String> {
    let mut gets = Vec::new();
    for tag in known.tags.keys() {
        gets.extend((0..world.nodes.len()).map(|node| (world.get_tag(node, *tag), *tag, node)));
        world.try_run(SECOND / 10)?;
    }
    world.try_run(SECOND * 6)?;
    let (mut led, mut nowhere) = (0, 0);
    for (get, tag, node) in gets {
        let newest = &known.newest[&known.tags[&tag]];
        let in_force = tag.is_of(newest.record());
        match world.gets.answers.get(&get).map(|(_, reply)| reply) {
            Some(Reply::Record(found)) if in_force && found.record == *newest => led += 1,
            Some(Reply::Absent | Reply::Unknown(_)) if !in_force => nowhere += 1,
            _ if !last => {}
            other => {
                let (rank, name) = (newest.rank(), newest.name());
                return Err(format!(
                    "the tag {tag}, asked for at provider {node} when all was mended, led to {other:?}; the newest of {name} is {rank}"
                ));
            }
        }
    }
    Ok((led, nowhere))
}

const MODES: [Mode; 4] = [Mode::None, Mode::Digest, Mode::Pointers, Mode::Values];
const SECOND: Duration = Duration::from_secs(1);
/// A copy is good for its TTL, and what is not sure to be the newest for 5 s more.
const NEWEST_AFTER: Duration = Duration::from_secs(70);
/// Puts in a life.
const ROUNDS: usize = 60;
/// Names of each kind.
const NAMES: u32 = 6;
