//! What becomes of a pointer that a peer sends: as for records, cheap questions first, and before anything is kept.
//!
//! Nothing of a pointer is proved. It may make us ask somebody in vain, and nothing else: a quota of pointers, and that one whose keeper cannot
//! produce the record is dropped, are what bounds that.

use super::intake::{self, Terms};
use super::{alike, policy};
use crate::planted::{self, Bug};
use crate::store::{Held, Pointer, Put};
use dialtone_shared::limits::{FUTURE_PEER_SECS, LIFETIME_SECS_MAX};
use dialtone_shared::message::{self, Mode};
use dialtone_shared::{Name, UnixSecs};

/// What to do with a pointer, given what is held of its name.
#[derive(Clone, PartialEq, Debug)]
pub enum Pointed {
    /// Keep it, unless as much is known already.
    Keep(Pointer),
    /// It was offered, and the record itself is wanted.
    Want(Name),
    /// It points to what is held, and what it says of that is new: as if the record itself had come.
    Renew(Box<Put>),
    /// It points to what is held, or to ourselves.
    Same,
    /// Nobody keeps the record any longer, or what is held outranks it.
    Older,
    /// It points to the future. It is not kept: where it would lead the keeper tells too, when it is asked.
    Early,
    /// It is of a new name, and there is no room for one.
    Limited,
    /// Not wanted, or of a record that cannot be.
    Refused,
}

/// What to do with `pointer`, given what is held of its name; `known`: a pointer of it stands.
pub fn judge(terms: &Terms, pointer: &message::Pointer, held: Option<&Held>, known: bool, now: UnixSecs) -> Pointed {
    let longest = pointer.sequence.secs().plus(LIFETIME_SECS_MAX);
    let shut_out = terms.filter.shuts_out(&pointer.name);
    if terms.accepts < Mode::Pointers || shut_out || pointer.expiry > longest || pointer.expiry <= pointer.sequence.secs() {
        return Pointed::Refused;
    }
    let keeper = pointer.keeper.unwrap_or(terms.peer);
    let kept = Pointer {
        name: pointer.name,
        epoch: pointer.epoch,
        sequence: pointer.sequence,
        digest: pointer.digest,
        expiry: pointer.expiry,
        class: policy::class_of(terms.relationship, pointer.class),
        keep_until: pointer.keep_until.min(pointer.expiry),
        keeper,
        from: terms.peer,
        joined: false,
        tag: pointer.tag,
    };
    if kept.forget_at() <= now {
        return Pointed::Older;
    }
    if let Some(held) = held {
        let rank = held.record.rank();
        // What points back to us tells us nothing of where else it is: it neither makes it a customer's nor renews it.
        if kept.is_of(rank) && keeper != terms.own {
            let news = kept.class > held.class || kept.keep_until.day() > held.keep_until.day();
            return if news {
                let put = intake::put(terms, held.record.clone(), kept.class, kept.keep_until);
                // The keeper has it; whoever tells of it need not, and gets it if that is agreed.
                let from = Some(keeper);
                Pointed::Renew(Box::new(Put { from, ..put }))
            } else {
                Pointed::Same
            };
        }
        if !kept.outranks(rank) && keeper != terms.own {
            return Pointed::Older;
        }
    }
    if keeper == terms.own {
        return Pointed::Same;
    }
    if held.is_none() && !known && !terms.takes_new {
        return Pointed::Limited;
    }
    if terms.accepts == Mode::Values && terms.offered {
        if planted::is(Bug::OffersTaken) {
            return Pointed::Same;
        }
        return Pointed::Want(pointer.name);
    }
    if pointer.sequence.secs() > now.plus(FUTURE_PEER_SECS) {
        return Pointed::Early;
    }
    Pointed::Keep(kept)
}

impl intake::Checked {
    /// Files what becomes of a pointer: see [`judge`].
    pub fn point(&mut self, terms: &Terms, pointer: &message::Pointer, held: Option<&Held>, known: bool, now: UnixSecs) {
        match judge(terms, pointer, held, known, now) {
            Pointed::Want(name) => self.wants.push(name),
            Pointed::Keep(pointer) => self.pointers.push(pointer),
            Pointed::Renew(put) => self.renew(*put, message::Path::default()),
            Pointed::Same => {
                self.counts.same += 1;
                self.alike.extend(alike::offered(terms, pointer, held));
            }
            Pointed::Older => self.counts.older += 1,
            Pointed::Early => self.counts.deferred += 1,
            Pointed::Limited => self.counts.limited += 1,
            Pointed::Refused => self.counts.refused += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::Filter;
    use crate::store::Class;
    use dialtone_shared::message::Relationship;
    use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);

    fn terms(relationship: Relationship) -> Terms {
        Terms {
            own: Name::key_set([1; 32]),
            peer: Name::key_set([2; 32]),
            relationship,
            takes_new: true,
            accepts: Mode::Pointers,
            filter: Filter::default(),
            alone: true,
            offered: false,
        }
    }

    /// What is held as learnt from an upstream, and a pointer to the same that a peer tells.
    fn told(keeper: Option<Name>) -> (Held, message::Pointer) {
        let secret = SecretKey::from_seed(&[7; 32]);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: NOW.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: NOW.plus(86_400),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        let record = SignedRecord::sign(record, &secret).unwrap().verify().unwrap();
        let rank = *record.rank();
        let pointer = message::Pointer {
            name: *record.name(),
            epoch: rank.epoch,
            sequence: rank.sequence,
            digest: *rank.digest.first_chunk().unwrap(),
            expiry: NOW.plus(86_400),
            class: 3,
            keep_until: NOW.plus(86_400),
            keeper,
            tag: None,
        };
        let held = Held {
            record,
            class: Class::Upstream,
            keep_until: NOW.plus(86_400),
            from: Some(Name::key_set([3; 32])),
            account: None,
        };
        (held, pointer)
    }

    #[test]
    fn what_points_back_to_us_makes_nothing_a_customers() {
        let terms = terms(Relationship::Customer);
        let (held, pointer) = told(Some(terms.own));
        assert_eq!(judge(&terms, &pointer, Some(&held), false, NOW), Pointed::Same);
        assert_eq!(judge(&terms, &pointer, None, false, NOW), Pointed::Same);
        // What a customer has itself, or from its own, is a customer's: others may hear of it.
        let (held, pointer) = told(None);
        let Pointed::Renew(put) = judge(&terms, &pointer, Some(&held), false, NOW) else {
            panic!("it goes on to more")
        };
        assert_eq!(put.class, Class::Customer);
    }
}
