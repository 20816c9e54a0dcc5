//! What may be said in a status where several nodes promise under one key.
//!
//! A receipt of one node and a later status of another that knows less would prove a broken promise (see `dialtone_shared::proof`), although
//! nothing is lost and the record is only on its way. So a node notes the time, lets a moment pass, asks all others, and says what they hold
//! together as of the time that it noted; or nothing.

use dialtone_shared::Rank;
use std::time::Duration;

/// What another node of this provider says that it holds of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// A record of this rank.
    Holds(Rank),
    /// Nothing, or nothing newer than it was told of.
    NothingNewer,
    /// It did not say, or cannot be asked.
    Silent,
}

/// The highest rank that any node holds, where we hold `ours`; `None`: nothing may be signed now, for a node does not say what it holds.
///
/// It may be signed as of [`CLOCKS_DIFFER`] before all of them were looked into.
pub fn standing(ours: Option<Rank>, others: &[Heard]) -> Option<Option<Rank>> {
    if others.contains(&Heard::Silent) {
        return None;
    }
    let held = others.iter().filter_map(|heard| match heard {
        Heard::Holds(rank) => Some(*rank),
        Heard::NothingNewer | Heard::Silent => None,
    });
    // Of two that differ in their digests alone neither proves anything against the other.
    Some(ours.into_iter().chain(held).max_by_key(|rank| rank.order()))
}

/// The clocks of nodes may differ by so much: what any of them promised before a time, all that are looked into so much later hold.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::UnixMicros;

    fn rank(sequence: u64) -> Rank {
        Rank {
            epoch: 0,
            revoked: false,
            sequence: UnixMicros(sequence),
            digest: [0; 32],
        }
    }

    #[test]
    fn a_node_says_what_all_of_them_hold_and_nothing_when_one_is_silent() {
        assert_eq!(standing(None, &[]), Some(None));
        assert_eq!(standing(None, &[Heard::NothingNewer, Heard::Holds(rank(7))]), Some(Some(rank(7))));
        assert_eq!(
            standing(Some(rank(9)), &[Heard::NothingNewer, Heard::Holds(rank(7))]),
            Some(Some(rank(9)))
        );
        assert_eq!(standing(Some(rank(9)), &[Heard::Silent, Heard::Holds(rank(7))]), None);
    }
}
