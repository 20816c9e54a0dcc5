//! What every store promises, asked of every engine.

mod store_world;

use dialtone_provider::store::{Class, Condition, Held, Lane, Outcome, Pointer, PointerOutcome, Put, RecordStore, StoreError};
use dialtone_shared::{Name, UnixSecs, VerifiedRecord};
use proptest::prelude::*;
use std::collections::BTreeMap;
use store_world::*;

macro_rules! promises {
    ($($promise:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() { super::$promise(super::World::memory()).await })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() { super::$promise(super::World::embedded()).await })*
        }
    };
}

promises! {
    what_is_put_is_held_with_all_that_is_known_about_it
    the_higher_rank_wins_and_the_lower_is_told_what_is_held
    equal_sequences_are_decided_by_the_larger_bytes
    a_revocation_outranks_whatever_comes_later
    a_condition_is_checked_against_what_is_held
    a_condition_sees_earlier_puts_of_its_batch
    a_higher_class_or_a_later_day_renews
    a_renewal_keeps_the_account_unless_it_names_one
    the_log_yields_each_name_once_at_its_latest_change
    revocations_stand_in_the_urgent_lane
    what_changes_nothing_is_no_change
    a_log_is_read_in_pages
    cursors_counts_notes_and_the_id_survive_a_restart
    cursors_are_never_given_out_twice
    a_scan_goes_by_name_in_pages
    records_are_forgotten_when_they_may_be
    a_lease_that_ends_early_is_forgotten_early
    a_renewed_lease_is_not_forgotten_at_its_old_end
    revocations_are_never_forgotten
    notes_are_kept_replaced_removed_and_listed_by_prefix
    too_long_keys_and_accounts_are_refused
    concurrent_puts_of_one_name_leave_the_highest
    a_batch_answers_in_order
    whoever_watches_hears_of_a_commit
    closing_twice_is_closing_once_and_nothing_goes_after_it
    a_pointer_stands_with_all_that_was_told
    it_does_not_show_whether_a_record_or_a_pointer_to_it_came_first
    a_pointer_stands_only_while_it_outranks_what_is_held
    a_pointer_that_finds_its_record_held_renews_it
    a_record_of_at_least_its_rank_removes_a_pointer_in_the_same_commit
    of_two_pointers_the_higher_rank_stands_and_the_better_promise_is_joined
    a_pointer_to_a_twin_stands_until_somebody_looks
    pointers_stand_in_a_lane_of_their_own_at_their_latest_change
    a_pointer_is_forgotten_when_nobody_keeps_the_record_any_longer
    a_pointer_is_forgotten_only_as_it_was_given
    what_is_done_in_one_commit_to_records_and_pointers_agrees
}

async fn what_is_put_is_held_with_all_that_is_known_about_it(world: World) {
    let store = world.open();
    assert_eq!(store.get(&name(1)).await.unwrap(), None);
    let given = Put {
        class: Class::Peer,
        keep_until: UnixSecs(SIGNED + 9 * DAY + 5),
        from: Some(name(77)),
        account: None,
        ..put(live(1, 1, 60))
    };
    assert_eq!(put_one(&*store, given.clone()).await, Outcome::Stored { replaced: false });
    assert_eq!(put_one(&*store, put(live(2, 1, 60))).await, Outcome::Stored { replaced: false });
    let store = world.reopen(store).await;
    let wanted = Held {
        record: given.record,
        class: given.class,
        keep_until: given.keep_until,
        from: given.from,
        account: None,
    };
    assert_eq!(store.get(&name(1)).await.unwrap(), Some(wanted));
    assert_eq!(
        store.get(&name(2)).await.unwrap().and_then(|held| held.account),
        Some("alice".into())
    );
    assert_coherent(&*store).await;
}

async fn the_higher_rank_wins_and_the_lower_is_told_what_is_held(world: World) {
    let store = world.open();
    put_one(&*store, put(live(1, 5, 60))).await;
    assert_eq!(put_one(&*store, put(live(1, 6, 60))).await, Outcome::Stored { replaced: true });
    let Outcome::Older(held) = put_one(&*store, put(live(1, 5, 60))).await else {
        panic!("an older record")
    };
    assert_eq!(held.record, live(1, 6, 60));
    assert_eq!(put_one(&*store, put(live(1, 6, 60))).await, Outcome::Same);
    assert_eq!(assert_coherent(&*store).await[&name(1)].record, live(1, 6, 60));
}

async fn equal_sequences_are_decided_by_the_larger_bytes(world: World) {
    let store = world.open();
    let (one, other) = (live(1, 5, 60), live(1, 5, 61));
    let (small, large) = if one.bytes() < other.bytes() { (one, other) } else { (other, one) };
    put_one(&*store, put(small.clone())).await;
    assert_eq!(put_one(&*store, put(large.clone())).await, Outcome::Stored { replaced: true });
    assert!(matches!(put_one(&*store, put(small)).await, Outcome::Older(held) if held.record == large));
}

async fn a_revocation_outranks_whatever_comes_later(world: World) {
    let store = world.open();
    put_one(&*store, put(live(1, 5, 60))).await;
    assert_eq!(put_one(&*store, put(revocation(1, 1))).await, Outcome::Stored { replaced: true });
    assert!(matches!(put_one(&*store, put(live(1, 9, 60))).await, Outcome::Older(_)));
    assert_coherent(&*store).await;
}

async fn a_condition_is_checked_against_what_is_held(world: World) {
    let store = world.open();
    let first = live(1, 5, 60);
    let on = |sequence, condition| Put {
        condition,
        ..put(live(1, sequence, 60))
    };
    let failed = put_one(&*store, on(5, Condition::Rank(*first.rank()))).await;
    assert_eq!(failed, Outcome::ConditionFailed(None));
    assert_eq!(
        put_one(&*store, on(5, Condition::Absent)).await,
        Outcome::Stored { replaced: false }
    );
    assert!(matches!(put_one(&*store, on(6, Condition::Absent)).await, Outcome::ConditionFailed(Some(held)) if held.record == first));
    // The same sequence in other bytes is another rank.
    let other = Condition::Rank(*live(1, 5, 61).rank());
    assert!(matches!(put_one(&*store, on(6, other)).await, Outcome::ConditionFailed(Some(_))));
    assert_eq!(
        put_one(&*store, on(6, Condition::Rank(*first.rank()))).await,
        Outcome::Stored { replaced: true }
    );
    // A condition that holds does not make a lower rank win.
    let held = Condition::Rank(*live(1, 6, 60).rank());
    assert!(matches!(put_one(&*store, on(2, held)).await, Outcome::Older(_)));
}

async fn a_condition_sees_earlier_puts_of_its_batch(world: World) {
    let store = world.open();
    let absent = |sequence| Put {
        condition: Condition::Absent,
        ..put(live(1, sequence, 60))
    };
    let outcomes = store.put(vec![absent(1), absent(2)]).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Stored { replaced: false });
    assert!(matches!(&outcomes[1], Outcome::ConditionFailed(Some(held)) if held.record == live(1, 1, 60)));
}

async fn a_higher_class_or_a_later_day_renews(world: World) {
    let store = world.open();
    let lease = |class, secs| Put {
        class,
        keep_until: UnixSecs(SIGNED + secs),
        ..put(live(1, 5, 60))
    };
    put_one(&*store, lease(Class::Peer, DAY)).await;
    // Later on the same day, or lower in class: nothing new.
    assert_eq!(put_one(&*store, lease(Class::Peer, DAY + 3_600)).await, Outcome::Same);
    assert_eq!(put_one(&*store, lease(Class::Upstream, DAY)).await, Outcome::Same);
    assert_eq!(put_one(&*store, lease(Class::Upstream, 2 * DAY)).await, Outcome::Renewed);
    let held = store.get(&name(1)).await.unwrap().unwrap();
    assert_eq!((held.class, held.keep_until), (Class::Peer, UnixSecs(SIGNED + 2 * DAY)));
    assert_eq!(put_one(&*store, lease(Class::Customer, 0)).await, Outcome::Renewed);
    let held = store.get(&name(1)).await.unwrap().unwrap();
    assert_eq!((held.class, held.keep_until), (Class::Customer, UnixSecs(SIGNED + 2 * DAY)));
    assert_coherent(&*store).await;
}

async fn a_renewal_keeps_the_account_unless_it_names_one(world: World) {
    let store = world.open();
    let renewal = |account: Option<&str>, days| Put {
        account: account.map(str::to_owned),
        from: account.is_none().then(|| name(9)),
        keep_until: UnixSecs(SIGNED + days * DAY),
        ..put(live(1, 5, 60))
    };
    put_one(&*store, renewal(Some("alice"), 1)).await;
    put_one(&*store, renewal(None, 2)).await;
    let held = store.get(&name(1)).await.unwrap().unwrap();
    assert_eq!((held.account.as_deref(), held.from), (Some("alice"), Some(name(9))));
    put_one(&*store, renewal(Some("bob"), 3)).await;
    let held = store.get(&name(1)).await.unwrap().unwrap();
    assert_eq!((held.account.as_deref(), held.from), (Some("bob"), None));
}

async fn the_log_yields_each_name_once_at_its_latest_change(world: World) {
    let store = world.open();
    for sequence in 1..=3 {
        for n in 1..=3 {
            put_one(&*store, put(live(n, sequence, 60))).await;
        }
    }
    put_one(&*store, put(live(1, 4, 60))).await;
    let changes = store.changes(Lane::Ordinary, 0, 100).await.unwrap();
    let order: Vec<Name> = changes.iter().map(|change| *change.held.record.name()).collect();
    assert_eq!(order, [name(2), name(3), name(1)]);
    // Whoever stands in the middle hears only of what came later, at its latest.
    let later = store.changes(Lane::Ordinary, changes[1].cursor, 100).await.unwrap();
    assert_eq!(later, changes[2..]);
    assert_coherent(&*store).await;
}

async fn revocations_stand_in_the_urgent_lane(world: World) {
    let store = world.open();
    store.put(vec![put(live(1, 1, 60)), put(live(2, 1, 60))]).await.unwrap();
    put_one(&*store, put(revocation(1, 2))).await;
    let urgent = store.changes(Lane::Urgent, 0, 100).await.unwrap();
    assert_eq!(
        urgent.iter().map(|change| change.held.record.clone()).collect::<Vec<_>>(),
        [revocation(1, 2)]
    );
    let ordinary = store.changes(Lane::Ordinary, 0, 100).await.unwrap();
    assert_eq!(
        ordinary.iter().map(|change| *change.held.record.name()).collect::<Vec<_>>(),
        [name(2)]
    );
    assert_coherent(&*store).await;
}

async fn what_changes_nothing_is_no_change(world: World) {
    let store = world.open();
    put_one(&*store, put(live(1, 5, 60))).await;
    let before = *store.watch().borrow();
    put_one(&*store, put(live(1, 5, 60))).await;
    put_one(&*store, put(live(1, 4, 60))).await;
    let refused = Put {
        condition: Condition::Absent,
        ..put(live(1, 9, 60))
    };
    put_one(&*store, refused).await;
    store.set_notes(vec![(b"k".to_vec(), Some(b"v".to_vec()))]).await.unwrap();
    assert_eq!(*store.watch().borrow(), before);
}

async fn a_log_is_read_in_pages(world: World) {
    let store = world.open();
    store.put((0..25).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = store.changes(Lane::Ordinary, after, 10).await.unwrap();
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        after = last.cursor;
        seen.extend(page.iter().map(|change| *change.held.record.name()));
    }
    // A batch enters the log in its order.
    assert_eq!(seen, (0..25).map(name).collect::<Vec<_>>());
}

async fn cursors_counts_notes_and_the_id_survive_a_restart(world: World) {
    let store = world.open();
    store.put((0..10).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    put_one(&*store, put(revocation(3, 2))).await;
    store.set_notes(vec![(b"peer/1".to_vec(), Some(b"42".to_vec()))]).await.unwrap();
    let read = async |store: &dyn RecordStore| {
        let changes = store.changes(Lane::Ordinary, 0, 100).await.unwrap();
        (
            store.id(),
            store.count(),
            *store.watch().borrow(),
            changes,
            store.note(b"peer/1").await.unwrap(),
        )
    };
    let before = read(&*store).await;
    assert_eq!(before.4.as_deref(), Some(&b"42"[..]));
    let store = world.reopen(store).await;
    assert_eq!(read(&*store).await, before);
    assert_coherent(&*store).await;
}

async fn cursors_are_never_given_out_twice(world: World) {
    let store = world.open();
    store.put(vec![put(live(1, 1, 60)), put(live(2, 1, 60))]).await.unwrap();
    let last = *store.watch().borrow();
    // The last rows of the lane go away, and then the process: the next change must stand beyond them all the same.
    let forgotten = store.expire(UnixSecs(SIGNED + 500 * DAY), 10).await.unwrap();
    assert_eq!(forgotten.len(), 2);
    let store = world.reopen(store).await;
    assert_eq!(*store.watch().borrow(), last);
    put_one(&*store, put(live(3, 1, 60))).await;
    let changes = store.changes(Lane::Ordinary, last[Lane::Ordinary as usize], 10).await.unwrap();
    assert_eq!(changes.len(), 1);
}

async fn a_scan_goes_by_name_in_pages(world: World) {
    let store = world.open();
    store.put((0..30).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    let mut names: Vec<Name> = (0..30).map(name).collect();
    names.sort();
    let first = store.scan(None, 7).await.unwrap();
    assert_eq!(first.iter().map(|held| *held.record.name()).collect::<Vec<_>>(), names[..7]);
    let next = store.scan(Some(names[6]), 100).await.unwrap();
    assert_eq!(next.iter().map(|held| *held.record.name()).collect::<Vec<_>>(), names[7..]);
    assert_eq!(store.scan(Some(names[29]), 7).await.unwrap(), []);
}

async fn records_are_forgotten_when_they_may_be(world: World) {
    let store = world.open();
    store.put((0..5).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    // Kept to its end, a record stays as a floor until 400 days after its sequence.
    let floor = UnixSecs(SIGNED + 400 * DAY);
    assert_eq!(store.expire(UnixSecs(floor.0 - 1), 10).await.unwrap(), []);
    let first = store.expire(floor, 3).await.unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(store.count().records, 2);
    assert_eq!(store.get(&first[0]).await.unwrap(), None);
    assert_coherent(&*store).await;
    assert_eq!(store.expire(floor, 3).await.unwrap().len(), 2);
    assert_eq!(store.expire(floor, 3).await.unwrap(), []);
    assert!(assert_coherent(&*store).await.is_empty());
}

async fn a_lease_that_ends_early_is_forgotten_early(world: World) {
    let store = world.open();
    let lease = Put {
        keep_until: UnixSecs(SIGNED + DAY),
        ..put(live(1, 1, 60))
    };
    store.put(vec![lease, put(live(2, 1, 60))]).await.unwrap();
    assert_eq!(store.expire(UnixSecs(SIGNED + DAY - 1), 10).await.unwrap(), []);
    assert_eq!(store.expire(UnixSecs(SIGNED + DAY), 10).await.unwrap(), [name(1)]);
    assert_coherent(&*store).await;
}

async fn a_renewed_lease_is_not_forgotten_at_its_old_end(world: World) {
    let store = world.open();
    let lease = |days| Put {
        keep_until: UnixSecs(SIGNED + days * DAY),
        ..put(live(1, 1, 60))
    };
    put_one(&*store, lease(1)).await;
    put_one(&*store, lease(3)).await;
    assert_eq!(store.expire(UnixSecs(SIGNED + 2 * DAY), 10).await.unwrap(), []);
    assert_eq!(store.expire(UnixSecs(SIGNED + 3 * DAY), 10).await.unwrap(), [name(1)]);
    // Forgotten is forgotten: the same record can be put again.
    assert_eq!(put_one(&*store, lease(5)).await, Outcome::Stored { replaced: false });
}

async fn revocations_are_never_forgotten(world: World) {
    let store = world.open();
    put_one(&*store, put(live(1, 1, 60))).await;
    put_one(&*store, put(revocation(1, 2))).await;
    assert_eq!(store.expire(UnixSecs(u64::MAX), 10).await.unwrap(), []);
    assert_eq!(assert_coherent(&*store).await[&name(1)].record, revocation(1, 2));
}

async fn notes_are_kept_replaced_removed_and_listed_by_prefix(world: World) {
    let store = world.open();
    let set = |key: &str, value: Option<&str>| (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()));
    store
        .set_notes(vec![
            set("a/2", Some("two")),
            set("a/1", Some("one")),
            set("b", Some("")),
            set("", Some("empty")),
        ])
        .await
        .unwrap();
    store.set_notes(vec![set("a/2", Some("zwei")), set("c", None)]).await.unwrap();
    let store = world.reopen(store).await;
    assert_eq!(store.note(b"a/2").await.unwrap().as_deref(), Some(&b"zwei"[..]));
    assert_eq!(store.note(b"").await.unwrap().as_deref(), Some(&b"empty"[..]));
    assert_eq!(store.note(b"a").await.unwrap(), None);
    let pairs = |rows: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<(String, String)> {
        rows.into_iter()
            .map(|(key, value)| (String::from_utf8(key).unwrap(), String::from_utf8(value).unwrap()))
            .collect()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        pairs(store.notes(b"a/", 10).await.unwrap()),
        [pair("a/1", "one"), pair("a/2", "zwei")]
    );
    assert_eq!(pairs(store.notes(b"a/", 1).await.unwrap()), [pair("a/1", "one")]);
    assert_eq!(store.notes(b"", 10).await.unwrap().len(), 4);
    store.set_notes(vec![set("a/1", None)]).await.unwrap();
    assert_eq!(store.note(b"a/1").await.unwrap(), None);
}

async fn too_long_keys_and_accounts_are_refused(world: World) {
    let store = world.open();
    assert!(store.set_notes(vec![(vec![0; 256], Some(vec![]))]).await.is_ok());
    assert!(matches!(
        store.set_notes(vec![(vec![0; 257], Some(vec![]))]).await,
        Err(StoreError::Failed(_))
    ));
    let long = Put {
        account: Some("a".repeat(257)),
        ..put(live(1, 1, 60))
    };
    assert!(matches!(
        store.put(vec![put(live(2, 1, 60)), long]).await,
        Err(StoreError::Failed(_))
    ));
    assert_eq!(store.count().records, 0, "a batch is kept whole or not at all");
}

async fn concurrent_puts_of_one_name_leave_the_highest(world: World) {
    let store = world.open();
    let records: Vec<_> = (1..=40).map(|sequence| live(1, sequence, 60)).collect();
    let puts = (0..8).map(|writer| {
        let (store, mut records) = (store.clone(), records.clone());
        records.rotate_left(writer * 5);
        tokio::spawn(async move {
            let mut stored = 0;
            for record in records {
                stored += usize::from(matches!(put_one(&*store, put(record)).await, Outcome::Stored { .. }));
            }
            stored
        })
    });
    let (mut stored, before) = (0, *store.watch().borrow());
    for writer in puts.collect::<Vec<_>>() {
        stored += writer.await.unwrap();
    }
    assert_eq!(assert_coherent(&*store).await[&name(1)].record, live(1, 40, 60));
    // Each record can have won at most once, whoever put it.
    assert!((1..=40).contains(&stored), "{stored} puts won");
    assert!(store.watch().borrow()[1] > before[1]);
}

async fn a_batch_answers_in_order(world: World) {
    let store = world.open();
    let batch = vec![
        put(live(1, 2, 60)),
        put(live(1, 1, 60)),
        put(live(2, 1, 60)),
        put(live(1, 2, 60)),
        put(live(1, 3, 60)),
    ];
    let outcomes = store.put(batch).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Stored { replaced: false });
    assert!(matches!(&outcomes[1], Outcome::Older(held) if held.record == live(1, 2, 60)));
    assert_eq!(outcomes[2], Outcome::Stored { replaced: false });
    assert_eq!(outcomes[3], Outcome::Same);
    assert_eq!(outcomes[4], Outcome::Stored { replaced: true });
    assert_eq!(store.put(Vec::new()).await.unwrap(), []);
    assert_coherent(&*store).await;
}

async fn whoever_watches_hears_of_a_commit(world: World) {
    let store = world.open();
    let mut watch = store.watch();
    let waiting = tokio::spawn(async move {
        watch.changed().await.unwrap();
        watch.borrow()[Lane::Ordinary as usize]
    });
    put_one(&*store, put(live(1, 1, 60))).await;
    let cursor = waiting.await.unwrap();
    // What the watch tells of can be read.
    assert_eq!(store.changes(Lane::Ordinary, 0, 10).await.unwrap()[0].cursor, cursor);
}

async fn closing_twice_is_closing_once_and_nothing_goes_after_it(world: World) {
    let store = world.open();
    put_one(&*store, put(live(1, 1, 60))).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.put(vec![put(live(2, 1, 60))]).await, Err(StoreError::Closed)));
    assert!(matches!(store.get(&name(1)).await, Err(StoreError::Closed)));
    assert!(matches!(store.changes(Lane::Ordinary, 0, 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.changes(Lane::Ordinary, 99, 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.scan(None, 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.expire(UnixSecs(0), 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.note(b"k").await, Err(StoreError::Closed)));
    assert!(matches!(store.notes(b"", 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.set_notes(vec![(vec![1], None)]).await, Err(StoreError::Closed)));
    let pointer = pointer_to(&live(3, 1, 60), 8);
    assert!(matches!(store.put_pointers(vec![pointer.clone()]).await, Err(StoreError::Closed)));
    assert!(matches!(store.forget_pointers(vec![pointer]).await, Err(StoreError::Closed)));
    assert!(matches!(store.pointer(&name(3)).await, Err(StoreError::Closed)));
    assert!(matches!(store.pointer_changes(0, 1).await, Err(StoreError::Closed)));
    assert!(matches!(store.pointers(None, 1).await, Err(StoreError::Closed)));
    assert_eq!(store.count().records, 1);
}

// --- pointers ---

async fn a_pointer_stands_with_all_that_was_told(world: World) {
    let store = world.open();
    assert_eq!(store.pointer(&name(1)).await.unwrap(), None);
    let told = Pointer {
        keeper: name(90),
        keep_until: UnixSecs(SIGNED + 9 * DAY + 5),
        ..pointer_to(&live(1, 3, 60), 91)
    };
    assert_eq!(point(&*store, told.clone()).await, PointerOutcome::Kept);
    assert_eq!(point(&*store, told.clone()).await, PointerOutcome::Same);
    let store = world.reopen(store).await;
    assert_eq!(store.pointer(&name(1)).await.unwrap(), Some(told));
    assert_eq!(store.get(&name(1)).await.unwrap(), None, "a pointer is not a record");
    assert_eq!(store.count().pointers, 1);
    assert_coherent(&*store).await;
}

async fn a_pointer_that_finds_its_record_held_renews_it(world: World) {
    let store = world.open();
    let learnt = Put {
        class: Class::Peer,
        from: Some(name(91)),
        ..put(live(1, 5, 60))
    };
    let told = Pointer {
        class: Class::Customer,
        keeper: name(90),
        ..pointer_to(&live(1, 5, 60), 92)
    };
    put_one(&*store, learnt).await;
    let before = store.watch().borrow()[Lane::Ordinary as usize];
    assert_eq!(point(&*store, told.clone()).await, PointerOutcome::Renewed);
    let held = store.get(&name(1)).await.unwrap().unwrap();
    assert_eq!((held.class, held.from), (Class::Customer, Some(name(90))));
    assert!(
        store.watch().borrow()[Lane::Ordinary as usize] > before,
        "it is a change, which others are told"
    );
    assert_eq!(point(&*store, told).await, PointerOutcome::Same);
    assert_coherent(&*store).await;
}

async fn a_pointer_stands_only_while_it_outranks_what_is_held(world: World) {
    let store = world.open();
    put_one(&*store, put(live(1, 5, 60))).await;
    assert_eq!(point(&*store, pointer_to(&live(1, 4, 60), 90)).await, PointerOutcome::Older);
    assert_eq!(point(&*store, pointer_to(&live(1, 5, 60), 90)).await, PointerOutcome::Same);
    assert_eq!(store.pointer(&name(1)).await.unwrap(), None);
    assert_eq!(point(&*store, pointer_to(&live(1, 6, 60), 90)).await, PointerOutcome::Kept);
    // It never displaces what is held.
    assert_eq!(store.get(&name(1)).await.unwrap().unwrap().record, live(1, 5, 60));
    put_one(&*store, put(revocation(2, 1))).await;
    assert_eq!(
        point(&*store, pointer_to(&live(2, 9, 60), 90)).await,
        PointerOutcome::Older,
        "nothing outranks a revocation"
    );
    assert_coherent(&*store).await;
}

async fn a_record_of_at_least_its_rank_removes_a_pointer_in_the_same_commit(world: World) {
    let store = world.open();
    for (held, stands) in [(4, true), (5, false), (6, false)] {
        point(&*store, pointer_to(&live(held, 5, 60), 90)).await;
        put_one(&*store, put(live(held, u64::from(held), 60))).await;
        assert_eq!(
            store.pointer(&name(held)).await.unwrap().is_some(),
            stands,
            "with a record of sequence {held}"
        );
        assert_coherent(&*store).await;
    }
    point(&*store, pointer_to(&live(9, 5, 60), 90)).await;
    put_one(&*store, put(revocation(9, 1))).await;
    assert_eq!(store.pointer(&name(9)).await.unwrap(), None);
    let store = world.reopen(store).await;
    assert_eq!(store.count().pointers, 1);
    assert_coherent(&*store).await;
}

async fn it_does_not_show_whether_a_record_or_a_pointer_to_it_came_first(world: World) {
    let store = world.open();
    let (first, later) = (live(1, 3, 60), live(2, 3, 60));
    let learnt = |record: &VerifiedRecord| Put {
        class: Class::Peer,
        keep_until: UnixSecs(SIGNED + 2 * DAY),
        from: Some(name(80)),
        account: None,
        ..put(record.clone())
    };
    let told = |record: &VerifiedRecord| Pointer {
        class: Class::Customer,
        keep_until: UnixSecs(SIGNED + 9 * DAY),
        ..pointer_to(record, 90)
    };
    assert_eq!(point(&*store, told(&first)).await, PointerOutcome::Kept);
    put_one(&*store, learnt(&first)).await;
    // An older one than was told of stays what it is.
    assert_eq!(point(&*store, told(&live(2, 4, 60))).await, PointerOutcome::Kept);
    put_one(&*store, learnt(&later)).await;
    let store = world.reopen(store).await;
    let held = store.get(&name(1)).await.unwrap().unwrap();
    assert_eq!(
        (held.class, held.keep_until, held.from),
        (Class::Customer, UnixSecs(SIGNED + 9 * DAY), Some(name(90)))
    );
    assert_eq!(store.pointer(&name(1)).await.unwrap(), None);
    let held = store.get(&name(2)).await.unwrap().unwrap();
    assert_eq!((held.class, held.keep_until), (Class::Peer, UnixSecs(SIGNED + 2 * DAY)));
    assert!(store.pointer(&name(2)).await.unwrap().is_some());
    assert_coherent(&*store).await;
}

async fn of_two_pointers_the_higher_rank_stands_and_the_better_promise_is_joined(world: World) {
    let store = world.open();
    let of = |sequence, from, class, days: u64| Pointer {
        class,
        keep_until: UnixSecs(SIGNED + days * DAY),
        ..pointer_to(&live(1, sequence, 60), from)
    };
    let (peer, customer) = (Class::Peer, Class::Customer);
    assert_eq!(point(&*store, of(2, 90, peer, 5)).await, PointerOutcome::Kept);
    assert_eq!(point(&*store, of(1, 91, customer, 9)).await, PointerOutcome::Older);
    assert_eq!(
        point(&*store, of(2, 91, Class::Upstream, 5)).await,
        PointerOutcome::Same,
        "no better in anything"
    );
    let stands = || async { store.pointer(&name(1)).await.unwrap().unwrap() };
    assert_eq!(stands().await.keeper, name(90));
    // What nobody told of before is added to what stands, whoever told it first.
    let untold = Pointer {
        tag: None,
        ..pointer_to(&live(7, 1, 60), 90)
    };
    assert_eq!(point(&*store, untold.clone()).await, PointerOutcome::Kept);
    assert_eq!(point(&*store, pointer_to(&live(7, 1, 60), 91)).await, PointerOutcome::Kept);
    assert_eq!(point(&*store, untold).await, PointerOutcome::Same);
    let told = store.pointer(&name(7)).await.unwrap().unwrap();
    assert_eq!((told.tag, told.keeper), (pointer_to(&live(7, 1, 60), 91).tag, name(90)));
    // Better in both: that one's word.
    assert_eq!(point(&*store, of(2, 91, peer, 7)).await, PointerOutcome::Kept);
    assert_eq!(stands().await, of(2, 91, peer, 7));
    // A higher class here, a longer promise there: both, and who keeps it longer is asked.
    assert_eq!(point(&*store, of(2, 92, customer, 6)).await, PointerOutcome::Kept);
    let joined = Pointer {
        joined: true,
        ..of(2, 91, customer, 7)
    };
    assert_eq!(stands().await, joined);
    assert_eq!(point(&*store, of(2, 93, peer, 8)).await, PointerOutcome::Kept);
    let joined = Pointer {
        joined: true,
        ..of(2, 93, customer, 8)
    };
    assert_eq!(stands().await, joined);
    assert_eq!(point(&*store, of(3, 90, peer, 1)).await, PointerOutcome::Kept);
    assert_eq!(stands().await, of(3, 90, peer, 1));
    assert_coherent(&*store).await;
}

async fn a_pointer_to_a_twin_stands_until_somebody_looks(world: World) {
    let store = world.open();
    let (one, other) = (live(1, 5, 60), live(1, 5, 61));
    put_one(&*store, put(one.clone())).await;
    // Only the bytes can tell which of the two wins.
    let hint = pointer_to(&other, 90);
    assert_eq!(point(&*store, hint.clone()).await, PointerOutcome::Kept);
    let (low, high) = if hint.digest < pointer_to(&one, 90).digest {
        (other, one)
    } else {
        (one, other)
    };
    for order in [[&low, &high], [&high, &low]] {
        let twin = |record| Pointer {
            name: name(2),
            ..pointer_to(record, 90)
        };
        let _ = store
            .forget_pointers(store.pointer(&name(2)).await.unwrap().into_iter().collect())
            .await
            .unwrap();
        for record in order {
            point(&*store, twin(record)).await;
        }
        assert_eq!(store.pointer(&name(2)).await.unwrap(), Some(twin(&high)), "whichever came first");
    }
    assert_coherent(&*store).await;
}

async fn pointers_stand_in_a_lane_of_their_own_at_their_latest_change(world: World) {
    let store = world.open();
    let before = *store.watch().borrow();
    for n in 1..=4 {
        point(&*store, pointer_to(&live(n, 1, 60), 90)).await;
    }
    point(&*store, pointer_to(&live(2, 2, 60), 90)).await;
    put_one(&*store, put(live(3, 1, 60))).await;
    let changes = store.pointer_changes(0, 100).await.unwrap();
    let order: Vec<Name> = changes.iter().map(|change| change.pointer.name).collect();
    assert_eq!(order, [name(1), name(4), name(2)]);
    let after = *store.watch().borrow();
    let hearsay = Lane::Hearsay as usize;
    assert_eq!(changes.last().map(|change| change.cursor), Some(after[hearsay]));
    assert_eq!(after[hearsay], before[hearsay] + 5);
    assert_eq!(store.pointer_changes(changes[0].cursor, 1).await.unwrap(), [changes[1].clone()]);
    assert_eq!(
        store.changes(Lane::Hearsay, 0, 10).await.unwrap(),
        [],
        "nothing that is held stands there"
    );
    // Cursors are never given out twice, though nothing may be left of them.
    let all: Vec<Pointer> = pointers(&*store).await.into_values().collect();
    assert_eq!(store.forget_pointers(all).await.unwrap(), 3);
    let store = world.reopen(store).await;
    assert_eq!(*store.watch().borrow(), after);
    point(&*store, pointer_to(&live(1, 1, 60), 90)).await;
    assert_eq!(store.watch().borrow()[hearsay], after[hearsay] + 1);
    assert_coherent(&*store).await;
}

async fn a_pointer_is_forgotten_when_nobody_keeps_the_record_any_longer(world: World) {
    let store = world.open();
    let kept = |n, days: u64| Pointer {
        keep_until: UnixSecs(SIGNED + days * DAY),
        ..pointer_to(&live(n, 1, 60), 90)
    };
    store.put_pointers(vec![kept(1, 1), kept(2, 2), kept(3, 400)]).await.unwrap();
    // A longer promise: the old end is forgotten, and not the pointer.
    store.put_pointers(vec![kept(1, 5)]).await.unwrap();
    assert_eq!(store.expire(UnixSecs(SIGNED + DAY), 10).await.unwrap(), []);
    assert_eq!(store.expire(UnixSecs(SIGNED + 2 * DAY), 10).await.unwrap(), [name(2)]);
    assert_coherent(&*store).await;
    assert_eq!(store.expire(UnixSecs(SIGNED + 5 * DAY), 10).await.unwrap(), [name(1)]);
    // What has expired is not served, whatever its keeper promises.
    assert_eq!(store.expire(EXPIRY, 10).await.unwrap(), [name(3)]);
    assert_eq!(store.count().pointers, 0);
    assert_coherent(&*store).await;
}

async fn a_pointer_is_forgotten_only_as_it_was_given(world: World) {
    let store = world.open();
    let (old, new) = (pointer_to(&live(1, 1, 60), 90), pointer_to(&live(1, 2, 60), 90));
    point(&*store, old.clone()).await;
    point(&*store, new.clone()).await;
    assert_eq!(store.forget_pointers(vec![old, pointer_to(&live(2, 1, 60), 90)]).await.unwrap(), 0);
    assert_eq!(store.pointer(&name(1)).await.unwrap(), Some(new.clone()));
    assert_eq!(store.forget_pointers(vec![new.clone(), new]).await.unwrap(), 1);
    assert_eq!(store.pointer(&name(1)).await.unwrap(), None);
    assert_coherent(&*store).await;
}

async fn what_is_done_in_one_commit_to_records_and_pointers_agrees(world: World) {
    let store = world.open();
    // Many at once, so that commits are shared in every mixture.
    let writers = (0..6_u64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 1..=20 {
                let n = ((writer + round) % 5) as u32;
                match (writer + round) % 4 {
                    0 | 1 => drop(point(&*store, pointer_to(&live(n, round, 60), 90)).await),
                    2 => drop(put_one(&*store, put(live(n, round, 60))).await),
                    _ => {
                        let standing = store.pointer(&name(n)).await.unwrap();
                        store.forget_pointers(standing.into_iter().collect()).await.unwrap();
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let store = world.reopen(store).await;
    assert_coherent(&*store).await;
    store.expire(UnixSecs(u64::MAX), 100).await.unwrap();
    assert_eq!(store.count().pointers, 0);
}

// --- replication is a join ---

/// The puts that a case draws from: three names, sequences and bytes that tie, revocations, classes, leases.
fn any_put() -> impl Strategy<Value = Put> {
    let record = (0..3_u32, 1..4_u64, 60..62_u32, 0..8_u8).prop_map(|(n, sequence, ttl, revoked)| match revoked {
        0 => revocation(n, sequence),
        _ => live(n, sequence, ttl),
    });
    let class = prop_oneof![Just(Class::Upstream), Just(Class::Peer), Just(Class::Customer)];
    (record, class, 0..4_u64).prop_map(|(record, class, days)| Put {
        class,
        keep_until: UnixSecs(SIGNED + days * DAY),
        ..put(record)
    })
}

/// What must be held after `puts`, in any order: of each name the highest record, with the best that was said about it.
fn join(puts: &[Put]) -> BTreeMap<Name, (Vec<u8>, Class, UnixSecs)> {
    let mut joined = BTreeMap::new();
    for put in puts {
        let same_name = || puts.iter().filter(|other| other.record.name() == put.record.name());
        if same_name().any(|other| other.record.outranks(&put.record)) {
            continue;
        }
        let same = || same_name().filter(|other| other.record == put.record);
        let class = same().map(|put| put.class).max().expect("itself");
        let keep_until = same().map(|put| put.keep_until).max().expect("itself");
        joined.insert(*put.record.name(), (put.record.bytes().to_vec(), class, keep_until));
    }
    joined
}

async fn assert_joins(world: World, puts: Vec<Put>, batch: usize) {
    let wanted = join(&puts);
    let store = world.open();
    for batch in puts.chunks(batch) {
        store.put(batch.to_vec()).await.unwrap();
    }
    let store = world.reopen(store).await;
    let held = assert_coherent(&*store).await;
    let found: BTreeMap<_, _> = held
        .into_iter()
        .map(|(name, held)| (name, (held.record.bytes().to_vec(), held.class, held.keep_until)))
        .collect();
    assert_eq!(found, wanted);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_in_any_batches_leaves_the_same_in_memory(puts in prop::collection::vec(any_put(), 1..20).prop_shuffle(), batch in 1..8_usize) {
        runtime().block_on(assert_joins(World::memory(), puts, batch));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_in_any_batches_leaves_the_same_on_disk(puts in prop::collection::vec(any_put(), 1..20).prop_shuffle(), batch in 1..8_usize) {
        runtime().block_on(assert_joins(World::embedded(), puts, batch));
    }
}
