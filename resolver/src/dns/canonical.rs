//! How data is written where it is signed: in one way only, whoever wrote it (RFC 4034 §6, RFC 6840 §5.1).

use crate::dns::domain::Domain;
use crate::dns::response::Rdata;
use dialtone_shared::record::rdata::{names, types};

/// What a record of type `kind` says, without compression, and with small letters in the names in it where the type is one of those that were known when DNSSEC was made.
pub fn rdata(kind: u16, rdata: &Rdata) -> Vec<u8> {
    match rdata {
        Rdata::Bytes(bytes) => {
            let mut canonical = bytes.to_vec();
            if HAS_NAMES_IN_SMALL_LETTERS.contains(&kind) {
                // Lengths of labels are below every letter.
                names(kind, bytes).for_each(|name| canonical[name].make_ascii_lowercase());
            }
            canonical
        }
        Rdata::Name(name) => name.to_lower().as_wire().to_vec(),
        Rdata::Soa(soa) => {
            let mut canonical = soa.mname.to_lower().as_wire().to_vec();
            canonical.extend_from_slice(soa.rname.to_lower().as_wire());
            for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                canonical.extend_from_slice(&number.to_be_bytes());
            }
            canonical
        }
    }
}

/// How many labels a signature says that `owner` has: a wildcard's asterisk is none (RFC 4034 §3.1.3).
pub fn labels(owner: &Domain) -> u8 {
    // At most 127: a name has 255 bytes.
    owner.labels().enumerate().filter(|(nth, label)| *nth > 0 || *label != b"*").count() as u8
}

/// Types with names that are written in small letters. Those of types that came later stay as they are.
const HAS_NAMES_IN_SMALL_LETTERS: [u16; 15] = [
    types::NS,
    types::CNAME,
    types::MB,
    types::MG,
    types::MR,
    types::PTR,
    types::MINFO,
    types::MX,
    types::RP,
    types::AFSDB,
    types::RT,
    types::PX,
    types::SRV,
    types::NAPTR,
    types::KX,
];

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect("a domain")
    }

    #[test]
    fn names_are_in_small_letters_in_old_types_and_stay_in_new_ones_and_nothing_else_changes() {
        let with = |head: &[u8], name: &str| [head, domain(name).as_wire()].concat();
        for (kind, before, after) in [
            (types::MX, with(&[0, 65], "Mail.Example"), with(&[0, 65], "mail.example")),
            (types::SRV, with(b"ABCDEF", "A.B"), with(b"ABCDEF", "a.b")),
            (types::HTTPS, with(&[0, 1], "A.B"), with(&[0, 1], "A.B")),
            (types::TXT, b"\x02AB".to_vec(), b"\x02AB".to_vec()),
            (types::NAPTR, with(b"ABCD\x01U\x01S\x01R", "N"), with(b"ABCD\x01U\x01S\x01R", "n")),
        ] {
            assert_eq!(rdata(kind, &Rdata::Bytes(Bytes::from(before))), after, "type {kind}");
        }
        assert_eq!(rdata(types::CNAME, &Rdata::Name(domain("A.b"))), domain("a.b").as_wire());
    }

    #[test]
    fn an_asterisk_counts_for_nothing_where_it_is_first_and_alone() {
        for (owner, count) in [("a.b", 2), ("*.b", 1), ("a.*.b", 3), ("*a.b", 2), (".", 0)] {
            assert_eq!(labels(&domain(owner)), count, "{owner}");
        }
    }
}
