//! What all links of one provider share: its store, its identity, its clock, and a place for each peer.

use crate::io::clock::Clock;
use crate::io::evidence::Evidence;
use crate::io::peering::board::Board;
use crate::io::peering::checks::Turns;
use crate::io::peering::place::Peer;
use crate::io::peering::reconcile::Comparisons;
use crate::io::peering::requests::Answers;
use crate::peering::agreement::Agreements;
use crate::peering::ask::reach::Inbound;
use crate::peering::dial::{self, Patience};
use crate::peering::digest::Digest;
use crate::peering::guests::{Guests, Welcome};
use crate::peering::health::PeerStatus;
use crate::peering::limits::STRANGERS_TOLD_EVERY;
use crate::peering::paths::Paths;
use crate::peering::quota::Quotas;
use crate::peering::step::{End, Moment};
use crate::peering::tree::Branches;
use crate::store::{Cursor, Lane, RecordStore};
use dialtone_shared::Name;
use dialtone_shared::message::Branch;
use dialtone_shared::receipt::Signer;
use rand::RngExt;
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
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
    /// What is left to chance while it runs.
    pub chance: Mutex<StdRng>,
    /// With whom, as things stand.
    pub agreements: watch::Sender<Arc<Agreements>>,
    /// What the peers push and what lies behind them; every link tells its peer how much we know without asking.
    pub inbound: Board<Arc<[Inbound]>>,
    /// What the peers say of where they stand in the tree that records take.
    pub branches: Board<Arc<Branches>>,
    /// Where the store's lane of revocations ends: what a link hears of that otherwise rests.
    pub urgent: Board<Cursor>,
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
    /// Who may check what came when: no more at a time than there are cores, however many peers send.
    pub turns: Arc<Turns>,
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

/// A place among the strangers who are greeting. Given back when dropped.
pub(super) struct Guest {
    guests: Arc<Mutex<Guests>>,
    address: IpAddr,
}

impl Guest {
    /// A place for somebody who dials from `address`, or what to do instead.
    pub fn welcome(node: &Node, address: IpAddr, proved: bool) -> Result<Self, Welcome> {
        let guests = node.guests.clone();
        match lock(&node.guests).welcome(address, proved, node.began.elapsed()) {
            Welcome::Enter => Ok(Self { guests, address }),
            otherwise => Err(otherwise),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.guests).leave(self.address);
    }
}

/// A panic elsewhere leaves counts: still good.
fn lock(guests: &Mutex<Guests>) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// The peer with that store says that it stands there in the tree; `None`: it has no place in it, or the link is over.
    pub fn stands(&self, store: [u8; 16], branch: Option<Branch>) {
        self.branches.write(|branches| {
            let news = branches.get(&store) != branch.as_ref();
            if news {
                let branches = Arc::make_mut(branches);
                match branch {
                    Some(branch) => drop(branches.insert(store, branch)),
                    None => drop(branches.remove(&store)),
                }
            }
            news
        });
    }

    /// Tells of revocations as they come. One hears of every commit here, so that not every link has to.
    pub async fn tell_urgent(self: Arc<Self>) {
        let mut heads = self.store.watch();
        loop {
            let end = heads.borrow_and_update()[Lane::Urgent as usize];
            self.urgent.write(|urgent| std::mem::replace(urgent, end) != end);
            tokio::select! {
                changed = heads.changed() => if changed.is_err() { return },
                () = self.stopped() => return,
            }
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment {
            wall: self.clock.now().secs(),
            elapsed: self.began.elapsed(),
        }
    }

    /// At this address is a peer, or should be by an agreement.
    pub fn knows(&self, address: IpAddr) {
        lock(&self.guests).knows(address, self.began.elapsed());
    }

    /// A link with a peer at this address ended so.
    pub fn ended_with(&self, address: IpAddr, end: &End) {
        if end.by_us && end.code.is_some_and(|code| dial::patience(code) == Patience::Quarantine) {
            lock(&self.guests).shuns(address);
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

    /// Something drawn by chance.
    pub fn draw<T>(&self) -> T
    where
        StandardUniform: Distribution<T>,
    {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// About as long: between a half and one and a half, so that not all do something at the same time.
    pub fn about(&self, time: Duration) -> Duration {
        time.mul_f64(0.5 + self.draw::<f64>())
    }

    /// What a peer says it holds, where it pushes digests and a link stands.
    pub fn digest_of(&self, name: &Name) -> Option<Arc<Digest>> {
        self.peer(name)?.digest(self.agreements().get(name)?)
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
        let heads = *self.store.watch().borrow();
        let status = |(name, peer): (&Name, &Arc<Peer>)| Some(peer.status(agreements.get(name)?, now, heads, self.quotas.standing(name)));
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().filter_map(status).collect()
    }
}
