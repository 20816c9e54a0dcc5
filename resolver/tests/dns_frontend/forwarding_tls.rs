//! Other names, asked of upstream resolvers over TLS: one connection for many questions, and nothing in the clear, whatever happens.

use crate::forwarding::{Rr, Upstream, ede, parsed, reply};
use crate::world::{Ask, Records, frontend, settings};
use dialtone_resolver::dns::{Frontend, Server};
use dialtone_resolver::io::certificate::Certificate;
use dialtone_resolver::io::listeners::bind;
use dialtone_shared::record::rdata::types;
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// An upstream over TLS that waits for so many questions on a connection, answers them last first, and then closes it or goes on.
struct Tls {
    address: SocketAddr,
    pin: String,
    connections: Arc<AtomicUsize>,
    /// The UDP socket of the same port: nothing is ever to come there.
    in_the_clear: UdpSocket,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Tls {
    async fn that(gathers: usize, closes: bool) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let certificate = Certificate::self_made(folder.path(), vec!["localhost".to_owned()]).expect("certificate");
        let pin = certificate.pin().expect("pin");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (in_the_clear, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = tcp.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                open.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut gathered = Vec::new();
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        stream.read_exact(&mut query).await.expect("a whole question");
                        assert_eq!(query.len() % 128, 0, "its length says little");
                        // What nobody is quick about.
                        if query[13..].starts_with(SLOW) {
                            continue;
                        }
                        gathered.push(query);
                        if gathered.len() < gathers {
                            continue;
                        }
                        for query in gathered.drain(..).rev() {
                            let said = answer(&query);
                            stream.write_u16(said.len() as u16).await.expect("written");
                            stream.write_all(&said).await.expect("written");
                        }
                        stream.flush().await.expect("written");
                        if closes {
                            stream.shutdown().await.ok();
                            return;
                        }
                    }
                });
            }
        });
        Self {
            address: in_the_clear.local_addr().expect("address"),
            pin,
            connections,
            in_the_clear: in_the_clear.into_std().expect("a socket"),
            _tasks: tasks,
            _folder: folder,
        }
    }

    fn server(&self) -> Server {
        format!("tls://{}#sha256/{}", self.address, self.pin).parse().expect("a resolver")
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn nothing_came_in_the_clear(&self) {
        let came = self.in_the_clear.recv(&mut [0; 512]).map_err(|error| error.kind());
        assert_eq!(came, Err(std::io::ErrorKind::WouldBlock));
    }
}

/// The address of `<n>.example` ends with n.
fn answer(query: &[u8]) -> Vec<u8> {
    let length = usize::from(query[12]);
    let label = String::from_utf8_lossy(&query[13..13 + length]).into_owned();
    let owner = format!("{label}.example");
    reply(
        query,
        0,
        &[Rr(&owner, types::A, 60, &[192, 0, 2, label.parse().expect("a number")])],
        &[],
    )
}

fn forwarding(upstreams: Vec<Server>) -> Arc<Frontend> {
    let mut settings = settings();
    settings.upstreams = upstreams;
    frontend(&Arc::new(Records::default()), settings)
}

async fn ask(frontend: &Frontend, number: usize) -> hickory_proto::op::Message {
    parsed(&Ask::of(&format!("{number}.example"), types::A).of_frontend(frontend).await)
}

/// The text of the extended error.
fn why(message: &hickory_proto::op::Message) -> String {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    match message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Unknown(15))) {
        Some(EdnsOption::Unknown(_, ede)) => String::from_utf8_lossy(&ede[2..]).into_owned(),
        _ => String::new(),
    }
}

fn is_answered(message: &hickory_proto::op::Message, number: usize) {
    let shown: Vec<String> = message.answers.iter().map(|answer| answer.data.to_string()).collect();
    assert_eq!(shown, [format!("192.0.2.{number}")]);
}

#[tokio::test]
async fn many_questions_wait_on_one_connection_and_are_answered_in_any_order() {
    let upstream = Tls::that(20, false).await;
    let frontend = forwarding(vec![upstream.server()]);
    let mut asking = JoinSet::new();
    for number in 1..=20 {
        let frontend = Arc::clone(&frontend);
        asking.spawn(async move { is_answered(&ask(&frontend, number).await, number) });
    }
    asking.join_all().await;
    assert_eq!(upstream.connections(), 1);
    upstream.nothing_came_in_the_clear();
}

#[tokio::test]
async fn a_connection_that_the_upstream_closes_is_replaced_and_no_question_is_lost() {
    let upstream = Tls::that(1, true).await;
    let frontend = forwarding(vec![upstream.server()]);
    for number in 1..=5 {
        is_answered(&ask(&frontend, number).await, number);
    }
    assert_eq!(upstream.connections(), 5);
}

#[tokio::test]
async fn who_shows_a_wrong_certificate_is_told_nothing_over_tls_or_in_the_clear() {
    let upstream = Tls::that(1, false).await;
    let other = Tls::that(1, false).await;
    // One with another key, and one that no authority vouches for.
    for whose in [format!("sha256/{}", other.pin), "localhost".to_owned()] {
        let server: Server = format!("tls://{}#{whose}", upstream.address).parse().expect("a resolver");
        let frontend = forwarding(vec![server.clone()]);
        let message = ask(&frontend, 1).await;
        assert_eq!(format!("{:?}", message.metadata.response_code), "ServFail");
        assert_eq!(ede(&message), Some(23));
        assert!(why(&message).contains("wrong certificate"), "{message:?}");
        upstream.nothing_came_in_the_clear();
        // Another that can be trusted is asked instead.
        is_answered(&ask(&forwarding(vec![server, other.server()]), 2).await, 2);
    }
}

#[tokio::test]
async fn one_that_is_silent_over_tls_is_passed_over_for_the_next() {
    let silent = Tls::that(usize::MAX, false).await;
    let sound = Tls::that(1, false).await;
    let frontend = forwarding(vec![silent.server(), sound.server()]);
    for number in 1..=3 {
        let message = timeout(Duration::from_secs(60), ask(&frontend, number)).await.expect("an answer");
        is_answered(&message, number);
    }
    assert!(silent.connections() > 0, "it was asked");
    silent.nothing_came_in_the_clear();
}

/// The start of names that an upstream over TLS never has an answer to.
const SLOW: &[u8] = b"200";

#[tokio::test]
async fn a_name_that_nobody_is_quick_about_moves_no_other_questions_into_the_clear() {
    let private = Tls::that(1, false).await;
    let plain = Upstream::that(|query, _| vec![answer(query)]).await;
    let frontend = forwarding(vec![private.server(), plain.address.into()]);
    is_answered(&ask(&frontend, 1).await, 1);
    is_answered(&ask(&frontend, 200).await, 200);
    for number in 2..=4 {
        is_answered(&ask(&frontend, number).await, number);
    }
    let in_the_clear: Vec<String> = plain.asked().iter().map(|(name, ..)| name.to_lower().to_string()).collect();
    assert_eq!(in_the_clear, ["200.example"]);
}
