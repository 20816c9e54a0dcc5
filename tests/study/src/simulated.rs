//! One network of simulated providers under the trace: the same sessions, desks and stores, virtual time, and work that providers share.

use crate::Error;
use crate::figures::{Form, Place, Quantiles, Row, Run, Setting, Shape, riders};
use crate::names;
use crate::storage::POINTER_BYTES;
use crate::trace::Trace;
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::store::RecordStore;
use dialtone_shared::message::{Mode, Relationship};
use dialtone_shared::{Name, Ttl, VerifiedRecord};
use dialtone_world::{World, graph, ready};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashSet;
use std::time::Duration;

/// The networks for these numbers of providers.
pub fn settings(providers: &[usize]) -> Vec<Setting> {
    let (mesh, peers, random) = (Shape::Mesh, Shape::Peers, Shape::Random(DEGREE));
    let of = |providers: usize, shape, riders| Setting { providers, shape, riders };
    let small = |providers: &&usize| **providers <= MESH_MAX;
    let meshes = providers.iter().filter(small).map(|providers| of(*providers, mesh, 0));
    let peers = providers.iter().filter(small).map(|providers| of(*providers, peers, 0));
    let randoms = providers.iter().map(|providers| of(*providers, random, 0));
    let riding = |providers: &usize| Some(of(*providers, mesh, riders(*providers)?));
    let riders = providers.iter().filter(small).filter_map(riding);
    meshes.chain(peers).chain(randoms).chain(riders).collect()
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
/// Updates that are watched until another provider has them: so many that one in a hundred is not the last.
const UPDATES: usize = 128;
/// How long one is watched.
const WATCHED: Duration = Duration::from_secs(120);
/// The longest pause between two looks for one, which is how exactly it is measured.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Gets of names that nobody has.
const NOBODYS: usize = 200;
/// So many of them a second.
const GETS_PER_SECOND: u32 = 50;
/// How exactly updates are timed.
const STEP: Duration = Duration::from_millis(1);
/// How long it takes until all have told each other whom they would ask: up to 16 rounds of looking at links, five a second.
const TELLS: Duration = Duration::from_secs(5);
/// Longer than any question lasts.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures one network.
///
/// # Errors
/// A record cannot be signed.
pub fn measure((trace, run): (&Trace, Run), setting: Setting, form: Form) -> Result<Row, Error> {
    let mut rng = StdRng::seed_from_u64(7);
    let Setting { providers, shape, riders } = setting;
    let pairs = match shape {
        Shape::Mesh | Shape::Peers => graph::mesh(providers),
        Shape::Random(degree) => graph::random(&mut rng, providers, degree),
    };
    let gives = |provider: usize| provider < providers - riders;
    let mut world = World::with_terms(11, providers, &pairs, |own, _, agreement| {
        agreement.accept = mode(form);
        agreement.push = if gives(own) { mode(form) } else { Mode::None };
        agreement.answers = gives(own);
        if shape == Shape::Peers {
            agreement.relationship = Relationship::Peer;
        }
    })
    .unwatched();
    world.run(SETTLES);

    let home: Vec<usize> = (0..trace.names).map(|_| rng.random_range(0..providers)).collect();
    let before = sent(&world, &pairs);
    for (number, home) in home.iter().enumerate() {
        let record = names::verified(number, world.time(), TTL)?;
        world.put_all(*home, vec![record]);
        world.run(Duration::from_secs(1) / PUTS_PER_SECOND);
    }
    world.run(SETTLES);
    let puts = trace.names as f64;
    let after = sent(&world, &pairs);
    let (put_messages, put_bytes) = ((after.0 - before.0) as f64 / puts, (after.1 - before.1) as f64 / puts);
    let (mut held, mut held_bytes) = (0, 0);
    for node in 0..providers {
        for one in ready(world.nodes[node].store.scan(None, usize::MAX))? {
            held += 1;
            held_bytes += one.record.bytes().len();
        }
        held_bytes += world.pointers(node).len() * POINTER_BYTES;
    }
    for (a, b) in &pairs {
        let digests = [world.digest(*a, *b), world.digest(*b, *a)];
        held_bytes += digests.into_iter().flatten().map(|digest| digest.size_bytes()).sum::<usize>();
    }

    // The trace, at its own pace.
    let mut world = world.asking();
    world.run(TELLS);
    let start = world.now;
    let mut gets = Vec::with_capacity(trace.queries.len());
    for (when, number) in &trace.queries {
        world.run((start + *when).saturating_sub(world.now));
        let get = world.get(rng.random_range(0..providers), names::name(*number));
        gets.push((get, start + *when, gives(home[*number])));
    }
    world.run(start + trace.lasts + PATIENCE - world.now);
    let (questions, bytes) = (world.gets.questions, world.gets.bytes);
    let givers: HashSet<Name> = world.nodes.iter().take(providers - riders).map(|node| node.name).collect();
    let tallies = (0..providers).flat_map(|node| &world.tally(node).peers);
    let served: u64 = tallies
        .filter(|(peer, _)| givers.contains(peer))
        .map(|(_, tally)| tally.asked)
        .sum();
    let mut got = Got::default();
    for (get, begun, of_giver) in gets {
        let (at, reply) = world.gets.answers.remove(&get).ok_or("a get that is never answered")?;
        let found = usize::from(matches!(reply, Reply::Record(_)));
        got.latency_us.push((at - begun).as_secs_f64() * 1e6);
        // Deciding takes no time, and asking does.
        got.local += usize::from(at == begun);
        got.found += found;
        if of_giver {
            got.of_givers[0] += 1;
            got.of_givers[1] += found;
        }
    }

    let mut updates = Vec::new();
    for number in trace.asked(&mut rng, UPDATES, |number| gives(home[number])) {
        let elsewhere = (home[number] + rng.random_range(1..providers)) % providers;
        let later = Duration::from_secs(u64::from(TTL.0)).mul_f64(rng.random());
        updates.push(Update::new(&mut world, number, [home[number], elsewhere], later));
    }
    let (stale, unseen) = watch(&mut world, updates)?;

    // What nobody has.
    let before = world.gets.questions;
    let mut asked = Vec::new();
    for number in 0..NOBODYS {
        asked.push(world.get(rng.random_range(0..providers), names::name(names::NOBODYS + number)));
        world.run(Duration::from_secs(1) / GETS_PER_SECOND);
    }
    world.run(PATIENCE);
    let certain = asked
        .iter()
        .filter(|get| matches!(world.gets.answers.get(get), Some((_, Reply::Absent))));
    let certain = certain.count();
    let count = trace.queries.len() as f64;
    let each = providers as f64;
    Ok(Row {
        place: Place::World,
        form,
        providers,
        shape,
        riders,
        run,
        put_messages,
        put_bytes,
        get_messages: questions as f64 / count,
        get_bytes: bytes as f64 / count,
        absent_messages: (world.gets.questions - before) as f64 / NOBODYS as f64,
        absent_certain: certain as f64 / NOBODYS as f64,
        held: held as f64 / each,
        held_bytes: held_bytes as f64 / each,
        local: got.local as f64 / count,
        found: got.found as f64 / count,
        found_of_givers: got.of_givers[1] as f64 / got.of_givers[0].max(1) as f64,
        latency_us: Quantiles::of(got.latency_us),
        stale_ms: Quantiles::of(stale),
        unseen,
        put_cpu_us: None,
        get_cpu_us: None,
        others_cpu: None,
        work: served as f64 / count / (each - riders as f64),
    })
}

/// What became of gets.
#[derive(Default)]
struct Got {
    latency_us: Vec<f64>,
    local: usize,
    found: usize,
    of_givers: [usize; 2],
}

/// A newer record of a name, and who waits for it where.
struct Update {
    number: usize,
    home: usize,
    elsewhere: usize,
    /// When it is put.
    put: Duration,
    record: Option<VerifiedRecord>,
    /// The get that is under way.
    get: Option<u64>,
    /// When the next is due, and how long it is from one to the next by now.
    next: Duration,
    pause: Duration,
}

impl Update {
    /// Asks for the name elsewhere, so that a copy may be there when the newer record is put a little later.
    fn new(world: &mut World, number: usize, [home, elsewhere]: [usize; 2], later: Duration) -> Self {
        world.get(elsewhere, names::name(number));
        Self {
            number,
            home,
            elsewhere,
            put: world.now + later,
            record: None,
            get: None,
            next: world.now + later,
            pause: STEP,
        }
    }

    /// Puts, asks, or looks what came of asking: when the newer record was answered, if it was.
    fn step(&mut self, world: &mut World) -> Result<Option<Duration>, Error> {
        if world.now < self.next {
            return Ok(None);
        }
        let record = match &self.record {
            Some(record) => record,
            None => {
                let record = names::verified(self.number, world.time(), TTL)?;
                world.put_all(self.home, vec![record.clone()]);
                self.record.insert(record)
            }
        };
        let get = *self.get.get_or_insert_with(|| world.get(self.elsewhere, *record.name()));
        let Some((at, reply)) = world.gets.answers.remove(&get) else {
            return Ok(None);
        };
        if matches!(reply, Reply::Record(found) if found.record == *record) {
            return Ok(Some(at));
        }
        self.get = None;
        self.next = world.now + self.pause;
        self.pause = self.pause.mul_f64(1.2).min(PAUSE_MAX);
        Ok(None)
    }
}

/// Watches updates: how long after each put it was seen elsewhere, in milliseconds, and how many were not.
fn watch(world: &mut World, mut updates: Vec<Update>) -> Result<(Vec<f64>, usize), Error> {
    let (mut stale, mut unseen) = (Vec::new(), 0);
    while !updates.is_empty() {
        let mut open = Vec::with_capacity(updates.len());
        for mut update in updates {
            match update.step(world)? {
                Some(at) => stale.push((at - update.put).as_secs_f64() * 1e3),
                None if world.now >= update.put + WATCHED => unseen += 1,
                None => open.push(update),
            }
        }
        updates = open;
        world.run(STEP);
    }
    Ok((stale, unseen))
}

/// What has been sent over all links: entries of feeds, and bytes.
fn sent(world: &World, pairs: &[(usize, usize)]) -> (u64, u64) {
    let ends = pairs
        .iter()
        .flat_map(|(a, b)| [world.progress(*a, *b), world.progress(*b, *a)])
        .flatten();
    ends.fold((0, 0), |(entries, bytes), end| {
        let sent = end.records_sent + end.pointers_sent + end.mentions_sent;
        (entries + sent, bytes + end.bytes_sent)
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
