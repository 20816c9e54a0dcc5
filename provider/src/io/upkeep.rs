//! What a provider does without being asked: forgets what has ended, writes its books, counts anew.

use crate::accounting::Ledger;
use crate::accounting::ledger::{CLOSED, HOURS, hours_from};
use crate::io::clock::Clock;
use crate::metrics::Metrics;
use crate::service::watch::board::Board;
use crate::settings::{BOOKS_EVERY_SECS, BOOKS_KEEP_DAYS, EXPIRE_EVERY_SECS, EXPIRE_STEP, WALK_EVERY_SECS, WALK_REST_MILLIS, WALK_STEP};
use crate::store::{RecordStore, StoreError};
use dialtone_shared::UnixSecs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What upkeep needs.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// What is kept up.
    pub store: Arc<dyn RecordStore>,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who watches what.
    pub board: Arc<Board>,
}

impl Upkeep {
    /// Opens the books where they were closed, on a full disk too: what is held is served all the same. Says whether they are exact.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_books(&self) -> Result<bool, StoreError> {
        let mut notes = Vec::new();
        for [standing, hour] in self.ledger.wanted() {
            notes.push([self.store.note(&standing).await?, self.store.note(&hour).await?]);
        }
        self.ledger.restore(&notes);
        let exact = self.store.note(CLOSED).await?.is_some() || self.store.count().records == 0;
        match self.store.set_notes(vec![(CLOSED.to_vec(), None)]).await {
            Ok(()) => Ok(exact),
            Err(error @ StoreError::Full(_)) => {
                tracing::warn!(%error, "started all the same: gets are answered, puts are refused until there is space");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets what has ended, a step at a time.
    pub async fn expire(self, mut stopping: watch::Receiver<bool>) {
        loop {
            let forgotten = self.store.expire(self.clock.now().secs(), EXPIRE_STEP).await;
            let pause = match forgotten {
                Ok(names) => {
                    self.metrics.forgotten.inc_by(names.len() as u64);
                    let pause = if names.len() < EXPIRE_STEP {
                        EXPIRE_EVERY_SECS * 1_000
                    } else {
                        WALK_REST_MILLIS
                    };
                    self.board.changed(names, None);
                    pause
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!("what has ended could not be forgotten: {error}");
                    EXPIRE_EVERY_SECS * 1_000
                }
            };
            if rest(&mut stopping, pause).await {
                return;
            }
        }
    }

    /// Writes the books now and then, and a last time when `stopping` turns true.
    pub async fn keep_books(self, mut stopping: watch::Receiver<bool>) {
        // Once more: on a full disk the books could not be marked as open when they were.
        let mut unwritten = BTreeMap::from([(CLOSED.to_vec(), None)]);
        let mut pruned = Vec::new();
        loop {
            let stopped = rest(&mut stopping, BOOKS_EVERY_SECS * 1_000).await;
            let now = self.clock.now().secs();
            // By key, so that a disk that stays away does not make the list longer than the books.
            unwritten.extend(self.ledger.write(now));
            if stopped {
                unwritten.insert(CLOSED.to_vec(), Some(vec![1]));
            }
            let notes: Vec<_> = unwritten.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            match if notes.is_empty() {
                Ok(())
            } else {
                self.store.set_notes(notes).await
            } {
                Ok(()) => unwritten.clear(),
                Err(error) => tracing::warn!("the books could not be written: {error}"),
            }
            if stopped {
                return;
            }
            let first_kept = hours_from(UnixSecs(now.0.saturating_sub(BOOKS_KEEP_DAYS * 86_400)));
            if first_kept != pruned {
                if let Err(error) = self.prune(&first_kept).await {
                    tracing::warn!("old books could not be thrown away: {error}");
                }
                pruned = first_kept;
            }
        }
    }

    /// Throws away rows before `first_kept`.
    async fn prune(&self, first_kept: &[u8]) -> Result<(), StoreError> {
        loop {
            let rows = self.store.notes(HOURS.as_bytes(), WALK_STEP).await?;
            let old: Vec<_> = rows
                .into_iter()
                .map(|(key, _)| key)
                .take_while(|key| key.as_slice() < first_kept)
                .collect();
            if old.is_empty() {
                return Ok(());
            }
            self.store.set_notes(old.into_iter().map(|key| (key, None)).collect()).await?;
        }
    }

    /// Counts what everybody keeps: at once unless the books are `exact`, then every few hours.
    pub async fn count(self, exact: bool, mut stopping: watch::Receiver<bool>) {
        if exact && rest(&mut stopping, WALK_EVERY_SECS * 1_000).await {
            return;
        }
        loop {
            self.ledger.begin_walk();
            let mut at = None;
            loop {
                let page = match self.store.scan(at, WALK_STEP).await {
                    Ok(page) => page,
                    Err(error) => {
                        tracing::warn!("what is kept could not be counted: {error}");
                        break;
                    }
                };
                self.ledger.walked(&page);
                at = page.last().map(|held| *held.record.name());
                if at.is_none() {
                    break;
                }
                if rest(&mut stopping, WALK_REST_MILLIS).await {
                    return;
                }
            }
            if rest(&mut stopping, WALK_EVERY_SECS * 1_000).await {
                return;
            }
        }
    }
}

/// Waits; whether it is time to stop.
async fn rest(stopping: &mut watch::Receiver<bool>, millis: u64) -> bool {
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => true,
        () = tokio::time::sleep(Duration::from_millis(millis)) => false,
    }
}
