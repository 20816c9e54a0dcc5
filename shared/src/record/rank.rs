//! Which of two records of a name wins: later key epoch, then revoked, then sequence, then larger bytes.
//!
//! The order is total, so replication is a join: any order, any number of times, any path, the same result.

use crate::cbor::{CborError, Reader, Writer};
use crate::time::UnixMicros;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// What travels of a record's place in the order; the digest stands for the bytes.
///
/// ```text
/// on the wire  [epoch uint, revoked bool, sequence uint, SHA-256 of the record]   (CBOR array)
/// as text      <epoch>.<0 or 1>.<sequence>.<64 hexadecimal digits>                (an ETag)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rank {
    /// How many key rotations the record reveals.
    pub epoch: u32,
    /// Whether it is a revocation, which outranks every record of its epoch.
    pub revoked: bool,
    /// Microseconds since 1970.
    pub sequence: UnixMicros,
    /// SHA-256 of the record's bytes.
    pub digest: [u8; 32],
}

/// The text is not a rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a rank: it reads <epoch>.<0 or 1>.<sequence>.<64 hexadecimal digits>, lower-case and without leading zeros")]
pub struct RankParseError;

impl Rank {
    /// How this stands to `other`, as far as it can be told without the bytes: `None` where only the digests differ,
    /// and the larger bytes win.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match self.order().cmp(&other.order()) {
            Ordering::Equal if self.digest != other.digest => None,
            ordering => Some(ordering),
        }
    }

    /// The part of the order that needs no bytes.
    pub fn order(&self) -> (u32, bool, UnixMicros) {
        (self.epoch, self.revoked, self.sequence)
    }

    /// Writes it as a CBOR array of four.
    pub fn write(&self, w: &mut Writer) {
        w.array(4)
            .uint(u64::from(self.epoch))
            .bool(self.revoked)
            .uint(self.sequence.0)
            .bytes(&self.digest);
    }

    /// Reads what [`Rank::write`] writes.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        r.array_exact(4)?;
        Ok(Self {
            epoch: r.uint_as()?,
            revoked: r.bool()?,
            sequence: UnixMicros(r.uint()?),
            digest: r.array_of()?,
        })
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.", self.epoch, u8::from(self.revoked), self.sequence.0)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Rank {
    type Err = RankParseError;

    /// Reads what `Display` prints, and no other spelling of it: two texts are the same rank only if they are the same text.
    fn from_str(text: &str) -> Result<Self, RankParseError> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(RankParseError);
        let (epoch, revoked, sequence, digits) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() || digits.len() != 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(RankParseError);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = str::from_utf8(pair).map_err(|_| RankParseError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| RankParseError)?;
        }
        Ok(Self {
            epoch: plain(epoch)?,
            revoked: match revoked {
                "0" => false,
                "1" => true,
                _ => return Err(RankParseError),
            },
            sequence: UnixMicros(plain(sequence)?),
            digest,
        })
    }
}

/// A decimal number in its only spelling; `parse` alone would also take `+1` and `01`.
fn plain<T: FromStr>(digits: &str) -> Result<T, RankParseError> {
    if !digits.starts_with(|first: char| first.is_ascii_digit()) || digits.len() > 1 && digits.starts_with('0') {
        return Err(RankParseError);
    }
    digits.parse().map_err(|_| RankParseError)
}
