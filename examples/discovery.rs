//! Service discovery for a small cluster: each worker publishes under a key of its own, and whoever needs them watches. A worker that comes, moves or
//! leaves is known at once, without a central list.

mod parts;

use dialtone_resolver::watch::Told;
use dialtone_shared::Binding;
use parts::{Outcome, Owned, address, provider, service, stub};
use std::collections::BTreeMap;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let provider = provider(folder.path()).await?;
    let mut workers: Vec<Owned> = (0..3).map(|_| Owned::new()).collect();
    // Who belongs to the cluster is who holds one of these keys: nobody else can join.
    let numbers: BTreeMap<_, usize> = workers.iter().enumerate().map(|(number, worker)| (worker.name(), number)).collect();
    let stub = stub(&provider).await?;
    let mut watch = stub.watch(numbers.keys().copied());
    let mut up = BTreeMap::new();
    let mut settle = async |up: &mut BTreeMap<usize, u16>, wanted: usize| {
        while up.len() != wanted {
            match watch.next().await {
                Told::Put { record, .. } => {
                    let port = record.record().bindings().iter().find_map(|binding| match binding {
                        Binding::Service(service) => Some(service.port),
                        _ => None,
                    });
                    let number = numbers[record.name()];
                    match port {
                        Some(port) => drop(up.insert(number, port)),
                        None => drop(up.remove(&number)),
                    }
                }
                Told::Revoked(record) => drop(up.remove(&numbers[record.name()])),
                Told::Expired { name, .. } | Told::Absent(name) => drop(up.remove(&numbers[&name])),
                Told::Unknown { .. } | Told::Current { .. } | Told::Resync(_) | Told::Lost { .. } => {}
            }
        }
        println!("{wanted} workers are up: {up:?}");
    };
    settle(&mut up, 0).await;
    for (number, worker) in workers.iter_mut().enumerate() {
        let work = service("work", 7_000 + number as u16, None);
        worker
            .publish(&provider, vec![Binding::Service(work), address([192, 0, 2, number as u8 + 1])])
            .await?;
        settle(&mut up, number + 1).await;
    }
    // One leaves in good order: an empty record. One that just stops is gone when its record expires.
    workers[1].publish(&provider, Vec::new()).await?;
    settle(&mut up, 2).await;
    Ok(provider.shutdown().await?)
}
