//! From a name to a connection: the first address that works wins, and over TLS only who holds a pinned key is spoken to.

mod stub_support;

use dialtone_resolver::RecordSource;
use dialtone_resolver::connect::{ConnectError, ConnectOptions, Reach, plan};
use dialtone_resolver::io::connector::{connect, connect_tls};
use dialtone_resolver::io::http_connector::NameConnector;
use dialtone_resolver::layers::{Host, ResolveOptions, resolve};
use dialtone_shared::record::{Address, Delegate, Service, Step, Target, Transport};
use dialtone_shared::{Binding, Name};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use stub_support::record_with;
use stub_support::records::secret;
use stub_support::source::Map;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// How a server proves who it is.
#[derive(Clone, Copy)]
enum Shows {
    Certificate,
    RawKey,
}

/// A TLS server that answers every connection with its greeting; its port, and its pin.
async fn tls_server(shows: Shows, algorithm: &'static SignatureAlgorithm, greeting: &'static str) -> (u16, [u8; 32]) {
    let pair = KeyPair::generate_for(algorithm).unwrap();
    server_of(&pair, shows, greeting).await
}

async fn server_of(pair: &KeyPair, shows: Shows, greeting: &'static str) -> (u16, [u8; 32]) {
    let spki = pair.subject_public_key_info();
    let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth();
    let config = match shows {
        Shows::Certificate => {
            let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(pair).unwrap();
            builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
        }
        Shows::RawKey => {
            let signer = provider.key_provider.load_private_key(key).unwrap();
            let raw = CertifiedKey::new(vec![CertificateDer::from(spki.clone())], signer);
            builder.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(raw))))
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 1_024];
                if greeting.starts_with("HTTP") && stream.read(&mut request).await.is_err() {
                    return;
                }
                let _ = stream.write_all(greeting.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, Sha256::digest(spki).into())
}

/// A server without TLS.
async fn server(greeting: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(greeting.as_bytes()).await;
        }
    });
    port
}

/// A port of this machine where nobody answers.
async fn nobody() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn read<S: tokio::io::AsyncRead + Unpin>(mut stream: S) -> String {
    let mut said = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut said));
    reading.await.expect("it is said in time").unwrap();
    String::from_utf8(said).unwrap()
}

async fn first<S: tokio::io::AsyncRead + Unpin>(mut stream: S) -> String {
    let mut said = vec![0; 64];
    let length = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut said))
        .await
        .expect("it is said in time")
        .unwrap();
    String::from_utf8_lossy(&said[..length]).into_owned()
}

fn map(records: Vec<(u8, Vec<Binding>)>) -> Map {
    let mut map = Map::default();
    for (key, bindings) in records {
        let record = record_with(key, 1, |body| body.bindings = bindings);
        map.records.insert(*record.name(), Ok(record));
    }
    map
}

fn name(key: u8) -> Name {
    *record_with(key, 1, |_| ()).name()
}

fn service(port: u16, priority: u16, pins: &[[u8; 32]]) -> Binding {
    at(port, priority, pins, Target::Own)
}

fn at(port: u16, priority: u16, pins: &[[u8; 32]], target: Target) -> Binding {
    Binding::Service(Service {
        target,
        priority,
        pins: pins.to_vec(),
        ..Service::of("https", Transport::Tcp, port)
    })
}

fn here() -> Binding {
    Binding::Address(Address::of(Ipv4Addr::LOCALHOST.into()))
}

fn in_region(ip: [u8; 4], region: &str, priority: u16) -> Binding {
    Binding::Address(Address {
        ip: IpAddr::from(ip),
        priority,
        weight: 0,
        region: Some(region.to_owned()),
    })
}

fn everywhere() -> ConnectOptions {
    ConnectOptions {
        reach: Reach::Everywhere,
        ..ConnectOptions::default()
    }
}

#[tokio::test]
async fn a_name_is_connected_to_and_the_next_port_is_tried_where_nobody_answers() {
    let (dead, alive) = (nobody().await, server("hello").await);
    let map = map(vec![(1, vec![service(dead, 1, &[]), service(alive, 2, &[]), here()])]);
    let connected = connect(&map, &name(1), &everywhere()).await.unwrap();
    assert_eq!((connected.address.port(), connected.endpoint.port), (alive, Some(alive)));
    assert_eq!(first(connected.stream).await, "hello");
}

#[tokio::test]
async fn the_nearest_region_is_tried_first_whatever_the_priorities() {
    let map = map(vec![(
        1,
        vec![
            service(443, 0, &[]),
            in_region([192, 0, 2, 1], "eu", 1),
            in_region([192, 0, 2, 2], "us", 0),
        ],
    )]);
    for (regions, order) in [
        (vec!["eu"], [1, 2]),
        (vec!["us", "eu"], [2, 1]),
        (vec![], [2, 1]),
        (vec!["ap"], [2, 1]),
    ] {
        let resolving = ResolveOptions {
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            ..ResolveOptions::default()
        };
        let found = resolve(&map, &name(1), &resolving).await.unwrap();
        let plan = plan(&found, &ConnectOptions::default()).unwrap();
        let planned = plan.candidates.iter().map(|(endpoint, _)| endpoint.host.clone());
        let wanted = order.map(|last| Host::Ip([192, 0, 2, last].into()));
        assert_eq!(planned.collect::<Vec<_>>(), wanted, "{regions:?}");
    }
}

#[tokio::test]
async fn only_who_holds_a_pinned_key_is_spoken_to_whatever_it_presents() {
    for shows in [Shows::Certificate, Shows::RawKey] {
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256] {
            let (port, pin) = tls_server(shows, algorithm, "hello").await;
            let right = map(vec![(1, vec![service(port, 0, &[[9; 32], pin]), here()])]);
            let connected = connect_tls(&right, &name(1), &everywhere()).await.unwrap();
            assert_eq!(read(connected.stream).await, "hello");
            let wrong = map(vec![(1, vec![service(port, 0, &[[9; 32]]), here()])]);
            let error = connect_tls(&wrong, &name(1), &everywhere()).await.unwrap_err();
            assert!(error.to_string().contains("another key than the name pins"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_impostor_at_the_best_address_is_passed_over() {
    let (impostor, _) = tls_server(Shows::Certificate, &PKCS_ED25519, "impostor").await;
    let (port, pin) = tls_server(Shows::Certificate, &PKCS_ED25519, "hello").await;
    let map = map(vec![(1, vec![service(impostor, 1, &[pin]), service(port, 2, &[pin]), here()])]);
    let connected = connect_tls(&map, &name(1), &everywhere()).await.unwrap();
    assert_eq!(read(connected.stream).await, "hello");
}

#[tokio::test]
async fn without_a_pin_nothing_ties_tls_to_the_name_and_a_signing_key_is_no_servers() {
    let (port, _) = tls_server(Shows::Certificate, &PKCS_ED25519, "hello").await;
    let bare = map(vec![(1, vec![service(port, 0, &[]), here()])]);
    let error = connect_tls(&bare, &name(1), &everywhere()).await.unwrap_err();
    assert!(error.to_string().contains("no pins"), "{error}");
    // A server that was given the very key that signs the record.
    let der = secret(1).to_der();
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(&der[..]);
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).unwrap();
    let (port, pin) = server_of(&pair, Shows::Certificate, "hello").await;
    let shared = map(vec![(1, vec![service(port, 0, &[pin]), here()])]);
    let error = connect_tls(&shared, &name(1), &everywhere()).await.unwrap_err();
    assert!(error.to_string().contains("key that signs records"), "{error}");
}

#[tokio::test]
async fn a_delegate_stands_in_with_its_own_pins_and_says_where_traffic_goes_on() {
    let (port, pin) = tls_server(Shows::Certificate, &PKCS_ED25519, "middle").await;
    let onward = Step::Name(name(3));
    let map = map(vec![
        (
            1,
            vec![
                Binding::Delegate(Delegate {
                    path: vec![Step::Name(name(2)), onward.clone()],
                }),
                here(),
                service(1, 0, &[]),
            ],
        ),
        (2, vec![service(port, 0, &[pin]), here()]),
    ]);
    let connected = connect_tls(&map, &name(1), &everywhere()).await.unwrap();
    assert_eq!(
        (connected.endpoint.onward, connected.endpoint.path),
        (vec![onward], vec![name(1), name(2)])
    );
    assert_eq!(read(connected.stream).await, "middle");
}

#[tokio::test]
async fn delegates_to_private_addresses_are_not_followed_unless_wanted() {
    let port = server("inside").await;
    let map = map(vec![
        (
            1,
            vec![Binding::Delegate(Delegate {
                path: vec![Step::Name(name(2))],
            })],
        ),
        (2, vec![service(port, 0, &[]), here(), in_region([10, 0, 0, 1], "x", 0)]),
        (
            3,
            vec![Binding::Delegate(Delegate {
                path: vec![Step::Legacy("localhost".to_owned())],
            })],
        ),
    ]);
    let public = ConnectOptions::default();
    let error = connect(&map, &name(1), &public).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1: not a public address"), "{error}");
    let legacy = ConnectOptions {
        port: Some(port),
        ..public
    };
    let error = connect(&map, &name(3), &legacy).await.unwrap_err();
    assert!(error.to_string().contains("not a public address"), "{error}");
    assert_eq!(first(connect(&map, &name(1), &everywhere()).await.unwrap().stream).await, "inside");
    let legacy = ConnectOptions {
        port: Some(port),
        ..everywhere()
    };
    assert_eq!(
        first(connect(&map, &name(3), &legacy).await.unwrap().stream).await,
        "inside",
        "a legacy name is looked up"
    );
}

#[tokio::test]
async fn loops_long_chains_and_wide_fans_of_delegates_come_to_an_end() {
    let to = |key: u8| {
        Binding::Delegate(Delegate {
            path: vec![Step::Name(name(key))],
        })
    };
    let circle = map(vec![(1, vec![to(2)]), (2, vec![to(1)])]);
    let error = connect(&circle, &name(1), &everywhere()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Nowhere { .. }) && error.to_string().contains("back to itself"),
        "{error}"
    );

    let chain = map((1..=50)
        .map(|key| (key, vec![to(key + 1)]))
        .chain([(51, vec![service(1, 0, &[]), here()])])
        .collect());
    let error = connect(&chain, &name(1), &everywhere()).await.unwrap_err();
    assert!(error.to_string().contains("too many names in a row"), "{error}");
    assert!(
        chain.lookups.load(std::sync::atomic::Ordering::SeqCst) <= 9,
        "and is not followed to its end"
    );

    // Ten hosts of ten addresses each.
    let hosts = (2..=11).map(|key| at(443, 0, &[], Target::Name(name(key))));
    let addresses = |key: u8| (0..10).map(move |last| in_region([192, 0, 2, key * 10 + last], "x", 0)).collect();
    let fan = map([(1, hosts.collect())]
        .into_iter()
        .chain((2..=11).map(|key| (key, addresses(key))))
        .collect());
    let found = resolve(&fan, &name(1), &ResolveOptions::default()).await.unwrap();
    let plan = plan(&found, &ConnectOptions::default()).unwrap();
    assert_eq!(plan.candidates.len(), 16, "of a hundred no more are tried than make sense");
}

#[tokio::test]
async fn an_http_client_reaches_a_name_and_the_name_authenticates_it() {
    let (port, pin) = tls_server(
        Shows::Certificate,
        &PKCS_ED25519,
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
    let map = map(vec![
        (1, vec![service(port, 0, &[pin]), here()]),
        (2, vec![service(port, 0, &[[1; 32]]), here()]),
    ]);
    let source: Arc<dyn RecordSource> = Arc::new(map);
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(NameConnector::new(source, everywhere()));
    let get = |url: String| client.get(url.parse().unwrap());
    let answer = get(format!("https://{}/", name(1).to_dns("dialtone.alt"))).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
    for url in [
        format!("https://{}/", name(2).to_dns("dialtone.alt")),
        "https://example.invalid/".to_owned(),
        format!("https://{}/", name(1).to_dns("other.alt")),
    ] {
        assert!(get(url.clone()).await.is_err(), "{url}");
    }
}
