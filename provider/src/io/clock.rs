//! The clock, as something that is handed in: tests shift it.

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
