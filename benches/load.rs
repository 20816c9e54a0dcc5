//! Loads a provider over loopback and reports rates, latencies and the server's own CPU time.
//!
//! ```text
//! cargo bench --bench load -- verify                               what one strict verification costs here
//! cargo bench --bench load -- put     ADDR COUNT IN_FLIGHT [PID]   durable puts over HTTP keep-alive
//! cargo bench --bench load -- pkarr   ADDR COUNT IN_FLIGHT [PID]   the same against a pkarr relay (PUT /pkarr/<key>), then gets of them all
//! cargo bench --bench load -- batch   ADDR COUNT PER_REQUEST [PID] many records in one request
//! cargo bench --bench load -- flat    ADDR FIRST COUNT             COUNT names with an A and an AAAA each, told as `label a aaaa`
//! cargo bench --bench load -- change  ADDR DNS RATE SECONDS NAMES  NAMES of them get other addresses; what is stale at DNS then
//! cargo bench --bench load -- visible ADDR_A ADDR_B RATE SECONDS   put at A until a get at B answers
//! cargo bench --bench load -- stub    HTTP_ADDR COUNT              cold and cached lookups of COUNT new names
//! cargo bench --bench load -- fill    FOLDER COUNT                 COUNT records of about 400 bytes into a store
//! cargo bench --bench load -- gets    FOLDER COUNT                 random gets from that store
//! cargo bench --bench load -- ask     ADDR COUNT IN_FLIGHT [PID]   random gets over HTTP from a provider with that store
//! ```
//!
//! Everything is signed before a clock starts. CPU is read from /proc/PID/task/*/schedstat, in nanoseconds.

#[path = "parts/mod.rs"]
#[allow(dead_code, reason = "each load generator uses a part of what they share")]
mod parts;

use dialtone_provider::store::{Class, Condition, EmbeddedOptions, EmbeddedStore, Put, RecordStore};
use dialtone_resolver::{FloorAt, RecordSource, Stub, StubSettings};
use dialtone_shared::{Name, SignedRecord, UnixSecs, z32};
use parts::Error;
use parts::args::{Args, runtime};
use parts::changing::{change, publish};
use parts::http::{Connection, put_all};
use parts::records::{genesis, now, put_request, record, run, secret};
use parts::times::{Times, cpu_of_threads};
use parts::verify;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn main() -> Result<(), Error> {
    let (args, runtime) = (Args::of_the_process(), runtime()?);
    let (word, number) = (|at| args.word(at), |at, default| args.number(at, default));
    match word(0) {
        "verify" => verify::told(),
        "put" => runtime.block_on(put(
            word(1).parse()?,
            dialtone_requests(number(2, 10_000))?,
            number(3, 64),
            pid(word(4)),
            "put",
        )),
        "pkarr" => runtime.block_on(async {
            let (address, in_flight, pid) = (word(1).parse()?, number(3, 64), pid(word(4)));
            let puts = pkarr_requests(number(2, 10_000))?;
            let gets = puts.iter().map(|put| pkarr_get(put)).collect();
            put(address, puts, in_flight, pid, "pkarr").await?;
            put(address, gets, in_flight, pid, "pkarr-get").await
        }),
        "batch" => runtime.block_on(batch(word(1).parse()?, number(2, 10_000), number(3, 256), pid(word(4)))),
        "flat" => runtime.block_on(publish(word(1).parse()?, number(2, 0), number(3, 10_000))),
        "change" => runtime.block_on(change(
            word(1).parse()?,
            word(2).parse()?,
            number(3, 1_000),
            number(4, 3),
            number(5, 10_000),
        )),
        "visible" => runtime.block_on(visible(word(1).parse()?, word(2).parse()?, number(3, 1_000), number(4, 10))),
        "stub" => runtime.block_on(stub(word(1), number(2, 2_000))),
        "fill" => runtime.block_on(fill(Path::new(word(1)), number(2, 1_000_000))),
        "ask" => runtime.block_on(put(
            word(1).parse()?,
            get_requests(number(2, 1_000_000))?,
            number(3, 1),
            pid(word(4)),
            "ask",
        )),
        "gets" => runtime.block_on(gets(Path::new(word(1)), number(2, 1_000_000))),
        _ => {
            eprintln!("verify | put | pkarr | batch | flat | change | visible | stub | fill | gets | ask: see the head of benches/load.rs");
            Ok(())
        }
    }
}

async fn put(address: SocketAddr, requests: Vec<Vec<u8>>, in_flight: usize, pid: Option<u32>, what: &str) -> Result<(), Error> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let before = cpu(pid);
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..in_flight {
        let (requests, next) = (requests.clone(), next.clone());
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let (mut taken, mut bad) = (Vec::new(), 0);
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let asked = Instant::now();
                let status = connection.ask(request).await?;
                taken.push(asked.elapsed());
                bad += usize::from(!(200..300).contains(&status));
            }
            Ok::<_, Error>((taken, bad))
        }));
    }
    let (mut taken, mut bad) = (Vec::new(), 0);
    for task in tasks {
        let (more, errors) = task.await??;
        taken.extend(more);
        bad += errors;
    }
    report(what, taken, bad, start.elapsed(), before, pid);
    Ok(())
}

async fn batch(address: SocketAddr, count: usize, per_request: usize, pid: Option<u32>) -> Result<(), Error> {
    let set = run();
    let records: Vec<SignedRecord> = (0..count).map(|index| record(index, set)).collect::<Result<_, _>>()?;
    let before = cpu(pid);
    let (seconds, bad) = put_all(address, &records, per_request).await?;
    let micros = cpu(pid)
        .zip(before)
        .map_or(0.0, |(after, before)| (after - before) as f64 / 1e3 / count as f64);
    println!(
        "op=batch rps={:.0} n={count} secs={seconds:.3} errors={bad} server_us={micros:.1}",
        count as f64 / seconds
    );
    Ok(())
}

/// Puts at A at a steady rate; one put in ten is watched at B until its very rank is answered.
async fn visible(a: SocketAddr, b: SocketAddr, rate: usize, seconds: usize) -> Result<(), Error> {
    let set = run();
    let records: Vec<SignedRecord> = (0..rate * seconds).map(|index| record(index, set)).collect::<Result<_, _>>()?;
    let (send, jobs) = async_queue();
    let mut workers = Vec::new();
    for _ in 0..64 {
        let jobs = jobs.clone();
        workers.push(tokio::spawn(async move {
            let (mut at_a, mut at_b) = (Connection::open(a).await?, Connection::open(b).await?);
            let mut seen = Vec::new();
            loop {
                let Some((index, record)) = jobs.lock().await.recv().await else {
                    return Ok::<_, Error>(seen);
                };
                let record: SignedRecord = record;
                let start = Instant::now();
                let status = at_a.ask(&put_request(a, &record)).await?;
                if status != 201 {
                    return Err(format!("put answered {status}").into());
                }
                if index % 10 != 0 {
                    continue;
                }
                let get = format!("GET /v1/records/{} HTTP/1.1\r\nhost: {b}\r\n\r\n", record.name()).into_bytes();
                while at_b.ask(&get).await? != 200 {
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
                seen.push(start.elapsed());
            }
        }));
    }
    let start = Instant::now();
    for (index, record) in records.into_iter().enumerate() {
        tokio::time::sleep_until((start + Duration::from_secs_f64(index as f64 / rate as f64)).into()).await;
        send.send((index, record)).await.map_err(|_| "workers ended")?;
    }
    drop(send);
    let mut seen = Vec::new();
    for worker in workers {
        seen.extend(worker.await??);
    }
    report("visible", seen, 0, start.elapsed(), None, None);
    Ok(())
}

async fn stub(http: &str, count: usize) -> Result<(), Error> {
    let address: SocketAddr = http.parse()?;
    let records: Vec<SignedRecord> = (0..count).map(|index| record(index, 4)).collect::<Result<_, _>>()?;
    let mut connection = Connection::open(address).await?;
    for record in &records {
        connection.ask(&put_request(address, record)).await?;
    }
    let settings = StubSettings {
        providers: vec![format!("http://{http}").parse()?],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    };
    let stub = Stub::connect(settings).await?;
    let mut cold = Vec::with_capacity(count);
    for record in &records {
        let start = Instant::now();
        stub.lookup(record.name()).await?;
        cold.push(start.elapsed());
    }
    let all = cold.iter().sum();
    report("stub-cold", cold, 0, all, None, None);
    let start = Instant::now();
    for record in records.iter().cycle().take(200_000) {
        std::hint::black_box(stub.lookup(record.name()).await?);
    }
    println!("op=stub-cached us={:.3}", start.elapsed().as_secs_f64() * 1e6 / 200_000.0);
    Ok(())
}

async fn fill(folder: &Path, count: usize) -> Result<(), Error> {
    let store = EmbeddedStore::open(folder, EmbeddedOptions::default())?;
    let start = Instant::now();
    for first in (0..count).step_by(2_048) {
        let batch = (first..(first + 2_048).min(count))
            .map(|index| {
                Ok(Put {
                    record: record(index, 5)?.verify()?,
                    class: Class::Customer,
                    keep_until: UnixSecs(now().secs().0 + 30 * 86_400),
                    from: None,
                    account: None,
                    condition: Condition::None,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        store.put(batch).await?;
    }
    println!(
        "op=fill n={count} secs={:.1} records={}",
        start.elapsed().as_secs_f64(),
        store.count().records
    );
    store.close().await?;
    Ok(())
}

async fn gets(folder: &Path, count: usize) -> Result<(), Error> {
    let opened = Instant::now();
    let store = EmbeddedStore::open(folder, EmbeddedOptions::default())?;
    println!(
        "op=open ms={:.1} records={}",
        opened.elapsed().as_secs_f64() * 1e3,
        store.count().records
    );
    let names: Vec<Name> = (0..20_000)
        .map(|index| Ok(genesis(index * 7_919 % count, 5).name()))
        .collect::<Result<_, Error>>()?;
    for _ in 0..2 {
        let mut taken = Vec::with_capacity(names.len());
        let start = Instant::now();
        for name in &names {
            let asked = Instant::now();
            if store.get(name).await?.is_none() {
                return Err("a filled name is missing: fill with at least as many".into());
            }
            taken.push(asked.elapsed());
        }
        report("store-get", taken, 0, start.elapsed(), None, None);
    }
    store.close().await?;
    Ok(())
}

fn dialtone_requests(count: usize) -> Result<Vec<Vec<u8>>, Error> {
    let (address, set) = (SocketAddr::from(([127, 0, 0, 1], 80)), run());
    (0..count).map(|index| Ok(put_request(address, &record(index, set)?))).collect()
}

/// 20,000 gets of names that `fill` made, spread over all of them.
fn get_requests(count: usize) -> Result<Vec<Vec<u8>>, Error> {
    let request = |index: usize| {
        format!(
            "GET /v1/records/{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
            genesis(index * 7_919 % count, 5).name()
        )
        .into_bytes()
    };
    Ok((0..20_000).map(request).collect())
}

/// The smallest pkarr packets of the same kind: one A and one TXT record under the key, BEP 44 signed.
fn pkarr_requests(count: usize) -> Result<Vec<Vec<u8>>, Error> {
    let set = run();
    (0..count)
        .map(|index| {
            let secret = secret(index, set);
            let label = z32::encode(secret.public().as_bytes());
            let mut dns = vec![0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0, label.len() as u8];
            dns.extend(label.as_bytes());
            dns.extend([0, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 127, 0, 0, 1]);
            dns.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 14, 16, 0, 181, 180]);
            dns.extend([b'x'; 180]);
            let stamp = now().0;
            let mut message = format!("3:seqi{stamp}e1:v{}:", dns.len()).into_bytes();
            message.extend(&dns);
            let mut body = secret.sign(&message).to_vec();
            body.extend(stamp.to_be_bytes());
            body.extend(dns);
            let mut request = format!(
                "PUT /pkarr/{label} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend(body);
            Ok(request)
        })
        .collect()
}

/// The get of what a request puts.
fn pkarr_get(put: &[u8]) -> Vec<u8> {
    let path = put.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    [b"GET ", path, b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"].concat()
}

type Job = (usize, SignedRecord);

fn async_queue() -> (
    tokio::sync::mpsc::Sender<Job>,
    Arc<tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Job>>>,
) {
    let (send, receive) = tokio::sync::mpsc::channel(1_024);
    (send, Arc::new(tokio::sync::Mutex::new(receive)))
}

fn report(what: &str, taken: Vec<Duration>, errors: usize, all: Duration, before: Option<u64>, pid: Option<u32>) {
    let times = Times::of(taken);
    let micros = cpu(pid)
        .zip(before)
        .map_or(0.0, |(after, before)| (after - before) as f64 / 1e3 / times.count() as f64);
    println!(
        "op={what} rps={:.0} n={} secs={:.3} p50us={:.1} p99us={:.1} maxus={:.1} errors={errors} server_us={micros:.1}",
        times.count() as f64 / all.as_secs_f64(),
        times.count(),
        all.as_secs_f64(),
        times.quantile(0.5),
        times.quantile(0.99),
        times.quantile(1.0),
    );
}

fn pid(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// Nanoseconds of CPU that all threads of a process have used.
fn cpu(pid: Option<u32>) -> Option<u64> {
    cpu_of_threads(pid?)
}
