//! The one thread that writes: it takes everything that waits, commits it at once, and answers everyone.
//!
//! ```text
//!            work waits                    committed
//!   idle ───────────────▶ drafting ─▶ writing ─▶ answering ─▶ idle
//!    │                                   │ the engine stopped itself
//!    │ close                             ▼
//!    ▼                                mending: puts are refused with the cause, reads go on;
//!   closed ◀──────────────────────────   │    where the disk was full, opened anew as soon as it is not
//!                                        ▼
//!                                       idle
//! ```
//!
//! A disk that failed in another way is not written to again by this process: what the system still remembers of a failed sync need not be
//! on the disk, and a commit after it could be lost with it. The operator looks at the disk and starts again.
//!
//! Nobody waits for company: while one commit is on its way to the disk the next one gathers, so commits grow with the load.

use super::draft::Draft;
use super::engine::{Engine, failure};
use super::folder::Folder;
use super::layout::Totals;
use super::tail::Tail;
use super::{Door, EmbeddedOptions, Shared};
use crate::store::{Outcome, Pointer, PointerOutcome, Put, StoreError};
use dialtone_shared::{Name, UnixSecs};
use fjall::PersistMode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Something to write.
pub(super) enum Work {
    Put(Vec<Put>, Waiting<Vec<Outcome>>),
    Notes(Vec<(Vec<u8>, Option<Vec<u8>>)>, Waiting<()>),
    Expire(UnixSecs, usize, Waiting<Vec<Name>>),
    Pointers(Vec<Pointer>, Waiting<Vec<PointerOutcome>>),
    ForgetPointers(Vec<Pointer>, Waiting<usize>),
    /// The last.
    Close,
}

/// Whoever waits for it. Its place in the queue is free again when it has been answered.
pub(super) struct Waiting<T> {
    pub reply: oneshot::Sender<Result<T, StoreError>>,
    pub place: OwnedSemaphorePermit,
}

/// An answer that holds once the commit is durable.
enum Answer {
    Put(Waiting<Vec<Outcome>>, Vec<Outcome>),
    Notes(Waiting<()>),
    Expire(Waiting<Vec<Name>>, Vec<Name>),
    Pointers(Waiting<Vec<PointerOutcome>>, Vec<PointerOutcome>),
    ForgetPointers(Waiting<usize>, usize),
}

/// The thread's own.
pub(super) struct Committer {
    pub folder: Folder,
    pub options: EmbeddedOptions,
    pub shared: Arc<Shared>,
    pub queue: Receiver<Work>,
    /// `None` only while the tables are opened anew.
    pub engine: Option<Arc<Engine>>,
    pub totals: Totals,
    /// Bytes of records since all tables were last written out.
    pub unturned_bytes: u64,
}

impl Committer {
    /// Works until it is told to close or until nobody is left who could ask for anything.
    pub fn run(mut self) {
        while let Ok(work) = self.queue.recv() {
            let Some(engine) = self.engine.clone() else { break };
            match self.commit(&engine, work) {
                Ok(true) => {}
                Ok(false) => break,
                Err(cause) => {
                    drop(engine);
                    if !self.mend(cause) {
                        break;
                    }
                }
            }
        }
        self.close();
    }

    /// Takes `first` and what else waits, up to a commit's fill. `false`: the last work was taken. An error: the engine stopped itself.
    fn commit(&mut self, engine: &Arc<Engine>, first: Work) -> Result<bool, StoreError> {
        let mut draft = Draft::new(engine);
        let mut answers = Vec::new();
        let (mut puts, mut more) = (0, true);
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                Work::Put(batch, waiting) => {
                    puts += batch.len();
                    match draft.put(batch) {
                        Ok(outcomes) => answers.push(Answer::Put(waiting, outcomes)),
                        Err(error) => waiting.answer(Err(error)),
                    }
                }
                Work::Notes(notes, waiting) => {
                    draft.set_notes(notes);
                    puts += 1;
                    answers.push(Answer::Notes(waiting));
                }
                Work::Expire(now, limit, waiting) => match draft.expire(now, limit) {
                    Ok(names) => {
                        puts += names.len();
                        answers.push(Answer::Expire(waiting, names));
                    }
                    Err(error) => waiting.answer(Err(error)),
                },
                Work::Pointers(batch, waiting) => {
                    puts += batch.len();
                    match draft.put_pointers(batch) {
                        Ok(outcomes) => answers.push(Answer::Pointers(waiting, outcomes)),
                        Err(error) => waiting.answer(Err(error)),
                    }
                }
                Work::ForgetPointers(batch, waiting) => {
                    puts += batch.len();
                    match draft.forget_pointers(&batch) {
                        Ok(forgotten) => answers.push(Answer::ForgetPointers(waiting, forgotten)),
                        Err(error) => waiting.answer(Err(error)),
                    }
                }
                Work::Close => {
                    more = false;
                    break;
                }
            }
            next = if puts < COMMIT_PUTS_MAX { self.queue.try_recv().ok() } else { None };
        }
        let twins = draft.take_twins();
        let written = if draft.is_empty() {
            Ok(())
        } else if let Err(full) = self.has_space(self.options.free_bytes_min) {
            // Refused before the engine is touched: it goes on reading, and writing as soon as there is space.
            answers.into_iter().for_each(|answer| answer.give(Err(&full)));
            return Ok(more);
        } else {
            self.write(engine, draft)
        };
        if written.is_ok() {
            for pair in twins {
                // Nobody may listen.
                let _ = self.shared.twins.send(Arc::new(pair));
            }
        }
        answers.into_iter().for_each(|answer| answer.give(written.as_ref().copied()));
        written.map(|()| more)
    }

    fn write(&mut self, engine: &Engine, draft: Draft<'_>) -> Result<(), StoreError> {
        let (batch, totals, steps) = draft.finish(self.totals)?;
        engine.wait_for_room()?;
        // One write and one fdatasync of the journal, before the tables in memory change: what can be read is durable.
        batch.durability(Some(PersistMode::SyncData)).commit().map_err(failure)?;
        self.unturned_bytes += totals.count.bytes.abs_diff(self.totals.count.bytes).max(COMMIT_BYTES_LEAST);
        self.totals = totals;
        self.shared.tail().follow(steps);
        self.shared.publish(&totals);
        if self.unturned_bytes > TURN_BYTES {
            self.unturned_bytes = 0;
            // What was committed is safe; what is wrong with the disk the next commit will find.
            if let Err(error) = engine.turn() {
                tracing::warn!(%error, "tables in memory could not be written out");
            }
        }
        Ok(())
    }

    fn has_space(&self, wanted: u64) -> Result<(), StoreError> {
        match self.folder.free_bytes() {
            Some(free) if free < wanted => Err(StoreError::Full(format!(
                "{} has {free} bytes left, {wanted} are wanted for putting in order what is already taken; free some, puts go on by themselves",
                self.folder.path().display(),
            ))),
            _ => Ok(()),
        }
    }

    /// After the engine has stopped itself: refuses puts with the cause and lets reads go on; opens the tables anew if the disk was
    /// full and is no more. `false`: closed meanwhile.
    fn mend(&mut self, cause: StoreError) -> bool {
        let wanted = self.options.free_bytes_min.max(REOPEN_BYTES);
        // The engine does not say why a write in the background failed.
        let mut cause = match (&cause, self.has_space(wanted)) {
            (StoreError::Full(_), _) | (_, Ok(())) => cause,
            (_, Err(full)) => full,
        };
        tracing::error!(error = %cause, "a commit failed; puts are refused, reads go on");
        let full = matches!(cause, StoreError::Full(_));
        while self.refuse_for(REOPEN_EVERY, &cause) {
            if !full || self.has_space(wanted).is_err() {
                continue;
            }
            self.let_go();
            match Engine::open(&self.folder, &self.options) {
                Ok((engine, opening)) => {
                    let engine = Arc::new(engine);
                    self.engine = Some(engine.clone());
                    self.totals = opening.totals;
                    *self.shared.tail() = Tail::new(opening.totals.last);
                    self.shared.publish(&opening.totals);
                    self.shared.door.send_replace(Door::Open(engine));
                    tracing::info!("there is space again: the store was opened anew and takes puts");
                    return true;
                }
                Err(error) => {
                    tracing::error!(%error, "the store cannot be opened anew; trying again");
                    self.shared.door.send_replace(Door::Failed(error.clone()));
                    cause = error;
                }
            }
        }
        false
    }

    /// Refuses all work for this long; `false` if it was told to close.
    fn refuse_for(&self, time: Duration, cause: &StoreError) -> bool {
        let end = Instant::now() + time;
        loop {
            match self.queue.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Work::Close) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(work) => work.refuse(cause),
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    /// Closes the tables, once nobody reads them any more.
    fn let_go(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        engine.retiring.store(true, Ordering::Relaxed);
        self.shared.door.send_if_modified(|door| {
            let open = matches!(door, Door::Open(_));
            if open {
                *door = Door::Away;
            }
            open
        });
        while Arc::strong_count(&engine) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes out what is in memory, lets go of the disk, and says so.
    fn close(mut self) {
        let flushed = self.engine.as_ref().map_or(Ok(()), |engine| engine.flush());
        self.shared.door.send_replace(Door::Closed);
        self.let_go();
        let Self { folder, shared, queue, .. } = self;
        drop(folder);
        shared.closed.send_replace(Some(flushed));
        queue.try_iter().for_each(|work| work.refuse(&StoreError::Closed));
    }
}

impl Work {
    fn refuse(self, cause: &StoreError) {
        match self {
            Self::Put(_, waiting) => waiting.answer(Err(cause.clone())),
            Self::Notes(_, waiting) => waiting.answer(Err(cause.clone())),
            Self::Expire(_, _, waiting) => waiting.answer(Err(cause.clone())),
            Self::Pointers(_, waiting) => waiting.answer(Err(cause.clone())),
            Self::ForgetPointers(_, waiting) => waiting.answer(Err(cause.clone())),
            Self::Close => {}
        }
    }
}

impl Answer {
    fn give(self, written: Result<(), &StoreError>) {
        match self {
            Self::Put(waiting, outcomes) => waiting.answer(written.map(|()| outcomes).map_err(Clone::clone)),
            Self::Notes(waiting) => waiting.answer(written.map_err(Clone::clone)),
            Self::Expire(waiting, names) => waiting.answer(written.map(|()| names).map_err(Clone::clone)),
            Self::Pointers(waiting, outcomes) => waiting.answer(written.map(|()| outcomes).map_err(Clone::clone)),
            Self::ForgetPointers(waiting, forgotten) => waiting.answer(written.map(|()| forgotten).map_err(Clone::clone)),
        }
    }
}

impl<T> Waiting<T> {
    /// Whoever no longer waits does not hear it; what was done is done.
    fn answer(self, answer: Result<T, StoreError>) {
        drop(self.place);
        let _ = self.reply.send(answer);
    }
}

/// Most puts in a commit: above it throughput grows no more (measured) and the first one waits for the last.
const COMMIT_PUTS_MAX: usize = 1_024;
/// Records written before all tables are written out, so that no journal outlives two others.
const TURN_BYTES: u64 = 64 << 20;
/// What a commit adds to the journal when the records it replaces were as large.
const COMMIT_BYTES_LEAST: u64 = 512;
/// How often it is looked whether there is space again.
const REOPEN_EVERY: Duration = Duration::from_secs(1);
/// Space without which opening anew would only fail again: the tables in memory and a journal are written at once.
const REOPEN_BYTES: u64 = 64 << 20;
