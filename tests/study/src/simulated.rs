//! One network of simulated providers under the trace: the same sessions, desks and stores, virtual time, and work that providers share.

use crate::Error;
use crate::figures::{Form, Place, Quantiles, Row, Shape};
use crate::names;
use crate::trace::Trace;
use dialtone_shared::Ttl;
use dialtone_shared::message::Mode;
use dialtone_world::{World, graph};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

/// A network.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How many providers.
    pub providers: usize,
    /// How they are linked.
    pub shape: Shape,
    /// How many only take.
    pub riders: usize,
}

/// The networks for these numbers of providers.
pub fn settings(providers: &[usize]) -> Vec<Setting> {
    let (mesh, random) = (Shape::Mesh, Shape::Random(DEGREE));
    let of = |providers: usize, shape, riders| Setting {
        providers,
        shape,
        riders,
    };
    let small = |providers: &&usize| **providers <= MESH_MAX;
    let meshes = providers.iter().filter(small).map(|providers| of(*providers, mesh, 0));
    let randoms = providers.iter().map(|providers| of(*providers, random, 0));
    let riders = providers.iter().filter(small).max().map(|most| of(*most, mesh, (most / 10).max(1)));
    meshes.chain(randoms).chain(riders).collect()
}

/// Peers of a provider on average, where not all are each other's.
const DEGREE: usize = 8;
/// Most providers that are all linked with all: a provider may have 256 peers, and 100 of them show what grows with their square.
const MESH_MAX: usize = 100;
/// Puts in a second of virtual time.
const PUTS_PER_SECOND: u32 = 200;
/// How long links and feeds get to settle.
const SETTLES: Duration = Duration::from_secs(30);
/// As by default.
const TTL: Ttl = Ttl(60);
/// Updates that are watched until another provider has them.
const UPDATES: usize = 96;
/// How long one is watched.
const WATCHED: Duration = Duration::from_secs(120);

/// Measures one network.
///
/// # Errors
/// A record cannot be signed.
pub fn measure(trace: &Trace, setting: Setting, form: Form) -> Result<Row, Error> {
    let mut rng = StdRng::seed_from_u64(7);
    let Setting { providers, shape, riders } = setting;
    let pairs = match shape {
        Shape::Mesh => graph::mesh(providers),
        Shape::Random(degree) => graph::random(&mut rng, providers, degree),
    };
    let gives = |provider: usize| provider < providers - riders;
    let mut world = World::with_terms(11, providers, &pairs, |own, _, agreement| {
        agreement.accept = mode(form);
        agreement.push = if gives(own) { mode(form) } else { Mode::None };
        agreement.answers = gives(own);
    })
    .unwatched();
    world.run(SETTLES);

    let home: Vec<usize> = (0..trace.names).map(|_| rng.random_range(0..providers)).collect();
    let before = (world.records_sent(), world.bytes_sent());
    for (number, home) in home.iter().enumerate() {
        let record = names::verified(number, world.time(), TTL)?;
        world.put_all(*home, vec![record]);
        world.run(Duration::from_secs(1) / PUTS_PER_SECOND);
    }
    world.run(SETTLES);
    let puts = trace.names as f64;
    let put_messages = (world.records_sent() - before.0) as f64 / puts;
    let put_bytes = (world.bytes_sent() - before.1) as f64 / puts;
    let maps: Vec<_> = (0..providers).map(|node| world.map(node)).collect();
    let held = maps.iter().map(|map| map.len() as f64).sum::<f64>() / providers as f64;
    let size = names::verified(0, world.time(), TTL)?.bytes().len() as f64;

    let (mut found, mut of_givers) = (0, [0, 0]);
    for (_, number) in &trace.queries {
        let here = usize::from(maps[rng.random_range(0..providers)].contains_key(&names::name(*number)));
        found += here;
        if gives(home[*number]) {
            of_givers[0] += 1;
            of_givers[1] += here;
        }
    }

    let (mut stale, mut unseen, mut updated) = (Vec::new(), 0, BTreeSet::new());
    for _ in 0..UPDATES {
        let (_, number) = trace.queries[rng.random_range(0..trace.queries.len())];
        let elsewhere = (home[number] + rng.random_range(1..providers)) % providers;
        if !gives(home[number]) || !updated.insert(number) {
            continue;
        }
        let record = names::verified(number, world.time(), TTL)?;
        let began = world.now;
        world.put_all(home[number], vec![record.clone()]);
        while world.now - began < WATCHED {
            world.run(Duration::from_millis(1));
            if world.held(elsewhere, record.name()).is_some_and(|held| held.record == record) {
                break;
            }
        }
        let after = world.now - began;
        if after < WATCHED { stale.push(after.as_secs_f64() * 1e3) } else { unseen += 1 }
    }
    let gets = trace.queries.len() as f64;
    Ok(Row {
        place: Place::World,
        form,
        providers,
        shape,
        riders,
        puts: trace.names,
        gets: trace.queries.len(),
        put_messages,
        put_bytes,
        get_messages: 0.0,
        get_bytes: Some(0.0),
        absent_messages: None,
        absent_certain: None,
        held,
        held_bytes: held * size,
        local: 1.0,
        found: found as f64 / gets,
        found_of_givers: of_givers[1] as f64 / of_givers[0].max(1) as f64,
        latency_us: Quantiles::default(),
        stale_ms: Quantiles::of(stale),
        unseen,
        put_cpu_us: None,
        get_cpu_us: None,
        work: 0.0,
    })
}

fn mode(form: Form) -> Mode {
    match form {
        Form::None => Mode::None,
        Form::Digest => Mode::Digest,
        Form::Pointers => Mode::Pointers,
        Form::Values => Mode::Values,
    }
}
