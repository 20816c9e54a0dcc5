//! Providers that ask each other: the real desks and questions, and between them a network that delays, loses and breaks. Feeds are
//! stood in for by what they come to: a record is there after a while, and a digest has what the peer held at the last look.

use crate::ready;
use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::ask::desk::{Desk, Local, Look, Reply, Wish};
use dialtone_provider::peering::ask::judge::judge;
use dialtone_provider::peering::ask::neighbours::Neighbours;
use dialtone_provider::peering::ask::question::{Event, Outcome, Question, Said, Step};
use dialtone_provider::peering::ask::reach;
use dialtone_provider::peering::ask::registry::Ticket;
use dialtone_provider::peering::ask::whom::{Hint, View};
use dialtone_provider::peering::health::{LinkState, PeerStatus, Progress};
use dialtone_provider::peering::policy;
use dialtone_provider::peering::step::Moment;
use dialtone_provider::store::{Class, Condition, MemoryStore, Outcome as Kept, Put, RecordStore};
use dialtone_shared::message::{Mode, Query, Reach, Response, Terms};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Name, SecretKey, UnixSecs, VerifiedRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Providers, the wires between them, and what is going to happen.
pub struct AskWorld {
    /// How long it has existed.
    pub now: Duration,
    /// Where all chance comes from.
    pub rng: StdRng,
    /// Every provider.
    pub nodes: Vec<Asker>,
    /// The wires, by the providers at their ends, the lower number first.
    pub wires: BTreeMap<(usize, usize), Wire>,
    /// Questions that were sent over wires.
    pub sent: u64,
    /// What clients were answered, by the number of their get, and when.
    pub answers: BTreeMap<u64, (Duration, Reply)>,
    agenda: BTreeMap<(Duration, u64), Action>,
    next: u64,
}

/// A provider.
pub struct Asker {
    /// Its name.
    pub name: Name,
    /// Where it keeps records.
    pub store: Arc<MemoryStore>,
    /// What it asks and is asked.
    pub desk: Desk<u64>,
    neighbours: Neighbours,
    /// With whom it peers.
    pub agreements: Agreements,
    running: BTreeMap<u64, Running>,
}

/// What connects two providers.
pub struct Wire {
    /// In what form the first pushes to the second, and the second to the first.
    pub modes: [Mode; 2],
    /// How long a message takes.
    pub delay: Duration,
    /// The share of messages that are lost.
    pub loss: f64,
    /// Whether it carries anything.
    pub alive: bool,
    /// Whether each end takes the link for standing.
    pub up: [bool; 2],
    told: [Reach; 2],
    /// What each end pushed a digest of.
    digests: [BTreeSet<Name>; 2],
}

struct Running {
    question: Question,
    ticket: Ticket,
    waiters: Vec<Waiter>,
    asked: BTreeMap<Name, (Duration, Hint)>,
}

#[derive(Clone)]
enum Waiter {
    Client { get: u64, name: Name },
    Peer { node: usize, question: u64, query: Query },
}

enum Action {
    Look(usize),
    Tell(usize, usize, Reach),
    Request {
        from: usize,
        to: usize,
        question: u64,
        query: Query,
    },
    Answer {
        to: usize,
        from: usize,
        question: u64,
        response: Result<Response, String>,
    },
    Wake(usize, u64),
    Push {
        to: usize,
        from: usize,
        record: VerifiedRecord,
    },
    Notice(usize, usize, usize),
    Stand(usize, usize),
}

impl AskWorld {
    /// Providers that are mutual peers along `pairs`, each pushing to the other in this form.
    pub fn new(seed: u64, nodes: usize, pairs: &[(usize, usize, Mode)]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let names: Vec<Name> = (0..nodes).map(|_| Signer::of(SecretKey::from_seed(&rng.random())).name()).collect();
        let wires = pairs.iter().map(|(a, b, mode)| {
            let wire = Wire {
                modes: [*mode; 2],
                delay: Duration::from_micros(rng.random_range(500..20_000)),
                loss: 0.0,
                alive: true,
                up: [true; 2],
                told: [Reach::whole(), Reach::whole()],
                digests: Default::default(),
            };
            ((*a.min(b), *a.max(b)), wire)
        });
        let wires: BTreeMap<_, _> = wires.collect();
        let asker = |index: usize| {
            let with = wires.iter().filter_map(|((a, b), wire)| {
                let peer = if *a == index { *b } else { *a };
                let agreement = Agreement {
                    push: wire.modes[usize::from(*b == index)],
                    accept: wire.modes[usize::from(*a == index)],
                    ..Agreement::mutual(names[peer], Vec::new())
                };
                (*a == index || *b == index).then_some((names[peer], agreement))
            });
            Asker {
                name: names[index],
                store: MemoryStore::new(),
                desk: Desk::new(names[index]),
                neighbours: Neighbours::default(),
                agreements: with.collect(),
                running: BTreeMap::new(),
            }
        };
        let nodes: Vec<_> = (0..nodes).map(asker).collect();
        let mut world = Self {
            now: Duration::ZERO,
            rng,
            nodes,
            wires,
            sent: 0,
            answers: BTreeMap::new(),
            agenda: BTreeMap::new(),
            next: 0,
        };
        // What follows from what was agreed is known of from the first greeting on.
        for node in 0..world.nodes.len() {
            let unknown = reach::unknown(&world.nodes[node].agreements);
            for peer in world.peers(node) {
                let told = reach::told(
                    &world.nodes[peer].name,
                    world.nodes[node].agreements[&world.nodes[peer].name].relationship,
                    &unknown,
                );
                let (wire, end) = world.wire(node, peer);
                wire.told[end] = told;
            }
            world.plan(Duration::ZERO, Action::Look(node));
        }
        world
    }

    /// What clocks say.
    pub fn wall(&self) -> UnixSecs {
        UnixSecs(crate::BEGIN + self.now.as_secs())
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: self.wall(),
            elapsed: self.now,
        }
    }

    /// Lets `time` go by.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > end {
                break;
            }
            self.now = entry.key().0;
            let action = entry.remove();
            self.act(action);
        }
        self.now = end;
    }

    /// Puts as a customer would.
    pub fn put(&mut self, node: usize, record: VerifiedRecord) {
        self.keep(node, None, record);
    }

    /// Gets as a client would: the number under which the answer will be found.
    pub fn get(&mut self, node: usize, name: Name) -> u64 {
        self.next += 1;
        let get = self.next;
        self.resolve(node, Waiter::Client { get, name });
        get
    }

    /// Gets, and waits for the answer.
    pub fn answer(&mut self, node: usize, name: Name) -> Reply {
        let get = self.get(node, name);
        while !self.answers.contains_key(&get) {
            self.run(Duration::from_millis(1));
        }
        self.answers[&get].1.clone()
    }

    /// Cuts every wire between the providers inside and those outside. Each end notices in its own time.
    pub fn part(&mut self, inside: &BTreeSet<usize>) {
        let cut: Vec<_> = self
            .wires
            .keys()
            .copied()
            .filter(|(a, b)| inside.contains(a) != inside.contains(b))
            .collect();
        for pair in cut {
            self.cut(pair);
        }
    }

    /// Cuts a wire.
    pub fn cut(&mut self, pair: (usize, usize)) {
        let Some(wire) = self.wires.get_mut(&pair) else { return };
        if std::mem::replace(&mut wire.alive, false) {
            for end in 0..2 {
                let later = Duration::from_millis(self.rng.random_range(0..12_000));
                self.plan(later, Action::Notice(pair.0, pair.1, end));
            }
        }
    }

    /// Makes every wire carry again; links stand after a second or two.
    pub fn heal(&mut self) {
        let dead: Vec<_> = self.wires.iter().filter(|(_, wire)| !wire.alive).map(|(pair, _)| *pair).collect();
        for (a, b) in dead {
            let later = Duration::from_millis(self.rng.random_range(12_000..14_000));
            self.plan(later, Action::Stand(a, b));
        }
    }

    fn plan(&mut self, later: Duration, action: Action) {
        self.next += 1;
        self.agenda.insert((self.now + later, self.next), action);
    }

    /// The peers of a provider.
    pub fn peers(&self, node: usize) -> Vec<usize> {
        let other = |(a, b): &(usize, usize)| match node {
            one if one == *a => Some(*b),
            one if one == *b => Some(*a),
            _ => None,
        };
        self.wires.keys().filter_map(other).collect()
    }

    /// The wire between two, and which end the first is.
    fn wire(&mut self, node: usize, peer: usize) -> (&mut Wire, usize) {
        let wire = self.wires.get_mut(&(node.min(peer), node.max(peer))).expect("a wire");
        (wire, usize::from(node > peer))
    }

    fn index(&self, name: &Name) -> usize {
        self.nodes.iter().position(|node| node.name == *name).expect("a provider")
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Look(node) => {
                self.look(node);
                self.plan(Duration::from_millis(200), Action::Look(node));
            }
            Action::Tell(from, to, reach) => {
                let (wire, end) = self.wire(from, to);
                wire.told[end] = reach;
            }
            Action::Request { from, to, question, query } => {
                if self.wire(from, to).0.alive {
                    self.resolve(
                        to,
                        Waiter::Peer {
                            node: from,
                            question,
                            query,
                        },
                    );
                }
            }
            Action::Answer {
                to,
                from,
                question,
                response,
            } => self.answered(to, from, question, response),
            Action::Wake(node, question) => {
                let now = self.now;
                if let Some(running) = self.nodes[node].running.get_mut(&question) {
                    running.question.handle(now, Event::Tick);
                    self.pump(node, question);
                }
            }
            Action::Push { to, from, record } => {
                if self.wire(from, to).0.alive {
                    self.keep(to, Some(from), record);
                }
            }
            Action::Notice(a, b, end) => {
                let (wire, _) = self.wire(a, b);
                if wire.alive {
                    return;
                }
                wire.up[end] = false;
                // What was being asked over it has failed.
                let (node, peer) = if end == 0 { (a, b) } else { (b, a) };
                let questions: Vec<u64> = self.nodes[node].running.keys().copied().collect();
                for question in questions {
                    self.answered(node, peer, question, Err("the link broke".to_owned()));
                }
                self.look(node);
            }
            Action::Stand(a, b) => {
                let (wire, _) = self.wire(a, b);
                wire.alive = true;
                wire.up = [true; 2];
                for (from, to) in [(a, b), (b, a)] {
                    self.look(from);
                    let held = ready(self.nodes[from].store.scan(None, usize::MAX)).expect("a memory store");
                    for held in held {
                        self.push(from, to, held.record);
                    }
                }
            }
        }
    }

    fn statuses(&mut self, node: usize) -> Vec<PeerStatus> {
        let mut statuses = Vec::new();
        for peer in self.peers(node) {
            let name = self.nodes[peer].name;
            let agreement = self.nodes[node].agreements[&name].clone();
            let own = self.nodes[node].name;
            let mirror = &self.nodes[peer].agreements[&own];
            let (their_filter, relationship, answers) = (mirror.filter.mark(), mirror.relationship, mirror.answers);
            let (wire, end) = self.wire(node, peer);
            let theirs = Terms {
                pushes: wire.modes[1 - end],
                accepts: wire.modes[end],
                reach: wire.told[1 - end].clone(),
                filter: their_filter,
                relationship,
                answers,
                ..Terms::mutual()
            };
            statuses.push(PeerStatus {
                brought: Default::default(),
                name,
                agreement,
                theirs: wire.up[end].then_some(theirs),
                state: if wire.up[end] { LinkState::Up } else { LinkState::BackingOff },
                address: None,
                last_error: None,
                progress: Progress {
                    received_all: true,
                    ..Progress::default()
                },
            });
        }
        statuses
    }

    /// A provider looks at its links, and tells what follows: what lies behind it, and what it holds.
    fn look(&mut self, node: usize) {
        let (statuses, now) = (self.statuses(node), self.now);
        self.nodes[node].neighbours.look(now, &statuses);
        let inbound = self.nodes[node].neighbours.inbound();
        let held = ready(self.nodes[node].store.scan(None, usize::MAX)).expect("a memory store");
        for peer in self.peers(node) {
            let name = self.nodes[peer].name;
            let reach = reach::told(&name, self.nodes[node].agreements[&name].relationship, &inbound);
            let (wire, end) = self.wire(node, peer);
            let delay = wire.delay;
            if wire.alive && wire.modes[end] == Mode::Digest {
                let way = self.nodes[node].agreements[&name].way();
                let wall = self.wall();
                let told = held.iter().filter(|held| policy::in_digest(held, &way, wall));
                self.wire(node, peer).0.digests[end] = told.map(|held| *held.record.name()).collect();
            }
            let (wire, end) = self.wire(node, peer);
            if wire.alive && wire.told[end] != reach {
                self.plan(delay, Action::Tell(node, peer, reach));
            }
        }
    }

    fn keep(&mut self, node: usize, from: Option<usize>, record: VerifiedRecord) {
        let put = Put {
            class: from.map_or(Class::Customer, |from| {
                policy::class_from(self.nodes[node].agreements[&self.nodes[from].name].relationship)
            }),
            keep_until: record.record().expiry().unwrap_or(UnixSecs(crate::BEGIN)),
            from: from.map(|from| self.nodes[from].name),
            account: None,
            condition: Condition::None,
            record: record.clone(),
        };
        let news = ready(self.nodes[node].store.put(vec![put])).expect("a memory store");
        if matches!(news[..], [Kept::Stored { .. } | Kept::Renewed]) {
            for peer in self.peers(node) {
                if from != Some(peer) {
                    self.push(node, peer, record.clone());
                }
            }
        }
    }

    fn push(&mut self, from: usize, to: usize, record: VerifiedRecord) {
        let way = self.nodes[from].agreements[&self.nodes[to].name].way();
        let held = ready(self.nodes[from].store.get(record.name())).expect("a memory store");
        let sends = held.is_some_and(|held| policy::sends(&held, &way, false, self.wall()));
        let passes = sends && self.passes(from, to, record.name());
        let (wire, end) = self.wire(from, to);
        let (delay, pushes) = (wire.delay, wire.modes[end] == Mode::Values);
        if pushes && passes {
            self.plan(delay, Action::Push { to, from, record });
        }
    }

    /// Whether the agreements of both sides let what is told of a name pass.
    pub fn passes(&self, from: usize, to: usize, name: &Name) -> bool {
        let shuts = |one: usize, other: usize| {
            let agreement = &self.nodes[one].agreements[&self.nodes[other].name];
            agreement.filter.shuts_out(name)
        };
        !shuts(from, to) && !shuts(to, from)
    }

    fn local(&self, node: usize, name: &Name) -> Local {
        Local {
            held: ready(self.nodes[node].store.get(name)).expect("a memory store"),
            pointer: None,
        }
    }

    fn views(&mut self, node: usize, name: &Name) -> Vec<View> {
        let mut views = self.nodes[node].neighbours.views_of(name);
        for view in &mut views {
            let peer = self.index(&view.peer);
            let (wire, end) = self.wire(node, peer);
            // One in a hundred has what it has not.
            let odd = u64::from_be_bytes(*name.digest().first_chunk().expect("8 bytes"))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (peer as u64) << 17);
            let has = wire.digests[1 - end].contains(name) || (odd >> 32) % 100 == 0;
            view.digest = (wire.up[end] && wire.modes[1 - end] == Mode::Digest).then_some(has);
        }
        views
    }

    fn resolve(&mut self, node: usize, waiter: Waiter) {
        let name = waiter.name();
        let (local, views, now) = (self.local(node, &name), self.views(node, &name), self.moment());
        self.next += 1;
        let ears = self.next;
        let agreement = self.agreement_of(node, &waiter);
        let own = self.nodes[node].name;
        let wish = waiter.wish(&own, agreement.as_ref());
        let look = self.nodes[node].desk.look(now, &wish, &local, || views, || ears);
        match look {
            Look::Known(reply) => self.reply(node, waiter, reply),
            Look::Joins(question) => {
                let running = self.nodes[node].running.get_mut(&question).expect("a question under way");
                running.waiters.push(waiter);
            }
            Look::Asks(ticket, question, number) => {
                let running = Running {
                    question: *question,
                    ticket,
                    waiters: vec![waiter],
                    asked: BTreeMap::new(),
                };
                self.nodes[node].running.insert(number, running);
                self.pump(node, number);
            }
        }
    }

    fn agreement_of(&self, node: usize, waiter: &Waiter) -> Option<Agreement> {
        match waiter {
            Waiter::Peer { node: peer, .. } => Some(self.nodes[node].agreements[&self.nodes[*peer].name].clone()),
            Waiter::Client { .. } => None,
        }
    }

    fn pump(&mut self, node: usize, number: u64) {
        loop {
            let now = self.now;
            let Some(running) = self.nodes[node].running.get_mut(&number) else {
                return;
            };
            match running.question.poll(now) {
                Step::Ask {
                    peer,
                    query,
                    hint,
                    hedge,
                    until,
                } => {
                    running.asked.insert(peer, (now, hint));
                    self.nodes[node].desk.asked(&peer, hedge);
                    self.sent += 1;
                    let to = self.index(&peer);
                    let lost = self.rng.random::<f64>();
                    let (wire, end) = self.wire(node, to);
                    let (delay, arrives, up) = (wire.delay, wire.alive && lost >= wire.loss, wire.up[end]);
                    let (from, question) = (node, number);
                    if arrives && up {
                        self.plan(delay, Action::Request { from, to, question, query });
                    }
                    let (later, why) = if up {
                        (until.saturating_sub(now), "late")
                    } else {
                        (Duration::ZERO, "no link")
                    };
                    let response = Err(why.to_owned());
                    self.plan(
                        later,
                        Action::Answer {
                            to: node,
                            from: to,
                            question,
                            response,
                        },
                    );
                }
                Step::DropPointer(_) => self.nodes[node].desk.pointer_dropped(),
                Step::Wait(until) => {
                    self.plan(until.saturating_sub(now), Action::Wake(node, number));
                    return;
                }
                Step::Done(outcome) => return self.over(node, number, outcome),
            }
        }
    }

    fn answered(&mut self, node: usize, peer: usize, number: u64, response: Result<Response, String>) {
        let (now, wall, name, own) = (self.now, self.wall(), self.nodes[peer].name, self.nodes[node].name);
        if let Ok(Response::Answer(_)) = &response
            && !self.wire(node, peer).0.alive
        {
            return;
        }
        let asker = &mut self.nodes[node];
        let Some(running) = asker.running.get_mut(&number) else { return };
        let Some((since, hint)) = running.asked.remove(&name) else { return };
        let way = asker.agreements[&name].way();
        let said = match response {
            Ok(Response::Answer(answer)) => judge(&own, running.question.ask(), &way, answer, wall),
            Ok(other) => Said::Nothing(format!("{other:?}")),
            Err(why) => Said::Nothing(why),
        };
        asker.desk.answered(now, &name, hint, now - since, &said);
        running.question.handle(now, Event::Answered(name, said));
        self.pump(node, number);
    }

    fn over(&mut self, node: usize, number: u64, outcome: Outcome) {
        let now = self.moment();
        let asker = &mut self.nodes[node];
        let Some(running) = asker.running.remove(&number) else { return };
        for (peer, (since, _)) in &running.asked {
            let late = now.elapsed >= running.question.until();
            asker.desk.not_awaited(now.elapsed, peer, now.elapsed - *since, late);
        }
        asker.desk.over(now, running.ticket, &running.question, &outcome);
        for waiter in running.waiters {
            let local = self.local(node, &waiter.name());
            let agreement = self.agreement_of(node, &waiter);
            let own = self.nodes[node].name;
            let wish = waiter.wish(&own, agreement.as_ref());
            let reply = self.nodes[node].desk.conclude(now, &wish, &local, outcome.clone());
            self.reply(node, waiter, reply);
        }
    }

    fn reply(&mut self, node: usize, waiter: Waiter, reply: Reply) {
        match waiter {
            Waiter::Client { get, .. } => {
                self.answers.insert(get, (self.now, reply));
            }
            Waiter::Peer { node: peer, question, .. } => {
                let lost = self.rng.random::<f64>();
                let (wire, _) = self.wire(node, peer);
                let delay = wire.delay;
                if wire.alive && lost >= wire.loss {
                    let response = Ok(reply.into_response());
                    self.plan(
                        delay,
                        Action::Answer {
                            to: peer,
                            from: node,
                            question,
                            response,
                        },
                    );
                }
            }
        }
    }
}

impl Waiter {
    fn name(&self) -> Name {
        match self {
            Self::Client { name, .. } => *name,
            Self::Peer { query, .. } => query.name,
        }
    }

    fn wish<'a>(&self, own: &Name, agreement: Option<&'a Agreement>) -> Wish<'a> {
        match (self, agreement) {
            (Self::Peer { query, .. }, Some(agreement)) => Wish::of_peer(own, agreement, query),
            _ => Wish::of_client(self.name()),
        }
    }
}
