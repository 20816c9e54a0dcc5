//! What the two sides have agreed, as it changes while a link stands.
//!
//! In which form something is pushed follows from what was *said*: the lesser of what one side said it pushes and the other said it accepts.
//! Each counts from when it was written on the wire or read from it, so that both sides see the same changes in the same order of the stream.
//!
//! Where less than pointers is pushed from now on, the receiver forgets those that it was told. If more is agreed again, the sender must tell them
//! anew, and must know so after a crash too: it says the very same terms once more when that is noted, and the receiver forgets when it hears them.

use super::digests::Heard;
use super::{Session, State};
use crate::peering::agreement::{Agreement, Agreements};
use crate::peering::ask::reach;
use crate::peering::step::{Moment, Step};
use dialtone_shared::message::{CloseCode, Mode, Terms};
use std::sync::Arc;

impl Session {
    /// The peer says its terms anew.
    pub(super) fn told_terms(&mut self, terms: Terms) {
        let State::Running(running) = &mut self.state else {
            return self.end(CloseCode::Protocol, "sent terms before the greeting".to_owned());
        };
        let named = terms.relationship.mirrored() == running.terms.relationship;
        let filters = running.theirs.passing() == terms.passing();
        let again = running.theirs == terms;
        running.theirs = terms;
        if !named {
            return self.end(CloseCode::Changed, "the relationship has changed: greet again".to_owned());
        }
        if !filters {
            return self.end(CloseCode::Changed, "what passes has changed: greet again".to_owned());
        }
        if again && std::mem::take(&mut running.to_forget) {
            let peer = running.peer;
            running.forgetting = true;
            self.todo.push_back(Step::Forget { peer });
        }
        self.settle();
    }

    /// Acts on what has been said on both sides.
    pub(super) fn settle(&mut self) {
        let (Some(said), State::Running(running)) = (&self.said, &mut self.state) else {
            return;
        };
        let pushes = said.pushes.min(running.theirs.accepts);
        if pushes != running.feed.mode() {
            running.echo = pushes < Mode::Pointers;
            running.feed.set_mode(pushes);
            running.telling.stop();
        }
        running.place_told = running
            .place_told
            .filter(|_| pushes == Mode::Values && said.accepts.min(running.theirs.pushes) == Mode::Values);
        let accepts = said.accepts.min(running.theirs.pushes);
        let before = std::mem::replace(&mut running.terms.accepts, accepts);
        if accepts == before {
            return;
        }
        running.intake.accepts(before, accepts);
        running.heard = Heard::default();
        running.to_forget = accepts < Mode::Pointers;
        self.replace();
    }

    /// On what terms we speak, as things stand.
    pub(super) fn terms(&self, agreement: &Agreement, takes_all: bool) -> Terms {
        Terms {
            takes_all,
            reach: reach::told(&agreement.peer, agreement.relationship, &self.opening.inbound),
            ..agreement.terms()
        }
    }

    /// The terms that the peer has not been told of yet.
    pub(super) fn news(&self, now: Moment) -> Option<Terms> {
        let State::Running(running) = &self.state else { return None };
        let takes_all = running.share.takes_all(now.elapsed);
        let terms = self.terms(self.opening.agreements.get(&running.peer)?, takes_all);
        let again = running.echo && running.feed.is_mode_saved();
        (again || self.said.as_ref() != Some(&terms)).then_some(terms)
    }

    /// The agreements have changed: what concerns how the peer knows us is greeted anew, the rest is told.
    pub(super) fn agreed(&mut self, agreements: Arc<Agreements>) {
        let before = std::mem::replace(&mut self.opening.agreements, agreements);
        let State::Running(running) = &self.state else { return };
        let (before, now) = (before.get(&running.peer), self.opening.agreements.get(&running.peer));
        match (before, now) {
            (_, None) => self.end(CloseCode::NoAgreement, "who closed the link has ended the agreement".to_owned()),
            (Some(before), Some(now)) if before.relationship != now.relationship || before.filter != now.filter => {
                self.end(CloseCode::Changed, "the agreement has changed here: greet again".to_owned());
            }
            (_, Some(now)) => running.share.limit(now.limits),
        }
    }
}
