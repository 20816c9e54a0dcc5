//! Makes `docs/vectors.json`, with which another implementation can be checked against this one.
//!
//! ```text
//! cargo run -p dialtone-shared --example vectors > docs/vectors.json
//! ```
//!
//! Everything comes from two fixed seeds, so it is the same each time; a test compares the file with what this makes.

use dialtone_shared::cbor::Writer;
use dialtone_shared::hip::Hit;
use dialtone_shared::key::{KeyChain, PublicKey};
use dialtone_shared::message::{
    self, Ack, Answer, Batch, Branch, Counts, Entry, Hello, Message, Mode, Path, Pointer, Query, Reach, Refused, Relationship, Request,
    Response, Terms, mark,
};
use dialtone_shared::proof::Proof;
use dialtone_shared::receipt::{Signer, Status, issue};
use dialtone_shared::record::pkarr;
use dialtone_shared::record::signed::RECORD_DOMAIN;
use dialtone_shared::record::{Address, Delegate, DnsData, Opaque, Service, Step, Target, Transport, rdata::types};
use dialtone_shared::{
    Binding, Body, Genesis, Name, NameError, Record, RecordError, Scheme, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs,
    VerifiedRecord, VerifyError, z32,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn main() {
    println!("{:#}", document());
}

/// The whole file.
pub fn document() -> Value {
    json!({
        "about": "Test vectors of Dialtone, described in PROTOCOL.md. Bytes are hexadecimal. Made by shared/examples/vectors.rs.",
        "names": names(),
        "refused_names": refused_names(),
        "keys": keys(),
        "records": records().iter().map(|(what, record)| describe(what, record)).collect::<Vec<_>>(),
        "refused_records": refused_records(),
        "tags": tags(),
        "packets": packets(),
        "values": values(),
        "ranks_ascending": ranks_ascending(),
        "receipts": receipts(),
        "statuses": statuses(),
        "proofs": proofs(),
        "messages": messages(),
    })
}

/// Made names: the first and last bytes of each scheme, and real ones.
fn names() -> Vec<Value> {
    [
        Name::key_set([0; 32]),
        Name::key_set([0xff; 32]),
        Name::of_content(b""),
        Name::of_content(b"hello"),
        chain().genesis.name(),
        Name::pkarr([7; 32]),
        Name::pkarr(*SecretKey::from_seed(&[0; 32]).public().as_bytes()),
    ]
    .iter()
    .map(|name| {
        json!({
            "scheme": name.as_bytes()[0],
            "digest": hex::encode(name.digest()),
            "wire": hex::encode(name.as_bytes()),
            "text": name.to_string(),
            "uri": name.to_uri(),
            "dns": name.to_dns("dialtone.alt"),
        })
    })
    .collect()
}

fn refused_names() -> Vec<Value> {
    let right = Name::key_set([0; 32]).to_string();
    let of_scheme = |scheme: u8| {
        let mut bytes = vec![9; 33];
        bytes[0] = scheme;
        let sum = Sha256::new().chain_update("dialtone/name/v1").chain_update(&bytes).finalize();
        bytes.extend(&sum[..2]);
        z32::encode(&bytes)
    };
    let pkarr = z32::encode(&[7; 32]);
    [
        right[1..].to_owned(),
        format!("{right}y"),
        format!("l{}", &right[1..]),
        format!("{}y", &right[..55]),
        of_scheme(9),
        // A pkarr key in the form of other names.
        of_scheme(3),
        format!("{}b", &pkarr[..51]),
        "dialtone:".to_owned(),
    ]
    .iter()
    .map(|text| {
        let reason = match text.parse::<Name>().expect_err("wrong on purpose") {
            NameError::Length(_) | NameError::Bytes(_) => "length",
            NameError::Alphabet { .. } => "alphabet",
            NameError::Checksum => "checksum",
            NameError::NonCanonical => "non-canonical",
            NameError::Scheme(_) => "scheme",
            NameError::Origin(_) => "origin",
        };
        json!({ "text": text, "reason": reason })
    })
    .collect()
}

const RECOVERY_SEED: [u8; 32] = [0x2a; 32];
const LINKS: usize = 3;

fn chain() -> KeyChain {
    KeyChain::generate(&RECOVERY_SEED, b"example", LINKS).expect("a short chain")
}

/// From one recovery seed: every key, link, commitment, and the name.
fn keys() -> Value {
    let KeyChain { genesis, links } = chain();
    let keys = (0..=LINKS as u16).map(|index| {
        let seed = Sha256::new()
            .chain_update("dialtone/seed/v1")
            .chain_update(RECOVERY_SEED)
            .chain_update(index.to_be_bytes())
            .finalize();
        let secret = SecretKey::from_seed(&seed.into());
        assert_eq!(secret.public(), SecretKey::derive(&RECOVERY_SEED, index).public());
        json!({ "epoch": index, "seed": hex::encode(seed), "public_key": hex::encode(secret.public().as_bytes()) })
    });
    let links = links.iter().map(|link| {
        json!({
            "public_key": hex::encode(link.key.as_bytes()),
            "next": link.next.map(|next| hex::encode(next.0)),
            "commitment": hex::encode(link.commitment().0),
        })
    });
    json!({
        "recovery_seed": hex::encode(RECOVERY_SEED),
        "salt": hex::encode(&genesis.salt),
        "keys": keys.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "genesis": hex::encode(genesis.encode()),
        "name": genesis.name().to_string(),
        "bare_genesis": hex::encode(Genesis::of(genesis.key).encode()),
        "bare_name": Genesis::of(genesis.key).name().to_string(),
    })
}

/// The tags of keys: those of RFC 8032's first two tests, of the chain, and of bytes all alike.
fn tags() -> Vec<Value> {
    let rfc = [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ];
    let rfc = rfc.map(|key| hex::decode(key).expect("hexadecimal").try_into().expect("32 bytes"));
    let keys = rfc.into_iter().map(PublicKey::from_bytes);
    let keys = keys.chain([
        chain().genesis.key,
        PublicKey::from_bytes([0; 32]),
        PublicKey::from_bytes([0xff; 32]),
    ]);
    let describe = |key: PublicKey| {
        let tag = Hit::of(&key).address();
        json!({ "public_key": hex::encode(key.as_bytes()), "tag": tag.to_string(), "bytes": hex::encode(tag.octets()) })
    };
    keys.map(describe).collect()
}

/// 2023-11-14T22:13:20Z.
const SIGNED: UnixSecs = UnixSecs(1_700_000_000);

fn live(bindings: Vec<Binding>) -> Record {
    Record {
        genesis: chain().genesis,
        chain: Vec::new(),
        sequence: SIGNED.micros(),
        scope: Vec::new(),
        body: Body::Live {
            expiry: SIGNED.plus(86_400),
            ttl: Ttl(60),
            bindings,
        },
    }
}

fn other(n: u8) -> Name {
    Genesis::of(SecretKey::from_seed(&[n; 32]).public()).name()
}

/// Signed by the key in force.
fn sign(record: Record) -> VerifiedRecord {
    let secret = SecretKey::derive(&RECOVERY_SEED, record.epoch() as u16);
    let signed = SignedRecord::sign(record, &secret).expect("a record within the rules");
    signed.verify().expect("signed by the key in force")
}

/// One of each binding, and each thing that a record can do beside.
fn records() -> Vec<(&'static str, VerifiedRecord)> {
    let dns = |owner: &str, kind, rdata: &[u8]| {
        Binding::Dns(DnsData {
            owner: owner.into(),
            kind,
            ttl: Ttl(300),
            rdata: rdata.into(),
        })
    };
    let address = Binding::Address(Address::of([192, 0, 2, 1].into()));
    let scope = {
        let mut scope = vec![other(1), other(2)];
        scope.sort();
        scope
    };
    let rotated = |epoch| Record {
        chain: chain().links[..epoch].to_vec(),
        ..live(vec![address.clone()])
    };
    let bodies = [
        ("no bindings: withdrawn", live(Vec::new())),
        ("address, defaults", live(vec![address.clone()])),
        (
            "address, every field",
            live(vec![Binding::Address(Address {
                ip: "2001:db8::1".parse().expect("an address"),
                priority: 1,
                weight: 300,
                region: Some("eu-central-1".into()),
            })]),
        ),
        (
            "service, defaults",
            live(vec![Binding::Service(Service::of("ssh", Transport::Tcp, 22))]),
        ),
        (
            "service, every field",
            live(vec![Binding::Service(Service {
                target: Target::Name(other(3)),
                alpn: vec!["h3".into(), "h2".into()],
                priority: 10,
                weight: 5,
                pins: vec![[0x11; 32], [0x22; 32]],
                ..Service::of("https", Transport::Udp, 443)
            })]),
        ),
        (
            "delegate",
            live(vec![Binding::Delegate(Delegate {
                path: vec![Step::Name(other(4)), Step::Legacy("relay.example.com".into())],
            })]),
        ),
        (
            "dns",
            live(vec![
                dns("", types::TXT, b"\x05hello"),
                dns("*.mail", types::MX, b"\x00\x0a\x02mx\x07example\x03com\0"),
                dns("_dns", types::SVCB, b"\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x03\x00\x02\x01\xbb"),
                dns("www", types::CNAME, b"\x07example\x03com\0"),
                dns("raw", 1_234, b"\x00\x01"),
            ]),
        ),
        (
            "opaque",
            live(vec![Binding::Opaque(Opaque {
                media_type: "text/plain; charset=utf-8".into(),
                bytes: "grüezi".into(),
            })]),
        ),
        (
            "scoped to two providers",
            Record {
                scope,
                ..live(vec![address.clone()])
            },
        ),
        ("rotated once", rotated(1)),
        ("rotated to the end of the chain", rotated(LINKS)),
        (
            "revoked",
            Record {
                body: Body::Revoked,
                ..live(Vec::new())
            },
        ),
        (
            "revoked after a rotation",
            Record {
                body: Body::Revoked,
                ..rotated(1)
            },
        ),
        (
            "400 days, the longest life",
            Record {
                body: Body::Live {
                    expiry: SIGNED.plus(400 * 86_400),
                    ttl: Ttl(u32::MAX),
                    bindings: Vec::new(),
                },
                ..live(Vec::new())
            },
        ),
    ];
    let mut records: Vec<_> = bodies.into_iter().map(|(what, record)| (what, sign(record))).collect();
    let uncritical = sealed(&with_field(&live(vec![address]), 64, &[0x63, b'n', b'e', b'w']), 0);
    records.push(("an unknown, uncritical field", uncritical.verify().expect("well signed")));
    records
}

fn describe(what: &str, verified: &VerifiedRecord) -> Value {
    let record = verified.record();
    let bytes = verified.bytes();
    let signature = &bytes[bytes.len() - 64..];
    let payload = payload_of(bytes);
    let message = sig_structure(payload);
    let key = record.signing_key().expect("a verified chain");
    assert_eq!(key.verify(&message, signature.try_into().expect("64 bytes")), Ok(true));
    json!({
        "what": what,
        "name": verified.name().to_string(),
        "key": hex::encode(key.as_bytes()),
        "payload": hex::encode(payload),
        "sig_structure": hex::encode(&message),
        "signature": hex::encode(signature),
        "record": hex::encode(bytes),
        "rank": verified.rank().to_string(),
        "expiry": record.expiry().map(|expiry| expiry.0),
        "forget_at": record.forget_at().map(|at| at.0),
    })
}

/// Where the payload stands in an envelope: after `d2 84 43 a1 01 32 a0` and its head, before `58 40` and the signature.
fn payload_of(bytes: &[u8]) -> &[u8] {
    let head = match bytes[7] & 31 {
        24 => 2,
        25 => 3,
        _ => 1,
    };
    &bytes[7 + head..bytes.len() - 66]
}

fn sig_structure(payload: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.array(4).text("Signature1").bytes(&[0xa1, 0x01, 0x32]);
    w.bytes(RECORD_DOMAIN.as_bytes()).bytes(payload);
    w.into_bytes()
}

/// `payload`, right or wrong, rightly signed by the key of `epoch`.
fn envelope(payload: &[u8], epoch: u16) -> Vec<u8> {
    let signature = SecretKey::derive(&RECOVERY_SEED, epoch).sign(&sig_structure(payload));
    let mut w = Writer::new();
    w.raw(&[0xd2, 0x84, 0x43, 0xa1, 0x01, 0x32, 0xa0]).bytes(payload).bytes(&signature);
    w.into_bytes()
}

fn sealed(payload: &[u8], epoch: u16) -> SignedRecord {
    SignedRecord::decode(envelope(payload, epoch).into()).expect("a record within the rules")
}

/// The record's payload with a field more at its end.
fn with_field(record: &Record, field: u64, value: &[u8]) -> Vec<u8> {
    let payload = record.encode_payload().expect("a record within the rules");
    let mut w = Writer::new();
    w.raw(&[payload[0] + 1]).raw(&payload[1..]).uint(field).raw(value);
    w.into_bytes()
}

/// Bytes that must be refused, with the reason. All but the last few are signed by the right key.
fn refused_records() -> Vec<Value> {
    let plain = live(vec![Binding::Address(Address::of([192, 0, 2, 1].into()))]);
    let payload = plain.encode_payload().expect("a record within the rules");
    let right = sign(plain.clone()).bytes().to_vec();
    let replace = |from: &[u8], to: &[u8]| {
        let at = payload.windows(from.len()).position(|window| window == from).expect("is there");
        [&payload[..at], to, &payload[at + from.len()..]].concat()
    };
    let lasting = |expiry: u64| replace(&[&[0x1a], &payload_expiry(&payload)[..]].concat(), &uint(expiry));
    let address = [0x44, 192, 0, 2, 1];
    let cases = [
        ("tag dropped", right[1..].to_vec()),
        (
            "an unprotected header",
            [&right[..6], &[0xa1, 0x04, 0x41, 0x31], &right[7..]].concat(),
        ),
        ("EdDSA (-8) instead of Ed25519 (-19)", [&right[..5], &[0x27], &right[6..]].concat()),
        ("a trailing byte", [&right[..], &[0]].concat()),
        ("cut short by a byte", right[..right.len() - 1].to_vec()),
        ("larger than 4096 bytes", vec![0xd2; 4_097]),
        ("indefinite map", envelope(&[&[0xbf], &payload[1..], &[0xff]].concat(), 0)),
        (
            "a longer spelling of the version",
            envelope(&[&payload[..2], &[0x18, 0x01], &payload[3..]].concat(), 0),
        ),
        ("a key twice", envelope(&[&[payload[0] + 1, 0x01, 0x01], &payload[1..]].concat(), 0)),
        ("version 2", envelope(&[&payload[..2], &[0x02], &payload[3..]].concat(), 0)),
        ("critical field 63", envelope(&with_field(&plain, 63, &[0]), 0)),
        ("no expiry", envelope(&without_expiry(&payload), 0)),
        ("expiry not after the sequence", envelope(&lasting(SIGNED.0), 0)),
        ("expiry past 400 days", envelope(&lasting(SIGNED.0 + 400 * 86_400 + 1), 0)),
        ("an address of three bytes", envelope(&replace(&address, &[0x43, 192, 0, 2]), 0)),
        (
            "an unknown, critical kind of binding",
            envelope(&replace(&[0x00, 0x01, 0x01, 0x44], &[0x00, 0x06, 0x01, 0x44]), 0),
        ),
        ("a link that was not committed to", envelope(&with_wrong_link(&payload), 0)),
        ("signed by another key", envelope(&payload, 1)),
        ("a byte of the payload changed", {
            let at = right.windows(5).position(|window| window == address).expect("is there") + 4;
            [&right[..at], &[2], &right[at + 1..]].concat()
        }),
        ("a byte of the signature changed", {
            let last = right.len() - 1;
            [&right[..last], &[right[last] ^ 1]].concat()
        }),
        ("a key of small order", {
            let weak = dialtone_shared::PublicKey::from_bytes([0; 32]);
            let record = Record {
                genesis: Genesis::of(weak),
                ..plain.clone()
            };
            envelope(&record.encode_payload().expect("well-formed"), 0)
        }),
    ];
    cases
        .into_iter()
        .map(|(what, bytes)| {
            let reason = match SignedRecord::decode(bytes.clone().into()) {
                Err(error) => reason(&error),
                Ok(signed) => match signed.verify().expect_err("wrong on purpose") {
                    VerifyError::Key(_) => "key",
                    VerifyError::Signature => "signature",
                    VerifyError::OtherName(_) | VerifyError::Corrupt => unreachable!("not asked for"),
                },
            };
            json!({ "what": what, "record": hex::encode(bytes), "reason": reason })
        })
        .collect()
}

/// The four bytes of the expiry in a payload made here: field 5, `1a`, then they.
fn payload_expiry(payload: &[u8]) -> [u8; 4] {
    let at = payload.windows(2).rposition(|pair| pair == [0x05, 0x1a]).expect("an expiry") + 2;
    payload[at..at + 4].try_into().expect("four bytes")
}

fn without_expiry(payload: &[u8]) -> Vec<u8> {
    let field = [&[0x05, 0x1a], &payload_expiry(payload)[..]].concat();
    let at = payload.windows(6).position(|window| window == field).expect("an expiry");
    [&[payload[0] - 1], &payload[1..at], &payload[at + 6..]].concat()
}

fn with_wrong_link(payload: &[u8]) -> Vec<u8> {
    let genesis = chain().genesis.encode();
    let at = 4 + genesis.len();
    let mut w = Writer::new();
    w.uint(3)
        .array(1)
        .map(2)
        .uint(1)
        .int(-19)
        .uint(2)
        .bytes(SecretKey::from_seed(&[9; 32]).public().as_bytes());
    [&[payload[0] + 1], &payload[1..at], &w.into_bytes(), &payload[at..]].concat()
}

fn uint(value: u64) -> Vec<u8> {
    let mut w = Writer::new();
    w.uint(value);
    w.into_bytes()
}

fn reason(error: &RecordError) -> &'static str {
    match error {
        RecordError::TooLarge(_) | RecordError::TooLargeValue(_) => "too-large",
        RecordError::TooShort(_) => "too-short",
        RecordError::Packet(_) => "packet",
        RecordError::Envelope(_) => "envelope",
        RecordError::Cbor(_) => "encoding",
        RecordError::Version(_) => "version",
        RecordError::UnknownField(_) => "unknown-field",
        RecordError::Missing(_) => "missing",
        RecordError::RevokedWith(_) => "revoked-with",
        RecordError::EmptyList(_) => "empty-list",
        RecordError::Chain(_) => "chain",
        RecordError::Sequence(_) => "sequence",
        RecordError::Lifetime { .. } => "lifetime",
        RecordError::Scope => "scope",
        RecordError::TooManyBindings(_) => "too-many-bindings",
        RecordError::Binding { .. } => "binding",
    }
}

/// Packets of pkarr, as its relays are sent them, as records, and with what of them is answered in DNS. By the key whose seed is 32 zeros; each outranks
/// those before it.
fn packets() -> Vec<Value> {
    let key = *SecretKey::from_seed(&[0; 32]).public().as_bytes();
    let apex = z32::encode(&key);
    let owner = |labels: &str| {
        let mut wire = Vec::new();
        for label in labels.split('.').filter(|label| !label.is_empty()).chain([&apex[..]]) {
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
        wire
    };
    let message = |rrs: &[(&str, u16, u32, Vec<u8>)]| {
        let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, rrs.len() as u8, 0, 0, 0, 0];
        for (labels, kind, ttl, rdata) in rrs {
            message.extend(owner(labels));
            message.extend(kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(ttl.to_be_bytes());
            message.extend((rdata.len() as u16).to_be_bytes());
            message.extend(rdata);
        }
        message
    };
    let published = |dns: &str| hex::decode(dns).expect("hexadecimal");
    let txt = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [
        ("nothing", 1_700_000_000_000_000, published("000080000000000000000000")),
        ("compressed names", 1_700_000_000_000_000, published(PUBLISHED[0])),
        ("an endpoint of iroh", 1_700_000_000_000_001, published(PUBLISHED[1])),
        (
            "uncompressed names, and a delegation, which is not answered",
            1_700_000_000_000_002,
            message(&[
                ("", 1, 300, vec![192, 0, 2, 7]),
                ("sub", 2, 300, owner("elsewhere")),
                ("_a.b", 16, 30, txt("x=y")),
            ]),
        ),
    ]
    .into_iter()
    .map(|(what, timestamp, dns)| {
        let envelope = pkarr::sign(&SecretKey::from_seed(&[0; 32]), UnixMicros(timestamp), &dns).expect("a packet");
        let record = SignedRecord::decode(envelope).expect("a packet").verify().expect("signed");
        let packet = record.packet().expect("a packet");
        let rrs = record.record().bindings().iter().filter_map(|binding| match binding {
            Binding::Dns(dns) => Some(json!({ "owner": dns.owner, "type": dns.kind, "ttl": dns.ttl.0, "rdata": hex::encode(&dns.rdata) })),
            _ => None,
        });
        json!({
            "what": what,
            "relay_payload": hex::encode(packet.to_relay()),
            "envelope": hex::encode(record.bytes()),
            "name": record.name().to_string(),
            "rank": record.rank().to_string(),
            "ttl": record.record().ttl_at(UnixSecs(0)).0,
            "rrs": rrs.collect::<Vec<_>>(),
        })
    })
    .collect()
}

/// DNS messages that pkarr's own clients made.
const PUBLISHED: [&str; 2] = [
    "000080000000000500000000343870696e787867717334316e346169646964656e773561707170317572666d7a647a7472386a74346162726b646e34333565776f00000100010000012c0004c0000201c00c001c00010000012c001020010db800000000000000000000000103777777c00c000500010000003c000d076578616d706c6503636f6d00065f70726f746fc00c001000010000001e000807666f6f3d626172c00c0041000100000e100003000100",
    "000080000000000300000000055f69726f68343870696e787867717334316e346169646964656e773561707170317572666d7a647a7472386a74346162726b646e34333565776f00001000010000001e00222172656c61793d68747470733a2f2f72656c61792e6578616d706c652e6f72672e2fc00c001000010000001e001615616464723d3230332e302e3131332e353a34323432c00c001000010000001e00100f757365722d646174613d68656c6c6f",
];

/// Values, and the records that they are of their names.
fn values() -> Vec<Value> {
    [&b"hello"[..], &[0], &[0xd2; 300]]
        .iter()
        .map(|value| {
            let record = SignedRecord::of_value(value).expect("a value");
            json!({
                "value": hex::encode(value),
                "envelope": hex::encode(record.bytes()),
                "name": record.name().to_string(),
                "rank": record.rank().to_string(),
            })
        })
        .collect()
}

/// Records of one name, each outranking those before it.
fn ranks_ascending() -> Vec<Value> {
    let at = |epoch: usize, revoked, sequence, ttl| {
        let sequence = UnixMicros(sequence);
        let live = Body::Live {
            expiry: sequence.secs().plus(60),
            ttl: Ttl(ttl),
            bindings: Vec::new(),
        };
        sign(Record {
            genesis: chain().genesis,
            chain: chain().links[..epoch].to_vec(),
            sequence,
            scope: Vec::new(),
            body: if revoked { Body::Revoked } else { live },
        })
    };
    let ascending = [
        at(0, false, 1, 0),
        at(0, false, 1, 1),
        at(0, false, 2, 0),
        at(0, false, 1 << 62, 0),
        at(0, true, 1, 0),
        at(0, true, 2, 0),
        at(1, false, 1, 0),
        at(1, true, 1, 0),
        at(2, false, 1, 0),
    ];
    assert!(ascending.windows(2).all(|pair| pair[1].outranks(&pair[0])));
    ascending
        .iter()
        .map(|record| json!({ "rank": record.rank().to_string(), "record": hex::encode(record.bytes()) }))
        .collect()
}

fn provider() -> Signer {
    Signer::of(SecretKey::from_seed(&[0x50; 32]))
}

/// The receipts of one commit of five records.
fn receipts() -> Value {
    let records = records();
    let kept: Vec<_> = [0, 1, 8, 9, 11]
        .iter()
        .map(|index| {
            let (_, record) = &records[*index];
            (*record.name(), *record.rank(), record.record().expiry())
        })
        .collect();
    let receipts = issue(&provider(), UnixMicros(SIGNED.micros().0 + 1_500), &kept);
    let receipts = receipts.iter().map(|receipt| {
        let promise = receipt.verify().expect("just issued");
        json!({
            "receipt": hex::encode(receipt.encode()),
            "name": promise.name.to_string(),
            "rank": promise.rank.to_string(),
            "time": promise.time.0,
            "keep_until": promise.keep_until.map(|until| until.0),
        })
    });
    json!({ "provider": provider().name().to_string(), "receipts": receipts.collect::<Vec<_>>() })
}

fn statuses() -> Vec<Value> {
    let (_, record) = &records()[1];
    let time = UnixMicros(SIGNED.micros().0 + 2_000);
    [Some(record.rank()), None]
        .into_iter()
        .map(|rank| {
            let bytes = Status::sign(&provider(), time, record.name(), rank);
            let status = Status::verify(&bytes).expect("just signed");
            json!({
                "status": hex::encode(&bytes),
                "provider": status.provider.to_string(),
                "name": status.name.to_string(),
                "rank": status.rank.map(|rank| rank.to_string()),
                "time": status.time.0,
            })
        })
        .collect()
}

/// A proof of each kind.
fn proofs() -> Vec<Value> {
    let secret = SecretKey::from_seed(&[9; 32]);
    let twin = |ttl| {
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: SIGNED.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: SIGNED.plus(86_400),
                ttl: Ttl(ttl),
                bindings: Vec::new(),
            },
        };
        let signed = SignedRecord::sign(record, &secret).expect("a record");
        signed.verify().expect("just signed")
    };
    let (one, other) = (twin(60), twin(61));
    let until = SIGNED.plus(86_400);
    let receipt = issue(&provider(), SIGNED.micros(), &[(*one.name(), *one.rank(), Some(until))]).remove(0);
    let status = Status::sign(&provider(), UnixMicros(SIGNED.micros().0 + 60_000_000), one.name(), None);
    let proofs = [
        ("equivocation", Proof::of_twins(&one, &other).expect("twins")),
        ("broken promise", Proof::BrokenPromise { receipt, status }),
    ];
    let describe = |(what, proof): &(&str, Proof)| {
        json!({
            "what": what,
            "proof": hex::encode(proof.encode()),
            "of": proof.subject().expect("a claim").of.to_string(),
            "says": proof.check().expect("it holds").to_string(),
        })
    };
    proofs.iter().map(describe).collect()
}

/// One of each message between providers, as frames.
fn messages() -> Vec<Value> {
    let records = records();
    let hello = Message::Hello(Hello {
        versions: vec![1],
        record: records[4].1.bytes().clone(),
        store: [0xaa; 16],
        boot: [0xbb; 16],
        heads: [0, 301, 0],
        terms: Terms::mutual(),
    });
    let value = |index: usize| message::Value {
        class: 3,
        keep_until: SIGNED.plus(86_400),
        record: records[index].1.bytes().clone(),
        path: Path::default(),
    };
    // The second came through others.
    let came = Path::default()
        .through(mark(records[0].1.name()))
        .through(mark(records[1].1.name()));
    let entry = |index: usize| {
        Entry::Value(message::Value {
            path: if index == 1 { came } else { Path::default() },
            ..value(index)
        })
    };
    let pointer = |index: usize, keeper: Option<Name>| {
        let record = &records[index].1;
        let rank = record.rank();
        Entry::Pointer(Pointer {
            class: 2,
            keep_until: SIGNED.plus(86_400),
            name: *record.name(),
            epoch: rank.epoch,
            sequence: rank.sequence,
            digest: rank.digest.first_chunk().copied().unwrap_or_default(),
            expiry: SIGNED.plus(86_400),
            keeper,
            tag: None,
        })
    };
    let batch = Message::Batch(Batch {
        lane: 1,
        cursor: 300,
        behind: 2,
        entries: vec![entry(1), entry(2)],
        heard: 0,
    });
    let ack = Message::Ack(Ack {
        lane: 1,
        cursor: 300,
        counts: Counts {
            stored: 1,
            same: 1,
            ..Counts::default()
        },
        wants: Vec::new(),
    });
    let asks = Message::Ack(Ack {
        lane: 1,
        cursor: 301,
        counts: Counts::default(),
        wants: vec![*records[1].1.name(), *records[2].1.name()],
    });
    let offers = Message::Batch(Batch {
        lane: 1,
        cursor: 302,
        behind: 0,
        entries: vec![pointer(1, None), pointer(2, None)],
        heard: 2,
    });
    let branch = Message::Branch(Branch {
        root: 0x0123_4567_89ab_cdef,
        distance: 2,
        parent: true,
    });
    let hearsay = Message::Batch(Batch {
        lane: 2,
        cursor: 7,
        behind: 0,
        entries: vec![
            pointer(1, None),
            pointer(2, Some(*records[1].1.name())),
            Entry::Mention(message::Mention { name: u64::MAX, tag: None }),
        ],
        heard: 0,
    });
    let tag = records[1].1.record().key().map(|key| Hit::of(&key));
    let tagged = Message::Batch(Batch {
        lane: 1,
        cursor: 9,
        behind: 0,
        entries: vec![
            match pointer(1, None) {
                Entry::Pointer(pointer) => Entry::Pointer(Pointer { tag, ..pointer }),
                other => other,
            },
            Entry::Mention(message::Mention {
                name: 77,
                tag: Some(0x0123_4567_89ab_cdef),
            }),
            pointer(2, None),
        ],
        heard: 0,
    });
    let terms = Message::Terms(Terms {
        relationship: Relationship::Customer,
        pushes: Mode::Pointers,
        accepts: Mode::Digest,
        answers: true,
        takes_all: false,
        reach: Reach {
            asks: vec![mark(records[1].1.name())],
            partial: 1,
            filtered: 0,
        },
        filter: 0x0123_4567_89ab_cdef,
        schemes: Scheme::ALL,
    });
    let digest = Message::Digest(message::Digest {
        seed: 77,
        names: 1_000,
        hashes: 7,
        total: 1_200,
        offset: 1_198,
        bytes: vec![0x5a, 0xa5].into(),
        tags: false,
    });
    let whole_digest = Message::Digest(message::Digest {
        seed: 78,
        names: 1,
        hashes: 7,
        total: 8,
        offset: 0,
        bytes: vec![0x5a; 8].into(),
        tags: true,
    });
    let query = Query {
        name: *records[1].1.name(),
        tag: None,
        hops: 15,
        visited: vec![mark(records[2].1.name())],
        budget: 32,
        own_only: false,
        known: Some(*records[1].1.rank()),
    };
    let query_for_tag = Query {
        name: tag.map_or(query.name, |tag| tag.place()),
        tag,
        known: None,
        ..query.clone()
    };
    let messages = [
        ("hello", hello),
        ("batch", batch),
        ("ack", ack),
        ("batch of hearsay", hearsay),
        ("terms", terms),
        ("digest", digest),
        ("ack that asks", asks),
        ("batch of offers", offers),
        ("branch", branch),
        ("batch with tags", tagged),
        ("digest with tags", whole_digest),
    ];
    let requests = [
        ("query", Request::Query(query)),
        ("query for a tag", Request::Query(query_for_tag)),
        (
            "statement request",
            Request::Statement {
                from_hour: 500_000,
                hours: 24,
            },
        ),
        ("proofs", Request::Proofs(vec![vec![0xa0].into()])),
    ];
    let responses = [
        (
            "answer: found",
            Response::Answer(Answer::Found {
                value: value(1),
                fresh: Ttl(60),
            }),
        ),
        ("answer: not newer", Response::Answer(Answer::NotNewer { fresh: Ttl(60) })),
        ("answer: absent", Response::Answer(Answer::Absent { certain: true })),
        ("noted", Response::Noted),
        ("refused", Response::Refused(Refused::Busy)),
    ];
    let frame = |what: &str, frame: Vec<u8>| json!({ "what": what, "frame": hex::encode(frame) });
    let messages = messages.iter().map(|(what, message)| frame(what, message.to_frame()));
    let requests = requests.iter().map(|(what, request)| frame(what, request.to_frame()));
    let responses = responses.iter().map(|(what, response)| frame(what, response.to_frame()));
    messages.chain(requests).chain(responses).collect()
}
