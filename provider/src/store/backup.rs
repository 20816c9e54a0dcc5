//! A store in one file, taken while it runs, and a store made from such a file.
//!
//! ```text
//! "dialtone backup\n"  [version u8 = 1][id 16 of the store]
//! entries   [length u32 of what follows][kind u8] ...
//!             1  record: [class u8][keep until u64][from length u8: 0 or 33][from][account length u16][account][envelope]
//!             2  note:   [key length u16][key][value]
//!             0  the end: [records u64][notes u64]
//! SHA-256 of all before it, 32 bytes
//! ```
//!
//! The file says nothing of how an engine keeps its rows, so any engine can be filled from it. It may have lain anywhere since: the
//! digest shows damage, and every record passes the door of verification again. A restored store has an id of its
//! own: what peers remember about the old one is not true of it. Pointers are not in the file: they are hints that may be out of date by
//! then, and to a store with a new id every peer tells everything anew.

use super::embedded::{folder_error, sync_folder};
use super::{Class, Condition, EmbeddedOptions, EmbeddedStore, Held, Put, RecordStore, StoreError};
use bytes::Bytes;
use dialtone_shared::{Name, SignedRecord, UnixSecs};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What a backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// Records.
    pub records: u64,
    /// Notes.
    pub notes: u64,
}

/// Why a backup was not made or not restored. What was there before is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// There is something already. The operator's turn: name another place.
    #[error("{0} exists already: nothing is overwritten; name another place or move it away")]
    Exists(String),
    /// The file or folder cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Not a backup, or one of a version from the future.
    #[error("{0} is not a backup that this version reads")]
    Unknown(String),
    /// A backup that was cut off or changed. Nothing was restored.
    #[error("{0} is damaged: its digest does not match; use another backup")]
    Damaged(String),
    /// A record in it is not one.
    #[error("entry {entry} of {path} is refused: {reason}")]
    Refused {
        /// Which file.
        path: String,
        /// Which entry, counted from 1.
        entry: u64,
        /// Why.
        reason: String,
    },
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that a backup holds.
pub(super) enum Entry {
    Record(Held),
    Note(Vec<u8>, Vec<u8>),
}

/// Takes the entries of a backup, one after the other.
pub(super) type Sink<'a> = dyn FnMut(Entry) -> Result<(), BackupError> + 'a;

/// Writes what `source` gives into the file `to`, which appears when it is whole and durable.
///
/// # Errors
/// [`BackupError`].
pub(super) fn write(
    to: &Path,
    id: [u8; 16],
    source: impl FnOnce(&mut Sink<'_>) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let failed = |error| file_error(to, &error);
    if to.try_exists().map_err(failed)? {
        return Err(BackupError::Exists(to.display().to_string()));
    }
    let aside = beside(to, ".partial");
    let written = write_aside(&aside, id, source).and_then(|contents| {
        std::fs::rename(&aside, to).and_then(|()| sync_folder(parent(to))).map_err(failed)?;
        Ok(contents)
    });
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed is no worse than that it could not be written.
        let _ = std::fs::remove_file(&aside);
    }
    written
}

fn write_aside(aside: &Path, id: [u8; 16], source: impl FnOnce(&mut Sink<'_>) -> Result<(), BackupError>) -> Result<Contents, BackupError> {
    let failed = |error| file_error(aside, &error);
    let file = File::create(aside).map_err(failed)?;
    let mut out = Hashed {
        inner: BufWriter::new(file),
        hash: Sha256::new(),
    };
    out.write_all(MAGIC)
        .and_then(|()| out.write_all(&[VERSION]))
        .and_then(|()| out.write_all(&id))
        .map_err(failed)?;
    let mut contents = Contents::default();
    let mut entry = Vec::new();
    source(&mut |next| {
        entry.clear();
        match &next {
            Entry::Record(held) => {
                contents.records += 1;
                write_record(&mut entry, held);
            }
            Entry::Note(key, value) => {
                contents.notes += 1;
                entry.push(NOTE);
                entry.extend((key.len() as u16).to_be_bytes());
                entry.extend(key);
                entry.extend(value);
            }
        }
        write_entry(&mut out, &entry).map_err(failed)
    })?;
    let mut end = vec![END];
    end.extend(contents.records.to_be_bytes());
    end.extend(contents.notes.to_be_bytes());
    write_entry(&mut out, &end).map_err(failed)?;
    let Hashed { mut inner, hash } = out;
    inner.write_all(&hash.finalize()).map_err(failed)?;
    let file = inner.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(contents)
}

/// Makes a store in the folder `to`, which must be empty or absent, from the backup `from`. The folder appears when it is whole.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(from: &Path, to: &Path, options: EmbeddedOptions) -> Result<Contents, BackupError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || restore_here(&runtime, &from, &to, options)).await;
    done.map_err(|error| StoreError::Failed(error.to_string()))?
}

fn restore_here(runtime: &tokio::runtime::Handle, from: &Path, to: &Path, options: EmbeddedOptions) -> Result<Contents, BackupError> {
    check_digest(from)?;
    let aside = beside(to, ".restoring");
    for path in [to, &aside] {
        let occupied = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(file_error(path, &error)),
        };
        if occupied {
            return Err(BackupError::Exists(path.display().to_string()));
        }
    }
    let store = EmbeddedStore::open(&aside, options)?;
    let filled = fill(runtime, from, &*store).and_then(|contents| Ok(runtime.block_on(store.close()).map(|()| contents)?));
    drop(store);
    let made = filled.and_then(|contents| {
        std::fs::rename(&aside, to).map_err(|error| folder_error(to, error))?;
        Ok(contents)
    });
    if made.is_err() {
        // Half a store is of no use, and would stand in the way of the next try. It was empty or absent when we began.
        let _ = std::fs::remove_dir_all(&aside);
    }
    let contents = made?;
    sync_folder(parent(to)).map_err(|error| folder_error(to, error))?;
    Ok(contents)
}

/// Puts all entries of the backup `from` into `store`.
fn fill(runtime: &tokio::runtime::Handle, from: &Path, store: &dyn RecordStore) -> Result<Contents, BackupError> {
    let failed = |error| file_error(from, &error);
    let mut input = BufReader::new(File::open(from).map_err(failed)?);
    read_head(&mut input, from)?;
    let (mut contents, mut records, mut notes) = (Contents::default(), Vec::new(), Vec::new());
    let (mut entry, mut unkept) = (0, 0);
    loop {
        entry += 1;
        let refused = |reason: String| BackupError::Refused {
            path: from.display().to_string(),
            entry,
            reason,
        };
        let bytes = read_entry(&mut input)
            .map_err(failed)?
            .ok_or_else(|| refused("it is too long".into()))?;
        unkept += bytes.len();
        let end = match bytes.split_first() {
            Some((&RECORD, body)) => {
                records.push(read_record(body).ok_or_else(|| refused("it is not a record".into()))?);
                None
            }
            Some((&NOTE, body)) => {
                notes.push(read_note(body).ok_or_else(|| refused("it is not a note".into()))?);
                None
            }
            Some((&END, counts)) => Some(counts),
            _ => return Err(refused("its kind is not known".into())),
        };
        if end.is_some() || records.len() + notes.len() >= BATCH || unkept >= ENTRY_BYTES_MAX as usize {
            unkept = 0;
            contents.records += records.len() as u64;
            contents.notes += notes.len() as u64;
            let puts = verify(std::mem::take(&mut records)).map_err(refused)?;
            runtime.block_on(store.put(puts))?;
            runtime.block_on(store.set_notes(std::mem::take(&mut notes)))?;
        }
        if let Some(counts) = end {
            let counted = [contents.records.to_be_bytes(), contents.notes.to_be_bytes()].concat();
            return if counts == counted {
                Ok(contents)
            } else {
                Err(refused("it counts other numbers than there are".into()))
            };
        }
    }
}

/// What was read of a record, before its signature is checked.
struct Unverified {
    signed: SignedRecord,
    class: Class,
    keep_until: UnixSecs,
    from: Option<Name>,
    account: Option<String>,
}

type Note = (Vec<u8>, Option<Vec<u8>>);

/// Checks all signatures, on every core: they are most of what a restore costs. The error says which record is refused, and why.
fn verify(records: Vec<Unverified>) -> Result<Vec<Put>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = records.len().div_ceil(cores).max(1);
    let mut records = records.into_iter();
    let shares = std::iter::from_fn(|| Some(records.by_ref().take(share).collect::<Vec<_>>()).filter(|share| !share.is_empty()));
    std::thread::scope(|scope| {
        let check = |share: Vec<_>| scope.spawn(|| share.into_iter().map(verify_one).collect::<Result<Vec<_>, _>>());
        let threads: Vec<_> = shares.map(check).collect();
        let mut puts = Vec::new();
        for thread in threads {
            puts.extend(thread.join().map_err(|_| "a verifying thread stopped unexpectedly".to_owned())??);
        }
        Ok(puts)
    })
}

fn verify_one(unverified: Unverified) -> Result<Put, String> {
    let Unverified {
        signed,
        class,
        keep_until,
        from,
        account,
    } = unverified;
    let name = *signed.name();
    Ok(Put {
        record: signed.verify().map_err(|error| format!("the record of {name}: {error}"))?,
        class,
        keep_until,
        from,
        account,
        condition: Condition::None,
    })
}

// --- reading and writing entries ---

fn write_entry(out: &mut impl Write, entry: &[u8]) -> io::Result<()> {
    let length = u32::try_from(entry.len()).ok().filter(|length| *length <= ENTRY_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a note is too long for a backup"))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(entry)
}

/// `None`: longer than an entry can be.
fn read_entry(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > ENTRY_BYTES_MAX {
        return Ok(None);
    }
    let mut entry = vec![0; length as usize];
    input.read_exact(&mut entry)?;
    Ok(Some(entry))
}

fn write_record(entry: &mut Vec<u8>, held: &Held) {
    let account = held.account.as_deref().unwrap_or_default();
    entry.extend([RECORD, held.class as u8]);
    entry.extend(held.keep_until.0.to_be_bytes());
    entry.push(held.from.map_or(0, |_| Name::BYTES as u8));
    entry.extend(held.from.iter().flat_map(|from| from.as_bytes()));
    entry.extend((account.len() as u16).to_be_bytes());
    entry.extend(account.as_bytes());
    entry.extend_from_slice(held.record.bytes());
}

fn read_record(body: &[u8]) -> Option<Unverified> {
    let ([class, keep_until @ ..], rest) = body.split_first_chunk::<9>()?;
    let class = [Class::Upstream, Class::Peer, Class::Customer]
        .into_iter()
        .find(|known| *known as u8 == *class)?;
    let (from_length, rest) = rest.split_first()?;
    let (from, rest) = rest.split_at_checked(usize::from(*from_length))?;
    let from = if from.is_empty() {
        None
    } else {
        Some(Name::from_bytes(from).ok()?)
    };
    let (account_length, rest) = rest.split_first_chunk()?;
    let (account, envelope) = rest.split_at_checked(usize::from(u16::from_be_bytes(*account_length)))?;
    let account = str::from_utf8(account).ok()?;
    Some(Unverified {
        signed: SignedRecord::decode(Bytes::copy_from_slice(envelope)).ok()?,
        class,
        keep_until: UnixSecs(u64::from_be_bytes(*keep_until)),
        from,
        account: (!account.is_empty()).then(|| account.to_owned()),
    })
}

fn read_note(body: &[u8]) -> Option<Note> {
    let (length, rest) = body.split_first_chunk()?;
    let (key, value) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((key.to_vec(), Some(value.to_vec())))
}

fn read_head(input: &mut impl Read, path: &Path) -> Result<(), BackupError> {
    let mut head = [0; MAGIC.len() + 1 + 16];
    let read = input.read_exact(&mut head);
    if read.is_err() || &head[..MAGIC.len()] != MAGIC || head[MAGIC.len()] != VERSION {
        return Err(BackupError::Unknown(path.display().to_string()));
    }
    Ok(())
}

/// That the file is whole, before anything is made of it.
fn check_digest(path: &Path) -> Result<(), BackupError> {
    let failed = |error| file_error(path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    read_head(&mut file, path)?;
    let mut input = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
    let mut hash = Hashed {
        inner: io::sink(),
        hash: Sha256::new(),
    };
    io::copy(&mut (&mut input).take(length.saturating_sub(32)), &mut hash).map_err(failed)?;
    let mut trailer = Vec::new();
    input.read_to_end(&mut trailer).map_err(failed)?;
    if trailer == hash.hash.finalize()[..] {
        Ok(())
    } else {
        Err(BackupError::Damaged(path.display().to_string()))
    }
}

/// A writer that hashes what goes through it.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn file_error(path: &Path, error: &io::Error) -> BackupError {
    BackupError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

/// The same path with `suffix` after it.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    path.into()
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

const MAGIC: &[u8; 16] = b"dialtone backup\n";
const VERSION: u8 = 1;
const END: u8 = 0;
const RECORD: u8 = 1;
const NOTE: u8 = 2;
/// Entries restored in one commit.
const BATCH: usize = 1_024;
/// Longest entry: far above any record or note, far below what would hurt to read.
const ENTRY_BYTES_MAX: u32 = 16 << 20;
