//! The encrypted sockets of a frontend as its settings name them, and the certificate that they show.

use crate::exit::{Exit, Failure, plain};
use dialtone_resolver::io::certificate::{Certificate, CertificateError};
use dialtone_resolver::io::encrypted::{Encrypted, listen_tcp};
use dialtone_resolver::io::environment::state_folder;
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
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
    /// The folder of a self-made one; `None`: that of the state.
    pub state: Option<PathBuf>,
}

/// The sockets, bound, with the certificate that they show.
#[derive(Debug)]
pub struct EncryptedSockets {
    /// The sockets.
    pub sockets: Encrypted,
    /// The certificate.
    pub certificate: Arc<Certificate>,
    addresses: [(&'static str, Vec<SocketAddr>); 3],
}

impl EncryptedSockets {
    /// Opens them; `None` if none is asked for.
    ///
    /// # Errors
    /// An address is taken or not this machine's, or there is no certificate to show.
    pub fn open(settings: &EncryptedSettings) -> Result<Option<Self>, Failure> {
        let mut sockets = Encrypted::default();
        let mut addresses = [("tls", Vec::new()), ("https", Vec::new()), ("quic", Vec::new())];
        for (kind, wanted, listeners) in [(0, &settings.tls, &mut sockets.tls), (1, &settings.https, &mut sockets.https)] {
            for &address in wanted {
                let listener = listen_tcp(address).map_err(|error| taken(address, &error))?;
                addresses[kind]
                    .1
                    .push(listener.local_addr().map_err(|error| taken(address, &error))?);
                listeners.push(listener);
            }
        }
        for &address in &settings.quic {
            let socket = UdpSocket::bind(address).map_err(|error| taken(address, &error))?;
            addresses[2].1.push(socket.local_addr().map_err(|error| taken(address, &error))?);
            sockets.quic.push(socket);
        }
        if sockets.is_empty() {
            return Ok(None);
        }
        let certificate = certificate(settings, &addresses).map_err(no_certificate)?;
        Ok(Some(Self {
            sockets,
            certificate,
            addresses,
        }))
    }

    /// Where they are, for the start line of people.
    pub fn lines(&self) -> Vec<String> {
        let shown = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let listed = self.addresses.iter().filter(|(_, addresses)| !addresses.is_empty());
        let mut lines: Vec<String> = listed
            .map(|(kind, addresses)| format!("  {kind} on {}", shown(addresses)))
            .collect();
        let pin = self.certificate.pin().map(|pin| format!(", pin {pin}")).unwrap_or_default();
        lines.push(format!("  certificate {}{pin}", self.certificate.file().display()));
        lines
    }

    /// Adds where they are to the start line of machines.
    pub fn add_to(&self, start: &mut Value) {
        for (kind, addresses) in &self.addresses {
            start[*kind] = json!(addresses);
        }
        start["certificate"] = json!({ "file": self.certificate.file(), "pin": self.certificate.pin() });
    }
}

fn certificate(settings: &EncryptedSettings, addresses: &[(&str, Vec<SocketAddr>)]) -> Result<Arc<Certificate>, CertificateError> {
    if let Some(chain) = &settings.certificate {
        let key = settings.certificate_key.clone().unwrap_or_else(|| chain.clone());
        return Certificate::from_files(chain.clone(), key);
    }
    let folder = settings.state.clone().or_else(state_folder).unwrap_or_else(|| PathBuf::from("."));
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let bound = addresses.iter().flat_map(|(_, addresses)| addresses).map(SocketAddr::ip);
    names.extend(bound.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    names.sort_unstable();
    names.dedup();
    Certificate::self_made(&folder, names)
}

fn no_certificate(error: CertificateError) -> Failure {
    let exit = match error {
        CertificateError::Made(_) => Exit::Bug,
        CertificateError::Disk { .. } | CertificateError::Contents { .. } | CertificateError::OtherKey { .. } => Exit::Settings,
    };
    Failure::new(exit, "certificate", error)
        .help("name a chain in PEM with --certificate and its key with --certificate-key, or neither: then one is made")
}

fn taken(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Local, address, plain(error)).help("stop what is using it, or choose another address (port 0 takes a free one)")
}
