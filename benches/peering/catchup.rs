//! A new peer catches up with a store that is full: how fast, against verification alone, and what gets at the sender cost meanwhile.

use crate::parts::records::{now, record};
use crate::parts::{Error, verify};
use crate::process::{Place, agreement, at};
use crate::steady::{self, Steady, told};
use dialtone_provider::store::{Class, Condition, EmbeddedOptions, EmbeddedStore, Put, RecordStore};
use dialtone_shared::UnixSecs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// `apart`: the sender and who asks it on one processor, the receiver on another, as on two machines; otherwise all on all.
pub async fn run(count: usize, apart: bool, rate: usize) -> Result<(), Error> {
    let root = tempfile::tempdir()?;
    let (a, b) = (Place::new(root.path(), 0)?, Place::new(root.path(), 1)?);
    fill(&a.data.join("store"), count).await?;
    let [here, there] = if apart { [Some("0"), Some("1")] } else { [None, None] };
    if apart {
        pin(0)?;
    }
    let strict = verify::library()?;
    let sender = a.start(&agreement(&b.name, None, "mutual"), here)?;
    let names = steady::gets(count, SET);
    // What was read once is warm.
    sleep(SETTLE).await;
    let gets = |rate| (rate > 0).then(|| Steady::start(sender.http, &names, rate));
    let warm = gets(rate);
    sleep(SETTLE).await;
    warm.map(Steady::stop).transpose()?;
    let quiet = gets(rate);
    sleep(QUIET).await;
    let quiet = quiet.map(Steady::stop).transpose()?;

    let meanwhile = gets(rate);
    let before = sender.cpu_us()?;
    let began = Instant::now();
    let receiver = b.start(&agreement(&a.name, Some(sender.peering), "mutual"), there)?;
    receiver
        .until(EVERY, "it has everything", |counts| at(counts, "dialtone_records") >= count as f64)
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    let meanwhile = meanwhile.map(Steady::stop).transpose()?;
    let each = |us: f64| us / count as f64;
    let cores = if apart { 1 } else { std::thread::available_parallelism()?.get() };
    let limit = cores as f64 * 1e6 / strict;
    println!(
        "op=catch-up n={count} apart={apart} secs={seconds:.2} rps={:.0} of_verify_strict={:.3} sender_us={:.1} receiver_us={:.1} receiver_mb={:.0}",
        count as f64 / seconds,
        count as f64 / seconds / limit,
        each(sender.cpu_us()? - before),
        each(receiver.cpu_us()?),
        receiver.resident_mb()?,
    );
    if let Some((quiet, meanwhile)) = quiet.zip(meanwhile) {
        told("gets-quiet", &quiet);
        told("gets-meanwhile", &meanwhile);
        println!(
            "op=gets-ratio p50={:.2} p99={:.2}",
            meanwhile.quantile(0.5) / quiet.quantile(0.5),
            meanwhile.quantile(0.99) / quiet.quantile(0.99)
        );
    }
    Ok(())
}

/// As `load fill`: so many records of about 400 bytes.
pub async fn fill(folder: &Path, count: usize) -> Result<(), Error> {
    let store = EmbeddedStore::open(folder, EmbeddedOptions::default())?;
    for first in (0..count).step_by(2_048) {
        let batch = (first..(first + 2_048).min(count)).map(|index| {
            Ok(Put {
                record: record(index, SET)?.verify()?,
                class: Class::Customer,
                keep_until: UnixSecs(now().secs().0 + 30 * 86_400),
                from: None,
                account: None,
                condition: Condition::None,
            })
        });
        store.put(batch.collect::<Result<Vec<_>, Error>>()?).await?;
    }
    store.close().await?;
    Ok(())
}

/// Everything of this process runs on one processor from now on.
pub fn pin(core: usize) -> Result<(), Error> {
    let done = std::process::Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &std::process::id().to_string()])
        .stdout(std::process::Stdio::null())
        .status()?;
    if done.success() { Ok(()) } else { Err("taskset failed".into()) }
}

/// The set of names that stores are filled with.
pub const SET: u8 = 5;
/// How long a provider has to put itself in order.
const SETTLE: Duration = Duration::from_secs(3);
/// How long gets are measured while nothing else happens.
const QUIET: Duration = Duration::from_secs(8);
/// How often it is looked how far the receiver is: seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(100);
