//! Whom a record is passed on to, and what it is here once it has been: the whole of the routing policy.

use super::agreement::Way;
use crate::planted::{self, Bug};
use crate::store::{Class, Held, Pointer};
use dialtone_shared::message::{Mode, Relationship};
use dialtone_shared::{Name, Record, SignedRecord, UnixSecs};

/// Where a record that this peer sends was learnt, from our side. What the peer says of it does not count: only that
/// the peer is what it is to us. Unless it is another node of this provider, which learnt it for us all: `said` is what it says.
pub fn class_of(relationship: Relationship, said: u8) -> Class {
    match (relationship, said) {
        (Relationship::Sibling, 1) => Class::Upstream,
        (Relationship::Sibling, 2) => Class::Peer,
        (Relationship::Sibling | Relationship::Mutual | Relationship::Customer | Relationship::Upstream | Relationship::Peer, _) => {
            class_from(relationship)
        }
    }
}

/// Where a record may come from that is learnt from who is this to us: the highest class that it may have.
pub fn class_from(relationship: Relationship) -> Class {
    match relationship {
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

/// Whether what is held is sent that way, in whatever form: within the record's scope, past the filter, by the relationship, not back to where
/// it came from, and not what may be forgotten already. `everything`: to a store that has nothing yet, it is sent back too. Between nodes of
/// one provider, who have one name, it does not count where it came from.
pub fn sends(held: &Held, way: &Way, everything: bool, now: UnixSecs) -> bool {
    passes(held.record.name(), held.record.record(), way)
        && exports(way.relationship, held.class)
        && (everything || way.relationship == Relationship::Sibling || held.from != Some(way.peer))
        && held.forget_at().is_none_or(|at| at > now)
}

/// Whether a record may go that way, or come from there, at all: it is within scope, and the filter lets it pass.
pub fn passes(name: &Name, record: &Record, way: &Way) -> bool {
    record.in_scope(&way.peer) && way.filter.passes(name, !record.scope.is_empty())
}

/// Whether a pointer is told that way: past the filter, by the relationship, not back to where it came from nor to the one it points to, and
/// not what nobody promises to keep any longer. `everything`, and siblings: as for [`sends`].
pub fn tells(pointer: &Pointer, way: &Way, everything: bool, now: UnixSecs) -> bool {
    way.filter.passes(&pointer.name, false)
        && exports(way.relationship, pointer.class)
        && pointer.keeper != way.peer
        && (everything || pointer.joined || way.relationship == Relationship::Sibling || pointer.from != way.peer)
        && pointer.forget_at() > now
}

/// In what form something is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The record itself.
    Value,
    /// Where it is.
    Pointer,
    /// That something of its name is there.
    Mention,
    /// Not at all.
    Nothing,
}

/// In what form what is held goes over a link of this mode.
///
/// Revocations and whatever reveals a later key go by value on every link: they are what keeps a stolen key from coming back to life. So does
/// what is for some providers only where pointers are pushed: a pointer does not say for whom it is, and whoever has one passes it on. What has
/// expired is passed on by value alone, as a floor: nobody would find anything by a hint at it.
pub fn form(held: &Held, mode: Mode, now: UnixSecs) -> Form {
    let (rank, record) = (held.record.rank(), held.record.record());
    if rank.revoked || rank.epoch > 0 {
        return Form::Value;
    }
    let expired = held.is_stale(now);
    match mode {
        Mode::Values => Form::Value,
        Mode::None => Form::Nothing,
        Mode::Pointers | Mode::Digest if expired => Form::Nothing,
        Mode::Pointers if !record.scope.is_empty() => Form::Value,
        Mode::Pointers => Form::Pointer,
        Mode::Digest => Form::Mention,
    }
}

/// Whether a digest for this peer counts what is held: whatever it may ask us for, also what it once sent, for it may have lost that.
pub fn in_digest(held: &Held, way: &Way, now: UnixSecs) -> bool {
    sends(held, way, true, now) && form(held, Mode::Digest, now) != Form::Nothing && !held.record.rank().revoked
}

/// In what form a pointer goes over a link of this mode.
pub fn form_of_pointer(mode: Mode) -> Form {
    match mode {
        Mode::Values | Mode::Pointers => Form::Pointer,
        Mode::Digest => Form::Mention,
        Mode::None => Form::Nothing,
    }
}

/// Whether a value is taken where this is the most that is accepted: the other side of [`form`], but for what has expired.
pub fn takes(record: &SignedRecord, accepts: Mode) -> bool {
    let rank = record.rank();
    match accepts {
        Mode::Values => true,
        Mode::Pointers => rank.revoked || rank.epoch > 0 || !record.record().scope.is_empty(),
        Mode::None | Mode::Digest => rank.revoked || rank.epoch > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::{Agreement, Filter};
    use crate::store::{Condition, MemoryStore, Put, RecordStore};
    use dialtone_shared::{Body, Genesis, SecretKey, Ttl, VerifiedRecord};

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

    fn to(peer: Name, relationship: Relationship) -> Way {
        Way {
            relationship,
            ..Agreement::mutual(peer, Vec::new()).way()
        }
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
    fn what_another_node_of_this_provider_brings_has_the_class_that_it_was_learnt_in() {
        use Relationship::{Customer, Mutual, Peer, Sibling, Upstream};
        for class in [Class::Customer, Class::Peer, Class::Upstream] {
            assert_eq!(class_of(Sibling, class as u8), class);
            for to in [Customer, Peer, Upstream, Mutual, Sibling] {
                assert_eq!(
                    exports(to, class_of(Sibling, class as u8)),
                    exports(to, class),
                    "whichever node exports it"
                );
            }
        }
        for other in [Customer, Peer, Upstream, Mutual] {
            assert_eq!(
                class_of(other, Class::Customer as u8),
                class_from(other),
                "others do not say what they are to us"
            );
        }
    }

    #[test]
    fn what_one_node_sent_goes_on_to_another_of_the_same_name() {
        let own = Name::key_set([1; 32]);
        assert!(sends(&held(vec![], Some(own)), &to(own, Relationship::Sibling), false, NOW));
        assert!(!sends(&held(vec![], Some(own)), &to(own, Relationship::Mutual), false, NOW));
    }

    #[test]
    fn a_record_goes_to_whom_its_scope_names_and_not_back_to_whom_it_came_from() {
        let (peer, other) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let way = to(peer, Relationship::Mutual);
        assert!(sends(&held(vec![], None), &way, false, NOW));
        assert!(sends(&held(vec![peer], Some(other)), &way, false, NOW));
        assert!(!sends(&held(vec![other], None), &way, false, NOW));
        assert!(!sends(&held(vec![other], None), &way, true, NOW), "not even to an empty store");
        assert!(!sends(&held(vec![], Some(peer)), &way, false, NOW));
        assert!(sends(&held(vec![], Some(peer)), &way, true, NOW));
        assert!(!sends(&held(vec![], None), &way, false, NOW.plus(2 * DAY)), "its lease is over");
    }

    #[test]
    fn what_the_filter_shuts_out_goes_in_no_form_not_even_revoked() {
        let (peer, of_held) = (Name::key_set([1; 32]), *held(vec![], None).record.name());
        let filter = |only: &[Name], except: &[Name], scoped| {
            let set = |names: &[Name]| names.iter().copied().collect();
            Filter::new(set(only), set(except), scoped)
        };
        let pointer = Pointer {
            name: of_held,
            epoch: 0,
            sequence: NOW.micros(),
            digest: [0; 16],
            expiry: NOW.plus(9 * DAY),
            class: Class::Customer,
            keep_until: NOW.plus(DAY),
            keeper: Name::key_set([3; 32]),
            from: Name::key_set([4; 32]),
            joined: false,
            tag: None,
        };
        let other = Name::key_set([9; 32]);
        for (filter, plain, scoped) in [
            (filter(&[], &[], true), true, true),
            (filter(&[of_held], &[other], true), true, true),
            (filter(&[], &[], false), true, false),
            (filter(&[], &[of_held], true), false, false),
            (filter(&[other], &[], true), false, false),
            (filter(&[of_held], &[of_held], true), false, false),
        ] {
            let way = Way {
                filter,
                ..to(peer, Relationship::Mutual)
            };
            assert_eq!(sends(&held(vec![], None), &way, true, NOW), plain, "{way:?}");
            assert_eq!(in_digest(&held(vec![], None), &way, NOW), plain, "{way:?}");
            assert_eq!(sends(&held(vec![peer], None), &way, true, NOW), scoped, "{way:?}");
            assert_eq!(tells(&pointer, &way, true, NOW), plain, "{way:?}");
        }
    }

    #[test]
    fn revocations_and_later_keys_go_by_value_on_every_link() {
        let secret = SecretKey::from_seed(&[1; 32]);
        let revoked = Record {
            body: Body::Revoked,
            ..record(vec![]).record().clone()
        };
        let revoked = Held {
            record: SignedRecord::sign(revoked, &secret).unwrap().verify().unwrap(),
            ..held(vec![], None)
        };
        let (plain, scoped) = (held(vec![], None), held(vec![Name::key_set([1; 32])], None));
        let expired = NOW.plus(31 * DAY);
        for (mode, of_plain, of_scoped, of_expired) in [
            (Mode::Values, Form::Value, Form::Value, Form::Value),
            (Mode::Pointers, Form::Pointer, Form::Value, Form::Nothing),
            (Mode::Digest, Form::Mention, Form::Mention, Form::Nothing),
            (Mode::None, Form::Nothing, Form::Nothing, Form::Nothing),
        ] {
            assert_eq!(form(&revoked, mode, NOW), Form::Value, "{mode}");
            assert_eq!(form(&plain, mode, NOW), of_plain, "{mode}");
            assert_eq!(form(&scoped, mode, NOW), of_scoped, "{mode}, for some only");
            assert_eq!(form(&plain, mode, expired), of_expired, "{mode}, expired");
            // What one side sends by value the other takes.
            for held in [&revoked, &plain, &scoped] {
                let signed = SignedRecord::decode(held.record.bytes().clone()).unwrap();
                assert_eq!(takes(&signed, mode), form(held, mode, NOW) == Form::Value, "{mode}");
            }
        }
    }

    #[test]
    fn a_pointer_goes_neither_back_nor_to_whom_it_points_to() {
        let [teller, keeper, other] = [1, 2, 3].map(|n| Name::key_set([n; 32]));
        let pointer = |class, joined| Pointer {
            name: Name::key_set([9; 32]),
            epoch: 0,
            sequence: NOW.micros(),
            digest: [0; 16],
            expiry: NOW.plus(9 * DAY),
            class,
            keep_until: NOW.plus(DAY),
            keeper,
            from: teller,
            joined,
            tag: None,
        };
        let mutual = |peer| to(peer, Relationship::Mutual);
        let told = pointer(Class::Peer, false);
        assert!(tells(&told, &mutual(other), false, NOW));
        assert!(!tells(&told, &mutual(keeper), true, NOW));
        assert!(!tells(&told, &mutual(teller), false, NOW));
        assert!(tells(&told, &mutual(teller), true, NOW), "its store is new");
        assert!(
            tells(&pointer(Class::Peer, true), &mutual(teller), false, NOW),
            "half of it is news to it"
        );
        assert!(!tells(&told, &mutual(other), false, NOW.plus(DAY)));
        assert!(!tells(&told, &to(other, Relationship::Peer), false, NOW), "no valley");
        assert!(tells(&pointer(Class::Customer, false), &to(other, Relationship::Peer), false, NOW));
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
            sends(&held, &to(customer, Relationship::Customer), false, NOW),
            "it has not heard of the longer lease"
        );
        assert!(sends(&held, &to(peer, Relationship::Peer), false, NOW));
    }
}
