//! Instants and lifetimes. Time is always an argument in this crate: nothing here asks for `now`.

use std::fmt;

/// Seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixSecs(pub u64);

/// Microseconds since 1970-01-01 UTC: a record's sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMicros(pub u64);

/// How long a cache may keep something, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ttl(pub u32);

impl UnixSecs {
    /// This instant `secs` later; at the end of time, the end of time.
    pub fn plus(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// Seconds from `earlier` to this instant; 0 if `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The whole day it falls in, counted from 1970. Keep-until is compared in days, so that renewing a lease
    /// every minute is not a change that peers must hear of.
    pub fn day(self) -> u64 {
        self.0 / 86_400
    }

    /// The same instant in microseconds.
    pub fn micros(self) -> UnixMicros {
        UnixMicros(self.0.saturating_mul(1_000_000))
    }
}

impl UnixMicros {
    /// The second it falls in.
    pub fn secs(self) -> UnixSecs {
        UnixSecs(self.0 / 1_000_000)
    }
}

impl fmt::Display for UnixSecs {
    /// RFC 3339 in UTC, as people read it: `2026-11-22T15:04:05Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days to a civil date after Howard Hinnant's `civil_from_days`; eras of 400 years.
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        let z = days + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        let (h, m, s) = (rest / 3_600, rest / 60 % 60, rest % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_as_rfc_3339() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(UnixSecs(secs).to_string(), text);
        }
    }
}
