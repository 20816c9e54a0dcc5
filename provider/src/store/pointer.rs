//! Pointers: what peers say is held elsewhere, and what becomes of a pointer given what is known. Hints, never records.
//!
//! A pointer tells that some provider, its *keeper*, promises to keep a record of this rank. It is believed only as far as asking goes: what
//! the keeper then hands out is verified as any record is, and a pointer never displaces one that was. A store keeps at most one pointer of a
//! name, and only while it outranks what is held of that name.

use super::{Class, Condition, Cursor, Held, Put};
use dialtone_shared::hip::Hit;
use dialtone_shared::name::Scheme;
use dialtone_shared::{Name, Rank, UnixMicros, UnixSecs};
use std::cmp::Ordering;

/// What a peer says is held elsewhere. Never of a revocation: those travel whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// The name of the record.
    pub name: Name,
    /// The rank of the record: its key epoch,
    pub epoch: u32,
    /// its sequence,
    pub sequence: UnixMicros,
    /// and the first 16 bytes of its digest.
    pub digest: [u8; 16],
    /// When the record expires.
    pub expiry: UnixSecs,
    /// Where it was learnt; decides whom it is passed on to.
    pub class: Class,
    /// How long the keeper promises to keep the record.
    pub keep_until: UnixSecs,
    /// Who keeps the record.
    pub keeper: Name,
    /// The peer who told of it. A feed does not send a change back to where it came from.
    pub from: Name,
    /// The class is from one peer and the keep-until from another: then neither has heard of both, and it is told to both.
    pub joined: bool,
    /// The Host Identity Tag of the record's key, as it was told; `None`: it was not, or there is no key.
    pub tag: Option<Hit>,
}

/// One entry of the hearsay lane of the change log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointerChange {
    /// Its position.
    pub cursor: Cursor,
    /// What stands since.
    pub pointer: Pointer,
}

/// What became of a pointer. `Same` and `Older` changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PointerOutcome {
    /// It outranks what is held and what was pointed to, or tells of a higher class or a later keep-until (in whole days).
    Kept,
    /// The record that it leads to is held, and has the higher class or the later keep-until since.
    Renewed,
    /// The record, or as good a pointer to it, is here already.
    Same,
    /// What is held or pointed to outranks it.
    Older,
}

impl Pointer {
    /// Whether it may lead to more than a record of this rank. Where the ranks differ in nothing but the digest it may: which of two such
    /// records wins is decided by their bytes.
    pub fn outranks(&self, held: &Rank) -> bool {
        match (self.epoch, false, self.sequence).cmp(&held.order()) {
            Ordering::Greater => true,
            Ordering::Equal => !self.is_of(held),
            Ordering::Less => false,
        }
    }

    /// Whether it points to the record of this rank.
    pub fn is_of(&self, rank: &Rank) -> bool {
        (self.epoch, false, self.sequence) == rank.order() && rank.digest.starts_with(&self.digest)
    }

    /// A record comes in its place: what was told with the pointer is told of the record too, if it is the one that the pointer leads to. So it does
    /// not show which of the two came first.
    pub(super) fn leaves(&self, held: &mut Held) {
        let news = self.class > held.class || self.keep_until.day() > held.keep_until.day();
        if news && self.is_of(held.record.rank()) {
            held.class = held.class.max(self.class);
            held.keep_until = held.keep_until.max(self.keep_until);
            // Its keeper has it; whoever told of it need not, and is told.
            held.from = Some(self.keeper);
        }
    }

    /// It comes and what it leads to is held already: what it tells that is new, as a put of that record. It may have set out when nothing was held, so
    /// only the store sees that.
    pub(super) fn renews(&self, held: &Held) -> Option<Put> {
        let mut told = held.clone();
        self.leaves(&mut told);
        (told != *held).then_some(Put {
            record: told.record,
            class: told.class,
            keep_until: told.keep_until,
            from: told.from,
            account: None,
            condition: Condition::None,
        })
    }

    /// When it is forgotten: nobody promises to keep the record any longer, or it would not be served.
    pub fn forget_at(&self) -> UnixSecs {
        self.keep_until.min(self.expiry)
    }

    /// Whether the record may have a tag that was not told.
    pub fn hides_its_tag(&self) -> bool {
        self.tag.is_none() && has_key(&self.name)
    }

    /// The order of pointers of one name: of the rank as far as they tell it, so that which came first does not show.
    fn order(&self) -> (u32, UnixMicros, [u8; 16]) {
        (self.epoch, self.sequence, self.digest)
    }
}

/// Whether records of this name are signed with a key, whose tag they may be found by.
pub fn has_key(name: &Name) -> bool {
    name.scheme() != Scheme::Content
}

/// What to do with a pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Keep this in the place of what stands.
    Keep(Pointer),
    /// Nothing to do.
    Same,
    /// What is known outranks it.
    Older,
}

/// What becomes of `new` where a record of the rank `held` is held and `standing` stands.
///
/// At equal rank the higher class and the later keep-until, in whole days, win each for itself, as they do for records; the keeper is
/// the one who keeps it longer.
pub(super) fn judge(held: Option<&Rank>, standing: Option<&Pointer>, new: Pointer) -> Verdict {
    if let Some(held) = held.filter(|held| !new.outranks(held)) {
        return if new.is_of(held) { Verdict::Same } else { Verdict::Older };
    }
    let Some(standing) = standing else { return Verdict::Keep(new) };
    match new.order().cmp(&standing.order()) {
        Ordering::Greater => Verdict::Keep(new),
        Ordering::Less => Verdict::Older,
        Ordering::Equal => {
            // Both are of one record, and so of one tag: of two the larger, so that which came first does not show.
            let tag = new.tag.max(standing.tag);
            let class = new.class.cmp(&standing.class);
            let keep = new.keep_until.day().cmp(&standing.keep_until.day());
            match (class, keep) {
                (Ordering::Less | Ordering::Equal, Ordering::Less | Ordering::Equal) if tag == standing.tag => Verdict::Same,
                (Ordering::Less | Ordering::Equal, Ordering::Less | Ordering::Equal) => Verdict::Keep(Pointer { tag, ..standing.clone() }),
                (Ordering::Greater | Ordering::Equal, Ordering::Greater | Ordering::Equal) => Verdict::Keep(Pointer { tag, ..new }),
                (Ordering::Less, Ordering::Greater) => Verdict::Keep(Pointer {
                    class: standing.class,
                    joined: true,
                    tag,
                    ..new
                }),
                (Ordering::Greater, Ordering::Less) => Verdict::Keep(Pointer {
                    class: new.class,
                    joined: true,
                    tag,
                    ..standing.clone()
                }),
            }
        }
    }
}
