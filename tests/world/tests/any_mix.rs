//! What holds for three to sixteen mutual providers on any connected graph, whatever each link and direction is agreed to push, and while that
//! changes. One seed again: `PEERING_SEED=7 cargo test -p dialtone-world --test any_mix NAME`; more: `PEERING_SEEDS=1000`, with `--release`.
//!
//! The bounds, where nothing else is broken:
//!
//! - what was put resolves at every provider [`KNOWN_AFTER`] later: an absence may be remembered for 5 s, and be told to another that does so too;
//! - what replaces it does so everywhere [`NEWEST_AFTER`] later: a copy is good for its TTL, here 60 s, and what is not sure to be the newest for 5 s
//!   more; such an answer says so by its TTL, and the next get finds the newest;
//! - what ends a name, and a key that takes over, go by value over every link, whatever is agreed: [`URGENT_AFTER`].

use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::peering::ask::limits::UNSURE_TTL_SECS;
use dialtone_provider::settings::BURST_SECS;
use dialtone_shared::message::Mode;
use dialtone_shared::{Name, UnixSecs, VerifiedRecord};
use dialtone_world::modes::rotating;
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
/// How long a link may be dead before what has been told over it counts no longer as all there is: `HEARD_WITHIN`.
const UNHEARD: Duration = Duration::from_secs(5);
/// How long records are kept.
const KEPT: UnixSecs = UnixSecs(BEGIN + 20 * 86_400);

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

/// That each get was answered as is promised; `broken`: as far as that is promised while something is broken.
fn kept(world: &World, puts: &Puts, made: &Made, broken: bool) -> Result<(), String> {
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
            match broken {
                // It crashed.
                true => continue,
                false => return said("is never answered"),
            }
        };
        match (reply, before(if broken { UNHEARD + KNOWN_AFTER } else { KNOWN_AFTER })) {
            (Reply::Record(found), _) => {
                let revoked = |record: &VerifiedRecord| record.rank().revoked || record.rank().epoch > 0;
                let newest = before(NEWEST_AFTER)
                    .into_iter()
                    .chain(before(URGENT_AFTER).filter(|(_, record)| revoked(record)));
                let unsure = broken || (found.fresh.0 <= UNSURE_TTL_SECS && !strict);
                if !unsure && newest.clone().any(|(_, record)| record.outranks(&found.record)) {
                    return said(&format!("is {}", found.record.rank()));
                }
            }
            (_, None) => {}
            (Reply::Unknown(_) | Reply::Busy, _) if broken => {}
            (other, Some(_)) => return said(&format!("is {other:?}")),
        }
    }
    Ok(())
}

/// Puts something somewhere: mostly a new record, seldom a revocation or one by a later key.
fn put(world: &mut World, puts: &mut Puts) {
    let (node, name) = (world.rng.random_range(0..world.nodes.len()), world.rng.random_range(0..30));
    let put = match world.rng.random_range(0..25) {
        0 => record(name, world.time(), &[], true),
        1 | 2 => rotating(name % 10, world.rng.random_range(1..3), world.time()),
        3..10 => rotating(name % 10, 0, world.time()),
        _ => record(name, world.time(), &[], false),
    };
    let known = puts.entry(*put.name()).or_default();
    if world.nodes[node].up && known.last().is_none_or(|(_, last)| put.outranks(last)) {
        known.push((world.now, put.clone()));
        world.put(node, put, KEPT);
    }
}

/// Some gets of what was put, anywhere.
fn some_gets(world: &mut World, puts: &Puts, made: &mut Made) -> Result<(), String> {
    for _ in 0..6 {
        let (node, at) = (world.rng.random_range(0..world.nodes.len()), world.rng.random_range(0..puts.len()));
        let name = puts.iter().nth(at).filter(|(_, puts)| !puts.is_empty()).map(|(name, _)| *name);
        if let Some(name) = name {
            get(world, made, node, name, false);
        }
        let pause = world.draw(0, 400);
        world.try_run(pause)?;
    }
    Ok(())
}

/// Gets every name everywhere; and once more, when what was not sure the first time may be asked about again.
fn all_gets(world: &mut World, puts: &Puts, nodes: usize) -> Result<(), String> {
    for strict in [false, true] {
        let mut made = Made::new();
        for (name, _) in puts.iter().filter(|(_, puts)| !puts.is_empty()) {
            (0..nodes).for_each(|node| get(world, &mut made, node, *name, strict));
            world.try_run(SECOND / 10)?;
        }
        world.try_run(SECOND * 6)?;
        // All ask for the same at the same time: who then runs out of questions is answered a moment later.
        kept(world, puts, &made, !strict)?;
    }
    world.check()
}

/// A life of puts and gets everywhere, and what `happens` meanwhile.
fn life(world: &mut World, broken: bool, mut happens: impl FnMut(&mut World)) -> Result<(), String> {
    let (mut puts, mut made) = (Puts::new(), Made::new());
    for round in 0..100 {
        put(world, &mut puts);
        if round % 5 == 4 {
            happens(world);
        }
        some_gets(world, &puts, &mut made)?;
    }
    (world.faulty, world.network.loss) = (false, 0.0);
    world.heal();
    world.try_run(NEWEST_AFTER)?;
    kept(world, &puts, &made, broken)?;
    all_gets(world, &puts, world.nodes.len())
}

#[test]
fn whatever_the_mix_of_modes_a_put_at_any_resolves_at_all_and_so_does_what_replaces_it() {
    let test = "-p dialtone-world --test any_mix whatever_the_mix_of_modes";
    in_worlds(test, 14, |seed| life(&mut mixed(seed).0, false, |_| {}));
}

#[test]
fn while_modes_change_a_put_at_any_goes_on_resolving_at_all() {
    let test = "-p dialtone-world --test any_mix while_modes_change";
    in_worlds(test, 14, |seed| {
        let (mut world, directions) = mixed(seed);
        life(&mut world, false, |world| {
            let (from, to) = directions[world.rng.random_range(0..directions.len())];
            let mode = MODES[world.rng.random_range(0..MODES.len())];
            set(world, from, to, mode);
        })
    });
}

#[test]
fn whatever_breaks_no_name_that_was_put_is_called_absent_and_when_it_is_mended_all_resolve() {
    let test = "-p dialtone-world --test any_mix whatever_breaks";
    in_worlds(test, 9, |seed| {
        let (mut world, _) = mixed(seed);
        let nodes = world.nodes.len();
        (world.faulty, world.network.loss) = (seed % 2 == 0, [0.0, 0.1, 0.3][(seed % 3) as usize]);
        life(&mut world, true, |world| {
            let (ones, others): (Vec<_>, Vec<_>) = (0..nodes).partition(|_| world.rng.random_bool(0.5));
            match world.rng.random_range(0..4) {
                0 => world.partition(&ones, &others),
                1 => world.heal(),
                2 => world.crash(ones.first().copied().unwrap_or(0), true),
                _ => {}
            }
        })
    });
}

#[test]
fn however_few_questions_are_answered_no_name_that_was_put_is_called_absent_and_nobody_is_answered_more() {
    let test = "-p dialtone-world --test any_mix however_few_questions";
    let mut refused = 0;
    in_worlds(test, 9, |seed| {
        let (mut world, directions) = mixed(seed);
        for (from, to) in &directions {
            let few = world.rng.random_range(1..4);
            world.agree(*from, *to, |agreement| agreement.limits.queries_per_second = few);
        }
        let (mut puts, mut made, began) = (Puts::new(), Made::new(), world.now);
        for _ in 0..60 {
            put(&mut world, &mut puts);
            some_gets(&mut world, &puts, &mut made)?;
        }
        // What is asked for in vain is asked of many.
        for name in 1_000..1_030 {
            let nobody = *record(name, world.time(), &[], false).name();
            for node in 0..world.nodes.len() {
                world.get(node, nobody);
            }
            world.try_run(SECOND / 20)?;
        }
        world.try_run(SECOND * 10)?;
        kept(&world, &puts, &made, true)?;
        // A second more, for clocks tell whole ones.
        let secs = (world.now - began).as_secs() + 1 + u64::from(BURST_SECS);
        for (own, peer) in &directions {
            let peer = world.nodes[*peer].name;
            let few = u64::from(world.nodes[*own].agreements[&peer].limits.queries_per_second);
            let tally = world.tally(*own).peers.get(&peer).copied().unwrap_or_default();
            refused += tally.refused;
            if tally.served > few * secs {
                return Err(format!(
                    "provider {own} answered {} questions in {secs} s, where {few} a second are agreed",
                    tally.served
                ));
            }
        }
        Ok(())
    });
    assert!(refused > 0, "nobody asked too much: this tests nothing");
}

#[test]
fn a_customer_moves_to_another_provider_and_every_name_goes_on_resolving_with_no_gap() {
    let test = "-p dialtone-world --test any_mix a_customer_moves";
    in_worlds(test, 12, |seed| {
        let (mut world, _) = mixed(seed);
        // The one that is left joins no others: without it the rest are connected.
        let left = world.nodes.len() - 1;
        let to = world.rng.random_range(0..left);
        let (mut puts, mut made, signed) = (Puts::new(), Made::new(), world.time());
        for name in 0..15 {
            let put = record(name, signed, &[], false);
            puts.entry(*put.name()).or_default().push((world.now, put.clone()));
            world.put(left, put, UnixSecs(BEGIN + 300));
        }
        world.try_run(KNOWN_AFTER)?;
        // One by one: the very same records, or such as were signed for the occasion.
        for name in 0..15 {
            let mut put = record(name, signed, &[], false);
            if seed % 2 == 0 {
                put = record(name, world.time(), &[], false);
                puts.entry(*put.name()).or_default().push((world.now, put.clone()));
            }
            world.put(to, put, KEPT);
            some_gets(&mut world, &puts, &mut made)?;
        }
        world.try_run(KNOWN_AFTER)?;
        if seed % 4 < 2 {
            // The provider that was left keeps nothing any longer.
            for _ in 0..60 {
                some_gets(&mut world, &puts, &mut made)?;
                world.try_run(SECOND * 60)?;
            }
        } else {
            // It goes out of business.
            let others: Vec<_> = (0..left).collect();
            world.partition(&[left], &others);
            for _ in 0..60 {
                (0..3).for_each(|_| {
                    let (node, at) = (world.rng.random_range(0..left), world.rng.random_range(0..puts.len()));
                    let name = *puts.keys().nth(at).expect("a name");
                    get(&mut world, &mut made, node, name, false);
                });
                world.try_run(SECOND * 3)?;
            }
        }
        world.try_run(SECOND * 5)?;
        kept(&world, &puts, &made, false)?;
        all_gets(&mut world, &puts, left)
    });
}
