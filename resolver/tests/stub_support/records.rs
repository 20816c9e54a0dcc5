//! Records to look up, and DNS replies byte by byte.

use dialtone_shared::record::Record;
use dialtone_shared::{Binding, Body, Genesis, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord};

/// What a live record says, to be changed.
pub struct Live {
    pub expiry: UnixSecs,
    pub ttl: Ttl,
    pub bindings: Vec<Binding>,
}

/// The key numbered `key`.
pub fn secret(key: u8) -> SecretKey {
    SecretKey::from_seed(&[key; 32])
}

/// A record of the name of key `key`, signed `micros` after an hour before `now`.
pub fn record_at(now: UnixSecs, key: u8, micros: u64, change: impl FnOnce(&mut Live)) -> VerifiedRecord {
    let mut live = Live {
        expiry: now.plus(86_400),
        ttl: Ttl(60),
        bindings: Vec::new(),
    };
    change(&mut live);
    let record = Record {
        genesis: Genesis::of(secret(key).public()),
        chain: Vec::new(),
        sequence: UnixMicros((now.0 - 3_600) * 1_000_000 + micros),
        scope: Vec::new(),
        body: Body::Live {
            expiry: live.expiry,
            ttl: live.ttl,
            bindings: live.bindings,
        },
    };
    SignedRecord::sign(record, &secret(key)).unwrap().verify().unwrap()
}

/// DNS replies to a query, made by hand.
pub mod reply {
    use dialtone_shared::record::rdata::TYPE_RECORD;

    fn head(query: &[u8], code: u8) -> Vec<u8> {
        let mut at = 12;
        while query[at] != 0 {
            at += usize::from(query[at]) + 1;
        }
        let mut message = query[..at + 5].to_vec();
        message[2] = 0x85;
        message[3] = code;
        message[6..12].fill(0);
        message
    }

    fn resource(message: &mut Vec<u8>, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        message.extend(owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    }

    fn name(text: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
        wire
    }

    /// NOERROR with one record.
    pub fn found(query: &[u8], envelope: &[u8], ttl: u32) -> Vec<u8> {
        let mut message = head(query, 0);
        message[7] = 1;
        resource(&mut message, &[0xc0, 12], TYPE_RECORD, ttl, envelope);
        message
    }

    /// NXDOMAIN with the SOA of `zone`.
    pub fn absent(query: &[u8], zone: &str, ttl: u32, minimum: u32) -> Vec<u8> {
        let mut message = head(query, 3);
        message[9] = 1;
        let mut soa = name("ns");
        soa.extend(name("mail"));
        soa.extend([0; 16]);
        soa.extend(minimum.to_be_bytes());
        resource(&mut message, &name(zone), 6, ttl, &soa);
        message
    }

    /// Cut off.
    pub fn truncated(query: &[u8]) -> Vec<u8> {
        let mut message = head(query, 0);
        message[2] |= 0x02;
        message
    }

    /// A code, with an extended error if any.
    pub fn error(query: &[u8], code: u8, extended: Option<(u16, &str)>) -> Vec<u8> {
        let mut message = head(query, code);
        if let Some((number, text)) = extended {
            message[11] = 1;
            let mut data = vec![0, 15];
            data.extend((text.len() as u16 + 2).to_be_bytes());
            data.extend(number.to_be_bytes());
            data.extend(text.as_bytes());
            message.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        message
    }
}
