//! Providers that push nothing and ask each other, over real sockets.

use crate::dns;
use crate::world::{Publisher, World, path_of, until};
use dialtone_provider::identity;
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::store::MemoryStore;
use dialtone_shared::message::Mode;
use dialtone_shared::{Body, Name};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Keys made before their providers, so that each other's settings can name them.
fn keys(folder: &tempfile::TempDir, count: usize) -> Vec<(PathBuf, Name)> {
    let key = |index| {
        let path = folder.path().join(format!("{index}.key"));
        let name = identity::open(&path, true).unwrap().name();
        (path, name)
    };
    (0..count).map(key).collect()
}

/// An agreement by which nothing is pushed.
fn asking(name: Name, addresses: &[String]) -> PeerSettings {
    PeerSettings {
        push: Mode::None,
        accept: Mode::None,
        ..PeerSettings::mutual(name, addresses.to_vec())
    }
}

/// As many providers in a row, of which each asks the next and is asked by it.
pub async fn row(folder: &tempfile::TempDir, count: usize, change: impl Fn(usize, &mut Vec<PeerSettings>)) -> Vec<World> {
    let keys = keys(folder, count);
    let mut worlds: Vec<World> = Vec::new();
    for (index, (key, _)) in keys.iter().enumerate() {
        let before = worlds.last().map(|world| world.provider.addresses().peering.unwrap().to_string());
        let mut peers: Vec<_> = before.map(|at| asking(keys[index - 1].1, &[at])).into_iter().collect();
        peers.extend(keys.get(index + 1).map(|(_, name)| asking(*name, &[])));
        change(index, &mut peers);
        let key = key.clone();
        let world = World::with(MemoryStore::new(), |settings| {
            settings.identity.key = Some(key);
            settings.peers = peers;
        });
        worlds.push(world.await);
    }
    worlds
}

fn nobody(index: u64) -> Name {
    Publisher::number(900 + index).name()
}

async fn status_of(world: &World, name: &Name) -> u16 {
    world.get(&path_of(name)).await.status.as_u16()
}

/// The DNS code for a name.
async fn code_of(world: &World, name: &Name) -> u8 {
    dns::ask(world.provider.addresses().dns[0], &dns::dns_of(name)).await.0
}

/// The value of a counter, with its labels.
pub async fn counted(world: &World, counter: &str) -> u64 {
    let metrics = world.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with(counter)).unwrap_or_default();
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_one_end_of_a_row_is_got_at_the_other_over_http_and_dns() {
    let folder = tempfile::tempdir().unwrap();
    let mut row = row(&folder, 3, |_, _| ()).await;
    let record = Publisher::number(1).signed(row[2].now());
    assert_eq!(row[2].put(&record).await.status, 201);
    until(async || status_of(&row[0], record.name()).await == 200).await;
    assert_eq!(row[0].get(&path_of(record.name())).await.body, record.bytes());
    assert_eq!(code_of(&row[0], record.name()).await, 0);
    assert!(
        row[0].held(record.name()).await.is_none(),
        "what is fetched is a copy, and not held"
    );

    until(async || status_of(&row[0], &nobody(1)).await == 404).await;
    assert_eq!(code_of(&row[0], &nobody(2)).await, 3, "NXDOMAIN, as both others say");
    let two = row[1].provider.name();
    assert!(counted(&row[0], &format!("dialtone_peer_asked_total{{peer=\"{two}\"}}")).await >= 2);
    assert!(counted(&row[0], &format!("dialtone_peer_answer_hits_total{{peer=\"{two}\"}}")).await >= 1);
    let one = row[0].provider.name();
    assert!(counted(&row[1], &format!("dialtone_peer_questions_served_total{{peer=\"{one}\"}}")).await >= 2);
    // Each question has a name in it, and one answer the record.
    let question_bytes = counted(&row[0], &format!("dialtone_peer_request_bytes_sent_total{{peer=\"{two}\"}}")).await;
    assert!(question_bytes >= 2 * Name::BYTES as u64, "{question_bytes}");
    let answer_bytes = counted(&row[1], &format!("dialtone_peer_request_bytes_sent_total{{peer=\"{one}\"}}")).await;
    assert!(answer_bytes >= record.bytes().len() as u64, "{answer_bytes}");

    row.pop().unwrap().stop().await;
    until(async || status_of(&row[0], &nobody(3)).await == 503).await;
    assert_eq!(code_of(&row[0], &nobody(4)).await, 2, "SERVFAIL: who is away may hold it");
    assert_eq!(status_of(&row[0], record.name()).await, 200, "the copy is good for its TTL");
}

#[tokio::test(flavor = "multi_thread")]
async fn pointers_and_digests_lead_to_who_keeps_a_record_and_say_when_there_is_none() {
    for mode in [Mode::Pointers, Mode::Digest] {
        let folder = tempfile::tempdir().unwrap();
        let row = row(&folder, 3, |_, peers| {
            for peer in peers {
                (peer.push, peer.accept) = (mode, mode);
            }
        })
        .await;
        until(async || status_of(&row[0], &nobody(1)).await == 404).await;
        let record = Publisher::number(1).signed(row[2].now());
        assert_eq!(row[2].put(&record).await.status, 201);
        until(async || row[0].get(&path_of(record.name())).await.body == record.bytes()).await;
        assert_eq!(code_of(&row[0], record.name()).await, 0, "{mode}");
        assert!(row[0].held(record.name()).await.is_none(), "{mode}: what is fetched is a copy");
        assert_eq!(code_of(&row[0], &nobody(2)).await, 3, "{mode}");

        let mut revoked = Publisher::number(1).record(row[2].now());
        revoked.body = Body::Revoked;
        let revoked = Publisher::number(1).sign(revoked);
        assert!(row[2].put(&revoked).await.status.is_success());
        until(async || {
            row[0]
                .held(record.name())
                .await
                .is_some_and(|held| held.record.bytes() == revoked.bytes())
        })
        .await;
        assert_eq!(
            row[0].get(&path_of(record.name())).await.body,
            revoked.bytes(),
            "{mode}: it goes by value everywhere"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_s_digest_takes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let row = row(&folder, 2, |_, peers| {
        (peers[0].push, peers[0].accept) = (Mode::Digest, Mode::Digest);
    })
    .await;
    let two = row[1].provider.name();
    until(async || counted(&row[0], &format!("dialtone_peer_digest_bytes{{peer=\"{two}\"}}")).await > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_pointers_are_pushed_an_absence_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let row = row(&folder, 2, |_, peers| {
        (peers[0].push, peers[0].accept) = (Mode::Pointers, Mode::Pointers);
    })
    .await;
    until(async || status_of(&row[0], &nobody(1)).await == 404).await;
    // Once both have said what lies behind them.
    let two = row[1].provider.name();
    let asked = format!("dialtone_peer_asked_total{{peer=\"{two}\"}}");
    until(async || {
        let before = counted(&row[0], &asked).await;
        let seed = 1_000 + before;
        for index in 0..5 {
            assert_eq!(status_of(&row[0], &Publisher::number(seed * 10 + index).name()).await, 404);
        }
        counted(&row[0], &asked).await == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_at_another_provider_is_seen_once_the_ttl_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let row = row(&folder, 2, |_, _| ()).await;
    until(async || status_of(&row[0], &nobody(1)).await == 404).await;
    let publisher = Publisher::number(1);
    let old = publisher.signed(row[0].now());
    assert_eq!(row[0].put(&old).await.status, 201);
    row[1].clock.shift(5);
    let new = publisher.signed(row[1].now());
    assert_eq!(row[1].put(&new).await.status, 201);
    assert_ne!(old.bytes(), new.bytes());
    assert_eq!(row[0].get(&path_of(old.name())).await.body, old.bytes(), "signed a moment ago");
    // What the first holds is past its TTL now: it asks, for nobody has pushed anything to it.
    row[0].clock.shift(61);
    assert_eq!(row[0].get(&path_of(old.name())).await.body, new.bytes());
    assert!(row[0].held(old.name()).await.is_some_and(|held| held.record.bytes() == old.bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_gets_of_one_name_ask_for_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut row = row(&folder, 2, |_, _| ()).await;
    let (one, two) = (Arc::new(row.remove(0)), row[0].provider.name());
    until(async || status_of(&one, &nobody(0)).await == 404).await;
    let asked = format!("dialtone_peer_asked_total{{peer=\"{two}\"}}");
    let before = counted(&one, &asked).await;
    let mut gets = JoinSet::new();
    for _ in 0..40 {
        let one = Arc::clone(&one);
        gets.spawn(async move { status_of(&one, &nobody(1)).await });
    }
    assert!(gets.join_all().await.iter().all(|status| *status == 404));
    assert_eq!(counted(&one, &asked).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_asks_more_than_was_agreed_is_told_so_and_one_that_may_not_ask_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let limited = row(&folder, 2, |index, peers| {
        if index == 1 {
            peers[0].queries_per_second = 1;
        }
    })
    .await;
    until(async || status_of(&limited[0], &nobody(0)).await == 404).await;
    let mut statuses = Vec::new();
    for index in 1..20 {
        statuses.push(status_of(&limited[0], &nobody(index)).await);
    }
    assert!(statuses.contains(&404) && statuses.contains(&503), "{statuses:?}");
    let one = limited[0].provider.name();
    assert!(counted(&limited[1], &format!("dialtone_peer_questions_refused_total{{peer=\"{one}\"}}")).await > 0);

    let folder = tempfile::tempdir().unwrap();
    let silent = row(&folder, 2, |index, peers| peers[0].answers = index == 0).await;
    let record = Publisher::number(1).signed(silent[1].now());
    silent[1].put(&record).await;
    // Who does not answer does not count: what is there to be known of the name, is known.
    until(async || status_of(&silent[0], record.name()).await == 404).await;
    until(async || status_of(&silent[1], &nobody(1)).await == 404).await;
}
