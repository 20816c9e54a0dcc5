//! Other names, asked of upstream resolvers over HTTPS, and of those that a chosen certificate authority vouches for.

use crate::forwarding::{Rr, ede, parsed, reply};
use crate::world::{Ask, Records, frontend, settings};
use dialtone_resolver::dns::{Frontend, FrontendError, Server};
use dialtone_resolver::io::certificate::Certificate;
use dialtone_shared::record::rdata::types;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What an upstream over HTTPS says to a question.
type Says = fn(&[u8]) -> Response<Full<Bytes>>;

/// An upstream over HTTPS, and how many connections it had.
struct Https {
    address: SocketAddr,
    pin: String,
    /// Its certificate, which vouches for itself.
    certificate: PathBuf,
    connections: Arc<AtomicUsize>,
    /// Ends the connections that there are.
    open: Arc<tokio::sync::Mutex<JoinSet<()>>>,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Https {
    async fn that(says: Says, protocol: &'static [u8]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let certificate = Certificate::self_made(folder.path(), vec!["localhost".to_owned()]).expect("certificate");
        let pin = certificate.pin().expect("pin");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![protocol.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("address");
        let connections = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        let (counted, kept) = (Arc::clone(&connections), Arc::clone(&open));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                kept.lock().await.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answered(request, says));
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            address,
            pin,
            certificate: folder.path().join("dns-certificate.pem"),
            connections,
            open,
            _tasks: tasks,
            _folder: folder,
        }
    }

    fn server(&self, whose: &str) -> Server {
        format!("https://{}/ask#{whose}", self.address).parse().expect("a resolver")
    }

    fn pinned(&self) -> Server {
        self.server(&format!("sha256/{}", self.pin))
    }
}

/// One question: it is checked that it is asked as RFC 8484 has it.
async fn answered(request: Request<Incoming>, says: Says) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_right = request.method() == Method::POST
        && request.uri().path() == "/ask"
        && request
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind == "application/dns-message");
    let query = request.into_body().collect().await.expect("a question").to_bytes();
    if !is_right || query.len() % 128 != 0 || query[..2] != [0, 0] {
        let mut wrong = Response::new(Full::default());
        *wrong.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(wrong);
    }
    Ok(says(&query))
}

fn message(bytes: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(bytes));
    let kind = hyper::header::HeaderValue::from_static("application/dns-message");
    response.headers_mut().insert("content-type", kind);
    response
}

fn address(query: &[u8]) -> Response<Full<Bytes>> {
    message(reply(query, 0, &[Rr("www.example", types::A, 60, &[192, 0, 2, 1])], &[]))
}

fn forwarding(upstreams: Vec<Server>, authorities: Option<PathBuf>) -> Arc<Frontend> {
    let mut settings = settings();
    settings.upstreams = upstreams;
    settings.upstream_authorities = authorities;
    frontend(&Arc::new(Records::default()), settings)
}

async fn ask(frontend: &Frontend, name: &str) -> hickory_proto::op::Message {
    parsed(&Ask::of(name, types::A).of_frontend(frontend).await)
}

fn ttl(message: &hickory_proto::op::Message) -> Option<u32> {
    message.answers.first().map(|answer| answer.ttl)
}

#[tokio::test]
async fn questions_go_over_one_connection_of_http_2_and_over_a_new_one_when_it_ends() {
    let upstream = Https::that(
        |query| {
            let number = query[13..13 + usize::from(query[12])].to_vec();
            let owner = format!("{}.example", String::from_utf8_lossy(&number));
            message(reply(query, 0, &[Rr(&owner, types::A, 60, &[192, 0, 2, 1])], &[]))
        },
        b"h2",
    )
    .await;
    let frontend = forwarding(vec![upstream.pinned()], None);
    let all_at_once = async |name: &str| {
        let mut asking = JoinSet::new();
        for number in 0..30 {
            let (frontend, name) = (Arc::clone(&frontend), format!("{name}{number}.example"));
            asking.spawn(async move { ttl(&ask(&frontend, &name).await) });
        }
        asking.join_all().await
    };
    assert_eq!(all_at_once("a").await, [Some(60); 30]);
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
    upstream.open.lock().await.shutdown().await;
    assert_eq!(all_at_once("b").await, [Some(60); 30], "no question is lost with a connection");
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_is_named_is_believed_by_the_word_of_the_chosen_authorities_and_of_no_others() {
    let upstream = Https::that(address, b"h2").await;
    let authorities = Some(upstream.certificate.clone());
    let answer = ask(&forwarding(vec![upstream.server("localhost")], authorities.clone()), "www.example").await;
    assert_eq!(ttl(&answer), Some(60), "{answer:?}");
    // The web's authorities do not know it; the chosen ones know it by another name; and another key is another's.
    let other = Https::that(address, b"h2").await;
    for (server, authorities) in [
        (upstream.server("localhost"), None),
        (upstream.server("dns.example"), authorities),
        (upstream.server(&format!("sha256/{}", other.pin)), None),
    ] {
        let refused = ask(&forwarding(vec![server.clone()], authorities.clone()), "www.example").await;
        assert_eq!((ede(&refused), refused.answers.len()), (Some(23), 0), "{server}");
        let instead = ask(&forwarding(vec![server, other.pinned()], authorities), "www.example").await;
        assert_eq!(ttl(&instead), Some(60), "another that can be trusted is asked");
    }
}

#[tokio::test]
async fn time_that_an_answer_spent_in_caches_on_the_way_counts() {
    let upstream = Https::that(
        |query| {
            let mut response = address(query);
            response.headers_mut().insert("age", hyper::header::HeaderValue::from_static("17"));
            response
        },
        b"h2",
    )
    .await;
    let answer = ask(&forwarding(vec![upstream.pinned()], None), "www.example").await;
    assert_eq!(ttl(&answer), Some(43));
}

#[tokio::test]
async fn what_is_no_answer_is_passed_over_for_the_next() {
    let sound = Https::that(address, b"h2").await;
    let odd: [(Says, &'static [u8]); 5] = [
        (
            |query| {
                let mut busy = address(query);
                *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                busy
            },
            b"h2",
        ),
        (|_| Response::new(Full::from("<html>sign in to this network</html>")), b"h2"),
        (|_| message(vec![0; 3]), b"h2"),
        (|_| message(vec![0; 70_000]), b"h2"),
        // It speaks something else.
        (address, b"http/1.1"),
    ];
    for (says, protocol) in odd {
        let odd = Https::that(says, protocol).await;
        let answer = ask(&forwarding(vec![odd.pinned(), sound.pinned()], None), "www.example").await;
        assert_eq!(ttl(&answer), Some(60));
        assert!(odd.connections.load(Ordering::SeqCst) > 0, "it was asked");
    }
}

#[tokio::test]
async fn authorities_that_are_none_are_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "# nobody\n").expect("written");
    for file in [empty, folder.path().join("missing.pem")] {
        let mut settings = settings();
        settings.upstream_authorities = Some(file.clone());
        let error = Frontend::new(Arc::new(Records::default()), settings).expect_err("an error");
        assert!(
            matches!(&error, FrontendError::Authorities { file: named, .. } if *named == file.display().to_string()),
            "{error}"
        );
    }
}
