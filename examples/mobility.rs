//! A machine moves, and every service on it follows: two services point at one endpoint, and one record says where that is now.
//! Who watches at another provider hears of it as it happens.

mod parts;

use dialtone_resolver::layers::{Host, ResolveOptions, resolve};
use dialtone_resolver::watch::Told;
use dialtone_shared::Binding;
use parts::{Outcome, Owned, address, service, stub, two_peers};
use std::time::Instant;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let (here, there) = two_peers(folder.path()).await?;
    let (mut laptop, mut web, mut git) = (Owned::new(), Owned::new(), Owned::new());
    web.publish(&here, vec![Binding::Service(service("https", 443, Some(laptop.name())))])
        .await?;
    git.publish(&here, vec![Binding::Service(service("ssh", 22, Some(laptop.name())))])
        .await?;

    let elsewhere = stub(&there).await?;
    let mut watch = elsewhere.watch([laptop.name(), web.name(), git.name()]);
    for ip in [[192, 0, 2, 1], [198, 51, 100, 1]] {
        let moved = Instant::now();
        // The only record that changes.
        laptop.publish(&here, vec![address(ip)]).await?;
        loop {
            match watch.next().await {
                Told::Put { record, .. } if *record.name() == laptop.name() && record.record().bindings() == [address(ip)] => break,
                _ => {}
            }
        }
        println!(
            "at {}.{}.{}.{}, known at the other provider after {:?}",
            ip[0],
            ip[1],
            ip[2],
            ip[3],
            moved.elapsed()
        );
        for (name, label) in [(web.name(), "https"), (git.name(), "ssh")] {
            let found = loop {
                let found = resolve(&elsewhere, &name, &ResolveOptions::default()).await?;
                if !found.endpoints.is_empty() {
                    break found;
                }
                // The service's own record is still on its way to the other provider.
                elsewhere.forget(&name);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            };
            if found.endpoints[0].host != Host::Ip(ip.into()) {
                return Err(format!("{label} did not follow").into());
            }
            println!(
                "  {label} follows: {:?} port {:?}",
                found.endpoints[0].host, found.endpoints[0].port
            );
        }
    }
    here.shutdown().await?;
    Ok(there.shutdown().await?)
}
