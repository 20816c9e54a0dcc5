//! When two stores are worth comparing, and what is remembered of a peer's store to tell that it went back in time.

use crate::peering::position::Position;
use crate::store::Cursor;
use dialtone_shared::Name;
use dialtone_shared::cbor::{CborError, Reader, Writer};

/// Whether to compare when a link comes up, rather than to play the log after `position`. Playing it costs as many records as it is behind, wanted or
/// not; comparing costs reading the store once. A store that is empty needs no comparing.
pub fn is_worth_it(position: Option<&Position>, ours: &[Cursor], theirs: &[Cursor]) -> bool {
    let is_empty = |heads: &[Cursor]| heads.iter().all(|head| *head == 0);
    let ends: u64 = ours.iter().sum();
    !is_empty(ours)
        && !is_empty(theirs)
        && position.is_none_or(|position| {
            let acked = position.acked.iter().sum();
            ends.saturating_sub(acked) > LAG + ends / READS_FOR_A_RECORD
        })
}

/// Where a peer's log was seen to end: a lower end later means that its store went back in time (a copy of its files, or of its machine,
/// was put back), and that it lacks what it once acknowledged.
///
/// ```text
/// [+ cursor]     (CBOR array)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen(pub [Cursor; 3]);

impl Seen {
    /// Whether a store whose log ends at `heads` now went back.
    pub fn went_back(&self, heads: &[Cursor; 3]) -> bool {
        self.0.iter().zip(heads).any(|(seen, now)| now < seen)
    }

    /// Under which note it is kept, for this store of this peer.
    pub fn key(peer: &Name, theirs: &[u8; 16]) -> Vec<u8> {
        [b"seen/", &peer.as_bytes()[..], b"/", theirs].concat()
    }

    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(self.0.len());
        for cursor in self.0 {
            w.uint(cursor);
        }
        w.into_bytes()
    }

    /// Reads what [`Seen::encode`] writes.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(3)?;
        let seen = Self([r.uint()?, r.uint()?, r.uint()?]);
        r.finish()?;
        Ok(seen)
    }
}

/// So few are played whatever the store.
const LAG: u64 = 64;

/// A record that is sent for nothing costs about as much as reading this many of our own.
const READS_FOR_A_RECORD: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_compared_when_the_log_would_cost_more() {
        let position = |acked: u64| Position {
            acked: [0, acked, 0],
            ..Position::default()
        };
        for (acked, ours, theirs, worth) in [
            (None, 0, 5, false),
            (None, 5, 0, false),
            (None, 5, 5, true),
            (Some(1_000), 1_064, 5, false),
            (Some(1_000), 1_066, 5, true),
            (Some(1_000_000), 1_001_000, 5, false),
            (Some(1_000_000), 1_001_100, 5, true),
        ] {
            let position = acked.map(position);
            assert_eq!(
                is_worth_it(position.as_ref(), &[0, ours, 0], &[0, theirs, 0]),
                worth,
                "{acked:?} {ours} {theirs}"
            );
        }
    }

    #[test]
    fn a_log_that_ends_earlier_than_seen_went_back() {
        let seen = Seen([3, 100, 0]);
        assert!(!seen.went_back(&[3, 100, 0]) && !seen.went_back(&[4, 100, 7]));
        assert!(seen.went_back(&[2, 200, 0]) && seen.went_back(&[3, 99, 0]));
        assert_eq!(Seen::decode(&seen.encode()).unwrap(), seen);
        assert!(Seen::decode(b"").is_err());
    }
}
