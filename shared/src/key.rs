//! Keys, the genesis that a name commits to, and the pre-committed chain of keys that may follow.
//!
//! ```text
//! link    = {1: -19, 2: public key, ? 4: commitment}           (deterministic CBOR)
//! genesis = {1: -19, 2: public key, ? 3: salt, ? 4: commitment}
//! name       = SHA-256("dialtone/genesis/v1" ‖ genesis)
//! commitment = SHA-256("dialtone/link/v1" ‖ link)
//! ```
//!
//! A genesis commits to the next link and each link to the one after it, so the whole chain is fixed when the
//! name is made. Rotating reveals the next link and needs no signature by the old key: there is only one
//! possible history. The design follows KERI's pre-rotation with the rotation's own contents committed to as well.

use crate::cbor::{CborError, Reader, Writer};
use crate::limits::{CHAIN_LINKS_MAX, SALT_BYTES_MAX};
use crate::name::Name;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// COSE algorithm number of Ed25519 (RFC 9864), the only one there is.
pub const ALG_ED25519: i64 = -19;

/// An Ed25519 secret key. Wiped when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// An Ed25519 public key, as its 32 canonical bytes. Whether it is a point at all is found out when it verifies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A digest that fixes a [`Link`] before it is revealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment(pub [u8; 32]);

/// What a name is the digest of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    /// The first key.
    pub key: PublicKey,
    /// Tells apart the names of one key (SFR); 0 to 32 bytes.
    pub salt: Vec<u8>,
    /// The link that may follow; without one the name cannot rotate.
    pub next: Option<Commitment>,
}

/// One revealed step of the key chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The key from here on.
    pub key: PublicKey,
    /// The link after this one, if any.
    pub next: Option<Commitment>,
}

/// A genesis with its whole chain, as it is made at birth: public, and all a rotation needs beside one secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyChain {
    /// Where it starts.
    pub genesis: Genesis,
    /// The links that follow, in order.
    pub links: Vec<Link>,
}

/// Why a key, a genesis or a chain is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a point of the curve, or not its only spelling.
    #[error("not a valid Ed25519 public key")]
    NotAKey,
    /// A key of small order: signatures under it mean nothing.
    #[error("a small-order Ed25519 key proves nothing and is refused")]
    SmallOrder,
    /// PEM that does not hold an Ed25519 key.
    #[error("not a PKCS#8 PEM file of an Ed25519 key")]
    Pem,
    /// A salt of 0 or of more than 32 bytes.
    #[error("a salt has 1 to {SALT_BYTES_MAX} bytes, or is left out")]
    Salt,
    /// More links than a record may reveal.
    #[error("a key chain has at most {CHAIN_LINKS_MAX} links")]
    TooManyLinks,
    /// A link that is not the one committed to.
    #[error("link {0} of the key chain is not the one that was committed to")]
    Uncommitted(usize),
}

impl SecretKey {
    /// The key of a 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The `index`-th key of a recovery seed: SHA-256("dialtone/seed/v1" ‖ seed ‖ index as u16 BE) is its seed.
    /// Keys of one seed reveal nothing of each other.
    pub fn derive(recovery_seed: &[u8; 32], index: u16) -> Self {
        let seed = Zeroizing::new(<[u8; 32]>::from(
            Sha256::new()
                .chain_update(SEED_DOMAIN)
                .chain_update(recovery_seed)
                .chain_update(index.to_be_bytes())
                .finalize(),
        ));
        Self::from_seed(&seed)
    }

    /// Reads PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`KeyError::Pem`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| KeyError::Pem)
    }

    /// Reads PKCS#8 DER, as [`SecretKey::to_der`] writes it.
    ///
    /// # Errors
    /// [`KeyError::Pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_der(der).map(Self).map_err(|_| KeyError::Pem)
    }

    /// The 32-byte seed that it comes from.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// As PKCS#8 PEM without the public key (version 1), which OpenSSL reads.
    ///
    /// # Panics
    /// Never: an Ed25519 key always has this form.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let bare = ed25519_dalek::pkcs8::KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        bare.to_pkcs8_pem(LineEnding::LF).expect("a 32-byte key fits PKCS#8")
    }

    /// As PKCS#8 DER, for TLS libraries.
    ///
    /// # Panics
    /// Never: an Ed25519 key always has this form.
    pub fn to_der(&self) -> Zeroizing<Vec<u8>> {
        let bare = ed25519_dalek::pkcs8::KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        bare.to_pkcs8_der().expect("a 32-byte key fits PKCS#8").to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`: 64 bytes, deterministic (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.public())
    }
}

impl PublicKey {
    /// A key from its 32 bytes. Costs nothing; [`PublicKey::verify`] is where a bad one fails.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a SubjectPublicKeyInfo PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// [`KeyError::Pem`], or as [`PublicKey::check`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_public_key_pem(pem).map_err(|_| KeyError::Pem)?;
        let key = Self(key.to_bytes());
        key.check().map(|()| key)
    }

    /// The DER of its SubjectPublicKeyInfo (RFC 8410), 44 bytes; its SHA-256 is the pin of a TLS key.
    pub fn spki(&self) -> [u8; 44] {
        let mut spki = [0; 44];
        spki[..12].copy_from_slice(&SPKI_HEAD);
        spki[12..].copy_from_slice(&self.0);
        spki
    }

    /// As SubjectPublicKeyInfo PEM.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`].
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::NotAKey)?;
        key.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::NotAKey)
    }

    /// Whether it may own a name: a canonical point, not of small order.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`] or [`KeyError::SmallOrder`].
    pub fn check(&self) -> Result<(), KeyError> {
        self.parse().map(drop)
    }

    /// Whether `signature` is this key's over `message`, by the one rule of the protocol: strict Ed25519, so that no
    /// two verifiers disagree.
    ///
    /// # Errors
    /// `Ok(false)` for a wrong signature; an error for a key that can own nothing.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<bool, KeyError> {
        let key = self.parse()?;
        let signature = Signature::from_bytes(signature);
        // As `VerifyingKey::verify_strict`, an eighth cheaper: R is compared with the one spelling of what it must be, so what R stands
        // for shows in its bytes, and it need not be made a point of the curve first.
        Ok(!is_small_order(signature.r_bytes()) && key.verify(message, &signature).is_ok())
    }

    fn parse(&self) -> Result<VerifyingKey, KeyError> {
        if !self.is_canonical() {
            return Err(KeyError::NotAKey);
        }
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::NotAKey)?;
        if is_small_order(&self.0) {
            Err(KeyError::SmallOrder)
        } else {
            Ok(key)
        }
    }

    /// Whether the y coordinate is below 2^255 − 19. `verify_strict` does not ask, and a key with two spellings would
    /// be a name with two.
    fn is_canonical(&self) -> bool {
        let high = self.0[31] & 0x7f == 0x7f && self.0[1..31].iter().all(|byte| *byte == 0xff);
        !(high && self.0[0] >= 0xed)
    }
}

/// Whether a point in its one spelling is of small order: whether its y coordinate is one of five.
fn is_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", crate::z32::encode(&self.0))
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({})", crate::z32::encode(&self.0))
    }
}

impl Genesis {
    /// The genesis of a key alone: no salt, no rotation.
    pub fn of(key: PublicKey) -> Self {
        Self {
            key,
            salt: Vec::new(),
            next: None,
        }
    }

    /// The name that commits to it.
    pub fn name(&self) -> Name {
        let digest = Sha256::new().chain_update(GENESIS_DOMAIN).chain_update(self.encode()).finalize();
        Name::key_set(digest.into())
    }

    /// As deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_room(112);
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Reads the form that [`Genesis::encode`] writes, and nothing after it.
    ///
    /// # Errors
    /// [`CborError`]; a salt that is empty or too long is of the wrong type.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        let genesis = Self::read(&mut reader)?;
        reader.finish().map(|()| genesis)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.map(2 + usize::from(!self.salt.is_empty()) + usize::from(self.next.is_some()));
        writer.uint(1).int(ALG_ED25519).uint(2).bytes(&self.key.0);
        if !self.salt.is_empty() {
            writer.uint(3).bytes(&self.salt);
        }
        if let Some(next) = &self.next {
            writer.uint(4).bytes(&next.0);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let Parts { key, salt, next } = Parts::read(reader, true)?;
        Ok(Self { key, salt, next })
    }
}

impl Link {
    /// The digest that commits to it.
    pub fn commitment(&self) -> Commitment {
        let mut writer = Writer::new();
        self.write(&mut writer);
        Commitment(
            Sha256::new()
                .chain_update(LINK_DOMAIN)
                .chain_update(writer.into_bytes())
                .finalize()
                .into(),
        )
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.map(2 + usize::from(self.next.is_some()));
        writer.uint(1).int(ALG_ED25519).uint(2).bytes(&self.key.0);
        if let Some(next) = &self.next {
            writer.uint(4).bytes(&next.0);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let Parts { key, next, .. } = Parts::read(reader, false)?;
        Ok(Self { key, next })
    }
}

/// What a genesis and a link have in common on the wire.
struct Parts {
    key: PublicKey,
    salt: Vec<u8>,
    next: Option<Commitment>,
}

impl Parts {
    fn read(reader: &mut Reader<'_>, with_salt: bool) -> Result<Self, CborError> {
        let start = reader.position();
        let mut fields = reader.map()?;
        let (mut algorithm, mut key, mut salt, mut next) = (None, None, Vec::new(), None);
        while let Some(field) = fields.next(reader)? {
            let at = reader.position();
            match field {
                1 => algorithm = Some(reader.int()?),
                2 => key = Some(PublicKey(reader.array_of()?)),
                3 if with_salt => {
                    salt = reader.bytes()?.to_vec();
                    if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
                        return Err(CborError::Type(at));
                    }
                }
                4 => next = Some(Commitment(reader.array_of()?)),
                _ => return Err(CborError::Type(at)),
            }
        }
        match (algorithm, key) {
            (Some(ALG_ED25519), Some(key)) => Ok(Self { key, salt, next }),
            _ => Err(CborError::Type(start)),
        }
    }
}

impl KeyChain {
    /// A new chain whose keys all come from `recovery_seed`: the first key and `links` more.
    ///
    /// # Errors
    /// [`KeyError::Salt`] or [`KeyError::TooManyLinks`].
    pub fn generate(recovery_seed: &[u8; 32], salt: &[u8], links: usize) -> Result<Self, KeyError> {
        Self::starting_with(SecretKey::derive(recovery_seed, 0).public(), recovery_seed, salt, links)
    }

    /// A new chain that starts with a key made elsewhere and goes on with keys of `recovery_seed`.
    ///
    /// # Errors
    /// [`KeyError::Salt`], [`KeyError::TooManyLinks`], or the first key is none.
    pub fn starting_with(first: PublicKey, recovery_seed: &[u8; 32], salt: &[u8], links: usize) -> Result<Self, KeyError> {
        first.check()?;
        if salt.len() > SALT_BYTES_MAX {
            return Err(KeyError::Salt);
        }
        let count = u16::try_from(links)
            .ok()
            .filter(|count| usize::from(*count) <= CHAIN_LINKS_MAX)
            .ok_or(KeyError::TooManyLinks)?;
        let mut next = None;
        let mut made = Vec::with_capacity(links);
        for index in (1..=count).rev() {
            let link = Link {
                key: SecretKey::derive(recovery_seed, index).public(),
                next,
            };
            next = Some(link.commitment());
            made.push(link);
        }
        made.reverse();
        Ok(Self {
            genesis: Genesis {
                key: first,
                salt: salt.to_vec(),
                next,
            },
            links: made,
        })
    }

    /// Whether every link is the one committed to.
    ///
    /// # Errors
    /// [`KeyError::Uncommitted`] with the link's number, counted from 1.
    pub fn check(&self) -> Result<(), KeyError> {
        current_key(&self.genesis, &self.links).map(drop)
    }
}

/// The key in force after the revealed `links`, each checked against the commitment before it.
///
/// # Errors
/// [`KeyError::TooManyLinks`] or [`KeyError::Uncommitted`].
pub fn current_key(genesis: &Genesis, links: &[Link]) -> Result<PublicKey, KeyError> {
    if links.len() > CHAIN_LINKS_MAX {
        return Err(KeyError::TooManyLinks);
    }
    let (mut key, mut next) = (genesis.key, genesis.next);
    for (index, link) in links.iter().enumerate() {
        if next != Some(link.commitment()) {
            return Err(KeyError::Uncommitted(index + 1));
        }
        (key, next) = (link.key, link.next);
    }
    Ok(key)
}

/// The y coordinates of the eight points of small order: 0 (order 4), 1 (the identity), −1 (order 2), and two of order 8.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    y_of(0x01, 0, 0),
    y_of(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
        0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
        0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// A number of 32 little-endian bytes: the first, those between, the last.
const fn y_of(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut y = [between; 32];
    y[0] = first;
    y[31] = last;
    y
}

const GENESIS_DOMAIN: &[u8] = b"dialtone/genesis/v1";
const LINK_DOMAIN: &[u8] = b"dialtone/link/v1";
const SEED_DOMAIN: &[u8] = b"dialtone/seed/v1";
/// SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }, RFC 8410 §4.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
