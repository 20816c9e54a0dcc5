//! The place of one peer: a link with each of its nodes, and how dialling its addresses goes.
//!
//! A node is known by its store, and before it has greeted by the key of its link, which every process draws anew. So whoever dials an
//! address knows after the handshake whether a link with who answers there stands already, and lets it be as long as it does.

use crate::io::peering::node::Node;
use crate::io::peering::reconcile::Asked;
use crate::peering::agreement::Agreement;
use crate::peering::ask::reach;
use crate::peering::dial::{self, Patience, Which};
use crate::peering::digest::Digest;
use crate::peering::health::{LinkState, LinkStatus, PeerStatus, Progress};
use crate::peering::limits::{HEARD_WITHIN, LINK_STEADY, NODES_MAX, REDIAL_QUARANTINE};
use crate::peering::quota::Standing;
use crate::peering::step::End;
use crate::store::Cursors;
use dialtone_shared::Name;
use dialtone_shared::message::{CloseCode, Relationship, Terms};
use quinn::Connection;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// The id of a store: which node it is.
pub(super) type StoreId = [u8; 16];

/// The pin of a link's key: which process it is.
pub(super) type Pin = [u8; 32];

/// The place of a peer's links.
#[derive(Default)]
pub(super) struct Peer {
    slot: Mutex<Slot>,
    /// A link stands, or one is gone.
    moved: Notify,
}

#[derive(Default)]
struct Slot {
    links: BTreeMap<StoreId, Link>,
    dials: BTreeMap<String, Dial>,
    /// What links saw that are gone.
    past: Progress,
    /// Bytes of requests and responses sent so far, over whichever link stood.
    request_bytes_sent: u64,
    last_error: Option<String>,
    last_code: Option<CloseCode>,
    barred_until: Duration,
}

/// A link that stands.
struct Link {
    which: Which,
    pin: Pin,
    since: Duration,
    stop: mpsc::Sender<(CloseCode, String)>,
    connection: Connection,
    progress: Progress,
    /// What the peer says of the agreement.
    theirs: Option<Terms>,
    /// What it says it holds, where it pushes digests.
    digest: Option<Arc<Digest>>,
    /// Where it hears of comparisons.
    comparer: Option<mpsc::Sender<Asked>>,
    /// When a request over it last came to nothing.
    failed: Option<Duration>,
    /// How many datagrams had been heard when it was last looked, and when that number was new.
    heard: (u64, Duration),
}

/// How dialling one address goes.
#[derive(Default)]
struct Dial {
    dialling: bool,
    /// Who answered there last.
    pin: Option<Pin>,
    /// That was ourselves.
    is_own: bool,
    /// When to look again who answers there, if it was ourselves or a node with which a link stood already: it may have been led astray.
    again_at: Option<Duration>,
    /// A link that was dialled there is greeting, or stands.
    busy: bool,
    /// How the last link with who answered there ended: how long it stood, and with what code.
    ended: Option<Ending>,
    error: Option<String>,
}

/// How a link ended: how long it stood, and with what code.
pub(super) type Ending = (Option<Duration>, Option<CloseCode>);

/// Who answers at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answered {
    /// A node with which no link stands: one may be begun, and [`Peer::ended`] says when it is over.
    Stranger,
    /// A node with which a link stands, or is being made.
    Linked,
    /// This very process.
    Ourselves,
}

/// A link that wants to stand.
pub(super) struct Wanted<'a> {
    pub store: StoreId,
    pub which: Which,
    pub pin: Pin,
    pub connection: &'a Connection,
    pub stop: mpsc::Sender<(CloseCode, String)>,
}

/// The right to be the one link with a node. Given back when dropped.
pub(super) struct Permit {
    peer: Arc<Peer>,
    store: StoreId,
}

impl Permit {
    /// With which node.
    pub fn store(&self) -> StoreId {
        self.store
    }
}

impl Peer {
    /// Takes the place for a link with a node of `name`, ending one that it replaces and waiting until that is over.
    pub async fn admit(self: &Arc<Self>, node: &Node, name: &Name, wanted: &Wanted<'_>) -> Result<Permit, (CloseCode, String)> {
        let (store, ours) = (wanted.store, node.store.id());
        if *name == node.own && store == ours {
            let reason = "both have the same store: a second node is started with a data folder of its own, which holds no copy of the first's store";
            return Err((CloseCode::Disagreement, reason.to_owned()));
        }
        loop {
            let moved = self.moved.notified();
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
                match slot.links.get(&store) {
                    None if slot.links.len() >= NODES_MAX => {
                        return Err((
                            CloseCode::Busy,
                            format!("links with {NODES_MAX} nodes of this provider stand already"),
                        ));
                    }
                    None => {
                        slot.links.insert(store, Link::of(wanted, now));
                        drop(slot);
                        self.moved.notify_waiters();
                        let peer = self.clone();
                        return Ok(Permit { peer, store });
                    }
                    Some(link) if dial::replaces((&node.own, &ours), (name, &store), link.which, wanted.which) => {
                        // Full only if it has been told to stop already.
                        let _ = link
                            .stop
                            .try_send((CloseCode::Duplicate, "a newer link takes its place".to_owned()));
                    }
                    Some(_) => return Err((CloseCode::Duplicate, "another link between the two is up".to_owned())),
                }
            }
            moved.await;
        }
    }

    /// Waits until it makes sense to dial this address: until no link stands, or is being made, with who answered there last, or it is time to
    /// look again who that is. `now` tells the time.
    pub async fn is_to_be_dialled(&self, target: &str, now: impl Fn() -> Duration) {
        loop {
            let moved = self.moved.notified();
            let again_at = {
                let slot = self.slot();
                if slot.wants(target, now()) {
                    return;
                }
                slot.dials.get(target).filter(|dial| !dial.busy).and_then(|dial| dial.again_at)
            };
            match again_at {
                Some(at) => drop(timeout(at.saturating_sub(now()), moved).await),
                None => moved.await,
            }
        }
    }

    /// Whether it makes sense to dial this address now.
    pub fn wants(&self, target: &str, now: Duration) -> bool {
        self.slot().wants(target, now)
    }

    /// An attempt to dial an address begins or is over.
    pub fn dialling(&self, target: &str, dialling: bool) {
        self.slot().dial(target).dialling = dialling;
    }

    /// At this address a process with the link key `pin` answers now; ours has `own`. If no link is to be begun with it, it is looked at again
    /// at `again_at`.
    pub fn answered(&self, target: &str, pin: Pin, own: &Pin, now: Duration, again_at: Duration) -> Answered {
        let mut slot = self.slot();
        let dial = slot.dial(target);
        dial.pin = Some(pin);
        dial.error = None;
        dial.again_at = None;
        dial.is_own = pin == *own;
        if dial.is_own {
            dial.error = Some(format!(
                "this very provider answers at {target}: either that is no address of the peer's, or what leads there leads astray"
            ));
            dial.again_at = Some(again_at);
            return Answered::Ourselves;
        }
        if !slot.wants(target, now) {
            slot.dial(target).again_at = Some(again_at);
            return Answered::Linked;
        }
        slot.dial(target).busy = true;
        Answered::Stranger
    }

    /// What was known of an address counts no longer; `gone`: nor is it dialled any more.
    pub fn forget(&self, target: &str, gone: bool) {
        let mut slot = self.slot();
        slot.dials.remove(target);
        if !gone {
            slot.dial(target);
        }
    }

    /// A link that was dialled at `target` is over.
    pub fn hung_up(&self, target: &str) {
        self.slot().dial(target).busy = false;
        self.moved.notify_waiters();
    }

    /// How a link with a node is doing, what the peer says of the agreement, and the digest that it sent.
    pub fn progress(&self, store: &StoreId, progress: Progress, theirs: Option<&Terms>, digest: Option<&Arc<Digest>>) {
        let mut slot = self.slot();
        let Some(link) = slot.links.get_mut(store) else { return };
        let silent_for = link.progress.silent_for;
        link.progress = Progress { silent_for, ..progress };
        if link.theirs.as_ref() != theirs {
            link.theirs = theirs.cloned();
        }
        if link.digest.as_ref().map(Arc::as_ptr) != digest.map(Arc::as_ptr) {
            link.digest = digest.cloned();
        }
    }

    /// So many bytes of a request or a response go to the peer.
    pub fn sends_beside(&self, bytes: usize) {
        self.slot().request_bytes_sent += bytes as u64;
    }

    /// The digest of the node that is the furthest with us, where digests are what it pushes.
    pub fn digest(&self, agreement: &Agreement) -> Option<Arc<Digest>> {
        self.slot().best(agreement).and_then(|link| link.digest.clone())
    }

    /// The link with a node hears of comparisons there.
    pub fn compare_by(&self, store: &StoreId, asks: mpsc::Sender<Asked>) {
        if let Some(link) = self.slot().links.get_mut(store) {
            link.comparer = Some(asks);
        }
    }

    /// Where the link with a node hears of comparisons.
    pub fn comparer(&self, store: &StoreId) -> Option<mpsc::Sender<Asked>> {
        self.slot().links.get(store).and_then(|link| link.comparer.clone())
    }

    /// Over which link to request something now: one that has not failed of late, the quickest of those.
    pub fn route(&self) -> Option<(StoreId, Connection)> {
        let slot = self.slot();
        let best = slot.links.iter().min_by_key(|(_, link)| (link.failed, link.connection.rtt()));
        best.map(|(store, link)| (*store, link.connection.clone()))
    }

    /// The connection of the link with a node.
    pub fn connection(&self, store: &StoreId) -> Option<Connection> {
        self.slot().links.get(store).map(|link| link.connection.clone())
    }

    /// The nodes with which links stand.
    pub fn linked(&self) -> Vec<StoreId> {
        self.slot().links.keys().copied().collect()
    }

    /// A request to a node was answered, or came to nothing at `failed`.
    pub fn answers(&self, store: &StoreId, failed: Option<Duration>) {
        if let Some(link) = self.slot().links.get_mut(store) {
            link.failed = failed;
        }
    }

    /// A link ended, or was not wanted (no `permit`). What becomes of a second one with the same process is no news while the first stands.
    pub fn ended(&self, now: Duration, end: &End, address: SocketAddr, pin: Option<Pin>, permit: Option<&Permit>) {
        let mut slot = self.slot();
        if permit.is_none() && slot.links.values().any(|link| Some(link.pin) == pin) {
            return;
        }
        let link = permit.and_then(|permit| slot.links.get(&permit.store));
        let stood = link.map(|link| now.saturating_sub(link.since));
        let error = if end.by_us {
            format!("the link with {address} was closed here: {}", end.reason)
        } else if end.code.is_some() {
            format!("{address} closed the link: {}", end.reason)
        } else {
            format!("the link with {address} broke: {}", end.reason)
        };
        for dial in slot.dials.values_mut().filter(|dial| pin.is_some() && dial.pin == pin) {
            dial.ended = Some((stood, end.code));
            dial.error = Some(error.clone());
        }
        (slot.last_error, slot.last_code) = (Some(error), end.code);
        // Who has proved nothing bars only the address: it may be anybody's by now.
        if permit.is_some() && end.by_us && end.code.is_some_and(|code| dial::patience(code) == Patience::Quarantine) {
            slot.barred_until = now + REDIAL_QUARANTINE;
        }
    }

    /// An attempt to dial an address did not come as far as a link. Whether that, and why, is news. If it only was to be looked who answers there, it is
    /// again at `again_at`.
    pub fn failed(&self, target: &str, reason: String, again_at: Duration) -> bool {
        let mut slot = self.slot();
        let dial = slot.dial(target);
        if dial.is_own {
            (dial.is_own, dial.pin, dial.again_at) = (false, None, None);
        }
        dial.again_at = dial.again_at.map(|_| again_at);
        dial.ended = Some((None, None));
        let news = dial.error.as_ref() != Some(&reason);
        dial.error = Some(reason.clone());
        (slot.last_error, slot.last_code) = (Some(reason), None);
        news
    }

    /// How the last link with who answers at an address ended, once.
    pub fn take_ended(&self, target: &str) -> Option<Ending> {
        self.slot().dial(target).ended.take()
    }

    /// How it all is, where our log ends at `heads`.
    pub fn status(&self, agreement: &Agreement, now: Duration, heads: Cursors, brought: Standing) -> PeerStatus {
        let mut slot = self.slot();
        for link in slot.links.values_mut() {
            link.progress.log_ends(heads);
            link.listens(now);
        }
        let best = slot.best(agreement);
        let waits = |(target, dial): (&String, &Dial)| LinkStatus {
            node: None,
            state: if dial.dialling {
                LinkState::Dialling
            } else {
                LinkState::BackingOff
            },
            address: target.clone(),
            theirs: None,
            progress: Progress::default(),
            last_error: dial.error.clone(),
        };
        // Nodes of one provider may all be told the same addresses, their own among them: that is no trouble.
        let sibling = agreement.relationship == Relationship::Sibling;
        let away = slot
            .dials
            .iter()
            .filter(|(target, dial)| !(slot.is_linked(target) || sibling && dial.is_own));
        let mut links: Vec<_> = slot.links.iter().map(|(store, link)| link.status(store)).collect();
        links.extend(away.map(waits));
        let is_trouble = links.iter().any(|link| link.state != LinkState::Up);
        let steady = slot.links.values().any(|link| now >= link.since + LINK_STEADY);
        let state = match best {
            Some(_) => LinkState::Up,
            None if slot.dials.values().any(|dial| dial.dialling) => LinkState::Dialling,
            None if agreement.endpoints.is_empty() => LinkState::Awaited,
            None => LinkState::BackingOff,
        };
        PeerStatus {
            name: agreement.peer,
            agreement: agreement.clone(),
            theirs: best.and_then(|link| link.theirs.clone()),
            state,
            address: best.map(|link| link.connection.remote_address()),
            last_error: slot.last_error.clone().filter(|_| is_trouble || !steady),
            last_code: slot.last_code.filter(|_| is_trouble || !steady),
            progress: slot.progress(agreement, best),
            brought,
            links,
        }
    }

    /// A panic elsewhere leaves at worst an old status.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn dial(&mut self, target: &str) -> &mut Dial {
        self.dials.entry(target.to_owned()).or_default()
    }

    /// Whether a link stands with who answered at an address last.
    fn is_linked(&self, target: &str) -> bool {
        let pin = self.dials.get(target).and_then(|dial| dial.pin);
        pin.is_some() && self.links.values().any(|link| Some(link.pin) == pin)
    }

    fn wants(&self, target: &str, now: Duration) -> bool {
        let Some(dial) = self.dials.get(target) else { return true };
        if dial.again_at.is_some_and(|at| at <= now) && !dial.busy {
            return true;
        }
        let other = |(address, other): (&String, &Dial)| address != target && other.busy && other.pin == dial.pin;
        !dial.is_own && !dial.busy && !self.is_linked(target) && (dial.pin.is_none() || !self.dials.iter().any(other))
    }

    /// The link of which all is said that is said of the peer as a whole: each node answers for what the others hold, so the one counts
    /// that has told us the most.
    fn best(&self, agreement: &Agreement) -> Option<&Link> {
        self.links.values().max_by_key(|link| {
            let pushes = link.theirs.as_ref().map(|theirs| agreement.accept.min(theirs.pushes));
            let tells = link.progress.received_all && link.progress.silent_for <= HEARD_WITHIN;
            (self.speaks_for_all(agreement, link), tells, pushes, Reverse(link.since))
        })
    }

    /// Whether what a node has told is all that its provider has. Each answers for the others; but another node of ours may lack what a third has, and says
    /// so: then all have to be heard.
    fn speaks_for_all(&self, agreement: &Agreement, link: &Link) -> bool {
        let is_missing = |(target, dial): (&String, &Dial)| !dial.is_own && !self.is_linked(target);
        let has_all = link.theirs.as_ref().is_some_and(|theirs| !reach::lacks(&theirs.reach));
        let all_told = || self.links.values().all(|link| link.progress.received_all) && !self.dials.iter().any(is_missing);
        agreement.relationship != Relationship::Sibling || has_all || all_told()
    }

    /// What went over all links, and how far both sides are: the peer has all when each of its nodes has.
    fn progress(&self, agreement: &Agreement, best: Option<&Link>) -> Progress {
        let before = Progress::default().after(&self.past);
        let sum = self.links.values().fold(before, |sum, link| link.progress.after(&sum));
        Progress {
            lag: self.links.values().map(|link| link.progress.lag).max().unwrap_or_default(),
            sent_all: best.is_some() && self.links.values().all(|link| link.progress.sent_all),
            received_all: best.is_some_and(|link| link.progress.received_all && self.speaks_for_all(agreement, link)),
            silent_for: best.map_or(Duration::ZERO, |link| link.progress.silent_for),
            request_bytes_sent: self.request_bytes_sent,
            ..sum
        }
    }
}

impl Link {
    fn of(wanted: &Wanted<'_>, now: Duration) -> Self {
        Self {
            which: wanted.which,
            pin: wanted.pin,
            since: now,
            stop: wanted.stop.clone(),
            connection: wanted.connection.clone(),
            progress: Progress::default(),
            theirs: None,
            digest: None,
            comparer: None,
            failed: None,
            heard: (0, now),
        }
    }

    /// Looks whether anything was heard.
    fn listens(&mut self, now: Duration) {
        let datagrams = self.connection.stats().udp_rx.datagrams;
        if datagrams != self.heard.0 {
            self.heard = (datagrams, now);
        }
        self.progress.silent_for = now.saturating_sub(self.heard.1);
    }

    fn status(&self, store: &StoreId) -> LinkStatus {
        LinkStatus {
            node: Some(*store),
            state: LinkState::Up,
            address: self.connection.remote_address().to_string(),
            theirs: self.theirs.clone(),
            progress: self.progress,
            last_error: None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut slot = self.peer.slot();
        if let Some(link) = slot.links.remove(&self.store) {
            slot.past = link.progress.after(&slot.past);
        }
        drop(slot);
        self.peer.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const TARGET: &str = "provider.example:4381";
    const OURS: Pin = [1; 32];
    const SOON: Duration = Duration::from_secs(1);
    const LATER: Duration = Duration::from_secs(600);

    fn agreement() -> Agreement {
        Agreement::mutual(Name::key_set([2; 32]), vec![TARGET.to_owned()])
    }

    fn links(peer: &Peer) -> Vec<LinkStatus> {
        peer.status(&agreement(), SOON, [0; 3], Standing::default()).links
    }

    #[test]
    fn an_address_at_which_we_answer_ourselves_is_said_and_looked_at_again() {
        let peer = Peer::default();
        assert_eq!(peer.answered(TARGET, OURS, &OURS, SOON, LATER), Answered::Ourselves);
        assert!(!peer.wants(TARGET, LATER - SOON));
        let shown = links(&peer);
        let error = shown.iter().find_map(|link| link.last_error.clone()).unwrap_or_default();
        assert!(shown.len() == 1 && error.contains("this very provider answers"), "{shown:?}");
        let sibling = Agreement {
            relationship: Relationship::Sibling,
            ..agreement()
        };
        let status = peer.status(&sibling, SOON, [0; 3], Standing::default());
        assert_eq!(status.links, [], "nodes of one provider may all be told the same addresses");
        assert!(peer.wants(TARGET, LATER), "it may be set right");
        // Nobody answers there: it is dialled as any other.
        peer.failed(TARGET, "no answer".to_owned(), LATER * 2);
        assert!(peer.wants(TARGET, LATER));
        assert_eq!(peer.answered(TARGET, [2; 32], &OURS, LATER, LATER * 2), Answered::Stranger);
    }

    #[test]
    fn an_address_at_which_another_node_answers_is_looked_at_again() {
        let peer = Peer::default();
        assert_eq!(peer.answered("other:1", [3; 32], &OURS, SOON, LATER), Answered::Stranger);
        assert_eq!(
            peer.answered(TARGET, [3; 32], &OURS, SOON, LATER),
            Answered::Linked,
            "the same node: by mistake, or for good"
        );
        assert!(!peer.wants(TARGET, LATER - SOON) && peer.wants(TARGET, LATER));
        peer.failed(TARGET, "no answer".to_owned(), LATER * 2);
        assert!(
            !peer.wants(TARGET, LATER) && peer.wants(TARGET, LATER * 2),
            "a second way to a node may be dead for long"
        );
        assert_eq!(peer.answered(TARGET, [4; 32], &OURS, LATER * 2, LATER * 3), Answered::Stranger);
        assert!(!peer.wants(TARGET, LATER * 9), "a link that was dialled there stands");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_to_dial_is_woken_when_it_is_time_to_look_again() {
        let (peer, began) = (Peer::default(), tokio::time::Instant::now());
        peer.answered(TARGET, OURS, &OURS, Duration::ZERO, LATER);
        let really = Instant::now();
        peer.is_to_be_dialled(TARGET, || began.elapsed()).await;
        assert!(began.elapsed() >= LATER && really.elapsed() < LATER);
    }
}
