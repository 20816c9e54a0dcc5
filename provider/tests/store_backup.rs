//! A backup is taken while the store runs and is a whole store again elsewhere, or nothing.

mod store_world;

use dialtone_provider::store::backup::{BackupError, Contents, restore};
use dialtone_provider::store::{Class, EmbeddedStore, Put, RecordStore};
use dialtone_shared::UnixSecs;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use store_world::*;

/// A store with records of all kinds and notes.
async fn filled(folder: &Path) -> Arc<EmbeddedStore> {
    let store = EmbeddedStore::open(folder, options()).unwrap();
    store.put((0..200).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    let from_peer = Put {
        class: Class::Peer,
        from: Some(name(500)),
        account: None,
        keep_until: UnixSecs(SIGNED + 3 * DAY),
        ..put(live(200, 1, 60))
    };
    store.put(vec![from_peer, put(revocation(201, 1))]).await.unwrap();
    store
        .set_notes(vec![(b"a".to_vec(), Some(vec![1; 1_000])), (b"b".to_vec(), Some(vec![]))])
        .await
        .unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_restores_everything_under_a_new_id() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = filled(&folder.path().join("one")).await;
    // A pointer is not carried: the peer that told of it tells it again to the new id.
    point(&*store, pointer_to(&live(300, 1, 60), 90)).await;
    let contents = store.backup(&file).await.unwrap();
    assert_eq!(contents, Contents { records: 202, notes: 2 });
    assert_eq!(restore(&file, &folder.path().join("other"), options()).await.unwrap(), contents);
    let other = EmbeddedStore::open(&folder.path().join("other"), options()).unwrap();
    assert_eq!(assert_coherent(&*other).await, assert_coherent(&*store).await);
    assert_eq!(other.notes(b"", 10).await.unwrap(), store.notes(b"", 10).await.unwrap());
    assert_ne!(other.id(), store.id());
    assert_eq!((store.count().pointers, other.count().pointers), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_what_was_held_at_one_instant() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&folder.path().join("one"), options()).unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for sequence in 1..60 {
                // Always together: at any instant all of them have one sequence.
                store.put((0..20).map(|n| put(live(n, sequence, 60))).collect()).await.unwrap();
            }
        }
    });
    for round in 0..5 {
        let file = folder.path().join(format!("backup{round}"));
        store.backup(&file).await.unwrap();
        let to = folder.path().join(format!("other{round}"));
        restore(&file, &to, options()).await.unwrap();
        let held = assert_coherent(&*EmbeddedStore::open(&to, options()).unwrap()).await;
        let mut sequences: Vec<_> = held.values().map(|held| held.record.rank().sequence).collect();
        sequences.dedup();
        assert!(sequences.len() <= 1, "one instant");
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_cut_backup_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bad, to) = (folder.path().join("backup"), folder.path().join("bad"), folder.path().join("other"));
    filled(&folder.path().join("one")).await.backup(&file).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let flips = (0..whole.len()).step_by(997).chain([0, 16, 17, 33, whole.len() - 1]).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    });
    let cuts = [0, 10, 33, 40, whole.len() / 2, whole.len() - 32, whole.len() - 1].map(|end| whole[..end].to_vec());
    for bytes in flips.chain(cuts) {
        std::fs::write(&bad, bytes).unwrap();
        let refused = restore(&bad, &to, options()).await;
        assert!(
            matches!(refused, Err(BackupError::Damaged(_) | BackupError::Unknown(_))),
            "{refused:?}"
        );
        assert!(!to.exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_record_in_a_sound_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (folder.path().join("backup"), folder.path().join("other"));
    let store = EmbeddedStore::open(&folder.path().join("one"), options()).unwrap();
    let record = live(1, 1, 60);
    put_one(&*store, put(record.clone())).await;
    store.backup(&file).await.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len() - 32;
    let at = bytes
        .windows(record.bytes().len())
        .position(|window| window == &record.bytes()[..])
        .unwrap();
    bytes[at + record.bytes().len() - 1] ^= 1;
    let digest = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    std::fs::write(&file, bytes).unwrap();
    for _ in 0..2 {
        let refused = restore(&file, &to, options()).await;
        assert!(matches!(refused, Err(BackupError::Refused { .. })), "{refused:?}");
        assert!(!to.exists(), "and nothing is left that stands in the way of another try");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = filled(&folder.path().join("one")).await;
    store.backup(&file).await.unwrap();
    assert!(matches!(store.backup(&file).await, Err(BackupError::Exists(_))));
    let refused = restore(&file, &folder.path().join("one"), options()).await;
    assert!(matches!(refused, Err(BackupError::Exists(_))), "{refused:?}");
    assert_eq!(assert_coherent(&*store).await.len(), 202);
    // An empty folder is as good as none.
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    restore(&file, &folder.path().join("empty"), options()).await.unwrap();
    let nowhere = store.backup(&folder.path().join("no/such/folder/backup")).await;
    assert!(matches!(nowhere, Err(BackupError::File { .. })), "{nowhere:?}");
}
