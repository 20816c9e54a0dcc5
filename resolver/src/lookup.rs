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
use crate::source::{Lookup, LookupError};
use bytes::Bytes;
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Name, Rank, SignedRecord, Ttl, UnixSecs};
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
    name: Name,
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
    /// A lookup of `name`, asking `order` of `providers`. Nothing below `floor` is believed.
    pub fn new(name: Name, floor: Option<Rank>, providers: &[Health], order: &[usize], now: Moment, limits: &Patience) -> Self {
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
            name,
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
        let record = signed.verify_for(&self.name).map_err(|error| invalid(error.to_string()))?;
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
mod tests {
    use super::*;
    use crate::fixture::{NOW, moment, record, record_with};
    use crate::settings::PATIENCE_UNKNOWN;
    use dialtone_shared::VerifiedRecord;

    const LIMITS: Patience = Patience {
        deadline: Duration::from_secs(5),
        negative_ttl_max: Duration::from_secs(10),
    };

    /// A conversation: what the machine wants, as short text, while time is told to it.
    struct Talk {
        machine: Machine,
        now: Moment,
    }

    fn talk(providers: usize, name: &Name, floor: Option<&VerifiedRecord>) -> Talk {
        let now = moment();
        let order: Vec<usize> = (0..providers).collect();
        let health = vec![Health::default(); providers];
        Talk {
            machine: Machine::new(*name, floor.map(|record| *record.rank()), &health, &order, now, &LIMITS),
            now,
        }
    }

    impl Talk {
        fn steps(&mut self) -> String {
            let mut said = Vec::new();
            loop {
                match self.machine.poll(self.now) {
                    Step::Ask { attempt, provider, over } => said.push(format!("{attempt}: ask {provider} over {over:?}")),
                    Step::WaitUntil(then) => {
                        said.push(format!("wait {} ms", (then - self.now.instant).as_millis()));
                        return said.join("; ");
                    }
                    Step::Done(done) => {
                        said.push(match done {
                            Ok(Lookup::Found { record, ttl }) => format!("found {} for {} s", record.rank().sequence.0, ttl.0),
                            Ok(Lookup::Absent { ttl }) => format!("absent for {} s", ttl.0),
                            Err(error) => error.to_string(),
                        });
                        return said.join("; ");
                    }
                }
            }
        }

        fn wait(&mut self, time: Duration) -> String {
            self.now = self.now.after(time);
            self.steps()
        }

        fn reply(&mut self, attempt: usize, reply: Reply) -> String {
            self.machine.handle(self.now, Event::Replied { attempt, reply });
            self.steps()
        }

        fn fail(&mut self, attempt: usize) -> String {
            self.machine.handle(
                self.now,
                Event::Failed {
                    attempt,
                    reason: "refused".to_owned(),
                },
            );
            self.steps()
        }
    }

    fn answer(record: &VerifiedRecord) -> Reply {
        Reply::Record {
            envelope: record.bytes().clone(),
            ttl_secs: 60,
        }
    }

    #[test]
    fn one_question_one_answer() {
        let record = record(1, 10);
        let mut talk = talk(2, record.name(), None);
        assert_eq!(talk.steps(), "0: ask 0 over Udp; wait 250 ms");
        assert_eq!(
            talk.reply(0, answer(&record)),
            format!("found {} for 60 s", record.rank().sequence.0)
        );
        assert_eq!(
            talk.machine.verdicts(talk.now).collect::<Vec<_>>(),
            [(0, Verdict::Answered(Duration::ZERO))]
        );
    }

    #[test]
    fn a_slow_provider_is_doubled_by_the_next_and_the_first_answer_wins() {
        let record = record(1, 10);
        let mut talk = talk(2, record.name(), None);
        talk.steps();
        assert_eq!(talk.wait(PATIENCE_UNKNOWN), "1: ask 1 over Udp; wait 250 ms");
        assert!(talk.reply(0, answer(&record)).starts_with("found"), "the first may still answer");
        assert_eq!(
            talk.machine.verdicts(talk.now).collect::<Vec<_>>(),
            [(0, Verdict::Answered(PATIENCE_UNKNOWN))],
            "nothing is held against one that had no time to answer"
        );
    }

    #[test]
    fn silence_is_asked_again_more_and_more_patiently_then_over_tcp_until_the_deadline() {
        let record = record(1, 10);
        let mut talk = talk(1, record.name(), None);
        assert_eq!(talk.steps(), "0: ask 0 over Udp; wait 250 ms");
        assert_eq!(talk.wait(Duration::from_millis(250)), "1: ask 0 over Udp; wait 500 ms");
        assert_eq!(talk.wait(Duration::from_millis(500)), "2: ask 0 over Tcp; wait 1000 ms");
        assert_eq!(talk.wait(Duration::from_millis(1000)), "3: ask 0 over Tcp; wait 2000 ms");
        assert_eq!(talk.wait(Duration::from_millis(2000)), "4: ask 0 over Tcp; wait 1250 ms");
        assert_eq!(
            talk.wait(Duration::from_millis(1250)),
            "no provider answered: no answer to 5 questions in time"
        );
        assert_eq!(talk.machine.verdicts(talk.now).collect::<Vec<_>>(), [(0, Verdict::Failed)]);
    }

    #[test]
    fn a_provider_that_turns_out_to_be_gone_is_not_waited_for() {
        let record = record(1, 10);
        let mut gone = talk(1, record.name(), None);
        gone.steps();
        gone.wait(Duration::from_millis(250));
        assert_eq!(
            gone.fail(1),
            "no provider answered: refused",
            "though the first question was never refused"
        );
        let mut no_tcp = talk(1, record.name(), None);
        no_tcp.steps();
        no_tcp.wait(Duration::from_millis(250));
        no_tcp.wait(Duration::from_millis(500));
        assert_eq!(no_tcp.fail(2), "wait 4250 ms", "the datagrams may still be answered");
        assert!(no_tcp.reply(0, answer(&record)).starts_with("found"));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_asked_for_over_tcp() {
        let record = record(1, 10);
        let mut talk = talk(2, record.name(), None);
        talk.steps();
        assert_eq!(talk.reply(0, Reply::Truncated), "1: ask 0 over Tcp; wait 500 ms");
        assert!(talk.reply(1, answer(&record)).starts_with("found"));
    }

    #[test]
    fn whatever_is_wrong_with_an_answer_the_next_provider_is_asked_at_once() {
        let (old, good, newer) = (record(1, 10), record(1, 20), record(1, 30));
        let mut forged = good.bytes().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let expired = record_with(1, 25, |body| body.expiry = UnixSecs(NOW.0 - 1));
        let future = record_with(1, (3_600 + 660) * 1_000_000, |_| ());
        let wrong = |envelope: Bytes| Reply::Record { envelope, ttl_secs: 60 };
        for (reply, expected) in [
            (answer(&old), "a record older than one already seen was answered (rolled back)"),
            (answer(&expired), "the record expired and none newer is known"),
            (answer(&record(2, 30)), "an invalid record was answered: this is a record of "),
            (
                wrong(forged.into()),
                "an invalid record was answered: the signature is not by the key",
            ),
            (
                wrong(Bytes::from_static(b"junk")),
                "an invalid record was answered: 4 bytes is too short",
            ),
            (answer(&future), "an invalid record was answered: it was signed 660 s in the future"),
            (Reply::No("SERVFAIL".to_owned()), "the provider cannot answer now: SERVFAIL"),
        ] {
            let mut both = talk(2, good.name(), Some(&good));
            both.steps();
            assert!(both.reply(0, reply.clone()).starts_with("1: ask 1 over Udp; wait"), "{expected}");
            assert!(both.reply(1, answer(&newer)).starts_with("found"), "{expected}");
            let verdicts: Vec<_> = both.machine.verdicts(both.now).collect();
            assert_eq!(verdicts[0], (0, Verdict::Failed), "{expected}");
            let mut alone = talk(1, good.name(), Some(&good));
            alone.steps();
            let said = alone.reply(0, reply);
            assert!(said.starts_with(expected), "{said:?} does not start with {expected:?}");
        }
    }

    #[test]
    fn the_most_telling_error_is_told() {
        let (old, good) = (record(1, 10), record(1, 20));
        let mut talk = talk(3, good.name(), Some(&good));
        talk.steps();
        talk.reply(0, answer(&old));
        talk.reply(1, Reply::No("SERVFAIL".to_owned()));
        assert_eq!(talk.fail(2), LookupError::RolledBack.to_string());
    }

    #[test]
    fn absence_is_believed_for_seconds_at_most() {
        let name = *record(1, 10).name();
        for (told, believed) in [(3, 3), (3_600, 10)] {
            let mut talk = talk(2, &name, None);
            talk.steps();
            assert_eq!(talk.reply(0, Reply::Absent { ttl_secs: told }), format!("absent for {believed} s"));
        }
    }

    #[test]
    fn absence_of_a_name_that_was_seen_before_is_believed_when_nobody_knows_better() {
        let good = record(1, 20);
        let mut first = talk(2, good.name(), Some(&good));
        first.steps();
        assert_eq!(first.reply(0, Reply::Absent { ttl_secs: 5 }), "1: ask 1 over Udp; wait 250 ms");
        assert!(first.reply(1, answer(&good)).starts_with("found"));
        let mut second = talk(2, good.name(), Some(&good));
        second.steps();
        second.reply(0, Reply::Absent { ttl_secs: 5 });
        assert_eq!(second.fail(1), "absent for 5 s");
    }

    #[test]
    fn an_expired_record_is_not_overruled_by_absence_and_raises_the_floor() {
        let expired = record_with(1, 25, |body| body.expiry = UnixSecs(NOW.0 - 1));
        let mut talk = talk(2, expired.name(), None);
        talk.steps();
        talk.reply(0, answer(&expired));
        assert_eq!(talk.reply(1, Reply::Absent { ttl_secs: 5 }), LookupError::Expired.to_string());
        assert_eq!(talk.machine.expired(), Some(expired.rank()));
    }

    #[test]
    fn what_comes_twice_or_unasked_changes_nothing() {
        let good = record(1, 20);
        let mut talk = talk(1, good.name(), None);
        talk.steps();
        talk.machine.handle(
            talk.now,
            Event::Replied {
                attempt: 7,
                reply: Reply::Absent { ttl_secs: 1 },
            },
        );
        assert_eq!(talk.steps(), "wait 250 ms");
        assert_eq!(talk.fail(0), "no provider answered: refused");
        assert_eq!(talk.reply(0, answer(&good)), "no provider answered: refused");
    }

    #[test]
    fn with_nobody_to_ask_it_says_so() {
        assert_eq!(
            talk(0, record(1, 1).name(), None).steps(),
            "no provider answered: there is none to ask"
        );
    }
}
