//! Puts the records from the future whose time has come.

use crate::peering::agreement::Agreements;
use crate::peering::deferred;
use crate::peering::limits::DEFERRED_MAX;
use crate::store::{RecordStore, StoreError};
use dialtone_shared::UnixSecs;

/// Puts everything that is due at `now`, and says how many records that were.
///
/// # Errors
/// [`StoreError`]. What was put before is put; the rest stays aside.
pub async fn release(store: &dyn RecordStore, agreements: &Agreements, now: UnixSecs) -> Result<usize, StoreError> {
    let mut released = 0;
    for (peer, agreement) in agreements {
        let notes = store.notes(&deferred::keys(peer), DEFERRED_MAX).await?;
        let due: Vec<_> = notes
            .into_iter()
            .take_while(|(key, _)| deferred::due(key).is_none_or(|due| due <= now))
            .collect();
        let puts: Vec<_> = due
            .iter()
            .filter_map(|(_, note)| deferred::put(note, agreement.relationship))
            .collect();
        if due.is_empty() {
            continue;
        }
        released += puts.len();
        if !puts.is_empty() {
            store.put(puts).await?;
        }
        store.set_notes(due.into_iter().map(|(key, _)| (key, None)).collect()).await?;
    }
    Ok(released)
}
