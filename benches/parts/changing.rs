//! Names that get another address at a steady rate, and what DNS says of them meanwhile.

use super::Error;
use super::http::Connection;
use super::records::{flat, flat_at, now, put_request};
use dialtone_shared::{Name, SignedRecord, UnixMicros};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::{sleep, sleep_until, timeout};

/// Changes `rate` of the first `names` names a second; after each, when the provider has taken it and again a while later, asks `dns`.
pub async fn change(http: SocketAddr, dns: SocketAddr, rate: usize, seconds: usize, names: usize) -> Result<(), Error> {
    let changes: Vec<(Ipv4Addr, SignedRecord)> = (0..rate * seconds)
        .map(|nth| {
            let a = Ipv4Addr::from_bits(0x0b00_0000 | nth as u32);
            let (_, record) = flat_at(nth * 7_919 % names, a, UnixMicros(now().0 + nth as u64))?;
            Ok((a, record))
        })
        .collect::<Result<_, Error>>()?;
    let (changes, next, start) = (Arc::new(changes), Arc::new(AtomicUsize::new(0)), Instant::now());
    let counts: Arc<[AtomicUsize; 4]> = Arc::default();
    let mut tasks = Vec::new();
    for _ in 0..128 {
        let (changes, next, counts) = (changes.clone(), next.clone(), counts.clone());
        tasks.push(tokio::spawn(async move {
            let mut provider = Connection::open(http).await?;
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(dns).await?;
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                let Some((a, record)) = changes.get(nth) else {
                    return Ok::<_, Error>(());
                };
                sleep_until((start + Duration::from_secs_f64(nth as f64 / rate as f64)).into()).await;
                if !(200..300).contains(&provider.ask(&put_request(http, record)).await?) {
                    counts[0].fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                if !is_said(&socket, record.name(), *a, &counts[3]).await? {
                    counts[1].fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(50)).await;
                if !is_said(&socket, record.name(), *a, &counts[3]).await? {
                    counts[2].fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    let [refused, at_once, later, unanswered] = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    println!(
        "op=change n={} secs={:.2} refused={refused} stale_at_once={at_once} stale_after_50ms={later} unanswered={unanswered}",
        changes.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Whether the answer for the address of `name` has `a` in it; no answer is none that is wrong.
async fn is_said(socket: &UdpSocket, name: &Name, a: Ipv4Addr, unanswered: &AtomicUsize) -> Result<bool, Error> {
    let label = name.to_string();
    let mut question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in [label.as_str(), "dialtone", "alt"] {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(b"\0\0\x01\0\x01");
    let mut answer = [0; 1_232];
    for _ in 0..3 {
        socket.send(&question).await?;
        while let Ok(length) = timeout(Duration::from_secs(1), socket.recv(&mut answer)).await {
            let answer = &answer[..length?];
            // What is of the question before came late.
            if answer.get(12..question.len()) == Some(&question[12..]) {
                return Ok(answer.windows(4).any(|bytes| bytes == a.octets()));
            }
        }
    }
    unanswered.fetch_add(1, Ordering::Relaxed);
    Ok(true)
}

/// Puts names from the `first` on that have an address of each kind, and prints them as the peers' zone is made from.
pub async fn publish(address: SocketAddr, first: usize, count: usize) -> Result<(), Error> {
    for start in (first..first + count).step_by(SIGNED_AT_ONCE) {
        let made = (start..(start + SIGNED_AT_ONCE).min(first + count)).map(flat);
        let (names, records): (Vec<_>, Vec<_>) = made.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let (_, bad) = super::http::put_all(address, &records, 256).await?;
        if bad > 0 {
            return Err(format!("{bad} batches were not taken").into());
        }
        names.iter().for_each(|(name, a, aaaa)| println!("{name} {a} {aaaa}"));
    }
    Ok(())
}

/// Names that are signed before the first of them is put.
const SIGNED_AT_ONCE: usize = 10_000;
