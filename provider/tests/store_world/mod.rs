//! What the tests of stores need: records in one line, engines to put them into, and the checks that must hold at any time.
#![allow(dead_code, reason = "each test binary uses its part")]

use dialtone_provider::store::{
    Class, Condition, Cursor, EmbeddedOptions, EmbeddedStore, Held, Lane, MemoryStore, Outcome, Pointer, PointerOutcome, Put, RecordStore,
};
use dialtone_shared::hip::Hit;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord};
use std::collections::BTreeMap;
use std::sync::Arc;

/// 2026-11-01, in seconds: when all records here are signed, more or less.
pub const SIGNED: u64 = 1_793_491_200;
pub const DAY: u64 = 86_400;
/// The expiry of a live record.
pub const EXPIRY: UnixSecs = UnixSecs(SIGNED + 30 * DAY);

/// The genesis of the n-th name: one key owns them all, by salt.
fn genesis(n: u32) -> Genesis {
    Genesis {
        salt: (n + 1).to_be_bytes().to_vec(),
        ..Genesis::of(key().public())
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

pub fn name(n: u32) -> Name {
    genesis(n).name()
}

/// A live record of the n-th name. `ttl` makes records of one sequence differ in their bytes.
pub fn live(n: u32, sequence: u64, ttl: u32) -> VerifiedRecord {
    let body = Body::Live {
        expiry: EXPIRY,
        ttl: Ttl(ttl),
        bindings: Vec::new(),
    };
    sign(n, sequence, body)
}

/// A revocation of the n-th name.
pub fn revocation(n: u32, sequence: u64) -> VerifiedRecord {
    sign(n, sequence, Body::Revoked)
}

fn sign(n: u32, sequence: u64, body: Body) -> VerifiedRecord {
    let record = Record {
        genesis: genesis(n),
        chain: Vec::new(),
        sequence: UnixMicros(SIGNED * 1_000_000 + sequence),
        scope: Vec::new(),
        body,
    };
    SignedRecord::sign(record, &key())
        .expect("a right record")
        .verify()
        .expect("a right signature")
}

/// A put by a customer, kept until the record expires.
pub fn put(record: VerifiedRecord) -> Put {
    Put {
        record,
        class: Class::Customer,
        keep_until: EXPIRY,
        from: None,
        account: Some("alice".into()),
        condition: Condition::None,
    }
}

/// Puts one record and says what became of it.
pub async fn put_one(store: &dyn RecordStore, put: Put) -> Outcome {
    store.put(vec![put]).await.expect("a put").remove(0)
}

/// What the peer `from` says of a record that it keeps itself.
pub fn pointer_to(record: &VerifiedRecord, from: u32) -> Pointer {
    let rank = record.rank();
    Pointer {
        name: *record.name(),
        epoch: rank.epoch,
        sequence: rank.sequence,
        digest: rank.digest[..16].try_into().expect("half a digest"),
        expiry: EXPIRY,
        class: Class::Peer,
        keep_until: EXPIRY,
        keeper: name(from),
        from: name(from),
        joined: false,
        tag: record.record().key().map(|key| Hit::of(&key)),
    }
}

/// Puts one pointer and says what became of it.
pub async fn point(store: &dyn RecordStore, pointer: Pointer) -> PointerOutcome {
    store.put_pointers(vec![pointer]).await.expect("a pointer").remove(0)
}

/// An engine, and the folder that it survives in.
pub enum World {
    Memory(Arc<MemoryStore>),
    Embedded(tempfile::TempDir),
}

impl World {
    pub fn memory() -> Self {
        Self::Memory(MemoryStore::new())
    }

    pub fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().expect("a folder"))
    }

    /// The store; opened anew each time where the engine has anything to open.
    pub fn open(&self) -> Arc<dyn RecordStore> {
        match self {
            Self::Memory(store) => store.clone(),
            Self::Embedded(folder) => EmbeddedStore::open(folder.path(), options()).expect("a store"),
        }
    }

    /// The store after a clean stop and a start.
    pub async fn reopen(&self, store: Arc<dyn RecordStore>) -> Arc<dyn RecordStore> {
        match self {
            Self::Memory(_) => store,
            Self::Embedded(_) => {
                store.close().await.expect("closed");
                self.open()
            }
        }
    }
}

/// Small, and content with a small disk.
pub fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 8 << 20,
        free_bytes_min: 0,
    }
}

/// Everything that is held, by paging through a scan.
pub async fn held(store: &dyn RecordStore) -> BTreeMap<Name, Held> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = store.scan(after, 1_000).await.expect("a scan");
        let Some(last) = page.last() else { return all };
        after = Some(*last.record.name());
        all.extend(page.into_iter().map(|held| (*held.record.name(), held)));
    }
}

/// Every pointer that stands, by paging through them.
pub async fn pointers(store: &dyn RecordStore) -> BTreeMap<Name, Pointer> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = store.pointers(after, 700).await.expect("pointers");
        let Some(last) = page.last() else { return all };
        after = Some(last.name);
        all.extend(page.into_iter().map(|pointer| (pointer.name, pointer)));
    }
}

/// That scan, log and count tell the same story, of records and of pointers, and that no pointer stands that leads to no more than is held;
/// returns what is held.
pub async fn assert_coherent(store: &dyn RecordStore) -> BTreeMap<Name, Held> {
    let all = held(store).await;
    let mut logged = BTreeMap::new();
    for lane in [Lane::Urgent, Lane::Ordinary] {
        let mut after: Cursor = 0;
        loop {
            let page = store.changes(lane, after, 700).await.expect("changes");
            let Some(last) = page.last() else { break };
            assert!(page.windows(2).all(|pair| pair[0].cursor < pair[1].cursor), "cursors ascend");
            assert!(page[0].cursor > after, "a change after the cursor");
            after = last.cursor;
            for change in page {
                assert_eq!(change.held.lane(), lane, "a change stands in its lane");
                let name = *change.held.record.name();
                assert_eq!(logged.insert(name, change.held), None, "a name stands in the log once");
            }
        }
        assert!(
            after <= store.watch().borrow()[lane as usize],
            "no change lies beyond the last cursor"
        );
    }
    assert_eq!(logged, all, "the log yields exactly what is held");
    let count = store.count();
    assert_eq!(count.records, all.len() as u64, "records are counted exactly");
    let bytes: usize = all.values().map(|held| held.record.bytes().len()).sum();
    assert_eq!(count.bytes, bytes as u64, "bytes are counted exactly");
    let standing = pointers(store).await;
    let (mut logged, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = store.pointer_changes(after, 700).await.expect("changes");
        let Some(last) = page.last() else { break };
        assert!(page.windows(2).all(|pair| pair[0].cursor < pair[1].cursor), "cursors ascend");
        assert!(page[0].cursor > after, "a change after the cursor");
        after = last.cursor;
        for change in page {
            assert_eq!(
                logged.insert(change.pointer.name, change.pointer),
                None,
                "a name stands in the lane once"
            );
        }
    }
    assert!(
        after <= store.watch().borrow()[Lane::Hearsay as usize],
        "no pointer lies beyond the last cursor"
    );
    assert_eq!(logged, standing, "the lane yields exactly what stands");
    assert_eq!(count.pointers, standing.len() as u64, "pointers are counted exactly");
    for (name, pointer) in &standing {
        assert_eq!(store.pointer(name).await.expect("a pointer").as_ref(), Some(pointer));
        let outranks = all.get(name).is_none_or(|held| pointer.outranks(held.record.rank()));
        assert!(outranks, "a pointer stands that leads to no more than is held");
    }
    all
}
