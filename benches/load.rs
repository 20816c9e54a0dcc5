//! Loads a provider over loopback and reports rates, latencies and the server's own CPU time.
//!
//! ```text
//! cargo bench --bench load -- verify                               what one strict verification costs here
//! cargo bench --bench load -- put     ADDR COUNT IN_FLIGHT [PID]   durable puts over HTTP keep-alive
//! cargo bench --bench load -- pkarr   ADDR COUNT IN_FLIGHT [PID]   the same against a pkarr relay (PUT /pkarr/<key>)
//! cargo bench --bench load -- batch   ADDR COUNT PER_REQUEST [PID] many records in one request
//! cargo bench --bench load -- visible ADDR_A ADDR_B RATE SECONDS   put at A until a get at B answers
//! cargo bench --bench load -- stub    HTTP_ADDR COUNT              cold and cached lookups of COUNT new names
//! cargo bench --bench load -- fill    FOLDER COUNT                 COUNT records of about 400 bytes into a store
//! cargo bench --bench load -- gets    FOLDER COUNT                 random gets from that store
//! cargo bench --bench load -- ask     ADDR COUNT IN_FLIGHT [PID]   random gets over HTTP from a provider with that store
//! ```
//!
//! Everything is signed before a clock starts. CPU is read from /proc/PID/task/*/schedstat, in nanoseconds.

use dialtone_provider::store::{Class, Condition, EmbeddedOptions, EmbeddedStore, Put, RecordStore};
use dialtone_resolver::{FloorAt, RecordSource, Stub, StubSettings};
use dialtone_shared::cbor::Writer;
use dialtone_shared::record::{Address, Binding, Opaque};
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, z32};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    // cargo passes --bench; everything else is ours.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let word = |at: usize| args.get(at).map(String::as_str).unwrap_or_default();
    let number = |at: usize, default: usize| word(at).parse().unwrap_or(default);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match word(0) {
        "verify" => verify(),
        "put" => runtime.block_on(put(
            word(1).parse()?,
            dialtone_requests(number(2, 10_000))?,
            number(3, 64),
            pid(word(4)),
            "put",
        )),
        "pkarr" => runtime.block_on(put(
            word(1).parse()?,
            pkarr_requests(number(2, 10_000))?,
            number(3, 64),
            pid(word(4)),
            "pkarr",
        )),
        "batch" => runtime.block_on(batch(word(1).parse()?, number(2, 10_000), number(3, 256), pid(word(4)))),
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
            eprintln!("verify | put | pkarr | batch | visible | stub | fill | gets | ask: see the head of benches/load.rs");
            Ok(())
        }
    }
}

/// The floor under every put: one strict verification of a record like those that are put. By the library's own function, as the
/// provider spells the same rule, and so on every core at once.
fn verify() -> Result<(), Error> {
    let records: Vec<SignedRecord> = (0..256).map(|index| record(index, 1)).collect::<Result<_, _>>()?;
    let strict = |record: &SignedRecord| {
        let key = ed25519_dalek::VerifyingKey::from_bytes(record.record().genesis.key.as_bytes())?;
        // The same number of bytes under a signature that is as costly to find wrong.
        let (message, signature) = record.bytes().split_at(record.bytes().len() - 64);
        let signature = ed25519_dalek::Signature::from_slice(signature)?;
        Ok(std::hint::black_box(key.verify_strict(message, &signature)).is_err())
    };
    verified("verify-strict", &records, 1, strict)?;
    let here = |record: &SignedRecord| Ok(std::hint::black_box(record.clone().verify()).is_ok());
    verified("verify", &records, 1, here)?;
    verified("verify-all-cores", &records, std::thread::available_parallelism()?.get(), here)
}

/// How long `what` takes, on `cores` at once.
fn verified(
    what: &str,
    records: &[SignedRecord],
    cores: usize,
    verify: impl Fn(&SignedRecord) -> Result<bool, Error> + Sync,
) -> Result<(), Error> {
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let done: Vec<Result<bool, Error>> = std::thread::scope(|scope| {
            let run = || {
                records
                    .iter()
                    .cycle()
                    .take(4_096)
                    .try_fold(true, |all, record| Ok(all & verify(record)?))
            };
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
            let done = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread failed".into())));
            done.collect()
        });
        for done in done {
            if !done? {
                return Err("a record was not judged as it should be".into());
            }
        }
        rounds.push(start.elapsed().as_secs_f64() * 1e6 / 4_096.0);
    }
    rounds.sort_by(f64::total_cmp);
    println!(
        "op={what} us={:.1} min={:.1} max={:.1} rps={:.0}",
        rounds[2],
        rounds[0],
        rounds[4],
        cores as f64 * 1e6 / rounds[2]
    );
    Ok(())
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
    let requests: Vec<Vec<u8>> = records
        .chunks(per_request)
        .map(|chunk| {
            let mut body = Writer::new();
            body.array(chunk.len());
            for record in chunk {
                body.bytes(record.bytes());
            }
            let body = body.into_bytes();
            let mut request = format!(
                "POST /v1/records HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/cbor\r\naccept: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend(body);
            request
        })
        .collect();
    let before = cpu(pid);
    let start = Instant::now();
    // Two connections, so that the next request arrives while one is worked on.
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (requests, next) = (requests.clone(), next.clone());
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut bad = 0;
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                bad += usize::from(!(200..300).contains(&connection.ask(request).await?));
            }
            Ok::<_, Error>(bad)
        }));
    }
    let mut bad = 0;
    for task in tasks {
        bad += task.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
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

/// One keep-alive HTTP/1.1 connection that reads no more than it needs.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Error> {
        assert!(address.ip().is_loopback(), "loopback targets only");
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8_192),
        })
    }

    async fn ask(&mut self, request: &[u8]) -> Result<u16, Error> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = str::from_utf8(&self.buffer[..end])?;
            let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
            let length: usize = head
                .lines()
                .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case("content-length")))
                .map_or(Ok(0), |(_, value)| value.trim().parse())?;
            while self.buffer.len() < end + 4 + length {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err("the server closed inside an answer".into());
                }
            }
            return Ok(status);
        }
    }
}

/// Distinct keys, the same in every run of a set.
fn secret(index: usize, set: u8) -> SecretKey {
    let mut seed = [set; 32];
    seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

fn genesis(index: usize, set: u8) -> Genesis {
    Genesis::of(secret(index, set).public())
}

/// A record of about 400 bytes, as the baselines' are: an address and some bytes.
fn record(index: usize, set: u8) -> Result<SignedRecord, Error> {
    let secret = secret(index, set);
    let sequence = now();
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope: Vec::new(),
        body: Body::Live {
            expiry: UnixSecs(sequence.secs().0 + 30 * 86_400),
            ttl: Ttl(60),
            bindings: vec![
                Binding::Address(Address::of([127, 0, 0, 1].into())),
                Binding::Opaque(Opaque {
                    media_type: "application/octet-stream".into(),
                    bytes: vec![set; 180],
                }),
            ],
        },
    };
    Ok(SignedRecord::sign(record, &secret)?)
}

fn put_request(address: SocketAddr, record: &SignedRecord) -> Vec<u8> {
    let mut request = format!(
        "PUT /v1/records/{} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
        record.name(),
        record.bytes().len()
    )
    .into_bytes();
    request.extend_from_slice(record.bytes());
    request
}

/// Another set of names for every run, so that every put is a first one; the low numbers are other commands'.
fn run() -> u8 {
    10 + (now().0 % 240) as u8
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

type Job = (usize, SignedRecord);

fn async_queue() -> (
    tokio::sync::mpsc::Sender<Job>,
    Arc<tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Job>>>,
) {
    let (send, receive) = tokio::sync::mpsc::channel(1_024);
    (send, Arc::new(tokio::sync::Mutex::new(receive)))
}

fn report(what: &str, mut taken: Vec<Duration>, errors: usize, all: Duration, before: Option<u64>, pid: Option<u32>) {
    taken.sort_unstable();
    let quantile = |q: f64| {
        taken
            .get((taken.len() as f64 * q) as usize)
            .or(taken.last())
            .map_or(0.0, |d| d.as_secs_f64() * 1e6)
    };
    let micros = cpu(pid)
        .zip(before)
        .map_or(0.0, |(after, before)| (after - before) as f64 / 1e3 / taken.len() as f64);
    println!(
        "op={what} rps={:.0} n={} secs={:.3} p50us={:.1} p99us={:.1} maxus={:.1} errors={errors} server_us={micros:.1}",
        taken.len() as f64 / all.as_secs_f64(),
        taken.len(),
        all.as_secs_f64(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    );
}

fn pid(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// Nanoseconds of CPU that all threads of a process have used.
fn cpu(pid: Option<u32>) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid?)).ok()?;
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Some(tasks.filter_map(of).sum())
}

fn now() -> UnixMicros {
    UnixMicros(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64),
    )
}
