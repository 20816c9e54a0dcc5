//! The sockets of the encrypted transports as settings name them, and the certificate that they show.

use crate::dns::designated::Designated;
use crate::dns::domain::Domain;
use crate::dns::rdata_text::RdataTextError;
use crate::dns::settings::ListenerSettings;
use crate::io::certificate::{Certificate, CertificateError};
use crate::io::encrypted::{Encrypted, Ready};
use crate::io::lent::Lent;
use crate::io::sockets::{bind_udp, listen_tcp};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct EncryptedSettings {
    /// Where to answer DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// Where to answer DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// Where to answer DNS over QUIC.
    pub quic: Vec<SocketAddr>,
    /// The chain in PEM; `None`: a self-made one.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`; `None`: it stands in the same file.
    pub certificate_key: Option<PathBuf>,
    /// The folder in which a self-made one is kept.
    pub folder: PathBuf,
}

/// Where the encrypted transports are, with the ports that they got.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EncryptedAddresses {
    /// DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub quic: Vec<SocketAddr>,
}

/// The sockets, bound, with the certificate that they show.
#[derive(Debug)]
pub struct EncryptedSockets {
    sockets: Encrypted,
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// Where they are.
    pub addresses: EncryptedAddresses,
}

/// Why there are none. The operator's turn.
#[derive(Debug, thiserror::Error)]
pub enum EncryptedError {
    /// An address that cannot be listened on.
    #[error("cannot listen for {over} on {address}: {reason}")]
    Taken {
        /// DNS over TLS, HTTPS or QUIC.
        over: &'static str,
        /// The setting of a provider that names it.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        reason: io::Error,
    },
    /// There is no certificate to show.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl EncryptedAddresses {
    /// All, each kind with the name of its setting.
    pub fn by_kind(&self) -> [(&'static str, &[SocketAddr]); 3] {
        [("tls", &self.tls), ("https", &self.https), ("quic", &self.quic)]
    }

    /// What clients are told of them, where the certificate is for `name`.
    ///
    /// # Errors
    /// The name cannot stand in a record; the operator's turn.
    pub fn designated(&self, name: Option<&Domain>) -> Result<Option<Designated>, RdataTextError> {
        match name {
            Some(name) => Designated::new(name.clone(), &self.tls, &self.https, &self.quic),
            None => Ok(None),
        }
    }
}

impl EncryptedSockets {
    /// Opens them, but for what is `lent`: that is taken. `None` if none is asked for. It must be called on a runtime.
    ///
    /// # Errors
    /// [`EncryptedError`].
    pub fn open(settings: &EncryptedSettings, lent: &mut Lent) -> Result<Option<Self>, EncryptedError> {
        let (mut sockets, mut addresses) = (Encrypted::default(), EncryptedAddresses::default());
        for (over, setting, wanted, listeners, found) in [
            ("DNS over TLS", "dns.tls", &settings.tls, &mut sockets.tls, &mut addresses.tls),
            (
                "DNS over HTTPS",
                "dns.https",
                &settings.https,
                &mut sockets.https,
                &mut addresses.https,
            ),
        ] {
            for &address in wanted {
                let listener = lent.tcp(address).unwrap_or_else(|| listen_tcp(address));
                let listener = listener.map_err(taken(over, setting, address))?;
                found.push(listener.local_addr().map_err(taken(over, setting, address))?);
                listeners.push(listener);
            }
        }
        for &address in &settings.quic {
            let socket = lent.udp(address).map_or_else(|| bind_udp(address), Ok);
            let socket = socket.map_err(taken("DNS over QUIC", "dns.quic", address))?;
            addresses
                .quic
                .push(socket.local_addr().map_err(taken("DNS over QUIC", "dns.quic", address))?);
            sockets.quic.push(socket);
        }
        if sockets.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            certificate: certificate(settings, &addresses)?,
            sockets,
            addresses,
        }))
    }

    /// The same, ready to be served.
    ///
    /// # Errors
    /// TLS cannot be set up, or QUIC cannot be spoken on a socket.
    pub fn ready(self, settings: ListenerSettings) -> io::Result<Ready> {
        Ready::new(self.sockets, self.certificate, settings)
    }
}

fn taken(over: &'static str, setting: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> EncryptedError {
    move |reason| EncryptedError::Taken {
        over,
        setting,
        address,
        reason,
    }
}

fn certificate(settings: &EncryptedSettings, addresses: &EncryptedAddresses) -> Result<Arc<Certificate>, CertificateError> {
    if let Some(chain) = &settings.certificate {
        let key = settings.certificate_key.clone().unwrap_or_else(|| chain.clone());
        return Certificate::from_files(chain.clone(), key);
    }
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let bound = addresses
        .by_kind()
        .into_iter()
        .flat_map(|(_, addresses)| addresses)
        .map(SocketAddr::ip);
    names.extend(bound.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    names.sort_unstable();
    names.dedup();
    Certificate::self_made(&settings.folder, names)
}
