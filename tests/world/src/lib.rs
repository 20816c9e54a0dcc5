//! A simulated world: any number of providers, the real sessions and diallers between them, virtual time, and faults.
//!
//! Frames keep their order on a link and may be overtaken on another. A link breaks at any moment, and what was under way on it is
//! lost; so whatever was sent and not acknowledged is sent again on the next one. A provider crashes at any moment: what its
//! store had committed stays, everything else is gone. Everything is drawn from one seed.
//!
//! [`asking`]: providers that ask each other.

pub mod asking;
pub mod modes;

use dialtone_provider::io::{peering_deferred, peering_hearsay};
use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::deferred;
use dialtone_provider::peering::dial::{self, Dialler, Which};
use dialtone_provider::peering::feed::Position;
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::hearsay;
use dialtone_provider::peering::intake::{self, Checked, Commit, Terms, Verdict};
use dialtone_provider::peering::limits::{DEFERRED_EVERY, DEFERRED_MAX};
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::{End, Event, Moment, Opening, Step};
use dialtone_provider::store::{Class, Condition, Held, MemoryStore, Put, RecordStore};
use dialtone_shared::message::{CloseCode, Entry, Message, Value};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// When worlds begin, in seconds since 1970.
pub const BEGIN: u64 = 1_800_000_000;

/// Providers, the links between them, and what is going to happen.
pub struct World {
    /// How long it has existed.
    pub now: Duration,
    /// Where all chance comes from.
    pub rng: StdRng,
    /// Every provider.
    pub nodes: Vec<Node>,
    /// Every link that ever was, also those that are over.
    pub links: Vec<Link>,
    /// What happens when; the number keeps the order of what happens at once.
    agenda: BTreeMap<(Duration, u64), Action>,
    next: u64,
    /// Bytes a second of every link.
    pub bandwidth: u64,
    /// Whether links may break and providers crash.
    pub faulty: bool,
}

/// A provider.
pub struct Node {
    /// Its keys.
    pub signer: Signer,
    /// Its name.
    pub name: Name,
    /// Where it keeps records.
    pub store: Arc<MemoryStore>,
    /// With whom it peers.
    pub agreements: Arc<Agreements>,
    /// Seconds by which its clock is wrong.
    pub skew: i64,
    /// Whether it runs.
    pub up: bool,
    /// Reads nothing from its links.
    pub deaf: bool,
    boot: [u8; 16],
    diallers: BTreeMap<usize, Dialler>,
    standing: BTreeMap<Name, (usize, usize, Which)>,
    heads: [u64; 3],
}

/// A connection between two providers.
pub struct Link {
    /// The provider that dialled, and the one that was.
    pub nodes: [usize; 2],
    ends: [Option<Session>; 2],
    /// How each end ended.
    pub over: [Option<End>; 2],
    /// Frames that wait until their end reads.
    waiting: [Vec<Event>; 2],
    /// When the wire to each end is free again.
    busy: [Duration; 2],
    since: Duration,
    woken: [Option<Duration>; 2],
    alive: bool,
    /// Records that each end sent: name, rank and how often.
    pub sent: [BTreeMap<(Name, [u8; 32]), u32>; 2],
}

enum Action {
    Dial(usize, usize),
    Arrive(usize, usize, Box<Event>),
    Finish(usize, usize, Box<Step>),
    Wake(usize, usize),
    Release(usize),
    Restart(usize),
}

impl World {
    /// Providers that peer along `pairs`: the first of each pair dials, and by chance the second does too.
    pub fn new(seed: u64, nodes: usize, pairs: &[(usize, usize)]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let signers: Vec<Signer> = (0..nodes).map(|_| Signer::of(SecretKey::from_seed(&rng.random()))).collect();
        let mut world = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            links: Vec::new(),
            agenda: BTreeMap::new(),
            next: 0,
            bandwidth: 10_000_000,
            faulty: false,
            rng,
        };
        for (index, signer) in signers.iter().enumerate() {
            let mut agreements = Agreements::new();
            let mut diallers = BTreeMap::new();
            for (a, b) in pairs {
                let (other, dials) = match index {
                    i if i == *a => (*b, true),
                    i if i == *b => (*a, world.rng.random_bool(0.5)),
                    _ => continue,
                };
                let peer = signers[other].name();
                agreements.insert(peer, Agreement::mutual(peer, Vec::new()));
                if dials {
                    diallers.insert(other, Dialler::new(world.rng.random(), Duration::ZERO));
                }
            }
            for other in diallers.keys() {
                world.plan(Duration::ZERO, Action::Dial(index, *other));
            }
            world.plan(DEFERRED_EVERY, Action::Release(index));
            world.nodes.push(Node {
                signer: signer.clone(),
                name: signer.name(),
                store: MemoryStore::with_id(world.rng.random()),
                agreements: Arc::new(agreements),
                skew: 0,
                up: true,
                deaf: false,
                boot: world.rng.random(),
                diallers,
                standing: BTreeMap::new(),
                heads: [0; 3],
            });
        }
        world
    }

    /// What a provider's clock says.
    pub fn wall(&self, node: usize) -> UnixSecs {
        UnixSecs((BEGIN + self.now.as_secs()).saturating_add_signed(self.nodes[node].skew))
    }

    fn moment(&self, node: usize) -> Moment {
        Moment {
            wall: self.wall(node),
            elapsed: self.now,
        }
    }

    /// Lets `time` go by.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            self.now = at;
            let action = entry.remove();
            self.act(action);
        }
        self.now = end;
    }

    /// Puts as a customer would.
    pub fn put(&mut self, node: usize, record: VerifiedRecord, keep_until: UnixSecs) {
        let put = Put {
            record,
            class: Class::Customer,
            keep_until,
            from: None,
            account: None,
            condition: Condition::None,
        };
        ready(self.nodes[node].store.put(vec![put])).expect("a memory store");
        self.tell_heads(node);
    }

    /// Puts as a customer would, many at once.
    pub fn put_all(&mut self, node: usize, records: Vec<VerifiedRecord>) {
        for record in records {
            let keep_until = record.record().expiry().unwrap_or(UnixSecs(BEGIN));
            self.put(node, record, keep_until);
        }
    }

    /// What a provider holds of a name.
    pub fn held(&self, node: usize, name: &Name) -> Option<Held> {
        ready(self.nodes[node].store.get(name)).expect("a memory store")
    }

    /// What must be the same everywhere: names, the bytes of their records, and until which day they are kept.
    pub fn map(&self, node: usize) -> BTreeMap<Name, ([u8; 32], u64)> {
        let held = ready(self.nodes[node].store.scan(None, usize::MAX)).expect("a memory store");
        held.into_iter()
            .map(|held| (*held.record.name(), (held.record.rank().digest, held.keep_until.day())))
            .collect()
    }

    /// Records sent over all links so far.
    pub fn records_sent(&self) -> u64 {
        self.links
            .iter()
            .flat_map(|link| &link.sent)
            .flat_map(|sent| sent.values())
            .map(|times| u64::from(*times))
            .sum()
    }

    /// Breaks a link that stands, both ends noticing in their own time.
    pub fn cut(&mut self, link: usize) {
        if std::mem::replace(&mut self.links[link].alive, false) {
            for end in 0..2 {
                let later = self.draw(0, 500);
                self.plan(
                    later,
                    Action::Arrive(link, end, Box::new(Event::Closed(None, "the network broke".to_owned()))),
                );
            }
        }
    }

    /// A provider dies at once and comes back after a while, with its store (`keep`) or with an empty one.
    pub fn crash(&mut self, node: usize, keep: bool) {
        if !self.nodes[node].up {
            return;
        }
        let (boot, id) = (self.rng.random(), self.rng.random());
        let state = &mut self.nodes[node];
        state.up = false;
        state.boot = boot;
        state.standing.clear();
        if !keep {
            state.store = MemoryStore::with_id(id);
            state.heads = [0; 3];
        }
        for link in 0..self.links.len() {
            if let Some(end) = self.links[link].nodes.iter().position(|one| *one == node) {
                self.links[link].ends[end] = None;
                // The other side hears nothing any more, and notices by the idle time-out.
                if std::mem::replace(&mut self.links[link].alive, false) {
                    let later = self.draw(0, 12_000);
                    let silence = Event::Closed(None, "nothing was heard any more".to_owned());
                    self.plan(later, Action::Arrive(link, 1 - end, Box::new(silence)));
                }
            }
        }
        let later = self.draw(10, 3_000);
        self.plan(later, Action::Restart(node));
    }

    /// Something drawn between two numbers of milliseconds.
    pub fn draw(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.rng.random_range(from * 1_000..=to * 1_000))
    }

    fn plan(&mut self, later: Duration, action: Action) {
        self.next += 1;
        self.agenda.insert((self.now + later, self.next), action);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial(node, peer) => self.dial(node, peer),
            Action::Arrive(link, end, event) => {
                self.links[link].waiting[end].push(*event);
                self.pump(link, end);
            }
            Action::Finish(link, end, step) => {
                let lives = self.links[link].ends[end].is_some();
                if let Some(event) = lives.then(|| self.finish(link, end, *step)).flatten() {
                    self.handle(link, end, event);
                    self.pump(link, end);
                }
            }
            Action::Wake(link, end) => {
                self.links[link].woken[end] = None;
                self.handle(link, end, Event::Tick);
                self.pump(link, end);
            }
            Action::Release(node) => {
                if self.nodes[node].up {
                    let (store, agreements) = (self.nodes[node].store.clone(), self.nodes[node].agreements.clone());
                    ready(peering_deferred::release(&*store, &agreements, self.wall(node))).expect("a memory store");
                    self.tell_heads(node);
                }
                self.plan(DEFERRED_EVERY, Action::Release(node));
            }
            Action::Restart(node) => self.nodes[node].up = true,
        }
    }

    fn dial(&mut self, node: usize, peer: usize) {
        let peer_name = self.nodes[peer].name;
        let due = self.nodes[node].diallers[&peer].due();
        if !self.nodes[node].up || self.nodes[node].standing.contains_key(&peer_name) || due > self.now {
            let soon = self.draw(20, 60);
            return self.plan(due.saturating_sub(self.now).max(soon), Action::Dial(node, peer));
        }
        if self.nodes[peer].up {
            let link = self.links.len();
            let opening = |this: &Self, own: usize, other: usize, dialled: Option<Name>| Opening {
                own: this.nodes[own].name,
                record: greeting::own_record(
                    &this.nodes[own].signer,
                    UnixMicros(this.wall(own).0 * 1_000_000),
                    1,
                    &[],
                    vec![[own as u8; 32]],
                )
                .expect("a record"),
                store: this.nodes[own].store.id(),
                boot: this.nodes[own].boot,
                agreements: this.nodes[own].agreements.clone(),
                dialled,
                pin: [other as u8; 32],
                heads: *this.nodes[own].store.watch().borrow(),
                inbound: Arc::default(),
            };
            let dials = Session::new(opening(self, node, peer, Some(peer_name)), self.moment(node));
            let dialled = Session::new(opening(self, peer, node, None), self.moment(peer));
            self.links.push(Link {
                nodes: [node, peer],
                ends: [Some(dials), Some(dialled)],
                over: [None, None],
                waiting: [Vec::new(), Vec::new()],
                busy: [self.now; 2],
                since: self.now,
                woken: [None; 2],
                alive: true,
                sent: Default::default(),
            });
            if self.faulty {
                // Most links break sooner or later.
                let life = self.draw(50, 8_000);
                self.plan(
                    life,
                    Action::Arrive(link, 0, Box::new(Event::Closed(None, "the network broke".to_owned()))),
                );
                let life = life + self.draw(0, 500);
                self.plan(
                    life,
                    Action::Arrive(link, 1, Box::new(Event::Closed(None, "the network broke".to_owned()))),
                );
            }
            self.pump(link, 0);
            self.pump(link, 1);
            // Not twice at once: the greeting decides.
            return self.plan(Duration::from_secs(1), Action::Dial(node, peer));
        }
        let now = self.now;
        self.nodes[node].diallers.get_mut(&peer).expect("a dialler").ended(now, None, None);
        self.plan(Duration::ZERO, Action::Dial(node, peer));
    }

    fn handle(&mut self, link: usize, end: usize, event: Event) {
        let now = self.moment(self.links[link].nodes[end]);
        if let Some(session) = &mut self.links[link].ends[end] {
            session.handle(now, event);
        }
    }

    /// Lets one end of a link do what it wants to do.
    fn pump(&mut self, link: usize, end: usize) {
        let node = self.links[link].nodes[end];
        loop {
            let now = self.moment(node);
            let deaf = self.nodes[node].deaf;
            let state = &mut self.links[link];
            let Some(session) = &mut state.ends[end] else { return };
            match session.poll(now) {
                Step::Wait(due) => {
                    let waiting = &mut state.waiting[end];
                    let at = waiting
                        .iter()
                        .position(|event| !matches!(event, Event::Frame(_)) || (session.reads() && !deaf));
                    if let Some(at) = at {
                        let event = waiting.remove(at);
                        session.handle(now, event);
                        continue;
                    }
                    if let Some(due) = due.filter(|due| state.woken[end].is_none_or(|woken| *due < woken)) {
                        state.woken[end] = Some(due);
                        self.plan(due.saturating_sub(self.now), Action::Wake(link, end));
                    }
                    return;
                }
                Step::End(over) => return self.over(link, end, over),
                Step::Send(frame) => self.send(link, end, frame),
                step => {
                    let later = self.draw(0, 5);
                    self.plan(later, Action::Finish(link, end, Box::new(step)));
                }
            }
        }
    }

    fn send(&mut self, link: usize, end: usize, frame: Vec<u8>) {
        let body = frame[4..].to_vec();
        let to = 1 - end;
        let receiver = self.links[link].nodes[to];
        if let Ok(Message::Batch(batch)) = Message::decode(&body) {
            for entry in &batch.entries {
                let Entry::Value(value) = entry else { continue };
                let signed = SignedRecord::decode(value.record.clone()).expect("a record");
                assert!(signed.record().in_scope(&self.nodes[receiver].name), "a record leaves its scope");
                *self.links[link].sent[end]
                    .entry((*signed.name(), signed.rank().digest))
                    .or_default() += 1;
            }
        }
        let time = Duration::from_secs_f64(frame.len() as f64 / self.bandwidth as f64);
        let free = self.links[link].busy[to].max(self.now) + time;
        self.links[link].busy[to] = free;
        let latency = Duration::from_millis(2 + (link as u64 * 7 + end as u64 * 3) % 20);
        // A wire that is full, or a reader that does not read, holds the writer up.
        let deaf = self.nodes[receiver].deaf;
        if !deaf {
            self.plan(free - self.now, Action::Arrive(link, end, Box::new(Event::Sent)));
        }
        if self.links[link].alive {
            self.plan(free + latency - self.now, Action::Arrive(link, to, Box::new(Event::Frame(body))));
        }
    }

    fn over(&mut self, link: usize, end: usize, over: End) {
        let now = self.now;
        let state = &mut self.links[link];
        let proved = state.ends[end].take().and_then(|session| session.proved());
        state.over[end] = Some(over.clone());
        let [node, other] = [state.nodes[end], state.nodes[1 - end]];
        let since = state.since;
        if over.by_us && std::mem::replace(&mut state.alive, false) {
            self.plan(
                Duration::from_millis(5),
                Action::Arrive(link, 1 - end, Box::new(Event::Closed(over.code, over.reason.clone()))),
            );
        }
        let mine = proved.filter(|peer| {
            self.nodes[node]
                .standing
                .get(peer)
                .is_some_and(|(one, side, _)| (*one, *side) == (link, end))
        });
        if let Some(peer) = mine {
            self.nodes[node].standing.remove(&peer);
        }
        let stood = mine.map(|_| now - since);
        if let Some(dialler) = self.nodes[node].diallers.get_mut(&other) {
            dialler.ended(now, stood, over.code);
        }
    }

    /// Does a step, now that the time that it takes is over; `None`: it takes longer.
    fn finish(&mut self, link: usize, end: usize, step: Step) -> Option<Event> {
        let node = self.links[link].nodes[end];
        let store = self.nodes[node].store.clone();
        Some(match step {
            Step::Recall(peer) => Event::Recalled(self.held(node, &peer).map(|held| *held.record.rank())),
            Step::Admit { peer, boot, store: id } => {
                let which = Which { dialled: end == 0, boot };
                let own = self.nodes[node].name;
                match self.nodes[node].standing.get(&peer).copied() {
                    None => {
                        self.nodes[node].standing.insert(peer, (link, end, which));
                        let note = ready(store.note(&Position::key(&peer, &id, &store.id()))).expect("a memory store");
                        let heads = *store.watch().borrow();
                        Event::Admitted {
                            position: note.map(|note| Position::decode(&note).expect("a position")),
                            heads,
                        }
                    }
                    Some((other, side, standing)) if dial::replaces(&own, &peer, standing, which) => {
                        self.handle(
                            other,
                            side,
                            Event::Stop(CloseCode::Duplicate, "a newer link takes its place".to_owned()),
                        );
                        self.pump(other, side);
                        let again = Step::Admit { peer, boot, store: id };
                        self.plan(Duration::from_millis(5), Action::Finish(link, end, Box::new(again)));
                        return None;
                    }
                    Some(_) => Event::NotAdmitted(CloseCode::Duplicate, "another link between the two is up".to_owned()),
                }
            }
            Step::Read { lane, after, limit } => Event::Read(lane, ready(store.changes(lane, after, limit)).expect("a memory store")),
            Step::ReadPointers { after, limit } => Event::PointersRead(ready(store.pointer_changes(after, limit)).expect("a memory store")),
            Step::Build { peer, relationship } => {
                let (seed, now) = (self.rng.random(), self.wall(node));
                let made = ready(peering_hearsay::digest(&*store, &peer, relationship, now, seed));
                let (digest, covers) = made.expect("a memory store");
                Event::Built(Box::new(digest), covers)
            }
            Step::Forget { peer } => {
                ready(peering_hearsay::forget(&*store, &peer)).expect("a memory store");
                Event::Forgotten
            }
            Step::Check {
                id,
                terms,
                entries,
                pointers,
            } => {
                let mut checked = self.check(node, &terms, entries);
                for pointer in pointers {
                    let held = self.held(node, &pointer.name);
                    checked.pointed(hearsay::judge(&terms, &pointer, held.as_ref(), self.wall(node)));
                }
                Event::Checked(id, checked)
            }
            Step::Commit { peer, commit } => {
                let Commit { puts, deferred, pointers } = commit;
                let notes: Vec<_> = deferred.iter().map(|one| one.note(&peer)).collect();
                let kept = ready(store.notes(&deferred::keys(&peer), DEFERRED_MAX + 1)).expect("a memory store");
                let outcomes = ready(store.put(puts)).expect("a memory store");
                let told = ready(store.put_pointers(pointers)).expect("a memory store");
                let event = match deferred::fits(&kept, &notes) {
                    Ok(()) => {
                        ready(store.set_notes(notes)).expect("a memory store");
                        Event::Committed(outcomes, told)
                    }
                    Err(error) => Event::Failed(CloseCode::Clock, error.to_string()),
                };
                self.tell_heads(node);
                event
            }
            Step::Save { key, position } => {
                ready(store.set_notes(vec![(key, Some(position.encode()))])).expect("a memory store");
                Event::Saved
            }
            Step::Send(_) | Step::Wait(_) | Step::End(_) => return None,
        })
    }

    fn check(&self, node: usize, terms: &Terms, entries: Vec<Value>) -> Checked {
        let mut checked = Checked::default();
        for entry in entries {
            match intake::open(terms, &entry) {
                Err(refusal) => checked.refuse(refusal),
                Ok(signed) => {
                    let held = self.held(node, signed.name());
                    match intake::triage(terms, signed, entry.keep_until, held.as_ref(), self.wall(node)) {
                        Verdict::Renew(put) => checked.puts.push(*put),
                        Verdict::Verify(candidate) => match intake::believe(*candidate) {
                            Ok(believed) => checked.believed(terms, believed),
                            Err(refusal) => checked.refuse(refusal),
                        },
                        Verdict::Same => checked.counts.same += 1,
                        Verdict::Older => checked.counts.older += 1,
                    }
                }
            }
        }
        checked
    }

    /// Wakes every link of a provider whose log has grown.
    fn tell_heads(&mut self, node: usize) {
        let heads = *self.nodes[node].store.watch().borrow();
        if std::mem::replace(&mut self.nodes[node].heads, heads) == heads {
            return;
        }
        let standing: Vec<_> = self.nodes[node].standing.values().map(|(link, end, _)| (*link, *end)).collect();
        for (link, end) in standing {
            self.handle(link, end, Event::Heads(heads));
            self.pump(link, end);
        }
    }
}

/// A record of the `index`-th name.
pub fn record(index: u32, sequence: UnixMicros, scope: &[Name], revoked: bool) -> VerifiedRecord {
    sign(index, sequence, scope, revoked, 60)
}

/// Another record of the same name and sequence: only the bytes decide which of the two wins.
pub fn twin(index: u32, sequence: UnixMicros, ttl: u32) -> VerifiedRecord {
    sign(index, sequence, &[], false, ttl)
}

fn sign(index: u32, sequence: UnixMicros, scope: &[Name], revoked: bool, ttl: u32) -> VerifiedRecord {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let secret = SecretKey::from_seed(&seed);
    let mut scope = scope.to_vec();
    scope.sort();
    let live = Body::Live {
        expiry: sequence.secs().plus(30 * 86_400),
        ttl: Ttl(ttl),
        bindings: Vec::new(),
    };
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope,
        body: if revoked { Body::Revoked } else { live },
    };
    SignedRecord::sign(record, &secret).expect("a record").verify().expect("genuine")
}

/// What a memory store answers: it never makes anyone wait.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a memory store does not wait"),
    }
}
