//! Peering, running: listens, dials, keeps one link for each agreement, and says how they are.

use crate::io::quic::{self, EndpointError, LinkKey};
use crate::peering::agreement::{self, Agreement, AgreementError, Agreements};
use crate::peering::health::{LinkState, PeerStatus, Progress};
use crate::store::RecordStore;
use dialtone_shared::UnixMicros;
use dialtone_shared::receipt::Signer;
use quinn::Endpoint;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> UnixMicros + Send + Sync>;

/// What peering needs.
pub struct PeeringContext {
    /// Whose changes are pushed, and where the peers' are put.
    pub store: Arc<dyn RecordStore>,
    /// Who we are.
    pub signer: Arc<Signer>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The addresses that our record lists; none: those of the links count.
    pub addresses: Vec<IpAddr>,
    /// With whom.
    pub agreements: Vec<Agreement>,
    /// Tells the time.
    pub clock: Clock,
    /// Seeds the jitter of pauses and the id of this process.
    pub seed: u64,
}

impl fmt::Debug for PeeringContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeeringContext")
            .field("name", &self.signer.name())
            .field("listen", &self.listen)
            .field("agreements", &self.agreements)
            .finish_non_exhaustive()
    }
}

/// Why peering does not start.
#[derive(Debug, thiserror::Error)]
pub enum PeeringError {
    /// The agreements.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Peering that runs. Dropping it stops abruptly; [`PeeringHandle::shutdown`] says goodbye.
#[derive(Debug)]
pub struct PeeringHandle {
    endpoint: Endpoint,
    agreements: Agreements,
}

/// Starts listening and dialling.
///
/// # Errors
/// [`PeeringError`]: what was configured cannot stand, or the address cannot be listened on.
pub async fn start(context: PeeringContext) -> Result<PeeringHandle, PeeringError> {
    let agreements = agreement::file(&context.signer.name(), context.agreements)?;
    let key = LinkKey::generate()?;
    let endpoint = quic::endpoint(context.listen, &key)?;
    Ok(PeeringHandle { endpoint, agreements })
}

impl PeeringHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// Every peer with whom there is an agreement, by name.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |peer: &dialtone_shared::Name| PeerStatus {
            name: *peer,
            state: LinkState::Awaited,
            address: None,
            last_error: None,
            progress: Progress::default(),
        };
        self.agreements.keys().map(status).collect()
    }

    /// Says goodbye on every link, finishes what was begun, and stops.
    pub async fn shutdown(&self) {
        self.endpoint.close(0u32.into(), b"stopping");
        self.endpoint.wait_idle().await;
    }
}
