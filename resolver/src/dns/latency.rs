//! How long answers took, by how they came and how they were found: a few buckets each, which any thread adds to without waiting.

use crate::dns::frontend::Carrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where an answer came from: whoever had to be waited for longest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Found {
    /// Kept as it is sent.
    Kept,
    /// Made from what is known here.
    #[default]
    Local,
    /// Others were asked for a record: providers by a stub, peers by a provider.
    Searched,
    /// Upstream resolvers were asked.
    Upstream,
}

impl Found {
    /// All, in the order in which they are counted.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Local, Self::Searched, Self::Upstream];

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Local => "local",
            Self::Searched => "searched",
            Self::Upstream => "upstream",
        }
    }
}

/// Answers that came one way and were found one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatencyCounts {
    /// How they came.
    pub carrier: Carrier,
    /// How they were found.
    pub found: Found,
    /// How many took at most each of [`LATENCY_BOUNDS_MICROS`] and longer than the one before; the last: longer than all.
    pub buckets: [u64; BUCKETS],
    /// What all of them took together, in microseconds.
    pub sum_micros: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Latency {
    cells: [[Cell; Found::ALL.len()]; Carrier::ALL.len()],
}

#[derive(Debug, Default)]
struct Cell {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Latency {
    /// `count` answers took this long each.
    pub(crate) fn took(&self, carrier: Carrier, found: Found, count: u64, each: Duration) {
        let cell = &self.cells[carrier as usize][found as usize];
        let nanos = u64::try_from(each.as_nanos()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        cell.buckets[bucket].fetch_add(count, Ordering::Relaxed);
        cell.sum_nanos.fetch_add(nanos.saturating_mul(count), Ordering::Relaxed);
    }

    /// What was counted, each way for which there was anything.
    pub(crate) fn read(&self) -> Vec<LatencyCounts> {
        let ways = Carrier::ALL
            .into_iter()
            .flat_map(|carrier| Found::ALL.map(|found| (carrier, found)));
        let counted = ways.map(|(carrier, found)| {
            let cell = &self.cells[carrier as usize][found as usize];
            LatencyCounts {
                carrier,
                found,
                buckets: cell.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
                sum_micros: cell.sum_nanos.load(Ordering::Relaxed) / 1_000,
            }
        });
        counted.filter(|counts| counts.buckets != [0; BUCKETS]).collect()
    }
}

/// Where one bucket ends and the next begins, in microseconds: three in each tenfold, from what a kept answer takes to what a client waits for.
pub const LATENCY_BOUNDS_MICROS: [u64; 17] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000,
];

/// How many buckets there are: one more for what took longer than any bound.
pub const BUCKETS: usize = LATENCY_BOUNDS_MICROS.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_in_the_first_bucket_that_it_does_not_exceed() {
        let latency = Latency::default();
        assert_eq!(latency.read(), []);
        latency.took(Carrier::Udp, Found::Kept, 64, Duration::from_micros(10));
        latency.took(Carrier::Udp, Found::Kept, 1, Duration::from_nanos(10_001));
        latency.took(Carrier::Quic, Found::Upstream, 1, Duration::from_secs(9));
        let read = latency.read();
        let [kept, upstream] = &read[..] else { panic!("{read:?}") };
        assert_eq!((kept.carrier, kept.found, kept.sum_micros), (Carrier::Udp, Found::Kept, 650));
        assert_eq!((&kept.buckets[..3], kept.buckets[BUCKETS - 1]), (&[64, 1, 0][..], 0));
        assert_eq!((upstream.carrier, upstream.found), (Carrier::Quic, Found::Upstream));
        assert_eq!((upstream.buckets[BUCKETS - 1], upstream.sum_micros), (1, 9_000_000));
    }

    #[test]
    fn the_bounds_rise() {
        assert!(LATENCY_BOUNDS_MICROS.is_sorted_by(|a, b| a < b));
    }
}
