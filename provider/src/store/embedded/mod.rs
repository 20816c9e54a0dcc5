//! The store in a folder: durable, no server to install, on fjall.
//!
//! ```text
//! put ─▶ queue (bounded) ─▶ committer: draft, one journal write, one fdatasync ─▶ everyone is answered
//! get ─▶ tables
//! ```
//!
//! - [`layout`], [`pointer_row`]: the rows, byte for byte;
//! - [`folder`]: the folder, its lock, the space that is left;
//! - [`journal`]: what a power cut may have left of the last commit;
//! - [`engine`]: the tables, opened and read;
//! - [`tail`]: the last changes of the log, in memory;
//! - [`draft`], [`hearsay`]: what a commit will write of records, of pointers;
//! - [`committer`]: the one thread that writes.
//!
//! fjall was chosen by measurement over redb, LMDB and RocksDB: several times the durable puts of the B-trees at a fraction of the
//! bytes to the device, and the cheapest answer to "is this name held at all?", which every new record asks.

mod committer;
mod draft;
mod engine;
mod folder;
mod hearsay;
mod journal;
mod layout;
mod pointer_row;
mod tail;

pub(crate) use folder::{folder_error, sync_folder};

use super::backup::{self, BackupError, Contents};
use super::{
    Change, Count, Cursor, Cursors, Held, Lane, Note, Outcome, Pointer, PointerChange, PointerOutcome, Put, RecordStore, StoreError,
    check_note_keys, check_puts,
};
use crate::store::twins::{self, Twins, TwinsTold};
use async_trait::async_trait;
use committer::{Committer, Waiting, Work};
use dialtone_shared::{Name, UnixSecs};
use engine::{Engine, Opening};
use folder::Folder;
use layout::Totals;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use tail::Tail;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

/// A store in a folder.
pub struct EmbeddedStore {
    id: [u8; 16],
    shared: Arc<Shared>,
    queue: mpsc::Sender<Work>,
    /// Bounds what waits in the queue.
    places: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Memory for blocks that were read, in bytes. With the default a provider of a million records that keeps an answer for each takes less than 300 MB
    /// in all; three times as much answered no more misses a second, since what was read lately the system has as well.
    pub cache_bytes: u64,
    /// Puts are refused while the disk has less than this left, in bytes: what was already taken needs it to be put in order.
    pub free_bytes_min: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            free_bytes_min: 256 << 20,
        }
    }
}

/// What the committer tells everyone else.
struct Shared {
    door: watch::Sender<Door>,
    cursors: watch::Sender<Cursors>,
    twins: TwinsTold,
    count: Mutex<Count>,
    tail: Mutex<Tail>,
    /// How closing went, once it is done.
    closed: watch::Sender<Option<Result<(), StoreError>>>,
}

/// The way to the tables.
enum Door {
    Open(Arc<Engine>),
    /// They are being opened anew: wait.
    Away,
    /// They could not be opened anew.
    Failed(StoreError),
    Closed,
}

impl EmbeddedStore {
    /// Opens the store in the folder `path`, made if there is none. Blocks: milliseconds after a clean stop; after a crash as long
    /// as it takes to replay what was in memory.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Folder`], [`StoreError::Full`], [`StoreError::Corrupt`] or [`StoreError::Failed`].
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Arc<Self>, StoreError> {
        let folder = Folder::lock(path)?;
        let (engine, Opening { id, totals }) = Engine::open(&folder, &options)?;
        let engine = Arc::new(engine);
        let shared = Arc::new(Shared {
            door: watch::channel(Door::Open(engine.clone())).0,
            cursors: watch::channel(totals.last).0,
            twins: twins::channel(),
            count: Mutex::new(totals.count),
            tail: Mutex::new(Tail::new(totals.last)),
            closed: watch::channel(None).0,
        });
        let (queue, works) = mpsc::channel();
        let committer = Committer {
            folder,
            options,
            shared: shared.clone(),
            queue: works,
            engine: Some(engine),
            totals,
            unturned_bytes: 0,
        };
        let end = Ending(shared.clone());
        let thread = std::thread::Builder::new().name("dialtone-store".into()).spawn(move || {
            let _end = end;
            committer.run();
        });
        Ok(Arc::new(Self {
            id,
            shared,
            queue,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            thread: Mutex::new(Some(thread.map_err(|error| StoreError::Failed(error.to_string()))?)),
        }))
    }

    /// Writes all that is held at this instant, and all notes, into the new file `to`, while puts and gets go on.
    ///
    /// # Errors
    /// [`BackupError`]; then there is no file `to`.
    pub async fn backup(&self, to: &Path) -> Result<Contents, BackupError> {
        let (engine, id, to) = (self.engine().await?, self.id, to.to_owned());
        let done = tokio::task::spawn_blocking(move || backup::write(&to, id, |sink| engine.export(sink))).await;
        done.map_err(|error| StoreError::Failed(error.to_string()))?
    }

    /// The tables; waits while they are being opened anew.
    async fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        if let Door::Open(engine) = &*self.shared.door.borrow() {
            return Ok(engine.clone());
        }
        let mut door = self.shared.door.subscribe();
        let door = door
            .wait_for(|door| !matches!(door, Door::Away))
            .await
            .map_err(|_| StoreError::Closed)?;
        match &*door {
            Door::Open(engine) => Ok(engine.clone()),
            Door::Failed(error) => Err(error.clone()),
            Door::Away | Door::Closed => Err(StoreError::Closed),
        }
    }

    /// Reads many rows on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        let engine = self.engine().await?;
        let done = tokio::task::spawn_blocking(move || read(&engine)).await;
        done.map_err(|error| StoreError::Failed(error.to_string()))?
    }

    /// Has the committer do something that takes `places` in its queue, and waits until it is durable.
    async fn write<T>(&self, places: usize, work: impl FnOnce(Waiting<T>) -> Work) -> Result<T, StoreError> {
        let places = places.clamp(1, WAITING_MAX) as u32;
        let place = self.places.clone().try_acquire_many_owned(places).map_err(|_| StoreError::Busy)?;
        let (reply, answer) = oneshot::channel();
        self.queue.send(work(Waiting { reply, place })).map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// Why the committer answers no more.
    fn ended(&self) -> StoreError {
        match &*self.shared.closed.borrow() {
            Some(_) => StoreError::Closed,
            None => StoreError::Failed("the committer stopped unexpectedly; please report this".into()),
        }
    }
}

#[async_trait]
impl RecordStore for EmbeddedStore {
    async fn put(&self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError> {
        check_puts(&batch)?;
        self.write(batch.len(), |waiting| Work::Put(batch, waiting)).await
    }

    /// Reads on the caller's thread: 5 to 10 µs from memory or the page cache, less than it costs to ask another thread; one
    /// read of the disk, about 0.1 ms, where it is cold.
    async fn get(&self, name: &Name) -> Result<Option<Held>, StoreError> {
        self.engine().await?.get(name)
    }

    async fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError> {
        let last = self.shared.cursors.borrow()[lane as usize];
        if lane == Lane::Hearsay || after >= last {
            return self.engine().await.map(|_| Vec::new());
        }
        let engine = self.engine().await?;
        if let Some(changes) = self.shared.tail().changes(lane, after, limit) {
            return Ok(changes);
        }
        if last - after <= READ_HERE {
            return engine.changes(lane, after, limit);
        }
        // Who waits must not hold the tables.
        drop(engine);
        self.read(move |engine| engine.changes(lane, after, limit)).await
    }

    async fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError> {
        self.read(move |engine| engine.scan(after, limit)).await
    }

    async fn expire(&self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError> {
        let limit = limit.min(EXPIRE_MAX);
        self.write(1, |waiting| Work::Expire(now, limit, waiting)).await
    }

    async fn put_pointers(&self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError> {
        self.write(batch.len(), |waiting| Work::Pointers(batch, waiting)).await
    }

    async fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError> {
        self.engine().await?.pointer(name)
    }

    async fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError> {
        let news = after < self.shared.cursors.borrow()[Lane::Hearsay as usize];
        if !news {
            return self.engine().await.map(|_| Vec::new());
        }
        self.read(move |engine| engine.pointer_changes(after, limit)).await
    }

    async fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError> {
        self.read(move |engine| engine.pointers(after, limit)).await
    }

    async fn forget_pointers(&self, batch: Vec<Pointer>) -> Result<usize, StoreError> {
        self.write(batch.len(), |waiting| Work::ForgetPointers(batch, waiting)).await
    }

    fn count(&self) -> Count {
        *self.shared.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> watch::Receiver<Cursors> {
        self.shared.cursors.subscribe()
    }

    fn twins(&self) -> broadcast::Receiver<Arc<Twins>> {
        self.shared.twins.subscribe()
    }

    fn id(&self) -> [u8; 16] {
        self.id
    }

    async fn set_notes(&self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        check_note_keys(&notes)?;
        self.write(notes.len(), |waiting| Work::Notes(notes, waiting)).await
    }

    async fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine().await?.note(key)
    }

    async fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<Note>, StoreError> {
        let prefix = prefix.to_vec();
        self.read(move |engine| engine.notes(&prefix, limit)).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        // An error means that the thread has ended already.
        let _ = self.queue.send(Work::Close);
        let mut closed = self.shared.closed.subscribe();
        let done = closed.wait_for(Option::is_some).await.map_err(|_| StoreError::Closed)?;
        done.clone().unwrap_or(Ok(()))
    }
}

impl Drop for EmbeddedStore {
    /// As `close`, and waits for it: whoever opens the folder next must find it free.
    fn drop(&mut self) {
        let _ = self.queue.send(Work::Close);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The error would be a panic of the committer, of which everyone who waited has been told.
        let _ = thread.map(JoinHandle::join);
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Held for as long as it takes to copy what is asked for.
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a commit.
    fn publish(&self, totals: &Totals) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) = totals.count;
        self.cursors
            .send_if_modified(|last| std::mem::replace(last, totals.last) != totals.last);
    }
}

/// Says that the committer has ended, also when it ended by a panic: nobody waits for ever.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.closed.send_if_modified(|closed| {
            let unsaid = closed.is_none();
            if unsaid {
                *closed = Some(Err(StoreError::Failed(
                    "the committer stopped unexpectedly; please report this".into(),
                )));
            }
            unsaid
        });
    }
}

/// Most puts that may wait: sixteen full commits, 64 MiB if all were of the largest size. More would wait for longer than clients do.
const WAITING_MAX: usize = 16_384;
/// The end of the log is read on the caller's thread if it is so short: as much as a few gets.
const READ_HERE: Cursor = 8;
/// Most names forgotten in one commit, so that puts do not wait long behind it.
const EXPIRE_MAX: usize = 1_024;
