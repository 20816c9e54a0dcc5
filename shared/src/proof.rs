//! Proofs of a wrong, which anyone can check offline: two signed statements of one signer that cannot both be honest.
//!
//! ```text
//! equivocation    {0: 1, 1: record, 2: record}     the lesser bytes first, so that a pair has one proof
//! broken promise  {0: 2, 1: receipt, 2: status}
//! ```
//!
//! An **equivocation** is two genuine records of one name with the same epoch, revoked and sequence, and different bytes: either the
//! publisher said two things at once, or somebody else has its key. A **broken promise** is a provider's receipt, and a later signed status of
//! the same provider, from before keep-until, that has nothing of the name or a lower rank. Neither needs anything but itself.

use crate::cbor::{CborError, Reader, Writer};
use crate::limits::{CHAIN_LINKS_MAX, RECORD_BYTES_MAX};
use crate::name::Name;
use crate::receipt::{Promise, Receipt, ReceiptError, Status};
use crate::record::RecordError;
use crate::record::rank::Rank;
use crate::record::signed::{SignedRecord, VerifiedRecord, VerifyError};
use crate::time::UnixSecs;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::fmt;

/// Two statements that cannot both be honest. Whether they are that is for [`Proof::check`] to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Two records that only their bytes tell apart.
    Equivocation {
        /// The record of the lesser bytes.
        lesser: Bytes,
        /// The record of the greater bytes, which wins everywhere.
        greater: Bytes,
    },
    /// A receipt, and a later status that belies it.
    BrokenPromise {
        /// What was promised.
        receipt: Receipt,
        /// What was said later.
        status: Bytes,
    },
}

/// What a proof that holds proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The key of `name` signed both.
    Equivocation {
        /// Whose key.
        name: Name,
        /// What loses.
        lesser: Rank,
        /// What wins.
        greater: Rank,
    },
    /// The provider did not hold what it promised to hold.
    BrokenPromise {
        /// What it promised.
        promise: Promise,
        /// What it said later.
        status: Status,
    },
}

/// Why something proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// Larger than any proof.
    #[error("a proof of {0} bytes is larger than any can be ({PROOF_BYTES_MAX})")]
    TooLarge(usize),
    /// Not the shape.
    #[error("not a proof: {0}")]
    Cbor(#[from] CborError),
    /// Another kind of proof than this version knows.
    #[error("proof kind {0} is not known to this version")]
    Kind(u64),
    /// One of the two is not a record.
    #[error("one of the two is not a record: {0}")]
    Record(#[from] RecordError),
    /// One of the two is not by the key of its name: anybody could have made it.
    #[error("one of the two records is not believed: {0}")]
    NotBelieved(#[from] VerifyError),
    /// Records of two names.
    #[error("the two records are of two names, {0} and {1}")]
    TwoNames(Name, Name),
    /// One of the two outranks the other without a look at the bytes: a publisher may do that.
    #[error("the two records have different epochs, revocations or sequences: one simply follows the other")]
    Ranked,
    /// The same record twice, or the greater first.
    #[error("the two records are not in ascending order of their bytes")]
    NotAPair,
    /// The receipt or the status proves nothing.
    #[error("the receipt or the status: {0}")]
    Receipt(#[from] ReceiptError),
    /// Statements of two providers.
    #[error("the receipt is of {0}, the status of {1}")]
    TwoProviders(Name, Name),
    /// A receipt for one name, a status of another.
    #[error("the receipt is about {0}, the status about {1}")]
    OtherName(Name, Name),
    /// The status is no later than the promise.
    #[error("the status was given before the promise")]
    Before,
    /// The promise had ended.
    #[error("the status was given after the promise ended, at {0}")]
    Ended(UnixSecs),
    /// What was promised, or more, is held.
    #[error("the promise was kept: a record of that rank, or one that may outrank it, is held")]
    Kept,
}

impl Proof {
    /// The proof that two records make, if they make one. Costs no signature: both were verified.
    pub fn of_twins(one: &VerifiedRecord, other: &VerifiedRecord) -> Option<Self> {
        let same = one.name() == other.name() && one.rank().order() == other.rank().order();
        let (lesser, greater) = match one.bytes().cmp(other.bytes()) {
            Ordering::Less => (one, other),
            Ordering::Greater => (other, one),
            Ordering::Equal => return None,
        };
        same.then(|| Self::Equivocation {
            lesser: lesser.bytes().clone(),
            greater: greater.bytes().clone(),
        })
    }

    /// As it travels, and as it is kept in a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3).uint(0);
        match self {
            Self::Equivocation { lesser, greater } => w.uint(1).uint(1).bytes(lesser).uint(2).bytes(greater),
            Self::BrokenPromise { receipt, status } => w.uint(2).uint(1).bytes(&receipt.encode()).uint(2).bytes(status),
        };
        w.into_bytes()
    }

    /// Reads what [`Proof::encode`] writes. Proves nothing yet.
    ///
    /// # Errors
    /// [`ProofError::TooLarge`], [`ProofError::Cbor`] or [`ProofError::Kind`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofError::TooLarge(bytes.len()));
        }
        let mut r = Reader::new(bytes);
        let mut fields = r.map()?;
        let mut field = |r: &mut Reader<'_>, wanted| {
            let at = r.position();
            if fields.next(r)? == Some(wanted) {
                Ok(())
            } else {
                Err(CborError::Type(at))
            }
        };
        field(&mut r, 0)?;
        let kind = r.uint()?;
        if !(1..=2).contains(&kind) {
            return Err(ProofError::Kind(kind));
        }
        field(&mut r, 1)?;
        let first = r.bytes()?;
        field(&mut r, 2)?;
        let second = Bytes::copy_from_slice(r.bytes()?);
        fields.end(&r)?;
        r.finish()?;
        Ok(if kind == 1 {
            Self::Equivocation {
                lesser: Bytes::copy_from_slice(first),
                greater: second,
            }
        } else {
            Self::BrokenPromise {
                receipt: Receipt::decode(first)?,
                status: second,
            }
        })
    }

    /// Whether it proves what it says, and what that is. What costs least comes first; two signatures come last.
    ///
    /// # Errors
    /// [`ProofError`], the first thing found wrong.
    pub fn check(&self) -> Result<Verdict, ProofError> {
        match self {
            Self::Equivocation { lesser, greater } => equivocation(lesser, greater),
            Self::BrokenPromise { receipt, status } => broken_promise(receipt, status),
        }
    }

    /// What it is about, without a look at any signature: of which name (a publisher's, or the provider that broke a promise) and a digest that
    /// is the same for all proofs of the same wrong.
    ///
    /// # Errors
    /// [`ProofError`]: it does not even claim anything.
    pub fn subject(&self) -> Result<Subject, ProofError> {
        match self {
            Self::Equivocation { lesser, .. } => {
                let record = SignedRecord::decode(lesser.clone())?;
                Ok(Subject::of_record(record.name(), &record.rank()))
            }
            Self::BrokenPromise { receipt, .. } => {
                let promise = receipt.claims().map_err(ReceiptError::Cbor)?;
                let digest = Sha256::new_with_prefix([2]).chain_update(promise.name.as_bytes()).finalize().into();
                Ok(Subject {
                    of: promise.provider,
                    digest,
                })
            }
        }
    }
}

/// What a proof is about. Proofs of one subject prove the same wrong, and one of them is enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subject {
    /// Who did it: the publisher's name, or the provider's.
    pub of: Name,
    /// What was done: a digest of epoch, revoked and sequence, or of the name that was promised to be held.
    pub digest: [u8; 32],
}

impl Subject {
    /// What an equivocation at this place in the order is about.
    pub fn of_record(name: &Name, rank: &Rank) -> Self {
        let digest = Sha256::new_with_prefix([1])
            .chain_update(rank.epoch.to_be_bytes())
            .chain_update([u8::from(rank.revoked)])
            .chain_update(rank.sequence.0.to_be_bytes())
            .finalize();
        Self {
            of: *name,
            digest: digest.into(),
        }
    }
}

fn equivocation(lesser: &Bytes, greater: &Bytes) -> Result<Verdict, ProofError> {
    if lesser >= greater {
        return Err(ProofError::NotAPair);
    }
    let (lesser, greater) = (SignedRecord::decode(lesser.clone())?, SignedRecord::decode(greater.clone())?);
    if lesser.name() != greater.name() {
        return Err(ProofError::TwoNames(*lesser.name(), *greater.name()));
    }
    if lesser.rank().order() != greater.rank().order() {
        return Err(ProofError::Ranked);
    }
    let (lesser, greater) = (lesser.verify()?, greater.verify()?);
    Ok(Verdict::Equivocation {
        name: *lesser.name(),
        lesser: *lesser.rank(),
        greater: *greater.rank(),
    })
}

fn broken_promise(receipt: &Receipt, status: &[u8]) -> Result<Verdict, ProofError> {
    let (promise, status) = (receipt.verify()?, Status::verify(status)?);
    match belies(&promise, &status) {
        Ok(()) => Ok(Verdict::BrokenPromise { promise, status }),
        Err(error) => Err(error),
    }
}

/// Whether a status belies a promise.
///
/// # Errors
/// [`ProofError`]: why it does not; [`ProofError::Kept`] where all is well.
pub fn belies(promise: &Promise, status: &Status) -> Result<(), ProofError> {
    if promise.provider != status.provider {
        return Err(ProofError::TwoProviders(promise.provider, status.provider));
    }
    if promise.name != status.name {
        return Err(ProofError::OtherName(promise.name, status.name));
    }
    if status.time <= promise.time {
        return Err(ProofError::Before);
    }
    if let Some(until) = promise.keep_until.filter(|until| status.time.secs() >= *until) {
        return Err(ProofError::Ended(until));
    }
    // Where only the digests differ the bytes decide, and nobody but who has them knows which are larger.
    match &status.rank {
        Some(held) if held.order() >= promise.rank.order() => Err(ProofError::Kept),
        Some(_) | None => Ok(()),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equivocation { name, greater, .. } => write!(
                f,
                "the key of {name} signed two records of epoch {} and sequence {}: the name says two things at once, or its key is in other hands",
                greater.epoch, greater.sequence.0
            ),
            Self::BrokenPromise { promise, status } => {
                write!(f, "the provider {} promised at {} to hold ", promise.provider, promise.time.secs())?;
                write!(f, "{} at rank {}", promise.name, promise.rank)?;
                match promise.keep_until {
                    Some(until) => write!(f, " until {until}")?,
                    None => write!(f, " for ever")?,
                }
                match &status.rank {
                    Some(rank) => write!(f, ", and said at {} to hold only rank {rank}", status.time.secs()),
                    None => write!(f, ", and said at {} to hold nothing of it", status.time.secs()),
                }
            }
        }
    }
}

/// Largest proof, in bytes: two of the largest records, or a receipt and a status whose key chains are as long as may be.
pub const PROOF_BYTES_MAX: usize = 3 * RECORD_BYTES_MAX;
// A link has at most 75 bytes; a receipt 64 nodes of 34; the rest of both statements is well below a kilobyte.
const _: () = assert!(2 * CHAIN_LINKS_MAX * 75 + 64 * 34 + 1_024 <= PROOF_BYTES_MAX);
