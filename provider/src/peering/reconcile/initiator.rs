//! The side that asks.
//!
//! After each [`Initiator::handle`], [`Initiator::poll`]: it says what to read (every item found there is
//! [`taken`](Initiator::take)), what to ask, or how it ended.

use super::cells::{Children, Grid, Range, Wanted};
use super::field::Sum;
use super::key::{Item, SessionKey};
use super::limits::{CELLS_AT_ONCE_MAX, FOUND_MAX, GRID_BITS_MAX, GRID_BITS_MIN, QUESTIONS_MAX, READS_FREE, READS_PER_NAME};
use super::responder::session_of;
use dialtone_shared::message::reconcile::{
    Answer, CELLS_MAX, CLAIMS_MAX, Claim, Claims, Close, DEPTH_MAX, Differs, FAN_MAX, Open, Opened, Probe, Question, Refusal, Verdict,
};
use dialtone_shared::{Name, UnixSecs};
use std::collections::BTreeMap;

/// A name that the other side lacks, or has older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Found {
    /// The name.
    pub name: Name,
    /// Whether it is revoked: those go first.
    pub revoked: bool,
    /// The first bytes of the digest of what was held: if that has changed since, the change itself is sent anyway.
    pub digest: [u8; 8],
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Read all that is held, then [`Event::Read`].
    ReadAll,
    /// Read what is held there, then [`Event::Read`].
    Read(Vec<Range>),
    /// Ask, then [`Event::Answered`].
    Ask(Question),
    /// Say this as the last thing, and make what you like of the answer; then look at [`Initiator::into_found`].
    Close(Close),
    /// It came to nothing.
    Failed(Failure),
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Answers [`Step::ReadAll`] and [`Step::Read`].
    Read,
    /// Answers [`Step::Ask`].
    Answered(Answer),
}

/// Why a comparison came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The other side does not want to.
    #[error("the other side refuses: {0:?}")]
    Refused(Refusal),
    /// There is so much to send that the log is as good.
    #[error("the two stores differ too much to be compared")]
    TooDifferent,
    /// It takes too much. Perhaps the other side answers what it likes.
    #[error("comparing took more than it may: {0}")]
    Bounds(&'static str),
    /// Not an answer to what was asked. The other side's bug.
    #[error("the other side's answer does not fit the question")]
    Answer,
}

/// One comparison that we lead.
#[derive(Debug)]
pub struct Initiator {
    open: Open,
    key: Option<SessionKey>,
    grid: Grid,
    questions: u32,
    reads_left: u64,
    /// What is to be split next, by the depth of the parents, shallow ones first.
    work: BTreeMap<u8, Work>,
    task: Task,
    step: Option<Step>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Work {
    fan: u8,
    parents: Vec<u64>,
}

#[derive(Debug)]
enum Task {
    Opening,
    Survey,
    Sum(Children),
    Probe(Children),
    Search {
        wanted: Wanted,
        /// For each, by how much we differ.
        differences: Vec<Sum>,
        /// For each, what we have found; `Some(None)`: it is settled.
        ours: Vec<Option<Option<Item>>>,
    },
    Claim {
        depth: u8,
        asked: Vec<(Claim, Option<Found>)>,
        rest: Vec<(Claim, Option<Found>)>,
        /// Cells that differ in several names.
        split: Vec<u64>,
    },
    Over,
}

impl Initiator {
    /// Begins a comparison. `names`: how many we hold; `at`: what may be forgotten by then is left out.
    pub fn new(nonce: [u8; 16], names: u64, at: UnixSecs) -> Self {
        let open = Open { nonce, names, at };
        Self {
            open,
            key: None,
            grid: Grid::new(0),
            // The opening one.
            questions: 1,
            reads_left: names.saturating_mul(READS_PER_NAME).saturating_add(READS_FREE),
            work: BTreeMap::new(),
            task: Task::Opening,
            step: Some(Step::Ask(Question::Open(open))),
            found: Vec::new(),
        }
    }

    /// By what the comparison is known to both.
    pub fn session(&self) -> u32 {
        session_of(&self.open.nonce)
    }

    /// What may be forgotten by then is left out.
    pub fn at(&self) -> UnixSecs {
        self.open.at
    }

    /// Whether so many items more may be read; if not, it is over.
    pub fn may_read(&mut self, items: u64) -> bool {
        let may = self.reads_left >= items;
        self.reads_left = self.reads_left.saturating_sub(items);
        if !may {
            self.fail(Failure::Bounds("records read"));
        }
        may
    }

    /// An item that was read.
    pub fn take(&mut self, item: &Item) {
        let Some(key) = &self.key else { return };
        let keyed = key.apply(item, self.grid.bits());
        match &mut self.task {
            Task::Survey => self.grid.add(&keyed),
            Task::Sum(children) => children.add(&keyed),
            Task::Search { wanted, differences, ours } => {
                if let Some(at) = wanted.find(&keyed) {
                    if differences[at].values == keyed.value {
                        ours[at] = Some(None);
                        self.found.push(Found::of(item));
                    } else {
                        ours[at] = Some(Some(*item));
                    }
                }
            }
            Task::Opening | Task::Probe(_) | Task::Claim { .. } | Task::Over => {}
        }
    }

    /// What to do next. `None` while something is under way.
    pub fn poll(&mut self) -> Option<Step> {
        self.step.take()
    }

    /// What is to be sent to the other side, once it is closed as done.
    pub fn into_found(self) -> Vec<Found> {
        self.found
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event) {
        let task = std::mem::replace(&mut self.task, Task::Over);
        match (task, event) {
            (_, Event::Answered(Answer::Refused(why))) => self.fail(Failure::Refused(why)),
            (Task::Opening, Event::Answered(Answer::Opened(opened))) => self.opened(opened),
            (Task::Survey, Event::Read) => self.next(),
            (Task::Sum(children), Event::Read) => self.probe(children),
            (Task::Probe(children), Event::Answered(Answer::Differs(differs))) => self.differs(children, &differs),
            (Task::Search { wanted, ours, .. }, Event::Read) => self.searched(&wanted, &ours),
            (Task::Claim { depth, asked, rest, split }, Event::Answered(Answer::Verdicts(verdicts))) => {
                self.verdicts(depth, &asked, rest, split, &verdicts);
            }
            (Task::Over, _) => {}
            (_, _) => self.fail(Failure::Answer),
        }
    }

    fn opened(&mut self, opened: Opened) {
        let (ours, theirs) = (self.open.names, opened.names);
        if ours.abs_diff(theirs) > FOUND_MAX as u64 {
            return self.fail(Failure::TooDifferent);
        }
        self.key = Some(SessionKey::new(&self.open.nonce, &opened.nonce));
        self.grid = Grid::new(Grid::bits_for(ours.max(theirs)));
        // So many at least differ as one side has more.
        let surely = (ours.abs_diff(theirs) + 1).ilog2() as u8;
        let fan = surely.clamp(GRID_BITS_MIN, GRID_BITS_MAX).min(self.grid.bits());
        // In two steps where one cannot have so many parts.
        let first = fan.min(FAN_MAX);
        let parents = (0..1 << (fan - first)).collect();
        self.work.insert(fan - first, Work { fan: first, parents });
        self.task = Task::Survey;
        self.step = Some(Step::ReadAll);
    }

    /// Goes on with what is to be split.
    fn next(&mut self) {
        if self.has_failed() {
            return;
        }
        let Some(mut entry) = self.work.first_entry() else {
            let session = self.session();
            self.step = Some(Step::Close(Close {
                session,
                done: true,
                sends: self.found.len() as u64,
            }));
            return;
        };
        let depth = *entry.key();
        let work = entry.get_mut();
        let fan = work.fan;
        let parents = if work.parents.len() > CELLS_MAX >> fan {
            let rest = work.parents.split_off(CELLS_MAX >> fan);
            std::mem::replace(&mut work.parents, rest)
        } else {
            entry.remove().parents
        };
        let mut children = Children::new(depth, fan, parents);
        if children.sum_up(&self.grid) {
            self.probe(children);
        } else {
            self.step = Some(Step::Read(children.ranges(self.grid.bits())));
            self.task = Task::Sum(children);
        }
    }

    fn probe(&mut self, children: Children) {
        let question = Question::Probe(Probe {
            session: self.session(),
            depth: children.depth - children.fan,
            fan: children.fan,
            parents: children.parents.clone(),
            prints: children.sums.iter().map(Sum::print).collect(),
        });
        self.ask(question, Task::Probe(children));
    }

    fn differs(&mut self, children: Children, differs: &Differs) {
        let bit = |at: usize| differs.bits.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
        let cells = children.cells().zip(&children.sums).enumerate();
        let differing: Vec<(u64, Sum)> = cells.filter(|(at, _)| bit(*at)).map(|(_, (cell, sum))| (cell, *sum)).collect();
        if differs.bits.len() != children.sums.len().div_ceil(8) {
            return self.fail(Failure::Answer);
        }
        let Some(theirs) = &differs.sums else {
            // Most differ, so each in several names. All of them: there is no telling in how many.
            let fan = if differing.len() == children.sums.len() { 3 } else { 1 };
            self.split(children.depth, fan, differing.into_iter().map(|(cell, _)| cell).collect());
            return self.next();
        };
        if theirs.len() != differing.len() {
            return self.fail(Failure::Answer);
        }
        let mut wanted = Wanted {
            depth: children.depth,
            cells: Vec::with_capacity(differing.len()),
            tags: Vec::with_capacity(differing.len()),
        };
        let (mut differences, mut split) = (Vec::with_capacity(differing.len()), Vec::new());
        for ((cell, ours), theirs) in differing.into_iter().zip(theirs) {
            let Some(theirs) = Sum::from_bytes(theirs) else {
                return self.fail(Failure::Answer);
            };
            match ours.odd_tag(&theirs) {
                Some(tag) => {
                    wanted.cells.push(cell);
                    wanted.tags.push(tag);
                    differences.push(ours - theirs);
                }
                None => split.push(cell),
            }
        }
        self.split(children.depth, SPLIT_FAN, split);
        if wanted.cells.is_empty() || self.has_failed() {
            return self.next();
        }
        self.step = Some(Step::Read(wanted.ranges(self.grid.bits())));
        let ours = vec![None; wanted.cells.len()];
        self.task = Task::Search { wanted, differences, ours };
    }

    /// Everything was read in which the odd names lie that are ours: about the others the other side must be asked.
    fn searched(&mut self, wanted: &Wanted, ours: &[Option<Option<Item>>]) {
        let mut claims = Vec::new();
        for ((cell, tag), ours) in wanted.cells.iter().zip(&wanted.tags).zip(ours) {
            let item = match ours {
                Some(None) => continue,
                Some(Some(item)) => Some(item),
                None => None,
            };
            let claim = Claim {
                cell: *cell,
                tag: tag.number(),
                mine: item.map(Item::standing),
            };
            claims.push((claim, item.map(Found::of)));
        }
        self.claim(wanted.depth, claims, Vec::new());
    }

    fn claim(&mut self, depth: u8, mut asked: Vec<(Claim, Option<Found>)>, split: Vec<u64>) {
        if self.found.len() > FOUND_MAX {
            return self.fail(Failure::TooDifferent);
        }
        if asked.is_empty() {
            self.split(depth, SPLIT_FAN, split);
            return self.next();
        }
        let rest = asked.split_off(asked.len().min(CLAIMS_MAX));
        let question = Question::Claims(Claims {
            session: self.session(),
            depth,
            claims: asked.iter().map(|(claim, _)| *claim).collect(),
        });
        self.ask(question, Task::Claim { depth, asked, rest, split });
    }

    fn verdicts(
        &mut self,
        depth: u8,
        asked: &[(Claim, Option<Found>)],
        rest: Vec<(Claim, Option<Found>)>,
        mut split: Vec<u64>,
        verdicts: &[Verdict],
    ) {
        if verdicts.len() != asked.len() {
            return self.fail(Failure::Answer);
        }
        for ((claim, ours), verdict) in asked.iter().zip(verdicts) {
            match (ours, verdict) {
                (None, Verdict::Absent) => split.push(claim.cell),
                // It had another record of it a moment ago, and has none now; or it wants ours.
                (Some(ours), Verdict::Absent | Verdict::Wants | Verdict::Both) => self.found.push(*ours),
                (_, Verdict::Sends | Verdict::Same) => {}
                (None, Verdict::Wants | Verdict::Both) => return self.fail(Failure::Answer),
            }
        }
        self.claim(depth, rest, split);
    }

    /// Puts cells down as work.
    fn split(&mut self, depth: u8, fan: u8, cells: Vec<u64>) {
        if cells.is_empty() {
            return;
        }
        // Below the path's end there is nothing to split by: two names with one tag, or a responder that will not have it end.
        if depth + fan > DEPTH_MAX {
            return self.fail(Failure::Bounds("depth"));
        }
        let work = self.work.entry(depth).or_insert(Work { fan, parents: Vec::new() });
        work.parents.extend(cells);
        work.parents.sort_unstable();
        work.parents.dedup();
        if work.parents.len() << work.fan > CELLS_AT_ONCE_MAX {
            self.fail(Failure::TooDifferent);
        }
    }

    fn ask(&mut self, question: Question, task: Task) {
        self.questions += 1;
        if self.questions > QUESTIONS_MAX {
            return self.fail(Failure::Bounds("questions"));
        }
        self.task = task;
        self.step = Some(Step::Ask(question));
    }

    fn has_failed(&self) -> bool {
        matches!(self.step, Some(Step::Failed(_)))
    }

    fn fail(&mut self, failure: Failure) {
        self.work.clear();
        self.task = Task::Over;
        self.step = Some(Step::Failed(failure));
    }
}

impl Found {
    /// What is to be sent of an item.
    pub fn of(item: &Item) -> Self {
        Self {
            name: item.name,
            revoked: item.rank.revoked,
            digest: item.standing().digest,
        }
    }
}

/// A cell that differs in several names differs in two or three, mostly.
const SPLIT_FAN: u8 = 1;
