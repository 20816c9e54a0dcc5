//! Twins: two genuine records of a name with the same epoch, revoked and sequence, and different bytes. A store meets them when a put joins what is
//! held; one of the two wins as ever, and whoever listens hears of the pair: together they prove that the name's key said two things.

use super::join::Standing;
use super::{Held, Put};
use dialtone_shared::VerifiedRecord;
use std::sync::Arc;
use tokio::sync::broadcast;

/// A pair, in the order in which they met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Twins {
    /// What was held.
    pub held: VerifiedRecord,
    /// What was put.
    pub put: VerifiedRecord,
}

/// Tells whoever listens.
pub(super) type TwinsTold = broadcast::Sender<Arc<Twins>>;

/// What nobody fetches in time is dropped, oldest first. A pair takes a kilobyte at the usual size.
const PAIRS_WAITING_MAX: usize = 4_096;

/// For an engine that opens.
pub(super) fn channel() -> TwinsTold {
    broadcast::Sender::new(PAIRS_WAITING_MAX)
}

/// Whether a put is the twin of what is held, which must be asked before it takes its place.
pub(super) fn meets(held: Option<&Standing<'_>>, put: &Put) -> bool {
    let rank = put.record.rank();
    held.is_some_and(|held| held.rank.order() == rank.order() && held.rank.digest != rank.digest)
}

/// The pair that `put` makes with what is held.
pub(super) fn pair(held: &Held, put: &Put) -> Twins {
    Twins {
        held: held.record.clone(),
        put: put.record.clone(),
    }
}
