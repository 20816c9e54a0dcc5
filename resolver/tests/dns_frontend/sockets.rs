//! The frontend on real sockets: datagrams, connections, limits, and the end.

use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use async_trait::async_trait;
use dialtone_resolver::dns::{Frontend, ListenerSettings};
use dialtone_resolver::io::listeners::{bind, serve};
use dialtone_resolver::{FloorAt, Lookup, LookupError, ProviderAt, RecordSource, Stub, StubSettings};
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Address, Opaque};
use dialtone_shared::{Binding, Name};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A frontend that serves until it is told to stop.
pub struct Served {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Served {
    pub async fn start(frontend: Arc<Frontend>, listeners: ListenerSettings) -> Self {
        let (udp, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = udp.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(frontend, vec![udp.into()], vec![tcp], listeners, async {
            stopped.await.ok();
        }));
        Self { address, stop, served }
    }

    async fn stop(self) {
        self.stop.send(()).ok();
        timeout(PATIENCE, self.served).await.expect("stops").expect("without panic");
    }
}

/// The records of another source, given only when a permit is.
#[derive(Debug)]
struct Slow {
    records: Arc<Records>,
    permits: Semaphore,
}

#[async_trait]
impl RecordSource for Slow {
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        assert!(*name != crate::world::name("broken"), "a fault nobody thought of");
        if *name == crate::world::name("slow") {
            self.permits.acquire().await.map_err(|_| LookupError::Busy)?.forget();
        }
        self.records.lookup(name).await
    }
}

fn records() -> Arc<Records> {
    let records = Arc::new(Records::default());
    for who in ["web", "slow"] {
        records.publish(who, 60, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])))]);
    }
    records
}

fn ask(who: &str, id: u16) -> Vec<u8> {
    let mut question = Ask::of(&format!("{}.{ORIGIN}", name(who)), types::A).bytes();
    question[..2].copy_from_slice(&id.to_be_bytes());
    question
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

pub async fn send(stream: &mut TcpStream, message: &[u8]) {
    stream.write_u16(message.len() as u16).await.expect("sent");
    stream.write_all(message).await.expect("sent");
}

/// The next answer; `None` when the connection is closed.
pub async fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("in time").ok()?;
    let mut message = vec![0; usize::from(length)];
    timeout(PATIENCE, stream.read_exact(&mut message)).await.expect("in time").ok()?;
    Some(message)
}

pub async fn client(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address.ip(), 0)).await.expect("socket");
    socket.connect(address).await.expect("connected");
    socket
}

pub async fn receive_udp(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 4_096];
    let length = timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .expect("in time")
        .expect("received");
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn datagrams_and_connections_are_answered_alike() {
    let served = Served::start(frontend(&records(), settings()), ListenerSettings::default()).await;
    let socket = client(served.address).await;
    socket.send(&ask("web", 7)).await.expect("sent");
    let by_udp = receive_udp(&socket).await;
    let mut stream = connect(served.address).await;
    send(&mut stream, &ask("web", 7)).await;
    assert_eq!(receive(&mut stream).await, Some(by_udp));
    served.stop().await;
}

#[tokio::test]
async fn a_stub_finds_by_dns_what_a_source_has() {
    let records = records();
    let media_type = "application/octet-stream".to_owned();
    let long = Opaque {
        media_type,
        bytes: vec![7; 3_000],
    };
    let big = records.publish("big", 60, vec![Binding::Opaque(long)]);
    let small = records.publish("web", 60, Vec::new());
    records.revoke("gone");
    records.set(name("broken"), Err(LookupError::Unavailable("starting".to_owned())));
    let served = Served::start(frontend(&records, settings()), ListenerSettings::default()).await;
    let stub = Stub::connect(StubSettings {
        providers: vec![ProviderAt::Dns {
            host: served.address.to_string(),
            origin: ORIGIN.to_owned(),
        }],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    })
    .await
    .expect("stub");
    for published in [big, small] {
        match stub.lookup(published.name()).await {
            Ok(Lookup::Found { record, ttl }) => assert_eq!((record, ttl.0), (published, 60)),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(stub.lookup(&name("gone")).await, Ok(Lookup::Found { record, .. }) if record.record().is_revoked()));
    assert!(matches!(stub.lookup(&name("nobody")).await, Ok(Lookup::Absent { ttl }) if ttl.0 <= 10));
    assert!(stub.lookup(&name("broken")).await.is_err());
    served.stop().await;
}

#[tokio::test]
async fn junk_among_datagrams_takes_nothing_from_the_others() {
    let frontend = frontend(&records(), settings());
    let served = Served::start(Arc::clone(&frontend), ListenerSettings::default()).await;
    let socket = client(served.address).await;
    for id in 0..100 {
        socket.send(b"junk").await.expect("sent");
        socket.send(&[]).await.expect("sent");
        let mut response = ask("web", id);
        response[2] |= 0x80;
        socket.send(&response).await.expect("sent");
        socket.send(&ask("web", id)).await.expect("sent");
        assert_eq!(receive_udp(&socket).await[..2], id.to_be_bytes());
    }
    assert_eq!(frontend.counts().dropped, 300);
    assert_eq!(frontend.counts().by_rcode[0], 100);
    served.stop().await;
}

#[tokio::test]
async fn on_a_connection_a_slow_answer_does_not_hold_up_the_next() {
    let slow = Arc::new(Slow {
        records: records(),
        permits: Semaphore::new(0),
    });
    let frontend = Arc::new(Frontend::new(Arc::clone(&slow) as Arc<dyn RecordSource>, settings()).expect("frontend"));
    let served = Served::start(Arc::clone(&frontend), ListenerSettings::default()).await;
    let mut stream = connect(served.address).await;
    let mut together = Vec::new();
    for (who, id) in [("slow", 1), ("web", 2), ("web", 3)] {
        let question = ask(who, id);
        together.extend_from_slice(&(question.len() as u16).to_be_bytes());
        together.extend_from_slice(&question);
    }
    // In two pieces that end in the middle of a message.
    let (first, second) = together.split_at(40);
    stream.write_all(first).await.expect("sent");
    stream.flush().await.expect("sent");
    stream.write_all(second).await.expect("sent");
    assert_eq!(receive(&mut stream).await.expect("an answer")[..2], [0, 2]);
    assert_eq!(receive(&mut stream).await.expect("an answer")[..2], [0, 3]);
    slow.permits.add_permits(1);
    assert_eq!(receive(&mut stream).await.expect("an answer")[..2], [0, 1]);
    // What is in flight when it stops is still answered. Nothing is kept, so that it is slow once more.
    frontend.generations().all_changed();
    send(&mut stream, &ask("slow", 4)).await;
    send(&mut stream, &ask("web", 5)).await;
    assert_eq!(receive(&mut stream).await.expect("an answer")[..2], [0, 5]);
    slow.permits.add_permits(1);
    served.stop().await;
    assert_eq!(receive(&mut stream).await.expect("an answer")[..2], [0, 4]);
    assert_eq!(receive(&mut stream).await, None);
}

#[tokio::test]
async fn a_fault_in_one_answer_takes_the_port_from_nobody() {
    let broken = Arc::new(Slow {
        records: records(),
        permits: Semaphore::new(0),
    });
    let frontend = Arc::new(Frontend::new(broken as Arc<dyn RecordSource>, settings()).expect("frontend"));
    let served = Served::start(frontend, ListenerSettings::default()).await;
    // The same address and port all the time, so that it is the same thread of those that share theirs.
    let socket = client(served.address).await;
    for _ in 0..3 {
        socket.send(&ask("broken", 1)).await.expect("sent");
        // What came together with it may be lost with it, and is asked again.
        timeout(PATIENCE, async {
            loop {
                socket.send(&ask("web", 2)).await.expect("sent");
                if timeout(Duration::from_secs(1), receive_udp(&socket))
                    .await
                    .is_ok_and(|answer| answer[1] == 2)
                {
                    break;
                }
            }
        })
        .await
        .expect("answered again");
    }
    served.stop().await;
}

#[tokio::test]
async fn slow_answers_to_datagrams_wait_in_bounded_number() {
    let slow = Arc::new(Slow {
        records: records(),
        permits: Semaphore::new(0),
    });
    let frontend = Arc::new(Frontend::new(Arc::clone(&slow) as Arc<dyn RecordSource>, settings()).expect("frontend"));
    let listeners = ListenerSettings {
        udp_in_flight: 3,
        ..ListenerSettings::default()
    };
    let served = Served::start(frontend, listeners).await;
    let socket = client(served.address).await;
    for id in 0..10 {
        socket.send(&ask("slow", id)).await.expect("sent");
    }
    // Those that need no waiting are answered all the same.
    socket.send(&ask("web", 99)).await.expect("sent");
    assert_eq!(receive_udp(&socket).await[..2], [0, 99]);
    slow.permits.add_permits(10);
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.push(receive_udp(&socket).await[1]);
    }
    answered.sort_unstable();
    assert_eq!(answered, [0, 1, 2]);
    served.stop().await;
    assert!(socket.try_recv(&mut [0; 1]).is_err(), "the others were dropped");
}

#[tokio::test]
async fn a_byte_now_and_then_keeps_no_connection_open() {
    let listeners = ListenerSettings {
        tcp_idle: Duration::from_millis(200),
        ..ListenerSettings::default()
    };
    let served = Served::start(frontend(&records(), settings()), listeners).await;
    let mut stream = connect(served.address).await;
    let mut closed = false;
    for byte in [0, 200].into_iter().chain([0; 60]) {
        closed = stream.write_u8(byte).await.is_err();
        if closed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(closed || receive(&mut stream).await.is_none());
    served.stop().await;
}

#[tokio::test]
async fn what_is_no_question_ends_its_connection() {
    let served = Served::start(frontend(&records(), settings()), ListenerSettings::default()).await;
    for message in [&b""[..], b"short", &[0x80; 40]] {
        let mut stream = connect(served.address).await;
        send(&mut stream, message).await;
        assert_eq!(receive(&mut stream).await, None);
    }
    // One that gets a code goes on.
    let mut stream = connect(served.address).await;
    send(&mut stream, &[0; 12]).await;
    assert_eq!(receive(&mut stream).await.expect("FORMERR")[3] & 0x0f, 1);
    send(&mut stream, &ask("web", 9)).await;
    assert!(receive(&mut stream).await.is_some());
    served.stop().await;
}

#[tokio::test]
async fn a_question_that_is_padded_beyond_all_reason_ends_its_connection() {
    let served = Served::start(frontend(&records(), settings()), ListenerSettings::default()).await;
    for (padding, answered) in [(3_900, true), (4_096, false), (60_000, false)] {
        let mut question = Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A);
        question.padding = padding;
        let mut stream = connect(served.address).await;
        stream.write_u16(question.bytes().len() as u16).await.ok();
        stream.write_all(&question.bytes()).await.ok();
        assert_eq!(receive(&mut stream).await.is_some(), answered, "{padding}");
    }
    served.stop().await;
}

#[tokio::test]
async fn one_client_has_so_many_connections_and_no_more() {
    let listeners = ListenerSettings {
        tcp_per_client: 2,
        ..ListenerSettings::default()
    };
    let served = Served::start(frontend(&records(), settings()), listeners).await;
    let mut kept = Vec::new();
    for id in 0..2 {
        let mut stream = connect(served.address).await;
        send(&mut stream, &ask("web", id)).await;
        assert!(receive(&mut stream).await.is_some());
        kept.push(stream);
    }
    let mut third = connect(served.address).await;
    assert_eq!(receive(&mut third).await, None, "closed at once");
    // One that goes makes room.
    drop(kept.pop());
    let mut answered = None;
    for _ in 0..100 {
        let mut stream = connect(served.address).await;
        stream.write_u16(ask("web", 3).len() as u16).await.ok();
        stream.write_all(&ask("web", 3)).await.ok();
        answered = receive(&mut stream).await;
        if answered.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(answered.is_some());
    served.stop().await;
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (_udp, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let taken = tcp.local_addr().expect("address");
    let error = bind(taken).await.expect_err("taken").to_string();
    assert!(error.contains(&taken.to_string()), "{error}");
}

/// Longer than anything takes here, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
