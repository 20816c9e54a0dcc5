//! What an operator asks of a provider that runs: how its peers are, other agreements, statements.

use crate::io::link_books::{LinkBooks, StatementError};
use crate::io::peering::PeeringHandle;
use crate::peering::agreement::AgreementError;
use crate::peering::health::PeerStatus;
use crate::provider::Addresses;
use crate::settings::PeerSettings;
use crate::store::StoreError;
use bytes::Bytes;
use dialtone_shared::Name;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// A handle on a provider that runs. It may outlive it; then nothing of what it says is news.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Who the provider is.
    pub name: Name,
    /// Where it is reached.
    pub addresses: Addresses,
    pub(crate) peering: Arc<PeeringHandle>,
    pub(crate) books: Arc<LinkBooks>,
    /// What `/v1/info` says, but for the peers, and where it is said.
    pub(crate) about: Value,
    pub(crate) info: watch::Sender<Bytes>,
}

impl Admin {
    /// How the links with its peers are.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.peering.peers()
    }

    /// Replaces its agreements. Links whose agreement stays as it was are not touched.
    ///
    /// # Errors
    /// [`AgreementError`]: the old ones stay.
    pub async fn agree(&self, peers: &[PeerSettings]) -> Result<(), AgreementError> {
        // What links that are about to go have counted.
        self.books.look_again().await;
        self.peering.agree(peers.iter().map(PeerSettings::agreement).collect())?;
        self.books.look_again().await;
        self.info.send_replace(with_peers(&self.about, peers));
        Ok(())
    }

    /// What it says crossed its link with `peer` in `hours` hours from `first` on (hours since 1970), signed. It may begin later than asked,
    /// if that is more than one statement holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn statement(&self, peer: &Name, first: u64, hours: u32) -> Result<Bytes, StoreError> {
        self.books.statement(peer, first, u64::from(hours)).await
    }

    /// What `peer` says crossed the same link, signed by it: asked for over the link that stands.
    ///
    /// # Errors
    /// [`StatementError`].
    pub async fn statement_of(&self, peer: &Name, first: u64, hours: u32) -> Result<Bytes, StatementError> {
        self.books.statement_of(peer, first, hours).await
    }
}

/// What `/v1/info` says.
pub(crate) fn with_peers(about: &Value, peers: &[PeerSettings]) -> Bytes {
    let mut info = about.clone();
    info["peers"] = peers.iter().map(|peer| peer.name.to_string()).collect();
    Bytes::from(info.to_string())
}
