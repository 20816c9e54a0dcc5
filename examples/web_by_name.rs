//! A web server that is reached by its name: it makes its own key and certificate, publishes the pin of the key under its name, and any HTTP client
//! with the connector reaches it at `https://<name>.dialtone.alt/`. No domain, no certificate authority; the name authenticates the server.

mod parts;

use axum::Router;
use axum::routing::get;
use dialtone_resolver::connect::{ConnectOptions, Reach};
use dialtone_resolver::io::http_connector::NameConnector;
use dialtone_shared::Binding;
use dialtone_shared::record::Service;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use parts::{Outcome, Owned, address, provider, service, stub};
use rcgen::PublicKeyData;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let provider = provider(folder.path()).await?;
    let (port, pin) = serve(Router::new().route("/", get(|| async { "hello by name\n" }))).await?;
    let mut site = Owned::new();
    let https = Service {
        pins: vec![pin],
        alpn: vec!["http/1.1".to_owned()],
        ..service("https", port, None)
    };
    site.publish(&provider, vec![Binding::Service(https), address(Ipv4Addr::LOCALHOST)])
        .await?;

    let options = ConnectOptions {
        reach: Reach::Everywhere,
        ..ConnectOptions::default()
    };
    let connector = NameConnector::new(Arc::new(stub(&provider).await?), options);
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
    let url = format!("https://{}/", site.name().to_dns("dialtone.alt"));
    let answer = client.get(url.parse()?).await?;
    println!(
        "{url}\n{}",
        String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?
    );

    // Somebody else at the same address is not spoken to: the name pins another key.
    site.publish(
        &provider,
        vec![
            Binding::Service(Service {
                pins: vec![[7; 32]],
                ..service("https", port, None)
            }),
            address(Ipv4Addr::LOCALHOST),
        ],
    )
    .await?;
    let connector = NameConnector::new(
        Arc::new(stub(&provider).await?),
        ConnectOptions {
            reach: Reach::Everywhere,
            ..ConnectOptions::default()
        },
    );
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
    match client.get(url.parse()?).await {
        Ok(_) => return Err("an impostor was spoken to".into()),
        Err(_) => println!("an impostor is not spoken to"),
    }
    Ok(provider.shutdown().await?)
}

/// Serves over TLS with a key made now; the port, and the pin of the key.
async fn serve(router: Router) -> Outcome<(u16, [u8; 32])> {
    let pair = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(Vec::new())?.self_signed(&pair)?;
    let key = PrivateKeyDer::try_from(pair.serialize_der())?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), router).await;
                }
            });
        }
    });
    Ok((port, Sha256::digest(pair.subject_public_key_info()).into()))
}
