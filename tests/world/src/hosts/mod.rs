//! The other simulated world: the real network code of peering (QUIC, TLS, timers, tasks) on simulated hosts, in one thread and from a seed.
//!
//! turmoil gives hosts, their runtimes, virtual time and the ways between them; [`socket`] gives QUIC its datagrams, and loses, repeats,
//! delays and reorders them; [`super::disk`] gives the stores. A host that crashes loses its power: first its disk freezes and its socket
//! falls silent, then its tasks are dropped. In some lives the first hosts are nodes of one provider. Run twice, a seed sends the same datagrams at the same times.

pub mod crypto;
pub mod socket;

use crate::disk::{DiskStore, ready};
use crate::watch::Watch;
use crate::{BEGIN, graph, record, records};
use dialtone_provider::io::clock::Clock;
use dialtone_provider::io::peering::{self, PeeringContext};
use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::position::Position;
use dialtone_provider::store::{Change, Class, Condition, Cursors, Lane, Put, RecordStore};
use dialtone_shared::message::Relationship;
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Name, SecretKey, UnixMicros, UnixSecs, VerifiedRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket::{HostSockets, Wire};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use turmoil::{Builder, Sim};

/// What happens to hosts from outside.
#[derive(Clone, Debug)]
enum Blow {
    Crash(usize, Duration),
    Restart(usize),
    /// Nothing passes from one to another, or it passes again.
    Block(usize, usize, bool),
    /// A clock jumps.
    Step(usize, i64),
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How long after the faults stopped all held the same.
    pub converged: Duration,
    /// How many datagrams were sent, and a digest of when each was, from where to where, and how long it was.
    pub datagrams: u64,
    /// The digest.
    pub trace: [u8; 32],
}

/// One host, as it lives on through its crashes.
struct Host {
    signer: Arc<Signer>,
    agreements: Vec<Agreement>,
    disk: Mutex<Arc<DiskStore>>,
    skew: Arc<AtomicI64>,
    power: socket::Power,
    puts: Vec<(Duration, VerifiedRecord)>,
    seed: u64,
}

impl Host {
    fn disk(&self) -> MutexGuard<'_, Arc<DiskStore>> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of a host: right, but for its skew.
#[derive(Debug)]
struct HostClock(Arc<AtomicI64>);

impl Clock for HostClock {
    fn now(&self) -> UnixMicros {
        wall(turmoil::sim_elapsed().unwrap_or_default(), self.0.load(Ordering::Relaxed))
    }
}

fn wall(elapsed: Duration, skew: i64) -> UnixMicros {
    let right = BEGIN * 1_000_000 + u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    UnixMicros(right.saturating_add_signed(skew * 1_000_000))
}

/// A life of random faults on real network code: 3 or 4 hosts, of as many providers or fewer, which peer in a line, in a ring or with one another.
///
/// # Errors
/// What happened that must never happen, or that not all held the same within a minute after the faults had stopped.
pub fn live(seed: u64) -> Result<Run, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let nodes = rng.random_range(3..=4);
    // So many of the hosts are nodes of the first provider.
    let siblings = if rng.random_bool(0.4) { rng.random_range(2..=nodes) } else { 1 };
    let pairs = [graph::line, graph::ring, graph::mesh][rng.random_range(0..3)](nodes - siblings + 1);
    let wire = Wire::new(
        rng.random(),
        rng.random_range(0.0..0.3),
        rng.random_range(0.0..0.3),
        rng.random_range(0.0..0.3),
    );
    let hosts = hosts(&mut rng, nodes, siblings, &pairs);
    let agreed = |host: &Arc<Host>| {
        let agreements = host.agreements.iter().map(|agreement| (agreement.peer, agreement.clone()));
        (host.signer.name(), Arc::new(agreements.collect::<Agreements>()))
    };
    let watch = Arc::new(Mutex::new(Watch::of(&hosts.iter().map(agreed).collect::<Vec<_>>())));
    let mut sim = Builder::new()
        .rng_seed(rng.random())
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(rng.random_range(5..60)))
        .simulation_duration(Duration::from_secs(3_600))
        .udp_capacity(4_096)
        .build();
    for (index, host) in hosts.iter().enumerate() {
        let (host, watch, wire) = (host.clone(), watch.clone(), wire.clone());
        sim.host(address(index), move || live_at(index, host.clone(), watch.clone(), wire.clone()));
    }
    let mut world = Hosts {
        sim,
        hosts,
        watch,
        agenda: blows(&mut rng, nodes),
        rng,
        acked: BTreeMap::new(),
    };
    world.run(LASTS)?;
    wire.calm();
    for (a, b) in (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))).filter(|(a, b)| a != b) {
        world.sim.repair_oneway(address(a), address(b));
    }
    let stopped = world.sim.elapsed();
    while !world.all_equal() {
        if world.sim.elapsed() - stopped > PATIENCE {
            return Err(format!(
                "not all hold the same {} s after the faults have stopped",
                PATIENCE.as_secs()
            ));
        }
        world.run(Duration::from_millis(250))?;
    }
    let converged = world.sim.elapsed() - stopped;
    world.run(Duration::from_secs(5))?;
    let (datagrams, trace) = wire.trace();
    Ok(Run {
        converged,
        datagrams,
        trace,
    })
}

/// Hosts, the first `siblings` of which are nodes of provider 0; `pairs` are of providers.
fn hosts(rng: &mut StdRng, nodes: usize, siblings: usize, pairs: &[(usize, usize)]) -> Vec<Arc<Host>> {
    let provider = |host: usize| host.saturating_sub(siblings - 1);
    let signers: Vec<Arc<Signer>> = (0..=provider(nodes - 1))
        .map(|_| Arc::new(Signer::of(SecretKey::from_seed(&rng.random()))))
        .collect();
    let endpoints = |of: usize| {
        let hosts = (0..nodes).filter(|host| provider(*host) == of);
        hosts
            .map(|host| SocketAddr::new(address(host), PORT).to_string())
            .collect::<Vec<_>>()
    };
    let mut puts = vec![Vec::new(); nodes];
    for _ in 0..PUTS * nodes {
        let at = Duration::from_micros(rng.random_range(0..LASTS.as_micros() as u64));
        let (name, revoked) = (rng.random_range(0..NAMES), rng.random_bool(0.03));
        puts[rng.random_range(0..nodes)].push((at, record(name, wall(at, 0), &[], revoked)));
        // Now and then a publisher signs twice with one sequence, and puts the two at different providers.
        if rng.random_bool(0.1) {
            puts[rng.random_range(0..nodes)].push((at, records::twin(name, wall(at, 0), rng.random_range(50..60))));
        }
    }
    let mut made = Vec::new();
    for index in 0..nodes {
        let own = provider(index);
        let agreement = |(a, b): &(usize, usize)| {
            let (other, endpoints) = if *a == own { (*b, endpoints(*b)) } else { (*a, Vec::new()) };
            ([*a, *b].contains(&own)).then(|| Agreement::mutual(signers[other].name(), endpoints))
        };
        // One settings file for all nodes: each lists its own address too.
        let sibling = (own == 0 && siblings > 1).then(|| Agreement {
            relationship: Relationship::Sibling,
            ..Agreement::mutual(signers[0].name(), endpoints(0))
        });
        let mut puts = std::mem::take(&mut puts[index]);
        puts.sort_by_key(|(at, _)| *at);
        made.push(Arc::new(Host {
            signer: signers[own].clone(),
            agreements: pairs.iter().filter_map(agreement).chain(sibling).collect(),
            disk: Mutex::new(DiskStore::new(rng.random(), Some(Duration::from_millis(rng.random_range(1..40))))),
            skew: Arc::new(AtomicI64::new(rng.random_range(-250..=250))),
            power: socket::Power::default(),
            puts,
            seed: rng.random(),
        }));
    }
    made
}

/// What runs on a host, from each start to the next crash: peering as it is, and a customer who puts.
async fn live_at(index: usize, host: Arc<Host>, watch: Arc<Mutex<Watch>>, wire: Arc<Wire>) -> turmoil::Result {
    let store = host.disk().clone();
    let clock = Arc::new(HostClock(host.skew.clone()));
    let started = turmoil::sim_elapsed().unwrap_or_default();
    let sockets = HostSockets::new(wire, address(index), host.power.clone(), host.seed ^ started.as_micros() as u64);
    let context = PeeringContext {
        compare_every: Duration::ZERO,
        store: store.clone(),
        signer: host.signer.clone(),
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT),
        addresses: Vec::new(),
        agreements: host.agreements.clone(),
        clock,
        seed: host.seed ^ started.as_micros() as u64,
    };
    let handle = peering::start_on(&sockets, context).await?;
    for (at, record) in host.puts.iter().filter(|(at, _)| *at >= started) {
        tokio::time::sleep(at.saturating_sub(turmoil::sim_elapsed().unwrap_or_default())).await;
        let keep_until = record.record().expiry().unwrap_or(UnixSecs(BEGIN));
        lock(&watch).put(index, record);
        let put = Put {
            record: record.clone(),
            class: Class::Customer,
            keep_until,
            from: None,
            account: None,
            condition: Condition::None,
        };
        if store.put(vec![put]).await.is_ok() {
            lock(&watch).promised(index, record, keep_until);
        }
    }
    std::future::pending::<()>().await;
    drop(handle);
    Ok(())
}

/// What happens from outside, and when.
fn blows(rng: &mut StdRng, nodes: usize) -> BTreeMap<(Duration, usize), Blow> {
    let mut agenda = BTreeMap::new();
    let mut add = |at: Duration, blow| {
        let number = agenda.len();
        agenda.insert((at, number), blow);
    };
    for _ in 0..rng.random_range(6..16) {
        let at = Duration::from_millis(rng.random_range(0..LASTS.as_millis() as u64));
        let until = (at + Duration::from_millis(rng.random_range(100..8_000))).min(LASTS);
        let a = rng.random_range(0..nodes);
        let b = (a + rng.random_range(1..nodes)) % nodes;
        match rng.random_range(0..6) {
            0..3 => add(at, Blow::Crash(a, Duration::from_millis(rng.random_range(10..3_000)))),
            3 => {
                add(at, Blow::Block(a, b, true));
                add(until, Blow::Block(a, b, false));
            }
            4 => {
                for other in (0..nodes).filter(|other| *other != a) {
                    for (from, to) in [(a, other), (other, a)] {
                        add(at, Blow::Block(from, to, true));
                        add(until, Blow::Block(from, to, false));
                    }
                }
            }
            _ => add(at, Blow::Step(a, rng.random_range(-280..=280))),
        }
    }
    agenda
}

struct Hosts<'a> {
    sim: Sim<'a>,
    hosts: Vec<Arc<Host>>,
    watch: Arc<Mutex<Watch>>,
    agenda: BTreeMap<(Duration, usize), Blow>,
    rng: StdRng,
    /// How far each has noted that each other one has acknowledged its log.
    acked: BTreeMap<(usize, usize), Cursors>,
}

impl Hosts<'_> {
    fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.sim.elapsed()) {
                let blow = entry.remove();
                self.strike(&blow);
            }
            self.sim.step().map_err(|error| format!("a host failed: {error}"))?;
            self.witness()?;
            if self.sim.elapsed().as_millis().is_multiple_of(LOOK_EVERY.as_millis()) {
                self.look()?;
            }
        }
        self.look()
    }

    fn strike(&mut self, blow: &Blow) {
        match *blow {
            Blow::Crash(node, pause) => {
                if !self.sim.is_host_running(address(node)) {
                    return;
                }
                let host = self.hosts[node].clone();
                let kept = host.disk().power_cut(&mut self.rng);
                *host.disk() = kept;
                host.power.cut();
                self.sim.crash(address(node));
                let number = self.agenda.len() + 1_000_000;
                self.agenda.insert((self.sim.elapsed() + pause, number), Blow::Restart(node));
            }
            Blow::Restart(node) => {
                self.hosts[node].power.on();
                self.sim.bounce(address(node));
            }
            Blow::Block(a, b, true) => self.sim.partition_oneway(address(a), address(b)),
            Blow::Block(a, b, false) => self.sim.repair_oneway(address(a), address(b)),
            Blow::Step(node, skew) => self.hosts[node].skew.store(skew, Ordering::Relaxed),
        }
    }

    /// What a host has noted that a peer acknowledged, that peer holds. (Links are encrypted: no acknowledgement is seen on its way.)
    fn witness(&mut self) -> Result<(), String> {
        for (a, b) in (0..self.hosts.len()).flat_map(|a| (0..self.hosts.len()).map(move |b| (a, b))) {
            let [from, to] = [a, b].map(|host| self.hosts[host].disk().clone());
            let noted = ready(from.note(&Position::key(&self.hosts[b].signer.name(), &to.id(), &from.id())));
            let Ok(Some(noted)) = noted else { continue };
            let acked = Position::decode(&noted).map_err(|error| error.to_string())?.acked;
            let seen = self.acked.insert((a, b), acked).unwrap_or_default();
            // What is kept aside is acknowledged too, and held later.
            let aside = ready(to.notes(b"deferred/", 1)).map_err(|error| error.to_string())?;
            if acked == seen || !aside.is_empty() {
                continue;
            }
            // What came from another node of that provider is not sent back to any: they see to it themselves.
            let theirs = self.hosts[b].signer.name();
            let alone = self.hosts.iter().filter(|host| host.signer.name() == theirs).count() == 1;
            let sent = |change: &Change| alone || change.held.from != Some(theirs);
            let mut watch = lock(&self.watch);
            for lane in [Lane::Urgent, Lane::Ordinary] {
                let (seen, acked) = (seen[lane as usize], acked[lane as usize]);
                let changes = ready(from.changes(lane, seen, usize::MAX)).map_err(|error| error.to_string())?;
                for change in changes.iter().filter(|change| change.cursor <= acked && sent(change)) {
                    watch.promised(b, &change.held.record, change.held.keep_until);
                }
            }
            watch.store(b, &*to, wall(self.sim.elapsed(), self.hosts[b].skew.load(Ordering::Relaxed)).secs());
            watch.verdict()?;
        }
        Ok(())
    }

    /// Looks at every store.
    fn look(&mut self) -> Result<(), String> {
        let mut watch = lock(&self.watch);
        for (index, host) in self.hosts.iter().enumerate() {
            let now = wall(self.sim.elapsed(), host.skew.load(Ordering::Relaxed)).secs();
            watch.store(index, &**host.disk(), now);
        }
        watch.verdict()
    }

    fn all_equal(&self) -> bool {
        let held = |host: &Arc<Host>| -> BTreeMap<Name, [u8; 32]> {
            let held = ready(host.disk().scan(None, usize::MAX)).unwrap_or_default();
            held.into_iter()
                .map(|held| (*held.record.name(), held.record.rank().digest))
                .collect()
        };
        let first = held(&self.hosts[0]);
        self.hosts.iter().all(|host| held(host) == first) && !self.agenda.values().any(|blow| matches!(blow, Blow::Restart(_)))
    }
}

fn lock(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a host is.
fn address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 168, 7, u8::try_from(index + 1).unwrap_or(u8::MAX)))
}

/// Where providers listen.
const PORT: u16 = 4_453;

/// How finely time passes: timers in here are of tens of milliseconds and more.
const TICK: Duration = Duration::from_millis(2);

/// How often the stores are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long faults last.
const LASTS: Duration = Duration::from_secs(20);

/// How long after the last fault all must be well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names that are put.
const NAMES: u32 = 240;

/// Puts at each host.
const PUTS: usize = 60;
