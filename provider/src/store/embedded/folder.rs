//! The folder of an embedded store: made, locked against other processes, measured.
//!
//! ```text
//! lock         held locked by the process that has the store open
//! tables/      the engine's files
//! tables.new/  tables that are being made; left over, they hold nothing and are made anew
//! ```

use crate::store::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if there is none and locks it.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Full`] or [`StoreError::Folder`].
    pub fn lock(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| folder_error(path, error);
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.display().to_string())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine's files are.
    pub fn tables(&self) -> PathBuf {
        self.path.join("tables")
    }

    /// Where they are made.
    pub fn new_tables(&self) -> PathBuf {
        self.path.join("tables.new")
    }

    /// Bytes that may still be written there; `None` if the system does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// What an error at a path means to an operator.
pub(crate) fn folder_error(path: &Path, error: io::Error) -> StoreError {
    if is_full(&error) {
        StoreError::Full(format!("{}: {error}", path.display()))
    } else {
        StoreError::Folder {
            path: path.display().to_string(),
            reason: error.to_string(),
        }
    }
}

/// Whether there is no space left, on the disk or for this user.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes names in a folder durable: on Linux a rename is only as durable as its folder.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
