//! Forged, replayed and malformed records, limits and what is said of them, over real links.

use crate::support::*;
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::health::LinkState;
use dialtone_provider::peering::quota::Level;
use dialtone_provider::store::RecordStore;
use dialtone_shared::UnixMicros;
use dialtone_shared::message::CloseCode;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn forged_records_are_neither_stored_nor_passed_on_and_cost_less_than_a_tenth_of_a_core() {
    let a = Provider::new(1, vec![awaited(named(2)), awaited(named(3))]).await;
    let b = Provider::new(3, vec![a.dialled()]).await;
    let honest = record(1);
    a.put(vec![honest.clone()]).await;
    until("the honest record is there", async || b.held(honest.name()).await.is_some()).await;
    let mut peer = ByHand::greeted(a.address(), 2).await;
    for round in 0..20 {
        peer.push((0..256).map(|index| forged(1_000 + round * 256 + index))).await;
    }
    assert_eq!(peer.closed().await, CloseCode::InvalidRecords as u64);
    let status = a.status(&named(2));
    assert!((32..=2_048).contains(&status.progress.invalid), "{:?}", status.progress);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(
        status.progress.verified <= 64 + cores as u64,
        "of what is under way no more is looked at than shows that it is hopeless: {:?}",
        status.progress
    );
    assert!(status.progress.verify_time > Duration::ZERO);
    // It may come back after ten minutes: that much time is what the work is to be held against.
    assert!(
        status.progress.verify_time < Duration::from_secs(60),
        "{:?}",
        status.progress.verify_time
    );
    // Whoever breaks off early gains nothing: the place stays barred.
    let error = quick_greeting(&a, 2).await;
    assert_eq!(error, CloseCode::Busy as u64);
    let another = record(2);
    a.put(vec![another.clone()]).await;
    until("honest records pass", async || b.held(another.name()).await.is_some()).await;
    assert_eq!((a.store.count().records, b.store.count().records), (2, 2));
    assert_eq!(a.status(&b.name()).progress.records_sent, 2, "nothing forged went on");
}

/// Greets, and says with which code it is turned away.
async fn quick_greeting(at: &Provider, seed: u8) -> u64 {
    use dialtone_provider::io::quic::{self, LinkKey};
    use dialtone_provider::peering::greeting;
    use dialtone_shared::message::{ALPN, Hello, Message, Terms};
    let key = LinkKey::generate().expect("a key");
    let (endpoint, _) = quic::endpoint_speaking(any_port(), &key, ALPN).expect("a port");
    let connection = endpoint
        .connect(at.address(), "dialtone")
        .expect("an address")
        .await
        .expect("a connection");
    let (mut send, _recv) = connection.open_bi().await.expect("a stream");
    let record = greeting::own_record(&signer(seed), now(), 1, &[], vec![key.pin]).expect("a record");
    let hello = Hello {
        versions: vec![1],
        record: record.bytes().clone(),
        store: [seed; 16],
        boot: [seed; 16],
        heads: [0; 3],
        terms: Terms::mutual(),
    };
    send.write_all(&Message::Hello(hello).to_frame()).await.expect("an open stream");
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_off_before_the_32nd_invalid_record_is_cut_all_the_same() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut first = ByHand::greeted(a.address(), 2).await;
    first.push((0..31).map(forged)).await;
    until("they are counted", async || a.status(&named(2)).progress.invalid == 31).await;
    first.connection.close(0_u32.into(), b"");
    until("the link is gone", async || a.status(&named(2)).state != LinkState::Up).await;
    let mut second = ByHand::greeted(a.address(), 2).await;
    second.push([forged(99)]).await;
    assert_eq!(second.closed().await, CloseCode::InvalidRecords as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_records_change_nothing_and_go_nowhere() {
    let a = Provider::new(1, vec![awaited(named(2)), awaited(named(3))]).await;
    let b = Provider::new(3, vec![a.dialled()]).await;
    let earlier = UnixMicros(now().0 - 60_000_000);
    let old: Vec<Vec<u8>> = (0..200).map(|index| twin(index, earlier, 60).bytes().to_vec()).collect();
    a.put((0..200).map(record).collect()).await;
    until("everyone has the new ones", async || {
        b.store.count().records == 200 && a.status(&b.name()).progress.sent_all
    })
    .await;
    let (before, sent) = (*a.store.watch().borrow(), a.status(&b.name()).progress.records_sent);
    let mut peer = ByHand::greeted(a.address(), 2).await;
    let mut older = 0;
    for _ in 0..25 {
        peer.push(old.clone()).await;
        older += peer.acked().await.expect("the link stands").counts.older;
    }
    assert_eq!(older, 5_000);
    let status = a.status(&named(2));
    assert_eq!(
        (status.state, status.progress.verified),
        (LinkState::Up, 0),
        "not even a signature was checked"
    );
    assert_eq!(*a.store.watch().borrow(), before, "nothing was written");
    assert_eq!(a.status(&b.name()).progress.records_sent, sent, "nothing was passed on");
}

/// Ways in which a record can be broken; each another one.
fn broken(kind: usize) -> Vec<u8> {
    let mut bytes = record(10_000 + kind as u32).bytes().to_vec();
    let length = bytes.len();
    match kind % 5 {
        0 => bytes.truncate(kind * 7 % length),
        1 => bytes[kind * 13 % 24] ^= 1 << (kind % 8),
        2 => bytes.insert(kind * 11 % length, kind as u8),
        3 => {
            bytes.remove(kind * 17 % length);
        }
        _ => bytes[length - 1 - kind % 64] ^= 0x40,
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_record_its_neighbours_are_taken() {
    let peers: Vec<u8> = (10..40).collect();
    let a = Provider::new(1, peers.iter().map(|seed| awaited(named(*seed))).collect()).await;
    let mut expected = 0;
    for seed in peers {
        let mut peer = ByHand::greeted(a.address(), seed).await;
        let first = usize::from(seed) * 31;
        // One broken, one whole, in turn: as many as a link may bring of the broken.
        let mixed = (first..first + 31).flat_map(|kind| [broken(kind), record(kind as u32).bytes().to_vec()]);
        peer.push(mixed).await;
        let counts = peer.acked().await.expect("the link stands").counts;
        assert_eq!((counts.stored, counts.refused), (31, 31), "of peer {seed}");
        expected += 31;
        assert_eq!(
            a.status(&named(seed)).state,
            LinkState::Up,
            "no link is reset for what can be passed over"
        );
    }
    assert_eq!(a.store.count().records, expected);
}

fn limited(seed: u8, names: u64) -> Agreement {
    let mut agreement = awaited(named(seed));
    agreement.limits.names = names;
    agreement
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_at_its_limit_is_told_so_and_may_bring_more_when_there_is_room() {
    let a = Provider::new(1, vec![limited(2, 40)]).await;
    let mut peer = ByHand::greeted(a.address(), 2).await;
    peer.push((0..100).map(|index| record(index).bytes().to_vec())).await;
    let counts = peer.acked().await.expect("the link stands").counts;
    assert_eq!((counts.stored, counts.limited, counts.refused), (40, 60, 0));
    let status = a.status(&named(2));
    assert_eq!((status.brought.held, status.brought.level), (Some(40), Level::Full));
    assert!(status.brought.refusing);

    // Known names still change; new ones are not even verified.
    let known: Vec<_> = a.store.scan(None, 100).await.expect("open");
    let names: Vec<_> = known.iter().map(|held| *held.record.name()).collect();
    let updates = (0..100).map(|index| twin(index, UnixMicros(now().0 + 1_000), 60));
    let updates: Vec<_> = updates
        .filter(|update| names.contains(update.name()))
        .map(|update| update.bytes().to_vec())
        .collect();
    let verified = a.status(&named(2)).progress.verified;
    peer.push(updates.into_iter().chain((200..300).map(|index| record(index).bytes().to_vec())))
        .await;
    let counts = peer.acked().await.expect("the link stands").counts;
    assert_eq!((counts.stored, counts.limited), (40, 100));
    until("it is counted", async || a.status(&named(2)).progress.verified == verified + 40).await;

    a.handle.agree(vec![limited(2, 0)]).expect("one agreement");
    assert_eq!(peer.told_takes_all().await, Some(true), "what was refused may be offered again");
    peer.push((200..300).map(|index| record(index).bytes().to_vec())).await;
    assert_eq!(peer.acked().await.expect("the link stands").counts.stored, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_provider_refuses_another_offers_again_over_a_real_link() {
    let a = Provider::new(1, vec![limited(2, 300)]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    b.put((0..1_000).map(record).collect()).await;
    until("a is full", async || a.store.count().records == 300).await;
    until("b knows", async || {
        b.status(&a.name()).theirs.is_some_and(|theirs| !theirs.takes_all) && !b.status(&a.name()).progress.sent_all
    })
    .await;
    assert!(!a.status(&b.name()).progress.received_all, "a knows that b has more for it");
    a.handle.agree(vec![limited(2, 0)]).expect("one agreement");
    until("a has everything", async || a.store.count().records == 1_000).await;
    until("both know", async || {
        b.status(&a.name()).progress.sent_all && a.status(&b.name()).progress.received_all
    })
    .await;
    assert_eq!(a.status(&b.name()).progress.links, 1, "over the same link");
}
