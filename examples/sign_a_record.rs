//! A key, the name that it makes, a record signed and believed: all of it without a network.
//!
//! `cargo run --example sign_a_record`

use dialtone_shared::key::KeyChain;
use dialtone_shared::record::{Address, Binding, Body, Service, Transport};
use dialtone_shared::{Record, SecretKey, SignedRecord, Ttl, UnixSecs};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> Result<(), Box<dyn Error>> {
    // All keys of a name come from one seed, which can stay offline; the first signs, two more may follow.
    let seed: [u8; 32] = rand::random();
    let chain = KeyChain::generate(&seed, b"", 2)?;
    let secret = SecretKey::derive(&seed, 0);
    let name = chain.genesis.name();
    println!("name     {name}");

    let now = UnixSecs(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let record = Record {
        genesis: chain.genesis,
        chain: Vec::new(),
        sequence: now.micros(),
        scope: Vec::new(),
        body: Body::Live {
            expiry: now.plus(30 * 86_400),
            ttl: Ttl(60),
            bindings: vec![
                Binding::Address(Address::of("192.0.2.7".parse()?)),
                Binding::Service(Service::of("https", Transport::Tcp, 443)),
            ],
        },
    };
    let signed = SignedRecord::sign(record, &secret)?;
    println!("record   {} bytes, rank {}", signed.bytes().len(), signed.rank());

    // What arrives anywhere are bytes. They are believed after this, and not before.
    let arrived = SignedRecord::decode(signed.bytes().clone())?;
    let believed = arrived.verify_for(&name)?;
    println!("verified {} bindings of {}", believed.record().bindings().len(), believed.name());

    // One changed byte, and they are not.
    let mut forged = signed.bytes().to_vec();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    let refused = SignedRecord::decode(forged.into())
        .map_err(Into::<Box<dyn Error>>::into)
        .and_then(|record| Ok(record.verify_for(&name)?));
    match refused {
        Ok(_) => Err("a forged record was believed".into()),
        Err(reason) => {
            println!("forged   refused: {reason}");
            Ok(())
        }
    }
}
