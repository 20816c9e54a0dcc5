//! One link with one peer, from the greeting to the goodbye.
//!
//! ```text
//!            dialled: Hello out                                 both: Batch and Ack, both ways
//!  new ──▶ Greeting ──Hello in──▶ Recalling ──proved──▶ Admitting ──admitted──▶ Running ──▶ Ended
//!             │                       │                     │  (accepted: Hello out)  │      ▲
//!             └───────────────────────┴─────────────────────┴── any error, Stop, Closed ─────┘
//! ```
//!
//! Who is dialled says nothing before the other has proved who it is. After each [`Session::handle`], [`Session::poll`]
//! until it says [`Step::Wait`] or [`Step::End`]; each other step is answered by one event, in any order.

use super::agreement::{Agreement, Agreements};
use super::feed::{Comparison, Feed, Position};
use super::greeting;
use super::health::Progress;
use super::intake::{self, Checked, Intake};
use super::limits::{BATCH_RECORDS, GREETING_PATIENCE, HOLD_PATIENCE, INVALID_RECORDS_MAX};
use super::reconcile;
use super::step::{End, Event, Moment, Opening, Step};
use crate::planted::{self, Bug};
use crate::store::{Cursor, Outcome};
use dialtone_shared::message::{Ack, CloseCode, Entry, Hello, Message, MessageError, Mode, Relationship, Terms, VERSIONS};
use dialtone_shared::{Name, Rank, SignedRecord};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One end of a link.
#[derive(Debug)]
pub struct Session {
    opening: Opening,
    state: State,
    began: Duration,
    /// When the write that is under way began.
    writing: Option<Duration>,
    /// When the peer last acknowledged something, or nothing was left to acknowledge.
    acked: Duration,
    todo: VecDeque<Step>,
    acks: VecDeque<Ack>,
    /// Why the link is cut as soon as what was good is kept.
    condemned: Option<String>,
    stopping: Option<(CloseCode, String)>,
    proved: Option<Name>,
    /// The terms that the peer was told last.
    said: Option<Terms>,
    progress: Progress,
}

#[derive(Debug)]
enum State {
    Greeting,
    Recalling {
        hello: Hello,
        record: Box<SignedRecord>,
        peer: Name,
    },
    Admitting {
        hello: Hello,
        peer: Name,
    },
    Running(Box<Running>),
    Ended(End),
}

#[derive(Debug)]
struct Running {
    peer: Name,
    store: [u8; 16],
    terms: intake::Terms,
    /// What the peer said last.
    theirs: Terms,
    /// `None`: nothing is pushed on this link.
    feed: Option<Feed>,
    /// `None`: nothing is accepted.
    intake: Option<Intake>,
    /// Where the peer's log ended when it greeted.
    their_heads: [u64; 3],
    /// Whether both sides are to hold the same, so that comparing makes sense.
    comparable: bool,
    /// Whether we want to compare.
    compares: bool,
}

impl Session {
    /// One end of a link that just came up.
    pub fn new(opening: Opening, now: Moment) -> Self {
        let mut session = Self {
            state: State::Greeting,
            began: now.elapsed,
            writing: None,
            acked: now.elapsed,
            todo: VecDeque::new(),
            acks: VecDeque::new(),
            condemned: None,
            stopping: None,
            proved: None,
            said: None,
            progress: Progress::default(),
            opening,
        };
        if let Some(agreement) = session
            .opening
            .dialled
            .and_then(|peer| session.opening.agreements.get(&peer).cloned())
        {
            session.greet(now, &agreement);
        }
        session
    }

    /// With whom, once it has proved its name: that an agreement contradicts ours is then worth telling the operator.
    pub fn proved(&self) -> Option<Name> {
        self.proved
    }

    /// Whether the greeting is over and changes may pass.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether frames are to be read now. Between a greeting and its acceptance they wait where they are: the other side may
    /// have accepted ours and begun.
    pub fn reads(&self) -> bool {
        matches!(self.state, State::Greeting | State::Running(_))
    }

    /// Whether it was told to stop, and only saves how far the peer is.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// What the peer says of the agreement, once the greeting is over.
    pub fn theirs(&self) -> Option<&Terms> {
        match &self.state {
            State::Running(running) => Some(&running.theirs),
            State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Ended(_) => None,
        }
    }

    /// Where the peer's log ends as far as we know, once it has greeted.
    pub fn their_heads(&self) -> Option<[u64; 3]> {
        match &self.state {
            State::Recalling { hello, .. } | State::Admitting { hello, .. } => Some(hello.heads),
            State::Running(running) => {
                let mut heads = running.their_heads;
                let reached = running.intake.as_ref().map(Intake::reached);
                for (head, reached) in heads.iter_mut().zip(reached.into_iter().flatten()) {
                    *head = (*head).max(reached);
                }
                Some(heads)
            }
            State::Greeting | State::Ended(_) => None,
        }
    }

    /// Whether the two stores can be compared: both sides are to hold the same.
    pub fn is_comparable(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.comparable && self.condemned.is_none() && self.stopping.is_none())
    }

    /// Whether we want to compare our store with the peer's.
    pub fn wants_comparison(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.compares)
    }

    /// Whether nothing is on its way to the peer, so that comparing can begin.
    pub fn is_quiet(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.feed.as_ref().is_some_and(Feed::is_quiet))
    }

    /// What this link has seen so far.
    pub fn progress(&self) -> Progress {
        let mut progress = self.progress;
        if let State::Running(running) = &self.state {
            let feed = running.feed.as_ref();
            progress.lag = feed.map_or(0, Feed::lag);
            progress.sent_all = progress.lag == 0;
            progress.received_all = running.intake.as_ref().is_none_or(Intake::has_all);
        }
        progress
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Moment, event: Event) {
        match event {
            Event::Frame(body) => self.frame(now, &body),
            Event::Sent => self.writing = None,
            Event::Recalled(known) => self.recalled(now, known.as_ref()),
            Event::Admitted { position, heads } => self.admitted(now, position, heads),
            Event::NotAdmitted(code, reason) | Event::Failed(code, reason) => self.end(code, reason),
            Event::Agreed(agreements) => self.agreed(agreements),
            Event::Reaches(reach) => self.opening.reach = reach,
            Event::Heads(heads) => self.feed(|feed| feed.heads(heads)),
            Event::Read(lane, changes) => self.feed(|feed| feed.changes_read(lane, changes, now.wall)),
            Event::Checked(id, checked) => self.checked(id, checked),
            Event::Committed(outcomes) => self.committed(&outcomes),
            Event::Saved => self.feed(Feed::save_done),
            Event::Compare { leads } => self.compare(leads),
            Event::Compared(comparison) => self.compared(comparison.as_ref()),
            Event::Fetched(held) => self.feed(|feed| feed.fetched(held, now.wall)),
            Event::Tick => {}
            Event::Stop(code, reason) => {
                if let State::Running(_) = self.state {
                    self.stopping.get_or_insert((code, reason));
                } else {
                    self.end(code, reason);
                }
            }
            Event::Closed(code, reason) => {
                if !matches!(self.state, State::Ended(_)) {
                    let by_us = false;
                    self.state = State::Ended(End { code, by_us, reason });
                }
            }
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Moment) -> Step {
        self.watch_the_clock(now);
        if let State::Ended(end) = &self.state {
            return Step::End(end.clone());
        }
        if let Some(step) = self.todo.pop_front() {
            return step;
        }
        self.running_step(now).unwrap_or_else(|| match &self.state {
            State::Ended(end) => Step::End(end.clone()),
            State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Running(_) => Step::Wait(self.due()),
        })
    }

    /// The next step of a running link: what is urgent and cheap first.
    fn running_step(&mut self, now: Moment) -> Option<Step> {
        let news = self.news();
        let State::Running(running) = &mut self.state else { return None };
        if self.writing.is_none() && self.stopping.is_none() {
            let first = match news {
                Some(terms) => {
                    self.said = Some(terms.clone());
                    Some(Message::Terms(terms))
                }
                None => self.acks.pop_front().map(Message::Ack),
            };
            let message = first.or_else(|| {
                let feed = running.feed.as_mut().filter(|_| self.condemned.is_none())?;
                if !feed.is_under_way() {
                    self.acked = now.elapsed;
                }
                feed.next_send().map(Message::Batch)
            });
            if let Some(message) = message {
                return Some(self.send(now, &message));
            }
        }
        if let Some(commit) = running.intake.as_mut().and_then(Intake::next_commit) {
            let (puts, deferred) = commit;
            let peer = running.peer;
            if planted::is(Bug::AckBeforeDurable) {
                self.committed(&[]);
            }
            return Some(Step::Commit { peer, puts, deferred });
        }
        if let Some(feed) = &mut running.feed {
            if let Some((lane, after)) = feed.next_read().filter(|_| self.stopping.is_none()) {
                let limit = BATCH_RECORDS;
                return Some(Step::Read { lane, after, limit });
            }
            if let Some(names) = feed.next_fetch().filter(|_| self.stopping.is_none()) {
                return Some(Step::Fetch(names));
            }
            if let Some(position) = feed.next_save(now.elapsed, self.stopping.is_some()) {
                let key = Position::key(&running.peer, &running.store, &self.opening.store);
                return Some(Step::Save { key, position });
            }
        }
        let kept = running.intake.as_ref().is_none_or(Intake::is_idle) && self.acks.is_empty() && self.writing.is_none();
        if let Some(reason) = self.condemned.clone().filter(|_| kept) {
            self.end(CloseCode::InvalidRecords, reason);
        }
        self.stop_if_saved();
        None
    }

    /// Ends a link that is to stop, once how far the peer is has been saved.
    fn stop_if_saved(&mut self) {
        let State::Running(running) = &self.state else { return };
        let saving = running.feed.as_ref().is_some_and(Feed::is_saving);
        if let Some((code, reason)) = self.stopping.take_if(|_| !saving) {
            self.end(code, reason);
        }
    }

    /// When to be asked again if nothing happens.
    fn due(&self) -> Option<Duration> {
        let State::Running(running) = &self.state else {
            return Some(self.began + GREETING_PATIENCE);
        };
        let save = running.feed.as_ref().and_then(Feed::save_due);
        self.hold_from().map(|from| from + HOLD_PATIENCE).into_iter().chain(save).min()
    }

    fn watch_the_clock(&mut self, now: Moment) {
        match &self.state {
            State::Running(_) => {
                if self.hold_from().is_some_and(|from| now.elapsed >= from + HOLD_PATIENCE) {
                    let reason = format!(
                        "nothing moved for {} s: the other side neither reads nor acknowledges",
                        HOLD_PATIENCE.as_secs()
                    );
                    self.end(CloseCode::Hold, reason);
                }
            }
            State::Greeting | State::Recalling { .. } | State::Admitting { .. } => {
                if now.elapsed >= self.began + GREETING_PATIENCE {
                    let reason = format!("no greeting came to an end within {} s", GREETING_PATIENCE.as_secs());
                    self.end(CloseCode::Hold, reason);
                }
            }
            State::Ended(_) => {}
        }
    }

    /// Since when the other side owes us something: to read what we write, or to acknowledge what it read.
    fn hold_from(&self) -> Option<Duration> {
        let State::Running(running) = &self.state else {
            return self.writing;
        };
        let feed = running.feed.as_ref().filter(|feed| feed.is_under_way());
        feed.map(|_| self.acked).into_iter().chain(self.writing).min()
    }

    fn frame(&mut self, now: Moment, body: &[u8]) {
        if matches!(self.state, State::Ended(_)) || self.condemned.is_some() {
            return;
        }
        self.progress.bytes_received += body.len() as u64 + 4;
        let message = match Message::decode(body) {
            Ok(message) => message,
            Err(error @ MessageError::Version { .. }) => return self.end(CloseCode::Version, error.to_string()),
            Err(error) => return self.end(CloseCode::Protocol, error.to_string()),
        };
        match message {
            Message::Hello(hello) => self.hello(hello),
            Message::Batch(batch) => {
                let entries = batch.entries.len() as u64;
                let arrived = match &mut self.state {
                    State::Running(running) => running.intake.as_mut().map(|intake| (intake.arrived(&batch), running.terms)),
                    State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Ended(_) => None,
                };
                match arrived {
                    None => self.end(CloseCode::Protocol, "sent a batch where none is accepted".to_owned()),
                    Some((Err(error), _)) => self.end(CloseCode::Protocol, error.to_string()),
                    Some((Ok(id), terms)) => {
                        self.progress.records_received += entries;
                        let value = |entry| match entry {
                            Entry::Value(value) => Some(value),
                            Entry::Pointer(_) | Entry::Mention(_) => None,
                        };
                        match batch.entries.into_iter().map(value).collect() {
                            Some(entries) => self.todo.push_back(Step::Check { id, terms, entries }),
                            None => self.end(
                                CloseCode::Protocol,
                                "sent something else than records where values are pushed".to_owned(),
                            ),
                        }
                    }
                }
            }
            Message::Terms(terms) => {
                if let State::Running(running) = &mut self.state {
                    let named = terms.relationship.mirrored() == running.terms.relationship;
                    running.theirs = terms;
                    if !named {
                        self.end(CloseCode::Changed, "the relationship has changed: greet again".to_owned());
                    }
                } else {
                    self.end(CloseCode::Protocol, "sent terms before the greeting".to_owned());
                }
            }
            Message::Digest(_) => self.end(CloseCode::Protocol, "sent a digest where none is accepted".to_owned()),
            Message::Ack(ack) => {
                self.acked = now.elapsed;
                let acked = match &mut self.state {
                    State::Running(running) => running.feed.as_mut().map(|feed| feed.acked(&ack)),
                    State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Ended(_) => None,
                };
                match acked {
                    None => self.end(CloseCode::Protocol, "acknowledged what was never sent".to_owned()),
                    Some(Err(error)) => self.end(CloseCode::Protocol, error.to_string()),
                    Some(Ok(())) => self.progress.acknowledged.add(&ack.counts),
                }
            }
        }
    }

    fn hello(&mut self, hello: Hello) {
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

    fn recalled(&mut self, now: Moment, known: Option<&Rank>) {
        let State::Recalling { hello, record, peer } = &self.state else {
            return;
        };
        let Some(agreement) = self.opening.agreements.get(peer) else {
            return;
        };
        match greeting::prove(SignedRecord::clone(record), agreement, hello, &self.opening.pin, known, now.wall) {
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

    fn admitted(&mut self, now: Moment, position: Option<Position>, heads: [Cursor; 2]) {
        let State::Admitting { hello, peer } = &self.state else { return };
        let (hello, peer) = (hello.clone(), *peer);
        let Some(agreement) = self.opening.agreements.get(&peer).cloned() else {
            return;
        };
        if self.opening.dialled.is_none() {
            self.greet(now, &agreement);
        }
        let relationship = agreement.relationship;
        let pushes = agreement.push.min(hello.terms.accepts) == Mode::Values;
        let accepts = agreement.accept.min(hello.terms.pushes) == Mode::Values;
        self.progress.links = 1;
        let comparable = pushes && accepts && matches!(relationship, Relationship::Mutual | Relationship::Sibling);
        let compares = comparable && reconcile::is_worth_it(position.as_ref(), &heads, &hello.heads);
        let mut feed = pushes.then(|| Feed::new(peer, relationship, position, heads));
        if let Some(feed) = feed.as_mut().filter(|_| compares) {
            feed.hold();
        }
        self.state = State::Running(Box::new(Running {
            peer,
            store: hello.store,
            their_heads: hello.heads,
            comparable,
            compares,
            theirs: hello.terms,
            terms: intake::Terms {
                own: self.opening.own,
                peer,
                relationship,
            },
            feed,
            intake: accepts.then(Intake::default),
        }));
    }

    /// A comparison is to be made, and the feed is to rest for it. `leads`: by us.
    fn compare(&mut self, leads: bool) {
        if let State::Running(running) = &mut self.state
            && let Some(feed) = running.feed.as_mut().filter(|_| running.comparable)
        {
            running.compares = leads;
            feed.hold();
        }
    }

    fn compared(&mut self, comparison: Option<&Comparison>) {
        if let State::Running(running) = &mut self.state {
            running.compares = false;
            self.progress.compared += u64::from(comparison.is_some());
        }
        self.feed(|feed| feed.compared(comparison));
    }

    fn checked(&mut self, id: u64, mut checked: Checked) {
        let State::Running(running) = &mut self.state else { return };
        let Some(intake) = &mut running.intake else { return };
        if let Some((count, refusal)) = checked.invalid.take() {
            self.progress.invalid += count;
            if self.progress.invalid >= INVALID_RECORDS_MAX && self.condemned.is_none() {
                self.condemned = Some(format!(
                    "sent {} invalid records, the first of the last batch: {refusal}",
                    self.progress.invalid
                ));
            }
        }
        intake.checked(id, checked);
        if self.condemned.is_some() {
            intake.abandon_unchecked();
        }
    }

    fn committed(&mut self, outcomes: &[Outcome]) {
        let State::Running(running) = &mut self.state else { return };
        let Some(intake) = &mut running.intake else { return };
        for ack in intake.committed(outcomes) {
            self.progress.received.add(&ack.counts);
            self.acks.push_back(ack);
        }
    }

    fn feed(&mut self, change: impl FnOnce(&mut Feed)) {
        if let State::Running(running) = &mut self.state {
            running.feed.as_mut().map(change).unwrap_or_default();
        }
    }

    fn greet(&mut self, now: Moment, agreement: &Agreement) {
        let hello = Hello {
            versions: VERSIONS.to_vec(),
            record: self.opening.record.bytes().clone(),
            store: self.opening.store,
            boot: self.opening.boot,
            heads: self.opening.heads,
            terms: self.terms(agreement),
        };
        self.said = Some(hello.terms.clone());
        let step = self.send(now, &Message::Hello(hello));
        self.todo.push_back(step);
    }

    /// On what terms we speak, as things stand.
    fn terms(&self, agreement: &Agreement) -> Terms {
        Terms {
            reach: self.opening.reach.clone(),
            ..agreement.terms()
        }
    }

    /// The terms that the peer has not been told of yet.
    fn news(&self) -> Option<Terms> {
        let State::Running(running) = &self.state else { return None };
        let terms = self.terms(self.opening.agreements.get(&running.peer)?);
        (self.said.as_ref() != Some(&terms)).then_some(terms)
    }

    /// The agreements have changed: what concerns how the peer knows us is greeted anew, the rest is told.
    fn agreed(&mut self, agreements: Arc<Agreements>) {
        let before = std::mem::replace(&mut self.opening.agreements, agreements);
        let State::Running(running) = &self.state else { return };
        let (before, now) = (before.get(&running.peer), self.opening.agreements.get(&running.peer));
        match (before, now) {
            (_, None) => self.end(CloseCode::NoAgreement, "the agreement was ended here".to_owned()),
            (Some(before), Some(now)) if before.relationship != now.relationship || before.filter != now.filter => {
                self.end(CloseCode::Changed, "the agreement has changed here: greet again".to_owned());
            }
            (_, Some(_)) => {}
        }
    }

    fn send(&mut self, now: Moment, message: &Message) -> Step {
        let frame = message.to_frame();
        self.writing = Some(now.elapsed);
        self.progress.bytes_sent += frame.len() as u64;
        if let Message::Batch(batch) = message {
            self.progress.records_sent += batch.entries.len() as u64;
        }
        Step::Send(frame)
    }

    fn end(&mut self, code: CloseCode, reason: String) {
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(End {
                code: Some(code),
                by_us: true,
                reason,
            });
        }
    }
}
