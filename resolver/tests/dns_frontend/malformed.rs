//! Whatever comes: no panic, and what goes back has the id and the question of what came, or nothing does.

use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use dialtone_resolver::dns::wire::Reader;
use dialtone_resolver::dns::{Carrier, Frontend, Reply, Via};
use dialtone_shared::Binding;
use dialtone_shared::record::rdata::TYPE_RECORD;
use dialtone_shared::record::{Address, Service, Transport};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

struct House {
    runtime: tokio::runtime::Runtime,
    frontend: Arc<Frontend>,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let records = Arc::new(Records::default());
    let address = Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])));
    records.publish(
        "web",
        60,
        vec![address, Binding::Service(Service::of("https", Transport::Tcp, 443))],
    );
    House {
        runtime: tokio::runtime::Builder::new_current_thread().build().expect("runtime"),
        frontend: frontend(&records, settings()),
    }
});

/// What comes back, checked against what every answer must be.
fn answer(message: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
    let client = SocketAddr::from(([127, 0, 0, 1], 4_000));
    let reply = HOUSE.runtime.block_on(HOUSE.frontend.answer(message, Via::new(carrier, client)));
    let Reply::Send(answer) = reply else { return None };
    let header = Reader::new(&answer).header().expect("a header");
    assert_eq!(answer[..2], message[..2], "the id");
    assert_eq!(header.flags & 0x8000, 0x8000, "QR");
    assert_eq!(
        header.flags & 0x7900,
        u16::from_be_bytes([message[2], message[3]]) & 0x7900,
        "opcode and RD"
    );
    assert_eq!(header.flags & 0x0060, 0, "no Z, no AD");
    if carrier == Carrier::Udp {
        assert!(answer.len() <= 1_232);
    }
    let mut reader = Reader::at(&answer, 12);
    for _ in 0..header.counts[0] {
        reader.plain_name().and_then(|_| reader.u32()).expect("a question");
        assert_eq!(answer[12..reader.position()], message[12..reader.position()], "the question");
    }
    for _ in 0..header.counts[1..].iter().sum() {
        reader.record().expect("a record");
    }
    assert!(reader.is_at_end(), "nothing after the end");
    Some(answer)
}

fn questions() -> Vec<Vec<u8>> {
    let web = name("web");
    let mut padded = Ask::of(&format!("{web}.{ORIGIN}"), TYPE_RECORD);
    padded.padding = 500;
    let mut plain = Ask::of("localhost", 28);
    plain.edns = None;
    [
        Ask::of(&format!("{web}.{ORIGIN}"), 1),
        Ask::of(&format!("_https._tcp.{web}.{ORIGIN}"), 33),
        Ask::of(&format!("{}.{ORIGIN}", name("nobody")), 255),
        padded,
        plain,
    ]
    .iter()
    .map(Ask::bytes)
    .collect()
}

#[test]
fn every_beginning_of_a_question_is_answered_or_dropped() {
    for question in questions() {
        for length in 0..question.len() {
            let answer = answer(&question[..length], Carrier::Udp);
            assert_eq!(answer.is_some(), length >= 12, "{length} bytes");
            if let Some(answer) = answer {
                assert_eq!(answer[3] & 0x0f, 1, "FORMERR");
                assert!(answer.len() <= length, "no larger than what came");
            }
        }
    }
}

#[test]
fn responses_are_never_answered_so_that_two_frontends_cannot_talk_for_ever() {
    for question in questions() {
        let reply = answer(&question, Carrier::Udp).expect("an answer");
        assert_eq!(answer(&reply, Carrier::Udp), None);
        for first in 0x80..=0xff {
            let mut response = question.clone();
            response[2] = first;
            assert_eq!(answer(&response, Carrier::Udp), None);
        }
    }
}

#[test]
fn other_opcodes_are_not_implemented() {
    for opcode in 1..16 {
        let mut question = questions().remove(0);
        question[2] = opcode << 3;
        let answer = answer(&question, Carrier::Udp).expect("an answer");
        assert_eq!(answer[3] & 0x0f, 4);
        assert!(answer.len() <= question.len());
    }
}

#[test]
fn every_type_and_class_gets_an_answer() {
    let web = format!("{}.{ORIGIN}", name("web"));
    for kind in (0..600).chain(65_000..=65_535) {
        for class in [0, 1, 3, 4, 254, 255, 65_535] {
            let mut ask = Ask::of(&web, kind);
            ask.class = class;
            let answer = answer(&ask.bytes(), Carrier::Tcp).expect("an answer");
            assert!(class == 1 || matches!(answer[3] & 0x0f, 1 | 4 | 5), "type {kind}, class {class}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_answered_in_form_or_dropped(message in proptest::collection::vec(any::<u8>(), 0..600), tcp in any::<bool>()) {
        answer(&message, if tcp { Carrier::Tcp } else { Carrier::Udp });
    }

    #[test]
    fn any_bytes_behind_a_header_are_answered_in_form_or_dropped(
        counts in proptest::array::uniform4(0_u8..4),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let [questions, answers, authorities, additionals] = counts;
        let mut message = vec![1, 2, 1, 0, 0, questions, 0, answers, 0, authorities, 0, additionals];
        message.extend_from_slice(&body);
        answer(&message, Carrier::Udp);
    }

    #[test]
    fn any_change_to_a_question_is_answered_in_form_or_dropped(
        which in 0_usize..5,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        tcp in any::<bool>(),
    ) {
        let mut question = questions().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(question.len());
            question[at] = byte;
        }
        question.truncate(12 + cut.index(question.len() - 11));
        answer(&question, if tcp { Carrier::Tcp } else { Carrier::Udp });
    }
}
