//! Whom a record is passed on to, and what it is here once it has been: the whole of the routing policy.

use crate::planted::{self, Bug};
use crate::store::{Class, Held};
use dialtone_shared::message::Relationship;
use dialtone_shared::{Name, UnixSecs};

/// Where a record that this peer sends was learnt, from our side. What the peer says of it does not count: only that
/// the peer is what it is to us.
pub fn class_from(relationship: Relationship) -> Class {
    match relationship {
        // What a sibling says of where it learnt a record does count: see `class_of`.
        Relationship::Customer | Relationship::Sibling => Class::Customer,
        Relationship::Mutual | Relationship::Peer => Class::Peer,
        Relationship::Upstream => Class::Upstream,
    }
}

/// Whether records of `class` go to a peer that is this to us: from customers to all, from others to customers only
/// (valley-free, as between autonomous systems); mutual peers pass everything on.
pub fn exports(relationship: Relationship, class: Class) -> bool {
    match relationship {
        Relationship::Mutual | Relationship::Customer | Relationship::Sibling => true,
        Relationship::Upstream | Relationship::Peer => class == Class::Customer || planted::is(Bug::Leak),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Condition, MemoryStore, Put, RecordStore};
    use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, Ttl, VerifiedRecord};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);
    const DAY: u64 = 86_400;

    fn record(scope: Vec<Name>) -> VerifiedRecord {
        let secret = SecretKey::from_seed(&[1; 32]);
        let body = Body::Live {
            expiry: NOW.plus(30 * DAY),
            ttl: Ttl(60),
            bindings: Vec::new(),
        };
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: NOW.micros(),
            scope,
            body,
        };
        SignedRecord::sign(record, &secret).unwrap().verify().unwrap()
    }

    fn held(scope: Vec<Name>, from: Option<Name>) -> Held {
        Held {
            record: record(scope),
            class: Class::Customer,
            keep_until: NOW.plus(DAY),
            from,
            account: None,
        }
    }

    #[test]
    fn routes_are_free_of_valleys() {
        use Relationship::{Customer, Mutual, Peer, Upstream};
        // From whom it was learnt, and to whom it goes.
        for (from, to, goes) in [
            (Customer, Customer, true),
            (Customer, Peer, true),
            (Customer, Upstream, true),
            (Peer, Customer, true),
            (Peer, Peer, false),
            (Peer, Upstream, false),
            (Upstream, Customer, true),
            (Upstream, Peer, false),
            (Upstream, Upstream, false),
            (Mutual, Mutual, true),
            (Mutual, Customer, true),
            (Upstream, Mutual, true),
            (Peer, Mutual, true),
        ] {
            assert_eq!(exports(to, class_from(from)), goes, "from {from} to {to}");
        }
    }

    #[test]
    fn a_record_goes_to_whom_its_scope_names_and_not_back_to_whom_it_came_from() {
        let (peer, other) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let mutual = Relationship::Mutual;
        assert!(sends(&held(vec![], None), &peer, mutual, false, NOW));
        assert!(sends(&held(vec![peer], Some(other)), &peer, mutual, false, NOW));
        assert!(!sends(&held(vec![other], None), &peer, mutual, false, NOW));
        assert!(
            !sends(&held(vec![other], None), &peer, mutual, true, NOW),
            "not even to an empty store"
        );
        assert!(!sends(&held(vec![], Some(peer)), &peer, mutual, false, NOW));
        assert!(sends(&held(vec![], Some(peer)), &peer, mutual, true, NOW));
        assert!(
            !sends(&held(vec![], None), &peer, mutual, false, NOW.plus(2 * DAY)),
            "its lease is over"
        );
    }

    #[tokio::test]
    async fn what_joins_a_class_and_a_lease_from_two_sides_is_news_to_both() {
        let (customer, peer) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let store = MemoryStore::new();
        let put = |class, days: u64, from| Put {
            record: record(vec![]),
            class,
            keep_until: NOW.plus(days * DAY),
            from: Some(from),
            account: None,
            condition: Condition::None,
        };
        store.put(vec![put(Class::Peer, 20, peer)]).await.unwrap();
        store.put(vec![put(Class::Customer, 10, customer)]).await.unwrap();
        let held = store.get(record(vec![]).name()).await.unwrap().unwrap();
        assert_eq!((held.class, held.keep_until), (Class::Customer, NOW.plus(20 * DAY)));
        assert!(
            sends(&held, &customer, Relationship::Customer, false, NOW),
            "it has not heard of the longer lease"
        );
        assert!(sends(&held, &peer, Relationship::Peer, false, NOW));
    }
}
