//! One network of simulated providers under the trace: the same sessions, desks and stores, virtual time, and work that providers share.

use crate::Error;
use crate::asking::Asking;
use crate::figures::{Form, Place, Quantiles, Row, Run, Setting, Shape, riders};
use crate::names;
use crate::storage::POINTER_BYTES;
use crate::trace::Trace;
use dialtone_provider::peering::ask::desk::Reply;
use dialtone_provider::store::RecordStore;
use dialtone_shared::Ttl;
use dialtone_shared::message::{Mode, Relationship};
use dialtone_world::{World, graph, ready};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
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
    let mut asking = Asking::new(&mut world);
    let start = asking.world().now;
    let mut gets = Vec::with_capacity(trace.queries.len());
    for (when, number) in &trace.queries {
        asking.run_until(start + *when)?;
        let get = asking.get(rng.random_range(0..providers), names::name(*number))?;
        gets.push((get, start + *when, gives(home[*number])));
    }
    asking.run_until(start + trace.lasts + PATIENCE)?;
    let (questions, bytes) = (asking.questions, asking.bytes);
    let served: u64 = asking.served.iter().take(providers - riders).sum();
    let mut got = Got::default();
    for (get, begun, of_giver) in gets {
        let done = asking.done.remove(&get).ok_or("a get that is never answered")?;
        let found = usize::from(matches!(done.reply, Reply::Record(_)));
        got.latency_us.push((done.at - begun).as_secs_f64() * 1e6);
        got.local += usize::from(done.is_local);
        got.found += found;
        if of_giver {
            got.of_givers[0] += 1;
            got.of_givers[1] += found;
        }
    }

    // Updates.
    let (mut stale, mut unseen) = (Vec::new(), 0);
    for number in trace.asked(&mut rng, UPDATES, |number| gives(home[number])) {
        let elsewhere = (home[number] + rng.random_range(1..providers)) % providers;
        let later = Duration::from_secs(u64::from(TTL.0)).mul_f64(rng.random());
        match update(&mut asking, number, home[number], elsewhere, later)? {
            Some(after) => stale.push(after.as_secs_f64() * 1e3),
            None => unseen += 1,
        }
    }

    // What nobody has.
    let (before, mut certain) = (asking.questions, 0_usize);
    for number in 0..NOBODYS {
        let get = asking.get(rng.random_range(0..providers), names::name(names::NOBODYS + number))?;
        let then = asking.world().now + PATIENCE;
        asking.run_until(then)?;
        certain += usize::from(asking.done.remove(&get).is_some_and(|done| done.reply == Reply::Absent));
    }
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
        absent_messages: (asking.questions - before) as f64 / NOBODYS as f64,
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

/// Asks for a name elsewhere, so that a copy may be there, puts a newer record of it a little later, and asks elsewhere until that is
/// there: how long after the put; `None`: not while it was watched.
fn update(asking: &mut Asking<'_>, number: usize, home: usize, elsewhere: usize, later: Duration) -> Result<Option<Duration>, Error> {
    asking.get(elsewhere, names::name(number))?;
    let put = asking.world().now + later;
    asking.run_until(put)?;
    let record = names::verified(number, asking.world().time(), TTL)?;
    asking.world().put_all(home, vec![record.clone()]);
    let mut pause = Duration::from_millis(1);
    while asking.world().now - put < WATCHED {
        let get = asking.get(elsewhere, *record.name())?;
        while !asking.done.contains_key(&get) {
            let then = asking.world().now + Duration::from_millis(1);
            asking.run_until(then)?;
        }
        let done = asking.done.remove(&get).ok_or("a get that is never answered")?;
        if matches!(done.reply, Reply::Record(found) if found.record == record) {
            return Ok(Some(done.at - put));
        }
        let then = asking.world().now + pause;
        asking.run_until(then)?;
        pause = pause.mul_f64(1.2).min(PAUSE_MAX);
    }
    Ok(None)
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
