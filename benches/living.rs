//! What names that live cost: connecting to them, following them from service to endpoint to address, and watching them.
//!
//! ```text
//! cargo bench --bench living -- connect HTTP_ADDR COUNT               to a name that the stub knows, beside plain TCP, in turn
//! cargo bench --bench living -- layers  HTTP_ADDR COUNT               service to endpoint to address, of COUNT services never asked for before
//! cargo bench --bench living -- watch   HTTP_ADDR WATCHERS ROUNDS     one name, put ROUNDS times: until each of its watchers has read of it
//! cargo bench --bench living -- slow    HTTP_ADDR DNS_ADDR COUNT MS   names never asked for before, of a stub whose first provider takes MS longer
//! ```
//!
//! `benches/living.sh` starts a provider and does all of it. Everything is signed before a clock starts.

#[path = "parts/mod.rs"]
#[allow(dead_code, reason = "each load generator uses a part of what they share")]
mod parts;

use dialtone_resolver::connect::{ConnectOptions, Reach};
use dialtone_resolver::io::connector::connect;
use dialtone_resolver::layers::{ResolveOptions, resolve};
use dialtone_resolver::{FloorAt, RecordSource, Stub, StubSettings};
use dialtone_shared::record::{Address, Binding, Service, Target, Transport};
use dialtone_shared::{SignedRecord, Ttl, UnixMicros};
use parts::Error;
use parts::args::{Args, runtime};
use parts::http::Connection;
use parts::records::{now, put_request, record_at, run, secret, signed};
use parts::times::Times;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};

fn main() -> Result<(), Error> {
    let (args, runtime) = (Args::of_the_process(), runtime()?);
    let (word, number) = (|at| args.word(at), |at, default| args.number(at, default));
    match word(0) {
        "connect" => runtime.block_on(connects(word(1), number(2, 5_000))),
        "layers" => runtime.block_on(layers(word(1), number(2, 2_000))),
        "watch" => runtime.block_on(watch(word(1).parse()?, number(2, 1_000), number(3, 10))),
        "slow" => runtime.block_on(slow(word(1), word(2).parse()?, number(3, 1_000), number(4, 500))),
        _ => {
            eprintln!("connect | layers | watch | slow: see the head of benches/living.rs");
            Ok(())
        }
    }
}

/// A plain connect and one to a cached name, in turn, to the same listener: what the name adds.
async fn connects(http: &str, count: usize) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let to = listener.local_addr()?;
    // Whoever is connected to says nothing, and takes as long with either.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let site = secret(0, run());
    let says = vec![address(), Binding::Service(Service::of("https", Transport::Tcp, to.port()))];
    let site = signed(&site, now(), Ttl(3_600), says)?;
    let stub = filled(http, std::slice::from_ref(&site)).await?;
    let options = ConnectOptions {
        reach: Reach::Everywhere,
        ..ConnectOptions::default()
    };
    stub.lookup(site.name()).await?;
    let (mut plain, mut named) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let begun = Instant::now();
        drop(TcpStream::connect(to).await?);
        plain.push(begun.elapsed());
        let begun = Instant::now();
        drop(connect(&stub, site.name(), &options).await?);
        named.push(begun.elapsed());
    }
    let (plain, named) = (Times::of(plain), Times::of(named));
    println!(
        "op=connect n={count} plain_p50us={:.1} named_p50us={:.1} added_p50us={:.1} added_p99us={:.1}",
        plain.quantile(0.5),
        named.quantile(0.5),
        named.quantile(0.5) - plain.quantile(0.5),
        named.quantile(0.99) - plain.quantile(0.99)
    );
    Ok(())
}

/// Two records a service, each fetched and verified: the service's, and that of the endpoint which has the address.
async fn layers(http: &str, count: usize) -> Result<(), Error> {
    let set = run();
    let mut records = Vec::with_capacity(2 * count);
    for index in 0..count {
        let endpoint = signed(&secret(2 * index, set), now(), Ttl(3_600), vec![address()])?;
        let offered = Service {
            target: Target::Name(*endpoint.name()),
            ..Service::of("https", Transport::Tcp, 443)
        };
        records.push(signed(
            &secret(2 * index + 1, set),
            now(),
            Ttl(3_600),
            vec![Binding::Service(offered)],
        )?);
        records.push(endpoint);
    }
    let stub = filled(http, &records).await?;
    let options = ResolveOptions {
        service: Some("https".to_owned()),
        transport: Some(Transport::Tcp),
        regions: Vec::new(),
        seed: 1,
    };
    let mut taken = Vec::with_capacity(count);
    for service in records.iter().step_by(2) {
        let begun = Instant::now();
        let found = resolve(&stub, service.name(), &options).await?;
        taken.push(begun.elapsed());
        if found.endpoints.len() != 1 {
            return Err("a service leads nowhere".into());
        }
    }
    let times = Times::of(taken);
    println!(
        "op=layers n={count} p50us={:.1} p99us={:.1}",
        times.quantile(0.5),
        times.quantile(0.99)
    );
    Ok(())
}

/// Lookups of names never asked for before, by a stub that prefers a provider which answers `delay` ms late, and has another.
async fn slow(http: &str, dns: SocketAddr, count: usize, delay: usize) -> Result<(), Error> {
    let set = run();
    let records: Vec<_> = (0..count)
        .map(|index| signed(&secret(index, set), now(), Ttl(3_600), vec![address()]))
        .collect::<Result<_, _>>()?;
    drop(filled(http, &records).await?);
    let late = late(dns, Duration::from_millis(delay as u64)).await?;
    let at = |address: SocketAddr| format!("dns://{address}/dialtone.alt").parse();
    let stub = Stub::connect(StubSettings {
        providers: vec![at(late)?, at(dns)?],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    })
    .await?;
    let mut taken = Vec::with_capacity(count);
    for record in &records {
        let begun = Instant::now();
        stub.lookup(record.name()).await?;
        taken.push(begun.elapsed());
    }
    let times = Times::of(taken);
    println!(
        "op=slow n={count} late_ms={delay} p50us={:.1} p99us={:.1} maxus={:.1}",
        times.quantile(0.5),
        times.quantile(0.99),
        times.quantile(1.0)
    );
    Ok(())
}

/// An address that answers as `dns` does, so much later.
async fn late(dns: SocketAddr, delay: Duration) -> Result<SocketAddr, Error> {
    let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    let address = front.local_addr()?;
    tokio::spawn(async move {
        let mut question = vec![0; 4_096];
        while let Ok((length, client)) = front.recv_from(&mut question).await {
            let (front, question) = (Arc::clone(&front), question[..length].to_vec());
            tokio::spawn(async move {
                let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                back.send_to(&question, dns).await?;
                let mut answer = vec![0; 4_096];
                let length = back.recv(&mut answer).await?;
                tokio::time::sleep(delay).await;
                front.send_to(&answer[..length], client).await
            });
        }
    });
    Ok(address)
}

/// From when a put is begun until the last watcher has read of it.
async fn watch(provider: SocketAddr, watchers: usize, rounds: usize) -> Result<(), Error> {
    let set = run();
    let first = now().0;
    let puts: Vec<SignedRecord> = (0..=rounds as u64)
        .map(|round| record_at(0, set, UnixMicros(first + round)))
        .collect::<Result<_, _>>()?;
    let mut connection = Connection::open(provider).await?;
    ask(&mut connection, provider, &puts[0]).await?;
    let ranks: Arc<Vec<String>> = Arc::new(puts.iter().map(|put| put.rank().to_string()).collect());
    let (tell, mut told) = mpsc::unbounded_channel();
    // Not all at once: a listener's queue has an end.
    let opening = Arc::new(Semaphore::new(64));
    for _ in 0..watchers {
        let (tell, ranks, opening) = (tell.clone(), Arc::clone(&ranks), Arc::clone(&opening));
        let request = format!("GET /v1/watch?name={} HTTP/1.1\r\nhost: {provider}\r\n\r\n", puts[0].name());
        tokio::spawn(async move {
            let read = read_events(provider, &request, &ranks, &opening, &tell).await;
            if let Err(error) = read {
                eprintln!("a watcher stopped: {error}");
            }
        });
    }
    let mut rows = Vec::new();
    for (round, put) in puts.iter().enumerate() {
        let begun = Instant::now();
        if round > 0 {
            ask(&mut connection, provider, put).await?;
        }
        let acknowledged = begun.elapsed();
        let mut taken = Vec::with_capacity(watchers);
        while taken.len() < watchers {
            let (of, at): (usize, Instant) = tokio::time::timeout(Duration::from_secs(60), told.recv())
                .await?
                .ok_or("all watchers stopped")?;
            if of == round {
                taken.push(at.saturating_duration_since(begun));
            }
        }
        if round > 0 {
            let times = Times::of(taken);
            rows.push((acknowledged, times.quantile(0.5), times.quantile(1.0)));
        }
    }
    rows.sort_by(|one, other| one.2.total_cmp(&other.2));
    let (middle, worst) = (rows[rows.len() / 2], rows[rows.len() - 1]);
    println!(
        "op=watch watchers={watchers} rounds={rounds} put_ms={:.2} half_ms={:.1} all_ms={:.1} all_worst_ms={:.1}",
        middle.0.as_secs_f64() * 1e3,
        middle.1 / 1e3,
        middle.2 / 1e3,
        worst.2 / 1e3
    );
    Ok(())
}

/// Reads one watcher's events: tells when each of the ranks came by, in their order.
async fn read_events(
    provider: SocketAddr,
    request: &str,
    ranks: &[String],
    opening: &Semaphore,
    tell: &mpsc::UnboundedSender<(usize, Instant)>,
) -> Result<(), Error> {
    let mut place = Some(opening.acquire().await?);
    let mut stream = TcpStream::connect(provider).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(4_096);
    for (round, rank) in ranks.iter().enumerate() {
        loop {
            if let Some(at) = buffer.windows(rank.len()).position(|window| window == rank.as_bytes()) {
                buffer.drain(..at + rank.len());
                tell.send((round, Instant::now()))?;
                break;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err("the provider closed the connection".into());
            }
        }
        // The first is what is true already: it watches from here on, and another may begin.
        drop(place.take());
    }
    // It stays until all have been told of the last.
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

async fn ask(connection: &mut Connection, provider: SocketAddr, record: &SignedRecord) -> Result<(), Error> {
    match connection.ask(&put_request(provider, record)).await? {
        200 | 201 => Ok(()),
        status => Err(format!("a put was answered {status}").into()),
    }
}

/// A stub of a provider that has these records, and that has been asked for none of them.
async fn filled(http: &str, records: &[SignedRecord]) -> Result<Stub, Error> {
    let provider = http.parse()?;
    let mut connection = Connection::open(provider).await?;
    for record in records {
        ask(&mut connection, provider, record).await?;
    }
    let settings = StubSettings {
        providers: vec![format!("http://{http}").parse()?],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    };
    Ok(Stub::connect(settings).await?)
}

fn address() -> Binding {
    Binding::Address(Address::of(Ipv4Addr::LOCALHOST.into()))
}
