//! The link's place in the tree that records take: what the peer is told of it, and what it tells. See `peering::tree`.

use super::{Running, Session, State};
use crate::peering::tree::Place;
use dialtone_shared::message::{Branch, CloseCode, Message, Mode, Relationship};

impl Session {
    /// What the peer says of its place, while everything is exchanged with it by value.
    pub fn branch(&self) -> Option<Branch> {
        match &self.state {
            State::Running(running) if self.condemned.is_none() => running.branch.filter(|_| running.is_in_tree()),
            State::Running(_) | State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Ended(_) => None,
        }
    }

    /// Whether changes are only offered to the peer: the link is no branch.
    pub fn only_offers(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.feed.only_offers())
    }

    pub(super) fn told_branch(&mut self, branch: Branch) {
        let State::Running(running) = &mut self.state else {
            return self.end(CloseCode::Protocol, "told of a tree before the greeting".to_owned());
        };
        running.branch = Some(branch);
        self.replace();
    }

    /// Acts on where we stand and where the peer does.
    pub(super) fn replace(&mut self) {
        let own = self.opening.store;
        if let State::Running(running) = &mut self.state {
            let place = Place::among(&own, &self.opening.branches);
            let told = running.branch.filter(|_| running.is_in_tree());
            let only = told.is_some_and(|told| place.only_offers(&running.store, &told));
            running.feed.only_offer(only, own < running.store);
            running.place = Some(place.told(&running.store));
        }
    }

    /// Our place, if the peer has not been told of it.
    pub(super) fn place_news(&mut self) -> Option<Message> {
        let State::Running(running) = &mut self.state else { return None };
        let place = running.place.filter(|_| running.is_in_tree())?;
        (running.place_told.replace(place) != Some(place)).then_some(Message::Branch(place))
    }
}

impl Running {
    /// Whether the link may be a branch: whoever is on it has what the other has.
    fn is_in_tree(&self) -> bool {
        let open = self.terms.filter.mark() == 0 && self.theirs.filter == 0;
        open && self.terms.relationship == Relationship::Mutual && self.feed.mode() == Mode::Values && self.terms.accepts == Mode::Values
    }
}
