//! Requests at a steady rate, whether or not the last one was answered; by threads that do nothing else, so that the clock is not late.

use crate::parts::Error;
use crate::parts::records::{genesis, put_request, record};
use crate::parts::times::Times;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests that are being made.
pub struct Steady {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Vec<Duration>, Error>>>,
}

impl Steady {
    /// So many a second, these in turn, over some connections; until it is told to stop.
    pub fn start(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, rate: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now() + Duration::from_millis(20);
        let thread = |number: usize| {
            let (requests, stop) = (requests.clone(), stop.clone());
            let turn = move |round: usize| round * CONNECTIONS + number;
            let due = move |round| start + Duration::from_secs_f64(turn(round) as f64 / rate as f64);
            std::thread::spawn(move || make(address, &stop, |round| (due(round), &requests[turn(round) % requests.len()])))
        };
        let threads = (0..CONNECTIONS).map(thread).collect();
        Self { stop, threads }
    }

    /// How long they took, each from when it was due.
    pub fn stop(self) -> Result<Times, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads {
            all.extend(thread.join().map_err(|_| "a thread failed")??);
        }
        Ok(Times::of(all))
    }
}

/// Gets of 20,000 names, spread over those that a store was filled with.
pub fn gets(count: usize, set: u8) -> Arc<Vec<Vec<u8>>> {
    let request = |index: usize| {
        let name = genesis(index * 7_919 % count, set).name();
        format!("GET /v1/records/{name} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
    };
    Arc::new((0..20_000).map(request).collect())
}

/// First puts of so many names.
pub fn puts(address: SocketAddr, count: usize, set: u8) -> Result<Arc<Vec<Vec<u8>>>, Error> {
    let requests = (0..count).map(|index| Ok(put_request(address, &record(index, set)?)));
    Ok(Arc::new(requests.collect::<Result<_, Error>>()?))
}

/// Says what they came to.
pub fn told(what: &str, times: &Times) {
    println!(
        "op={what} n={} p50us={:.0} p90us={:.0} p99us={:.0} maxus={:.0}",
        times.count(),
        times.quantile(0.5),
        times.quantile(0.9),
        times.quantile(0.99),
        times.quantile(1.0)
    );
}

fn make<'a>(address: SocketAddr, stop: &AtomicBool, next: impl Fn(usize) -> (Instant, &'a Vec<u8>)) -> Result<Vec<Duration>, Error> {
    assert!(address.ip().is_loopback(), "loopback targets only");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut taken = Vec::new();
    let mut buffer = vec![0; 16_384];
    for round in 0.. {
        let (due, request) = next(round);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(request)?;
        let mut end = 0;
        while !is_whole(&buffer[..end])? {
            let more = stream.read(&mut buffer[end..])?;
            end += more;
            if more == 0 {
                return Err("the provider closed the connection".into());
            }
        }
        taken.push(due.elapsed());
    }
    Ok(taken)
}

/// Whether an answer is there to its end.
fn is_whole(answer: &[u8]) -> Result<bool, Error> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(false);
    };
    let words = str::from_utf8(&answer[..head])?.to_ascii_lowercase();
    if !words.starts_with("http/1.1 20") {
        return Err(format!("it was answered: {words}").into());
    }
    let length = words.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.ok_or("an answer that does not say how long it is")?.trim().parse()?;
    Ok(answer.len() >= head + 4 + length)
}

const CONNECTIONS: usize = 4;
