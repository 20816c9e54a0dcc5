//! The tables on the disk: opened, read, flushed. What is written is decided in `draft`, when in `committer`.

use super::EmbeddedOptions;
use super::folder::{Folder, folder_error, is_full, sync_folder};
use super::journal;
use super::layout::{self, Due, FORMAT, FORMAT_BEFORE, FORMAT_KEY, ID_KEY, TOTALS_KEY, Totals, damaged};
use super::pointer_row;
use crate::io::files;
use crate::store::backup::{BackupError, Entry, Sink};
use crate::store::{Change, Cursor, Held, Lane, Note, Pointer, PointerChange, StoreError};
use dialtone_shared::{Name, UnixSecs};
use fjall::config::FilterPolicy;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The open tables. Reads are consistent; a row that can be read is durable, for the engine writes its journal first.
pub(super) struct Engine {
    pub db: Database,
    pub records: Keyspace,
    pub pointers: Keyspace,
    pub log: Keyspace,
    pub forget: Keyspace,
    pub notes: Keyspace,
    /// The tables are to be closed: whoever reads for long stops.
    pub retiring: AtomicBool,
}

/// What is read once, when the tables are opened.
pub(super) struct Opening {
    pub id: [u8; 16],
    pub totals: Totals,
}

impl Engine {
    /// Opens the tables in `folder`, made first if there are none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(folder: &Folder, options: &EmbeddedOptions) -> Result<(Self, Opening), StoreError> {
        let tables = folder.tables();
        let exist = tables.try_exists().map_err(|error| folder_error(&tables, error))?;
        if exist {
            journal::check(&tables)?;
        } else {
            Self::create(folder, options)?;
        }
        let engine = Self::open_tables(&tables, options).map_err(|error| opening_error(&tables, error))?;
        let opening = engine.read_opening(&tables)?;
        Ok((engine, opening))
    }

    /// Makes empty tables aside and moves them into place whole: a crash leaves none or all of them.
    fn create(folder: &Folder, options: &EmbeddedOptions) -> Result<(), StoreError> {
        let aside = folder.new_tables();
        let failed = |error| folder_error(folder.path(), error);
        match std::fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let made = Self::open_tables(&aside, options).and_then(|engine| {
            let mut batch = engine.db.batch().durability(Some(PersistMode::SyncAll));
            batch.insert(&engine.notes, FORMAT_KEY, [FORMAT]);
            batch.insert(&engine.notes, ID_KEY, rand::random::<[u8; 16]>());
            batch.insert(&engine.notes, TOTALS_KEY, Totals::default().write());
            batch.commit()
        });
        made.map_err(|error| opening_error(&aside, error))?;
        std::fs::rename(&aside, folder.tables()).map_err(failed)?;
        sync_folder(folder.path()).map_err(failed)
    }

    fn open_tables(path: &Path, options: &EmbeddedOptions) -> fjall::Result<Self> {
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNALS_BYTES_MAX)
            .worker_threads(WORKERS)
            .max_cached_files(Some(files::share(CACHED_FILES_MAX)))
            .open()?;
        let table = KeyspaceCreateOptions::default;
        // Only records, pointers and notes are looked up by key; the others are read in order, where a filter answers nothing.
        let ordered = || {
            table()
                .filter_policy(FilterPolicy::disabled())
                .max_memtable_size(INDEX_MEMTABLE_BYTES)
        };
        Ok(Self {
            records: db.keyspace("records", || table().max_memtable_size(RECORDS_MEMTABLE_BYTES))?,
            pointers: db.keyspace("pointers", || table().max_memtable_size(INDEX_MEMTABLE_BYTES))?,
            log: db.keyspace("log", ordered)?,
            forget: db.keyspace("forget", ordered)?,
            notes: db.keyspace("notes", || table().max_memtable_size(INDEX_MEMTABLE_BYTES))?,
            retiring: AtomicBool::new(false),
            db,
        })
    }

    fn read_opening(&self, path: &Path) -> Result<Opening, StoreError> {
        let own = |key: &[u8]| self.notes.get(key).map_err(failure);
        let missing = |what: &str| StoreError::Corrupt(format!("{}: its {what} cannot be read", path.display()));
        match own(FORMAT_KEY)?.as_deref() {
            Some([FORMAT]) => {}
            // Marked before anything is written that the version before would not understand; that one then says so.
            Some([FORMAT_BEFORE]) => {
                let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.notes, FORMAT_KEY, [FORMAT]);
                batch.commit().map_err(failure)?;
                tracing::info!(path = %path.display(), "the store is of format {FORMAT_BEFORE} and is now of format {FORMAT}");
            }
            Some([other]) => {
                return Err(StoreError::Folder {
                    path: path.display().to_string(),
                    reason: format!(
                        "it has format {other} and this version reads formats {FORMAT_BEFORE} and {FORMAT}: start the version that wrote it"
                    ),
                });
            }
            _ => return Err(missing("format")),
        }
        let id = own(ID_KEY)?.and_then(|id| id[..].try_into().ok()).ok_or_else(|| missing("id"))?;
        let totals = own(TOTALS_KEY)?
            .and_then(|row| Totals::read(&row))
            .ok_or_else(|| missing("totals"))?;
        Ok(Opening { id, totals })
    }

    // --- reading ---

    /// What is held of `name`.
    pub fn get(&self, name: &Name) -> Result<Option<Held>, StoreError> {
        let row = self.records.get(name.as_bytes()).map_err(failure)?;
        row.map(|row| decode(&row, name)).transpose()
    }

    /// At most `limit` changes of `lane` after `after`.
    pub fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError> {
        let snapshot = self.db.snapshot();
        let rows = snapshot.range(
            &self.log,
            (Excluded(layout::log_key(lane, after)), Included(layout::log_key(lane, Cursor::MAX))),
        );
        let mut changes = Vec::new();
        for row in rows.take(limit) {
            let (key, value) = row.into_inner().map_err(failure)?;
            let entry = layout::read_log_key(&key).zip(Name::from_bytes(&value).ok());
            let (cursor, name) = entry.ok_or_else(|| StoreError::Corrupt("the change log".into()))?;
            let row = snapshot.get(&self.records, name.as_bytes()).map_err(failure)?;
            let held = decode(&row.ok_or_else(|| damaged(&name))?, &name)?;
            changes.push(Change { cursor, held });
        }
        Ok(changes)
    }

    /// At most `limit` of what is held, after the name `after`.
    pub fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError> {
        let start = after.as_ref().map_or(Unbounded, |name| Excluded(&name.as_bytes()[..]));
        let snapshot = self.db.snapshot();
        let rows = snapshot.range::<&[u8], _>(&self.records, (start, Unbounded));
        rows.take(limit)
            .map(|row| {
                let (key, value) = row.into_inner().map_err(failure)?;
                let name = Name::from_bytes(&key).map_err(|_| StoreError::Corrupt("the names of records".into()))?;
                decode(&value, &name)
            })
            .collect()
    }

    /// The pointer of `name`.
    pub fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError> {
        let row = self.pointers.get(name.as_bytes()).map_err(failure)?;
        Ok(row.and_then(|row| pointer_row::read(name, &row)).map(|(pointer, _)| pointer))
    }

    /// At most `limit` changes of the hearsay lane after `after`. A row that cannot be read is passed over: it was a hint.
    pub fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError> {
        let snapshot = self.db.snapshot();
        let (first, last) = (layout::log_key(Lane::Hearsay, after), layout::log_key(Lane::Hearsay, Cursor::MAX));
        let mut changes = Vec::new();
        for row in snapshot.range(&self.log, (Excluded(first), Included(last))) {
            if changes.len() >= limit {
                break;
            }
            let (key, value) = row.into_inner().map_err(failure)?;
            let Some((cursor, name)) = layout::read_log_key(&key).zip(Name::from_bytes(&value).ok()) else {
                continue;
            };
            let row = snapshot.get(&self.pointers, name.as_bytes()).map_err(failure)?;
            let standing = row.and_then(|row| pointer_row::read(&name, &row));
            if let Some((pointer, _)) = standing.filter(|(_, at)| *at == cursor) {
                changes.push(PointerChange { cursor, pointer });
            }
        }
        Ok(changes)
    }

    /// At most `limit` pointers, after the name `after`.
    pub fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError> {
        let start = after.as_ref().map_or(Unbounded, |name| Excluded(&name.as_bytes()[..]));
        let snapshot = self.db.snapshot();
        let mut pointers = Vec::new();
        for row in snapshot.range::<&[u8], _>(&self.pointers, (start, Unbounded)) {
            if pointers.len() >= limit {
                break;
            }
            let (key, value) = row.into_inner().map_err(failure)?;
            let name = Name::from_bytes(&key).ok();
            pointers.extend(name.and_then(|name| pointer_row::read(&name, &value)).map(|(pointer, _)| pointer));
        }
        Ok(pointers)
    }

    /// At most `limit` of what may be forgotten at `now`.
    pub fn due(&self, now: UnixSecs, limit: usize) -> Result<Vec<Due>, StoreError> {
        // The first key of the next second: everything before it is due.
        let end = now.plus(1).0.to_be_bytes();
        let rows = self.db.snapshot();
        let rows = rows.range::<&[u8], _>(&self.forget, ..&end[..]);
        rows.take(limit)
            .map(|row| {
                let key = row.key().map_err(failure)?;
                layout::read_forget_key(&key).ok_or_else(|| StoreError::Corrupt("the index of what may be forgotten".into()))
            })
            .collect()
    }

    /// The note at `key`.
    pub fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.notes.get(layout::note_key(key)).map_err(failure)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// At most `limit` notes under `prefix`.
    pub fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<Note>, StoreError> {
        let rows = self.db.snapshot().prefix(&self.notes, layout::note_key(prefix));
        rows.take(limit)
            .map(|row| {
                let (key, value) = row.into_inner().map_err(failure)?;
                Ok((key[1..].to_vec(), value.to_vec()))
            })
            .collect()
    }

    /// Gives all that is held at this instant, and all notes, to `sink`. Stops when the tables are to be closed.
    pub fn export(&self, sink: &mut Sink<'_>) -> Result<(), BackupError> {
        let snapshot = self.db.snapshot();
        for row in snapshot.iter(&self.records) {
            self.is_staying()?;
            let (key, value) = row.into_inner().map_err(failure)?;
            let name = Name::from_bytes(&key).map_err(|_| StoreError::Corrupt("the names of records".into()))?;
            sink(Entry::Record(decode(&value, &name)?))?;
        }
        for row in snapshot.prefix(&self.notes, layout::note_key(b"")) {
            self.is_staying()?;
            let (key, value) = row.into_inner().map_err(failure)?;
            sink(Entry::Note(key[1..].to_vec(), value.to_vec()))?;
        }
        Ok(())
    }

    fn is_staying(&self) -> Result<(), StoreError> {
        if self.retiring.load(Ordering::Relaxed) {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    // --- keeping it going ---

    /// Waits until a commit would not be held up inside the engine, where nothing could end the wait if the engine's writers
    /// died meanwhile. The bounds are below those at which it holds writers up (4 sealed memtables, 30 runs).
    ///
    /// # Errors
    /// [`StoreError`] if the engine has stopped itself.
    pub fn wait_for_room(&self) -> Result<(), StoreError> {
        while self
            .tables()
            .iter()
            .any(|table| table.sealed_memtable_count() >= 3 || table.tree.l0_run_count() >= 24)
        {
            self.is_well()?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Starts to write all that is in memory to tables: a table that is seldom written would otherwise keep every journal alive.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn turn(&self) -> Result<(), StoreError> {
        for table in self.tables() {
            table.rotate_memtable().map_err(failure)?;
        }
        Ok(())
    }

    /// As [`Engine::turn`], and waits until it is done, so that the next start has nothing to replay.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is lost, the next start takes longer.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.turn()?;
        let begun = Instant::now();
        while self.tables().iter().any(|table| table.sealed_memtable_count() > 0) {
            self.is_well()?;
            if begun.elapsed() > FLUSH_PATIENCE {
                return Err(StoreError::Failed(
                    "what was in memory was not written in time; the next start will take longer".into(),
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The engine stops itself when a write has failed, also one in the background.
    fn is_well(&self) -> Result<(), StoreError> {
        self.db.persist(PersistMode::Buffer).map_err(failure)
    }

    fn tables(&self) -> [&Keyspace; 5] {
        [&self.records, &self.pointers, &self.log, &self.forget, &self.notes]
    }
}

fn decode(row: &Slice, name: &Name) -> Result<Held, StoreError> {
    layout::read_row(row).ok_or_else(|| damaged(name))?.held(name)
}

/// What an error of the engine means.
pub(super) fn failure(error: fjall::Error) -> StoreError {
    match &error {
        fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) if is_full(io) => StoreError::Full(io.to_string()),
        fjall::Error::Storage(fjall::LsmError::ChecksumMismatch { .. }) => StoreError::Corrupt(format!("a block of a table ({error})")),
        fjall::Error::Poisoned => {
            StoreError::Failed("a write failed earlier; the store takes no puts until it has been opened anew".into())
        }
        _ => StoreError::Failed(error.to_string()),
    }
}

fn opening_error(path: &Path, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Locked => StoreError::InUse(path.display().to_string()),
        fjall::Error::Io(error) => folder_error(path, error),
        fjall::Error::Storage(fjall::LsmError::Io(error)) => folder_error(path, error),
        fjall::Error::JournalRecovery(_) | fjall::Error::Unrecoverable => StoreError::Corrupt(format!(
            "{} ({error}); move the folder away and restore a backup, or let peers fill a new one",
            path.display()
        )),
        fjall::Error::InvalidVersion(_) => StoreError::Folder {
            path: path.display().to_string(),
            reason: format!("its tables are of another version ({error}): start the version that wrote them"),
        },
        error => failure(error),
    }
}

/// 16 MiB: measured to stall least (a flush of more holds up commits for longer), with half the peak memory of 64 MiB.
const RECORDS_MEMTABLE_BYTES: u64 = 16 << 20;
/// Index rows are a tenth of record rows: with a quarter of the memory they are flushed less often than records are.
const INDEX_MEMTABLE_BYTES: u64 = 4 << 20;
/// Two journals of 64 MiB: what a start after a crash may have to replay.
const JOURNALS_BYTES_MAX: u64 = 128 << 20;
/// Tables that are kept open: the engine's own number.
const CACHED_FILES_MAX: usize = 900;
/// One flushes while the other compacts, also where there is one core.
const WORKERS: usize = 2;
/// Longer than five memtables take on a slow disk.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
