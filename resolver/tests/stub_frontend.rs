//! The stub asks the frontend's DNS server, over loopback: the two ends of the protocol as they are built here.

mod stub_support;

use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::frontend::Frontend;
use dialtone_resolver::dns::settings::{FrontendSettings, ListenerSettings};
use dialtone_resolver::io::listeners;
use dialtone_resolver::{Lookup, LookupError, ProviderAt, RecordSource};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::Opaque;
use dialtone_shared::{Binding, Body, Name, VerifiedRecord};
use std::sync::Arc;
use stub_support::records::secret;
use stub_support::source::Map;
use stub_support::{at, base, record_with, stub};
use tokio::task::JoinHandle;

/// A frontend over `source`, until it is dropped.
struct Serving {
    at: ProviderAt,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(source: Arc<dyn RecordSource>) -> Serving {
    let origin = Domain::from_text("dialtone.alt").unwrap();
    let frontend = Arc::new(Frontend::new(source, FrontendSettings::new(origin)).unwrap());
    let (udp, tcp) = listeners::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = at(udp.local_addr().unwrap());
    let listener = ListenerSettings::default();
    let task = tokio::spawn(listeners::serve(
        frontend,
        vec![udp.into()],
        vec![tcp],
        listener,
        std::future::pending(),
    ));
    Serving { at, task }
}

fn of_size(key: u8, bytes: usize) -> VerifiedRecord {
    record_with(key, 10, |body| {
        body.bindings.push(Binding::Opaque(Opaque {
            media_type: "text/plain".to_owned(),
            bytes: vec![b'x'; bytes],
        }));
    })
}

#[tokio::test]
async fn what_a_source_knows_the_stub_finds_whatever_its_size() {
    let revoked = dialtone_resolver::publish::sign(&Signer::of(secret(50)), base().micros(), Vec::new(), Body::Revoked).unwrap();
    let mut records: Vec<VerifiedRecord> = [0, 200, 900, 1_000, 1_050, 1_100, 1_300, 3_900]
        .into_iter()
        .enumerate()
        .map(|(index, bytes)| of_size(index as u8 + 1, bytes))
        .collect();
    records.push(revoked);
    let mut map = Map::default();
    for record in &records {
        map.records.insert(*record.name(), Ok(record.clone()));
    }
    // Two of them in a row: a stub behind the frontend of a site.
    let provider = serve(Arc::new(map)).await;
    let site = serve(Arc::new(stub(std::slice::from_ref(&provider.at)).await)).await;
    for asked in [&provider, &site] {
        let stub = stub(std::slice::from_ref(&asked.at)).await;
        for record in &records {
            match stub.lookup(record.name()).await {
                Ok(Lookup::Found { record: found, ttl }) => {
                    assert_eq!(found.bytes(), record.bytes());
                    assert!(ttl.0 >= 50, "{ttl:?}");
                }
                other => panic!("{} bytes: {other:?}", record.bytes().len()),
            }
        }
    }
}

#[tokio::test]
async fn absence_and_doubt_arrive_as_such() {
    let (unsure, expired, absent) = (
        Name::of_content(b"unsure"),
        Name::of_content(b"expired"),
        Name::of_content(b"absent"),
    );
    let mut map = Map::default();
    let catching_up = LookupError::Unavailable("a peer is catching up".to_owned());
    map.records.insert(unsure, Err(catching_up));
    map.records.insert(expired, Err(LookupError::Expired));
    let provider = serve(Arc::new(map)).await;
    let stub = stub(std::slice::from_ref(&provider.at)).await;
    assert!(matches!(stub.lookup(&absent).await, Ok(Lookup::Absent { ttl }) if (1..=10).contains(&ttl.0)));
    let doubt = stub.lookup(&unsure).await.unwrap_err();
    assert!(
        matches!(&doubt, LookupError::Unavailable(reason) if reason.contains("cannot say now")),
        "{doubt}"
    );
    let stale = stub.lookup(&expired).await.unwrap_err();
    assert!(
        matches!(&stale, LookupError::Unavailable(reason) if reason.contains("expired")),
        "{stale}"
    );
}

#[tokio::test]
async fn a_server_of_another_origin_is_not_believed_when_it_says_that_there_is_none() {
    let provider = serve(Arc::new(Map::default())).await;
    let ProviderAt::Dns { host, .. } = &provider.at else {
        unreachable!("served by DNS")
    };
    let other: ProviderAt = format!("dns://{host}/other.example").parse().unwrap();
    let stub = stub(&[other]).await;
    let refused = stub.lookup(&Name::of_content(b"x")).await;
    assert!(matches!(refused, Err(LookupError::Unavailable(_))), "{refused:?}");
}
