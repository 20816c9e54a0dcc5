//! Who watches names is told what becomes of them: everything, once, in the end the truth, however slowly it reads.

use crate::world::{Publisher, World, path_of, until};
use bytes::BytesMut;
use dialtone_resolver::dns::generations::{Generations, Trace};
use dialtone_resolver::io::live::Live;
use dialtone_resolver::settings::{FloorAt, ProviderAt, StubSettings};
use dialtone_resolver::{RecordSource, Stub};
use dialtone_shared::record::Opaque;
use dialtone_shared::{Binding, Body, Name, SignedRecord, UnixSecs};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Somebody who watches.
struct Watch {
    body: Incoming,
    read: BytesMut,
    /// The id of the last event that had one.
    id: String,
}

/// What was told.
#[derive(Debug)]
struct Event {
    kind: String,
    data: Value,
}

impl Watch {
    async fn of(world: &World, query: &str) -> Self {
        Self::again(world, query, "").await
    }

    /// Comes back with the id of its last event.
    async fn again(world: &World, query: &str, id: &str) -> Self {
        let mut request = Request::get(format!("{}/v1/watch?{query}", world.base));
        if !id.is_empty() {
            request = request.header("last-event-id", id);
        }
        Self::on(ask(request.body(Full::default()).unwrap()).await)
    }

    async fn posted(world: &World, names: String) -> Self {
        let request = Request::post(format!("{}/v1/watch", world.base)).header("content-type", "text/plain");
        Self::on(ask(request.body(Full::new(names.into())).unwrap()).await)
    }

    fn on(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            read: BytesMut::new(),
            id: String::new(),
        }
    }

    /// The next event; `None`: the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block = self.read.split_to(end + 2);
                let block = std::str::from_utf8(&block).unwrap();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                self.id = field("id: ").unwrap_or(std::mem::take(&mut self.id));
                if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Event { kind, data });
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame())
                .await
                .expect("told in time");
            self.read.extend_from_slice(frame?.unwrap().data_ref().unwrap());
        }
    }

    /// The next event's kind, and the name that it is about.
    async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("the stream goes on");
        (event.kind, event.data["name"].as_str().unwrap_or_default().to_owned())
    }

    /// Everything that is true now, by name.
    async fn all(&mut self) -> HashMap<String, String> {
        let mut all = HashMap::new();
        loop {
            let (kind, name) = self.told().await;
            if kind == "current" {
                return all;
            }
            // The same may be told twice: what changed while it was read is told again.
            all.insert(name, kind);
        }
    }
}

async fn ask(request: Request<Full<bytes::Bytes>>) -> Response<Incoming> {
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

fn told(kind: &str, name: &Name) -> (String, String) {
    (kind.to_owned(), name.to_string())
}

#[tokio::test]
async fn what_is_true_is_told_first_and_then_what_changes() {
    let world = World::start().await;
    let (one, other) = (Publisher::number(1), Publisher::number(2));
    let record = one.signed(world.now());
    world.put(&record).await;
    let mut watch = Watch::of(&world, &format!("name={}&name={}", one.name(), other.name())).await;
    let mut first = Vec::new();
    for _ in 0..2 {
        let event = watch.next().await.unwrap();
        if event.kind == "put" {
            assert_eq!(event.data["rank"], record.rank().to_string());
            assert_eq!(event.data["fresh"], Value::Null, "it is kept here");
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(event.data["record"].as_str().unwrap())
                .unwrap();
            SignedRecord::decode(bytes.into()).unwrap().verify_for(&one.name()).unwrap();
        }
        first.push((event.kind, event.data["name"].as_str().unwrap().to_owned()));
    }
    first.sort();
    assert_eq!(first, [told("absent", &other.name()), told("put", &one.name())]);
    let current = watch.next().await.unwrap();
    assert_eq!((current.kind.as_str(), &current.data["whole"]), ("current", &Value::Bool(true)));

    world.put(&other.signed(world.now())).await;
    assert_eq!(watch.told().await, told("put", &other.name()));
    world.put(&Publisher::number(3).signed(world.now())).await;
    let mut revoked = one.record(world.now().plus(1));
    revoked.body = Body::Revoked;
    world.put(&one.sign(revoked)).await;
    assert_eq!(
        watch.told().await,
        told("revoke", &one.name()),
        "and nothing of names that are not watched"
    );
}

#[tokio::test]
async fn that_a_record_expires_is_told_when_it_does() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let record = publisher.signed(world.now());
    world.put(&record).await;
    let mut watch = Watch::of(&world, &format!("name={}", publisher.name())).await;
    assert_eq!(watch.all().await, HashMap::from([(publisher.name().to_string(), "put".to_owned())]));
    world.clock.shift(3_601);
    let event = watch.next().await.unwrap();
    assert_eq!(
        (event.kind.as_str(), &event.data["rank"]),
        ("expire", &Value::from(record.rank().to_string()))
    );
    world.put(&publisher.signed(world.now())).await;
    assert_eq!(watch.told().await, told("put", &publisher.name()), "it comes back");
}

#[tokio::test]
async fn who_comes_back_is_told_what_it_missed_and_nothing_else() {
    let world = World::start().await;
    let publishers: Vec<Publisher> = (0..4).map(Publisher::number).collect();
    for publisher in &publishers[..3] {
        world.put(&publisher.signed(world.now())).await;
    }
    let query: Vec<String> = publishers.iter().map(|publisher| format!("name={}", publisher.name())).collect();
    let query = query.join("&");
    let mut watch = Watch::of(&world, &query).await;
    assert_eq!(watch.all().await.len(), 4);
    let id = std::mem::take(&mut watch.id);
    drop(watch);
    for at in 1..=5 {
        world.put(&publishers[1].signed(world.now().plus(at))).await;
    }
    let mut again = Watch::again(&world, &query, &id).await;
    let missed = again.all().await;
    assert_eq!(
        missed.get(&publishers[1].name().to_string()).map(String::as_str),
        Some("put"),
        "five changes are one"
    );
    assert_eq!(
        missed.get(&publishers[3].name().to_string()).map(String::as_str),
        Some("absent"),
        "of what is not kept no change is told"
    );
    assert_eq!(missed.len(), 2);
    let held = publishers[0].signed(world.now());
    let rank = world.held(held.name()).await.unwrap();
    let mut knows = Watch::of(&world, &format!("name={},{}", held.name(), rank.record.rank())).await;
    assert!(knows.all().await.is_empty(), "nor what it says that it knows");
}

#[tokio::test]
async fn a_cursor_that_says_nothing_here_is_told_so_and_everything_anew() {
    let world = World::start().await;
    let other = World::start().await;
    let publisher = Publisher::number(1);
    world.put(&publisher.signed(world.now())).await;
    let query = format!("name={}", publisher.name());
    let mut elsewhere = Watch::of(&other, &query).await;
    elsewhere.all().await;
    for id in [elsewhere.id.as_str(), "7", "x.1.1.1"] {
        let mut watch = Watch::again(&world, &query, id).await;
        let event = watch.next().await.unwrap();
        assert_eq!(event.kind, "resync", "{id}");
        assert!(event.data["reason"].as_str().unwrap().contains("cursor"));
        assert_eq!(watch.told().await, told("put", &publisher.name()));
    }
}

#[tokio::test]
async fn ten_thousand_names_are_watched_on_one_connection() {
    let world = World::start().await;
    let publishers: Vec<Publisher> = (0..10_000).map(Publisher::number).collect();
    let names: Vec<String> = publishers.iter().map(|publisher| publisher.name().to_string()).collect();
    let mut watch = Watch::posted(&world, names.join("\n")).await;
    assert_eq!(watch.all().await.len(), 10_000);
    for index in [0, 4_711, 9_999] {
        world.put(&publishers[index].signed(world.now())).await;
        assert_eq!(watch.told().await, told("put", &publishers[index].name()));
    }
    drop(watch);
    let mut at = 0;
    until(async || {
        // Whoever is gone is noticed when there is something to tell.
        at += 1;
        world.put(&publishers[at % 200].signed(world.now().plus(1))).await;
        world.metrics().await.lines().any(|line| line == "dialtone_watchers 0")
    })
    .await;
}

#[tokio::test]
async fn who_reads_slowly_is_told_the_latest_and_holds_up_nobody() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let start = world.now();
    let big = |at: u64| {
        let mut record = publisher.record(start.plus(at));
        if let Body::Live { bindings, .. } = &mut record.body {
            let (media_type, bytes) = ("application/octet-stream".to_owned(), vec![7; 3_500]);
            bindings.push(Binding::Opaque(Opaque { media_type, bytes }));
        }
        publisher.sign(record)
    };
    let address = world.provider.addresses().http[0];
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut slow = socket.connect(address).await.unwrap();
    let head = format!("GET /v1/watch?name={} HTTP/1.1\r\nhost: x\r\n\r\n", publisher.name());
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut quick = Watch::of(&world, &format!("name={}", publisher.name())).await;
    quick.all().await;
    world.until_counted("dialtone_watchers", 2).await;
    let puts = 280;
    for at in 0..puts {
        world.put(&big(at)).await;
        let latest = big(at).rank().to_string();
        while quick.next().await.unwrap().data["rank"] != latest {}
    }
    let latest = format!("\"rank\":\"{}\"", big(puts - 1).rank());
    let mut read = Vec::new();
    while !read.windows(latest.len()).any(|window| window == latest.as_bytes()) {
        let mut piece = vec![0; 1 << 20];
        let read_now = tokio::time::timeout(Duration::from_secs(60), slow.read(&mut piece))
            .await
            .expect("told in time");
        // Where all of this takes long, who took nothing for ten seconds was hung up on.
        let Ok(length @ 1..) = read_now else { return };
        // What has been looked through already, but for its end, is not looked through again.
        read.drain(..read.len().saturating_sub(latest.len()));
        read.extend_from_slice(&piece[..length]);
    }
}

#[tokio::test]
async fn what_is_no_list_of_names_to_watch_is_refused() {
    let world = World::start().await;
    let name = Publisher::number(1).name();
    for (method, path, headers, body, status, slug) in [
        ("GET", "/v1/watch".to_owned(), None, "", 400, "watch"),
        ("GET", "/v1/watch?name=x".to_owned(), None, "", 400, "name"),
        ("GET", format!("/v1/watch?of={name}"), None, "", 400, "watch"),
        ("GET", format!("/v1/watch?name={name},9"), None, "", 400, "watch"),
        ("POST", "/v1/watch".to_owned(), None, "\n", 400, "watch"),
        (
            "POST",
            "/v1/watch".to_owned(),
            Some(("content-type", "image/png")),
            "x",
            415,
            "media-type",
        ),
        ("PUT", "/v1/watch".to_owned(), None, "", 405, "method"),
    ] {
        let headers: Vec<_> = headers.into_iter().collect();
        let reply = world.ask(method, &path, &headers, body).await;
        assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (status, slug), "{method} {path}");
    }
    let many: String = (0..16_385)
        .map(|number| format!("{}\n", Publisher::number(number).name()))
        .collect();
    assert_eq!(world.ask("POST", "/v1/watch", &[], many).await.slug(), "watch-max");
    let long = "x".repeat(3 << 20);
    assert_eq!(world.ask("POST", "/v1/watch", &[], long).await.slug(), "too-large");
    assert_eq!(world.get(&path_of(&name)).await.status, 404, "and all goes on");
}

#[tokio::test]
async fn who_watches_hears_that_the_provider_stops() {
    let world = World::start().await;
    let mut watch = Watch::of(&world, &format!("name={}", Publisher::number(1).name())).await;
    watch.all().await;
    let stopping = tokio::spawn(world.stop());
    assert!(watch.next().await.is_none(), "the stream ends in good order");
    stopping.await.unwrap();
}

#[tokio::test]
async fn half_of_the_connections_are_left_to_those_who_ask() {
    let store = dialtone_provider::store::MemoryStore::new();
    let world = World::with(store, |settings| settings.limits.http_connections = 4).await;
    let query = format!("name={}", Publisher::number(1).name());
    let mut watches = Vec::new();
    for _ in 0..2 {
        watches.push(Watch::of(&world, &query).await);
    }
    let reply = world.get(&format!("/v1/watch?{query}")).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (503, "busy"));
    drop(watches);
    until(async || world.get("/metrics").await.status == 200).await;
}

#[tokio::test]
async fn what_was_made_while_every_change_was_told_holds_no_longer_when_the_provider_is_gone() {
    let world = World::start().await;
    let (publisher, now) = (Publisher::number(7), world.now());
    let settings = StubSettings {
        providers: vec![ProviderAt::Http(world.base.clone())],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    };
    let stub = Stub::connect(settings).await.unwrap();
    let generations = Arc::new(Generations::new());
    let _live = Live::keep(stub.clone(), Arc::clone(&generations));
    // An answer that is made now, and whether it still holds.
    let answer = || {
        let trace = Trace::default();
        trace.consulted(&publisher.name(), &generations);
        trace.known();
        (trace.into_slots().unwrap(), generations.begin())
    };
    let has_ended = async |(slots, begun): (Vec<u32>, u64)| until(async || !generations.hold(slots.clone(), begun)).await;
    for version in 0..4 {
        let made = answer();
        assert_eq!(world.put(&publisher.signed(UnixSecs(now.0 + version))).await.status, 201);
        if version == 0 {
            stub.lookup(&publisher.name()).await.unwrap();
        } else {
            // Told of, so it is watched.
            has_ended(made).await;
        }
    }
    let made = answer();
    let _folder = world.stop().await;
    has_ended(made).await;
}
