//! No byte of a signed record can vary: it is refused, or the signature is.

use crate::world::*;
use dialtone_shared::key::KeyChain;
use dialtone_shared::record::signed::VALUE_HEAD;
use dialtone_shared::{Record, RecordError, SecretKey, SignedRecord, VerifiedRecord};
use proptest::prelude::*;

/// Records of every shape: all bindings, a revocation, a scope and a rotation.
fn samples() -> Vec<VerifiedRecord> {
    let seed = [3; 32];
    let chain = KeyChain::generate(&seed, b"salt", 2).unwrap();
    let rotated = Record {
        genesis: chain.genesis,
        chain: chain.links[..1].to_vec(),
        scope: vec![name(2)],
        ..record(vec![address(1)])
    };
    let rotated = SignedRecord::sign(rotated, &SecretKey::derive(&seed, 1)).unwrap().verify().unwrap();
    vec![verified(&record(one_of_each())), verified(&revocation()), rotated]
}

fn believed(bytes: Vec<u8>) -> Option<VerifiedRecord> {
    SignedRecord::decode(bytes.into()).ok()?.verify().ok()
}

#[test]
fn every_truncation_is_refused_before_any_signature_is_checked() {
    for sample in samples() {
        for end in 0..sample.bytes().len() {
            assert!(SignedRecord::decode(sample.bytes().slice(..end)).is_err(), "cut at {end}");
        }
        for start in 1..sample.bytes().len() {
            // What begins as a value does is one, of another name.
            let decoded = SignedRecord::decode(sample.bytes().slice(start..));
            assert!(decoded.is_err() || sample.bytes()[start] == VALUE_HEAD, "from {start}");
            assert!(
                decoded.is_ok_and(|decoded| decoded.name() != sample.name()) || sample.bytes()[start] != VALUE_HEAD,
                "from {start}"
            );
        }
    }
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    for sample in samples() {
        for bit in 0..sample.bytes().len() * 8 {
            let mut bytes = sample.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(believed(bytes), None, "bit {bit}");
        }
    }
}

#[test]
fn every_single_byte_added_or_taken_is_refused_before_any_signature_is_checked() {
    for sample in samples() {
        for at in 0..=sample.bytes().len() {
            for byte in [0x00, 0x40, 0x58, 0xa0, 0xf6, 0xff] {
                let mut bytes = sample.bytes().to_vec();
                bytes.insert(at, byte);
                assert!(SignedRecord::decode(bytes.into()).is_err(), "{byte:x} at {at}");
            }
        }
        for at in 0..sample.bytes().len() {
            let mut bytes = sample.bytes().to_vec();
            bytes.remove(at);
            assert!(SignedRecord::decode(bytes.into()).is_err(), "without byte {at}");
        }
    }
}

#[test]
fn nothing_fits_between_payload_and_signature() {
    for sample in samples() {
        let at = sample.bytes().len() - 66;
        for junk in [vec![0], vec![0xf6], vec![0x58, 0x40], vec![0; 66]] {
            let bytes = [&sample.bytes()[..at], &junk, &sample.bytes()[at..]].concat();
            assert_eq!(SignedRecord::decode(bytes.into()), Err(RecordError::Envelope(at)));
        }
    }
}

#[test]
fn the_signature_has_one_spelling() {
    // S + L is the same number to a careless verifier.
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for sample in samples() {
        let mut bytes = sample.bytes().to_vec();
        let at = bytes.len() - 32;
        let mut carry = 0;
        for (byte, add) in bytes[at..].iter_mut().zip(&order) {
            let sum = u16::from(*byte) + u16::from(*add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(carry, 0);
        assert!(SignedRecord::decode(bytes.clone().into()).is_ok());
        assert_eq!(believed(bytes), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_byte_can_be_changed_added_or_taken(
        which in 0..3usize, edits in proptest::collection::vec((0..3, any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let sample = samples().swap_remove(which);
        let mut bytes = sample.bytes().to_vec();
        for (how, at, byte) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let identical = bytes == *sample.bytes();
        prop_assert_eq!(believed(bytes).is_some(), identical);
    }

    #[test]
    fn parts_of_two_records_never_make_a_third(at in any::<prop::sample::Index>()) {
        let (one, two) = (verified(&record(vec![address(1)])), verified(&record(vec![address(2)])));
        let at = at.index(one.bytes().len());
        let spliced = [&one.bytes()[..at], &two.bytes()[at..]].concat();
        if let Some(third) = believed(spliced) {
            prop_assert!(third == one || third == two);
        }
    }
}
