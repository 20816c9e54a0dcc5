//! A name's keys have one possible history, fixed when the name is made.

use crate::world::*;
use dialtone_shared::cbor::CborError;
use dialtone_shared::key::{KeyChain, KeyError, current_key};
use dialtone_shared::limits::{CHAIN_LINKS_MAX, SALT_BYTES_MAX};
use dialtone_shared::record::signed::SignError;
use dialtone_shared::{Body, Genesis, Link, Record, RecordError, SecretKey, SignedRecord, UnixMicros};
use std::collections::HashSet;

const SEED: [u8; 32] = [42; 32];

fn secret(epoch: usize) -> SecretKey {
    SecretKey::derive(&SEED, epoch as u16)
}

fn chain(links: usize) -> KeyChain {
    KeyChain::generate(&SEED, b"", links).unwrap()
}

/// A record of the chain's name at `epoch`.
fn at(chain: &KeyChain, epoch: usize) -> Record {
    Record {
        genesis: chain.genesis.clone(),
        chain: chain.links[..epoch].to_vec(),
        ..record(vec![address(epoch as u8)])
    }
}

#[test]
fn each_link_signs_its_own_epoch_and_no_other() {
    let chain = chain(4);
    for epoch in 0..=4 {
        let record = at(&chain, epoch);
        for signer in 0..=4 {
            let signed = SignedRecord::sign(record.clone(), &secret(signer));
            if signer == epoch {
                let verified = signed.unwrap().verify_for(&chain.genesis.name()).unwrap();
                assert_eq!(verified.rank().epoch, epoch as u32);
            } else {
                assert_eq!(signed, Err(SignError::WrongKey(epoch as u32)));
                let forged = SignedRecord::decode(seal(&record.encode_payload().unwrap(), &secret(signer))).unwrap();
                assert!(forged.verify().is_err());
            }
        }
    }
}

#[test]
fn the_name_stays_when_the_keys_change() {
    let chain = chain(2);
    let names: HashSet<_> = (0..=2).map(|epoch| at(&chain, epoch).name()).collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn whoever_steals_todays_key_cannot_rotate() {
    let chain = chain(2);
    let thief = |next| Link {
        key: key(9).public(),
        next,
    };
    for (links, wrong) in [
        (vec![thief(None)], 1),
        (vec![thief(chain.links[0].next)], 1),
        (vec![chain.links[0].clone(), thief(None)], 2),
        (vec![chain.links[1].clone()], 1),
        (vec![chain.links[1].clone(), chain.links[0].clone()], 1),
        (vec![chain.links[0].clone(), chain.links[0].clone()], 2),
        (vec![chain.links[0].clone(), chain.links[1].clone(), thief(None)], 3),
        // The right key with another future is another link.
        (
            vec![Link {
                next: None,
                ..chain.links[0].clone()
            }],
            1,
        ),
    ] {
        let record = Record {
            chain: links.clone(),
            ..at(&chain, 0)
        };
        let error = KeyError::Uncommitted(wrong);
        assert_eq!(record.encode_payload(), Err(RecordError::Chain(error)));
        assert_eq!(current_key(&chain.genesis, &links), Err(error));
    }
}

#[test]
fn an_uncommitted_link_is_refused_when_read_too() {
    let chain = chain(2);
    let payload = at(&chain, 1).encode_payload().unwrap();
    let link_key = chain.links[0].key;
    let found = payload.windows(32).position(|window| window == link_key.as_bytes()).unwrap();
    let mut changed = payload;
    changed[found..found + 32].copy_from_slice(key(9).public().as_bytes());
    let refused = SignedRecord::decode(seal(&changed, &key(9)));
    assert_eq!(refused, Err(RecordError::Chain(KeyError::Uncommitted(1))));
}

#[test]
fn whoever_steals_todays_key_cannot_outlive_a_rotation() {
    let chain = chain(1);
    let stolen = |body, sequence| {
        let record = Record {
            sequence: UnixMicros(sequence),
            body,
            ..at(&chain, 0)
        };
        SignedRecord::sign(record, &secret(0)).unwrap().verify().unwrap()
    };
    let rotated = SignedRecord::sign(at(&chain, 1), &secret(1)).unwrap().verify().unwrap();
    let live = |expiry| Body::Live {
        expiry,
        ttl: Default::default(),
        bindings: Vec::new(),
    };
    let latest = 1 << 62;
    assert!(rotated.outranks(&stolen(live(UnixMicros(latest).secs().plus(1)), latest)));
    assert!(rotated.outranks(&stolen(Body::Revoked, latest)));
}

#[test]
fn a_link_has_nothing_that_its_commitment_does_not_cover() {
    let chain = chain(1);
    let payload = at(&chain, 1).encode_payload().unwrap();
    let link = chain.links[0].key;
    let found = payload.windows(32).position(|window| window == link.as_bytes()).unwrap();
    // The link is {1: -19, 2: key}: its head stands 6 bytes before the key.
    assert_eq!(payload[found - 6..found], unhex("a2 01 32 02 5820"));
    for more in ["03 4161", "05 00", "1840 00"] {
        let longer = [
            &payload[..found - 6],
            &[0xa3],
            &payload[found - 5..found + 32],
            &unhex(more),
            &payload[found + 32..],
        ]
        .concat();
        let refused = SignedRecord::decode(seal(&longer, &secret(1)));
        assert!(matches!(refused, Err(RecordError::Cbor(CborError::Type(_)))), "{more}: {refused:?}");
    }
}

#[test]
fn a_name_without_a_chain_and_the_end_of_one_cannot_rotate() {
    let link = Link {
        key: key(9).public(),
        next: None,
    };
    let record = Record {
        chain: vec![link.clone()],
        ..record(Vec::new())
    };
    assert_eq!(record.encode_payload(), Err(RecordError::Chain(KeyError::Uncommitted(1))));

    let chain = chain(1);
    let beyond = Record {
        chain: vec![chain.links[0].clone(), link],
        ..at(&chain, 1)
    };
    assert_eq!(beyond.encode_payload(), Err(RecordError::Chain(KeyError::Uncommitted(2))));
}

#[test]
fn the_longest_chain_still_leaves_room_in_a_record() {
    let chain = KeyChain::generate(&SEED, &[1; SALT_BYTES_MAX], CHAIN_LINKS_MAX).unwrap();
    let last = at(&chain, CHAIN_LINKS_MAX);
    let signed = SignedRecord::sign(last, &secret(CHAIN_LINKS_MAX)).unwrap();
    assert!(signed.bytes().len() < 2_700, "{}", signed.bytes().len());
    signed.verify().unwrap();
    assert_eq!(KeyChain::generate(&SEED, b"", CHAIN_LINKS_MAX + 1), Err(KeyError::TooManyLinks));
    assert_eq!(KeyChain::generate(&SEED, b"", usize::MAX), Err(KeyError::TooManyLinks));
    let longer = [&chain.links[..], &chain.links[..1]].concat();
    assert_eq!(current_key(&chain.genesis, &longer), Err(KeyError::TooManyLinks));
    assert_eq!(KeyChain::generate(&SEED, &[1; SALT_BYTES_MAX + 1], 1), Err(KeyError::Salt));
}

#[test]
fn a_chain_is_whole_only_with_every_link_in_place() {
    let whole = chain(3);
    assert_eq!(whole.check(), Ok(()));
    let mut broken = whole.clone();
    broken.links.swap(1, 2);
    assert_eq!(broken.check(), Err(KeyError::Uncommitted(2)));
    let first = KeyChain::starting_with(key(1).public(), &SEED, b"", 3).unwrap();
    assert_eq!((first.check(), first.genesis.key), (Ok(()), key(1).public()));
    assert_eq!(first.links, whole.links);
    let weak = dialtone_shared::PublicKey::from_bytes([0; 32]);
    assert_eq!(KeyChain::starting_with(weak, &SEED, b"", 1), Err(KeyError::SmallOrder));
}

#[test]
fn keys_of_one_seed_are_all_different_and_names_differ_by_salt() {
    let keys: HashSet<_> = (0..=100).map(|index| SecretKey::derive(&SEED, index).public()).collect();
    assert_eq!(keys.len(), 101);
    let name = |salt: &[u8], links| KeyChain::generate(&SEED, salt, links).unwrap().genesis.name();
    let names: HashSet<_> = [
        name(b"", 0),
        name(b"", 1),
        name(b"", 2),
        name(b"a", 1),
        name(b"b", 1),
        name(b"\0", 0),
    ]
    .into();
    assert_eq!(names.len(), 6);
}

#[test]
fn a_genesis_is_read_in_one_form_only() {
    let whole = KeyChain::generate(&SEED, b"salt", 1).unwrap().genesis;
    let bytes = whole.encode();
    assert_eq!(Genesis::decode(&bytes), Ok(whole.clone()));
    for end in 0..bytes.len() {
        assert!(Genesis::decode(&bytes[..end]).is_err());
    }
    assert!(Genesis::decode(&[&bytes[..], &[0]].concat()).is_err());

    let public = format!("5820{}", hex::encode(key(1).public().as_bytes()));
    let digest = format!("5820{}", "11".repeat(32));
    let ok = |pairs: &[(&str, &str)]| Genesis::decode(&map(pairs)).is_ok();
    assert!(ok(&[("01", "32"), ("02", &public)]));
    assert!(ok(&[("01", "32"), ("02", &public), ("03", "4161"), ("04", &digest)]));
    for (what, pairs) in [
        ("no algorithm", vec![("02", public.as_str())]),
        ("another algorithm", vec![("01", "27"), ("02", &public)]),
        ("no key", vec![("01", "32")]),
        ("a key cut short", vec![("01", "32"), ("02", "5801aa")]),
        ("an empty salt", vec![("01", "32"), ("02", &public), ("03", "40")]),
        ("a commitment cut short", vec![("01", "32"), ("02", &public), ("04", "4111")]),
        ("keys out of order", vec![("02", &public), ("01", "32")]),
        ("an unknown field", vec![("01", "32"), ("02", &public), ("05", "00")]),
        (
            "an unknown field, uncritical elsewhere",
            vec![("01", "32"), ("02", &public), ("1840", "00")],
        ),
    ] {
        assert!(!ok(&pairs), "{what}");
    }
    let long = format!("5821{}", "61".repeat(33));
    assert!(!ok(&[("01", "32"), ("02", &public), ("03", &long)]));
}
