//! Several nodes under one name, on the loopback: real sockets, real TLS, all in one process.

#[path = "../../tests/capability/support/ports.rs"]
#[allow(dead_code, reason = "the provider has all of its ports by UDP")]
mod ports;

use dialtone_provider::io::clock::SystemClock;
use dialtone_provider::io::peering::{self, PeeringContext, PeeringHandle};
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::health::{LinkState, PeerStatus};
use dialtone_provider::store::{Class, Condition, MemoryStore, Outcome, Put, RecordStore};
use dialtone_shared::message::Relationship;
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{sleep, timeout};

/// A node of a provider.
struct Node {
    signer: Arc<Signer>,
    store: Arc<MemoryStore>,
    handle: PeeringHandle,
}

fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::of(SecretKey::from_seed(&[seed; 32])))
}

fn named(seed: u8) -> Name {
    signer(seed).name()
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UnixMicros(since.as_micros() as u64)
}

/// So many addresses at which nobody listens.
fn free_ports(count: usize) -> Vec<SocketAddr> {
    let ports = ports::free_udp_ports(count).into_iter();
    ports.map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect()
}

/// An agreement with the provider of this key, which is `what` to us and has nodes there.
fn with(seed: u8, what: Relationship, at: &[SocketAddr]) -> Agreement {
    Agreement {
        relationship: what,
        ..Agreement::mutual(named(seed), at.iter().map(SocketAddr::to_string).collect())
    }
}

impl Node {
    async fn start(seed: u8, listen: SocketAddr, agreements: Vec<Agreement>) -> Self {
        Self::start_over(MemoryStore::new(), seed, listen, agreements).await
    }

    async fn start_over(store: Arc<MemoryStore>, seed: u8, listen: SocketAddr, agreements: Vec<Agreement>) -> Self {
        let signer = signer(seed);
        let context = || PeeringContext {
            compare_every: Duration::ZERO,
            store: store.clone(),
            signer: signer.clone(),
            listen,
            addresses: Vec::new(),
            agreements: agreements.clone(),
            clock: Arc::new(SystemClock),
            seed: rand::random(),
        };
        let mut started = peering::start(context()).await;
        // The port of one that was dropped is freed a moment later.
        for _ in 0..1_000 {
            if started.is_ok() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
            started = peering::start(context()).await;
        }
        let handle = started.expect("a free port of the loopback");
        Self { signer, store, handle }
    }

    fn status(&self, peer: &Name) -> PeerStatus {
        let mut peers = self.handle.peers().into_iter();
        peers.find(|status| status.name == *peer).expect("an agreement")
    }

    /// How many links with nodes of a peer stand.
    fn links(&self, peer: &Name) -> usize {
        let status = self.status(peer);
        status.links.iter().filter(|link| link.state == LinkState::Up).count()
    }

    async fn put(&self, record: &VerifiedRecord) {
        let put = Put {
            record: record.clone(),
            class: Class::Customer,
            keep_until: record.record().expiry().expect("it lives"),
            from: None,
            account: None,
            condition: Condition::None,
        };
        let outcomes = self.store.put(vec![put]).await.expect("an open store");
        assert!(matches!(outcomes[0], Outcome::Stored { .. }));
    }

    async fn class_of(&self, record: &VerifiedRecord) -> Option<Class> {
        let held = self.store.get(record.name()).await.expect("an open store")?;
        (held.record == *record).then_some(held.class)
    }

    async fn holds(&self, record: &VerifiedRecord) -> bool {
        self.class_of(record).await.is_some()
    }
}

fn record(index: u32) -> VerifiedRecord {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    let secret = SecretKey::from_seed(&seed);
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence: now(),
        scope: Vec::new(),
        body: Body::Live {
            expiry: now().secs().plus(86_400),
            ttl: Ttl(60),
            bindings: Vec::new(),
        },
    };
    SignedRecord::sign(record, &secret)
        .expect("a record")
        .verify()
        .expect("its own signature")
}

/// Waits until it is so. The limit is no measure of speed, only an end for a test that fails.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = timeout(Duration::from_secs(60), async {
        while !is().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

/// Three nodes of provider 1, each of which knows the addresses of all three, its own too: one settings file serves all.
async fn three(ports: &[SocketAddr], others: &[Agreement]) -> Vec<Node> {
    let agreements = || [vec![with(1, Relationship::Sibling, ports)], others.to_vec()].concat();
    let mut nodes = Vec::new();
    for port in ports {
        nodes.push(Node::start(1, *port, agreements()).await);
    }
    nodes
}

async fn meshed(nodes: &[Node]) {
    until("each node has a link with each other", async || {
        nodes.iter().all(|node| node.links(&named(1)) == nodes.len() - 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_any_node_is_at_all_and_outlives_the_loss_of_one_with_its_store() {
    let ports = free_ports(3);
    let mut nodes = three(&ports, &[]).await;
    meshed(&nodes).await;
    let records: Vec<_> = (0..6).map(record).collect();
    for (record, node) in records.iter().zip([0, 1, 2].into_iter().cycle()) {
        nodes[node].put(record).await;
    }
    let all_hold = async |nodes: &[Node], records: &[VerifiedRecord]| {
        for (node, record) in nodes.iter().flat_map(|node| records.iter().map(move |record| (node, record))) {
            if !node.holds(record).await {
                return false;
            }
        }
        true
    };
    until("all nodes hold all", async || all_hold(&nodes, &records).await).await;

    // One is gone, with all that it held.
    drop(nodes.remove(1));
    let later = record(100);
    nodes[0].put(&later).await;
    let records = [&records[..], &[later]].concat();
    until("the two others go on", async || all_hold(&nodes, &records).await).await;

    nodes.push(Node::start(1, ports[1], vec![with(1, Relationship::Sibling, &ports)]).await);
    until("a new node with an empty store has caught up", async || {
        all_hold(&nodes, &records).await
    })
    .await;
    meshed(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_not_all_linked_pass_on_what_the_others_lack() {
    // A row: the first and the last know only the one in the middle.
    let ports = free_ports(3);
    let sibling = |at: &[SocketAddr]| vec![with(1, Relationship::Sibling, at)];
    let first = Node::start(1, ports[0], sibling(&ports[1..2])).await;
    let middle = Node::start(1, ports[1], sibling(&[])).await;
    let last = Node::start(1, ports[2], sibling(&ports[1..2])).await;
    let (one, other) = (record(1), record(2));
    first.put(&one).await;
    last.put(&other).await;
    until("each end has what was put at the other", async || {
        first.holds(&other).await && last.holds(&one).await && middle.holds(&one).await
    })
    .await;
    assert_eq!((first.links(&named(1)), middle.links(&named(1))), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_between_nodes_that_dial_each_other_come_to_rest() {
    let ports = free_ports(3);
    let nodes = three(&ports, &[]).await;
    meshed(&nodes).await;
    let stood = || nodes.iter().map(|node| node.status(&named(1)).progress.links).collect::<Vec<_>>();
    // Long enough for whoever dials to have done so a few times, if it had reason to.
    sleep(Duration::from_secs(2)).await;
    let before = stood();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stood(), before, "no link comes and goes");
    meshed(&nodes).await;
    assert!(
        nodes.iter().all(|node| node.status(&named(1)).links.len() == 2),
        "and none is still dialled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_its_class_at_every_node_and_goes_to_the_same_whichever_passes_it_on() {
    // The upstream is linked with the first node alone, another upstream with the second alone.
    let ports = free_ports(4);
    let sibling = with(1, Relationship::Sibling, &ports[..2]);
    let of = |seed, at: &[SocketAddr]| with(seed, Relationship::Upstream, at);
    let first = Node::start(1, ports[0], vec![sibling.clone(), of(2, &ports[2..3])]).await;
    let second = Node::start(1, ports[1], vec![sibling, of(3, &ports[3..4])]).await;
    let upstream = Node::start(2, ports[2], vec![with(1, Relationship::Customer, &[])]).await;
    let another = Node::start(3, ports[3], vec![with(1, Relationship::Customer, &[])]).await;
    let (theirs, ours) = (record(1), record(2));
    upstream.put(&theirs).await;
    until("it is at both nodes", async || {
        first.holds(&theirs).await && second.holds(&theirs).await
    })
    .await;
    first.put(&ours).await;
    until("what our customers put is at both upstreams", async || {
        upstream.holds(&ours).await && another.holds(&ours).await
    })
    .await;
    assert_eq!(first.class_of(&theirs).await, Some(Class::Upstream));
    assert_eq!(second.class_of(&theirs).await, Some(Class::Upstream), "as it was learnt");
    assert_eq!(second.class_of(&ours).await, Some(Class::Customer));
    until("all that is for it has been sent", async || {
        second.status(&named(3)).progress.sent_all
    })
    .await;
    assert!(!another.holds(&theirs).await, "nothing leaks because it went through another node");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_goes_on_without_a_gap_when_a_node_dies_and_with_it_when_it_is_back() {
    let ports = free_ports(3);
    let mut nodes = three(&ports[..2], &[with(2, Relationship::Mutual, &[])]).await;
    meshed(&nodes).await;
    let peer = Node::start(2, ports[2], vec![with(1, Relationship::Mutual, &ports[..2])]).await;
    until("the peer has a link with both nodes", async || peer.links(&named(1)) == 2).await;
    for index in 0..20 {
        nodes[index as usize % 2].put(&record(index)).await;
    }
    until("all is there", async || peer.store.count().records == 20).await;

    drop(nodes.remove(0));
    for index in 20..30 {
        nodes[0].put(&record(index)).await;
    }
    until("what comes now is there too", async || peer.store.count().records == 30).await;
    until("the link with the other node is gone", async || peer.links(&named(1)) == 1).await;
    let status = peer.status(&named(1));
    assert!(
        status.state == LinkState::Up && status.progress.received_all,
        "the peer has all, and knows"
    );

    nodes.push(
        Node::start(
            1,
            ports[0],
            vec![with(1, Relationship::Sibling, &ports[..2]), with(2, Relationship::Mutual, &[])],
        )
        .await,
    );
    until("the peer has a link with both nodes again", async || peer.links(&named(1)) == 2).await;
    let (here, there) = (record(50), record(51));
    peer.put(&here).await;
    nodes[1].put(&there).await;
    until("it goes both ways", async || {
        nodes[0].holds(&here).await && nodes[1].holds(&here).await && peer.holds(&there).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_nodes_than_four_are_turned_away_and_those_that_stand_stay() {
    let ports = free_ports(6);
    let peer = Node::start(2, ports[5], vec![with(1, Relationship::Mutual, &[])]).await;
    let mut nodes = Vec::new();
    for port in &ports[..5] {
        nodes.push(Node::start(1, *port, vec![with(2, Relationship::Mutual, &ports[5..])]).await);
    }
    until("four stand and one is told why it does not", async || {
        let told = |node: &Node| node.status(&named(2)).last_error.is_some_and(|error| error.contains("4 nodes"));
        peer.links(&named(1)) == 4 && nodes.iter().filter(|node| told(node)).count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_store_is_no_second_node_and_says_so() {
    let ports = free_ports(2);
    let sibling = || vec![with(1, Relationship::Sibling, &ports)];
    let one = Node::start(1, ports[0], sibling()).await;
    let copy = Node::start_over(one.store.clone(), 1, ports[1], sibling()).await;
    until("both say why no link stands", async || {
        [&one, &copy].iter().all(|node| {
            let status = node.status(&named(1));
            status.state != LinkState::Up && status.last_error.is_some_and(|error| error.contains("same store"))
        })
    })
    .await;
    assert_eq!(one.signer.name(), copy.signer.name());
}
