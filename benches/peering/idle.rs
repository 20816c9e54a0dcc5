//! Two equal providers with nothing to say to each other: what they exchange all the same, and the processor time that it costs.

use crate::catchup::fill;
use crate::parts::Error;
use crate::process::{Place, agreement, at};
use crate::relay;
use std::time::Duration;
use tokio::time::sleep;

pub async fn run(count: usize, seconds: usize) -> Result<(), Error> {
    let root = tempfile::tempdir()?;
    let (a, b) = (Place::new(root.path(), 0)?, Place::new(root.path(), 1)?);
    if count > 0 {
        fill(&a.data.join("store"), count).await?;
    }
    let first = a.start(&agreement(&b.name, None, "mutual"), None)?;
    let (way, passed) = relay::start(first.peering).await?;
    let second = b.start(&agreement(&a.name, Some(way), "mutual"), None)?;
    let equal = |counts: &_| at(counts, "dialtone_records") >= count as f64 && at(counts, "dialtone_peer_up") >= 1.0;
    second.until(Duration::from_millis(100), "both are equal", equal).await?;
    sleep(SETTLE).await;
    for round in 1..=ROUNDS {
        let (bytes, datagrams) = passed.so_far();
        let (cpu, wakes) = ([first.cpu_us()?, second.cpu_us()?], [first.wakes()?, second.wakes()?]);
        sleep(Duration::from_secs(seconds as u64)).await;
        let per_second = |many: f64| many / seconds as f64;
        let (all_bytes, all_datagrams) = passed.so_far();
        println!(
            "op=idle round={round} records={count} secs={seconds} bytes/s={:.1} datagrams/s={:.2} cpu%={:.2},{:.2} wakes/s={:.0},{:.0}",
            per_second((all_bytes - bytes) as f64),
            per_second((all_datagrams - datagrams) as f64),
            per_second((first.cpu_us()? - cpu[0]) / 1e4),
            per_second((second.cpu_us()? - cpu[1]) / 1e4),
            per_second((first.wakes()? - wakes[0]) as f64),
            per_second((second.wakes()? - wakes[1]) as f64),
        );
    }
    Ok(())
}

/// How long both have to put themselves in order: longer than any patience of a link.
const SETTLE: Duration = Duration::from_secs(15);
const ROUNDS: usize = 1;
