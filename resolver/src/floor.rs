//! The rollback floor: the highest rank seen of each name. Nothing below it is ever believed again.
//!
//! A provider, or a cache in between, cannot forge a record; it can hand out an old one. The floor is what makes that visible,
//! to the names that were asked for before (a fresh floor trusts the first answer).
//!
//! ```text
//! row = [0xd1 0x01][name 33][revoked u8][epoch u32][sequence u64][SHA-256 of the record 32][checksum 8]     88 bytes, big-endian
//! ```
//!
//! Where only the digests differ, the order is the larger bytes', which a digest does not tell. Both are the publisher's words of one
//! instant, so either is believed and the floor stays as it is; a cache that still holds one of them prefers the larger.

use crate::settings::FLOOR_NAMES_MAX;
use dialtone_shared::{Name, Rank, UnixMicros};
use lru::LruCache;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::num::NonZeroUsize;

/// The highest rank seen of each name; bounded, and the names least recently asked for are forgotten first.
#[derive(Debug)]
pub struct Floor {
    ranks: LruCache<Name, Rank>,
}

/// How a rank stands to the floor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing lower was ever seen: it becomes the floor.
    Above,
    /// At the floor, or beside it where only the digests differ.
    Level,
    /// Rolled back.
    Below,
}

/// How `rank` stands to `floor`.
pub fn standing(floor: Option<&Rank>, rank: &Rank) -> Standing {
    match floor.map(|floor| rank.compare(floor)) {
        None | Some(Some(Ordering::Greater)) => Standing::Above,
        Some(Some(Ordering::Equal) | None) => Standing::Level,
        Some(Some(Ordering::Less)) => Standing::Below,
    }
}

impl Floor {
    /// An empty floor for at most `names_max` names.
    pub fn new(names_max: usize) -> Self {
        // `unbounded` and trimmed by hand: a fixed capacity would be allocated at once.
        let mut ranks = LruCache::unbounded();
        ranks.resize(NonZeroUsize::new(names_max.clamp(1, FLOOR_NAMES_MAX)).unwrap_or(NonZeroUsize::MIN));
        Self { ranks }
    }

    /// The highest rank seen of `name`.
    pub fn rank(&mut self, name: &Name) -> Option<Rank> {
        self.ranks.get(name).copied()
    }

    /// How `rank` stands to what was seen of `name`; if above, it is the floor from now on.
    pub fn raise(&mut self, name: &Name, rank: &Rank) -> Standing {
        let standing = standing(self.ranks.get(name), rank);
        if standing == Standing::Above {
            self.ranks.put(*name, *rank);
        }
        standing
    }

    /// How many names are remembered.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// All of it, the least recently asked for first, so that reading it back in order remembers what matters most.
    pub fn rows(&self) -> impl Iterator<Item = [u8; ROW_BYTES]> {
        self.ranks.iter().rev().map(|(name, rank)| write_row(name, rank))
    }

    /// Takes in rows as they stand on disk, in any order and any number of times. Returns how many bytes were used up and how
    /// many rows were found; damaged stretches are passed over, and an unfinished last row is left for the next time.
    pub fn read_rows(&mut self, bytes: &[u8]) -> (usize, usize) {
        let (mut at, mut rows) = (0, 0);
        while let Some(row) = bytes.get(at..at + ROW_BYTES).and_then(|row| row.first_chunk()) {
            match read_row(row) {
                Some((name, rank)) => {
                    self.raise(&name, &rank);
                    rows += 1;
                    at += ROW_BYTES;
                }
                // A torn write shifted what follows: look for the next row byte by byte.
                None => at += 1,
            }
        }
        (at, rows)
    }
}

/// One row of the floor, as it stands on disk.
pub fn write_row(name: &Name, rank: &Rank) -> [u8; ROW_BYTES] {
    let mut row = [0; ROW_BYTES];
    row[..2].copy_from_slice(&ROW_HEAD);
    row[2..35].copy_from_slice(name.as_bytes());
    row[35] = u8::from(rank.revoked);
    row[36..40].copy_from_slice(&rank.epoch.to_be_bytes());
    row[40..48].copy_from_slice(&rank.sequence.0.to_be_bytes());
    row[48..80].copy_from_slice(&rank.digest);
    let sum = checksum(&row);
    row[80..].copy_from_slice(&sum);
    row
}

fn read_row(row: &[u8; ROW_BYTES]) -> Option<(Name, Rank)> {
    if row[..2] != ROW_HEAD || row[80..] != checksum(row) {
        return None;
    }
    let rank = Rank {
        epoch: u32::from_be_bytes(*row[36..].first_chunk()?),
        revoked: row[35] == 1,
        sequence: UnixMicros(u64::from_be_bytes(*row[40..].first_chunk()?)),
        digest: *row[48..].first_chunk()?,
    };
    Some((Name::from_bytes(&row[2..35]).ok()?, rank))
}

fn checksum(row: &[u8; ROW_BYTES]) -> [u8; 8] {
    let digest = Sha256::digest(&row[..80]);
    let mut sum = [0; 8];
    sum.copy_from_slice(&digest[..8]);
    sum
}

/// Bytes of a row.
pub const ROW_BYTES: usize = 88;
/// A mark, and the version of the row.
const ROW_HEAD: [u8; 2] = [0xd1, 1];

#[cfg(test)]
mod tests {
    use super::*;

    fn name(index: u8) -> Name {
        Name::of_content(&[index])
    }

    fn rank(sequence: u64, digest: u8) -> Rank {
        Rank {
            epoch: 0,
            revoked: false,
            sequence: UnixMicros(sequence),
            digest: [digest; 32],
        }
    }

    #[test]
    fn the_floor_only_rises() {
        let mut floor = Floor::new(10);
        assert_eq!(floor.raise(&name(1), &rank(5, 0)), Standing::Above);
        assert_eq!(floor.raise(&name(1), &rank(4, 0)), Standing::Below);
        assert_eq!(floor.raise(&name(1), &rank(5, 0)), Standing::Level);
        assert_eq!(floor.raise(&name(1), &rank(5, 9)), Standing::Level, "only the digests differ");
        assert_eq!(floor.rank(&name(1)), Some(rank(5, 0)));
        let revoked = Rank {
            revoked: true,
            ..rank(1, 0)
        };
        assert_eq!(
            floor.raise(&name(1), &revoked),
            Standing::Above,
            "a revocation outranks every record of its epoch"
        );
        assert_eq!(floor.raise(&name(1), &rank(99, 0)), Standing::Below);
        let rotated = Rank { epoch: 1, ..rank(1, 0) };
        assert_eq!(floor.raise(&name(1), &rotated), Standing::Above);
        assert_eq!(floor.raise(&name(2), &rank(1, 0)), Standing::Above, "names are apart");
    }

    #[test]
    fn the_names_least_recently_asked_for_are_forgotten_first() {
        let mut floor = Floor::new(2);
        floor.raise(&name(1), &rank(5, 0));
        floor.raise(&name(2), &rank(5, 0));
        floor.rank(&name(1));
        floor.raise(&name(3), &rank(5, 0));
        assert_eq!(floor.len(), 2);
        assert!(floor.rank(&name(1)).is_some() && floor.rank(&name(2)).is_none());
    }

    #[test]
    fn rows_read_back_in_spite_of_damage() {
        let mut floor = Floor::new(10);
        for index in 0..4 {
            floor.raise(&name(index), &rank(u64::from(index) + 1, index));
        }
        let rows: Vec<_> = floor.rows().collect();
        // A torn row, rows after it that are shifted, a row with a bit turned, and an unfinished end.
        let mut bytes = rows[0][..50].to_vec();
        bytes.extend(rows[1]);
        let mut turned = rows[2];
        turned[44] ^= 1;
        bytes.extend(turned);
        bytes.extend(rows[3]);
        bytes.extend(&rows[0][..87]);
        let mut back = Floor::new(10);
        let (used, found) = back.read_rows(&bytes);
        assert_eq!((found, back.len()), (2, 2));
        assert_eq!(back.rank(&name(1)), Some(rank(2, 1)));
        assert_eq!(back.rank(&name(3)), Some(rank(4, 3)));
        // The rest arrives later.
        let mut rest = bytes[used..].to_vec();
        rest.push(rows[0][87]);
        assert_eq!(back.read_rows(&rest).1, 1);
        assert_eq!(back.rank(&name(0)), Some(rank(1, 0)));
    }

    #[test]
    fn no_bytes_are_too_strange_to_read() {
        let mut floor = Floor::new(10);
        for length in 0..400 {
            let (used, found) = floor.read_rows(&vec![0xd1; length]);
            assert_eq!(found, 0);
            assert!(used <= length && length - used < ROW_BYTES);
        }
    }
}
