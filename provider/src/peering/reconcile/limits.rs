//! How much a comparison may take, on either side: beyond it, playing the log is cheaper, or somebody does not play fair.

use std::time::Duration;

/// The grid has at most this many bits: 2^16 sums are 1 MiB, and at a million names a bucket has sixteen.
pub const GRID_BITS_MAX: u8 = 16;

/// And at least these: what a first probe asks about.
pub const GRID_BITS_MIN: u8 = 4;

/// Names in a bucket of the grid, unless there are too many: what is worth reading for one that differs.
pub const BUCKET_NAMES: u64 = 4;

/// Most names that one side may turn out to have to send. The list of them takes 3 MiB; who lacks more is better served by the log.
pub const FOUND_MAX: usize = 65_536;

/// Most cells probed at once in all: twice as many as can be needed for [`FOUND_MAX`] differences on each side.
pub const CELLS_AT_ONCE_MAX: usize = 4 * FOUND_MAX;

/// Most questions of one comparison. 10,000 differences take about 50.
pub const QUESTIONS_MAX: u32 = 512;

/// Records that may be read in one comparison, as a multiple of what is held: one survey, and then what differs. Three quarters of the store
/// at most are read again for the first closer look, and less each time after.
pub const READS_PER_NAME: u64 = 6;

/// And so many more, for stores so small that it does not matter.
pub const READS_FREE: u64 = 65_536;

/// A comparison not finished by then is given up: a million names are surveyed in a few seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who was compared with rests this many times as long as it took, before it is compared with again: so no peer takes more than a fifth of
/// a core by asking.
pub const REST: u32 = 4;

/// And at least so long.
pub const REST_MIN: Duration = Duration::from_secs(1);
