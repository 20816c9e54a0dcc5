//! Every size, count and patience of asking peers: what it is and what chose it.

use std::time::Duration;

/// Links that a question may travel. No path between two of the networks that are planned for is longer.
pub const HOPS_MAX: u8 = 16;

/// Asks that one question of a client may cause in the whole network: enough for each of sixteen providers to be asked four times, since
/// what one branch does not spend is not given to another, and little to gain for who would use a name that nobody has to make
/// providers work.
pub const BUDGET: u8 = 64;

/// Asks that one pointer may cause: its keeper, who told of it, and those between.
pub const FETCHES_MAX: u8 = 8;

/// Asks that a peer may cause whose digest has the name: it holds the record, and may have to see that it is the newest.
pub const DIGEST_BUDGET: u8 = 4;

/// A provider that was asked answers before the one who asked gives up: each link on the way takes this off the patience.
pub const PATIENCE_PER_HOP: Duration = Duration::from_millis(250);

/// How long, once a record was found, those who were asked at the same time and are not slower than usual may still say that they have
/// a newer one.
pub const GATHER_MAX: Duration = Duration::from_millis(100);

/// What a peer's usual time to answer is taken to be before it has been measured: across a continent and back.
pub const USUAL_UNKNOWN: Duration = Duration::from_millis(100);

/// No peer is taken to be quicker than this: below, every hiccup of a scheduler would ask a second one.
pub const USUAL_MIN: Duration = Duration::from_millis(5);

/// Answers of a peer of which the time is remembered: enough that one in ten is more than one or two.
pub const LATENCIES_KEPT: usize = 32;

/// What a peer's answers were worth counts half after this long.
pub const MERIT_HALF_LIFE: Duration = Duration::from_secs(300);

/// Failures in a row after which a peer is asked only now and then.
pub const FAILURES_TO_SET_ASIDE: u32 = 3;

/// How often a peer that was set aside is asked all the same.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Questions under way at a time. One costs some kilobytes and its asks.
pub const QUESTIONS_MAX: usize = 1_024;

/// Questions under way about one name: those that were told to leave out different providers cannot be one.
pub const QUESTIONS_OF_A_NAME_MAX: usize = 16;

/// Questions of one peer under way: what its link lets through at once.
pub const QUESTIONS_OF_A_PEER_MAX: usize = 64;

/// Absences and failures remembered: some megabytes.
pub const NEGATIVE_MAX: usize = 16_384;

/// How long an absence is remembered: as long as whoever is told of it may believe it, so that both together are seconds.
pub const NEGATIVE_TTL: Duration = Duration::from_secs(crate::settings::NEGATIVE_TTL_SECS as u64);

/// How long it is remembered that a question could not be answered: long enough that a name that everybody asks for costs little, short
/// enough that nobody waits for what is repaired.
pub const FAILURE_TTL: Duration = Duration::from_secs(1);

/// How long a record is taken for the newest after it could not be seen whether it is, in seconds.
pub const UNSURE_TTL_SECS: u32 = 5;

/// Copies of records, floors and notes of what is the newest, in memory.
pub const COPIES_MAX: usize = 131_072;

/// Bytes of all of them.
pub const COPIES_BYTES_MAX: usize = 64 << 20;

/// What an entry takes beside its record's bytes: the record taken apart, its key, and its place in the table.
pub const COPY_OVERHEAD_BYTES: usize = 768;
