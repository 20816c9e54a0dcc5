//! The rollback floor on disk: shared by processes, mended when torn, kept small.

use dialtone_resolver::floor::{ROW_BYTES, Standing, write_row};
use dialtone_resolver::io::floor_file::FloorKeeper;
use dialtone_shared::{Name, Rank, UnixMicros};
use std::fs::{self, OpenOptions};
use std::io::Write;

fn name(index: u64) -> Name {
    Name::of_content(&index.to_be_bytes())
}

fn rank(sequence: u64) -> Rank {
    Rank {
        epoch: 0,
        revoked: false,
        sequence: UnixMicros(sequence),
        digest: [7; 32],
    }
}

#[test]
fn a_floor_outlives_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    assert_eq!(first.raise(&name(1), &rank(5)), Standing::Above);
    assert_eq!(first.raise(&name(1), &rank(5)), Standing::Level);
    drop(first);
    assert_eq!(
        fs::metadata(folder.path().join("floor")).unwrap().len(),
        ROW_BYTES as u64,
        "what is level is not written again"
    );
    let second = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    assert_eq!(second.rank(&name(1)), Some(rank(5)));
    assert_eq!(second.raise(&name(1), &rank(4)), Standing::Below);
}

#[test]
fn a_torn_end_is_mended_and_nothing_before_or_after_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("floor");
    for torn in [1, 44, ROW_BYTES - 1] {
        let _ = fs::remove_file(&file);
        let first = FloorKeeper::on_disk(folder.path(), 100).unwrap();
        first.raise(&name(1), &rank(5));
        // Another process dies while it writes, and yet another goes on.
        let mut raw = OpenOptions::new().append(true).open(&file).unwrap();
        raw.write_all(&write_row(&name(2), &rank(6))[..torn]).unwrap();
        first.raise(&name(3), &rank(7));
        assert_eq!(first.raise(&name(3), &rank(6)), Standing::Below);
        raw.write_all(&write_row(&name(4), &rank(8))[..torn]).unwrap();
        let second = FloorKeeper::on_disk(folder.path(), 100).unwrap();
        assert_eq!((second.rank(&name(1)), second.rank(&name(2))), (Some(rank(5)), None));
        assert_eq!((second.rank(&name(3)), second.rank(&name(4))), (Some(rank(7)), None));
        assert_eq!(fs::metadata(&file).unwrap().len(), 2 * ROW_BYTES as u64, "mended");
        // The first process finds the file that took the place of its own.
        first.raise(&name(5), &rank(9));
        assert_eq!(second.rank(&name(5)), Some(rank(9)));
    }
}

#[test]
fn two_processes_see_each_others_floor_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let one = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    let other = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    one.raise(&name(1), &rank(5));
    assert_eq!(other.rank(&name(1)), Some(rank(5)));
    other.raise(&name(1), &rank(6));
    assert_eq!(one.rank(&name(1)), Some(rank(6)));
    assert_eq!(one.raise(&name(1), &rank(5)), Standing::Below);
}

#[test]
fn a_file_of_mostly_outdated_rows_is_rewritten_while_others_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let one = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    let other = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    other.raise(&name(999), &rank(1));
    for sequence in 1..=3_000 {
        let keeper = if sequence % 3 == 0 { &other } else { &one };
        keeper.raise(&name(sequence % 10), &rank(sequence));
    }
    let rows = fs::metadata(folder.path().join("floor")).unwrap().len() / ROW_BYTES as u64;
    assert!(rows <= 1_001, "{rows} rows for 11 names");
    let third = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    for keeper in [&one, &other, &third] {
        assert_eq!(keeper.rank(&name(999)), Some(rank(1)));
        for index in 0..10 {
            assert_eq!(keeper.rank(&name(index)), Some(rank(2_990 + if index == 0 { 10 } else { index })));
        }
    }
}

#[test]
fn threads_that_raise_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = folder.path();
            scope.spawn(move || {
                let keeper = FloorKeeper::on_disk(path, 10_000).unwrap();
                for index in 0..500 {
                    keeper.raise(&name(thread * 1_000 + index), &rank(index + 1));
                    keeper.raise(&name(42_000), &rank(thread * 1_000 + index + 1));
                }
            });
        }
    });
    let keeper = FloorKeeper::on_disk(folder.path(), 10_000).unwrap();
    assert_eq!(keeper.rank(&name(42_000)), Some(rank(3_500)));
    for thread in 0..4 {
        for index in 0..500 {
            assert_eq!(keeper.rank(&name(thread * 1_000 + index)), Some(rank(index + 1)));
        }
    }
}

#[test]
fn a_file_of_anything_else_is_no_floor_and_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("floor"), vec![0xd1; 100_000]).unwrap();
    let keeper = FloorKeeper::on_disk(folder.path(), 100).unwrap();
    assert!(keeper.is_empty());
    keeper.raise(&name(1), &rank(1));
    assert_eq!(FloorKeeper::on_disk(folder.path(), 100).unwrap().rank(&name(1)), Some(rank(1)));
}
