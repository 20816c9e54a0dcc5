//! Answers that are kept end with what they were made from: every change of the store is passed on to whoever keeps them.

use crate::store::{Cursors, Lane, RecordStore, StoreError};
use dialtone_resolver::dns::generations::Generations;
use std::sync::Arc;
use tokio::sync::watch;

/// Says to `generations` what changes in `store`, from now on, until `stopping` turns true.
pub async fn follow(store: Arc<dyn RecordStore>, generations: Arc<Generations>, mut stopping: watch::Receiver<bool>) {
    let mut heads = store.watch();
    let mut seen = *heads.borrow_and_update();
    // Between the start of this and its first look something may have changed.
    generations.all_changed();
    loop {
        tokio::select! {
            _gone = stopping.wait_for(|stopping| *stopping) => return,
            changed = heads.changed() => if changed.is_err() {
                return;
            },
        }
        let now = *heads.borrow_and_update();
        match pass_on(&*store, &generations, &mut seen, now).await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!("what changed could not be read, so no answer is kept: {error}");
                generations.all_changed();
                seen = now;
            }
        }
    }
}

async fn pass_on(store: &dyn RecordStore, generations: &Generations, seen: &mut Cursors, now: Cursors) -> Result<(), StoreError> {
    for lane in [Lane::Urgent, Lane::Ordinary] {
        let at = lane as usize;
        while seen[at] < now[at] {
            let changes = store.changes(lane, seen[at], STEP).await?;
            changes.iter().for_each(|change| generations.changed(change.held.record.name()));
            // What stood between was changed again since, and stands later.
            seen[at] = changes.last().map_or(now[at], |last| last.cursor);
        }
    }
    let at = Lane::Hearsay as usize;
    while seen[at] < now[at] {
        let changes = store.pointer_changes(seen[at], STEP).await?;
        changes.iter().for_each(|change| generations.changed(&change.pointer.name));
        seen[at] = changes.last().map_or(now[at], |last| last.cursor);
    }
    Ok(())
}

/// How many changes are read at a time.
const STEP: usize = 256;
