//! A relay of datagrams between two providers that counts what passes: QUIC's own bytes, as they are on a wire but for IP and UDP.

use crate::parts::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;

/// What passed, both ways together.
#[derive(Default)]
pub struct Passed {
    bytes: AtomicU64,
    datagrams: AtomicU64,
}

impl Passed {
    /// Bytes and datagrams so far.
    pub fn so_far(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.datagrams.load(Ordering::Relaxed))
    }
}

/// Starts a relay to `to`; who dials where it listens is passed on there.
pub async fn start(to: SocketAddr) -> Result<(SocketAddr, Arc<Passed>), Error> {
    let (front, back) = (bound().await?, bound().await?);
    back.connect(to).await?;
    let (at, passed) = (front.local_addr()?, Arc::new(Passed::default()));
    let counted = passed.clone();
    tokio::spawn(async move {
        let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
        let mut dialler = None;
        loop {
            let length = tokio::select! {
                Ok((length, from)) = front.recv_from(&mut there) => {
                    dialler = Some(from);
                    // A datagram that is lost is lost, as on any way.
                    let _ = back.send(&there[..length]).await;
                    length
                }
                Ok(length) = back.recv(&mut here) => {
                    if let Some(dialler) = dialler {
                        let _ = front.send_to(&here[..length], dialler).await;
                    }
                    length
                }
            };
            counted.bytes.fetch_add(length as u64, Ordering::Relaxed);
            counted.datagrams.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok((at, passed))
}

async fn bound() -> Result<UdpSocket, Error> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?)
}
