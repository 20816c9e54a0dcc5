//! A provider's settings, read again while it runs: agreements change at once, all else waits for the next start.

use crate::control::Reload;
use crate::exit::Failure;
use crate::failures;
use crate::place::Place;
use async_trait::async_trait;
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::{Admin, Settings};
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use tokio::sync::Mutex;

/// Reads the settings as they were read at the start, and applies what may change.
pub struct Reloader {
    read: Box<dyn Fn() -> Result<Place, Failure> + Send + Sync>,
    admin: Admin,
    file: PathBuf,
    /// What holds now.
    holds: Mutex<Settings>,
}

impl Reloader {
    /// For a provider that runs with `place`, which `read` reads.
    pub fn new(admin: Admin, place: Place, read: impl Fn() -> Result<Place, Failure> + Send + Sync + 'static) -> Self {
        Self {
            read: Box::new(read),
            admin,
            file: std::path::absolute(&place.file).unwrap_or(place.file),
            holds: Mutex::new(place.settings),
        }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("file", &self.file).finish_non_exhaustive()
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> Result<Value, Failure> {
        let mut holds = self.holds.lock().await;
        let fresh = (self.read)()?.settings;
        fresh.check().map_err(failures::settings)?;
        self.admin.agree(&fresh.peers).await.map_err(failures::agreement)?;
        let changes = Changes::between(&holds.peers, &fresh.peers);
        holds.peers = fresh.peers.clone();
        let restart = *holds != fresh;
        tracing::info!(
            made = changes.made.len(),
            changed = changes.changed.len(),
            ended = changes.ended.len(),
            "the settings were read again"
        );
        if restart {
            tracing::warn!("settings other than agreements have changed: they hold from the next start");
        }
        Ok(json!({ "made": changes.made, "changed": changes.changed, "ended": changes.ended, "restart": restart }))
    }

    fn file(&self) -> PathBuf {
        self.file.clone()
    }
}

/// Names of peers whose agreements are others than before.
struct Changes {
    made: Vec<String>,
    changed: Vec<String>,
    ended: Vec<String>,
}

impl Changes {
    fn between(before: &[PeerSettings], now: &[PeerSettings]) -> Self {
        let of = |peers: &'_ [PeerSettings], name| peers.iter().find(|peer| peer.name == name).cloned();
        let names = |peers: &[PeerSettings], which: &dyn Fn(&PeerSettings) -> bool| {
            peers.iter().filter(|peer| which(peer)).map(|peer| peer.name.to_string()).collect()
        };
        Self {
            made: names(now, &|peer| of(before, peer.name).is_none()),
            changed: names(now, &|peer| of(before, peer.name).is_some_and(|before| before != *peer)),
            ended: names(before, &|peer| of(now, peer.name).is_none()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::Name;

    #[test]
    fn what_was_made_changed_and_ended_is_told_apart() {
        let peer = |n: u8| PeerSettings::mutual(Name::key_set([n; 32]), Vec::new());
        let other = PeerSettings { names_max: 7, ..peer(2) };
        let changes = Changes::between(&[peer(1), peer(2), peer(3)], &[peer(1), other, peer(4)]);
        let name = |n: u8| vec![peer(n).name.to_string()];
        assert_eq!((changes.made, changes.changed, changes.ended), (name(4), name(2), name(3)));
    }
}
