//! What may be said in a status where several nodes promise under one key.
//!
//! A receipt of one node and a later status of another that knows less would prove a broken promise (see `dialtone_shared::proof`), although
//! nothing is lost and the record is only on its way. So a node says what all nodes hold together, as of a moment before it asked them,
//! or nothing.

use dialtone_shared::{Rank, UnixMicros};

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

/// What may be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// As of when.
    pub at: UnixMicros,
    /// The highest rank that any node holds.
    pub rank: Option<Rank>,
}

/// What may be signed, where we hold `ours` and began to look at `began`; `None`: nothing now, for a node does not say what it holds.
pub fn standing(began: UnixMicros, ours: Option<Rank>, others: &[Heard]) -> Option<Standing> {
    if others.contains(&Heard::Silent) {
        return None;
    }
    let held = others.iter().filter_map(|heard| match heard {
        Heard::Holds(rank) => Some(*rank),
        Heard::NothingNewer | Heard::Silent => None,
    });
    // Of two that differ in their digests alone neither proves anything against the other.
    let rank = ours.into_iter().chain(held).max_by_key(|rank| rank.order());
    let back = if others.is_empty() { 0 } else { CLOCKS_DIFFER_MICROS };
    let at = UnixMicros(began.0.saturating_sub(back));
    Some(Standing { at, rank })
}

/// The clocks of nodes may differ by so much, in microseconds: what one of them promised by then, all of them knew when they were asked.
const CLOCKS_DIFFER_MICROS: u64 = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(sequence: u64) -> Rank {
        Rank {
            epoch: 0,
            revoked: false,
            sequence: UnixMicros(sequence),
            digest: [0; 32],
        }
    }

    const NOW: UnixMicros = UnixMicros(1_000_000_000);

    #[test]
    fn a_node_says_what_all_of_them_hold_and_nothing_when_one_is_silent() {
        let said = |ours, others: &[Heard]| standing(NOW, ours, others).map(|standing| standing.rank);
        assert_eq!(said(None, &[]), Some(None));
        assert_eq!(said(None, &[Heard::NothingNewer, Heard::Holds(rank(7))]), Some(Some(rank(7))));
        assert_eq!(
            said(Some(rank(9)), &[Heard::NothingNewer, Heard::Holds(rank(7))]),
            Some(Some(rank(9)))
        );
        assert_eq!(said(Some(rank(9)), &[Heard::Silent, Heard::Holds(rank(7))]), None);
    }

    #[test]
    fn what_another_clock_may_have_promised_meanwhile_is_not_contradicted() {
        let at = |others: &[Heard]| standing(NOW, None, others).map(|standing| standing.at);
        assert_eq!(at(&[]), Some(NOW), "alone there is one clock");
        assert_eq!(at(&[Heard::NothingNewer]), Some(UnixMicros(NOW.0 - CLOCKS_DIFFER_MICROS)));
    }
}
