//! COSE as others understand it, in exactly one form.

use crate::world::*;
use coset::{CborSerializable, CoseSign1, RegisteredLabelWithPrivate, TaggedCborSerializable, iana};
use dialtone_shared::cbor::CborError;
use dialtone_shared::record::signed::RECORD_DOMAIN;
use dialtone_shared::{RecordError, SecretKey, SignedRecord};

#[test]
fn our_records_are_cose_to_an_independent_implementation() {
    for record in [record(one_of_each()), revocation()] {
        let ours = signed(&record);
        let theirs = CoseSign1::from_tagged_slice(ours.bytes()).unwrap();
        assert_eq!(
            theirs.protected.header.alg,
            Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::Ed25519))
        );
        assert!(theirs.unprotected.is_empty());
        assert_eq!(theirs.payload, Some(record.encode_payload().unwrap()));
        theirs
            .verify_signature(RECORD_DOMAIN.as_bytes(), |signature, message| {
                let signature = signature.try_into().map_err(|_| ())?;
                let right = key(1).public().verify(message, signature).map_err(|_| ())?;
                if right { Ok(()) } else { Err(()) }
            })
            .unwrap();
        // And what it makes of the same payload is the same, byte for byte.
        assert_eq!(*ours.bytes(), seal(&record.encode_payload().unwrap(), &key(1)));
    }
}

#[test]
fn the_published_cose_vectors_are_built_as_ours_are() {
    let vectors = vectors(include_str!("../vectors/cose.json"));
    let vector = list(&vectors, "sign1").iter().find(|v| v["name"] == "ed25519_-19_aad").unwrap();
    assert_eq!(bytes(vector, "external_aad"), RECORD_DOMAIN.as_bytes());
    let seed: [u8; 32] = bytes(vector, "seed").try_into().unwrap();
    let key = SecretKey::from_seed(&seed);
    assert_eq!(
        hex::encode(seal(&bytes(vector, "payload"), &key)),
        text(vector, "cose_sign1_tagged")
    );
    assert_eq!(hex::encode(key.sign(&bytes(vector, "sig_structure"))), text(vector, "signature"));
    // The envelope is the one; what is inside is not a record, and only that is refused.
    let refused = SignedRecord::decode(bytes(vector, "cose_sign1_tagged").into()).unwrap_err();
    assert_eq!(refused, RecordError::Cbor(CborError::Type(4)), "{refused}");
}

#[test]
fn every_other_cose_message_is_refused_for_its_envelope() {
    let vectors = vectors(include_str!("../vectors/cose.json"));
    for vector in list(&vectors, "sign1")
        .iter()
        .filter(|v| !text(v, "name").starts_with("ed25519_-19"))
    {
        let refused = SignedRecord::decode(bytes(vector, "cose_sign1_tagged").into());
        assert!(matches!(refused, Err(RecordError::Envelope(_))), "{vector}: {refused:?}");
    }
    for vector in list(&vectors, "negative") {
        let refused = SignedRecord::decode(bytes(vector, "cose_sign1_tagged").into());
        assert!(matches!(refused, Err(RecordError::Envelope(_))), "{vector}: {refused:?}");
    }
}

#[test]
fn any_envelope_but_the_one_is_refused_where_it_differs() {
    let right = signed(&record(vec![address(1)])).bytes().to_vec();
    let payload = right.len() - 66 - 9; // after d28443a10132a0 and 58xx
    assert_eq!(&right[7..9], [0x58, payload as u8]);
    let (head, tail) = (&right[..7], &right[7..]);
    let swap = |from: usize, to: usize, with: &str| [&right[..from], &unhex(with), &right[to..]].concat();

    for (what, bytes, at) in [
        ("tag dropped", right[1..].to_vec(), 0),
        ("tag 98", swap(0, 1, "d862"), 0),
        ("tag in two bytes", swap(0, 1, "d812"), 0),
        ("tagged twice", swap(0, 0, "d2"), 1),
        ("indefinite array", [&swap(1, 2, "9f")[..], &[0xff]].concat(), 1),
        ("array of five", [&swap(1, 2, "85")[..], &[0xf6]].concat(), 1),
        ("EdDSA, the older number", swap(5, 6, "27"), 5),
        ("a longer spelling of -19", swap(2, 6, "44a1013812"), 2),
        ("a key id in the protected header", swap(2, 6, "46a20132044100"), 2),
        ("protected header empty", swap(2, 6, "40"), 2),
        ("an unprotected header", swap(6, 7, "a1044131"), 6),
        ("payload detached", [head, &unhex("f6"), &tail[1 + payload..]].concat(), 7),
        ("payload of indefinite length", swap(7, 9, "5f"), 7),
        (
            "payload's length in a longer spelling",
            swap(7, 9, &format!("5900{payload:02x}")),
            7,
        ),
        ("payload longer than what is there", swap(8, 9, "ff"), 7),
    ] {
        let refused = SignedRecord::decode(bytes.into());
        assert_eq!(refused, Err(RecordError::Envelope(at)), "{what}");
    }
    for trailing in [vec![0], vec![0xff], vec![0; 66]] {
        let longer = [right.clone(), trailing].concat();
        assert!(matches!(SignedRecord::decode(longer.into()), Err(RecordError::Envelope(_))));
    }
    // A signature of another length, by its head or in fact.
    let at = right.len() - 66;
    assert_eq!(
        SignedRecord::decode(swap(at, at + 2, "5841").into()),
        Err(RecordError::Envelope(at))
    );
    assert!(matches!(
        SignedRecord::decode(swap(at, at + 3, "583f").into()),
        Err(RecordError::Envelope(_))
    ));
}

#[test]
fn another_implementation_can_make_what_we_accept() {
    let payload = record(one_of_each()).encode_payload().unwrap();
    let theirs = SignedRecord::decode(seal(&payload, &key(1))).unwrap().verify().unwrap();
    assert_eq!(theirs, verified(&record(one_of_each())));
    // Untagged, as COSE allows elsewhere, it is not accepted.
    let untagged = CoseSign1::from_tagged_slice(theirs.bytes()).unwrap().to_vec().unwrap();
    assert_eq!(SignedRecord::decode(untagged.into()), Err(RecordError::Envelope(0)));
}
