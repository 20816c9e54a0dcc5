//! An application that resolves a name: ask a provider, verify, follow the layers, and get endpoints in the order to try them.
//!
//! `cargo run --example resolve_a_name -- NAME [PROVIDER]`, with `dialtone up` running. Without arguments it starts a
//! provider of its own and publishes something to find.

use dialtone_provider::{Provider, Settings};
use dialtone_resolver::io::clock;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::layers::{self, ResolveOptions};
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_resolver::{FloorAt, ProviderAt, Stub, StubSettings};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Binding, Service, Transport};
use dialtone_shared::{Body, Name, SecretKey, Ttl};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match args.next() {
        Some(name) => {
            let provider = args.next().unwrap_or_else(|| "http://127.0.0.1:4380".to_owned());
            resolve(name.parse()?, provider.parse()?).await
        }
        None => {
            let folder = tempfile::tempdir()?;
            let (provider, name) = something_to_find(folder.path()).await?;
            let at = format!("http://{}", provider.addresses().http[0]);
            resolve(name, at.parse()?).await?;
            Ok(provider.shutdown().await?)
        }
    }
}

async fn resolve(name: Name, provider: ProviderAt) -> Result<(), Box<dyn Error>> {
    // A long-lived program keeps one stub for all: it caches, and remembers on disk how far each name was seen.
    let stub = Stub::connect(StubSettings {
        providers: vec![provider],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    })
    .await?;
    let wanted = ResolveOptions {
        service: Some("https".to_owned()),
        seed: rand::random(),
        ..ResolveOptions::default()
    };
    let found = layers::resolve(&stub, &name, &wanted).await?;
    for endpoint in &found.endpoints {
        println!("{:?} port {:?} alpn {:?}", endpoint.host, endpoint.port, endpoint.alpn);
    }
    if found.endpoints.is_empty() {
        Err("the name offers no https".into())
    } else {
        Ok(())
    }
}

async fn something_to_find(folder: &std::path::Path) -> Result<(Provider, Name), Box<dyn Error>> {
    let mut settings = Settings {
        data: folder.to_owned(),
        ..Settings::default()
    };
    settings.http.listen = vec!["127.0.0.1:0".parse()?];
    settings.dns.listen = vec!["127.0.0.1:0".parse()?];
    settings.peering.listen = "127.0.0.1:0".parse()?;
    let provider = Provider::start(settings).await?;
    let signer = Signer::of(SecretKey::from_seed(&rand::random()));
    let now = clock::now_micros();
    let body = Body::Live {
        expiry: now.secs().plus(3_600),
        ttl: Ttl(60),
        bindings: vec![
            Binding::Address(Address::of("192.0.2.7".parse()?)),
            Binding::Service(Service::of("https", Transport::Tcp, 443)),
        ],
    };
    let record = publish::sign(&signer, now, Vec::new(), body)?;
    let at = ProviderAt::Http(format!("http://{}", provider.addresses().http[0]));
    for put in Publisher::new(vec![Account { at, token: None }]).put(&record, PutIf::Absent).await {
        put?;
    }
    Ok((provider, *record.name()))
}
