//! What a lookup promises, as conversations: what the machine wants, while time and answers are told to it.

use super::*;
use crate::fixture::{NOW, moment, record, record_with};
use crate::settings::PATIENCE_UNKNOWN;
use dialtone_shared::{Name, VerifiedRecord};

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
fn the_record_of_another_key_than_the_tag_is_of_is_not_believed() {
    let (one, other) = (record(1, 10), record(2, 10));
    let hit = Hit::of(&one.record().key().unwrap());
    let health = vec![Health::default(); 2];
    let now = moment();
    let machine = Machine::new(Sought::Hit(hit), None, &health, &[0, 1], now, &LIMITS);
    let mut talk = Talk { machine, now };
    talk.steps();
    assert!(talk.reply(0, answer(&other)).starts_with("1: ask 1"), "the first one lies");
    assert!(talk.reply(1, answer(&one)).starts_with("found"));
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
