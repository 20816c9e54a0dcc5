//! What is only offered: over a link that is no branch of the tree (see `peering::tree`) the peer is told, after a while and many at once, of which records it
//! could have, and sent those that it then asks for.
//!
//! ```text
//! log   ... read ...... goal ...... head        at `due` everything up to `goal` is read, all of it older than a rest, and offered
//! ```
//!
//! By then the tree has brought it to the peer, or the peer has told of it itself, and of most nothing is said. A peer that asks shows that the tree does not reach
//! it: for a while it is sent everything at once again.

use super::{Feed, LaneFeed};
use crate::peering::limits::{OFFERS_REST_FIRST, OFFERS_REST_SECOND, TORN_FOR};
use crate::peering::step::Moment;
use crate::store::{Change, Cursor, Lane};
use dialtone_shared::message::{Ack, Mode, Relationship};
use std::time::Duration;

/// The part of a feed that has to do with offers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// The link is no branch.
    only: bool,
    /// How long what is offered has been held at least.
    rest: Duration,
    /// The peer lacked what it was offered: until then it is sent everything.
    torn_until: Duration,
    /// When the log is read next.
    due: Option<Duration>,
    /// Up to where it is to be read then, or was read last.
    goal: Cursor,
    /// Names that the peer has asked for, and how many of them it knows that we know of.
    heard: u64,
    told: u64,
}

impl Feed {
    /// From now on changes are only offered, or sent at once again. `first`: of the two ends the one that offers sooner, so that of each two one
    /// mostly need not.
    pub fn only_offer(&mut self, only: bool, first: bool) {
        let offers = &mut self.offers;
        offers.rest = if first { OFFERS_REST_FIRST } else { OFFERS_REST_SECOND };
        if only && !offers.only {
            // What is there now counts as not told.
            offers.goal = self.lanes[Lane::Ordinary as usize].head;
        }
        offers.only = only;
        offers.due = offers.due.filter(|_| only);
    }

    /// Whether changes are only offered, as things are agreed.
    pub fn only_offers(&self) -> bool {
        self.offers.only && self.mode == Mode::Values && self.way.relationship == Relationship::Mutual
    }

    /// Whether changes are only offered now.
    pub(super) fn offers_at(&self, now: Duration) -> bool {
        self.only_offers() && now >= self.offers.torn_until
    }

    /// Up to where a lane is to be read now, if it is.
    pub(super) fn reads_to(&mut self, lane: Lane, now: Duration) -> Option<Cursor> {
        let LaneFeed { head, read, .. } = self.lanes[lane as usize];
        if lane != Lane::Ordinary {
            return Some(head).filter(|_| head > read);
        }
        if !self.offers_at(now) {
            (self.offers.due, self.offers.goal) = (None, head);
            return Some(head).filter(|_| head > read);
        }
        if self.offers.due.is_none() && head > read {
            (self.offers.due, self.offers.goal) = (Some(now + self.offers.rest), head);
        }
        self.offers.due.filter(|due| now >= *due)?;
        // What was asked for goes first: so what is asked for has an end.
        if self.missing.left(lane) > 0 {
            return None;
        }
        self.offers.due = None;
        Some(self.offers.goal).filter(|goal| *goal > read)
    }

    /// How far a lane runs on, as far as the peer is to know: what is not to be offered yet is not behind.
    pub(super) fn end(&self, lane: Lane, now: Duration) -> Cursor {
        let state = &self.lanes[lane as usize];
        if lane == Lane::Ordinary && self.offers_at(now) {
            self.offers.goal.max(state.read)
        } else {
            state.head
        }
    }

    /// Whether a change is offered and not sent. What has no pointer that says enough of it is sent.
    pub(super) fn is_offered(&self, lane: Lane, change: &Change, now: Moment) -> bool {
        let record = change.held.record.record();
        let expired = record.expiry().is_none_or(|expiry| expiry <= now.wall);
        // A pointer does not say for whom a record is.
        let says_all = !expired && record.scope.is_empty();
        says_all && lane == Lane::Ordinary && change.cursor > self.whole[lane as usize] && self.offers_at(now.elapsed)
    }

    /// The peer asks for what it was offered; `before`: what it had before that.
    pub(super) fn wanted(&mut self, ack: &Ack, before: Cursor, now: Duration) {
        if ack.wants.is_empty() {
            return;
        }
        self.offers.heard += ack.wants.len() as u64;
        self.offers.torn_until = now + TORN_FOR;
        self.missing.wants(usize::from(ack.lane), &ack.wants, before);
    }

    /// How many names the peer asked for, if it does not know yet that we know, or at all.
    pub(super) fn heard_wants(&self, lane: Lane) -> (u64, bool) {
        let counts = lane == Lane::Ordinary;
        let heard = if counts { self.offers.heard } else { 0 };
        (heard, counts && heard != self.offers.told)
    }

    /// A batch of the lane tells it.
    pub(super) fn told_wants(&mut self, lane: Lane) {
        if lane == Lane::Ordinary {
            self.offers.told = self.offers.heard;
        }
    }

    /// When the log is to be read.
    pub(super) fn offers_due(&self) -> Option<Duration> {
        self.offers.due
    }
}
