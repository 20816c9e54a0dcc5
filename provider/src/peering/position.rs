//! How far a peer's store is in our log: what is durable of a feed.

use super::limits::POSITIONS_MAX;
use crate::store::{Cursors, LANES};
use dialtone_shared::Name;
use dialtone_shared::cbor::{CborError, Reader, Writer};
use dialtone_shared::message::Mode;

/// How far a peer's store is in our log.
///
/// ```text
/// [urgent, ordinary, hearsay, whole urgent, whole ordinary, whole hearsay, mode, ours, theirs]     (CBOR array of numbers)
/// [urgent, ordinary, hearsay, whole urgent, whole ordinary, whole hearsay, mode]     as it was before filters counted: everything passed
/// [urgent, ordinary, whole urgent, whole ordinary]                                   as it was before there were modes: values
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Acknowledged up to here, by lane.
    pub acked: Cursors,
    /// Up to here everything is sent, even what came from the peer: its store was new when our log ended there.
    pub whole: Cursors,
    /// The poorest form in which anything before that was sent: where more is agreed, it is sent again.
    pub mode: Mode,
    /// The marks of the filters past which it was sent, ours and the peer's: what one of them kept from the peer is not offered again by itself,
    /// so under others everything is.
    pub filters: [u64; 2],
}

impl Default for Position {
    /// Before everything.
    fn default() -> Self {
        Self {
            acked: [0; LANES],
            whole: [0; LANES],
            mode: Mode::None,
            filters: [0; 2],
        }
    }
}

impl Position {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2 * LANES + 3);
        for cursor in self.acked.iter().chain(&self.whole) {
            w.uint(*cursor);
        }
        w.uint(self.mode as u64);
        for filter in self.filters {
            w.uint(filter);
        }
        w.into_bytes()
    }

    /// As it counts where these filters hold and this mode: under other filters than before, the peer has nothing for certain.
    pub fn under(self, filters: [u64; 2], mode: Mode) -> Self {
        if self.filters == filters {
            return self;
        }
        Self {
            acked: [0; LANES],
            whole: self.whole,
            mode,
            filters,
        }
    }

    /// Reads what [`Position::encode`] writes, and what was written before there were modes.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        let position = match r.array()? {
            4 => Self {
                acked: [r.uint()?, r.uint()?, 0],
                whole: [r.uint()?, r.uint()?, 0],
                mode: Mode::Values,
                filters: [0; 2],
            },
            count @ (7 | 9) => Self {
                acked: [r.uint()?, r.uint()?, r.uint()?],
                whole: [r.uint()?, r.uint()?, r.uint()?],
                mode: match r.uint()? {
                    0 => Mode::None,
                    1 => Mode::Digest,
                    2 => Mode::Pointers,
                    3 => Mode::Values,
                    _ => return Err(CborError::Type(0)),
                },
                filters: if count == 9 { [r.uint()?, r.uint()?] } else { [0; 2] },
            },
            _ => return Err(CborError::Type(0)),
        };
        r.finish()?;
        Ok(position)
    }

    /// Under which note the position of this peer's store in the log of ours is kept. Both are named: a store that was restored from a
    /// backup has another log, in which a position of the old one would pass over what the peer has never seen.
    pub fn key(peer: &Name, theirs: &[u8; 16], ours: &[u8; 16]) -> Vec<u8> {
        [&Self::keys(peer)[..], theirs, ours].concat()
    }

    /// How the keys of all positions of this peer start: one for each node that it has, or had of late. See [`outdated`].
    pub fn keys(peer: &Name) -> Vec<u8> {
        [b"feed/", &peer.as_bytes()[..], b"/"].concat()
    }
}

/// Which of a peer's notes count no longer: those of a store that we had before `ours`, and of more than [`POSITIONS_MAX`] those that are the
/// furthest behind, but for the nodes that are `linked`.
pub fn outdated(peer: &Name, ours: &[u8; 16], linked: &[[u8; 16]], notes: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    let start = Position::keys(peer).len();
    let theirs = |key: &[u8]| key.get(start..start + 16).and_then(|theirs| <[u8; 16]>::try_from(theirs).ok());
    let (mut away, mut gone, mut kept) = (Vec::new(), Vec::new(), 0);
    for (key, note) in notes {
        match theirs(key) {
            Some(theirs) if key.ends_with(ours) => {
                kept += 1;
                let position = Position::decode(note).unwrap_or_default();
                away.extend((!linked.contains(&theirs)).then(|| (position.acked.iter().sum::<u64>(), key)));
            }
            _ => gone.push(key.clone()),
        }
    }
    away.sort_unstable();
    let many = usize::saturating_sub(kept, POSITIONS_MAX);
    gone.extend(away.into_iter().take(many).map(|(_, key)| key.clone()));
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positions_of_all_nodes_stay_and_those_that_nobody_comes_back_for_are_forgotten() {
        let (peer, ours, before) = (Name::key_set([1; 32]), [7; 16], [8; 16]);
        let note = |node: u8, ours: &[u8; 16], acked: u64| {
            let position = Position {
                acked: [0, acked, 0],
                ..Position::default()
            };
            (Position::key(&peer, &[node; 16], ours), position.encode())
        };
        let mut notes: Vec<_> = (0..POSITIONS_MAX as u8)
            .map(|node| note(node, &ours, 100 + u64::from(node)))
            .collect();
        assert!(outdated(&peer, &ours, &[], &notes).is_empty());
        notes.push(note(0, &before, 9_999));
        assert_eq!(
            outdated(&peer, &ours, &[], &notes),
            [notes[POSITIONS_MAX].0.clone()],
            "of a store that we had before"
        );
        notes.pop();
        notes.push(note(99, &ours, 1));
        assert_eq!(
            outdated(&peer, &ours, &[], &notes),
            [notes[POSITIONS_MAX].0.clone()],
            "the furthest behind"
        );
        assert_eq!(
            outdated(&peer, &ours, &[[99; 16]], &notes),
            [notes[0].0.clone()],
            "but not of a node that is here"
        );
    }

    #[test]
    fn a_position_reads_back_and_one_from_before_modes_does_too() {
        for mode in [Mode::None, Mode::Digest, Mode::Pointers, Mode::Values] {
            let position = Position {
                acked: [1, 2, 3],
                whole: [4, 5, u64::MAX],
                mode,
                filters: [7, u64::MAX],
            };
            assert_eq!(Position::decode(&position.encode()), Ok(position));
        }
        let mut w = Writer::new();
        w.array(4).uint(1).uint(2).uint(3).uint(4);
        let before = Position {
            acked: [1, 2, 0],
            whole: [3, 4, 0],
            mode: Mode::Values,
            filters: [0; 2],
        };
        assert_eq!(Position::decode(&w.into_bytes()), Ok(before));
        let mut other = before.encode();
        let mode = other.len() - 3;
        other[mode] = 4;
        assert!(Position::decode(&other).is_err());
        assert!(Position::decode(&[0x80]).is_err());
        let mut w = Writer::new();
        w.array(7);
        for number in [1, 2, 3, 4, 5, 6, 3] {
            w.uint(number);
        }
        let before = Position::decode(&w.into_bytes()).unwrap();
        assert_eq!((before.acked, before.mode, before.filters), ([1, 2, 3], Mode::Values, [0; 2]));
    }

    #[test]
    fn under_another_filter_of_either_side_everything_is_sent_again() {
        let position = Position {
            acked: [1, 2, 3],
            whole: [4, 5, 6],
            mode: Mode::Pointers,
            filters: [7, 8],
        };
        assert_eq!(position.under([7, 8], Mode::Values), position);
        for filters in [[0, 8], [7, 0], [8, 7]] {
            let anew = position.under(filters, Mode::Values);
            assert_eq!(
                (anew.acked, anew.whole, anew.mode, anew.filters),
                ([0; 3], [4, 5, 6], Mode::Values, filters)
            );
        }
    }
}
