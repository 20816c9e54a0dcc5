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
//!
//! - [`greeting`]: up to where changes may pass;
//! - [`terms`]: what is agreed, as it changes;
//! - [`receiving`]: what arrives;
//! - [`digests`]: the filters of names that go where no more is agreed;
//! - [`branching`]: whether what is news goes at once or is only offered;
//! - [`comparing`]: finding out what the peer lacks.

mod branching;
mod comparing;
mod digests;
mod greeting;
mod receiving;
mod terms;

use super::digest::Digest;
use super::feed::Feed;
use super::health::{self, Progress};
use super::intake::{self, Intake};
use super::limits::{BATCH_RECORDS, GREETING_PATIENCE, HOLD_PATIENCE, ROOM_LOOKED_AT_EVERY};
use super::position::Position;
use super::quota::Share;
use super::step::{End, Event, Moment, Opening, Step};
use crate::planted::{self, Bug};
use crate::store::Lane;
use dialtone_shared::message::{Ack, Branch, CloseCode, Hello, Message, Mode, Terms};
use dialtone_shared::{Name, SignedRecord};
use digests::{Heard, Telling};
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
    feed: Feed,
    intake: Intake,
    /// What the peer may bring.
    share: Share,
    telling: Telling,
    heard: Heard,
    /// We push less than before, or less than pointers from the start: the peer is told our terms once that is noted durably.
    echo: bool,
    /// The peer pushes less than pointers: what it told of others is forgotten as soon as it has noted that.
    to_forget: bool,
    /// That is being forgotten: nothing is kept meanwhile, so that nothing new goes with it.
    forgetting: bool,
    /// Where the peer's log ended when it greeted.
    their_heads: [u64; 3],
    /// Whether we want to compare.
    compares: bool,
    /// Where the peer says that it stands in the tree, where we do, and where it was told that we do.
    branch: Option<Branch>,
    place: Option<Branch>,
    place_told: Option<Branch>,
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

    /// The digest that was heard from the peer, where that is what it pushes.
    pub fn digest(&self) -> Option<&Arc<Digest>> {
        match &self.state {
            State::Running(running) => running.heard.digest(),
            State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Ended(_) => None,
        }
    }

    /// What this link has seen so far.
    pub fn progress(&self) -> Progress {
        let mut progress = self.progress;
        if let State::Running(running) = &self.state {
            progress.lag = running.feed.lag();
            progress.counted = Some(running.feed.heads_seen());
            progress.sent_all = progress.lag == 0;
            let told = running.terms.accepts != Mode::Digest || running.heard.digest().is_some();
            progress.received_all = told && running.intake.has_all() && !running.share.is_refusing();
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
            Event::Inbound(inbound) => self.opening.inbound = inbound,
            Event::Branches(branches) => {
                self.opening.branches = branches;
                self.replace();
            }
            Event::Heads(heads) => self.feed(|feed| feed.heads(heads)),
            Event::Read(lane, changes) => self.feed(|feed| feed.changes_read(lane, changes, now)),
            Event::PointersRead(changes) => self.feed(|feed| feed.pointers_read(changes, now.wall)),
            Event::Built(digest, covers) => {
                if let State::Running(running) = &mut self.state {
                    running.telling.built(digest, covers);
                }
            }
            Event::Forgotten => {
                if let State::Running(running) = &mut self.state {
                    running.forgetting = false;
                }
            }
            Event::Checked(id, checked) => self.checked(now, id, *checked),
            Event::Committed(outcomes, pointers) => self.committed(&outcomes, &pointers),
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
            State::Greeting | State::Recalling { .. } | State::Admitting { .. } | State::Running(_) => Step::Wait(self.due(now)),
        })
    }

    /// The next step of a running link: what is urgent and cheap first.
    fn running_step(&mut self, now: Moment) -> Option<Step> {
        if self.writing.is_none()
            && self.stopping.is_none()
            && let Some(message) = self.next_message(now)
        {
            return Some(self.send(now, &message));
        }
        let State::Running(running) = &mut self.state else { return None };
        if !running.forgetting
            && let Some(commit) = running.intake.next_commit(now.elapsed)
        {
            let peer = running.peer;
            if planted::is(Bug::AckBeforeDurable) {
                self.committed(&[], &[]);
            }
            return Some(Step::Commit { peer, commit });
        }
        if self.stopping.is_none() {
            let limit = BATCH_RECORDS;
            match running.feed.next_read(now.elapsed) {
                Some((Lane::Hearsay, after)) => return Some(Step::ReadPointers { after, limit }),
                Some((lane, after)) => return Some(Step::Read { lane, after, limit }),
                None => {}
            }
            if let Some(names) = running.feed.next_fetch(now.elapsed) {
                return Some(Step::Fetch(names));
            }
            if running.feed.mode() == Mode::Digest && running.telling.is_due(now.elapsed, running.feed.mentions()) {
                return Some(Step::Build(running.feed.way().clone()));
            }
        }
        if let Some(position) = running.feed.next_save(now.elapsed, self.stopping.is_some()) {
            let key = Position::key(&running.peer, &running.store, &self.opening.store);
            return Some(Step::Save { key, position });
        }
        let kept = running.intake.is_idle() && self.acks.is_empty() && self.writing.is_none();
        if let Some(reason) = self.condemned.clone().filter(|_| kept) {
            self.end(CloseCode::InvalidRecords, reason);
        }
        self.stop_if_saved();
        None
    }

    /// What to write next: what overtakes comes first, and a digest does not hold up revocations.
    fn next_message(&mut self, now: Moment) -> Option<Message> {
        if let Some(terms) = self.news(now) {
            let again = self.said.replace(terms.clone()).as_ref() == Some(&terms);
            if let State::Running(running) = &mut self.state {
                running.echo &= !again;
            }
            self.settle();
            return Some(Message::Terms(terms));
        }
        if let Some(ack) = self.acks.pop_front() {
            return Some(Message::Ack(ack));
        }
        if self.condemned.is_some() {
            return None;
        }
        if let Some(place) = self.place_news() {
            return Some(place);
        }
        let State::Running(running) = &mut self.state else { return None };
        let feed = &mut running.feed;
        if !feed.is_under_way() {
            self.acked = now.elapsed;
        }
        feed.offer_again(running.theirs.takes_all, now.elapsed);
        if let Some(urgent) = feed.next_send(&[Lane::Urgent], now) {
            return Some(Message::Batch(urgent));
        }
        if let Some((chunk, done)) = running.telling.next_chunk(now.elapsed) {
            if let Some((seed, covers)) = done {
                feed.digest_sent(seed, covers);
            }
            return Some(Message::Digest(chunk));
        }
        feed.next_send(&[Lane::Ordinary, Lane::Hearsay], now).map(Message::Batch)
    }

    /// Ends a link that is to stop, once how far the peer is has been saved.
    fn stop_if_saved(&mut self) {
        let State::Running(running) = &self.state else { return };
        let saving = running.feed.is_saving();
        if let Some((code, reason)) = self.stopping.take_if(|_| !saving) {
            self.end(code, reason);
        }
    }

    /// When to be asked again if nothing happens.
    fn due(&self, now: Moment) -> Option<Duration> {
        let State::Running(running) = &self.state else {
            return Some(self.began + GREETING_PATIENCE);
        };
        let full = self.said.as_ref().is_some_and(|said| !said.takes_all);
        let due = [
            self.hold_from().map(|from| from + HOLD_PATIENCE),
            running.feed.save_due(),
            running.telling.due(),
            // What is due already waits for something else: an acknowledgement, room, what is being forgotten.
            running.feed.due().filter(|due| *due > now.elapsed),
            running.intake.due().filter(|due| *due > now.elapsed),
            full.then(|| now.elapsed + ROOM_LOOKED_AT_EVERY),
        ];
        due.into_iter().flatten().min()
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
        let owed = running.feed.is_under_way().then_some(self.acked);
        owed.into_iter().chain(self.writing).min()
    }

    fn feed(&mut self, change: impl FnOnce(&mut Feed)) {
        if let State::Running(running) = &mut self.state {
            change(&mut running.feed);
        }
    }

    fn send(&mut self, now: Moment, message: &Message) -> Step {
        let frame = message.to_frame();
        self.writing = Some(now.elapsed);
        self.progress.bytes_sent += frame.len() as u64;
        if let Message::Batch(batch) = message {
            let [records, pointers, mentions] = health::forms(&batch.entries);
            self.progress.records_sent += records;
            self.progress.pointers_sent += pointers;
            self.progress.mentions_sent += mentions;
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
