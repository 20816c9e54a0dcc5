//! Peers that push what is not wanted, as fast as they are let: forged records, or genuine ones that are older than what is held.
//!
//! They are played by a process of their own. Forging peers are cut after 32 records and barred; they dial again at once, all of them, until
//! so many records were pushed or two minutes are over. So that a million can be pushed at all, the provider's operator is made to agree with others
//! in their stead again and again.

use crate::by_hand::{self, ByHand};
use crate::parts::records::{now, record, record_at, run as set};
use crate::parts::{Error, verify};
use crate::process::{Place, agreement, at};
use crate::steady::{self, Steady, puts, told};
use bytes::Bytes;
use dialtone_shared::UnixMicros;
use dialtone_shared::message::Message;
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub async fn run(kind: &str, count: usize) -> Result<(), Error> {
    crate::catchup::pin(0)?;
    verify::library()?;
    let root = tempfile::tempdir()?;
    let (a, b) = (Place::new(root.path(), 0)?, Place::new(root.path(), 1)?);
    let peers = if kind == "forged" { FORGERS } else { REPLAYERS };
    let settings = |wave: usize| {
        let mut settings = agreement(&b.name, None, "mutual");
        for number in 0..peers {
            let _ = write!(settings, "{}", agreement(&by_hand::name(wave * peers + number), None, "mutual"));
        }
        settings
    };
    crate::catchup::fill(&a.data.join("store"), HELD).await?;
    let provider = a.start(&settings(0), Some("0"))?;
    let honest = b.start(&agreement(&a.name, Some(provider.peering), "mutual"), Some("1"))?;
    let equal = |counts: &_| at(counts, "dialtone_records") >= HELD as f64;
    honest.until(Duration::from_millis(100), "both are equal", equal).await?;

    let set = set();
    let gets = steady::gets(HELD, crate::catchup::SET);
    let wanted = PUTS * (PATIENCE.as_secs() as usize + 30);
    let requests = puts(provider.http, wanted, set)?;
    let (first, later) = requests.split_at(PUTS * (QUIET.as_secs() as usize + 1));
    let [first, later] = [first, later].map(|part| Arc::new(part.to_vec()));
    let load = |puts| (Steady::start(provider.http, &gets, GETS), Steady::start(provider.http, puts, PUTS));
    sleep(SETTLE).await;
    let (asking, putting) = load(&first);
    sleep(QUIET).await;
    let quiet = (asking.stop()?, putting.stop()?);
    sleep(SETTLE).await;

    let before = (provider.counts().await?, honest.counts().await?, provider.cpu_us()?);
    let began = Instant::now();
    let (asking, putting) = load(&later);
    let attack = Command::new("taskset")
        .args(["-c", "1"])
        .arg(std::env::current_exe()?)
        .args([
            "attack",
            kind,
            &provider.peering.to_string(),
            &count.to_string(),
            &peers.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = tokio::task::spawn_blocking(move || attack.wait_with_output());
    let said = if kind == "forged" {
        let mut wave = 0;
        loop {
            match tokio::time::timeout(WAVE, &mut said).await {
                Ok(said) => break said??,
                Err(_) => {
                    wave += 1;
                    a.agree(&provider, &settings(wave))?;
                }
            }
        }
    } else {
        said.await??
    };
    let meanwhile = (asking.stop()?, putting.stop()?);
    let seconds = began.elapsed().as_secs_f64();
    print!("{}", String::from_utf8_lossy(&said.stdout));
    let put = (meanwhile.1.count().min(later.len())) as f64;
    let all = |counts: &_| at(counts, "dialtone_records") >= at(&before.1, "dialtone_records") + put;
    let there = honest.until(Duration::from_millis(100), "honest records have arrived", all).await?;
    let here = provider.counts().await?;
    let more = |key: &str| at(&here, key) - at(&before.0, key);
    println!(
        "op=hostile kind={kind} secs={seconds:.1} arrived={:.0} invalid={:.0} stored={:.0} forwarded={:.0} cpu_share={:.2}",
        more("dialtone_peer_records_received_total"),
        more("dialtone_peer_records_invalid_total"),
        more("dialtone_records") - put,
        at(&there, "dialtone_peer_records_received_total") - at(&before.1, "dialtone_peer_records_received_total") - put,
        (provider.cpu_us()? - before.2) / 1e6 / seconds,
    );
    for (what, quiet, meanwhile) in [("get", &quiet.0, &meanwhile.0), ("put", &quiet.1, &meanwhile.1)] {
        told(&format!("{what}-quiet"), quiet);
        told(&format!("{what}-meanwhile"), meanwhile);
        println!(
            "op={what}-ratio p50={:.2} p99={:.2}",
            meanwhile.quantile(0.5) / quiet.quantile(0.5),
            meanwhile.quantile(0.99) / quiet.quantile(0.99)
        );
    }
    Ok(())
}

/// The attack itself: `peers` push `count` records at `address`.
pub async fn attack(kind: &str, address: SocketAddr, count: usize, peers: usize) -> Result<(), Error> {
    let forged = kind == "forged";
    let records: Vec<Bytes> = (0..DISTINCT)
        .map(|index| {
            if forged {
                forgery(index)
            } else {
                Ok(record_at(index, crate::catchup::SET, long_ago())?.bytes().clone())
            }
        })
        .collect::<Result<_, Error>>()?;
    let (records, pushed, links) = (Arc::new(records), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (began, mut all) = (Instant::now(), JoinSet::new());
    for number in 0..peers {
        let (records, pushed, links) = (records.clone(), pushed.clone(), links.clone());
        all.spawn(async move {
            while pushed.load(Ordering::Relaxed) < count as u64 && began.elapsed() < PATIENCE {
                // Who the operator agrees with just now: see `WAVE`.
                let wave = if forged { began.elapsed().as_secs() / WAVE.as_secs() } else { 0 };
                if let Ok(peer) = ByHand::greeted(address, wave as usize * peers + number).await {
                    links.fetch_add(1, Ordering::Relaxed);
                    // However it ends, it is tried again.
                    let _ = push(peer, &records, &pushed, count as u64).await;
                }
                sleep(AGAIN).await;
            }
        });
    }
    while all.join_next().await.is_some() {}
    println!(
        "op=attack kind={kind} peers={peers} links={} pushed={} secs={:.1}",
        links.load(Ordering::Relaxed),
        pushed.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Pushes until the link is over or enough was pushed: as many batches ahead of their acknowledgement as are allowed.
async fn push(mut peer: ByHand, records: &[Bytes], pushed: &AtomicU64, count: u64) -> Result<(), Error> {
    let (mut cursor, mut acked) = (0_u64, 0_u64);
    while pushed.load(Ordering::Relaxed) < count {
        while cursor < acked + AHEAD {
            let first = cursor as usize * BATCH % DISTINCT;
            cursor += 1;
            let frame = by_hand::batch(cursor, records[first..first + BATCH].iter().cloned());
            peer.send.write_all(&frame).await?;
            pushed.fetch_add(BATCH as u64, Ordering::Relaxed);
        }
        match peer.hear().await? {
            Message::Ack(ack) if ack.lane == 1 => acked = ack.cursor,
            Message::Batch(batch) => peer.acknowledge(&batch).await?,
            _ => {}
        }
    }
    Ok(())
}

/// A record of a name that nobody holds, whose signature is wrong.
fn forgery(index: usize) -> Result<Bytes, Error> {
    let mut bytes = record(index, FORGED)?.bytes().to_vec();
    let at = bytes.len() - 41;
    bytes[at] ^= 1;
    Ok(bytes.into())
}

/// Before anything that is held was said.
fn long_ago() -> UnixMicros {
    UnixMicros(now().0 - 86_400_000_000)
}

/// Peers that forge: nearly as many as a provider may have, since each is barred for ten minutes when it is cut.
const FORGERS: usize = 200;
/// Peers that replay.
const REPLAYERS: usize = 4;
/// Names held, of all of which older records are replayed.
const HELD: usize = 20_480;
const DISTINCT: usize = 20_480;
const BATCH: usize = 256;
/// What the window of a feed allows.
const AHEAD: u64 = 6;
const FORGED: u8 = 4;
/// The pause before dialling again.
const AGAIN: Duration = Duration::from_millis(20);
/// So often the operator agrees with other forgers.
const WAVE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);
const QUIET: Duration = Duration::from_secs(15);
const SETTLE: Duration = Duration::from_secs(3);
const GETS: usize = 200;
const PUTS: usize = 50;
