//! Ed25519 by one strict rule, so that no two verifiers disagree.

use crate::world::*;
use dialtone_shared::key::KeyError;
use dialtone_shared::{Genesis, PublicKey, SecretKey, SignedRecord, VerifyError};

/// Every spelling of a small-order point whose y is below p: the eight, and two with a sign that they do not have.
const SMALL_ORDER: [&str; 10] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

fn array<const N: usize>(bytes: Vec<u8>) -> [u8; N] {
    bytes.try_into().unwrap()
}

#[test]
fn rfc_8032_is_reproduced() {
    for vector in list(&vectors(include_str!("../vectors/ed25519.json")), "rfc8032") {
        let secret = SecretKey::from_seed(&array(bytes(vector, "seed")));
        let (message, signature) = (bytes(vector, "message"), array(bytes(vector, "signature")));
        assert_eq!(secret.public().as_bytes().as_slice(), bytes(vector, "public_key"));
        assert_eq!(secret.sign(&message), signature);
        assert_eq!(secret.public().verify(&message, &signature), Ok(true));
        assert_eq!(secret.public().verify(b"something else", &signature), Ok(false));
    }
}

#[test]
fn of_the_twelve_edge_cases_only_the_third_passes() {
    let vectors = vectors(include_str!("../vectors/ed25519.json"));
    let accepted: Vec<u64> = list(&vectors, "speccheck")
        .iter()
        .filter(|case| {
            let key = PublicKey::from_bytes(array(bytes(case, "pub_key")));
            key.verify(&bytes(case, "message"), &array(bytes(case, "signature"))) == Ok(true)
        })
        .map(|case| case["case"].as_u64().unwrap())
        .collect();
    assert_eq!(list(&vectors, "speccheck").len(), 12);
    assert_eq!(accepted, [3]);
}

/// The library's own strict verification is the rule; here it is only spelt so that it costs less.
#[test]
fn the_rule_is_the_librarys_strict_one() {
    let vectors = vectors(include_str!("../vectors/ed25519.json"));
    let small = SMALL_ORDER.map(|point| array::<32>(unhex(point)));
    let mut passed = 0;
    let cases = list(&vectors, "rfc8032").iter().map(|case| (case, "public_key"));
    for (case, key) in cases.chain(list(&vectors, "speccheck").iter().map(|case| (case, "pub_key"))) {
        let (key, message) = (array::<32>(bytes(case, key)), bytes(case, "message"));
        let signature: [u8; 64] = array(bytes(case, "signature"));
        let with_r = |r: &[u8; 32]| [&r[..], &signature[32..]].concat().try_into().unwrap();
        let flipped = (0..512).map(|bit: usize| {
            let mut signature = signature;
            signature[bit / 8] ^= 1 << (bit % 8);
            signature
        });
        for signature in std::iter::once(signature).chain(small.iter().map(with_r)).chain(flipped) {
            for key in std::iter::once(&key).chain(&small) {
                let strictly = ed25519_dalek::VerifyingKey::from_bytes(key)
                    .and_then(|key| key.verify_strict(&message, &ed25519_dalek::Signature::from_bytes(&signature)));
                let here = PublicKey::from_bytes(*key).verify(&message, &signature);
                assert_eq!(here == Ok(true), strictly.is_ok(), "{key:?} {message:?} {signature:?}");
                passed += usize::from(strictly.is_ok());
            }
        }
    }
    assert!(passed > 1);
}

/// y = p and above: spellings of smaller numbers. 19 of them exist, most not on the curve; all are refused before that is asked.
#[test]
fn a_key_has_one_spelling() {
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, high);
            assert_eq!(PublicKey::from_bytes(key).check(), Err(KeyError::NotAKey), "{low:x} {high:x}");
        }
    }
    // The largest y that is canonical is no point of small order, nor refused for its spelling.
    let mut largest = [0xff; 32];
    (largest[0], largest[31]) = (0xec, 0x7f);
    assert_eq!(PublicKey::from_bytes(largest).check(), Err(KeyError::SmallOrder));
}

#[test]
fn keys_of_small_order_own_nothing() {
    for key in SMALL_ORDER {
        let key = PublicKey::from_bytes(array(unhex(key)));
        assert_eq!(key.check(), Err(KeyError::SmallOrder), "{key:?}");
        assert_eq!(key.verify(b"", &[0; 64]), Err(KeyError::SmallOrder));

        // Nor does a record of such a name pass, whatever its signature.
        let record = dialtone_shared::Record {
            genesis: Genesis::of(key),
            ..record(Vec::new())
        };
        let sealed = SignedRecord::decode(seal(&record.encode_payload().unwrap(), &crate::world::key(1))).unwrap();
        assert_eq!(sealed.verify(), Err(VerifyError::Key(KeyError::SmallOrder)));
    }
}

#[test]
fn what_is_no_point_is_no_key() {
    let mut key = [0; 32];
    key[0] = 2; // y = 2 has no x
    assert_eq!(PublicKey::from_bytes(key).check(), Err(KeyError::NotAKey));
}

/// The examples of RFC 8410 §10.
#[test]
fn keys_are_read_and_written_as_openssl_does() {
    let secret =
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let key = SecretKey::from_pem(secret).unwrap();
    assert_eq!(key.to_pem().as_str(), secret);
    assert_eq!(key.public().to_pem().unwrap(), public);
    assert_eq!(PublicKey::from_pem(public), Ok(key.public()));
    assert_eq!(key.to_der().len(), 48);
    assert_eq!(key.public().spki()[12..], *key.public().as_bytes());
    for wrong in ["", public, &secret[..80], &secret.replace("VwBC", "VxBC")] {
        assert_eq!(SecretKey::from_pem(wrong).unwrap_err(), KeyError::Pem);
    }
    assert_eq!(PublicKey::from_pem(secret), Err(KeyError::Pem));
}

#[test]
fn a_secret_is_not_printed() {
    let secret = key(0xa7);
    let printed = format!("{secret:?}");
    assert!(!printed.contains("a7a7") && !printed.contains("167, 167"), "{printed}");
}
