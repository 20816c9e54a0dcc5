//! The side that is asked.
//!
//! Before each answer the store may have to be read: [`Responder::begin`] says where, every item found there is
//! [`taken`](Responder::take), and [`Responder::answer`] gives the answer.

use super::cells::{Children, Grid, Range, Wanted};
use super::field::Element;
use super::initiator::Found;
use super::key::{Item, Keyed, SessionKey, is_news};
use super::limits::{CELLS_AT_ONCE_MAX, FOUND_MAX, QUESTIONS_MAX, READS_FREE, READS_PER_NAME};
use dialtone_shared::UnixSecs;
use dialtone_shared::message::reconcile::{Answer, Claim, Claims, Differs, Open, Opened, PRINT_BYTES, Probe, Question, Refusal, Verdict};

/// One comparison that another provider leads.
#[derive(Debug)]
pub struct Responder {
    session: u32,
    at: UnixSecs,
    key: SessionKey,
    grid: Grid,
    names: u64,
    questions: u32,
    cells: usize,
    reads_left: u64,
    task: Task,
    found: Vec<Found>,
}

#[derive(Debug)]
enum Task {
    Survey,
    Idle,
    Sum(Children, Vec<[u8; PRINT_BYTES]>),
    Search(Wanted, Vec<(Claim, Verdict)>),
}

impl Responder {
    /// Takes part in a comparison. What is to be read first is everything.
    pub fn open(open: &Open, names: u64, nonce: [u8; 16]) -> (Self, Answer) {
        let grid = Grid::new(Grid::bits_for(names.max(open.names)));
        let responder = Self {
            session: session_of(&open.nonce),
            at: open.at,
            key: SessionKey::new(&open.nonce, &nonce),
            grid,
            names,
            questions: 0,
            cells: 0,
            reads_left: names.saturating_mul(READS_PER_NAME).saturating_add(READS_FREE),
            task: Task::Survey,
            found: Vec::new(),
        };
        (responder, Answer::Opened(Opened { nonce, names }))
    }

    /// Which comparison.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// What may be forgotten by then is left out.
    pub fn at(&self) -> UnixSecs {
        self.at
    }

    /// Whether so many items more may be read.
    pub fn may_read(&mut self, items: u64) -> bool {
        let may = self.reads_left >= items;
        self.reads_left = self.reads_left.saturating_sub(items);
        may
    }

    /// An item that was read.
    pub fn take(&mut self, item: &Item) {
        let keyed = self.key.apply(item, self.grid.bits());
        match &mut self.task {
            Task::Survey => self.grid.add(&keyed),
            Task::Sum(children, _) => children.add(&keyed),
            Task::Search(wanted, claims) => search(wanted, claims, &keyed, item, &mut self.found),
            Task::Idle => {}
        }
    }

    /// The survey is over.
    pub fn surveyed(&mut self) {
        self.task = Task::Idle;
    }

    /// Takes a question, and says what must be read before it can be answered.
    ///
    /// # Errors
    /// [`Refusal`]: the comparison is over.
    pub fn begin(&mut self, question: &Question) -> Result<Vec<Range>, Refusal> {
        self.questions += 1;
        if self.questions > QUESTIONS_MAX || matches!(self.task, Task::Survey) {
            return Err(Refusal::Bounds);
        }
        match question {
            Question::Probe(probe) if probe.session == self.session => self.begin_probe(probe),
            Question::Claims(claims) if claims.session == self.session => self.begin_claims(claims),
            Question::Open(_) | Question::Probe(_) | Question::Claims(_) | Question::Close(_) => Err(Refusal::Unknown),
        }
    }

    fn begin_probe(&mut self, probe: &Probe) -> Result<Vec<Range>, Refusal> {
        self.cells += probe.prints.len();
        if self.cells > 2 * CELLS_AT_ONCE_MAX || !exist(probe.depth, probe.parents.last()) {
            return Err(Refusal::Bounds);
        }
        let mut children = Children::new(probe.depth, probe.fan, probe.parents.clone());
        let ranges = if children.sum_up(&self.grid) {
            Vec::new()
        } else {
            children.ranges(self.grid.bits())
        };
        self.task = Task::Sum(children, probe.prints.clone());
        Ok(ranges)
    }

    fn begin_claims(&mut self, claims: &Claims) -> Result<Vec<Range>, Refusal> {
        if !exist(claims.depth, claims.claims.last().map(|claim| &claim.cell)) {
            return Err(Refusal::Bounds);
        }
        let tags: Option<Vec<Element>> = claims.claims.iter().map(|claim| Element::from_number(claim.tag)).collect();
        let wanted = Wanted {
            depth: claims.depth,
            cells: claims.claims.iter().map(|claim| claim.cell).collect(),
            tags: tags.ok_or(Refusal::Bounds)?,
        };
        let ranges = wanted.ranges(self.grid.bits());
        self.task = Task::Search(wanted, claims.claims.iter().map(|claim| (*claim, Verdict::Absent)).collect());
        Ok(ranges)
    }

    /// What to answer, now that everything is read.
    ///
    /// # Errors
    /// [`Refusal`]: the comparison is over.
    pub fn answer(&mut self) -> Result<Answer, Refusal> {
        if self.found.len() > FOUND_MAX {
            return Err(Refusal::Bounds);
        }
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Sum(children, prints) => Ok(Answer::Differs(differs(&children, &prints))),
            Task::Search(_, claims) => Ok(Answer::Verdicts(claims.into_iter().map(|(_, verdict)| verdict).collect())),
            Task::Idle | Task::Survey => Err(Refusal::Unknown),
        }
    }

    /// How many names we hold.
    pub fn names(&self) -> u64 {
        self.names
    }

    /// What is to be sent to the initiator: good only once the comparison is closed as done.
    pub fn into_found(self) -> Vec<Found> {
        self.found
    }
}

/// By what a comparison is known once it is open.
pub fn session_of(nonce: &[u8; 16]) -> u32 {
    u32::from_be_bytes([nonce[0], nonce[1], nonce[2], nonce[3]])
}

fn search(wanted: &Wanted, claims: &mut [(Claim, Verdict)], keyed: &Keyed, item: &Item, found: &mut Vec<Found>) {
    let Some((claim, verdict)) = wanted.find(keyed).and_then(|at| claims.get_mut(at)) else {
        return;
    };
    let ours = item.standing();
    let (sends, wants) = match &claim.mine {
        None => (true, false),
        Some(theirs) => (is_news(&ours, theirs), is_news(theirs, &ours)),
    };
    *verdict = match (sends, wants) {
        (true, false) => Verdict::Sends,
        (false, true) => Verdict::Wants,
        (true, true) => Verdict::Both,
        (false, false) => Verdict::Same,
    };
    if sends {
        found.push(Found::of(item));
    }
}

/// The sums go along if at most two thirds of the cells differ: then most of those that do differ in one name.
fn differs(children: &Children, prints: &[[u8; PRINT_BYTES]]) -> Differs {
    let mut bits = vec![0; children.sums.len().div_ceil(8)];
    let mut sums = Vec::new();
    for (at, (sum, print)) in children.sums.iter().zip(prints).enumerate() {
        if sum.print() != *print {
            bits[at / 8] |= 0x80 >> (at % 8);
            sums.push(sum.to_bytes());
        }
    }
    let few = sums.len() * 3 <= children.sums.len() * 2;
    Differs {
        bits,
        sums: few.then_some(sums),
    }
}

/// Whether a cell of that number can exist at that depth.
fn exist(depth: u8, last: Option<&u64>) -> bool {
    last.is_none_or(|last| last.checked_shr(u32::from(depth)).unwrap_or(0) == 0)
}
