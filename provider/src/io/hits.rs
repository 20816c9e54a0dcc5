//! Which names a Host Identity Tag stands for: an index over what is held, made when somebody first asks for one, and kept up with the log.

use crate::settings::{HIT_NAMES_MAX, HITS_STALE_MAX};
use crate::store::{Cursors, Lane, RecordStore, StoreError};
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, VerifiedRecord};
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

/// Every tag that a name was seen to have, and up to where the log was read. What has changed since is noticed when it is asked for.
#[derive(Debug)]
struct Index {
    entries: BTreeSet<(Hit, Name)>,
    read: Cursors,
}

impl Hits {
    /// An index over `store`.
    pub fn new(store: Arc<dyn RecordStore>) -> Self {
        let index = Mutex::new(None);
        Self { store, index }
    }

    /// The names that may have this tag, by what is held; whether they still do, their records say. At most [`HIT_NAMES_MAX`], which is as many
    /// as one key is looked through for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn names(&self, hit: &Hit) -> Result<Vec<Name>, StoreError> {
        let mut kept = self.index.lock().await;
        // Names that were forgotten leave their entries behind: when there are too many, all is read anew.
        let most = self.store.count().records + HITS_STALE_MAX;
        let index = match kept.take() {
            Some(index) if index.entries.len() as u64 <= most => kept.insert(index),
            Some(_) | None => kept.insert(self.read().await?),
        };
        self.catch_up(index).await?;
        let from = (*hit, Name::key_set([0; 32]));
        let names = index
            .entries
            .range(from..)
            .take_while(|(other, _)| other == hit)
            .take(HIT_NAMES_MAX);
        Ok(names.map(|(_, name)| *name).collect())
    }

    async fn read(&self) -> Result<Index, StoreError> {
        let mut index = Index {
            // From before the scan: what is put meanwhile is read twice rather than not at all.
            read: *self.store.watch().borrow(),
            entries: BTreeSet::new(),
        };
        let mut after = None;
        loop {
            let page = self.store.scan(after, PAGE).await?;
            after = page.last().map(|held| *held.record.name());
            page.iter().for_each(|held| index.enter(&held.record));
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
        Ok(())
    }
}

impl Index {
    fn enter(&mut self, record: &VerifiedRecord) {
        if let Some(key) = record.record().key() {
            self.entries.insert((Hit::of(&key), *record.name()));
        }
    }
}

/// Records read at a time.
const PAGE: usize = 1_024;
