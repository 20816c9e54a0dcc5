//! Which names a Host Identity Tag may stand for: an index over what is held and what is pointed to, made when somebody first asks for one, and
//! kept up with the log.

use crate::peering::ask::tagged::Entered;
use crate::settings::{HIT_NAMES_MAX, HITS_STALE_MAX};
use crate::store::{Cursors, Lane, Pointer, RecordStore, StoreError};
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, UnixSecs, VerifiedRecord};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The index.
#[derive(Debug)]
pub struct Hits {
    store: Arc<dyn RecordStore>,
    /// `None`: nobody has asked yet.
    index: Mutex<Option<Index>>,
}

/// Every tag that a name was seen or said to have, and up to where the log was read. What has changed since is noticed when it is asked for.
#[derive(Debug)]
struct Index {
    /// What anybody may say of names stands behind what was seen of them, and does not push it out.
    entries: BTreeSet<(Hit, Source, Name)>,
    read: Cursors,
    /// Until when there may be a pointer whose tag was not told.
    hidden_until: UnixSecs,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Source {
    Record,
    Pointer,
}

impl Hits {
    /// An index over `store`.
    pub fn new(store: Arc<dyn RecordStore>) -> Self {
        let index = Mutex::new(None);
        Self { store, index }
    }

    /// The names that may have this tag, by what is held and what is pointed to. At most [`HIT_NAMES_MAX`], which is as many as one key is looked
    /// through for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn names(&self, hit: &Hit, now: UnixSecs) -> Result<Entered, StoreError> {
        let mut kept = self.index.lock().await;
        // Names that were forgotten leave their entries behind: when there are too many, all is read anew.
        let count = self.store.count();
        let most = count.records + count.pointers + HITS_STALE_MAX;
        let index = match kept.take() {
            Some(index) if index.entries.len() as u64 <= most => kept.insert(index),
            Some(_) | None => kept.insert(self.read().await?),
        };
        self.catch_up(index).await?;
        let from = (*hit, Source::Record, Name::key_set([0; 32]));
        let mut names: Vec<Name> = Vec::new();
        let mut doubt = (now < index.hidden_until).then_some("a peer that does not tell of tags points to names");
        for (_, _, name) in index.entries.range(from..).take_while(|(other, ..)| other == hit) {
            if names.contains(name) {
                continue;
            }
            if names.len() == HIT_NAMES_MAX {
                doubt = Some("more names are said to have this tag than are looked at");
                break;
            }
            names.push(*name);
        }
        Ok(Entered { names, doubt })
    }

    async fn read(&self) -> Result<Index, StoreError> {
        let mut index = Index {
            // From before the scan: what is put meanwhile is read twice rather than not at all.
            read: *self.store.watch().borrow(),
            entries: BTreeSet::new(),
            hidden_until: UnixSecs(0),
        };
        let mut after = None;
        loop {
            let page = self.store.scan(after, PAGE).await?;
            after = page.last().map(|held| *held.record.name());
            page.iter().for_each(|held| index.enter(&held.record));
            if page.len() < PAGE {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = self.store.pointers(after, PAGE).await?;
            after = page.last().map(|pointer| pointer.name);
            page.iter().for_each(|pointer| index.point(pointer));
            if page.len() < PAGE {
                return Ok(index);
            }
        }
    }

    async fn catch_up(&self, index: &mut Index) -> Result<(), StoreError> {
        for lane in [Lane::Urgent, Lane::Ordinary] {
            loop {
                let page = self.store.changes(lane, index.read[lane as usize], PAGE).await?;
                page.iter().for_each(|change| index.enter(&change.held.record));
                if let Some(last) = page.last() {
                    index.read[lane as usize] = last.cursor;
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        loop {
            let read = &mut index.read[Lane::Hearsay as usize];
            let page = self.store.pointer_changes(*read, PAGE).await?;
            if let Some(last) = page.last() {
                *read = last.cursor;
            }
            page.iter().for_each(|change| index.point(&change.pointer));
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Index {
    fn enter(&mut self, record: &VerifiedRecord) {
        if let Some(key) = record.record().key() {
            self.entries.insert((Hit::of(&key), Source::Record, *record.name()));
        }
    }

    fn point(&mut self, pointer: &Pointer) {
        if let Some(tag) = pointer.tag {
            self.entries.insert((tag, Source::Pointer, pointer.name));
        }
        if pointer.hides_its_tag() {
            self.hidden_until = self.hidden_until.max(pointer.forget_at());
        }
    }
}

/// Records read at a time.
const PAGE: usize = 1_024;
