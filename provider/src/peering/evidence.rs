//! Proofs that are kept: under what they are filed, how many, and what of them goes to a peer.
//!
//! ```text
//! note  proof/<whose, 33 bytes><what, 32 bytes>   [number, filed s, proof]      (CBOR array)
//! note  proof-at/<number, u64 big-endian>         <whose><what>
//! note  proof-told/<peer, 33 bytes><store, 16>    number                        the last that the peer was told, of our store;
//!                                                                               and its node's store, 16, if it is a node of ours
//! note  proofs                                    [next number, kept]           (CBOR array)
//! ```
//!
//! A wrong has one proof here, however many tell of it, and one publisher or provider has at most [`PROOFS_OF_ONE_MAX`]: more would tell
//! nobody anything, and keys are free.

use super::agreement::Way;
use super::policy;
use dialtone_shared::cbor::{CborError, Reader, Writer};
use dialtone_shared::proof::{Proof, ProofError, Subject};
use dialtone_shared::{Name, SignedRecord, UnixSecs};

/// Most proofs kept of one publisher or provider.
pub const PROOFS_OF_ONE_MAX: usize = 4;

/// Most proofs kept: about 16 MB at the usual size, 200 MB at the very worst.
pub const PROOFS_MAX: u64 = 16_384;

/// A proof may be thrown away for a newer one after this long: no record that it tells of can be valid any more.
pub const PROOF_KEPT_SECS: u64 = dialtone_shared::limits::LIFETIME_SECS_MAX;

/// A proof as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filed {
    /// Its number: the order in which this provider heard of them.
    pub number: u64,
    /// When it was filed.
    pub at: UnixSecs,
    /// The proof, encoded.
    pub proof: Vec<u8>,
}

/// How many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The number of the next; they count from 1.
    pub next: u64,
    /// How many are kept.
    pub kept: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { next: 1, kept: 0 }
    }
}

impl Filed {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(3).uint(self.number).uint(self.at.0).bytes(&self.proof);
        w.into_bytes()
    }

    /// Reads what [`Filed::encode`] writes.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(3)?;
        let filed = Self {
            number: r.uint()?,
            at: UnixSecs(r.uint()?),
            proof: r.bytes()?.to_vec(),
        };
        r.finish()?;
        Ok(filed)
    }
}

impl Tally {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2).uint(self.next).uint(self.kept);
        w.into_bytes()
    }

    /// Reads what [`Tally::encode`] writes.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(2)?;
        let (next, kept) = (r.uint()?, r.uint()?);
        r.finish()?;
        Ok(Self { next, kept })
    }
}

/// The note of the tally.
pub const TALLY: &[u8] = b"proofs";

/// How the notes of all proofs by number start.
pub const NUMBERS: &[u8] = b"proof-at/";

/// The note of a proof.
pub fn key(subject: &Subject) -> Vec<u8> {
    [&keys(&subject.of)[..], &subject.digest].concat()
}

/// How the notes of all proofs against `of` start.
pub fn keys(of: &Name) -> Vec<u8> {
    [&b"proof/"[..], of.as_bytes()].concat()
}

/// The note that leads from a number to the proof's own.
pub fn number_key(number: u64) -> Vec<u8> {
    [NUMBERS, &number.to_be_bytes()].concat()
}

/// The note of how far a peer has been told by our `store`. Whom of a peer's nodes we tell does not count, since they tell each other; our
/// own other nodes we are the one to tell, each.
pub fn told_key(peer: &Name, store: &[u8; 16], node: Option<&[u8; 16]>) -> Vec<u8> {
    [&b"proof-told/"[..], peer.as_bytes(), store, node.map_or(&[][..], |node| node)].concat()
}

/// The note of how far a peer was told, and under which filter: both as 8 bytes.
pub fn told_note(number: u64, filter: u64) -> Vec<u8> {
    [number.to_be_bytes(), filter.to_be_bytes()].concat()
}

/// How far a peer was told under this filter, by a note; 0: not at all. A note without a filter is of when there was none to speak of.
pub fn told_under(note: &[u8], filter: u64) -> u64 {
    let part = |at: usize| {
        let bytes = note.get(at..at + 8)?;
        bytes.try_into().ok().map(u64::from_be_bytes)
    };
    match (part(0), part(8).unwrap_or_default()) {
        (Some(number), under) if under == filter => number,
        _ => 0,
    }
}

/// Whether a proof may go that way: as the records and the promises that it is about.
///
/// # Errors
/// [`ProofError`]: it holds no records.
pub fn passes(proof: &Proof, way: &Way) -> Result<bool, ProofError> {
    match proof {
        Proof::Equivocation { lesser, greater } => {
            let mut all = true;
            for record in [lesser, greater] {
                let signed = SignedRecord::decode(record.clone())?;
                all &= policy::passes(signed.name(), signed.record(), way);
            }
            Ok(all)
        }
        // Whether the record that was promised is for some providers only it does not say.
        Proof::BrokenPromise { receipt, .. } => {
            let promise = receipt.claims()?;
            Ok(!way.filter.shuts_out(&promise.name))
        }
    }
}

/// Whether a proof may be kept by a provider: records may be for some providers only.
///
/// # Errors
/// [`ProofError`]: it holds no records.
pub fn in_scope(proof: &Proof, provider: &Name) -> Result<bool, ProofError> {
    let Proof::Equivocation { lesser, greater } = proof else {
        return Ok(true);
    };
    for record in [lesser, greater] {
        if !SignedRecord::decode(record.clone())?.record().in_scope(provider) {
            return Ok(false);
        }
    }
    Ok(true)
}
