//! What a provider promises, provable to anyone; what it holds, said under its signature.

use crate::world::*;
use dialtone_shared::key::{KeyChain, KeyError};
use dialtone_shared::receipt::{ROOT_DOMAIN, Receipt, ReceiptError, STATUS_DOMAIN, Signer, Status, issue};
use dialtone_shared::{Name, Rank, SecretKey, UnixMicros, UnixSecs};
use sha2::{Digest, Sha256};

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

fn provider(n: u8) -> Signer {
    Signer::of(key(n))
}

fn rank(n: usize) -> Rank {
    Rank {
        epoch: 0,
        revoked: n.is_multiple_of(2),
        sequence: UnixMicros(n as u64),
        digest: [n as u8; 32],
    }
}

fn kept(count: usize) -> Vec<(Name, Rank, Option<UnixSecs>)> {
    (0..count)
        .map(|n| (Name::of_content(&[n as u8]), rank(n), (n % 3 > 0).then_some(UnixSecs(n as u64))))
        .collect()
}

#[test]
fn every_receipt_of_every_commit_proves_its_own_promise() {
    assert!(issue(&provider(1), NOW, &[]).is_empty());
    for count in 1..=40 {
        let kept = kept(count);
        let receipts = issue(&provider(1), NOW, &kept);
        assert_eq!(receipts.len(), count);
        for (receipt, (name, rank, keep_until)) in receipts.iter().zip(&kept) {
            let arrived = Receipt::decode(&receipt.encode()).unwrap();
            assert_eq!(arrived, *receipt);
            let promise = arrived.verify().unwrap();
            assert_eq!(promise.provider, provider(1).name());
            assert_eq!(
                (promise.name, promise.rank, promise.keep_until, promise.time),
                (*name, *rank, *keep_until, NOW)
            );
        }
    }
}

#[test]
fn receipts_grow_with_the_logarithm_of_the_commit() {
    let length = |count| issue(&provider(1), NOW, &kept(count))[0].encode().len();
    assert_eq!(length(4) - length(2), 34);
    assert!(length(40) < length(1) + 6 * 34 + 4);
}

#[test]
fn no_byte_of_a_receipt_can_vary() {
    for (count, index) in [(1, 0), (2, 1), (3, 2), (5, 4), (7, 5)] {
        let right = issue(&provider(1), NOW, &kept(count))[index].encode();
        for bit in 0..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let believed = Receipt::decode(&wrong).is_ok_and(|receipt| receipt.verify().is_ok());
            assert!(!believed, "bit {bit} of receipt {index} of {count}");
        }
        for end in 0..right.len() {
            assert!(Receipt::decode(&right[..end]).is_err());
        }
        assert!(Receipt::decode(&[&right[..], &[0]].concat()).is_err());
    }
}

/// The parts of one receipt as CBOR, to be put together otherwise.
fn parts(receipt: &Receipt) -> (Vec<u8>, u64, Vec<[u8; 32]>, Vec<u8>) {
    let bytes = receipt.encode();
    let mut r = dialtone_shared::cbor::Reader::new(&bytes);
    r.array_exact(4).unwrap();
    let (body, index) = (r.bytes().unwrap().to_vec(), r.uint().unwrap());
    let path = (0..r.array().unwrap()).map(|_| r.array_of().unwrap()).collect();
    (body, index, path, r.bytes().unwrap().to_vec())
}

fn joined(body: &[u8], index: u64, path: &[[u8; 32]], root: &[u8]) -> Receipt {
    let mut w = dialtone_shared::cbor::Writer::new();
    w.array(4).bytes(body).uint(index).array(path.len());
    path.iter().for_each(|node| {
        w.bytes(node);
    });
    w.bytes(root);
    Receipt::decode(&w.into_bytes()).unwrap()
}

#[test]
fn a_promise_counts_only_at_its_own_place() {
    for count in 1..=12 {
        let receipts = issue(&provider(1), NOW, &kept(count));
        for receipt in &receipts {
            let (body, index, path, root) = parts(receipt);
            for other in (0..20).chain([u64::MAX]).filter(|other| *other != index) {
                assert_eq!(joined(&body, other, &path, &root).verify(), Err(ReceiptError::NotIncluded));
            }
            let longer = [&path[..], &[[0; 32]]].concat();
            assert_eq!(joined(&body, index, &longer, &root).verify(), Err(ReceiptError::NotIncluded));
            if let Some((_, shorter)) = path.split_last() {
                assert_eq!(joined(&body, index, shorter, &root).verify(), Err(ReceiptError::NotIncluded));
            }
        }
    }
}

#[test]
fn a_promise_of_another_provider_or_commit_does_not_count() {
    let (mine, theirs) = (&issue(&provider(1), NOW, &kept(2))[0], &issue(&provider(2), NOW, &kept(2))[0]);
    let later = &issue(&provider(1), UnixMicros(NOW.0 + 1), &kept(2))[0];
    let (body, index, path, _) = parts(mine);
    let refused = joined(&body, index, &path, &parts(theirs).3).verify();
    assert_eq!(refused, Err(ReceiptError::OtherProvider(provider(1).name())));
    assert_eq!(
        joined(&body, index, &path, &parts(later).3).verify(),
        Err(ReceiptError::NotIncluded)
    );
}

/// A status of `name(5)` with `more` fields written after its own, under a head that speaks of `pairs`.
fn status_with(pairs: u8, more: &str) -> Result<Status, ReceiptError> {
    let genesis = provider(1).genesis.encode();
    let fields = [
        "01 01 02",
        &hex::encode(genesis),
        "04 01 05 5821",
        &hex::encode(name(5).as_bytes()),
        more,
    ]
    .concat();
    let payload = [&[0xa0 | pairs][..], &unhex(&fields)].concat();
    Status::verify(&seal_as(STATUS_DOMAIN, &payload, &key(1)))
}

#[test]
fn a_status_has_its_own_fields_and_no_others() {
    assert_eq!(status_with(4, "").unwrap().rank, None);
    for (pairs, more) in [
        (5, ""),
        (3, ""),
        (4, "00"),
        (5, "07 00"),
        (5, "1840 00"),
        (5, "05 00"),
        (5, "06 f6"),
    ] {
        let refused = status_with(pairs, more);
        assert!(matches!(refused, Err(ReceiptError::Cbor(_))), "{pairs} {more}: {refused:?}");
    }
}

#[test]
fn a_promise_under_a_root_of_another_time_does_not_count() {
    let (body, _, _, _) = parts(&issue(&provider(1), NOW, &kept(1))[0]);
    let leaf: [u8; 32] = Sha256::new().chain_update([0]).chain_update(&body).finalize().into();
    let root_at = |time: u64, leaves: u64| {
        let mut w = dialtone_shared::cbor::Writer::new();
        w.map(5).uint(1).uint(1).uint(2).raw(&provider(1).genesis.encode());
        w.uint(4).uint(time).uint(5).uint(leaves).uint(6).bytes(&leaf);
        seal_as(ROOT_DOMAIN, &w.into_bytes(), &key(1))
    };
    assert!(joined(&body, 0, &[], &root_at(NOW.0, 1)).verify().is_ok());
    assert_eq!(
        joined(&body, 0, &[], &root_at(NOW.0 + 1, 1)).verify(),
        Err(ReceiptError::NotIncluded)
    );
    assert_eq!(joined(&body, 0, &[], &root_at(NOW.0, 2)).verify(), Err(ReceiptError::NotIncluded));
    assert_eq!(joined(&body, 0, &[], &root_at(NOW.0, 0)).verify(), Err(ReceiptError::NotIncluded));
}

#[test]
fn a_path_is_never_longer_than_a_tree_can_be_deep() {
    let with = |nodes: usize| {
        let mut w = dialtone_shared::cbor::Writer::new();
        w.array(4).bytes(b"").uint(0).array(nodes);
        (0..nodes).for_each(|_| {
            w.bytes(&[0; 32]);
        });
        w.bytes(b"");
        Receipt::decode(&w.into_bytes())
    };
    assert!(with(64).is_ok() && with(65).is_err());
}

#[test]
fn a_status_says_what_is_held_or_that_nothing_is() {
    for held in [None, Some(rank(7))] {
        let bytes = Status::sign(&provider(1), NOW, &name(5), held.as_ref());
        let status = Status::verify(&bytes).unwrap();
        assert_eq!(
            (status.provider, status.name, status.rank, status.time),
            (provider(1).name(), name(5), held, NOW)
        );
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(Status::verify(&wrong).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Status::verify(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn a_provider_that_rotated_signs_with_the_key_in_force() {
    let seed = [5; 32];
    let KeyChain { genesis, links } = KeyChain::generate(&seed, b"", 1).unwrap();
    let signer = |epoch: usize, key: u16| Signer {
        genesis: genesis.clone(),
        chain: links[..epoch].to_vec(),
        secret: SecretKey::derive(&seed, key),
    };
    for epoch in 0..=1 {
        let rotated = signer(epoch, epoch as u16);
        assert_eq!(
            Status::verify(&Status::sign(&rotated, NOW, &name(1), None)).unwrap().provider,
            genesis.name()
        );
        assert_eq!(issue(&rotated, NOW, &kept(3))[2].verify().unwrap().provider, genesis.name());
        let wrong = signer(epoch, 1 - epoch as u16);
        assert_eq!(
            Status::verify(&Status::sign(&wrong, NOW, &name(1), None)),
            Err(ReceiptError::Signature)
        );
    }
    let mut forged = signer(1, 1);
    forged.chain[0].key = key(9).public();
    forged.secret = key(9);
    let refused = Status::verify(&Status::sign(&forged, NOW, &name(1), None));
    assert_eq!(refused, Err(ReceiptError::Key(KeyError::Uncommitted(1))));
}

#[test]
fn one_statement_cannot_be_passed_off_as_another_kind() {
    let status = Status::sign(&provider(1), NOW, &name(5), None);
    let (body, index, path, root) = parts(&issue(&provider(1), NOW, &kept(1))[0]);
    assert!(Status::verify(&root).is_err());
    assert!(joined(&body, index, &path, &status).verify().is_err());
    let record = verified(&record(Vec::new()));
    assert!(Status::verify(record.bytes()).is_err());
    assert!(dialtone_shared::SignedRecord::decode(status).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_receipts_or_statuses_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Status::verify(&bytes);
        if let Ok(receipt) = Receipt::decode(&bytes) {
            let _ = receipt.verify();
        }
        let inner = seal(&bytes, &key(1));
        let _ = Status::verify(&inner);
        let _ = joined(&bytes, 0, &[], &inner).verify();
    }
}
