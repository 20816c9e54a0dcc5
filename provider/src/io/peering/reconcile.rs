//! Compares our store with peers': leads comparisons, takes part in those that peers lead, and reads the store for both.
//!
//! One comparison at a time for each provider, until what it found has arrived: two at once would find the same missing, and have it sent twice.

use crate::io::peering::node::Node;
use crate::io::peering::place::StoreId;
use crate::peering::agreement::{Agreement, Way};
use crate::peering::feed::Comparison;
use crate::peering::reconcile::initiator::{Event, Failure, Initiator, Step};
use crate::peering::reconcile::limits::{PATIENCE, REST, REST_MIN};
use crate::peering::reconcile::{Item, Range, Responder};
use crate::store::{Held, RecordStore, StoreError};
use dialtone_shared::Name;
use dialtone_shared::message::reconcile::{Answer, Close, Question, Refusal};
use dialtone_shared::message::{Refused, Request, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

/// What all links of one provider share of it.
#[derive(Debug)]
pub(super) struct Comparisons {
    turn: Arc<Semaphore>,
    hosts: Mutex<BTreeMap<Other, Host>>,
    /// Until when a node is not compared with again because it asks.
    rests: Mutex<BTreeMap<Other, Instant>>,
}

/// With whom a comparison is made: the node of a peer.
type Other = (Name, StoreId);

/// What a link is asked by whoever compares on its behalf.
#[derive(Debug)]
pub(super) enum Asked {
    /// Let the feed rest, and say when it does; dropped where nothing can be compared.
    Rest(oneshot::Sender<()>),
    /// Let the feed rest: the peer wants to compare and we have no time yet. What comes meanwhile from others is what it may lack.
    Wait,
    /// It is over.
    Over(Outcome),
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// `None`: nothing.
    pub comparison: Option<Comparison>,
    /// How many records the other side sends.
    pub expects: u64,
    /// Kept until they have arrived.
    pub turn: Option<OwnedSemaphorePermit>,
}

/// A comparison that a peer leads.
#[derive(Debug)]
struct Host {
    session: u32,
    questions: mpsc::Sender<(Question, oneshot::Sender<Answer>)>,
    ready: watch::Receiver<bool>,
}

impl Default for Comparisons {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            hosts: Mutex::default(),
            rests: Mutex::default(),
        }
    }
}

impl Comparisons {
    /// A panic elsewhere leaves a map from which at most a host is missing.
    fn hosts(&self) -> MutexGuard<'_, BTreeMap<Other, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self, peer: &Other) -> bool {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        rests.retain(|_, until| *until > now);
        rests.contains_key(peer)
    }

    fn rest(&self, peer: Other, time: Duration) {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.insert(peer, Instant::now() + time);
    }
}

/// Leads a comparison with a node of the peer, once it is our turn and the node has time; gives up after a while.
pub(super) async fn lead(node: Arc<Node>, way: Way, of: StoreId, later: Duration) -> Outcome {
    let peer = way.peer;
    sleep(later).await;
    let deadline = Instant::now() + TURN_PATIENCE;
    while Instant::now() < deadline {
        let Ok(Ok(turn)) = timeout(TURN_PATIENCE, node.comparisons.turn.clone().acquire_owned()).await else {
            break;
        };
        let began = Instant::now();
        match timeout(PATIENCE, compare(&node, &way, &of)).await {
            Ok(Ok((comparison, expects))) => {
                let (sends, took) = (comparison.found.len(), began.elapsed());
                info!(%peer, sends, expects, ?took, "compared with a peer");
                return Outcome {
                    comparison: Some(comparison),
                    expects,
                    turn: Some(turn),
                };
            }
            Ok(Err(Trouble::Busy)) => {
                drop(turn);
                // Not all at the same time again.
                sleep(node.about(BUSY_PAUSE)).await;
            }
            Ok(Err(trouble)) => {
                info!(%peer, %trouble, "comparing came to nothing; the log is played");
                break;
            }
            Err(_) => {
                info!(%peer, "comparing took too long; the log is played");
                break;
            }
        }
    }
    Outcome::default()
}

/// Why a comparison that we lead came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the peer is busy")]
    Busy,
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Request(String),
}

async fn compare(node: &Node, way: &Way, of: &StoreId) -> Result<(Comparison, u64), Trouble> {
    let peer = &way.peer;
    let heads = *node.store.watch().borrow();
    let names = node.store.count().records;
    let mut initiator = Initiator::new(node.draw(), names, node.now().wall);
    loop {
        match initiator.poll() {
            Some(Step::ReadAll) => {
                read(&*node.store, names, &[Range::ALL], &mut (&mut initiator, way)).await?;
                initiator.handle(Event::Read);
            }
            Some(Step::Read(ranges)) => {
                read(&*node.store, names, &ranges, &mut (&mut initiator, way)).await?;
                initiator.handle(Event::Read);
            }
            Some(Step::Ask(question)) => {
                let answer = ask(node, (peer, of), &question).await?;
                initiator.handle(Event::Answered(answer));
            }
            Some(Step::Close(close)) => {
                let Answer::Closed(expects) = ask(node, (peer, of), &Question::Close(close)).await? else {
                    return Err(Failure::Answer.into());
                };
                let found = initiator.into_found();
                return Ok((Comparison { found, heads }, expects));
            }
            Some(Step::Failed(Failure::Refused(Refusal::Busy))) => return Err(Trouble::Busy),
            Some(Step::Failed(failure)) => {
                let (session, done, sends) = (initiator.session(), false, 0);
                // So that it need not wait for us; if it does not hear it, it gives up by itself.
                let _ = ask(node, (peer, of), &Question::Close(Close { session, done, sends })).await;
                return Err(failure.into());
            }
            None => return Err(Trouble::Request("nothing to do (this is a bug, please tell us)".to_owned())),
        }
    }
}

/// Asks one question, again while the peer still reads its store.
async fn ask(node: &Node, (peer, of): (&Name, &StoreId), question: &Question) -> Result<Answer, Trouble> {
    loop {
        let request = Request::Reconcile(question.encode().into());
        match node.request(peer, Some(of), request, ASK_PATIENCE).await {
            Ok(Response::Reconcile(body)) => match Answer::decode(&body) {
                Ok(Answer::Refused(Refusal::NotYet)) => sleep(BUSY_PAUSE).await,
                Ok(answer) => return Ok(answer),
                Err(error) => return Err(Trouble::Request(error.to_string())),
            },
            Ok(_) => return Err(Failure::Answer.into()),
            Err(error) => return Err(Trouble::Request(error.to_string())),
        }
    }
}

/// Answers a question of a comparison that a node of `peer` leads.
pub(super) async fn answer(node: &Arc<Node>, (peer, of): (&Name, &StoreId), body: &[u8]) -> Response {
    let answer = match Question::decode(body) {
        Ok(Question::Open(open)) => {
            let asked = node.peer(peer).and_then(|place| place.comparer(of));
            let way = node.agreements().get(peer).map(Agreement::way);
            match asked.zip(way) {
                Some((asked, way)) => begin(node, (way, *of), &open, asked).await,
                None => Answer::Refused(Refusal::Terms),
            }
        }
        Ok(question) => put_to_host(node, &(*peer, *of), question).await,
        Err(error) => {
            debug!(%peer, %error, "a question of a comparison cannot be read");
            return Response::Refused(Refused::Cannot);
        }
    };
    Response::Reconcile(answer.encode().into())
}

async fn begin(
    node: &Arc<Node>,
    (way, of): (Way, StoreId),
    open: &dialtone_shared::message::reconcile::Open,
    asked: mpsc::Sender<Asked>,
) -> Answer {
    let other = (way.peer, of);
    let turn = match node.comparisons.turn.clone().try_acquire_owned() {
        Ok(turn) if !node.comparisons.rests(&other) => turn,
        _ => {
            // Full only if it rests already.
            let _ = asked.try_send(Asked::Wait);
            return Answer::Refused(Refusal::Busy);
        }
    };
    let (rest, rests) = oneshot::channel();
    if asked.send(Asked::Rest(rest)).await.is_err() {
        return Answer::Refused(Refusal::Terms);
    }
    match timeout(REST_PATIENCE, rests).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Answer::Refused(Refusal::Terms),
        Err(_) => {
            // Its link is gone if nobody takes it.
            let _ = asked.send(Asked::Over(Outcome::default())).await;
            return Answer::Refused(Refusal::Busy);
        }
    }
    let heads = *node.store.watch().borrow();
    let (responder, answer) = Responder::open(open, node.store.count().records, node.draw());
    let (questions_in, questions) = mpsc::channel(1);
    let (ready_in, ready) = watch::channel(false);
    let host = Host {
        session: responder.session(),
        questions: questions_in,
        ready,
    };
    node.comparisons.hosts().insert(other, host);
    let (node, peer) = (node.clone(), way.peer);
    tokio::spawn(async move {
        let (began, session) = (Instant::now(), responder.session());
        let take_part = take_part(&node, &way, responder, questions, ready_in);
        let over = tokio::select! {
            biased;
            over = timeout(PATIENCE, take_part) => over.ok().flatten(),
            () = node.stopped() => None,
        };
        {
            let mut hosts = node.comparisons.hosts();
            if hosts.get(&other).is_some_and(|host| host.session == session) {
                hosts.remove(&other);
            }
        }
        node.comparisons.rest(other, (began.elapsed() * REST).max(REST_MIN));
        let outcome = match over {
            Some((found, expects)) => {
                let (sends, took) = (found.len(), began.elapsed());
                info!(%peer, sends, expects, ?took, "a peer has compared with us");
                Outcome {
                    comparison: Some(Comparison { found, heads }),
                    expects,
                    turn: Some(turn),
                }
            }
            None => Outcome::default(),
        };
        // Its link is gone if nobody takes it: then nothing is lost, because nothing was promised.
        let _ = asked.send(Asked::Over(outcome)).await;
    });
    answer
}

/// Answers until the comparison is closed. What we send, and how much the other side does; `None`: nothing came of it.
async fn take_part(
    node: &Node,
    way: &Way,
    mut responder: Responder,
    mut questions: mpsc::Receiver<(Question, oneshot::Sender<Answer>)>,
    ready: watch::Sender<bool>,
) -> Option<(Vec<crate::peering::reconcile::initiator::Found>, u64)> {
    let names = responder.names();
    read(&*node.store, names, &[Range::ALL], &mut (&mut responder, way)).await.ok()?;
    responder.surveyed();
    ready.send_replace(true);
    while let Ok(Some((question, reply))) = timeout(NEXT_PATIENCE, questions.recv()).await {
        if let Question::Close(close) = question {
            let found = responder.into_found();
            let told = reply.send(Answer::Closed(found.len() as u64));
            return (close.done && told.is_ok()).then_some((found, close.sends));
        }
        let answer = match responder.begin(&question) {
            Ok(ranges) => match read(&*node.store, names, &ranges, &mut (&mut responder, way)).await {
                Ok(()) => responder.answer(),
                Err(_) => Err(Refusal::Unknown),
            },
            Err(refusal) => Err(refusal),
        };
        let over = answer.is_err();
        let told = reply.send(answer.unwrap_or_else(Answer::Refused));
        if over || told.is_err() {
            return None;
        }
    }
    None
}

async fn put_to_host(node: &Node, other: &Other, question: Question) -> Answer {
    let session = match &question {
        Question::Open(_) => None,
        Question::Probe(probe) => Some(probe.session),
        Question::Claims(claims) => Some(claims.session),
        Question::Close(close) => Some(close.session),
    };
    let host = {
        let hosts = node.comparisons.hosts();
        let host = hosts.get(other).filter(|host| Some(host.session) == session);
        host.map(|host| (host.questions.clone(), host.ready.clone()))
    };
    let Some((questions, mut ready)) = host else {
        return Answer::Refused(Refusal::Unknown);
    };
    match timeout(READY_PATIENCE, ready.wait_for(|ready| *ready)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Answer::Refused(Refusal::Unknown),
        Err(_) => return Answer::Refused(Refusal::NotYet),
    }
    let (reply, replied) = oneshot::channel();
    if questions.send((question, reply)).await.is_err() {
        return Answer::Refused(Refusal::Unknown);
    }
    replied.await.unwrap_or(Answer::Refused(Refusal::Unknown))
}

/// Who takes what is read.
trait Reads: Send {
    /// Whether so many more may be read.
    fn may_read(&mut self, items: u64) -> bool;
    /// One that was read.
    fn take(&mut self, held: &Held);
}

impl Reads for (&mut Initiator, &Way) {
    fn may_read(&mut self, items: u64) -> bool {
        self.0.may_read(items)
    }

    fn take(&mut self, held: &Held) {
        if let Some(item) = Item::of(held, self.1, self.0.at()) {
            self.0.take(&item);
        }
    }
}

impl Reads for (&mut Responder, &Way) {
    fn may_read(&mut self, items: u64) -> bool {
        self.0.may_read(items)
    }

    fn take(&mut self, held: &Held) {
        if let Some(item) = Item::of(held, self.1, self.0.at()) {
            self.0.take(&item);
        }
    }
}

/// Reads what is held in these ranges, of a store with about so many names. Too much ends it.
async fn read(store: &dyn RecordStore, names: u64, ranges: &[Range], reads: &mut impl Reads) -> Result<(), StoreError> {
    for range in ranges {
        for (after, last) in range.of_each_scheme() {
            let mut after = after;
            let page = range.page(names);
            'pages: loop {
                let held = store.scan(after, page).await?;
                if !reads.may_read(held.len() as u64) {
                    return Err(StoreError::Failed("comparing read more than it may".to_owned()));
                }
                let full = held.len() == page;
                for held in &held {
                    if *held.record.name() > last {
                        break 'pages;
                    }
                    reads.take(held);
                }
                after = held.last().map(|held| *held.record.name());
                if !full || after.is_none() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// How long we wait for our turn to compare before the log is played after all.
pub(super) const TURN_PATIENCE: Duration = Duration::from_secs(20);

/// A peer that is busy is asked again after about this long.
const BUSY_PAUSE: Duration = Duration::from_millis(150);

/// How long one answer may take: longer than the other side takes to say that it needs longer.
const ASK_PATIENCE: Duration = Duration::from_secs(12);

/// How long a link has to let its feed rest.
const REST_PATIENCE: Duration = Duration::from_secs(5);

/// How long a question waits for the store to be read, before the other side is told to ask again.
const READY_PATIENCE: Duration = Duration::from_secs(7);

/// How long we wait for the next question.
const NEXT_PATIENCE: Duration = Duration::from_secs(20);
