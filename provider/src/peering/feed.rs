//! The sending half of a link: which run of our change log goes to the peer next, and how far the peer is.
//!
//! ```text
//! lane of the log   ... acked ......... sent ......... read ......... head
//!                        └─ under way ──┘└─ unsent ────┘└─ not read ──┘
//! ```
//!
//! A lane is read only when there is room for what is read, so that a name that changes often is sent once, at its latest
//! rank. Each lane has a window of its own: revocations never wait for the acknowledgement of anything else. The position that is
//! saved is what the peer has acknowledged; a crash costs repeats, which the receiver drops, and never a gap.

use super::again::Again;
use super::damping::Damping;
use super::limits::{BATCH_BYTES, BATCH_RECORDS, SAVE_EVERY, WINDOW_BATCHES};
use super::policy;
use super::step::Moment;
use crate::store::{Change, Cursor, Cursors, Held, Lane};
use dialtone_shared::Name;
use dialtone_shared::cbor::{CborError, Reader, Writer};
use dialtone_shared::limits::RECORD_BYTES_MAX;
use dialtone_shared::message::{Ack, Batch, Entry, Relationship, Value};
use std::collections::VecDeque;
use std::time::Duration;

/// How far a peer's store is in our log: what is durable of a feed.
///
/// ```text
/// [urgent, ordinary, whole urgent, whole ordinary]     (CBOR array of cursors)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Acknowledged up to here, by lane.
    pub acked: [Cursor; 2],
    /// Up to here everything is sent, even what came from the peer: its store was new when our log ended there.
    pub whole: [Cursor; 2],
}

/// The sending half of a link.
#[derive(Debug)]
pub struct Feed {
    peer: Name,
    relationship: Relationship,
    whole: [Cursor; 2],
    lanes: [LaneFeed; 2],
    damping: Damping,
    saved: Position,
    saved_at: Option<Duration>,
    saving: Option<Position>,
}

#[derive(Debug, Default)]
struct LaneFeed {
    head: Cursor,
    read: Cursor,
    acked: Cursor,
    /// The head when the read that is under way was asked for.
    reading: Option<Cursor>,
    unsent: VecDeque<Batch>,
    under_way: VecDeque<Cursor>,
    /// How far behind the peer was last told to be.
    told: Option<u64>,
    again: Again,
    /// The read that is under way was asked for before reading went on elsewhere: what it brings is dropped.
    moved: bool,
}

/// An acknowledgement of what was not sent. The peer's bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("acknowledged position {cursor} of lane {lane}, where no batch ended")]
pub struct StrayAck {
    lane: u8,
    cursor: Cursor,
}

impl Feed {
    /// A feed that goes on from `position`; `None`: to a store that we have never sent anything, whose log ends at `heads` now.
    pub fn new(peer: Name, relationship: Relationship, position: Option<Position>, heads: Cursors) -> Self {
        let start = position.unwrap_or(Position {
            acked: [0; 2],
            whole: [heads[0], heads[1]],
        });
        let lane = |index: usize| LaneFeed {
            head: heads[index],
            read: start.acked[index],
            acked: start.acked[index],
            ..LaneFeed::default()
        };
        Self {
            peer,
            relationship,
            whole: start.whole,
            lanes: [lane(0), lane(1)],
            damping: Damping::default(),
            // What is not known to be saved is saved at once, so that a peer that is never caught up keeps its `whole`.
            saved: position.unwrap_or_default(),
            saved_at: None,
            saving: None,
        }
    }

    /// Our log ends here now.
    pub fn heads(&mut self, heads: Cursors) {
        for (lane, head) in self.lanes.iter_mut().zip(heads) {
            lane.head = lane.head.max(head);
        }
    }

    /// The next read of the log, urgent lane first: lane, after which cursor. At most [`BATCH_RECORDS`] changes are wanted.
    pub fn next_read(&mut self) -> Option<(Lane, Cursor)> {
        for lane in LANES {
            let state = &mut self.lanes[lane as usize];
            let room = state.unsent.is_empty() && state.under_way.len() < window(lane);
            if room && state.reading.is_none() && state.head > state.read {
                state.reading = Some(state.head);
                return Some((lane, state.read));
            }
        }
        None
    }

    /// What a read brought.
    pub fn changes_read(&mut self, lane: Lane, changes: Vec<Change>, now: Moment) {
        let state = &mut self.lanes[lane as usize];
        let asked_at = state.reading.take().unwrap_or_default();
        if std::mem::take(&mut state.moved) {
            return;
        }
        let last = changes.last().map_or(state.read, |change| change.cursor);
        // A read that came back short saw the log to its end as it was when it was asked for.
        let reached = if changes.len() < BATCH_RECORDS { last.max(asked_at) } else { last };
        state.head = state.head.max(reached);
        let (mut entries, mut bytes, mut cursor) = (Vec::new(), 0, state.read);
        for change in changes {
            let everything = change.cursor <= self.whole[lane as usize];
            let (before, at) = (cursor, change.cursor);
            cursor = at;
            if !policy::sends(&change.held, &self.peer, self.relationship, everything, now.wall) {
                continue;
            }
            let change = match lane {
                // A revocation overtakes what waits.
                Lane::Urgent => {
                    self.damping.forget(change.held.record.name());
                    Some(change)
                }
                Lane::Ordinary | Lane::Hearsay => self.damping.pass(change, now.elapsed),
            };
            let Some(Change { held, .. }) = change else { continue };
            let size = held.record.bytes().len() + Entry::HEAD_BYTES_MAX;
            if bytes + size > BATCH_BYTES {
                let full = std::mem::take(&mut entries);
                state.unsent.push_back(batch(lane, before, full));
                bytes = 0;
            }
            bytes += size;
            entries.push(entry(&held));
        }
        if !entries.is_empty() {
            state.unsent.push_back(batch(lane, reached, entries));
        }
        state.read = reached;
    }

    /// The next batch to send, urgent lane first. An empty one tells the peer how far it is, once it has everything that is read.
    pub fn next_send(&mut self, now: Duration) -> Option<Batch> {
        self.release(now);
        for lane in LANES {
            let state = &mut self.lanes[lane as usize];
            if state.under_way.len() >= window(lane) {
                continue;
            }
            let behind = |cursor| state.head.saturating_sub(state.again.floor().unwrap_or(cursor).min(cursor));
            let idle = state.reading.is_none() && state.read == state.head && !state.is_under_way_at(state.read);
            let tells = idle && state.told != Some(behind(state.read));
            let next = match state.unsent.front() {
                Some(next) => Some((behind(next.cursor), None)),
                None => tells.then(|| (behind(state.read), Some(batch(lane, state.read, Vec::new())))),
            };
            if let Some((behind, empty)) = next
                && let Some(mut next) = empty.or_else(|| state.unsent.pop_front())
            {
                next.behind = behind;
                state.told = Some(behind);
                state.under_way.push_back(next.cursor);
                return Some(next);
            }
        }
        None
    }

    /// What damping kept aside and is to be sent now goes after everything that was read.
    fn release(&mut self, now: Duration) {
        let state = &mut self.lanes[Lane::Ordinary as usize];
        // Two batches that end at one position could not be told apart when they are acknowledged.
        if !state.unsent.is_empty() || state.is_under_way_at(state.read) {
            return;
        }
        let entries: Vec<Entry> = self
            .damping
            .release(now, BATCH_BYTES / RECORD_BYTES_MAX)
            .iter()
            .map(|change| entry(&change.held))
            .collect();
        if !entries.is_empty() {
            state.unsent.push_back(batch(Lane::Ordinary, state.read, entries));
        }
    }

    /// Offers again what the peer refused for want of room, in lanes that have nothing else to do; `takes_all`: it says that it has room.
    pub fn offer_again(&mut self, takes_all: bool, now: Duration) {
        for state in &mut self.lanes {
            let idle = state.reading.is_none() && state.read == state.head && state.unsent.is_empty() && state.under_way.is_empty();
            if let Some(from) = idle.then(|| state.again.go_back(state.read, takes_all, now)).flatten() {
                (state.read, state.acked) = (from, from);
            }
        }
    }

    /// When there will be something to send or to offer again, if nothing else happens.
    pub fn due(&self) -> Option<Duration> {
        let again = self.lanes.iter().filter_map(|state| state.again.due());
        again.chain(self.damping.due()).min()
    }

    /// The peer has dealt with everything up to a position.
    ///
    /// # Errors
    /// [`StrayAck`].
    pub fn acked(&mut self, ack: &Ack, now: Duration) -> Result<(), StrayAck> {
        let (lane, cursor) = (ack.lane, ack.cursor);
        let state = self.lanes.get_mut(usize::from(lane)).ok_or(StrayAck { lane, cursor })?;
        let ends = state.under_way.iter().rposition(|sent| *sent == cursor);
        state.under_way.drain(..=ends.ok_or(StrayAck { lane, cursor })?);
        let front = state.again.acked(state.acked, cursor, ack.counts.limited, now);
        state.acked = cursor;
        if let Some(front) = front {
            state.read = front;
            state.unsent.clear();
            state.moved = state.reading.is_some();
        }
        Ok(())
    }

    /// Whether anything awaits an acknowledgement.
    pub fn is_under_way(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.under_way.is_empty())
    }

    /// How far the peer is: where nothing is under way, what was read and is not for the peer counts as done.
    pub fn position(&self) -> Position {
        let done = |lane: &LaneFeed| {
            if lane.under_way.is_empty() && lane.unsent.is_empty() {
                lane.read
            } else {
                lane.acked
            }
        };
        let done = |lane: Lane| {
            let state = &self.lanes[lane as usize];
            // What waits here, and what the peer had no room for, it does not have.
            let waits = self
                .damping
                .oldest()
                .filter(|_| lane == Lane::Ordinary)
                .map(|cursor| cursor.saturating_sub(1));
            waits.into_iter().chain(state.again.floor()).fold(done(state), Cursor::min)
        };
        Position {
            acked: [done(Lane::Urgent), done(Lane::Ordinary)],
            whole: self.whole,
        }
    }

    /// The position to save, if it moved and the last one was saved long enough ago (`hurry`: at all).
    pub fn next_save(&mut self, now: Duration, hurry: bool) -> Option<Position> {
        let position = self.position();
        let rested = hurry || self.saved_at.is_none_or(|at| now >= at + SAVE_EVERY);
        (self.saving.is_none() && position != self.saved && rested).then(|| {
            self.saving = Some(position);
            self.saved_at = Some(now);
            position
        })
    }

    /// When [`Feed::next_save`] will have something, if nothing else happens.
    pub fn save_due(&self) -> Option<Duration> {
        let waits = self.saving.is_none() && self.position() != self.saved;
        self.saved_at.filter(|_| waits).map(|at| at + SAVE_EVERY)
    }

    /// The position handed out last is durable.
    pub fn save_done(&mut self) {
        self.saved = self.saving.take().unwrap_or(self.saved);
    }

    /// Whether a position is being saved.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// How many positions of the log the peer has not acknowledged.
    pub fn lag(&self) -> u64 {
        let position = self.position();
        (0..2).map(|lane| self.lanes[lane].head.saturating_sub(position.acked[lane])).sum()
    }
}

impl Position {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(4);
        for cursor in self.acked.iter().chain(&self.whole) {
            w.uint(*cursor);
        }
        w.into_bytes()
    }

    /// Reads what [`Position::encode`] writes.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(4)?;
        let acked = [r.uint()?, r.uint()?];
        let whole = [r.uint()?, r.uint()?];
        r.finish()?;
        Ok(Self { acked, whole })
    }

    /// Under which note the position of this peer's store in the log of ours is kept. Both are named: a store that was restored from a
    /// backup has another log, in which a position of the old one would pass over what the peer has never seen.
    pub fn key(peer: &Name, theirs: &[u8; 16], ours: &[u8; 16]) -> Vec<u8> {
        [&Self::keys(peer)[..], theirs, ours].concat()
    }

    /// How the keys of all positions of this peer start. One counts at a time; the others are forgotten when it greets.
    pub fn keys(peer: &Name) -> Vec<u8> {
        [b"feed/", &peer.as_bytes()[..], b"/"].concat()
    }
}

impl LaneFeed {
    /// Whether a batch that ends at this position is under way.
    fn is_under_way_at(&self, cursor: Cursor) -> bool {
        self.under_way.back() == Some(&cursor)
    }
}

/// What is held, as it is pushed.
fn entry(held: &Held) -> Entry {
    Entry::Value(Value {
        class: held.class as u8,
        keep_until: held.keep_until,
        record: held.record.bytes().clone(),
    })
}

fn batch(lane: Lane, cursor: Cursor, entries: Vec<Entry>) -> Batch {
    Batch {
        lane: lane as u8,
        cursor,
        behind: 0,
        entries,
    }
}

/// Batches that may be under way in a lane. Both sides keep to it: a receiver never has to hold more.
pub fn window(lane: Lane) -> usize {
    match lane {
        Lane::Urgent => 2,
        Lane::Ordinary => WINDOW_BATCHES - 2,
        Lane::Hearsay => 0,
    }
}

const LANES: [Lane; 2] = [Lane::Urgent, Lane::Ordinary];
