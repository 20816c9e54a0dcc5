//! Twins, proofs that reach every provider, and second opinions, over real links.

use crate::support::*;
use async_trait::async_trait;
use dialtone_provider::io::audit::Auditor;
use dialtone_provider::io::clock::SystemClock;
use dialtone_provider::io::peering::requests::Answers;
use dialtone_provider::peering::agreement::{Agreement, Filter};
use dialtone_provider::peering::audit::Finding;
use dialtone_provider::store::{MemoryStore, RecordStore};
use dialtone_shared::message::{Answer, Refused, Request, Response, Value};
use dialtone_shared::proof::{Proof, Verdict};
use dialtone_shared::{Name, Ttl};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// All proofs that a provider keeps, each checked.
async fn verdicts(provider: &Provider) -> Vec<Verdict> {
    let (mut verdicts, mut after) = (Vec::new(), 0);
    loop {
        let filed = provider.evidence.list(None, after, 100).await.expect("an open store");
        let Some(last) = filed.last() else { return verdicts };
        after = last.number;
        verdicts.extend(
            filed
                .iter()
                .map(|filed| Proof::decode(&filed.proof).and_then(|proof| proof.check()).expect("a proof")),
        );
    }
}

const PAIRS: u32 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn pairs_of_one_rank_leave_one_winner_and_a_proof_at_every_provider_with_one_alarm_each() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled(), awaited(named(3))]).await;
    let c = Provider::new(3, vec![b.dialled(), awaited(named(4))]).await;
    let d = Provider::new(4, vec![c.dialled()]).await;
    let at = now();
    a.put((0..PAIRS).map(|index| twin(index, at, 50)).collect()).await;
    d.put((0..PAIRS).map(|index| twin(index, at, 51)).collect()).await;
    let all = [&a, &b, &c, &d];
    until("everyone has a proof of each", async || {
        let mut proved = true;
        for provider in all {
            proved &= provider.evidence.counts().kept == u64::from(PAIRS);
        }
        proved
    })
    .await;
    for index in 0..PAIRS {
        let (one, other) = (twin(index, at, 50), twin(index, at, 51));
        let winner = if one.outranks(&other) { one } else { other };
        for provider in all {
            until("the same wins everywhere", async || {
                provider.held(winner.name()).await.is_some_and(|held| held.record == winner)
            })
            .await;
        }
    }
    // Everything once more changes nothing, and rings no second time.
    a.put((0..PAIRS).map(|index| twin(index, at, 51)).collect()).await;
    a.put((0..PAIRS).map(|index| twin(index, at, 50)).collect()).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for provider in all {
        let counts = provider.evidence.counts();
        assert_eq!((counts.equivocations, counts.dropped, counts.invalid), (u64::from(PAIRS), 0, 0));
        assert_eq!(verdicts(provider).await.len(), PAIRS as usize);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_away_hears_of_every_wrong_when_it_is_back() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let at = now();
    a.put((0..10).map(|index| twin(index, at, 50)).collect()).await;
    a.put((0..10).map(|index| twin(index, at, 51)).collect()).await;
    until("they are filed", async || a.evidence.counts().kept == 10).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    until("b has them", async || b.evidence.counts().kept == 10).await;
    assert_eq!(verdicts(&b).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_a_filter_kept_back_is_told_when_it_lets_it_pass() {
    let at = now();
    let kept_back: BTreeSet<Name> = (0..3).map(|index| *twin(index, at, 50).name()).collect();
    let filtered = |filter: Filter| Agreement {
        filter,
        ..awaited(named(2))
    };
    let a = Provider::new(1, vec![filtered(Filter::new(BTreeSet::new(), kept_back, true))]).await;
    a.put((0..10).map(|index| twin(index, at, 50)).collect()).await;
    a.put((0..10).map(|index| twin(index, at, 51)).collect()).await;
    until("they are filed", async || a.evidence.counts().kept == 10).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    until("b has what may pass", async || b.evidence.counts().kept == 7).await;
    a.handle.agree(vec![filtered(Filter::default())]).expect("an agreement");
    until("and now the rest", async || b.evidence.counts().kept == 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_publisher_fills_no_provider_with_proofs_against_itself() {
    let a = Provider::new(1, Vec::new()).await;
    for step in 0..20 {
        let at = dialtone_shared::UnixMicros(now().0 - 1_000_000 + step);
        a.put(vec![twin(1, at, 50)]).await;
        a.put(vec![twin(1, at, 51)]).await;
    }
    until("the rest is dropped", async || a.evidence.counts().dropped == 16).await;
    assert_eq!(a.evidence.counts().kept, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accuses_falsely_is_not_believed_and_soon_not_heard() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    until("the link stands", async || {
        !b.handle.peers().is_empty() && b.status(&a.name()).theirs.is_some()
    })
    .await;
    let at = now();
    let mut false_proof = Proof::of_twins(&twin(1, at, 50), &twin(1, at, 51)).expect("twins").encode();
    let last = false_proof.len() - 1;
    false_proof[last] ^= 1;
    let accuse = async |times: usize| {
        let proofs = vec![false_proof.clone().into(); times];
        b.handle.request(&a.name(), Request::Proofs(proofs), Duration::from_secs(10)).await
    };
    for _ in 0..2 {
        assert_eq!(accuse(16).await, Ok(Response::Noted));
    }
    assert!(accuse(1).await.is_err(), "heard out no more");
    let counts = a.evidence.counts();
    assert_eq!((counts.kept, counts.invalid), (0, 32));
}

/// Answers second opinions from a store, but for names that it hides or has an old record of.
#[derive(Debug)]
struct Liar {
    store: Arc<MemoryStore>,
    hides: Name,
    stale: (Name, Value),
}

#[async_trait]
impl Answers for Liar {
    async fn answer(&self, _: &Name, request: Request) -> Response {
        let Request::Query(query) = request else {
            return Response::Refused(Refused::Cannot);
        };
        if query.name == self.stale.0 {
            let value = self.stale.1.clone();
            return Response::Answer(Answer::Found { value, fresh: Ttl(60) });
        }
        let held = self
            .store
            .get(&query.name)
            .await
            .expect("an open store")
            .filter(|_| query.name != self.hides);
        Response::Answer(held.map_or(Answer::Absent { certain: false }, |held| {
            let value = Value {
                class: held.class as u8,
                keep_until: held.keep_until,
                record: held.record.bytes().clone(),
                path: Default::default(),
            };
            Answer::Found { value, fresh: Ttl(60) }
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opinion_finds_what_a_peer_hides_and_what_it_keeps_old() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    let records: Vec<_> = (0..20).map(record).collect();
    a.put(records.clone()).await;
    until("b has them", async || {
        b.store.count().records == 20 && a.status(&b.name()).progress.sent_all
    })
    .await;
    let old = twin(1, dialtone_shared::UnixMicros(now().0 - 60_000_000), 60);
    b.handle.answer_by(Arc::new(Liar {
        store: b.store.clone(),
        hides: *records[0].name(),
        stale: (
            *records[1].name(),
            Value {
                class: 3,
                keep_until: now().secs().plus(600),
                record: old.bytes().clone(),
                path: Default::default(),
            },
        ),
    }));
    let auditor = Auditor::new(a.store.clone(), a.handle.clone(), Arc::new(SystemClock));
    let peer = b.name();
    let (hidden, stale, honest) = tokio::join!(
        auditor.audit(&peer, records[0].name()),
        auditor.audit(&peer, records[1].name()),
        auditor.audit(&peer, records[2].name()),
    );
    assert_eq!(hidden.expect("open"), Finding::Withheld);
    assert_eq!(stale.expect("open"), Finding::Stale);
    assert_eq!(honest.expect("open"), Finding::Agrees);
    let findings = auditor.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].1.values().sum::<u64>(), 3);
    // By lot it finds one of the two sooner or later, and nothing else.
    let drawn = auditor.audit_any().await.expect("open").expect("something to ask");
    assert!(matches!(drawn, Finding::Agrees | Finding::Withheld | Finding::Stale), "{drawn:?}");
}
