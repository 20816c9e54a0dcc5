//! Records to load a provider with: distinct keys, the same in every run of a set.

use super::Error;
use dialtone_shared::record::{Address, Binding, Opaque};
use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

pub fn secret(index: usize, set: u8) -> SecretKey {
    let mut seed = [set; 32];
    seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

pub fn genesis(index: usize, set: u8) -> Genesis {
    Genesis::of(secret(index, set).public())
}

/// A record of about 400 bytes, as the baselines' are: an address and some bytes.
pub fn record(index: usize, set: u8) -> Result<SignedRecord, Error> {
    record_at(index, set, now())
}

/// The same, said at another time.
pub fn record_at(index: usize, set: u8, sequence: UnixMicros) -> Result<SignedRecord, Error> {
    let bindings = vec![
        Binding::Address(Address::of([127, 0, 0, 1].into())),
        Binding::Opaque(Opaque {
            media_type: "application/octet-stream".into(),
            bytes: vec![set; 180],
        }),
    ];
    signed(&secret(index, set), sequence, Ttl(60), bindings)
}

/// A name that is asked for by DNS, with an address of each kind that only it has.
pub fn flat(index: usize) -> Result<((Name, Ipv4Addr, Ipv6Addr), SignedRecord), Error> {
    flat_at(index, Ipv4Addr::from_bits(0x0a00_0000 | index as u32), now())
}

/// The same with the address `a`, said at another time.
pub fn flat_at(index: usize, a: Ipv4Addr, sequence: UnixMicros) -> Result<((Name, Ipv4Addr, Ipv6Addr), SignedRecord), Error> {
    let aaaa = Ipv6Addr::from_bits(0xfd00 << 112 | index as u128);
    let bindings = vec![Binding::Address(Address::of(a.into())), Binding::Address(Address::of(aaaa.into()))];
    let record = signed(&secret(index, FLAT_SET), sequence, Ttl(3_600), bindings)?;
    Ok(((*record.name(), a, aaaa), record))
}

/// A first record of a name, kept for a month.
pub fn signed(secret: &SecretKey, sequence: UnixMicros, ttl: Ttl, bindings: Vec<Binding>) -> Result<SignedRecord, Error> {
    let record = Record {
        genesis: Genesis::of(secret.public()),
        chain: Vec::new(),
        sequence,
        scope: Vec::new(),
        body: Body::Live {
            expiry: UnixSecs(sequence.secs().0 + 30 * 86_400),
            ttl,
            bindings,
        },
    };
    Ok(SignedRecord::sign(record, secret)?)
}

pub fn put_request(address: SocketAddr, record: &SignedRecord) -> Vec<u8> {
    let mut request = format!(
        "PUT /v1/records/{} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
        record.name(),
        record.bytes().len()
    )
    .into_bytes();
    request.extend_from_slice(record.bytes());
    request
}

/// Another set of names for every run, so that every put is a first one; the low numbers are other commands'.
pub fn run() -> u8 {
    10 + (now().0 % 240) as u8
}

pub fn now() -> UnixMicros {
    UnixMicros(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64),
    )
}

/// The set of [`flat`].
const FLAT_SET: u8 = 6;
