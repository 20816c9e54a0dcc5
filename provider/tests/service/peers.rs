//! Peered providers, as their customers see them.

use crate::world::{Publisher, World, path_of, settings, until};
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::store::MemoryStore;
use dialtone_provider::{Provider, identity};
use dialtone_shared::Name;

fn agreement(name: Name, addresses: &[String]) -> PeerSettings {
    PeerSettings::mutual(name, addresses.to_vec())
}

/// A key made before its provider, so that the other's settings can name it.
fn key(folder: &tempfile::TempDir, file: &str) -> (std::path::PathBuf, Name) {
    let path = folder.path().join(file);
    let name = identity::open(&path, true).unwrap().name();
    (path, name)
}

#[tokio::test]
async fn what_is_put_at_one_is_got_at_the_other_and_absence_is_said_when_it_is_certain() {
    let keys = tempfile::tempdir().unwrap();
    let ((one_key, one_name), (two_key, two_name)) = (key(&keys, "one.key"), key(&keys, "two.key"));
    let one = World::with(MemoryStore::new(), |settings| {
        settings.identity.key = Some(one_key);
        settings.peers = vec![agreement(two_name, &[])];
    })
    .await;
    let absent = path_of(&Publisher::number(9).name());
    let reply = one.get(&absent).await;
    assert_eq!(
        (reply.status.as_u16(), reply.slug().as_str()),
        (503, "uncertain"),
        "the peer has not been heard"
    );
    // A put is a join, and needs nothing that a peer may hold.
    let early = Publisher::number(3).signed(one.now());
    assert_eq!(one.put(&early).await.status, 201);
    assert_eq!(one.get("/v1/info").await.json()["peers"][0], two_name.to_string());

    let at = one.provider.addresses().peering.unwrap().to_string();
    let two = World::with(MemoryStore::new(), |settings| {
        settings.identity.key = Some(two_key);
        settings.peers = vec![agreement(one_name, &[at])];
    })
    .await;
    let record = Publisher::number(1).signed(one.now());
    assert_eq!(one.put(&record).await.status, 201);
    until(async || two.get(&path_of(record.name())).await.body == record.bytes()).await;
    let back = Publisher::number(2).signed(two.now());
    assert_eq!(two.put(&back).await.status, 201);
    until(async || one.get(&path_of(back.name())).await.status == 200).await;

    until(async || one.get(&absent).await.status == 404 && two.get(&absent).await.status == 404).await;
    let metrics = one.metrics().await;
    assert!(metrics.contains(&format!("dialtone_peer_up{{peer=\"{two_name}\"}} 1")), "{metrics}");
    let lag = format!("dialtone_peer_lag{{peer=\"{two_name}\"}}");
    assert!(metrics.contains(&lag), "{metrics}");

    two.stop().await;
    assert_eq!(
        one.get(&path_of(back.name())).await.status,
        200,
        "what is held is served without the peer"
    );
    until(async || one.get(&absent).await.status == 503).await;
    let metrics = one.metrics().await;
    assert!(!metrics.contains(&lag), "of a peer that is away it is not known: {metrics}");
}

#[tokio::test]
async fn a_peering_port_that_is_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&folder);
    settings.peering.listen = other.local_addr().unwrap();
    let shown = Provider::start(settings).await.unwrap_err().to_string();
    assert!(
        shown.contains("peering.listen") && shown.contains(&other.local_addr().unwrap().to_string()),
        "{shown}"
    );
}
