//! What a record may say, and how one that says something else is refused.

use crate::world::*;
use dialtone_shared::cbor::CborError;
use dialtone_shared::key::KeyError;
use dialtone_shared::limits::*;
use dialtone_shared::record::signed::SignError;
use dialtone_shared::record::{DnsData, Opaque, rdata::types};
use dialtone_shared::{Binding, Body, Name, Record, RecordError, SignedRecord, Ttl, UnixMicros, VerifyError};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_may_be_said_is_read_back((record, secret) in any_record()) {
        let payload = record.encode_payload().unwrap();
        prop_assert_eq!(Record::decode_payload(&payload), Ok(record.clone()));

        let signed = SignedRecord::sign(record.clone(), &secret).unwrap();
        let again = SignedRecord::decode(signed.bytes().clone()).unwrap();
        prop_assert_eq!(&again, &signed);
        prop_assert_eq!(again.name(), &record.genesis.name());

        let verified = again.verify_for(&record.name()).unwrap();
        prop_assert_eq!(verified.record(), &record);
        prop_assert_eq!(verified.bytes(), signed.bytes());
        prop_assert_eq!(verified.rank(), &signed.rank());
        prop_assert_eq!(verified.rank().epoch as usize, record.chain.len());
    }

    #[test]
    fn what_is_read_would_be_written_the_same((record, _) in any_record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut payload = record.encode_payload().unwrap();
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(other) = Record::decode_payload(&payload) {
            // Uncritical fields and kinds are passed over: what is written again is then shorter, else the same.
            let again = other.encode_payload().unwrap();
            prop_assert!(again.len() < payload.len() || again == payload);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Record::decode_payload(&payload);
        let _ = SignedRecord::decode(seal(&payload, &key(1)));
        let _ = SignedRecord::decode(payload.into());
    }
}

/// The fields of a minimal record, encoded: version, genesis, sequence, expiry, TTL, bindings.
fn fields() -> Vec<(&'static str, String)> {
    vec![
        ("01", "01".into()),
        ("02", hex::encode(record(Vec::new()).genesis.encode())),
        ("04", "01".into()),
        ("05", "01".into()),
        ("06", "183c".into()),
        ("08", "80".into()),
    ]
}

/// What the decoder says of the minimal record with `key` set to `value` (or left out), at its place in the order.
pub fn with(key: &'static str, value: &str) -> Result<Record, RecordError> {
    let mut fields = fields();
    fields.retain(|(other, _)| *other != key);
    if !value.is_empty() {
        fields.push((key, value.into()));
        fields.sort();
    }
    decode(&fields)
}

fn decode(fields: &[(&'static str, String)]) -> Result<Record, RecordError> {
    let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let payload = map(&fields);
    let plain = Record::decode_payload(&payload);
    // In a well-signed envelope it is judged alike: a right signature excuses nothing.
    let sealed = SignedRecord::decode(seal(&payload, &key(1)));
    assert_eq!(sealed.map(|sealed| sealed.record().clone()), plain);
    plain
}

#[test]
fn the_minimal_record_is_accepted() {
    let record = decode(&fields()).unwrap();
    assert_eq!((record.sequence, record.bindings().len()), (UnixMicros(1), 0));
}

#[test]
fn fields_that_are_missing_wrong_or_unknown_are_named() {
    for (key, what) in [
        ("01", "version"),
        ("02", "genesis"),
        ("04", "sequence"),
        ("05", "expiry"),
        ("06", "ttl"),
        ("08", "bindings"),
    ] {
        assert_eq!(with(key, ""), Err(RecordError::Missing(what)));
    }
    assert_eq!(with("01", "02"), Err(RecordError::Version(2)));
    assert_eq!(with("01", "00"), Err(RecordError::Version(0)));
    assert_eq!(with("03", "80"), Err(RecordError::EmptyList("chain")));
    assert_eq!(with("07", "80"), Err(RecordError::EmptyList("scope")));
    assert_eq!(with("04", "00"), Err(RecordError::Sequence(0)));
    assert_eq!(with("04", "1b4000000000000001"), Err(RecordError::Sequence(SEQUENCE_MAX + 1)));
    assert_eq!(with("09", "f5"), Err(RecordError::RevokedWith("expiry")));
    assert!(matches!(with("09", "f4"), Err(RecordError::Cbor(CborError::Type(_)))));
    assert!(matches!(
        with("06", "1b0000000100000000"),
        Err(RecordError::Cbor(CborError::Type(_)))
    ));
    assert!(matches!(with("02", "a0"), Err(RecordError::Cbor(CborError::Type(_)))));
    assert_eq!(with("08", "9841"), Err(RecordError::TooManyBindings(65)));
    assert_eq!(with("03", "9821"), Err(RecordError::Chain(KeyError::TooManyLinks)));
    assert_eq!(with("07", "89"), Err(RecordError::Scope));
}

#[test]
fn fields_below_64_are_critical_and_those_above_are_passed_over() {
    for critical in ["00", "0a", "17", "1818", "183f"] {
        let number = *unhex(critical).last().unwrap();
        assert_eq!(with(critical, "00"), Err(RecordError::UnknownField(u64::from(number))));
    }
    let plain = decode(&fields()).unwrap();
    for (uncritical, value) in [("1840", "00"), ("18ff", "f6"), ("1bffffffffffffffff", "83a10182f5206161 4100")] {
        assert_eq!(with(uncritical, value), Ok(plain.clone()));
    }
    // Passed over, but still of one spelling.
    assert!(matches!(with("1840", "1800"), Err(RecordError::Cbor(CborError::NotShortest(_)))));
    assert!(matches!(with("1840", "9fff"), Err(RecordError::Cbor(CborError::Indefinite(_)))));
    assert!(matches!(with("1840", "a201000100"), Err(RecordError::Cbor(CborError::KeyOrder(_)))));
    assert!(matches!(with("1840", "c100"), Err(RecordError::Cbor(CborError::Profile(_)))));
    assert!(matches!(
        with("1840", "818181818181818100"),
        Err(RecordError::Cbor(CborError::Depth(_)))
    ));
    // And part of what is signed: two records that differ in such a field alone are two records.
    let one = SignedRecord::decode(seal(&map_of("1840", "00"), &key(1)))
        .unwrap()
        .verify()
        .unwrap();
    let two = SignedRecord::decode(seal(&map_of("1840", "01"), &key(1)))
        .unwrap()
        .verify()
        .unwrap();
    assert_eq!(one.record(), two.record());
    assert!(one != two && two.outranks(&one));
}

fn map_of(key: &'static str, value: &str) -> Vec<u8> {
    let mut fields = fields();
    fields.push((key, value.into()));
    fields.sort();
    let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
    map(&fields)
}

#[test]
fn keys_twice_or_out_of_order_are_refused() {
    let mut twice = fields();
    twice.insert(3, ("04", "02".into()));
    assert!(matches!(decode(&twice), Err(RecordError::Cbor(CborError::KeyOrder(_)))));
    let mut swapped = fields();
    swapped.swap(2, 3);
    assert!(matches!(decode(&swapped), Err(RecordError::Cbor(CborError::KeyOrder(_)))));
    let mut text = fields();
    text.push(("6161", "00".into()));
    assert!(matches!(decode(&text), Err(RecordError::Cbor(CborError::Type(_)))));
}

#[test]
fn non_deterministic_payloads_are_refused_however_well_signed() {
    let payload = record(vec![address(1)]).encode_payload().unwrap();
    let indefinite = [&[0xbf], &payload[1..], &[0xff]].concat();
    let long_head = [&[0xb8, payload[0] & 31], &payload[1..]].concat();
    let trailing = [&payload[..], &[0]].concat();
    let long_version = [&payload[..2], &[0x18, 0x01], &payload[3..]].concat();
    for (bytes, error) in [
        (indefinite, CborError::Indefinite(0)),
        (long_head, CborError::NotShortest(0)),
        (trailing, CborError::Trailing(payload.len())),
        (long_version, CborError::NotShortest(2)),
        (vec![0xa0], CborError::Type(0)),
        (payload[..20].to_vec(), CborError::Truncated(20)),
    ] {
        let refused = SignedRecord::decode(seal(&bytes, &key(1)));
        if bytes == [0xa0] {
            assert_eq!(refused, Err(RecordError::Missing("version")));
        } else {
            assert_eq!(refused, Err(RecordError::Cbor(error)));
        }
    }
}

#[test]
fn a_record_has_at_most_4096_bytes() {
    let of_length = |length| {
        record(vec![Binding::Opaque(Opaque {
            media_type: "a/b".into(),
            bytes: vec![0; length],
        })])
    };
    let overhead = signed(&of_length(1000)).bytes().len() - 1000;
    let fits = signed(&of_length(RECORD_BYTES_MAX - overhead));
    assert_eq!(fits.bytes().len(), RECORD_BYTES_MAX);
    assert!(SignedRecord::decode(fits.bytes().clone()).is_ok());

    let large = of_length(RECORD_BYTES_MAX - overhead + 1);
    let refused = RecordError::TooLarge(RECORD_BYTES_MAX + 1);
    assert_eq!(SignedRecord::sign(large.clone(), &key(1)), Err(SignError::Record(refused.clone())));
    assert_eq!(SignedRecord::decode(seal(&large.encode_payload().unwrap(), &key(1))), Err(refused));

    for short in 0..RECORD_BYTES_MIN {
        assert_eq!(SignedRecord::decode(vec![0xd2; short].into()), Err(RecordError::TooShort(short)));
    }
}

#[test]
fn only_the_key_that_the_name_commits_to_can_sign() {
    let record = record(vec![address(1)]);
    assert_eq!(SignedRecord::sign(record.clone(), &key(2)), Err(SignError::WrongKey(0)));
    let forged = SignedRecord::decode(seal(&record.encode_payload().unwrap(), &key(2))).unwrap();
    assert_eq!(*forged.name(), name(1));
    assert_eq!(forged.verify(), Err(VerifyError::Signature));
}

#[test]
fn a_record_of_another_name_is_said_to_be_one() {
    let refused = signed(&record(Vec::new())).verify_for(&name(2));
    assert_eq!(refused, Err(VerifyError::OtherName(name(1))));
}

#[test]
fn a_signature_of_another_domain_does_not_count() {
    let payload = record(Vec::new()).encode_payload().unwrap();
    let right = seal(&payload, &key(1));
    let other: [u8; 64] = {
        let message = [
            &unhex("846a5369676e61747572653143a1013240")[..],
            &[0x58, payload.len() as u8],
            &payload,
        ]
        .concat();
        key(1).sign(&message)
    };
    let moved = [&right[..right.len() - 64], &other].concat();
    assert_eq!(SignedRecord::decode(moved.into()).unwrap().verify(), Err(VerifyError::Signature));
}

#[test]
fn a_scope_names_providers_in_order_each_once() {
    let mut names: Vec<Name> = (1..=9).map(name).collect();
    names.sort();
    let scoped = |scope: &[Name]| {
        let record = Record {
            scope: scope.to_vec(),
            ..record(Vec::new())
        };
        record.encode_payload().map(|payload| Record::decode_payload(&payload).unwrap())
    };
    let record = scoped(&names[..8]).unwrap();
    assert!(record.in_scope(&names[0]) && record.in_scope(&names[7]) && !record.in_scope(&names[8]));
    assert!(scoped(&[]).unwrap().in_scope(&names[8]));

    let mut content = vec![names[0], Name::of_content(b"no provider")];
    content.sort();
    for wrong in [&names[..9], &[names[1], names[0]], &[names[0], names[0]], &content] {
        assert_eq!(scoped(wrong), Err(RecordError::Scope));
    }
    // Read as strictly as written: an unknown scheme, too.
    let unknown = format!("815821{}", hex::encode([9; 33]));
    assert_eq!(with("07", &unknown), Err(RecordError::Scope));
    let content = format!("815821{}", hex::encode(Name::of_content(b"").as_bytes()));
    assert_eq!(with("07", &content), Err(RecordError::Scope));
}

#[test]
fn a_revocation_says_nothing_else() {
    let revoked = verified(&revocation());
    assert!(revoked.rank().revoked && revoked.record().expiry().is_none() && revoked.record().bindings().is_empty());
    let field = |key, value: &str| (key, value.to_owned());
    let base = [fields()[0].clone(), fields()[1].clone(), field("04", "01"), field("09", "f5")];
    assert!(decode(&base).unwrap().is_revoked());
    for (key, value, what) in [("05", "01", "expiry"), ("06", "00", "ttl"), ("08", "80", "bindings")] {
        let mut with = base.to_vec();
        with.insert(3, field(key, value));
        assert_eq!(decode(&with), Err(RecordError::RevokedWith(what)));
    }
}

#[test]
fn forbidden_dns_types_are_refused_in_a_record() {
    let refused = record(vec![dns("", types::NS, b"\0")]).encode_payload().unwrap_err();
    assert!(refused.to_string().contains("type 2 cannot be published"), "{refused}");
    let own = record(vec![dns("", dialtone_shared::record::rdata::TYPE_RECORD, b"\0")]).encode_payload();
    assert!(own.is_err());
}

#[test]
fn lists_hold_as_many_as_they_say_and_no_more() {
    let addresses = |count| record((0..count).map(|n| address(n as u8)).collect());
    verified(&addresses(BINDINGS_MAX));
    assert_eq!(addresses(BINDINGS_MAX + 1).encode_payload(), Err(RecordError::TooManyBindings(65)));
    let long = Record {
        genesis: dialtone_shared::Genesis {
            salt: vec![0; SALT_BYTES_MAX + 1],
            ..record(Vec::new()).genesis
        },
        ..record(Vec::new())
    };
    assert_eq!(long.encode_payload(), Err(RecordError::Chain(KeyError::Salt)));
}

#[test]
fn a_store_takes_back_only_what_was_verified() {
    use dialtone_shared::VerifiedRecord;
    let kept = verified(&record(one_of_each()));
    let digest = kept.rank().digest;
    assert_eq!(VerifiedRecord::reopen(kept.bytes().clone(), &digest), Ok(kept.clone()));
    for at in 0..kept.bytes().len() {
        let mut changed = kept.bytes().to_vec();
        changed[at] ^= 1;
        assert_eq!(
            VerifiedRecord::reopen(changed.into(), &digest),
            Err(VerifyError::Corrupt),
            "byte {at}"
        );
    }
    let other = verified(&record(Vec::new()));
    assert_eq!(VerifiedRecord::reopen(other.bytes().clone(), &digest), Err(VerifyError::Corrupt));
    assert_eq!(VerifiedRecord::reopen(kept.bytes().slice(1..), &digest), Err(VerifyError::Corrupt));
}

#[test]
fn a_withdrawn_name_is_an_ordinary_record_without_bindings() {
    let empty = verified(&record(Vec::new()));
    assert!(matches!(&empty.record().body, Body::Live { bindings, .. } if bindings.is_empty()));
    assert!(!empty.record().is_revoked());
}

#[test]
fn dns_data_keeps_its_own_ttl() {
    let Binding::Dns(DnsData { ttl, .. }) = dns("a", types::A, &[0; 4]) else {
        unreachable!()
    };
    assert_eq!(ttl, Ttl(300));
    let read = verified(&record(vec![dns("a", types::A, &[0; 4])]));
    assert_eq!(read.record().bindings(), [dns("a", types::A, &[0; 4])]);
}
