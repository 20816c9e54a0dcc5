//! The world in one line: keys, records, vectors, and strategies that make arbitrary records.

use bytes::Bytes;
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use dialtone_shared::key::KeyChain;
use dialtone_shared::record::signed::RECORD_DOMAIN;
use dialtone_shared::record::{Address, Delegate, DnsData, Opaque, Service, Step, Target, Transport, rdata::types};
use dialtone_shared::{Binding, Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

/// When most records here were signed.
pub const SIGNED: UnixSecs = UnixSecs(1_700_000_000);

/// A day, in seconds.
pub const DAY: u64 = 86_400;

/// The secret key of the seed that is all `n`.
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// The name of that key alone.
pub fn name(n: u8) -> Name {
    Genesis::of(key(n).public()).name()
}

/// A live record of `name(1)`, signed at [`SIGNED`], valid for a day.
pub fn record(bindings: Vec<Binding>) -> Record {
    Record {
        genesis: Genesis::of(key(1).public()),
        chain: Vec::new(),
        sequence: SIGNED.micros(),
        scope: Vec::new(),
        body: Body::Live {
            expiry: SIGNED.plus(DAY),
            ttl: Ttl(60),
            bindings,
        },
    }
}

/// The same, but a revocation.
pub fn revocation() -> Record {
    Record {
        body: Body::Revoked,
        ..record(Vec::new())
    }
}

/// An address binding, 192.0.2.`n`.
pub fn address(n: u8) -> Binding {
    Binding::Address(Address::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))))
}

/// One binding of each kind, every field used.
pub fn one_of_each() -> Vec<Binding> {
    vec![
        Binding::Address(Address {
            ip: "2001:db8::1".parse().unwrap(),
            priority: 1,
            weight: 2,
            region: Some("eu-central-1".into()),
        }),
        Binding::Service(Service {
            target: Target::Name(name(2)),
            alpn: vec!["h2".into(), "http/1.1".into()],
            priority: 3,
            weight: 4,
            pins: vec![[7; 32]],
            ..Service::of("https", Transport::Tcp, 443)
        }),
        Binding::Delegate(Delegate {
            path: vec![Step::Name(name(3)), Step::Legacy("relay.example.com".into())],
        }),
        dns("_sip._udp", types::TXT, b"\x05hello"),
        Binding::Opaque(Opaque {
            media_type: "application/octet-stream".into(),
            bytes: vec![0, 1, 2],
        }),
    ]
}

/// A DNS binding.
pub fn dns(owner: &str, kind: u16, rdata: &[u8]) -> Binding {
    Binding::Dns(DnsData {
        owner: owner.into(),
        kind,
        ttl: Ttl(300),
        rdata: rdata.to_vec(),
    })
}

/// Signed by `key(1)`.
pub fn signed(record: &Record) -> SignedRecord {
    SignedRecord::sign(record.clone(), &key(1)).unwrap()
}

/// Signed by `key(1)` and believed.
pub fn verified(record: &Record) -> VerifiedRecord {
    signed(record).verify().unwrap()
}

/// Any payload at all in a well-formed, well-signed envelope of a record, made by another COSE implementation than ours.
pub fn seal(payload: &[u8], key: &SecretKey) -> Bytes {
    seal_as(RECORD_DOMAIN, payload, key)
}

/// The same for any statement.
pub fn seal_as(domain: &str, payload: &[u8], key: &SecretKey) -> Bytes {
    let protected = HeaderBuilder::new().algorithm(iana::Algorithm::Ed25519).build();
    let sign1 = CoseSign1Builder::new()
        .protected(protected)
        .payload(payload.to_vec())
        .create_signature(domain.as_bytes(), |message| key.sign(message).to_vec())
        .build();
    assert!(sign1.clone().to_vec().is_ok());
    sign1.to_tagged_vec().unwrap().into()
}

/// A CBOR map of the given pairs, in the order given, keys and values already encoded: right or wrong.
pub fn map(pairs: &[(&str, &str)]) -> Vec<u8> {
    assert!(pairs.len() < 24);
    let body: String = pairs.iter().map(|(key, value)| format!("{key}{value}")).collect();
    [vec![0xa0 | pairs.len() as u8], unhex(&body)].concat()
}

/// Bytes of hexadecimal digits; blanks are for the reader.
pub fn unhex(digits: &str) -> Vec<u8> {
    hex::decode(digits.replace([' ', '\n'], "")).unwrap()
}

/// A vector file's contents.
pub fn vectors(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// The text of a field of a vector.
pub fn text<'a>(vector: &'a serde_json::Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("no text {field} in {vector}"))
}

/// The bytes of a hexadecimal field of a vector.
pub fn bytes(vector: &serde_json::Value, field: &str) -> Vec<u8> {
    unhex(text(vector, field))
}

/// Every element of a list in a vector file; a list that is empty would prove nothing.
pub fn list<'a>(vectors: &'a serde_json::Value, field: &str) -> &'a [serde_json::Value] {
    let list = vectors[field].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

/// Any name of the `key-set` scheme.
pub fn any_key_set() -> impl Strategy<Value = Name> {
    any::<[u8; 32]>().prop_map(Name::key_set)
}

/// Any name.
pub fn any_name() -> impl Strategy<Value = Name> {
    prop_oneof![any_key_set(), vec(any::<u8>(), 0..40).prop_map(|bytes| Name::of_content(&bytes))]
}

/// Any binding that is well-formed by itself.
pub fn any_binding() -> impl Strategy<Value = Binding> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>()
            .prop_map(IpAddr::from)
            .prop_filter("not IPv4 in disguise", |ip| ip.to_canonical() == *ip)
    ];
    let region = proptest::option::of("[a-z0-9-]{1,16}");
    let address = (ip, any::<u16>(), any::<u16>(), region).prop_map(|(ip, priority, weight, region)| {
        Binding::Address(Address {
            ip,
            priority,
            weight,
            region,
        })
    });
    let target = prop_oneof![Just(Target::Own), any_key_set().prop_map(Target::Name)];
    let transport = prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)];
    let service = (
        ("[a-z]{1,5}(-[a-z0-9]{1,4})?", transport, 1..=u16::MAX, target),
        (vec("[!-~]{1,32}", 0..=3), any::<u16>(), any::<u16>(), vec(any::<[u8; 32]>(), 0..=6)),
    )
        .prop_map(|((label, transport, port, target), (alpn, priority, weight, pins))| {
            Binding::Service(Service {
                label,
                transport,
                port,
                target,
                alpn,
                priority,
                weight,
                pins,
            })
        });
    let step = prop_oneof![
        any_name().prop_map(Step::Name),
        "([a-z0-9_-]{1,20}\\.){0,3}[a-z]{2,10}".prop_map(Step::Legacy)
    ];
    let delegate = vec(step, 1..=8).prop_map(|path| Binding::Delegate(Delegate { path }));
    let owner = "(\\*|(\\*\\.)?[a-z0-9_-]{1,20}(\\.[a-z_]{1,8})?)?";
    let dns = (owner, any::<u32>(), any_rdata()).prop_map(|(owner, ttl, (kind, rdata))| {
        Binding::Dns(DnsData {
            owner,
            kind,
            ttl: Ttl(ttl),
            rdata,
        })
    });
    let opaque = ("[a-z]{1,10}/[a-z0-9.+-]{1,20}(; ?q=[0-9])?", vec(any::<u8>(), 0..200))
        .prop_map(|(media_type, bytes)| Binding::Opaque(Opaque { media_type, bytes }));
    prop_oneof![address, service, delegate, dns, opaque]
}

/// RDATA with its type.
fn any_rdata() -> impl Strategy<Value = (u16, Vec<u8>)> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| (types::A, ip.to_vec())),
        any::<[u8; 16]>().prop_map(|ip| (types::AAAA, ip.to_vec())),
        vec(vec(any::<u8>(), 0..40), 1..4).prop_map(|strings| {
            let strings = strings.iter().flat_map(|s| [&[s.len() as u8], s.as_slice()].concat());
            (types::TXT, strings.collect())
        }),
        any_dns_name().prop_map(|name| (types::CNAME, name)),
        (any::<[u8; 6]>(), any_dns_name()).prop_map(|(head, name)| (types::SRV, [&head[..], &name].concat())),
        (257u16..32_000, vec(any::<u8>(), 0..60))
            .prop_filter("has a form of its own", |(kind, _)| *kind != types::CAA)
            .prop_map(|unknown| unknown),
    ]
}

/// A DNS name in wire form.
fn any_dns_name() -> impl Strategy<Value = Vec<u8>> {
    vec(vec(any::<u8>(), 1..20), 0..5).prop_map(|labels| {
        let labels = labels.iter().flat_map(|label| [&[label.len() as u8], label.as_slice()].concat());
        labels.chain([0]).collect()
    })
}

/// Any record that may be published, with the key that signs it.
pub fn any_record() -> impl Strategy<Value = (Record, SecretKey)> {
    let keys = (any::<[u8; 32]>(), vec(any::<u8>(), 0..=32), 0..=3usize, 0..=3usize);
    let live = (1..=400 * DAY, any::<u32>(), vec(any_binding(), 0..4));
    let body = prop_oneof![4 => live.prop_map(Some), 1 => Just(None)];
    (keys, 1..=1u64 << 62, btree_set(any_key_set(), 0..=8), body).prop_map(|((seed, salt, links, epoch), sequence, scope, live)| {
        let KeyChain { genesis, links: mut chain } = KeyChain::generate(&seed, &salt, links).unwrap();
        chain.truncate(epoch);
        let secret = SecretKey::derive(&seed, chain.len() as u16);
        let sequence = UnixMicros(sequence);
        let body = match live {
            Some((lifetime, ttl, bindings)) => Body::Live {
                expiry: sequence.secs().plus(lifetime),
                ttl: Ttl(ttl),
                bindings: that_go_together(bindings),
            },
            None => Body::Revoked,
        };
        let scope = scope.into_iter().collect();
        (
            Record {
                genesis,
                chain,
                sequence,
                scope,
                body,
            },
            secret,
        )
    })
}

/// One delegate at most, and no CNAME beside anything.
fn that_go_together(mut bindings: Vec<Binding>) -> Vec<Binding> {
    let mut delegates = 0;
    bindings.retain(|binding| {
        delegates += usize::from(matches!(binding, Binding::Delegate(_)));
        !matches!(binding, Binding::Delegate(_)) || delegates == 1
    });
    if bindings.len() > 1 {
        bindings.retain(|binding| !matches!(binding, Binding::Dns(dns) if dns.kind == types::CNAME));
    }
    bindings
}
