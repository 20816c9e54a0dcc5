//! What is put: a record of one address for each name, signed by a publisher who is made of the name's number.

use dialtone_shared::record::signed::SignError;
use dialtone_shared::record::{Address, Binding};
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};

/// The key of the `number`-th name.
fn secret(number: usize) -> SecretKey {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

/// The `number`-th name.
pub fn name(number: usize) -> Name {
    Genesis::of(secret(number).public()).name()
}

/// Its record as of `time`.
///
/// # Errors
/// [`SignError`]: the time is out of bounds.
pub fn record(number: usize, time: UnixMicros, ttl: Ttl) -> Result<SignedRecord, SignError> {
    let secret = secret(number);
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence: time,
        scope: Vec::new(),
        body: Body::Live {
            expiry: time.secs().plus(30 * 86_400),
            ttl,
            bindings: vec![Binding::Address(Address::of([192, 0, 2, (number % 250) as u8].into()))],
        },
    };
    SignedRecord::sign(record, &secret)
}

/// The same, verified, for stores that take nothing else.
///
/// # Errors
/// It cannot be signed, or verified.
pub fn verified(number: usize, time: UnixMicros, ttl: Ttl) -> Result<VerifiedRecord, crate::Error> {
    Ok(record(number, time, ttl)?.verify()?)
}

/// Names from this number on are put by nobody.
pub const NOBODYS: usize = 1 << 32;
