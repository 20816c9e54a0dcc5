//! Records from the future: genuine, but ahead of our clock by more than the tolerance. They are neither refused nor skipped,
//! for it may be our clock that is wrong: they are kept aside, durably, and put when their time comes.
//!
//! ```text
//! key    "deferred/" [peer 33 bytes] "/" [due, seconds, u64 big-endian] [SHA-256 of the record]
//! value  [keep-until, record, class]                                      (CBOR array; older ones end before the class)
//! ```

use super::limits::DEFERRED_MAX;
use super::policy;
use crate::store::{Class, Condition, Put};
use dialtone_shared::cbor::{Reader, Writer};
use dialtone_shared::limits::FUTURE_PEER_SECS;
use dialtone_shared::message::Relationship;
use dialtone_shared::{Name, SignedRecord, UnixSecs, VerifiedRecord};

/// A record that is kept aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deferred {
    /// Where it was learnt, from our side.
    pub class: Class,
    /// How long the sender keeps it.
    pub keep_until: UnixSecs,
    /// The record.
    pub record: VerifiedRecord,
}

/// More records from the future than are kept aside: the two clocks differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("sent more than {DEFERRED_MAX} records from the future: one of the two clocks is wrong")]
pub struct TooMany;

impl Deferred {
    /// The note to keep, of what `peer` sent.
    pub fn note(&self, peer: &Name) -> Note {
        let due = self.record.record().sequence.secs().0.saturating_sub(FUTURE_PEER_SECS);
        let mut key = keys(peer);
        key.extend(due.to_be_bytes());
        key.extend(self.record.rank().digest);
        let mut w = Writer::new();
        w.array(3)
            .uint(self.keep_until.0)
            .bytes(self.record.bytes())
            .uint(self.class as u64);
        (key, Some(w.into_bytes()))
    }
}

/// A note to keep: key and value.
pub type Note = (Vec<u8>, Option<Vec<u8>>);

/// Whether `new` notes may be kept beside those that are `kept` of the same peer; one that is kept already counts once.
///
/// # Errors
/// [`TooMany`].
pub fn fits(kept: &[(Vec<u8>, Vec<u8>)], new: &[Note]) -> Result<(), TooMany> {
    let fresh = new.iter().filter(|(key, _)| !kept.iter().any(|(other, _)| other == key));
    if kept.len() + fresh.count() > DEFERRED_MAX {
        Err(TooMany)
    } else {
        Ok(())
    }
}

/// How the keys of everything that `peer` sent start; in the order in which it comes due.
pub fn keys(peer: &Name) -> Vec<u8> {
    [b"deferred/", &peer.as_bytes()[..], b"/"].concat()
}

/// When the note of this key is due; `None`: it is none of ours.
pub fn due(key: &[u8]) -> Option<UnixSecs> {
    let (head, _digest) = key.split_last_chunk::<32>()?;
    let (_, due) = head.split_last_chunk::<8>()?;
    Some(UnixSecs(u64::from_be_bytes(*due)))
}

/// What to put of a note that is due; `None`: it does not read back, and is only to be removed.
///
/// It counts as put here and not as from the peer: the peer's store may be another by now, and lack it.
pub fn put(value: &[u8], relationship: Relationship) -> Option<Put> {
    let mut r = Reader::new(value);
    let fields = r.array().ok()?;
    let keep_until = UnixSecs(r.uint().ok()?);
    let signed = SignedRecord::decode(bytes::Bytes::copy_from_slice(r.bytes().ok()?)).ok()?;
    let class = match (fields, relationship) {
        (3, Relationship::Sibling) => policy::class_of(relationship, u8::try_from(r.uint().ok()?).ok()?),
        (2 | 3, _) => policy::class_from(relationship),
        _ => return None,
    };
    Some(Put {
        record: signed.verify().ok()?,
        class,
        keep_until,
        from: None,
        account: None,
        condition: Condition::None,
    })
}
