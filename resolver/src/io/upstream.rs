//! Questions to upstream resolvers: over TLS, or from a fresh, connected socket for each, so that a forger has to guess a port, an id and
//! the case of every letter (RFC 5452 §9). Which reply counts is decided in [`forward`](crate::dns::forward).

use crate::dns::forward::{Answered, Asked, Sent, Verdict};
use crate::dns::latency::Found;
use crate::dns::rcode::UpstreamError;
use crate::dns::server::Server;
use crate::dns::settings::{UPSTREAM_IN_FLIGHT_MAX, UPSTREAM_REST, UPSTREAM_STALE_AFTER, UPSTREAM_TOTAL, UPSTREAM_TRIES, UPSTREAM_TRY};
use crate::dns::upstream_cache::UpstreamCache;
use crate::io::allowance::{Grant, may_ask, turned_away, waits_for};
use crate::io::upstream_tls::{TlsUpstream, is_distrust};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

/// The upstream resolvers, and what they said lately.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<One>,
    state: Mutex<State>,
    /// Messages sent, for whoever counts.
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    cache: UpstreamCache,
    waiting: HashMap<Asked, watch::Receiver<Option<Outcome>>>,
    /// Until when a server, by its place, that did not answer is asked last.
    resting: HashMap<usize, Instant>,
}

#[derive(Debug)]
struct One {
    server: Server,
    /// `None`: by UDP and TCP.
    tls: Option<TlsUpstream>,
}

type Outcome = Result<Arc<Answered>, UpstreamError>;

impl Upstream {
    /// Asks `servers`, preferred first.
    pub fn new(servers: Vec<Server>) -> Arc<Self> {
        let one = |server: Server| One {
            tls: server.identity.clone().map(|identity| TlsUpstream::new(server.address, identity)),
            server,
        };
        Arc::new(Self {
            servers: servers.into_iter().map(one).collect(),
            state: Mutex::default(),
            sent: AtomicU64::new(0),
        })
    }

    /// The answer and its age. Those who ask the same at the same time share one question.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn ask(self: &Arc<Self>, asked: Asked) -> Result<(Arc<Answered>, Duration), UpstreamError> {
        let mut waiting = {
            let mut state = self.lock();
            if let Some(known) = state.cache.get(&asked, Instant::now()) {
                return known;
            }
            waits_for(Found::Upstream);
            match state.waiting.get(&asked) {
                Some(waiting) => waiting.clone(),
                None => {
                    let left = UPSTREAM_IN_FLIGHT_MAX.saturating_sub(state.waiting.len());
                    let Some(grant) = may_ask(left) else {
                        turned_away();
                        return Err(UpstreamError::Busy);
                    };
                    let (done, waiting) = watch::channel(None);
                    state.waiting.insert(asked.clone(), waiting.clone());
                    // A task of its own: it ends by itself, however many of those who wait give up.
                    tokio::spawn(Arc::clone(self).carry_out(asked, done, grant));
                    waiting
                }
            }
        };
        let outcome = waiting.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // No outcome means that the runtime is shutting down.
        outcome
            .unwrap_or(Err(UpstreamError::TimedOut))
            .map(|answered| (answered, Duration::ZERO))
    }

    /// As [`Upstream::ask`], and where no answer is to be had in time the last one there was, if its time is not over for too long (RFC 8767):
    /// then without an age. The upstreams are asked on all the same.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn ask_or_stale(self: &Arc<Self>, asked: Asked) -> Result<(Arc<Answered>, Option<Duration>), UpstreamError> {
        let stale = self.lock().cache.stale(&asked, Instant::now());
        let with_age = |(answered, age)| (answered, Some(age));
        let Some(stale) = stale else {
            return self.ask(asked).await.map(with_age);
        };
        match timeout(UPSTREAM_STALE_AFTER, self.ask(asked)).await {
            Ok(Ok(answered)) => Ok(with_age(answered)),
            Ok(Err(_)) | Err(_) => Ok((stale, None)),
        }
    }

    /// How many messages have been sent to upstream resolvers.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    async fn carry_out(self: Arc<Self>, asked: Asked, done: watch::Sender<Option<Outcome>>, grant: Grant) {
        let outcome = match timeout(UPSTREAM_TOTAL, self.try_all(&asked)).await {
            Ok(outcome) => outcome.map(Arc::new),
            Err(_) => Err(UpstreamError::TimedOut),
        };
        let mut state = self.lock();
        state.waiting.remove(&asked);
        state.cache.put(asked, &outcome, Instant::now());
        drop(state);
        // Whoever hears of it may ask the next.
        drop(grant);
        done.send_replace(Some(outcome));
    }

    async fn try_all(&self, asked: &Asked) -> Result<Answered, UpstreamError> {
        let mut outcome = Err(UpstreamError::TimedOut);
        for _ in 0..UPSTREAM_TRIES {
            for (place, one) in self.in_order(Instant::now()) {
                let shown = &one.server;
                match timeout(UPSTREAM_TRY, self.try_one(one, asked)).await {
                    Ok(Ok(Some(answered))) => {
                        self.lock().resting.remove(&place);
                        return Ok(answered);
                    }
                    Ok(Ok(None)) => {
                        outcome = Err(UpstreamError::Failed);
                        continue;
                    }
                    Ok(Err(error)) if is_distrust(&error) => {
                        outcome = Err(UpstreamError::Untrusted);
                        // Once, and not for each question.
                        if !self.is_resting(place, Instant::now()) {
                            tracing::warn!(server = %shown, %error, "an upstream resolver is not the one that was meant: it is not asked");
                        }
                    }
                    Ok(Err(error)) => tracing::debug!(server = %shown, %error, "upstream resolver"),
                    Err(_) => tracing::debug!(server = %shown, "upstream resolver: no answer in time"),
                }
                self.lock().resting.insert(place, Instant::now() + UPSTREAM_REST);
            }
        }
        outcome
    }

    /// The servers as they are preferred, those last that lately did not answer.
    fn in_order(&self, now: Instant) -> Vec<(usize, &One)> {
        let state = self.lock();
        let is_resting = |(place, _): &(usize, &One)| state.resting.get(place).is_some_and(|until| now < *until);
        let (last, first): (Vec<_>, Vec<_>) = self.servers.iter().enumerate().partition(is_resting);
        first.into_iter().chain(last).collect()
    }

    fn is_resting(&self, place: usize, now: Instant) -> bool {
        self.lock().resting.get(&place).is_some_and(|until| now < *until)
    }

    /// `None`: it said that it cannot answer.
    async fn try_one(&self, one: &One, asked: &Asked) -> io::Result<Option<Answered>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if let Some(tls) = &one.tls {
            return tls.ask(asked).await;
        }
        let (server, sent) = (one.server.address, asked.query(rand::random(), &rand::random()));
        match ask_udp(server, &sent).await? {
            Verdict::Answer(answered) => Ok(Some(answered)),
            Verdict::Failed => Ok(None),
            Verdict::Truncated | Verdict::OtherCase | Verdict::PassOver => {
                self.sent.fetch_add(1, Ordering::Relaxed);
                ask_tcp(server, &sent).await
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done by a panic in here: each change is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first reply that is anything to what was sent. One in another case is believed only over TCP, and only if none in the right
/// case comes first.
async fn ask_udp(server: SocketAddr, sent: &Sent) -> io::Result<Verdict> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&sent.bytes).await?;
    let mut reply = vec![0; UDP_REPLY_BYTES];
    let mut other_case_until = None;
    loop {
        let received = match other_case_until {
            None => socket.recv(&mut reply).await?,
            Some(until) => match timeout_at(until, socket.recv(&mut reply)).await {
                Ok(received) => received?,
                Err(_) => return Ok(Verdict::OtherCase),
            },
        };
        match sent.judge(&reply[..received]) {
            Verdict::PassOver => {}
            Verdict::OtherCase => {
                other_case_until.get_or_insert(tokio::time::Instant::now() + OTHER_CASE_GRACE);
            }
            verdict => return Ok(verdict),
        }
    }
}

/// Over a connection nobody else can answer: there the case is not asked for.
async fn ask_tcp(server: SocketAddr, sent: &Sent) -> io::Result<Option<Answered>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = (sent.bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&sent.bytes);
    stream.write_all(&framed).await?;
    loop {
        let length = stream.read_u16().await?;
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await?;
        match sent.judge_any_case(&reply) {
            Verdict::Answer(answered) => return Ok(Some(answered)),
            Verdict::Failed | Verdict::Truncated => return Ok(None),
            Verdict::OtherCase | Verdict::PassOver => {}
        }
    }
}

/// Room for a reply by UDP: more than was advertised, so that one that is too large is seen to be.
const UDP_REPLY_BYTES: usize = 4_096;

/// How long a reply in the right case may still come after one in another.
const OTHER_CASE_GRACE: Duration = Duration::from_millis(300);
