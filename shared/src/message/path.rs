//! By which providers a record came: marks, nearest first. A note for people, and for whoever sees its own mark; it proves nothing.
//!
//! ```text
//! [hops u8][mark 8] × least of hops and 6      the first is who gave it to the sender, the last is where it was put
//! ```

use super::{Map, MessageError};
use crate::cbor::Writer;

/// Most marks that a path carries: five neighbours to see a circle by, and the first of all.
pub const PATH_MARKS_MAX: usize = 6;

/// The way of a record up to whoever tells of it; empty if it was put there, or nothing is known. Where there were more providers than it has room
/// for, those before the last are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Path {
    hops: u8,
    marks: [u64; PATH_MARKS_MAX],
}

impl Path {
    /// The same way, and one provider further.
    #[must_use]
    pub fn through(self, mark: u64) -> Self {
        let mut marks = [mark; PATH_MARKS_MAX];
        let known = self.marks().len();
        let kept = known.min(PATH_MARKS_MAX - 1);
        marks[1..=kept].copy_from_slice(&self.marks[..kept]);
        if known > 0 {
            marks[kept] = self.marks[known - 1];
        }
        marks[kept + 1..].fill(0);
        Self {
            hops: self.hops.saturating_add(1),
            marks,
        }
    }

    /// How many providers it came through; 255: at least.
    pub fn hops(&self) -> u8 {
        self.hops
    }

    /// Those that are known, nearest first; the last is where it was put.
    pub fn marks(&self) -> &[u64] {
        &self.marks[..usize::from(self.hops).min(PATH_MARKS_MAX)]
    }

    /// Whether it is known to have come through this one.
    pub fn has(&self, mark: u64) -> bool {
        self.marks().contains(&mark)
    }

    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        self.hops == 0
    }

    /// Bytes that it takes in an entry.
    pub fn bytes(&self) -> usize {
        match self.marks().len() {
            0 => 0,
            marks => 1 + 1 + usize::from(marks > 2) + 8 * marks,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let mut bytes = Vec::with_capacity(1 + 8 * PATH_MARKS_MAX);
        bytes.push(self.hops);
        self.marks().iter().for_each(|mark| bytes.extend(mark.to_be_bytes()));
        w.bytes(&bytes);
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let wrong = MessageError::Value("path");
        let (hops, rest) = map.r.bytes()?.split_first().ok_or(wrong.clone())?;
        let (read, rest) = rest.as_chunks::<8>();
        let mut path = Self {
            hops: *hops,
            ..Self::default()
        };
        if *hops == 0 || !rest.is_empty() || read.len() != path.marks().len() {
            return Err(wrong);
        }
        for (mark, bytes) in path.marks.iter_mut().zip(read) {
            *mark = u64::from_be_bytes(*bytes);
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_the_nearest_and_where_it_began() {
        let mut path = Path::default();
        assert!(path.is_empty() && path.marks().is_empty());
        for mark in 1..=6 {
            path = path.through(mark);
        }
        assert_eq!((path.hops(), path.marks()), (6, &[6, 5, 4, 3, 2, 1][..]));
        path = path.through(7).through(8);
        assert_eq!((path.hops(), path.marks()), (8, &[8, 7, 6, 5, 4, 1][..]));
        assert!(path.has(1) && !path.has(2) && !path.has(0));
        for _ in 0..300 {
            path = path.through(9);
        }
        assert_eq!((path.hops(), path.marks().last()), (255, Some(&1)));
    }
}
