//! One provider on loopback, a clock that can be shifted, a client, and publishers.

use async_trait::async_trait;
use base64::Engine;
use bytes::Bytes;
use dialtone_provider::io::clock::{Clock, SystemClock};
use dialtone_provider::provider::Parts;
use dialtone_provider::store::{
    Change, Count, Cursor, Cursors, EmbeddedOptions, EmbeddedStore, Held, Lane, MemoryStore, Outcome, Pointer, PointerChange,
    PointerOutcome, Put, RecordStore, StoreError,
};
use dialtone_provider::{Provider, Settings};
use dialtone_shared::receipt::{Promise, Receipt};
use dialtone_shared::record::Address;
use dialtone_shared::{Binding, Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

pub struct World {
    pub provider: Provider,
    pub clock: Arc<ShiftedClock>,
    pub base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Goes away last.
    pub folder: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The system's clock, some seconds off; or one that stands.
#[derive(Debug)]
pub struct ShiftedClock {
    secs: AtomicI64,
    /// Microseconds since 1970; 0: it runs.
    stands_at: AtomicU64,
}

impl Clock for ShiftedClock {
    fn now(&self) -> UnixMicros {
        let now = match self.stands_at.load(Ordering::SeqCst) {
            0 => SystemClock.now().0,
            stands_at => stands_at,
        };
        UnixMicros(now.saturating_add_signed(self.secs.load(Ordering::SeqCst) * 1_000_000))
    }
}

impl ShiftedClock {
    pub fn by(secs: i64) -> Arc<Self> {
        Arc::new(Self {
            secs: AtomicI64::new(secs),
            stands_at: AtomicU64::new(0),
        })
    }

    /// Stands still from now on, but for shifts: then rates do not depend on how fast the test runs.
    pub fn stand(&self) {
        self.stands_at.store(SystemClock.now().0, Ordering::SeqCst);
    }

    pub fn shift(&self, secs: i64) {
        self.secs.fetch_add(secs, Ordering::SeqCst);
    }
}

/// Settings for a provider that gets free ports.
pub fn settings(folder: &tempfile::TempDir) -> Settings {
    let mut settings = Settings {
        data: folder.path().join("data"),
        ..Settings::default()
    };
    settings.http.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings.dns.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings.peering.listen = "127.0.0.1:0".parse().unwrap();
    settings
}

impl World {
    /// A provider on a store in memory.
    pub async fn start() -> Self {
        Self::with(MemoryStore::new(), |_| {}).await
    }

    /// A provider on `store`, with other settings.
    pub async fn with(store: Arc<dyn RecordStore>, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::again(folder, ShiftedClock::by(0), store, change).await
    }

    /// A provider at another time.
    pub async fn on(clock: Arc<ShiftedClock>, store: Arc<dyn RecordStore>) -> Self {
        Self::again(tempfile::tempdir().unwrap(), clock, store, |_| {}).await
    }

    /// A provider on an embedded store in `folder`, which may have been one before.
    pub async fn in_folder(folder: tempfile::TempDir) -> Self {
        // Test machines have less room than a provider wants.
        let options = EmbeddedOptions {
            free_bytes_min: 0,
            ..EmbeddedOptions::default()
        };
        std::fs::create_dir_all(folder.path().join("data")).unwrap();
        let store = EmbeddedStore::open(&folder.path().join("data/store"), options).unwrap();
        Self::again(folder, ShiftedClock::by(0), store, |_| {}).await
    }

    async fn again(
        folder: tempfile::TempDir,
        clock: Arc<ShiftedClock>,
        store: Arc<dyn RecordStore>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = settings(&folder);
        change(&mut settings);
        let parts = Parts {
            store: Some(store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..Parts::default()
        };
        let provider = Provider::start_with(settings, parts).await.unwrap();
        Self {
            base: format!("http://{}", provider.addresses().http[0]),
            provider,
            clock,
            client: Client::builder(TokioExecutor::new()).build_http(),
            folder,
        }
    }

    /// Stops the provider and hands back its folder.
    pub async fn stop(self) -> tempfile::TempDir {
        self.provider.shutdown().await.unwrap();
        self.folder
    }

    pub fn now(&self) -> UnixSecs {
        self.clock.now().secs()
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Reply {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], Bytes::new()).await
    }

    /// Puts a record at its own name.
    pub async fn put(&self, record: &SignedRecord) -> Reply {
        self.put_with(record, &[]).await
    }

    pub async fn put_with(&self, record: &SignedRecord, headers: &[(&str, &str)]) -> Reply {
        self.ask("PUT", &path_of(record.name()), headers, record.bytes().clone()).await
    }

    /// The lines of `/metrics`.
    pub async fn metrics(&self) -> String {
        String::from_utf8(self.get("/metrics").await.body.to_vec()).unwrap()
    }

    /// Waits until a counter reads `value`.
    pub async fn until_counted(&self, counter: &str, value: u64) {
        let line = format!("{counter} {value}");
        until(async || self.metrics().await.lines().any(|found| found == line)).await;
    }

    /// What is held of a name, expired or not.
    pub async fn held(&self, name: &Name) -> Option<Held> {
        self.provider.store().get(name).await.unwrap()
    }
}

impl Reply {
    pub fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        problem
    }

    /// The end of the problem's type.
    pub fn slug(&self) -> String {
        let problem = self.problem();
        problem["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:dialtone:problem:")
            .unwrap()
            .to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The receipt, as bytes or in JSON, verified offline.
    pub fn promise(&self) -> Promise {
        let bytes = if self.header("content-type") == "application/json" {
            let text = self.json()["receipt"].as_str().unwrap().to_owned();
            base64::engine::general_purpose::STANDARD.decode(text).unwrap().into()
        } else {
            assert_eq!(self.header("content-type"), "application/vnd.dialtone.receipt");
            self.body.clone()
        };
        Receipt::decode(&bytes).unwrap().verify().unwrap()
    }
}

/// Asks until it is so, or for far too long.
pub async fn until(mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_200 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not come about");
}

pub fn path_of(name: &Name) -> String {
    format!("/v1/records/{name}")
}

/// Somebody with a key.
pub struct Publisher {
    pub secret: SecretKey,
}

impl Publisher {
    pub fn number(seed: u64) -> Self {
        let mut bytes = [0x5a; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            secret: SecretKey::from_seed(&bytes),
        }
    }

    pub fn name(&self) -> Name {
        Genesis::of(self.secret.public()).name()
    }

    /// An ordinary record, signed at `at`, good for an hour.
    pub fn record(&self, at: UnixSecs) -> Record {
        Record {
            genesis: Genesis::of(self.secret.public()),
            chain: Vec::new(),
            sequence: at.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: at.plus(3_600),
                ttl: Ttl(60),
                bindings: vec![Binding::Address(Address::of([192, 0, 2, 1].into()))],
            },
        }
    }

    pub fn sign(&self, record: Record) -> SignedRecord {
        SignedRecord::sign(record, &self.secret).unwrap()
    }

    pub fn signed(&self, at: UnixSecs) -> SignedRecord {
        self.sign(self.record(at))
    }
}

/// A store in memory that can be made to stop in the middle of a put, or to fail.
#[derive(Debug)]
pub struct TroubledStore {
    inner: Arc<MemoryStore>,
    pub trouble: watch::Sender<Trouble>,
}

#[derive(Clone, Debug, Default)]
pub enum Trouble {
    #[default]
    None,
    /// Writes wait.
    Stuck,
    /// Writes fail.
    Fails(StoreError),
    /// Writes panic.
    Panics,
}

impl TroubledStore {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            trouble: watch::channel(Trouble::None).0,
        })
    }

    async fn may_write(&self) -> Result<(), StoreError> {
        let mut trouble = self.trouble.subscribe();
        let now = trouble.wait_for(|trouble| !matches!(trouble, Trouble::Stuck)).await;
        match now.map(|trouble| trouble.clone()) {
            Ok(Trouble::Fails(error)) => Err(error),
            Ok(Trouble::Panics) => panic!("as the test wants it"),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl RecordStore for TroubledStore {
    async fn put(&self, batch: Vec<Put>) -> Result<Vec<Outcome>, StoreError> {
        self.may_write().await?;
        self.inner.put(batch).await
    }
    async fn get(&self, name: &Name) -> Result<Option<Held>, StoreError> {
        self.inner.get(name).await
    }
    async fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.inner.changes(lane, after, limit).await
    }
    async fn scan(&self, after: Option<Name>, limit: usize) -> Result<Vec<Held>, StoreError> {
        self.inner.scan(after, limit).await
    }
    async fn expire(&self, now: UnixSecs, limit: usize) -> Result<Vec<Name>, StoreError> {
        self.inner.expire(now, limit).await
    }
    async fn put_pointers(&self, batch: Vec<Pointer>) -> Result<Vec<PointerOutcome>, StoreError> {
        self.may_write().await?;
        self.inner.put_pointers(batch).await
    }
    async fn pointer(&self, name: &Name) -> Result<Option<Pointer>, StoreError> {
        self.inner.pointer(name).await
    }
    async fn pointer_changes(&self, after: Cursor, limit: usize) -> Result<Vec<PointerChange>, StoreError> {
        self.inner.pointer_changes(after, limit).await
    }
    async fn pointers(&self, after: Option<Name>, limit: usize) -> Result<Vec<Pointer>, StoreError> {
        self.inner.pointers(after, limit).await
    }
    async fn forget_pointers(&self, batch: Vec<Pointer>) -> Result<usize, StoreError> {
        self.may_write().await?;
        self.inner.forget_pointers(batch).await
    }
    fn count(&self) -> Count {
        self.inner.count()
    }
    fn twins(&self) -> tokio::sync::broadcast::Receiver<Arc<dialtone_provider::store::Twins>> {
        self.inner.twins()
    }
    fn watch(&self) -> watch::Receiver<Cursors> {
        self.inner.watch()
    }
    fn id(&self) -> [u8; 16] {
        self.inner.id()
    }
    async fn set_notes(&self, notes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        self.may_write().await?;
        self.inner.set_notes(notes).await
    }
    async fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.note(key).await
    }
    async fn notes(&self, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.inner.notes(prefix, limit).await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
