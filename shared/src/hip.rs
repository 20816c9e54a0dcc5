//! Host Identity Tags: the 128 bits, written as an IPv6 address, by which the Host Identity Protocol calls a key.
//!
//! ```text
//! HIT   2001:20::/28 (28 bits) | suite 5 (4 bits) | cSHAKE128(host identity, N = "", S = context) (96 bits)       (RFC 7343, RFC 9374 §3.5)
//! host identity   curve (2) = 1 | 0 (2) | public key (32)                                                        (RFC 9374 §3.4.1.1)
//! HIP RR          16 (1) | 4 (1) | 32 (2) | HIT (16) | public key (32)                                            (RFC 8005 §5, RFC 9373)
//! ```
//!
//! RFC 9374 leaves open what of this goes into the hash; this is the reading that has another public implementation, and it is fixed: see
//! PROTOCOL.md §19. A tag is an index and not a name: it follows the key that is in force, and whoever is answered makes it anew from the key.

use crate::key::PublicKey;
use crate::name::Name;
use crate::record::Record;
use cshake::CShake128;
use cshake::digest::{CustomizedInit, ExtendableOutput, Update, XofReader};
use std::fmt;
use std::net::Ipv6Addr;

/// A Host Identity Tag of an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit([u8; 16]);

impl Hit {
    /// The tag of a key.
    pub fn of(key: &PublicKey) -> Self {
        let mut hash = CShake128::new_customized(&CONTEXT);
        hash.update(&CURVE);
        hash.update(key.as_bytes());
        let mut tag = [0; 16];
        tag[..4].copy_from_slice(&PREFIX);
        hash.finalize_xof().read(&mut tag[4..]);
        Self(tag)
    }

    /// The tag that is this address; `None`: it is none of an Ed25519 key.
    pub fn from_address(address: Ipv6Addr) -> Option<Self> {
        let bytes = address.octets();
        bytes.starts_with(&PREFIX).then_some(Self(bytes))
    }

    /// Its bytes, as they travel.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The 96 bits that tell it from other tags.
    pub fn hash(&self) -> [u8; 12] {
        std::array::from_fn(|at| self.0[PREFIX.len() + at])
    }

    /// The tag with these 96 bits.
    pub fn from_hash(hash: [u8; 12]) -> Self {
        let mut tag = [0; 16];
        tag[..PREFIX.len()].copy_from_slice(&PREFIX);
        tag[PREFIX.len()..].copy_from_slice(&hash);
        Self(tag)
    }

    /// Whether it is the tag of the key that is in force for this record.
    pub fn is_of(&self, record: &Record) -> bool {
        record.key().is_some_and(|key| Self::of(&key) == *self)
    }

    /// What stands for it in tables of names, and never leaves them. It is nobody's name: that would be a hash that ends in 128 zeros.
    pub fn place(&self) -> Name {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&self.0);
        Name::key_set(digest)
    }

    /// As an address, which is how people write it.
    pub fn address(&self) -> Ipv6Addr {
        self.0.into()
    }

    /// The tag whose name this is in the reverse tree (RFC 3596 §2.5): 32 nibbles, last first, and `ip6.arpa`, whose labels are left out.
    pub fn from_nibbles<'a>(labels: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Self> {
        if labels.len() != 32 {
            return None;
        }
        let mut bits = 0u128;
        for (at, label) in labels.enumerate() {
            let &[digit] = label else { return None };
            bits |= u128::from(char::from(digit).to_digit(16)?) << (4 * at);
        }
        Self::from_address(Ipv6Addr::from_bits(bits))
    }

    /// The labels of its name in the reverse tree, each a digit in lower case: what [`Self::from_nibbles`] takes.
    pub fn nibbles(&self) -> [u8; 32] {
        let bits = self.address().to_bits();
        std::array::from_fn(|at| b"0123456789abcdef"[(bits >> (4 * at) & 15) as usize])
    }

    /// The RDATA of the HIP RR of a key.
    pub fn rdata(key: &PublicKey) -> Vec<u8> {
        let mut rdata = vec![16, ALGORITHM, 0, 32];
        rdata.extend(Self::of(key).0);
        rdata.extend(key.as_bytes());
        rdata
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hit({self})")
    }
}

/// 2001:20::/28 and the suite EdDSA/cSHAKE128.
const PREFIX: [u8; 4] = [0x20, 0x01, 0x00, 0x25];
/// EdDSA25519, and two bytes that are 0.
const CURVE: [u8; 4] = [0, 1, 0, 0];
/// EdDSA among the key algorithms of IPSECKEY.
const ALGORITHM: u8 = 4;
/// The Context ID of HIP (RFC 7401 §3.2).
const CONTEXT: [u8; 16] = [
    0xf0, 0xef, 0xf0, 0x2f, 0xbf, 0xf4, 0x3d, 0x0f, 0xe7, 0x93, 0x0c, 0x3c, 0x6e, 0x61, 0x74, 0xea,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_the_other_implementation() {
        for (key, tag) in [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "2001:25:9dbc:2ff3:b95a:8ae4:712:f3b3",
            ),
            (
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "2001:25:a562:28df:df7d:3ade:3057:414a",
            ),
            (
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "2001:25:f919:d97e:4706:44d7:59da:113f",
            ),
            (
                "dd64d7814be99f54650979e6f348066362d9fc4ad450466d677dc80e2f327e13",
                "2001:25:2a21:e4a5:c59f:dbaa:bc90:406",
            ),
            (
                "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
                "2001:25:bccf:1a06:acee:830b:72a3:7ce5",
            ),
        ] {
            let key = PublicKey::from_bytes(hex::decode(key).unwrap().try_into().unwrap());
            let hit = Hit::of(&key);
            assert_eq!(hit.to_string(), tag);
            assert_eq!(Hit::from_address(tag.parse().unwrap()), Some(hit));
            let rdata = Hit::rdata(&key);
            assert_eq!((&rdata[..4], rdata.len()), (&[16, 4, 0, 32][..], 52));
            assert_eq!((&rdata[4..20], &rdata[20..]), (&hit.address().octets()[..], &key.as_bytes()[..]));
        }
        let hit = Hit::from_address("2001:25:9dbc:2ff3:b95a:8ae4:712:f3b3".parse().unwrap()).unwrap();
        let nibbles = "3.b.3.f.2.1.7.0.4.e.a.8.a.5.9.b.3.f.f.2.c.b.d.9.5.2.0.0.1.0.0.2";
        let parsed = |text: &str| Hit::from_nibbles(text.split('.').map(str::as_bytes).collect::<Vec<_>>().into_iter());
        assert!(hit.nibbles().iter().eq(nibbles.as_bytes().iter().step_by(2)));
        assert_eq!((parsed(nibbles), parsed(&nibbles.to_uppercase())), (Some(hit), Some(hit)));
        assert_eq!((parsed(&nibbles[2..]), parsed(&nibbles.replace('c', "g"))), (None, None));
        assert_eq!(Hit::from_address("2001:db8::1".parse().unwrap()), None);
        assert_eq!(Hit::from_address("2001:22::1".parse().unwrap()), None, "of a key of another kind");
    }
}
