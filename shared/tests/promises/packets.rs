//! Packets of pkarr: what its clients sign is a record here, and whatever is wrong with one is told.

use crate::world::*;
use bytes::Bytes;
use dialtone_shared::key::KeyError;
use dialtone_shared::limits::PACKET_DNS_BYTES_MAX;
use dialtone_shared::record::Timeliness;
use dialtone_shared::record::pkarr::{self, Packet, PacketError};
use dialtone_shared::record::rdata::types;
use dialtone_shared::{
    Binding, Name, NameError, RecordError, SecretKey, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifiedRecord, VerifyError,
};
use proptest::prelude::*;

const PUBLISHED: &str = include_str!("../vectors/pkarr.json");
const AT: UnixMicros = UnixMicros(1_700_000_000_000_000);

/// The packets that pkarr's own clients made.
fn published() -> Vec<VerifiedRecord> {
    let all = vectors(PUBLISHED);
    let name: Name = text(&all, "name").parse().unwrap();
    list(&all, "payloads")
        .iter()
        .map(|payload| {
            let payload = hex::decode(payload.as_str().unwrap()).unwrap();
            let envelope = Packet::from_relay(name.digest(), &payload).unwrap().to_envelope();
            let record = SignedRecord::decode(envelope).unwrap().verify_for(&name).unwrap();
            assert_eq!(record.packet().unwrap().to_relay(), payload, "as it was sent, to the byte");
            record
        })
        .collect()
}

fn rrs(record: &VerifiedRecord) -> Vec<(&str, u16, u32, &[u8])> {
    let bindings = record.record().bindings().iter();
    let rr = bindings.map(|binding| match binding {
        Binding::Dns(dns) => (dns.owner.as_str(), dns.kind, dns.ttl.0, &dns.rdata[..]),
        other => panic!("{other:?}"),
    });
    rr.collect()
}

fn zero() -> SecretKey {
    SecretKey::from_seed(&[0; 32])
}

fn apex() -> String {
    Name::pkarr(*zero().public().as_bytes()).to_string()
}

/// A name in wire form.
fn wire(labels: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// An RR with its owner as it is.
fn rr(owner: &[u8], kind: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut rr = owner.to_vec();
    rr.extend(kind.to_be_bytes());
    rr.extend([0, 1]);
    rr.extend(ttl.to_be_bytes());
    rr.extend((rdata.len() as u16).to_be_bytes());
    rr.extend(rdata);
    rr
}

fn message(rrs: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, rrs.len() as u8, 0, 0, 0, 0];
    message.extend(rrs.concat());
    message
}

/// A message in a packet, whatever it is.
fn sealed(timestamp: UnixMicros, dns: &[u8]) -> Bytes {
    let signed = [format!("3:seqi{}e1:v{}:", timestamp.0, dns.len()).as_bytes(), dns].concat();
    let packet = Packet {
        key: *zero().public().as_bytes(),
        timestamp,
        dns,
        signature: &zero().sign(&signed),
    };
    packet.to_envelope()
}

fn of(rrs: &[Vec<u8>]) -> VerifiedRecord {
    SignedRecord::decode(sealed(AT, &message(rrs))).unwrap().verify().unwrap()
}

fn refused(dns: &[u8]) -> RecordError {
    SignedRecord::decode(sealed(AT, dns)).unwrap_err()
}

#[test]
fn what_pkarrs_clients_sign_is_believed_and_read() {
    let [nothing, several, endpoint] = &published()[..] else {
        panic!("three")
    };
    assert_eq!(rrs(nothing), []);
    assert_eq!(
        rrs(several),
        [
            ("", types::A, 300, &[192, 0, 2, 1][..]),
            ("", types::AAAA, 300, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ("www", types::CNAME, 60, &wire("example.com")),
            ("_proto", types::TXT, 30, b"\x07foo=bar"),
            ("", types::HTTPS, 3_600, &[0, 1, 0]),
        ]
    );
    let texts: Vec<_> = rrs(endpoint)
        .into_iter()
        .map(|(owner, kind, ttl, rdata)| (owner, kind, ttl, &rdata[1..]))
        .collect();
    assert_eq!(
        texts,
        [
            ("_iroh", types::TXT, 30, &b"relay=https://relay.example.org./"[..]),
            ("_iroh", types::TXT, 30, b"addr=203.0.113.5:4242"),
            ("_iroh", types::TXT, 30, b"user-data=hello"),
        ]
    );
    assert_eq!(
        [nothing, several, endpoint].map(|record| record.record().ttl_at(SIGNED)),
        [Ttl(60), Ttl(30), Ttl(30)]
    );
}

#[test]
fn packets_rank_as_pkarr_ranks_them() {
    let [nothing, several, endpoint] = &published()[..] else {
        panic!("three")
    };
    assert!(endpoint.outranks(several), "the later one");
    assert!(several.outranks(nothing), "at the same time, the one with the larger message");
    let large = of(&[rr(&wire(&apex()), types::TXT, 1, b"\x01b")]);
    let small = of(&[rr(&wire(&apex()), types::TXT, 1, b"\x01a")]);
    assert!(large.outranks(&small) && !small.outranks(&large));
}

#[test]
fn the_signature_is_that_of_bep_44() {
    let all = vectors(PUBLISHED);
    let vector = &all["bep44"];
    let (key, dns) = (bytes(vector, "public_key").try_into().unwrap(), bytes(vector, "dns"));
    let packet = Packet {
        key,
        timestamp: UnixMicros(vector["timestamp"].as_u64().unwrap()),
        dns: &dns,
        signature: &bytes(vector, "signature").try_into().unwrap(),
    };
    let record = SignedRecord::decode(packet.to_envelope()).unwrap().verify().unwrap();
    assert_eq!(rrs(&record)[1], ("_foo", types::TXT, 30, &b"\x05hello"[..]));
    let secret = SecretKey::from_seed(&std::array::from_fn(|at| at as u8));
    assert_eq!(pkarr::sign(&secret, packet.timestamp, &dns), Ok(packet.to_envelope()));
}

#[test]
fn no_byte_of_a_packet_can_vary() {
    let record = &published()[1];
    let right = record.bytes();
    for at in 1..right.len() {
        let mut wrong = right.to_vec();
        wrong[at] ^= 1;
        let believed = SignedRecord::decode(wrong.into()).ok().and_then(|signed| signed.verify().ok());
        assert_eq!(believed, None, "byte {at}");
    }
}

#[test]
fn a_packet_cut_short_anywhere_is_none() {
    for record in published() {
        let (right, payload) = (record.bytes(), record.packet().unwrap().to_relay());
        for length in 0..right.len() {
            let believed = SignedRecord::decode(right.slice(..length)).map(SignedRecord::verify);
            assert!(!matches!(believed, Ok(Ok(_))), "{length} bytes");
        }
        for length in 0..payload.len() {
            let packet = Packet::from_relay(record.name().digest(), &payload[..length]);
            let believed = packet.map(|packet| SignedRecord::decode(packet.to_envelope()).map(SignedRecord::verify));
            assert!(!matches!(believed, Ok(Ok(Ok(_)))), "{length} bytes");
        }
    }
}

#[test]
fn names_may_be_compressed_or_not_and_upper_case() {
    let apex = apex();
    let pointer = [0xc0, 12];
    let record = of(&[
        rr(&wire(&apex), types::A, 5, &[192, 0, 2, 1]),
        rr(
            &[&b"\x03www"[..], &pointer].concat(),
            types::CNAME,
            5,
            &[&b"\x04HERE"[..], &pointer].concat(),
        ),
        rr(
            &wire(&format!("WWW2.{}", apex.to_uppercase())),
            types::MX,
            5,
            &[&[0, 9][..], &pointer].concat(),
        ),
        rr(
            &wire(&format!("*.x.{apex}")),
            types::SRV,
            5,
            &[&[0, 1, 0, 2, 0, 3][..], &wire("far.example")].concat(),
        ),
    ]);
    assert_eq!(
        rrs(&record),
        [
            ("", types::A, 5, &[192, 0, 2, 1][..]),
            ("www", types::CNAME, 5, &wire(&format!("HERE.{apex}"))),
            ("www2", types::MX, 5, &[&[0, 9][..], &wire(&apex)].concat()),
            ("*.x", types::SRV, 5, &[&[0, 1, 0, 2, 0, 3][..], &wire("far.example")].concat()),
        ]
    );
}

#[test]
fn what_cannot_be_answered_is_kept_and_left_out() {
    let apex = apex();
    let other = Name::pkarr(*key(1).public().as_bytes()).to_string();
    let ours = rr(&wire(&apex), types::TXT, 40, b"\x02ok");
    let mut of_another_class = rr(&wire(&apex), types::TXT, 1, b"\x02ch");
    let at = wire(&apex).len() + 3;
    of_another_class[at] = 3;
    let long = format!("{}.{}.{apex}", "a".repeat(60), "b".repeat(60));
    let record = of(&[
        rr(&wire("example.com"), types::TXT, 1, b"\x02no"),
        rr(&wire(&format!("www.{other}")), types::TXT, 1, b"\x02no"),
        rr(&wire(""), types::TXT, 1, b"\x02no"),
        rr(&wire(&format!("{apex}.example")), types::TXT, 1, b"\x02no"),
        of_another_class,
        // Under the key, but nothing that a record may publish: these count for the TTL.
        rr(&wire(&format!("sub.{apex}")), types::NS, 90, &wire("ns.example")),
        rr(&wire(&format!("sp ace.{apex}")), types::TXT, 90, b"\x02no"),
        rr(&[&[3, b'a', b'.', b'b'][..], &wire(&apex)].concat(), types::TXT, 90, b"\x02no"),
        rr(&wire(&long), types::TXT, 90, b"\x02no"),
        rr(&wire(&apex), types::A, 90, &[1, 2, 3]),
        rr(&wire(&apex), types::TXT, 90, b"\x05no"),
        ours,
    ]);
    assert_eq!(rrs(&record), [("", types::TXT, 40, &b"\x02ok"[..])]);
    assert_eq!(record.record().ttl_at(SIGNED), Ttl(40));
}

#[test]
fn an_iroh_endpoint_may_say_what_nobody_knows_yet() {
    let owner = wire(&format!("_iroh.{}", apex()));
    let said = [&b"\x09color=red"[..], b"\x0bno-equals-x", b"\x08relay=\xff\x00", b"\x01=", b"\x00"];
    let record = of(&said.map(|text| rr(&owner, types::TXT, 30, text)));
    let found: Vec<_> = rrs(&record).into_iter().map(|(_, _, _, rdata)| rdata).collect();
    assert_eq!(found, said, "untouched: what it means is for iroh to say");
}

#[test]
fn a_message_that_cannot_be_read_is_no_packet() {
    let apex = wire(&apex());
    let wrong = |dns: &[u8], wanted: fn(&PacketError) -> bool| match refused(dns) {
        RecordError::Packet(error) if wanted(&error) => {}
        other => panic!("{other:?}"),
    };
    let unreadable = |dns: &[u8]| wrong(dns, |error| matches!(error, PacketError::Message(_)));
    let right = message(&[rr(&apex, types::A, 5, &[192, 0, 2, 1])]);
    for length in 12..right.len() {
        unreadable(&right[..length]);
    }
    wrong(&right[..11], |error| matches!(error, PacketError::TooShort(_)));
    wrong(&[&right[..], &[0]].concat(), |error| matches!(error, PacketError::Trailing(_)));
    unreadable(&message(&[rr(&[0xc0, 12], types::A, 5, &[1, 2, 3, 4])])); // a pointer to itself
    unreadable(&message(&[rr(&[0xc0, 200], types::A, 5, &[1, 2, 3, 4])])); // and one ahead
    unreadable(&message(&[rr(&[0x41, 0], types::A, 5, &[])]));
    unreadable(&message(&[rr(&wire(&vec!["a".repeat(63); 4].join(".")), types::A, 5, &[])])); // a name of 257 bytes
    let mut counts = right.clone();
    counts[6] = 0xff;
    unreadable(&counts);
}

#[test]
fn a_message_of_1000_bytes_fits_and_no_longer_one() {
    let owner = wire(&apex());
    let room = PACKET_DNS_BYTES_MAX - message(&[rr(&owner, 65, 1, &[])]).len();
    let strings = |bytes: usize| {
        let mut texts = Vec::new();
        while texts.len() < bytes {
            let length = (bytes - texts.len() - 1).min(255);
            texts.push(length as u8);
            texts.extend(vec![b'x'; length]);
        }
        rr(&owner, types::TXT, 1, &texts)
    };
    let fits = of(&[strings(room)]);
    assert_eq!((fits.packet().unwrap().dns.len(), rrs(&fits).len()), (PACKET_DNS_BYTES_MAX, 1));
    assert_eq!(fits.packet().unwrap().to_relay().len(), pkarr::RELAY_BYTES_MAX);
    let large = message(&[strings(room + 1)]);
    assert_eq!(refused(&large), RecordError::Packet(PacketError::TooLong(1_001)));
    assert_eq!(pkarr::sign(&zero(), AT, &large), Err(PacketError::TooLong(1_001)));
    let payload = vec![0; pkarr::RELAY_BYTES_MAX + 1];
    assert_eq!(Packet::from_relay([1; 32], &payload).unwrap_err(), PacketError::TooLong(1_001));
}

#[test]
fn a_timestamp_is_a_time() {
    let dns = message(&[]);
    for (wrong, at) in [(true, u64::MAX), (true, (1 << 62) + 1), (false, 1 << 62), (false, 1), (true, 0)] {
        let decoded = SignedRecord::decode(sealed(UnixMicros(at), &dns));
        match decoded {
            Err(error) => assert_eq!((wrong, error), (true, RecordError::Sequence(at))),
            Ok(signed) => assert_eq!((wrong, signed.rank().sequence.0), (false, at)),
        }
    }
    let signed = SignedRecord::decode(sealed(AT, &dns)).unwrap();
    let ahead = |secs: u64| UnixSecs(AT.secs().0 - secs);
    assert_eq!(signed.record().at_put(ahead(300)), Timeliness::Current);
    assert_eq!(signed.record().at_put(ahead(301)), Timeliness::Future(301));
    assert_eq!(signed.record().from_peer(ahead(601)), Timeliness::Future(601));
}

#[test]
fn a_packet_lives_for_its_lease_however_old_its_author_made_it_and_is_a_floor_after() {
    let record = &published()[0];
    let says = record.record();
    let year_later = AT.secs().plus(365 * DAY);
    assert_eq!(says.at_put(year_later), Timeliness::Current, "nothing about it expires");
    let lease = AT.secs().plus(10 * DAY);
    assert_eq!((says.expiry(), says.served_until(lease)), (None, Some(lease)));
    assert_eq!(
        says.forgotten_at(lease),
        Some(AT.secs().plus(400 * DAY)),
        "an older one must not come back"
    );
    let late = AT.secs().plus(500 * DAY);
    assert_eq!(says.forgotten_at(late), Some(late));
    assert_eq!(
        says.bounded(UnixSecs(u64::MAX), year_later),
        year_later.plus(402 * DAY),
        "no lease is for ever"
    );
}

#[test]
fn the_key_of_a_packet_must_be_one() {
    let alias = "c1bkg8tfsyy8wcedtmw4fwhdmm7bbzhgg3z58tf43m5ow8w9mbus".parse::<Name>();
    assert_eq!(alias, Err(NameError::NonCanonical));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for (key, wanted) in [([0xff; 32], KeyError::NotAKey), (neutral, KeyError::SmallOrder)] {
        let name = Name::pkarr(key);
        let packet = Packet {
            key: name.digest(),
            timestamp: AT,
            dns: &message(&[]),
            signature: &[0; 64],
        };
        let refused = SignedRecord::decode(packet.to_envelope()).unwrap().verify();
        assert_eq!(refused, Err(VerifyError::Key(wanted)), "{name}");
    }
}

proptest! {
    #[test]
    fn whatever_arrives_is_read_without_harm(dns in proptest::collection::vec(any::<u8>(), 0..200), counts in any::<[u8; 4]>()) {
        let mut dns = [&[0, 0, 0x84, 0, 0, counts[0] & 1, 0, counts[1] & 7, 0, counts[2] & 1, 0, counts[3] & 1][..], &dns].concat();
        let _ = SignedRecord::decode(sealed(AT, &dns));
        dns.splice(12..12, wire(&apex()));
        let _ = SignedRecord::decode(sealed(AT, &dns));
    }
}
