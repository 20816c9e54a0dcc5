//! A site's records on disk: a file for each, replaced in one rename and on the disk before it counts.
//!
//! ```text
//! folder/lock              held by the process that keeps it
//! folder/origin            what names stand under, as a provider said last
//! folder/<name>.record     the signed record, byte for byte; `dialtone publish --sign-only` writes the same
//! ```
//!
//! Nothing is believed for where it lies: a record is verified each time that it is read.

use crate::settings::ORIGIN_FILE_BYTES_MAX;
use dialtone_shared::limits::{RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use dialtone_shared::{Name, Rank, SignedRecord, VerifiedRecord};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The folder. Nobody else keeps it as long as this is there.
#[derive(Debug)]
pub struct SiteFolder {
    path: PathBuf,
    /// What lies there already.
    written: HashMap<Name, Rank>,
    _lock: File,
}

impl SiteFolder {
    /// Takes the folder, which is made if need be.
    ///
    /// # Errors
    /// It cannot be made or written, or another process keeps it.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process keeps it"),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            path: path.to_owned(),
            written: HashMap::new(),
            _lock: lock,
        })
    }

    /// The record of `name` that lies there; `None`: none that is to be believed.
    pub fn read(&mut self, name: &Name) -> Option<VerifiedRecord> {
        let path = self.file_of(name);
        // What is damaged or gone is written again.
        self.written.remove(name);
        let read = read_most(&path, RECORD_BYTES_MAX.max(1 + VALUE_BYTES_MAX)).map_err(|error| error.to_string());
        let verified = read.and_then(|bytes| match bytes {
            Some(bytes) => {
                let signed = SignedRecord::decode(bytes.into()).map_err(|error| error.to_string())?;
                signed.verify_for(name).map(Some).map_err(|error| error.to_string())
            }
            None => Ok(None),
        });
        match verified {
            Ok(Some(record)) => {
                self.written.insert(*name, *record.rank());
                Some(record)
            }
            Ok(None) => None,
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "this file does not hold a record of its name: it is passed over");
                None
            }
        }
    }

    /// Writes a record, unless it lies there already. Afterwards it is on the disk.
    ///
    /// # Errors
    /// What the system says; what lay there before lies there still.
    pub fn write(&mut self, record: &VerifiedRecord) -> io::Result<()> {
        if self.written.get(record.name()) == Some(record.rank()) {
            return Ok(());
        }
        self.replace(&self.file_of(record.name()), record.bytes())?;
        self.written.insert(*record.name(), *record.rank());
        Ok(())
    }

    /// What names stood under when a provider said so last.
    pub fn origin(&self) -> Option<String> {
        let bytes = read_most(&self.path.join(ORIGIN_FILE), ORIGIN_FILE_BYTES_MAX).ok()??;
        let text = String::from_utf8(bytes).ok()?;
        Some(text.trim().to_owned()).filter(|origin| !origin.is_empty())
    }

    /// Remembers what names stand under.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_origin(&self, origin: &str) -> io::Result<()> {
        if self.origin().as_deref() == Some(origin) {
            return Ok(());
        }
        self.replace(&self.path.join(ORIGIN_FILE), format!("{origin}\n").as_bytes())
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = path.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(&self.path)?.sync_all()
    }

    fn file_of(&self, name: &Name) -> PathBuf {
        self.path.join(format!("{name}.record"))
    }
}

/// What a file holds; `None`: there is no such file.
fn read_most(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    Ok(Some(bytes))
}

const LOCK_FILE: &str = "lock";
const ORIGIN_FILE: &str = "origin";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record;

    #[test]
    fn what_was_written_is_read_by_the_next_process_and_nobody_else_has_the_folder_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let (older, newer) = (record(1, 10), record(1, 11));
        let mut ours = SiteFolder::open(folder.path()).expect("ours");
        assert_eq!(
            SiteFolder::open(folder.path()).expect_err("taken").kind(),
            io::ErrorKind::ResourceBusy
        );
        assert_eq!((ours.read(older.name()), ours.origin()), (None, None));
        for record in [&older, &newer] {
            ours.write(record).expect("written");
        }
        ours.set_origin("dialtone.alt").expect("written");
        drop(ours);
        let mut next = SiteFolder::open(folder.path()).expect("free again");
        assert_eq!(next.read(newer.name()), Some(newer));
        assert_eq!(next.origin().as_deref(), Some("dialtone.alt"));
    }

    #[test]
    fn a_file_that_is_torn_changed_too_large_or_anothers_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = SiteFolder::open(folder.path()).expect("ours");
        let (mine, other) = (record(1, 10), record(2, 10));
        let mut changed = mine.bytes().to_vec();
        changed[100] ^= 1;
        let file = folder.path().join(format!("{}.record", mine.name()));
        for bad in [&mine.bytes()[..60], &changed, other.bytes(), b"", &[0; 200_000]] {
            fs::write(&file, bad).expect("written");
            assert_eq!(site.read(mine.name()), None);
        }
        fs::write(&file, mine.bytes()).expect("written");
        assert_eq!(site.read(mine.name()), Some(mine));
    }
}
