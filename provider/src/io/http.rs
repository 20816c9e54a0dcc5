//! HTTP listeners: bounded connections, each with bounded patience, and a stop that finishes what was accepted.

use crate::metrics::Metrics;
use crate::service::Remote;
use crate::settings::{CONNECTION_AGE_SECS, HTTP_HASTE_SECS, HTTP_PATIENCE_SECS, STOP_PATIENCE_SECS};
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

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
}

impl Room {
    /// Room for `size` connections.
    pub fn new(size: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(size)),
            size,
        }
    }
}

/// How long a client may take to send a head, and stay quiet: less when room is getting short, so that those who only
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
        let patience = patience(room.places.available_permits(), room.size);
        let (router, metrics, stopping) = (router.clone(), Arc::clone(&metrics), stopping.clone());
        connections.spawn(async move {
            metrics.connections.inc();
            converse(stream, from, patience, router, &metrics, stopping).await;
            metrics.connections.dec();
            drop(place);
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
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(from);
        let answer = router.call(request);
        let metrics = Arc::clone(metrics);
        async move {
            let response = answer.await?;
            metrics.http(response.status().as_u16());
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
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
}
