//! HTTP listeners: bounded connections, each with bounded patience, and a stop that finishes what was accepted.

use crate::accounting::admission::network;
use crate::io::impatient::Impatient;
use crate::metrics::Metrics;
use crate::service::watch::Closing;
use crate::service::{Remote, look};
use crate::settings::{CONNECTION_AGE_SECS, HTTP_HASTE_SECS, HTTP_PATIENCE_SECS, STOP_PATIENCE_SECS};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Opens a listener.
///
/// # Errors
/// Of the operating system.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // So that a restart need not wait for the last connections to be forgotten; on Windows it would mean stealing the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Room for connections, shared by all listeners.
#[derive(Clone, Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    size: usize,
    /// How many are taken by each network.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place counted to a network; given back when dropped.
struct Seat {
    network: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Room {
    /// Room for `size` connections.
    pub fn new(size: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(size)),
            size,
            taken: Arc::default(),
        }
    }

    /// Counts a connection to the network that it is from; `None`: that one has half of the room already, and the rest is for others.
    /// This machine may have it all, since a proxy speaks for everybody.
    fn seat(&self, from: IpAddr) -> Option<Seat> {
        let from = from.to_canonical();
        let network = network(from);
        let mut taken = counted(&self.taken);
        let count = taken.get(&network).copied().unwrap_or_default();
        if count >= self.size.div_ceil(2) && !from.is_loopback() {
            return None;
        }
        taken.insert(network, count + 1);
        Some(Seat {
            network,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = counted(&self.taken);
        match taken.get_mut(&self.network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.network)),
        }
    }
}

/// Each change under this lock is one step: a panic elsewhere leaves nothing half done.
fn counted(taken: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a client may take to send a head, stay quiet, and leave an answer unread: less when room is getting short, so that those who only
/// occupy it make way for those who ask.
fn patience(free: usize, size: usize) -> Duration {
    Duration::from_secs(if free < size / 4 { HTTP_HASTE_SECS } else { HTTP_PATIENCE_SECS })
}

/// Serves connections of `listener` until `stopping` turns true and those that were accepted have been answered, or patience ends.
pub async fn serve(listener: TcpListener, router: Router, metrics: Arc<Metrics>, room: Room, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room.places) => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, from, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, most likely: others will be closed soon.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(seat) = room.seat(from.ip()) else {
            tracing::debug!("{} has as many connections as one network may", from.ip());
            continue;
        };
        let patience = patience(room.places.available_permits(), room.size);
        let (router, metrics, stopping) = (router.clone(), Arc::clone(&metrics), stopping.clone());
        connections.spawn(async move {
            metrics.connections.inc();
            converse(stream, from, patience, router, &metrics, stopping).await;
            metrics.connections.dec();
            drop((seat, place));
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(STOP_PATIENCE_SECS), ended).await.is_err() {
        tracing::warn!("connections were still open {STOP_PATIENCE_SECS} seconds after the stop: they are cut");
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    // If this fails, the connection is gone already, and reading from it will say so.
    let _ = stream.set_nodelay(true);
    Ok((stream, from, place))
}

/// One connection, request after request.
async fn converse(
    stream: TcpStream,
    from: SocketAddr,
    patience: Duration,
    router: Router,
    metrics: &Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) {
    let from = Remote(from.ip());
    let router = TowerToHyperService::new(router);
    let closing = Closing {
        stopping: stopping.clone(),
        until: Instant::now() + Duration::from_secs(rand::random_range(CONNECTION_AGE_SECS / 2..CONNECTION_AGE_SECS)),
    };
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(from);
        if request.uri().path() == "/v1/watch" {
            // An answer that has no end of its own.
            request.extensions_mut().insert(closing.clone());
        }
        let is_page = look::is_read_by_a_page(&request);
        let answer = router.call(request);
        let metrics = Arc::clone(metrics);
        async move {
            let mut response = answer.await?;
            if is_page {
                look::open_to_pages(response.headers_mut());
            }
            metrics.http(response.status().as_u16());
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Who says that it will send no more may still wait for its answer. Otherwise a stream would be read, and room made for what
        // could come, while each request is worked on.
        .half_close(true)
        // Answers are small: one piece costs less than two.
        .writev(false)
        .header_read_timeout(patience)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Impatient::new(stream, patience)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
        () = tokio::time::sleep(Duration::from_secs(CONNECTION_AGE_SECS)) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(Duration::from_secs(STOP_PATIENCE_SECS), connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection from {} ended: {error}", from.0);
    }
}

/// Connections that the system accepts ahead of us. A burst of clients after a restart fits.
const BACKLOG: u32 = 4_096;
/// Most bytes of a head, and of what is read ahead of it, in bytes. A record with its head fits several times.
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_shorter_when_room_is_short() {
        assert_eq!(patience(1_000, 1_024), Duration::from_secs(10));
        assert_eq!(patience(256, 1_024), Duration::from_secs(10));
        assert_eq!(patience(255, 1_024), Duration::from_secs(2));
        assert_eq!(patience(0, 1), Duration::from_secs(10), "a single place has nobody to make way for");
    }

    #[test]
    fn no_network_beyond_this_machine_has_more_than_half_of_the_room() {
        let room = Room::new(5);
        let seats = |from: &str, tries: usize| -> Vec<Seat> { (0..tries).filter_map(|_| room.seat(from.parse().unwrap())).collect() };
        let first = seats("192.0.2.1", 9);
        assert_eq!((first.len(), seats("::ffff:192.0.2.1", 1).len()), (3, 0));
        assert_eq!(seats("192.0.2.2", 9).len(), 3, "another network has its own");
        assert_eq!(seats("2001:db8::1", 9).len(), 3);
        assert_eq!((seats("127.0.0.1", 9).len(), seats("::1", 9).len()), (9, 9));
        drop(first);
        assert_eq!(seats("192.0.2.1", 1).len(), 1);
        assert!(counted(&room.taken).is_empty(), "nobody is remembered who is gone");
    }

    #[tokio::test]
    async fn who_asks_on_and_on_and_reads_nothing_is_hung_up_on() {
        let answer = axum::routing::get(|| async { "x".repeat(16 << 10) });
        let router = Router::new().route("/", answer);
        let metrics = Arc::new(Metrics::new(&mut prometheus_client::registry::Registry::default()));
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        let (_stop, stopping) = watch::channel(false);
        let conversation = async move { converse(stream, from, Duration::from_millis(300), router, &metrics, stopping).await };
        let conversation = tokio::spawn(conversation);
        let asking = tokio::spawn(async move {
            loop {
                client.writable().await.unwrap();
                match client.try_write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n") {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let ended = tokio::time::timeout(Duration::from_secs(20), conversation).await;
        asking.abort();
        ended.expect("hung up on").unwrap();
    }
}
