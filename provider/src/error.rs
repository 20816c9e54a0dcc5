//! Why a provider does not start. Each names the thing, the reason and the remedy.

use crate::identity::IdentityError;
use crate::io::peering::PeeringError;
use crate::settings::SettingsError;
use crate::store::StoreError;
use dialtone_resolver::dns::frontend::FrontendError;
use dialtone_resolver::io::certificate::CertificateError;
use dialtone_resolver::io::lent::LentError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a provider does not start. Always the operator's turn; nothing was changed but, perhaps, an empty folder made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data folder cannot be made or written to.
    #[error("the data folder {path} cannot be used: {reason}. Give this user the right to write there, or set `data` to another folder")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The store does not open.
    #[error("{0}. {remedy}", remedy = remedy(.0))]
    Store(#[from] StoreError),
    /// No key, so no name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An address cannot be listened on.
    #[error(
        "cannot listen for {what} on {address}: {reason}. Stop what is using it, or set `{setting}` to another address (port 0 takes a free one)"
    )]
    Listen {
        /// For what.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
        /// The setting to change.
        setting: &'static str,
    },
    /// A socket that was passed to this process, and that nothing asks for.
    #[error("{0}. Name its address in the settings, or do not pass it")]
    Lent(#[from] LentError),
    /// Peering does not start.
    #[error("peering does not start: {0}")]
    Peering(#[from] PeeringError),
    /// There is no certificate for DNS over TLS, HTTPS and QUIC.
    #[error(
        "DNS does not start: {0}. Name a chain in PEM as `dns.certificate` and its key as `dns.certificate_key`, or neither: then one is made"
    )]
    Certificate(#[from] CertificateError),
    /// DNS over TLS, HTTPS and QUIC cannot be set up.
    #[error("DNS over TLS, HTTPS and QUIC does not start: {0}")]
    Encrypted(io::Error),
    /// The threads that peering was to run on did not start it.
    #[error("peering does not start on its threads: {0}")]
    Threads(#[from] tokio::task::JoinError),
    /// DNS does not start.
    #[error("DNS does not start: {0}")]
    Dns(#[from] FrontendError),
}

/// What the operator can do about a store that does not open.
fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full(_) => "Make room, then start again",
        StoreError::InUse(_) => "Stop the other provider, or set `data` to another folder",
        StoreError::Folder { .. } => "Give this user the right to write there, or set `data` to another folder",
        StoreError::Corrupt(_) => "Move the folder aside and start with an empty one: peers will fill it again; or restore a backup",
        StoreError::Failed(_) | StoreError::Busy | StoreError::Closed => "Look at the disk, then start again",
    }
}
