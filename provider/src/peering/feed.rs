//! The sending half of a link: which run of our change log goes to the peer next, in which form, and how far the peer is.
//!
//! ```text
//! lane of the log   ... acked ......... sent ......... read ......... head
//!                        └─ under way ──┘└─ unsent ────┘└─ not read ──┘
//! ```
//!
//! A lane is read only when there is room for what is read, so that a name that changes often is sent once, at its latest
//! rank. Each lane has a window of its own: revocations never wait for the acknowledgement of anything else. The position that is
//! saved is what the peer has acknowledged; a crash costs repeats, which the receiver drops, and never a gap.
//!
//! A lane *goes back* when the peer is to have more than it was sent: to the beginning where a richer mode was agreed, to where a digest was
//! made when one was sent. It does so once nothing is under way in it; an empty batch that ends at 0 says that it begins anew.

mod echo;
mod missing;
mod offers;

pub use missing::Comparison;

use super::again::Again;
use super::agreement::Way;
use super::alike::{Alike, Shown};
use super::damping::Damping;
use super::digest::Digest;
use super::limits::{BATCH_BYTES, BATCH_RECORDS, SAVE_EVERY, WINDOW_BATCHES};
use super::paths::Paths;
use super::policy::{self, Form};
pub use super::position::Position;
use super::step::Moment;
use crate::store::{Change, Cursor, Cursors, Held, LANES, Lane, PointerChange};
use dialtone_shared::hip::Hit;
use dialtone_shared::limits::RECORD_BYTES_MAX;
use dialtone_shared::message::{Ack, Batch, Entry, Mode, Pointer, Relationship, Value, WANTS_MAX};
use dialtone_shared::{Name, UnixSecs};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The sending half of a link.
#[derive(Debug)]
pub struct Feed {
    way: Way,
    paths: Arc<Paths>,
    /// By whose marks the filters of both sides are known: see [`Position`].
    filters: [u64; 2],
    /// In what form changes are sent from the next read on.
    mode: Mode,
    /// The poorest form in which anything before the positions was sent.
    reached: Mode,
    whole: Cursors,
    lanes: [LaneFeed; LANES],
    damping: Damping,
    shown: Shown,
    digest: Option<Told>,
    saved: Position,
    saved_at: Option<Duration>,
    saving: Option<Position>,
    missing: missing::Missing,
    echo: echo::Echo,
    offers: offers::Offers,
}

/// The digest that the peer was sent last.
#[derive(Debug)]
struct Told {
    seed: u64,
    /// Where our log ended when it was made: what stands behind is mentioned.
    covers: Cursors,
    mentions: u64,
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
    /// Batches acknowledged so far, up to the window: who has acknowledged little is sent little at a time.
    proven: usize,
    /// How far behind the peer was last told to be.
    told: Option<u64>,
    /// Where to go back to, once nothing is under way.
    back: Option<Cursor>,
    /// What the peer had no room for.
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
    /// A feed that goes on from `position`; `None`: to a store that we have never sent anything, whose log ends at `heads` now. `theirs`: the
    /// mark of the peer's filter.
    pub fn new(way: Way, paths: Arc<Paths>, theirs: u64, mode: Mode, position: Option<Position>, heads: Cursors) -> Self {
        let filters = [way.filter.mark(), theirs];
        let start = position.unwrap_or(Position {
            whole: heads,
            mode,
            filters,
            ..Position::default()
        });
        let lane = |index: usize| LaneFeed {
            head: heads[index],
            read: start.acked[index],
            acked: start.acked[index],
            ..LaneFeed::default()
        };
        let mut feed = Self {
            way,
            paths,
            filters,
            mode,
            reached: start.mode,
            whole: start.whole,
            lanes: std::array::from_fn(lane),
            damping: Damping::default(),
            shown: Shown::default(),
            digest: None,
            // What is not known to be saved is saved at once, so that a peer that is never caught up keeps its `whole`.
            saved: position.unwrap_or(Position {
                mode,
                filters,
                ..Position::default()
            }),
            saved_at: None,
            saving: None,
            missing: missing::Missing::default(),
            echo: echo::Echo::default(),
            offers: offers::Offers::default(),
        };
        feed.set_mode(mode);
        feed
    }

    /// The way that it goes.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// In what form changes are sent now.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Sends changes in another form from the next read on: all of them again where the peer was sent less before, what it has not
    /// acknowledged where it was sent more.
    pub fn set_mode(&mut self, mode: Mode) {
        let before = std::mem::replace(&mut self.mode, mode);
        if mode != Mode::Digest {
            self.digest = None;
        }
        if mode >= Mode::Pointers && mode > self.reached {
            self.go_back(0, 0);
        } else {
            self.reached = self.reached.min(mode);
            if mode >= Mode::Pointers && mode < before {
                // What is under way in the richer form may not be taken any more.
                let [_, ordinary, hearsay] = self.lanes.each_ref().map(|lane| lane.acked);
                self.go_back(ordinary, hearsay);
            }
        }
        self.settle();
    }

    /// The peer was sent a digest under `seed`, made when our log ended at `covers`: from now on names are mentioned under it.
    pub fn digest_sent(&mut self, seed: u64, covers: Cursors) {
        self.digest = Some(Told { seed, covers, mentions: 0 });
        self.go_back(covers[Lane::Ordinary as usize], covers[Lane::Hearsay as usize]);
        self.settle();
    }

    /// How many names were mentioned since the last digest.
    pub fn mentions(&self) -> u64 {
        self.digest.as_ref().map_or(0, |digest| digest.mentions)
    }

    /// What was read and not sent is of no use; it is read again when nothing is under way.
    fn go_back(&mut self, ordinary: Cursor, hearsay: Cursor) {
        for (lane, to) in [(Lane::Ordinary, ordinary), (Lane::Hearsay, hearsay)] {
            let state = &mut self.lanes[lane as usize];
            state.unsent.clear();
            state.back = Some(state.back.map_or(to, |back| back.min(to)));
        }
    }

    /// Goes back in each lane in which nothing is under way any more.
    fn settle(&mut self) {
        if self.lanes.iter().all(|lane| lane.back.is_none()) {
            return;
        }
        let whole_again = self.lanes.iter().any(|lane| lane.back == Some(0));
        for lane in LANE_ORDER {
            let state = &mut self.lanes[lane as usize];
            let still = state.under_way.is_empty() && state.reading.is_none();
            if let Some(to) = state.back.take_if(|_| still) {
                state.acked = state.acked.min(to);
                state.read = state.acked;
                state.told = None;
                state.again.begin_before(state.acked);
                if to == 0 {
                    state.unsent.push_back(batch(lane, 0, Vec::new()));
                }
            }
        }
        if whole_again && self.lanes.iter().all(|lane| lane.back.is_none()) && self.mode >= Mode::Pointers {
            self.reached = self.mode;
        }
    }

    /// The peer has sent this: if it is another node of our provider it need not have it back.
    pub fn heard(&mut self, value: &Value) {
        if self.way.relationship == Relationship::Sibling {
            self.echo.heard(value);
        }
    }

    /// The peer has shown that it holds these just as we do.
    pub fn peer_holds(&mut self, shown: Vec<Alike>) {
        self.shown.add(shown);
    }

    /// Our log ends here now.
    pub fn heads(&mut self, heads: Cursors) {
        for (lane, head) in self.lanes.iter_mut().zip(heads) {
            lane.head = lane.head.max(head);
        }
    }

    /// Where our log ended when it was looked at last.
    pub fn heads_seen(&self) -> Cursors {
        self.lanes.each_ref().map(|lane| lane.head)
    }

    /// The next read of the log, urgent lane first: lane, after which cursor. At most [`BATCH_RECORDS`] changes are wanted.
    pub fn next_read(&mut self, now: Duration) -> Option<(Lane, Cursor)> {
        for lane in LANE_ORDER {
            let state = &self.lanes[lane as usize];
            let room = state.unsent.is_empty() && state.under_way.len() < state.window(lane);
            if self.missing.rests(lane) || !room || state.back.is_some() || state.reading.is_some() {
                continue;
            }
            if let Some(to) = self.reads_to(lane, now) {
                let state = &mut self.lanes[lane as usize];
                state.reading = Some(to);
                return Some((lane, state.read));
            }
        }
        None
    }

    /// What a read of what is held brought.
    pub fn changes_read(&mut self, lane: Lane, mut changes: Vec<Change>, now: Moment) {
        let (wanted, read) = (self.lanes[lane as usize].reading, changes.len());
        if lane == Lane::Ordinary && self.offers_at(now.elapsed) {
            // What is younger than a rest waits for the next one.
            changes.retain(|change| wanted.is_none_or(|to| change.cursor <= to));
        }
        let cut = changes.len() < read;
        if self.missing.is_open() {
            changes.iter().for_each(|change| self.missing.strike_off(change.held.record.name()));
        }
        let mut formed = Vec::with_capacity(changes.len());
        for change in changes {
            let cursor = change.cursor;
            let everything = cursor <= self.whole[lane as usize];
            let sends = policy::sends(&change.held, &self.way, everything, now.wall) && !self.echo.has(&change.held);
            let change = match (sends, lane) {
                (false, _) => None,
                // A revocation overtakes what waits.
                (true, Lane::Urgent) => {
                    self.damping.forget(change.held.record.name());
                    Some(change)
                }
                (true, Lane::Ordinary) if !everything && self.shown.has(&change.held) => None,
                // What is read only to be dropped is not counted.
                (true, Lane::Ordinary | Lane::Hearsay) if self.drops(lane) => None,
                (true, Lane::Ordinary | Lane::Hearsay) => self.damping.pass(change, now.elapsed),
            };
            formed.push((cursor, change.and_then(|change| self.entry(lane, &change, now))));
        }
        self.formed(lane, formed, cut || read < BATCH_RECORDS);
    }

    /// In what form a change goes to the peer, if in any.
    fn entry(&self, lane: Lane, change: &Change, now: Moment) -> Option<Entry> {
        let held = &change.held;
        if self.is_offered(lane, change, now) {
            return Some(Entry::Pointer(pointer_to(held, None)));
        }
        match policy::form(held, self.mode, now.wall) {
            Form::Value => Some(Entry::Value(Value {
                class: held.class as u8,
                keep_until: held.keep_until,
                record: held.record.bytes().clone(),
                path: self.paths.of(held),
            })),
            Form::Pointer => Some(Entry::Pointer(pointer_to(held, tag_of(held)))),
            Form::Mention => self.mention(lane, change.cursor, held.record.name(), || tag_of(held)),
            Form::Nothing => None,
        }
    }

    /// Whether what a read of a lane brings is of no use.
    fn drops(&self, lane: Lane) -> bool {
        let state = &self.lanes[lane as usize];
        state.back.is_some() || state.moved
    }

    /// What a read of the hearsay lane brought.
    pub fn pointers_read(&mut self, changes: Vec<PointerChange>, now: UnixSecs) {
        let lane = Lane::Hearsay;
        let formed = changes.into_iter().map(|PointerChange { cursor, pointer }| {
            let everything = cursor <= self.whole[lane as usize];
            if !policy::tells(&pointer, &self.way, everything, now) {
                return (cursor, None);
            }
            let entry = match policy::form_of_pointer(self.mode) {
                Form::Value | Form::Nothing => None,
                Form::Mention => self.mention(lane, cursor, &pointer.name, || pointer.tag),
                Form::Pointer => Some(Entry::Pointer(Pointer {
                    class: pointer.class as u8,
                    keep_until: pointer.keep_until,
                    name: pointer.name,
                    epoch: pointer.epoch,
                    sequence: pointer.sequence,
                    digest: pointer.digest,
                    expiry: pointer.expiry,
                    keeper: Some(pointer.keeper),
                    tag: pointer.tag,
                })),
            };
            (cursor, entry)
        });
        let formed: Vec<_> = formed.collect();
        let whole = formed.len() < BATCH_RECORDS;
        self.formed(lane, formed, whole);
    }

    /// What is told of `name` in between, if the digest that the peer has does not tell it.
    fn mention(&self, lane: Lane, cursor: Cursor, name: &Name, tag: impl FnOnce() -> Option<Hit>) -> Option<Entry> {
        let digest = self.digest.as_ref()?;
        (cursor > digest.covers[lane as usize]).then(|| Entry::Mention(Digest::mention_of(digest.seed, name, tag().as_ref())))
    }

    /// Makes batches of what a read brought; `whole`: it saw the log up to where it was to be read.
    fn formed(&mut self, lane: Lane, formed: Vec<(Cursor, Option<Entry>)>, whole: bool) {
        let state = &mut self.lanes[lane as usize];
        let asked_at = state.reading.take().unwrap_or_default();
        let moved = std::mem::take(&mut state.moved);
        if moved || state.back.is_some() {
            // It is read again, maybe in another form, or from elsewhere.
            return self.settle();
        }
        let last = formed.last().map_or(state.read, |(cursor, _)| *cursor);
        // A read that came back short saw the log to its end as it was when it was asked for.
        let reached = if whole { last.max(asked_at) } else { last };
        state.head = state.head.max(reached);
        let (mut entries, mut bytes, mut before, mut mentions) = (Vec::new(), 0, state.read, 0);
        for (cursor, entry) in formed {
            if let Some(entry) = entry {
                let size = match &entry {
                    Entry::Value(value) => value.record.len() + Entry::HEAD_BYTES_MAX + value.path.bytes(),
                    Entry::Pointer(_) => POINTER_BYTES_MAX,
                    Entry::Mention(_) => MENTION_BYTES_MAX,
                };
                if bytes + size > BATCH_BYTES {
                    let full = std::mem::take(&mut entries);
                    state.unsent.push_back(batch(lane, before, full));
                    bytes = 0;
                }
                bytes += size;
                mentions += u64::from(matches!(entry, Entry::Mention(_)));
                entries.push(entry);
            }
            before = cursor;
        }
        if !entries.is_empty() {
            state.unsent.push_back(batch(lane, reached, entries));
        }
        state.read = reached;
        if let Some(digest) = &mut self.digest {
            digest.mentions += mentions;
        }
    }

    /// The next batch to send of these lanes, in this order. An empty one tells the peer how far it is, once it has everything that is read.
    pub fn next_send(&mut self, lanes: &[Lane], now: Moment) -> Option<Batch> {
        self.release(now);
        for lane in lanes.iter().copied() {
            let (end, (heard, heard_news)) = (self.end(lane, now.elapsed), self.heard_wants(lane));
            let state = &mut self.lanes[lane as usize];
            if state.under_way.len() >= state.window(lane) {
                continue;
            }
            let left = self.missing.left(lane);
            let caught_up = state.reading.is_none() && state.back.is_none() && state.read == end && !state.is_under_way_at(state.read);
            let idle = caught_up && !self.missing.rests(lane) && left == 0;
            let tells = idle && (heard_news || state.told != Some(state.behind(state.read, end)));
            let next = state.unsent.pop_front();
            if let Some(mut next) = next.or_else(|| tells.then(|| batch(lane, state.read, Vec::new()))) {
                next.behind = state.behind(next.cursor, end).saturating_add(left);
                next.heard = heard;
                state.told = Some(next.behind);
                state.under_way.push_back(next.cursor);
                self.told_wants(lane);
                return Some(next);
            }
        }
        None
    }

    /// What damping kept aside and is to be sent now goes after everything that was read.
    fn release(&mut self, now: Moment) {
        let lane = Lane::Ordinary;
        let state = &self.lanes[lane as usize];
        // Two batches that end at one position could not be told apart when they are acknowledged.
        if !state.unsent.is_empty() || state.back.is_some() || state.is_under_way_at(state.read) {
            return;
        }
        let released = self.damping.release(now.elapsed, BATCH_BYTES / RECORD_BYTES_MAX);
        let entries: Vec<Entry> = released.iter().filter_map(|change| self.entry(lane, change, now)).collect();
        if !entries.is_empty() {
            let state = &mut self.lanes[lane as usize];
            state.unsent.push_back(batch(lane, state.read, entries));
        }
    }

    /// Offers again what the peer refused for want of room, in lanes that have nothing else to do; `takes_all`: it says that it has room.
    pub fn offer_again(&mut self, takes_all: bool, now: Duration) {
        for state in &mut self.lanes {
            let still = state.reading.is_none() && state.unsent.is_empty() && state.under_way.is_empty();
            let idle = still && state.back.is_none() && state.read == state.head;
            if let Some(from) = idle.then(|| state.again.go_back(state.read, takes_all, now)).flatten() {
                (state.read, state.acked) = (from, from);
            }
        }
    }

    /// When there will be something to send or to offer again, if nothing else happens.
    pub fn due(&self) -> Option<Duration> {
        let again = self.lanes.iter().filter_map(|state| state.again.due());
        again.chain(self.damping.due()).chain(self.offers_due()).min()
    }

    /// The peer has dealt with everything up to a position.
    ///
    /// # Errors
    /// [`StrayAck`].
    pub fn acked(&mut self, ack: &Ack, now: Duration) -> Result<(), StrayAck> {
        let (lane, cursor) = (ack.lane, ack.cursor);
        // Only what may be offered may be asked for, and no more of it at a time than can have been.
        let wants = ack.wants.len() + self.missing.left(Lane::Ordinary) as usize;
        if !ack.wants.is_empty() && (lane != Lane::Ordinary as u8 || wants > 2 * WANTS_MAX) {
            return Err(StrayAck { lane, cursor });
        }
        let state = self.lanes.get_mut(usize::from(lane)).ok_or(StrayAck { lane, cursor })?;
        let ends = state.under_way.iter().rposition(|sent| *sent == cursor);
        let ends = ends.ok_or(StrayAck { lane, cursor })?;
        state.under_way.drain(..=ends);
        state.proven = (state.proven + ends + 1).min(WINDOW_BATCHES);
        let had = state.acked;
        let before = self.missing.before(usize::from(lane), cursor).unwrap_or(had);
        let front = state.again.acked(before, cursor, ack.counts.limited, now);
        state.acked = cursor;
        if let Some(front) = front {
            state.read = front;
            state.unsent.clear();
            state.moved = state.reading.is_some();
        }
        self.missing.acked(usize::from(lane), state);
        self.wanted(ack, had, now);
        self.settle();
        Ok(())
    }

    /// Whether anything awaits an acknowledgement.
    pub fn is_under_way(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.under_way.is_empty())
    }

    /// How far the peer is: where nothing is under way, what was read and is not for the peer counts as done.
    pub fn position(&self) -> Position {
        let done = |lane: &LaneFeed| {
            let done = if lane.under_way.is_empty() && lane.unsent.is_empty() {
                lane.read
            } else {
                lane.acked
            };
            // What is acknowledged meanwhile is sent again: it may have been refused.
            lane.back.map_or(done, |back| done.min(back))
        };
        let done = |index: usize| {
            let state = &self.lanes[index];
            // What waits here, and what the peer had no room for, it does not have.
            let waits = self.damping.oldest().filter(|_| index == Lane::Ordinary as usize);
            let waits = waits.map(|cursor| cursor.saturating_sub(1));
            waits.into_iter().chain(state.again.floor()).fold(done(state), Cursor::min)
        };
        Position {
            acked: std::array::from_fn(done),
            whole: self.whole,
            mode: self.reached,
            filters: self.filters,
        }
    }

    /// The position to save, if it moved and the last one was saved long enough ago (`hurry`: at all).
    pub fn next_save(&mut self, now: Duration, hurry: bool) -> Option<Position> {
        let position = self.position();
        // That less was sent must be known before the peer forgets what it would then have again.
        let hurry = hurry || !self.is_mode_saved();
        let rested = hurry || self.saved_at.is_none_or(|at| now >= save_after(at));
        (self.saving.is_none() && position != self.saved && rested && !self.missing.is_open()).then(|| {
            self.saving = Some(position);
            self.saved_at = Some(now);
            position
        })
    }

    /// When [`Feed::next_save`] will have something, if nothing else happens.
    pub fn save_due(&self) -> Option<Duration> {
        let waits = self.saving.is_none() && self.position() != self.saved && !self.missing.is_open();
        self.saved_at.filter(|_| waits).map(save_after)
    }

    /// The position handed out last is durable.
    pub fn save_done(&mut self) {
        self.saved = self.saving.take().unwrap_or(self.saved);
    }

    /// Whether a feed that goes on from what is saved knows that less was sent, where less was.
    pub fn is_mode_saved(&self) -> bool {
        self.saved.mode <= self.reached
    }

    /// Whether a position is being saved.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// How many positions of the log the peer has not acknowledged.
    pub fn lag(&self) -> u64 {
        let position = self.position();
        let behind = |(lane, acked): (&LaneFeed, Cursor)| lane.head.saturating_sub(acked);
        self.missing.unacked() + self.lanes.iter().zip(position.acked).map(behind).sum::<u64>()
    }
}

/// When a position may be saved again that was saved at `at`. All links of a provider do so at the same moments, so that they share a commit.
fn save_after(at: Duration) -> Duration {
    let period = SAVE_EVERY.as_micros() as u64;
    Duration::from_micros((at.as_micros() as u64 / period + 1) * period)
}

impl LaneFeed {
    /// Batches that may be under way now: one to begin with, and with each that is acknowledged one more (slow start, RFC 5681 §3.1). A peer that comes for
    /// nothing but trouble costs the reading and sealing of one batch, and an honest one a few times the way there and back.
    fn window(&self, lane: Lane) -> usize {
        window(lane).min(1 + self.proven)
    }

    /// Whether a batch that ends at this position is under way.
    fn is_under_way_at(&self, cursor: Cursor) -> bool {
        self.under_way.back() == Some(&cursor)
    }

    /// How far behind `end` the peer is once it has everything up to `cursor` but what it had no room for.
    fn behind(&self, cursor: Cursor, end: Cursor) -> u64 {
        end.saturating_sub(self.again.floor().unwrap_or(cursor).min(cursor))
    }
}

/// Says where what is held is: here.
fn pointer_to(held: &Held, tag: Option<Hit>) -> Pointer {
    let rank = held.record.rank();
    let mut digest = [0; 16];
    digest.copy_from_slice(&rank.digest[..16]);
    Pointer {
        class: held.class as u8,
        keep_until: held.keep_until,
        name: *held.record.name(),
        epoch: rank.epoch,
        sequence: rank.sequence,
        digest,
        expiry: held.record.record().expiry().unwrap_or(held.keep_until),
        keeper: None,
        tag,
    }
}

/// The Host Identity Tag that what is held is told with; `None`: it has no key.
pub fn tag_of(held: &Held) -> Option<Hit> {
    held.record.record().key().map(|key| Hit::of(&key))
}

fn batch(lane: Lane, cursor: Cursor, entries: Vec<Entry>) -> Batch {
    Batch {
        lane: lane as u8,
        cursor,
        behind: 0,
        entries,
        heard: 0,
    }
}

/// Batches that may be under way in a lane. Both sides keep to it: a receiver never has to hold more.
pub fn window(lane: Lane) -> usize {
    match lane {
        Lane::Urgent => 2,
        Lane::Ordinary => WINDOW_BATCHES - 2,
        // Of small things, and never in a hurry.
        Lane::Hearsay => 2,
    }
}

/// What overtakes what.
pub const LANE_ORDER: [Lane; LANES] = [Lane::Urgent, Lane::Ordinary, Lane::Hearsay];

/// Most bytes of a pointer in a batch: two names, a digest, numbers, and a tag.
const POINTER_BYTES_MAX: usize = 1 + 1 + 9 + 35 + 5 + 9 + 17 + 9 + 35 + 12;

/// Most bytes of a mention in a batch, its tag's with it.
const MENTION_BYTES_MAX: usize = 9 + 8;
