//! Records as a world's publishers sign them: each name has one publisher, who is made of the name's number.

use dialtone_shared::key::KeyChain;
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};

/// A record of the `index`-th name.
pub fn record(index: u32, sequence: UnixMicros, scope: &[Name], revoked: bool) -> VerifiedRecord {
    sign(index, sequence, scope, revoked, 60)
}

/// Another record of the same name and sequence: only the bytes decide which of the two wins.
pub fn twin(index: u32, sequence: UnixMicros, ttl: u32) -> VerifiedRecord {
    sign(index, sequence, &[], false, ttl)
}

fn sign(index: u32, sequence: UnixMicros, scope: &[Name], revoked: bool, ttl: u32) -> VerifiedRecord {
    let secret = SecretKey::from_seed(&seed(7, index));
    let mut scope = scope.to_vec();
    scope.sort();
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope,
        body: if revoked { Body::Revoked } else { live(sequence, 30, ttl) },
    };
    SignedRecord::sign(record, &secret).expect("a record").verify().expect("genuine")
}

/// A record of the `index`-th name whose key can rotate, signed with its `epoch`-th key (0 or 1) and good for so many days. Whoever
/// stole an older key signs with that one.
pub fn rotating(index: u32, epoch: u16, sequence: UnixMicros, days: u64) -> VerifiedRecord {
    let seed = seed(8, index);
    let KeyChain { genesis, links } = KeyChain::generate(&seed, b"", 1).expect("a chain");
    let record = Record {
        genesis,
        chain: links[..usize::from(epoch)].to_vec(),
        sequence,
        scope: Vec::new(),
        body: live(sequence, days, 60),
    };
    let signed = SignedRecord::sign(record, &SecretKey::derive(&seed, epoch)).expect("a record");
    signed.verify().expect("genuine")
}

fn live(sequence: UnixMicros, days: u64, ttl: u32) -> Body {
    Body::Live {
        expiry: sequence.secs().plus(days * 86_400),
        ttl: Ttl(ttl),
        bindings: Vec::new(),
    }
}

fn seed(kind: u8, index: u32) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    seed
}
