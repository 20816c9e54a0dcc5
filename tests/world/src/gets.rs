//! Gets, and what providers ask each other for them: the real desks and questions, over the links, stores, pointers and digests of the world.
//!
//! Does what `io::peering::ask` and `io::coherence` do. A question takes the way of its link, beside the feed: late where frames are late, and
//! gone where nothing passes. A peer is answered as many
//! questions as it may ask in a second and at a time.

use super::questions::{Running, Whom};
use super::tags::Tags;
use super::{Action, World, ready};
use dialtone_provider::accounting::rate::Meter;
use dialtone_provider::peering::agreement::Agreements;
use dialtone_provider::peering::ask::desk::{Desk, Local, Reply, found_held};
use dialtone_provider::peering::ask::neighbours::Neighbours;
use dialtone_provider::peering::ask::reach::{self, Inbound};
use dialtone_provider::peering::ask::tally::Tally;
use dialtone_provider::peering::ask::whom::View;
use dialtone_provider::peering::health::{LinkState, PeerStatus, Progress};
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::Event;
use dialtone_provider::store::RecordStore;
use dialtone_shared::Name;
use dialtone_shared::hip::Hit;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What has been asked so far, and what came of it.
#[derive(Debug, Default)]
pub struct Gets {
    /// Gets that are over, by number: when, and what was answered.
    pub answers: BTreeMap<u64, (Duration, Reply)>,
    /// Questions from one provider to another.
    pub questions: u64,
    /// Bytes of these and of what was answered.
    pub bytes: u64,
}

/// What a provider knows of its links, and asks.
pub(crate) struct Asker {
    pub(crate) desk: Desk<u64>,
    neighbours: Neighbours,
    pub(crate) inbound: Arc<[Inbound]>,
    /// Questions under way, by number.
    pub(crate) running: BTreeMap<u64, Running>,
    pub(crate) tags: Tags,
    /// What each peer has asked of late, and how many of its questions are being answered.
    pub(crate) guests: BTreeMap<Name, (Meter, usize)>,
}

/// What is going to happen.
pub(crate) enum Errand {
    /// A provider looks at its links.
    Look(usize),
    /// A request arrives at this end of a link.
    Request(usize, usize, u64, Vec<u8>),
    /// A response arrives at this end of a link.
    Response(usize, usize, u64, Vec<u8>),
    /// A provider waits no longer for a peer.
    Late(usize, Name, u64, &'static str),
    /// A provider looks at a question again.
    Wake(usize, u64),
}

impl Asker {
    pub(crate) fn new(own: Name, agreements: &Agreements) -> Self {
        Self {
            desk: Desk::new(own),
            neighbours: Neighbours::default(),
            inbound: reach::unknown(agreements),
            running: BTreeMap::new(),
            tags: Tags::default(),
            guests: BTreeMap::new(),
        }
    }
}

impl World {
    /// From now on providers look at their links as often as they do, and can be asked.
    pub fn asking(mut self) -> Self {
        for node in 0..self.nodes.len() {
            self.plan(Duration::ZERO, Action::Errand(Errand::Look(node)));
        }
        self
    }

    /// Gets as a client would: the number under which the answer will be found. A provider that does not run answers nothing.
    pub fn get(&mut self, node: usize, name: Name) -> u64 {
        self.next += 1;
        let get = self.next;
        if self.nodes[node].up {
            let held = self.held(node, &name);
            match held.as_ref().filter(|_| self.is_whole(node)) {
                Some(held) => {
                    let reply = Reply::Record(found_held(held, held.record.record().ttl_at(self.wall(node))));
                    self.gets.answers.insert(get, (self.now, reply));
                }
                None => self.resolve(node, Whom::Client(get), name),
            }
        }
        get
    }

    /// Whether what a provider holds is the newest there is.
    pub(crate) fn is_whole(&self, node: usize) -> bool {
        self.nodes[node].asker.neighbours.are_whole()
    }

    /// Gets, and waits for the answer.
    pub fn answer(&mut self, node: usize, name: Name) -> Reply {
        let get = self.get(node, name);
        let began = self.now;
        while !self.gets.answers.contains_key(&get) {
            assert!(self.now < began + ENDLESS, "a get at provider {node} is never answered");
            self.run(Duration::from_millis(1));
        }
        self.gets.answers[&get].1.clone()
    }

    /// What a provider has counted of what it asked and was asked.
    pub fn tally(&self, node: usize) -> &Tally {
        self.nodes[node].asker.desk.tally()
    }

    /// Does what was planned.
    pub(crate) fn errand(&mut self, errand: Errand) {
        match errand {
            Errand::Look(node) => {
                if self.nodes[node].up {
                    self.look(node);
                }
                self.plan(LOOK_EVERY, Action::Errand(Errand::Look(node)));
            }
            Errand::Request(link, end, question, body) => self.requested(link, end, question, body),
            Errand::Response(link, end, question, body) => self.responded(link, end, question, &body),
            Errand::Late(node, peer, question, why) => self.answered(node, peer, question, Err(why.to_owned())),
            Errand::Wake(node, question) => self.look_again(node, question),
        }
    }

    /// A provider looks at its links, and tells its peers what lies behind it.
    fn look(&mut self, node: usize) {
        let state = &self.nodes[node];
        let status = |(peer, agreement): (&Name, &_)| {
            let standing = state.standing.get(peer);
            let session = standing.and_then(|(link, end, _)| self.links[*link].ends[*end].as_ref());
            let silent_for = standing.map_or(Duration::ZERO, |(link, end, _)| self.links[*link].silent_for(*end, self.now));
            let progress = session.map_or(Progress::default(), Session::progress);
            PeerStatus {
                name: *peer,
                agreement: Clone::clone(agreement),
                theirs: session.and_then(Session::theirs).cloned(),
                state: if standing.is_some() { LinkState::Up } else { LinkState::BackingOff },
                address: None,
                last_error: None,
                last_code: None,
                progress: Progress { silent_for, ..progress },
                brought: state.quotas.standing(peer),
                links: Vec::new(),
            }
        };
        let statuses: Vec<_> = state.agreements.iter().map(status).collect();
        let now = self.now;
        let asker = &mut self.nodes[node].asker;
        asker.neighbours.look(now, &statuses);
        let inbound = asker.neighbours.inbound();
        if *asker.inbound != *inbound {
            asker.inbound = inbound.into();
            let inbound = asker.inbound.clone();
            self.tell_ends(node, || Event::Inbound(inbound.clone()));
        }
    }

    /// Tells every session of a provider what has changed.
    pub(crate) fn tell_ends(&mut self, node: usize, event: impl Fn() -> Event) {
        for link in self.nodes[node].live.clone() {
            let end = self.links[link].end_of(node);
            self.handle(link, end, event());
            self.pump(link, end);
        }
    }

    /// How the peers stand for a name, or for a tag in its place.
    pub(crate) fn views(&mut self, node: usize, name: &Name, tag: Option<&Hit>) -> Vec<View> {
        self.look(node);
        let neighbours = &self.nodes[node].asker.neighbours;
        let mut views = tag.map_or_else(|| neighbours.views_of(name), |_| neighbours.views_of_tag());
        for view in &mut views {
            let standing = self.nodes[node].standing.get(&view.peer);
            let session = standing.and_then(|(link, end, _)| self.links[*link].ends[*end].as_ref());
            let digest = session.and_then(Session::digest);
            let says = digest.and_then(|digest| tag.map_or_else(|| Some(digest.contains(name)), |tag| digest.contains_tag(tag)));
            view.digest = says.filter(|_| view.linked);
        }
        views
    }

    /// What is held of a name, and what is said to be elsewhere.
    pub(crate) fn local(&self, node: usize, name: &Name) -> Local {
        let pointer = ready(self.nodes[node].store.pointer(name)).expect("a disk that works");
        Local {
            held: self.held(node, name),
            pointer,
        }
    }
}

/// How often a provider looks at its links, as `io::coherence` does it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Longer than any question lasts.
const ENDLESS: Duration = Duration::from_secs(30);
