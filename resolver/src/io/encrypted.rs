//! The listeners that nobody on the way can read along with: DNS over TLS (RFC 7858), over HTTPS (RFC 8484) and over QUIC (RFC 9250).

use crate::dns::access::View;
use crate::dns::frontend::{Carrier, Frontend, Via};
use crate::dns::settings::{HANDSHAKE_MAX, ListenerSettings};
use crate::io::certificate::Certificate;
use crate::io::connections::{Connections, Seat};
use crate::io::conversation::converse;
use crate::io::listeners::{SHUTDOWN_GRACE, accept, told};
use crate::io::{https, quic};
use quinn::Endpoint;
use rustls::crypto::ring;
use rustls::version::TLS13;
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
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

/// Encrypted transports that are ready to be served: nothing more can go wrong.
#[derive(Debug)]
pub struct Ready {
    streams: Vec<(TcpListener, Speaks)>,
    quic: Vec<Endpoint>,
    certificate: Arc<Certificate>,
    settings: ListenerSettings,
}

/// What is spoken on a listener.
#[derive(Clone)]
struct Speaks {
    tls: TlsAcceptor,
    carrier: Carrier,
}

impl fmt::Debug for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speaks").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

impl Ready {
    /// To answer on `sockets`, showing `certificate`. It must be called on a runtime.
    ///
    /// # Errors
    /// TLS cannot be set up, or QUIC cannot be spoken on a socket.
    pub fn new(sockets: Encrypted, certificate: Arc<Certificate>, settings: ListenerSettings) -> io::Result<Self> {
        let mut streams = Vec::with_capacity(sockets.tls.len() + sockets.https.len());
        for (listeners, carrier, alpn) in [
            (sockets.tls, Carrier::Tls, &[&b"dot"[..]][..]),
            (sockets.https, Carrier::Https, &[b"h2", b"http/1.1"]),
        ] {
            let tls = TlsAcceptor::from(config(&certificate, rustls::DEFAULT_VERSIONS, alpn)?);
            let speaks = Speaks { tls, carrier };
            streams.extend(listeners.into_iter().map(|listener| (listener, speaks.clone())));
        }
        let tls = config(&certificate, &[&TLS13], &[b"doq"])?;
        let quic = sockets.quic.into_iter().map(|socket| quic::endpoint(socket, &tls, &settings));
        Ok(Self {
            streams,
            quic: quic.collect::<io::Result<_>>()?,
            certificate,
            settings,
        })
    }

    /// Answers until `shutdown` is ready; then finishes what is in flight, for a few seconds at most.
    pub async fn serve(self, frontend: Arc<Frontend>, shutdown: impl Future<Output = ()> + Send) {
        let (stop, stopped) = watch::channel(false);
        let settings = self.settings;
        // Apart from the plain ones: a flood there takes no place here.
        let connections = Arc::new(Connections::new(settings.tcp_connections, settings.tcp_per_client));
        let mut listeners = JoinSet::new();
        for (listener, speaks) in self.streams {
            let (frontend, connections, stopped) = (frontend.clone(), connections.clone(), stopped.clone());
            listeners.spawn(serve_tls(listener, speaks, frontend, connections, settings, stopped));
        }
        for endpoint in self.quic {
            let (frontend, connections, stopped) = (frontend.clone(), connections.clone(), stopped.clone());
            listeners.spawn(quic::serve(endpoint, frontend, connections, settings, stopped));
        }
        let fresh = tokio::spawn(self.certificate.keep_fresh());
        shutdown.await;
        fresh.abort();
        stop.send_replace(true);
        while listeners.join_next().await.is_some() {}
        connections.all_gone(SHUTDOWN_GRACE).await;
    }
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
    speaks: Speaks,
    frontend: Arc<Frontend>,
    connections: Arc<Connections>,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let view = frontend.view_at(listener.local_addr().ok());
    while let Some((stream, seat)) = accept(&listener, &connections, &mut stopped).await {
        let (speaks, frontend, stopped) = (speaks.clone(), frontend.clone(), stopped.clone());
        tokio::spawn(secured(stream, seat, view, speaks, frontend, settings, stopped));
    }
}

async fn secured(
    stream: TcpStream,
    seat: Seat,
    view: View,
    Speaks { tls, carrier }: Speaks,
    frontend: Arc<Frontend>,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let via = Via {
        carrier,
        client: seat.client(),
        view,
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
