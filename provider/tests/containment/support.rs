//! Providers on the loopback, and a peer that is written by hand.

use dialtone_provider::io::clock::SystemClock;
use dialtone_provider::io::evidence::Evidence;
use dialtone_provider::io::peering::{self, PeeringContext, PeeringHandle};
use dialtone_provider::io::quic::{self, LinkKey};
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::health::PeerStatus;
use dialtone_provider::store::{Class, Condition, Held, MemoryStore, Put, RecordStore};
use dialtone_shared::message::{ALPN, Ack, Batch, Entry, Hello, Message, Terms, Value};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// A provider: its store, its links, its proofs.
pub struct Provider {
    pub signer: Arc<Signer>,
    pub store: Arc<MemoryStore>,
    pub handle: Arc<PeeringHandle>,
    pub evidence: Arc<Evidence>,
    stop: watch::Sender<bool>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

pub fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::of(SecretKey::from_seed(&[seed; 32])))
}

pub fn named(seed: u8) -> Name {
    signer(seed).name()
}

pub fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UnixMicros(since.as_micros() as u64)
}

impl Provider {
    /// A provider with an empty store that peers with all of these.
    pub async fn new(seed: u8, agreements: Vec<Agreement>) -> Self {
        let (signer, store) = (signer(seed), MemoryStore::new());
        let context = PeeringContext {
            store: store.clone(),
            signer: signer.clone(),
            listen: any_port(),
            addresses: Vec::new(),
            agreements,
            clock: Arc::new(SystemClock),
            seed: rand::random(),
            compare_every: Duration::ZERO,
        };
        let handle = Arc::new(peering::start(context).await.expect("a free port of the loopback"));
        let evidence = Evidence::open(store.clone(), Arc::new(SystemClock), signer.name())
            .await
            .expect("an open store");
        let stop = watch::Sender::new(false);
        handle.prove_by(evidence.clone());
        tokio::spawn(evidence.clone().watch(stop.subscribe()));
        tokio::spawn(evidence.clone().spread(handle.clone(), stop.subscribe()));
        Self {
            signer,
            store,
            handle,
            evidence,
            stop,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.handle.local_addr().expect("a bound socket")
    }

    pub fn name(&self) -> Name {
        self.signer.name()
    }

    /// How it should be dialled.
    pub fn dialled(&self) -> Agreement {
        Agreement::mutual(self.name(), vec![self.address().to_string()])
    }

    pub fn status(&self, peer: &Name) -> PeerStatus {
        let status = self.handle.peers().into_iter().find(|status| status.name == *peer);
        status.expect("an agreement")
    }

    pub async fn put(&self, records: Vec<VerifiedRecord>) {
        self.store
            .put(records.into_iter().map(put_of).collect())
            .await
            .expect("an open store");
    }

    pub async fn held(&self, name: &Name) -> Option<Held> {
        self.store.get(name).await.expect("an open store")
    }
}

pub fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Waits to be dialled.
pub fn awaited(peer: Name) -> Agreement {
    Agreement::mutual(peer, Vec::new())
}

pub fn put_of(record: VerifiedRecord) -> Put {
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
pub fn record(index: u32) -> VerifiedRecord {
    twin(index, now(), 60)
}

/// A record of the `index`-th name; with another TTL it is another record of the same rank.
pub fn twin(index: u32, sequence: UnixMicros, ttl: u32) -> VerifiedRecord {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let secret = SecretKey::from_seed(&seed);
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope: Vec::new(),
        body: Body::Live {
            expiry: sequence.secs().plus(3_600),
            ttl: Ttl(ttl),
            bindings: Vec::new(),
        },
    };
    let signed = SignedRecord::sign(record, &secret).expect("a record");
    signed.verify().expect("its own signature")
}

/// The bytes of a record of the `index`-th name whose signature does not hold.
pub fn forged(index: u32) -> Vec<u8> {
    let mut bytes = record(index).bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last - 40] ^= 1;
    bytes
}

/// Waits until it is so. The limit is no measure of speed, only an end for a test that fails.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(60), async {
        while !is().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

/// A peer that is written by hand: whatever it sends is up to the test.
pub struct ByHand {
    pub connection: Connection,
    send: SendStream,
    recv: RecvStream,
    cursor: u64,
    _endpoint: Endpoint,
}

impl ByHand {
    /// Dials `address`, greets as provider `seed` and hears the other side's greeting.
    pub async fn greeted(address: SocketAddr, seed: u8) -> Self {
        let key = LinkKey::generate().expect("a key");
        let (endpoint, _) = quic::endpoint_speaking(any_port(), &key, ALPN).expect("a port");
        let connection = endpoint
            .connect(address, "dialtone")
            .expect("an address")
            .await
            .expect("a connection");
        let (send, recv) = connection.open_bi().await.expect("a stream");
        let mut peer = Self {
            connection,
            send,
            recv,
            cursor: 0,
            _endpoint: endpoint,
        };
        let record = greeting::own_record(&signer(seed), now(), 1, &[], vec![key.pin]).expect("a record");
        let hello = Hello {
            versions: vec![1],
            record: record.bytes().clone(),
            store: [seed; 16],
            boot: [seed; 16],
            heads: [0; 3],
            terms: Terms::mutual(),
        };
        peer.send(&Message::Hello(hello).to_frame()).await;
        let heard = peer.hear().await;
        assert!(matches!(heard, Some(Message::Hello(_))), "{heard:?}");
        peer
    }

    pub async fn send(&mut self, frame: &[u8]) {
        // A refusal shows in how the link is closed.
        let _ = self.send.write_all(frame).await;
    }

    /// Sends a batch of the ordinary lane.
    pub async fn push(&mut self, records: impl IntoIterator<Item = Vec<u8>>) {
        self.cursor += 1;
        let entry = |record: Vec<u8>| {
            Entry::Value(Value {
                class: 3,
                keep_until: now().secs().plus(600),
                record: record.into(),
                path: Default::default(),
            })
        };
        let batch = Batch {
            lane: 1,
            cursor: self.cursor,
            behind: 0,
            entries: records.into_iter().map(entry).collect(),
            heard: 0,
        };
        self.send(&Message::Batch(batch).to_frame()).await;
    }

    /// The next message; `None`: the link is closed. What the other side pushes is acknowledged.
    pub async fn hear(&mut self) -> Option<Message> {
        let mut head = [0; 4];
        self.recv.read_exact(&mut head).await.ok()?;
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.recv.read_exact(&mut body).await.ok()?;
        let message = Message::decode(&body).expect("a message");
        if let Message::Batch(batch) = &message {
            let counts = Default::default();
            let ack = Ack {
                lane: batch.lane,
                cursor: batch.cursor,
                counts,
                wants: Vec::new(),
            };
            self.send(&Message::Ack(ack).to_frame()).await;
        }
        Some(message)
    }

    /// Waits for the next acknowledgement; `None`: the link is closed.
    pub async fn acked(&mut self) -> Option<Ack> {
        loop {
            if let Message::Ack(ack) = self.hear().await? {
                return Some(ack);
            }
        }
    }

    /// Waits until the other side says whether it takes all.
    pub async fn told_takes_all(&mut self) -> Option<bool> {
        loop {
            if let Message::Terms(terms) = self.hear().await? {
                return Some(terms.takes_all);
            }
        }
    }

    /// With which code the other side closes the link.
    pub async fn closed(&self) -> u64 {
        match timeout(Duration::from_secs(60), self.connection.closed()).await.expect("a close") {
            ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("closed without words: {other}"),
        }
    }
}
