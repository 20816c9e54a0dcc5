//! What is compared of a record, and what it looks like under the key of one comparison.

use super::field::Element;
use crate::peering::agreement::Way;
use crate::peering::policy;
use crate::store::Held;
use dialtone_shared::message::Relationship;
use dialtone_shared::message::reconcile::Standing;
use dialtone_shared::{Name, Rank, UnixSecs};
use sha2::{Digest, Sha256};
use std::cmp::Ordering;

/// What two stores must agree in about one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// The name.
    pub name: Name,
    /// Which record of it.
    pub rank: Rank,
    /// Until which day since 1970 it is kept.
    pub keep_day: u64,
    /// Where it was learnt; 0 where that does not travel.
    pub class: u8,
}

/// The key of one comparison.
#[derive(Clone)]
pub struct SessionKey(Sha256);

/// An item under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keyed {
    /// Where it lies: the first bits of the name, as many as the grid has, and then bits of the tag.
    pub path: u64,
    /// Stands for the name.
    pub tag: Element,
    /// Stands for all of it.
    pub value: Element,
}

impl Item {
    /// What is compared of `held`; `None`: nothing, because one of the two may not have it, or nobody keeps it any longer.
    pub fn of(held: &Held, way: &Way, at: UnixSecs) -> Option<Self> {
        policy::sends(held, way, true, at).then(|| {
            let record = held.record.record();
            let keep_until = record.expiry().map_or(held.keep_until, |expiry| held.keep_until.min(expiry));
            Self {
                name: *held.record.name(),
                rank: *held.record.rank(),
                keep_day: keep_until.day(),
                class: if way.relationship == Relationship::Sibling {
                    held.class as u8
                } else {
                    0
                },
            }
        })
    }

    /// What is told of it.
    pub fn standing(&self) -> Standing {
        let mut digest = [0; 8];
        digest.copy_from_slice(&self.rank.digest[..8]);
        Standing {
            epoch: self.rank.epoch,
            revoked: self.rank.revoked,
            sequence: self.rank.sequence,
            digest,
            keep_day: self.keep_day,
            class: self.class,
        }
    }
}

/// Whether `one` is news to whoever holds `other`. Where only the digests differ, the larger bytes win, and nobody knows yet whose
/// those are: then each is news to the other.
pub fn is_news(one: &Standing, other: &Standing) -> bool {
    let order = |standing: &Standing| (standing.epoch, standing.revoked, standing.sequence);
    match order(one).cmp(&order(other)) {
        Ordering::Greater => true,
        Ordering::Less => false,
        Ordering::Equal => one.digest != other.digest || one.keep_day > other.keep_day || one.class > other.class,
    }
}

impl SessionKey {
    /// The key that both sides' nonces make.
    pub fn new(initiator: &[u8; 16], responder: &[u8; 16]) -> Self {
        let key = Sha256::digest([b"dialtone/reconcile/v1".as_slice(), initiator, responder].concat());
        // A block of its own, so that it is hashed once and not for every name.
        Self(Sha256::new_with_prefix(key).chain_update(key))
    }

    /// An item under this key, in a grid of so many bits.
    pub fn apply(&self, item: &Item, grid_bits: u8) -> Keyed {
        let name: [u8; 32] = self.0.clone().chain_update(item.name.as_bytes()).finalize().into();
        let tag = word(&name);
        // Each of the two is one block of the hash.
        let value = Sha256::new_with_prefix(&name[8..24])
            .chain_update(item.rank.digest)
            .chain_update(&item.keep_day.to_be_bytes()[2..])
            .chain_update([item.class])
            .finalize();
        let place = word(&item.name.as_bytes()[1..]);
        let name_bits = !(u64::MAX >> grid_bits);
        Keyed {
            path: place & name_bits | tag.reverse_bits() >> grid_bits,
            tag: Element::of_hash(tag),
            value: Element::of_hash(word(&value)),
        }
    }
}

/// The first eight bytes.
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey")
    }
}
