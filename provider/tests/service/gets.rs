//! A get answers with the very bytes that were put, or says why not.

use crate::world::{Publisher, Trouble, TroubledStore, World, path_of};
use dialtone_provider::store::StoreError;
use dialtone_resolver::{Lookup, LookupError};
use dialtone_shared::receipt::Status;
use dialtone_shared::record::{Service, Target, Transport};
use dialtone_shared::{Binding, Body, SignedRecord, Ttl};

#[tokio::test]
async fn what_was_put_is_got_byte_for_byte() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    world.put(&record).await;
    let reply = world.get(&path_of(record.name())).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, "application/vnd.dialtone.record")
    );
    assert_eq!(reply.body, record.bytes());
    assert_eq!(reply.header("etag"), format!("\"{}\"", record.rank()));
    assert_eq!(reply.header("cache-control"), "max-age=60");
    SignedRecord::decode(reply.body).unwrap().verify_for(record.name()).unwrap();
    let head = world.ask("HEAD", &path_of(record.name()), &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        record.bytes().len().to_string(),
        "what a get would bring"
    );
    let upper = path_of(record.name()).replace(&record.name().to_string(), &record.name().to_string().to_uppercase());
    assert_eq!(world.get(&upper).await.status, 200, "upper and lower case alike");
    assert_eq!(
        world.get(&format!("/v1/records/{}", record.name().to_uri())).await.status,
        200,
        "as a URI too"
    );
    let numbered = format!("/v1/records/{}", record.name().to_uri().replace(':', "%3A").replace('y', "%79"));
    assert_eq!(world.get(&numbered).await.status, 200, "with characters as numbers");
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let record = publisher.signed(world.now());
    world.put(&record).await;
    let tag = format!("\"{}\"", record.rank());
    let path = path_of(record.name());
    let reply = world.ask("GET", &path, &[("if-none-match", &tag)], "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.body.len(), reply.header("etag")),
        (304, 0, tag.as_str())
    );
    world.put(&publisher.signed(world.now().plus(1))).await;
    assert_eq!(world.ask("GET", &path, &[("if-none-match", &tag)], "").await.status, 200);
}

#[tokio::test]
async fn a_record_can_be_read_as_json() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    world.put(&record).await;
    let reply = world
        .ask("GET", &path_of(record.name()), &[("accept", "application/json")], "")
        .await;
    let shown = reply.json();
    assert_eq!(shown["name"], record.name().to_string());
    assert_eq!(shown["bindings"][0]["ip"], "192.0.2.1");
    assert_eq!(shown["verified"], true);
}

#[tokio::test]
async fn a_name_that_nobody_put_is_absent() {
    let world = World::start().await;
    let name = Publisher::number(1).name();
    let reply = world.get(&path_of(&name)).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (404, "absent"));
    let found = world.provider.source().lookup(&name).await.unwrap();
    assert_eq!(found, Lookup::Absent { ttl: Ttl(5) });
}

#[tokio::test]
async fn an_expired_record_is_kept_but_not_served() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    world.put(&record).await;
    let source = world.provider.source();
    assert!(matches!(source.lookup(record.name()).await, Ok(Lookup::Found { ttl: Ttl(60), .. })));
    world.clock.shift(3_600 - 20);
    let Ok(Lookup::Found { ttl: Ttl(left), .. }) = source.lookup(record.name()).await else {
        panic!("it has not expired yet");
    };
    assert!(left <= 20, "no answer outlives the record: {left}");
    world.clock.shift(30);
    let reply = world.get(&path_of(record.name())).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (404, "stale"));
    assert_eq!(
        reply.problem()["held"],
        record.rank().to_string(),
        "so that a publisher knows what to outrank"
    );
    assert_eq!(source.lookup(record.name()).await, Err(LookupError::Expired));
    assert_eq!(world.put(&record).await.slug(), "expired", "nor can it be replayed");
}

#[tokio::test]
async fn a_status_says_what_is_held_and_is_signed() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let path = format!("{}/status", path_of(record.name()));
    let before = Status::verify(&world.get(&path).await.body).unwrap();
    world.put(&record).await;
    let reply = world.get(&path).await;
    assert_eq!(reply.header("content-type"), "application/vnd.dialtone.status");
    let after = Status::verify(&reply.body).unwrap();
    assert_eq!((before.name, before.rank), (*record.name(), None));
    assert_eq!((after.provider, after.rank), (world.provider.name(), Some(record.rank())));
    assert!(after.time > before.time);
}

#[tokio::test]
async fn a_provider_says_what_it_is() {
    let world = World::start().await;
    let info = world.get("/v1/info").await.json();
    assert_eq!(info["name"], world.provider.name().to_string());
    assert_eq!(info["origin"], "dialtone.alt");
    assert_eq!(info["http"][0], world.provider.addresses().http[0].to_string());
    let genesis = hex::decode(info["genesis"].as_str().unwrap()).unwrap();
    assert_eq!(dialtone_shared::Genesis::decode(&genesis).unwrap().name(), world.provider.name());
    assert_eq!(info["limits"]["record_bytes"], 4_096);
}

#[tokio::test]
async fn health_is_whether_a_put_would_be_kept() {
    let store = TroubledStore::new();
    let world = World::with(store.clone(), |_| {}).await;
    assert_eq!(world.get("/healthz").await.status, 200);
    for (trouble, says) in [
        (Trouble::Fails(StoreError::Full("/data".to_owned())), "full"),
        (Trouble::Stuck, "2 seconds"),
        (Trouble::Fails(StoreError::Closed), "closed"),
    ] {
        store.trouble.send_replace(trouble);
        tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
        let reply = world.get("/healthz").await;
        assert_eq!(reply.status, 503);
        assert!(
            reply.json()["reason"].as_str().unwrap().contains(says),
            "{says}: {:?}",
            reply.json()
        );
    }
    store.trouble.send_replace(Trouble::None);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    world.put(&record).await;
    world.put(&record).await;
    world.ask("PUT", &path_of(record.name()), &[], "junk").await;
    world.get(&path_of(record.name())).await;
    world.get(&path_of(&Publisher::number(2).name())).await;
    let text = world.metrics().await;
    for line in [
        "dialtone_puts_total{outcome=\"created\"} 1",
        "dialtone_puts_total{outcome=\"same\"} 1",
        "dialtone_puts_total{outcome=\"malformed\"} 1",
        "dialtone_gets_total{outcome=\"found\"} 1",
        "dialtone_gets_total{outcome=\"absent\"} 1",
        "dialtone_http_responses_total{status=\"201\"} 1",
        "dialtone_verify_seconds_count 1",
        "dialtone_commit_puts_count 2",
        "dialtone_put_queue 0",
        "dialtone_records 1",
        "dialtone_account_names{account=\"anonymous\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_name_is_walked_down_to_where_it_is() {
    let world = World::start().await;
    let (service, host) = (Publisher::number(1), Publisher::number(2));
    let mut record = service.record(world.now());
    if let Body::Live { bindings, .. } = &mut record.body {
        *bindings = vec![Binding::Service(Service {
            label: "https".to_owned(),
            transport: Transport::Tcp,
            port: 443,
            target: Target::Name(host.name()),
            alpn: Vec::new(),
            priority: 0,
            weight: 0,
            pins: Vec::new(),
        })];
    }
    world.put(&service.sign(record)).await;
    world.put(&host.signed(world.now())).await;
    let reply = world.get(&format!("/v1/resolve/{}", service.name())).await;
    let shown = reply.json();
    assert_eq!(
        (&shown["endpoints"][0]["ip"], &shown["endpoints"][0]["port"]),
        (&"192.0.2.1".into(), &443.into())
    );
    assert_eq!(
        shown["endpoints"][0]["path"],
        serde_json::json!([service.name().to_string(), host.name().to_string()])
    );
    assert_eq!(shown["tree"]["children"][0]["record"]["verified"], true);
    let ttl: u32 = reply.header("cache-control").strip_prefix("max-age=").unwrap().parse().unwrap();
    assert!(ttl <= 60);
    assert_eq!(
        world.get(&format!("/v1/resolve/{}", Publisher::number(3).name())).await.slug(),
        "absent"
    );
    assert_eq!(world.get("/v1/resolve/nonsense").await.slug(), "name");
    world.clock.shift(2 * 3_600);
    assert_eq!(world.get(&format!("/v1/resolve/{}", service.name())).await.slug(), "stale");
}
