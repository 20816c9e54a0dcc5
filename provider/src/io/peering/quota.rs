//! Counts whose names are held, where a peer may not bring any number: at the start, and now and then, since names end and change hands.

use crate::io::peering::node::Node;
use crate::store::StoreError;
use dialtone_shared::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

/// Counts, as long as peering runs. What is stored in between the quotas follow by themselves.
pub(super) async fn count(node: Arc<Node>) {
    let mut agreements = node.agreements.subscribe();
    let mut counted_at = Instant::now();
    loop {
        let limited = agreements.borrow_and_update().values().any(|agreement| agreement.limits.names > 0);
        let due = !node.quotas.are_counted() || counted_at.elapsed() >= COUNT_EVERY;
        if limited && due {
            counted_at = Instant::now();
            node.quotas.begin_count();
            match walk(&node).await {
                Ok(held) => node.quotas.counted(&held),
                Err(StoreError::Closed) => return,
                Err(error) => warn!(%error, "the names that came from peers could not be counted"),
            }
        }
        let again = if node.quotas.are_counted() { COUNT_EVERY } else { TRY_EVERY };
        tokio::select! {
            biased;
            // Without a limit nothing is counted: a time that has passed would come at once, again and again.
            () = sleep_until(counted_at + again), if limited => {}
            // The sender is the node's: it is not gone.
            _ = agreements.changed() => {}
            () = node.stopped() => return,
        }
    }
}

async fn walk(node: &Node) -> Result<BTreeMap<Name, u64>, StoreError> {
    let mut held: BTreeMap<Name, u64> = BTreeMap::new();
    let mut at = None;
    loop {
        let page = node.store.scan(at, PAGE).await?;
        for from in page.iter().filter_map(|held| held.from) {
            *held.entry(from).or_default() += 1;
        }
        at = page.last().map(|held| *held.record.name());
        if at.is_none() {
            break;
        }
        rest(node).await;
    }
    // What the peer only told us of takes room, too.
    loop {
        let page = node.store.pointers(at, PAGE).await?;
        for pointer in &page {
            *held.entry(pointer.from).or_default() += 1;
        }
        at = page.last().map(|pointer| pointer.name);
        if at.is_none() {
            return Ok(held);
        }
        rest(node).await;
    }
}

/// Puts and gets go first, unless new names wait for the count.
async fn rest(node: &Node) {
    if node.quotas.are_counted() {
        sleep(REST).await;
    }
}

/// How often all is counted: what ends in between makes room that late.
const COUNT_EVERY: Duration = Duration::from_secs(3_600);
/// How often it is tried when it failed.
const TRY_EVERY: Duration = Duration::from_secs(10);
/// Names looked at in one go.
const PAGE: usize = 512;
/// The pause after each: a million names take a minute, and nobody notices.
const REST: Duration = Duration::from_millis(20);
