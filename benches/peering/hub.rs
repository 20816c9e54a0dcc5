//! A hub that pushes values to few and to many peers: what a record costs it for each of them.

use crate::by_hand::{self, ByHand};
use crate::parts::Error;
use crate::parts::records::run as set;
use crate::process::{Place, agreement, at};
use crate::steady::{Steady, puts, told};
use dialtone_provider::peering::limits::HANDSHAKES_FROM_ONE;
use dialtone_shared::message::{Entry, Message};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub async fn run(few: usize, many: usize) -> Result<(), Error> {
    let alone = measured(0).await?;
    let (few_us, many_us) = (measured(few).await? - alone, measured(many).await? - alone);
    let [few_each, many_each] = [few_us / few as f64, many_us / many as f64];
    println!(
        "op=hub put_us={alone:.1} peers={few} us_a_peer={few_each:.2} peers={many} us_a_peer={many_each:.2} ratio={:.3}",
        many_each / few_each
    );
    Ok(())
}

/// What a put costs a hub with so many peers, in microseconds. The peers are played, by this process.
async fn measured(peers: usize) -> Result<f64, Error> {
    let root = tempfile::tempdir()?;
    let place = Place::new(root.path(), 0)?;
    let mut settings = String::new();
    for number in 0..peers {
        let _ = write!(settings, "{}", agreement(&by_hand::name(number), None, "mutual"));
    }
    let hub = place.start(&settings, None)?;
    let (mut links, arrived) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for number in 0..peers {
        // All come from one network, which is let in no faster.
        sleep(HANDSHAKES_FROM_ONE.every).await;
        let mut peer = ByHand::greeted(hub.peering, number).await?;
        let arrived = arrived.clone();
        links.spawn(async move {
            loop {
                match peer.hear().await? {
                    Message::Batch(batch) => {
                        let bodies = batch.entries.iter().filter(|entry| matches!(entry, Entry::Value(_)));
                        arrived.fetch_add(bodies.count() as u64, Ordering::Relaxed);
                        peer.acknowledge(&batch).await?;
                    }
                    Message::Branch(branch) => peer.stands_on(branch).await?,
                    _ => {}
                }
            }
            #[allow(unreachable_code, reason = "says what kind of error ends the loop")]
            Ok::<(), Error>(())
        });
    }
    let all = |counts: &_| at(counts, "dialtone_peer_up") >= peers as f64;
    hub.until(Duration::from_millis(100), "all peers are there", all).await?;
    sleep(SETTLE).await;
    let idle = hub.cpu_us()?;
    sleep(IDLE).await;
    let idle = (hub.cpu_us()? - idle) / IDLE.as_secs_f64();

    let requests = puts(hub.http, RATE * (LOADED.as_secs() as usize + 1), set())?;
    let before = hub.cpu_us()?;
    let load = Steady::start(hub.http, &requests, RATE);
    sleep(LOADED).await;
    let made = load.stop()?;
    sleep(SETTLE).await;
    let used = hub.cpu_us()? - before - idle * (LOADED + SETTLE).as_secs_f64();
    let wanted = (made.count() * peers) as u64;
    if arrived.load(Ordering::Relaxed) != wanted {
        return Err(format!("{} of {wanted} records arrived", arrived.load(Ordering::Relaxed)).into());
    }
    told(
        &format!(
            "put-at-hub peers={peers} idle_us/s={idle:.0} us_a_put={:.1} mb={:.0}",
            used / made.count() as f64,
            hub.resident_mb()?
        ),
        &made,
    );
    Ok(used / made.count() as f64)
}

/// Puts a second.
const RATE: usize = 50;
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(8);
const LOADED: Duration = Duration::from_secs(15);
