//! The row of a pointer, byte for byte. Numbers are big-endian.
//!
//! ```text
//!   0  version u8        this layout: 1, and with a tag 2
//!   1  class u8          1 upstream, 2 peer, 3 customer
//!   2  flags u8          1 joined; no other
//!   3  epoch u32         the rank, with the sequence and the digest
//!   7  sequence u64      microseconds since 1970
//!  15  keep until u64    seconds since 1970
//!  23  expiry u64        seconds since 1970
//!  31  cursor u64        where it stands in the hearsay lane
//!  39  digest 16         the first half of the SHA-256 of the envelope
//!  55  keeper 33
//!  88  from 33
//! 121  tag 12            in version 2 alone: the 96 bits of the Host Identity Tag of the record's key
//! ```

use super::layout::take;
use crate::store::{Class, Cursor, Pointer};
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, UnixMicros, UnixSecs};

/// The row of `pointer`, which stands at `cursor`.
pub(super) fn write(pointer: &Pointer, cursor: Cursor) -> Vec<u8> {
    let mut row = Vec::with_capacity(BYTES + TAG_BYTES);
    let version = if pointer.tag.is_some() { WITH_TAG } else { VERSION };
    row.extend([version, pointer.class as u8, if pointer.joined { JOINED } else { 0 }]);
    row.extend(pointer.epoch.to_be_bytes());
    for number in [pointer.sequence.0, pointer.keep_until.0, pointer.expiry.0, cursor] {
        row.extend(number.to_be_bytes());
    }
    row.extend(pointer.digest);
    row.extend(pointer.keeper.as_bytes());
    row.extend(pointer.from.as_bytes());
    row.extend(pointer.tag.iter().flat_map(Hit::hash));
    row
}

/// Reads what [`write`] writes for `name`; `None` for anything else.
pub(super) fn read(name: &Name, row: &[u8]) -> Option<(Pointer, Cursor)> {
    let mut rest = row;
    let [version, class, flags] = *take(&mut rest)?;
    let class = match class {
        1 => Class::Upstream,
        2 => Class::Peer,
        3 => Class::Customer,
        _ => return None,
    };
    let bytes = match version {
        VERSION => BYTES,
        WITH_TAG => BYTES + TAG_BYTES,
        _ => return None,
    };
    if flags & !JOINED != 0 || row.len() != bytes {
        return None;
    }
    let epoch = u32::from_be_bytes(*take(&mut rest)?);
    let mut number = || take(&mut rest).map(|bytes| u64::from_be_bytes(*bytes));
    let (sequence, keep_until, expiry, cursor) = (number()?, number()?, number()?, number()?);
    let pointer = Pointer {
        name: *name,
        epoch,
        sequence: UnixMicros(sequence),
        digest: *take(&mut rest)?,
        expiry: UnixSecs(expiry),
        class,
        keep_until: UnixSecs(keep_until),
        keeper: Name::from_bytes(take::<{ Name::BYTES }>(&mut rest)?).ok()?,
        from: Name::from_bytes(take::<{ Name::BYTES }>(&mut rest)?).ok()?,
        joined: flags & JOINED != 0,
        tag: if version == WITH_TAG {
            Some(Hit::from_hash(*take(&mut rest)?))
        } else {
            None
        },
    };
    Some((pointer, cursor))
}

const VERSION: u8 = 1;
const WITH_TAG: u8 = 2;
const TAG_BYTES: usize = 12;
const JOINED: u8 = 1;
const BYTES: usize = 55 + 2 * Name::BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_these_bytes_and_reads_back() {
        let [name, keeper, from] = [b"a name", b"keeper", b"a peer"].map(|bytes| Name::of_content(bytes));
        let pointer = Pointer {
            name,
            epoch: 1,
            sequence: UnixMicros(2),
            digest: [9; 16],
            expiry: UnixSecs(4),
            class: Class::Peer,
            keep_until: UnixSecs(3),
            keeper,
            from,
            joined: true,
            tag: None,
        };
        let row = write(&pointer, 5);
        let numbers = [2_u64, 3, 4, 5].map(u64::to_be_bytes).concat();
        let parts: [&[u8]; 5] = [&[1, 2, 1, 0, 0, 0, 1], &numbers, &[9; 16], keeper.as_bytes(), from.as_bytes()];
        assert_eq!(row, parts.concat());
        assert_eq!(read(&name, &row), Some((pointer.clone(), 5)));
        let tagged = Pointer {
            tag: Some(Hit::from_hash([7; 12])),
            ..pointer
        };
        let longer = write(&tagged, 5);
        assert_eq!(longer, [&[2], &row[1..], &[7; 12]].concat());
        assert_eq!(read(&name, &longer), Some((tagged, 5)));
        assert_eq!(read(&name, &longer[..longer.len() - 1]), None);
        for end in 0..row.len() {
            assert_eq!(read(&name, &row[..end]), None, "cut at {end}");
        }
        assert_eq!(read(&name, &[&row[..], &[0]].concat()), None);
        for (at, byte) in [(0, 2), (1, 0), (1, 4), (2, 2)] {
            let mut changed = row.clone();
            changed[at] = byte;
            assert_eq!(read(&name, &changed), None, "byte {at} is {byte}");
        }
    }
}
