//! UDP for QUIC on a simulated host: turmoil's socket behind quinn's trait, and a network that loses, repeats, delays and reorders.

use super::crypto;
use dialtone_provider::io::quic::{EndpointError, LinkKey, Sockets};
use dialtone_shared::SecretKey;
use quinn::rustls::crypto::CryptoProvider;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ClientConfig, ConnectionId, EndpointConfig, Runtime, UdpPoller};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::AbortHandle;
use turmoil::net::UdpSocket;

/// What all hosts' datagrams go through.
#[derive(Debug)]
pub struct Wire(Mutex<State>);

#[derive(Debug)]
struct State {
    rng: StdRng,
    loss: f64,
    repeats: f64,
    delays: f64,
    datagrams: u64,
    trace: Sha256,
}

/// What becomes of a datagram: after how long each of its copies is sent.
type Fate = Vec<Duration>;

impl Wire {
    /// One that loses, repeats and delays these parts of the datagrams. What is delayed is overtaken. TLS on this thread draws from its
    /// seed, too.
    pub fn new(seed: u64, loss: f64, repeats: f64, delays: f64) -> Arc<Self> {
        crypto::seed(seed);
        Arc::new(Self(Mutex::new(State {
            rng: StdRng::seed_from_u64(seed),
            loss,
            repeats,
            delays,
            datagrams: 0,
            trace: Sha256::new(),
        })))
    }

    /// From now on every datagram arrives once.
    pub fn calm(&self) {
        let mut state = self.state();
        (state.loss, state.repeats, state.delays) = (0.0, 0.0, 0.0);
    }

    /// How many datagrams were sent, and a digest of them: when, from where to where, how long.
    pub fn trace(&self) -> (u64, [u8; 32]) {
        let state = self.state();
        (state.datagrams, state.trace.clone().finalize().into())
    }

    fn fate(&self, from: SocketAddr, to: SocketAddr, length: usize) -> Fate {
        let mut state = self.state();
        let now = turmoil::sim_elapsed().unwrap_or_default();
        state.datagrams += 1;
        state.trace.update(format!("{} {from} {to} {length}\n", now.as_micros()));
        let (loss, repeats, delays) = (state.loss, state.repeats, state.delays);
        if loss > 0.0 && state.rng.random_bool(loss) {
            return Fate::new();
        }
        let copies = 1 + usize::from(repeats > 0.0 && state.rng.random_bool(repeats));
        let mut late = || match delays > 0.0 && state.rng.random_bool(delays) {
            true => Duration::from_millis(state.rng.random_range(1..200)),
            false => Duration::ZERO,
        };
        (0..copies).map(|_| late()).collect()
    }

    /// A panic elsewhere ends the test.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a host has power: counts its starts, and is odd while it has none. What was sent with the power of an earlier start is not sent.
#[derive(Clone, Debug, Default)]
pub struct Power(Arc<AtomicU64>);

impl Power {
    /// Gone: nothing is sent any more.
    pub fn cut(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Back.
    pub fn on(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn start(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The sockets of one start of a host.
#[derive(Debug)]
pub struct HostSockets {
    wire: Arc<Wire>,
    host: IpAddr,
    power: Power,
    seed: u64,
}

impl HostSockets {
    /// Those of a host at this address with this power; `seed`: what QUIC and the link's key are drawn from.
    pub fn new(wire: Arc<Wire>, host: IpAddr, power: Power, seed: u64) -> Self {
        Self { wire, host, power, seed }
    }

    fn seed(&self, what: u8) -> [u8; 32] {
        let mut seed = [what; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed
    }
}

impl Sockets for HostSockets {
    fn open(&self, listen: SocketAddr, _: &dyn Runtime) -> io::Result<(Arc<dyn AsyncUdpSocket>, EndpointConfig)> {
        // It is async in name only.
        let bound = match pin!(UdpSocket::bind(listen)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(bound) => Arc::new(bound?),
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        };
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let reader = tokio::spawn(read(bound.clone(), inbox.clone())).abort_handle();
        let mut config = EndpointConfig::default();
        // The one switch that makes QUIC do the same twice.
        config.rng_seed(Some(self.seed(1)));
        let socket = Socket {
            local: SocketAddr::new(self.host, bound.local_addr()?.port()),
            bound,
            inbox,
            reader,
            wire: self.wire.clone(),
            started: self.power.start(),
            power: self.power.clone(),
        };
        Ok((Arc::new(socket), config))
    }

    fn key(&self) -> Result<LinkKey, EndpointError> {
        LinkKey::of(&SecretKey::from_seed(&self.seed(2)))
    }

    fn crypto(&self) -> CryptoProvider {
        crypto::provider()
    }

    fn dialling(&self, client: &mut ClientConfig) {
        // The keys of the first datagrams follow from it.
        client.initial_dst_cid_provider(Arc::new(|| ConnectionId::new(&crypto::draw::<20>())));
    }
}

struct Socket {
    bound: Arc<UdpSocket>,
    local: SocketAddr,
    inbox: Arc<Mutex<Inbox>>,
    reader: AbortHandle,
    wire: Arc<Wire>,
    power: Power,
    started: u64,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<(Vec<u8>, SocketAddr)>,
    reader: Option<Waker>,
}

/// Takes in what arrives, for whoever polls.
async fn read(socket: Arc<UdpSocket>, inbox: Arc<Mutex<Inbox>>) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.waiting.len() < INBOX_MAX {
            inbox.waiting.push_back((buffer[..length].to_vec(), from));
        }
        inbox.reader.take().map(Waker::wake).unwrap_or_default();
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.power.start() != self.started {
            return Ok(());
        }
        for late in self.wire.fate(self.local, transmit.destination, transmit.contents.len()) {
            let (to, contents) = (transmit.destination, transmit.contents);
            if late.is_zero() {
                // To where nobody is, it is lost.
                let _ = self.bound.try_send_to(contents, to);
                continue;
            }
            let (socket, contents, power, started) = (self.bound.clone(), contents.to_vec(), self.power.clone(), self.started);
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                if power.start() == started {
                    let _ = socket.try_send_to(&contents, to);
                }
            });
        }
        Ok(())
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            let Some((datagram, from)) = inbox.waiting.pop_front() else { break };
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            *meta = RecvMeta {
                addr: from,
                len: length,
                stride: length,
                ecn: None,
                dst_ip: None,
            };
            count += 1;
        }
        if count == 0 {
            inbox.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.local).finish_non_exhaustive()
    }
}

/// A simulated socket takes every datagram at once.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Datagrams that wait to be read; as in a real socket's buffer, more are lost.
const INBOX_MAX: usize = 1_024;
