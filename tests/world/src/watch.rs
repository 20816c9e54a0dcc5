//! What must never happen, whatever the network and the providers do: looked for in every frame that is sent and every store.
//!
//! - What was acknowledged, to a customer or to a peer, is there after every crash, until it may be forgotten.
//! - No provider goes back behind what it has acknowledged or held: neither to an older record of a name, nor to a stolen epoch, nor
//!   after the name was forgotten.
//! - No record leaves its scope, or goes where no chain of agreements from the provider where it was put leads without a valley.
//! - No tag leads to a record whose key has another, nor to a revocation, nor for a client to less than its provider holds.
//!
//! All of it is worked out here from the agreements and the records alone; nothing is asked of the code that is watched.

use super::Node;
use super::disk::ready;
use super::wire::Link;
use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::session::Session;
use dialtone_provider::store::{Class, RecordStore};
use dialtone_shared::hip::Hit;
use dialtone_shared::message::{Ack, Entry, Message, Mode, Pointer, Relationship, Value};
use dialtone_shared::{Name, SignedRecord, UnixSecs, VerifiedRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What is remembered for that.
pub struct Watch {
    own: Vec<Name>,
    agreements: Vec<BTreeMap<usize, Agreement>>,
    floors: Vec<BTreeMap<Name, Floor>>,
    /// The latest that each provider's clock has said.
    latest: Vec<UnixSecs>,
    /// Where each name was put.
    origins: BTreeMap<Name, BTreeSet<usize>>,
    /// For a provider where something was put: who may learn it, and as what.
    reaches: BTreeMap<usize, Vec<BTreeSet<Class>>>,
    /// What an end of a link was sent and has not acknowledged: lane, position, and the records.
    owed: BTreeMap<(usize, usize), Vec<Owed>>,
    broken: Option<String>,
}

/// What a provider may not fall behind.
#[derive(Clone, Debug)]
struct Floor {
    record: VerifiedRecord,
    keep_until: UnixSecs,
}

/// A batch that was sent: lane, position, each record with the time until which its sender keeps it, and what it offers.
struct Owed {
    lane: u8,
    cursor: u64,
    records: Vec<(VerifiedRecord, UnixSecs)>,
    /// What was only pointed to, and not as kept by another: offers, where values are agreed.
    offers: Vec<Pointer>,
}

impl Floor {
    /// When it may be forgotten, and whether a lease is what ends: then an older record with a longer one may follow.
    fn forget_at(&self) -> (Option<UnixSecs>, bool) {
        let record = self.record.record();
        match record.expiry() {
            Some(expiry) if self.keep_until < expiry => (Some(self.keep_until), true),
            Some(_) => (Some(record.sequence.secs().plus(400 * 86_400)), false),
            None => (None, false),
        }
    }
}

impl Watch {
    /// Of these providers: their names and agreements.
    pub fn of(nodes: &[(Name, Arc<Agreements>)]) -> Self {
        // An agreement is with a name, and so with each of its nodes.
        let agreed = |own: usize, other: usize| Some((other, nodes[own].1.get(&nodes[other].0).filter(|_| own != other)?.clone()));
        let by_number = |own| (0..nodes.len()).filter_map(|other| agreed(own, other)).collect();
        Self {
            agreements: (0..nodes.len()).map(by_number).collect(),
            floors: vec![BTreeMap::new(); nodes.len()],
            latest: vec![UnixSecs(0); nodes.len()],
            own: nodes.iter().map(|(name, _)| *name).collect(),
            origins: BTreeMap::new(),
            reaches: BTreeMap::new(),
            owed: BTreeMap::new(),
            broken: None,
        }
    }

    /// What has been seen so far.
    ///
    /// # Errors
    /// What must never happen and did: the first of it.
    pub fn verdict(&self) -> Result<(), String> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Something is about to be put.
    pub fn put(&mut self, node: usize, record: &VerifiedRecord) {
        self.origins.entry(*record.name()).or_default().insert(node);
    }

    /// A provider has acknowledged a record: from now on it holds this or better, until it may forget it.
    pub fn promised(&mut self, node: usize, record: &VerifiedRecord, keep_until: UnixSecs) {
        let keep_until = record.record().expiry().map_or(keep_until, |expiry| keep_until.min(expiry));
        let floor = Floor {
            record: record.clone(),
            keep_until,
        };
        match self.floors[node].get_mut(record.name()) {
            None => drop(self.floors[node].insert(*record.name(), floor)),
            Some(old) if record.outranks(&old.record) => *old = floor,
            Some(old) if record == &old.record => old.keep_until = old.keep_until.max(keep_until),
            Some(_) => {}
        }
    }

    /// A provider has lost its store: nothing is expected of it any more.
    pub(crate) fn lost(&mut self, node: usize) {
        self.floors[node].clear();
    }

    /// Looks at what a provider holds.
    pub fn store(&mut self, node: usize, store: &dyn RecordStore, wall: UnixSecs) {
        self.latest[node] = self.latest[node].max(wall);
        let held = ready(store.scan(None, usize::MAX)).expect("a disk that works");
        let held: BTreeMap<Name, _> = held.into_iter().map(|held| (*held.record.name(), held)).collect();
        for (name, floor) in &self.floors[node] {
            let (forget_at, lease) = floor.forget_at();
            let forgotten = forget_at.is_some_and(|at| at <= self.latest[node]);
            let wrong = match held.get(name) {
                None if !forgotten => "has lost",
                Some(held) if floor.record.outranks(&held.record) && !(forgotten && lease) => "has gone back behind",
                _ => continue,
            };
            let (rank, now) = (floor.record.rank(), held.get(name).map(|held| held.record.rank().to_string()));
            return self.breaks(format!(
                "provider {node} {wrong} {rank} of {name}, which it had acknowledged; it holds {now:?}"
            ));
        }
        for (name, held) in held {
            if !held.record.record().in_scope(&self.own[node]) {
                return self.breaks(format!("provider {node} holds {name}, which is not for it by its scope"));
            }
            if !self.ways(&name).iter().any(|reach| !reach[node].is_empty()) {
                return self.breaks(format!("provider {node} holds {name}, to which no agreements lead"));
            }
            self.promised(node, &held.record, held.keep_until);
        }
    }

    /// Looks at a frame: `at` is the link and the end that sends.
    pub(crate) fn sent(&mut self, link: &mut Link, at: (usize, usize), message: &Message, nodes: &[Node], now: Duration) {
        let [from, to] = [link.nodes[at.1], link.nodes[1 - at.1]];
        match message {
            Message::Batch(batch) => {
                let (mut records, mut offers) = (Vec::new(), Vec::new());
                let offering = batch.lane == 1 && link.ends[at.1].as_ref().is_some_and(Session::only_offers);
                for entry in &batch.entries {
                    let value = match entry {
                        Entry::Value(value) => value,
                        Entry::Pointer(pointer) => {
                            offers.extend(offering.then(|| pointer.clone()));
                            continue;
                        }
                        Entry::Mention(_) => continue,
                    };
                    let signed = SignedRecord::decode(value.record.clone()).expect("a record");
                    let record = VerifiedRecord::reopen(value.record.clone(), &signed.rank().digest).expect("the same");
                    *link.sent[at.1].entry((*record.name(), record.rank().digest)).or_default() += 1;
                    if !nodes[from].liar {
                        self.passes(from, to, &record, &nodes[to].name);
                    }
                    records.push((record, value.keep_until));
                }
                let (lane, cursor) = (batch.lane, batch.cursor);
                let owed = self.owed.entry((at.0, 1 - at.1)).or_default();
                owed.push(Owed {
                    lane,
                    cursor,
                    records,
                    offers,
                });
            }
            Message::Ack(ack) if !nodes[from].liar => {
                // Where less than values was agreed meanwhile, what was offered is a pointer like others, and may have been forgotten with them.
                let pushed = link.ends[at.1].as_ref().and_then(Session::theirs).map(|theirs| theirs.pushes);
                let accepted = nodes[from].agreements.get(&nodes[to].name).map(|agreement| agreement.accept);
                let by_value = [pushed, accepted] == [Some(Mode::Values); 2];
                self.acknowledged(at, (from, by_value), ack, &*nodes[from].store, nodes[from].wall(now));
            }
            _ => {}
        }
    }

    /// A provider answers another's question with a record.
    pub(crate) fn told(&mut self, from: usize, to: usize, value: &Value) {
        let signed = SignedRecord::decode(value.record.clone()).expect("a record");
        let record = VerifiedRecord::reopen(value.record.clone(), &signed.rank().digest).expect("the same");
        let receiver = self.own[to];
        self.passes(from, to, &record, &receiver);
    }

    /// A provider answers whoever asked for a tag with a record; `held`: what it holds of that name, where a client asked.
    pub(crate) fn tagged(&mut self, node: usize, tag: &Hit, record: &VerifiedRecord, held: Option<&VerifiedRecord>) {
        let (name, rank) = (record.name(), record.rank());
        let carries = record.record().signing_key().is_ok_and(|key| Hit::of(&key) == *tag);
        let wrong = match held {
            _ if !carries => "whose key has another",
            _ if rank.revoked => "which is a revocation",
            Some(held) if held.outranks(record) => "behind what it holds itself",
            _ => return,
        };
        self.breaks(format!(
            "provider {node} answers who asks for the tag {tag} with {rank} of {name}, {wrong}"
        ));
    }

    /// An end of a link is gone, and acknowledges nothing more.
    pub(crate) fn ended(&mut self, at: (usize, usize)) {
        self.owed.remove(&at);
    }

    fn passes(&mut self, from: usize, to: usize, record: &VerifiedRecord, receiver: &Name) {
        let name = record.name();
        if !record.record().in_scope(receiver) {
            return self.breaks(format!("provider {from} sends {name} to {to}, which is not for it by its scope"));
        }
        let Some(agreement) = self.agreements[from].get(&to) else {
            return self.breaks(format!("provider {from} sends {name} to {to} without an agreement"));
        };
        let (relationship, filter) = (agreement.relationship, agreement.filter.clone());
        let only: Vec<_> = filter.only().collect();
        if (!only.is_empty() && !only.contains(&name)) || filter.except().any(|other| other == name) {
            return self.breaks(format!("provider {from} sends {name} to {to}, which the agreement excepts"));
        }
        let may = |class: &Class| exports(relationship, *class);
        if !self.ways(name).iter().any(|reach| reach[from].iter().any(may)) {
            self.breaks(format!(
                "provider {from} sends {name} to {to}, its {relationship}, through a valley"
            ));
        }
    }

    /// What an acknowledgement covers is durable, as far as it was taken at all. `by_value`: values are agreed.
    fn acknowledged(&mut self, at: (usize, usize), (node, by_value): (usize, bool), ack: &Ack, store: &dyn RecordStore, wall: UnixSecs) {
        let owed = self.owed.entry(at).or_default();
        let (covered, rest): (Vec<_>, Vec<_>) = owed.drain(..).partition(|owed| owed.lane == ack.lane && owed.cursor <= ack.cursor);
        *owed = rest;
        // Which were not taken is not said: then none of these is counted on.
        if ack.counts.refused + ack.counts.limited + ack.counts.deferred > 0 {
            return;
        }
        let past = wall.max(self.latest[node]);
        for offer in covered
            .iter()
            .filter(|_| by_value)
            .flat_map(|owed| &owed.offers)
            .filter(|offer| !ack.wants.contains(&offer.name))
        {
            let held = ready(store.get(&offer.name)).expect("a disk that works");
            let holds = held.is_some_and(|held| held.record.rank().order() >= (offer.epoch, false, offer.sequence));
            let noted = || ready(store.pointer(&offer.name)).expect("a disk that works").is_some();
            let lapsed = offer.keep_until.min(offer.expiry) <= past;
            if !holds && !lapsed && !noted() {
                let name = offer.name;
                self.breaks(format!(
                    "provider {node} acknowledged an offer of {name}, which it neither holds nor asked for"
                ));
            }
        }
        for (record, keep_until) in covered.into_iter().flat_map(|owed| owed.records) {
            let keep_until = record.record().expiry().map_or(keep_until, |expiry| keep_until.min(expiry));
            let floor = Floor { record, keep_until };
            if floor.forget_at().0.is_none_or(|at| at > wall.max(self.latest[node])) {
                self.promised(node, &floor.record, keep_until);
            }
        }
    }

    /// Who may learn what is put at a provider, and as what, for each provider where this name was put.
    fn ways(&mut self, name: &Name) -> Vec<&Vec<BTreeSet<Class>>> {
        let origins = self.origins.get(name).cloned().unwrap_or_default();
        for origin in &origins {
            let reach = || reach(&self.agreements, *origin, |_| true);
            self.reaches.entry(*origin).or_insert_with(reach);
        }
        origins.iter().map(|origin| &self.reaches[origin]).collect()
    }

    /// Who may learn this record once it is put at a provider.
    pub fn receivers(&self, origin: usize, record: &VerifiedRecord) -> BTreeSet<usize> {
        let reach = reach(&self.agreements, origin, |node| record.record().in_scope(&self.own[node]));
        (0..reach.len()).filter(|node| !reach[*node].is_empty()).collect()
    }

    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }
}

/// As what each provider may learn of what is put at `origin`, along providers that are `inside`.
fn reach(agreements: &[BTreeMap<usize, Agreement>], origin: usize, inside: impl Fn(usize) -> bool) -> Vec<BTreeSet<Class>> {
    let mut reach = vec![BTreeSet::new(); agreements.len()];
    let mut todo = vec![(origin, Class::Customer)];
    while let Some((node, class)) = todo.pop() {
        if !inside(node) || !reach[node].insert(class) {
            continue;
        }
        for (peer, agreement) in &agreements[node] {
            if exports(agreement.relationship, class) {
                todo.push((*peer, learnt_from(agreements[*peer][&node].relationship, class)));
            }
        }
    }
    reach
}

/// The rule of routes without valleys: what is learnt from customers goes to all, the rest to customers; mutual peers and siblings get all.
fn exports(to: Relationship, class: Class) -> bool {
    matches!(to, Relationship::Mutual | Relationship::Customer | Relationship::Sibling) || class == Class::Customer
}

fn learnt_from(whom: Relationship, class: Class) -> Class {
    match whom {
        Relationship::Customer => Class::Customer,
        Relationship::Mutual | Relationship::Peer => Class::Peer,
        Relationship::Upstream => Class::Upstream,
        Relationship::Sibling => class,
    }
}
