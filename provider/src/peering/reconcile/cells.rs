//! Cells, the ranges that are compared; and what is kept of them while the store is read.

use super::field::{Element, Sum};
use super::key::Keyed;
use super::limits::{BUCKET_NAMES, GRID_BITS_MAX, GRID_BITS_MIN};
use dialtone_shared::Name;

/// The sums of all buckets into which the space of names is divided evenly: what one survey of the store leaves in memory.
#[derive(Debug)]
pub struct Grid {
    bits: u8,
    sums: Vec<Sum>,
}

/// Part of the space of names: those whose 32 bytes begin with these 64 bits, or what lies between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl Range {
    /// Everything.
    pub const ALL: Self = Self { from: 0, to: u64::MAX };

    /// For each scheme of names, after which name the range begins (`None`: at the first), and its last.
    pub fn of_each_scheme(&self) -> impl Iterator<Item = (Option<Name>, Name)> {
        let name = |scheme: u8, bits: u64| {
            let mut bytes = [0xff; Name::BYTES];
            bytes[0] = scheme;
            bytes[1..9].copy_from_slice(&bits.to_be_bytes());
            Name::from_bytes(&bytes).ok()
        };
        let Self { from, to } = *self;
        (1..=u8::MAX).filter_map(move |scheme| {
            let before = match from.checked_sub(1) {
                Some(before) => name(scheme, before),
                None => name(scheme - 1, u64::MAX),
            };
            name(scheme, to).map(|last| (before, last))
        })
    }

    /// How many names to read at once, where about so many are held in all: what lies in the range, and a few more.
    pub fn page(&self, names: u64) -> usize {
        let share = (self.to - self.from) as f64 / u64::MAX as f64;
        let expected = (names as f64 * share * 1.25) as usize;
        (expected + PAGE_MIN).min(PAGE_MAX)
    }
}

/// The children of some cells, and their sums.
#[derive(Clone, Debug)]
pub struct Children {
    /// Of the children.
    pub depth: u8,
    /// Each parent has two to the power of this.
    pub fan: u8,
    /// Ascending.
    pub parents: Vec<u64>,
    /// Of each child, in order.
    pub sums: Vec<Sum>,
}

/// A tag looked for in each of some cells.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of the cells.
    pub depth: u8,
    /// Ascending.
    pub cells: Vec<u64>,
    /// In each.
    pub tags: Vec<Element>,
}

impl Grid {
    /// Bits of the grid where the larger of two stores holds so many names.
    pub fn bits_for(names: u64) -> u8 {
        let buckets = (names / BUCKET_NAMES).max(1);
        (buckets.ilog2() as u8).clamp(GRID_BITS_MIN, GRID_BITS_MAX)
    }

    /// An empty grid.
    pub fn new(bits: u8) -> Self {
        let sums = vec![Sum::default(); 1 << bits];
        Self { bits, sums }
    }

    /// Bits.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Counts an item in.
    pub fn add(&mut self, item: &Keyed) {
        let bucket = item.path >> (64 - self.bits);
        if let Some(sum) = self.sums.get_mut(bucket as usize) {
            sum.add(item.value, item.tag);
        }
    }

    /// The sum of a cell that is made of whole buckets.
    fn sum(&self, depth: u8, cell: u64) -> Sum {
        let span = self.bits - depth;
        let first = usize::try_from(cell << span).unwrap_or(usize::MAX);
        let buckets = self.sums.iter().skip(first).take(1 << span);
        buckets.fold(Sum::default(), |mut all, sum| {
            all += *sum;
            all
        })
    }
}

impl Children {
    /// The children of these parents, which must exist at that depth; their sums all to be read yet.
    pub fn new(parent_depth: u8, fan: u8, parents: Vec<u64>) -> Self {
        Self {
            depth: parent_depth + fan,
            fan,
            sums: vec![Sum::default(); parents.len() << fan],
            parents,
        }
    }

    /// Takes the sums from the grid, if it is fine enough.
    pub fn sum_up(&mut self, grid: &Grid) -> bool {
        if self.depth > grid.bits {
            return false;
        }
        let cells: Vec<u64> = self.cells().collect();
        for (sum, cell) in self.sums.iter_mut().zip(cells) {
            *sum = grid.sum(self.depth, cell);
        }
        true
    }

    /// Counts an item in, if it lies in one of them.
    pub fn add(&mut self, item: &Keyed) {
        let child = cell_of(item.path, self.depth);
        if let Ok(parent) = self.parents.binary_search(&(child >> self.fan)) {
            let slot = (parent << self.fan) + (child & ((1 << self.fan) - 1)) as usize;
            self.sums[slot].add(item.value, item.tag);
        }
    }

    /// The numbers of the children.
    pub fn cells(&self) -> impl Iterator<Item = u64> {
        let fan = self.fan;
        self.parents
            .iter()
            .flat_map(move |parent| (0..1 << fan).map(move |child| parent << fan | child))
    }

    /// What must be read to sum them up.
    pub fn ranges(&self, grid_bits: u8) -> Vec<Range> {
        ranges(self.depth - self.fan, &self.parents, grid_bits)
    }
}

impl Wanted {
    /// Which of the cells an item lies in, if it is what is looked for there.
    pub fn find(&self, item: &Keyed) -> Option<usize> {
        let at = self.cells.binary_search(&cell_of(item.path, self.depth)).ok()?;
        (self.tags[at] == item.tag).then_some(at)
    }

    /// What must be read to find them.
    pub fn ranges(&self, grid_bits: u8) -> Vec<Range> {
        ranges(self.depth, &self.cells, grid_bits)
    }
}

/// The cell of that depth in which a path lies.
fn cell_of(path: u64, depth: u8) -> u64 {
    path.checked_shr(64 - u32::from(depth)).unwrap_or(0)
}

/// The parts of the space of names in which these cells lie: below the grid, the whole bucket. Adjacent ones are one.
fn ranges(depth: u8, cells: &[u64], grid_bits: u8) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let known = depth.min(grid_bits);
    for cell in cells {
        let bucket = cell >> (depth - known);
        let from = bucket.checked_shl(64 - u32::from(known)).unwrap_or(0);
        let to = from | u64::MAX.checked_shr(u32::from(known)).unwrap_or(0);
        match ranges.last_mut() {
            Some(last) if from <= last.to.saturating_add(1) => last.to = to,
            _ => ranges.push(Range { from, to }),
        }
    }
    ranges
}

/// Fewest names read at once.
const PAGE_MIN: usize = 4;

/// Most names read at once: 400 kB of records of the usual size.
const PAGE_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: u64, number: u64) -> Keyed {
        Keyed {
            path,
            tag: Element::of_hash(number * 7),
            value: Element::of_hash(number * 13),
        }
    }

    #[test]
    fn the_sums_of_cells_are_the_same_from_the_grid_and_from_reading() {
        let items: Vec<Keyed> = (1..500).map(|n: u64| item(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)).collect();
        let mut grid = Grid::new(6);
        items.iter().for_each(|item| grid.add(item));
        for (depth, fan, parents) in [(0, 4, vec![0]), (0, 6, vec![0]), (4, 2, vec![0, 3, 15]), (5, 1, vec![31])] {
            let mut summed = Children::new(depth, fan, parents.clone());
            assert!(summed.sum_up(&grid));
            let mut read = Children::new(depth, fan, parents);
            items.iter().for_each(|item| read.add(item));
            assert_eq!(summed.sums, read.sums);
        }
        assert!(!Children::new(4, 3, vec![0]).sum_up(&grid));
    }

    #[test]
    fn only_what_lies_in_the_cells_is_read_and_adjacent_ranges_are_one() {
        let top = |n: u64| n << 60;
        let range = |from, to| Range { from, to };
        assert_eq!(ranges(4, &[1, 2, 15], 8), [range(top(1), top(3) - 1), range(top(15), u64::MAX)]);
        assert_eq!(ranges(0, &[0], 8), [range(0, u64::MAX)]);
        // Below the grid the whole bucket is read, once.
        assert_eq!(ranges(6, &[4, 5, 7, 60], 4), [range(top(1), top(2) - 1), range(top(15), u64::MAX)]);
    }

    #[test]
    fn grids_fit_the_stores_they_are_for() {
        for (names, bits) in [(0, 4), (64, 4), (1_000, 7), (100_000, 14), (1_000_000, 16), (u64::MAX, 16)] {
            assert_eq!(Grid::bits_for(names), bits, "{names}");
        }
    }
}
