//! The rows of the embedded store, byte for byte. Numbers are big-endian, so that keys sort as the numbers do.
//!
//! ```text
//! table     key                                        value
//! records   [name 33]                                  a record row, below
//! pointers  [name 33]                                  a pointer row: see `pointer_row`
//! log       [lane u8][cursor u64]                      [name 33]
//! forget    [forget at u64][name 33]                   nothing; of a record
//!           [forget at u64][name 33][1]                nothing; of a pointer
//! notes     [1][the note's key]                        the note
//!           [0]"format"                                [version u8], of the store as a whole
//!           [0]"id"                                    [id 16]
//!           [0]"totals"                                [version u8 = 2][records u64][bytes u64][urgent cursor u64][ordinary cursor u64]
//!                                                      [hearsay cursor u64][pointers u64]; version 1 ends before the last two
//!
//! a record row
//!   0  version u8        this layout: 1
//!   1  class u8          1 upstream, 2 peer, 3 customer
//!   2  flags u8          1 a revocation, 2 has a from, 4 has an account; no other
//!   3  epoch u32         the rank: with the flag, the sequence and the digest
//!   7  sequence u64      microseconds since 1970
//!  15  keep until u64    seconds since 1970
//!  23  forget at u64     seconds since 1970; 2^64 - 1: never
//!  31  cursor u64        where its change stands in the lane that the revocation flag tells
//!  39  digest 32         SHA-256 of the envelope
//!  71  [from 33]         if flagged
//!      [length u16][account]    if flagged
//!      envelope          to the end
//! ```
//!
//! Everything that a put must be compared with stands before the envelope: an old row is never decoded to be replaced.

use crate::store::join::Standing;
use crate::store::{Class, Count, Cursor, Cursors, Held, Lane, StoreError};
use bytes::Bytes;
use dialtone_shared::{Name, Rank, UnixMicros, UnixSecs, VerifiedRecord};

/// The version of the store as a whole. Another one is refused: what cannot be read must not be written.
pub(super) const FORMAT: u8 = 2;

/// The version without pointers: it is read as what it is, a store in which none stand, and marked as this version at once.
pub(super) const FORMAT_BEFORE: u8 = 1;

/// Notes of the store's own.
pub(super) const FORMAT_KEY: &[u8] = b"\0format";
/// See [`FORMAT_KEY`].
pub(super) const ID_KEY: &[u8] = b"\0id";
/// See [`FORMAT_KEY`].
pub(super) const TOTALS_KEY: &[u8] = b"\0totals";

/// A row of the table of records, read in place.
pub(super) struct Row<'a> {
    pub class: Class,
    pub rank: Rank,
    pub keep_until: UnixSecs,
    pub forget_at: Option<UnixSecs>,
    pub cursor: Cursor,
    pub from: Option<Name>,
    pub account: Option<&'a str>,
    pub envelope: &'a [u8],
}

/// What is written with every commit, so that nothing has to be counted at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Totals {
    /// What is held.
    pub count: Count,
    /// The last cursor given out in each lane.
    pub last: Cursors,
}

/// The row of `held`, whose change stands at `cursor`, in the place of what is in `row`.
pub(super) fn write_row(row: &mut Vec<u8>, held: &Held, cursor: Cursor) {
    let (rank, envelope) = (held.record.rank(), held.record.bytes());
    let account = held.account.as_deref();
    row.clear();
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    row.push(ROW_VERSION);
    row.push(held.class as u8);
    row.push(flag(rank.revoked, REVOKED) | flag(held.from.is_some(), HAS_FROM) | flag(account.is_some(), HAS_ACCOUNT));
    row.extend(rank.epoch.to_be_bytes());
    row.extend(rank.sequence.0.to_be_bytes());
    row.extend(held.keep_until.0.to_be_bytes());
    row.extend(held.forget_at().map_or(u64::MAX, |at| at.0).to_be_bytes());
    row.extend(cursor.to_be_bytes());
    row.extend(rank.digest);
    row.extend(held.from.iter().flat_map(|name| name.as_bytes()));
    if let Some(account) = account {
        // `check_puts` has seen that it is no longer than 256 bytes.
        row.extend((account.len() as u16).to_be_bytes());
        row.extend(account.as_bytes());
    }
    row.extend_from_slice(envelope);
}

/// Reads what [`write_row`] writes; `None` for anything else.
pub(super) fn read_row(bytes: &[u8]) -> Option<Row<'_>> {
    let mut rest = bytes;
    let [version, class, flags] = *take(&mut rest)?;
    let class = match class {
        1 => Class::Upstream,
        2 => Class::Peer,
        3 => Class::Customer,
        _ => return None,
    };
    if version != ROW_VERSION || flags & !(REVOKED | HAS_FROM | HAS_ACCOUNT) != 0 {
        return None;
    }
    let epoch = u32::from_be_bytes(*take(&mut rest)?);
    let sequence = UnixMicros(u64::from_be_bytes(*take(&mut rest)?));
    let keep_until = UnixSecs(u64::from_be_bytes(*take(&mut rest)?));
    let forget_at = u64::from_be_bytes(*take(&mut rest)?);
    let cursor = u64::from_be_bytes(*take(&mut rest)?);
    let rank = Rank {
        epoch,
        revoked: flags & REVOKED != 0,
        sequence,
        digest: *take(&mut rest)?,
    };
    let from = match flags & HAS_FROM {
        0 => None,
        _ => Some(Name::from_bytes(take::<{ Name::BYTES }>(&mut rest)?).ok()?),
    };
    let account = match flags & HAS_ACCOUNT {
        0 => None,
        _ => {
            let length = usize::from(u16::from_be_bytes(*take(&mut rest)?));
            let (account, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(str::from_utf8(account).ok()?)
        }
    };
    Some(Row {
        class,
        rank,
        keep_until,
        forget_at: (forget_at != u64::MAX).then_some(UnixSecs(forget_at)),
        cursor,
        from,
        account,
        envelope: rest,
    })
}

impl<'a> Row<'a> {
    /// What a put is compared with.
    pub fn into_standing(self) -> Standing<'a> {
        Standing {
            rank: self.rank,
            bytes: self.envelope,
            class: self.class,
            keep_until: self.keep_until,
        }
    }

    /// The lane in which its change stands.
    pub fn lane(&self) -> Lane {
        if self.rank.revoked { Lane::Urgent } else { Lane::Ordinary }
    }

    /// What is held: the envelope against the digest that was written when it had been verified, and the name against the key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn held(&self, name: &Name) -> Result<Held, StoreError> {
        // A copy of the envelope alone: a reference would keep the block around it in memory for as long as anyone holds the record.
        let record = VerifiedRecord::reopen(Bytes::copy_from_slice(self.envelope), &self.rank.digest);
        match record {
            Ok(record) if record.name() == name && *record.rank() == self.rank => Ok(Held {
                record,
                class: self.class,
                keep_until: self.keep_until,
                from: self.from,
                account: self.account.map(str::to_owned),
            }),
            _ => Err(damaged(name)),
        }
    }
}

/// The error for a row that is not what was written.
pub(super) fn damaged(name: &Name) -> StoreError {
    StoreError::Corrupt(format!("the record of {name}; restore a backup, or let peers fill a new folder"))
}

/// The key of a change.
pub(super) fn log_key(lane: Lane, cursor: Cursor) -> [u8; 9] {
    let mut key = [lane as u8; 9];
    key[1..].copy_from_slice(&cursor.to_be_bytes());
    key
}

/// Reads the cursor of [`log_key`].
pub(super) fn read_log_key(key: &[u8]) -> Option<Cursor> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The key of a record in the forget index.
pub(super) fn forget_key(at: UnixSecs, name: &Name) -> [u8; FORGET_KEY_BYTES] {
    let mut key = [0; FORGET_KEY_BYTES];
    key[..8].copy_from_slice(&at.0.to_be_bytes());
    key[8..].copy_from_slice(name.as_bytes());
    key
}

/// The key of a pointer in the forget index.
pub(super) fn forget_pointer_key(at: UnixSecs, name: &Name) -> [u8; FORGET_KEY_BYTES + 1] {
    let mut key = [OF_A_POINTER; FORGET_KEY_BYTES + 1];
    key[..FORGET_KEY_BYTES].copy_from_slice(&forget_key(at, name));
    key
}

/// What may be forgotten, as the index tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// A record of this name.
    Record(Name),
    /// The pointer of this name, kept until then.
    Pointer(Name, UnixSecs),
}

/// Reads [`forget_key`] and [`forget_pointer_key`].
pub(super) fn read_forget_key(key: &[u8]) -> Option<Due> {
    let (at, rest) = key.split_first_chunk()?;
    let (name, flag) = rest.split_first_chunk::<{ Name::BYTES }>()?;
    let name = Name::from_bytes(name).ok()?;
    match flag {
        [] => Some(Due::Record(name)),
        [OF_A_POINTER] => Some(Due::Pointer(name, UnixSecs(u64::from_be_bytes(*at)))),
        _ => None,
    }
}

/// The key under which a note of a user of the store is kept.
pub(super) fn note_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(1);
    row.extend_from_slice(key);
    row
}

impl Totals {
    /// See [`TOTALS_KEY`].
    pub fn write(&self) -> [u8; 49] {
        let mut row = [TOTALS_VERSION; 49];
        let (count, [urgent, ordinary, hearsay]) = (&self.count, self.last);
        let numbers = [count.records, count.bytes, urgent, ordinary, hearsay, count.pointers];
        for (bytes, number) in row[1..].chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_be_bytes());
        }
        row
    }

    /// Reads what [`Totals::write`] writes, and what the version before it wrote.
    pub fn read(row: &[u8]) -> Option<Self> {
        let mut rest = row;
        let [version] = *take(&mut rest)?;
        let mut number = || take(&mut rest).map(|bytes| u64::from_be_bytes(*bytes));
        let (records, bytes, urgent, ordinary) = (number()?, number()?, number()?, number()?);
        let (hearsay, pointers) = match version {
            TOTALS_VERSION => (number()?, number()?),
            TOTALS_VERSION_BEFORE => (0, 0),
            _ => return None,
        };
        let count = Count { records, bytes, pointers };
        let last = [urgent, ordinary, hearsay];
        rest.is_empty().then_some(Self { count, last })
    }
}

pub(super) fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

const ROW_VERSION: u8 = 1;
const TOTALS_VERSION: u8 = 2;
const TOTALS_VERSION_BEFORE: u8 = 1;
const FORGET_KEY_BYTES: usize = 8 + Name::BYTES;
const OF_A_POINTER: u8 = 1;
const REVOKED: u8 = 1;
const HAS_FROM: u8 = 2;
const HAS_ACCOUNT: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, Ttl};

    fn held(revoked: bool) -> Held {
        let secret = SecretKey::from_seed(&[1; 32]);
        let live = Body::Live {
            expiry: UnixSecs(2_000),
            ttl: Ttl(60),
            bindings: Vec::new(),
        };
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: UnixMicros(0x0102_0304),
            scope: Vec::new(),
            body: if revoked { Body::Revoked } else { live },
        };
        Held {
            record: SignedRecord::sign(record, &secret)
                .expect("a record")
                .verify()
                .expect("a signature"),
            class: Class::Peer,
            keep_until: UnixSecs(1_000),
            from: Some(Name::of_content(b"a peer")),
            account: Some("bob".into()),
        }
    }

    fn row_of(held: &Held, cursor: Cursor) -> Vec<u8> {
        let mut row = b"what was there before".to_vec();
        write_row(&mut row, held, cursor);
        row
    }

    #[test]
    fn a_row_is_these_bytes() {
        let held = held(false);
        let row = row_of(&held, 9);
        let (digest, from) = (held.record.rank().digest, Name::of_content(b"a peer"));
        let head = [
            &[1, 2, 2 | 4][..],
            &[0; 4],
            &[0, 0, 0, 0, 1, 2, 3, 4],
            &[0, 0, 0, 0, 0, 0, 3, 0xe8],
            // The lease ends before the record expires: it goes with the lease.
            &[0, 0, 0, 0, 0, 0, 3, 0xe8],
            &[0, 0, 0, 0, 0, 0, 0, 9],
            &digest,
            from.as_bytes(),
            &[0, 3],
            b"bob",
            held.record.bytes(),
        ];
        assert_eq!(row, head.concat());
    }

    #[test]
    fn a_row_reads_back_as_what_was_held() {
        for revoked in [false, true] {
            for (from, account) in [(None, None), (Some(Name::of_content(b"p")), None), (None, Some(String::new()))] {
                let held = Held {
                    from,
                    account,
                    ..held(revoked)
                };
                let bytes = row_of(&held, u64::MAX);
                let row = read_row(&bytes).expect("a row");
                assert_eq!((row.cursor, row.forget_at, row.lane()), (u64::MAX, held.forget_at(), held.lane()));
                assert_eq!(row.held(held.record.name()).expect("sound"), held);
            }
        }
    }

    #[test]
    fn a_row_that_was_cut_or_changed_is_not_believed() {
        let held = held(false);
        let name = held.record.name();
        let whole = row_of(&held, 9);
        for end in 0..whole.len() {
            assert!(read_row(&whole[..end]).is_none_or(|row| row.held(name).is_err()), "cut at {end}");
        }
        let rank = 3..15;
        let rest = whole.len() - held.record.bytes().len()..whole.len();
        for at in rank.chain(39..71).chain(rest) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(read_row(&bytes).is_none_or(|row| row.held(name).is_err()), "changed at {at}");
        }
        assert!(read_row(&whole).expect("a row").held(&Name::of_content(b"another")).is_err());
    }

    #[test]
    fn totals_read_back_and_nothing_else_does() {
        let totals = Totals {
            count: Count {
                records: 1,
                bytes: 2,
                pointers: 5,
            },
            last: [3, u64::MAX, 4],
        };
        let row = totals.write();
        assert_eq!(Totals::read(&row), Some(totals));
        assert_eq!(Totals::read(&row[..48]), None);
        assert_eq!(Totals::read(&[&row[..], &[0]].concat()), None);
        assert_eq!(Totals::read(&[3; 49]), None);
        // The version before this one knew of no pointers.
        let mut before = row[..33].to_vec();
        before[0] = 1;
        let counted = Totals::read(&before).expect("totals");
        assert_eq!((counted.last, counted.count.pointers), ([3, u64::MAX, 0], 0));
        assert_eq!(Totals::read(&before[..32]), None);
    }

    #[test]
    fn keys_sort_as_their_numbers() {
        let (one, other) = (Name::of_content(b"1"), Name::of_content(b"2"));
        assert!(log_key(Lane::Urgent, u64::MAX) < log_key(Lane::Ordinary, 1));
        assert!(log_key(Lane::Ordinary, 255) < log_key(Lane::Ordinary, 256));
        assert_eq!(read_log_key(&log_key(Lane::Ordinary, 77)), Some(77));
        assert!(forget_key(UnixSecs(255), &one.max(other)) < forget_key(UnixSecs(256), &one.min(other)));
        assert_eq!(read_forget_key(&forget_key(UnixSecs(9), &one)), Some(Due::Record(one)));
        let of_a_pointer = forget_pointer_key(UnixSecs(9), &one);
        assert_eq!(read_forget_key(&of_a_pointer), Some(Due::Pointer(one, UnixSecs(9))));
        assert_eq!(read_forget_key(&of_a_pointer[..20]), None);
    }
}
