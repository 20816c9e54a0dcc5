//! The pointers of one commit in the making: as a draft does for records, it keeps what it is about to write of each name beside what the
//! tables hold.
//!
//! Pointers are hints: a row that cannot be read counts as none, and what an index says of it is cleared away when that comes up.

use super::engine::{Engine, failure};
use super::layout::{self, Totals};
use super::pointer_row;
use crate::store::pointer::{Verdict, judge};
use crate::store::{Cursor, Held, Lane, Pointer, PointerOutcome, StoreError};
use dialtone_shared::{Name, Rank, UnixSecs};
use fjall::OwnedWriteBatch;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What will be written of pointers by the next commit.
#[derive(Default)]
pub(super) struct Hearsay {
    slots: BTreeMap<Name, Slot>,
    /// Entries of the forget index that lead nowhere.
    stale: Vec<(UnixSecs, Name)>,
    /// How many fates were decided: the order in which pointers enter the log.
    decided: u64,
}

/// A name whose pointer was looked up.
struct Slot {
    row: Option<(Pointer, Cursor)>,
    fate: Fate,
}

/// What becomes of a pointer.
enum Fate {
    Untouched,
    /// This stands, decided as the n-th.
    Kept(Box<Pointer>, u64),
    Forgotten,
}

impl Hearsay {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.decided == 0 && self.stale.is_empty()
    }

    /// Rows that it will write at most.
    pub fn rows(&self) -> usize {
        self.slots.len() * 6 + self.stale.len()
    }

    /// Puts a batch, each with the rank of what is held of its name: all of it, or none where a table cannot be read.
    ///
    /// # Errors
    /// [`StoreError`], about this batch alone.
    pub fn put(&mut self, engine: &Engine, batch: Vec<(Pointer, Option<Rank>)>) -> Result<Vec<PointerOutcome>, StoreError> {
        self.look_up(engine, batch.iter().map(|(pointer, _)| pointer.name))?;
        let one = |(pointer, held): (Pointer, Option<Rank>)| {
            let name = pointer.name;
            let standing = self.slots.get(&name).and_then(Slot::standing);
            match judge(held.as_ref(), standing, pointer) {
                Verdict::Keep(pointer) => {
                    let fate = Fate::Kept(Box::new(pointer), self.decided + 1);
                    self.decide(&name, fate);
                    PointerOutcome::Kept
                }
                Verdict::Same => PointerOutcome::Same,
                Verdict::Older => PointerOutcome::Older,
            }
        };
        Ok(batch.into_iter().map(one).collect())
    }

    /// Forgets those that stand as given; how many.
    ///
    /// # Errors
    /// [`StoreError`], about this batch alone.
    pub fn forget(&mut self, engine: &Engine, batch: &[Pointer]) -> Result<usize, StoreError> {
        self.look_up(engine, batch.iter().map(|pointer| pointer.name))?;
        let mut forgotten = 0;
        for pointer in batch {
            if self.slots.get(&pointer.name).and_then(Slot::standing) == Some(pointer) {
                self.decide(&pointer.name, Fate::Forgotten);
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// Forgets the pointer of `name`, which the index says is kept until `at`; whether there was one. What was put meanwhile stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn expire(&mut self, engine: &Engine, name: &Name, at: UnixSecs) -> Result<bool, StoreError> {
        self.look_up(engine, [*name])?;
        let slot = self.slots.get(name);
        let known = slot.and_then(|slot| slot.row.as_ref());
        if known.is_none_or(|(pointer, _)| pointer.forget_at() != at) {
            self.stale.push((at, *name));
            return Ok(false);
        }
        let untouched = slot.is_some_and(|slot| matches!(slot.fate, Fate::Untouched));
        if untouched {
            self.decide(name, Fate::Forgotten);
        }
        Ok(untouched)
    }

    /// This will be held: a pointer that leads to no more is done with.
    pub fn drop_outranked(&mut self, engine: &Engine, held: &mut Held) {
        let name = held.record.name();
        if let Err(error) = self.look_up(engine, [*name]) {
            // It stays, and whoever follows it finds that it leads to no more.
            tracing::warn!(%error, "a pointer could not be looked up");
            return;
        }
        let standing = self.slots.get(name).and_then(Slot::standing);
        if let Some(pointer) = standing
            && !pointer.outranks(held.record.rank())
        {
            let name = *name;
            pointer.leaves(held);
            self.decide(&name, Fate::Forgotten);
        }
    }

    /// Adds it all to `batch`, and to `totals` as they will be.
    pub fn write(self, engine: &Engine, batch: &mut OwnedWriteBatch, totals: &mut Totals) {
        for (at, name) in &self.stale {
            batch.remove(&engine.forget, layout::forget_pointer_key(*at, name));
        }
        let mut slots: Vec<(Name, Slot)> = self.slots.into_iter().collect();
        slots.sort_by_key(|(_, slot)| match slot.fate {
            Fate::Kept(_, decided) => decided,
            Fate::Untouched | Fate::Forgotten => 0,
        });
        for (name, Slot { row, fate }) in slots {
            let new = match fate {
                Fate::Untouched => continue,
                Fate::Kept(pointer, _) => Some(pointer),
                Fate::Forgotten => None,
            };
            if let Some((old, cursor)) = row {
                totals.count.pointers = totals.count.pointers.saturating_sub(1);
                batch.remove(&engine.log, layout::log_key(Lane::Hearsay, cursor));
                if new.as_ref().is_none_or(|new| new.forget_at() != old.forget_at()) {
                    batch.remove(&engine.forget, layout::forget_pointer_key(old.forget_at(), &name));
                }
            }
            match new {
                None => batch.remove(&engine.pointers, *name.as_bytes()),
                Some(pointer) => {
                    let cursor = &mut totals.last[Lane::Hearsay as usize];
                    *cursor += 1;
                    totals.count.pointers += 1;
                    batch.insert(&engine.pointers, *name.as_bytes(), pointer_row::write(&pointer, *cursor));
                    batch.insert(&engine.log, layout::log_key(Lane::Hearsay, *cursor), *name.as_bytes());
                    batch.insert(&engine.forget, layout::forget_pointer_key(pointer.forget_at(), &name), []);
                }
            }
        }
    }

    /// Looks up names in the tables, each once.
    fn look_up(&mut self, engine: &Engine, names: impl IntoIterator<Item = Name>) -> Result<(), StoreError> {
        for name in names {
            if let Entry::Vacant(vacant) = self.slots.entry(name) {
                let row = engine.pointers.get(name.as_bytes()).map_err(failure)?;
                vacant.insert(Slot {
                    row: row.and_then(|row| pointer_row::read(&name, &row)),
                    fate: Fate::Untouched,
                });
            }
        }
        Ok(())
    }

    fn decide(&mut self, name: &Name, fate: Fate) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.fate = fate;
            self.decided += 1;
        }
    }
}

impl Slot {
    /// The pointer that will stand.
    fn standing(&self) -> Option<&Pointer> {
        match &self.fate {
            Fate::Untouched => self.row.as_ref().map(|(pointer, _)| pointer),
            Fate::Kept(pointer, _) => Some(pointer),
            Fate::Forgotten => None,
        }
    }
}
