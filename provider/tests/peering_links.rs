//! Links on the loopback: real sockets, real TLS, several providers in one process.

use dialtone_provider::io::peering::{self, PeeringContext, PeeringHandle};
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::health::{LinkState, PeerStatus};
use dialtone_provider::store::{Class, Condition, MemoryStore, Outcome, Put, RecordStore};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

/// A provider that can be stopped and started again over the same store.
struct Provider {
    signer: Arc<Signer>,
    store: Arc<MemoryStore>,
    handle: PeeringHandle,
}

fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::of(SecretKey::from_seed(&[seed; 32])))
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UnixMicros(since.as_micros() as u64)
}

async fn start(signer: &Arc<Signer>, store: &Arc<MemoryStore>, listen: SocketAddr, agreements: Vec<Agreement>) -> PeeringHandle {
    peering::start(PeeringContext {
        store: store.clone(),
        signer: signer.clone(),
        listen,
        addresses: Vec::new(),
        agreements,
        clock: Arc::new(now),
        seed: rand::random(),
    })
    .await
    .expect("a free port of the loopback")
}

impl Provider {
    /// A provider with an empty store that peers with all of these.
    async fn new(seed: u8, agreements: Vec<Agreement>) -> Self {
        let (signer, store) = (signer(seed), MemoryStore::new());
        let handle = start(&signer, &store, any_port(), agreements).await;
        Self { signer, store, handle }
    }

    /// Stops, and starts again on the same port and store.
    async fn restart(&mut self, agreements: Vec<Agreement>) {
        let address = self.address();
        self.handle.shutdown().await;
        self.handle = start(&self.signer, &self.store, address, agreements).await;
    }

    fn address(&self) -> SocketAddr {
        self.handle.local_addr().expect("a bound socket")
    }

    fn name(&self) -> Name {
        self.signer.name()
    }

    /// How it should be dialled.
    fn dialled(&self) -> Agreement {
        Agreement::mutual(self.name(), vec![self.address().to_string()])
    }

    fn status(&self, peer: &Name) -> PeerStatus {
        self.handle
            .peers()
            .into_iter()
            .find(|status| status.name == *peer)
            .expect("an agreement")
    }

    async fn put(&self, record: VerifiedRecord) {
        let outcomes = self.store.put(vec![put_of(record)]).await.expect("an open store");
        assert!(matches!(outcomes[0], Outcome::Stored { .. }));
    }

    async fn holds(&self, record: &VerifiedRecord) -> bool {
        let held = self.store.get(record.name()).await.expect("an open store");
        held.is_some_and(|held| held.record == *record)
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn named(seed: u8) -> Name {
    signer(seed).name()
}

/// Waits to be dialled.
fn awaited(peer: Name) -> Agreement {
    Agreement::mutual(peer, Vec::new())
}

fn put_of(record: VerifiedRecord) -> Put {
    let keep_until = record.record().expiry().unwrap_or(now().secs().plus(86_400));
    Put {
        record,
        class: Class::Customer,
        keep_until,
        from: None,
        account: None,
        condition: Condition::None,
    }
}

/// A record of the `index`-th name, signed now.
fn record(index: u32) -> VerifiedRecord {
    sign(index, false)
}

fn sign(index: u32, revoked: bool) -> VerifiedRecord {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let secret = SecretKey::from_seed(&seed);
    let sequence = now();
    let live = Body::Live {
        expiry: sequence.secs().plus(3_600),
        ttl: Ttl(60),
        bindings: Vec::new(),
    };
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope: Vec::new(),
        body: if revoked { Body::Revoked } else { live },
    };
    let signed = SignedRecord::sign(record, &secret).expect("a record");
    signed.verify().expect("its own signature")
}

/// Waits until it is so. The limit is no measure of speed, only an end for a test that fails.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(30), async {
        while !is().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_one_end_of_a_chain_is_held_at_the_other() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled(), awaited(named(3))]).await;
    let c = Provider::new(3, vec![b.dialled()]).await;
    let (first, second) = (record(1), record(2));
    a.put(first.clone()).await;
    c.put(second.clone()).await;
    until("both ends hold both", async || {
        a.holds(&second).await && b.holds(&first).await && b.holds(&second).await && c.holds(&first).await
    })
    .await;
    let held = c.store.get(first.name()).await.expect("open").expect("held");
    assert_eq!((held.class, held.from), (Class::Peer, Some(b.name())));
    until("everyone says that all has been sent and received", async || {
        [&a, &b, &c]
            .iter()
            .flat_map(|one| one.handle.peers())
            .all(|peer| peer.state == LinkState::Up && peer.progress.sent_all && peer.progress.received_all && peer.last_error.is_none())
    })
    .await;
    for provider in [a, b, c] {
        provider.handle.shutdown().await;
    }
}
