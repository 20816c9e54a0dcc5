//! Which names changed since when: what an encoded answer was made from, and whether that still holds.
//!
//! Nothing is filed and nothing is searched for. Names share slots of a table by their hash, and a slot holds the generation of the last
//! change of any of them; an answer remembers the slots of every name consulted for it, and the generation at which asking began. It
//! holds while none of its slots is later. So a change costs one write however many answers it ends, in every cache that looks here, at
//! once; and a fill begun before a change is never served after it. The operator's map of legacy names has a slot of its own.

use dialtone_shared::Name;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The table. Any number of threads read it without waiting.
#[derive(Debug)]
pub struct Generations {
    /// The generation of the last change, over all names.
    last: AtomicU64,
    /// The generation at which everything changed.
    all: AtomicU64,
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Generations {
    /// A table without changes.
    pub fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
            all: AtomicU64::new(0),
            slots: (0..=SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The generation that asking begins at: read before anything is looked up.
    pub fn begin(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// What was made from `name` holds no longer. Said after the change can be seen by whoever looks the name up.
    pub fn changed(&self, name: &Name) {
        let generation = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.slots[self.slot(name) as usize].fetch_max(generation, Ordering::SeqCst);
    }

    /// What was made by way of the operator's map holds no longer. Said after the change can be seen by whoever looks at the map.
    pub fn map_changed(&self) {
        let generation = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.slots[SLOTS].fetch_max(generation, Ordering::SeqCst);
    }

    /// Nothing holds any longer.
    pub fn all_changed(&self) {
        let generation = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.all.fetch_max(generation, Ordering::SeqCst);
    }

    /// Whether what was made from the names of `slots`, asking from `begun` on, still holds.
    pub fn hold(&self, slots: impl IntoIterator<Item = u32>, begun: u64) -> bool {
        self.all.load(Ordering::Acquire) <= begun
            && slots.into_iter().all(|slot| {
                self.slots
                    .get(slot as usize)
                    .is_some_and(|last| last.load(Ordering::Acquire) <= begun)
            })
    }

    /// Has the generations of `slots` come from memory, and says nothing of what they are.
    pub(crate) fn touch(&self, slots: impl IntoIterator<Item = u32>) -> u64 {
        let of = |slot: u32| self.slots.get(slot as usize).map_or(0, |last| last.load(Ordering::Relaxed));
        slots.into_iter().fold(0, |all, slot| all ^ of(slot))
    }

    fn slot(&self, name: &Name) -> u32 {
        (self.hasher.hash_one(name) % SLOTS as u64) as u32
    }
}

impl Default for Generations {
    fn default() -> Self {
        Self::new()
    }
}

/// A clock that counts milliseconds.
#[derive(Clone)]
pub struct Millis(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Millis {
    /// One that asks `now`.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// One that counts from now on and is never set.
    pub fn since_now() -> Self {
        let started = Instant::now();
        Self::new(move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// What it shows.
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Millis").field(&self.now()).finish()
    }
}

/// What one answer was made from, gathered on its way.
#[derive(Debug, Default)]
pub struct Trace {
    slots: Mutex<Vec<u32>>,
    spoilt: AtomicBool,
    is_known: AtomicBool,
    alone: AtomicBool,
}

impl Trace {
    /// `name` was looked up, whether or not there was a record.
    pub fn consulted(&self, name: &Name, generations: &Generations) {
        self.depends_on(generations.slot(name));
    }

    /// The operator's map was looked at, whether or not it had a line.
    pub fn consulted_map(&self) {
        self.depends_on(SLOTS as u32);
    }

    fn depends_on(&self, slot: u32) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains(&slot) {
            slots.push(slot);
        }
    }

    /// Something went into the answer that nobody would tell the change of, or too little did.
    pub fn spoil(&self) {
        self.spoilt.store(true, Ordering::Relaxed);
    }

    /// Something in the answer was kept here, and nobody is there to ask whether it is still true.
    pub fn alone(&self) {
        self.alone.store(true, Ordering::Relaxed);
        self.spoil();
    }

    /// Whether that is so.
    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Everything that the answer was made from has been said.
    pub fn known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// The slots of all that was consulted; `None` if the answer is not to be kept.
    pub fn into_slots(self) -> Option<Vec<u32>> {
        let keeps = self.is_known.into_inner() && !self.spoilt.into_inner();
        let slots = self.slots.into_inner().unwrap_or_else(PoisonError::into_inner);
        (keeps && slots.len() <= CONSULTED_MAX).then_some(slots)
    }
}

/// How many slots the names share: a mebibyte. With so many, a thousand changes a second end the answers of a name that did not change about every two
/// minutes, which is more than most answers last.
const SLOTS: usize = 1 << 17;

/// Most names that a kept answer was made from: as many as aliases and hints together can lead to.
const CONSULTED_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: &str) -> Name {
        Name::of_content(of.as_bytes())
    }

    fn traced(generations: &Generations, names: &[&str]) -> Vec<u32> {
        let trace = Trace::default();
        for of in names {
            trace.consulted(&name(of), generations);
        }
        trace.known();
        trace.into_slots().expect("kept")
    }

    #[test]
    fn a_change_ends_what_was_made_from_the_name_and_nothing_else() {
        let generations = Generations::new();
        let begun = generations.begin();
        let (mine, both) = (traced(&generations, &["mine"]), traced(&generations, &["other", "mine"]));
        let other = traced(&generations, &["other"]);
        assert!(generations.hold(mine.clone(), begun));
        generations.changed(&name("mine"));
        assert!(!generations.hold(mine, begun));
        assert!(!generations.hold(both, begun));
        assert!(generations.hold(other.clone(), begun));
        generations.all_changed();
        assert!(!generations.hold(other, begun));
    }

    #[test]
    fn asking_that_began_before_a_change_ends_too_late_and_asking_after_it_does_not() {
        let generations = Generations::new();
        let before = generations.begin();
        generations.changed(&name("mine"));
        let after = generations.begin();
        let slots = traced(&generations, &["mine"]);
        assert!(!generations.hold(slots.clone(), before));
        assert!(generations.hold(slots, after));
    }

    #[test]
    fn a_change_of_the_map_ends_what_was_made_by_way_of_it_and_no_change_of_a_name_does() {
        let generations = Generations::new();
        let (by_the_map, past_it) = (Trace::default(), traced(&generations, &["mine"]));
        by_the_map.consulted_map();
        by_the_map.known();
        let (by_the_map, begun) = (by_the_map.into_slots().expect("kept"), generations.begin());
        generations.changed(&name("mine"));
        assert!(generations.hold(by_the_map.clone(), begun));
        let begun = generations.begin();
        generations.map_changed();
        assert!(!generations.hold(by_the_map, begun) && generations.hold(past_it, begun));
    }

    #[test]
    fn an_answer_is_kept_only_if_all_it_was_made_from_is_known() {
        assert_eq!(Trace::default().into_slots(), None);
        let spoilt = Trace::default();
        spoilt.known();
        spoilt.spoil();
        assert_eq!(spoilt.into_slots(), None);
    }
}
