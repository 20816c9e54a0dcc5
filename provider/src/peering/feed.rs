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

mod missing;

pub use missing::Comparison;

use super::limits::{BATCH_BYTES, BATCH_RECORDS, SAVE_EVERY, WINDOW_BATCHES};
use super::policy;
use crate::store::{Change, Cursor, Lane};
use dialtone_shared::cbor::{CborError, Reader, Writer};
use dialtone_shared::message::{Ack, Batch, Entry, Relationship, Value};
use dialtone_shared::{Name, UnixSecs};
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
    saved: Position,
    saved_at: Option<Duration>,
    saving: Option<Position>,
    missing: missing::Missing,
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
    pub fn new(peer: Name, relationship: Relationship, position: Option<Position>, heads: [Cursor; 2]) -> Self {
        let start = position.unwrap_or(Position {
            acked: [0; 2],
            whole: heads,
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
            // What is not known to be saved is saved at once, so that a peer that is never caught up keeps its `whole`.
            saved: position.unwrap_or_default(),
            saved_at: None,
            saving: None,
            missing: missing::Missing::default(),
        }
    }

    /// Our log ends here now.
    pub fn heads(&mut self, heads: [Cursor; 2]) {
        for (lane, head) in self.lanes.iter_mut().zip(heads) {
            lane.head = lane.head.max(head);
        }
    }

    /// The next read of the log, urgent lane first: lane, after which cursor. At most [`BATCH_RECORDS`] changes are wanted.
    pub fn next_read(&mut self) -> Option<(Lane, Cursor)> {
        for lane in LANES.into_iter().filter(|lane| !self.missing.rests(*lane)) {
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
    pub fn changes_read(&mut self, lane: Lane, changes: Vec<Change>, now: UnixSecs) {
        let state = &mut self.lanes[lane as usize];
        let asked_at = state.reading.take().unwrap_or_default();
        let last = changes.last().map_or(state.read, |change| change.cursor);
        // A read that came back short saw the log to its end as it was when it was asked for.
        let reached = if changes.len() < BATCH_RECORDS { last.max(asked_at) } else { last };
        state.head = state.head.max(reached);
        let (mut entries, mut bytes, mut cursor) = (Vec::new(), 0, state.read);
        for change in changes {
            let held = &change.held;
            self.missing.strike_off(held.record.name());
            let everything = change.cursor <= self.whole[lane as usize];
            if policy::sends(held, &self.peer, self.relationship, everything, now) {
                let size = held.record.bytes().len() + Entry::HEAD_BYTES_MAX;
                if bytes + size > BATCH_BYTES {
                    let full = std::mem::take(&mut entries);
                    state.unsent.push_back(batch(lane, cursor, full));
                    bytes = 0;
                }
                bytes += size;
                entries.push(Entry::Value(Value {
                    class: held.class as u8,
                    keep_until: held.keep_until,
                    record: held.record.bytes().clone(),
                }));
            }
            cursor = change.cursor;
        }
        if !entries.is_empty() {
            state.unsent.push_back(batch(lane, reached, entries));
        }
        state.read = reached;
    }

    /// The next batch to send, urgent lane first. An empty one tells the peer that it is caught up.
    pub fn next_send(&mut self) -> Option<Batch> {
        for lane in LANES {
            let state = &mut self.lanes[lane as usize];
            if state.under_way.len() >= window(lane) {
                continue;
            }
            let left = self.missing.left(lane);
            let idle = state.reading.is_none() && state.read == state.head && !self.missing.rests(lane) && left == 0;
            let next = state.unsent.pop_front();
            let silent = idle && state.told != Some(0) && state.under_way.back() != Some(&state.read);
            let next = next.or_else(|| silent.then(|| batch(lane, state.read, Vec::new())));
            if let Some(mut next) = next {
                next.behind = state.head.saturating_sub(next.cursor).saturating_add(left);
                state.told = Some(next.behind);
                state.under_way.push_back(next.cursor);
                return Some(next);
            }
        }
        None
    }

    /// The peer has dealt with everything up to a position.
    ///
    /// # Errors
    /// [`StrayAck`].
    pub fn acked(&mut self, ack: &Ack) -> Result<(), StrayAck> {
        let (lane, cursor) = (ack.lane, ack.cursor);
        let state = &mut self.lanes[usize::from(lane & 1)];
        // The last of equal cursors: empty batches may share one.
        let ends = state.under_way.iter().rposition(|sent| *sent == cursor);
        state.under_way.drain(..=ends.ok_or(StrayAck { lane, cursor })?);
        state.acked = cursor;
        self.missing.acked(usize::from(lane & 1), state);
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
        Position {
            acked: [done(&self.lanes[0]), done(&self.lanes[1])],
            whole: self.whole,
        }
    }

    /// The position to save, if it moved and the last one was saved long enough ago (`hurry`: at all).
    pub fn next_save(&mut self, now: Duration, hurry: bool) -> Option<Position> {
        let position = self.position();
        let rested = hurry || self.saved_at.is_none_or(|at| now >= at + SAVE_EVERY);
        (self.saving.is_none() && position != self.saved && rested && !self.missing.is_open()).then(|| {
            self.saving = Some(position);
            self.saved_at = Some(now);
            position
        })
    }

    /// When [`Feed::next_save`] will have something, if nothing else happens.
    pub fn save_due(&self) -> Option<Duration> {
        let waits = self.saving.is_none() && self.position() != self.saved && !self.missing.is_open();
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
        let missing = self.missing.unacked();
        missing
            + (0..2)
                .map(|lane| self.lanes[lane].head.saturating_sub(position.acked[lane]))
                .sum::<u64>()
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
    }
}

const LANES: [Lane; 2] = [Lane::Urgent, Lane::Ordinary];
