//! A disk that can lose power: the memory engine behind the store's trait, with a model of what is durable and when.
//!
//! ```text
//!   write ──▶ written ──sync──▶ durable: it can be read, and whoever waited for it is answered
//!                 │
//!                 └─ power cut: the writes up to one drawn by chance are kept, that one is torn and dropped, and all after it
//! ```
//!
//! As in the embedded engine, what can be read is durable. When the power goes the disk freezes first: whoever still has it in
//! hand can neither read nor write, so nothing that a dying provider does on its way out reaches it. (A simulation that lets
//! destructors run before the disk is frozen hides every bug of durability.)

use async_trait::async_trait;
use dialtone_provider::store::{
    Change, Count, Cursor, Cursors, Held, Lane, MemoryStore, Note, Outcome, Put, RecordStore, StoreError, Twins,
};
use dialtone_provider::store::{Pointer, PointerChange, PointerOutcome};
use dialtone_shared::{Name, UnixSecs};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// A store on such a disk.
#[derive(Debug)]
pub struct DiskStore {
    image: Arc<MemoryStore>,
    state: Mutex<State>,
    /// How long a sync takes whoever waits for one; `None`: nobody waits, the world says when it is done.
    sync: Option<Duration>,
}

/// One write: kept whole or not at all.
#[derive(Debug)]
pub enum Write {
    /// Records.
    Put(Vec<Put>),
    /// Pointers.
    Pointers(Vec<Pointer>),
    /// Pointers that are forgotten.
    Forget(Vec<Pointer>),
    /// Notes.
    Notes(Vec<(Vec<u8>, Option<Vec<u8>>)>),
}

/// What became of a write.
#[derive(Debug)]
enum Written {
    Put(Vec<Outcome>),
    Pointers(Vec<PointerOutcome>),
    Forgotten(usize),
    Notes,
}

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    written: VecDeque<(u64, Write)>,
    /// What became of what was synced and not asked for yet.
    done: BTreeMap<u64, Result<Written, StoreError>>,
    next: u64,
    /// Whoever watches, in order, each by a channel of its own: one channel wakes those who wait for it in an order drawn by chance.
    watchers: Vec<watch::Sender<Cursors>>,
}

impl DiskStore {
    /// An empty store with this id, on which `sync` takes so long (virtual time of the runtime that waits).
    pub fn new(id: [u8; 16], sync: Option<Duration>) -> Arc<Self> {
        Self::over(MemoryStore::with_id(id), sync)
    }

    fn over(image: Arc<MemoryStore>, sync: Option<Duration>) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { image, state, sync })
    }

    /// A copy with the same id of what is durable, as a copy of the files would be.
    pub fn copy(&self) -> Arc<Self> {
        Self::over(self.image.copy(), self.sync)
    }

    /// Writes, so that the next sync makes it durable. The number under which to ask for the outcome.
    ///
    /// # Errors
    /// [`StoreError`]: the disk is gone.
    pub fn write(&self, write: Write) -> Result<u64, StoreError> {
        let mut state = self.running()?;
        state.next += 1;
        let ticket = state.next;
        state.written.push_back((ticket, write));
        Ok(ticket)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`StoreError`]: the disk is gone.
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.running()?;
        while let Some((ticket, write)) = state.written.pop_front() {
            let written = apply(&self.image, write);
            state.done.insert(ticket, written);
        }
        let heads = self.heads();
        state.watchers.retain(|watcher| !watcher.is_closed());
        for watcher in &state.watchers {
            watcher.send_if_modified(|told| std::mem::replace(told, heads) != heads);
        }
        Ok(())
    }

    /// The last cursor of each lane.
    pub fn heads(&self) -> Cursors {
        *self.image.watch().borrow()
    }

    /// What became of records that have been synced; once.
    ///
    /// # Errors
    /// [`StoreError`]: the disk is gone, or the write was refused.
    pub fn outcomes(&self, ticket: u64) -> Result<Vec<Outcome>, StoreError> {
        match self.written(ticket)? {
            Written::Put(outcomes) => Ok(outcomes),
            other => Err(mistaken(&other)),
        }
    }

    /// What became of pointers that have been synced; once.
    ///
    /// # Errors
    /// [`StoreError`]: the disk is gone, or the write was refused.
    pub fn pointer_outcomes(&self, ticket: u64) -> Result<Vec<PointerOutcome>, StoreError> {
        match self.written(ticket)? {
            Written::Pointers(outcomes) => Ok(outcomes),
            other => Err(mistaken(&other)),
        }
    }

    fn written(&self, ticket: u64) -> Result<Written, StoreError> {
        let lost = || Err(StoreError::Failed("a write that was never synced".to_owned()));
        self.running()?.done.remove(&ticket).unwrap_or_else(lost)
    }

    /// The power goes. What is found when it is back; this handle is of no more use.
    pub fn power_cut(&self, rng: &mut StdRng) -> Arc<Self> {
        let mut state = self.state();
        state.frozen = true;
        let kept = rng.random_range(0..=state.written.len());
        for (_, write) in state.written.drain(..).take(kept) {
            // What is refused is refused for a reason that a restart does not change.
            let _ = apply(&self.image, write);
        }
        Self::over(self.image.clone(), self.sync)
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.frozen {
            Err(StoreError::Failed("the power is gone".to_owned()))
        } else {
            Ok(state)
        }
    }

    /// A panic elsewhere ends the test; until then the state is as good as it was.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and waits for the sync; the number under which to ask what became of it.
    async fn durably(&self, write: Write) -> Result<u64, StoreError> {
        let ticket = self.write(write)?;
        if let Some(sync) = self.sync {
            tokio::time::sleep(sync).await;
        }
        self.sync().map(|()| ticket)
    }
}

fn apply(image: &MemoryStore, write: Write) -> Result<Written, StoreError> {
    match write {
        Write::Put(puts) => ready(image.put(puts)).map(Written::Put),
        Write::Pointers(pointers) => ready(image.put_pointers(pointers)).map(Written::Pointers),
        Write::Forget(pointers) => ready(image.forget_pointers(pointers)).map(Written::Forgotten),
        Write::Notes(notes) => ready(image.set_notes(notes)).map(|()| Written::Notes),
    }
}

fn mistaken(written: &Written) -> StoreError {
    StoreError::Failed(format!("another kind of write: {written:?}"))
}

#[async_trait]
impl RecordStore for DiskStore {
    async fn put(&self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError> {
        let ticket = self.durably(Write::Put(batch)).await?;
        self.outcomes(ticket)
    }

    async fn get(&self, name: &Name) -> Result<Option<Held>, StoreError> {
        drop(self.running()?);
        self.image.get(name).await
    }

    async fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError> {
        drop(self.running()?);
        self.image.changes(lane, after, limit).await
    }

    async fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError> {
        drop(self.running()?);
        self.image.scan(after, limit).await
    }

    async fn expire(&self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError> {
        drop(self.running()?);
        self.image.expire(now, limit).await
    }

    async fn put_pointers(&self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError> {
        let ticket = self.durably(Write::Pointers(batch)).await?;
        self.pointer_outcomes(ticket)
    }

    async fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError> {
        drop(self.running()?);
        self.image.pointer(name).await
    }

    async fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError> {
        drop(self.running()?);
        self.image.pointer_changes(after, limit).await
    }

    async fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError> {
        drop(self.running()?);
        self.image.pointers(after, limit).await
    }

    async fn forget_pointers(&self, batch: Vec<Pointer>) -> Result<usize, StoreError> {
        let ticket = self.durably(Write::Forget(batch)).await?;
        match self.written(ticket)? {
            Written::Forgotten(count) => Ok(count),
            other => Err(mistaken(&other)),
        }
    }

    fn count(&self) -> Count {
        self.image.count()
    }

    fn watch(&self) -> watch::Receiver<Cursors> {
        let (watcher, watches) = watch::channel(self.heads());
        self.state().watchers.push(watcher);
        watches
    }

    fn twins(&self) -> broadcast::Receiver<Arc<Twins>> {
        self.image.twins()
    }

    fn id(&self) -> [u8; 16] {
        self.image.id()
    }

    async fn set_notes(&self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        let ticket = self.durably(Write::Notes(notes)).await?;
        self.written(ticket).map(drop)
    }

    async fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        drop(self.running()?);
        self.image.note(key).await
    }

    async fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<Note>, StoreError> {
        drop(self.running()?);
        self.image.notes(prefix, limit).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.sync()
    }
}

/// What a memory store answers: it never makes anyone wait.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a memory store does not wait"),
    }
}
