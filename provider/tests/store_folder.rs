//! What an embedded store does with the folder and the disk it is given: good ones, other people's, strange ones, full ones.

mod store_world;

use dialtone_provider::store::{EmbeddedOptions, EmbeddedStore, Outcome, RecordStore, StoreError};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store_world::*;

fn error_of(path: &Path) -> StoreError {
    EmbeddedStore::open(path, options()).map(drop).expect_err("it cannot be opened")
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    if let Some(folder) = std::env::var_os(CHILD) {
        eprintln!("{}", error_of(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    // Within the process as well.
    assert!(matches!(error_of(folder.path()), StoreError::InUse(_)));
    let child = myself("a_second_process_is_told_that_the_folder_is_in_use", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(said.contains("is in use by another process"), "{said}");
    assert!(said.contains(folder.path().to_str().unwrap()), "{said}");
    // Whoever had it is not disturbed, and when it is gone the folder is free.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(put_one(&*store, put(live(1, 1, 60))));
    drop(store);
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    assert_eq!(store.count().records, 1);
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    for path in [&file, &file.join("under"), Path::new("/proc/dialtone")] {
        let error = error_of(path);
        assert!(
            matches!(&error, StoreError::Folder { path: named, .. } if *named == path.display().to_string()),
            "{error:?}"
        );
    }
}

#[test]
fn a_store_of_another_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(folder.path(), options()).unwrap());
    let set = |format: &[u8]| {
        let db = fjall::Database::builder(folder.path().join("tables")).open().unwrap();
        let notes = db.keyspace("notes", fjall::KeyspaceCreateOptions::default).unwrap();
        notes.insert(b"\0format", format).unwrap();
        db.persist(fjall::PersistMode::SyncAll).unwrap();
    };
    set(&[9]);
    let error = error_of(folder.path()).to_string();
    assert!(error.contains("it has format 9 and this version reads formats 1 and 2"), "{error}");
    set(&[]);
    assert!(matches!(error_of(folder.path()), StoreError::Corrupt(_)));
    set(&[2]);
    drop(EmbeddedStore::open(folder.path(), options()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_format_before_opens_with_all_it_held_and_takes_pointers() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    store.put((0..50).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    let (held, cursors, id) = (assert_coherent(&*store).await, *store.watch().borrow(), store.id());
    store.close().await.unwrap();
    drop(store);
    // As it was then: no table of pointers, no word of them in the totals.
    let open = || fjall::Database::builder(folder.path().join("tables")).open().unwrap();
    let db = open();
    let notes = db.keyspace("notes", fjall::KeyspaceCreateOptions::default).unwrap();
    let mut totals = notes.get(b"\0totals").unwrap().unwrap().to_vec();
    totals.truncate(33);
    totals[0] = 1;
    notes.insert(b"\0totals", totals).unwrap();
    notes.insert(b"\0format", [1]).unwrap();
    let pointers = db.keyspace("pointers", fjall::KeyspaceCreateOptions::default).unwrap();
    db.delete_keyspace(pointers).unwrap();
    db.persist(fjall::PersistMode::SyncAll).unwrap();
    drop((notes, db));

    for _ in 0..2 {
        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        assert_eq!(assert_coherent(&*store).await, held);
        assert_eq!((*store.watch().borrow(), store.id()), (cursors, id));
        store.close().await.unwrap();
    }
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    point(&*store, pointer_to(&live(99, 1, 60), 90)).await;
    put_one(&*store, put(live(51, 1, 60))).await;
    store.close().await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    assert_eq!((assert_coherent(&*store).await.len(), store.count().pointers), (51, 1));
    // The version before says that it is not for it, and touches nothing.
    drop(store);
    let db = open();
    let notes = db.keyspace("notes", fjall::KeyspaceCreateOptions::default).unwrap();
    assert_eq!(notes.get(b"\0format").unwrap().as_deref(), Some(&[2_u8][..]));
}

#[test]
fn what_an_interrupted_creation_left_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let aside = folder.path().join("tables.new");
    std::fs::create_dir_all(aside.join("keyspaces")).unwrap();
    std::fs::write(aside.join("0.jnl"), "half a journal").unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    assert_eq!(store.count().records, 0);
    assert!(!aside.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_in_a_table_is_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    store.put((0..500).map(|n| put(live(n, 1, 60))).collect()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    // After a clean stop all records stand in tables.
    let tables = tables_of(&folder.path().join("tables"));
    let records = tables.iter().max_by_key(|table| table.metadata().unwrap().len()).unwrap();
    let whole = std::fs::read(records).unwrap();
    let (mut kept, mut refused) = (0, 0);
    for place in 1..20 {
        let mut bytes = whole.clone();
        bytes[whole.len() * place / 20] ^= 0x10;
        std::fs::write(records, bytes).unwrap();
        let store = match EmbeddedStore::open(folder.path(), options()) {
            Ok(store) => store,
            // Refusing to open serves nothing wrong either.
            Err(StoreError::Corrupt(_) | StoreError::Failed(_)) => continue,
            Err(error) => panic!("{error:?}"),
        };
        for n in 0..500 {
            match store.get(&name(n)).await {
                Ok(Some(held)) => {
                    assert_eq!(held.record, live(n, 1, 60));
                    kept += 1;
                }
                Ok(None) => panic!("a record that is held was called absent"),
                Err(StoreError::Corrupt(_)) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    assert!(refused > 0, "what was changed was noticed");
    assert!(kept > refused, "only what was changed is refused");
}

/// The files that hold tables.
fn tables_of(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tables_of(&path));
        } else if path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "tables") && path.extension().is_none() {
            found.push(path);
        }
    }
    found.retain(|path| path.metadata().unwrap().len() > 4_096);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_are_refused_before_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(folder.path(), options()).unwrap());
    let wary = EmbeddedOptions {
        free_bytes_min: u64::MAX,
        ..options()
    };
    let store = EmbeddedStore::open(folder.path(), wary).unwrap();
    assert!(matches!(store.put(vec![put(live(1, 1, 60))]).await, Err(StoreError::Full(_))));
    assert!(matches!(
        store.set_notes(vec![(vec![1], Some(vec![]))]).await,
        Err(StoreError::Full(_))
    ));
    assert_eq!(store.get(&name(1)).await.unwrap(), None);
    assert_coherent(&*store).await;
}

/// On a small disk of its own, where the system lets an ordinary user mount one; elsewhere it says so.
#[test]
fn on_a_full_disk_reads_go_on_and_writes_resume_when_there_is_space() {
    const TEST: &str = "on_a_full_disk_reads_go_on_and_writes_resume_when_there_is_space";
    if let Some(folder) = std::env::var_os(CHILD) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(fill_the_disk(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=256m tmpfs \"$0\"";
    let alone = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(folder.path());
        command
    };
    let able = alone(mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !able {
        eprintln!("skipped: a disk of its own cannot be mounted here (unshare --map-root-user --mount)");
        return;
    }
    let run = format!("{mount} && exec \"$1\" --exact {TEST} --nocapture");
    let status = alone(&run)
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, folder.path())
        .status()
        .unwrap();
    assert!(status.success());
}

async fn fill_the_disk(disk: &Path) {
    let (folder, ballast) = (disk.join("store"), disk.join("ballast"));
    let mut next = 0;
    // The usual way: puts stop while some space is left. Then the hard way: the engine itself runs into the end.
    for free_bytes_min in [64 << 20, 0] {
        let store = EmbeddedStore::open(
            &folder,
            EmbeddedOptions {
                free_bytes_min,
                ..options()
            },
        )
        .unwrap();
        let before = next;
        put_some(&*store, &mut next).await.unwrap();
        fill(&ballast);
        let error = loop {
            if let Err(error) = put_some(&*store, &mut next).await {
                break error;
            }
            assert!(next < before + 60_000, "the disk does not get full");
        };
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        let full_since = Instant::now();
        while full_since.elapsed() < Duration::from_millis(2_500) {
            for n in (0..next).step_by(37) {
                assert_eq!(store.get(&name(n)).await.unwrap().map(|held| held.record), Some(live(n, 1, 60)));
            }
            assert!(matches!(put_some(&*store, &mut next.clone()).await, Err(StoreError::Full(_))));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::fs::remove_file(&ballast).unwrap();
        let freed = Instant::now();
        while put_some(&*store, &mut next).await.is_err() {
            assert!(freed.elapsed() < Duration::from_secs(10), "writes do not resume");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        all_are_there(&*store, next).await;
        store.close().await.unwrap();
        drop(store);
        let store = EmbeddedStore::open(&folder, options()).unwrap();
        all_are_there(&*store, next).await;
    }
}

/// Puts 50 new records; counts them when they are acknowledged.
async fn put_some(store: &dyn RecordStore, next: &mut u32) -> Result<(), StoreError> {
    let outcomes = store.put((*next..*next + 50).map(|n| put(live(n, 1, 60))).collect()).await?;
    // A put that failed may have been kept all the same.
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Stored { .. } | Outcome::Same))
    );
    *next += 50;
    Ok(())
}

async fn all_are_there(store: &dyn RecordStore, next: u32) {
    let held = assert_coherent(store).await;
    assert!((0..next).all(|n| held.contains_key(&name(n))), "an acknowledged put is lost");
}

/// Fills the disk to the last 2 MiB.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    let chunk = vec![7; 1 << 20];
    let mut written = 0;
    while file.write_all(&chunk).is_ok() {
        written += chunk.len() as u64;
    }
    file.set_len(written.saturating_sub(2 << 20)).unwrap();
}

/// This test binary again, running one test as a child that knows `folder`.
fn myself(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, folder);
    command
}

const CHILD: &str = "DIALTONE_TEST_STORE_FOLDER";
