//! After a power cut the journal ends anywhere, or its last commit is there in part: what is found is what some number of whole
//! commits left, and everything that had been synced is among them.

mod store_world;

use dialtone_provider::store::{EmbeddedStore, RecordStore, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store_world::*;

/// A power cut in the course of the last commit: bytes of it are missing in any pattern, everything before it was synced.
#[test]
fn a_torn_last_commit_is_there_whole_or_not_at_all() {
    let image = Image::of_commits();
    let (begin, end) = (image.ends[COMMITS as usize - 1], image.ends[COMMITS as usize]);
    for round in 0..40 {
        let mut journal = image.journal.clone();
        let mut lost = 0;
        // The file system may have kept any of the pages and, of a page, any of the sectors.
        for sector in (begin..end).step_by(SECTOR) {
            if rand::random_bool(0.5) {
                let sector = sector..end.min(sector + SECTOR);
                lost += sector.len();
                journal[sector].fill(0);
            }
        }
        let found = image.commits_found_with(&journal);
        let whole = lost == 0;
        assert!(
            found == COMMITS - 1 || whole && found == COMMITS,
            "round {round}: {found} commits, {lost} bytes lost"
        );
    }
}

/// A journal that ends anywhere, as one does whose tail was never synced.
#[test]
fn a_journal_that_ends_anywhere_leaves_a_whole_prefix() {
    let image = Image::of_commits();
    for _ in 0..40 {
        let cut = rand::random_range(image.ends[0]..=image.ends[COMMITS as usize]);
        let mut journal = image.journal.clone();
        journal[cut..].fill(0);
        let whole = image.ends.iter().filter(|end| **end <= cut).count() as u32 - 1;
        assert_eq!(image.commits_found_with(&journal), whole, "cut at {cut}");
    }
}

/// What was synced and changed afterwards: acknowledged commits lie behind it.
#[test]
fn damage_before_other_commits_is_refused_and_not_silently_cut_off() {
    let image = Image::of_commits();
    for _ in 0..20 {
        let mut journal = image.journal.clone();
        journal[rand::random_range(image.ends[0]..image.ends[COMMITS as usize - 1])] ^= 0x20;
        let refused = image.open_with(&journal).1;
        assert!(
            matches!(&refused, Err(StoreError::Corrupt(said)) if said.contains(".jnl")),
            "{refused:?}"
        );
    }
}

/// The files of a store that was not closed.
struct Image {
    folder: tempfile::TempDir,
    journal: Vec<u8>,
    /// Where the journal ended after each commit; first, after none.
    ends: Vec<usize>,
}

impl Image {
    fn of_commits() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (work, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = EmbeddedStore::open(work.path(), options()).unwrap();
        let end = || {
            let journal = std::fs::read(journal_in(work.path())).unwrap();
            journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
        };
        let mut ends = vec![end()];
        for commit in 1..=COMMITS {
            // A name of its own, and names that every commit changes: some kilobytes.
            let names = (0..20).chain([1_000 + commit]);
            let batch = names.map(|n| put(live(n, u64::from(commit), 60))).collect();
            runtime.block_on(store.put(batch)).unwrap();
            ends.push(end());
        }
        // Copied while it is open: nothing was flushed or closed.
        copy(work.path(), folder.path());
        let mut journal = std::fs::read(journal_in(folder.path())).unwrap();
        // What follows is a hole; some of it is kept, as in a real one.
        journal.truncate(ends[COMMITS as usize] + 10_000);
        std::fs::write(journal_in(folder.path()), &journal).unwrap();
        Self { folder, journal, ends }
    }

    fn open_with(&self, journal: &[u8]) -> (tempfile::TempDir, Result<Arc<EmbeddedStore>, StoreError>) {
        let work = tempfile::tempdir().unwrap();
        copy(self.folder.path(), work.path());
        std::fs::write(journal_in(work.path()), journal).unwrap();
        let store = EmbeddedStore::open(work.path(), options());
        (work, store)
    }

    /// How many commits a store finds that starts with this journal; it must be a whole number of them.
    fn commits_found_with(&self, journal: &[u8]) -> u32 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (_work, store) = self.open_with(journal);
        let store = store.expect("a store that opens after a power cut");
        let held = runtime.block_on(assert_coherent(&*store));
        let found = (1..=COMMITS).take_while(|commit| held.contains_key(&name(1_000 + commit))).count() as u32;
        for n in 0..20 {
            let sequence = held
                .get(&name(n))
                .map_or(0, |held| held.record.rank().sequence.0 - SIGNED * 1_000_000);
            assert_eq!(sequence, u64::from(found), "half a commit is held");
        }
        assert_eq!(held.len(), if found == 0 { 0 } else { 20 + found as usize });
        // And it goes on from there.
        runtime.block_on(put_one(&*store, put(live(5_000, 1, 60))));
        runtime.block_on(assert_coherent(&*store));
        found
    }
}

fn journal_in(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder.join("tables")).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    assert_eq!(journals.len(), 1, "one journal");
    journals.remove(0)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).unwrap();
        }
    }
}

const COMMITS: u32 = 12;
const SECTOR: usize = 512;
