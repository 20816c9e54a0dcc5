//! A simulated world: any number of providers, the real sessions and diallers between them, virtual time, and faults.
//!
//! Frames keep their order on a link and may be overtaken on another; loss shows as delay, since links are reliable streams (what loss,
//! repetition and disorder of datagrams do to the real network code is the other half of this crate's tests). A link breaks at any
//! moment, and what was under way on it is lost; so whatever was sent and not acknowledged is sent again on the next one. A provider
//! crashes at any moment: what its disk had synced stays, of what it had written a part may. Clocks are wrong, and step. Everything is
//! drawn from one seed, and every frame and store is watched for what must never happen: see [`watch`].
//!
//! In the order in which things happen:
//!
//! 1. [`graph`], [`records`]: who peers with whom, and what is put;
//! 2. [`World`]: the agenda, and what a test can do;
//! 3. `drive`: does what the sessions want;
//! 4. [`wire`]: what becomes of a frame, and of a link;
//! 5. [`disk`]: what becomes of a write;
//! 6. [`compare`]: two stores compared;
//! 7. [`watch`]: what must never happen;
//! 8. [`story`]: a whole life of random faults, from a seed;
//! 9. [`seeds`]: which seeds, and the line that runs one again;
//! 10. [`modes`]: what differs from link to link;
//! 11. [`gets`]: what is asked for, and `questions`: what providers ask each other for it;
//! 12. `tags`: searches for whoever has a tag, and [`tag_story`], a life of them;
//! 13. [`parted`]: two that are cut apart and meet again;
//! 14. [`hosts`]: another simulated world, of the real network code.

pub mod compare;
pub mod disk;
mod drive;
pub mod gets;
pub mod graph;
pub mod hosts;
pub mod modes;
pub mod parted;
mod questions;
pub mod records;
pub mod seeds;
pub mod story;
pub mod tag_story;
mod tags;
pub mod watch;
pub mod wire;

pub use compare::Compared;
pub use disk::{DiskStore, ready};
pub use records::{record, twin};
pub use wire::{Link, Network};

use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::dial::{Dialler, Which};
use dialtone_provider::peering::feed::Comparison;
use dialtone_provider::peering::health::Progress;
use dialtone_provider::peering::limits::DEFERRED_EVERY;
use dialtone_provider::peering::paths::Paths;
use dialtone_provider::peering::quota::Quotas;
use dialtone_provider::peering::step::{Event, Moment};
use dialtone_provider::peering::tree::Branches;
use dialtone_provider::store::{Class, Condition, Cursors, Held, LANES, Put, RecordStore};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Name, SecretKey, UnixMicros, UnixSecs, VerifiedRecord};
use drive::Job;
use gets::{Asker, Errand, Gets};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

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
    /// Comparisons made so far.
    pub comparisons: Vec<Compared>,
    /// Whether links break by themselves.
    pub faulty: bool,
    /// What the network does to frames.
    pub network: Network,
    /// How many things have happened.
    pub events: u64,
    /// What liars send instead of what they hold.
    pub archive: Vec<VerifiedRecord>,
    /// Gets, and what they came to.
    pub gets: Gets,
    verified: drive::Verified,
    watch: Option<Watch>,
}

/// A provider.
pub struct Node {
    /// Its keys.
    pub signer: Signer,
    /// Its name.
    pub name: Name,
    /// Where it keeps records.
    pub store: Arc<DiskStore>,
    /// With whom it peers.
    pub agreements: Arc<Agreements>,
    /// What its peers have brought.
    pub quotas: Arc<Quotas>,
    /// By whom what it holds came; gone when it dies.
    pub paths: Arc<Paths>,
    /// What its peers say of where they stand in the tree that records take.
    pub(crate) branches: Arc<Branches>,
    /// Seconds by which its clock is wrong.
    pub skew: i64,
    /// Whether it runs.
    pub up: bool,
    /// Reads nothing from its links.
    pub deaf: bool,
    /// Sends whatever is in the world's archive, valid or long past, in the place of what it holds.
    pub liar: bool,
    boot: [u8; 16],
    diallers: BTreeMap<usize, Dialler>,
    /// Whom it is about to dial.
    dialling: BTreeSet<usize>,
    standing: BTreeMap<Name, (usize, usize, Which)>,
    /// The links of which it has an end.
    live: BTreeSet<usize>,
    heads: Cursors,
    asker: Asker,
    turn: Option<compare::Turn>,
    /// Whether records kept aside are about to be looked through.
    releasing: bool,
}

impl Node {
    fn wall(&self, now: Duration) -> UnixSecs {
        UnixSecs((BEGIN + now.as_secs()).saturating_add_signed(self.skew))
    }
}

enum Action {
    /// A provider dials another; since when it tries, and how often it has (`None`: it does not yet).
    Dial(usize, usize, Option<(Duration, u32)>),
    Arrive(usize, usize, Box<Event>),
    Finish(usize, usize, Job),
    Wake(usize, usize),
    Compare(usize, usize, Duration),
    Compared(usize, usize, Option<(Comparison, u64)>),
    Release(usize),
    Reap(usize),
    Restart(usize),
    /// An end of a link would have to hear something by now.
    Listen(usize, usize, Duration),
    Errand(Errand),
}

impl World {
    /// Providers that peer along `pairs`: the first of each pair dials, and by chance the second does too.
    pub fn new(seed: u64, nodes: usize, pairs: &[(usize, usize)]) -> Self {
        Self::with_terms(seed, nodes, pairs, |_, _, _| {})
    }

    /// The same, with what `terms` makes of each agreement: of the first provider with the second.
    pub fn with_terms(seed: u64, nodes: usize, pairs: &[(usize, usize)], terms: impl Fn(usize, usize, &mut Agreement)) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let signers: Vec<Signer> = (0..nodes).map(|_| Signer::of(SecretKey::from_seed(&rng.random()))).collect();
        let mut agreements = vec![Agreements::new(); nodes];
        let mut dials = vec![BTreeSet::new(); nodes];
        for (a, b) in pairs {
            dials[*a].insert(*b);
            if rng.random_bool(0.5) {
                dials[*b].insert(*a);
            }
            for (own, other) in [(*a, *b), (*b, *a)] {
                let mut agreement = Agreement::mutual(signers[other].name(), Vec::new());
                terms(own, other, &mut agreement);
                agreements[own].insert(agreement.peer, agreement);
            }
        }
        let mut world = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            links: Vec::new(),
            agenda: BTreeMap::new(),
            next: 0,
            bandwidth: 10_000_000,
            faulty: false,
            comparisons: Vec::new(),
            network: Network::default(),
            events: 0,
            archive: Vec::new(),
            gets: Gets::default(),
            verified: drive::Verified::default(),
            watch: None,
            rng,
        };
        for (index, ((signer, agreements), dials)) in signers.into_iter().zip(agreements).zip(dials).enumerate() {
            let diallers: BTreeMap<_, _> = dials
                .iter()
                .map(|other| (*other, Dialler::new(world.rng.random(), Duration::ZERO)))
                .collect();
            for other in &dials {
                world.plan(Duration::ZERO, Action::Dial(index, *other, None));
            }
            world.plan(REAP_EVERY, Action::Reap(index));
            world.nodes.push(Node {
                name: signer.name(),
                store: DiskStore::new(world.rng.random(), None),
                asker: Asker::new(signer.name(), &agreements),
                signer,
                agreements: Arc::new(agreements),
                quotas: Quotas::of_nothing(),
                paths: Arc::default(),
                branches: Arc::default(),
                skew: 0,
                up: true,
                deaf: false,
                liar: false,
                boot: world.rng.random(),
                diallers,
                dialling: dials,
                standing: BTreeMap::new(),
                live: BTreeSet::new(),
                heads: [0; LANES],
                turn: None,
                releasing: false,
            });
        }
        let agreed = world.nodes.iter().map(|node| (node.name, node.agreements.clone()));
        world.watch = Some(Watch::of(&agreed.collect::<Vec<_>>()));
        world
    }

    /// Without the watch over every frame and every store, whose memory grows with providers times names.
    pub fn unwatched(mut self) -> Self {
        self.watch = None;
        self
    }

    /// What a provider's clock says.
    pub fn wall(&self, node: usize) -> UnixSecs {
        self.nodes[node].wall(self.now)
    }

    /// What the time is: publishers' clocks are right.
    pub fn time(&self) -> UnixMicros {
        UnixMicros(BEGIN * 1_000_000 + self.now.as_micros() as u64)
    }

    fn moment(&self, node: usize) -> Moment {
        Moment {
            wall: self.wall(node),
            elapsed: self.now,
        }
    }

    /// Lets `time` go by.
    ///
    /// # Panics
    /// Something happened that must never happen.
    pub fn run(&mut self, time: Duration) {
        self.try_run(time).unwrap_or_else(|broken| panic!("{broken}"));
    }

    /// The same; the error is what must never happen.
    ///
    /// # Errors
    /// What the watch saw.
    pub fn try_run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            self.now = at;
            let action = entry.remove();
            self.events += 1;
            self.act(action);
        }
        self.now = end;
        self.watch.as_ref().map_or(Ok(()), Watch::verdict)
    }

    /// Looks at every store for what must never be.
    ///
    /// # Errors
    /// What must never happen, now or since the world began.
    pub fn check(&mut self) -> Result<(), String> {
        for node in 0..self.nodes.len() {
            self.look_at(node);
        }
        self.watch.as_ref().map_or(Ok(()), Watch::verdict)
    }

    fn look_at(&mut self, node: usize) {
        let (wall, state) = (self.wall(node), &self.nodes[node]);
        if let Some(watch) = self.watch.as_mut().filter(|_| state.up && !state.liar) {
            watch.store(node, &*state.store, wall);
        }
    }

    /// Puts as a customer would.
    pub fn put(&mut self, node: usize, record: VerifiedRecord, keep_until: UnixSecs) {
        if let Some(watch) = &mut self.watch {
            watch.put(node, &record);
        }
        let put = Put {
            record,
            class: Class::Customer,
            keep_until,
            from: None,
            account: None,
            condition: Condition::None,
        };
        ready(self.nodes[node].store.put(vec![put.clone()])).expect("a disk that works");
        if let Some(watch) = &mut self.watch {
            watch.promised(node, &put.record, keep_until);
        }
        self.tell_heads(node);
    }

    /// Puts as a customer would, many at once.
    pub fn put_all(&mut self, node: usize, records: Vec<VerifiedRecord>) {
        for record in records {
            let keep_until = record.record().expiry().unwrap_or(UnixSecs(BEGIN));
            self.put(node, record, keep_until);
        }
    }

    /// Gives a provider records that came from nowhere: no watch knows who may have them.
    pub fn fill(&mut self, node: usize, records: &[VerifiedRecord]) {
        let put = |record: &VerifiedRecord| Put {
            record: record.clone(),
            class: Class::Customer,
            keep_until: record.record().expiry().unwrap_or(UnixSecs(BEGIN)),
            from: None,
            account: None,
            condition: Condition::None,
        };
        for batch in records.chunks(1_000) {
            ready(self.nodes[node].store.put(batch.iter().map(put).collect())).expect("a disk that works");
        }
        self.tell_heads(node);
    }

    /// What a provider holds of a name.
    pub fn held(&self, node: usize, name: &Name) -> Option<Held> {
        ready(self.nodes[node].store.get(name)).expect("a disk that works")
    }

    /// What must be the same everywhere: names, the bytes of their records, and until which day they are kept.
    pub fn map(&self, node: usize) -> BTreeMap<Name, ([u8; 32], u64)> {
        let held = ready(self.nodes[node].store.scan(None, usize::MAX)).expect("a disk that works");
        held.into_iter()
            .map(|held| (*held.record.name(), (held.record.rank().digest, held.keep_until.day())))
            .collect()
    }

    /// Whether all providers hold the same.
    pub fn all_equal(&self) -> bool {
        let first = self.map(0);
        (1..self.nodes.len()).all(|node| self.map(node) == first)
    }

    /// How many providers hold this very record.
    pub fn holders(&self, record: &VerifiedRecord) -> usize {
        let holds = |node: &usize| self.held(*node, record.name()).is_some_and(|held| held.record == *record);
        (0..self.nodes.len()).filter(holds).count()
    }

    /// Records sent over all links so far.
    pub fn records_sent(&self) -> u64 {
        self.sum(|progress| progress.records_sent)
    }

    /// Pointers sent over all links so far, those that are offers among them.
    pub fn pointers_sent(&self) -> u64 {
        self.sum(|progress| progress.pointers_sent)
    }

    /// Records that have arrived over all links so far.
    pub fn records_received(&self) -> u64 {
        self.sum(|progress| progress.records_received)
    }

    /// Bytes of frames sent over all links so far.
    pub fn bytes_sent(&self) -> u64 {
        self.sum(|progress| progress.bytes_sent)
    }

    fn sum(&self, of: impl Fn(&Progress) -> u64) -> u64 {
        let ends = self.links.iter().flat_map(|link| [link.progress(0), link.progress(1)]);
        ends.map(|progress| of(&progress)).sum()
    }

    /// How many pairs of providers have a link on which changes pass.
    pub fn standing(&self) -> usize {
        self.nodes.iter().map(|node| node.standing.len()).sum::<usize>() / 2
    }

    /// A provider dies at once and comes back after a while: with what its disk kept (`keep`), or with an empty store.
    pub fn crash(&mut self, node: usize, keep: bool) {
        if !self.nodes[node].up {
            return;
        }
        // First of all the disk: nothing that dies may still reach it.
        let kept = self.nodes[node].store.power_cut(&mut self.rng);
        let (boot, id) = (self.rng.random(), self.rng.random());
        let state = &mut self.nodes[node];
        (state.up, state.boot, state.store) = (false, boot, kept);
        state.paths = Arc::default();
        state.branches = Arc::default();
        state.standing.clear();
        state.asker = Asker::new(state.name, &state.agreements);
        if !keep {
            state.quotas = Quotas::of_nothing();
            state.store = DiskStore::new(id, None);
            state.heads = [0; LANES];
        }
        if let Some(watch) = self.watch.as_mut().filter(|_| !keep) {
            watch.lost(node);
        }
        for link in std::mem::take(&mut self.nodes[node].live) {
            self.silence(link, node);
        }
        let later = self.draw(10, 3_000);
        self.plan(later, Action::Restart(node));
    }

    /// A copy of a provider's store, as a copy of its files would be.
    pub fn copy_of_store(&self, node: usize) -> Arc<DiskStore> {
        self.nodes[node].store.copy()
    }

    /// A provider dies, and comes back with an older copy of its store.
    pub fn roll_back(&mut self, node: usize, copy: Arc<DiskStore>) {
        self.crash(node, true);
        let heads = *copy.watch().borrow();
        self.nodes[node].store = copy;
        self.nodes[node].heads = heads;
    }

    /// A provider's clock jumps.
    pub fn step_clock(&mut self, node: usize, skew: i64) {
        // What is forgotten by the clock that was is forgotten.
        self.look_at(node);
        self.nodes[node].skew = skew;
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
            Action::Dial(node, peer, attempt) => self.dial(node, peer, attempt),
            Action::Arrive(link, end, event) => {
                self.links[link].waiting[end].push_back(*event);
                self.pump(link, end);
            }
            Action::Finish(link, end, job) => self.finished(link, end, job),
            Action::Compare(link, end, since) => self.compare(link, end, since),
            Action::Compared(link, end, comparison) => self.tell(link, end, comparison),
            Action::Wake(link, end) => {
                self.links[link].woken[end] = None;
                self.handle(link, end, Event::Tick);
                self.pump(link, end);
            }
            Action::Release(node) => self.release(node),
            Action::Reap(node) => self.reap(node),
            Action::Restart(node) => {
                self.nodes[node].up = true;
                self.look_at(node);
                self.plan_release(node);
                for peer in self.nodes[node].diallers.keys().copied().collect::<Vec<_>>() {
                    self.plan_dial(node, peer);
                }
            }
            Action::Listen(link, end, since) => self.listen(link, end, since),
            Action::Errand(errand) => self.errand(errand),
        }
    }

    /// Records from the future are looked through as often as a provider does it, as long as there are any.
    fn plan_release(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].releasing, true) {
            self.plan(DEFERRED_EVERY, Action::Release(node));
        }
    }
}

/// How often what may be forgotten is.
const REAP_EVERY: Duration = Duration::from_secs(3_600);
