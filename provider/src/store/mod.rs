//! What a store promises, whichever engine keeps the promise.
//!
//! A store holds at most one record of a name, the highest-ranking one it was given. Putting is a join: any order, any
//! number of times, the same result. Every change of what is held stands in a *change log*: two lanes (revocations, and
//! all else), each an ordered run of cursors; a name stands in a lane at most once, at its latest change, so reading a lane from the
//! start yields exactly what is held, and a log never has to be cut.
//!
//! Beside what is held a store keeps [`pointer`]s, what peers say is held elsewhere: at most one of a name, and only while it outranks what is
//! held of that name, which is compared in the commit of either. They stand in a lane of their own, and the same is true of it.
//!
//! Two engines keep these promises: [`memory`], and [`embedded`], which is durable. [`backup`] carries a store to another disk.
//! After `close` everything but `count`, `watch` and `id` answers [`StoreError::Closed`].

pub mod backup;
pub mod embedded;
mod join;
pub mod memory;
pub mod pointer;
mod twins;

pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use memory::MemoryStore;
pub use pointer::{Pointer, PointerChange, PointerOutcome};
pub use twins::Twins;

use crate::planted::{self, Bug};
use async_trait::async_trait;
use dialtone_shared::{Name, Rank, UnixSecs, VerifiedRecord};
use std::fmt;
use std::sync::Arc;

/// A provider's table of records.
#[async_trait]
pub trait RecordStore: Send + Sync + fmt::Debug + 'static {
    /// Puts a batch, in order. Durable on return; concurrent batches share a commit; a batch is kept whole or not at all.
    /// One outcome for each put.
    ///
    /// # Errors
    /// [`StoreError`]. An error means "unknown", never "not stored".
    async fn put(&self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError>;

    /// What is held of `name`, expired records too: whether they are served is the caller's decision.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn get(&self, name: &Name) -> Result<Option<Held>, StoreError>;

    /// At most `limit` changes of `lane` after `cursor`, in order. Each is what is held now, so a record that changed again
    /// since is reported once, at its later cursor. In [`Lane::Hearsay`] nothing that is held stands: see
    /// [`RecordStore::pointer_changes`].
    ///
    /// # Errors
    /// [`StoreError`].
    async fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// At most `limit` names after `after` (exclusive; `None`: from the first), ascending, with what is held.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError>;

    /// Forgets at most `limit` of what may be forgotten at `now`: see [`Held::forget_at`] and [`Pointer::forget_at`]. Returns the names
    /// of what was forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn expire(&self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError>;

    /// Keeps pointers, in order, each unless as much is known already. Durable on return, and as a batch of puts kept whole or not at all.
    /// One outcome for each.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_pointers(&self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError>;

    /// The pointer of `name`, if one stands; then it outranks what is held.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError>;

    /// At most `limit` changes of [`Lane::Hearsay`] after `cursor`, in order: of each the pointer that stands now.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError>;

    /// At most `limit` pointers of names after `after` (exclusive; `None`: from the first), ascending by name.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError>;

    /// Forgets these pointers, each only if it stands just as given: one that was replaced meanwhile stays. Returns how many were forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_pointers(&self, batch: Vec<Pointer>) -> Result<usize, StoreError>;

    /// How many records are held, the bytes of their envelopes, and how many pointers stand.
    fn count(&self) -> Count;

    /// The last cursor of each lane, `[urgent, ordinary, hearsay]`; changes at every commit, so that feeds and caches wake.
    fn watch(&self) -> tokio::sync::watch::Receiver<Cursors>;

    /// Pairs of records that only their bytes tell apart, from now on, each once both were put: see [`Twins`]. Told when what became of the put
    /// is durable; a listener that falls far behind misses some.
    fn twins(&self) -> tokio::sync::broadcast::Receiver<Arc<Twins>>;

    /// Drawn when the store is made, and anew when it is restored from a backup: whoever remembers something about a
    /// store (a peer's cursor) remembers it about this id.
    fn id(&self) -> [u8; 16];

    /// A small durable value kept beside the records: cursors, deferred records, books. Keys up to 256 bytes; durable on return.
    /// `None` removes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn set_notes(&self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError>;

    /// The note at `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` notes whose keys start with `prefix`, ascending by key.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<Note>, StoreError>;

    /// Takes no more puts, finishes those it took, and lets go of the disk. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn close(&self) -> Result<(), StoreError>;
}

/// A note: its key and its value.
pub type Note = (Vec<u8>, Vec<u8>);

/// A position in a lane of the change log; 0 is before everything.
pub type Cursor = u64;

/// A position in each lane: `[urgent, ordinary, hearsay]`.
pub type Cursors = [Cursor; LANES];

/// How many lanes there are.
pub const LANES: usize = 3;

/// A lane of the change log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Lane {
    /// Revocations, which overtake everything.
    Urgent = 0,
    /// All else that is held.
    Ordinary = 1,
    /// Pointers.
    Hearsay = 2,
}

/// Where a provider learnt a record; decides whom it is passed on to. At equal rank the higher class wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// From an upstream.
    Upstream = 1,
    /// From a peer.
    Peer = 2,
    /// From a customer: put here, or at a customer of ours.
    Customer = 3,
}

/// One record to put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// The record.
    pub record: VerifiedRecord,
    /// Where it was learnt.
    pub class: Class,
    /// How long it is promised to be kept.
    pub keep_until: UnixSecs,
    /// The peer who sent it; `None`: put here. A feed does not send a change back to where it came from.
    pub from: Option<Name>,
    /// Who is charged; `None`: nobody's account (anonymous, or a peer's).
    pub account: Option<String>,
    /// Only if this is what is held.
    pub condition: Condition,
}

/// What must be held for a put to happen (compare-and-swap, atomic with the put).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Anything or nothing.
    None,
    /// Nothing at all (`If-None-Match: *`).
    Absent,
    /// A record of this very rank (`If-Match`).
    Rank(Rank),
}

/// What became of a put. Whatever is not `Stored` or `Renewed` changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It outranks what was held (`replaced`: whether anything was) and is kept.
    Stored {
        /// Whether an older record gave way.
        replaced: bool,
    },
    /// The same record, with a higher class or a later keep-until (in whole days): those are kept, and it is a change, from
    /// the peer who brought it, charged to the account it names (to the old one if it names none).
    Renewed,
    /// The same record, and nothing new about it.
    Same,
    /// A record of higher rank is held.
    Older(Box<Held>),
    /// The condition did not hold; what is held instead.
    ConditionFailed(Option<Box<Held>>),
}

/// What is held of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The record.
    pub record: VerifiedRecord,
    /// Where it was learnt.
    pub class: Class,
    /// How long it is promised to be kept.
    pub keep_until: UnixSecs,
    /// The peer it came from.
    pub from: Option<Name>,
    /// Who is charged.
    pub account: Option<String>,
}

/// One entry of the change log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its position.
    pub cursor: Cursor,
    /// What is held since.
    pub held: Held,
}

/// How much a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Names.
    pub records: u64,
    /// Bytes of envelopes.
    pub bytes: u64,
    /// Names that are only pointed to, or pointed to at a higher rank than is held.
    pub pointers: u64,
}

/// Why a store cannot do what was asked. Nothing was lost; whether an unanswered put was kept is unknown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. The operator's turn; reads go on.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Another process has the folder open.
    #[error("the data folder {0} is in use by another process")]
    InUse(String),
    /// The folder cannot be used.
    #[error("the data folder {path} cannot be used: {reason}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// The disk or the engine failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// What was read is not what was written.
    #[error("the store is damaged at {0}")]
    Corrupt(String),
    /// More puts are waiting than may wait. Try again later.
    #[error("the store is busy: too many puts are waiting")]
    Busy,
    /// Closed.
    #[error("the store is closed")]
    Closed,
}

impl Held {
    /// When it may be forgotten: see [`Record::forgotten_at`](dialtone_shared::Record::forgotten_at).
    pub fn forget_at(&self) -> Option<UnixSecs> {
        let record = self.record.record();
        if planted::is(Bug::NoFloor) {
            return record.served_until(self.keep_until).map(|until| until.min(self.keep_until));
        }
        record.forgotten_at(self.keep_until)
    }

    /// Whether it is held, but served no more: it has expired, or its lease is over.
    pub fn is_stale(&self, now: UnixSecs) -> bool {
        self.record.record().served_until(self.keep_until).is_some_and(|until| until <= now)
    }

    /// Which lane its change stands in.
    pub fn lane(&self) -> Lane {
        if self.record.rank().revoked { Lane::Urgent } else { Lane::Ordinary }
    }
}

impl Put {
    /// What is held once this is stored.
    fn into_held(self) -> Held {
        Held {
            record: self.record,
            class: self.class,
            keep_until: self.keep_until,
            from: self.from,
            account: self.account,
        }
    }

    /// What is held once this has renewed a record that was charged to `account`. If the class is from here and the
    /// keep-until is not, or the other way round, then it is from nobody: whoever brought the one has yet to hear of the other.
    fn into_renewed(self, class: Class, keep_until: UnixSecs, account: Option<String>) -> Held {
        let whole = (class, keep_until) == (self.class, self.keep_until);
        Held {
            class,
            keep_until,
            from: self.from.filter(|_| whole),
            account: self.account.clone().or(account),
            ..self.into_held()
        }
    }
}

/// Longest name of an account, in bytes: what fits the head of a row many times over.
pub const ACCOUNT_BYTES_MAX: usize = 256;

/// Longest key of a note, in bytes: a word, a name and a number, with room to spare.
pub const NOTE_KEY_BYTES_MAX: usize = 256;

/// Refuses what no engine keeps, before any of it is kept.
fn check_puts(batch: &[Put]) -> Result<(), StoreError> {
    let longest = batch
        .iter()
        .filter_map(|put| put.account.as_ref())
        .map(String::len)
        .max()
        .unwrap_or(0);
    if longest > ACCOUNT_BYTES_MAX {
        return Err(StoreError::Failed(format!(
            "the name of an account has {longest} bytes, it may have {ACCOUNT_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// Refuses what no engine keeps, before any of it is kept.
fn check_note_keys(notes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
    let longest = notes.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    if longest > NOTE_KEY_BYTES_MAX {
        return Err(StoreError::Failed(format!(
            "the key of a note has {longest} bytes, it may have {NOTE_KEY_BYTES_MAX}"
        )));
    }
    Ok(())
}
