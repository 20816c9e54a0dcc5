//! Which DNS data may be published: known types in their exact form, types that would change how DNS works not at all.

use crate::world::*;
use dialtone_shared::record::rdata::{RdataError, TYPE_RECORD, check, is_forbidden, types};
use proptest::prelude::*;

#[test]
fn rfc_9460_examples_are_accepted_and_its_failures_are_not() {
    let vectors = vectors(include_str!("../vectors/svcb.json"));
    for kind in [types::SVCB, types::HTTPS] {
        for vector in list(&vectors, "positive") {
            assert_eq!(check(kind, &bytes(vector, "rdata")), Ok(()), "{vector}");
        }
        for vector in list(&vectors, "failures") {
            assert_eq!(check(kind, &bytes(vector, "rdata")), Err(RdataError::Malformed(kind)), "{vector}");
        }
        for vector in list(&vectors, "negative") {
            let legal = text(vector, "name") == "alias_with_params_ok_ignored";
            assert_eq!(check(kind, &bytes(vector, "rdata")).is_ok(), legal, "{vector}");
        }
    }
}

#[test]
fn meta_delegation_dnssec_and_own_types_are_forbidden() {
    let named = [
        0, 2, 3, 4, 6, 24, 25, 30, 39, 41, 43, 46, 47, 48, 50, 51, 59, 60, 62, 63, 32_768, 32_769,
    ];
    for kind in 0..=u16::MAX {
        let forbidden = named.contains(&kind) || (128..=255).contains(&kind) || kind >= 65_280;
        assert_eq!(is_forbidden(kind), forbidden, "{kind}");
        if forbidden {
            assert_eq!(check(kind, &[]), Err(RdataError::ForbiddenType(kind)));
        }
    }
    assert!(is_forbidden(TYPE_RECORD));
}

/// A row a type: RDATA that is right; each prefix of it, and one byte more, must be wrong unless listed as open-ended.
#[test]
fn known_types_are_read_to_the_last_byte() {
    let name = "076578616d706c6503636f6d00";
    let exact: &[(u16, &str)] = &[
        (types::A, "c0000201"),
        (types::AAAA, "20010db8000000000000000000000001"),
        (types::CNAME, name),
        (types::PTR, name),
        (types::MB, name),
        (types::MG, name),
        (types::MR, name),
        (types::MINFO, &format!("{name}{name}")),
        (types::MX, &format!("000a{name}")),
        (types::AFSDB, &format!("0001{name}")),
        (types::RT, &format!("0001{name}")),
        (types::KX, &format!("0001{name}")),
        (types::PX, &format!("0001{name}{name}")),
        (types::SRV, &format!("0001000201bb{name}")),
        (types::RP, &format!("{name}00")),
        (types::HINFO, "0141 0142"),
        (types::NAPTR, &format!("0064 000a 0175 074532552b736970 00{name}")),
        (types::LOC, "00 12 16 13 8b0d2c8c 7ff8fca5 009a3078"),
    ];
    for (kind, rdata) in exact {
        let rdata = unhex(rdata);
        assert_eq!(check(*kind, &rdata), Ok(()), "{kind}");
        for end in 0..rdata.len() {
            assert_eq!(
                check(*kind, &rdata[..end]),
                Err(RdataError::Malformed(*kind)),
                "{kind} cut at {end}"
            );
        }
        let longer = [&rdata[..], &[0]].concat();
        assert_eq!(check(*kind, &longer), Err(RdataError::Malformed(*kind)), "{kind} with a byte more");
    }

    for (kind, right, wrong) in [
        (types::TXT, vec!["00", "0161", "0161 00 026262"], vec!["", "02 61", "0161 01"]),
        (types::SPF, vec!["0161"], vec!["", "0261"]),
        (types::SSHFP, vec!["0101 aa"], vec!["", "01", "0101"]),
        (types::TLSA, vec!["030101 aa"], vec!["", "0301", "030101"]),
        (types::SMIMEA, vec!["030101 aa"], vec!["030101"]),
        (types::URI, vec!["00010001 61"], vec!["", "00010001"]),
        (
            types::CAA,
            vec!["00 05 6973737565 61", "80 05 6973737565"],
            vec!["", "00", "0000", "00 05 69", "00 01 2d 61"],
        ),
        (types::LOC, vec![], vec!["01 12 16 13 8b0d2c8c 7ff8fca5 009a3078"]),
        (
            types::SVCB,
            vec!["0000 00", "0001 00 0001 0003 026832 0002 0000"],
            vec![
                "",
                "0001",
                "0001 00 0001",
                "0001 00 0002 0000",
                "0001 00 ffff 0000",
                "0001 00 0003 0001 35",
                "0001 00 0001 0003 036832",
                "0001 00 0001 0001 00",
                "0001 00 0004 0003 c00002",
                "0001 00 0006 0004 c0000201",
                "0001 00 0000 0003 000100 0001 0003 026832",
                "0001 00 0000 0004 0003 0001 0001 0003 026832 0003 0002 0035",
            ],
        ),
        (1234, vec!["", "c00c", "ff"], vec![]),
    ] {
        for rdata in right {
            assert_eq!(check(kind, &unhex(rdata)), Ok(()), "{kind} {rdata}");
        }
        for rdata in wrong {
            assert_eq!(check(kind, &unhex(rdata)), Err(RdataError::Malformed(kind)), "{kind} {rdata}");
        }
    }
}

/// RFC 3597 §4: for these types a receiver may follow compression pointers, so none may stand where one could.
#[test]
fn names_are_never_compressed() {
    use types::*;
    for (kind, head) in [
        (CNAME, ""),
        (PTR, ""),
        (MB, ""),
        (MG, ""),
        (MR, ""),
        (MINFO, ""),
        (MX, "000a"),
        (AFSDB, "0001"),
        (RT, "0001"),
        (PX, "0001"),
        (SRV, "000100020035"),
        (RP, ""),
        (NAPTR, "0064000a000000"),
        (KX, "0001"),
        (SVCB, "0001"),
        (HTTPS, "0001"),
    ] {
        for pointer in ["c00c", "0161c00c", "410000", "8000"] {
            let rdata = unhex(&format!("{head}{pointer}"));
            assert_eq!(check(kind, &rdata), Err(RdataError::Malformed(kind)), "{kind} {pointer}");
        }
    }
}

#[test]
fn names_have_at_most_255_bytes() {
    let name = |labels: &[usize]| -> Vec<u8> {
        let labels = labels.iter().flat_map(|length| [vec![*length as u8], vec![b'a'; *length]].concat());
        labels.chain([0]).collect()
    };
    assert_eq!(check(types::CNAME, &name(&[63, 63, 63, 61])), Ok(()));
    assert!(check(types::CNAME, &name(&[63, 63, 63, 62])).is_err());
    assert!(check(types::CNAME, &name(&[64])).is_err());
    assert_eq!(check(types::CNAME, &name(&[])), Ok(()));
}

proptest! {
    #[test]
    fn no_rdata_makes_the_checks_panic(kind in prop_oneof![0..300u16, any::<u16>()], rdata in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = check(kind, &rdata);
    }
}
