//! What a link does about comparisons: begins those it wants, lets its feed rest for those of the peer, and keeps the turn until all has arrived.

use crate::io::peering::node::Node;
use crate::io::peering::place::Peer;
use crate::io::peering::reconcile::{self, Asked, Outcome, TURN_PATIENCE};
use crate::peering::agreement::Agreement;
use crate::peering::reconcile::Seen;
use crate::peering::session::Session;
use crate::peering::step::Event;
use dialtone_shared::Name;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The part of a link's driver that has to do with comparisons.
pub(super) struct Comparing {
    node: Arc<Node>,
    peer: Name,
    /// The peer's store.
    store: [u8; 16],
    dialled: bool,
    asked: mpsc::Receiver<Asked>,
    leading: JoinSet<Outcome>,
    /// Who waits for the feed to rest, on the peer's behalf.
    resting: Option<oneshot::Sender<()>>,
    /// Whether the peer leads one.
    led: bool,
    /// Until when the feed rests for a comparison for which we have no time yet.
    waits: Option<Instant>,
    comparable: bool,
    delivery: Option<Delivery>,
    /// When to compare again, by itself.
    again: Instant,
    seen: Option<Seen>,
}

/// What is awaited before somebody else's turn comes.
struct Delivery {
    /// So many records are to have been dealt with on this link.
    received: u64,
    until: Instant,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Comparing {
    /// For the link that now stands in `place`.
    pub fn new(node: &Arc<Node>, place: &Peer, peer: Name, store: [u8; 16], dialled: bool) -> Self {
        let (asks, asked) = mpsc::channel(2);
        place.compare_by(&store, asks);
        Self {
            node: node.clone(),
            peer,
            store,
            dialled,
            asked,
            leading: JoinSet::new(),
            resting: None,
            led: false,
            waits: None,
            comparable: false,
            delivery: None,
            again: later(node),
            seen: None,
        }
    }

    /// Looks at the session after something happened.
    pub fn look(&mut self, session: &Session) {
        self.comparable = session.is_comparable();
        self.seen = session.their_heads().map(Seen).or(self.seen);
        let quiet = session.is_quiet();
        if quiet && let Some(resting) = self.resting.take() {
            // Nobody listens any more if it took too long.
            let _ = resting.send(());
        }
        if quiet && session.wants_comparison() && self.leading.is_empty() && !self.led {
            // Who dialled goes first, so that not both ask at once.
            let later = if self.dialled { Duration::ZERO } else { SECOND };
            let way = self.node.agreements().get(&self.peer).map(Agreement::way);
            if let Some(way) = way {
                let lead = reconcile::lead(self.node.clone(), way, self.store, later);
                self.leading.spawn(lead);
            }
        }
        let received = session.progress().received.total();
        self.delivery.take_if(|delivery| received >= delivery.received);
    }

    /// Waits for what comes next.
    pub async fn next(&mut self, received: u64) -> Event {
        loop {
            let delivered = self.delivery.as_ref().map(|delivery| delivery.until);
            let due = delivered.into_iter().chain(self.waits).fold(self.again, Instant::min);
            tokio::select! {
                biased;
                Some(asked) = self.asked.recv() => match asked {
                    Asked::Rest(resting) if self.comparable => {
                        self.leading.abort_all();
                        self.resting = Some(resting);
                        self.led = true;
                        self.waits = None;
                        return Event::Compare { leads: false };
                    }
                    Asked::Wait => {
                        let begins = self.waits.is_none() && self.comparable && !self.led && self.leading.is_empty();
                        if begins {
                            self.waits = Some(Instant::now() + TURN_PATIENCE + TURN_PATIENCE / 4);
                            return Event::Compare { leads: false };
                        }
                    }
                    // Dropping it says that nothing can be compared.
                    Asked::Rest(_) => {}
                    Asked::Over(outcome) => {
                        self.led = false;
                        return self.over(outcome, received);
                    }
                },
                Some(led) = self.leading.join_next() => {
                    if !self.led {
                        return self.over(led.unwrap_or_default(), received);
                    }
                }
                () = sleep_until(due) => {
                    if self.waits.take_if(|until| Instant::now() >= *until).is_some() {
                        return Event::Compared(None);
                    }
                    if self.delivery.take_if(|delivery| Instant::now() >= delivery.until).is_some() {
                        continue;
                    }
                    self.again = later(&self.node);
                    if self.comparable && !self.led && self.waits.is_none() && self.leading.is_empty() {
                        return Event::Compare { leads: true };
                    }
                }
            }
        }
    }

    fn over(&mut self, outcome: Outcome, received: u64) -> Event {
        self.again = later(&self.node);
        (self.resting, self.waits) = (None, None);
        self.delivery = (outcome.expects > 0).then(|| Delivery {
            received: received.saturating_add(outcome.expects),
            until: Instant::now() + DELIVERY_PATIENCE,
            _turn: outcome.turn,
        });
        Event::Compared(outcome.comparison)
    }

    /// The link is over: what was seen of the peer's log is noted.
    pub async fn ended(mut self) {
        self.leading.shutdown().await;
        if let Some(seen) = self.seen {
            let note = (Seen::key(&self.peer, &self.store), Some(seen.encode()));
            // At worst the peer's going back in time is noticed by the next comparison only.
            let _ = self.node.store.set_notes(vec![note]).await;
        }
    }
}

/// When to compare again by itself, if ever.
fn later(node: &Node) -> Instant {
    let every = node.compare_every;
    Instant::now() + if every.is_zero() { NEVER } else { node.about(every) }
}

/// Who was dialled gives the other side so much time to begin.
const SECOND: Duration = Duration::from_millis(300);

/// What a comparison found has so long to arrive before others may compare.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(20);

/// Longer than any link stands.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
