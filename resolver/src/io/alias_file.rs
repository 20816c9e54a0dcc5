//! The file of aliases on disk, read again when it changes.

use crate::dns::aliases::{AliasError, Aliases};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A file of aliases that is looked at again every second.
#[derive(Debug)]
pub struct AliasFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Instant,
    seen: Option<Stamp>,
    aliases: Arc<Aliases>,
}

/// What tells one version of the file from the next; `None` where there is no file.
type Stamp = (SystemTime, u64);

/// Why a file of aliases cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AliasFileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not a file of aliases.
    #[error(transparent)]
    Alias(#[from] AliasError),
}

impl AliasFile {
    /// Reads the file. One that is not there yet has no aliases.
    ///
    /// # Errors
    /// [`AliasFileError`].
    pub fn open(path: PathBuf) -> Result<Self, AliasFileError> {
        let seen = stamp(&path)?;
        let aliases = Arc::new(read(&path, seen)?);
        let looked = Instant::now();
        Ok(Self {
            path,
            state: Mutex::new(State { looked, seen, aliases }),
        })
    }

    /// The aliases as of a second ago at most. A change that cannot be read is logged, and what was read before stands.
    pub fn current(&self) -> Arc<Aliases> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Arc<Aliases> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) >= LOOK_EVERY {
            state.looked = now;
            // A stat a second, of a file that is in memory: shorter than handing it to another thread.
            match stamp(&self.path) {
                Ok(stamp) if stamp != state.seen => {
                    state.seen = stamp;
                    match read(&self.path, stamp) {
                        Ok(aliases) => state.aliases = Arc::new(aliases),
                        Err(error) => tracing::warn!(file = %self.path.display(), %error, "aliases: the change is not used"),
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(file = %self.path.display(), %error, "aliases: cannot look at the file"),
            }
        }
        Arc::clone(&state.aliases)
    }
}

fn stamp(path: &PathBuf) -> io::Result<Option<Stamp>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some((metadata.modified()?, metadata.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(path: &PathBuf, stamp: Option<Stamp>) -> Result<Aliases, AliasFileError> {
    match stamp {
        Some(_) => Ok(Aliases::parse(&fs::read_to_string(path)?)?),
        None => Ok(Aliases::default()),
    }
}

/// How often the file is looked at: an edit is seen about as soon as it is made.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::domain::Domain;
    use dialtone_shared::Name;

    #[test]
    fn a_change_is_seen_within_a_second_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("aliases");
        let (name, alias) = (Name::of_content(b"x"), Domain::from_text("home").expect("alias"));
        let file = AliasFile::open(path.clone()).expect("a file that is not there yet");
        let start = Instant::now() + LOOK_EVERY;
        assert!(file.at(start).is_empty());
        fs::write(&path, format!("home {name}\n")).expect("written");
        assert!(file.at(start + LOOK_EVERY / 2).is_empty(), "not looked at yet");
        assert_eq!(file.at(start + LOOK_EVERY).get(&alias), Some(&name));
        fs::write(&path, "home nobody\n").expect("written");
        assert_eq!(
            file.at(start + 2 * LOOK_EVERY).get(&alias),
            Some(&name),
            "what was read before stands"
        );
        fs::write(&path, format!("# moved\nwork {name}\n")).expect("written");
        assert_eq!(file.at(start + 3 * LOOK_EVERY).get(&alias), None);
        fs::remove_file(&path).expect("removed");
        assert!(file.at(start + 4 * LOOK_EVERY).is_empty());
    }
}
