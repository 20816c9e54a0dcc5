//! Two providers that hold the same, are cut apart for a while, and meet again: what that costs.

use super::{World, record};
use dialtone_shared::VerifiedRecord;
use std::time::Duration;

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// How long after the cut was mended both held the same.
    pub equal_after: Duration,
    /// Records that were sent.
    pub sent: u64,
    /// Bytes of questions and answers of comparisons.
    pub compared_bytes: u64,
    /// All other bytes of frames, without those of the records themselves: greetings, acknowledgements, what batches are wrapped in.
    pub other_bytes: u64,
}

/// Cuts two providers that hold `all` apart for `gap`; meanwhile `differences` arise: a third is new on one side, a third on the other, and a third
/// is newer on one.
///
/// # Errors
/// They do not hold the same [`PATIENCE`] after the cut was mended.
pub fn part(seed: u64, all: &[VerifiedRecord], gap: Duration, differences: u32) -> Result<Met, String> {
    let mut world = World::new(seed, 2, &[(0, 1)]).unwatched();
    for node in 0..2 {
        world.fill(node, all);
    }
    world.run(Duration::from_secs(20));
    world.partition(&[0], &[1]);
    // A link that stands through a short cut sends already.
    let (sent, received, bytes, comparisons) = (
        world.records_sent(),
        world.records_received(),
        world.bytes_sent(),
        world.comparisons.len(),
    );
    world.run(gap / 2);
    let (now, names) = (world.time(), u32::try_from(all.len()).unwrap_or(u32::MAX));
    let [one, other] = [differences.div_ceil(3), differences / 3];
    let sign = |numbers: std::ops::Range<u32>| numbers.map(|number| record(number, now, &[], false)).collect::<Vec<_>>();
    let news = [
        sign(names..names + one),
        [sign(names + one..names + one + other), sign(0..differences - one - other)].concat(),
    ];
    for (node, news) in news.iter().enumerate() {
        world.fill(node, news);
    }
    let bodies: usize = news.iter().flatten().map(|record| record.bytes().len()).sum();
    world.run(gap - gap / 2);
    world.heal();
    let mended = world.now;
    // To see whether they hold the same takes long: not before as much as is missing has come.
    while world.records_received() < received + u64::from(differences) || !world.all_equal() {
        if world.now - mended >= PATIENCE {
            return Err(format!("not equal {} s after the cut was mended", PATIENCE.as_secs()));
        }
        world.run(Duration::from_millis(10));
    }
    let equal_after = world.now - mended;
    // Whatever else it costs.
    world.run(PATIENCE);
    let sent = world.records_sent() - sent;
    // Each record was wrapped once for each time that it was sent.
    let wrapped = bodies as u64 * sent.checked_div(u64::from(differences)).unwrap_or(0);
    Ok(Met {
        equal_after,
        sent,
        compared_bytes: world.comparisons[comparisons..].iter().map(|made| made.bytes as u64).sum(),
        other_bytes: (world.bytes_sent() - bytes).saturating_sub(wrapped),
    })
}

/// The records of so many names.
pub fn records(names: u32) -> Vec<VerifiedRecord> {
    let began = dialtone_shared::UnixMicros(super::BEGIN * 1_000_000);
    (0..names).map(|name| record(name, began, &[], false)).collect()
}

/// By then both hold the same.
pub const PATIENCE: Duration = Duration::from_secs(5);
