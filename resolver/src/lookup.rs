//! One lookup: whom to ask when, what to believe, when to give up. Events in, steps out; no clock, no sockets.
//!
//! ```text
//!            ┌── silence: ask the next one too, everybody asked may still answer ──┐
//!            ▼                                                                      │
//!  start ─▶ asked ── a record: verified, current, not below the floor ─▶ Found     │
//!            │  ├─── absent ─▶ Absent (once all agree, if the name was seen before) │
//!            │  ├─── cut off ─▶ the same provider over TCP ─────────────────────────┤
//!            │  └─── anything worse ─▶ that provider is spent, the next at once ────┘
//!            └── all spent, or the deadline ─▶ the most telling error
//! ```

use crate::choose::Health;
use crate::floor::{Standing, standing};
use crate::message::{Over, Reply};
use crate::settings::TRIES_MAX;
use crate::source::{Lookup, LookupError, Sought};
use bytes::Bytes;
use dialtone_shared::hip::Hit;
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Rank, SignedRecord, Ttl, UnixSecs};
use std::time::{Duration, Instant};

/// Now, by both clocks: the steady one for waiting, the wall's for what publishers sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// For TTLs and time-outs.
    pub instant: Instant,
    /// For expiries.
    pub unix: UnixSecs,
}

/// One lookup on its way.
#[derive(Debug)]
pub struct Machine {
    sought: Sought,
    floor: Option<Rank>,
    negative_ttl_max: Ttl,
    candidates: Vec<Candidate>,
    attempts: Vec<Attempt>,
    /// Asks that are due at once.
    due: Option<(usize, Over)>,
    /// When silence has lasted too long.
    next_at: Instant,
    deadline: Instant,
    absence: Option<Ttl>,
    expired: Option<Rank>,
    error: Option<LookupError>,
    done: Option<Result<Lookup, LookupError>>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The provider asked by this attempt answered.
    Replied {
        /// Which attempt.
        attempt: usize,
        /// What it said.
        reply: Reply,
    },
    /// The attempt came to nothing.
    Failed {
        /// Which attempt.
        attempt: usize,
        /// Who, and why.
        reason: String,
    },
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask a provider; it is a new attempt beside those before.
    Ask {
        /// The number of the attempt, to be given back with what happens.
        attempt: usize,
        /// Which provider, as they were handed in.
        provider: usize,
        /// How.
        over: Over,
    },
    /// Wait for an event, or until then.
    WaitUntil(Instant),
    /// This is the answer; nothing more is wanted.
    Done(Result<Lookup, LookupError>),
}

/// What the lookup taught about a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It answered usefully, after so long.
    Answered(Duration),
    /// It did not.
    Failed,
}

#[derive(Debug)]
struct Candidate {
    provider: usize,
    patience: Duration,
    tries: u32,
    stream: bool,
    /// Nothing more is expected of it.
    spent: bool,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
struct Attempt {
    candidate: usize,
    over: Over,
    asked: Instant,
    open: bool,
}

impl Moment {
    /// This moment, `time` later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self {
            instant: self.instant + time,
            unix: self.unix.plus(time.as_secs()),
        }
    }
}

impl Machine {
    /// A lookup of what is `sought`, asking `order` of `providers`. Nothing below `floor` is believed.
    pub fn new(
        sought: impl Into<Sought>,
        floor: Option<Rank>,
        providers: &[Health],
        order: &[usize],
        now: Moment,
        limits: &Patience,
    ) -> Self {
        let candidates = order.iter().filter_map(|provider| {
            let health = providers.get(*provider)?;
            Some(Candidate {
                provider: *provider,
                patience: health.patience(),
                tries: 0,
                stream: false,
                spent: false,
                verdict: None,
            })
        });
        Self {
            sought: sought.into(),
            floor,
            negative_ttl_max: Ttl(u32::try_from(limits.negative_ttl_max.as_secs()).unwrap_or(u32::MAX)),
            candidates: candidates.collect(),
            attempts: Vec::with_capacity(2),
            due: None,
            next_at: now.instant,
            deadline: now.instant + limits.deadline,
            absence: None,
            expired: None,
            error: None,
            done: None,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Moment, event: Event) {
        let (Event::Replied { attempt: number, .. } | Event::Failed { attempt: number, .. }) = &event;
        let Some(attempt) = self.attempts.get_mut(*number).filter(|attempt| attempt.open) else {
            return;
        };
        attempt.open = false;
        let (index, over) = (attempt.candidate, attempt.over);
        let took = now.instant.saturating_duration_since(attempt.asked);
        match event {
            Event::Failed { reason, .. } => {
                // What is refused over one transport may still come over the other.
                self.close(index, |attempt| attempt.over == over);
                self.spend(now, index, LookupError::Unreachable(reason));
            }
            Event::Replied { reply, .. } => match reply {
                Reply::Truncated => {
                    self.candidates[index].stream = true;
                    self.due = Some((index, Over::Tcp));
                }
                Reply::No(reason) => {
                    self.close(index, |_| true);
                    self.spend(now, index, LookupError::Unavailable(reason));
                }
                Reply::Absent { ttl_secs } => {
                    self.candidates[index].verdict = Some(Verdict::Answered(took));
                    self.absent(now, index, Ttl(ttl_secs).min(self.negative_ttl_max));
                }
                Reply::Record { envelope, ttl_secs } => match self.judge(now, envelope, ttl_secs) {
                    Ok(found) => {
                        self.candidates[index].verdict = Some(Verdict::Answered(took));
                        self.done = Some(Ok(found));
                    }
                    Err(error) => {
                        self.close(index, |_| true);
                        self.spend(now, index, error);
                    }
                },
            },
        }
    }

    /// What to do next. After each `handle`, poll until it says wait or done.
    pub fn poll(&mut self, now: Moment) -> Step {
        if self.done.is_none() && now.instant >= self.deadline {
            self.give_up();
        }
        if let Some(done) = &self.done {
            return Step::Done(done.clone());
        }
        if let Some((index, over)) = self.due.take() {
            return self.ask(now, index, over);
        }
        let more = self.next_candidate();
        match more {
            Some(index) if now.instant >= self.next_at => {
                // UDP that is never answered may be blocked on the way: the third question to one provider goes by TCP.
                let stream = self.candidates[index].stream || self.candidates[index].tries >= 2;
                self.ask(now, index, if stream { Over::Tcp } else { Over::Udp })
            }
            Some(_) => Step::WaitUntil(self.next_at.min(self.deadline)),
            None if self.attempts.iter().any(|attempt| attempt.open) => Step::WaitUntil(self.deadline),
            None => {
                self.give_up();
                self.poll(now)
            }
        }
    }

    /// What was learnt about the providers that were asked; each at most once.
    pub fn verdicts(&self, now: Moment) -> impl Iterator<Item = (usize, Verdict)> {
        self.candidates.iter().enumerate().filter_map(move |(index, candidate)| {
            let first = self.attempts.iter().find(|attempt| attempt.candidate == index)?;
            let silent = || now.instant.saturating_duration_since(first.asked) >= candidate.patience;
            let verdict = candidate.verdict.or_else(|| silent().then_some(Verdict::Failed))?;
            Some((candidate.provider, verdict))
        })
    }

    /// The highest verified rank that was seen too late: an expired record, which is a floor all the same.
    pub fn expired(&self) -> Option<&Rank> {
        self.expired.as_ref()
    }

    fn ask(&mut self, now: Moment, index: usize, over: Over) -> Step {
        let candidate = &mut self.candidates[index];
        // Doubled each time the same one is asked again, so that loss does not become load.
        let factor = 1 << candidate.tries.min(4);
        self.next_at = now.instant + candidate.patience * factor;
        candidate.tries += 1;
        self.attempts.push(Attempt {
            candidate: index,
            over,
            asked: now.instant,
            open: true,
        });
        Step::Ask {
            attempt: self.attempts.len() - 1,
            provider: candidate.provider,
            over,
        }
    }

    /// Who was asked least and is not spent; the first of them.
    fn next_candidate(&self) -> Option<usize> {
        if self.attempts.len() >= TRIES_MAX {
            // Bounded, but nobody is left out because others were asked again.
            return self
                .candidates
                .iter()
                .position(|candidate| candidate.tries == 0 && !candidate.spent);
        }
        let left = self.candidates.iter().enumerate().filter(|(_, candidate)| !candidate.spent);
        left.min_by_key(|(_, candidate)| candidate.tries).map(|(index, _)| index)
    }

    /// Expects nothing more of those attempts at a provider.
    fn close(&mut self, index: usize, which: impl Fn(&Attempt) -> bool) {
        let of_it = self.attempts.iter_mut().filter(|attempt| attempt.candidate == index);
        of_it.filter(|attempt| which(attempt)).for_each(|attempt| attempt.open = false);
    }

    fn spend(&mut self, now: Moment, index: usize, error: LookupError) {
        let candidate = &mut self.candidates[index];
        candidate.spent = true;
        candidate.verdict = Some(Verdict::Failed);
        self.next_at = now.instant;
        if self.error.as_ref().is_none_or(|worst| weight(&error) > weight(worst)) {
            self.error = Some(error);
        }
    }

    /// One provider says that there is no record. Of a name that was seen before, that is believed when nobody knows better.
    fn absent(&mut self, now: Moment, index: usize, ttl: Ttl) {
        if self.floor.is_none() && self.expired.is_none() && !matches!(self.error, Some(LookupError::RolledBack)) {
            self.done = Some(Ok(Lookup::Absent { ttl }));
            return;
        }
        self.close(index, |_| true);
        self.candidates[index].spent = true;
        self.next_at = now.instant;
        self.absence = Some(self.absence.map_or(ttl, |other| other.min(ttl)));
    }

    fn judge(&mut self, now: Moment, envelope: Bytes, ttl_secs: u32) -> Result<Lookup, LookupError> {
        let invalid = |reason: String| LookupError::Invalid(reason);
        let signed = SignedRecord::decode(envelope).map_err(|error| invalid(error.to_string()))?;
        // The floor costs nothing to ask, the signature does: but what is rolled back must be known to be the publisher's.
        let verified = match &self.sought {
            Sought::Name(name) => signed.verify_for(name),
            Sought::Hit(_) => signed.verify(),
        };
        let record = verified.map_err(|error| invalid(error.to_string()))?;
        // The tag is only an index (RFC 8005 §4.1): what it is the tag of is made out here.
        if let Sought::Hit(hit) = &self.sought
            && record.record().key().is_none_or(|key| Hit::of(&key) != *hit)
        {
            return Err(invalid(format!("the key of {} does not have the tag {hit}", record.name())));
        }
        if standing(self.floor.as_ref(), record.rank()) == Standing::Below {
            return Err(LookupError::RolledBack);
        }
        match record.record().from_peer(now.unix) {
            Timeliness::Current => {
                let ttl = record.record().ttl_at(now.unix).min(Ttl(ttl_secs));
                Ok(Lookup::Found { record, ttl })
            }
            Timeliness::Expired => {
                if standing(self.expired.as_ref(), record.rank()) == Standing::Above {
                    self.expired = Some(*record.rank());
                }
                Err(LookupError::Expired)
            }
            Timeliness::Future(secs) => Err(invalid(format!(
                "it was signed {secs} s in the future: either the publisher's clock is wrong or the one of this machine"
            ))),
        }
    }

    fn give_up(&mut self) {
        let error = self.error.take().unwrap_or_else(|| {
            let asked = self.attempts.len();
            LookupError::Unreachable(if asked == 0 {
                "there is none to ask".to_owned()
            } else {
                format!("no answer to {asked} questions in time")
            })
        });
        self.done = Some(match (self.absence, error) {
            (_, error @ (LookupError::RolledBack | LookupError::Expired)) => Err(error),
            (Some(ttl), _) => Ok(Lookup::Absent { ttl }),
            (None, error) => Err(error),
        });
    }
}

/// How long a lookup may take, and how long an absence is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// In all.
    pub deadline: Duration,
    /// At most.
    pub negative_ttl_max: Duration,
}

/// Which of several errors says most: what is known about the name before what is known about the providers.
fn weight(error: &LookupError) -> u8 {
    match error {
        LookupError::Busy => 0,
        LookupError::Unreachable(_) => 1,
        LookupError::Unavailable(_) => 2,
        LookupError::Invalid(_) => 3,
        LookupError::Expired => 4,
        LookupError::RolledBack => 5,
    }
}

#[cfg(test)]
mod tests;
