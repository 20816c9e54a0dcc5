//! Comparisons in the simulated world: the two sides' own code, at a moment when both feeds rest, and told when the questions would have
//! been answered.

use super::{Action, World, ready};
use dialtone_provider::peering::feed::Comparison;
use dialtone_provider::peering::reconcile::initiator::{self, Failure, Initiator};
use dialtone_provider::peering::reconcile::{Item, Range, Responder, Seen};
use dialtone_provider::peering::step::Event;
use dialtone_provider::store::RecordStore;
use dialtone_shared::message::reconcile::{Answer, Question, Refusal};
use dialtone_shared::message::{Request, Response};
use std::time::Duration;

/// A comparison that was made.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The provider that led it, and the other.
    pub nodes: [usize; 2],
    /// Bytes of questions and answers, as they travel.
    pub bytes: usize,
    /// Questions.
    pub questions: usize,
    /// How many records each is to send; or why it came to nothing.
    pub found: Result<[usize; 2], Failure>,
}

/// Who holds a provider's turn to compare: nobody else compares with it until what was found has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    link: usize,
    end: usize,
    received: u64,
    until: Duration,
}

/// What a link knows of comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Comparing {
    /// Whether the end has one planned.
    planned: [bool; 2],
    /// Which end leads the one that is made.
    led: Option<usize>,
    /// Where the other side's log was seen to end.
    pub seen: [Option<Seen>; 2],
    /// The other side's store.
    pub store: [Option<[u8; 16]>; 2],
}

impl World {
    /// Looks at one end of a link after something happened there.
    pub(crate) fn look_for_comparisons(&mut self, link: usize, end: usize) {
        let now = self.now;
        let state = &mut self.links[link];
        let Some(session) = &state.ends[end] else { return };
        state.comparing.seen[end] = session.their_heads().map(Seen).or(state.comparing.seen[end]);
        let wants = session.wants_comparison() && session.is_quiet();
        if wants && state.comparing.led.is_none() && !std::mem::replace(&mut state.comparing.planned[end], true) {
            let later = Duration::from_millis(if end == 0 { 0 } else { 300 });
            self.plan(later, Action::Compare(link, end, now));
        }
    }

    /// One end of a link wants to compare, since `since`.
    pub(crate) fn compare(&mut self, link: usize, end: usize, since: Duration) {
        let led = self.links[link].comparing.led;
        let wants = self.links[link].ends[end]
            .as_ref()
            .is_some_and(|session| session.wants_comparison());
        if !wants || led.is_some_and(|leader| leader != end) {
            self.links[link].comparing.planned[end] = false;
            return;
        }
        let nodes = [self.links[link].nodes[end], self.links[link].nodes[1 - end]];
        let comparable = self.links[link].alive && self.links[link].ends[1 - end].as_ref().is_some_and(|other| other.is_comparable());
        if nodes.iter().any(|node| self.nodes[*node].liar) {
            // It would rather have its log played.
            self.tell(link, end, None);
            return self.tell(link, 1 - end, None);
        }
        if led.is_none() {
            let free = comparable && nodes.iter().all(|node| !self.turn_is_taken(*node));
            if !free {
                if self.now > since + Duration::from_secs(20) {
                    self.tell(link, end, None);
                    return self.tell(link, 1 - end, None);
                }
                if comparable {
                    self.handle(link, 1 - end, Event::Compare { leads: false });
                    self.pump(link, 1 - end);
                }
                let later = self.draw(75, 225);
                return self.plan(later, Action::Compare(link, end, since));
            }
            self.links[link].comparing.led = Some(end);
            for (node, end) in [(nodes[0], end), (nodes[1], 1 - end)] {
                let (received, until) = (u64::MAX, self.now + Duration::from_secs(60));
                self.nodes[node].turn = Some(Turn {
                    link,
                    end,
                    received,
                    until,
                });
            }
            self.handle(link, 1 - end, Event::Compare { leads: false });
            self.pump(link, 1 - end);
        }
        let quiet = (0..2).all(|end| self.links[link].ends[end].as_ref().is_some_and(|session| session.is_quiet()));
        if !comparable {
            self.tell(link, end, None);
            return self.tell(link, 1 - end, None);
        }
        if !quiet {
            return self.plan(Duration::from_millis(5), Action::Compare(link, end, since));
        }
        let (made, sides) = self.made(nodes);
        let round_trip = Duration::from_millis(2 * (2 + (link as u64 * 7 + 3) % 20));
        let time = round_trip * made.questions as u32 + Duration::from_secs_f64(made.bytes as f64 / self.bandwidth as f64);
        self.comparisons.push(made);
        let mut sides = sides.map(|side| side.map(Some)).unwrap_or([None, None]).into_iter();
        for side in [end, 1 - end] {
            let comparison = sides.next().flatten();
            self.plan(time, Action::Compared(link, side, comparison));
        }
    }

    /// What came of it, at one end.
    pub(crate) fn tell(&mut self, link: usize, end: usize, comparison: Option<(Comparison, u64)>) {
        self.links[link].comparing.planned[end] = false;
        self.links[link].comparing.led = None;
        let node = self.links[link].nodes[end];
        let received = self.received(link, end);
        let expects = comparison.as_ref().map_or(0, |(_, expects)| *expects);
        if let Some(turn) = self.nodes[node].turn.as_mut().filter(|turn| (turn.link, turn.end) == (link, end)) {
            turn.received = received + expects;
            turn.until = self.now + Duration::from_secs(20);
        }
        self.handle(link, end, Event::Compared(comparison.map(|(comparison, _)| comparison)));
        self.pump(link, end);
    }

    fn turn_is_taken(&self, node: usize) -> bool {
        self.nodes[node].turn.is_some_and(|turn| {
            let stands = self.links[turn.link].ends[turn.end].is_some();
            stands && self.now < turn.until && self.received(turn.link, turn.end) < turn.received
        })
    }

    fn received(&self, link: usize, end: usize) -> u64 {
        let session = self.links[link].ends[end].as_ref();
        session.map_or(0, |session| session.progress().received.total())
    }

    /// The comparison itself. What each is to send, and how much it is to receive.
    fn made(&mut self, nodes: [usize; 2]) -> (Compared, Option<[(Comparison, u64); 2]>) {
        let stores = nodes.map(|node| self.nodes[node].store.clone());
        let heads = stores.each_ref().map(|store| *store.watch().borrow());
        let nonces = [rand::RngExt::random(&mut self.rng), rand::RngExt::random(&mut self.rng)];
        let mut initiator = Initiator::new(nonces[0], stores[0].count().records, self.wall(nodes[0]));
        let mut responder: Option<Responder> = None;
        let (mut bytes, mut questions) = (0, 0);
        let found = loop {
            match initiator.poll() {
                Some(initiator::Step::ReadAll) => {
                    let items = self.items(nodes, 0, &[Range::ALL], initiator.at());
                    items.iter().for_each(|item| initiator.take(item));
                    initiator.handle(initiator::Event::Read);
                }
                Some(initiator::Step::Read(ranges)) => {
                    let items = self.items(nodes, 0, &ranges, initiator.at());
                    items.iter().for_each(|item| initiator.take(item));
                    initiator.handle(initiator::Event::Read);
                }
                Some(initiator::Step::Ask(question)) => {
                    let answer = match (&question, &mut responder) {
                        (Question::Open(open), _) => {
                            let (mut opened, answer) = Responder::open(open, stores[1].count().records, nonces[1]);
                            let items = self.items(nodes, 1, &[Range::ALL], opened.at());
                            items.iter().for_each(|item| opened.take(item));
                            opened.surveyed();
                            responder = Some(opened);
                            answer
                        }
                        (_, None) => Answer::Refused(Refusal::Unknown),
                        (question, Some(responder)) => match responder.begin(question) {
                            Ok(ranges) => {
                                let items = self.items(nodes, 1, &ranges, responder.at());
                                items.iter().for_each(|item| responder.take(item));
                                responder.answer().unwrap_or_else(Answer::Refused)
                            }
                            Err(refusal) => Answer::Refused(refusal),
                        },
                    };
                    questions += 1;
                    bytes += Request::Reconcile(question.encode().into()).to_frame().len();
                    bytes += Response::Reconcile(answer.encode().into()).to_frame().len();
                    initiator.handle(initiator::Event::Answered(answer));
                }
                Some(initiator::Step::Close(close)) => {
                    questions += 1;
                    bytes += Request::Reconcile(Question::Close(close).encode().into()).to_frame().len();
                    bytes += Response::Reconcile(Answer::Closed(0).encode().into()).to_frame().len();
                    break Ok([initiator.into_found(), responder.expect("it was opened").into_found()]);
                }
                Some(initiator::Step::Failed(failure)) => break Err(failure),
                None => panic!("a comparison has nothing to do"),
            }
        };
        let made = Compared {
            nodes,
            bytes,
            questions,
            found: found
                .as_ref()
                .map(|found| found.each_ref().map(Vec::len))
                .map_err(|failure| *failure),
        };
        let sides = found.ok().map(|[ours, theirs]| {
            let expects = [theirs.len() as u64, ours.len() as u64];
            let comparison = |found, side: usize| (Comparison { found, heads: heads[side] }, expects[side]);
            [comparison(ours, 0), comparison(theirs, 1)]
        });
        (made, sides)
    }

    /// What one of two providers holds in these ranges, of what both are to hold.
    fn items(&self, nodes: [usize; 2], side: usize, ranges: &[Range], at: dialtone_shared::UnixSecs) -> Vec<Item> {
        let way = self.nodes[nodes[side]].agreements[&self.nodes[nodes[1 - side]].name].way();
        let store = &self.nodes[nodes[side]].store;
        let lasts = ranges.iter().flat_map(Range::of_each_scheme);
        let held = lasts.flat_map(|(after, last)| {
            let limit = if ranges == [Range::ALL] { usize::MAX } else { 64 };
            let mut all = Vec::new();
            let mut after = after;
            loop {
                let page = ready(store.scan(after, limit)).expect("a disk that works");
                after = page.last().map(|held| *held.record.name());
                let over = page.len() < limit || after.is_none_or(|after| after >= last);
                all.extend(page.into_iter().take_while(|held| *held.record.name() <= last));
                if over {
                    return all;
                }
            }
        });
        held.filter_map(|held| Item::of(&held, &way, at)).collect()
    }
}
