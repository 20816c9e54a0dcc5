//! What peering reads and forgets a page at a time, in the background: everything for a digest, and what a peer told of others.

use crate::peering::agreement::Way;
use crate::peering::digest::Digest;
use crate::peering::feed::tag_of;
use crate::peering::limits::SCAN_STEP;
use crate::peering::policy;
use crate::store::{Cursors, RecordStore, StoreError};
use dialtone_shared::{Name, UnixSecs};

/// Makes a digest of all that goes this way, under `seed`: and where the log ended before, for what changed since may be in it or not.
///
/// # Errors
/// [`StoreError`].
pub async fn digest(store: &dyn RecordStore, way: &Way, now: UnixSecs, seed: u64) -> Result<(Digest, Cursors), StoreError> {
    let covers = *store.watch().borrow();
    let mut mentions = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(after, SCAN_STEP).await?;
        let Some(last) = page.last() else { break };
        after = Some(*last.record.name());
        let told = page.iter().filter(|held| policy::in_digest(held, way, now));
        mentions.extend(told.map(|held| Digest::mention_of(seed, held.record.name(), tag_of(held).as_ref())));
    }
    let mut after = None;
    loop {
        let page = store.pointers(after, SCAN_STEP).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.name);
        let told = page.iter().filter(|pointer| policy::tells(pointer, way, false, now));
        mentions.extend(told.map(|pointer| Digest::mention_of(seed, &pointer.name, pointer.tag.as_ref())));
    }
    Ok((Digest::of(seed, &mentions), covers))
}

/// Forgets every pointer that `peer` told.
///
/// # Errors
/// [`StoreError`]; what is left is forgotten when its time is over.
pub async fn forget(store: &dyn RecordStore, peer: &Name) -> Result<usize, StoreError> {
    let (mut forgotten, mut after) = (0, None);
    loop {
        let page = store.pointers(after, SCAN_STEP).await?;
        let Some(last) = page.last() else { return Ok(forgotten) };
        after = Some(last.name);
        let told: Vec<_> = page.into_iter().filter(|pointer| pointer.from == *peer).collect();
        if !told.is_empty() {
            forgotten += store.forget_pointers(told).await?;
        }
    }
}
