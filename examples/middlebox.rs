//! A middlebox by consent (DOA): a host says in its own record that traffic for it goes to a filter first, and from there on to it. No address is
//! rewritten and nothing is intercepted: everybody sees who stands in for whom, signed by the host, and the host takes it back when it likes.

mod parts;

use dialtone_resolver::connect::{ConnectOptions, Reach};
use dialtone_resolver::io::connector::connect;
use dialtone_resolver::{RecordSource, Stub};
use dialtone_shared::record::{Delegate, Step};
use dialtone_shared::{Binding, Name};
use parts::{Outcome, Owned, address, provider, service, stub};
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let provider = provider(folder.path()).await?;
    let stub = stub(&provider).await?;
    let (mut host, mut door, mut filter) = (Owned::new(), Owned::new(), Owned::new());

    // The host: what it is under its own name, and the door that only the filter goes through.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let own = vec![
        Binding::Service(service("echo", listener.local_addr()?.port(), None)),
        address(Ipv4Addr::LOCALHOST),
    ];
    tokio::spawn(echo(listener));
    door.publish(&provider, own.clone()).await?;
    // The filter, which passes on what it is sent to wherever the next step leads.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = vec![
        Binding::Service(service("echo", listener.local_addr()?.port(), None)),
        address(Ipv4Addr::LOCALHOST),
    ];
    filter.publish(&provider, at).await?;
    tokio::spawn(pass_on(listener, stub.clone(), door.name()));

    let path = vec![Step::Name(filter.name()), Step::Name(door.name())];
    host.publish(&provider, vec![Binding::Delegate(Delegate { path })]).await?;
    println!("by consent:  {}", say(&stub, &host.name(), "hello").await?);
    host.publish(&provider, own).await?;
    stub.forget(&host.name());
    println!("taken back:  {}", say(&stub, &host.name(), "hello").await?);
    Ok(provider.shutdown().await?)
}

/// Says something to a name, and hears what comes back.
async fn say(source: &dyn RecordSource, name: &Name, what: &str) -> Outcome<String> {
    let mut connected = connect(source, name, &options()).await?;
    connected.stream.write_all(what.as_bytes()).await?;
    connected.stream.shutdown().await?;
    let mut heard = String::new();
    connected.stream.read_to_string(&mut heard).await?;
    Ok(format!("{heard} ({} steps onward)", connected.endpoint.onward.len()))
}

async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut said = String::new();
        if stream.read_to_string(&mut said).await.is_ok() {
            let _ = stream.write_all(format!("the host heard {said}").as_bytes()).await;
        }
    }
}

/// The filter: it changes what it does not like, and connects to the next step by name.
async fn pass_on(listener: TcpListener, stub: Stub, next: Name) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut said = String::new();
        if stream.read_to_string(&mut said).await.is_err() {
            continue;
        }
        if let Ok(mut onward) = connect(&stub, &next, &options()).await {
            let _ = onward.stream.write_all(format!("{said}, filtered").as_bytes()).await;
            let _ = onward.stream.shutdown().await;
            let _ = tokio::io::copy(&mut onward.stream, &mut stream).await;
        }
    }
}

fn options() -> ConnectOptions {
    ConnectOptions {
        service: "echo".to_owned(),
        reach: Reach::Everywhere,
        ..ConnectOptions::default()
    }
}
