//! Links on the loopback: real sockets, real TLS, several providers in one process.

use dialtone_provider::io::clock::SystemClock;
use dialtone_provider::io::peering::{self, PeeringContext, PeeringHandle};
use dialtone_provider::io::quic::{self, LinkKey};
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::greeting;
use dialtone_provider::peering::health::{LinkState, PeerStatus};
use dialtone_provider::peering::limits::{GREETINGS_FROM_ONE_MAX, HANDSHAKES_FROM_ONE, REFUSALS};
use dialtone_provider::store::{Class, Condition, MemoryStore, Outcome, Put, RecordStore};
use dialtone_shared::cbor::Writer;
use dialtone_shared::message::{ALPN, Batch, CloseCode, Entry, Hello, Message, Relationship, Terms, Value};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
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
        compare_every: Duration::ZERO,
        store: store.clone(),
        signer: signer.clone(),
        listen,
        addresses: Vec::new(),
        agreements,
        clock: Arc::new(SystemClock),
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
    record_at(index, now())
}

fn record_at(index: u32, sequence: UnixMicros) -> VerifiedRecord {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let secret = SecretKey::from_seed(&seed);
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
        body: live,
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

#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_put_is_behind_until_the_peer_has_it_also_while_the_link_rests() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    until("the link stands", async || {
        a.status(&b.name()).progress.sent_all && b.status(&a.name()).progress.sent_all
    })
    .await;
    for index in 0..50 {
        a.put(record(index)).await;
        let progress = a.status(&b.name()).progress;
        let held = b.store.count().records;
        assert!(
            !progress.sent_all || held == u64::from(index) + 1,
            "{held} of {}: {progress:?}",
            index + 1
        );
        assert_eq!(progress.sent_all, progress.lag == 0);
    }
    for provider in [a, b] {
        provider.handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_either_side_goes_on_where_it_stopped() {
    let mut a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut b = Provider::new(2, vec![a.dialled()]).await;
    let puts = (0..600).map(|index| put_of(record(index))).collect();
    a.store.put(puts).await.expect("an open store");
    let count = async |provider: &Provider| provider.store.count().records;
    until("all is there", async || {
        count(&b).await == 600 && a.status(&b.name()).progress.sent_all
    })
    .await;
    assert_eq!(a.status(&b.name()).progress.records_sent, 600);

    a.restart(vec![awaited(b.name())]).await;
    a.put(record(1_000)).await;
    until("the new one is there", async || {
        count(&b).await == 601 && a.status(&b.name()).progress.sent_all
    })
    .await;
    assert_eq!(a.status(&b.name()).progress.records_sent, 1, "after a restart of the sender");

    b.restart(vec![a.dialled()]).await;
    a.put(record(1_001)).await;
    until("the next one is there", async || {
        count(&b).await == 602 && a.status(&b.name()).progress.sent_all
    })
    .await;
    assert_eq!(a.status(&b.name()).progress.records_sent, 2, "after a restart of the receiver");
    assert_eq!(
        b.status(&a.name()).progress.records_sent,
        0,
        "what came from a peer does not go back to it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lost_its_store_gets_everything_again_even_what_it_once_sent() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut b = Provider::new(2, vec![a.dialled()]).await;
    let (ours, theirs) = (record(1), record(2));
    a.put(ours.clone()).await;
    b.put(theirs.clone()).await;
    until("both hold both", async || a.holds(&theirs).await && b.holds(&ours).await).await;

    b.store = MemoryStore::new();
    b.restart(vec![a.dialled()]).await;
    until("the empty store is full again", async || {
        b.holds(&theirs).await && b.holds(&ours).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_from_a_backup_pushes_what_it_has_whatever_the_old_one_noted_of_its_peers() {
    let mut a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    for second in 0..5 {
        a.put(record_at(1, UnixMicros(now().0 + second))).await;
        until("it is acknowledged", async || a.status(&b.name()).progress.sent_all).await;
    }
    let backed_up = async |store: &MemoryStore| {
        let notes = store.notes(b"", 100).await.expect("open");
        (store.scan(None, 100).await.expect("open"), notes)
    };
    until("how far the peer is was noted", async || !backed_up(&a.store).await.1.is_empty()).await;
    let (held, notes) = backed_up(&a.store).await;

    a.store = MemoryStore::new();
    let restored = held.into_iter().map(|held| put_of(held.record)).collect();
    a.store.put(restored).await.expect("open");
    a.store
        .set_notes(notes.into_iter().map(|(key, value)| (key, Some(value))).collect())
        .await
        .expect("open");
    a.restart(vec![awaited(b.name())]).await;
    let new = record(2);
    a.put(new.clone()).await;
    until("the peer hears of it", async || b.holds(&new).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_nobody_who_says_nothing() {
    // Somebody who was dialled and does not answer.
    let silent = std::net::UdpSocket::bind(any_port()).expect("a port");
    let silent_address = silent.local_addr().expect("bound").to_string();
    let a = Provider::new(1, vec![awaited(named(2)), Agreement::mutual(named(3), vec![silent_address])]).await;
    let mut hello = [0; 2_000];
    silent.recv_from(&mut hello).expect("a first datagram");
    // A stranger who connects and opens no stream.
    let key = LinkKey::generate().expect("a key");
    let (stranger, _) = quic::endpoint(any_port(), &key).expect("a port");
    let connection = stranger
        .connect(a.address(), "dialtone")
        .expect("an address")
        .await
        .expect("a handshake");
    let stopped = timeout(Duration::from_secs(4), a.handle.shutdown()).await;
    assert!(stopped.is_ok(), "shorter than the patience with which links are cut");
    let told = connection.closed().await;
    assert!(
        matches!(told, ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_)),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_make_us_hold_little_and_a_peer_a_feed() {
    let key = LinkKey::generate().expect("a key");
    let [(ours, _), (theirs, _)] = [(); 2].map(|()| quic::endpoint(any_port(), &key).expect("a port"));
    let address = ours.local_addr().expect("bound");
    let accepting = async { ours.accept().await.expect("open").await.expect("a handshake") };
    let dialling = async { theirs.connect(address, "dialtone").expect("an address").await.expect("a handshake") };
    let (connection, stranger) = tokio::join!(accepting, dialling);
    let (mut send, _recv) = stranger.open_bi().await.expect("a stream");
    // Nobody reads: what is taken is what is held.
    let mut taken = async || {
        let mut taken = 0;
        while let Ok(Ok(bytes)) = timeout(Duration::from_millis(500), send.write(&[0; 4_096])).await {
            taken += bytes;
        }
        taken
    };
    let of_a_stranger = taken().await;
    quic::open_wide(&connection);
    let of_a_peer = of_a_stranger + taken().await;
    assert_eq!((of_a_stranger, of_a_peer), (32 << 10, 1 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_only_connects_takes_no_more_than_its_share() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let key = LinkKey::generate().expect("a key");
    let (endpoint, _) = quic::endpoint(any_port(), &key).expect("a port");
    let mut silent = Vec::new();
    for _ in 0..GREETINGS_FROM_ONE_MAX {
        let connecting = endpoint.connect(a.address(), "dialtone").expect("an address");
        silent.push(connecting.await.expect("a place"));
    }
    let error = endpoint.connect(a.address(), "dialtone").expect("an address").await;
    assert!(matches!(error, Err(ConnectionError::ConnectionClosed(_))), "{error:?}");
    silent.pop().expect("one of them").close(0_u32.into(), b"");
    until("its place is another's", async || {
        let connecting = endpoint.connect(a.address(), "dialtone").expect("an address");
        connecting.await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dials_again_and_again_gets_no_more_handshakes_than_its_network_may() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let key = LinkKey::generate().expect("a key");
    let (endpoint, _) = quic::endpoint(any_port(), &key).expect("a port");
    let (began, mut shaken) = (Instant::now(), 0);
    for _ in 0..HANDSHAKES_FROM_ONE.at_once + REFUSALS.at_once {
        if let Ok(connection) = endpoint.connect(a.address(), "dialtone").expect("an address").await {
            shaken += 1;
            connection.close(0_u32.into(), b"");
        }
    }
    let since = began.elapsed().as_nanos().div_ceil(HANDSHAKES_FROM_ONE.every.as_nanos());
    assert!(shaken > 0 && shaken <= u128::from(HANDSHAKES_FROM_ONE.at_once) + since, "{shaken}");
    let b = Provider::new(2, vec![a.dialled()]).await;
    until("a peer has its turn all the same", async || {
        b.status(&named(1)).state == LinkState::Up
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_dial_one_link_stays() {
    let (signers, stores) = ([signer(1), signer(2)], [MemoryStore::new(), MemoryStore::new()]);
    // Ports are chosen by the first start; then both know the other's.
    let first = start(&signers[0], &stores[0], any_port(), Vec::new()).await;
    let second = start(&signers[1], &stores[1], any_port(), Vec::new()).await;
    let addresses = [&first, &second].map(|one| one.local_addr().expect("bound"));
    first.shutdown().await;
    second.shutdown().await;
    let dial = |index: usize| vec![Agreement::mutual(signers[index].name(), vec![addresses[index].to_string()])];
    let a = start(&signers[0], &stores[0], addresses[0], dial(1)).await;
    let b = start(&signers[1], &stores[1], addresses[1], dial(0)).await;
    until("it is up on both sides", async || {
        [&a, &b]
            .iter()
            .all(|one| one.peers()[0].state == LinkState::Up && one.peers()[0].progress.received_all)
    })
    .await;
    sleep(Duration::from_millis(1_500)).await;
    let links = [&a, &b].map(|one| one.peers()[0].progress.links);
    assert!(
        links.iter().all(|links| *links <= 3),
        "the two links go on replacing each other: {links:?}"
    );
    let put = record(1);
    stores[0].put(vec![put_of(put.clone())]).await.expect("open");
    until("it still carries", async || {
        stores[1].get(put.name()).await.is_ok_and(|held| held.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_under_another_name_than_the_pinned_one_is_refused_and_told_so() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    // B believes that provider 9 is to be found at A's address.
    let b = Provider::new(2, vec![Agreement::mutual(named(9), vec![a.address().to_string()])]).await;
    a.put(record(1)).await;
    let error = error_of(&b, &named(9)).await;
    let words = format!(
        "the agreement is with {}, and who answered presented the name {}",
        named(9),
        a.name()
    );
    assert!(error.contains("closed here") && error.contains(&words), "{error}");
    let error = error_of(&a, &b.name()).await;
    assert!(error.contains("closed the link") && error.contains(&words), "{error}");
    assert_eq!(b.store.count().records, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_turned_away_and_told_so() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let stranger = Provider::new(3, vec![a.dialled()]).await;
    a.put(record(1)).await;
    stranger.put(record(2)).await;
    let error = error_of(&stranger, &a.name()).await;
    assert!(error.contains("closed the link") && error.contains("no agreement"), "{error}");
    assert_eq!((a.store.count().records, stranger.store.count().records), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn agreements_that_contradict_each_other_are_explained_on_both_sides() {
    let mut theirs = awaited(named(2));
    theirs.relationship = Relationship::Customer;
    let a = Provider::new(1, vec![theirs]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    for (at, of) in [(&b, a.name()), (&a, b.name())] {
        let error = error_of(at, &of).await;
        assert!(error.contains("customer") && error.contains("mutual"), "{error}");
    }
}

/// What is said of a link that does not come about.
async fn error_of(at: &Provider, peer: &Name) -> String {
    until("an error is told", async || at.status(peer).last_error.is_some()).await;
    let status = at.status(peer);
    assert_ne!(status.state, LinkState::Up);
    status.last_error.unwrap_or_default()
}

/// A peer that is written by hand: whatever it sends is up to the test.
struct ByHand {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    pin: [u8; 32],
}

impl ByHand {
    async fn dial(address: SocketAddr, alpn: &[u8]) -> Result<Self, ConnectionError> {
        let key = LinkKey::generate().expect("a key");
        let (endpoint, _) = quic::endpoint_speaking(any_port(), &key, alpn).expect("a port");
        let connection = endpoint.connect(address, "dialtone").expect("an address").await?;
        let (send, recv) = connection.open_bi().await?;
        let pin = key.pin;
        Ok(Self {
            connection,
            send,
            recv,
            pin,
        })
    }

    /// Greets as `signer`, with a record that lists `pin`.
    async fn greet(&mut self, signer: &Signer, pin: [u8; 32], at: UnixMicros) {
        let record = greeting::own_record(signer, at, 1, &[], vec![pin]).expect("a record");
        let hello = Hello {
            versions: vec![1],
            record: record.bytes().clone(),
            store: [1; 16],
            boot: [2; 16],
            heads: [0; 3],
            terms: Terms::mutual(),
        };
        self.send(&Message::Hello(hello).to_frame()).await;
    }

    async fn send(&mut self, frame: &[u8]) {
        // A refusal shows in how the link is closed.
        let _ = self.send.write_all(frame).await;
    }

    async fn hear(&mut self) -> Message {
        let mut head = [0; 4];
        self.recv.read_exact(&mut head).await.expect("a frame");
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.recv.read_exact(&mut body).await.expect("a whole frame");
        Message::decode(&body).expect("a message")
    }

    /// How the other side closes the link.
    async fn closed(&self) -> (u64, String) {
        match timeout(Duration::from_secs(60), self.connection.closed()).await.expect("a close") {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("closed without words: {other}"),
        }
    }
}

fn batch(cursor: u64, records: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let entry = |record: Vec<u8>| {
        Entry::Value(Value {
            class: 3,
            keep_until: now().secs().plus(600),
            record: record.into(),
            path: Default::default(),
        })
    };
    let entries = records.into_iter().map(entry).collect();
    let (lane, behind) = (1, 0);
    Message::Batch(Batch {
        lane,
        cursor,
        behind,
        entries,
        heard: 0,
    })
    .to_frame()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told_which_one_is_spoken_here() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let mut body = Writer::new();
    body.map(3)
        .uint(0)
        .uint(1)
        .uint(1)
        .array(1)
        .uint(2)
        .uint(2)
        .text("as version 2 has it");
    let body = body.into_bytes();
    peer.send(&[&(body.len() as u32).to_be_bytes()[..], &body].concat()).await;
    let (code, reason) = peer.closed().await;
    assert_eq!(code, CloseCode::Version as u64);
    assert!(reason.contains("offered [2]") && reason.contains("spoken here [1]"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_application_protocol_does_not_even_connect() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    assert!(ByHand::dial(a.address(), b"dialtone-peer-2").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lists_another_key_or_is_out_of_date_or_by_another_signer_proves_nothing() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let (two, day) = (signer(2), 86_400_000_000);
    let cases: [(&str, Option<[u8; 32]>, i64, CloseCode); 4] = [
        ("another key's pin", Some([0; 32]), 0, CloseCode::BadProof),
        ("a record of the day before yesterday", None, -2 * day, CloseCode::Clock),
        ("a record of tomorrow", None, day, CloseCode::Clock),
        ("the right one", None, 0, CloseCode::Stopping),
    ];
    for (what, pin, shift, expected) in cases {
        let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
        let pin = pin.unwrap_or(peer.pin);
        peer.greet(&two, pin, UnixMicros(now().0.saturating_add_signed(shift))).await;
        if expected == CloseCode::Stopping {
            assert!(matches!(peer.hear().await, Message::Hello(_)), "{what}");
        } else {
            assert_eq!(peer.closed().await.0, expected as u64, "{what}");
        }
    }

    // The genesis is provider 2's, the signature provider 3's.
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let mut record = greeting::own_record(&two, now(), 1, &[], vec![peer.pin])
        .expect("a record")
        .bytes()
        .to_vec();
    let end = record.len() - 1;
    record[end - 40] ^= 1;
    let hello = Hello {
        versions: vec![1],
        record: record.into(),
        store: [1; 16],
        boot: [2; 16],
        heads: [0; 3],
        terms: Terms::mutual(),
    };
    peer.send(&Message::Hello(hello).to_frame()).await;
    assert_eq!(peer.closed().await.0, CloseCode::BadProof as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_key_was_revoked_is_refused() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let two = signer(2);
    let revoked = Record {
        genesis: two.genesis.clone(),
        chain: Vec::new(),
        sequence: now(),
        scope: Vec::new(),
        body: Body::Revoked,
    };
    a.put(
        SignedRecord::sign(revoked, &two.secret)
            .expect("a record")
            .verify()
            .expect("genuine"),
    )
    .await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let pin = peer.pin;
    peer.greet(&two, pin, now()).await;
    let (code, reason) = peer.closed().await;
    assert_eq!(code, CloseCode::BadProof as u64);
    assert!(reason.contains("rotated away or revoked"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_before_the_greeting_and_only_greetings_are_heard() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    peer.send(&batch(1, [record(1).bytes().to_vec()])).await;
    assert_eq!(peer.closed().await.0, CloseCode::Protocol as u64);
    assert_eq!(a.store.count().records, 0);
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    peer.send(&u32::MAX.to_be_bytes()).await;
    assert_eq!(peer.closed().await.0, CloseCode::Protocol as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_records_cost_their_neighbours_nothing_and_the_32nd_cuts_the_link() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let pin = peer.pin;
    peer.greet(&signer(2), pin, now()).await;
    let forged = |index: u32| {
        let mut bytes = record(index).bytes().to_vec();
        let last = bytes.len() - 1;
        bytes[last - 40] ^= 1;
        bytes
    };
    let first = (0..31).map(forged).chain([record(500).bytes().to_vec()]);
    peer.send(&batch(1, first)).await;
    until("the good one is there", async || a.store.count().records == 1).await;
    until("the bad ones are counted", async || a.status(&named(2)).progress.invalid == 31).await;
    assert_eq!(a.status(&named(2)).state, LinkState::Up);
    let garbage = vec![vec![0xff; 200], record(501).bytes().to_vec()];
    peer.send(&batch(2, garbage)).await;
    let (code, reason) = peer.closed().await;
    assert_eq!(code, CloseCode::InvalidRecords as u64);
    assert!(reason.contains("32 invalid records"), "{reason}");
    assert_eq!(a.store.count().records, 2);

    // It is left alone for a while, whoever dials.
    let mut again = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let pin = again.pin;
    again.greet(&signer(2), pin, now()).await;
    assert_eq!(again.closed().await.0, CloseCode::Busy as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_feed_goes_backwards_is_cut() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let pin = peer.pin;
    peer.greet(&signer(2), pin, now()).await;
    // Before the first is acknowledged: it takes many signature checks.
    let many = batch(7, (0..200).map(|index| record(index).bytes().to_vec()));
    peer.send(&[many, batch(6, [record(2).bytes().to_vec()])].concat()).await;
    let (code, reason) = peer.closed().await;
    assert_eq!(code, CloseCode::Protocol as u64);
    assert!(reason.contains("position 6"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_and_acknowledges_nothing_is_closed_after_the_hold() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let pin = peer.pin;
    peer.greet(&signer(2), pin, now()).await;
    a.store
        .put((0..100).map(|index| put_of(record(index))).collect())
        .await
        .expect("open");
    let (code, reason) = peer.closed().await;
    assert_eq!(code, CloseCode::Hold as u64);
    assert!(reason.contains("30 s"), "{reason}");
    assert!(a.status(&named(2)).progress.records_sent <= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_from_the_future_is_kept_aside_and_acknowledged_as_such() {
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let mut peer = ByHand::dial(a.address(), ALPN).await.expect("a connection");
    let pin = peer.pin;
    peer.greet(&signer(2), pin, now()).await;
    let ahead = record_at(1, UnixMicros(now().0 + 1_200_000_000));
    peer.send(&batch(1, [ahead.bytes().to_vec(), record(2).bytes().to_vec()])).await;
    let counts = loop {
        if let Message::Ack(ack) = peer.hear().await {
            break ack.counts;
        }
    };
    assert_eq!((counts.stored, counts.deferred, counts.refused), (1, 1, 0));
    assert_eq!(a.store.count().records, 1);
    let aside = a.store.notes(b"deferred/", 10).await.expect("open");
    assert_eq!(aside.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_brings_what_it_says_and_changes_while_the_link_stands() {
    use dialtone_shared::message::Mode;
    let a = Provider::new(1, vec![awaited(named(2))]).await;
    let b = Provider::new(2, vec![a.dialled()]).await;
    let (a_name, b_name) = (a.name(), b.name());
    until("the link stands", async || a.status(&b_name).state == LinkState::Up).await;
    let push = |mode| {
        let push = Agreement {
            push: mode,
            ..awaited(b_name)
        };
        a.handle.agree(vec![push]).expect("one agreement");
    };
    let told = async |record: &VerifiedRecord| b.store.pointer(record.name()).await.expect("open");
    let links = a.status(&b_name).progress.links;

    push(Mode::Pointers);
    let one = record(1);
    a.put(one.clone()).await;
    until("a pointer is there", async || told(&one).await.is_some()).await;
    let pointer = told(&one).await.expect("a pointer");
    assert!(pointer.is_of(one.rank()) && pointer.keeper == a_name && !b.holds(&one).await);

    push(Mode::Digest);
    let two = record(2);
    a.put(two.clone()).await;
    until("a digest has both", async || {
        let digest = b.handle.digest_of(&a_name);
        digest.is_some_and(|digest| digest.contains(one.name()) && digest.contains(two.name()))
    })
    .await;
    until("pointers are forgotten", async || b.store.count().pointers == 0).await;
    assert!(!b.holds(&one).await && !b.holds(&two).await);

    push(Mode::None);
    until("the digest is gone", async || b.handle.digest_of(&a_name).is_none()).await;
    let revocation = {
        let secret = SecretKey::from_seed(&[99; 32]);
        let revoked = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: now(),
            scope: Vec::new(),
            body: Body::Revoked,
        };
        SignedRecord::sign(revoked, &secret).expect("a record").verify().expect("genuine")
    };
    let three = record(3);
    a.put(three.clone()).await;
    a.put(revocation.clone()).await;
    until("a revocation is there", async || b.holds(&revocation).await).await;
    assert_eq!((b.store.count().records, b.store.count().pointers), (1, 0));

    push(Mode::Values);
    until("everything is there", async || b.store.count().records == 4).await;
    until("it is caught up", async || b.status(&a_name).progress.received_all).await;
    assert_eq!(
        (b.status(&a_name).accepts(), a.status(&b_name).pushes()),
        (Some(Mode::Values), Some(Mode::Values))
    );
    assert_eq!(a.status(&b_name).progress.links, links, "one link, all the time");
}
