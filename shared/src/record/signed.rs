//! The envelope of a record, and the one door from [`SignedRecord`] to [`VerifiedRecord`].
//!
//! ```text
//! d2 84 43 a1 01 32 a0 | head of payload | payload | 58 40 | signature (64)
//! COSE_Sign1 (RFC 9052), tag 18, protected {1: -19}, unprotected {}, payload attached
//! signed: ["Signature1", h'a10132', "dialtone/record/v1", payload]
//! ```
//!
//! A packet of pkarr has an envelope of its own ([`super::pkarr`]), and so has a value that its name is the hash of:
//!
//! ```text
//! 02 | the bytes (1 to 60,000)          nothing is signed: that they are the name's is seen from the name
//! ```
//!
//! Exactly these envelopes are accepted, each known by its first byte, byte for byte, so nothing unsigned can vary: the bytes that arrived are the
//! bytes that are stored, pushed, served and verified. Nothing re-encodes.

use crate::cbor::Writer;
use crate::key::{Genesis, KeyError, PublicKey, SecretKey};
use crate::limits::{RECORD_BYTES_MAX, RECORD_BYTES_MIN, VALUE_BYTES_MAX};
use crate::name::{Name, Scheme};
use crate::record::pkarr::Packet;
use crate::record::rank::Rank;
use crate::record::{Body, Record, RecordError};
use crate::time::UnixMicros;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::sync::Arc;

/// A record with a signature that nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedRecord {
    bytes: Bytes,
    /// What is signed of an envelope that has a payload.
    payload: std::ops::Range<usize>,
    record: Record,
    name: Name,
    digest: [u8; 32],
}

/// A record whose signature by the key that its name commits to was checked. Stores and caches take only these.
/// Cloning costs three reference counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRecord {
    bytes: Bytes,
    record: Arc<Record>,
    name: Name,
    rank: Rank,
}

/// Why a well-formed record is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// The key in force can own nothing.
    #[error("the signing key is refused: {0}")]
    Key(#[from] KeyError),
    /// Signed by another key, or changed since.
    #[error("the signature is not by the key that the name commits to, or the record was changed")]
    Signature,
    /// A record of another name than the one asked for.
    #[error("this is a record of {0}")]
    OtherName(Name),
    /// What was kept is not what was verified: the disk changed it.
    #[error("the stored bytes are not those that were verified")]
    Corrupt,
}

/// Why a record cannot be signed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignError {
    /// It is not a record that anyone would accept.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The secret is not the one of the key in force.
    #[error("the secret key is not the one in force for this name (key epoch {0})")]
    WrongKey(u32),
}

impl SignedRecord {
    /// Signs `record` with the key in force.
    ///
    /// # Errors
    /// [`SignError`]: the record breaks a rule, or the key is not the one its chain ends in.
    pub fn sign(record: Record, secret: &SecretKey) -> Result<Self, SignError> {
        let payload = record.encode_payload()?;
        if record.signing_key().map_err(RecordError::Chain)? != secret.public() {
            return Err(SignError::WrongKey(record.epoch()));
        }
        let signature = secret.sign(&to_be_signed(RECORD_DOMAIN, &payload));
        Ok(Self::decode(envelope(&payload, &signature).into())?)
    }

    /// Takes an envelope apart and checks everything but the signature: the frame, the encoding, every rule of the format.
    /// Costs a few microseconds.
    ///
    /// # Errors
    /// [`RecordError`], the first thing found wrong.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        match bytes.first() {
            Some(&PACKET_HEAD) => Self::decoded(Packet::open(&bytes)?.record()?, 0..0, bytes),
            Some(&VALUE_HEAD) => Self::decode_value(bytes),
            _ => Self::decode_envelope(bytes),
        }
    }

    /// Most bytes of an envelope that begins like this.
    pub fn bytes_max(first: Option<&u8>) -> usize {
        match first {
            Some(&VALUE_HEAD) => 1 + VALUE_BYTES_MAX,
            _ => RECORD_BYTES_MAX,
        }
    }

    /// The record that `value` is of its own name.
    ///
    /// # Errors
    /// [`RecordError::TooLargeValue`], or [`RecordError::TooShort`] for no bytes at all.
    pub fn of_value(value: &[u8]) -> Result<VerifiedRecord, RecordError> {
        let mut bytes = Vec::with_capacity(1 + value.len());
        bytes.push(VALUE_HEAD);
        bytes.extend_from_slice(value);
        Self::decode_value(bytes.into()).map(Self::believed)
    }

    fn decode_value(bytes: Bytes) -> Result<Self, RecordError> {
        let value = &bytes[1..];
        match value.len() {
            0 => Err(RecordError::TooShort(bytes.len())),
            1..=VALUE_BYTES_MAX => {
                let record = Record {
                    genesis: Genesis::of(PublicKey::from_bytes([0; 32])),
                    chain: Vec::new(),
                    // There is but one record of the name, from ever.
                    sequence: UnixMicros(1),
                    scope: Vec::new(),
                    body: Body::Value(Name::of_content(value)),
                };
                Self::decoded(record, 0..0, bytes)
            }
            _ => Err(RecordError::TooLargeValue(value.len())),
        }
    }

    fn decode_envelope(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        if bytes.len() < RECORD_BYTES_MIN {
            return Err(RecordError::TooShort(bytes.len()));
        }
        let payload = open_envelope(&bytes).map_err(RecordError::Envelope)?;
        let record = Record::decode_payload(&bytes[payload.clone()])?;
        Self::decoded(record, payload, bytes)
    }

    fn decoded(record: Record, payload: std::ops::Range<usize>, bytes: Bytes) -> Result<Self, RecordError> {
        let name = record.name();
        let digest = Sha256::digest(&bytes).into();
        Ok(Self {
            bytes,
            payload,
            record,
            name,
            digest,
        })
    }

    /// The only door: strict Ed25519 by the key that the name commits to, or is. A value is believed as it is: its name was made from it.
    ///
    /// # Errors
    /// [`VerifyError::Key`] or [`VerifyError::Signature`].
    pub fn verify(self) -> Result<VerifiedRecord, VerifyError> {
        match self.record.body {
            Body::Live { .. } | Body::Revoked => {}
            Body::Value(_) => return Ok(self.believed()),
            Body::Packet { .. } => {
                let packet = Packet::open(&self.bytes).map_err(|_| VerifyError::Signature)?;
                return if packet.verify()? {
                    Ok(self.believed())
                } else {
                    Err(VerifyError::Signature)
                };
            }
        }
        let key = self.record.signing_key()?;
        let signature = self.bytes.last_chunk().ok_or(VerifyError::Signature)?;
        let message = to_be_signed(RECORD_DOMAIN, &self.bytes[self.payload.clone()]);
        if !key.verify(&message, signature)? {
            return Err(VerifyError::Signature);
        }
        Ok(self.believed())
    }

    /// As [`SignedRecord::verify`], for a record that must be one of `name`. The name is compared first: it costs nothing.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify_for(self, name: &Name) -> Result<VerifiedRecord, VerifyError> {
        if self.name != *name {
            return Err(VerifyError::OtherName(self.name));
        }
        self.verify()
    }

    /// The name it claims to be of. What it says of itself is true; who says it is not known yet.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it claims.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The envelope.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where it would stand in the order of the name's records.
    pub fn rank(&self) -> Rank {
        rank_of(&self.record, self.digest)
    }

    fn believed(self) -> VerifiedRecord {
        let rank = self.rank();
        VerifiedRecord {
            bytes: self.bytes,
            record: Arc::new(self.record),
            name: self.name,
            rank,
        }
    }
}

impl VerifiedRecord {
    /// Takes back what a store kept, trusting that `digest` was written beside the bytes when they had passed the
    /// door: a store proves with it that its disk changed nothing, at a hundredth of a verification's cost.
    ///
    /// # Errors
    /// [`VerifyError::Corrupt`].
    pub fn reopen(bytes: Bytes, digest: &[u8; 32]) -> Result<Self, VerifyError> {
        let signed = SignedRecord::decode(bytes).map_err(|_| VerifyError::Corrupt)?;
        if signed.digest == *digest {
            Ok(signed.believed())
        } else {
            Err(VerifyError::Corrupt)
        }
    }

    /// The name it is of.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The envelope, as it arrived.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value, of a `content` name.
    pub fn value(&self) -> Option<Bytes> {
        matches!(self.record.body, Body::Value(_)).then(|| self.bytes.slice(1..))
    }

    /// The packet, of a `pkarr` name.
    pub fn packet(&self) -> Option<Packet<'_>> {
        match self.record.body {
            Body::Packet { .. } => Packet::open(&self.bytes).ok(),
            Body::Live { .. } | Body::Revoked | Body::Value(_) => None,
        }
    }

    /// Its place in the order.
    pub fn rank(&self) -> &Rank {
        &self.rank
    }

    /// The total order of a name's records: larger wins.
    pub fn rank_cmp(&self, other: &Self) -> Ordering {
        self.rank
            .order()
            .cmp(&other.rank.order())
            .then_with(|| self.bytes.cmp(&other.bytes))
    }

    /// Whether it wins over `other`.
    pub fn outranks(&self, other: &Self) -> bool {
        self.rank_cmp(other).is_gt()
    }
}

fn rank_of(record: &Record, digest: [u8; 32]) -> Rank {
    Rank {
        epoch: record.epoch(),
        revoked: record.is_revoked(),
        sequence: record.sequence,
        digest,
    }
}

/// A COSE_Sign1 in the one form that is accepted here. Receipts and statuses share it.
pub(crate) fn envelope(payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut w = Writer::with_room(FRAME.len() + HEAD_BYTES_MAX + payload.len() + SIGNATURE_HEAD.len() + signature.len());
    w.raw(&FRAME).bytes(payload).bytes(signature);
    w.into_bytes()
}

/// Where the payload stands in an envelope; the signature is the last 64 bytes. The error is the first byte that differs.
pub(crate) fn open_envelope(bytes: &[u8]) -> Result<std::ops::Range<usize>, usize> {
    if let Some(at) = FRAME.iter().zip(bytes).position(|(wanted, found)| wanted != found) {
        return Err(at);
    }
    let start = FRAME.len();
    let tail = bytes.len().checked_sub(SIGNATURE_HEAD.len() + 64).ok_or(bytes.len())?;
    let mut reader = crate::cbor::Reader::new(bytes.get(start..tail).ok_or(bytes.len())?);
    let length = reader.bytes().map_err(|_| start)?.len();
    let end = start + reader.position();
    if end != tail {
        return Err(end);
    }
    if bytes[tail..tail + 2] != SIGNATURE_HEAD {
        return Err(tail);
    }
    Ok(end - length..end)
}

/// The Sig_structure of RFC 9052 §4.4, with the domain as external_aad.
pub(crate) fn to_be_signed(domain: &str, payload: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_room(SIGNED_FRAME_BYTES_MAX + domain.len() + payload.len());
    w.array(4)
        .text("Signature1")
        .bytes(&PROTECTED)
        .bytes(domain.as_bytes())
        .bytes(payload);
    w.into_bytes()
}

/// The first byte of the envelope of a value: its scheme.
pub const VALUE_HEAD: u8 = Scheme::Content as u8;
/// The first byte of the envelope of a pkarr packet: its scheme.
pub const PACKET_HEAD: u8 = Scheme::Pkarr as u8;
const _: () = assert!(VALUE_HEAD != FRAME[0] && PACKET_HEAD != FRAME[0]);
/// The external_aad of a record.
pub const RECORD_DOMAIN: &str = "dialtone/record/v1";
/// `{1: -19}`: Ed25519 (RFC 9864).
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x32];
/// Tag 18, an array of four, the protected header, an empty unprotected one.
const FRAME: [u8; 7] = [0xd2, 0x84, 0x43, 0xa1, 0x01, 0x32, 0xa0];
/// The head of a byte string, at most.
const HEAD_BYTES_MAX: usize = 9;
/// What stands around the domain and the payload in what is signed, at most.
const SIGNED_FRAME_BYTES_MAX: usize = 1 + 11 + 4 + 2 * HEAD_BYTES_MAX;
/// A byte string of 64 bytes.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 0x40];
