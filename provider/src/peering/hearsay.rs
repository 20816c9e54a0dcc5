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
                Pointed::Renew(Box::new(intake::put(terms, held.record.clone(), kept.class, kept.keep_until)))
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
