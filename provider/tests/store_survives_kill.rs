//! `kill -9` during puts loses no acknowledged put: a child of this very test puts and says what was acknowledged, the parent kills
//! it without warning and looks what is held.
//!
//! The page cache survives a killed process, so this shows that nothing is acknowledged before it was written and that what
//! was written is found again; that it was synced too, a model of power loss has to show.

mod store_world;

use dialtone_provider::store::{EmbeddedStore, Held, RecordStore};
use dialtone_shared::Name;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use store_world::*;

/// What was acknowledged: of the n-th name, the highest sequence.
type Acknowledged = BTreeMap<u32, u64>;

#[test]
fn no_acknowledged_put_is_lost_when_the_process_is_killed() {
    serve_as_child();
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    let mut puts = 0;
    for round in 0..KILLS {
        // Now and then while it is still starting: recovery must survive being killed as well.
        let lenient = round % 4 == 3;
        let delay = if lenient {
            rand::random_range(1..40)
        } else {
            rand::random_range(30..150)
        };
        puts += kill_while_putting(folder.path(), round, !lenient, delay, "when durable", &mut acknowledged);
        // Every third time the next child finds what the killed one left, with nobody in between.
        if round % 3 != 2 {
            look(folder.path(), |held| {
                assert_eq!(missing(&acknowledged, held), [], "acknowledged and lost, in round {round}")
            });
        }
    }
    look(folder.path(), |held| assert_eq!(missing(&acknowledged, held), []));
    assert!(puts > u64::from(KILLS), "only {puts} puts were acknowledged: nothing was tested");
}

#[test]
fn a_store_that_acknowledges_too_early_is_caught() {
    serve_as_child();
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    let mut lost = 0;
    for round in 0..KILLS {
        kill_while_putting(
            folder.path(),
            round,
            true,
            rand::random_range(30..150),
            "when queued",
            &mut acknowledged,
        );
        look(folder.path(), |held| lost = missing(&acknowledged, held).len());
        if lost > 0 {
            return;
        }
    }
    panic!("the checker saw nothing wrong in {KILLS} kills of a store that is wrong");
}

/// What was acknowledged and is not held at that sequence or a higher one: (name, acknowledged, held).
fn missing(acknowledged: &Acknowledged, held: &BTreeMap<Name, Held>) -> Vec<(u32, u64, Option<u64>)> {
    let found = |n| held.get(&name(n)).map(|held| held.record.rank().sequence.0 - SIGNED * 1_000_000);
    let rows = acknowledged.iter().map(|(n, sequence)| (*n, *sequence, found(*n)));
    rows.filter(|(_, sequence, found)| found.is_none_or(|found| found < *sequence))
        .collect()
}

/// Opens the store, checks that it agrees with itself and that batches are whole, and looks at what is held.
fn look(folder: &Path, check: impl FnOnce(&BTreeMap<Name, Held>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let store = EmbeddedStore::open(folder, options()).expect("a store that opens after a kill");
    let held = runtime.block_on(assert_coherent(&*store));
    for writer in 0..WRITERS {
        let sequence = |n| held.get(&name(n)).map(|held| held.record.rank().sequence);
        let [one, other] = pair(writer);
        assert_eq!(sequence(one), sequence(other), "half a batch of writer {writer} is held");
    }
    check(&held);
    runtime.block_on(store.close()).unwrap();
}

/// Starts a child on `folder`, kills it after `delay_ms` (of putting, or since its start), and adds what it acknowledged.
fn kill_while_putting(folder: &Path, round: u32, once_ready: bool, delay_ms: u64, acknowledge: &str, into: &mut Acknowledged) -> u64 {
    let test = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .env(ROUND, round.to_string())
        .env(ACKNOWLEDGE, acknowledge)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (ready, wait) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        for line in lines.map_while(Result::ok) {
            match *line.split(' ').collect::<Vec<_>>() {
                ["ready"] => drop(ready.send(())),
                // Ends with a word of its own: the last line may be cut.
                ["ack", n, sequence, "."] => read.push((n.parse::<u32>().unwrap(), sequence.parse::<u64>().unwrap())),
                _ => {}
            }
        }
        read
    });
    if once_ready {
        wait.recv_timeout(Duration::from_secs(60)).expect("a child that opens the store");
    }
    std::thread::sleep(Duration::from_millis(delay_ms));
    child.kill().expect("a child that is alive until it is killed");
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the child ended by itself");
    let read = reader.join().unwrap();
    for (n, sequence) in &read {
        let highest = into.entry(*n).or_default();
        *highest = (*highest).max(*sequence);
    }
    read.len() as u64
}

// --- the child ---

/// Does nothing in the parent. In the child it puts until it is killed.
fn serve_as_child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let early = std::env::var(ACKNOWLEDGE).unwrap() == "when queued";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = EmbeddedStore::open(Path::new(&folder), options()).expect("a store");
    // On a line of its own: the test harness has begun one.
    say("\nready");
    let clock = Arc::new(AtomicU64::new(round * 1_000_000 + 1));
    let writers = (0..WRITERS).map(|writer| runtime.spawn(put_for_ever(store.clone(), writer, clock.clone(), early)));
    for writer in writers.collect::<Vec<_>>() {
        runtime.block_on(writer).unwrap();
    }
}

/// Names that all writers fight for, and two of the writer's own that are always put in one batch.
async fn put_for_ever(store: Arc<EmbeddedStore>, writer: u32, clock: Arc<AtomicU64>, early: bool) {
    loop {
        let sequence = clock.fetch_add(1, Ordering::Relaxed);
        let contended = rand::random_range(0..CONTENDED);
        let names = if sequence.is_multiple_of(3) {
            pair(writer).to_vec()
        } else {
            vec![contended]
        };
        let batch = names.iter().map(|n| put(live(*n, sequence, 60))).collect();
        let acknowledge = || names.iter().for_each(|n| say(&format!("ack {n} {sequence} .")));
        if early {
            // The planted bug: an answer when the put is queued.
            acknowledge();
            store.put(batch).await.unwrap();
        } else {
            store.put(batch).await.unwrap();
            acknowledge();
        }
    }
}

/// The two names that a writer always puts together.
fn pair(writer: u32) -> [u32; 2] {
    [CONTENDED + writer * 2, CONTENDED + writer * 2 + 1]
}

/// One line, at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // The parent is gone: nobody is left who would kill us.
        std::process::exit(1);
    }
}

const KILLS: u32 = 24;
const WRITERS: u32 = 8;
const CONTENDED: u32 = 300;
const CHILD: &str = "DIALTONE_TEST_STORE_FOLDER";
const ROUND: &str = "DIALTONE_TEST_STORE_ROUND";
const ACKNOWLEDGE: &str = "DIALTONE_TEST_STORE_ACKNOWLEDGE";
