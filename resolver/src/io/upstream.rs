//! Questions to upstream resolvers: over TLS or HTTPS, or from a fresh, connected socket for each, so that a forger has to guess a port, an id and
//! the case of every letter (RFC 5452 §9). Which reply counts is decided in [`forward`](crate::dns::forward).

use crate::dns::domain::Domain;
use crate::dns::forward::{Answered, Asked, Sent, Verdict};
use crate::dns::latency::Found;
use crate::dns::rcode::UpstreamError;
use crate::dns::server::{Identity, Server, Way};
use crate::dns::settings::{
    UPSTREAM_IN_FLIGHT_MAX, UPSTREAM_STALE_AFTER, UPSTREAM_TOTAL, UPSTREAM_TRIES, UPSTREAM_TRY, UPSTREAM_UNWANTED_MAX,
};
use crate::dns::upstream_cache::UpstreamCache;
use crate::dns::upstream_choice::Choice;
use crate::io::allowance::{Grant, may_ask, turned_away, waits_for};
use crate::io::upstream_dial::{Meant, is_distrust};
use crate::io::upstream_https::HttpsUpstream;
use crate::io::upstream_tls::TlsUpstream;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::RootCertStore;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout, timeout_at};

/// The upstream resolvers, and what they said lately.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<One>,
    state: Mutex<State>,
    /// Messages sent, for whoever counts.
    sent: AtomicU64,
    /// Messages that came by UDP and were no reply to what was asked.
    unwanted: AtomicU64,
}

#[derive(Debug)]
struct State {
    cache: UpstreamCache,
    waiting: HashMap<Asked, watch::Receiver<Option<Outcome>>>,
    choice: Choice,
}

#[derive(Debug)]
struct One {
    server: Server,
    road: Road,
}

/// How it is asked.
#[derive(Debug)]
enum Road {
    /// By UDP and TCP.
    Plain,
    Tls(TlsUpstream),
    Https(HttpsUpstream),
}

type Outcome = Result<Arc<Answered>, UpstreamError>;

/// A question on its way to one of the servers: its place, and what came of it.
type Try<'a> = BoxFuture<'a, (usize, Tried)>;

/// What came of asking one server.
enum Tried {
    /// It answered; `None`: that it cannot.
    Answered(Option<Answered>),
    /// It was reached and said nothing in time: it may be there, and wait for somebody else.
    Late,
    /// It was not reached, or broke off.
    Failed(io::Error),
}

impl Upstream {
    /// Asks `servers`, preferred first. `authorities` vouch for those over TLS and HTTPS that are to have a name; `None`: the web's.
    ///
    /// # Errors
    /// A server over HTTPS whose path is none.
    pub fn new(servers: Vec<Server>, authorities: Option<Arc<RootCertStore>>) -> io::Result<Arc<Self>> {
        let one = |server: Server| {
            let meant = |identity: &Identity| Meant {
                address: server.address,
                identity: identity.clone(),
                authorities: authorities.clone(),
            };
            let road = match &server.way {
                Way::Plain => Road::Plain,
                Way::Tls(identity) => Road::Tls(TlsUpstream::new(meant(identity))),
                Way::Https(identity, path) => Road::Https(HttpsUpstream::new(meant(identity), path)?),
            };
            Ok(One { server, road })
        };
        let servers = servers.into_iter().map(one).collect::<io::Result<Vec<_>>>()?;
        Ok(Arc::new(Self {
            state: Mutex::new(State {
                cache: UpstreamCache::default(),
                waiting: HashMap::new(),
                choice: Choice::new(servers.iter().map(|one| one.server.is_private())),
            }),
            servers,
            sent: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
        }))
    }

    /// Forgets what was said of names that are `meant`, and says of how many questions.
    pub fn forget(&self, meant: impl Fn(&Domain) -> bool) -> usize {
        self.lock().cache.forget(meant)
    }

    /// The answer and its age. Those who ask the same at the same time share one question; and what is asked for when its time is nearly over is
    /// asked for again, so that nobody has to wait for what many ask.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn ask(self: &Arc<Self>, asked: Asked) -> Result<(Arc<Answered>, Duration), UpstreamError> {
        let mut waiting = {
            let mut state = self.lock();
            let now = Instant::now();
            if let Some(known) = state.cache.get(&asked, now) {
                let is_due = matches!(&known, Ok((answered, age)) if answered.is_soon_over(*age));
                // One that failed is not asked for again with each question (RFC 9520 §3.2): what is known holds.
                if is_due && !state.waiting.contains_key(&asked) && !state.cache.has_failed(&asked, now) {
                    // Where there is no room for it, it is asked for when it has to be.
                    let _ = self.begin(&mut state, asked);
                }
                return known;
            }
            waits_for(Found::Upstream);
            match state.waiting.get(&asked) {
                Some(waiting) => waiting.clone(),
                None => match self.begin(&mut state, asked) {
                    Some(waiting) => waiting,
                    None => {
                        turned_away();
                        return Err(UpstreamError::Busy);
                    }
                },
            }
        };
        let outcome = waiting.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // No outcome means that the runtime is shutting down.
        outcome
            .unwrap_or(Err(UpstreamError::TimedOut))
            .map(|answered| (answered, Duration::ZERO))
    }

    /// Sends a question on its way, if whoever asks may cause one more.
    fn begin(self: &Arc<Self>, state: &mut State, asked: Asked) -> Option<watch::Receiver<Option<Outcome>>> {
        let left = UPSTREAM_IN_FLIGHT_MAX.saturating_sub(state.waiting.len());
        let grant = may_ask(left)?;
        let (done, waiting) = watch::channel(None);
        state.waiting.insert(asked.clone(), waiting.clone());
        // A task of its own: it ends by itself, however many of those who wait give up.
        tokio::spawn(Arc::clone(self).carry_out(asked, done, grant));
        Some(waiting)
    }

    /// As [`Upstream::ask`], and where no answer is to be had in time the last one there was, if its time is not over for too long (RFC 8767):
    /// then without an age. The upstreams are asked on all the same.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn ask_or_stale(self: &Arc<Self>, asked: Asked) -> Result<(Arc<Answered>, Option<Duration>), UpstreamError> {
        let now = Instant::now();
        let (stale, none_answers) = {
            let mut state = self.lock();
            (state.cache.stale(&asked, now), state.choice.all_rest(now))
        };
        let with_age = |(answered, age)| (answered, Some(age));
        let Some(stale) = stale else {
            return self.ask(asked).await.map(with_age);
        };
        // That nobody answers is found out once and not by every question.
        let patience = if none_answers { Duration::ZERO } else { UPSTREAM_STALE_AFTER };
        match timeout(patience, self.ask(asked)).await {
            Ok(Ok(answered)) => Ok(with_age(answered)),
            Ok(Err(_)) | Err(_) => Ok((stale, None)),
        }
    }

    /// Whether all that is known of `asked` is an answer whose time is over.
    pub fn has_only_stale(&self, asked: &Asked) -> bool {
        self.lock().cache.stale(asked, Instant::now()).is_some()
    }

    /// How many messages have been sent to upstream resolvers.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many messages came by UDP that were no reply to what was asked: late ones, or guesses of somebody who forges.
    pub fn unwanted(&self) -> u64 {
        self.unwanted.load(Ordering::Relaxed)
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

    /// Asks one after the other, and does not wait for one that takes longer than it usually does: then the next is asked as well, and the first answer
    /// counts. Nobody is asked in the clear because somebody else is slow who is not.
    async fn try_all(&self, asked: &Asked) -> Result<Answered, UpstreamError> {
        let order = self.lock().choice.order(Instant::now());
        let mut next = order.iter().copied().cycle().take(order.len() * UPSTREAM_TRIES).peekable();
        let mut under_way: FuturesUnordered<Try<'_>> = FuturesUnordered::new();
        let mut asking: Vec<(usize, Instant)> = Vec::new();
        let mut outcome = Err(UpstreamError::TimedOut);
        let mut is_due = true;
        loop {
            if is_due || under_way.is_empty() {
                let Some(place) = next.next() else {
                    if under_way.is_empty() {
                        return outcome;
                    }
                    is_due = false;
                    continue;
                };
                asking.push((place, Instant::now()));
                under_way.push(Box::pin(async move {
                    let is_reached = AtomicBool::new(false);
                    let tried = timeout(UPSTREAM_TRY, self.try_one(&self.servers[place], asked, &is_reached)).await;
                    let tried = match tried {
                        Ok(Ok(answered)) => Tried::Answered(answered),
                        Ok(Err(error)) => Tried::Failed(error),
                        Err(_) if is_reached.into_inner() => Tried::Late,
                        Err(late) => Tried::Failed(late.into()),
                    };
                    (place, tried)
                }));
            }
            let last = asking.last().copied();
            let hedge = next.peek().copied().zip(last).filter(|(next, (last, _))| {
                let is_asked = asking.iter().any(|(place, _)| place == next);
                !is_asked && (self.servers[*next].server.is_private() || !self.servers[*last].server.is_private())
            });
            let until = hedge.map(|(_, (last, since))| since + self.lock().choice.patience(last));
            tokio::select! {
                Some((place, tried)) = under_way.next() => {
                    let since = asking.iter().position(|(asked, _)| *asked == place).map(|at| asking.swap_remove(at).1);
                    if let Some(done) = self.settle(place, tried, since) {
                        match done {
                            Ok(answered) => {
                                let mut state = self.lock();
                                for (place, since) in asking {
                                    state.choice.outrun(place, since.elapsed(), Instant::now());
                                }
                                return Ok(answered);
                            }
                            Err(error) => outcome = Err(error),
                        }
                    }
                    // What one could not say another may, at once.
                    is_due = next.peek().is_some_and(|next| asking.iter().all(|(place, _)| place != next));
                }
                () = sleep_until(until.unwrap_or_else(Instant::now).into()), if until.is_some() => is_due = true,
            }
        }
    }

    /// One has answered or failed: what is to be remembered of it, and what that makes of the question, if anything.
    fn settle(&self, place: usize, tried: Tried, since: Option<Instant>) -> Option<Result<Answered, UpstreamError>> {
        let (server, now) = (&self.servers[place].server, Instant::now());
        let mut state = self.lock();
        match tried {
            Tried::Answered(answered) => {
                state
                    .choice
                    .answered(place, since.map(|since| now - since).unwrap_or_default(), now);
                Some(answered.ok_or(UpstreamError::Failed))
            }
            // Else whoever asks for a name that nobody is quick about has all others' questions go elsewhere, and be it in the clear.
            Tried::Late => None,
            Tried::Failed(error) => {
                let is_news = state.choice.failed(place, since.unwrap_or(now), now);
                drop(state);
                if is_distrust(&error) {
                    // Once, and not for each question.
                    if is_news {
                        tracing::warn!(%server, %error, "an upstream resolver is not the one that was meant: it is not asked");
                    }
                    return Some(Err(UpstreamError::Untrusted));
                }
                tracing::debug!(%server, %error, "upstream resolver");
                None
            }
        }
    }

    /// `None`: it said that it cannot answer. Notes when it is there for certain, which is not to be known of one that is asked by UDP.
    async fn try_one(&self, one: &One, asked: &Asked, is_reached: &AtomicBool) -> io::Result<Option<Answered>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        match &one.road {
            Road::Tls(tls) => return tls.ask(asked, is_reached).await,
            Road::Https(https) => return https.ask(asked, is_reached).await,
            Road::Plain => {}
        }
        let (server, sent) = (one.server.address, asked.query(rand::random(), &rand::random()));
        match ask_udp(server, &sent, &self.unwanted).await? {
            Verdict::Answer(answered) => Ok(Some(answered)),
            Verdict::Failed => Ok(None),
            Verdict::Truncated | Verdict::OtherCase | Verdict::Guess | Verdict::PassOver => {
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
/// case comes first. [`Verdict::PassOver`]: too many came that are none, and fill the room that the reply needs.
async fn ask_udp(server: SocketAddr, sent: &Sent, unwanted: &AtomicU64) -> io::Result<Verdict> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&sent.bytes).await?;
    let mut reply = vec![0; UDP_REPLY_BYTES];
    let (mut other_case_until, mut passed_over) = (None, 0);
    loop {
        let received = match other_case_until {
            None => socket.recv(&mut reply).await?,
            Some(until) => match timeout_at(until, socket.recv(&mut reply)).await {
                Ok(received) => received?,
                Err(_) => return Ok(Verdict::OtherCase),
            },
        };
        let verdict = sent.judge(&reply[..received]);
        if matches!(verdict, Verdict::Guess | Verdict::PassOver) {
            unwanted.fetch_add(1, Ordering::Relaxed);
        }
        match verdict {
            Verdict::PassOver => {
                passed_over += 1;
                if passed_over == UPSTREAM_UNWANTED_MAX {
                    tracing::debug!(%server, "many messages that are no replies to what was asked: asking over TCP");
                    return Ok(Verdict::PassOver);
                }
            }
            Verdict::OtherCase => {
                other_case_until.get_or_insert(tokio::time::Instant::now() + OTHER_CASE_GRACE);
            }
            Verdict::Guess => {
                tracing::debug!(%server, "somebody guesses ids: asking over TCP");
                return Ok(Verdict::Guess);
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
            Verdict::OtherCase | Verdict::Guess | Verdict::PassOver => {}
        }
    }
}

/// Room for a reply by UDP: more than was advertised, so that one that is too large is seen to be.
const UDP_REPLY_BYTES: usize = 4_096;

/// How long a reply in the right case may still come after one in another.
const OTHER_CASE_GRACE: Duration = Duration::from_millis(300);
