//! What becomes of a frame, and of a link: delay, loss, silence, breaks.
//!
//! A link is a reliable stream. A frame that is lost is sent again, after a time that doubles; while a direction is blocked nothing
//! passes it, and if that lasts longer than the idle time-out the end that hears nothing gives up, and then the other, which hears
//! nothing of that either.

use super::compare::Comparing;
use super::{Action, World};
use dialtone_provider::peering::health::Progress;
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::{End, Event};
use dialtone_shared::Name;
use rand::RngExt;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A connection between two providers.
pub struct Link {
    /// The provider that dialled, and the one that was.
    pub nodes: [usize; 2],
    pub(crate) ends: [Option<Session>; 2],
    /// How each end ended.
    pub over: [Option<End>; 2],
    /// Frames that wait until their end reads.
    pub(crate) waiting: [VecDeque<Event>; 2],
    /// Frames that wait until the way to their end is free.
    blocked: [VecDeque<Event>; 2],
    /// When the wire to each end is free again, and when what was sent last to it arrives.
    busy: [Duration; 2],
    last: [Duration; 2],
    pub(crate) since: Duration,
    pub(crate) woken: [Option<Duration>; 2],
    pub(crate) alive: bool,
    /// Since when nothing comes to each end, not even a sign of life.
    unheard: [Option<Duration>; 2],
    pub(crate) done: [Progress; 2],
    pub(crate) comparing: Comparing,
    /// Records that each end sent: name, rank and how often. Only where the world is watched.
    pub sent: [BTreeMap<(Name, [u8; 32]), u32>; 2],
}

/// What the network does to frames.
#[derive(Clone, Debug)]
pub struct Network {
    /// The part of frames that is lost, and sent again.
    pub loss: f64,
    /// The longest delay beside the usual one.
    pub jitter: Duration,
    /// Since when nothing passes from one provider to another.
    blocked: BTreeMap<(usize, usize), Duration>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            loss: 0.0,
            jitter: Duration::ZERO,
            blocked: BTreeMap::new(),
        }
    }
}

impl Network {
    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        !self.blocked.contains_key(&(from, to))
    }
}

impl Link {
    pub(crate) fn new(nodes: [usize; 2], ends: [Session; 2], now: Duration) -> Self {
        Self {
            nodes,
            ends: ends.map(Some),
            over: [None, None],
            waiting: Default::default(),
            blocked: Default::default(),
            busy: [now; 2],
            last: [now; 2],
            since: now,
            woken: [None; 2],
            alive: true,
            unheard: [None; 2],
            done: Default::default(),
            comparing: Comparing::default(),
            sent: Default::default(),
        }
    }

    /// What an end has seen.
    pub fn progress(&self, end: usize) -> Progress {
        self.ends[end].as_ref().map_or(self.done[end], Session::progress)
    }

    /// How long an end has heard nothing.
    pub(crate) fn silent_for(&self, end: usize, now: Duration) -> Duration {
        self.unheard[end].map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// The number of a provider's end.
    pub(crate) fn end_of(&self, node: usize) -> usize {
        usize::from(self.nodes[0] != node)
    }
}

impl World {
    /// Breaks a link that stands, both ends noticing in their own time.
    pub fn cut(&mut self, link: usize) {
        if std::mem::replace(&mut self.links[link].alive, false) {
            for end in 0..2 {
                let later = self.draw(0, 500);
                self.plan(later, Action::Arrive(link, end, broke("the network broke")));
            }
        }
    }

    /// From now on nothing passes from one provider to another.
    pub fn block(&mut self, from: usize, to: usize) {
        self.network.blocked.entry((from, to)).or_insert(self.now);
        for link in self.between(from, to) {
            let end = self.links[link].end_of(to);
            self.links[link].unheard[end].get_or_insert(self.now);
            self.plan(IDLE, Action::Listen(link, end, self.now));
        }
    }

    /// It passes again. What links that still stand have kept back follows, in order.
    pub fn unblock(&mut self, from: usize, to: usize) {
        if self.network.blocked.remove(&(from, to)).is_none() {
            return;
        }
        for link in self.between(from, to) {
            let end = self.links[link].end_of(to);
            let late = self.draw(10, 500);
            self.links[link].unheard[end] = None;
            for event in std::mem::take(&mut self.links[link].blocked[end]) {
                self.arrive(link, end, late, event);
            }
        }
    }

    /// Nothing passes between two groups of providers, in either direction.
    pub fn partition(&mut self, ones: &[usize], others: &[usize]) {
        for (a, b) in ones.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
            self.block(a, b);
            self.block(b, a);
        }
    }

    /// Everything passes again.
    pub fn heal(&mut self) {
        for (from, to) in self.network.blocked.keys().copied().collect::<Vec<_>>() {
            self.unblock(from, to);
        }
    }

    fn between(&self, a: usize, b: usize) -> Vec<usize> {
        let live = self.nodes[a].live.iter().copied();
        live.filter(|link| self.links[*link].nodes.contains(&b)).collect()
    }

    /// Whether an end has heard anything since the way to it was blocked; if not, its link is over.
    pub(crate) fn listen(&mut self, link: usize, end: usize, since: Duration) {
        let nodes = self.links[link].nodes;
        let blocked = self.network.blocked.get(&(nodes[1 - end], nodes[end])) == Some(&since);
        if blocked && self.links[link].alive {
            self.links[link].alive = false;
            self.plan(Duration::ZERO, Action::Arrive(link, end, broke("nothing was heard any more")));
            let there = self.network.blocked.get(&(nodes[end], nodes[1 - end])).copied().unwrap_or(self.now) + IDLE;
            let later = there.saturating_sub(self.now);
            self.plan(later, Action::Arrive(link, 1 - end, broke("nothing was heard any more")));
        }
    }

    /// A provider is gone from its end of a link without a word; the other side notices by the idle time-out.
    pub(crate) fn silence(&mut self, link: usize, node: usize) {
        let end = self.links[link].end_of(node);
        self.links[link].done[end] = self.links[link].progress(end);
        self.links[link].ends[end] = None;
        self.watch.iter_mut().for_each(|watch| watch.ended((link, end)));
        self.links[link].unheard[1 - end].get_or_insert(self.now);
        if std::mem::replace(&mut self.links[link].alive, false) {
            let later = self.draw(0, 12_000);
            self.plan(later, Action::Arrive(link, 1 - end, broke("nothing was heard any more")));
        }
    }

    /// Puts a frame on the wire.
    pub(crate) fn transmit(&mut self, link: usize, to: usize, bytes: usize, body: Vec<u8>) {
        let [from, receiver] = [self.links[link].nodes[1 - to], self.links[link].nodes[to]];
        let time = Duration::from_secs_f64(bytes as f64 / self.bandwidth as f64);
        let free = self.links[link].busy[to].max(self.now) + time;
        self.links[link].busy[to] = free;
        // A wire that is full, or a reader that does not read, holds the writer up.
        if !self.nodes[receiver].deaf {
            self.plan(free - self.now, Action::Arrive(link, 1 - to, Box::new(Event::Sent)));
        }
        if !self.links[link].alive {
            return;
        }
        if !self.network.passes(from, receiver) {
            return self.links[link].blocked[to].push_back(Event::Frame(body));
        }
        let late = self.lateness(link, to);
        self.arrive(link, to, free - self.now + late, Event::Frame(body));
    }

    /// How long a frame takes on its way.
    pub(crate) fn lateness(&mut self, link: usize, to: usize) -> Duration {
        let mut late = Duration::from_millis(2 + (link as u64 * 7 + (1 - to) as u64 * 3) % 20);
        late += self.network.jitter.mul_f64(self.rng.random());
        let mut again = RESEND;
        while self.network.loss > 0.0 && again < RESEND_MAX && self.rng.random_bool(self.network.loss) {
            late += again;
            again *= 2;
        }
        late
    }

    /// Frames keep their order.
    fn arrive(&mut self, link: usize, end: usize, later: Duration, event: Event) {
        let at = (self.now + later).max(self.links[link].last[end]);
        self.links[link].last[end] = at;
        self.plan(at - self.now, Action::Arrive(link, end, Box::new(event)));
    }
}

pub(crate) fn broke(reason: &str) -> Box<Event> {
    Box::new(Event::Closed(None, reason.to_owned()))
}

/// After how long a link on which nothing is heard is over, as QUIC is told in `io::quic`.
const IDLE: Duration = Duration::from_secs(12);

/// When a lost frame is sent again for the first time: a round trip and a half.
const RESEND: Duration = Duration::from_millis(60);

/// A frame is not lost more often in a row than this allows: the link would be over.
const RESEND_MAX: Duration = Duration::from_secs(4);
