//! The clock.

use crate::lookup::Moment;
use dialtone_shared::{UnixMicros, UnixSecs};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, by both clocks. A wall clock before 1970 reads as 1970.
pub fn now() -> Moment {
    Moment {
        instant: Instant::now(),
        unix: UnixSecs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
    }
}

/// Now, as a sequence counts.
pub fn now_micros() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMicros(since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}
