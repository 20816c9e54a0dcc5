//! Whom a record is passed on to, and what it is here once it has been: the whole of the routing policy.

use crate::store::{Class, Held};
use dialtone_shared::message::Relationship;
use dialtone_shared::{Name, UnixSecs};

/// Where a record that this peer sends was learnt, from our side. What the peer says of it does not count: only that
/// the peer is what it is to us.
pub fn class_from(relationship: Relationship) -> Class {
    match relationship {
        Relationship::Customer => Class::Customer,
        Relationship::Mutual | Relationship::Peer => Class::Peer,
        Relationship::Upstream => Class::Upstream,
    }
}

/// Whether records of `class` go to a peer that is this to us: from customers to all, from others to customers only
/// (valley-free, as between autonomous systems); mutual peers pass everything on.
pub fn exports(relationship: Relationship, class: Class) -> bool {
    match relationship {
        Relationship::Mutual | Relationship::Customer => true,
        Relationship::Upstream | Relationship::Peer => class == Class::Customer,
    }
}

/// Whether what is held is sent to `peer`: within the record's scope, by the relationship, not back to where it came from,
/// and not what may be forgotten already. `everything`: to a store that has nothing yet, it is sent back too.
pub fn sends(held: &Held, peer: &Name, relationship: Relationship, everything: bool, now: UnixSecs) -> bool {
    held.record.record().in_scope(peer)
        && exports(relationship, held.class)
        && (everything || held.from != Some(*peer))
        && held.forget_at().is_none_or(|at| at > now)
}
