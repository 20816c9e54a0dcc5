//! Does what the sessions want, as the driver in `io::peering::link` does it, and tells them what came of it.

use super::disk::{DiskStore, Write, ready};
use super::wire::{Link, broke};
use super::{Action, World};
use dialtone_provider::io::peering as io;
use dialtone_provider::peering::alike::alike;
use dialtone_provider::peering::deferred::{self, Deferred};
use dialtone_provider::peering::dial::{self, Dialler, Which};
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::intake::{self, Believed, Candidate, Checked, Commit, Refusal, Terms};
use dialtone_provider::peering::limits::{DEFERRED_MAX, DIAL_PATIENCE};
use dialtone_provider::peering::position::Position;
use dialtone_provider::peering::reconcile::Seen;
use dialtone_provider::peering::session::Session;
use dialtone_provider::peering::step::{End, Event, Moment, Opening, Step};
use dialtone_provider::store::{Change, RecordStore};
use dialtone_shared::message::{Branch, CloseCode, Message, Value};
use dialtone_shared::{Name, UnixMicros, UnixSecs, VerifiedRecord};
use rand::RngExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What takes a while.
pub(crate) enum Job {
    Step(Box<Step>),
    /// Records and pointers are written and being synced: on which disk, under which numbers, and what is to be kept aside.
    Commit(Arc<DiskStore>, [u64; 2], Name, Vec<Deferred>),
}

/// What has been verified once in this world: all providers share the work, and the bytes. Nobody iterates over it.
#[derive(Default)]
pub(crate) struct Verified(HashMap<bytes::Bytes, VerifiedRecord>);

impl Verified {
    fn believe(&mut self, candidate: Candidate, bytes: &bytes::Bytes) -> Result<Believed, Refusal> {
        if let Some(known) = self.0.get(bytes) {
            return intake::believe_known(candidate, known);
        }
        let believed = intake::believe(candidate)?;
        if self.0.len() >= VERIFIED_MAX {
            self.0.clear();
        }
        let record = believed.record().clone();
        self.0.insert(record.bytes().clone(), record);
        Ok(believed)
    }
}

impl World {
    /// Sees to it that a provider dials another when its dialler says so, unless it is about to.
    pub(crate) fn plan_dial(&mut self, node: usize, peer: usize) {
        let Some(due) = self.nodes[node].diallers.get(&peer).map(Dialler::due) else {
            return;
        };
        if self.nodes[node].dialling.insert(peer) {
            let soon = self.draw(20, 60);
            self.plan(due.saturating_sub(self.now).max(soon), Action::Dial(node, peer, None));
        }
    }

    pub(crate) fn dial(&mut self, node: usize, peer: usize, attempt: Option<(Duration, u32)>) {
        self.nodes[node].dialling.remove(&peer);
        let peer_name = self.nodes[peer].name;
        // Whatever ends the one or the other state dials again.
        if !self.nodes[node].up || self.nodes[node].standing.contains_key(&peer_name) {
            return;
        }
        if self.nodes[node].diallers[&peer].due() > self.now {
            return self.plan_dial(node, peer);
        }
        if self.nodes[peer].up && self.network.passes(node, peer) && self.network.passes(peer, node) {
            return self.connect(node, peer);
        }
        // The first datagram is sent again after ever longer times, until patience ends.
        let (began, tries) = attempt.unwrap_or((self.now, 0));
        let again = FIRST_RESEND * 2_u32.pow(tries);
        if self.now + again < began + DIAL_PATIENCE {
            self.nodes[node].dialling.insert(peer);
            return self.plan(again, Action::Dial(node, peer, Some((began, tries + 1))));
        }
        if let Some(dialler) = self.nodes[node].diallers.get_mut(&peer) {
            dialler.ended(began + DIAL_PATIENCE, None, None);
        }
        self.plan_dial(node, peer);
    }

    fn connect(&mut self, node: usize, peer: usize) {
        let link = self.links.len();
        let dialled = Some(self.nodes[peer].name);
        let sessions = [
            Session::new(self.opening(node, peer, dialled), self.moment(node)),
            Session::new(self.opening(peer, node, None), self.moment(peer)),
        ];
        self.links.push(Link::new([node, peer], sessions, self.now));
        for one in [node, peer] {
            self.nodes[one].live.insert(link);
        }
        if self.faulty {
            // Most links break sooner or later.
            let life = self.draw(50, 8_000);
            self.plan(life, Action::Arrive(link, 0, broke("the network broke")));
            let life = life + self.draw(0, 500);
            self.plan(life, Action::Arrive(link, 1, broke("the network broke")));
        }
        self.pump(link, 0);
        self.pump(link, 1);
    }

    fn opening(&self, own: usize, other: usize, dialled: Option<Name>) -> Opening {
        let node = &self.nodes[own];
        let now = UnixMicros(self.wall(own).0 * 1_000_000);
        Opening {
            own: node.name,
            record: greeting::own_record(&node.signer, now, 1, &[], vec![pin(own)]).expect("a record"),
            store: node.store.id(),
            boot: node.boot,
            agreements: node.agreements.clone(),
            dialled,
            pin: pin(other),
            heads: node.heads,
            quotas: node.quotas.clone(),
            paths: node.paths.clone(),
            inbound: node.asker.inbound.clone(),
            branches: node.branches.clone(),
        }
    }

    pub(crate) fn handle(&mut self, link: usize, end: usize, event: Event) {
        let now = self.moment(self.links[link].nodes[end]);
        self.handle_at(now, link, end, event);
    }

    fn handle_at(&mut self, now: Moment, link: usize, end: usize, event: Event) {
        if let Some(session) = &mut self.links[link].ends[end] {
            session.handle(now, event);
        }
    }

    /// Lets one end of a link do what it wants to do.
    pub(crate) fn pump(&mut self, link: usize, end: usize) {
        let node = self.links[link].nodes[end];
        let (now, deaf) = (self.moment(node), self.nodes[node].deaf);
        loop {
            let state = &mut self.links[link];
            let Some(session) = &mut state.ends[end] else { return };
            let job = match session.poll(now) {
                Step::Wait(due) => {
                    let reads = session.reads() && !deaf;
                    let waiting = &mut state.waiting[end];
                    let at = waiting.iter().position(|event| reads || !matches!(event, Event::Frame(_)));
                    if let Some(event) = at.and_then(|at| waiting.remove(at)) {
                        session.handle(now, event);
                        continue;
                    }
                    if let Some(due) = due.filter(|due| state.woken[end].is_none_or(|woken| *due < woken)) {
                        state.woken[end] = Some(due);
                        self.plan(due.saturating_sub(self.now), Action::Wake(link, end));
                    }
                    self.stands(link, end);
                    return self.look_for_comparisons(link, end);
                }
                Step::End(over) => return self.over(link, end, over),
                Step::Send(frame) => {
                    self.send(link, end, frame);
                    continue;
                }
                Step::Commit { peer, commit } => {
                    let Commit { puts, deferred, pointers } = commit;
                    let disk = self.nodes[node].store.clone();
                    let tickets = [Write::Put(puts), Write::Pointers(pointers)].map(|write| disk.write(write).expect("a disk that works"));
                    Job::Commit(disk, tickets, peer, deferred)
                }
                step => Job::Step(Box::new(step)),
            };
            let later = self.draw(0, 5);
            self.plan(later, Action::Finish(link, end, job));
        }
    }

    fn send(&mut self, link: usize, end: usize, frame: Vec<u8>) {
        let (bytes, to) = (frame.len(), 1 - end);
        let mut body = frame;
        body.drain(..4);
        if let Some(watch) = &mut self.watch {
            let message = Message::decode(&body).expect("a message");
            watch.sent(&mut self.links[link], (link, end), &message, &self.nodes, self.now);
        }
        self.transmit(link, to, bytes, body);
    }

    fn over(&mut self, link: usize, end: usize, over: End) {
        let now = self.now;
        let state = &mut self.links[link];
        state.done[end] = state.progress(end);
        let proved = state.ends[end].take().and_then(|session| session.proved());
        state.over[end] = Some(over.clone());
        state.waiting[end].clear();
        let [node, other] = [state.nodes[end], state.nodes[1 - end]];
        let since = state.since;
        if over.by_us && std::mem::replace(&mut state.alive, false) {
            let closed = Box::new(Event::Closed(over.code, over.reason));
            self.plan(Duration::from_millis(5), Action::Arrive(link, 1 - end, closed));
        }
        self.nodes[node].live.remove(&link);
        self.watch.iter_mut().for_each(|watch| watch.ended((link, end)));
        // What is being put is put before another link with this peer may begin.
        self.nodes[node].store.sync().expect("a disk that works");
        self.tell_heads(node);
        let mine = |(one, side, _): &(usize, usize, Which)| (*one, *side) == (link, end);
        let mine = proved.filter(|peer| self.nodes[node].standing.get(peer).is_some_and(mine));
        if let Some(peer) = mine {
            self.nodes[node].standing.remove(&peer);
            self.place(node, link, end, None);
            let comparing = self.links[link].comparing;
            if let (Some(id), Some(seen)) = (comparing.store[end], comparing.seen[end]) {
                let note = (Seen::key(&peer, &id), Some(seen.encode()));
                ready(self.nodes[node].store.set_notes(vec![note])).expect("a disk that works");
            }
        }
        self.broke_off(node, link);
        let stood = mine.map(|_| now - since);
        if let Some(dialler) = self.nodes[node].diallers.get_mut(&other) {
            dialler.ended(now, stood, over.code);
        }
        if !self.nodes[node].standing.contains_key(&self.nodes[other].name) {
            self.plan_dial(node, other);
        }
    }

    /// An end of the link that stands between two has said where it stands in the tree, or says it no more.
    fn stands(&mut self, link: usize, end: usize) {
        let node = self.links[link].nodes[end];
        let Some(session) = &self.links[link].ends[end] else { return };
        let is_it = |peer| {
            self.nodes[node]
                .standing
                .get(&peer)
                .is_some_and(|(one, side, _)| (*one, *side) == (link, end))
        };
        if session.proved().is_some_and(is_it) {
            self.place(node, link, end, session.branch());
        }
    }

    fn place(&mut self, node: usize, link: usize, end: usize, branch: Option<Branch>) {
        let Some(store) = self.links[link].comparing.store[end] else {
            return;
        };
        if self.nodes[node].branches.get(&store) == branch.as_ref() {
            return;
        }
        let branches = Arc::make_mut(&mut self.nodes[node].branches);
        match branch {
            Some(branch) => drop(branches.insert(store, branch)),
            None => drop(branches.remove(&store)),
        }
        let branches = self.nodes[node].branches.clone();
        self.tell_ends(node, || Event::Branches(branches.clone()));
    }

    /// A job has taken its time.
    pub(crate) fn finished(&mut self, link: usize, end: usize, job: Job) {
        let node = self.links[link].nodes[end];
        // Whoever dies with it has no use for it; a link that is merely over still has its records put.
        let event = match job {
            Job::Commit(disk, tickets, peer, deferred) => self.committed(node, &disk, tickets, &peer, &deferred),
            Job::Step(step) => self.links[link].ends[end]
                .is_some()
                .then(|| self.finish(link, end, *step))
                .flatten(),
        };
        let Some(event) = event else { return };
        let mut now = self.moment(node);
        if self.nodes[node].liar && matches!(event, Event::Read(..)) {
            now.wall = UnixSecs(super::BEGIN);
        }
        self.handle_at(now, link, end, event);
        self.pump(link, end);
    }

    fn committed(
        &mut self,
        node: usize,
        disk: &DiskStore,
        [puts, pointers]: [u64; 2],
        peer: &Name,
        deferred: &[Deferred],
    ) -> Option<Event> {
        // Of a disk that lost its power nobody is told anything.
        disk.sync().ok()?;
        let outcomes = disk.outcomes(puts).expect("a store that takes what was checked");
        let told = disk.pointer_outcomes(pointers).expect("a store that takes what was checked");
        let notes: Vec<_> = deferred.iter().map(|one| one.note(peer)).collect();
        let kept = ready(disk.notes(&deferred::keys(peer), DEFERRED_MAX + 1)).expect("a disk that works");
        let event = match deferred::fits(&kept, &notes) {
            Ok(()) => {
                if !notes.is_empty() {
                    self.plan_release(node);
                    ready(disk.set_notes(notes)).expect("a disk that works");
                }
                Event::Committed(outcomes, told)
            }
            Err(error) => Event::Failed(CloseCode::Clock, error.to_string()),
        };
        self.tell_heads(node);
        Some(event)
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
                        let note = ready(store.note(&Position::key(&peer, &id, &store.id()))).expect("a disk that works");
                        let heads = store.heads();
                        let seen = ready(store.note(&Seen::key(&peer, &id))).expect("a disk that works");
                        let seen = seen.map(|seen| Seen::decode(&seen).expect("what was seen"));
                        self.links[link].comparing.store[end] = Some(id);
                        let theirs = self.links[link].ends[end].as_ref().and_then(Session::their_heads);
                        let went_back = seen.zip(theirs).is_some_and(|(seen, theirs)| seen.went_back(&theirs));
                        let note = note.filter(|_| !went_back);
                        Event::Admitted {
                            position: note.map(|note| Position::decode(&note).expect("a position")),
                            heads,
                        }
                    }
                    Some((other, side, standing)) if dial::replaces((&own, &store.id()), (&peer, &id), standing, which) => {
                        self.handle(
                            other,
                            side,
                            Event::Stop(CloseCode::Duplicate, "a newer link takes its place".to_owned()),
                        );
                        self.pump(other, side);
                        let again = Job::Step(Box::new(Step::Admit { peer, boot, store: id }));
                        self.plan(Duration::from_millis(5), Action::Finish(link, end, again));
                        return None;
                    }
                    Some(_) => Event::NotAdmitted(CloseCode::Duplicate, "another link between the two is up".to_owned()),
                }
            }
            Step::Read { lane, after, limit } => {
                let mut changes = ready(store.changes(lane, after, limit)).expect("a disk that works");
                if self.nodes[node].liar {
                    self.falsify(&mut changes);
                }
                Event::Read(lane, changes)
            }
            Step::Fetch(names) => Event::Fetched(names.iter().filter_map(|name| self.held(node, name)).collect()),
            Step::ReadPointers { after, limit } => {
                Event::PointersRead(ready(store.pointer_changes(after, limit)).expect("a disk that works"))
            }
            Step::Build(way) => {
                let (seed, now) = (self.rng.random(), self.wall(node));
                let made = ready(io::hearsay::digest(&*store, &way, now, seed));
                let (digest, covers) = made.expect("a disk that works");
                Event::Built(Box::new(digest), covers)
            }
            Step::Forget { peer } => {
                ready(io::hearsay::forget(&*store, &peer)).expect("a disk that works");
                Event::Forgotten
            }
            Step::Check {
                id,
                terms,
                entries,
                pointers,
            } => {
                let mut checked = self.check_batch(node, &terms, entries);
                for pointer in pointers {
                    let held = self.held(node, &pointer.name);
                    let known = ready(store.pointer(&pointer.name)).expect("a disk that works").is_some();
                    checked.point(&terms, &pointer, held.as_ref(), known, self.wall(node));
                }
                Event::Checked(id, Box::new(checked))
            }
            Step::Save { key, position } => {
                ready(store.set_notes(vec![(key, Some(position.encode()))])).expect("a disk that works");
                Event::Saved
            }
            Step::Commit { .. } | Step::Send(_) | Step::Wait(_) | Step::End(_) => return None,
        })
    }

    /// What a liar reads from its log.
    fn falsify(&mut self, changes: &mut [Change]) {
        for change in changes.iter_mut().filter(|_| !self.archive.is_empty()) {
            let record = self.archive[self.rng.random_range(0..self.archive.len())].clone();
            change.held.keep_until = UnixSecs(u64::MAX);
            (change.held.record, change.held.from) = (record, None);
        }
    }

    fn check_batch(&mut self, node: usize, terms: &Terms, entries: Vec<Value>) -> Checked {
        let wall = self.wall(node);
        let mut checked = Checked::default();
        for entry in entries {
            match intake::open(terms, &entry) {
                Err(refusal) => checked.refuse(refusal),
                Ok(signed) => {
                    let held = self.held(node, signed.name());
                    checked.alike.extend(alike(terms, &entry, &signed, held.as_ref()));
                    let verdict = intake::triage(terms, signed, &entry, held.as_ref(), wall);
                    if let Some(candidate) = checked.judged(verdict) {
                        match self.verified.believe(candidate, &entry.record) {
                            Ok(believed) => checked.believed(terms, believed),
                            Err(refusal) => checked.refuse(refusal),
                        }
                    }
                }
            }
        }
        checked
    }

    /// Puts what has come due of what was kept aside.
    pub(crate) fn release(&mut self, node: usize) {
        self.nodes[node].releasing = false;
        if !self.nodes[node].up {
            return;
        }
        let (store, agreements) = (self.nodes[node].store.clone(), self.nodes[node].agreements.clone());
        ready(io::deferred::release(&*store, &agreements, self.wall(node))).expect("a disk that works");
        self.tell_heads(node);
        let kept = ready(store.notes(b"deferred/", 1)).expect("a disk that works");
        if !kept.is_empty() {
            self.plan_release(node);
        }
    }

    /// Forgets what may be forgotten, as a provider's upkeep does.
    pub(crate) fn reap(&mut self, node: usize) {
        self.plan(super::REAP_EVERY, Action::Reap(node));
        if self.nodes[node].up {
            self.look_at(node);
            ready(self.nodes[node].store.expire(self.wall(node), usize::MAX)).expect("a disk that works");
        }
    }

    /// Wakes every link of a provider whose log has grown.
    pub(crate) fn tell_heads(&mut self, node: usize) {
        let heads = self.nodes[node].store.heads();
        if std::mem::replace(&mut self.nodes[node].heads, heads) == heads {
            return;
        }
        self.came_in(node);
        let standing: Vec<_> = self.nodes[node].standing.values().map(|(link, end, _)| (*link, *end)).collect();
        for (link, end) in standing {
            self.handle(link, end, Event::Heads(heads));
            self.pump(link, end);
        }
    }
}

/// The pin of a provider's link key.
fn pin(node: usize) -> [u8; 32] {
    let mut pin = [1; 32];
    pin[..8].copy_from_slice(&(node as u64).to_be_bytes());
    pin
}

/// What a dial's first datagram waits before it is sent again: three times the round trip that QUIC begins with.
const FIRST_RESEND: Duration = Duration::from_millis(300);

/// Records remembered as verified: more than any study puts.
const VERIFIED_MAX: usize = 1 << 20;
