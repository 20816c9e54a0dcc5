//! The queue of puts: what waits together is kept in one commit and receipted under one signature.
//!
//! ```text
//! puts ── bounded queue ── take all that wait ── store.put ── sign the root of their receipts ── answer each
//! ```
//!
//! Nobody is made to wait for company: the first put goes at once, and those that arrive while the disk is busy share the
//! next commit.

use super::problem::{RETRY_SECS, Refusal};
use crate::accounting::Ledger;
use crate::accounting::ledger::Place;
use crate::io::clock::Clock;
use crate::metrics::Metrics;
use crate::settings::COMMIT_PUTS_MAX;
use crate::store::{Held, Outcome, Put, RecordStore};
use dialtone_resolver::dns::generations::Generations;
use dialtone_shared::receipt::{Receipt, Signer, issue};
use dialtone_shared::{Name, Rank, UnixSecs};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// The way in.
#[derive(Clone, Debug)]
pub struct PutQueue {
    puts: mpsc::Sender<Waiting>,
    metrics: Arc<Metrics>,
}

/// A put that was kept, durably.
#[derive(Clone, Debug)]
pub struct Kept {
    /// At this rank.
    pub rank: Rank,
    /// What changed.
    pub how: How,
    /// Until when; `None`: for ever.
    pub keep_until: Option<UnixSecs>,
    /// The proof.
    pub receipt: Receipt,
}

/// What a put that was kept changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The first record of its name.
    Created,
    /// It took the place of an older one.
    Updated,
    /// It was held already, and is kept for longer now.
    Renewed,
    /// It was held already.
    Same,
}

/// A put on its way, with what was held when it was judged.
#[derive(Debug)]
pub struct Waiting {
    /// What to put.
    pub put: Put,
    /// What was held of the name, and the room that a new one takes.
    pub before: Before,
    answer: oneshot::Sender<Result<Kept, Refusal>>,
}

/// What was known of a name when its put was judged.
#[derive(Debug, Default)]
pub struct Before {
    /// What was held of it.
    pub held: Option<Held>,
    /// The room that it takes of its account's, if that is limited and it is new.
    pub place: Option<Place>,
}

/// The answer to come.
pub type Answer = oneshot::Receiver<Result<Kept, Refusal>>;

impl PutQueue {
    /// Starts the task that empties the queue. It ends when `stopping` turns true and what was accepted has been answered.
    pub fn start(batcher: Batcher, capacity: usize, tasks: &mut JoinSet<()>, stopping: watch::Receiver<bool>) -> Self {
        let (puts, waiting) = mpsc::channel(capacity);
        let metrics = Arc::clone(&batcher.metrics);
        tasks.spawn(batcher.run(waiting, stopping));
        Self { puts, metrics }
    }

    /// Whether nobody takes puts out of it any more.
    pub fn is_closed(&self) -> bool {
        self.puts.is_closed()
    }

    /// Joins the queue.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if it is full, [`Refusal::Stopping`] if it is closed.
    pub fn join(&self, put: Put, before: Before) -> Result<Answer, Refusal> {
        let permit = self.puts.try_reserve().map_err(refusal)?;
        let (answer, to_come) = oneshot::channel();
        self.metrics.queue_depth.inc();
        permit.send(Waiting { put, before, answer });
        Ok(to_come)
    }

    /// Joins the queue with all of a batch, or with none.
    ///
    /// # Errors
    /// As [`PutQueue::join`].
    pub fn join_all(&self, batch: Vec<(Put, Before)>) -> Result<Vec<Answer>, Refusal> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let permits = self.puts.try_reserve_many(batch.len()).map_err(refusal)?;
        let joined = permits.zip(batch).map(|(permit, (put, before))| {
            let (answer, to_come) = oneshot::channel();
            self.metrics.queue_depth.inc();
            permit.send(Waiting { put, before, answer });
            to_come
        });
        Ok(joined.collect())
    }
}

fn refusal<T>(error: mpsc::error::TrySendError<T>) -> Refusal {
    match error {
        mpsc::error::TrySendError::Full(_) => Refusal::Busy(RETRY_SECS),
        mpsc::error::TrySendError::Closed(_) => Refusal::Stopping,
    }
}

/// What empties the queue, and what it needs for that.
#[derive(Clone, Debug)]
pub struct Batcher {
    /// Where records are kept.
    pub store: Arc<dyn RecordStore>,
    /// Who promises.
    pub signer: Arc<Signer>,
    /// When.
    pub clock: Arc<dyn Clock>,
    /// Who pays.
    pub ledger: Arc<Ledger>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which names changed: said before who put them is answered, so that what was put is what is got.
    pub generations: Arc<Generations>,
}

impl Batcher {
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>, mut stopping: watch::Receiver<bool>) {
        let mut batch = Vec::new();
        loop {
            let taken = tokio::select! {
                taken = waiting.recv_many(&mut batch, COMMIT_PUTS_MAX) => taken,
                _ = stopping.wait_for(|stopping| *stopping), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            // Whoever is ready to join does so first: no time is lost, and a commit, a signature and two changes of thread are
            // shared by more. Without this the task that woke us would be alone, since what it wakes runs right after it.
            let mut taken = taken;
            for _ in 0..GATHERINGS_MAX {
                tokio::task::yield_now().await;
                let before = taken;
                while taken < COMMIT_PUTS_MAX
                    && let Ok(another) = waiting.try_recv()
                {
                    batch.push(another);
                    taken += 1;
                }
                if taken == before || taken == COMMIT_PUTS_MAX {
                    break;
                }
            }
            self.metrics.queue_depth.dec_by(taken as i64);
            self.keep(std::mem::take(&mut batch)).await;
        }
    }

    async fn keep(&self, batch: Vec<Waiting>) {
        let names: Vec<Name> = batch.iter().map(|waiting| *waiting.put.record.name()).collect();
        let mut puts = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Waiting { put, before, answer } in batch {
            answers.push(Entry::new(&put, before, answer));
            puts.push(put);
        }
        let begun = Instant::now();
        let put = self.store.put(puts).await;
        // Of an error nobody knows whether it was kept.
        for name in &names {
            self.generations.changed(name);
        }
        let outcomes = match put {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!("{} puts were not kept: {error}", answers.len());
                for entry in answers {
                    let _ = entry.answer.send(Err(Refusal::of_put(error.clone())));
                }
                return;
            }
        };
        self.metrics.committed(answers.len(), begun.elapsed());
        let mut kept = Vec::with_capacity(answers.len());
        let mut promises = Vec::with_capacity(answers.len());
        for (entry, outcome) in answers.into_iter().zip(outcomes) {
            let (how, keep_until) = match outcome {
                Outcome::Stored { replaced: false } => (How::Created, entry.keep_until),
                Outcome::Stored { replaced: true } => (How::Updated, entry.keep_until),
                Outcome::Renewed => (How::Renewed, entry.keep_until),
                // What is held stayed as it was, so no more is promised than was.
                Outcome::Same => (
                    How::Same,
                    entry.keep_until.map(|until| until.min(entry.kept_until().unwrap_or(until))),
                ),
                Outcome::Older(held) => {
                    let _ = entry.answer.send(Err(Refusal::Older(held)));
                    continue;
                }
                Outcome::ConditionFailed(held) => {
                    let _ = entry.answer.send(Err(Refusal::Condition(held)));
                    continue;
                }
            };
            if how != How::Same {
                self.ledger
                    .stored(&entry.name, entry.payer(how), entry.bytes, entry.before.held.as_ref());
            }
            promises.push((entry.name, entry.rank, keep_until));
            kept.push((entry.answer, how));
        }
        let receipts = issue(&self.signer, self.clock.now(), &promises);
        for (((answer, how), (_, rank, keep_until)), receipt) in kept.into_iter().zip(promises).zip(receipts) {
            // Whoever hung up meanwhile does not want its receipt; the record is kept all the same.
            let _ = answer.send(Ok(Kept {
                rank,
                how,
                keep_until,
                receipt,
            }));
        }
    }
}

/// What is remembered of a put while the store has it.
struct Entry {
    answer: oneshot::Sender<Result<Kept, Refusal>>,
    name: Name,
    rank: Rank,
    bytes: usize,
    /// `None` for a revocation: there is no end to promise.
    keep_until: Option<UnixSecs>,
    account: Option<String>,
    before: Before,
}

impl Entry {
    fn new(put: &Put, before: Before, answer: oneshot::Sender<Result<Kept, Refusal>>) -> Self {
        Self {
            answer,
            name: *put.record.name(),
            rank: *put.record.rank(),
            bytes: put.record.bytes().len(),
            keep_until: (!put.record.record().is_revoked()).then_some(put.keep_until),
            account: put.account.clone(),
            before,
        }
    }

    /// Who is charged: a renewal without an account leaves that as it was, as the store does.
    fn payer(&self, how: How) -> Option<&str> {
        let before = self.before.held.as_ref().filter(|_| how == How::Renewed);
        self.account.as_deref().or_else(|| before.and_then(|held| held.account.as_deref()))
    }

    /// Until when the very same record was kept already.
    fn kept_until(&self) -> Option<UnixSecs> {
        let same = self.before.held.as_ref().filter(|held| *held.record.rank() == self.rank);
        same.map(|held| held.keep_until)
    }
}

impl How {
    /// As metrics and answers call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Renewed => "renewed",
            Self::Same => "same",
        }
    }

    /// Whether what is held changed to another record.
    pub fn is_new(self) -> bool {
        matches!(self, Self::Created | Self::Updated)
    }
}

/// How often the batcher lets others run before it commits, as long as each time somebody joins. A processor that is busy with puts
/// gains by every one; an idle one is done after the first, when nobody came.
const GATHERINGS_MAX: usize = 8;
