//! What a comparison has found the peer to lack: sent from what is held, beside the log.
//!
//! While a comparison is made, nothing of the log is read, so that neither side counts as missing what is on its way. Afterwards the
//! lanes stand where our log ended when it began: all before that is compared. What was found is sent at the lanes' position, one batch
//! at a time, so that no two that are under way end at the same cursor. A name that the log brings anyway is struck off first. Where the log
//! is only offered, later (`super::offers`), nothing waits for it, as it waits for this.

use super::{Feed, LaneFeed, batch, window};
use crate::peering::limits::{BATCH_BYTES, BATCH_RECORDS};
use crate::peering::policy;
use crate::peering::reconcile::initiator::Found;
use crate::store::{Cursor, Cursors, Held, Lane};
use dialtone_shared::message::{Entry, Mode, Value};
use dialtone_shared::{Name, UnixSecs};
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of comparing our store with the peer's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// What it lacks, or has older.
    pub found: Vec<Found>,
    /// Where our log ended when the comparison began.
    pub heads: Cursors,
}

/// What is to be sent, and the first bytes of the digest of what was found; `None`: the peer asked for it, whatever it is by now.
type Wanted = BTreeMap<Name, Option<[u8; 8]>>;

/// The part of a feed that has to do with comparisons.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// A comparison is being made, or will be: the log rests.
    held: bool,
    names: [Wanted; 2],
    /// What is being read from the store.
    fetching: Option<(Lane, Wanted)>,
    /// The log, where it goes at once, is read up to here before anything is sent from the store: what it brings is struck off.
    settle: [Cursor; 2],
    /// Where the batch ends that is not acknowledged yet.
    awaited: [Option<Cursor>; 2],
    /// How far the peer was before the lanes were moved to where the comparison began: what it refuses of the found is somewhere after.
    before: [Cursor; 2],
}

impl Feed {
    /// Lets the log rest for a comparison. See [`Feed::is_quiet`] and [`Feed::compared`].
    pub fn hold(&mut self) {
        self.missing.held = true;
    }

    /// Whether nothing more is under way, and nothing will be until the comparison is over.
    pub fn is_quiet(&self) -> bool {
        let idle = |lane: &LaneFeed| lane.reading.is_none() && lane.back.is_none() && lane.unsent.is_empty() && lane.under_way.is_empty();
        self.missing.held && self.missing.fetching.is_none() && self.lanes.iter().all(idle)
    }

    /// The comparison is over. `None`: it came to nothing, and the log goes on as if there had been none.
    pub fn compared(&mut self, comparison: Option<&Comparison>) {
        let quiet = self.is_quiet();
        self.missing.held = false;
        let Some(comparison) = comparison.filter(|_| quiet) else { return };
        for lane in COMPARED {
            let state = &mut self.lanes[lane as usize];
            let head = comparison.heads[lane as usize];
            state.head = state.head.max(head);
            state.read = state.read.max(head);
            self.missing.before[lane as usize] = state.acked;
            state.acked = state.read;
            self.missing.settle[lane as usize] = state.head;
            self.missing.names[lane as usize].clear();
        }
        for found in &comparison.found {
            let lane = if found.revoked { Lane::Urgent } else { Lane::Ordinary };
            self.missing.names[lane as usize].insert(found.name, Some(found.digest));
        }
    }

    /// Names of which what is held is to be read now: see [`Feed::fetched`].
    pub fn next_fetch(&mut self, now: Duration) -> Option<Vec<Name>> {
        if self.mode != Mode::Values {
            // Something else was agreed meanwhile, and is told from the beginning.
            self.missing.names = Default::default();
        }
        if self.missing.held || self.missing.fetching.is_some() {
            return None;
        }
        let offers = self.offers_at(now);
        for lane in COMPARED {
            let state = &self.lanes[lane as usize];
            let names = &mut self.missing.names[lane as usize];
            let room = state.unsent.is_empty() && state.under_way.len() < window(lane) && state.under_way.back() != Some(&state.read);
            let offered = lane == Lane::Ordinary && offers;
            let told = offered || state.read >= self.missing.settle[lane as usize];
            let settled = state.reading.is_none() && state.back.is_none() && told;
            if names.is_empty() || !room || !settled {
                continue;
            }
            let rest = names.keys().nth(BATCH_RECORDS).copied().map(|next| names.split_off(&next));
            let now = std::mem::replace(names, rest.unwrap_or_default());
            let wanted = now.keys().copied().collect();
            self.missing.fetching = Some((lane, now));
            return Some(wanted);
        }
        None
    }

    /// What is held of the names that were to be read.
    pub fn fetched(&mut self, held: Vec<Held>, now: UnixSecs) {
        let Some((lane, names)) = self.missing.fetching.take() else {
            return;
        };
        let state = &mut self.lanes[lane as usize];
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for held in held {
            let name = held.record.name();
            // What has changed since stands in the log by its change.
            let is_it = |digest: &Option<[u8; 8]>| digest.is_none_or(|digest| held.record.rank().digest.starts_with(&digest));
            let same = names.get(name).is_some_and(is_it);
            if !same || !policy::sends(&held, &self.way, true, now) {
                continue;
            }
            let path = self.paths.of(&held);
            bytes += held.record.bytes().len() + Entry::HEAD_BYTES_MAX + path.bytes();
            if bytes > BATCH_BYTES && !entries.is_empty() {
                self.missing.names[lane as usize].extend(names.get(name).map(|digest| (*name, *digest)));
                continue;
            }
            entries.push(Entry::Value(Value {
                class: held.class as u8,
                keep_until: held.keep_until,
                record: held.record.bytes().clone(),
                path,
            }));
        }
        if !entries.is_empty() {
            self.missing.awaited[lane as usize] = Some(state.read);
            state.unsent.push_back(batch(lane, state.read, entries));
        }
    }
}

impl Missing {
    /// Whether the log of a lane rests.
    pub fn rests(&self, lane: Lane) -> bool {
        self.held || self.fetching.as_ref().is_some_and(|(fetching, _)| *fetching == lane)
    }

    /// How many are still to be sent or acknowledged, a batch under way counting as one.
    pub fn unacked(&self) -> u64 {
        let awaited = self.awaited.iter().flatten().count() as u64;
        COMPARED.iter().map(|lane| self.left(*lane)).sum::<u64>() + awaited
    }

    /// How many are still to be sent in a lane.
    pub fn left(&self, lane: Lane) -> u64 {
        let Some(names) = self.names.get(lane as usize) else { return 0 };
        let fetching = self.fetching.as_ref().filter(|(fetching, _)| *fetching == lane);
        (names.len() + fetching.map_or(0, |(_, names)| names.len())) as u64
    }

    /// The log brings this one.
    pub fn strike_off(&mut self, name: &Name) {
        for names in &mut self.names {
            names.remove(name);
        }
    }

    /// The peer was offered these and lacks them; it had everything up to `before` when it was.
    pub fn wants(&mut self, lane: usize, wanted: &[Name], before: Cursor) {
        let open = self.is_open();
        if let (Some(names), Some(had)) = (self.names.get_mut(lane), self.before.get_mut(lane)) {
            names.extend(wanted.iter().map(|name| (*name, None)));
            *had = if open { before.min(*had) } else { before };
        }
    }

    /// After which position that what a batch up to `cursor` brought stands in our log, if it was one of what was found.
    pub fn before(&self, lane: usize, cursor: Cursor) -> Option<Cursor> {
        let awaited = self.awaited.get(lane).copied().flatten();
        // One acknowledgement may be about it and about what was sent after it.
        awaited
            .filter(|awaited| *awaited <= cursor)
            .and_then(|_| self.before.get(lane).copied())
    }

    /// What is under way in a lane has changed.
    pub fn acked(&mut self, lane: usize, state: &LaneFeed) {
        if let Some(awaited) = self.awaited.get_mut(lane) {
            let unsent = |cursor| state.unsent.iter().any(|batch| batch.cursor == cursor);
            awaited.take_if(|cursor| !state.under_way.contains(cursor) && !unsent(*cursor));
        }
    }

    /// Whether the peer still lacks something that lies before the lanes' positions: they are not to be saved yet.
    pub fn is_open(&self) -> bool {
        self.unacked() > 0
    }
}

/// Lanes of what is held: pointers are no part of a comparison.
const COMPARED: [Lane; 2] = [Lane::Urgent, Lane::Ordinary];
