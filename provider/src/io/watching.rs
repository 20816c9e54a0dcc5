//! Sees to it that whoever watches is told: follows the change log of the store, and the clock, for as long as anybody watches.

use crate::io::clock::Clock;
use crate::service::get::StoreSource;
use crate::service::watch::board::Board;
use crate::service::watch::names_changed;
use crate::settings::WATCH_TICK_MILLIS;
use crate::store::{Lane, RecordStore, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What following the change log needs.
#[derive(Debug)]
pub struct Watching {
    /// Whose log.
    pub store: Arc<dyn RecordStore>,
    /// Knows whether what is kept is the newest there is.
    pub source: Arc<StoreSource>,
    /// Who watches what.
    pub board: Arc<Board>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Watching {
    /// Goes on until `stopping` turns true.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut heads = self.store.watch();
        let mut tick = tokio::time::interval(Duration::from_millis(WATCH_TICK_MILLIS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let until = *heads.borrow_and_update();
            self.board.set_whole(self.source.is_whole());
            match self.read_on(until).await {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        () = self.board.begun() => continue,
                        _ = stopping.wait_for(|stopping| *stopping) => return,
                    }
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "what is watched could not be looked after: tried again");
                    tokio::time::sleep(Duration::from_millis(WATCH_TICK_MILLIS)).await;
                    continue;
                }
            }
            tokio::select! {
                changed = heads.changed() => if changed.is_err() { return },
                _ = tick.tick() => self.board.ended(self.clock.now().secs()),
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Reads the log up to these cursors, and tells of what changed. Whether anybody watches.
    async fn read_on(&self, until: crate::store::Cursors) -> Result<bool, StoreError> {
        let Some(mut cursors) = self.board.read_on(until) else {
            return Ok(false);
        };
        for lane in [Lane::Urgent, Lane::Ordinary, Lane::Hearsay] {
            while cursors[lane as usize] < until[lane as usize] {
                let changed = names_changed(&*self.store, lane, cursors[lane as usize]).await?;
                // What changed again since stands further on, maybe beyond what was looked for.
                cursors[lane as usize] = changed.last().map_or(until[lane as usize], |(cursor, _)| *cursor);
                self.board.changed(changed.into_iter().map(|(_, name)| name), Some(cursors));
            }
        }
        Ok(true)
    }
}
