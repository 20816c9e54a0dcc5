//! The frontend's sockets: UDP, and TCP with many questions on a connection, answered as they are ready (RFC 7766).

use crate::dns::frontend::{Carrier, Frontend, Reply, Via};
use crate::dns::settings::ListenerSettings;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A UDP socket and a TCP listener on the same address; port 0 picks one that is free for both.
///
/// # Errors
/// What the operating system says, with the address in it.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let refused = |carrier, error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address} by {carrier}: {error}"));
    for _ in 0..PORT_TRIES {
        let tcp = TcpListener::bind(address).await.map_err(|error| refused("TCP", error))?;
        let chosen = tcp.local_addr()?;
        match UdpSocket::bind(chosen).await {
            Ok(udp) => return Ok((udp, tcp)),
            // The port was free for TCP alone: another one.
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(refused("UDP", error)),
        }
    }
    Err(refused("UDP and TCP", io::ErrorKind::AddrInUse.into()))
}

/// Answers on these sockets until `shutdown` is ready, then finishes what is in flight, for a few seconds at most.
pub async fn serve(
    frontend: Arc<Frontend>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    settings: ListenerSettings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopped) = watch::channel(false);
    let mut listeners = JoinSet::new();
    for socket in udp {
        listeners.spawn(serve_udp(Arc::clone(&frontend), Arc::new(socket), settings, stopped.clone()));
    }
    let connections = Arc::new(Connections::new(&settings));
    for listener in tcp {
        let connections = Arc::clone(&connections);
        listeners.spawn(serve_tcp(Arc::clone(&frontend), listener, settings, connections, stopped.clone()));
    }
    shutdown.await;
    stop.send_replace(true);
    while listeners.join_next().await.is_some() {}
    all_back(&connections.all, settings.tcp_connections).await;
}

async fn serve_udp(frontend: Arc<Frontend>, socket: Arc<UdpSocket>, settings: ListenerSettings, mut stopped: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(settings.udp_in_flight));
    let mut buffer = vec![0; QUESTION_BYTES_MAX];
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
        };
        let mut answering = answering(&frontend, buffer[..length].to_vec(), via);
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
    loop {
        let (stream, client) = tokio::select! {
            () = told(&mut stopped) => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say: trying again at once would only burn.
                    tracing::warn!(%error, "accepting by TCP");
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            },
        };
        let Some(place) = Connections::admit(&connections, client.ip()) else {
            tracing::debug!(%client, "too many TCP connections");
            continue;
        };
        let (frontend, stopped) = (Arc::clone(&frontend), stopped.clone());
        tokio::spawn(async move {
            converse(frontend, stream, client, settings, stopped).await;
            drop(place);
        });
    }
}

/// One connection: questions are read while earlier ones are answered.
async fn converse(
    frontend: Arc<Frontend>,
    stream: TcpStream,
    client: SocketAddr,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%client, %error, "a TCP connection");
    }
    let via = Via {
        carrier: Carrier::Tcp,
        client,
    };
    let (mut reader, writer) = stream.into_split();
    let (answers, outbox) = mpsc::channel(settings.tcp_in_flight.max(1));
    let writing = tokio::spawn(write_answers(writer, outbox, settings.tcp_idle));
    let slots = Arc::new(Semaphore::new(settings.tcp_in_flight.max(1)));
    loop {
        let message = tokio::select! {
            () = told(&mut stopped) => break,
            // The clock runs from one whole message to the next: a byte now and then buys no time.
            message = timeout(settings.tcp_idle, read_message(&mut reader)) => match message {
                Ok(Ok(message)) => message,
                Ok(Err(_)) | Err(_) => break,
            },
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            break;
        };
        let mut answering = answering(&frontend, message, via);
        match at_once(&mut answering).await {
            Some(Reply::Send(bytes)) => {
                if answers.send(bytes).await.is_err() {
                    break;
                }
            }
            // Whoever sends what gets no answer has nothing to say here.
            Some(Reply::Drop) => break,
            None => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    if let Reply::Send(bytes) = answering.await {
                        // The connection may be gone by now.
                        let _gone = answers.send(bytes).await;
                    }
                    drop(slot);
                });
            }
        }
    }
    drop(answers);
    let _ended = writing.await;
}

/// Ready when it is time to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that whoever says so is gone: time to stop as well.
    let _said = stopped.wait_for(|stopped| *stopped).await.is_ok();
}

/// `[length u16][message]`
async fn read_message(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = usize::from(reader.read_u16().await?);
    if length > QUESTION_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    reader.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes until there is nothing more to come, or the other side has not read for as long as `patience`.
async fn write_answers(mut writer: OwnedWriteHalf, mut outbox: mpsc::Receiver<Vec<u8>>, patience: Duration) {
    let mut framed = Vec::new();
    while let Some(answer) = outbox.recv().await {
        let Ok(length) = u16::try_from(answer.len()) else { return };
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&answer);
        match timeout(patience, writer.write_all(&framed)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    // The other side may have gone first: nothing is lost by it.
    let _closed = writer.shutdown().await;
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

fn answering(frontend: &Arc<Frontend>, message: Vec<u8>, via: Via) -> Answering {
    let frontend = Arc::clone(frontend);
    Box::pin(async move { frontend.answer(&message, via).await })
}

/// The reply, if it takes no waiting: then it is not worth a task.
async fn at_once(answering: &mut Answering) -> Option<Reply> {
    poll_fn(|context| {
        Poll::Ready(match answering.as_mut().poll(context) {
            Poll::Ready(reply) => Some(reply),
            Poll::Pending => None,
        })
    })
    .await
}

/// How many connections there are, in all and of each client.
#[derive(Debug)]
struct Connections {
    all: Arc<Semaphore>,
    of_each: Mutex<HashMap<IpAddr, usize>>,
    most_of_each: usize,
}

/// A connection's place among them, given back when dropped.
struct Place {
    connections: Arc<Connections>,
    client: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

impl Connections {
    fn new(settings: &ListenerSettings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.tcp_connections)),
            of_each: Mutex::default(),
            most_of_each: settings.tcp_per_client,
        }
    }

    fn admit(connections: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let one_of_all = Arc::clone(&connections.all).try_acquire_owned().ok()?;
        let client = network_of(ip);
        let mut of_each = connections.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of_each.entry(client).or_default();
        if *count >= connections.most_of_each {
            return None;
        }
        *count += 1;
        drop(of_each);
        Some(Place {
            connections: Arc::clone(connections),
            client,
            _one_of_all: one_of_all,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_each = self.connections.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of_each.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                of_each.remove(&self.client);
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 /64, which one machine has for itself.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Waits until all of the `count` slots have been given back, but not for ever.
async fn all_back(slots: &Semaphore, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if timeout(SHUTDOWN_GRACE, slots.acquire_many(count)).await.is_err() {
        tracing::warn!("stopped while questions were still being answered");
    }
}

/// Longest question, in bytes: a padded one fits into the answer's size, and nothing else is long. Each is held until it is answered:
/// with the 64 KiB that TCP allows, those that wait on all connections would take gigabytes.
const QUESTION_BYTES_MAX: usize = 4_096;

/// After an error of a socket, which often repeats at once.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// How long a shutdown waits for answers: as long as an upstream may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How many ports are tried when any will do.
const PORT_TRIES: usize = 16;
