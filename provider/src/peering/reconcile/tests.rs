//! What a comparison promises, between two sets in memory; every question and answer goes through its bytes.

use super::cells::Range;
use super::initiator::{Event, Failure, Found, Initiator, Step};
use super::key::{Item, is_news};
use super::limits::{QUESTIONS_MAX, READS_FREE, READS_PER_NAME};
use super::responder::Responder;
use dialtone_shared::message::reconcile::{Answer, Claim, Claims, Differs, Probe, Question, Refusal, Verdict};
use dialtone_shared::{Name, Rank, Scheme, UnixMicros, UnixSecs};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

type Set = BTreeMap<Name, Item>;

/// What a comparison cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cost {
    bytes: usize,
    questions: usize,
    read: [usize; 2],
}

fn item(name: Name, sequence: u64) -> Item {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&sequence.to_be_bytes());
    Item {
        name,
        rank: Rank {
            epoch: 0,
            revoked: false,
            sequence: UnixMicros(1_800_000_000_000_000 + sequence),
            digest,
        },
        keep_day: 20_833,
        class: 0,
    }
}

fn within(range: &Range, name: &Name) -> bool {
    let bits = u64::from_be_bytes(name.digest()[..8].try_into().unwrap());
    (range.from..=range.to).contains(&bits)
}

fn read<'s>(set: &'s Set, ranges: &[Range]) -> Vec<&'s Item> {
    let inside = |item: &&Item| ranges.iter().any(|range| within(range, &item.name));
    set.values().filter(inside).collect()
}

/// What the responder would answer if it were one.
fn answer(responder: &mut Responder, set: &Set, question: &Question, cost: &mut Cost) -> Result<Answer, Refusal> {
    let ranges = responder.begin(question)?;
    let items = read(set, &ranges);
    cost.read[1] += items.len();
    if !responder.may_read(items.len() as u64) {
        return Err(Refusal::Bounds);
    }
    items.into_iter().for_each(|item| responder.take(item));
    responder.answer()
}

/// Compares, and says what each side would send. `twist` may turn answers into others.
fn compare(a: &Set, b: &Set, seed: u64, mut twist: impl FnMut(&Question, Answer) -> Answer) -> (Result<[Vec<Found>; 2], Failure>, Cost) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut initiator = Initiator::new(rng.random(), a.len() as u64, UnixSecs(0));
    let mut responder = None;
    let mut cost = Cost::default();
    loop {
        match initiator.poll().expect("something to do") {
            step @ (Step::ReadAll | Step::Read(_)) => {
                let items = match step {
                    Step::Read(ranges) => read(a, &ranges),
                    _ => a.values().collect(),
                };
                cost.read[0] += items.len();
                if initiator.may_read(items.len() as u64) {
                    items.into_iter().for_each(|item| initiator.take(item));
                    initiator.handle(Event::Read);
                }
            }
            Step::Ask(question) => {
                let bytes = question.encode();
                cost.bytes += bytes.len();
                cost.questions += 1;
                let question = Question::decode(&bytes).expect("a question");
                let answer = match (&question, &mut responder) {
                    (Question::Open(open), _) => {
                        let (mut opened, answer) = Responder::open(open, b.len() as u64, rng.random());
                        b.values().for_each(|item| opened.take(item));
                        cost.read[1] += b.len();
                        assert!(opened.may_read(b.len() as u64));
                        opened.surveyed();
                        responder = Some(opened);
                        answer
                    }
                    (_, Some(responder)) => answer(responder, b, &question, &mut cost).unwrap_or_else(Answer::Refused),
                    (_, None) => panic!("nothing is open"),
                };
                let bytes = twist(&question, answer).encode();
                cost.bytes += bytes.len();
                // What cannot be read ends it where it arrives.
                let Ok(answer) = Answer::decode(&bytes) else {
                    return (Err(Failure::Answer), cost);
                };
                initiator.handle(Event::Answered(answer));
            }
            Step::Close(close) => {
                cost.bytes += Question::Close(close).encode().len() + Answer::Closed(0).encode().len();
                let both = [initiator.into_found(), responder.expect("it was opened").into_found()];
                return (Ok(both), cost);
            }
            Step::Failed(failure) => return (Err(failure), cost),
        }
    }
}

fn honest(_: &Question, answer: Answer) -> Answer {
    answer
}

/// What one side must send.
fn news(from: &Set, to: &Set) -> Vec<Name> {
    let is_news = |item: &&Item| to.get(&item.name).is_none_or(|held| is_news(&item.standing(), &held.standing()));
    from.values().filter(is_news).map(|item| item.name).collect()
}

fn names(found: &[Found]) -> Vec<Name> {
    let mut names: Vec<Name> = found.iter().map(|found| found.name).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_all_found(a: &Set, b: &Set, seed: u64) -> Cost {
    let (found, cost) = compare(a, b, seed, honest);
    let [ours, theirs] = found.expect("a comparison");
    assert_eq!(names(&ours), news(a, b), "what the initiator must send");
    assert_eq!(names(&theirs), news(b, a), "what the responder must send");
    cost
}

/// Two sets of about `n` that differ in `d` names: a quarter only here, a quarter only there, and half with another record.
fn sets(n: u64, d: u64, seed: u64) -> (Set, Set) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut a, mut b) = (Set::new(), Set::new());
    for index in 0..n {
        let name = Name::key_set(rng.random());
        let (ours, theirs) = match (index < d, index % 4) {
            (false, _) => (Some(0), Some(0)),
            (true, 0) => (Some(0), None),
            (true, 1) => (None, Some(0)),
            (true, 2) => (Some(1), Some(0)),
            (true, _) => (Some(0), Some(1)),
        };
        a.extend(ours.map(|sequence| (name, item(name, sequence))));
        b.extend(theirs.map(|sequence| (name, item(name, sequence))));
    }
    (a, b)
}

/// Names from a small space, so that many coincide; some lie so close together that only their last bytes differ.
fn set() -> impl Strategy<Value = Vec<(u16, bool, u64)>> {
    proptest::collection::vec((0..400_u16, any::<bool>(), 0..3_u64), 0..300)
}

fn made(of: &[(u16, bool, u64)]) -> Set {
    let name = |number: u16, close: bool| {
        let mut bytes = [0; 32];
        if !close {
            bytes[..2].copy_from_slice(&number.wrapping_mul(40_503).to_be_bytes());
        }
        bytes[30..].copy_from_slice(&number.to_be_bytes());
        Name::new(
            if number.is_multiple_of(3) {
                Scheme::Content
            } else {
                Scheme::KeySet
            },
            bytes,
        )
    };
    let items = of.iter().map(|(number, close, sequence)| item(name(*number, *close), *sequence));
    items.map(|item| (item.name, item)).collect()
}

proptest! {
    #[test]
    fn between_any_two_sets_exactly_what_the_other_lacks_is_found(a in set(), b in set(), seed in any::<u64>()) {
        assert_all_found(&made(&a), &made(&b), seed);
    }

    #[test]
    fn no_answer_whatever_makes_the_initiator_panic_or_go_on_for_ever(a in set(), seed in any::<u64>(), lies in any::<u64>()) {
        let mut rng = StdRng::seed_from_u64(lies);
        let (a, b) = (made(&a), made(&[(1, false, 1), (2, true, 0)]));
        let (_, cost) = compare(&a, &b, seed, |question, answer| lie(&mut rng, question, answer));
        prop_assert!(cost.questions <= QUESTIONS_MAX as usize);
        prop_assert!(cost.read[0] as u64 <= a.len() as u64 * (READS_PER_NAME + 1) + READS_FREE);
    }
}

/// Something else that a responder might say.
fn lie(rng: &mut StdRng, question: &Question, answer: Answer) -> Answer {
    let cells = match question {
        Question::Probe(probe) => probe.prints.len(),
        _ => rng.random_range(0..40),
    };
    match rng.random_range(0..6) {
        0 => Answer::Differs(Differs {
            bits: vec![0xff; cells.div_ceil(8)],
            sums: None,
        }),
        1 | 2 => {
            let mut sum = [0; 16];
            sum[8..].copy_from_slice(&rng.random_range(0..1_u64 << 61).to_be_bytes());
            sum[..8].copy_from_slice(&rng.random_range(0..1_u64 << 61).to_be_bytes());
            Answer::Differs(Differs {
                bits: vec![0xff; cells.div_ceil(8)],
                sums: Some(vec![sum; cells]),
            })
        }
        3 => match question {
            Question::Claims(claims) => Answer::Verdicts(vec![Verdict::Absent; claims.claims.len()]),
            _ => answer,
        },
        4 if rng.random_bool(0.1) => Answer::Verdicts(vec![Verdict::Wants; cells]),
        _ => answer,
    }
}

#[test]
fn equal_stores_cost_a_few_hundred_bytes_however_large() {
    for n in [0, 1, 1_000, 30_000] {
        let (a, b) = sets(n, 0, n);
        let cost = assert_all_found(&a, &b, 1);
        assert!(cost.bytes <= 300, "{n} names: {} bytes", cost.bytes);
        assert_eq!(cost.read, [n as usize; 2], "read once each");
    }
}

#[test]
fn bytes_grow_with_the_differences_and_not_with_the_names() {
    for (n, d) in [(1_000, 1), (1_000, 100), (30_000, 1), (30_000, 10), (30_000, 100), (30_000, 3_000)] {
        for seed in 0..3 {
            let (a, b) = sets(n, d, seed);
            let cost = assert_all_found(&a, &b, seed);
            assert!(cost.bytes as u64 <= 400 + 90 * d, "{n} names, {d} differ: {cost:?}");
            assert!(
                cost.read.iter().all(|read| *read as u64 <= 4 * n),
                "{n} names, {d} differ: {cost:?}"
            );
        }
    }
}

#[test]
fn a_side_that_lacks_thousands_gets_exactly_those() {
    let (a, _) = sets(9_000, 0, 5);
    let b: Set = a
        .iter()
        .filter(|(name, _)| name.digest()[0] & 3 == 0)
        .map(|(name, item)| (*name, *item))
        .collect();
    let cost = assert_all_found(&a, &b, 5);
    let missing = a.len() - b.len();
    assert!(cost.bytes <= 400 + 72 * missing, "{missing} are missing: {cost:?}");
    assert_all_found(&b, &a, 6);
}

#[test]
fn names_chosen_to_lie_in_one_bucket_cost_no_more_bytes_than_others() {
    let close = |index: u64, sequence| {
        let mut bytes = [0xaa; 32];
        bytes[24..].copy_from_slice(&index.to_be_bytes());
        let name = Name::key_set(bytes);
        (name, item(name, sequence))
    };
    let (mut a, mut b) = sets(10_000, 0, 3);
    a.extend((0..1_000).map(|index| close(index, 0)));
    b.extend((500..1_000).map(|index| close(index, u64::from(index % 2 == 0))));
    let cost = assert_all_found(&a, &b, 3);
    assert!(cost.bytes <= 400 + 90 * 750, "{cost:?}");
}

#[test]
fn a_longer_promise_is_a_difference_and_only_who_has_it_sends() {
    let (a, mut b) = sets(1_000, 0, 4);
    let name = *b.keys().nth(500).unwrap();
    b.get_mut(&name).unwrap().keep_day += 1;
    let (found, _) = compare(&a, &b, 4, honest);
    let [ours, theirs] = found.unwrap();
    assert_eq!((names(&ours), names(&theirs)), (vec![], vec![name]));
}

#[test]
fn where_only_bytes_can_decide_both_sides_send() {
    let (a, mut b) = sets(1_000, 0, 4);
    let name = *b.keys().nth(500).unwrap();
    b.get_mut(&name).unwrap().rank.digest = [1; 32];
    let (found, _) = compare(&a, &b, 4, honest);
    assert_eq!(found.unwrap().map(|found| names(&found)), [vec![name], vec![name]]);
}

#[test]
fn stores_that_differ_in_too_much_are_not_compared_for_long() {
    let (a, b) = (sets(70_000, 0, 1).0, sets(100, 0, 2).0);
    let (found, cost) = compare(&a, &b, 1, honest);
    assert_eq!(found, Err(Failure::TooDifferent));
    assert!(cost.bytes < 200 && cost.read[0] == 0, "{cost:?}");
}

#[test]
fn an_initiator_that_asks_for_ever_is_cut() {
    let (a, _) = sets(20_000, 0, 1);
    let open = match Initiator::new([1; 16], 20_000, UnixSecs(0)).poll() {
        Some(Step::Ask(Question::Open(open))) => open,
        other => panic!("{other:?}"),
    };
    let opened = || {
        let mut responder = Responder::open(&open, 20_000, [2; 16]).0;
        a.values().for_each(|item| responder.take(item));
        assert!(responder.may_read(20_000));
        responder.surveyed();
        responder
    };
    let session = opened().session();
    let everything = Question::Claims(Claims {
        session,
        depth: 10,
        claims: (0..1_024).map(|cell| Claim { cell, tag: 1, mine: None }).collect(),
    });
    let (mut responder, mut cost) = (opened(), Cost::default());
    let rounds = (0..)
        .take_while(|_| answer(&mut responder, &a, &everything, &mut cost).is_ok())
        .count();
    assert!(
        rounds as u64 <= READS_PER_NAME + READS_FREE / 20_000,
        "{rounds} times the whole store"
    );
    let nothing = Question::Probe(Probe {
        session,
        depth: 0,
        fan: 4,
        parents: vec![0],
        prints: vec![[0; 6]; 16],
    });
    let (mut responder, mut cost) = (opened(), Cost::default());
    let rounds = (0..)
        .take_while(|_| answer(&mut responder, &a, &nothing, &mut cost).is_ok())
        .count();
    assert_eq!(rounds as u32, QUESTIONS_MAX);
    for (question, refusal) in [
        (
            Question::Probe(Probe {
                session: session ^ 1,
                ..probe(0, vec![0])
            }),
            Refusal::Unknown,
        ),
        (
            Question::Probe(Probe {
                session,
                ..probe(4, vec![16])
            }),
            Refusal::Bounds,
        ),
        (Question::Open(open), Refusal::Unknown),
    ] {
        assert_eq!(opened().begin(&question), Err(refusal), "{question:?}");
    }
}

fn probe(depth: u8, parents: Vec<u64>) -> Probe {
    Probe {
        session: 0,
        depth,
        fan: 1,
        prints: vec![[0; 6]; parents.len() * 2],
        parents,
    }
}

/// `RECONCILE_TABLE=1000,100000 cargo test --release -p dialtone-provider --lib reconcile::tests::table -- --nocapture`.
#[test]
fn table() {
    let sizes = std::env::var("RECONCILE_TABLE").unwrap_or_else(|_| "1000".to_owned());
    for n in sizes.split(',').map(|n| n.parse::<u64>().unwrap()) {
        for d in [0, 1, 2, 10, 100, 1_000, 10_000].into_iter().filter(|d| *d <= n / 2) {
            let (a, b) = sets(n, d, n + d);
            let cost = assert_all_found(&a, &b, d);
            let per = cost.bytes as u64 / d.max(1);
            println!("n={n} d={d} bytes={} per difference={per} {cost:?}", cost.bytes);
        }
    }
}
