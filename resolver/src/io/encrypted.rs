//! The listeners that nobody on the way can read along with: DNS over TLS (RFC 7858), over HTTPS (RFC 8484) and over QUIC (RFC 9250).

use crate::dns::frontend::{Carrier, Frontend, Via};
use crate::dns::settings::{HANDSHAKE_MAX, ListenerSettings};
use crate::io::certificate::Certificate;
use crate::io::connections::{Connections, Seat};
use crate::io::conversation::converse;
use crate::io::listeners::{SHUTDOWN_GRACE, accept, told};
use crate::io::{https, quic};
use rustls::crypto::ring;
use rustls::version::TLS13;
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// The sockets of the encrypted transports.
#[derive(Debug, Default)]
pub struct Encrypted {
    /// For DNS over TLS.
    pub tls: Vec<TcpListener>,
    /// For DNS over HTTPS.
    pub https: Vec<TcpListener>,
    /// For DNS over QUIC.
    pub quic: Vec<UdpSocket>,
}

impl Encrypted {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tls.is_empty() && self.https.is_empty() && self.quic.is_empty()
    }
}

/// A TCP listener for DNS over TLS or HTTPS. It must be called on a runtime.
///
/// # Errors
/// What the operating system says.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // So that a restart need not wait for the last connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers on these sockets, showing `certificate`, until `shutdown` is ready; then finishes what is in flight, for a few seconds at most.
///
/// # Errors
/// QUIC cannot be spoken on a socket.
pub async fn serve(
    frontend: Arc<Frontend>,
    sockets: Encrypted,
    certificate: Arc<Certificate>,
    settings: ListenerSettings,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    // Apart from the plain ones: a flood there takes no place here.
    let connections = Arc::new(Connections::new(settings.tcp_connections, settings.tcp_per_client));
    let mut listeners = JoinSet::new();
    let tls = TlsAcceptor::from(config(&certificate, rustls::DEFAULT_VERSIONS, &[b"dot"])?);
    for listener in sockets.tls {
        let (tls, frontend, connections, stopped) = (tls.clone(), frontend.clone(), connections.clone(), stopped.clone());
        listeners.spawn(serve_tls(listener, tls, Carrier::Tls, frontend, connections, settings, stopped));
    }
    let tls = TlsAcceptor::from(config(&certificate, rustls::DEFAULT_VERSIONS, &[b"h2", b"http/1.1"])?);
    for listener in sockets.https {
        let (tls, frontend, connections, stopped) = (tls.clone(), frontend.clone(), connections.clone(), stopped.clone());
        listeners.spawn(serve_tls(listener, tls, Carrier::Https, frontend, connections, settings, stopped));
    }
    let tls = config(&certificate, &[&TLS13], &[b"doq"])?;
    for socket in sockets.quic {
        let endpoint = quic::endpoint(socket, &tls, &settings)?;
        let (frontend, connections, stopped) = (frontend.clone(), connections.clone(), stopped.clone());
        listeners.spawn(quic::serve(endpoint, frontend, connections, settings, stopped));
    }
    let fresh = tokio::spawn(certificate.keep_fresh());
    shutdown.await;
    fresh.abort();
    stop.send_replace(true);
    while listeners.join_next().await.is_some() {}
    connections.all_gone(SHUTDOWN_GRACE).await;
    Ok(())
}

fn config(certificate: &Arc<Certificate>, versions: &[&'static SupportedProtocolVersion], alpn: &[&[u8]]) -> io::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Certificate>::clone(certificate));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // Who comes back is spared a signature, and nothing is kept about it here. Nothing is taken before the handshake is done: it could be
    // replayed.
    config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

async fn serve_tls(
    listener: TcpListener,
    tls: TlsAcceptor,
    carrier: Carrier,
    frontend: Arc<Frontend>,
    connections: Arc<Connections>,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    while let Some((stream, seat)) = accept(&listener, &connections, &mut stopped).await {
        let (tls, frontend, stopped) = (tls.clone(), frontend.clone(), stopped.clone());
        tokio::spawn(secured(stream, seat, tls, carrier, frontend, settings, stopped));
    }
}

async fn secured(
    stream: TcpStream,
    seat: Seat,
    tls: TlsAcceptor,
    carrier: Carrier,
    frontend: Arc<Frontend>,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let via = Via {
        carrier,
        client: seat.client(),
    };
    let shaken = tokio::select! {
        () = told(&mut stopped) => return,
        () = seat.pulse().must_make_way() => return,
        shaken = timeout(HANDSHAKE_MAX.min(settings.tcp_idle), tls.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) if carrier == Carrier::Https => https::converse(stream, via, &frontend, &seat, settings, stopped).await,
        Ok(Ok(stream)) => converse(&frontend, stream, via, &seat, settings, stopped).await,
        Ok(Err(error)) => tracing::debug!(client = %via.client, %error, "a TLS handshake"),
        Err(_) => tracing::debug!(client = %via.client, "a TLS handshake that took too long"),
    }
}

/// Connections that the system accepts ahead of us: a burst of clients after a restart fits.
const BACKLOG: u32 = 1_024;
