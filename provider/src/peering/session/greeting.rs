//! The beginning of a link: the greetings, until changes may pass.

use super::digests::{Heard, Telling};
use super::{Running, Session, State};
use crate::peering::agreement::Agreement;
use crate::peering::feed::Feed;
use crate::peering::greeting;
use crate::peering::intake::{self, Intake};
use crate::peering::position::Position;
use crate::peering::reconcile;
use crate::peering::step::{Moment, Step};
use crate::store::Cursors;
use dialtone_shared::message::{CloseCode, Hello, Message, Mode, VERSIONS};
use dialtone_shared::{Rank, SignedRecord};

impl Session {
    pub(super) fn hello(&mut self, hello: Hello) {
        if !matches!(self.state, State::Greeting) {
            return self.end(CloseCode::Protocol, "greeted twice".to_owned());
        }
        match greeting::claim(&hello, self.opening.dialled.as_ref(), &self.opening.agreements) {
            Ok((record, agreement)) => {
                let (peer, record) = (agreement.peer, Box::new(record));
                self.todo.push_back(Step::Recall(peer));
                self.state = State::Recalling { hello, record, peer };
            }
            Err(error) => self.end(error.code(), error.to_string()),
        }
    }

    pub(super) fn recalled(&mut self, now: Moment, known: Option<&Rank>) {
        let State::Recalling { hello, record, peer } = &self.state else {
            return;
        };
        let Some(agreement) = self.opening.agreements.get(peer) else {
            return;
        };
        match greeting::prove(
            SignedRecord::clone(record),
            &self.opening.own,
            agreement,
            hello,
            &self.opening.pin,
            known,
            now.wall,
        ) {
            Ok(()) => {
                let (hello, peer) = (hello.clone(), *peer);
                self.proved = Some(peer);
                let (boot, store) = (hello.boot, hello.store);
                self.todo.push_back(Step::Admit { peer, boot, store });
                self.state = State::Admitting { hello, peer };
            }
            Err(error) => {
                self.proved = Some(*peer).filter(|_| matches!(error, greeting::GreetingError::Disagreement { .. }));
                self.end(error.code(), error.to_string());
            }
        }
    }

    pub(super) fn admitted(&mut self, now: Moment, position: Option<Position>, heads: Cursors) {
        let State::Admitting { hello, peer } = &self.state else { return };
        let (hello, peer) = (hello.clone(), *peer);
        let Some(agreement) = self.opening.agreements.get(&peer).cloned() else {
            return;
        };
        if self.opening.dialled.is_none() {
            self.greet(now, &agreement);
        }
        let way = agreement.way_within(hello.terms.schemes);
        let said = self.said.clone().unwrap_or_else(|| self.terms(&agreement, true));
        let pushes = said.pushes.min(hello.terms.accepts);
        let accepts = said.accepts.min(hello.terms.pushes);
        self.progress.links = 1;
        let position = position.map(|position| position.under([way.filter.mark(), hello.terms.passing()], pushes));
        let is_worth_it = reconcile::is_worth_it(position.as_ref(), &heads, &hello.heads);
        let mut running = Box::new(Running {
            peer,
            store: hello.store,
            terms: intake::Terms {
                own: self.opening.own,
                peer,
                relationship: way.relationship,
                accepts,
                takes_new: true,
                filter: way.filter.clone(),
                offered: false,
                alone: !self.opening.agreements.contains_key(&self.opening.own),
            },
            share: self.opening.quotas.share(peer, agreement.limits),
            feed: Feed::new(way, self.opening.paths.clone(), hello.terms.passing(), pushes, position, heads),
            theirs: hello.terms,
            intake: Intake::default(),
            telling: Telling::default(),
            heard: Heard::default(),
            echo: pushes < Mode::Pointers,
            to_forget: accepts < Mode::Pointers,
            forgetting: false,
            their_heads: hello.heads,
            compares: false,
            branch: None,
            place: None,
            place_told: None,
        });
        running.begin_comparing(is_worth_it);
        self.state = State::Running(running);
        self.replace();
    }

    pub(super) fn greet(&mut self, now: Moment, agreement: &Agreement) {
        let hello = Hello {
            versions: VERSIONS.to_vec(),
            record: self.opening.record.bytes().clone(),
            store: self.opening.store,
            boot: self.opening.boot,
            heads: self.opening.heads,
            terms: self.terms(agreement, true),
        };
        self.said = Some(hello.terms.clone());
        let step = self.send(now, &Message::Hello(hello));
        self.todo.push_back(step);
    }
}
