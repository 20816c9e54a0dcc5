//! By which providers the records came that peers brought: noted for the operator and told to the next, in memory.
//!
//! The peer that a record came from is kept with the record; what lies behind that peer is noted here, for as many records as there is room for.
//! It is what others say, and decides nothing about a record: see `docs/decisions/0019-paths-are-told-and-not-trusted.md`.

use crate::store::Held;
use dialtone_shared::Rank;
use dialtone_shared::message::{Path, mark};
use lru::LruCache;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What lies behind the peers that records came from.
#[derive(Debug)]
pub struct Paths(Mutex<LruCache<u64, Path>>);

/// What one record's note says: first bytes of the record's digest, and the way up to the peer who sent it.
pub type PathNote = (u64, Path);

/// Records of which it is noted: some 10 MB. What is older has the peer it came from, as all have.
const PATHS_MAX: usize = 65_536;

impl Default for Paths {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl Paths {
    /// Notes what came with records that are kept now. Where nothing came with one, what was noted of it before is no longer so.
    pub fn note(&self, notes: &[PathNote]) {
        if notes.is_empty() {
            return;
        }
        let mut paths = self.lock();
        for (digest, path) in notes {
            if path.is_empty() {
                paths.pop(digest);
            } else {
                paths.put(*digest, *path);
                if paths.len() > PATHS_MAX {
                    paths.pop_lru();
                }
            }
        }
    }

    /// The way of what is held up to us: first the peer it came from. Empty if it was put here, or joined from two sides.
    pub fn of(&self, held: &Held) -> Path {
        let Some(from) = &held.from else { return Path::default() };
        let behind = self.lock().peek(&key(held.record.rank())).copied();
        behind.unwrap_or_default().through(mark(from))
    }

    /// A panic elsewhere leaves notes: still good.
    fn lock(&self) -> MutexGuard<'_, LruCache<u64, Path>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under what a record's way is noted.
pub fn key(rank: &Rank) -> u64 {
    rank.digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
