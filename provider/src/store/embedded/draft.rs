//! One commit in the making: what was asked, joined with what is held, as one batch of the engine.
//!
//! A batch of the engine cannot read its own writes, so a draft keeps what it is about to write of each name beside what
//! the tables hold, and writes each name once, however often it was put.

use super::engine::{Engine, failure};
use super::hearsay::Hearsay;
use super::layout::{self, Due, TOTALS_KEY, Totals, damaged};
use super::tail::Step;
use crate::store::join::{Standing, Verdict, judge};
use crate::store::twins::{self, Twins};
use crate::store::{Held, Outcome, Pointer, PointerOutcome, Put, StoreError};
use dialtone_shared::{Name, Rank, UnixSecs};
use fjall::{OwnedWriteBatch, Slice};
use std::collections::{BTreeMap, HashMap};

/// What will be written by the next commit.
pub(super) struct Draft<'a> {
    engine: &'a Engine,
    slots: Vec<Slot>,
    by_name: HashMap<Name, usize>,
    hearsay: Hearsay,
    notes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Pairs that met.
    twins: Vec<Twins>,
    /// How many fates were decided: the order in which changes enter the log.
    decided: u64,
}

/// A name that the draft has looked up.
struct Slot {
    name: Name,
    /// Its row in the tables; known to be readable.
    row: Option<Slice>,
    fate: Fate,
}

/// What becomes of a name.
enum Fate {
    /// Nothing so far.
    Untouched,
    /// This is held, decided as the n-th.
    Kept(Box<Held>, u64),
    /// Nothing is held any more.
    Forgotten,
}

impl<'a> Draft<'a> {
    /// An empty draft.
    pub fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            slots: Vec::new(),
            by_name: HashMap::new(),
            hearsay: Hearsay::default(),
            notes: BTreeMap::new(),
            twins: Vec::new(),
            decided: 0,
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.decided == 0 && self.notes.is_empty() && self.hearsay.is_empty()
    }

    /// The pairs of records that met in this draft.
    pub fn take_twins(&mut self) -> Vec<Twins> {
        std::mem::take(&mut self.twins)
    }

    /// Puts a batch, in order: all of it or, where a row cannot be read, none.
    ///
    /// # Errors
    /// [`StoreError`], about this batch alone.
    pub fn put(&mut self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError> {
        self.slots.reserve(batch.len());
        self.by_name.reserve(batch.len());
        // Looked up in the order of the table: each search ends near the one before it.
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_unstable_by_key(|at| batch[*at].record.name());
        let mut slots = vec![0; batch.len()];
        for at in order {
            slots[at] = self.slot(batch[at].record.name())?;
        }
        let mut undo = Vec::new();
        let outcomes = batch
            .into_iter()
            .zip(slots)
            .map(|(put, slot)| self.put_one(put, slot, &mut undo))
            .collect();
        if let Err(error) = outcomes {
            for (slot, fate) in undo.into_iter().rev() {
                self.slots[slot].fate = fate;
            }
            return Err(error);
        }
        outcomes
    }

    /// Sets notes; the last word on a key counts.
    pub fn set_notes(&mut self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        self.notes
            .extend(notes.into_iter().map(|(key, value)| (layout::note_key(&key), value)));
    }

    /// Keeps pointers, in order, each unless as much is known already.
    ///
    /// # Errors
    /// [`StoreError`], about this batch alone.
    pub fn put_pointers(&mut self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError> {
        let (mut hearsay, mut news) = (Vec::with_capacity(batch.len()), Vec::new());
        for (place, pointer) in batch.into_iter().enumerate() {
            let slot = self.slot(&pointer.name)?;
            let held: Option<Rank> = self.slots[slot].standing().map(|standing| standing.rank);
            match held.filter(|rank| pointer.is_of(rank)) {
                Some(_) => news.push((place, slot, pointer)),
                None => hearsay.push((pointer, held)),
            }
        }
        let helds = news
            .iter()
            .map(|(_, slot, _)| self.slots[*slot].held())
            .collect::<Result<Vec<_>, _>>()?;
        let mut outcomes = self.hearsay.put(self.engine, hearsay)?;
        for ((place, slot, pointer), held) in news.into_iter().zip(helds) {
            let outcome = match held.and_then(|held| pointer.renews(&held)) {
                Some(put) => {
                    self.put_one(put, slot, &mut Vec::new())?;
                    PointerOutcome::Renewed
                }
                None => PointerOutcome::Same,
            };
            outcomes.insert(place, outcome);
        }
        Ok(outcomes)
    }

    /// Forgets those pointers that stand as given; how many.
    ///
    /// # Errors
    /// [`StoreError`], about this batch alone.
    pub fn forget_pointers(&mut self, batch: &[Pointer]) -> Result<usize, StoreError> {
        self.hearsay.forget(self.engine, batch)
    }

    /// Forgets at most `limit` of what is due at `now`. What this draft has put is not due: it may just have been renewed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn expire(&mut self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError> {
        let mut forgotten = Vec::new();
        for due in self.engine.due(now, limit)? {
            let name = match due {
                Due::Record(name) => name,
                Due::Pointer(name, at) => {
                    if self.hearsay.expire(self.engine, &name, at)? {
                        forgotten.push(name);
                    }
                    continue;
                }
            };
            let slot = match self.slot(&name) {
                Ok(slot) => slot,
                Err(StoreError::Corrupt(what)) => {
                    // One row that cannot be read stays, and keeps nothing else from being forgotten.
                    tracing::warn!("damaged, and not forgotten: {what}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let slot = &mut self.slots[slot];
            if matches!(slot.fate, Fate::Untouched) && slot.row.is_some() {
                slot.fate = Fate::Forgotten;
                self.decided += 1;
                forgotten.push(name);
            }
        }
        Ok(forgotten)
    }

    /// The batch that writes it all, and once it is committed the totals and what became of the log.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn finish(self, mut totals: Totals) -> Result<(OwnedWriteBatch, Totals, Vec<Step>), StoreError> {
        let Self {
            engine,
            mut slots,
            mut hearsay,
            notes,
            ..
        } = self;
        // Where none stands, and where is none to come, no record asks for one.
        if totals.count.pointers > 0 || !hearsay.is_empty() {
            for slot in &mut slots {
                if let Fate::Kept(held, _) = &mut slot.fate {
                    hearsay.drop_outranked(engine, held);
                }
            }
        }
        let rows = slots.len() * 5 + hearsay.rows() + notes.len() + 1;
        let mut batch = OwnedWriteBatch::with_capacity(engine.db.clone(), rows);
        slots.sort_by_key(|slot| match slot.fate {
            Fate::Kept(_, decided) => decided,
            Fate::Untouched | Fate::Forgotten => 0,
        });
        let (mut scratch, mut rows) = (Vec::new(), Vec::with_capacity(slots.len()));
        let mut steps = Vec::with_capacity(slots.len());
        for Slot { name, row, fate } in slots {
            let new = match fate {
                Fate::Untouched => continue,
                Fate::Kept(held, _) => Some(held),
                Fate::Forgotten => None,
            };
            let forget_at = new.as_ref().and_then(|held| held.forget_at());
            let (mut indexed, mut gone) = (None, None);
            if let Some(row) = &row {
                let old = layout::read_row(row).ok_or_else(|| damaged(&name))?;
                totals.count.records -= 1;
                totals.count.bytes -= old.envelope.len() as u64;
                batch.remove(&engine.log, layout::log_key(old.lane(), old.cursor));
                gone = Some((old.lane(), old.cursor));
                indexed = old.forget_at;
                if let Some(at) = indexed.filter(|_| indexed != forget_at || new.is_none()) {
                    batch.remove(&engine.forget, layout::forget_key(at, &name));
                }
            }
            let new = match new {
                None => {
                    batch.remove(&engine.records, *name.as_bytes());
                    None
                }
                Some(held) => {
                    let lane = held.lane();
                    let cursor = &mut totals.last[lane as usize];
                    *cursor += 1;
                    totals.count.records += 1;
                    totals.count.bytes += held.record.bytes().len() as u64;
                    layout::write_row(&mut scratch, &held, *cursor);
                    rows.push((name, Slice::from(&scratch[..]), forget_at.filter(|_| indexed != forget_at)));
                    batch.insert(&engine.log, layout::log_key(lane, *cursor), *name.as_bytes());
                    Some((lane, *cursor, *held))
                }
            };
            steps.push(Step { gone, new });
        }
        // In the order of the tables, so that each search ends near the one before it.
        rows.sort_unstable_by_key(|(name, ..)| *name);
        for (name, row, forget_at) in rows {
            batch.insert(&engine.records, *name.as_bytes(), row);
            if let Some(at) = forget_at {
                batch.insert(&engine.forget, layout::forget_key(at, &name), []);
            }
        }
        hearsay.write(engine, &mut batch, &mut totals);
        for (key, value) in notes {
            match value {
                Some(value) => batch.insert(&engine.notes, key, value),
                None => batch.remove(&engine.notes, key),
            }
        }
        batch.insert(&engine.notes, TOTALS_KEY, totals.write());
        Ok((batch, totals, steps))
    }

    /// Where `name` stands in the draft; looked up in the tables once.
    fn slot(&mut self, name: &Name) -> Result<usize, StoreError> {
        if let Some(slot) = self.by_name.get(name) {
            return Ok(*slot);
        }
        let row = self.engine.records.get(name.as_bytes()).map_err(failure)?;
        if row.as_ref().is_some_and(|row| layout::read_row(row).is_none()) {
            return Err(damaged(name));
        }
        self.slots.push(Slot {
            name: *name,
            row,
            fate: Fate::Untouched,
        });
        self.by_name.insert(*name, self.slots.len() - 1);
        Ok(self.slots.len() - 1)
    }

    fn put_one(&mut self, put: Put, index: usize, undo: &mut Vec<(usize, Fate)>) -> Result<Outcome, StoreError> {
        let slot = &mut self.slots[index];
        let standing = slot.standing();
        let verdict = judge(standing.as_ref(), &put);
        if twins::meets(standing.as_ref(), &put)
            && let Some(held) = slot.held()?
        {
            self.twins.push(twins::pair(&held, &put));
        }
        let (held, outcome) = match verdict {
            Verdict::Store => {
                let replaced = slot.standing().is_some();
                (put.into_held(), Outcome::Stored { replaced })
            }
            Verdict::Renew { class, keep_until } => {
                let account = slot.account();
                (put.into_renewed(class, keep_until, account), Outcome::Renewed)
            }
            Verdict::Same => return Ok(Outcome::Same),
            Verdict::Older => return Ok(slot.held()?.map_or(Outcome::Same, |held| Outcome::Older(Box::new(held)))),
            Verdict::ConditionFailed => return Ok(Outcome::ConditionFailed(slot.held()?.map(Box::new))),
        };
        self.decided += 1;
        let fate = Fate::Kept(Box::new(held), self.decided);
        undo.push((index, std::mem::replace(&mut slot.fate, fate)));
        Ok(outcome)
    }
}

impl Slot {
    fn row(&self) -> Option<layout::Row<'_>> {
        self.row.as_deref().and_then(layout::read_row)
    }

    fn standing(&self) -> Option<Standing<'_>> {
        match &self.fate {
            Fate::Untouched => self.row.as_deref().and_then(layout::read_row).map(layout::Row::into_standing),
            Fate::Kept(held, _) => Some(Standing {
                rank: *held.record.rank(),
                bytes: held.record.bytes(),
                class: held.class,
                keep_until: held.keep_until,
            }),
            Fate::Forgotten => None,
        }
    }

    fn account(&self) -> Option<String> {
        match &self.fate {
            Fate::Untouched => self.row().and_then(|row| row.account.map(str::to_owned)),
            Fate::Kept(held, _) => held.account.clone(),
            Fate::Forgotten => None,
        }
    }

    fn held(&self) -> Result<Option<Held>, StoreError> {
        match &self.fate {
            Fate::Untouched => self.row().map(|row| row.held(&self.name)).transpose(),
            Fate::Kept(held, _) => Ok(Some((**held).clone())),
            Fate::Forgotten => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::folder::Folder;
    use crate::store::{Class, Condition, EmbeddedOptions};
    use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, Ttl};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);

    fn put(seed: u8) -> Put {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: NOW.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: NOW.plus(1_000),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        Put {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Customer,
            // A lease that ends before the record does.
            keep_until: NOW.plus(10),
            from: None,
            account: None,
            condition: Condition::None,
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_keeps_nothing_else_from_being_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::lock(place.path()).unwrap();
        let (engine, opening) = Engine::open(&folder, &EmbeddedOptions::default()).unwrap();
        let puts = [put(1), put(2)];
        let mut names = [*puts[0].record.name(), *puts[1].record.name()];
        names.sort();
        let mut draft = Draft::new(&engine);
        draft.put(puts.into()).unwrap();
        let (batch, ..) = draft.finish(opening.totals).unwrap();
        batch.commit().unwrap();
        // The first in the index of what is due.
        engine.records.insert(names[0].as_bytes(), b"not a row").unwrap();
        let forgotten = Draft::new(&engine).expire(NOW.plus(20), 10).unwrap();
        assert_eq!(forgotten, [names[1]]);
    }
}
