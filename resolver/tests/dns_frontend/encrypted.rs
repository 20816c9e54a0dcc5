//! The frontend over TLS, HTTPS and QUIC: what clients get, and what those get who mean harm.

use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use bytes::Bytes;
use dialtone_resolver::dns::{Frontend, ListenerSettings};
use dialtone_resolver::io::certificate::Certificate;
use dialtone_resolver::io::encrypted::{Encrypted, Ready};
use dialtone_resolver::io::sockets::listen_tcp;
use dialtone_shared::Binding;
use dialtone_shared::record::Address;
use dialtone_shared::record::rdata::types;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A frontend on the encrypted transports, and clients that trust it.
struct Served {
    folder: TempDir,
    frontend: Arc<Frontend>,
    certificate: Arc<Certificate>,
    tls: SocketAddr,
    https: SocketAddr,
    quic: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Served {
    async fn start(listeners: ListenerSettings) -> Self {
        let records = Arc::new(Records::default());
        records.publish("web", 60, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])))]);
        let frontend = frontend(&records, settings());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir().expect("folder");
        let certificate = Certificate::self_made(folder.path(), vec!["localhost".to_owned()]).expect("certificate");
        let sockets = Encrypted {
            tls: vec![listen_tcp(any).expect("a free port")],
            https: vec![listen_tcp(any).expect("a free port")],
            quic: vec![UdpSocket::bind(any).expect("a free port")],
        };
        let [tls, https] = [&sockets.tls, &sockets.https].map(|listeners| listeners[0].local_addr().expect("address"));
        let quic = sockets.quic[0].local_addr().expect("address");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            stopped.await.ok();
        };
        let ready = Ready::new(sockets, Arc::clone(&certificate), listeners).expect("ready");
        let served = tokio::spawn(ready.serve(Arc::clone(&frontend), stopped));
        Self {
            folder,
            frontend,
            certificate,
            tls,
            https,
            quic,
            stop,
            served,
        }
    }

    fn client(&self, alpn: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let file = CertificateDer::from_pem_file(self.certificate.file()).expect("certificate");
        roots.add(file).expect("a root");
        let mut client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![alpn.to_vec()];
        client
    }

    async fn connect(&self, address: SocketAddr, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        within(TlsConnector::from(Arc::new(self.client(alpn))).connect(name, stream)).await
    }

    async fn connect_quic(&self, alpn: &[u8]) -> Result<(Endpoint, quinn::Connection), ConnectionError> {
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("an endpoint");
        let client = QuicClientConfig::try_from(self.client(alpn)).expect("QUIC");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(client)));
        let connection = within(endpoint.connect(self.quic, "localhost").expect("begun")).await?;
        Ok((endpoint, connection))
    }

    async fn stop(self) {
        self.stop.send(()).ok();
        within(self.served).await.expect("without panic");
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// Longer than anything takes here, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn ask() -> Ask {
    Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A)
}

/// With an id of nought, as HTTPS and QUIC have it.
fn question(ask: &Ask) -> Vec<u8> {
    let mut question = ask.bytes();
    question[..2].fill(0);
    question
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn is_answer(answer: &[u8]) -> bool {
    answer.windows(4).any(|window| window == [192, 0, 2, 1])
}

/// The next answer; `None` when the connection is closed.
async fn receive(stream: &mut TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let length = within(stream.read_u16()).await.ok()?;
    let mut message = vec![0; usize::from(length)];
    within(stream.read_exact(&mut message)).await.ok()?;
    Some(message)
}

/// One question on a stream of its own.
async fn ask_quic(connection: &quinn::Connection, sent: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut recv) = within(connection.open_bi()).await.ok()?;
    send.write_all(sent).await.ok()?;
    send.finish().ok()?;
    within(recv.read_to_end(70_000)).await.ok()
}

/// With which code the frontend ended the connection.
async fn closed_with(connection: &quinn::Connection) -> Option<u64> {
    match within(connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

#[tokio::test]
async fn over_tls_many_questions_are_answered_on_one_connection_and_padded_ones_padded() {
    let served = Served::start(ListenerSettings::default()).await;
    let mut stream = served.connect(served.tls, b"dot").await.expect("connected");
    let mut padded = ask();
    padded.padding = 30;
    let together = [framed(&ask().bytes()), framed(&padded.bytes()), framed(&ask().bytes())].concat();
    stream.write_all(&together).await.expect("sent");
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let answer = receive(&mut stream).await.expect("an answer");
        assert!(is_answer(&answer));
        lengths.push(answer.len());
    }
    assert!(lengths[0] < 200 && lengths[1] == 468 && lengths[2] == lengths[0], "{lengths:?}");
    assert!(served.connect(served.tls, b"h2").await.is_err(), "another protocol");
    assert_eq!(served.frontend.counts().by_carrier, [0, 0, 3, 0, 0]);
    served.stop().await;
    assert_eq!(receive(&mut stream).await, None);
}

/// One request over a connection of its own, in either version.
async fn https(served: &Served, alpn: &[u8], request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
    let io = TokioIo::new(served.connect(served.https, alpn).await.expect("connected"));
    let response = if alpn == b"h2" {
        let (mut send, connection) = within(http2::handshake(TokioExecutor::new(), io)).await.expect("HTTP/2");
        tokio::spawn(connection);
        within(send.send_request(request)).await
    } else {
        let (mut send, connection) = within(http1::handshake(io)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        within(send.send_request(request)).await
    };
    let (head, body) = response.expect("a response").into_parts();
    let body = within(body.collect()).await.expect("a body").to_bytes();
    (Response::from_parts(head, ()), body)
}

fn request(method: &str, uri: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("https://localhost{uri}"))
        .header("host", "localhost")
        .header("content-type", "application/dns-message")
        .header("accept", "*/*")
        .body(Full::new(body.into()))
        .expect("a request")
}

#[tokio::test]
async fn over_https_both_versions_and_both_methods_answer_and_say_how_long_it_holds() {
    use base64::Engine;
    let served = Served::start(ListenerSettings::default()).await;
    let get = format!(
        "/dns-query?dns={}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(question(&ask()))
    );
    for alpn in [&b"h2"[..], b"http/1.1"] {
        for request in [request("GET", &get, Vec::new()), request("POST", "/dns-query", question(&ask()))] {
            let (head, body) = https(&served, alpn, request).await;
            assert_eq!(head.status(), StatusCode::OK);
            assert_eq!(head.headers()["content-type"], "application/dns-message");
            assert_eq!(head.headers()["cache-control"], "max-age=60");
            assert!(is_answer(&body));
        }
        let mut nobody = ask();
        nobody.name = crate::world::domain(&format!("{}.{ORIGIN}", name("nobody")));
        let (head, _) = https(&served, alpn, request("POST", "/dns-query", question(&nobody))).await;
        assert_eq!(head.status(), StatusCode::OK, "there is none, and that is an answer");
        assert_eq!(head.headers()["cache-control"], "max-age=10");
    }
    served.stop().await;
}

#[tokio::test]
async fn over_https_what_is_no_question_has_its_status_and_the_connection_goes_on() {
    let served = Served::start(ListenerSettings::default()).await;
    let mut other_type = request("POST", "/dns-query", question(&ask()));
    other_type
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("text/plain"));
    let mut answer = question(&ask());
    answer[2] |= 0x80;
    let io = TokioIo::new(served.connect(served.https, b"h2").await.expect("connected"));
    let (mut send, connection) = within(http2::handshake(TokioExecutor::new(), io)).await.expect("HTTP/2");
    tokio::spawn(connection);
    for (request, status) in [
        (request("GET", "/", Vec::new()), 404),
        (request("GET", "/dns-query?dns=!", Vec::new()), 400),
        (request("DELETE", "/dns-query", Vec::new()), 405),
        (other_type, 415),
        (request("POST", "/dns-query", vec![0; 4_097]), 413),
        (request("POST", "/dns-query", vec![0; 300_000]), 413),
        (request("POST", "/dns-query", b"junk".to_vec()), 400),
        (request("POST", "/dns-query", answer), 400),
        (request("POST", "/dns-query", question(&ask())), 200),
    ] {
        let response = within(send.send_request(request)).await.expect("a response");
        assert_eq!(response.status(), status);
    }
    served.stop().await;
}

#[tokio::test]
async fn over_http2_questions_that_are_asked_together_are_answered_each_with_its_own_and_a_slow_one_holds_up_nobody() {
    use base64::Engine;
    let served = Served::start(ListenerSettings::default()).await;
    let io = TokioIo::new(served.connect(served.https, b"h2").await.expect("connected"));
    let (send, connection) = within(http2::handshake::<_, _, BoxBody<Bytes, Infallible>>(TokioExecutor::new(), io))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    // A question whose second half comes when all others were answered.
    let (half, rest) = tokio::sync::mpsc::channel::<Bytes>(2);
    let body = StreamBody::new(futures_util::stream::unfold(rest, |mut rest| async {
        let bytes = rest.recv().await?;
        Some((Ok(Frame::data(bytes)), rest))
    }));
    let slow = request("POST", "/dns-query", Vec::new()).map(|_| BoxBody::new(body));
    let whole = question(&ask());
    half.send(Bytes::copy_from_slice(&whole[..20])).await.expect("listening");
    let slow = tokio::spawn(send.clone().send_request(slow));
    for round in 0..3_u16 {
        let mut asked = JoinSet::new();
        for nth in 0..90_u16 {
            let mut message = question(&ask());
            message[..2].copy_from_slice(&(round * 90 + nth).to_be_bytes());
            let request = if nth % 2 == 0 {
                let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&message);
                request("GET", &format!("/dns-query?dns={text}"), Vec::new())
            } else {
                request("POST", "/dns-query", message.clone())
            };
            let mut send = send.clone();
            asked.spawn(async move {
                let response = send.send_request(request.map(BoxBody::new)).await.expect("a response");
                assert!(response.headers().contains_key("date") && response.headers().contains_key("content-length"));
                let answer = response.into_body().collect().await.expect("a body").to_bytes();
                assert!(is_answer(&answer) && answer[..2] == message[..2]);
            });
        }
        within(asked.join_all()).await;
    }
    assert!(!slow.is_finished(), "half a question has no answer");
    half.send(Bytes::copy_from_slice(&whole[20..])).await.expect("listening");
    drop(half);
    let answer = within(slow).await.expect("no panic").expect("a response").into_body();
    assert!(is_answer(&within(answer.collect()).await.expect("a body").to_bytes()));
    assert_eq!(served.frontend.counts().by_carrier, [0, 0, 0, 271, 0]);
    served.stop().await;
}

#[tokio::test]
async fn over_quic_each_stream_is_a_question_and_the_id_stays_nought() {
    let served = Served::start(ListenerSettings::default()).await;
    let (_endpoint, connection) = served.connect_quic(b"doq").await.expect("connected");
    for _ in 0..200 {
        let answer = ask_quic(&connection, &framed(&question(&ask()))).await.expect("an answer");
        assert!(is_answer(&answer) && answer[2..4] == [0, 0] && usize::from(answer[1]) + 2 == answer.len());
    }
    assert!(served.connect_quic(b"h3").await.is_err(), "another protocol");
    assert_eq!(served.frontend.counts().by_carrier, [0, 0, 0, 0, 200]);
    served.stop().await;
    assert_eq!(closed_with(&connection).await, Some(0));
}

#[tokio::test]
async fn over_quic_what_the_protocol_forbids_ends_the_connection_with_its_code() {
    let served = Served::start(ListenerSettings::default()).await;
    let question = question(&ask());
    let with_id = [&[7][..], &question[1..]].concat();
    let two = [framed(&question), framed(&question)].concat();
    let cut = framed(&question)[..20].to_vec();
    for wrong in [framed(&with_id), two, cut, Vec::new(), framed(&vec![0; 5_000])] {
        let (_endpoint, connection) = served.connect_quic(b"doq").await.expect("connected");
        let _nothing = ask_quic(&connection, &wrong).await;
        assert_eq!(closed_with(&connection).await, Some(2), "DOQ_PROTOCOL_ERROR");
    }
    let (_endpoint, connection) = served.connect_quic(b"doq").await.expect("connected");
    let mut one_way = within(connection.open_uni()).await.expect("a stream");
    one_way.write_all(b"x").await.expect("sent");
    assert_eq!(closed_with(&connection).await, Some(2));
    // Streams opened and taken back, on and on.
    let (_endpoint, connection) = served.connect_quic(b"doq").await.expect("connected");
    let ended = async {
        while let Ok((mut send, _)) = connection.open_bi().await {
            let _ = send.write_all(b"\0").await;
            let _ = send.reset(3_u32.into());
        }
    };
    within(ended).await;
    assert_eq!(closed_with(&connection).await, Some(4), "DOQ_EXCESSIVE_LOAD");
    served.stop().await;
}

#[tokio::test]
async fn over_https_requests_taken_back_on_and_on_end_the_connection() {
    let served = Served::start(ListenerSettings::default()).await;
    let io = TokioIo::new(served.connect(served.https, b"h2").await.expect("connected"));
    let (mut send, connection) = within(http2::handshake(TokioExecutor::new(), io)).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    // A body that never ends keeps the request open until it is dropped, which resets its stream.
    let ended = async {
        while send.ready().await.is_ok() {
            let request = request("POST", "/dns-query", question(&ask()));
            let sending = send.send_request(request);
            let _ = timeout(Duration::from_micros(50), sending).await;
        }
    };
    within(async {
        tokio::select! {
            () = ended => {}
            _ended = connection => {}
        }
    })
    .await;
    served.stop().await;
}

#[tokio::test]
async fn a_slow_client_is_hung_up_on_over_every_transport_while_others_are_answered() {
    let listeners = ListenerSettings {
        tcp_idle: Duration::from_millis(1_500),
        ..ListenerSettings::default()
    };
    let served = Served::start(listeners).await;
    // Nothing said at all; shaken hands and then silence; a question that is never whole.
    let mut silent = Vec::new();
    for address in [served.tls, served.https] {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    let mut shaken = Vec::new();
    for (address, alpn) in [(served.tls, &b"dot"[..]), (served.https, b"h2"), (served.https, b"http/1.1")] {
        shaken.push(served.connect(address, alpn).await.expect("connected"));
    }
    let mut half = served.connect(served.tls, b"dot").await.expect("connected");
    half.write_all(&framed(&ask().bytes())[..9]).await.expect("sent");
    shaken.push(half);
    let mut half = served.connect(served.https, b"http/1.1").await.expect("connected");
    half.write_all(b"GET /dns-query?dns=AAAA HTTP/1.1\r\nx").await.expect("sent");
    shaken.push(half);
    let mut half = served.connect(served.https, b"http/1.1").await.expect("connected");
    let head = b"POST /dns-query HTTP/1.1\r\ncontent-type: application/dns-message\r\ncontent-length: 50\r\n\r\nx";
    half.write_all(head).await.expect("sent");
    shaken.push(half);
    let (_endpoint, quic) = served.connect_quic(b"doq").await.expect("connected");
    let (mut send, _recv) = within(quic.open_bi()).await.expect("a stream");
    send.write_all(b"\0").await.expect("sent");
    let mut honest = served.connect(served.tls, b"dot").await.expect("connected");
    honest.write_all(&framed(&ask().bytes())).await.expect("sent");
    assert!(is_answer(&receive(&mut honest).await.expect("an answer")));
    for mut stream in silent {
        within(stream.read_to_end(&mut Vec::new())).await.ok();
    }
    for mut stream in shaken {
        within(stream.read_to_end(&mut Vec::new())).await.ok();
    }
    assert_eq!(closed_with(&quic).await, Some(0));
    served.stop().await;
}

/// A frontend on which a connection is given up after `IDLE` without a sign of life.
async fn impatient() -> Served {
    let tcp_idle = IDLE;
    Served::start(ListenerSettings {
        tcp_idle,
        ..ListenerSettings::default()
    })
    .await
}

const IDLE: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn over_https_an_answer_that_is_not_taken_is_not_held_for_as_long_as_others_are_asked_for() {
    let served = impatient().await;
    let stream = served.connect(served.https, b"h2").await.expect("connected");
    // Not a byte of any body may come.
    let shaken = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream);
    let (mut send, connection) = within(shaken).await.expect("HTTP/2");
    tokio::spawn(connection);
    let (mut of_whom, whole) = (request("POST", "/dns-query", Vec::new()).map(|_| ()), Bytes::from(question(&ask())));
    of_whom.headers_mut().remove("host");
    let ask = async |send: &mut h2::client::SendRequest<Bytes>| {
        *send = send.clone().ready().await.expect("ready");
        let (response, mut body) = send.send_request(of_whom.clone(), false).expect("sent");
        body.send_data(whole.clone(), true).expect("sent");
        response.await.expect("a head")
    };
    let mut unread = within(ask(&mut send)).await.into_body();
    let mut end = std::pin::pin!(unread.data());
    let cut = async {
        loop {
            tokio::select! {
                end = &mut end => break end,
                // Taken back when dropped, so that there is always room for one more.
                _also = ask(&mut send) => tokio::time::sleep(IDLE / 10).await,
            }
        }
    };
    let cut = within(cut).await.expect("an end").expect_err("no answer");
    assert_eq!(cut.reason(), Some(h2::Reason::CANCEL), "the stream alone: {cut}");
    served.stop().await;
}

#[tokio::test]
async fn over_quic_an_answer_that_is_not_taken_is_not_held_for_as_long_as_others_are_asked_for() {
    let served = impatient().await;
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("an endpoint");
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(served.client(b"doq")).expect("QUIC")));
    let mut transport = quinn::TransportConfig::default();
    // More than one answer and less than a padded one.
    transport.stream_receive_window(300_u32.into());
    client.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(client);
    let connection = within(endpoint.connect(served.quic, "localhost").expect("begun"))
        .await
        .expect("connected");
    let mut padded = ask();
    padded.padding = 30;
    let (mut send, mut recv) = within(connection.open_bi()).await.expect("a stream");
    send.write_all(&framed(&question(&padded))).await.expect("sent");
    send.finish().expect("sent");
    let small = framed(&question(&ask()));
    let mut end = std::pin::pin!(recv.received_reset());
    let cut = async {
        loop {
            tokio::select! {
                end = &mut end => break end,
                also = ask_quic(&connection, &small) => {
                    assert!(is_answer(&also.expect("an answer")));
                    tokio::time::sleep(IDLE / 10).await;
                }
            }
        }
    };
    assert!(within(cut).await.expect("connected").is_some(), "the stream alone");
    served.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_the_next_who_comes() {
    let served = Served::start(ListenerSettings::default()).await;
    let before = served.certificate.pin();
    let other = tempfile::tempdir().expect("folder");
    let fresh = Certificate::self_made(other.path(), vec!["localhost".to_owned()]).expect("certificate");
    for file in std::fs::read_dir(other.path()).expect("files") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), served.folder.path().join(file.file_name())).expect("copied");
    }
    // Nobody says that it has changed.
    let changed = async {
        while served.certificate.pin() != fresh.pin() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(changed).await;
    assert_ne!(fresh.pin(), before);
    for (address, alpn) in [(served.tls, &b"dot"[..]), (served.https, b"h2")] {
        served
            .connect(address, alpn)
            .await
            .expect("the client trusts the one in the file now");
    }
    served.connect_quic(b"doq").await.expect("here as well");
    served.stop().await;
}
