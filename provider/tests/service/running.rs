//! A provider runs, stops in good order, and goes on where it was.

use crate::puts::futures_of;
use crate::world::{Publisher, ShiftedClock, Trouble, TroubledStore, World, path_of, until};
use dialtone_provider::store::{MemoryStore, RecordStore};
use dialtone_shared::Body;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_restart_keeps_everything() {
    let world = World::in_folder(tempfile::tempdir().unwrap()).await;
    let name = world.provider.name();
    let records: Vec<_> = (0..50).map(|seed| Publisher::number(seed).signed(world.now())).collect();
    let receipts = futures_of(records.iter().map(|record| world.put(record))).await;
    let folder = world.stop().await;
    let world = World::in_folder(folder).await;
    assert_eq!(world.provider.name(), name, "the key was kept");
    for (record, reply) in records.iter().zip(receipts) {
        assert_eq!(world.get(&path_of(record.name())).await.body, record.bytes());
        assert_eq!(reply.promise().provider, name);
        assert_eq!(world.put(record).await.status, 200);
    }
}

#[tokio::test]
async fn a_stop_finishes_what_was_accepted() {
    let store = TroubledStore::new();
    let world = World::with(store.clone(), |_| {}).await;
    store.trouble.send_replace(Trouble::Stuck);
    let records: Vec<_> = (0..10).map(|seed| Publisher::number(seed).signed(world.now())).collect();
    let address = world.provider.addresses().http[0];
    let puts: Vec<_> = records
        .iter()
        .map(|record| {
            let (path, body) = (path_of(record.name()), record.bytes().clone());
            tokio::task::spawn_blocking(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                write!(stream, "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
                stream.write_all(&body).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                String::from_utf8_lossy(&answer).into_owned()
            })
        })
        .collect();
    world.until_counted("dialtone_verify_seconds_count", 10).await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        store.trouble.send_replace(Trouble::None);
    };
    let (stopped, ()) = tokio::join!(world.provider.shutdown(), release);
    stopped.unwrap();
    for put in puts {
        let answer = put.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_part_that_panics_is_noticed_and_leaves_no_provider_that_only_looks_well() {
    let store = TroubledStore::new();
    let mut world = World::with(store.clone(), |_| {}).await;
    assert_eq!(world.get("/healthz").await.status, 200);
    store.trouble.send_replace(Trouble::Panics);
    let record = Publisher::number(1).signed(world.now());
    assert_eq!(world.put(&record).await.status, 503);
    store.trouble.send_replace(Trouble::None);
    assert_eq!(world.get("/healthz").await.status, 503, "the disk is well, but nobody takes puts");
    tokio::time::timeout(Duration::from_secs(30), world.provider.failed())
        .await
        .expect("it is told");
    world.provider.shutdown().await.unwrap();
}

#[tokio::test]
async fn two_providers_live_in_one_process() {
    let (one, two) = tokio::join!(World::start(), World::start());
    let record = Publisher::number(1).signed(one.now());
    one.put(&record).await;
    assert_ne!(one.provider.name(), two.provider.name());
    assert_eq!(two.get(&path_of(record.name())).await.status, 404);
    let metrics = two.metrics().await;
    assert!(metrics.contains("dialtone_records 0"), "each keeps its own books");
}

#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let (before, store) = (ShiftedClock::by(-500 * 86_400), MemoryStore::new());
    let world = World::on(before, store.clone()).await;
    let [ended, revoked] = [1, 2].map(Publisher::number);
    world.put(&ended.signed(world.now())).await;
    let mut record = revoked.record(world.now());
    record.body = Body::Revoked;
    world.put(&revoked.sign(record)).await;
    assert_eq!(store.count().records, 2);
    // The same store 500 days later: nothing older of the first can be valid any more.
    let now = World::on(ShiftedClock::by(0), store.clone()).await;
    until(async || store.count().records == 1).await;
    assert_eq!(now.get(&path_of(&ended.name())).await.slug(), "absent");
    assert_eq!(now.get(&path_of(&revoked.name())).await.status, 200, "a revocation stays for ever");
    now.until_counted("dialtone_forgotten_total", 1).await;
}

#[tokio::test]
async fn connections_that_only_occupy_room_make_way() {
    let world = World::with(MemoryStore::new(), |settings| settings.limits.http_connections = 8).await;
    let address = world.provider.addresses().http[0];
    let idle: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let record = Publisher::number(1).signed(world.now());
    assert_eq!(world.put(&record).await.status, 201, "behind more than there is room for");
    drop(idle);
}

#[tokio::test]
async fn who_sends_slowly_is_hung_up_on() {
    let world = World::start().await;
    let address = world.provider.addresses().http[0];
    let slow: Vec<_> = [
        "GET /v1/in",
        "PUT /v1/records/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc",
        "",
    ]
    .into_iter()
    .map(|start| {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let begun = Instant::now();
            let mut answer = Vec::new();
            let ended = stream.read_to_end(&mut answer);
            (ended.is_ok(), begun.elapsed())
        })
    })
    .collect();
    let record = Publisher::number(1).signed(world.now());
    assert_eq!(world.put(&record).await.status, 201, "others are served meanwhile");
    for slow in slow {
        let (ended, took) = slow.await.unwrap();
        assert!(ended && took < Duration::from_secs(25), "after {took:?}");
    }
}
