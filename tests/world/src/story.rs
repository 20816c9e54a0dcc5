//! A whole life of random faults, drawn from a seed: what happens is written down first and then played, so that it can be read and cut.

use super::records::{record, rotating, twin};
use super::{BEGIN, World, graph};
use dialtone_shared::message::Relationship;
use dialtone_shared::{Name, UnixMicros, UnixSecs, VerifiedRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// What happens from outside.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A customer puts a record of a name.
    Put {
        /// Which name.
        name: u32,
        /// Where.
        node: usize,
        /// How long it is to be kept, in days.
        days: u64,
        /// Another record of the same name and sequence, and where it is put.
        twin: Option<(usize, u32)>,
        /// Whether it ends the name.
        revoked: bool,
    },
    /// A provider loses its power, and comes back with what its disk kept.
    Crash(usize),
    /// A link that stands breaks.
    Cut(usize),
    /// Nothing passes in one direction, or it passes again.
    Block(usize, usize, bool),
    /// Nothing passes in either direction, or it passes again.
    Part(usize, usize, bool),
    /// A clock jumps, to so many seconds beside the right time.
    Step(usize, i64),
    /// A provider stops reading, or goes on.
    Deaf(usize, bool),
}

/// The script of a life.
#[derive(Clone, Debug)]
pub struct Script {
    /// The seed.
    pub seed: u64,
    /// How many providers.
    pub nodes: usize,
    /// Who peers with whom, and what the second is to the first.
    pub pairs: Vec<(usize, usize, Relationship)>,
    /// Names that only some providers may hold.
    pub scoped: BTreeMap<u32, Vec<usize>>,
    /// The part of frames that is lost.
    pub loss: f64,
    /// Whether links break by themselves.
    pub faulty: bool,
    /// What happens, and when.
    pub deeds: Vec<(Duration, Deed)>,
}

/// How a life went.
#[derive(Clone, Debug)]
pub struct Life {
    /// How long after the faults stopped all held what they should.
    pub converged: Duration,
    /// Things that happened.
    pub events: u64,
    /// Records sent.
    pub records: u64,
}

impl Script {
    /// The script of a seed: half a minute of faults.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let (nodes, pairs) = graph::of_seed(seed);
        // Two worlds in three are of mutual peers; in the third everybody is something else to everybody.
        let roles = seed % 3 == 2;
        let role = |rng: &mut StdRng| match rng.random_range(0..if roles { 4 } else { 1 }) {
            0 => Relationship::Mutual,
            1 => Relationship::Customer,
            2 => Relationship::Upstream,
            _ => Relationship::Peer,
        };
        let pairs = pairs.into_iter().map(|(a, b)| (a, b, role(&mut rng))).collect();
        let scoped = (0..NAMES).filter(|name| name % 8 == 3).map(|name| (name, vec![0, 1, 2])).collect();
        let mut script = Self {
            seed,
            nodes,
            pairs,
            scoped,
            loss: rng.random_range(0.0..0.3),
            faulty: rng.random_bool(0.5),
            deeds: Vec::new(),
        };
        for _ in 0..PUTS {
            let at = during(&mut rng, 0, LASTS);
            let name = rng.random_range(0..NAMES);
            // With roles it matters where a name is put: always at the same provider.
            let place = |rng: &mut StdRng| {
                let among = script.scoped.get(&name).map_or(nodes, Vec::len);
                if roles { name as usize % among } else { rng.random_range(0..among) }
            };
            let twin = rng.random_bool(0.15).then(|| (place(&mut rng), rng.random_range(50..70)));
            let deed = Deed::Put {
                name,
                node: place(&mut rng),
                days: rng.random_range(10..30),
                twin: twin.filter(|_| !script.scoped.contains_key(&name)),
                revoked: rng.random_bool(0.03),
            };
            script.deeds.push((at, deed));
        }
        for _ in 0..rng.random_range(4..20) {
            script.fault(&mut rng);
        }
        script.deeds.sort_by_key(|(at, _)| *at);
        script
    }

    fn fault(&mut self, rng: &mut StdRng) {
        let begins = during(rng, 0, LASTS);
        let ends = begins + during(rng, 100, 15_000);
        let (a, b) = (rng.random_range(0..self.nodes), rng.random_range(0..self.nodes));
        let mut add = |at, deed| self.deeds.push((at, deed));
        match rng.random_range(0..10) {
            0..3 => add(begins, Deed::Crash(a)),
            3 => add(begins, Deed::Cut(rng.random_range(0..64))),
            // One way only.
            4 => {
                add(begins, Deed::Block(a, b, true));
                add(ends, Deed::Block(a, b, false));
            }
            // Two groups.
            5 => {
                let side: Vec<bool> = (0..self.nodes).map(|_| rng.random_bool(0.5)).collect();
                let apart = (0..self.nodes)
                    .flat_map(|a| (0..a).map(move |b| (a, b)))
                    .filter(|(a, b)| side[*a] != side[*b]);
                for (a, b) in apart {
                    add(begins, Deed::Part(a, b, true));
                    add(ends, Deed::Part(a, b, false));
                }
            }
            // One after another is cut off, and one after another, in another order, is let in again.
            6 => {
                for node in (0..self.nodes).filter(|_| rng.random_bool(0.6)).collect::<Vec<_>>() {
                    let (clogged, free) = (begins + during(rng, 0, 4_000), ends + during(rng, 4_000, 8_000));
                    for other in (0..self.nodes).filter(|other| *other != node) {
                        add(clogged, Deed::Part(node, other, true));
                        add(free, Deed::Part(node, other, false));
                    }
                }
            }
            7 | 8 => {
                let far = if rng.random_bool(0.3) { 2 * 86_400 } else { 280 };
                add(begins, Deed::Step(a, rng.random_range(-far..=far)));
                add(ends, Deed::Step(a, rng.random_range(-250..=250)));
            }
            _ => {
                add(begins, Deed::Deaf(a, true));
                add(ends, Deed::Deaf(a, false));
            }
        }
    }

    /// Plays it, lets the faults stop, and waits until all is well.
    ///
    /// # Errors
    /// What happened that must never happen, or that all is not well within [`PATIENCE`].
    pub fn play(&self) -> Result<Life, String> {
        let pairs: Vec<_> = self.pairs.iter().map(|(a, b, _)| (*a, *b)).collect();
        let mut world = World::with_terms(self.seed, self.nodes, &pairs, |own, other, agreement| {
            let role = self.pairs.iter().find_map(|(a, b, role)| match (own, other) {
                pair if pair == (*a, *b) => Some(*role),
                pair if pair == (*b, *a) => Some(role.mirrored()),
                _ => None,
            });
            agreement.relationship = role.expect("a pair");
        });
        (world.faulty, world.network.loss, world.network.jitter) = (self.faulty, self.loss, Duration::from_millis(60));
        for node in 0..self.nodes {
            world.nodes[node].skew = world.rng.random_range(-250..=250);
        }
        let mut newest = BTreeMap::new();
        for (at, deed) in &self.deeds {
            world.try_run(at.saturating_sub(world.now))?;
            self.does(&mut world, deed, &mut newest);
        }
        world.try_run(Duration::from_millis(LASTS).saturating_sub(world.now))?;
        (world.faulty, world.network.loss, world.network.jitter) = (false, 0.0, Duration::ZERO);
        world.heal();
        for node in 0..self.nodes {
            world.nodes[node].deaf = false;
            if world.nodes[node].skew.abs() > 250 {
                world.step_clock(node, 0);
            }
        }
        let stopped = world.now;
        while let Err(missing) = settled(&world, &newest) {
            if world.now - stopped >= PATIENCE {
                return Err(format!("{missing}, {} s after the faults have stopped", PATIENCE.as_secs()));
            }
            world.try_run(Duration::from_millis(500))?;
        }
        let (converged, records) = (world.now - stopped, world.records_sent());
        world.check()?;
        // Nothing may come back, and what everyone holds is not sent around.
        world.try_run(Duration::from_secs(30))?;
        world.check()?;
        settled(&world, &newest)?;
        if !self.faulty && converged > Duration::ZERO && world.records_sent() > records + 2 * u64::from(NAMES) * pairs.len() as u64 {
            return Err("what everyone holds is still being sent around".to_owned());
        }
        Ok(Life {
            converged,
            events: world.events,
            records: world.records_sent(),
        })
    }

    fn does(&self, world: &mut World, deed: &Deed, newest: &mut BTreeMap<Name, (usize, VerifiedRecord)>) {
        match *deed {
            Deed::Put {
                name,
                node,
                days,
                twin: other,
                revoked,
            } => {
                let scope = self.scoped.get(&name).into_iter().flatten().map(|node| world.nodes[*node].name);
                let one = record(name, world.time(), &scope.collect::<Vec<_>>(), revoked);
                let other = other.map(|(node, ttl)| (node, twin(name, world.time(), ttl)));
                for (node, record) in other.into_iter().chain([(node, one)]) {
                    if !world.nodes[node].up {
                        continue;
                    }
                    world.put(node, record.clone(), UnixSecs(BEGIN + days * 86_400));
                    let known = newest.entry(*record.name()).or_insert_with(|| (node, record.clone()));
                    if record.outranks(&known.1) {
                        *known = (node, record);
                    }
                }
            }
            Deed::Crash(node) => world.crash(node, true),
            Deed::Cut(link) => {
                let alive: Vec<_> = (0..world.links.len()).filter(|link| world.links[*link].alive).collect();
                if let Some(link) = alive.get(link % alive.len().max(1)) {
                    world.cut(*link);
                }
            }
            Deed::Block(from, to, true) => world.block(from, to),
            Deed::Block(from, to, false) => world.unblock(from, to),
            Deed::Part(a, b, true) => world.partition(&[a], &[b]),
            Deed::Part(a, b, false) => {
                world.unblock(a, b);
                world.unblock(b, a);
            }
            Deed::Step(node, skew) => world.step_clock(node, skew),
            Deed::Deaf(node, deaf) => world.nodes[node].deaf = deaf,
        }
    }
}

/// Whether every provider that may hold a record holds the newest of its name; otherwise who does not.
fn settled(world: &World, newest: &BTreeMap<Name, (usize, VerifiedRecord)>) -> Result<(), String> {
    let watch = world.watch.as_ref().ok_or("nobody watches")?;
    for (name, (origin, record)) in newest {
        for node in watch.receivers(*origin, record) {
            let held = world.held(node, name).map(|held| held.record);
            if held.as_ref() != Some(record) {
                let has = held.map(|held| held.rank().to_string());
                return Err(format!(
                    "provider {node} holds {has:?} of {name} where it should hold {}",
                    record.rank()
                ));
            }
        }
    }
    Ok(())
}

/// 400 days in which a liar sends, again and again, whatever was ever signed of some names: records that have expired and were
/// reaped, records that were replaced, records under a key that was rotated away from and stolen. How many it sent.
///
/// # Errors
/// One of them came back to life.
pub fn of_replays(seed: u64) -> Result<u64, String> {
    const NODES: usize = 3;
    const LIAR: usize = NODES;
    let mut pairs = graph::ring(NODES);
    pairs.extend([(0, LIAR), (1, LIAR)]);
    let mut world = World::new(seed, NODES + 1, &pairs);
    world.nodes[LIAR].liar = true;
    let day = |day: u64| UnixMicros((BEGIN + day * 86_400) * 1_000_000);
    let mut last = BTreeMap::new();
    for name in 0..12 {
        let (rotates, node) = (name % 2 == 0, world.rng.random_range(0..NODES));
        // The older one lives longest; the newer one expires soon, and is all that keeps it away.
        let lives = world.rng.random_range(5..40);
        let old = rotating(name, 0, day(0), 399);
        let new = match rotates {
            true => rotating(name, 1, UnixMicros(day(0).0 + 1), lives),
            false => rotating(name, 0, UnixMicros(day(0).0 + 1), lives),
        };
        world.archive.push(old.clone());
        last.insert(name, new.clone());
        world.put_all(node, vec![old, new]);
    }
    world.try_run(Duration::from_secs(60))?;
    for today in 1..400 {
        if today % 7 == 0 {
            // Whoever stole the first key signs anew.
            let name = world.rng.random_range(0..6) * 2;
            world.archive.push(rotating(name, 0, day(today), 399));
        }
        // A new store, so that everything is sent once more.
        world.crash(LIAR, false);
        let all = world.archive.clone();
        world.put_all(LIAR, all);
        world.try_run(Duration::from_secs(86_400))?;
        world.check()?;
    }
    for (name, record) in &last {
        for node in 0..NODES {
            let held = world.held(node, record.name()).map(|held| held.record);
            if held.as_ref() != Some(record) {
                return Err(format!("provider {node} holds {held:?} of the {name}-th name after 400 days"));
            }
        }
    }
    let liars = world.links.iter().filter(|link| link.nodes.contains(&LIAR));
    let sent = liars.map(|link| link.progress(link.end_of(LIAR)).records_sent).sum();
    Ok(sent)
}

fn during(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_micros(rng.random_range(from * 1_000..=to * 1_000))
}

/// How long after the last fault all must be well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long faults last, in milliseconds.
const LASTS: u64 = 30_000;

/// Names that are put.
const NAMES: u32 = 40;

/// Puts in a life.
const PUTS: usize = 120;
