//! A provider that cannot start says why, and what to do.

use crate::world::settings;
use dialtone_provider::{Provider, Settings, StartError};

#[tokio::test]
async fn a_port_that_is_in_use() {
    let (folder, other) = (tempfile::tempdir().unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let mut settings = settings(&folder);
    settings.http.listen = vec![other.local_addr().unwrap()];
    let error = Provider::start(settings.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { what: "HTTP", .. }), "{error}");
    let shown = error.to_string();
    assert!(
        shown.contains(&other.local_addr().unwrap().to_string()) && shown.contains("http.listen"),
        "{shown}"
    );
    drop(other);
    Provider::start(settings).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_dns_port_that_is_in_use() {
    let (folder, other) = (tempfile::tempdir().unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut settings = settings(&folder);
    settings.dns.listen = vec![other.local_addr().unwrap()];
    let shown = Provider::start(settings).await.unwrap_err().to_string();
    assert!(
        shown.contains(&other.local_addr().unwrap().to_string()) && shown.contains("dns.listen"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file, not a folder").unwrap();
    let mut settings = settings(&folder);
    let error = Provider::start(settings.clone()).await.unwrap_err();
    assert!(
        error.to_string().contains("/data") && error.to_string().contains("`data`"),
        "{error}"
    );
    settings.data = folder.path().join("data/below");
    let error = Provider::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::Folder { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_another_provider_has() {
    let folder = tempfile::tempdir().unwrap();
    let first = Provider::start(settings(&folder)).await.unwrap();
    let error = Provider::start(settings(&folder)).await.unwrap_err();
    assert!(
        error.to_string().contains("in use") && error.to_string().contains("Stop the other provider"),
        "{error}"
    );
    first.shutdown().await.unwrap();
    Provider::start(settings(&folder)).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_none_leaves_the_folder_free() {
    let folder = tempfile::tempdir().unwrap();
    let mut with_key = settings(&folder);
    with_key.identity.key = Some(folder.path().join("no.key"));
    let error = Provider::start(with_key.clone()).await.unwrap_err();
    assert!(error.to_string().contains("no.key"), "{error}");
    std::fs::write(folder.path().join("no.key"), "nonsense").unwrap();
    let error = Provider::start(with_key).await.unwrap_err();
    assert!(error.to_string().contains("openssl genpkey"), "{error}");
    Provider::start(settings(&folder)).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test]
async fn settings_that_do_not_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut none = settings(&folder);
    none.http.listen.clear();
    assert!(matches!(Provider::start(none).await, Err(StartError::Settings(_))));
}

#[test]
fn a_settings_file_with_an_unknown_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provider.toml");
    std::fs::write(&path, "[http]\nlisten = [\"127.0.0.1:0\"]\nanonymus_puts = \"no\"\n").unwrap();
    let shown = Settings::load(&path).unwrap_err().to_string();
    assert!(
        shown.contains("provider.toml, line 3") && shown.contains("anonymus_puts"),
        "{shown}"
    );
    let shown = Settings::load(&folder.path().join("absent.toml")).unwrap_err().to_string();
    assert!(shown.contains("absent.toml"), "{shown}");
}
