//! TLS to an upstream resolver that proves to be who was meant.

use crate::dns::server::Identity;
use crate::io::tls::{Credential, authorities, pinned, web};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An upstream resolver that is asked over TLS.
#[derive(Clone, Debug)]
pub struct Meant {
    /// Where it is.
    pub address: SocketAddr,
    /// What it is to prove.
    pub identity: Identity,
    /// Who may vouch for its name; `None`: the web's certificate authorities.
    pub authorities: Option<Arc<RootCertStore>>,
}

impl Meant {
    /// A connection on which both sides speak `protocol`, as ALPN calls it (RFC 7301).
    ///
    /// # Errors
    /// There is none. Where it was not shown who is there, see [`is_distrust`].
    pub async fn dial(&self, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let alpn = vec![protocol.to_vec()];
        let (config, name) = match (&self.identity, &self.authorities) {
            (Identity::Web(name), None) => (web(alpn), name.clone()),
            (Identity::Web(name), Some(roots)) => (authorities(Arc::clone(roots), alpn), name.clone()),
            (Identity::Pin(pin), _) => (pinned(&[*pin], Credential::Certificate, alpn), ServerName::from(self.address.ip())),
        };
        let config = config.map_err(io::Error::other)?;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// Whether `error` says that the other end is not, or cannot show that it is, who was meant.
pub fn is_distrust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
