//! The clock, as something that is handed in: tests shift it.
//!
//! Time has two sides, and each has one source. What the calendar says, by which records are judged and which may jump, comes from a
//! [`Clock`]. How long something has taken, by which patience is measured, comes from `tokio::time::Instant`: the runtime's own clock,
//! which a simulation moves together with every timer.

use dialtone_shared::UnixMicros;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// What time it is.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Microseconds since 1970.
    fn now(&self) -> UnixMicros;
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMicros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMicros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}
