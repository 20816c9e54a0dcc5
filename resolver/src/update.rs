//! Compare-and-swap of a record: what is held is read, edited, and put only where it is still held; whoever came in between is heard first.
//!
//! ```text
//! reads ─▶ plan ─▶ sign ─▶ put at each, if what was read there is still held ─▶ judge ─▶ done
//!   ▲                                                                             │ somebody came in between
//!   └─────────────────────────────────────────────────────────────────────────────┘ at most ROUNDS_MAX times
//! ```
//!
//! At several providers each has a condition of its own. What somebody put at any of them meanwhile becomes the base of the next round, unless it
//! touches what is edited. What an earlier key signed is nobody's word any more: it is neither built upon nor waited for.

use crate::edit::{Edit, Says};
use crate::error::PutError;
use crate::publish::{PutIf, next_sequence};
use dialtone_shared::{Rank, UnixMicros, VerifiedRecord};
use std::cmp::Ordering;

/// An update under way.
#[derive(Debug)]
pub struct Update {
    edit: Edit,
    /// The key epoch that signs.
    epoch: u32,
    /// Whether somebody else's change of the same thing is overruled.
    insists: bool,
    rounds: usize,
    /// What the edit was made on top of so far.
    base: Option<VerifiedRecord>,
    /// What was put in an earlier round.
    written: Option<Rank>,
    /// The latest sequence that was told of.
    last: Option<UnixMicros>,
    /// What each provider said that it holds, itself, when it said no.
    told: Vec<Option<Told>>,
}

/// What a provider holds, by its own word; nothing where it only knows who does, or that what it held has expired.
type Told = Option<Rank>;

/// What is to be signed, and put where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What is held, of which it is an edit.
    pub base: Option<VerifiedRecord>,
    /// What it says.
    pub says: Says,
    /// Its sequence.
    pub sequence: UnixMicros,
    /// For each provider, in the order of the reads, what must be held there.
    pub conditions: Vec<PutIf>,
}

/// Why an update cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateError {
    /// The key was rotated since: the publisher's turn.
    #[error("a record of higher rank is held, signed by a later key")]
    LaterKey(Box<VerifiedRecord>),
    /// The key was revoked: the publisher's turn, with the next one.
    #[error("a record of higher rank is held: the key is revoked")]
    Revoked(Box<VerifiedRecord>),
    /// What is held says something that this version does not know, and an edit would drop it.
    #[error("what is held has parts that this version does not know: an edit would drop them")]
    UnknownParts(Box<VerifiedRecord>),
    /// There is nothing that could be signed anew.
    #[error("nothing is held that could be signed anew")]
    NothingHeld,
    /// What is to be removed is not there.
    #[error(transparent)]
    NothingToRemove(#[from] crate::edit::NothingToRemove),
    /// Somebody else changed the same thing.
    #[error("somebody else changed {} meanwhile", .what.join(", "))]
    Conflict {
        /// What both changed.
        what: Vec<String>,
        /// What is held now.
        held: Box<VerifiedRecord>,
    },
}

/// What comes after the puts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Every provider has said what it has to say.
    Done,
    /// Somebody came in between: read again.
    Again,
}

impl Update {
    /// An update by the key of an epoch. Who `insists` overrules what others change meanwhile.
    pub fn new(edit: Edit, epoch: u32, insists: bool) -> Self {
        Self {
            edit,
            epoch,
            insists,
            rounds: 0,
            base: None,
            written: None,
            last: None,
            told: Vec::new(),
        }
    }

    /// The same, going on from what was published before: whatever changed since then is somebody else's doing.
    pub fn since(mut self, published: VerifiedRecord) -> Self {
        self.base = Some(published);
        self
    }

    /// What to sign and put, given what each provider serves.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn plan(&mut self, reads: &[Result<Option<VerifiedRecord>, PutError>], now: UnixMicros) -> Result<Plan, UpdateError> {
        self.told.resize(reads.len(), None);
        let first = self.rounds == 0 && self.base.is_none();
        self.rounds += 1;
        let served = reads.iter().filter_map(|read| read.as_ref().ok()?.as_ref());
        let mut newest: Option<&VerifiedRecord> = None;
        for record in served {
            if record.rank().epoch == self.epoch {
                self.last = self.last.max(Some(record.record().sequence));
            }
            if Some(*record.rank()) != self.written && newest.is_none_or(|newest| record.outranks(newest)) {
                newest = Some(record);
            }
        }
        let newer = newest.filter(|newest| self.base.as_ref().is_none_or(|base| newest.outranks(base)));
        if let Some(newer) = newer {
            self.look_at(newer)?;
            if !first && !self.insists {
                let what = self.edit.conflicts(&self.said_by(self.base.as_ref()), &self.said_by(Some(newer)));
                if !what.is_empty() {
                    let held = Box::new(newer.clone());
                    return Err(UpdateError::Conflict { what, held });
                }
            }
            self.base = Some(newer.clone());
        }
        let said = self.said_by(self.base.as_ref());
        if first {
            let stands = self.base.as_ref().is_some_and(|base| base.rank().epoch == self.epoch);
            if self.edit.is_empty() && !stands {
                return Err(UpdateError::NothingHeld);
            }
            self.edit.check(&said)?;
        }
        Ok(Plan {
            base: self.base.clone(),
            says: self.edit.apply(&said),
            sequence: next_sequence(now, self.last),
            conditions: reads
                .iter()
                .zip(&self.told)
                .map(|(read, told)| self.condition(read, *told))
                .collect(),
        })
    }

    /// What comes after the puts of the record at `rank`.
    pub fn judge<T>(&mut self, rank: &Rank, puts: &[Result<T, PutError>]) -> Next {
        let mut again = false;
        for (put, told) in puts.iter().zip(&mut self.told) {
            match put {
                Ok(_) => (*told, self.written) = (None, Some(*rank)),
                Err(PutError::ConditionFailed { held, .. } | PutError::Older { held, .. }) => {
                    *told = Some(*held);
                    // Whoever revoked, or rotated, has the last word.
                    again |= held.is_none_or(|held| held.epoch <= self.epoch && !held.revoked);
                    let theirs = held.filter(|held| held.epoch == self.epoch && !held.revoked);
                    self.last = self.last.max(theirs.map(|held| held.sequence));
                }
                // It may be stored; a read would show it, as ours.
                Err(PutError::Unknown { .. }) => self.written = Some(*rank),
                Err(
                    PutError::NotReached { .. }
                    | PutError::Refused { .. }
                    | PutError::Unavailable { .. }
                    | PutError::Receipt { .. }
                    | PutError::NoHttp(_),
                ) => {}
            }
        }
        if again && self.rounds < ROUNDS_MAX {
            Next::Again
        } else {
            Next::Done
        }
    }

    /// Whether what is held may be edited by this key and this version.
    fn look_at(&self, held: &VerifiedRecord) -> Result<(), UpdateError> {
        match held.rank().epoch.cmp(&self.epoch) {
            Ordering::Greater => return Err(UpdateError::LaterKey(Box::new(held.clone()))),
            Ordering::Less => return Ok(()),
            Ordering::Equal if held.rank().revoked => return Err(UpdateError::Revoked(Box::new(held.clone()))),
            Ordering::Equal => {}
        }
        let is_known = held.record().encode_payload().is_ok_and(|payload| {
            // Nothing re-encodes a record; this only tells whether reading it left something out.
            held.bytes().windows(payload.len()).any(|part| part == payload)
        });
        if is_known || self.edit.how == crate::edit::How::Replace {
            return Ok(());
        }
        Err(UpdateError::UnknownParts(Box::new(held.clone())))
    }

    fn said_by(&self, held: Option<&VerifiedRecord>) -> Says {
        held.filter(|held| held.rank().epoch == self.epoch)
            .and_then(|held| Says::of(held.record()))
            .unwrap_or_else(Says::nothing)
    }

    fn condition(&self, read: &Result<Option<VerifiedRecord>, PutError>, told: Option<Told>) -> PutIf {
        let held = match (read, told) {
            // What was read may be kept by a peer, and what is held may have expired: then the provider's own word is the one that counts.
            (Ok(_), Some(None)) => None,
            (Ok(Some(record)), Some(Some(told))) if record.rank().order() <= told.order() => Some(told),
            (Ok(Some(record)), _) => Some(*record.rank()),
            (Ok(None) | Err(_), Some(told)) => told,
            (Ok(None), None) => None,
            (Err(_), None) => self.base.as_ref().map(|base| *base.rank()),
        };
        match held {
            // Ours wins by rank alone: a thief who publishes fast with the key before must not keep us waiting.
            Some(held) if held.epoch < self.epoch => PutIf::Always,
            Some(held) => PutIf::Held(held),
            None => PutIf::Absent,
        }
    }
}

/// Rounds of one update. Each that fails is one in which somebody else succeeded: so many writers at one name at one time are none that work
/// together.
pub const ROUNDS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::How;
    use crate::publish::sign;
    use dialtone_shared::cbor::Writer;
    use dialtone_shared::key::KeyChain;
    use dialtone_shared::receipt::Signer;
    use dialtone_shared::record::{Address, Binding, Service, Transport};
    use dialtone_shared::{Body, SecretKey, SignedRecord};

    type Read = Result<Option<VerifiedRecord>, PutError>;

    fn signer(epoch: usize) -> Signer {
        let chain = KeyChain::generate(&[7; 32], b"", 2).unwrap();
        Signer {
            genesis: chain.genesis,
            chain: chain.links[..epoch].to_vec(),
            secret: SecretKey::derive(&[7; 32], epoch as u16),
        }
    }

    fn address(last: u8) -> Binding {
        Binding::Address(Address::of([192, 0, 2, last].into()))
    }

    fn service(port: u16) -> Binding {
        Binding::Service(Service::of("https", Transport::Tcp, port))
    }

    fn record(epoch: usize, sequence: u64, bindings: &[Binding]) -> VerifiedRecord {
        let says = Says {
            bindings: bindings.to_vec(),
            ..Says::nothing()
        };
        let sequence = UnixMicros(sequence);
        sign(&signer(epoch), sequence, Vec::new(), says.body(sequence.secs())).unwrap()
    }

    fn setting(bindings: &[Binding]) -> Update {
        Update::new(
            Edit {
                bindings: bindings.to_vec(),
                ..Edit::default()
            },
            0,
            false,
        )
    }

    fn there(record: &VerifiedRecord) -> Read {
        Ok(Some(record.clone()))
    }

    fn away() -> PutError {
        PutError::NotReached {
            provider: "x".into(),
            reason: String::new(),
        }
    }

    fn another(held: &VerifiedRecord) -> PutError {
        PutError::ConditionFailed {
            provider: "x".into(),
            held: Some(*held.rank()),
        }
    }

    const NOW: UnixMicros = UnixMicros(1_000);

    #[test]
    fn the_first_record_of_a_name_is_put_only_where_there_is_none() {
        let plan = setting(&[address(1)]).plan(&[Ok(None), Ok(None)], NOW).unwrap();
        assert_eq!((plan.base, plan.sequence), (None, NOW));
        assert_eq!(plan.says.bindings, [address(1)]);
        assert_eq!(plan.conditions, [PutIf::Absent, PutIf::Absent]);
    }

    #[test]
    fn each_provider_must_still_hold_what_was_read_there_and_the_newest_is_edited() {
        let (old, new) = (record(0, 10, &[address(1)]), record(0, 2_000, &[address(2), service(443)]));
        let plan = setting(&[address(9)])
            .plan(&[there(&old), there(&new), Ok(None), Err(away())], NOW)
            .unwrap();
        assert_eq!(plan.says.bindings, [address(9), service(443)]);
        assert_eq!(plan.sequence, UnixMicros(2_001), "later than what a clock ahead of ours signed");
        let held = |record: &VerifiedRecord| PutIf::Held(*record.rank());
        assert_eq!(plan.conditions, [held(&old), held(&new), PutIf::Absent, held(&new)]);
    }

    #[test]
    fn whoever_came_in_between_is_heard_and_the_edit_is_made_again_on_top() {
        let (old, theirs) = (record(0, 10, &[address(1)]), record(0, 2_000, &[address(1), service(443)]));
        let mut update = setting(&[address(9)]);
        let plan = update.plan(&[there(&old), there(&old)], NOW).unwrap();
        let mine = record(0, plan.sequence.0, &plan.says.bindings);
        // One provider took it, at the other somebody was faster.
        assert_eq!(update.judge(mine.rank(), &[Ok(()), Err(another(&theirs))]), Next::Again);
        let plan = update.plan(&[there(&mine), there(&theirs)], NOW).unwrap();
        assert_eq!(plan.says.bindings, [address(9), service(443)], "neither's word is lost");
        assert_eq!(plan.sequence, UnixMicros(2_001));
        assert_eq!(plan.conditions, [PutIf::Held(*mine.rank()), PutIf::Held(*theirs.rank())]);
        let mine = record(0, plan.sequence.0, &plan.says.bindings);
        assert_eq!(update.judge(mine.rank(), &[Ok(()), Ok(())]), Next::Done);
    }

    #[test]
    fn what_both_changed_is_not_decided_by_who_is_last_unless_one_insists() {
        let (old, theirs) = (record(0, 10, &[address(1)]), record(0, 20, &[address(2)]));
        let edit = Edit {
            bindings: vec![address(9)],
            ..Edit::default()
        };
        for insists in [false, true] {
            let mut update = Update::new(edit.clone(), 0, insists);
            update.plan(&[there(&old)], NOW).unwrap();
            assert_eq!(update.judge(old.rank(), &[Err::<(), _>(another(&theirs))]), Next::Again);
            match update.plan(&[there(&theirs)], NOW) {
                Ok(plan) => assert!(insists && plan.says.bindings == [address(9)]),
                Err(UpdateError::Conflict { what, held }) => {
                    assert!(!insists);
                    assert_eq!((what.join(""), held.rank()), ("the addresses".to_owned(), theirs.rank()));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn two_who_make_a_name_at_once_are_told_like_two_who_change_it() {
        let theirs = record(0, 20, &[service(443)]);
        let mut update = setting(&[address(9)]);
        let plan = update.plan(&[Ok(None)], NOW).unwrap();
        assert_eq!(plan.conditions, [PutIf::Absent]);
        assert_eq!(update.judge(theirs.rank(), &[Err::<(), _>(another(&theirs))]), Next::Again);
        let plan = update.plan(&[there(&theirs)], NOW).unwrap();
        assert_eq!(plan.says.bindings, [service(443), address(9)]);
    }

    #[test]
    fn a_record_that_expired_is_held_and_not_served_and_does_not_keep_us_out() {
        let expired = record(0, 5_000, &[address(1)]);
        let mut update = setting(&[address(9)]);
        let plan = update.plan(&[Ok(None)], NOW).unwrap();
        let mine = record(0, plan.sequence.0, &plan.says.bindings);
        assert_eq!(update.judge(mine.rank(), &[Err::<(), _>(another(&expired))]), Next::Again);
        let plan = update.plan(&[Ok(None)], NOW).unwrap();
        assert_eq!(
            (plan.sequence, plan.conditions),
            (UnixMicros(5_001), vec![PutIf::Held(*expired.rank())])
        );
    }

    #[test]
    fn a_provider_that_only_knows_who_keeps_a_record_holds_none() {
        let elsewhere = record(0, 10, &[address(1)]);
        let mut update = setting(&[address(9)]);
        assert_eq!(
            update.plan(&[there(&elsewhere)], NOW).unwrap().conditions,
            [PutIf::Held(*elsewhere.rank())]
        );
        let none = PutError::ConditionFailed {
            provider: "x".into(),
            held: None,
        };
        assert_eq!(update.judge(elsewhere.rank(), &[Err::<(), _>(none)]), Next::Again);
        assert_eq!(update.plan(&[there(&elsewhere)], NOW).unwrap().conditions, [PutIf::Absent]);
    }

    #[test]
    fn what_an_earlier_key_signed_is_neither_built_upon_nor_waited_for() {
        let (thief, honest) = (record(0, 900, &[address(66), service(443)]), record(1, 10, &[address(1)]));
        let edit = Edit {
            bindings: vec![address(9)],
            ..Edit::default()
        };
        let plan = Update::new(edit.clone(), 1, false).plan(&[there(&thief)], NOW).unwrap();
        assert_eq!((plan.says.bindings, plan.conditions), (vec![address(9)], vec![PutIf::Always]));
        assert_eq!(plan.base.as_ref(), Some(&thief), "shown, as what goes");
        let plan = Update::new(edit, 1, false).plan(&[there(&thief), there(&honest)], NOW).unwrap();
        assert_eq!(plan.conditions, [PutIf::Always, PutIf::Held(*honest.rank())]);
    }

    #[test]
    fn a_key_that_is_rotated_or_revoked_says_so_before_anything_is_put() {
        let later = record(1, 10, &[address(1)]);
        assert!(matches!(
            setting(&[address(9)]).plan(&[there(&later)], NOW),
            Err(UpdateError::LaterKey(_))
        ));
        let revoked = sign(&signer(0), UnixMicros(10), Vec::new(), Body::Revoked).unwrap();
        let mut update = setting(&[address(9)]);
        assert!(matches!(update.plan(&[there(&revoked)], NOW), Err(UpdateError::Revoked(_))));
        assert_eq!(
            update.judge(revoked.rank(), &[Err::<(), _>(another(&revoked))]),
            Next::Done,
            "not tried again"
        );
    }

    #[test]
    fn what_changed_since_the_last_publication_is_somebody_else_s_doing() {
        let (mine, theirs) = (record(0, 10, &[address(1)]), record(0, 20, &[address(2)]));
        let other = record(0, 20, &[address(1), service(443)]);
        let again = || setting(&[address(1)]).since(mine.clone());
        let plan = again().plan(&[there(&mine)], NOW).unwrap();
        assert_eq!(plan.says.bindings, [address(1)]);
        assert_eq!(
            again().plan(&[there(&other)], NOW).unwrap().says.bindings,
            [address(1), service(443)]
        );
        assert!(matches!(again().plan(&[there(&theirs)], NOW), Err(UpdateError::Conflict { .. })));
    }

    #[test]
    fn rounds_end() {
        let old = record(0, 10, &[address(1)]);
        let mut update = Update::new(Edit::default(), 0, true);
        assert_eq!(
            update.plan(&[Ok(None)], NOW).unwrap_err(),
            UpdateError::NothingHeld,
            "nor is anything made of nothing"
        );
        let mut rounds = 1;
        loop {
            update.plan(&[there(&old)], NOW).unwrap();
            rounds += 1;
            if update.judge(old.rank(), &[Err::<(), _>(another(&old))]) == Next::Done {
                break;
            }
        }
        assert_eq!(rounds, ROUNDS_MAX);
    }

    #[test]
    fn what_this_version_cannot_read_is_not_dropped_unseen() {
        let held = record(0, 10, &[address(1)]);
        let update = Update::new(
            Edit {
                how: How::Replace,
                ..Edit::default()
            },
            0,
            false,
        );
        assert!(update.look_at(&held).is_ok());
        let with_more = with_uncritical_field(&held);
        assert!(update.look_at(&with_more).is_ok());
        assert!(matches!(setting(&[]).look_at(&with_more), Err(UpdateError::UnknownParts(_))));
    }

    /// The record, with a field from 64 on that a later version may have written.
    fn with_uncritical_field(record: &VerifiedRecord) -> VerifiedRecord {
        let mut payload = record.record().encode_payload().unwrap();
        payload[0] += 1;
        payload.extend([0x18, 64, 0xf5]);
        let (mut signed, mut envelope) = (Writer::new(), Writer::new());
        let protected = [0xa1, 1, 0x32];
        signed.array(4).text("Signature1").bytes(&protected);
        signed.bytes(b"dialtone/record/v1").bytes(&payload);
        let signature = signer(0).secret.sign(&signed.into_bytes());
        envelope
            .raw(&[0xd2, 0x84])
            .bytes(&protected)
            .raw(&[0xa0])
            .bytes(&payload)
            .bytes(&signature);
        let signed = SignedRecord::decode(envelope.into_bytes().into()).unwrap();
        signed.verify().unwrap()
    }
}
