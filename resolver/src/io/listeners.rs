//! The frontend's plain sockets: UDP and TCP. Those under TLS and QUIC are in [`encrypted`](crate::io::encrypted).

use crate::dns::frontend::{Carrier, Frontend, Reply, Via};
use crate::dns::rate::Limiter;
use crate::dns::settings::ListenerSettings;
use crate::io::connections::{Connections, Seat};
use crate::io::conversation::converse;
use crate::io::lent::Lent;
use crate::io::sockets;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A UDP socket to answer on.
#[derive(Debug)]
pub struct Datagrams {
    pub(super) socket: UdpSocket,
    /// Whether whoever started this process keeps it for the next: its port is not ours to bind again, nor is its end ours to call.
    pub(super) is_lent: bool,
}

impl From<UdpSocket> for Datagrams {
    /// One of our own.
    fn from(socket: UdpSocket) -> Self {
        Self { socket, is_lent: false }
    }
}

impl Deref for Datagrams {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.socket
    }
}

/// As [`bind`], but for what is `lent`: that is taken.
///
/// # Errors
/// What the operating system says, with the address in it.
pub async fn open(address: SocketAddr, lent: &mut Lent) -> io::Result<(Datagrams, TcpListener)> {
    let (udp, tcp) = match (lent.udp(address), lent.tcp(address)) {
        (None, None) => {
            let (udp, tcp) = bind(address).await?;
            return Ok((udp.into(), tcp));
        }
        lent => lent,
    };
    let udp = match udp {
        Some(socket) => lent_udp(socket),
        None => bind_udp(address).map(Datagrams::from),
    };
    let tcp = tcp.unwrap_or_else(|| sockets::listen_tcp(address));
    Ok((udp.map_err(refused(address, "UDP"))?, tcp.map_err(refused(address, "TCP"))?))
}

fn lent_udp(socket: std::net::UdpSocket) -> io::Result<Datagrams> {
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    Ok(Datagrams { socket, is_lent: true })
}

/// A UDP socket and a TCP listener on the same address; port 0 picks one that is free for both.
///
/// # Errors
/// What the operating system says, with the address in it.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    for _ in 0..PORT_TRIES {
        let tcp = sockets::listen_tcp(address).map_err(refused(address, "TCP"))?;
        let chosen = tcp.local_addr()?;
        match bind_udp(chosen) {
            Ok(udp) => return Ok((udp, tcp)),
            // The port was free for TCP alone: another one.
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(refused(address, "UDP")(error)),
        }
    }
    Err(refused(address, "UDP and TCP")(io::ErrorKind::AddrInUse.into()))
}

fn refused(address: SocketAddr, carrier: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot listen on {address} by {carrier}: {error}"))
}

/// Answers on these sockets until `shutdown` is ready, then finishes what is in flight, for a few seconds at most.
pub async fn serve(
    frontend: Arc<Frontend>,
    udp: Vec<Datagrams>,
    tcp: Vec<TcpListener>,
    settings: ListenerSettings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopped) = watch::channel(false);
    let mut listeners = JoinSet::new();
    // A network has one rate, wherever it asks.
    let limiter = Arc::new(Limiter::new(settings.rate, rand::random()));
    for socket in udp {
        let (frontend, limiter) = (Arc::clone(&frontend), Arc::clone(&limiter));
        listeners.spawn(serve_udp(frontend, socket, settings, limiter, stopped.clone()));
    }
    let connections = Arc::new(Connections::new(settings.tcp_connections, settings.tcp_per_client));
    for listener in tcp {
        let connections = Arc::clone(&connections);
        listeners.spawn(serve_tcp(Arc::clone(&frontend), listener, settings, connections, stopped.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        () = frontend.follow_map() => {}
        () = frontend.follow_keys() => {}
    }
    stop.send_replace(true);
    while listeners.join_next().await.is_some() {}
    connections.all_gone(SHUTDOWN_GRACE).await;
}

#[cfg(target_os = "linux")]
use crate::io::cores::serve as serve_udp;

/// The port may be shared, so that each core has a socket; that nobody else has it is known from TCP.
#[cfg(target_os = "linux")]
fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = sockets::bind_udp_shared(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

#[cfg(not(target_os = "linux"))]
fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = sockets::bind_udp(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Where datagrams cannot be had many at a time: one after the other.
#[cfg(not(target_os = "linux"))]
async fn serve_udp(
    frontend: Arc<Frontend>,
    socket: Datagrams,
    settings: ListenerSettings,
    limiter: Arc<Limiter>,
    mut stopped: watch::Receiver<bool>,
) {
    let socket = Arc::new(socket.socket);
    let slots = Arc::new(Semaphore::new(settings.udp_in_flight));
    let mut buffer = vec![0; crate::dns::settings::QUESTION_BYTES_MAX];
    let view = frontend.view_at(socket.local_addr().ok());
    loop {
        let (length, client) = tokio::select! {
            () = told(&mut stopped) => break,
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "receiving by UDP");
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            },
        };
        let via = Via {
            carrier: Carrier::Udp,
            client,
            view,
        };
        let (frontend, limiter, message) = (Arc::clone(&frontend), Arc::clone(&limiter), buffer[..length].to_vec());
        let mut answering: Answering = Box::pin(async move { within_rate(&frontend, &limiter, &message, via).await });
        match at_once(&mut answering).await {
            Some(reply) => send_udp(&socket, reply, client).await,
            None => {
                // No slot, no answer: who asked will ask again.
                if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                    let socket = Arc::clone(&socket);
                    tokio::spawn(async move {
                        send_udp(&socket, answering.await, client).await;
                        drop(slot);
                    });
                }
            }
        }
    }
    all_back(&slots, settings.udp_in_flight).await;
}

/// The answer, as far as it may go where its question says that it came from.
#[cfg(not(target_os = "linux"))]
async fn within_rate(frontend: &Frontend, limiter: &Limiter, message: &[u8], via: Via) -> Reply {
    let given = frontend.give(message, via).await;
    let Reply::Send(mut bytes) = given.reply else {
        return Reply::Drop;
    };
    let way = crate::dns::rate::Way {
        client: via.client.ip(),
        question: message.len(),
        is_proved: given.is_proved,
    };
    match limiter.pass(way, &mut bytes, frontend.now_millis(), frontend.counters()) {
        Some(length) => {
            bytes.truncate(length);
            Reply::Send(bytes)
        }
        None => Reply::Drop,
    }
}

#[cfg(not(target_os = "linux"))]
async fn send_udp(socket: &UdpSocket, reply: Reply, client: SocketAddr) {
    if let Reply::Send(bytes) = reply
        && let Err(error) = socket.send_to(&bytes, client).await
    {
        tracing::debug!(%client, %error, "answering by UDP");
    }
}

async fn serve_tcp(
    frontend: Arc<Frontend>,
    listener: TcpListener,
    settings: ListenerSettings,
    connections: Arc<Connections>,
    mut stopped: watch::Receiver<bool>,
) {
    let view = frontend.view_at(listener.local_addr().ok());
    while let Some((stream, seat)) = accept(&listener, &connections, &mut stopped).await {
        let (frontend, stopped) = (Arc::clone(&frontend), stopped.clone());
        tokio::spawn(async move {
            let via = Via {
                carrier: Carrier::Tcp,
                client: seat.client(),
                view,
            };
            converse(&frontend, stream, via, &seat, settings, stopped).await;
        });
    }
}

/// The next connection that there is room for; `None` when it is time to stop.
pub(super) async fn accept(
    listener: &TcpListener,
    connections: &Arc<Connections>,
    stopped: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, Seat)> {
    loop {
        let accepted = tokio::select! {
            () = told(stopped) => return None,
            accepted = async {
                // Without room it waits where the system keeps it, and nothing is spent on it.
                connections.room().await;
                listener.accept().await
            } => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%client, %error, "a TCP connection");
                }
                match Connections::admit(connections, client) {
                    Some(seat) => return Some((stream, seat)),
                    None => tracing::debug!(%client, "too many connections"),
                }
            }
            Err(error) => {
                // Out of descriptors, say: trying again at once would only burn.
                tracing::warn!(%error, "accepting by TCP");
                sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Ready when it is time to stop.
pub(super) async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that whoever says so is gone: time to stop as well.
    let _said = stopped.wait_for(|stopped| *stopped).await.is_ok();
}

pub(super) type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

pub(super) fn answering(frontend: &Arc<Frontend>, message: Vec<u8>, via: Via) -> Answering {
    let frontend = Arc::clone(frontend);
    Box::pin(async move { frontend.answer(&message, via).await })
}

/// The reply, if it takes no waiting: then it is not worth a task.
pub(super) async fn at_once(answering: &mut Answering) -> Option<Reply> {
    poll_fn(|context| {
        Poll::Ready(match answering.as_mut().poll(context) {
            Poll::Ready(reply) => Some(reply),
            Poll::Pending => None,
        })
    })
    .await
}

/// Waits until all of the `count` slots have been given back, but not for ever.
pub(super) async fn all_back(slots: &Semaphore, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if timeout(SHUTDOWN_GRACE, slots.acquire_many(count)).await.is_err() {
        tracing::warn!("stopped while questions were still being answered");
    }
}

/// After an error of a socket, which often repeats at once.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// How long a shutdown waits for answers: as long as an upstream may take.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How many ports are tried when any will do.
const PORT_TRIES: usize = 16;
