//! One network of real providers under the trace: separate processes, embedded stores, QUIC between them, HTTP from outside.

use crate::Error;
use crate::cpu::{self, Machine};
use crate::figures::{Form, Place, Quantiles, Row, Run, Setting, Shape, riders};
use crate::http::Connection;
use crate::names;
use crate::processes::{Counts, Network, at};
use crate::storage::POINTER_BYTES;
use crate::trace::Trace;
use dialtone_shared::{Name, SignedRecord, Ttl, UnixMicros};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as Clock, sleep, sleep_until};

/// How many times faster than in the trace time goes by.
const FASTER: u32 = 60;
/// The TTL of records here. In the trace it is 60 seconds, so here it ought to be one; but what is left of a TTL is told and counted in whole
/// seconds, rounded down, so that a copy of two seconds serves for one.
const TTL: Ttl = Ttl(2);
/// How long a copy serves.
const SERVES: Duration = Duration::from_secs(1);
/// How long after the start all have told each other whom they would ask: up to 16 rounds of looking at links, five a second.
const SETTLES: Duration = Duration::from_secs(4);
/// Updates that are watched until another provider has them: so many that one in a hundred is not the last.
const UPDATES: usize = 128;
/// So many of them at a time.
const AT_A_TIME: usize = 32;
/// The longest pause between two looks for one, which is how exactly it is measured.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long an update is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// Gets of names that nobody has.
const NOBODYS: usize = 200;
/// Connections to each provider: as many of its gets at a time.
const CONNECTIONS: usize = 8;

/// The networks for these numbers of providers.
pub fn settings(providers: &[usize]) -> Vec<Setting> {
    let of = |providers: usize, shape, riders| Setting { providers, shape, riders };
    let meshes = providers.iter().map(|providers| of(*providers, Shape::Mesh, 0));
    // Two have nobody to pass anything on to.
    let more = providers.iter().filter(|providers| **providers > 2);
    let peers = more.map(|providers| of(*providers, Shape::Peers, 0));
    let riders = providers
        .iter()
        .filter_map(|providers| Some(of(*providers, Shape::Mesh, riders(*providers)?)));
    meshes.chain(peers).chain(riders).collect()
}

/// A get that is due, and what became of it.
struct Get {
    due: Clock,
    name: Name,
    of_giver: bool,
}

/// What became of gets.
#[derive(Default)]
struct Got {
    latency_us: Vec<f64>,
    found: usize,
    of_givers: [usize; 2],
}

/// Measures one network, with providers that are processes of the command `dialtone`.
///
/// # Errors
/// A provider fails.
pub async fn measure(dialtone: &Path, (trace, run): (&Trace, Run), setting: Setting, form: Form) -> Result<Row, Error> {
    let mut rng = StdRng::seed_from_u64(7);
    let Setting { providers, shape, riders } = setting;
    let network = Network::start(dialtone, providers, shape, riders, form).await?;
    let linked = Instant::now();
    let http: Vec<SocketAddr> = network.providers.iter().map(|one| one.http).collect();
    let home: Vec<usize> = (0..trace.names).map(|_| rng.random_range(0..providers)).collect();
    let gives = |provider: usize| provider < providers - riders;

    // All names, each at its provider.
    let (before, cpu) = (network.counts().await?, network.cpu_us());
    let records: Vec<SignedRecord> = (0..trace.names)
        .map(|number| names::record(number, now(), TTL))
        .collect::<Result<_, _>>()?;
    put_all(&http, &records, &home).await?;
    network
        .until("all that was put has arrived", |counts| at(counts, "dialtone_peer_lag") == 0.0)
        .await?;
    // They are asked one after the other: what the first holds was read before the last had sent everything.
    let pushed = network.counts().await?;
    let put_cpu_us = cpu
        .zip(network.cpu_us())
        .map(|(before, after)| (after - before) / trace.names as f64);
    let fed = |keys: &[&str]| keys.iter().map(|key| at(&pushed, key) - at(&before, key)).sum::<f64>() / trace.names as f64;
    let put_messages = fed(&[
        "dialtone_peer_records_sent_total",
        "dialtone_peer_pointers_sent_total",
        "dialtone_peer_mentions_sent_total",
    ]);
    let put_bytes = fed(&["dialtone_peer_bytes_sent_total"]);

    // The trace.
    sleep(Duration::from_secs(u64::from(TTL.0)) + SETTLES.saturating_sub(linked.elapsed())).await;
    let (before, cpu) = (network.counts().await?, network.cpu_us());
    let (own, machine) = (cpu::of_process(std::process::id()), Machine::now());
    let start = Clock::now() + Duration::from_millis(50);
    let mut gets: Vec<Vec<Get>> = http.iter().map(|_| Vec::new()).collect();
    for (when, number) in &trace.queries {
        gets[rng.random_range(0..providers)].push(Get {
            due: start + *when / FASTER,
            name: *records[*number].name(),
            of_giver: gives(home[*number]),
        });
    }
    let got = get_all(&http, gets).await?;
    let (after, get_cpu) = (network.counts().await?, network.cpu_us());
    let get_cpu = cpu.zip(get_cpu).map(|(before, after)| after - before);
    let own = own.zip(cpu::of_process(std::process::id())).map(|(before, after)| after - before);
    let others_cpu = machine
        .zip(Machine::now())
        .zip(get_cpu.zip(own))
        .map(|((before, after), (providers, own))| after.others(before, providers + own));

    // Updates.
    let (mut stale, mut unseen) = (Vec::new(), 0);
    let updated: Vec<usize> = trace.asked(&mut rng, UPDATES, |number| gives(home[number]));
    for some in updated.chunks(AT_A_TIME) {
        let mut updates = JoinSet::new();
        for number in some.iter().copied() {
            let elsewhere = (home[number] + rng.random_range(1..providers)) % providers;
            let later = SERVES.mul_f64(rng.random());
            updates.spawn(update(number, http[home[number]], http[elsewhere], later));
        }
        while let Some(seen) = updates.join_next().await {
            match seen?? {
                Some(after) => stale.push(after.as_secs_f64() * 1e3),
                None => unseen += 1,
            }
        }
    }

    // What nobody has.
    let asked = at(&network.counts().await?, "dialtone_peer_asked_total");
    let mut certain = 0;
    for number in 0..NOBODYS {
        let address = http[rng.random_range(0..providers)];
        let reply = Connection::open(address).await?.get(&names::name(names::NOBODYS + number)).await?;
        certain += usize::from(reply.status == 404);
    }
    let all = network.counts().await?;
    let count = trace.queries.len() as f64;
    let during = |key: &str| at(&after, key) - at(&before, key);
    let asking = (during("dialtone_questions_total") + during("dialtone_questions_coalesced_total")) / count;
    let givers = (providers - riders) as f64;
    let row = Row {
        place: Place::Real,
        form,
        providers,
        shape,
        riders,
        run,
        put_messages,
        put_bytes,
        get_messages: during("dialtone_peer_asked_total") / count,
        get_bytes: during("dialtone_peer_request_bytes_sent_total") / count,
        absent_messages: (at(&all, "dialtone_peer_asked_total") - asked) / NOBODYS as f64,
        absent_certain: certain as f64 / NOBODYS as f64,
        held: at(&pushed, "dialtone_records") / providers as f64,
        held_bytes: held_bytes(&after) / providers as f64,
        local: 1.0 - asking.min(1.0),
        found: got.found as f64 / count,
        found_of_givers: got.of_givers[1] as f64 / got.of_givers[0].max(1) as f64,
        latency_us: Quantiles::of(got.latency_us),
        stale_ms: Quantiles::of(stale),
        unseen,
        put_cpu_us,
        get_cpu_us: get_cpu.map(|used| used / count),
        others_cpu,
        work: during("dialtone_peer_questions_served_total") / count / givers,
    };
    network.stop()?;
    Ok(row)
}

/// Bytes of records, and of what stands in the place of records: pointers and digests.
fn held_bytes(counts: &Counts) -> f64 {
    let pointers = at(counts, "dialtone_pointers") * POINTER_BYTES as f64;
    at(counts, "dialtone_record_bytes") + pointers + at(counts, "dialtone_peer_digest_bytes")
}

/// Puts each record at its provider, several at a time.
async fn put_all(http: &[SocketAddr], records: &[SignedRecord], home: &[usize]) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    for (provider, address) in http.iter().copied().enumerate() {
        let own: Vec<_> = records.iter().zip(home).filter(|(_, home)| **home == provider).collect();
        for part in 0..CONNECTIONS {
            let mine: Vec<SignedRecord> = own
                .iter()
                .skip(part)
                .step_by(CONNECTIONS)
                .map(|(record, _)| (*record).clone())
                .collect();
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await?;
                for record in mine {
                    let reply = connection.put(&record).await?;
                    if reply.status != 201 {
                        return Err(Error::from(format!("a put was answered {}", reply.status)));
                    }
                }
                Ok(())
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// How late a timer may be.
const TIMER: Duration = Duration::from_millis(2);

/// Makes every get when it is due: how long it takes counts from then, also if all connections are busy.
async fn get_all(http: &[SocketAddr], gets: Vec<Vec<Get>>) -> Result<Got, Error> {
    let mut tasks = JoinSet::new();
    for (address, gets) in http.iter().copied().zip(gets) {
        let (send, receive) = mpsc::channel::<Get>(gets.len().max(1));
        let receive = Arc::new(tokio::sync::Mutex::new(receive));
        for _ in 0..CONNECTIONS {
            let receive = Arc::clone(&receive);
            tasks.spawn(async move {
                let mut got = Got::default();
                let mut connection = Connection::open(address).await?;
                loop {
                    // One waits for the next to be due, and then lets another wait.
                    let get = {
                        let mut receive = receive.lock().await;
                        let Some(get) = receive.recv().await else {
                            return Ok::<_, Error>(got);
                        };
                        sleep_until(get.due).await;
                        get
                    };
                    // A timer is a millisecond late, which is not the provider's fault; a connection that was busy is.
                    let begun = if get.due.elapsed() < TIMER { Clock::now() } else { get.due };
                    let reply = connection.get(&get.name).await?;
                    got.latency_us.push(begun.elapsed().as_secs_f64() * 1e6);
                    let found = usize::from(reply.status == 200);
                    got.found += found;
                    if get.of_giver {
                        got.of_givers[0] += 1;
                        got.of_givers[1] += found;
                    }
                }
            });
        }
        for get in gets {
            send.send(get).await?;
        }
    }
    let mut all = Got::default();
    while let Some(got) = tasks.join_next().await {
        let got = got??;
        all.latency_us.extend(got.latency_us);
        all.found += got.found;
        all.of_givers[0] += got.of_givers[0];
        all.of_givers[1] += got.of_givers[1];
    }
    Ok(all)
}

/// Asks for a name elsewhere, so that a copy may be there, puts a newer record of it a little later, and asks elsewhere until that is
/// there: how long after the put was begun; `None`: not while it was watched.
async fn update(number: usize, home: SocketAddr, elsewhere: SocketAddr, later: Duration) -> Result<Option<Duration>, Error> {
    let (mut here, mut there) = (Connection::open(home).await?, Connection::open(elsewhere).await?);
    there.get(&names::name(number)).await?;
    sleep(later).await;
    let record = names::record(number, now(), TTL)?;
    let (began, mut pause) = (Instant::now(), Duration::from_millis(1));
    let reply = here.put(&record).await?;
    if !matches!(reply.status, 200 | 201) {
        return Err(format!("an update was answered {}", reply.status).into());
    }
    while began.elapsed() < WATCHED {
        let reply = there.get(record.name()).await?;
        if reply.status == 200 && reply.body[..] == record.bytes()[..] {
            return Ok(Some(began.elapsed()));
        }
        sleep(pause).await;
        pause = pause.mul_f64(1.2).min(PAUSE_MAX);
    }
    Ok(None)
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMicros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
