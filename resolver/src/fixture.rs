//! What the unit tests of this crate share: a fixed now, and the records and replies of the integration tests.

use crate::lookup::Moment;
use dialtone_shared::{UnixSecs, VerifiedRecord};
use std::time::Instant;

#[path = "../tests/stub_support/records.rs"]
mod records;

pub use records::{Live, reply};

/// When the unit tests happen.
pub const NOW: UnixSecs = UnixSecs(1_800_000_000);

/// That, by both clocks.
pub fn moment() -> Moment {
    Moment {
        instant: Instant::now(),
        unix: NOW,
    }
}

/// A current record of the name of key `key`; larger `micros`, later record.
pub fn record(key: u8, micros: u64) -> VerifiedRecord {
    record_with(key, micros, |_| ())
}

/// The same, changed.
pub fn record_with(key: u8, micros: u64, change: impl FnOnce(&mut Live)) -> VerifiedRecord {
    records::record_at(NOW, key, micros, change)
}
