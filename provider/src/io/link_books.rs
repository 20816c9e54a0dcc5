//! Keeps the books of links: looks at what they have counted, writes it, and states it to the peers who ask.

use crate::accounting::Books;
use crate::accounting::books::{
    LINK_BOOKS_EVERY_SECS, LINK_DAYS, LINK_HOURS, compact, crossed, day_prefix, days_of, first_day_kept, first_hour_kept, hour_prefix,
    period,
};
use crate::accounting::rate::{Meter, Rate};
use crate::io::clock::Clock;
use crate::io::peering::PeeringHandle;
use crate::io::peering::ask::Asking;
use crate::io::peering::requests::Answers;
use crate::peering::ask::tally::PeerTally;
use crate::peering::limits::PEERS_MAX;
use crate::settings::{WALK_EVERY_SECS, WALK_REST_MILLIS, WALK_STEP};
use crate::store::{Note, RecordStore, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::message::{Refused, Request, Response};
use dialtone_shared::receipt::Signer;
use dialtone_shared::statement::{DAY_HOURS, Statement};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

/// The books of links, kept.
pub struct LinkBooks {
    store: Arc<dyn RecordStore>,
    clock: Arc<dyn Clock>,
    signer: Arc<Signer>,
    /// Not held: peering holds us, as who answers for the books.
    peering: Weak<PeeringHandle>,
    /// Whose counts of questions are booked too, once there is somebody.
    asking: OnceLock<Weak<Asking>>,
    books: Mutex<Books>,
    /// Records held from each peer, as last counted.
    held: StdMutex<BTreeMap<Name, u64>>,
    /// How many statements each peer has asked for.
    asked: StdMutex<BTreeMap<Name, Meter>>,
}

impl fmt::Debug for LinkBooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkBooks").finish_non_exhaustive()
    }
}

impl LinkBooks {
    /// Opens the books where they were left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(
        store: Arc<dyn RecordStore>,
        clock: Arc<dyn Clock>,
        signer: Arc<Signer>,
        peering: &Arc<PeeringHandle>,
    ) -> Result<Self, StoreError> {
        let this = Self {
            store,
            clock,
            signer,
            peering: Arc::downgrade(peering),
            asking: OnceLock::new(),
            books: Mutex::default(),
            held: StdMutex::default(),
            asked: StdMutex::default(),
        };
        this.look(&mut *this.books.lock().await).await?;
        Ok(this)
    }

    /// Books the questions that `asking` counts, too. Said once, the first counts; it is not held.
    pub fn counts_questions_of(&self, asking: &Arc<Asking>) {
        // The second is ignored, as documented.
        let _ = self.asking.set(Arc::downgrade(asking));
    }

    /// Books what the links have counted, now and then, and writes it; a last time when `stopping` turns true.
    pub async fn keep(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut pruned = Vec::new();
        loop {
            let stopped = rest(&mut stopping, self.until_next_look()).await;
            if let Err(error) = self.write().await {
                tracing::warn!("the books of links could not be written: {error}");
            }
            if stopped {
                return;
            }
            let first_kept = first_hour_kept(self.clock.now().secs());
            if first_kept != pruned {
                if let Err(error) = self.prune().await {
                    tracing::warn!("old books of links could not be added up: {error}");
                }
                pruned = first_kept;
            }
        }
    }

    /// Counts the records held from each peer: at once, every hour in which some came, and every few hours in any case.
    pub async fn count(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            let came = self.came();
            let (mut at, mut counted) = (None, BTreeMap::<Name, u64>::new());
            let whole = loop {
                let page = match self.store.scan(at, WALK_STEP).await {
                    Ok(page) => page,
                    Err(error) => {
                        tracing::warn!("what is held from peers could not be counted: {error}");
                        break false;
                    }
                };
                for peer in page.iter().filter_map(|held| held.from) {
                    *counted.entry(peer).or_default() += 1;
                }
                at = page.last().map(|held| *held.record.name());
                if at.is_none() {
                    break true;
                }
                if rest(&mut stopping, Duration::from_millis(WALK_REST_MILLIS)).await {
                    return;
                }
            };
            if whole {
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = counted;
            }
            for _ in 0..WALK_EVERY_SECS / HELD_EVERY_SECS {
                if rest(&mut stopping, Duration::from_secs(HELD_EVERY_SECS)).await {
                    return;
                }
                if self.came() != came {
                    break;
                }
            }
        }
    }

    /// How many records of peers were kept so far.
    fn came(&self) -> u64 {
        let peers = self.peering.upgrade().map(|peering| peering.peers()).unwrap_or_default();
        peers.iter().map(|status| status.progress.received.stored).sum()
    }

    /// What we say crossed our link with `peer` in at most `hours` hours from `first` on, signed. It may begin later than asked, if that is
    /// more than one statement holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn statement(&self, peer: &Name, first: u64, hours: u64) -> Result<Bytes, StoreError> {
        let now = self.clock.now();
        let (first, end) = period(now, first, hours);
        let mut books = self.books.lock().await;
        self.look(&mut books).await?;
        let notes = self.notes_of(first, end).await?;
        let (first, rows) = books.rows(peer, (first, end), &notes);
        drop(books);
        Ok(Statement::sign(&self.signer, now, peer, (first, end), &rows))
    }

    /// Books what the links have counted up to now: before agreements change, and after.
    pub async fn look_again(&self) {
        if let Err(error) = self.look(&mut *self.books.lock().await).await {
            tracing::warn!("the books of links cannot be read: {error}");
        }
    }

    /// Until the next look, which is never later than the end of the hour, so that what comes after it is booked there.
    fn until_next_look(&self) -> Duration {
        let into_the_hour = self.clock.now().0 % HOUR_MICROS;
        Duration::from_micros(HOUR_MICROS - into_the_hour).min(Duration::from_secs(LINK_BOOKS_EVERY_SECS))
    }

    /// Books what has been counted since the last look in the hour that is open, then opens the present one.
    async fn look(&self, books: &mut Books) -> Result<(), StoreError> {
        let Some(peering) = self.peering.upgrade() else {
            return Ok(());
        };
        let peers = peering.peers();
        let asking = self.asking.get().and_then(Weak::upgrade);
        let asked = asking.map(|asking| asking.tally().peers).unwrap_or_default();
        for status in &peers {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let held = held.get(&status.name).copied().unwrap_or_default();
            let crossed = crossed(&status.progress, asked.get(&status.name).unwrap_or(&PeerTally::default()));
            books.count(&status.name, status.agreement.price.as_deref(), &crossed, held);
        }
        books.only(&peers.iter().map(|status| status.name).collect::<BTreeSet<_>>());
        if let Some(hour) = books.turns(self.clock.now().secs()) {
            let notes = self.store.notes(&hour_prefix(hour), ROWS_MAX).await?;
            books.turn(hour, &notes);
        }
        Ok(())
    }

    async fn write(&self) -> Result<(), StoreError> {
        let mut books = self.books.lock().await;
        let looked = self.look(&mut books).await;
        let notes = books.unwritten();
        if !notes.is_empty() {
            self.store.set_notes(notes.clone()).await?;
            books.written(&notes);
        }
        looked
    }

    /// All rows of these hours, and of the days that begin in them.
    async fn notes_of(&self, first: u64, end: u64) -> Result<Vec<Note>, StoreError> {
        let mut notes = Vec::new();
        let now = self.clock.now().secs();
        let kept = first_hour_kept(now);
        for hour in (first..end).filter(|hour| hour_prefix(*hour) >= kept) {
            notes.extend(self.store.notes(&hour_prefix(hour), ROWS_MAX).await?);
        }
        for day in (first.div_ceil(DAY_HOURS)..end.div_ceil(DAY_HOURS)).filter(|day| hour_prefix(day * DAY_HOURS) < kept) {
            notes.extend(self.store.notes(&day_prefix(day), ROWS_MAX).await?);
        }
        Ok(notes)
    }

    /// Adds old hours up to days, and throws old days away.
    async fn prune(&self) -> Result<(), StoreError> {
        let now = self.clock.now().secs();
        let (hours_kept, days_kept) = (first_hour_kept(now), first_day_kept(now));
        loop {
            let mut hours = self.store.notes(LINK_HOURS.as_bytes(), WALK_STEP).await?;
            hours.retain(|(key, _)| *key < hours_kept);
            if hours.is_empty() {
                break;
            }
            let mut days = Vec::new();
            for key in days_of(&hours) {
                days.extend(self.store.note(&key).await?.map(|value| (key, value)));
            }
            self.store.set_notes(compact(&hours, &days)).await?;
        }
        loop {
            let mut days = self.store.notes(LINK_DAYS.as_bytes(), WALK_STEP).await?;
            days.retain(|(key, _)| *key < days_kept);
            if days.is_empty() {
                return Ok(());
            }
            self.store.set_notes(days.into_iter().map(|(key, _)| (key, None)).collect()).await?;
        }
    }
}

impl LinkBooks {
    /// Whether this peer may have another statement now: one costs reading some hundred rows and a signature.
    fn may_ask(&self, peer: &Name) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // As many entries as there ever were peers, at most; who is gone does not come back to more than it had.
        if asked.len() >= PEERS_MAX && !asked.contains_key(peer) {
            asked.clear();
        }
        let rate = Rate::new(STATEMENTS_PER_SECOND, STATEMENTS_BURST_SECS);
        rate.is_none_or(|rate| asked.entry(*peer).or_default().take(&rate, self.clock.now()).is_ok())
    }
}

#[async_trait]
impl Answers for LinkBooks {
    async fn answer(&self, peer: &Name, request: Request) -> Response {
        let Request::Statement { from_hour, hours } = request else {
            return Response::Refused(Refused::Cannot);
        };
        if !self.may_ask(peer) {
            return Response::Refused(Refused::Limit);
        }
        match self.statement(peer, from_hour, u64::from(hours)).await {
            Ok(statement) => Response::Statement(statement),
            Err(error) => {
                tracing::warn!(%peer, %error, "no statement was given: the books cannot be read");
                Response::Refused(Refused::Busy)
            }
        }
    }
}

/// Waits; whether it is time to stop.
async fn rest(stopping: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => true,
        () = sleep(pause) => false,
    }
}

/// Rows of all peers in one hour or one day: no more than agreements times price classes.
const ROWS_MAX: usize = crate::peering::limits::PEERS_MAX * (crate::accounting::books::LABELS_MAX + 1);
/// How often the records held from each peer are counted while more come: once for every row of the books.
const HELD_EVERY_SECS: u64 = 3_600;
/// Statements that a peer may have in a second, over and over: who settles needs a few a day.
const STATEMENTS_PER_SECOND: u32 = 1;
/// And at once, in seconds' worth: those of a year, fetched one after the other.
const STATEMENTS_BURST_SECS: u32 = 60;
const HOUR_MICROS: u64 = 3_600_000_000;
