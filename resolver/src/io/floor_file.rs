//! The rollback floor on disk: an append-only file of rows, shared by every process of the user.
//!
//! Rows are appended in one write, under a shared lock of `floor.lock`; whoever rewrites the file, because most of it is
//! outdated or its end is torn, takes that lock alone and replaces the file in one rename. Rows of other processes are read as they come, before each lookup that goes to
//! the network. A row is in the system's hands when it is appended, and on the disk when the system writes it: after a power cut
//! the last seconds' rows may be missing, which costs protection against replay of just those.

use crate::floor::{Floor, ROW_BYTES, Standing, write_row};
use dialtone_shared::{Name, Rank};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A floor, in memory or on disk.
#[derive(Debug)]
pub struct FloorKeeper {
    state: Mutex<State>,
    /// Whether it was said already that the disk cannot be written.
    warned: AtomicBool,
}

#[derive(Debug)]
struct State {
    floor: Floor,
    file: Option<FloorFile>,
}

#[derive(Debug)]
struct FloorFile {
    folder: PathBuf,
    lock: File,
    file: File,
    /// Which file that is: another process may have put a new one in its place.
    id: (u64, u64),
    /// How far it was read.
    read: u64,
    /// Rows in it, as far as it was read.
    rows: usize,
}

impl FloorKeeper {
    /// A floor that lasts as long as the process.
    pub fn in_memory(names_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                floor: Floor::new(names_max),
                file: None,
            }),
            warned: AtomicBool::new(false),
        }
    }

    /// The floor in `folder`, which is made if need be. Mends a torn end.
    ///
    /// # Errors
    /// What the system says, if the folder cannot be made, read or written.
    pub fn on_disk(folder: &Path, names_max: usize) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(folder.join(LOCK_FILE))?;
        let mut floor = Floor::new(names_max);
        lock.lock()?;
        let mut file = FloorFile::open(folder, lock)?;
        let mended = file.read_new(&mut floor).and_then(|()| {
            let damaged = file.file.metadata()?.len() != file.rows as u64 * ROW_BYTES as u64;
            if damaged || file.is_mostly_outdated(&floor) {
                file.rewrite(&floor)?;
            }
            Ok(())
        });
        file.lock.unlock()?;
        mended?;
        Ok(Self {
            state: Mutex::new(State { floor, file: Some(file) }),
            warned: AtomicBool::new(false),
        })
    }

    /// The highest rank seen of `name`, by this process or another.
    pub fn rank(&self, name: &Name) -> Option<Rank> {
        let state = &mut *self.state();
        if let Some(file) = &mut state.file {
            let outcome = file.refresh(&mut state.floor);
            self.warn(outcome);
        }
        state.floor.rank(name)
    }

    /// How `rank` stands to what was seen of `name`; if above, it is the floor from now on, here and on disk.
    pub fn raise(&self, name: &Name, rank: &Rank) -> Standing {
        let state = &mut *self.state();
        let standing = state.floor.raise(name, rank);
        if standing == Standing::Above
            && let Some(file) = &mut state.file
        {
            let outcome = file.append(&mut state.floor, name, rank);
            self.warn(outcome);
        }
        standing
    }

    /// How many names are remembered.
    pub fn len(&self) -> usize {
        self.state().floor.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A panic elsewhere leaves no half-made floor behind: each change of it is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk that fails takes no lookup with it: the floor goes on in memory. Said once.
    fn warn(&self, outcome: io::Result<()>) {
        match outcome {
            Err(error) if !self.warned.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "the rollback floor cannot be kept on disk: it lasts as long as this process");
            }
            Err(_) => {}
            Ok(()) => self.warned.store(false, Ordering::Relaxed),
        }
    }
}

impl FloorFile {
    fn open(folder: &Path, lock: File) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(folder.join(FLOOR_FILE))?;
        let id = id_of(&file.metadata()?);
        Ok(Self {
            folder: folder.to_owned(),
            lock,
            file,
            id,
            read: 0,
            rows: 0,
        })
    }

    /// Takes in what others appended since.
    fn refresh(&mut self, floor: &mut Floor) -> io::Result<()> {
        match fs::metadata(self.folder.join(FLOOR_FILE)) {
            Ok(now) if id_of(&now) == self.id => {
                if now.len() == self.read {
                    return Ok(());
                }
                self.read_new(floor)
            }
            // Replaced, or taken away: what is known goes on being known.
            Ok(_) => self.reopen(floor),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.reopen(floor),
            Err(error) => Err(error),
        }
    }

    fn reopen(&mut self, floor: &mut Floor) -> io::Result<()> {
        let lock = self.lock.try_clone()?;
        *self = Self::open(&self.folder, lock)?;
        self.read_new(floor)
    }

    fn read_new(&mut self, floor: &mut Floor) -> io::Result<()> {
        let left = self.file.metadata()?.len().saturating_sub(self.read);
        let mut buffer = vec![0; usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES)];
        loop {
            let got = self.file.read_at(&mut buffer, self.read)?;
            let (used, rows) = floor.read_rows(&buffer[..got]);
            self.read += used as u64;
            self.rows += rows;
            if used == 0 {
                return Ok(());
            }
        }
    }

    fn append(&mut self, floor: &mut Floor, name: &Name, rank: &Rank) -> io::Result<()> {
        self.lock.lock_shared()?;
        let appended = self.refresh(floor).and_then(|()| self.file.write_all(&write_row(name, rank)));
        self.lock.unlock()?;
        appended?;
        self.read_new(floor)?;
        if self.is_mostly_outdated(floor) {
            self.lock.lock()?;
            // Another may have been first.
            let rewritten = self.refresh(floor).and_then(|()| {
                if self.is_mostly_outdated(floor) {
                    self.rewrite(floor)
                } else {
                    Ok(())
                }
            });
            self.lock.unlock()?;
            rewritten?;
        }
        Ok(())
    }

    fn is_mostly_outdated(&self, floor: &Floor) -> bool {
        self.rows > ROWS_BEFORE_REWRITE && self.rows > floor.len() * 2
    }

    /// Puts a file with just what counts in the place of this one. The lock is held alone.
    fn rewrite(&mut self, floor: &Floor) -> io::Result<()> {
        let path = self.folder.join(FLOOR_FILE);
        let aside = self.folder.join(REWRITE_FILE);
        let new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        let mut writer = io::BufWriter::new(&new);
        for row in floor.rows() {
            writer.write_all(&row)?;
        }
        writer.flush()?;
        drop(writer);
        new.sync_all()?;
        fs::rename(&aside, &path)?;
        File::open(&self.folder)?.sync_all()?;
        let lock = self.lock.try_clone()?;
        *self = Self::open(&self.folder, lock)?;
        self.read = self.file.metadata()?.len();
        self.rows = floor.len();
        Ok(())
    }
}

fn id_of(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

const FLOOR_FILE: &str = "floor";
const LOCK_FILE: &str = "floor.lock";
const REWRITE_FILE: &str = "floor.new";
/// Bytes read at once: about 750 rows.
const READ_BYTES: usize = 64 * 1024;
/// Below this many rows (88 kB) rewriting is not worth a rename.
const ROWS_BEFORE_REWRITE: usize = 1_000;
