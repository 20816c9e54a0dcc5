//! A put is kept, receipted, and ordered.

use crate::world::{Publisher, ShiftedClock, Trouble, TroubledStore, World, path_of, until};
use dialtone_provider::io::clock::Clock;
use dialtone_provider::store::{Class, Condition, Put, RecordStore, StoreError};
use dialtone_shared::{Body, Name, SignedRecord};

#[tokio::test]
async fn the_first_record_of_a_name_is_created_and_receipted() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let reply = world.put(&record).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("etag"), format!("\"{}\"", record.rank()));
    let promise = reply.promise();
    assert_eq!((promise.provider, promise.name), (world.provider.name(), *record.name()));
    assert_eq!((promise.rank, promise.keep_until), (record.rank(), record.record().expiry()));
    let held = world.held(record.name()).await.unwrap();
    assert_eq!((held.record.bytes(), held.class), (record.bytes(), Class::Customer));
}

#[tokio::test]
async fn a_newer_record_takes_the_place_and_an_older_one_does_not() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let [old, new] = [world.now(), world.now().plus(1)].map(|at| publisher.signed(at));
    assert_eq!(world.put(&old).await.status, 201);
    assert_eq!(world.put(&new).await.status, 201);
    let reply = world.put(&old).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (409, "application/vnd.dialtone.record")
    );
    assert_eq!(reply.body, new.bytes(), "who is told that it is older is given the newer record");
    assert_eq!(reply.header("etag"), format!("\"{}\"", new.rank()));
    assert_eq!(reply.header("dialtone-problem"), "older");
    assert_eq!(world.held(new.name()).await.unwrap().record.bytes(), new.bytes());
}

#[tokio::test]
async fn the_same_record_again_is_receipted_again() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let first = world.put(&record).await.promise();
    let reply = world.put(&record).await;
    assert_eq!(reply.status, 200);
    let again = reply.promise();
    assert_eq!((again.rank, again.keep_until), (first.rank, first.keep_until));
    assert!(again.time >= first.time);
}

#[tokio::test]
async fn a_lease_is_renewed_by_putting_the_same_record_on_a_later_day() {
    let world = World::with(dialtone_provider::store::MemoryStore::new(), |settings| {
        settings.http.anonymous_puts = dialtone_provider::settings::AnonymousPuts::Yes;
        settings.limits.anonymous_keep_days = 2;
    })
    .await;
    world.clock.stand();
    let publisher = Publisher::number(1);
    let mut record = publisher.record(world.now());
    if let Body::Live { expiry, .. } = &mut record.body {
        *expiry = world.now().plus(100 * 86_400);
    }
    let record = publisher.sign(record);
    let elsewhere = [("x-forwarded-for", "192.0.2.1")];
    let first = world.put_with(&record, &elsewhere).await.promise().keep_until.unwrap();
    assert!(first >= world.now().plus(2 * 86_400) && first < world.now().plus(3 * 86_400));
    world.clock.shift(86_400);
    let reply = world.put_with(&record, &elsewhere).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.promise().keep_until.unwrap().0, first.0 + 86_400);
    assert_eq!(world.held(record.name()).await.unwrap().keep_until.0, first.0 + 86_400);
}

#[tokio::test]
async fn a_revocation_is_promised_for_ever_and_outranks_later_records() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let mut record = publisher.record(world.now());
    record.body = Body::Revoked;
    let reply = world.put(&publisher.sign(record)).await;
    assert_eq!((reply.status.as_u16(), reply.promise().keep_until), (201, None));
    let later = publisher.signed(world.now().plus(60));
    assert_eq!(world.put(&later).await.status, 409);
    let shown = world
        .ask("GET", &path_of(later.name()), &[("accept", "application/json")], "")
        .await
        .json();
    assert_eq!(shown["revoked"], true);
}

#[tokio::test]
async fn a_receipt_can_be_had_as_json() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let reply = world.put_with(&record, &[("accept", "application/json")]).await;
    let shown = reply.json();
    assert_eq!(reply.status, 201);
    assert_eq!(shown["name"], record.name().to_string());
    assert_eq!(shown["rank"], record.rank().to_string());
    assert_eq!(shown["keep_until"], record.record().expiry().unwrap().0);
    assert_eq!(reply.promise().rank, record.rank());
}

#[tokio::test]
async fn a_put_can_be_made_to_depend_on_what_is_held() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let [one, two, three] = [0, 1, 2].map(|later| publisher.signed(world.now().plus(later)));
    let tag = |record: &dialtone_shared::SignedRecord| format!("\"{}\"", record.rank());

    let reply = world.put_with(&one, &[("if-match", &tag(&one))]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.slug().as_str(), reply.header("etag")),
        (412, "condition", "")
    );
    assert_eq!(world.put_with(&one, &[("if-match", "*")]).await.status, 412);
    assert_eq!(world.put_with(&one, &[("if-none-match", "*")]).await.status, 201);

    let reply = world.put_with(&two, &[("if-none-match", "*")]).await;
    assert_eq!((reply.status.as_u16(), reply.header("etag")), (412, tag(&one).as_str()));
    assert_eq!(reply.problem()["held"], one.rank().to_string());
    let reply = world.put_with(&two, &[("if-match", &tag(&two))]).await;
    assert_eq!((reply.status.as_u16(), reply.header("etag")), (412, tag(&one).as_str()));
    assert_eq!(
        world.held(one.name()).await.unwrap().record.bytes(),
        one.bytes(),
        "what was refused changed nothing"
    );

    assert_eq!(world.put_with(&two, &[("if-match", &tag(&one))]).await.status, 201);
    assert_eq!(world.put_with(&three, &[("if-match", "*")]).await.status, 201);
    assert_eq!(world.put_with(&three, &[("if-match", "unquoted")]).await.slug(), "condition-syntax");
}

#[tokio::test]
async fn of_many_writers_that_saw_the_same_record_one_wins() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let base = publisher.signed(world.now());
    world.put(&base).await;
    let tag = format!("\"{}\"", base.rank());
    let records: Vec<_> = (1..=8).map(|later| publisher.signed(world.now().plus(later))).collect();
    let headers = [("if-match", tag.as_str())];
    let mut wins = 0;
    for reply in futures_of(records.iter().map(|record| world.put_with(record, &headers))).await {
        wins += usize::from(reply.status == 201);
        assert!([201, 409, 412].contains(&reply.status.as_u16()), "{reply:?}");
    }
    assert_eq!(wins, 1);
}

#[tokio::test]
async fn a_scope_is_kept_and_may_grow_but_not_shrink() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let (here, elsewhere) = (world.provider.name(), Name::key_set([9; 32]));
    let scoped = |later: u64, scope: &[Name]| {
        let mut record = publisher.record(world.now().plus(later));
        record.scope = scope.to_vec();
        record.scope.sort();
        publisher.sign(record)
    };
    assert_eq!(world.put(&scoped(0, &[elsewhere])).await.slug(), "out-of-scope");
    assert_eq!(world.put(&scoped(1, &[here])).await.status, 201);
    assert_eq!(world.put(&scoped(2, &[here, elsewhere])).await.status, 201);
    let reply = world.put(&scoped(3, &[here])).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (422, "narrower-scope"));
    assert_eq!(world.put(&scoped(4, &[])).await.status, 201);
    assert_eq!(world.put(&scoped(5, &[here, elsewhere])).await.slug(), "narrower-scope");
    // Once the wide record has expired, nobody is left behind with it.
    world.clock.shift(2 * 3_600);
    assert_eq!(world.put(&scoped(6, &[here])).await.status, 201);
}

#[tokio::test]
async fn puts_that_wait_together_share_a_commit_and_each_gets_its_own_proof() {
    let store = TroubledStore::new();
    let world = World::with(store.clone(), |_| {}).await;
    store.trouble.send_replace(Trouble::Stuck);
    let before = Publisher::number(99).signed(world.now());
    let records: Vec<_> = (0..20).map(|seed| Publisher::number(seed).signed(world.now())).collect();
    let first = world.put(&before);
    let others = async {
        world.until_counted("dialtone_verify_seconds_count", 1).await;
        futures_of(records.iter().map(|record| world.put(record))).await
    };
    let release = async {
        // Verified, so that all of them wait in the queue behind the one that is being written.
        world.until_counted("dialtone_verify_seconds_count", 21).await;
        store.trouble.send_replace(Trouble::None);
    };
    let (first, replies, ()) = tokio::join!(first, others, release);
    assert_eq!(first.status, 201);
    world.until_counted("dialtone_commit_puts_count", 2).await;
    for (record, reply) in records.iter().zip(replies) {
        let promise = reply.promise();
        assert_eq!((promise.name, promise.rank), (*record.name(), record.rank()));
    }
}

#[tokio::test]
async fn when_the_queue_is_full_a_put_is_refused_at_once_and_nothing_is_lost() {
    let store = TroubledStore::new();
    let world = World::with(store.clone(), |settings| settings.limits.put_queue = 3).await;
    store.trouble.send_replace(Trouble::Stuck);
    let records: Vec<_> = (0..30).map(|seed| Publisher::number(seed).signed(world.now())).collect();
    let all = futures_of(records.iter().map(|record| world.put(record)));
    let release = async {
        // Three are being written or about to be, three more joined them, three wait: nine, however they came.
        until(async || {
            world.metrics().await.lines().any(|line| {
                line.strip_prefix("dialtone_puts_total{outcome=\"busy\"} ")
                    .is_some_and(|count| count.parse::<u64>().unwrap() >= 21)
            })
        })
        .await;
        store.trouble.send_replace(Trouble::None);
    };
    let (replies, ()) = tokio::join!(all, release);
    let mut refused = 0;
    for (record, reply) in records.iter().zip(replies) {
        let held = world.held(record.name()).await.is_some();
        if reply.status == 503 {
            assert_eq!((reply.slug().as_str(), reply.header("retry-after"), held), ("busy", "1", false));
            assert_eq!(reply.problem()["turn"], "provider");
            refused += 1;
        } else {
            assert_eq!((reply.status.as_u16(), held), (201, true));
        }
    }
    assert!(
        refused >= 12 - 3 - 3,
        "three wait, and no more than that are being written: {refused}"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_puts_and_serves_gets() {
    let store = TroubledStore::new();
    let world = World::with(store.clone(), |_| {}).await;
    let [held, refused] = [1, 2].map(|seed| Publisher::number(seed).signed(world.now()));
    world.put(&held).await;
    store.trouble.send_replace(Trouble::Fails(StoreError::Full("/data".to_owned())));
    let reply = world.put(&refused).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (503, "disk-full"));
    assert!(
        reply.problem()["detail"].as_str().unwrap().contains("unknown"),
        "an error never means `not stored`"
    );
    assert_eq!(world.get(&path_of(held.name())).await.body, held.bytes());
    store.trouble.send_replace(Trouble::None);
    assert_eq!(world.put(&refused).await.status, 201, "without a restart");
}

#[tokio::test]
async fn a_provider_that_is_started_on_a_full_disk_serves_gets() {
    let store = TroubledStore::new();
    let now = ShiftedClock::by(0).now().secs();
    let [held, refused] = [1, 2].map(|seed| Publisher::number(seed).signed(now));
    store.put(vec![brought_by_a_peer(&held)]).await.unwrap();
    store.trouble.send_replace(Trouble::Fails(StoreError::Full("/data".to_owned())));
    let world = World::with(store.clone(), |_| {}).await;
    assert_eq!(world.get(&path_of(held.name())).await.body, held.bytes());
    assert_eq!(world.put(&refused).await.slug(), "disk-full");
    assert_eq!(world.get("/healthz").await.status, 503);
    store.trouble.send_replace(Trouble::None);
    assert_eq!(world.put(&refused).await.status, 201, "without a restart");
}

#[tokio::test]
async fn a_record_that_a_peer_brought_becomes_a_customers_when_it_is_put_here() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    world.provider.store().put(vec![brought_by_a_peer(&record)]).await.unwrap();
    let reply = world.put(&record).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.promise().rank, record.rank());
    assert_eq!(world.held(record.name()).await.unwrap().class, Class::Customer);
}

fn brought_by_a_peer(record: &SignedRecord) -> Put {
    Put {
        record: record.clone().verify().unwrap(),
        class: Class::Peer,
        keep_until: record.record().expiry().unwrap(),
        from: Some(Name::key_set([9; 32])),
        account: None,
        condition: Condition::None,
    }
}

/// All of them at once; their results in order.
pub async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    use std::task::Poll;
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        let mut left = false;
        for (one, done) in &mut all {
            if done.is_none() {
                match one.as_mut().poll(cx) {
                    Poll::Ready(value) => *done = Some(value),
                    Poll::Pending => left = true,
                }
            }
        }
        if left { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}
