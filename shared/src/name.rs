//! Flat, self-certifying names: 32 bytes and a scheme that says how they certify themselves.
//!
//! ```text
//! on the wire   [scheme u8][32 bytes]                               33 bytes
//! as text       z-base-32 of [scheme u8][32 bytes][checksum u16]    56 characters
//!               z-base-32 of the 32 bytes, if the scheme is pkarr    52 characters
//! as URI        dialtone:<text>
//! as DNS        <text>.<origin>       upper and lower case alike
//! ```
//!
//! The checksum is the first two bytes of SHA-256("dialtone/name/v1" ‖ scheme ‖ 32 bytes): a mistyped name is
//! told apart from an absent one without asking anybody. The names of pkarr and iroh are written as those write them, without one.

use crate::z32::{self, Z32Error};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// How the 32 bytes of a name certify themselves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Scheme {
    /// SHA-256 of a [`Genesis`](crate::key::Genesis): the name of a key and of all that follow it.
    KeySet = 1,
    /// SHA-256 of the bytes themselves: an immutable value.
    Content = 2,
    /// An Ed25519 public key, as it is: the name of a pkarr packet and of an iroh endpoint. It cannot rotate.
    Pkarr = 3,
}

/// A set of schemes: bit *s* stands for the scheme whose byte is *s*.
pub type Schemes = u64;

impl Scheme {
    /// All that this version knows.
    pub const ALL: Schemes = 1 << Self::KeySet as u8 | 1 << Self::Content as u8 | 1 << Self::Pkarr as u8;
    /// What a peer takes that says nothing of it.
    pub const FIRST: Schemes = 1 << Self::KeySet as u8;

    /// Whether it is one of `schemes`.
    pub fn is_in(self, schemes: Schemes) -> bool {
        schemes >> self as u8 & 1 == 1
    }
}

/// A flat name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; Name::BYTES]);

/// Why something is not a name. It is always the writer's turn: check what was typed or sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Not the length of a name.
    #[error("a name has {chars} characters, or {PKARR_CHARS} if it is a pkarr key; this has {0}", chars = Name::TEXT_CHARS)]
    Length(usize),
    /// Not the 33 bytes of a name on the wire.
    #[error("a name on the wire has {bytes} bytes, this has {0}", bytes = Name::BYTES)]
    Bytes(usize),
    /// A character that names do not have.
    #[error("character {found:?} at position {position} is not in the z-base-32 alphabet (ybndrfg8ejkmcpqxot1uwisza345h769)")]
    Alphabet {
        /// Where, counted from 1, as people count.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// The checksum does not match: a mistyped name.
    #[error("the checksum does not match: a character is mistyped")]
    Checksum,
    /// The last character is an alias of another.
    #[error("the last character is not canonical")]
    NonCanonical,
    /// A scheme this version does not know.
    #[error("naming scheme {0} is not known to this version")]
    Scheme(u8),
    /// A DNS name that is not under the origin.
    #[error("not a name under {0}")]
    Origin(String),
}

impl Name {
    /// Bytes on the wire: the scheme and 32.
    pub const BYTES: usize = 33;
    /// Characters of the text form, but for pkarr's: exactly 280 bits, so no character has bits to spare.
    pub const TEXT_CHARS: usize = 56;

    /// A name of the `key-set` scheme from the digest of its genesis.
    pub fn key_set(digest: [u8; 32]) -> Self {
        Self::new(Scheme::KeySet, digest)
    }

    /// The name of these very bytes, in the `content` scheme.
    pub fn of_content(bytes: &[u8]) -> Self {
        Self::new(Scheme::Content, Sha256::digest(bytes).into())
    }

    /// The name that is this public key, in the `pkarr` scheme.
    pub fn pkarr(key: [u8; 32]) -> Self {
        Self::new(Scheme::Pkarr, key)
    }

    /// A name from its parts.
    pub fn new(scheme: Scheme, digest: [u8; 32]) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = scheme as u8;
        bytes[1..].copy_from_slice(&digest);
        Self(bytes)
    }

    /// A name from its 33 bytes on the wire.
    ///
    /// # Errors
    /// [`NameError::Bytes`] or [`NameError::Scheme`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        let bytes: [u8; Self::BYTES] = bytes.try_into().map_err(|_| NameError::Bytes(bytes.len()))?;
        scheme_of(bytes[0])?;
        Ok(Self(bytes))
    }

    /// The 33 bytes on the wire.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The 32 bytes without the scheme.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.0[1..]);
        digest
    }

    /// Which scheme certifies it.
    pub fn scheme(&self) -> Scheme {
        match self.0[0] {
            2 => Scheme::Content,
            3 => Scheme::Pkarr,
            _ => Scheme::KeySet,
        }
    }

    /// `dialtone:<text>`.
    pub fn to_uri(&self) -> String {
        format!("{URI_SCHEME}{self}")
    }

    /// `<text>.<origin>`, without a final dot.
    pub fn to_dns(&self, origin: &str) -> String {
        format!("{self}.{}", origin.trim_matches('.'))
    }

    /// The name in one DNS label, which is its text in any case.
    ///
    /// # Errors
    /// As [`FromStr`]: the label is not a name.
    pub fn from_label(label: &str) -> Result<Self, NameError> {
        let chars = label.chars().count();
        if chars == PKARR_CHARS {
            let key = z32::decode(label).map_err(from_z32)?;
            return key.try_into().map(Self::pkarr).map_err(|_| NameError::Length(chars));
        }
        if chars != Self::TEXT_CHARS {
            return Err(NameError::Length(chars));
        }
        let bytes = z32::decode(label).map_err(from_z32)?;
        let (name, sum) = bytes.split_at(Self::BYTES);
        if checksum(name) != *sum {
            return Err(NameError::Checksum);
        }
        match scheme_of(name[0])? {
            // Written with 52 characters, and in no other way.
            Scheme::Pkarr => Err(NameError::Scheme(name[0])),
            Scheme::KeySet | Scheme::Content => Self::from_bytes(name),
        }
    }

    /// The name in `<text>.<origin>`, with or without a final dot.
    ///
    /// # Errors
    /// [`NameError::Origin`] if it is not directly under the origin, otherwise as [`Name::from_label`].
    pub fn from_dns(dns: &str, origin: &str) -> Result<Self, NameError> {
        let origin = origin.trim_matches('.');
        let dns = dns.strip_suffix('.').unwrap_or(dns);
        let cut = dns.len().checked_sub(origin.len() + 1);
        match cut.and_then(|cut| dns.split_at_checked(cut)) {
            Some((label, rest)) if rest.starts_with('.') && rest[1..].eq_ignore_ascii_case(origin) => Self::from_label(label),
            _ => Err(NameError::Origin(origin.to_owned())),
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads the text or the URI form.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_uri = text
            .get(..URI_SCHEME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(URI_SCHEME));
        Self::from_label(if is_uri { &text[URI_SCHEME.len()..] } else { text })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme() == Scheme::Pkarr {
            return f.write_str(&z32::encode(&self.0[1..]));
        }
        let mut bytes = [0; Self::BYTES + 2];
        bytes[..Self::BYTES].copy_from_slice(&self.0);
        bytes[Self::BYTES..].copy_from_slice(&checksum(&self.0));
        f.write_str(&z32::encode(&bytes))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

fn checksum(name: &[u8]) -> [u8; 2] {
    let digest = Sha256::new().chain_update(CHECKSUM_DOMAIN).chain_update(name).finalize();
    [digest[0], digest[1]]
}

fn scheme_of(byte: u8) -> Result<Scheme, NameError> {
    match byte {
        1 => Ok(Scheme::KeySet),
        2 => Ok(Scheme::Content),
        3 => Ok(Scheme::Pkarr),
        other => Err(NameError::Scheme(other)),
    }
}

fn from_z32(error: Z32Error) -> NameError {
    match error {
        Z32Error::Alphabet { position, found } => NameError::Alphabet {
            position: position + 1,
            found,
        },
        Z32Error::NonCanonical => NameError::NonCanonical,
        Z32Error::Length(chars) => NameError::Length(chars),
    }
}

const CHECKSUM_DOMAIN: &[u8] = b"dialtone/name/v1";
const URI_SCHEME: &str = "dialtone:";
const PKARR_CHARS: usize = 52;
