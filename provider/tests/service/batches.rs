//! Many records in one request, an outcome for each.

use crate::world::{Publisher, Reply, World, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialtone_provider::settings::{AnonymousPuts, BATCHES_AT_A_TIME};
use dialtone_provider::store::MemoryStore;
use dialtone_shared::cbor::Writer;
use dialtone_shared::receipt::Receipt;
use dialtone_shared::{Name, SignedRecord};
use std::io::Write;
use std::net::TcpStream;

async fn post(world: &World, records: &[impl AsRef<[u8]>]) -> Reply {
    let mut w = Writer::new();
    w.array(records.len());
    for record in records {
        w.bytes(record.as_ref());
    }
    world
        .ask("POST", "/v1/records", &[("content-type", "application/cbor")], w.into_bytes())
        .await
}

#[tokio::test]
async fn a_thousand_records_are_kept_and_each_has_its_receipt() {
    let world = World::start().await;
    let records: Vec<SignedRecord> = (0..1_000).map(|seed| Publisher::number(seed).signed(world.now())).collect();
    let bytes: Vec<_> = records.iter().map(|record| record.bytes().clone()).collect();
    let reply = post(&world, &bytes).await;
    assert_eq!(reply.status, 200);
    let shown = reply.json();
    assert_eq!(shown.as_array().unwrap().len(), 1_000);
    for (record, shown) in records.iter().zip(shown.as_array().unwrap()) {
        assert_eq!((&shown["status"], &shown["rank"]), (&201.into(), &record.rank().to_string().into()));
        let receipt = STANDARD.decode(shown["receipt"].as_str().unwrap()).unwrap();
        let promise = Receipt::decode(&receipt).unwrap().verify().unwrap();
        assert_eq!((promise.name, promise.rank), (*record.name(), record.rank()));
    }
    assert_eq!(world.provider.store().count().records, 1_000);
}

#[tokio::test]
async fn each_of_a_batch_stands_for_itself() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let held = publisher.signed(world.now().plus(1));
    world.put(&held).await;
    let good = Publisher::number(2).signed(world.now());
    let older = publisher.signed(world.now());
    let mut forged = Publisher::number(3).signed(world.now()).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let batch = [
        good.bytes().to_vec(),
        older.bytes().to_vec(),
        forged,
        b"garbage".to_vec(),
        held.bytes().to_vec(),
    ];
    let shown = post(&world, &batch).await.json();
    let column = |key: &str| -> Vec<serde_json::Value> { shown.as_array().unwrap().iter().map(|row| row[key].clone()).collect() };
    assert_eq!(column("status"), [201, 409, 422, 400, 200].map(serde_json::Value::from));
    assert_eq!(shown[1]["problem"]["held"], held.rank().to_string());
    assert_eq!(shown[2]["problem"]["type"], "urn:dialtone:problem:signature");
    assert_eq!(shown[3]["name"], serde_json::Value::Null);
    assert_eq!(world.provider.store().count().records, 2);
}

#[tokio::test]
async fn the_same_name_twice_in_a_batch_ends_at_the_higher_rank() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let [low, high] = [0, 1].map(|later| publisher.signed(world.now().plus(later)));
    let shown = post(&world, &[high.bytes(), low.bytes()]).await.json();
    assert_eq!((&shown[0]["status"], &shown[1]["status"]), (&201.into(), &409.into()));
    assert_eq!(world.held(high.name()).await.unwrap().record.bytes(), high.bytes());
}

#[tokio::test]
async fn what_is_not_a_batch_is_refused_whole() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let many: Vec<Vec<u8>> = vec![vec![0; 80]; 1_001];
    let reply = post(&world, &many).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (400, "batch"));
    assert!(reply.problem()["detail"].as_str().unwrap().contains("1000"));
    for body in [&b""[..], b"[]", &[0x82, 0x41], &[0x9f, 0xff], record.bytes()] {
        assert_eq!(world.ask("POST", "/v1/records", &[], body.to_vec()).await.slug(), "batch");
    }
    let reply = world.ask("POST", "/v1/records", &[], vec![0; (4 << 20) + 1]).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (413, "too-large"));
    let reply = world
        .ask("POST", "/v1/records", &[("content-type", "application/json")], "[]")
        .await;
    assert_eq!(reply.status, 415);
    let none: [&[u8]; 0] = [];
    assert_eq!(post(&world, &none).await.json(), serde_json::json!([]));
    assert_eq!(world.provider.store().count().records, 0);
}

#[tokio::test]
async fn a_batch_obeys_scope_and_time() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let mut elsewhere = publisher.record(world.now());
    elsewhere.scope = vec![Name::key_set([9; 32])];
    let future = Publisher::number(2).signed(world.now().plus(3_600));
    let shown = post(&world, &[publisher.sign(elsewhere).bytes(), future.bytes()]).await.json();
    assert_eq!(shown[0]["problem"]["type"], "urn:dialtone:problem:out-of-scope");
    assert_eq!(shown[1]["problem"]["type"], "urn:dialtone:problem:future");
}

#[tokio::test]
async fn strangers_who_send_slowly_leave_turns_to_others() {
    let world = World::with(MemoryStore::new(), |settings| settings.http.anonymous_puts = AnonymousPuts::Yes).await;
    let address = world.provider.addresses().http[0];
    let stranger = ("x-forwarded-for", "192.0.2.1");
    let head = "POST /v1/records HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1\r\ncontent-length: 1000\r\n\r\n";
    let _slow: Vec<_> = (0..BATCHES_AT_A_TIME)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    until(async || world.ask("POST", "/v1/records", &[stranger], &[0x80][..]).await.status == 503).await;
    assert_eq!(world.ask("POST", "/v1/records", &[], &[0x80][..]).await.status, 200);
}
