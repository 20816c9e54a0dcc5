//! Comparisons over real links on the loopback: the requests, the turns and the reading of stores that simulated worlds leave out.

use dialtone_provider::io::clock::SystemClock;
use dialtone_provider::io::peering::requests::RequestError;
use dialtone_provider::io::peering::{self, PeeringContext, PeeringHandle};
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::health::Progress;
use dialtone_provider::store::{Class, Condition, MemoryStore, Put, RecordStore};
use dialtone_shared::message::reconcile::{Answer, Open, Question, Refusal};
use dialtone_shared::message::{Mode, Refused, Request, Response};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

struct Provider {
    signer: Arc<Signer>,
    store: Arc<MemoryStore>,
    handle: PeeringHandle,
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UnixMicros(since.as_micros() as u64)
}

fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::of(SecretKey::from_seed(&[seed; 32])))
}

/// The `index`-th name's record of that sequence.
fn record(index: u32, sequence: UnixMicros) -> VerifiedRecord {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let secret = SecretKey::from_seed(&seed);
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope: Vec::new(),
        body: Body::Live {
            expiry: sequence.secs().plus(86_400),
            ttl: Ttl(60),
            bindings: Vec::new(),
        },
    };
    let signed = SignedRecord::sign(record, &secret).expect("a record");
    signed.verify().expect("its own signature")
}

async fn fill(store: &MemoryStore, records: &[VerifiedRecord]) {
    let put = |record: &VerifiedRecord| Put {
        record: record.clone(),
        class: Class::Customer,
        keep_until: record.record().expiry().expect("a live record"),
        from: None,
        account: None,
        condition: Condition::None,
    };
    for batch in records.chunks(1_000) {
        store.put(batch.iter().map(put).collect()).await.expect("an open store");
    }
}

impl Provider {
    async fn start(seed: u8, store: Arc<MemoryStore>, agreements: Vec<Agreement>, compare_every: Duration) -> Self {
        let signer = signer(seed);
        let handle = peering::start(PeeringContext {
            compare_every,
            store: store.clone(),
            signer: signer.clone(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            addresses: Vec::new(),
            agreements,
            clock: Arc::new(SystemClock),
            seed: rand::random(),
        })
        .await
        .expect("a free port of the loopback");
        Self { signer, store, handle }
    }

    fn address(&self) -> SocketAddr {
        self.handle.local_addr().expect("a bound socket")
    }

    fn dialled(&self) -> Agreement {
        Agreement::mutual(self.signer.name(), vec![self.address().to_string()])
    }

    fn progress(&self, peer: &Name) -> Progress {
        let status = self.handle.peers().into_iter().find(|status| status.name == *peer);
        status.expect("an agreement").progress
    }

    async fn names(&self) -> Vec<(Name, [u8; 32])> {
        let held = self.store.scan(None, usize::MAX).await.expect("an open store");
        held.iter().map(|held| (*held.record.name(), held.record.rank().digest)).collect()
    }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(60), async {
        while !is().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

/// Two providers over these stores, linked; the second was dialled.
async fn linked(stores: [Arc<MemoryStore>; 2], compare_every: Duration) -> [Provider; 2] {
    let [first, second] = stores;
    let awaits = vec![Agreement::mutual(signer(1).name(), Vec::new())];
    let b = Provider::start(2, second, awaits, compare_every).await;
    let a = Provider::start(1, first, vec![b.dialled()], compare_every).await;
    [a, b]
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_equal_records_and_no_position_cost_a_kilobyte_and_no_record() {
    let records: Vec<_> = (0..20_000).map(|index| record(index, now())).collect();
    let stores = [MemoryStore::new(), MemoryStore::new()];
    for store in &stores {
        fill(store, &records).await;
    }
    let [a, b] = linked(stores, Duration::ZERO).await;
    let (at_b, at_a) = (b.signer.name(), a.signer.name());
    until("both say that they have everything", async || {
        let (a, b) = (a.progress(&at_b), b.progress(&at_a));
        a.compared == 1 && b.compared == 1 && a.sent_all && b.sent_all && a.received_all && b.received_all
    })
    .await;
    for progress in [a.progress(&at_b), b.progress(&at_a)] {
        assert_eq!((progress.records_sent, progress.records_received), (0, 0));
        // The greeting, which has a record, and who stands where: what the comparison itself costs is counted where it is decided.
        assert!(progress.bytes_sent < 1_000, "{progress:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_differs_crosses_a_real_link() {
    let at = now();
    let common: Vec<_> = (0..3_000).map(|index| record(index, at)).collect();
    let stores = [MemoryStore::new(), MemoryStore::new()];
    for store in &stores {
        fill(store, &common).await;
    }
    let later = UnixMicros(at.0 + 1);
    let [ours, theirs] = [(3_000..3_300, 0..50), (3_300..3_400, 50..150)].map(|(new, newer)| {
        let new: Vec<_> = new.map(|index| record(index, at)).collect();
        let newer: Vec<_> = newer.map(|index| record(index, later)).collect();
        [new, newer].concat()
    });
    fill(&stores[0], &ours).await;
    fill(&stores[1], &theirs).await;
    let [a, b] = linked(stores, Duration::ZERO).await;
    let (at_b, at_a) = (b.signer.name(), a.signer.name());
    until("both hold the same", async || a.names().await == b.names().await).await;
    until("all is acknowledged", async || {
        a.progress(&at_b).sent_all && b.progress(&at_a).sent_all
    })
    .await;
    assert_eq!((a.progress(&at_b).records_sent, b.progress(&at_a).records_sent), (350, 200));
    assert_eq!(
        (a.progress(&at_b).acknowledged.stored, b.progress(&at_a).acknowledged.stored),
        (350, 200)
    );
    // And what is put from then on passes as ever.
    fill(&a.store, &[record(9_000, at)]).await;
    until("a put passes", async || {
        b.store.get(record(9_000, at).name()).await.expect("an open store").is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_silently_lost_is_found_without_a_reason_after_a_while() {
    let records: Vec<_> = (0..500).map(|index| record(index, now())).collect();
    // The note says that both have everything; one of them has lost a part since, and its log does not show it.
    let stores = [MemoryStore::new(), MemoryStore::new()];
    fill(&stores[0], &records).await;
    fill(&stores[1], &records).await;
    let [a, b] = linked(stores, Duration::from_secs(1)).await;
    let at_b = b.signer.name();
    until("they are compared", async || a.progress(&at_b).compared >= 1).await;
    b.store.lose(records[7].name());
    b.store.lose(records[400].name());
    until("it is found and sent again", async || a.names().await == b.names().await).await;
    assert_eq!(a.progress(&at_b).records_sent, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_to_hold_the_same_is_not_compared_with() {
    let stores = [MemoryStore::new(), MemoryStore::new()];
    let records: Vec<_> = (0..200).map(|index| record(index, now())).collect();
    fill(&stores[0], &records[..100]).await;
    fill(&stores[1], &records[100..]).await;
    let [first, second] = stores;
    let awaits = vec![Agreement {
        push: Mode::None,
        ..Agreement::mutual(signer(1).name(), Vec::new())
    }];
    let b = Provider::start(2, second, awaits, Duration::ZERO).await;
    let a = Provider::start(1, first, vec![b.dialled()], Duration::ZERO).await;
    let at_b = b.signer.name();
    until("what is pushed arrives", async || b.store.count().records == 200).await;
    assert_eq!((a.progress(&at_b).compared, a.store.count().records), (0, 100));
    let ask = |body: Vec<u8>| a.handle.request(&at_b, Request::Reconcile(body.into()), Duration::from_secs(10));
    let open = Question::Open(Open {
        nonce: [1; 16],
        names: 100,
        at: UnixSecs(0),
    });
    let refused = Answer::Refused(Refusal::Terms).encode();
    assert_eq!(ask(open.encode()).await, Ok(Response::Reconcile(refused.into())));
    assert!(matches!(
        ask(b"nonsense".to_vec()).await,
        Err(RequestError::Refused { why: Refused::Cannot, .. })
    ));
}
