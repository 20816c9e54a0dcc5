//! What a node of our own provider has just sent us: that it need not be sent back.
//!
//! Among providers a record does not go back to the name that it came from. Nodes of one provider have one name, and each must be able to
//! bring to another what a third one sent, or what that third one had not passed on when it died would never arrive. So between them each
//! link remembers what came over it. To forget costs a record that the other side drops, and never a gap.

use crate::store::Held;
use dialtone_shared::UnixSecs;
use dialtone_shared::message::Value;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// What came of late over one link.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Keyed by chance: or somebody could make two records of which one keeps the other off the link.
    hasher: RandomState,
    /// By a hash of the record: the class, and the day until which it is kept, as they were said.
    heard: HashMap<u64, (u8, u64)>,
    order: VecDeque<u64>,
}

impl Echo {
    /// The other side has this.
    pub fn heard(&mut self, value: &Value) {
        let hash = self.hasher.hash_one(&value.record[..]);
        if self.heard.insert(hash, (value.class, value.keep_until.day())).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > ECHO_MAX {
            self.order.pop_front().map(|oldest| self.heard.remove(&oldest));
        }
    }

    /// Whether the other side has said all that we could tell it of what is held.
    pub fn has(&self, held: &Held) -> bool {
        let Some((class, day)) = self.heard.get(&self.hasher.hash_one(&held.record.bytes()[..])) else {
            return false;
        };
        let keep_until = held.record.record().expiry().unwrap_or(UnixSecs(u64::MAX)).min(held.keep_until);
        held.class as u8 <= *class && keep_until.day() <= *day
    }
}

/// Records remembered: of four times what may be under way at once. About half a megabyte for each of a few links.
const ECHO_MAX: usize = 8_192;
