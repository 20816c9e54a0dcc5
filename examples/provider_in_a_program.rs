//! A provider inside a program: started with settings of its own, looked into without a network between, stopped in good order.
//!
//! `cargo run --example provider_in_a_program`

use dialtone_provider::{Provider, Settings};
use dialtone_resolver::io::clock;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_resolver::{Lookup, ProviderAt};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Binding};
use dialtone_shared::{Body, SecretKey, Ttl};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The folder holds the provider's key and its store; the same folder is the same provider.
    let folder = tempfile::tempdir()?;
    let mut settings = Settings {
        data: folder.path().to_owned(),
        ..Settings::default()
    };
    settings.http.listen = vec!["127.0.0.1:0".parse()?];
    settings.dns.listen = Vec::new();
    settings.peering.listen = "127.0.0.1:0".parse()?;
    let provider = Provider::start(settings).await?;
    let url = format!("http://{}", provider.addresses().http[0]);
    println!("provider {} at {url}", provider.name());

    // Publish at it as anyone would, and keep the receipt: a promise that can be shown to others.
    let publisher = Signer::of(SecretKey::from_seed(&rand::random()));
    let now = clock::now_micros();
    let body = Body::Live {
        expiry: now.secs().plus(3_600),
        ttl: Ttl(60),
        bindings: vec![Binding::Address(Address::of("192.0.2.7".parse()?))],
    };
    let record = publish::sign(&publisher, now, Vec::new(), body)?;
    let client = Publisher::new(vec![Account {
        at: ProviderAt::Http(url),
        token: None,
    }]);
    for put in client.put(&record, PutIf::Always).await {
        let kept = put?;
        println!(
            "kept     until {:?}, receipt of {} bytes",
            kept.promise.keep_until,
            kept.receipt.len()
        );
    }

    // Look it up in the provider's own store: no socket, no encoding.
    match provider.source().lookup(record.name()).await? {
        Lookup::Found { record: found, ttl } if found == record => println!("found    rank {}, for {} s", found.rank(), ttl.0),
        Lookup::Found { .. } | Lookup::Absent { .. } => return Err("the record that was put is not the one found".into()),
    }
    Ok(provider.shutdown().await?)
}
