//! A site behind two gateways (P6P): its name leads to both, weighted. When one fails, connections take the other at once; one edit of one record
//! then takes it out for everybody, and what is inside keeps its names.

mod parts;

use dialtone_resolver::connect::{ConnectOptions, Reach};
use dialtone_resolver::io::connector::connect;
use dialtone_shared::Binding;
use dialtone_shared::record::Service;
use parts::{Outcome, Owned, address, provider, service, stub};
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let provider = provider(folder.path()).await?;
    let (first, first_runs) = gateway("gateway one").await?;
    let (second, _second_runs) = gateway("gateway two").await?;
    let via = |port: u16, priority: u16| {
        let entry = service("site", port, None);
        Binding::Service(Service {
            priority,
            weight: 10,
            ..entry
        })
    };
    let here = || address(Ipv4Addr::LOCALHOST);
    let (mut site, mut printer) = (Owned::new(), Owned::new());
    site.publish(&provider, vec![via(first, 1), via(second, 2), here()]).await?;
    // What is inside is reached through the site: it never says a gateway itself.
    let through = dialtone_shared::record::Delegate {
        path: vec![dialtone_shared::record::Step::Name(site.name())],
    };
    printer.publish(&provider, vec![Binding::Delegate(through)]).await?;

    let stub = stub(&provider).await?;
    let options = ConnectOptions {
        service: "site".to_owned(),
        reach: Reach::Everywhere,
        ..ConnectOptions::default()
    };
    let greeting = async || -> Outcome<String> {
        let mut connected = connect(&stub, &printer.name(), &options).await?;
        let mut said = String::new();
        connected.stream.read_to_string(&mut said).await?;
        Ok(said)
    };
    println!("in order: {}", greeting().await?);
    first_runs.abort();
    let _ = first_runs.await;
    println!("one down: {}", greeting().await?);
    site.publish(&provider, vec![via(second, 1), here()]).await?;
    stub.forget(&site.name());
    println!("edited:   {}", greeting().await?);
    Ok(provider.shutdown().await?)
}

async fn gateway(says: &'static str) -> Outcome<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let runs = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(says.as_bytes()).await;
        }
    });
    Ok((port, runs))
}
