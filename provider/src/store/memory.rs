//! The store in memory: every promise but durability. For tests, simulated worlds and providers that only relay.

use super::join::{Standing, Verdict, judge};
use super::pointer;
use super::twins::{self, Twins, TwinsTold};
use super::{
    Change, Count, Cursor, Cursors, Held, LANES, Lane, Note, Outcome, Pointer, PointerChange, PointerOutcome, Put, RecordStore, StoreError,
    check_note_keys, check_puts,
};
use async_trait::async_trait;
use dialtone_shared::{Name, UnixSecs};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};

/// A store that forgets everything with the process.
#[derive(Debug)]
pub struct MemoryStore {
    id: [u8; 16],
    /// Held only while a map is read or changed, never across a wait.
    state: Mutex<State>,
    cursors: watch::Sender<Cursors>,
    twins: TwinsTold,
}

/// What the embedded engine keeps in its tables, in maps of the same order.
#[derive(Clone, Default, Debug)]
struct State {
    records: BTreeMap<Name, (Held, Cursor)>,
    pointers: BTreeMap<Name, (Pointer, Cursor)>,
    log: [BTreeMap<Cursor, Name>; LANES],
    last: Cursors,
    /// The flag: of a pointer.
    forget: BTreeSet<(UnixSecs, Name, bool)>,
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
    count: Count,
    closed: bool,
}

impl MemoryStore {
    /// An empty store with a random id.
    pub fn new() -> Arc<Self> {
        Self::with_id(rand::random())
    }

    /// An empty store with this id: simulated worlds draw theirs from a seed.
    pub fn with_id(id: [u8; 16]) -> Arc<Self> {
        Arc::new(Self {
            id,
            state: Mutex::default(),
            cursors: watch::channel([0; LANES]).0,
            twins: twins::channel(),
        })
    }

    /// A copy with the same id, as a copy of the files of a durable store would be: what is put into one is not in the other.
    pub fn copy(&self) -> Arc<Self> {
        let state = self.state().clone();
        let cursors = watch::channel(state.last).0;
        Arc::new(Self {
            id: self.id,
            state: Mutex::new(state),
            cursors,
            twins: twins::channel(),
        })
    }

    /// Loses a record without a trace, as damage would: for tests of what notices.
    pub fn lose(&self, name: &Name) {
        self.state().forget(name);
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }

    /// Tells of a change since `before`.
    fn tell(&self, state: &State, before: Cursors) {
        if state.last != before {
            self.cursors.send_replace(state.last);
        }
    }

    /// A panic elsewhere leaves the maps as they were between two puts: they are still good to read.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RecordStore for MemoryStore {
    async fn put(&self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError> {
        check_puts(&batch)?;
        let mut state = self.open()?;
        let before = state.last;
        let mut met = Vec::new();
        let outcomes = batch.into_iter().map(|put| state.put(put, &mut met)).collect();
        self.tell(&state, before);
        drop(state);
        for twins in met {
            // Nobody may listen.
            let _ = self.twins.send(Arc::new(twins));
        }
        Ok(outcomes)
    }

    async fn get(&self, name: &Name) -> Result<Option<Held>, StoreError> {
        Ok(self.open()?.records.get(name).map(|(held, _)| held.clone()))
    }

    async fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError> {
        let state = self.open()?;
        let rows = state.log[lane as usize].range((Excluded(after), Unbounded)).take(limit);
        let held = rows.filter_map(|(cursor, name)| state.records.get(name).map(|(held, _)| (*cursor, held.clone())));
        Ok(held.map(|(cursor, held)| Change { cursor, held }).collect())
    }

    async fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError> {
        let start = after.map_or(Unbounded, Excluded);
        let state = self.open()?;
        Ok(state
            .records
            .range((start, Unbounded))
            .take(limit)
            .map(|(_, (held, _))| held.clone())
            .collect())
    }

    async fn expire(&self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError> {
        let mut state = self.open()?;
        let due = state.forget.iter().take_while(|(at, ..)| *at <= now).take(limit);
        let due: Vec<(Name, bool)> = due.map(|(_, name, pointer)| (*name, *pointer)).collect();
        for (name, pointer) in &due {
            if *pointer {
                state.forget_pointer(name);
            } else {
                state.forget(name);
            }
        }
        Ok(due.into_iter().map(|(name, _)| name).collect())
    }

    async fn put_pointers(&self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError> {
        let mut state = self.open()?;
        let before = state.last;
        let outcomes = batch.into_iter().map(|pointer| state.put_pointer(pointer)).collect();
        self.tell(&state, before);
        Ok(outcomes)
    }

    async fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError> {
        Ok(self.open()?.pointers.get(name).map(|(pointer, _)| pointer.clone()))
    }

    async fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError> {
        let state = self.open()?;
        let rows = state.log[Lane::Hearsay as usize].range((Excluded(after), Unbounded)).take(limit);
        let standing = rows.filter_map(|(cursor, name)| state.pointers.get(name).map(|(pointer, _)| (*cursor, pointer.clone())));
        Ok(standing.map(|(cursor, pointer)| PointerChange { cursor, pointer }).collect())
    }

    async fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError> {
        let start = after.map_or(Unbounded, Excluded);
        let state = self.open()?;
        let rows = state.pointers.range((start, Unbounded)).take(limit);
        Ok(rows.map(|(_, (pointer, _))| pointer.clone()).collect())
    }

    async fn forget_pointers(&self, batch: Vec<Pointer>) -> Result<usize, StoreError> {
        let mut state = self.open()?;
        let mut forgotten = 0;
        for pointer in batch {
            if state.pointers.get(&pointer.name).is_some_and(|(standing, _)| *standing == pointer) {
                state.forget_pointer(&pointer.name);
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    fn count(&self) -> Count {
        self.state().count
    }

    fn watch(&self) -> watch::Receiver<Cursors> {
        self.cursors.subscribe()
    }

    fn twins(&self) -> broadcast::Receiver<Arc<Twins>> {
        self.twins.subscribe()
    }

    fn id(&self) -> [u8; 16] {
        self.id
    }

    async fn set_notes(&self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        check_note_keys(&notes)?;
        let mut state = self.open()?;
        for (key, value) in notes {
            match value {
                Some(value) => state.notes.insert(key, value),
                None => state.notes.remove(&key),
            };
        }
        Ok(())
    }

    async fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.open()?.notes.get(key).cloned())
    }

    async fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<Note>, StoreError> {
        let state = self.open()?;
        let from = state.notes.range(prefix.to_vec()..);
        let rows = from.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.state().closed = true;
        Ok(())
    }
}

impl State {
    fn put(&mut self, put: Put, met: &mut Vec<Twins>) -> Outcome {
        let held = self.records.get(put.record.name()).map(|(held, _)| held);
        let standing = held.map(|held| Standing {
            rank: *held.record.rank(),
            bytes: held.record.bytes(),
            class: held.class,
            keep_until: held.keep_until,
        });
        if let Some(held) = held.filter(|_| twins::meets(standing.as_ref(), &put)) {
            met.push(twins::pair(held, &put));
        }
        match judge(standing.as_ref(), &put) {
            Verdict::Store => {
                let replaced = held.is_some();
                self.keep(put.into_held());
                Outcome::Stored { replaced }
            }
            Verdict::Renew { class, keep_until } => {
                let account = held.and_then(|held| held.account.clone());
                self.keep(put.into_renewed(class, keep_until, account));
                Outcome::Renewed
            }
            Verdict::Same => Outcome::Same,
            Verdict::Older => match held {
                Some(held) => Outcome::Older(Box::new(held.clone())),
                None => Outcome::Same,
            },
            Verdict::ConditionFailed => Outcome::ConditionFailed(held.cloned().map(Box::new)),
        }
    }

    /// Takes `held` in the place of what is held of its name, at the end of its lane.
    fn keep(&mut self, mut held: Held) {
        let name = *held.record.name();
        self.forget(&name);
        self.drop_outranked(&mut held);
        let lane = held.lane() as usize;
        self.last[lane] += 1;
        self.log[lane].insert(self.last[lane], name);
        self.forget.extend(held.forget_at().map(|at| (at, name, false)));
        self.count.records += 1;
        self.count.bytes += held.record.bytes().len() as u64;
        self.records.insert(name, (held, self.last[lane]));
    }

    fn forget(&mut self, name: &Name) {
        if let Some((held, cursor)) = self.records.remove(name) {
            self.log[held.lane() as usize].remove(&cursor);
            if let Some(at) = held.forget_at() {
                self.forget.remove(&(at, *name, false));
            }
            self.count.records -= 1;
            self.count.bytes -= held.record.bytes().len() as u64;
        }
    }

    fn put_pointer(&mut self, pointer: Pointer) -> PointerOutcome {
        let renewed = self.records.get(&pointer.name).and_then(|(held, _)| pointer.renews(held));
        if let Some(put) = renewed {
            // It is what is held, so no two records meet.
            self.put(put, &mut Vec::new());
            return PointerOutcome::Renewed;
        }
        let held = self.records.get(&pointer.name).map(|(held, _)| held.record.rank());
        let standing = self.pointers.get(&pointer.name).map(|(pointer, _)| pointer);
        match pointer::judge(held, standing, pointer) {
            pointer::Verdict::Keep(pointer) => {
                self.forget_pointer(&pointer.name);
                let last = &mut self.last[Lane::Hearsay as usize];
                *last += 1;
                self.log[Lane::Hearsay as usize].insert(*last, pointer.name);
                self.forget.insert((pointer.forget_at(), pointer.name, true));
                self.count.pointers += 1;
                self.pointers.insert(pointer.name, (pointer, *last));
                PointerOutcome::Kept
            }
            pointer::Verdict::Same => PointerOutcome::Same,
            pointer::Verdict::Older => PointerOutcome::Older,
        }
    }

    /// This will be held: a pointer that leads to no more is done with.
    fn drop_outranked(&mut self, held: &mut Held) {
        let name = *held.record.name();
        if let Some((pointer, _)) = self.pointers.get(&name)
            && !pointer.outranks(held.record.rank())
        {
            pointer.leaves(held);
            self.forget_pointer(&name);
        }
    }

    fn forget_pointer(&mut self, name: &Name) {
        if let Some((pointer, cursor)) = self.pointers.remove(name) {
            self.log[Lane::Hearsay as usize].remove(&cursor);
            self.forget.remove(&(pointer.forget_at(), *name, true));
            self.count.pointers -= 1;
        }
    }
}
