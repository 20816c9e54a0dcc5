//! Peering, running: listens, dials, keeps one link with each node of each peer, and says how they are.

pub mod ask;
mod board;
mod checks;
mod comparing;
pub mod deferred;
pub mod hearsay;
mod link;
mod node;
mod pace;
mod place;
mod quota;
mod reconcile;
pub mod requests;

use crate::io::clock::Clock;
use crate::io::evidence::Evidence;
use crate::io::peering::board::Board;
use crate::io::peering::checks::Turns;
use crate::io::peering::node::{Guest, Node};
use crate::io::peering::place::Answered;
use crate::io::peering::reconcile::Comparisons;
use crate::io::peering::requests::{Answers, RequestError};
use crate::io::quic::{self, Ended, EndpointError, Sockets, SystemSockets};

use crate::peering::agreement::{self, Agreement, AgreementError, Agreements};
use crate::peering::ask::reach::{self, Inbound};
use crate::peering::dial::Dialler;
use crate::peering::digest::Digest;
use crate::peering::greeting;
use crate::peering::guests::Welcome;
use crate::peering::health::PeerStatus;
use crate::peering::limits::{DEFERRED_EVERY, DIAL_PATIENCE, DIGESTS_AT_ONCE, GREETING_PATIENCE, REDIAL_ASTRAY};
use crate::store::{Held, RecordStore};
use dialtone_shared::message::{CloseCode, Path, Request, Response};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::signed::SignError;
use dialtone_shared::{Name, SignedRecord};
use quinn::{Connection, Endpoint, VarInt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, info, warn};

/// What peering needs.
pub struct PeeringContext {
    /// Whose changes are pushed, and where the peers' are put.
    pub store: Arc<dyn RecordStore>,
    /// Who we are.
    pub signer: Arc<Signer>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The addresses that our record lists; none: those of the links count.
    pub addresses: Vec<IpAddr>,
    /// With whom.
    pub agreements: Vec<Agreement>,
    /// About how long after one comparison with a peer that is to hold the same the next follows by itself; zero: none does.
    pub compare_every: Duration,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Seeds the jitter of pauses and the id of this process.
    pub seed: u64,
}

impl fmt::Debug for PeeringContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeeringContext")
            .field("name", &self.signer.name())
            .field("listen", &self.listen)
            .field("agreements", &self.agreements)
            .finish_non_exhaustive()
    }
}

/// Why peering does not start.
#[derive(Debug, thiserror::Error)]
pub enum PeeringError {
    /// The agreements.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Peering that runs. Dropping it stops abruptly; [`PeeringHandle::shutdown`] says goodbye.
pub struct PeeringHandle {
    node: Arc<Node>,
    listens: Option<SocketAddr>,
    running: Mutex<Option<Running>>,
}

struct Running {
    endpoint: Endpoint,
    ended: Ended,
    tasks: JoinSet<()>,
}

/// Starts listening and dialling.
///
/// # Errors
/// [`PeeringError`]: what was configured cannot stand, or the address cannot be listened on.
pub async fn start(context: PeeringContext) -> Result<PeeringHandle, PeeringError> {
    start_on(&SystemSockets, context).await
}

/// As [`start`], on other sockets than the system's: those of a simulated network.
///
/// # Errors
/// [`PeeringError`].
pub async fn start_on(sockets: &dyn Sockets, context: PeeringContext) -> Result<PeeringHandle, PeeringError> {
    let own = context.signer.name();
    let agreements = agreement::file(&own, context.agreements)?;
    let key = sockets.key()?;
    let (endpoint, ended) = quic::endpoint_on(sockets, context.listen, &key)?;
    let listens = endpoint.local_addr().ok();
    let mut rng = StdRng::seed_from_u64(context.seed);
    let node = Arc::new(Node {
        store: context.store,
        signer: context.signer,
        own,
        clock: context.clock,
        began: Instant::now(),
        port: listens.map_or(context.listen.port(), |address| address.port()),
        addresses: context.addresses,
        pin: key.pin,
        boot: rng.random(),
        chance: std::sync::Mutex::new(StdRng::from_rng(&mut rng)),
        evidence: OnceLock::new(),
        quotas: Arc::default(),
        paths: Arc::default(),
        guests: Arc::default(),
        told_of_strangers: std::sync::Mutex::default(),
        turns: Turns::new(),
        comparisons: Comparisons::default(),
        compare_every: context.compare_every,
        builders: Semaphore::new(DIGESTS_AT_ONCE),
        stopping: watch::Sender::new(false),
        peers: RwLock::default(),
        agreements: watch::Sender::default(),
        inbound: Board::new(reach::unknown(&agreements)),
        branches: Board::new(Arc::default()),
        urgent: Board::new(0),
        answers: OnceLock::new(),
    });
    node.agree(agreements);
    if node.store.count().records == 0 {
        node.quotas.counted(&BTreeMap::new());
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(quota::count(node.clone()));
    tasks.spawn(listen(node.clone(), endpoint.clone()));
    tasks.spawn(release(node.clone()));
    tasks.spawn(node.clone().tell_urgent());
    tasks.spawn(supervise(node.clone(), endpoint.clone(), rng));
    Ok(PeeringHandle {
        node,
        listens,
        running: Mutex::new(Some(Running { endpoint, ended, tasks })),
    })
}

impl PeeringHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listens
    }

    /// Every peer with whom there is an agreement, by name.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.node.statuses()
    }

    /// By whom what is held came, as far as it is known.
    pub fn path_of(&self, held: &Held) -> Path {
        self.node.paths.of(held)
    }

    /// Replaces the agreements, without touching the links of those that stay the same.
    ///
    /// # Errors
    /// [`AgreementError`]: the old ones stay.
    pub fn agree(&self, agreements: Vec<Agreement>) -> Result<(), AgreementError> {
        self.node.agree(agreement::file(&self.node.own, agreements)?);
        Ok(())
    }

    /// The agreements, as they stand.
    pub fn agreements(&self) -> Arc<Agreements> {
        self.node.agreements()
    }

    /// Who answers what peers request: said once, the first counts. Until then they hear that we are busy.
    pub fn answer_by(&self, answers: Arc<dyn Answers>) {
        // The second is ignored, as documented.
        let _ = self.node.answers.set(answers);
    }

    /// Who keeps the proofs that peers tell of: said once, the first counts. Until then they hear that we are busy.
    pub fn prove_by(&self, evidence: Arc<Evidence>) {
        // The second is ignored, as documented.
        let _ = self.node.evidence.set(evidence);
    }

    /// What the peers push and what lies behind them, as far as is known: every peer is told what follows for it when that changes.
    pub fn reaches(&self, inbound: Vec<Inbound>) {
        self.node.inbound.write(|told| {
            let news = **told != *inbound;
            if news {
                *told = inbound.into();
            }
            news
        });
    }

    /// What a peer says it holds, where it pushes digests and a link stands: a hint whom to ask.
    pub fn digest_of(&self, peer: &Name) -> Option<Arc<Digest>> {
        self.node.digest_of(peer)
    }

    /// Requests something of a peer, over the best link that stands; waits at most `patience`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, peer: &Name, request: Request, patience: Duration) -> Result<Response, RequestError> {
        self.node.request(peer, None, request, patience).await
    }

    /// As [`PeeringHandle::request`], of one node of the peer, told by its store.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request_of(&self, peer: &Name, node: &[u8; 16], request: Request, patience: Duration) -> Result<Response, RequestError> {
        self.node.request(peer, Some(node), request, patience).await
    }

    /// The record by which this provider is known to its peers, signed now: its addresses, its port and its link key.
    /// Publishing it is what lets others see who the provider is; links do not need it to be published.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn record(&self) -> Result<SignedRecord, SignError> {
        let node = &self.node;
        greeting::own_record(&node.signer, node.clock.now(), node.port, &node.addresses, vec![node.pin])
    }

    /// Says goodbye on every link, finishes what was begun, stops, and frees the port. Idempotent.
    pub async fn shutdown(&self) {
        self.node.stopping.send_replace(true);
        let Some(mut running) = self.running.lock().await.take() else {
            return;
        };
        let links = async { while running.tasks.join_next().await.is_some() {} };
        if timeout(STOP_PATIENCE, links).await.is_err() {
            warn!("links did not end in time and are cut");
            running.tasks.shutdown().await;
        }
        running
            .endpoint
            .close(VarInt::from_u32(CloseCode::Stopping as u32), b"this provider stops");
        let idle = async {
            running.endpoint.wait_idle().await;
            drop(running.endpoint);
            running.ended.wait().await;
        };
        if timeout(STOP_PATIENCE, idle).await.is_err() {
            warn!("the port is not free yet: a peer has not taken note of the goodbye");
        }
    }
}

impl fmt::Debug for PeeringHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeeringHandle")
            .field("peers", &self.peers())
            .finish_non_exhaustive()
    }
}

/// Takes the links of those who dial us.
async fn listen(node: Arc<Node>, endpoint: Endpoint) {
    let mut links = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            biased;
            () = node.stopped() => break,
            Some(ended) = links.join_next() => {
                told_of(ended);
                continue;
            }
            Some(incoming) = endpoint.accept() => incoming,
        };
        let (address, proved) = (incoming.remote_address(), incoming.remote_address_validated());
        let guest = match Guest::welcome(&node, address.ip(), proved) {
            Ok(guest) => guest,
            Err(Welcome::Retry) if incoming.may_retry() => {
                // The error would be that it may not, which was asked.
                let _ = incoming.retry();
                continue;
            }
            Err(Welcome::Silence) => {
                incoming.ignore();
                continue;
            }
            Err(Welcome::Enter | Welcome::Retry | Welcome::Full) => {
                incoming.refuse();
                continue;
            }
        };
        let node = node.clone();
        links.spawn(async move {
            // One patience for all of it: handshake, stream, greeting.
            let began = Instant::now();
            let handshake = async { incoming.accept()?.await };
            let shaken = tokio::select! {
                biased;
                shaken = timeout_at(began + GREETING_PATIENCE, handshake) => shaken,
                () = node.stopped() => return,
            };
            let why = match shaken {
                Ok(Ok(connection)) => return link::run(&node, connection, None, Some(guest), began).await,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it took too long".to_owned(),
            };
            if node.tells_of_stranger() {
                warn!(%address, why, "a handshake failed");
            }
        });
    }
    // Who dials meanwhile hears at once that nobody is at home: left without an answer, it would wait for one, and its own stop with it.
    loop {
        tokio::select! {
            biased;
            Some(incoming) = endpoint.accept() => incoming.refuse(),
            ended = links.join_next() => match ended {
                Some(ended) => told_of(ended),
                None => return,
            },
        }
    }
}

/// A link that panicked costs itself alone, but not in silence.
fn told_of(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!("a link failed, please tell us: {error}");
    }
}

/// Has every address dialled that an agreement tells, by one task each, as the agreements come and go.
async fn supervise(node: Arc<Node>, endpoint: Endpoint, mut rng: StdRng) {
    let mut changed = node.agreements.subscribe();
    let mut diallers: JoinSet<(Name, String)> = JoinSet::new();
    let mut dialled = BTreeSet::new();
    loop {
        let agreements = changed.borrow_and_update().clone();
        let each = |agreement: &Agreement| {
            agreement
                .endpoints
                .iter()
                .map(|target| (agreement.peer, target.clone()))
                .collect::<Vec<_>>()
        };
        for (peer, target) in agreements.values().flat_map(each) {
            if dialled.insert((peer, target.clone())) {
                let (node, endpoint, seed) = (node.clone(), endpoint.clone(), rng.random());
                diallers.spawn(async move {
                    keep_dialling(&node, &endpoint, peer, &target, seed).await;
                    (peer, target)
                });
            }
        }
        tokio::select! {
            biased;
            Ok(()) = changed.changed() => {}
            Some(ended) = diallers.join_next() => match ended {
                Ok(over) => drop(dialled.remove(&over)),
                Err(error) => error!("a dialler failed, please tell us: {error}"),
            },
            () = node.stopped() => break,
        }
    }
    while diallers.join_next().await.is_some() {}
}

/// Keeps a link with the node of a peer at this address up, as long as nobody else does and there is an agreement that tells the address.
async fn keep_dialling(node: &Arc<Node>, endpoint: &Endpoint, peer: Name, target: &str, seed: u64) {
    let mut changed = node.agreements.subscribe();
    let mut dialler = Dialler::new(seed, node.now().elapsed);
    let mut last: Option<Agreement> = None;
    for attempt in 0.. {
        let agreement = changed.borrow_and_update().get(&peer).cloned();
        let Some(place) = node.peer(&peer) else { return };
        let Some(agreement) = agreement.filter(|agreement| agreement.endpoints.iter().any(|endpoint| endpoint == target)) else {
            return place.forget(target, true);
        };
        if last.as_ref().is_some_and(|last| *last != agreement) {
            // What stood in the way may be set right.
            dialler = Dialler::new(seed, node.now().elapsed);
            place.forget(target, false);
        }
        last = Some(agreement);
        tokio::select! {
            biased;
            () = place.is_to_be_dialled(target, || node.now().elapsed) => {}
            Ok(()) = changed.changed() => continue,
            () = node.stopped() => return,
        }
        if let Some((stood, code)) = place.take_ended(target) {
            dialler.ended(node.now().elapsed, stood, code);
        }
        tokio::select! {
            biased;
            () = sleep(dialler.due().saturating_sub(node.now().elapsed)) => {}
            Ok(()) = changed.changed() => continue,
            () = node.stopped() => return,
        }
        if !place.wants(target, node.now().elapsed) {
            continue;
        }
        place.dialling(target, true);
        let dialled = tokio::select! {
            biased;
            dialled = timeout(DIAL_PATIENCE, dial(node, endpoint, target, attempt)) => {
                dialled.unwrap_or_else(|_| Err(format!("no answer within {} s", DIAL_PATIENCE.as_secs())))
            }
            () = node.stopped() => return,
        };
        place.dialling(target, false);
        match dialled {
            Ok(connection) => {
                let (now, again_at) = look_again(node);
                let answered = quic::presented_pin(&connection).map(|pin| place.answered(target, pin, &node.pin, now, again_at));
                // Nodes of one provider may all be told the same addresses, their own among them.
                if answered == Some(Answered::Ourselves) && peer != node.own {
                    warn!(%peer, target, "this very provider answers at an address of a peer; it is looked at again in some minutes");
                }
                if matches!(answered, Some(Answered::Linked | Answered::Ourselves)) {
                    debug!(%peer, target, ?answered, "no second link with the same node");
                    connection.close(VarInt::from_u32(CloseCode::Duplicate as u32), b"a link between the two is up");
                    continue;
                }
                let node = node.clone();
                // In a task of its own, which ends with this one: should it panic, the peer is dialled again.
                let mut link = JoinSet::new();
                let began = Instant::now();
                link.spawn(async move { link::run(&node, connection, Some(peer), None, began).await });
                if let Some(Err(error)) = link.join_next().await {
                    told_of(Err(error));
                    place.failed(target, "the link failed here; please tell us".to_owned(), again_at);
                }
                place.hung_up(target);
            }
            Err(reason) => {
                let reason = format!("{target} cannot be reached: {reason}");
                // Said once, and not again at every attempt of a night.
                if place.failed(target, reason.clone(), look_again(node).1) {
                    warn!(%peer, reason, "a peer cannot be reached; trying on");
                } else {
                    debug!(%peer, reason, "still");
                }
            }
        }
    }
}

/// Now, and when to look again who answers at an address at which nobody new did.
fn look_again(node: &Node) -> (Duration, Duration) {
    let now = node.now().elapsed;
    (now, now + node.about(REDIAL_ASTRAY))
}

/// `attempt`: the host's addresses take turns, since one of them may be dead for good.
async fn dial(node: &Node, endpoint: &Endpoint, target: &str, attempt: usize) -> Result<Connection, String> {
    // A socket of IPv4 reaches nothing else; one of IPv6 reaches both.
    let only_v4 = endpoint.local_addr().is_ok_and(|local| local.is_ipv4());
    let addresses = lookup_host(target).await.map_err(|error| error.to_string())?;
    let addresses: Vec<_> = addresses.filter(|address| address.is_ipv4() || !only_v4).collect();
    // From where we dial it, it may dial us.
    addresses.iter().for_each(|address| node.knows(address.ip()));
    let address = in_turn(&addresses, attempt).ok_or("the host has no address of the kind that this provider listens on")?;
    // The name is only what TLS asks for: certificates here have none.
    let connecting = endpoint.connect(address, "dialtone").map_err(|error| error.to_string())?;
    connecting.await.map_err(|error| link::broken(&error).reason)
}

fn in_turn(addresses: &[SocketAddr], attempt: usize) -> Option<SocketAddr> {
    addresses.get(attempt.checked_rem(addresses.len())?).copied()
}

/// Puts the records from the future whose time has come, now and then.
async fn release(node: Arc<Node>) {
    loop {
        match deferred::release(&*node.store, &node.agreements(), node.now().wall).await {
            Ok(0) => {}
            Ok(records) => info!(records, "records from the future have come due"),
            Err(error) => warn!(%error, "records that are due stay aside"),
        }
        tokio::select! {
            biased;
            () = sleep(DEFERRED_EVERY) => {}
            () = node.stopped() => return,
        }
    }
}

/// How long links have to end when the provider stops: to save their positions, which is one commit.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_host_has_its_turn() {
        let addresses: Vec<SocketAddr> = ["[::1]:1", "127.0.0.1:1"].map(|text| text.parse().expect("an address")).into();
        let tried: Vec<_> = (0..4).filter_map(|attempt| in_turn(&addresses, attempt)).collect();
        assert_eq!(tried, [&addresses[..], &addresses].concat());
        assert_eq!(in_turn(&[], 3), None);
    }
}
