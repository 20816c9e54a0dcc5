//! The peers as asking sees them: what each pushes, whether all of it has arrived, and what lies behind it; also while its link is away.

use super::limits::NEGATIVE_TTL;
use super::reach::{self, Inbound};
use super::whom::View;
use crate::peering::agreement::Filter;
use crate::peering::health::{LinkState, PeerStatus};
use dialtone_shared::message::{Mode, Reach, Relationship, WHOLE, mark};
use dialtone_shared::{Name, Scheme, Schemes};
use std::collections::BTreeMap;
use std::time::Duration;

/// All peers with whom there is an agreement, as of the last look.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    peers: BTreeMap<Name, Neighbour>,
    /// Whether we once had all that our provider holds, as its other nodes told it; and since when they have.
    was_whole: bool,
    whole_since: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Neighbour {
    relationship: Relationship,
    linked: bool,
    pushes: Mode,
    asked: bool,
    reach: Option<Reach>,
    /// What our agreement lets pass, and whether the peer's lets everything pass.
    filter: Filter,
    theirs_filters: bool,
    /// Names of which schemes it knows; until it has said so, of all.
    schemes: Schemes,
    /// When it was last known to have told us everything.
    caught_up: Option<Duration>,
    complete: bool,
}

impl Neighbours {
    /// A node that once had all that its provider holds, as it noted: then so it tells the others, whatever it may have missed since.
    pub fn of_a_whole_node() -> Self {
        Self {
            was_whole: true,
            ..Self::default()
        }
    }

    /// Whether the other nodes of our provider have told us all that it holds, now or ever. Worth a note: after a start it cannot be heard again of a node that
    /// is gone for good.
    pub fn was_whole(&self) -> bool {
        self.was_whole
    }

    /// Takes in how the links are at `now`. Under load they are caught up for moments only: look often enough to see one.
    pub fn look(&mut self, now: Duration, peers: &[PeerStatus]) {
        self.peers.retain(|name, _| peers.iter().any(|peer| peer.name == *name));
        for peer in peers {
            let before = self.peers.get(&peer.name);
            let theirs = peer.theirs.as_ref().filter(|_| peer.state == LinkState::Up);
            let agreed = peer.agreement.accept;
            // While a link is away, what was true of it last goes on: names that it would have brought go on missing.
            let pushes = match (theirs, before) {
                (Some(theirs), _) => agreed.min(theirs.pushes),
                (None, Some(before)) => agreed.min(before.pushes),
                (None, None) => agreed,
            };
            let reach = theirs
                .map(|theirs| match reach::lacks(&theirs.reach) {
                    // What another node of ours lacks counts for whether it has told us all: see `complete`. It is no distance.
                    true if peer.agreement.relationship == Relationship::Sibling => Reach {
                        partial: WHOLE,
                        ..theirs.reach.clone()
                    },
                    _ => theirs.reach.clone(),
                })
                .or_else(|| before.and_then(|before| before.reach.clone()));
            let theirs_filters = theirs.map(|theirs| theirs.passing() != 0);
            let theirs_filters = theirs_filters.or(before.map(|before| before.theirs_filters)).unwrap_or(false);
            let schemes = theirs.map(|theirs| theirs.schemes).or(before.map(|before| before.schemes));
            let schemes = schemes.unwrap_or(Scheme::ALL);
            let has_all = theirs.is_some() && peer.progress.received_all;
            // Who pushes more than before has yet to push it.
            let before = before.filter(|before| before.pushes >= pushes);
            // A link that died unnoticed brings nothing, and does not say so: it counts as of when it was heard last.
            let heard = now.saturating_sub(peer.progress.silent_for);
            let caught_up = has_all.then_some(heard).or_else(|| before.and_then(|before| before.caught_up));
            // Another node of ours that is away has left everything here that it ever told: of what this provider holds we are the one to tell.
            let relationship = peer.agreement.relationship;
            let neighbour = Neighbour {
                relationship,
                linked: theirs.is_some(),
                pushes,
                asked: peer.agreement.asks && theirs.is_none_or(|theirs| theirs.answers),
                reach,
                filter: peer.agreement.filter.within(schemes),
                schemes,
                theirs_filters,
                caught_up,
                complete: caught_up.is_some_and(|last| relationship == Relationship::Sibling || now.saturating_sub(last) <= GRACE),
            };
            self.peers.insert(peer.name, neighbour);
        }
        let mut siblings = self
            .peers
            .values()
            .filter(|peer| peer.relationship == Relationship::Sibling)
            .peekable();
        // Of a provider that has other nodes no more nobody knows what they hold when there are some again.
        self.was_whole &= siblings.peek().is_some();
        let is_whole = siblings.next().is_some_and(|siblings| siblings.complete);
        self.whole_since = self.whole_since.or(Some(now)).filter(|_| is_whole);
        self.was_whole |= self.whole_since.is_some_and(|since| now >= since + PASSED_ON);
    }

    /// How they stand for this name. What their digests say of one, and how well they answer, is for others to add.
    pub fn views_of(&self, name: &Name) -> Vec<View> {
        let mut views = self.views();
        for (view, peer) in views.iter_mut().zip(self.peers.values()) {
            view.shut = peer.filter.shuts_out(name);
        }
        views
    }

    /// How they stand for a tag: agreements speak of names, and any that lets only some pass may keep back the one that has it.
    pub fn views_of_tag(&self) -> Vec<View> {
        let mut views = self.views();
        for (view, peer) in views.iter_mut().zip(self.peers.values()) {
            view.filtered |= peer.filter.mark() != 0;
        }
        views
    }

    /// How they stand for a name that no agreement speaks of.
    pub fn views(&self) -> Vec<View> {
        let view = |(name, peer): (&Name, &Neighbour)| View {
            peer: *name,
            shut: false,
            filtered: peer.theirs_filters || !peer.filter.passes_scoped(),
            relationship: peer.relationship,
            linked: peer.linked,
            pushes: peer.pushes,
            complete: peer.complete,
            digest: None,
            reach: peer.reach.clone(),
            asked: peer.asked,
            aside: false,
            merit: 0,
            usual: Duration::ZERO,
        };
        self.peers.iter().map(view).collect()
    }

    /// What our own reach is computed from.
    pub fn inbound(&self) -> Vec<Inbound> {
        let inbound = |(name, peer): (&Name, &Neighbour)| Inbound {
            peer: *name,
            relationship: peer.relationship,
            mode: peer.pushes,
            asked: peer.asked,
            filtered: peer.theirs_filters || peer.filter.mark() != 0,
            // What another node of ours has not told us yet we do not know, whatever lies behind it.
            reach: peer
                .reach
                .clone()
                .filter(|_| peer.complete || peer.relationship != Relationship::Sibling),
            lacked: peer.relationship == Relationship::Sibling && !self.was_whole,
        };
        self.peers.iter().map(inbound).collect()
    }

    /// Whether all peers push values and need not ask anyone themselves: then what is held is the newest there is, and nothing is ever asked
    /// about it.
    pub fn are_whole(&self) -> bool {
        let covered = |one: &u64| self.peers.keys().any(|peer| mark(peer) == *one);
        self.peers.values().all(|peer| {
            let reach = peer.reach.as_ref();
            peer.pushes == Mode::Values && reach.is_some_and(|reach| reach.partial >= WHOLE && reach.asks.iter().all(covered))
        })
    }
}

/// How long ago a peer may have told us everything: as long as an absence may be believed, so that caches would be no fresher.
const GRACE: Duration = NEGATIVE_TTL;

/// When what the other nodes of ours told us last has gone on to those that were told all but this: many times what a link rests.
const PASSED_ON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::Agreement;
    use crate::peering::health::Progress;
    use dialtone_shared::message::Terms;

    fn peer(state: LinkState, received_all: bool) -> PeerStatus {
        let name = Name::key_set([1; 32]);
        PeerStatus {
            brought: Default::default(),
            name,
            agreement: Agreement::mutual(name, Vec::new()),
            theirs: (state == LinkState::Up).then(Terms::mutual),
            state,
            address: None,
            last_error: None,
            last_code: None,
            progress: Progress {
                received_all,
                ..Progress::default()
            },
            links: Vec::new(),
        }
    }

    fn complete(neighbours: &Neighbours) -> bool {
        neighbours.views().iter().all(|view| view.complete)
    }

    #[test]
    fn a_peer_has_told_us_everything_if_it_did_so_a_moment_ago() {
        let mut neighbours = Neighbours::default();
        let mut at = |peer: PeerStatus, secs: u64| {
            neighbours.look(Duration::from_secs(secs), &[peer]);
            complete(&neighbours)
        };
        assert!(!at(peer(LinkState::Dialling, false), 0), "nothing has been heard yet");
        assert!(!at(peer(LinkState::Up, false), 1));
        assert!(at(peer(LinkState::Up, true), 2));
        assert!(at(peer(LinkState::Up, false), 4), "a batch is on its way");
        assert!(at(peer(LinkState::BackingOff, false), 7), "a link that breaks is given a moment");
        assert!(!at(peer(LinkState::BackingOff, false), 8));
        assert!(at(peer(LinkState::Up, true), 9));
    }

    #[test]
    fn a_link_on_which_nothing_is_heard_any_more_says_nothing_of_what_it_may_have_missed() {
        let mut neighbours = Neighbours::default();
        let mut at = |secs: u64, silent: u64| {
            let mut up = peer(LinkState::Up, true);
            up.progress.silent_for = Duration::from_secs(silent);
            neighbours.look(Duration::from_secs(secs), &[up]);
            complete(&neighbours)
        };
        assert!(at(100, 0) && at(104, 4), "links are felt every few seconds");
        assert!(!at(106, 6), "long before it is noticed that it broke");
        assert!(at(107, 0));
    }

    #[test]
    fn another_node_of_ours_that_told_us_everything_once_may_be_away_for_good() {
        let mut neighbours = Neighbours::default();
        let mut at = |state, received_all, secs: u64| {
            let mut sibling = peer(state, received_all);
            sibling.agreement.relationship = Relationship::Sibling;
            neighbours.look(Duration::from_secs(secs), &[sibling]);
            complete(&neighbours)
        };
        assert!(!at(LinkState::Dialling, false, 0), "it may hold what we never heard of");
        assert!(!at(LinkState::Up, false, 1), "it is telling");
        assert!(at(LinkState::Up, true, 2));
        assert!(at(LinkState::BackingOff, false, 1_000_000));
    }

    #[test]
    fn what_is_done_on_a_link_is_the_lesser_of_what_both_sides_say_and_stays_so_while_it_is_away() {
        let mut neighbours = Neighbours::default();
        let mut up = peer(LinkState::Up, true);
        if let Some(theirs) = &mut up.theirs {
            (theirs.pushes, theirs.answers) = (Mode::Digest, false);
        }
        let of = |neighbours: &Neighbours| neighbours.views().first().map(|view| (view.linked, view.pushes, view.asked));
        neighbours.look(Duration::ZERO, &[peer(LinkState::Dialling, false)]);
        assert_eq!(of(&neighbours), Some((false, Mode::Values, true)), "as agreed");
        neighbours.look(Duration::ZERO, &[up]);
        assert_eq!(of(&neighbours), Some((true, Mode::Digest, false)));
        neighbours.look(Duration::ZERO, &[peer(LinkState::BackingOff, false)]);
        assert_eq!(of(&neighbours), Some((false, Mode::Digest, true)));
        assert!(!neighbours.are_whole());
        neighbours.look(Duration::ZERO, &[]);
        assert_eq!(of(&neighbours), None);
        assert!(neighbours.are_whole(), "without peers nobody has to be asked");
    }

    #[test]
    fn a_node_tells_the_others_of_its_provider_that_it_may_lack_something_until_they_have_told_it_all() {
        let mut sibling = peer(LinkState::Up, false);
        sibling.agreement.relationship = Relationship::Sibling;
        let mut at = |neighbours: &mut Neighbours, received_all, secs: u64| {
            sibling.progress.received_all = received_all;
            neighbours.look(Duration::from_secs(secs), std::slice::from_ref(&sibling));
            neighbours.inbound().iter().any(|inbound| inbound.lacked)
        };
        let mut new = Neighbours::default();
        assert!(
            at(&mut new, false, 0) && at(&mut new, true, 1),
            "what came last has not gone on yet"
        );
        assert!(!at(&mut new, true, 2) && !at(&mut new, false, 3) && new.was_whole());
        let mut again = Neighbours::of_a_whole_node();
        assert!(!at(&mut again, false, 0), "as it noted before it was started again");
        again.look(Duration::from_secs(1), &[peer(LinkState::Up, true)]);
        assert!(!again.was_whole(), "it has no other nodes now");
    }

    #[test]
    fn what_another_node_of_ours_lacks_is_not_taken_for_somebody_whom_it_would_have_to_ask() {
        let mut sibling = peer(LinkState::Up, true);
        sibling.agreement.relationship = Relationship::Sibling;
        if let Some(theirs) = &mut sibling.theirs {
            theirs.reach.partial = 0;
        }
        let mut neighbours = Neighbours::default();
        neighbours.look(Duration::ZERO, &[sibling.clone()]);
        assert_eq!(neighbours.views()[0].reach, Some(Reach::whole()));
        sibling.agreement.relationship = Relationship::Mutual;
        neighbours.look(Duration::ZERO, &[sibling]);
        assert_eq!(neighbours.views()[0].reach.as_ref().map(|reach| reach.partial), Some(0));
    }
}
