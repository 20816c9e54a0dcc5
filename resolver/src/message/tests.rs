//! What the reader and the writer of the two messages promise.

use super::*;
use crate::fixture::reply::{absent, error, found, truncated};
use dialtone_shared::hip::Hit;

fn query() -> Query {
    let origin = Origin::new("dialtone.alt").unwrap();
    Query::new(&Name::of_content(b"x").into(), &origin, 0x1234, 0x5555_5555_5555_5555)
}

#[test]
fn a_question_is_padded_and_keeps_the_name_whatever_its_case() {
    let query = query();
    let bytes = query.as_bytes();
    assert_eq!(bytes.len(), QUERY_BYTES);
    let label = str::from_utf8(&bytes[13..13 + 56]).unwrap();
    assert!(label.bytes().any(|b| b.is_ascii_uppercase()) && label.bytes().any(|b| b.is_ascii_lowercase()));
    assert_eq!(Name::from_label(label).unwrap(), Name::of_content(b"x"));
    assert_eq!(&bytes[69..query.question_end], b"\x08dialtone\x03alt\x00\xff\x46\x00\x01");
    let opt = &bytes[query.question_end..];
    assert_eq!(&opt[..5], [0, 0, 41, 4, 0xd0]);
    assert_eq!(usize::from(u16::from_be_bytes([opt[9], opt[10]])), opt.len() - 11);
    assert_eq!(usize::from(u16::from_be_bytes([opt[13], opt[14]])), opt.len() - 15);
}

#[test]
fn the_four_answers_are_told_apart() {
    let query = query();
    let read = |message: &[u8]| query.read_reply(message, Over::Udp);
    assert_eq!(
        read(&found(query.as_bytes(), b"envelope", 60)),
        Some(Reply::Record {
            envelope: Bytes::from_static(b"envelope"),
            ttl_secs: 60
        })
    );
    assert_eq!(
        read(&absent(query.as_bytes(), "dialtone.alt", 10, 7)),
        Some(Reply::Absent { ttl_secs: 7 })
    );
    assert_eq!(
        read(&absent(query.as_bytes(), "dialtone.alt", 3, 7)),
        Some(Reply::Absent { ttl_secs: 3 })
    );
    assert_eq!(read(&truncated(query.as_bytes())), Some(Reply::Truncated));
    assert_eq!(
        read(&error(query.as_bytes(), 2, Some((14, "still catching up")))),
        Some(Reply::No("SERVFAIL: still catching up".to_owned()))
    );
    assert_eq!(
        read(&error(query.as_bytes(), 5, Some((18, "")))),
        Some(Reply::No("REFUSED: extended error 18".to_owned()))
    );
    assert!(matches!(read(&error(query.as_bytes(), 0, None)), Some(Reply::No(text)) if text.contains("without a record")));
    assert!(matches!(read(&error(query.as_bytes(), 3, None)), Some(Reply::No(text)) if text.contains("without SOA")));
}

#[test]
fn nxdomain_from_a_server_that_does_not_serve_the_origin_is_no_absence() {
    let query = query();
    for zone in ["", "alt", "other.alt", "xdialtone.alt"] {
        let reply = query.read_reply(&absent(query.as_bytes(), zone, 10, 10), Over::Udp);
        assert!(matches!(reply, Some(Reply::No(_))), "{zone:?}: {reply:?}");
    }
    let deeper = absent(query.as_bytes(), "x.Dialtone.Alt", 10, 10);
    assert_eq!(query.read_reply(&deeper, Over::Udp), Some(Reply::Absent { ttl_secs: 10 }));
}

#[test]
fn a_tag_is_asked_for_in_the_reverse_tree_and_only_who_knows_tags_can_say_that_there_is_none() {
    let hit = Hit::from_address("2001:25:9dbc:2ff3:b95a:8ae4:712:f3b3".parse().unwrap()).unwrap();
    let query = Query::new(
        &Sought::Hit(hit),
        &Origin::new("dialtone.alt").unwrap(),
        0x1234,
        0x5555_5555_5555_5555,
    );
    let bytes = query.as_bytes();
    assert_eq!(bytes.len(), QUERY_BYTES);
    let question = &bytes[12..query.question_end];
    assert!(question.ends_with(b"\x012\x03ip6\x04arpa\x00\xff\x46\x00\x01"), "{question:?}");
    assert_eq!(Hit::from_nibbles(question[..64].chunks(2).map(|label| &label[1..])), Some(hit));
    let own = "3.b.3.f.2.1.7.0.4.e.a.8.a.5.9.b.3.f.f.2.c.b.d.9.5.2.0.0.1.0.0.2.ip6.arpa";
    let read = |message: &[u8]| query.read_reply(message, Over::Udp);
    assert_eq!(read(&absent(bytes, own, 10, 7)), Some(Reply::Absent { ttl_secs: 7 }));
    for zone in ["ip6.arpa", "1.0.0.2.ip6.arpa", "dialtone.alt", &own[2..]] {
        assert!(matches!(read(&absent(bytes, zone, 10, 7)), Some(Reply::No(_))), "{zone}");
    }
    assert!(matches!(read(&found(bytes, b"envelope", 60)), Some(Reply::Record { .. })));
}

#[test]
fn what_is_not_an_answer_to_us_is_passed_over() {
    let query = query();
    let good = found(query.as_bytes(), b"envelope", 60);
    for (at, mask) in [
        (0, 1),
        (1, 1),
        (2, 0x80),
        (2, 0x08),
        (5, 3),
        (14, 0x07),
        (query.question_end - 1, 2),
        (query.question_end - 3, 1),
    ] {
        let mut other = good.clone();
        other[at] ^= mask;
        assert_eq!(query.read_reply(&other, Over::Udp), None, "byte {at}");
    }
    for length in 0..good.len() {
        assert_eq!(query.read_reply(&good[..length], Over::Udp), None, "cut at {length}");
    }
}

#[test]
fn an_answer_in_another_case_is_asked_for_again_over_tcp() {
    let query = query();
    let mut lower = found(query.as_bytes(), b"envelope", 60);
    lower[12..query.question_end - 4].make_ascii_lowercase();
    assert_eq!(query.read_reply(&lower, Over::Udp), Some(Reply::Truncated));
    assert!(matches!(query.read_reply(&lower, Over::Tcp), Some(Reply::Record { .. })));
}

#[test]
fn two_records_for_one_name_are_not_an_answer() {
    let query = query();
    let mut twice = found(query.as_bytes(), b"envelope", 60);
    let answer = twice[query.question_end..].to_vec();
    twice.extend(answer);
    twice[7] = 2;
    assert_eq!(query.read_reply(&twice, Over::Udp), None);
}

#[test]
fn compression_pointers_that_lead_nowhere_end() {
    let query = query();
    let mut message = found(query.as_bytes(), b"envelope", 60);
    for target in [query.question_end, query.question_end + 1, 0x3fff] {
        message[query.question_end..query.question_end + 2].copy_from_slice(&(0xc000 | target as u16).to_be_bytes());
        assert_eq!(query.read_reply(&message, Over::Udp), None);
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), counts in proptest::prelude::any::<[u8; 6]>()) {
        let query = query();
        let mut message = query.as_bytes()[..query.question_end].to_vec();
        message[2] |= 0x80;
        message[6..12].copy_from_slice(&counts);
        message.extend(tail);
        let _ = query.read_reply(&message, Over::Udp);
        let _ = query.read_reply(&message, Over::Tcp);
    }
}

#[test]
fn an_origin_leaves_room_for_a_name() {
    assert_eq!(Origin::new("Dialtone.ALT.").unwrap().as_str(), "dialtone.alt");
    assert!(Origin::new(&["a"; 98].join(".")).is_some());
    for bad in ["", ".", "a..b", &["a"; 99].join(".")] {
        assert!(Origin::new(bad).is_none(), "{bad}");
    }
}
