//! Names that get another address at a steady rate, and what DNS says of them meanwhile.

use super::Error;
use super::http::{Connection, batch_request, put_all};
use super::records::{flat, flat_at, now};
use super::times::Times;
use dialtone_shared::{Name, SignedRecord, UnixMicros};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::{sleep, sleep_until, timeout};

/// Changes `rate` of the first `names` names a second, some in a request; asks `dns` for one of each request's names when the provider has taken
/// them, and again a while later.
pub async fn change(http: SocketAddr, dns: SocketAddr, rate: usize, seconds: usize, names: usize) -> Result<(), Error> {
    let changes: Vec<(Ipv4Addr, SignedRecord)> = (0..rate * seconds)
        .map(|nth| {
            let a = Ipv4Addr::from_bits(0x0b00_0000 | nth as u32);
            let (_, record) = flat_at(nth * 7_919 % names, a, UnixMicros(now().0 + nth as u64))?;
            Ok((a, record))
        })
        .collect::<Result<_, Error>>()?;
    let steps: Vec<_> = changes.chunks(AT_ONCE).collect();
    let requests: Vec<_> = steps
        .iter()
        .map(|step| batch_request(http, step.iter().map(|(_, record)| record)))
        .collect();
    let mut provider = Connection::open(http).await?;
    let (mut refused, mut taken, unanswered) = (0, Vec::new(), Arc::new(AtomicUsize::new(0)));
    let (start, mut asking) = (Instant::now(), Vec::new());
    for (nth, (step, request)) in steps.iter().zip(&requests).enumerate() {
        sleep_until((start + Duration::from_secs_f64((nth * AT_ONCE) as f64 / rate as f64)).into()).await;
        let put = Instant::now();
        refused += usize::from(!(200..300).contains(&provider.ask(request).await?));
        taken.push(put.elapsed());
        let Some((a, record)) = step.get(nth % AT_ONCE) else { continue };
        let (a, name, unanswered) = (*a, *record.name(), Arc::clone(&unanswered));
        asking.push(tokio::spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(dns).await?;
            let at_once = is_said(&socket, &name, a, &unanswered).await?;
            sleep(Duration::from_millis(50)).await;
            Ok::<_, Error>((at_once, is_said(&socket, &name, a, &unanswered).await?))
        }));
    }
    let (mut stale_at_once, mut stale_later, asked) = (0, 0, asking.len());
    for task in asking {
        let (at_once, later) = task.await??;
        stale_at_once += usize::from(!at_once);
        stale_later += usize::from(!later);
    }
    let taken = Times::of(taken);
    println!(
        "op=change n={} secs={:.2} p50us={:.0} p99us={:.0} refused={refused} asked={asked} stale_at_once={stale_at_once} stale_after_50ms={stale_later} unanswered={}",
        changes.len(),
        start.elapsed().as_secs_f64(),
        taken.quantile(0.5),
        taken.quantile(0.99),
        unanswered.load(Ordering::Relaxed),
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
                // Too many were asked for: it says nothing of addresses.
                let is_cut = answer[2] & 2 != 0;
                unanswered.fetch_add(is_cut.into(), Ordering::Relaxed);
                return Ok(is_cut || answer.windows(4).any(|bytes| bytes == a.octets()));
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
        let (_, bad) = put_all(address, &records, 256).await?;
        if bad > 0 {
            return Err(format!("{bad} batches were not taken").into());
        }
        names.iter().for_each(|(name, a, aaaa)| println!("{name} {a} {aaaa}"));
    }
    Ok(())
}

/// Changes in one request: fifty requests a second at a thousand changes.
const AT_ONCE: usize = 20;

/// Names that are signed before the first of them is put.
const SIGNED_AT_ONCE: usize = 10_000;
