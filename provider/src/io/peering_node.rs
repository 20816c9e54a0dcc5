//! What all links of one provider share: its store, its identity, its clock, and for each peer the one link that may stand.

use crate::accounting::admission::network;
use crate::io::clock::Clock;
use crate::io::evidence::Evidence;
use crate::io::peering_reconcile::{Asked, Comparisons};
use crate::io::peering_requests::Answers;
use crate::peering::agreement::Agreements;
use crate::peering::ask::reach::Inbound;
use crate::peering::dial::{self, Patience, Which};
use crate::peering::digest::Digest;
use crate::peering::guests::{Guests, Welcome};
use crate::peering::health::{LinkState, PeerStatus, Progress};
use crate::peering::limits::{LINK_STEADY, REDIAL_QUARANTINE, STRANGERS_TOLD_EVERY};
use crate::peering::paths::Paths;
use crate::peering::quota::Quotas;
use crate::peering::step::{End, Moment};
use crate::store::RecordStore;
use dialtone_shared::Name;
use dialtone_shared::message::{CloseCode, Terms};
use dialtone_shared::receipt::Signer;
use quinn::Connection;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;

/// One provider, as its links see it.
pub(super) struct Node {
    pub store: Arc<dyn RecordStore>,
    pub signer: Arc<Signer>,
    pub own: Name,
    pub clock: Arc<dyn Clock>,
    pub began: Instant,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
    pub pin: [u8; 32],
    pub boot: [u8; 16],
    /// With whom, as things stand.
    pub agreements: watch::Sender<Arc<Agreements>>,
    /// What the peers push and what lies behind them; every link tells its peer how much we know without asking.
    pub inbound: watch::Sender<Arc<[Inbound]>>,
    /// Who answers requests, once there is somebody.
    pub answers: OnceLock<Arc<dyn Answers>>,
    /// Who keeps proofs, once there is somebody.
    pub evidence: OnceLock<Arc<Evidence>>,
    /// What peers have brought, over all links.
    pub quotas: Arc<Quotas>,
    /// By whom what is held came.
    pub paths: Arc<Paths>,
    /// Strangers who are greeting.
    pub guests: Arc<Mutex<Guests>>,
    /// When the log was last told of a stranger who was turned away.
    pub told_of_strangers: Mutex<Option<Instant>>,
    /// As many as there are cores: verification takes no more than that, however many peers send.
    pub verifiers: Arc<Semaphore>,
    /// Comparisons of our store with peers'.
    pub comparisons: Comparisons,
    /// About how long after one comparison with a peer the next follows by itself; zero: none does.
    pub compare_every: Duration,
    /// Digests are made one after the other: each reads everything.
    pub builders: Semaphore,
    /// Whether everything is to end.
    pub stopping: watch::Sender<bool>,
    pub peers: RwLock<BTreeMap<Name, Arc<Peer>>>,
}

/// The place of a peer's link.
#[derive(Default)]
pub(super) struct Peer {
    slot: Mutex<Slot>,
    freed: Notify,
    taken: Notify,
}

#[derive(Default)]
struct Slot {
    standing: Option<Standing>,
    dialling: bool,
    address: Option<SocketAddr>,
    /// Where the link that stands hears of comparisons.
    comparer: Option<mpsc::Sender<Asked>>,
    last_error: Option<String>,
    past: Progress,
    present: Progress,
    barred_until: Duration,
    /// How the last link ended, for whoever dials: how long it stood, and with what code.
    ended: Option<(Option<Duration>, Option<CloseCode>)>,
}

struct Standing {
    which: Which,
    since: Duration,
    stop: mpsc::Sender<(CloseCode, String)>,
    connection: Connection,
    /// What the peer says of the agreement.
    theirs: Option<Terms>,
    /// What it says it holds, where it pushes digests.
    digest: Option<Arc<Digest>>,
}

/// A place among the strangers who are greeting. Given back when dropped.
pub(super) struct Guest {
    guests: Arc<Mutex<Guests>>,
    network: IpAddr,
}

impl Guest {
    /// A place for somebody who dials from `address`, or what to do instead.
    pub fn welcome(guests: &Arc<Mutex<Guests>>, address: IpAddr, proved: bool) -> Result<Self, Welcome> {
        let network = network(address);
        match lock(guests).welcome(network, proved) {
            Welcome::Enter => Ok(Self {
                guests: guests.clone(),
                network,
            }),
            otherwise => Err(otherwise),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.guests).leave(self.network);
    }
}

/// A panic elsewhere leaves counts: still good.
fn lock(guests: &Mutex<Guests>) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to be the peer's one link. Given back when dropped.
pub(super) struct Permit(Arc<Peer>);

impl Node {
    /// Now.
    pub fn now(&self) -> Moment {
        Moment {
            wall: self.clock.now().secs(),
            elapsed: self.began.elapsed(),
        }
    }

    /// Whether the log is to be told of a stranger now.
    pub fn tells_of_stranger(&self) -> bool {
        let mut told = self.told_of_strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let tells = told.is_none_or(|last| now.duration_since(last) >= STRANGERS_TOLD_EVERY);
        if tells {
            *told = Some(now);
        }
        tells
    }

    /// Waits until everything is to end.
    pub async fn stopped(&self) {
        // The sender is ours: it is not gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// The agreements, as they stand.
    pub fn agreements(&self) -> Arc<Agreements> {
        self.agreements.borrow().clone()
    }

    /// The place of a peer's link, if there is an agreement with it.
    pub fn peer(&self, name: &Name) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What a peer says it holds, where it pushes digests and a link stands.
    pub fn digest_of(&self, name: &Name) -> Option<Arc<Digest>> {
        self.peer(name)?.digest()
    }

    /// Replaces the agreements. Links hear of it and act: those whose agreement is gone end, those whose terms changed tell their peer.
    pub fn agree(&self, agreements: Agreements) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|name, _| agreements.contains_key(name));
        for name in agreements.keys() {
            peers.entry(*name).or_default();
        }
        drop(peers);
        self.agreements.send_replace(Arc::new(agreements));
    }

    /// How every peer is.
    pub fn statuses(&self) -> Vec<PeerStatus> {
        let now = self.began.elapsed();
        let agreements = self.agreements();
        let status = |(name, peer): (&Name, &Arc<Peer>)| {
            let slot = peer.slot();
            let agreement = agreements.get(name)?;
            let dials = !agreement.endpoints.is_empty();
            let state = match (&slot.standing, slot.dialling, dials) {
                (Some(_), _, _) => LinkState::Up,
                (None, true, _) => LinkState::Dialling,
                (None, false, true) => LinkState::BackingOff,
                (None, false, false) => LinkState::Awaited,
            };
            let steady = slot.standing.as_ref().is_some_and(|standing| now >= standing.since + LINK_STEADY);
            Some(PeerStatus {
                name: *name,
                agreement: agreement.clone(),
                theirs: slot.standing.as_ref().and_then(|standing| standing.theirs.clone()),
                state,
                address: slot.address,
                last_error: slot.last_error.clone().filter(|_| !steady),
                progress: slot.present.after(&slot.past),
                brought: self.quotas.standing(name),
            })
        };
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().filter_map(status).collect()
    }
}

impl Peer {
    /// Takes the place for a link, ending one that it replaces and waiting until that is over.
    pub async fn admit(
        self: &Arc<Self>,
        node: &Node,
        name: &Name,
        which: Which,
        connection: &Connection,
        stop: mpsc::Sender<(CloseCode, String)>,
    ) -> Result<Permit, (CloseCode, String)> {
        loop {
            let freed = self.freed.notified();
            {
                let mut slot = self.slot();
                let now = node.now().elapsed;
                if *node.stopping.borrow() {
                    return Err((CloseCode::Stopping, "this provider stops".to_owned()));
                }
                if now < slot.barred_until {
                    let left = (slot.barred_until - now).as_secs();
                    return Err((CloseCode::Busy, format!("cut off before; try again in {left} s")));
                }
                match &slot.standing {
                    None => {
                        slot.standing = Some(Standing {
                            which,
                            since: now,
                            stop,
                            connection: connection.clone(),
                            theirs: None,
                            digest: None,
                        });
                        slot.address = Some(connection.remote_address());
                        slot.present = Progress::default();
                        drop(slot);
                        self.taken.notify_waiters();
                        return Ok(Permit(self.clone()));
                    }
                    Some(standing) if dial::replaces(&node.own, name, standing.which, which) => {
                        // Full only if it has been told to stop already.
                        let _ = standing
                            .stop
                            .try_send((CloseCode::Duplicate, "a newer link takes its place".to_owned()));
                    }
                    Some(_) => return Err((CloseCode::Duplicate, "another link between the two is up".to_owned())),
                }
            }
            freed.await;
        }
    }

    /// Waits until a link stands.
    pub async fn stands(&self) {
        loop {
            let taken = self.taken.notified();
            if self.is_up() {
                return;
            }
            taken.await;
        }
    }

    /// Waits until no link stands.
    pub async fn free(&self) {
        loop {
            let freed = self.freed.notified();
            if self.slot().standing.is_none() {
                return;
            }
            freed.await;
        }
    }

    /// Whether a link stands.
    pub fn is_up(&self) -> bool {
        self.slot().standing.is_some()
    }

    /// An attempt to dial begins or is over.
    pub fn dialling(&self, dialling: bool) {
        self.slot().dialling = dialling;
    }

    /// How the link that stands is doing, what the peer says of the agreement, and the digest that it sent.
    pub fn progress(&self, progress: Progress, theirs: Option<&Terms>, digest: Option<&Arc<Digest>>) {
        let mut slot = self.slot();
        slot.present = progress;
        let Some(standing) = &mut slot.standing else { return };
        if standing.theirs.as_ref() != theirs {
            standing.theirs = theirs.cloned();
        }
        if standing.digest.as_ref().map(Arc::as_ptr) != digest.map(Arc::as_ptr) {
            standing.digest = digest.cloned();
        }
    }

    /// The digest that the peer sent on the link that stands, where digests are what it pushes.
    pub fn digest(&self) -> Option<Arc<Digest>> {
        self.slot().standing.as_ref().and_then(|standing| standing.digest.clone())
    }

    /// The link that stands hears of comparisons there.
    pub fn compare_by(&self, asks: mpsc::Sender<Asked>) {
        self.slot().comparer = Some(asks);
    }

    /// Where the link that stands hears of comparisons.
    pub fn comparer(&self) -> Option<mpsc::Sender<Asked>> {
        self.slot().comparer.clone()
    }

    /// The connection of the link that stands.
    pub fn connection(&self) -> Option<Connection> {
        self.slot().standing.as_ref().map(|standing| standing.connection.clone())
    }

    /// A link ended, or was not wanted (`admitted`: which of the two). What becomes of a second one is no news while the first stands.
    pub fn ended(&self, now: Duration, end: &End, address: SocketAddr, admitted: bool) {
        let mut slot = self.slot();
        if !admitted && slot.standing.is_some() {
            return;
        }
        let stood = slot.standing.as_ref().map(|standing| now.saturating_sub(standing.since));
        slot.ended = Some((stood, end.code));
        slot.last_error = Some(if end.by_us {
            format!("the link with {address} was closed here: {}", end.reason)
        } else if end.code.is_some() {
            format!("{address} closed the link: {}", end.reason)
        } else {
            format!("the link with {address} broke: {}", end.reason)
        });
        if end.by_us && end.code.is_some_and(|code| dial::patience(code) == Patience::Quarantine) {
            slot.barred_until = now + REDIAL_QUARANTINE;
        }
    }

    /// An attempt did not come as far as a link. Whether that, and why, is news.
    pub fn failed(&self, reason: String) -> bool {
        let mut slot = self.slot();
        slot.ended = Some((None, None));
        let news = slot.last_error.as_ref() != Some(&reason);
        slot.last_error = Some(reason);
        news
    }

    /// How the last link ended, once.
    pub fn take_ended(&self) -> Option<(Option<Duration>, Option<CloseCode>)> {
        self.slot().ended.take()
    }

    /// A panic elsewhere leaves at worst an old status.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut slot = self.0.slot();
        slot.standing = None;
        slot.comparer = None;
        slot.address = None;
        slot.past = slot.present.after(&slot.past);
        slot.present = Progress::default();
        drop(slot);
        self.0.freed.notify_waiters();
    }
}
