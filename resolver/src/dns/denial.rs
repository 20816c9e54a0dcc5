//! The proof that something is not there, as small as it can be: one NSEC record that covers one name (RFC 9824).
//!
//! A name that is not there is said to be there with the type NXNAME alone, so that one record proves it and no neighbour is shown.

use crate::dns::domain::{DOMAIN_BYTES_MAX, Domain, LABEL_BYTES_MAX};
use crate::dns::response::{Rdata, Rr};
use std::collections::BTreeSet;

/// RR types of DNSSEC (RFC 4034, RFC 9824 §3.1).
#[expect(missing_docs, reason = "the names are the registry's")]
pub mod types {
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NXNAME: u16 = 128;
}

/// What is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Where.
    pub owner: Domain,
    /// Whether anything stands there, or below.
    pub exists: bool,
    /// The types that stand there.
    pub kinds: Vec<u16>,
}

impl Denial {
    /// The record that proves it to who asked for `kind`; `None` where no name follows the owner.
    pub fn nsec(&self, kind: u16, ttl: u32) -> Option<Rr> {
        let mut kinds = BTreeSet::from([types::RRSIG, types::NSEC]);
        match self.exists {
            true => kinds.extend(self.kinds.iter().filter(|there| **there != kind)),
            false => _ = kinds.insert(types::NXNAME),
        }
        let mut rdata = next(&self.owner.to_lower())?.as_wire().to_vec();
        rdata.extend_from_slice(&bitmap(&kinds));
        Some(Rr {
            owner: self.owner.clone(),
            kind: types::NSEC,
            ttl,
            rdata: Rdata::Bytes(rdata.into()),
        })
    }
}

/// The name right after `owner`, which is in small letters, in the order of RFC 4034 §6.1: its first child that there can be, or where that would not fit
/// the next label that would.
fn next(owner: &Domain) -> Option<Domain> {
    if let Some(child) = owner.child(b"\0") {
        return Some(child);
    }
    let first = owner.labels().next()?;
    let above = owner.without_first(1);
    if first.len() < LABEL_BYTES_MAX && owner.as_wire().len() < DOMAIN_BYTES_MAX {
        return above.child(&[first, b"\0"].concat());
    }
    let end = first.iter().rposition(|&byte| byte < u8::MAX)?;
    let after = match first[end] + 1 {
        // These are small letters, further on.
        b'A'..=b'Z' => b'[',
        after => after,
    };
    above.child(&[&first[..end], &[after]].concat())
}

/// `([window u8][length u8][bits])*` (RFC 4034 §4.1.2)
fn bitmap(kinds: &BTreeSet<u16>) -> Vec<u8> {
    let mut windows: Vec<(u8, Vec<u8>)> = Vec::new();
    for kind in kinds {
        let [window, low] = kind.to_be_bytes();
        if windows.last().is_none_or(|(last, _)| *last != window) {
            windows.push((window, Vec::new()));
        }
        if let Some((_, bits)) = windows.last_mut() {
            bits.resize(usize::from(low / 8) + 1, 0);
            bits[usize::from(low / 8)] |= 0x80 >> (low % 8);
        }
    }
    let encoded = windows
        .iter()
        .map(|(window, bits)| [&[*window, bits.len() as u8], &bits[..]].concat());
    encoded.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::record::rdata::{TYPE_RECORD, types as known};

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect("a domain")
    }

    fn nsec(denial: &Denial, kind: u16) -> Vec<u8> {
        match denial.nsec(kind, 10).expect("a record").rdata {
            Rdata::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// In the order of RFC 4034 §6.1.
    fn comes_before(one: &Domain, other: &Domain) -> bool {
        let key = |name: &Domain| {
            let mut labels: Vec<Vec<u8>> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
            labels.reverse();
            labels
        };
        key(one) < key(other)
    }

    #[test]
    fn what_is_not_there_is_one_type_and_what_is_there_lacks_only_what_was_asked_for() {
        let mut denial = Denial {
            owner: domain("No.Example"),
            exists: false,
            kinds: Vec::new(),
        };
        assert_eq!(
            nsec(&denial, known::A),
            b"\x01\0\x02no\x07example\0\0\x11\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\x80"
        );
        denial.exists = true;
        denial.kinds = vec![known::AAAA, known::A, TYPE_RECORD];
        let expected = [
            b"\x01\0\x02no\x07example\0\0\x06\0\0\0\x08\0\x03\xff\x09".as_slice(),
            &[0; 8],
            &[0x02],
        ]
        .concat();
        assert_eq!(nsec(&denial, known::A), expected);
    }

    #[test]
    fn nothing_that_can_be_asked_for_stands_between_a_name_and_the_next() {
        assert_eq!(next(&domain("a.b")), Some(domain("\\000.a.b")));
        let label = |length: usize, last: u8| [vec![b'x'; length - 1], vec![last]].concat();
        let full = [label(63, b'y'), label(63, b'y'), label(63, b'y')];
        let of = |first: &[u8]| Domain::from_labels(std::iter::once(first).chain(full.iter().map(Vec::as_slice))).expect("fits");
        for (first, after) in [
            // 254 bytes in all, and 255.
            (label(60, b'q'), [label(60, b'q'), vec![0]].concat()),
            (label(61, b'q'), label(61, b'r')),
            (label(61, b'@'), label(61, b'[')),
            ([label(60, b'q'), vec![0xff]].concat(), label(60, b'r')),
        ] {
            let (owner, expected) = (of(&first), of(&after));
            assert!(owner.as_wire().len() >= DOMAIN_BYTES_MAX - 1 && comes_before(&owner, &expected));
            assert_eq!(next(&owner), Some(expected));
        }
        assert_eq!(next(&of(&[0xff; 61])), None);
    }
}
