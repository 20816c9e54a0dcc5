//! What is counted of asking: for each peer, and in all.

use dialtone_shared::Name;
use std::collections::BTreeMap;

/// Counts, from the start of the process on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// For each peer.
    pub peers: BTreeMap<Name, PeerTally>,
    /// Questions that peers were asked for.
    pub questions: u64,
    /// Questions that joined one under way.
    pub coalesced: u64,
    /// Gets answered by a copy of a record that a peer gave.
    pub copy_hits: u64,
    /// Gets answered by remembering what was not found.
    pub negative_hits: u64,
    /// Pointers dropped since whoever was said to keep the record did not have it.
    pub pointers_dropped: u64,
    /// Questions that ended without anything certain.
    pub unknown: u64,
    /// Questions turned away since too many were under way.
    pub turned_away: u64,
}

/// Counts of one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerTally {
    /// Times it was asked.
    pub asked: u64,
    /// Of these, because another was slow.
    pub hedged: u64,
    /// Answers that came.
    pub answered: u64,
    /// Of these, records.
    pub hits: u64,
    /// Times that its digest had a name which it did not have.
    pub false_positives: u64,
    /// Answers that did not come, or said nothing.
    pub failed: u64,
    /// Answers that were not so: no record of the name, or older than what it was told of.
    pub wrong: u64,
    /// Its own questions that were answered.
    pub served: u64,
    /// Of these, with a record.
    pub served_hits: u64,
    /// Its own questions that were refused: too many, or not agreed.
    pub refused: u64,
}

impl Tally {
    /// The counts of `peer`.
    pub fn of(&mut self, peer: &Name) -> &mut PeerTally {
        self.peers.entry(*peer).or_default()
    }
}
