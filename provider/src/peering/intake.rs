//! The receiving half of a link: what becomes of each record that a peer sends, cheap questions first.
//!
//! ```text
//! decode → in scope, and past the filter? → held already? → room for a new name? → verify → put, or keep aside until its time comes → acknowledge
//! ```
//!
//! What becomes of a pointer is told in `hearsay`. A record costs a signature check only if it would change something. One that is broken costs itself and no neighbour.

use super::agreement::Filter;
use super::alike::Alike;
use super::deferred::Deferred;
use super::limits::COMMIT_BATCHES;
use super::paths::{self, PathNote};
use super::policy;
use crate::store::{Class, Condition, Cursor, Held, LANES, Lane, Outcome, Pointer, PointerOutcome, Put};
use dialtone_shared::message::{Ack, Batch, Counts, Entry, Mode, Path, Relationship, Value, mark};
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Name, RecordError, SignedRecord, UnixSecs, VerifiedRecord, VerifyError};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

/// Between whom a record passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// This provider.
    pub own: Name,
    /// Who sends.
    pub peer: Name,
    /// What the sender is to us.
    pub relationship: Relationship,
    /// Whether there is room for names that are not held yet: see [`super::quota`].
    pub takes_new: bool,
    /// In what form it pushes to us: the lesser of what it pushes and what we accept.
    pub accepts: Mode,
    /// Which names pass, by our agreement.
    pub filter: Filter,
    /// Whether this provider has no other nodes: then what came through it came through us.
    pub alone: bool,
    /// Whether a pointer among these is an offer of what is to be held itself: see `feed::offers`.
    pub offered: bool,
}

/// Why a record is refused. The sender's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Not a record.
    #[error("not a record: {0}")]
    NotARecord(#[from] RecordError),
    /// Not signed by the name's key.
    #[error("a record of {name} is not believed: {error}")]
    NotBelieved {
        /// Whose it pretends to be.
        name: Name,
        /// Why not.
        error: VerifyError,
    },
    /// Not meant for us.
    #[error("a record of {0} is not for this provider by its scope")]
    OutOfScope(Name),
    /// More than is agreed. Not held against the sender: what we accept may have changed while it was on its way.
    #[error("a record of {0} was sent whole where less is agreed")]
    Unwanted(Name),
    /// Our agreement does not let it pass. Not held against the sender, who has an agreement of its own.
    #[error("a record of {0} is not to pass, by the agreement")]
    ShutOut(Name),
}

impl Refusal {
    /// Whether no honest provider sends what was refused so.
    pub fn is_wrong(&self) -> bool {
        match self {
            Self::NotARecord(_) | Self::NotBelieved { .. } | Self::OutOfScope(_) => true,
            Self::Unwanted(_) | Self::ShutOut(_) => false,
        }
    }
}

/// What to do with a record, once it is known what is held of its name.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is held, and what the sender says of it is new.
    Renew(Box<Put>, Path),
    /// It would change something, if it is genuine: see [`believe`].
    Verify(Box<Candidate>),
    /// It is held, and there is nothing new about it.
    Same,
    /// What is held outranks it, or nobody may keep it any longer.
    Older,
    /// It is of a new name, and there is no room for one.
    Limited,
}

/// A record that would change something.
#[derive(Clone, Debug)]
pub struct Candidate {
    signed: SignedRecord,
    class: Class,
    keep_until: UnixSecs,
    future: bool,
    new: bool,
    path: Path,
}

/// What a batch came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// To be put.
    pub puts: Vec<Put>,
    /// To be put if there is room for so many new names.
    pub new: Vec<Put>,
    /// How many of `puts` were `new`, and took room.
    pub taken: usize,
    /// To be kept aside.
    pub deferred: Vec<Deferred>,
    /// To be kept as what is said of others.
    pub pointers: Vec<Pointer>,
    /// What was offered, and is lacking.
    pub wants: Vec<Name>,
    /// By whom what is put came to the peer.
    pub paths: Vec<PathNote>,
    /// What needs neither, counted.
    pub counts: Counts,
    /// What the peer has shown to hold just as we do.
    pub alike: Vec<Alike>,
    /// Signatures checked, and the time that took: of one core.
    pub verified: u64,
    /// See above.
    pub verify_time: Duration,
    /// The first refusal, and how many there were that no honest provider sends.
    pub invalid: Option<(u64, Refusal)>,
    /// Of the same batch something was not looked at, since enough was invalid for the link to be cut.
    pub abandoned: bool,
}

/// Takes an entry apart.
///
/// # Errors
/// [`Refusal`]; not yet [`Refusal::NotBelieved`].
pub fn open(terms: &Terms, entry: &Value) -> Result<SignedRecord, Refusal> {
    let signed = SignedRecord::decode(entry.record.clone())?;
    if !signed.record().in_scope(&terms.own) {
        return Err(Refusal::OutOfScope(*signed.name()));
    }
    if !terms.filter.passes(signed.name(), !signed.record().scope.is_empty()) {
        return Err(Refusal::ShutOut(*signed.name()));
    }
    if !policy::takes(&signed, terms.accepts) {
        return Err(Refusal::Unwanted(*signed.name()));
    }
    Ok(signed)
}

/// What to do with a record that came in `entry`, given what is held of its name.
pub fn triage(terms: &Terms, signed: SignedRecord, entry: &Value, held: Option<&Held>, now: UnixSecs) -> Verdict {
    let (record, keep_until) = (signed.record(), entry.keep_until);
    let class = policy::class_of(terms.relationship, entry.class);
    // Nobody promises to keep a record beyond its end, whatever the sender says.
    let keep_until = record.bounded(keep_until, now);
    if record.forgotten_at(keep_until).is_some_and(|at| at <= now) {
        return Verdict::Older;
    }
    let future = matches!(record.from_peer(now), Timeliness::Future(_));
    let candidate = |signed, new| {
        Verdict::Verify(Box::new(Candidate {
            signed,
            class,
            keep_until,
            future,
            new,
            path: entry.path,
        }))
    };
    let Some(held) = held else {
        return if terms.takes_new {
            candidate(signed, true)
        } else {
            Verdict::Limited
        };
    };
    match signed.rank().order().cmp(&held.record.rank().order()) {
        Ordering::Less => Verdict::Older,
        Ordering::Greater => candidate(signed, false),
        // A twin of what is held. Whichever of the two wins: if both are genuine, they prove that the name said two things, and the store
        // says so (see `RecordStore::twins`).
        Ordering::Equal if signed.bytes() != held.record.bytes() => candidate(signed, false),
        Ordering::Equal => {
            // What came through us already cannot raise the class. A lease it may: it ends with the record, and whoever forges a path could
            // otherwise keep an honest neighbour's renewal from us.
            let came_by_us = terms.alone && entry.path.has(mark(&terms.own));
            let class = if came_by_us { held.class } else { class };
            if class > held.class || keep_until.day() > held.keep_until.day() {
                Verdict::Renew(Box::new(put(terms, held.record.clone(), class, keep_until)), entry.path)
            } else {
                Verdict::Same
            }
        }
    }
}

/// Checks the signature: the costly step, about 50 µs.
///
/// # Errors
/// [`Refusal::NotBelieved`].
pub fn believe(candidate: Candidate) -> Result<Believed, Refusal> {
    let name = *candidate.signed.name();
    let record = candidate.signed.verify().map_err(|error| Refusal::NotBelieved { name, error })?;
    Ok(Believed {
        record,
        class: candidate.class,
        keep_until: candidate.keep_until,
        future: candidate.future,
        new: candidate.new,
        path: candidate.path,
    })
}

/// As [`believe`], at no cost, where the same bytes were verified before: a simulated world checks each record once for all its providers.
///
/// # Errors
/// [`Refusal::NotBelieved`]: these are other bytes.
pub fn believe_known(candidate: Candidate, known: &VerifiedRecord) -> Result<Believed, Refusal> {
    if candidate.signed.bytes() != known.bytes() {
        let (name, error) = (*candidate.signed.name(), VerifyError::Signature);
        return Err(Refusal::NotBelieved { name, error });
    }
    Ok(Believed {
        record: known.clone(),
        class: candidate.class,
        keep_until: candidate.keep_until,
        future: candidate.future,
        new: candidate.new,
        path: candidate.path,
    })
}

/// A genuine record.
#[derive(Clone, Debug)]
pub struct Believed {
    record: VerifiedRecord,
    class: Class,
    keep_until: UnixSecs,
    future: bool,
    new: bool,
    path: Path,
}

impl Believed {
    /// The record.
    pub fn record(&self) -> &VerifiedRecord {
        &self.record
    }
}

impl Checked {
    /// Files what was decided without a look at the signature; the candidate, if there has to be one.
    pub fn judged(&mut self, verdict: Verdict) -> Option<Candidate> {
        match verdict {
            Verdict::Renew(put, path) => self.renew(*put, path),
            Verdict::Verify(candidate) => return Some(*candidate),
            Verdict::Same => self.counts.same += 1,
            Verdict::Older => self.counts.older += 1,
            Verdict::Limited => self.counts.limited += 1,
        }
        None
    }

    pub(super) fn renew(&mut self, put: Put, path: Path) {
        self.paths.push((paths::key(put.record.rank()), path));
        self.puts.push(put);
    }

    /// Takes the first `room` of the new names, and refuses the rest for want of room.
    pub fn admit(&mut self, room: usize) {
        self.counts.limited += self.new.len().saturating_sub(room) as u64;
        self.new.truncate(room);
        self.taken += self.new.len();
        self.puts.append(&mut self.new);
    }

    /// Files a refusal.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.counts.refused += 1;
        if refusal.is_wrong() {
            self.invalid.get_or_insert((0, refusal)).0 += 1;
        }
    }

    /// Files a genuine record.
    pub fn believed(&mut self, terms: &Terms, believed: Believed) {
        if believed.future {
            self.deferred.push(Deferred {
                class: believed.class,
                keep_until: believed.keep_until,
                record: believed.record,
            });
        } else {
            if !believed.path.is_empty() {
                self.paths.push((paths::key(believed.record.rank()), believed.path));
            }
            let puts = if believed.new { &mut self.new } else { &mut self.puts };
            puts.push(put(terms, believed.record, believed.class, believed.keep_until));
        }
    }

    /// Adds what another part of the same batch came to.
    pub fn join(&mut self, other: Self) {
        self.puts.extend(other.puts);
        self.new.extend(other.new);
        self.taken += other.taken;
        self.deferred.extend(other.deferred);
        self.pointers.extend(other.pointers);
        self.wants.extend(other.wants);
        self.paths.extend(other.paths);
        self.alike.extend(other.alike);
        self.counts.add(&other.counts);
        self.verified += other.verified;
        self.verify_time += other.verify_time;
        self.abandoned |= other.abandoned;
        if let Some((count, refusal)) = other.invalid {
            self.invalid.get_or_insert((0, refusal)).0 += count;
        }
    }
}

pub(super) fn put(terms: &Terms, record: VerifiedRecord, class: Class, keep_until: UnixSecs) -> Put {
    Put {
        record,
        class,
        keep_until,
        from: Some(terms.peer),
        account: None,
        condition: Condition::None,
    }
}

/// The batches of a link that have arrived and are not acknowledged, in the order of their lanes.
#[derive(Debug, Default)]
pub struct Intake {
    lanes: [VecDeque<Arrived>; LANES],
    /// The last position that arrived, by lane, and how far the peer said it runs on.
    ends: [Option<(Cursor, u64)>; LANES],
    /// More was agreed than the peer has sent: it is to begin these lanes anew.
    anew: [bool; LANES],
    /// What was agreed before that.
    anew_from: Option<Mode>,
    next_check: u64,
    /// How many names were asked for on this link, and of how many the peer has said that it knows.
    wanted: u64,
    heard: u64,
    committing: Option<Vec<Committing>>,
    settled: Settled,
}

/// What became of names that took room as new.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// They took room for so many.
    pub taken: usize,
    /// So many are held now.
    pub stored: usize,
}

#[derive(Debug)]
struct Arrived {
    id: u64,
    cursor: Cursor,
    /// Not to be committed before then, so that the agreed rates are kept.
    ready_at: Duration,
    mentions: u64,
    checked: Option<Checked>,
}

/// A batch of the commit under way: what its acknowledgement will say, and how many of the commit's puts are its own.
#[derive(Debug)]
struct Committing {
    ack: Ack,
    puts: usize,
    taken: usize,
    pointers: usize,
}

/// What to commit at once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Commit {
    /// To put.
    pub puts: Vec<Put>,
    /// To keep aside.
    pub deferred: Vec<Deferred>,
    /// To keep as what is said of others.
    pub pointers: Vec<Pointer>,
}

/// What a peer may not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IntakeError {
    /// More than the window.
    #[error("sent more batches than the window allows before they were acknowledged")]
    Window,
    /// Backwards, with something under way.
    #[error("sent a batch that ends at position {0}, behind one that is not acknowledged")]
    Backwards(Cursor),
}

impl Intake {
    /// Takes a batch, which is not to be committed before `ready_at`: the number under which its entries are to be checked.
    ///
    /// # Errors
    /// [`IntakeError`].
    pub fn arrived(&mut self, batch: &Batch, ready_at: Duration) -> Result<u64, IntakeError> {
        let (lane, index) = (lane_of(batch.lane), usize::from(batch.lane).min(LANES - 1));
        let (queue, end) = (&mut self.lanes[index], &mut self.ends[index]);
        let committing = self.committing.iter().flatten().filter(|one| one.ack.lane == batch.lane).count();
        if queue.len() + committing >= super::feed::window(lane) {
            return Err(IntakeError::Window);
        }
        // A sender goes back when there is more to be had, and then not before all was acknowledged.
        let still = queue.is_empty() && committing == 0;
        if end.is_some_and(|(last, _)| batch.cursor < last) && !still {
            return Err(IntakeError::Backwards(batch.cursor));
        }
        self.anew[index] &= batch.cursor != 0;
        *end = Some((batch.cursor, batch.behind));
        if batch.lane == Lane::Ordinary as u8 {
            self.heard = batch.heard;
        }
        self.next_check += 1;
        queue.push_back(Arrived {
            id: self.next_check,
            cursor: batch.cursor,
            ready_at,
            mentions: batch.entries.iter().filter(|entry| matches!(entry, Entry::Mention(_))).count() as u64,
            checked: None,
        });
        Ok(self.next_check)
    }

    /// What the batch of that number came to. One that was dropped meanwhile is passed over.
    pub fn checked(&mut self, id: u64, checked: Checked) {
        if let Some(batch) = self.lanes.iter_mut().flatten().find(|batch| batch.id == id) {
            self.wanted += checked.wants.len() as u64;
            batch.checked = Some(checked);
        }
    }

    /// What to commit next, revocations first: everything that is checked and ready, in order. `None` while a commit is under way.
    pub fn next_commit(&mut self, now: Duration) -> Option<Commit> {
        if self.committing.is_some() {
            return None;
        }
        let (mut commit, mut parts) = (Commit::default(), Vec::new());
        for (lane, queue) in (0..).zip(&mut self.lanes) {
            while parts.len() < COMMIT_BATCHES {
                let front = queue.front_mut().filter(|batch| batch.ready_at <= now);
                let Some(checked) = front.and_then(|batch| batch.checked.take()) else {
                    break;
                };
                let Some(Arrived { cursor, mentions, .. }) = queue.pop_front() else {
                    break;
                };
                let mut counts = checked.counts;
                counts.stored += mentions;
                counts.deferred += checked.deferred.len() as u64;
                parts.push(Committing {
                    ack: Ack {
                        lane,
                        cursor,
                        counts,
                        wants: checked.wants,
                    },
                    puts: checked.puts.len(),
                    taken: checked.taken,
                    pointers: checked.pointers.len(),
                });
                commit.puts.extend(checked.puts);
                commit.deferred.extend(checked.deferred);
                commit.pointers.extend(checked.pointers);
            }
        }
        (!parts.is_empty()).then(|| {
            self.committing = Some(parts);
            commit
        })
    }

    /// The commit is durable: what to acknowledge, one for each lane.
    pub fn committed(&mut self, outcomes: &[Outcome], pointers: &[PointerOutcome]) -> Vec<Ack> {
        let mut acks: Vec<Ack> = Vec::with_capacity(LANES);
        let (mut outcomes, mut pointers) = (outcomes.iter(), pointers.iter());
        for mut part in self.committing.take().unwrap_or_default() {
            self.settled.taken += part.taken;
            for outcome in outcomes.by_ref().take(part.puts) {
                self.settled.stored += usize::from(*outcome == Outcome::Stored { replaced: false });
                match outcome {
                    Outcome::Stored { .. } | Outcome::Renewed => part.ack.counts.stored += 1,
                    Outcome::Same => part.ack.counts.same += 1,
                    Outcome::Older(_) | Outcome::ConditionFailed(_) => part.ack.counts.older += 1,
                }
            }
            for outcome in pointers.by_ref().take(part.pointers) {
                match outcome {
                    PointerOutcome::Kept | PointerOutcome::Renewed => part.ack.counts.stored += 1,
                    PointerOutcome::Same => part.ack.counts.same += 1,
                    PointerOutcome::Older => part.ack.counts.older += 1,
                }
            }
            match acks.last_mut().filter(|last| last.lane == part.ack.lane) {
                Some(last) => {
                    last.cursor = part.ack.cursor;
                    last.counts.add(&part.ack.counts);
                    last.wants.append(&mut part.ack.wants);
                }
                None => acks.push(part.ack),
            }
        }
        acks
    }

    /// What became of new names since it was asked last.
    pub fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// When the next commit is ready, if that is only a matter of time.
    pub fn due(&self) -> Option<Duration> {
        let ready = |queue: &VecDeque<Arrived>| queue.front().filter(|batch| batch.checked.is_some()).map(|batch| batch.ready_at);
        let due = self.lanes.iter().filter_map(ready).min();
        due.filter(|_| self.committing.is_none())
    }

    /// Drops what is not checked yet: the link is about to be cut.
    pub fn abandon_unchecked(&mut self) {
        for queue in &mut self.lanes {
            let checked = queue.iter().take_while(|batch| batch.checked.is_some()).count();
            queue.truncate(checked);
        }
    }

    /// The form in which the peer pushes has changed. Where it is richer, we do not have everything until the lanes were begun anew.
    pub fn accepts(&mut self, before: Mode, now: Mode) {
        if now > before && now >= Mode::Pointers {
            self.anew_from.get_or_insert(before);
            self.anew[Lane::Ordinary as usize] = true;
            self.anew[Lane::Hearsay as usize] = true;
        }
        if self.anew_from.is_some_and(|from| now <= from) {
            self.anew = [false; LANES];
        }
        if !self.anew.contains(&true) {
            self.anew_from = None;
        }
    }

    /// Whether nothing that arrived still awaits its acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.committing.is_none() && self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Up to where the peer's log has come, as far as it has said on this link.
    pub fn reached(&self) -> crate::store::Cursors {
        self.ends.map(|end| end.map_or(0, |(cursor, _)| cursor))
    }

    /// Whether the peer has said that we have everything, and it is durable.
    pub fn has_all(&self) -> bool {
        let given = self.heard >= self.wanted;
        given && self.is_idle() && !self.anew.contains(&true) && self.ends.iter().all(|end| matches!(end, Some((_, 0))))
    }
}

fn lane_of(number: u8) -> Lane {
    match number {
        0 => Lane::Urgent,
        1 => Lane::Ordinary,
        _ => Lane::Hearsay,
    }
}
