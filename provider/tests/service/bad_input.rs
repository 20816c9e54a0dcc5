//! Bad input gets a clear error and changes nothing.

use crate::world::{Publisher, Reply, World, path_of};
use bytes::Bytes;
use dialtone_shared::limits::{LIFETIME_SECS_MAX, RECORD_BYTES_MAX};
use dialtone_shared::{Body, Genesis, Name, SignedRecord};
use std::io::{Read, Write};

/// A put that must be refused so, and must change nothing.
async fn refused(world: &World, name: &Name, body: impl Into<Bytes>, status: u16, slug: &str) -> Reply {
    let before = (world.provider.store().count(), world.held(name).await);
    let reply = world.ask("PUT", &path_of(name), &[], body).await;
    assert_eq!(
        (reply.status.as_u16(), reply.slug().as_str()),
        (status, slug),
        "{:?}",
        reply.problem()
    );
    assert!(!reply.problem()["detail"].as_str().unwrap().is_empty());
    assert!(["publisher", "provider", "client"].contains(&reply.problem()["turn"].as_str().unwrap()));
    let after = (world.provider.store().count(), world.held(name).await);
    assert_eq!(before, after, "{slug} changed something");
    reply
}

/// `record` with the bytes that say how long the payload is replaced along with the payload; the signature stays.
fn with_payload(record: &SignedRecord, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let bytes = record.bytes();
    let (head, tail) = (7 + 2, bytes.len() - 66);
    assert_eq!(bytes[7], 0x58, "a payload of 24 to 255 bytes");
    let mut payload = bytes[head..tail].to_vec();
    change(&mut payload);
    let length = u8::try_from(payload.len()).unwrap();
    [&bytes[..7], &[0x58, length], &payload, &bytes[tail..]].concat()
}

#[tokio::test]
async fn a_url_without_a_name_in_it() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let name = record.name().to_string();
    let wrong_sum = format!("{}{}", &name[..55], if name.ends_with('y') { 'b' } else { 'y' });
    let alphabet = format!("{}l", &name[..55]);
    for (text, says) in [
        ("short", "56 characters"),
        (wrong_sum.as_str(), "checksum"),
        (alphabet.as_str(), "alphabet"),
        ("8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewt", "canonical"),
        ("%ff", "56 characters"),
        ("%", "56 characters"),
        ("%7", "56 characters"),
        ("%%37%zz", "56 characters"),
    ] {
        for method in ["PUT", "GET"] {
            let reply = world.ask(method, &format!("/v1/records/{text}"), &[], record.bytes().clone()).await;
            assert_eq!(reply.status, 400, "{method} {text}");
            assert_eq!(reply.slug(), "name");
            assert!(reply.problem()["detail"].as_str().unwrap().contains(says), "{:?}", reply.problem());
        }
    }
    assert_eq!(world.provider.store().count().records, 0);
}

#[tokio::test]
async fn a_record_signed_by_another_key() {
    let world = World::start().await;
    let (owner, thief) = (Publisher::number(1), Publisher::number(2));
    let record = owner.signed(world.now());
    // The thief's signature over the owner's record is the thief's over its own, put in: no key of the owner's made it.
    let theirs = thief.signed(world.now());
    let tail = record.bytes().len() - 64;
    let forged = [&record.bytes()[..tail], &theirs.bytes()[theirs.bytes().len() - 64..]].concat();
    refused(&world, record.name(), forged, 422, "signature").await;
}

#[tokio::test]
async fn a_record_with_any_bit_of_its_signature_changed() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let length = record.bytes().len();
    for at in length - 64..length {
        let mut changed = record.bytes().to_vec();
        changed[at] ^= 1 << (at % 8);
        refused(&world, record.name(), changed, 422, "signature").await;
    }
}

#[tokio::test]
async fn a_record_of_a_key_that_proves_nothing() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let record = publisher.signed(world.now());
    // The identity point, of order 1, in the place of the key: its name is known, its signatures are anybody's.
    let mut weak = [0; 32];
    weak[0] = 1;
    let key = dialtone_shared::PublicKey::from_bytes(weak);
    let old = publisher.secret.public();
    let forged = with_payload(&record, |payload| {
        let at = payload.windows(32).position(|window| window == old.as_bytes()).unwrap();
        payload[at..at + 32].copy_from_slice(&weak);
    });
    refused(&world, &Genesis::of(key).name(), forged, 422, "key").await;
}

#[tokio::test]
async fn a_record_out_of_time() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let name = publisher.name();
    let expired = publisher.signed(dialtone_shared::UnixSecs(world.now().0 - 3_600));
    refused(&world, &name, expired.bytes().clone(), 422, "expired").await;
    let future = publisher.signed(world.now().plus(5 * 60 + 30));
    refused(&world, &name, future.bytes().clone(), 422, "future").await;
    assert_eq!(
        world.put(&publisher.signed(world.now().plus(4 * 60))).await.status,
        201,
        "clocks may differ a little"
    );
}

#[tokio::test]
async fn sequences_that_would_lock_a_name_for_ever() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let record = publisher.signed(world.now());
    let old = record.record().sequence.0.to_be_bytes();
    for (sequence, slug) in [
        (1 << 62, "future"),
        ((1 << 62) + 1, "sequence"),
        (i64::MAX as u64, "sequence"),
        (u64::MAX, "sequence"),
    ] {
        let expiry = sequence / 1_000_000 + 60;
        let forged = with_payload(&record, |payload| {
            let at = payload.windows(8).position(|window| window == old).unwrap();
            payload[at..at + 8].copy_from_slice(&u64::to_be_bytes(sequence));
            // Its expiry, which must be later, moves along: a head of four bytes becomes one of eight.
            let head = payload[at..].windows(2).position(|window| window == [5, 0x1a]).unwrap() + at + 1;
            payload.splice(head..head + 5, [&[0x1b][..], &expiry.to_be_bytes()].concat());
        });
        refused(&world, &publisher.name(), forged, 422, slug).await;
    }
    assert_eq!(world.put(&record).await.status, 201, "the next honest record is taken");
}

#[tokio::test]
async fn an_expiry_past_400_days() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let record = publisher.signed(world.now());
    let old = u32::try_from(record.record().expiry().unwrap().0).unwrap();
    let new = u32::try_from(world.now().0 + LIFETIME_SECS_MAX + 1).unwrap();
    let forged = with_payload(&record, |payload| {
        let at = payload.windows(4).position(|window| window == old.to_be_bytes()).unwrap();
        payload[at..at + 4].copy_from_slice(&new.to_be_bytes());
    });
    let reply = refused(&world, record.name(), forged, 422, "lifetime").await;
    assert!(reply.problem()["detail"].as_str().unwrap().contains("400 days"));
}

#[tokio::test]
async fn a_record_for_another_name_than_the_urls() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let other = Publisher::number(2).name();
    refused(&world, &other, record.bytes().clone(), 422, "other-name").await;
    assert_eq!(world.provider.store().count().records, 0);
}

#[tokio::test]
async fn a_value_of_another_name_or_without_its_head() {
    let world = World::start().await;
    refused(&world, &Name::of_content(b"hello"), &b"hello"[..], 400, "malformed").await;
    refused(&world, &Name::of_content(b"hello"), &b"\x02hallo"[..], 422, "other-name").await;
    refused(&world, &Name::of_content(b""), &b"\x02"[..], 400, "malformed").await;
}

#[tokio::test]
async fn any_other_envelope() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let (name, bytes) = (record.name(), record.bytes());
    // An unprotected header added: {4: h'01'} in the place of the empty map.
    let headed = [&bytes[..6], &[0xa1, 0x04, 0x41, 0x01], &bytes[7..]].concat();
    let untagged = bytes[1..].to_vec();
    let reply = refused(&world, name, headed, 400, "malformed").await;
    assert!(
        reply.problem()["detail"].as_str().unwrap().contains("byte 6"),
        "{:?}",
        reply.problem()
    );
    refused(&world, name, untagged, 400, "malformed").await;
    refused(&world, name, [&bytes[..], &[0]].concat(), 400, "malformed").await;
}

#[tokio::test]
async fn a_record_truncated_at_every_byte() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    for cut in 0..record.bytes().len() {
        let reply = world.ask("PUT", &path_of(record.name()), &[], record.bytes().slice(..cut)).await;
        assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (400, "malformed"), "cut at {cut}");
    }
    assert_eq!(world.provider.store().count().records, 0);
}

#[tokio::test]
async fn garbage() {
    let world = World::start().await;
    let name = Publisher::number(1).name();
    for length in [0, 1, 80, 400, RECORD_BYTES_MAX] {
        let garbage: Vec<u8> = (0..length).map(|at| (at * 131 + 7) as u8).collect();
        refused(&world, &name, garbage, 400, "malformed").await;
    }
}

#[tokio::test]
async fn other_spellings_of_the_same_record() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    // The version, 1, spelt with one byte more; then a map of indefinite length.
    let longer = with_payload(&record, |payload| {
        assert_eq!(payload[1..3], [1, 1]);
        payload.splice(2..3, [0x18, 0x01]);
    });
    let reply = refused(&world, record.name(), longer, 400, "malformed").await;
    assert!(reply.problem()["detail"].as_str().unwrap().contains("shorter spelling"));
    let indefinite = with_payload(&record, |payload| {
        payload[0] = 0xbf;
        payload.push(0xff);
    });
    refused(&world, record.name(), indefinite, 400, "malformed").await;
}

#[tokio::test]
async fn a_version_or_a_field_from_the_future() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let version = with_payload(&record, |payload| payload[2] = 2);
    refused(&world, record.name(), version, 400, "version").await;
    let field = with_payload(&record, |payload| {
        payload[0] += 1;
        payload.extend([0x18, 63, 0]);
    });
    let reply = refused(&world, record.name(), field, 400, "malformed").await;
    assert!(reply.problem()["detail"].as_str().unwrap().contains("field 63"));
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let world = World::start().await;
    let name = Publisher::number(1).name();
    for length in [RECORD_BYTES_MAX + 1, 1 << 17] {
        refused(&world, &name, vec![0; length], 413, "too-large").await;
    }
}

#[tokio::test]
async fn a_body_of_another_kind() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let reply = world.put_with(&record, &[("content-type", "application/json")]).await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (415, "media-type"));
    assert_eq!(world.provider.store().count().records, 0);
    let reply = world
        .put_with(&record, &[("content-type", "application/vnd.dialtone.record")])
        .await;
    assert_eq!(reply.status, 201);
}

#[tokio::test]
async fn a_path_or_a_method_that_there_is_not() {
    let world = World::start().await;
    assert_eq!(world.get("/no/where").await.slug(), "no-such-path");
    let reply = world.ask("DELETE", &path_of(&Publisher::number(1).name()), &[], "").await;
    assert_eq!((reply.status.as_u16(), reply.slug().as_str()), (405, "method"));
    assert_eq!(reply.header("allow"), "GET,HEAD,PUT");
    let reply = world.ask("POST", "/v1/info", &[], "").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "GET,HEAD"));
}

#[tokio::test]
async fn bytes_that_are_not_even_http() {
    let world = World::start().await;
    let address = world.provider.addresses().http[0];
    let tried = tokio::task::spawn_blocking(move || {
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET\r\n\r\n",
            b"PUT / HTTP/9.9\r\n\r\n",
            &[0; 4_096],
        ] {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(bytes).unwrap();
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            // An answer of 400 or none, but the connection ends.
            let _ = stream.read_to_end(&mut answer);
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
                "{:?}",
                String::from_utf8_lossy(&answer)
            );
        }
    });
    tried.await.unwrap();
    let record = Publisher::number(1).signed(world.now());
    assert_eq!(world.put(&record).await.status, 201);
}

#[tokio::test]
async fn who_says_that_nothing_more_will_come_is_still_answered() {
    let world = World::start().await;
    let record = Publisher::number(1).signed(world.now());
    let address = world.provider.addresses().http[0];
    let (path, bytes) = (path_of(record.name()), record.bytes().clone());
    let tried = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n", bytes.len());
        stream.write_all(&[head.as_bytes(), &bytes].concat()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 201"), "{:?}", String::from_utf8_lossy(&answer));
    });
    tried.await.unwrap();
    assert!(world.held(record.name()).await.is_some());
}

#[tokio::test]
async fn a_revocation_with_an_end() {
    let world = World::start().await;
    let publisher = Publisher::number(1);
    let record = publisher.signed(world.now());
    let Body::Live { .. } = record.record().body else { unreachable!() };
    let forged = with_payload(&record, |payload| {
        payload[0] += 1;
        payload.extend([9, 0xf5]);
    });
    refused(&world, record.name(), forged, 400, "malformed").await;
}
