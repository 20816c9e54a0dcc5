//! The join: what becomes of a put, given what is held. Pure, and the same for every engine.

use super::{Class, Condition, Put};
use crate::planted::{self, Bug};
use dialtone_shared::{Rank, UnixSecs};
use std::cmp::Ordering;

/// What a put must be compared with: little enough to be read from the head of a stored row, without decoding the record.
pub(super) struct Standing<'a> {
    /// Its rank.
    pub rank: Rank,
    /// Its envelope, which decides where ranks differ in nothing but the digest.
    pub bytes: &'a [u8],
    /// Where it was learnt.
    pub class: Class,
    /// How long it is promised to be kept.
    pub keep_until: UnixSecs,
}

/// What to do with a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Keep it in the place of what is held.
    Store,
    /// Keep what is held, with these.
    Renew {
        /// The higher class of the two.
        class: Class,
        /// The later of the two.
        keep_until: UnixSecs,
    },
    /// Nothing to do.
    Same,
    /// What is held outranks it.
    Older,
    /// Its condition does not hold.
    ConditionFailed,
}

/// What becomes of `put` where `held` is held.
///
/// The condition comes first; then rank; at equal rank the higher class and the later keep-until, compared in whole days, win
/// each for itself: a join, so that the order in which puts arrive does not show.
pub(super) fn judge(held: Option<&Standing<'_>>, put: &Put) -> Verdict {
    let wanted = match put.condition {
        Condition::None => true,
        Condition::Absent => held.is_none(),
        Condition::Rank(rank) => held.is_some_and(|held| held.rank == rank),
    };
    if !wanted {
        return Verdict::ConditionFailed;
    }
    let Some(held) = held else { return Verdict::Store };
    let order = put.record.rank().order().cmp(&held.rank.order());
    match order.then_with(|| put.record.bytes()[..].cmp(held.bytes)) {
        Ordering::Greater if order.is_eq() && planted::is(Bug::NoTieBreak) => Verdict::Same,
        Ordering::Greater => Verdict::Store,
        Ordering::Less => Verdict::Older,
        Ordering::Equal if put.class > held.class || put.keep_until.day() > held.keep_until.day() => Verdict::Renew {
            class: put.class.max(held.class),
            keep_until: put.keep_until.max(held.keep_until),
        },
        Ordering::Equal => Verdict::Same,
    }
}
