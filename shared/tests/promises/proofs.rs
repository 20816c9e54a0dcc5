//! Two statements of one signer that cannot both be honest: whoever has them can show it to anyone, offline.

use crate::world::*;
use dialtone_shared::proof::{PROOF_BYTES_MAX, Proof, ProofError, Verdict};
use dialtone_shared::receipt::{Receipt, ReceiptError, Signer, Status, issue};
use dialtone_shared::{Name, Rank, SignedRecord, UnixMicros, UnixSecs, VerifiedRecord};

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);
const UNTIL: UnixSecs = UnixSecs(1_700_100_000);

fn says(address_of: u8) -> VerifiedRecord {
    signed(record(vec![address(address_of)]), 1)
}

fn signed(record: dialtone_shared::Record, by: u8) -> VerifiedRecord {
    SignedRecord::sign(record, &key(by)).unwrap().verify().unwrap()
}

fn twins() -> Proof {
    Proof::of_twins(&says(1), &says(2)).unwrap()
}

/// A receipt by provider `n` for `record`.
fn receipt(n: u8, record: &VerifiedRecord, until: Option<UnixSecs>) -> Receipt {
    let others = (0..3).map(|other| (Name::of_content(&[other]), *record.rank(), until));
    let mut kept: Vec<_> = others.collect();
    kept.push((*record.name(), *record.rank(), until));
    issue(&Signer::of(key(n)), NOW, &kept).pop().unwrap()
}

fn status(n: u8, name: &Name, rank: Option<&Rank>, at: UnixMicros) -> bytes::Bytes {
    Status::sign(&Signer::of(key(n)), at, name, rank)
}

fn later(secs: u64) -> UnixMicros {
    UnixMicros(NOW.0 + secs * 1_000_000)
}

#[test]
fn two_records_of_one_sequence_prove_that_a_key_said_two_things() {
    let proof = Proof::decode(&twins().encode()).unwrap();
    let Ok(Verdict::Equivocation { name: of, lesser, greater }) = proof.check() else {
        panic!("{:?}", proof.check());
    };
    assert_eq!((of, lesser.order()), (name(1), greater.order()));
    assert_ne!(lesser.digest, greater.digest);
    let wins = if says(1).outranks(&says(2)) { says(1) } else { says(2) };
    assert_eq!(*wins.rank(), greater, "the proof names the one that wins everywhere");
}

#[test]
fn a_pair_has_one_proof_whoever_files_it_and_in_whatever_order() {
    let proof = twins();
    assert_eq!(proof.encode(), Proof::of_twins(&says(2), &says(1)).unwrap().encode());
    let third = Proof::of_twins(&says(1), &says(3)).unwrap();
    assert_eq!(
        proof.subject().unwrap(),
        third.subject().unwrap(),
        "one subject, however many twins"
    );
    assert_ne!(proof.encode(), third.encode());
    let Proof::Equivocation { lesser, greater } = proof else { panic!() };
    let turned = Proof::Equivocation {
        lesser: greater.clone(),
        greater: lesser,
    };
    assert_eq!(turned.check(), Err(ProofError::NotAPair));
    let same = Proof::Equivocation {
        lesser: greater.clone(),
        greater,
    };
    assert_eq!(same.check(), Err(ProofError::NotAPair));
}

#[test]
fn an_honest_publisher_cannot_be_accused() {
    let mut next = record(vec![address(2)]);
    next.sequence = UnixMicros(next.sequence.0 + 1);
    let next = signed(next, 1);
    assert_eq!(Proof::of_twins(&says(1), &next), None, "an update");
    assert_eq!(Proof::of_twins(&says(1), &says(1)), None, "a repeat");
    let revoked = signed(revocation(), 1);
    assert_eq!(Proof::of_twins(&says(1), &revoked), None, "a revocation of the same instant");
    let mut of_another = record(vec![address(2)]);
    of_another.genesis = dialtone_shared::Genesis::of(key(2).public());
    let of_another = signed(of_another, 2);
    assert_eq!(Proof::of_twins(&says(1), &of_another), None, "another's");
    let pair = |one: &VerifiedRecord, other: &VerifiedRecord| {
        let (lesser, greater) = if one.bytes() < other.bytes() { (one, other) } else { (other, one) };
        let (lesser, greater) = (lesser.bytes().clone(), greater.bytes().clone());
        Proof::Equivocation { lesser, greater }.check()
    };
    assert_eq!(pair(&says(1), &next), Err(ProofError::Ranked));
    assert_eq!(pair(&says(1), &revoked), Err(ProofError::Ranked));
    assert!(matches!(pair(&says(1), &of_another), Err(ProofError::TwoNames(..))));
}

#[test]
fn a_receipt_and_a_later_status_prove_a_broken_promise() {
    let kept = says(1);
    let mut old = record(vec![address(1)]);
    old.sequence = UnixMicros(old.sequence.0 - 1);
    let old = signed(old, 1);
    for (until, held) in [(Some(UNTIL), None), (Some(UNTIL), Some(*old.rank())), (None, None)] {
        let proof = Proof::BrokenPromise {
            receipt: receipt(7, &kept, until),
            status: status(7, kept.name(), held.as_ref(), later(60)),
        };
        let proof = Proof::decode(&proof.encode()).unwrap();
        let Ok(Verdict::BrokenPromise { promise, status }) = proof.check() else {
            panic!("{:?}", proof.check());
        };
        assert_eq!(
            (promise.provider, promise.name, promise.rank),
            (name(7), *kept.name(), *kept.rank())
        );
        assert_eq!((status.provider, status.rank), (name(7), held));
        assert_eq!(proof.subject().unwrap().of, name(7));
    }
}

#[test]
fn a_provider_that_kept_its_promise_cannot_be_accused() {
    let kept = says(1);
    let mut next = record(vec![address(1)]);
    next.sequence = UnixMicros(next.sequence.0 + 1);
    let next = signed(next, 1);
    let check = |by: u8, of: &Name, held: Option<&Rank>, at: UnixMicros| {
        Proof::BrokenPromise {
            receipt: receipt(7, &kept, Some(UNTIL)),
            status: status(by, of, held, at),
        }
        .check()
    };
    let of = kept.name();
    assert_eq!(check(7, of, Some(kept.rank()), later(60)), Err(ProofError::Kept));
    assert_eq!(
        check(7, of, Some(next.rank()), later(60)),
        Err(ProofError::Kept),
        "it holds more than it promised"
    );
    assert_eq!(
        check(7, of, Some(says(2).rank()), later(60)),
        Err(ProofError::Kept),
        "a twin may have outranked it"
    );
    assert_eq!(check(7, of, None, later(0)), Err(ProofError::Before), "at the same time");
    assert_eq!(check(7, of, None, UnixMicros(NOW.0 - 1)), Err(ProofError::Before));
    assert_eq!(
        check(7, of, None, later(100_000)),
        Err(ProofError::Ended(UNTIL)),
        "the promise had ended"
    );
    assert!(check(7, of, None, later(99_999)).is_ok(), "its last second");
    assert_eq!(check(8, of, None, later(60)), Err(ProofError::TwoProviders(name(7), name(8))));
    assert_eq!(check(7, &name(9), None, later(60)), Err(ProofError::OtherName(*of, name(9))));
}

#[test]
fn no_byte_of_a_proof_can_vary() {
    let broken = Proof::BrokenPromise {
        receipt: receipt(7, &says(1), Some(UNTIL)),
        status: status(7, says(1).name(), None, later(60)),
    };
    for proof in [twins(), broken] {
        let right = proof.encode();
        for at in 0..right.len() {
            for bit in [0x01, 0x80] {
                let mut wrong = right.clone();
                wrong[at] ^= bit;
                let checked = Proof::decode(&wrong).and_then(|proof| proof.check());
                assert!(checked.is_err(), "byte {at}: {checked:?}");
            }
        }
        for length in 0..right.len() {
            assert!(Proof::decode(&right[..length]).is_err());
        }
        let mut longer = right.clone();
        longer.push(0);
        assert!(Proof::decode(&longer).is_err());
    }
}

#[test]
fn a_forger_proves_nothing() {
    let Proof::Equivocation { lesser, greater } = twins() else {
        panic!()
    };
    // A second record that the key never signed.
    let mut forged = greater.to_vec();
    let end = forged.len() - 1;
    forged[end] = forged[end].wrapping_add(1).max(1);
    let greater = if forged[..] > lesser[..] { forged.into() } else { greater };
    let proof = Proof::Equivocation { lesser, greater };
    assert!(matches!(proof.check(), Err(ProofError::NotBelieved(_))), "{:?}", proof.check());
    let mut said = status(7, says(1).name(), None, later(60)).to_vec();
    let end = said.len() - 1;
    said[end] ^= 1;
    let proof = Proof::BrokenPromise {
        receipt: receipt(7, &says(1), None),
        status: said.into(),
    };
    assert!(
        matches!(proof.check(), Err(ProofError::Receipt(ReceiptError::Signature))),
        "{:?}",
        proof.check()
    );
}

#[test]
fn the_largest_proofs_fit_and_nothing_larger_is_looked_at() {
    let large = vec![0; PROOF_BYTES_MAX + 1];
    assert_eq!(Proof::decode(&large), Err(ProofError::TooLarge(PROOF_BYTES_MAX + 1)));
    let unknown = {
        let mut bytes = twins().encode();
        bytes[2] = 3;
        bytes
    };
    assert_eq!(Proof::decode(&unknown), Err(ProofError::Kind(3)));
}
