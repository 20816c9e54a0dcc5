//! Finds out what becomes of a batch: in pieces that spread over the cores, and that take turns with those of other links and with everything else
//! that the provider does.
//!
//! ```text
//! a batch ─▶ pieces ─▶ one of its link's turns ─▶ looked up, one of the lookers ─▶ verified, one of the verifiers
//! ```
//!
//! Turns are given in the order in which they were asked for, and a link asks for a few at a time: so links that bring much share the cores evenly,
//! and one that brings little waits for a piece or two of each of the others, not for all that they brought.

use crate::io::way::give_way;
use crate::peering::alike::alike;
use crate::peering::intake::{self, Checked, Terms};
use crate::peering::limits::{INVALID_RECORDS_MAX, VERIFY_CHUNK};
use crate::store::{RecordStore, StoreError};
use dialtone_shared::UnixSecs;
use dialtone_shared::message::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{AcquireError, Semaphore};
use tokio::task::yield_now;

/// The turns of all links: as many at a time as there are cores, of each kind.
pub(super) struct Turns {
    cores: usize,
    lookers: Semaphore,
    verifiers: Semaphore,
}

/// What one link has a right to.
#[derive(Clone)]
pub(super) struct Checks {
    all: Arc<Turns>,
    own: Arc<Semaphore>,
    /// Invalid records that came over this link. From [`HOPELESS`] on nothing that it brought is looked at any more.
    invalid: Arc<AtomicU64>,
}

impl Turns {
    pub fn new() -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            cores,
            lookers: Semaphore::new(cores),
            verifiers: Semaphore::new(cores),
        })
    }

    /// Those of a new link.
    pub fn of_a_link(self: &Arc<Self>) -> Checks {
        Checks {
            all: self.clone(),
            // One more than can run, so that none stands idle.
            own: Arc::new(Semaphore::new(self.cores + 1)),
            invalid: Arc::default(),
        }
    }
}

impl Checks {
    /// What becomes of these entries.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(
        &self,
        store: &Arc<dyn RecordStore>,
        terms: &Terms,
        entries: Vec<Value>,
        now: UnixSecs,
    ) -> Result<Checked, StoreError> {
        if entries.len() <= VERIFY_CHUNK {
            return self.clone().piece(store.clone(), terms.clone(), entries, now).await;
        }
        let mut pieces = Vec::with_capacity(entries.len() / VERIFY_CHUNK + 1);
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let piece: Vec<Value> = entries.by_ref().take(VERIFY_CHUNK).collect();
            pieces.push(tokio::spawn(self.clone().piece(store.clone(), terms.clone(), piece, now)));
        }
        let mut checked = Checked::default();
        for piece in pieces {
            checked.join(piece.await.map_err(|error| StoreError::Failed(error.to_string()))??);
        }
        Ok(checked)
    }

    async fn piece(self, store: Arc<dyn RecordStore>, terms: Terms, entries: Vec<Value>, now: UnixSecs) -> Result<Checked, StoreError> {
        let _own = self.own.acquire().await.map_err(gone)?;
        let mut checked = Checked::default();
        let mut candidates = Vec::with_capacity(entries.len());
        {
            let _turn = self.all.lookers.acquire().await.map_err(gone)?;
            for (number, entry) in entries.iter().enumerate() {
                // What waits for the thread meanwhile, such as a question, is not to wait for a whole piece.
                if number > 0 && number % LOOKED_UP_AT_ONCE == 0 {
                    yield_now().await;
                }
                if self.is_cut() {
                    checked.abandoned = true;
                    return Ok(checked);
                }
                let signed = match intake::open(&terms, entry) {
                    Ok(signed) => signed,
                    Err(refusal) => {
                        self.refuse(&mut checked, refusal);
                        continue;
                    }
                };
                let held = store.get(signed.name()).await?;
                checked.alike.extend(alike(&terms, entry, &signed, held.as_ref()));
                candidates.extend(checked.judged(intake::triage(&terms, signed, entry, held.as_ref(), now)));
            }
        }
        if candidates.is_empty() {
            return Ok(checked);
        }
        let _turn = self.all.verifiers.acquire().await.map_err(gone)?;
        let mut candidates = candidates.into_iter().peekable();
        while candidates.peek().is_some() {
            let began = std::time::Instant::now();
            for candidate in candidates.by_ref().take(VERIFIED_AT_ONCE) {
                if self.is_cut() {
                    checked.abandoned = true;
                    return Ok(checked);
                }
                checked.verified += 1;
                match intake::believe(candidate) {
                    Ok(believed) => checked.believed(&terms, believed),
                    Err(refusal) => self.refuse(&mut checked, refusal),
                }
            }
            checked.verify_time += began.elapsed();
            // On the runtime's own threads, and giving way again and again, to its tasks and to other threads: else a question would wait for milliseconds.
            give_way(began);
            yield_now().await;
        }
        Ok(checked)
    }

    fn refuse(&self, checked: &mut Checked, refusal: intake::Refusal) {
        if refusal.is_wrong() {
            self.invalid.fetch_add(1, Ordering::Relaxed);
        }
        checked.refuse(refusal);
    }

    fn is_cut(&self) -> bool {
        self.invalid.load(Ordering::Relaxed) >= HOPELESS
    }
}

/// The turns are ours, and never closed.
fn gone(_: AcquireError) -> StoreError {
    StoreError::Closed
}

/// So many invalid records, and the link is not only about to be cut: there is nothing in what it brought to be saved. Twice those for which it is cut, so
/// that a few beside good ones cost these nothing.
const HOPELESS: u64 = 2 * INVALID_RECORDS_MAX;

/// Records looked up in one go: some 50 µs.
const LOOKED_UP_AT_ONCE: usize = 8;

/// Signatures checked in one go: some 80 µs.
const VERIFIED_AT_ONCE: usize = 2;
