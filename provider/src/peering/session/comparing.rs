//! Comparing the two stores: whether it makes sense, and what a link does for it. Who asks what is in `peering::reconcile`.

use super::{Running, Session, State};
use crate::peering::feed::{Comparison, Feed};
use dialtone_shared::message::{Mode, Relationship};

impl Session {
    /// Where the peer's log ends as far as we know, once it has greeted.
    pub fn their_heads(&self) -> Option<[u64; 3]> {
        match &self.state {
            State::Recalling { hello, .. } | State::Admitting { hello, .. } => Some(hello.heads),
            State::Running(running) => {
                let mut heads = running.their_heads;
                for (head, reached) in heads.iter_mut().zip(running.intake.reached()) {
                    *head = (*head).max(reached);
                }
                Some(heads)
            }
            State::Greeting | State::Ended(_) => None,
        }
    }

    /// Whether the two stores can be compared: both sides are to hold the same.
    pub fn is_comparable(&self) -> bool {
        self.condemned.is_none() && self.stopping.is_none() && matches!(&self.state, State::Running(running) if running.is_comparable())
    }

    /// Whether we want to compare our store with the peer's.
    pub fn wants_comparison(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.compares)
    }

    /// Whether nothing is on its way to the peer, so that comparing can begin.
    pub fn is_quiet(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.feed.is_quiet())
    }

    /// A comparison is to be made, and the feed is to rest for it. `leads`: by us.
    pub(super) fn compare(&mut self, leads: bool) {
        if let State::Running(running) = &mut self.state
            && running.is_comparable()
        {
            running.compares = leads;
            running.feed.hold();
        }
    }

    pub(super) fn compared(&mut self, comparison: Option<&Comparison>) {
        if let State::Running(running) = &mut self.state {
            // The terms may have changed meanwhile: then everything is told anew anyway.
            let comparison = comparison.filter(|_| running.is_comparable());
            running.compares = false;
            running.feed.compared(comparison);
            self.progress.compared += u64::from(comparison.is_some());
        }
    }
}

impl Running {
    pub(super) fn is_comparable(&self) -> bool {
        self.feed.mode() == Mode::Values
            && self.terms.accepts == Mode::Values
            // Both must count the same records.
            && self.terms.filter.mark() == self.theirs.passing()
            && matches!(self.terms.relationship, Relationship::Mutual | Relationship::Sibling)
    }

    /// The link has just come up: what is to be compared first rests.
    pub(super) fn begin_comparing(&mut self, is_worth_it: bool) {
        if is_worth_it && self.is_comparable() {
            self.compares = true;
            Feed::hold(&mut self.feed);
        }
    }
}
