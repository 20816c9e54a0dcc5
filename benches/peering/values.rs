//! Everyone pushes values to everyone linked: how long until a put at any is visible at all, and what a record costs each receiver.

use crate::parts::http::Connection;
use crate::parts::records::{put_request, record, run as set};
use crate::parts::times::Times;
use crate::parts::{Error, verify};
use crate::process::{Counts, Place, Provider, agreement, at};
use crate::steady::{Steady, puts};
use dialtone_shared::SignedRecord;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// `shape`: `mesh` (all linked, mutual), `peers` (all linked, as peers) or `ring` (mutual).
pub async fn run(shape: &str, count: usize, rate: usize) -> Result<(), Error> {
    let relationship = if shape == "peers" { "peer" } else { "mutual" };
    let linked = |a: usize, b: usize| match shape {
        "ring" => (a + 1) % count == b || (b + 1) % count == a,
        _ => a != b,
    };
    let strict = verify::library()?;
    let root = tempfile::tempdir()?;
    let places: Vec<Place> = (0..=count)
        .map(|number| Place::new(root.path(), number))
        .collect::<Result<_, _>>()?;
    let mut providers: Vec<Provider> = Vec::new();
    for number in 0..count {
        let mut peers = String::new();
        for other in (0..count).filter(|other| linked(number, *other)) {
            let at = providers.get(other).map(|provider| provider.peering);
            let _ = write!(peers, "{}", agreement(&places[other].name, at, relationship));
        }
        providers.push(places[number].start(&peers, None)?);
    }
    // One without peers, under the same puts: what they cost by themselves.
    let alone = places[count].start("", None)?;
    for (number, provider) in providers.iter().enumerate() {
        let links = (0..count).filter(|other| linked(number, *other)).count() as f64;
        let up = |counts: &Counts| at(counts, "dialtone_peer_up") >= links;
        provider.until(Duration::from_millis(100), "its links stand", up).await?;
    }
    sleep(SETTLE).await;
    let idle = cpu(&providers, &alone)?;
    sleep(IDLE).await;
    let idle: Vec<f64> = each(&cpu(&providers, &alone)?, &idle, |after, before| {
        (after - before) / IDLE.as_secs_f64()
    });

    // Puts alone: the processor time.
    let (before, used) = (counts(&providers).await?, cpu(&providers, &alone)?);
    let began = Instant::now();
    let set = set();
    let rate_each = rate / count;
    let many = rate_each * LOADED.as_secs() as usize;
    let all: Vec<&Provider> = providers.iter().chain([&alone]).collect();
    let loads = all.iter().enumerate().map(|(number, provider)| {
        let requests = puts(provider.http, many + rate_each, set.wrapping_add(number as u8))?;
        Ok((provider.http, requests))
    });
    let loads = loads.collect::<Result<Vec<_>, Error>>()?;
    let signed = began.elapsed();
    let loads: Vec<Steady> = loads
        .iter()
        .map(|(http, requests)| Steady::start(*http, requests, rate_each))
        .collect();
    sleep(LOADED).await;
    let made: Vec<f64> = loads
        .into_iter()
        .map(|load| Ok(load.stop()?.count() as f64))
        .collect::<Result<_, Error>>()?;
    sleep(SETTLE).await;
    let took = began.elapsed().as_secs_f64();
    let (after, used) = (
        counts(&providers).await?,
        each(&cpu(&providers, &alone)?, &used, |after, before| after - before),
    );
    let put = (used[count] - idle[count] * took) / made[count];
    let sum = |key: &str| (0..count).map(|one| at(&after[one], key) - at(&before[one], key)).sum::<f64>();
    let total: f64 = made[..count].iter().sum();
    let mut costs: Vec<f64> = (0..count)
        .map(|one| {
            let stored = at(&after[one], "dialtone_records") - at(&before[one], "dialtone_records") - made[one];
            (used[one] - idle[one] * took - made[one] * put) / stored
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    println!(
        "op=values shape={shape} n={count} puts/s={rate} signing_secs={:.1} messages/put={:.2} bytes/put={:.0} receiver_us={:.1} min={:.1} max={:.1} verify_strict_us={strict:.1} put_us={put:.1} idle_us/s={:.0}",
        signed.as_secs_f64(),
        sum("dialtone_peer_records_sent_total") / total,
        sum("dialtone_peer_bytes_sent_total") / total,
        costs[count / 2],
        costs[0],
        costs[count - 1],
        idle[..count].iter().sum::<f64>() / count as f64,
    );

    // The same again, and some of the puts are watched.
    let seen = watched(&providers, rate, set.wrapping_add(100)).await?;
    println!(
        "op=visible-at-all shape={shape} n={count} puts/s={rate} watched={} p50ms={:.1} p90ms={:.1} p99ms={:.1} maxms={:.1}",
        seen.count(),
        seen.quantile(0.5) / 1e3,
        seen.quantile(0.9) / 1e3,
        seen.quantile(0.99) / 1e3,
        seen.quantile(1.0) / 1e3
    );
    Ok(())
}

/// Puts at all in turn; one in some is asked for at all the others until all have it.
async fn watched(providers: &[Provider], rate: usize, set: u8) -> Result<Times, Error> {
    let http: Vec<SocketAddr> = providers.iter().map(|provider| provider.http).collect();
    let many = rate * LOADED.as_secs() as usize;
    let records: Vec<SignedRecord> = (0..many).map(|index| record(index, set)).collect::<Result<_, _>>()?;
    let mut connections = Vec::new();
    for address in &http {
        connections.push(Connection::open(*address).await?);
    }
    let mut watchers = tokio::task::JoinSet::new();
    let start = Instant::now() + Duration::from_millis(50);
    for (index, record) in records.iter().enumerate() {
        let due = start + Duration::from_secs_f64(index as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let from = index % http.len();
        if index % WATCHED_OF != 0 {
            connections[from].ask(&put_request(http[from], record)).await?;
            continue;
        }
        let (http, record) = (http.clone(), record.clone());
        watchers.spawn(async move {
            let mut open = Vec::new();
            for address in &http {
                open.push((*address, Connection::open(*address).await?));
            }
            let (address, mut connection) = open.swap_remove(from);
            let began = Instant::now();
            connection.ask(&put_request(address, &record)).await?;
            for (address, mut connection) in open {
                let get = format!("GET /v1/records/{} HTTP/1.1\r\nhost: {address}\r\n\r\n", record.name());
                while connection.ask(get.as_bytes()).await? != 200 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Ok::<_, Error>(began.elapsed())
        });
    }
    let mut seen = Vec::new();
    while let Some(one) = watchers.join_next().await {
        seen.push(one??);
    }
    Ok(Times::of(seen))
}

async fn counts(providers: &[Provider]) -> Result<Vec<Counts>, Error> {
    let mut all = Vec::new();
    for provider in providers {
        all.push(provider.counts().await?);
    }
    Ok(all)
}

fn cpu(providers: &[Provider], alone: &Provider) -> Result<Vec<f64>, Error> {
    providers.iter().chain([alone]).map(Provider::cpu_us).collect()
}

fn each(after: &[f64], before: &[f64], what: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    after.iter().zip(before).map(|(after, before)| what(*after, *before)).collect()
}

const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
const LOADED: Duration = Duration::from_secs(20);
/// One put in so many is watched: by all others at once, which costs them more than the put.
/// Prime to the number of providers, so that each has its turn.
const WATCHED_OF: usize = 17;
