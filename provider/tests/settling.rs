//! What crossed a link, as two providers that run say it: hour by hour, signed, and for as long as books are kept.

use dialtone_provider::admin::StatementError;
use dialtone_provider::io::clock::Clock;
use dialtone_provider::peering::health::LinkState;
use dialtone_provider::provider::Parts;
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::store::{Class, Condition, MemoryStore, Put};
use dialtone_provider::{Provider, Settings};
use dialtone_shared::statement::{Category, Statement, Way, compare};
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A clock that stands, until it is set.
#[derive(Debug)]
struct Standing(AtomicU64);

impl Clock for Standing {
    fn now(&self) -> UnixMicros {
        UnixMicros(self.0.load(Ordering::SeqCst))
    }
}

/// 8 o'clock in the morning of some day, UTC.
const START: u64 = 1_800_000_000;
const HOUR: u64 = START / 3_600;

struct World {
    clock: Arc<Standing>,
    ada: Provider,
    bob: Provider,
    _folders: [tempfile::TempDir; 2],
}

impl World {
    /// Two providers, peered while they run.
    async fn start() -> Self {
        let clock = Arc::new(Standing(AtomicU64::new(START * 1_000_000)));
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let ada = provider(&folders[0], &clock).await;
        let bob = provider(&folders[1], &clock).await;
        let address = ada.addresses().peering.unwrap().to_string();
        ada.admin().agree(&[PeerSettings::mutual(bob.name(), Vec::new())]).await.unwrap();
        let to_ada = PeerSettings::mutual(ada.name(), vec![address]);
        bob.admin().agree(&[to_ada]).await.unwrap();
        let world = Self {
            clock,
            ada,
            bob,
            _folders: folders,
        };
        until(async || world.ada.peers()[0].state == LinkState::Up).await;
        world
    }

    fn shift(&self, hours: u64) {
        self.clock.0.fetch_add(hours * 3_600 * 1_000_000, Ordering::SeqCst);
    }

    /// Puts a record at Ada, and waits until Bob has it and Ada knows.
    async fn share(&self, seed: u8) {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let now = self.clock.now();
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: now,
            scope: Vec::new(),
            body: Body::Live {
                expiry: now.secs().plus(300 * 86_400),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        let put = Put {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Customer,
            keep_until: now.secs().plus(300 * 86_400),
            from: None,
            account: None,
            condition: Condition::None,
        };
        let before = self.ada.peers()[0].progress.acknowledged.stored;
        self.ada.store().put(vec![put]).await.unwrap();
        until(async || self.ada.peers()[0].progress.acknowledged.stored > before).await;
    }

    /// What each says of so many hours up to now.
    async fn said(&self, hours: u64) -> [Statement; 2] {
        let first = self.clock.now().0 / 3_600_000_000 + 1 - hours;
        let ours = self.ada.admin().statement(&self.bob.name(), first, hours as u32).await.unwrap();
        let theirs = self.ada.admin().statement_of(&self.bob.name(), first, hours as u32).await.unwrap();
        [&ours, &theirs].map(|bytes| Statement::verify(bytes).unwrap())
    }
}

async fn provider(folder: &tempfile::TempDir, clock: &Arc<Standing>) -> Provider {
    let mut settings = Settings {
        data: folder.path().join("data"),
        ..Settings::default()
    };
    settings.http.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings.dns.listen = Vec::new();
    settings.peering.listen = "127.0.0.1:0".parse().unwrap();
    let parts = Parts {
        store: Some(MemoryStore::new()),
        clock: clock.clone(),
        ..Parts::default()
    };
    Provider::start_with(settings, parts).await.unwrap()
}

/// Waits, a minute at most.
async fn until(mut wanted: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted().await {
        assert!(Instant::now() < deadline, "it does not come to pass");
        // A peer says what it has counted a few times a minute, and not a hundred times a second.
        sleep(Duration::from_millis(200)).await;
    }
}

/// Start, length and records kept by the other side of each row.
fn rows(said: &Statement, way: Way) -> Vec<(u64, u64, u64)> {
    let row = |row: &dialtone_shared::statement::Row| (row.start, row.hours, row.crossed.of(Category::Kept, way));
    said.rows.iter().map(row).filter(|(_, _, kept)| *kept > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_say_the_same_of_every_hour_and_later_of_every_day() {
    let world = World::start().await;
    world.share(1).await;
    world.share(2).await;
    let [ours, theirs] = world.said(1).await;
    assert_eq!(rows(&ours, Way::Given), [(HOUR, 1, 2)]);
    assert_eq!(rows(&theirs, Way::Taken), [(HOUR, 1, 2)]);
    world.shift(1);
    // Both notice that the hour is over, which they do at its end where clocks do not jump.
    world.said(1).await;
    world.share(3).await;
    let [ours, theirs] = world.said(24).await;
    assert_eq!(rows(&ours, Way::Given), [(HOUR, 1, 2), (HOUR + 1, 1, 1)]);
    assert_eq!(rows(&theirs, Way::Taken), [(HOUR, 1, 2), (HOUR + 1, 1, 1)]);
    let found = compare(&ours, &theirs).unwrap();
    assert!(found.agrees() && found.ours.of(Category::Bytes, Way::Given) > 0, "{found:?}");
    world.shift(41 * 24);
    until(async || rows(&world.said(42 * 24).await[0], Way::Given) == [(HOUR - HOUR % 24, 24, 3)]).await;
    until(async || rows(&world.said(42 * 24).await[1], Way::Taken) == [(HOUR - HOUR % 24, 24, 3)]).await;
    world.shift(361 * 24);
    until(async || {
        world
            .said(420 * 24)
            .await
            .iter()
            .all(|said| rows(said, Way::Given).is_empty() && rows(said, Way::Taken).is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_link_that_never_was_there_is_nothing_to_say() {
    let world = World::start().await;
    let stranger = Name::key_set([9; 32]);
    let said = world.bob.admin().statement(&stranger, HOUR, 1).await.unwrap();
    assert!(Statement::verify(&said).unwrap().rows.is_empty());
    let error = world.ada.admin().statement_of(&stranger, HOUR, 1).await.unwrap_err();
    assert!(matches!(error, StatementError::Request(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_dropped_lets_go_of_its_port() {
    let world = World::start().await;
    let port = world.ada.addresses().peering.unwrap();
    drop(world);
    until(async || UdpSocket::bind(port).is_ok()).await;
}
