//! What an operator asks of a provider that runs: how its peers are, other agreements, statements.

use crate::io::link_books::LinkBooks;
use crate::io::peering::PeeringHandle;
use crate::io::peering::requests::RequestError;
use crate::peering::agreement::AgreementError;
use crate::peering::health::PeerStatus;
use crate::provider::Addresses;
use crate::settings::PeerSettings;
use crate::store::{Held, StoreError};
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::message::{Path, Request, Response};
use dialtone_shared::receipt::ReceiptError;
use dialtone_shared::statement::Statement;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Why a peer's statement could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It did not give one.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What it gave proves nothing. Its bug, or worse.
    #[error("{0} gave a statement that proves nothing: {1}")]
    Unproved(Name, ReceiptError),
    /// What it gave is signed by another or of another link or time. Its bug, or worse.
    #[error("{0} gave a statement that is not its own about this link")]
    NotOurs(Name),
}

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

    /// By whom what is held came, as far as it is known.
    pub fn path_of(&self, held: &Held) -> Path {
        self.peering.path_of(held)
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
        let from_hour = first;
        let request = Request::Statement { from_hour, hours };
        let Response::Statement(bytes) = self.peering.request(peer, request, STATEMENT_PATIENCE).await? else {
            return Err(StatementError::NotOurs(*peer));
        };
        let said = Statement::verify(&bytes).map_err(|error| StatementError::Unproved(*peer, error))?;
        if (said.provider, said.peer) != (*peer, self.name) || said.first < first {
            return Err(StatementError::NotOurs(*peer));
        }
        Ok(bytes)
    }
}

/// What `/v1/info` says.
pub(crate) fn with_peers(about: &Value, peers: &[PeerSettings]) -> Bytes {
    let mut info = about.clone();
    info["peers"] = peers.iter().map(|peer| peer.name.to_string()).collect();
    Bytes::from(info.to_string())
}

/// How long a peer may take over its statement: it reads some hundred rows of its books.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(8);
