//! One provider's DNS address: sockets to it, and one exchange over them.

use crate::choose::Health;
use crate::lookup::Verdict;
use crate::message::{Origin, Over, Query, Reply};
use crate::settings::{CONNECTIONS_IDLE_MAX, IDLE_MAX, QUERIES_PER_SOCKET_MAX, SOCKETS_IDLE_MAX};
use crate::source::Sought;
use dialtone_shared::limits::VALUE_BYTES_MAX;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// A DNS server that serves records.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    origin: Origin,
    health: Mutex<Health>,
    sockets: Mutex<Vec<Idle<(UdpSocket, u32)>>>,
    streams: Mutex<Vec<Idle<TcpStream>>>,
}

/// Something to be used again, and since when it is idle.
#[derive(Debug)]
struct Idle<T> {
    one: T,
    since: Instant,
}

impl Server {
    /// The server at `address`, under whose `origin` names stand.
    pub fn new(address: SocketAddr, origin: Origin) -> Self {
        Self {
            address,
            origin,
            health: Mutex::default(),
            sockets: Mutex::default(),
            streams: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What names stand under there.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How it has been answering.
    pub fn health(&self) -> Health {
        *locked(&self.health)
    }

    /// Notes how it answered.
    pub fn note(&self, verdict: Verdict) {
        let mut health = locked(&self.health);
        match verdict {
            Verdict::Answered(after) => health.answered(after),
            Verdict::Failed => health.failed(),
        }
    }

    /// Asks once for the record that is `sought`. Waits as long as it takes: whoever asks decides when that is too long.
    ///
    /// # Errors
    /// What the system says.
    pub async fn ask(&self, sought: &Sought, over: Over) -> io::Result<Reply> {
        let query = Query::new(sought, &self.origin, rand::random(), rand::random());
        match over {
            Over::Udp => self.ask_datagram(&query).await,
            Over::Tcp => self.ask_stream(&query).await,
        }
    }

    async fn ask_datagram(&self, query: &Query) -> io::Result<Reply> {
        let idle = take(&self.sockets);
        let (socket, uses) = match idle {
            Some(idle) => idle,
            None => {
                let any: IpAddr = if self.address.is_ipv4() {
                    Ipv4Addr::UNSPECIFIED.into()
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                };
                // Port 0: the system draws a random one.
                let socket = UdpSocket::bind((any, 0)).await?;
                socket.connect(self.address).await?;
                (socket, 0)
            }
        };
        socket.send(query.as_bytes()).await?;
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        loop {
            let length = socket.recv(&mut datagram).await?;
            if let Some(reply) = query.read_reply(&datagram[..length], Over::Udp) {
                if uses + 1 < QUERIES_PER_SOCKET_MAX {
                    keep(&self.sockets, (socket, uses + 1), SOCKETS_IDLE_MAX);
                }
                return Ok(reply);
            }
        }
    }

    async fn ask_stream(&self, query: &Query) -> io::Result<Reply> {
        let idle = take(&self.streams);
        if let Some(mut stream) = idle
            && let Ok(reply) = exchange(&mut stream, query).await
        {
            keep(&self.streams, stream, CONNECTIONS_IDLE_MAX);
            return Ok(reply);
        }
        // None idle, or it was closed meanwhile (RFC 7766 §6.2.4): a fresh one.
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let reply = exchange(&mut stream, query).await?;
        keep(&self.streams, stream, CONNECTIONS_IDLE_MAX);
        Ok(reply)
    }
}

async fn exchange(stream: &mut TcpStream, query: &Query) -> io::Result<Reply> {
    let mut message = Vec::with_capacity(2 + query.as_bytes().len());
    message.extend_from_slice(&(query.as_bytes().len() as u16).to_be_bytes());
    message.extend_from_slice(query.as_bytes());
    stream.write_all(&message).await?;
    for _ in 0..ODD_REPLIES_MAX {
        let length = usize::from(stream.read_u16().await?);
        if length > STREAM_MESSAGE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its answer over TCP is larger than any record",
            ));
        }
        message.resize(length, 0);
        stream.read_exact(&mut message).await?;
        if let Some(reply) = query.read_reply(&message, Over::Tcp) {
            return Ok(reply);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "its answers over TCP are none to the question",
    ))
}

/// The one that was used last, if it is still fresh. If even that one is not, none is.
fn take<T>(idle: &Mutex<Vec<Idle<T>>>) -> Option<T> {
    let mut idle = locked(idle);
    let last = idle.pop()?;
    if last.since.elapsed() < IDLE_MAX {
        return Some(last.one);
    }
    idle.clear();
    None
}

fn keep<T>(idle: &Mutex<Vec<Idle<T>>>, one: T, most: usize) {
    let mut idle = locked(idle);
    if idle.len() < most {
        let since = Instant::now();
        idle.push(Idle { one, since });
    }
}

/// Each change under these locks is one push, pop or assignment: a panic elsewhere leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Larger than any datagram that was asked for.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// As long as a message can be: a value may take nearly all of it.
const STREAM_MESSAGE_BYTES_MAX: usize = 65_535;
const _: () = assert!(VALUE_BYTES_MAX + 4_096 <= STREAM_MESSAGE_BYTES_MAX);
/// Messages on one connection that are no answer to us; then it is not worth listening to.
const ODD_REPLIES_MAX: usize = 4;
