//! What the engine's journals say before it reads them: whole, torn at the end, or damaged in the middle.
//!
//! The engine ends its replay silently at a broken entry, wherever that stands, and does not open at all where an entry is whole but a
//! checksum is wrong. After a power cut the last commit may be either, for of what was not synced any sector may be missing: it was never
//! acknowledged, and is cut off here. A broken commit with others behind it is something else: those were acknowledged, a replay
//! would lose them without a word, so the store is not opened.
//!
//! ```text
//! journal   batches, then zeros
//! batch     [1][items u32][seqno u64] item ... [3][xxh3 of the items u64]["FJL" 3]      little-endian
//! item      [2][kind u8][compression u8 = 0][table u64][key length u16][length u32][length on disk u32][key][value]
//! ```

use super::folder::folder_error;
use crate::store::StoreError;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Looks through the journals of the tables at `path`, oldest first, and cuts a torn commit off the newest.
///
/// # Errors
/// [`StoreError::Corrupt`] with the file and the place; [`StoreError::Folder`].
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let journals = journals(path)?;
    for (index, journal) in journals.iter().enumerate() {
        let failed = |error| folder_error(journal, error);
        let bytes = read(journal).map_err(failed)?;
        let newest = index + 1 == journals.len();
        match walk(&bytes) {
            End::Clean => {}
            End::Torn(at) if newest => {
                tracing::warn!(journal = %journal.display(), at, "the last commit was torn and never acknowledged: it is cut off");
                let file = OpenOptions::new().write(true).open(journal).map_err(failed)?;
                file.set_len(at as u64).and_then(|()| file.sync_all()).map_err(failed)?;
            }
            End::Torn(at) | End::Damaged(at) => {
                return Err(StoreError::Corrupt(format!(
                    "byte {at} of {}: commits behind it were acknowledged and cannot be read in order; restore a backup, or let peers fill \
                     a new folder",
                    journal.display()
                )));
            }
        }
    }
    Ok(())
}

/// A journal up to its last byte that was ever written: 64 MiB are allocated at a time, and most of it is usually a hole.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut end = 0;
    loop {
        match seek(&file, SeekFrom::Data(end)) {
            Ok(data) => end = seek(&file, SeekFrom::Hole(data))?,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        }
    }
    seek(&file, SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    (&mut file).take(end).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The journals at `path`, by number.
fn journals(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| folder_error(path, error);
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// How a journal ends.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// Every batch is whole, and nothing follows.
    Clean,
    /// The batch that begins here is broken, and it is the last.
    Torn(usize),
    /// The batch that begins here is broken, and whole ones follow.
    Damaged(usize),
}

fn walk(bytes: &[u8]) -> End {
    let (mut at, mut last_seqno) = (0, None);
    while let Some((length, seqno)) = bytes.get(at..).and_then(batch) {
        if Some(seqno) <= last_seqno {
            // Whole, so not torn; but it, or the one before it, says that it was written at another time than it was.
            return End::Damaged(at);
        }
        at += length;
        last_seqno = Some(seqno);
    }
    let rest = &bytes[at..];
    if rest.iter().all(|byte| *byte == 0) {
        return End::Clean;
    }
    if is_last(rest) {
        return End::Torn(at);
    }
    let whole = |start: &usize| rest[*start] == START && batch(&rest[*start..]).is_some();
    match (1..rest.len()).find(whole) {
        Some(_) => End::Damaged(at),
        None => End::Torn(at),
    }
}

/// The length and the sequence number of the whole batch that `bytes` begin with, if they do.
fn batch(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut rest = bytes;
    if *take::<1>(&mut rest)? != [START] {
        return None;
    }
    let items = u32::from_le_bytes(*take(&mut rest)?);
    let seqno = u64::from_le_bytes(*take(&mut rest)?);
    let begin = rest;
    for _ in 0..items {
        let (key, length) = item(&mut rest)?;
        rest = rest.get(key.checked_add(length)?..)?;
    }
    let hashed = &begin[..begin.len() - rest.len()];
    let [tag] = *take(&mut rest)?;
    let checksum = u64::from_le_bytes(*take(&mut rest)?);
    // The hash last: it costs most, and what only looks like a batch seldom comes so far.
    let whole = tag == FINISH && *take::<4>(&mut rest)? == TRAILER && xxh3_64(hashed) == checksum;
    whole.then_some((bytes.len() - rest.len(), seqno))
}

/// The lengths of the key and the value of the item whose head `rest` begins with; that is taken.
fn item(rest: &mut &[u8]) -> Option<(usize, usize)> {
    let [tag, _kind, compression] = *take(rest)?;
    let _table: &[u8; 8] = take(rest)?;
    let key = u16::from_le_bytes(*take(rest)?);
    let length = u32::from_le_bytes(*take(rest)?);
    let on_disk = u32::from_le_bytes(*take(rest)?);
    (tag == ITEM && compression == 0 && length == on_disk).then_some((usize::from(key), length as usize))
}

/// Whether the frames of the broken batch that `rest` begins with say that nothing lies behind it: they are in order and reach the end of
/// what was written. Then nothing is searched for: a publisher can make a record in whose bytes there is a whole batch, and must not make
/// a torn commit look like damage by it. Frames that are out of order say nothing.
fn is_last(rest: &[u8]) -> bool {
    let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut after = rest;
    let (Some([START]), Some(items), Some(_seqno)) = (take::<1>(&mut after), take::<4>(&mut after), take::<8>(&mut after)) else {
        return false;
    };
    for _ in 0..u32::from_le_bytes(*items) {
        let at = rest.len() - after.len();
        match item(&mut after) {
            // Longer than anything that is written here: a length that cannot be relied on.
            Some((key, value)) if key > KEY_BYTES_MAX || value > VALUE_BYTES_MAX => return false,
            Some((key, value)) => match after.get(key + value..) {
                Some(next) => after = next,
                None => return true,
            },
            None => return at + ITEM_HEAD_BYTES > end,
        }
    }
    let at = rest.len() - after.len();
    at + FINISH_BYTES >= end && after.first().is_none_or(|tag| *tag == FINISH || *tag == 0)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

const START: u8 = 1;
const ITEM: u8 = 2;
const FINISH: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";
const ITEM_HEAD_BYTES: usize = 3 + 8 + 2 + 4 + 4;
const FINISH_BYTES: usize = 1 + 8 + 4;
/// Longest key that is written: of a note, behind the byte that tells whose it is.
const KEY_BYTES_MAX: usize = 1 + crate::store::NOTE_KEY_BYTES_MAX;
/// Above any row of a record, a value's among them, and any note; where there should be a longer value, its batch is searched behind.
const VALUE_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(VALUE_BYTES_MAX >= dialtone_shared::limits::VALUE_BYTES_MAX + 4_096);

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of two items.
    fn whole(seqno: u64) -> Vec<u8> {
        whole_of(seqno, &[0xab; 300])
    }

    /// A batch of two items, one of which has this value.
    fn whole_of(seqno: u64, value: &[u8]) -> Vec<u8> {
        let item = |key: &[u8], value: &[u8]| {
            let length = (value.len() as u32).to_le_bytes();
            let key_length = (key.len() as u16).to_le_bytes();
            [&[ITEM, 0, 0][..], &1_u64.to_le_bytes(), &key_length, &length, &length, key, value].concat()
        };
        let items = [item(b"a key", value), item(b"", b"")].concat();
        let checksum = xxh3_64(&items);
        let head = [&[START][..], &2_u32.to_le_bytes(), &seqno.to_le_bytes()].concat();
        [&head[..], &items, &[FINISH], &checksum.to_le_bytes(), &TRAILER].concat()
    }

    #[test]
    fn whole_batches_and_zeros_are_clean() {
        assert_eq!(walk(&[]), End::Clean);
        assert_eq!(walk(&[0; 100]), End::Clean);
        assert_eq!(walk(&[whole(1), whole(2), vec![0; 1_000]].concat()), End::Clean);
    }

    #[test]
    fn a_broken_last_batch_is_torn_wherever_it_broke() {
        let (first, last) = (whole(1), whole(2));
        for cut in 1..last.len() {
            let cut_off = [&first[..], &last[..cut]].concat();
            assert_eq!(walk(&cut_off), End::Torn(first.len()), "cut at {cut}");
            let mut changed = [&first[..], &last, &[0; 64]].concat();
            // The sequence number is under no checksum.
            if !(5..13).contains(&cut) {
                changed[first.len() + cut] ^= 0x40;
                assert_eq!(walk(&changed), End::Torn(first.len()), "changed at {cut}");
            }
        }
    }

    #[test]
    fn a_batch_inside_a_record_does_not_make_a_torn_commit_look_like_damage() {
        let first = whole(1);
        let hostile = [&[7; 40][..], &whole(3), &whole(4), &[7; 64]].concat();
        let last = whole_of(2, &hostile);
        for cut in 1..last.len() {
            let cut_off = [&first[..], &last[..cut], &[0; 64]].concat();
            assert_eq!(walk(&cut_off), End::Torn(first.len()), "cut at {cut}");
        }
        // A sector of the value or of the end is missing.
        for missing in [40, 13 + ITEM_HEAD_BYTES + 5 + 3, last.len() - 5] {
            let mut torn = [&first[..], &last, &[0; 64]].concat();
            torn[first.len() + missing] ^= 0x40;
            assert_eq!(walk(&torn), End::Torn(first.len()), "changed at {missing}");
        }
        // Behind it, a real one.
        let mut damaged = [&first[..], &last, &whole(3)].concat();
        damaged[first.len() + 40] ^= 1;
        assert_eq!(walk(&damaged), End::Damaged(first.len()));
    }

    #[test]
    fn a_length_that_was_changed_hides_no_batch_behind_it() {
        let bytes = [whole(1), whole(2), whole(3)].concat();
        let second = whole(1).len();
        for at in second..second + whole(2).len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_ne!(walk(&changed), End::Torn(second), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_broken_batch_with_others_behind_it_is_damage() {
        let mut bytes = [whole(1), whole(2), whole(3), vec![0; 64]].concat();
        let second = whole(1).len();
        bytes[second + 40] ^= 1;
        assert_eq!(walk(&bytes), End::Damaged(second));
        bytes[second..second + 20].fill(0);
        assert_eq!(walk(&bytes), End::Damaged(second));
        // No checksum covers the sequence number, but it ascends.
        let third = second + whole(2).len();
        assert_eq!(walk(&[whole(1), whole(9), whole(3)].concat()), End::Damaged(third));
        assert_eq!(walk(&[whole(3), whole(2)].concat()), End::Damaged(second));
    }
}
