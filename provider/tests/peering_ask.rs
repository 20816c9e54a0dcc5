//! What is promised of asking peers for a name: one question, who may join it, what an answer is worth, and what is remembered.

use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::ask::desk::{Desk, Local, Look, Reply, Wish};
use dialtone_provider::peering::ask::judge::judge;
use dialtone_provider::peering::ask::limits::{
    BUDGET, FETCHES_MAX, GATHER_MAX, HOPS_MAX, NEGATIVE_TTL, QUESTIONS_OF_A_NAME_MAX, UNSURE_TTL_SECS,
};
use dialtone_provider::peering::ask::question::{Ask, Event, Found, Outcome, Question, Said, Step};
use dialtone_provider::peering::ask::registry::Registry;
use dialtone_provider::peering::ask::whom::{Behalf, Candidate, Hint, Plan, View};
use dialtone_provider::peering::step::Moment;
use dialtone_provider::store::{Class, Held, Pointer};
use dialtone_shared::hip::Hit;
use dialtone_shared::message::{Answer, Mode, Query, Reach, Relationship, Value, mark};
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord};
use std::time::Duration;

const WALL: UnixSecs = UnixSecs(1_800_000_000);
const OWN: u8 = 100;

fn peer(index: u8) -> Name {
    Name::key_set([index; 32])
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A record of the one name that everybody asks for here, signed `age` seconds ago.
fn record(age: u64) -> VerifiedRecord {
    scoped(age, Vec::new())
}

fn scoped(age: u64, scope: Vec<Name>) -> VerifiedRecord {
    let secret = SecretKey::from_seed(&[1; 32]);
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence: UnixSecs(WALL.0 - age).micros(),
        scope,
        body: Body::Live {
            expiry: WALL.plus(86_400),
            ttl: Ttl(60),
            bindings: Vec::new(),
        },
    };
    SignedRecord::sign(record, &secret).expect("a record").verify().expect("genuine")
}

fn name() -> Name {
    *record(0).name()
}

fn found(record: &VerifiedRecord) -> Said {
    Said::Found(Box::new(Found {
        record: record.clone(),
        class: Class::Peer,
        keep_until: WALL.plus(86_400),
        fresh: Ttl(60),
    }))
}

fn candidate(index: u8, hint: Hint, usual: u64) -> Candidate {
    Candidate {
        peer: peer(index),
        hint,
        usual: millis(usual),
        reach: Some(Reach::whole()),
        selective: false,
        filtered: false,
    }
}

fn plan(directed: Vec<Candidate>, rest: Vec<Candidate>) -> Plan {
    Plan {
        directed,
        rest,
        ..Plan::default()
    }
}

fn ask() -> Ask {
    Ask {
        name: name(),
        tag: None,
        hops: HOPS_MAX,
        budget: BUDGET,
        visited: Vec::new(),
        known: None,
        ttl: Ttl(0),
        floor: None,
    }
}

fn pointer(record: &VerifiedRecord, keeper: u8) -> Pointer {
    let rank = record.rank();
    Pointer {
        epoch: rank.epoch,
        sequence: rank.sequence,
        digest: *rank.digest.first_chunk().expect("32 bytes"),
        class: Class::Peer,
        keeper: peer(keeper),
        from: peer(keeper),
        name: *record.name(),
        expiry: WALL.plus(86_400),
        keep_until: WALL.plus(86_400),
        joined: false,
        tag: None,
    }
}

/// A question under way, and what it says next.
struct Talk {
    question: Question,
    now: Duration,
    queries: Vec<(u8, Query)>,
    dropped: bool,
}

impl Talk {
    fn new(ask: Ask, pointer: Option<Pointer>, plan: Plan) -> Self {
        Self {
            question: Question::new(Duration::ZERO, &peer(OWN), ask, pointer, plan),
            now: Duration::ZERO,
            queries: Vec::new(),
            dropped: false,
        }
    }

    /// Whom it asks now.
    fn asks(&mut self) -> Vec<u8> {
        let mut asks = Vec::new();
        loop {
            match self.question.poll(self.now) {
                Step::Ask { peer, query, .. } => {
                    let index = peer.digest()[0];
                    self.queries.push((index, query));
                    asks.push(index);
                }
                Step::DropPointer(_) => self.dropped = true,
                Step::Wait(_) | Step::Done(_) => return asks,
            }
        }
    }

    fn answer(&mut self, index: u8, said: Said) -> Vec<u8> {
        self.question.handle(self.now, Event::Answered(peer(index), said));
        self.asks()
    }

    fn wait(&mut self, time: u64) -> Vec<u8> {
        self.now += millis(time);
        self.question.handle(self.now, Event::Tick);
        self.asks()
    }

    /// When it wants to be asked again.
    fn due(&mut self) -> Duration {
        match self.question.poll(self.now) {
            Step::Wait(due) => due,
            other => panic!("it does not wait: {other:?}"),
        }
    }

    fn outcome(&mut self) -> Option<Outcome> {
        match self.question.poll(self.now) {
            Step::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn found(&mut self) -> Option<VerifiedRecord> {
        match self.outcome()? {
            Outcome::Found(found) => Some(found.record),
            other => panic!("nothing was found: {other:?}"),
        }
    }
}

const NO: Said = Said::Absent { certain: true };

mod one_question {
    use super::*;

    #[test]
    fn those_to_whom_something_sends_us_are_asked_one_after_the_other_and_the_others_at_once() {
        let digests = vec![candidate(1, Hint::Digest, 10), candidate(2, Hint::Digest, 10)];
        let mut talk = Talk::new(
            ask(),
            None,
            plan(digests, vec![candidate(3, Hint::None, 10), candidate(4, Hint::None, 10)]),
        );
        assert_eq!(talk.asks(), [1]);
        assert_eq!(talk.due(), millis(10));
        assert_eq!(talk.answer(1, NO), [2]);
        assert_eq!(talk.answer(2, NO), [3, 4]);
        assert_eq!(talk.outcome(), None);
        talk.answer(3, NO);
        talk.answer(4, NO);
        assert_eq!(talk.outcome(), Some(Outcome::Absent));
    }

    #[test]
    fn the_next_is_asked_when_the_first_is_slower_than_its_usual_and_whoever_is_first_counts() {
        let digests = vec![candidate(1, Hint::Digest, 10), candidate(2, Hint::Digest, 30)];
        let mut talk = Talk::new(ask(), None, plan(digests, vec![]));
        talk.asks();
        assert_eq!(talk.wait(9), [0; 0]);
        assert_eq!(talk.wait(1), [2]);
        talk.wait(5);
        talk.answer(1, found(&record(5)));
        assert_eq!(talk.found(), Some(record(5)), "nobody waits for the second");
    }

    #[test]
    fn of_those_asked_at_once_the_newest_record_wins_if_it_comes_within_the_usual() {
        let rest = || {
            vec![
                candidate(1, Hint::None, 20),
                candidate(2, Hint::None, 50),
                candidate(3, Hint::None, 5_000),
            ]
        };
        let mut talk = Talk::new(ask(), None, plan(vec![], rest()));
        assert_eq!(talk.asks(), [1, 2, 3]);
        talk.now = millis(10);
        talk.answer(1, found(&record(50)));
        assert_eq!(talk.outcome(), None);
        talk.now = millis(40);
        talk.answer(2, found(&record(5)));
        assert_eq!(talk.outcome(), None, "the third may have a newer one");
        assert_eq!(talk.due(), millis(10) + GATHER_MAX, "but who is always slow is not waited for");
        talk.now = talk.due();
        assert_eq!(talk.found(), Some(record(5)));

        let mut talk = Talk::new(ask(), None, plan(vec![], rest()));
        talk.asks();
        talk.answer(1, NO);
        talk.answer(2, NO);
        talk.answer(3, found(&record(7)));
        assert_eq!(talk.found(), Some(record(7)), "all have answered");
    }

    /// How long what was found may be taken for the newest, after these were asked at once and said so.
    fn fresh(rest: Vec<Candidate>, said: Vec<(u8, Said)>) -> u32 {
        let mut talk = Talk::new(ask(), None, plan(vec![], rest));
        talk.asks();
        for (index, said) in said {
            talk.answer(index, said);
        }
        talk.wait(100);
        match talk.outcome() {
            Some(Outcome::Found(found)) => found.fresh.0,
            other => panic!("nothing was found: {other:?}"),
        }
    }

    #[test]
    fn what_is_found_is_no_surer_than_the_least_sure_who_was_asked() {
        let rest = || vec![candidate(1, Hint::None, 20), candidate(2, Hint::None, 20)];
        let unsure = |record| match found(record) {
            Said::Found(found) => Said::Found(Box::new(Found { fresh: Ttl(4), ..*found })),
            other => other,
        };
        let (new, old) = (record(5), record(50));
        assert_eq!(fresh(rest(), vec![(1, found(&new)), (2, NO)]), 60);
        assert_eq!(fresh(rest(), vec![(1, found(&new)), (2, found(&old))]), 60);
        assert_eq!(
            fresh(rest(), vec![(1, found(&new)), (2, unsure(&old))]),
            4,
            "behind the second there may be a newer one"
        );
        assert_eq!(
            fresh(rest(), vec![(1, found(&new))]),
            UNSURE_TTL_SECS,
            "the second may have a newer one"
        );
        let unheard = Said::Nothing("away".to_owned());
        assert_eq!(fresh(rest(), vec![(1, unheard), (2, found(&new))]), UNSURE_TTL_SECS);
    }

    #[test]
    fn where_others_were_not_asked_since_one_was_said_to_have_it_it_is_asked_about_again_soon() {
        let digests = vec![candidate(1, Hint::Digest, 10)];
        let mut talk = Talk::new(ask(), None, plan(digests, vec![candidate(3, Hint::None, 10)]));
        assert_eq!(talk.asks(), [1]);
        talk.answer(1, found(&record(5)));
        assert!(matches!(talk.outcome(), Some(Outcome::Found(found)) if found.fresh.0 == UNSURE_TTL_SECS));
    }

    #[test]
    fn nobody_has_it_only_if_all_who_must_be_asked_say_so() {
        for said in [
            Said::Nothing("busy".to_owned()),
            Said::Wrong("junk".to_owned()),
            Said::NotNewer { fresh: Ttl(9) },
        ] {
            let mut talk = Talk::new(
                ask(),
                None,
                plan(vec![candidate(1, Hint::Digest, 9)], vec![candidate(2, Hint::None, 9)]),
            );
            talk.asks();
            talk.answer(1, said.clone());
            talk.answer(2, NO);
            assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))), "{said:?}");
        }
        let mut talk = Talk::new(ask(), None, plan(vec![], vec![candidate(1, Hint::None, 9)]));
        talk.asks();
        talk.answer(1, Said::Absent { certain: false });
        assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))));
        let doubted = Plan {
            doubt: Some("one is away".to_owned()),
            ..plan(vec![], vec![candidate(2, Hint::None, 9)])
        };
        let mut talk = Talk::new(ask(), None, doubted);
        talk.asks();
        talk.answer(2, NO);
        assert_eq!(talk.outcome(), Some(Outcome::Unknown("one is away".to_owned())));
    }

    #[test]
    fn who_was_said_to_have_it_and_could_not_ask_everyone_is_asked_again_with_the_others() {
        let directed = vec![candidate(1, Hint::Digest, 9)];
        let mut talk = Talk::new(ask(), None, plan(directed, vec![candidate(2, Hint::None, 9)]));
        talk.asks();
        assert_eq!(talk.answer(1, Said::Absent { certain: false }), [2, 1]);
        assert!(talk.queries[2].1.visited.contains(&mark(&peer(2))));
        talk.answer(2, NO);
        talk.answer(1, NO);
        assert_eq!(talk.outcome(), Some(Outcome::Absent));
    }

    #[test]
    fn who_is_slow_and_then_could_not_ask_everyone_is_asked_again_with_enough_to_do_so() {
        let asked = Ask {
            hops: HOPS_MAX - 1,
            budget: 20,
            ..ask()
        };
        let directed = vec![candidate(1, Hint::Digest, 9)];
        let mut talk = Talk::new(asked, None, plan(directed, vec![candidate(2, Hint::None, 9)]));
        assert_eq!(talk.asks(), [1]);
        assert_eq!(talk.wait(10), [2], "the first is slow");
        assert!(talk.answer(1, Said::Absent { certain: false }).is_empty());
        assert_eq!(talk.answer(2, NO), [1]);
        let budgets: Vec<u8> = talk.queries.iter().map(|(_, query)| query.budget).collect();
        assert!(budgets[2] > budgets[0], "as little as before: {budgets:?}");
        assert!(budgets.iter().map(|budget| 1 + budget).sum::<u8>() <= 20, "{budgets:?}");
        talk.answer(1, NO);
        assert_eq!(talk.outcome(), Some(Outcome::Absent));
    }

    #[test]
    fn an_answer_that_never_comes_ends_with_patience_and_leaves_a_doubt() {
        let mut talk = Talk::new(
            ask(),
            None,
            plan(vec![], vec![candidate(1, Hint::None, 9), candidate(2, Hint::None, 9)]),
        );
        talk.asks();
        talk.answer(1, NO);
        let until = talk.due();
        talk.now = until;
        assert!(matches!(talk.outcome(), Some(Outcome::Unknown(why)) if why.contains("in time")));
        // Whoever is asked gives up before.
        let further = Ask {
            hops: HOPS_MAX - 1,
            ..ask()
        };
        let mut talk = Talk::new(further, None, plan(vec![], vec![candidate(1, Hint::None, 9)]));
        talk.asks();
        assert!(talk.due() < until);
    }

    #[test]
    fn whoever_is_asked_is_told_not_to_ask_those_who_are_asked_here_or_are_silent_enough() {
        let plan = Plan {
            silent: vec![77],
            ..plan(
                vec![candidate(1, Hint::Digest, 9)],
                vec![candidate(2, Hint::None, 9), candidate(3, Hint::None, 9)],
            )
        };
        let mut talk = Talk::new(
            Ask {
                visited: vec![55],
                ..ask()
            },
            None,
            plan,
        );
        talk.asks();
        talk.answer(1, NO);
        let marks = |peers: &[u8]| {
            let mut marks: Vec<_> = peers.iter().map(|index| mark(&peer(*index))).chain([55, 77]).collect();
            marks.sort_unstable();
            marks
        };
        assert_eq!(
            talk.queries[0].1.visited,
            marks(&[OWN, 1]),
            "one that may have the newest may ask the others"
        );
        assert_eq!(talk.queries[1].1.visited, marks(&[OWN, 1, 2, 3]));
        assert!(talk.queries.iter().all(|(_, query)| query.hops == HOPS_MAX - 1));
    }

    #[test]
    fn one_budget_pays_for_all_that_is_asked_on_the_way() {
        let reaching = |index: u8, behind: u64| Candidate {
            reach: Some(Reach {
                asks: (0..behind).map(|one| one + 1_000 * u64::from(index)).collect(),
                ..Reach::whole()
            }),
            ..candidate(index, Hint::None, 9)
        };
        for (directed, behind) in [
            (0, vec![0, 0, 0]),
            (0, vec![12, 3, 0]),
            (4, vec![1, 60, 2]),
            (8, vec![0; 20]),
            (0, vec![0; 100]),
        ] {
            let digests = (0..directed).map(|index| candidate(200 + index, Hint::Digest, 9)).collect();
            let rest = behind.iter().zip(1..).map(|(behind, index)| reaching(index, *behind)).collect();
            let mut talk = Talk::new(ask(), None, plan(digests, rest));
            let mut asked = talk.asks();
            while let Some(one) = asked.pop() {
                asked.extend(talk.answer(one, NO));
            }
            let spent: usize = talk.queries.iter().map(|(_, query)| 1 + usize::from(query.budget)).sum();
            // More peers than that are asked in rounds, of one budget each: nobody else can ask them for us.
            let rounds = talk.queries.len().div_ceil(usize::from(BUDGET));
            let rounds = if directed > 0 { 2 } else { rounds };
            assert!(spent <= usize::from(BUDGET) * rounds, "{spent} for {behind:?}");
            if behind == [12, 3, 0] {
                let shares: Vec<_> = talk.queries.iter().map(|(_, query)| query.budget).collect();
                assert!(shares[0] >= 12 && shares[1] >= 3, "as many as lie behind: {shares:?}");
                assert!(shares[2] > 0, "and one for what may be pointed to: {shares:?}");
            }
            assert_eq!(talk.queries.len(), usize::from(directed) + behind.len());
            assert_eq!(talk.outcome(), Some(Outcome::Absent));
        }
    }

    #[test]
    fn of_more_peers_than_one_budget_pays_for_the_last_is_asked_too_and_for_another_provider_absence_is_not_certain() {
        let many = |count: u8| (1..=count).map(|index| candidate(index, Hint::None, 9)).collect::<Vec<_>>();
        let mut talk = Talk::new(ask(), None, plan(Vec::new(), many(100)));
        let mut asked = talk.asks();
        assert_eq!(asked.len(), usize::from(BUDGET));
        let new = record(100);
        while let Some(one) = asked.pop() {
            let said = if one == 100 { found(&new) } else { NO };
            asked.extend(talk.answer(one, said));
        }
        assert_eq!(talk.queries.len(), 100);
        assert!(matches!(talk.outcome(), Some(Outcome::Found(found)) if found.record == new));
        let passed_on = Ask {
            hops: HOPS_MAX - 1,
            ..ask()
        };
        let mut talk = Talk::new(passed_on, None, plan(Vec::new(), many(100)));
        let mut asked = talk.asks();
        while let Some(one) = asked.pop() {
            asked.extend(talk.answer(one, NO));
        }
        assert_eq!(talk.queries.len(), usize::from(BUDGET));
        assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))));
    }

    #[test]
    fn where_no_link_is_left_to_travel_nobody_is_asked_and_nothing_is_certain() {
        for ask in [Ask { hops: 0, ..ask() }, Ask { budget: 0, ..ask() }] {
            let mut talk = Talk::new(ask, None, plan(vec![], vec![candidate(1, Hint::None, 9)]));
            assert_eq!(talk.asks(), [0; 0]);
            assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))));
        }
    }

    #[test]
    fn whether_what_is_known_is_the_newest_all_are_asked_at_once() {
        let known = Ask {
            known: Some(*record(50).rank()),
            ..ask()
        };
        let candidates = || plan(vec![candidate(1, Hint::Digest, 9)], vec![candidate(2, Hint::None, 9)]);
        let mut talk = Talk::new(known.clone(), None, candidates());
        assert_eq!(talk.asks(), [1, 2]);
        assert!(talk.queries.iter().all(|(_, query)| query.known == known.known));
        talk.answer(1, Said::NotNewer { fresh: Ttl(40) });
        talk.answer(2, NO);
        assert_eq!(talk.outcome(), Some(Outcome::NotNewer { fresh: Ttl(40) }));
        let mut talk = Talk::new(known.clone(), None, candidates());
        talk.asks();
        talk.answer(1, Said::NotNewer { fresh: Ttl(40) });
        talk.answer(2, found(&record(5)));
        assert_eq!(talk.found(), Some(record(5)));
        let mut talk = Talk::new(known, None, candidates());
        talk.asks();
        talk.answer(1, Said::NotNewer { fresh: Ttl(40) });
        talk.answer(2, Said::Absent { certain: false });
        assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))), "somebody was not asked");
    }
}

mod pointers {
    use super::*;

    fn talk(record: &VerifiedRecord) -> Talk {
        let directed = vec![candidate(1, Hint::Pointer, 9)];
        Talk::new(ask(), Some(pointer(record, 1)), plan(directed, vec![candidate(2, Hint::None, 9)]))
    }

    #[test]
    fn what_the_keeper_gives_is_taken_if_it_is_what_was_promised_or_newer() {
        for age in [9, 10] {
            let mut talk = talk(&record(10));
            assert_eq!(talk.asks(), [1]);
            assert!(talk.queries[0].1.budget < FETCHES_MAX);
            talk.answer(1, found(&record(age)));
            assert_eq!(talk.found(), Some(record(age)));
            assert!(!talk.dropped);
        }
    }

    #[test]
    fn nobody_is_left_out_on_the_way_to_a_keeper_and_the_way_may_be_long() {
        let silent = Plan {
            silent: vec![77],
            ..plan(vec![candidate(1, Hint::Pointer, 9)], vec![])
        };
        let mut talk = Talk::new(ask(), Some(pointer(&record(10), 7)), silent);
        assert_eq!(talk.asks(), [1]);
        assert!(
            !talk.queries[0].1.visited.contains(&77),
            "who told of it first is forgotten: it may be on the way"
        );
        // Each who is asked leads on with all that it was given but its own ask.
        let mut way = 0;
        let mut budget = talk.queries[0].1.budget;
        while budget > 0 {
            let on = Ask { budget, ..ask() };
            let mut talk = Talk::new(
                on,
                Some(pointer(&record(10), 7)),
                plan(vec![candidate(1, Hint::Pointer, 9)], vec![]),
            );
            assert_eq!(talk.asks(), [1]);
            budget = talk.queries[0].1.budget;
            way += 1;
        }
        assert_eq!(way, FETCHES_MAX - 1);
    }

    #[test]
    fn a_pointer_whose_keeper_cannot_produce_it_is_dropped() {
        for said in [NO, Said::Absent { certain: false }, Said::Wrong("junk".to_owned())] {
            let mut talk = talk(&record(10));
            talk.asks();
            let asks = talk.answer(1, said.clone());
            assert!(asks.contains(&2), "somebody else may have it: {said:?}");
            assert!(talk.dropped, "{said:?}");
        }
        let mut talk = talk(&record(10));
        talk.asks();
        talk.answer(1, found(&record(20)));
        assert_eq!((talk.found(), talk.dropped), (Some(record(20)), true), "it has no newer one");
    }

    #[test]
    fn a_keeper_that_only_confirms_what_whoever_asks_knows_keeps_its_pointer() {
        let (kept, pointed) = (record(50), |known| Ask { known, ..ask() });
        for (known, dropped) in [(Some(*kept.rank()), false), (Some(*record(70).rank()), true)] {
            let pointers = vec![candidate(1, Hint::Pointer, 10)];
            let mut talk = Talk::new(pointed(known), Some(pointer(&kept, 1)), plan(pointers, vec![]));
            assert_eq!(talk.asks(), [1]);
            talk.answer(1, Said::NotNewer { fresh: Ttl(60) });
            assert_eq!(talk.dropped, dropped);
        }
    }

    #[test]
    fn a_question_without_a_budget_is_over_at_once_and_not_when_patience_ends() {
        let ask = Ask { budget: 0, ..ask() };
        let pointers = vec![candidate(1, Hint::Pointer, 10)];
        let mut talk = Talk::new(
            ask,
            Some(pointer(&record(50), 1)),
            plan(pointers, vec![candidate(2, Hint::None, 10)]),
        );
        assert_eq!(talk.asks(), [0; 0]);
        assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))));
    }

    #[test]
    fn a_pointer_stays_when_who_told_of_it_does_not_reach_the_keeper() {
        let told = Pointer {
            keeper: peer(7),
            ..pointer(&record(10), 1)
        };
        for said in [Said::Absent { certain: false }, found(&record(20))] {
            let directed = vec![candidate(1, Hint::Pointer, 9)];
            let mut talk = Talk::new(ask(), Some(told.clone()), plan(directed, vec![]));
            talk.asks();
            talk.answer(1, said);
            assert!(!talk.dropped);
        }
    }

    #[test]
    fn a_keeper_that_is_away_keeps_its_pointer_and_nothing_is_certain() {
        let mut talk = talk(&record(10));
        talk.asks();
        assert_eq!(talk.answer(1, Said::Nothing("away".to_owned())), [2]);
        talk.answer(2, NO);
        assert!(matches!(talk.outcome(), Some(Outcome::Unknown(_))));
        assert!(!talk.dropped);
    }

    #[test]
    fn an_older_record_than_the_pointer_promises_is_better_than_none_but_not_believed_for_long() {
        let mut talk = talk(&record(10));
        talk.asks();
        talk.answer(1, Said::Nothing("away".to_owned()));
        talk.answer(2, found(&record(20)));
        let Some(Outcome::Found(found)) = talk.outcome() else {
            panic!("a record")
        };
        assert_eq!((found.record, found.fresh), (record(20), Ttl(UNSURE_TTL_SECS)));
    }
}

mod one_question_for_all_who_ask_the_same {
    use super::*;

    fn joins(first: (Behalf, Ask), second: (Behalf, Ask)) -> bool {
        let mut registry = Registry::default();
        registry.begin(first.0, &first.1, ()).expect("room");
        registry.join(second.0, &second.1).is_some()
    }

    fn of(visited: &[u64], hops: u8) -> Ask {
        let visited = visited.to_vec();
        Ask { visited, hops, ..ask() }
    }

    const MUTUAL: Behalf = Behalf::Of(Relationship::Mutual);

    #[test]
    fn clients_who_ask_for_a_name_at_the_same_time_share_one() {
        assert!(joins((Behalf::Client, ask()), (Behalf::Client, ask())));
        let other = Ask { name: peer(7), ..ask() };
        assert!(!joins((Behalf::Client, ask()), (Behalf::Client, other)));
    }

    #[test]
    fn whoever_leaves_out_more_may_join_and_not_the_other_way_round() {
        assert!(joins((MUTUAL, of(&[1, 2], 9)), (MUTUAL, of(&[1, 2, 3], 9))));
        assert!(!joins((MUTUAL, of(&[1, 2, 3], 9)), (MUTUAL, of(&[1, 2], 9))));
        assert!(!joins((MUTUAL, of(&[1, 4], 9)), (MUTUAL, of(&[1, 2], 9))));
    }

    #[test]
    fn no_question_waits_for_one_that_travels_as_far_as_itself_on_another_way() {
        assert!(!joins((Behalf::Client, ask()), (Behalf::Client, of(&[1], HOPS_MAX - 1))));
        assert!(!joins((MUTUAL, of(&[1], 9)), (MUTUAL, of(&[1], 8))));
        assert!(!joins((MUTUAL, of(&[1], 8)), (MUTUAL, of(&[1], 9))));
    }

    #[test]
    fn whoever_may_hear_less_or_wants_more_does_not_join() {
        let peer = Behalf::Of(Relationship::Peer);
        assert!(!joins((MUTUAL, of(&[], 9)), (peer, of(&[], 9))));
        let knows = |age: u64| Ask {
            known: Some(*record(age).rank()),
            ..of(&[], 9)
        };
        assert!(joins((MUTUAL, of(&[], 9)), (MUTUAL, knows(9))));
        assert!(joins((MUTUAL, knows(10)), (MUTUAL, knows(9))));
        assert!(!joins((MUTUAL, knows(9)), (MUTUAL, knows(10))));
        assert!(!joins((MUTUAL, knows(9)), (MUTUAL, of(&[], 9))));
        let poor = Ask { budget: 1, ..of(&[], 9) };
        assert!(!joins((MUTUAL, poor.clone()), (MUTUAL, of(&[], 9))));
        assert!(joins((MUTUAL, of(&[], 9)), (MUTUAL, poor)));
    }

    #[test]
    fn there_is_an_end_to_questions_under_way_and_what_is_over_makes_room() {
        let mut registry = Registry::default();
        let tickets: Vec<_> = (0..QUESTIONS_OF_A_NAME_MAX as u64)
            .map(|one| registry.begin(MUTUAL, &of(&[one], 9), ()).expect("room"))
            .collect();
        assert!(registry.begin(MUTUAL, &of(&[99], 9), ()).is_err());
        assert!(registry.begin(MUTUAL, &Ask { name: peer(3), ..ask() }, ()).is_ok(), "another name");
        registry.end(&name(), tickets[0]);
        registry.end(&name(), tickets[0]);
        assert!(registry.begin(MUTUAL, &of(&[99], 9), ()).is_ok());
        assert!(registry.begin(MUTUAL, &of(&[98], 9), ()).is_err());
    }
}

mod what_an_answer_is_worth {
    use super::*;

    fn judged(ask: &Ask, bytes: &[u8]) -> Said {
        let value = Value {
            class: 3,
            keep_until: WALL.plus(9_000),
            record: bytes.to_vec().into(),
            path: Default::default(),
        };
        let answer = Answer::Found { value, fresh: Ttl(20) };
        judge(&peer(OWN), ask, &Agreement::mutual(peer(1), Vec::new()).way(), answer, WALL)
    }

    #[test]
    fn a_genuine_record_is_believed_for_as_long_as_whoever_gave_it_believes_it() {
        let Said::Found(found) = judged(&ask(), record(100).bytes()) else {
            panic!("a record")
        };
        assert_eq!(
            (found.class, found.fresh),
            (Class::Peer, Ttl(20)),
            "what the peer says of the class does not count"
        );
        assert_eq!(found.record, record(100));
    }

    #[test]
    fn what_is_no_record_of_the_name_or_older_than_was_told_counts_against_the_peer() {
        let wrong = |ask: &Ask, bytes: &[u8]| matches!(judged(ask, bytes), Said::Wrong(_));
        let record = record(100);
        assert!(wrong(&ask(), b"junk"));
        let mut forged = record.bytes().to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(wrong(&ask(), &forged));
        assert!(wrong(&Ask { name: peer(1), ..ask() }, record.bytes()), "another name's");
        // By a tag, whatever name it is of, if its key has it.
        let tag = Hit::of(&SecretKey::from_seed(&[1; 32]).public());
        let of = |tag: Hit| Ask {
            name: tag.place(),
            tag: Some(tag),
            ..ask()
        };
        assert!(!wrong(&of(tag), record.bytes()));
        assert!(wrong(&of(Hit::from_hash([1; 12])), record.bytes()), "another key's");
        let known = |rank: &VerifiedRecord| Ask {
            known: Some(*rank.rank()),
            ..ask()
        };
        assert!(wrong(&known(&record), record.bytes()));
        assert!(wrong(&known(&super::record(90)), record.bytes()));
        assert!(!wrong(&known(&super::record(110)), record.bytes()));
        let floor = |rank: &VerifiedRecord| Ask {
            floor: Some(*rank.rank()),
            ..ask()
        };
        assert!(!wrong(&floor(&record), record.bytes()));
        assert!(wrong(&floor(&super::record(90)), record.bytes()));
        assert!(wrong(&ask(), scoped(100, vec![peer(1)]).bytes()), "not for us");
    }

    #[test]
    fn a_record_from_the_future_is_nothing_and_no_fault() {
        let secret = SecretKey::from_seed(&[1; 32]);
        let record = Record {
            sequence: UnixMicros(WALL.plus(3_600).0 * 1_000_000),
            ..record(0).record().clone()
        };
        let ahead = SignedRecord::sign(record, &secret).expect("a record");
        assert!(matches!(judged(&ask(), ahead.bytes()), Said::Nothing(_)));
    }
}

mod at_the_desk {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment {
            wall: UnixSecs(WALL.0 + millis / 1_000),
            elapsed: Duration::from_millis(millis),
        }
    }

    fn desk() -> Desk<()> {
        Desk::new(peer(OWN))
    }

    fn views(pushes: Mode) -> Vec<View> {
        let view = |index| View {
            peer: peer(index),
            relationship: Relationship::Mutual,
            linked: true,
            pushes,
            complete: true,
            digest: (pushes == Mode::Digest).then_some(false),
            reach: Some(Reach::whole()),
            shut: false,
            filtered: false,
            asked: true,
            aside: false,
            merit: 0,
            usual: Duration::ZERO,
        };
        vec![view(1), view(2)]
    }

    fn held(record: &VerifiedRecord, class: Class) -> Local {
        Local {
            held: Some(Held {
                record: record.clone(),
                class,
                keep_until: WALL.plus(86_400),
                from: None,
                account: None,
            }),
            pointer: None,
        }
    }

    fn nothing() -> Local {
        Local::default()
    }

    fn look(desk: &mut Desk<()>, now: Moment, wish: &Wish<'_>, local: &Local, pushes: Mode) -> Look<()> {
        desk.look(now, wish, local, || views(pushes), || ())
    }

    /// A question that is asked at once of both peers, who answer so; what the client is told.
    fn asked(desk: &mut Desk<()>, now: Moment, wish: &Wish<'_>, local: &Local, said: [Said; 2]) -> Reply {
        let Look::Asks(ticket, mut question, ()) = look(desk, now, wish, local, Mode::None) else {
            panic!("it is not asked")
        };
        for (index, said) in [1, 2].into_iter().zip(said) {
            assert!(matches!(question.poll(now.elapsed), Step::Ask { .. }));
            question.handle(now.elapsed, Event::Answered(peer(index), said));
        }
        let Step::Done(outcome) = question.poll(now.elapsed) else {
            panic!("it is not over")
        };
        desk.over(now, ticket, &question, &outcome);
        desk.conclude(now, wish, local, outcome)
    }

    fn known(look: Look<()>) -> Reply {
        match look {
            Look::Known(reply) => reply,
            other => panic!("it is not known: {other:?}"),
        }
    }

    fn record_of(reply: &Reply) -> (&VerifiedRecord, u32) {
        match reply {
            Reply::Record(found) => (&found.record, found.fresh.0),
            other => panic!("no record: {other:?}"),
        }
    }

    fn client() -> Wish<'static> {
        Wish::of_client(name())
    }

    #[test]
    fn what_is_not_held_is_asked_for_once_and_then_answered_from_a_copy_for_its_ttl() {
        let (mut desk, old) = (desk(), record(1_000));
        let reply = asked(&mut desk, at(0), &client(), &nothing(), [NO, found(&old)]);
        assert_eq!(record_of(&reply), (&old, 60));
        let reply = known(look(&mut desk, at(20_000), &client(), &nothing(), Mode::None));
        assert_eq!(record_of(&reply), (&old, 40));
        assert_eq!(desk.tally().copy_hits, 1);
        let not_newer = Said::NotNewer { fresh: Ttl(30) };
        let reply = asked(&mut desk, at(60_000), &client(), &nothing(), [NO, not_newer]);
        assert_eq!(record_of(&reply), (&old, 30), "as long as whoever was asked believes it");
        let reply = known(look(&mut desk, at(80_000), &client(), &nothing(), Mode::None));
        assert_eq!(record_of(&reply).1, 10);
        let newer = record(10);
        let reply = asked(
            &mut desk,
            at(90_000),
            &client(),
            &nothing(),
            [Said::Absent { certain: false }, found(&newer)],
        );
        assert_eq!(record_of(&reply).0, &newer);
    }

    #[test]
    fn a_copy_that_nobody_keeps_any_more_is_absent_and_its_rank_stays_the_floor() {
        let (mut desk, old) = (desk(), record(1_000));
        asked(&mut desk, at(0), &client(), &nothing(), [NO, found(&old)]);
        assert_eq!(asked(&mut desk, at(60_000), &client(), &nothing(), [NO, NO]), Reply::Absent);
        let Look::Asks(_, question, ()) = look(&mut desk, at(70_000), &client(), &nothing(), Mode::None) else {
            panic!("it is asked again")
        };
        assert_eq!((question.ask().known, question.ask().floor), (None, Some(*old.rank())));
    }

    #[test]
    fn a_copy_that_a_pointer_vouches_for_stays_although_nobody_who_was_asked_has_it() {
        let (mut desk, new, mut local) = (desk(), record(500), held(&record(1_000), Class::Peer));
        local.pointer = Some(pointer(&new, 9));
        let copy = asked(&mut desk, at(0), &client(), &held(&record(1_000), Class::Peer), [NO, found(&new)]);
        assert_eq!(record_of(&copy).0, &new);
        let reply = asked(&mut desk, at(60_000), &client(), &local, [NO, NO]);
        assert_eq!(record_of(&reply).0, &new, "what is held is older than what its keeper has");
    }

    #[test]
    fn while_nobody_can_say_what_is_the_newest_the_record_at_hand_is_served_and_the_question_is_not_asked_at_every_get() {
        let (mut desk, local) = (desk(), held(&record(1_000), Class::Customer));
        let away = || Said::Nothing("away".to_owned());
        let reply = asked(&mut desk, at(0), &client(), &local, [away(), away()]);
        assert_eq!(record_of(&reply), (&record(1_000), UNSURE_TTL_SECS));
        let reply = known(look(&mut desk, at(1_000), &client(), &local, Mode::None));
        assert_eq!(record_of(&reply).1, UNSURE_TTL_SECS - 1);
        assert!(matches!(
            look(&mut desk, at(1_000 * u64::from(UNSURE_TTL_SECS)), &client(), &local, Mode::None),
            Look::Asks(..)
        ));
    }

    #[test]
    fn what_is_held_is_asked_about_only_past_its_ttl_and_only_those_whose_silence_is_no_proof() {
        let mut desk = desk();
        let reply = known(look(&mut desk, at(0), &client(), &held(&record(10), Class::Peer), Mode::None));
        assert_eq!(record_of(&reply), (&record(10), 50), "signed 10 seconds ago");
        let old = held(&record(100), Class::Peer);
        for pushes in [Mode::Values, Mode::Pointers, Mode::Digest] {
            let reply = known(look(&mut desk, at(0), &client(), &old, pushes));
            assert_eq!(record_of(&reply), (&record(100), 60));
        }
        let reply = asked(&mut desk, at(0), &client(), &old, [NO, NO]);
        assert_eq!(record_of(&reply), (&record(100), 60), "nobody has it but we");
        assert!(matches!(look(&mut desk, at(59_000), &client(), &old, Mode::None), Look::Known(_)));
        assert!(matches!(look(&mut desk, at(60_000), &client(), &old, Mode::None), Look::Asks(..)));
    }

    #[test]
    fn an_expired_record_is_asked_about_too_but_not_at_every_get() {
        let mut desk = desk();
        let after = Moment {
            wall: WALL.plus(100_000),
            elapsed: Duration::ZERO,
        };
        let local = held(&record(0), Class::Peer);
        let reply = asked(&mut desk, after, &client(), &local, [NO, NO]);
        assert_eq!(record_of(&reply).0, &record(0), "whoever serves it says that it has expired");
        assert!(matches!(look(&mut desk, after, &client(), &local, Mode::None), Look::Known(_)));
    }

    #[test]
    fn an_absence_is_remembered_until_the_store_a_pointer_or_a_digest_says_otherwise() {
        let mut desk = desk();
        assert_eq!(asked(&mut desk, at(0), &client(), &nothing(), [NO, NO]), Reply::Absent);
        assert_eq!(known(look(&mut desk, at(1), &client(), &nothing(), Mode::None)), Reply::Absent);
        assert_eq!(desk.tally().negative_hits, 1);
        let local = held(&record(0), Class::Customer);
        assert!(matches!(
            known(look(&mut desk, at(2), &client(), &local, Mode::None)),
            Reply::Record(_)
        ));
        let told = Local {
            pointer: Some(pointer(&record(0), 1)),
            ..nothing()
        };
        assert!(matches!(look(&mut desk, at(3), &client(), &told, Mode::None), Look::Asks(..)));
        let mut hit = views(Mode::Digest);
        hit[0].digest = Some(true);
        assert!(matches!(
            desk.look(at(4), &client(), &nothing(), || hit, || ()),
            Look::Joins(()) | Look::Asks(..)
        ));
        let later = at(NEGATIVE_TTL.as_millis() as u64 + 5);
        assert!(!matches!(look(&mut desk, later, &client(), &nothing(), Mode::None), Look::Known(_)));
    }

    #[test]
    fn what_could_not_be_said_is_remembered_for_a_moment() {
        let mut desk = desk();
        let away = || Said::Nothing("away".to_owned());
        let reply = asked(&mut desk, at(0), &client(), &nothing(), [away(), NO]);
        assert_eq!(reply, Reply::Unknown("away".to_owned()));
        assert_eq!(known(look(&mut desk, at(500), &client(), &nothing(), Mode::None)), reply);
        assert!(matches!(
            look(&mut desk, at(1_000), &client(), &nothing(), Mode::None),
            Look::Asks(..)
        ));
    }

    #[test]
    fn who_asks_for_a_name_that_is_being_asked_for_joins() {
        let mut desk = desk();
        assert!(matches!(look(&mut desk, at(0), &client(), &nothing(), Mode::None), Look::Asks(..)));
        for _ in 0..9 {
            assert!(matches!(look(&mut desk, at(1), &client(), &nothing(), Mode::None), Look::Joins(())));
        }
        assert_eq!((desk.tally().questions, desk.tally().coalesced), (1, 9));
    }

    #[test]
    fn what_came_in_while_it_was_asked_for_counts() {
        let mut desk = desk();
        let reply = desk.conclude(at(0), &client(), &held(&record(0), Class::Customer), Outcome::Absent);
        assert_eq!(record_of(&reply).0, &record(0));
        let older = Outcome::Found(Box::new(Found {
            record: record(100),
            class: Class::Peer,
            keep_until: WALL,
            fresh: Ttl(60),
        }));
        let reply = desk.conclude(at(0), &client(), &held(&record(0), Class::Customer), older);
        assert_eq!(record_of(&reply).0, &record(0));
    }

    /// What a peer that is this to us is told of what is held here.
    fn told(relationship: Relationship, local: &Local, change: impl FnOnce(&mut Query)) -> Reply {
        let agreement = Agreement {
            relationship,
            ..Agreement::mutual(peer(9), Vec::new())
        };
        let mut query = Query {
            name: name(),
            tag: None,
            hops: 5,
            visited: vec![mark(&peer(OWN)), mark(&peer(1)), mark(&peer(2))],
            budget: 4,
            own_only: false,
            known: None,
        };
        change(&mut query);
        let wish = Wish::of_peer(&peer(OWN), &agreement, &query);
        known(look(&mut desk(), at(0), &wish, local, Mode::None))
    }

    #[test]
    fn a_peer_is_told_what_would_be_pushed_to_it_and_nothing_else() {
        let local = held(&record(0), Class::Peer);
        assert_eq!(record_of(&told(Relationship::Mutual, &local, |_| ())).0, &record(0));
        assert_eq!(record_of(&told(Relationship::Customer, &local, |_| ())).0, &record(0));
        assert_eq!(told(Relationship::Peer, &local, |_| ()), Reply::Absent, "learnt from another peer");
        assert_eq!(
            record_of(&told(Relationship::Peer, &held(&record(0), Class::Customer), |_| ())).0,
            &record(0)
        );
        let scoped = |to| held(&scoped(0, vec![peer(to)]), Class::Customer);
        assert_eq!(told(Relationship::Mutual, &scoped(8), |_| ()), Reply::Absent);
        assert!(matches!(told(Relationship::Mutual, &scoped(9), |_| ()), Reply::Record(_)));
    }

    #[test]
    fn a_peer_that_knows_as_much_is_told_only_that() {
        let knows = |age| move |query: &mut Query| query.known = Some(*record(age).rank());
        let local = held(&record(10), Class::Customer);
        assert_eq!(told(Relationship::Mutual, &local, knows(10)), Reply::NotNewer { fresh: Ttl(50) });
        assert_eq!(told(Relationship::Mutual, &local, knows(5)), Reply::NotNewer { fresh: Ttl(50) });
        assert!(matches!(told(Relationship::Mutual, &local, knows(20)), Reply::Record(_)));
        assert_eq!(told(Relationship::Mutual, &nothing(), knows(20)), Reply::Absent);
    }

    #[test]
    fn absences_that_were_remembered_are_not_told_on() {
        let mut desk = desk();
        asked(&mut desk, at(0), &client(), &nothing(), [NO, NO]);
        let agreement = Agreement::mutual(peer(9), Vec::new());
        let query = Query {
            name: name(),
            tag: None,
            hops: 5,
            visited: Vec::new(),
            budget: 4,
            own_only: false,
            known: None,
        };
        let wish = Wish::of_peer(&peer(OWN), &agreement, &query);
        assert!(matches!(look(&mut desk, at(1), &wish, &nothing(), Mode::None), Look::Asks(..)));
    }

    #[test]
    fn what_was_learnt_where_some_were_left_out_is_not_taken_for_the_newest() {
        let mut desk = desk();
        let agreement = Agreement::mutual(peer(9), Vec::new());
        let query = Query {
            name: name(),
            tag: None,
            hops: 5,
            visited: vec![7],
            budget: 4,
            own_only: false,
            known: None,
        };
        let wish = Wish::of_peer(&peer(OWN), &agreement, &query);
        let old = record(1_000);
        let reply = asked(&mut desk, at(0), &wish, &nothing(), [NO, found(&old)]);
        assert_eq!(record_of(&reply), (&old, 60));
        let Look::Asks(_, question, ()) = look(&mut desk, at(1), &client(), &nothing(), Mode::None) else {
            panic!("a client's question goes to all")
        };
        assert_eq!(
            question.ask().known,
            Some(*old.rank()),
            "what is at hand is asked about, not asked for"
        );
    }

    #[test]
    fn a_second_opinion_is_of_what_is_held_alone() {
        let (mut desk, agreement) = (desk(), Agreement::mutual(peer(9), Vec::new()));
        asked(&mut desk, at(0), &client(), &nothing(), [NO, found(&record(10))]);
        let query = Query {
            name: name(),
            tag: None,
            hops: 5,
            visited: Vec::new(),
            budget: 4,
            own_only: true,
            known: None,
        };
        let wish = Wish::of_peer(&peer(OWN), &agreement, &query);
        assert_eq!(desk.own_opinion(at(0), &wish, None), Reply::Absent);
        let local = held(&record(100), Class::Customer);
        let reply = desk.own_opinion(at(0), &wish, local.held.as_ref());
        assert_eq!(record_of(&reply).0, &record(100));
    }
}
