//! Signed records by DNS, answers that are too large, and the case of the letters.

use crate::world::{Ask, ORIGIN, Records, domain, frontend, name, settings};
use dialtone_resolver::LookupError;
use dialtone_resolver::dns::Carrier;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use dialtone_shared::record::{Address, DnsData, Opaque};
use dialtone_shared::{Binding, SignedRecord, Ttl};
use hickory_proto::op::Message;
use std::net::IpAddr;
use std::sync::Arc;

fn ask_record(who: &str, carrier: Carrier, padding: usize) -> Ask {
    let mut ask = Ask::of(&format!("{}.{ORIGIN}", name(who)), TYPE_RECORD);
    ask.carrier = carrier;
    ask.padding = padding;
    ask
}

fn rcode(message: &[u8]) -> u8 {
    message[3] & 0x0f
}

fn truncated(message: &[u8]) -> bool {
    message[2] & 0x02 != 0
}

fn answers(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[6], message[7]])
}

/// The RDATA of the one answer.
fn envelope(message: &[u8]) -> Vec<u8> {
    let mut reader = dialtone_resolver::dns::wire::Reader::at(message, 12);
    reader.name().and_then(|_| reader.u32()).expect("question");
    let record = reader.record().expect("answer");
    assert_eq!(record.kind, TYPE_RECORD);
    record.rdata.to_vec()
}

#[tokio::test]
async fn a_signed_record_arrives_as_it_was_signed() {
    let records = Arc::new(Records::default());
    let published = records.publish("web", 60, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])))]);
    let frontend = frontend(&records, settings());
    for ask in [ask_record("web", Carrier::Tcp, 0), ask_record("web", Carrier::Udp, 600)] {
        let answer = ask.of_frontend(&frontend).await;
        let envelope = envelope(&answer);
        assert_eq!(envelope, published.bytes()[..]);
        assert_eq!(
            SignedRecord::decode(envelope.into()).expect("record").verify().expect("verified"),
            published
        );
    }
}

#[tokio::test]
async fn a_revocation_is_served_to_those_who_ask_for_records() {
    let records = Arc::new(Records::default());
    records.revoke("gone");
    let answer = ask_record("gone", Carrier::Tcp, 0)
        .of_frontend(&frontend(&records, settings()))
        .await;
    assert!(
        SignedRecord::decode(envelope(&answer).into())
            .expect("record")
            .record()
            .is_revoked()
    );
}

#[tokio::test]
async fn by_udp_a_record_is_at_most_half_as_large_again_as_its_question() {
    let records = Arc::new(Records::default());
    let media_type = "application/octet-stream".to_owned();
    records.publish(
        "web",
        60,
        vec![Binding::Opaque(Opaque {
            media_type,
            bytes: vec![7; 300],
        })],
    );
    let frontend = frontend(&records, settings());
    let mut served = 0;
    for padding in (0..900).step_by(20) {
        let ask = ask_record("web", Carrier::Udp, padding);
        let answer = ask.of_frontend(&frontend).await;
        assert!(
            answer.len() * 2 <= ask.bytes().len() * 3,
            "{} to {}",
            answer.len(),
            ask.bytes().len()
        );
        assert_eq!(truncated(&answer), answers(&answer) == 0);
        served += answers(&answer);
    }
    assert!(served > 10, "padded questions get their record");
}

#[tokio::test]
async fn by_udp_an_absence_or_an_error_is_no_larger_than_that_either() {
    let records = Arc::new(Records::default());
    records.set(name("old"), Err(LookupError::Expired));
    let frontend = frontend(&records, settings());
    let mut asks = vec![ask_record("nobody", Carrier::Udp, 0), ask_record("old", Carrier::Udp, 0)];
    for text in ["x.dialtone.alt", "dialtone.alt", "alt", "x.onion"] {
        let mut ask = ask_record("nobody", Carrier::Udp, 0);
        ask.name = domain(text);
        asks.push(ask);
    }
    for mut ask in asks {
        for edns in [Some((1_232, 0, false)), None] {
            ask.edns = edns;
            let answer = ask.of_frontend(&frontend).await;
            let asked = ask.bytes().len();
            assert!(answer.len() * 2 <= asked * 3, "{} to {asked} for {:?}", answer.len(), ask.name);
            let says_so = rcode(&answer) == 2 || truncated(&answer);
            assert!(says_so, "what was left out is asked for again by TCP");
        }
    }
}

#[tokio::test]
async fn a_record_that_fits_no_datagram_is_told_to_come_by_tcp() {
    let records = Arc::new(Records::default());
    let media_type = "application/octet-stream".to_owned();
    let published = records.publish(
        "big",
        60,
        vec![Binding::Opaque(Opaque {
            media_type,
            bytes: vec![7; 3_500],
        })],
    );
    let frontend = frontend(&records, settings());
    let answer = ask_record("big", Carrier::Udp, 3_900).of_frontend(&frontend).await;
    assert!(truncated(&answer) && answers(&answer) == 0);
    let answer = ask_record("big", Carrier::Tcp, 0).of_frontend(&frontend).await;
    assert_eq!(envelope(&answer), published.bytes()[..]);
}

#[tokio::test]
async fn what_is_no_record_says_so_to_those_who_ask_for_records() {
    let records = Arc::new(Records::default());
    records.set(name("old"), Err(LookupError::Expired));
    records.publish("web", 60, Vec::new());
    let frontend = frontend(&records, settings());
    assert_eq!(rcode(&ask_record("old", Carrier::Udp, 600).of_frontend(&frontend).await), 2);
    let absent = ask_record("nobody", Carrier::Udp, 100).of_frontend(&frontend).await;
    let absent = Message::from_vec(&absent).expect("message");
    assert_eq!((absent.authorities.len(), absent.metadata.truncation), (1, false));
    let mut under = ask_record("web", Carrier::Tcp, 0);
    under.name = under.name.child(b"www").expect("name");
    assert_eq!(rcode(&under.of_frontend(&frontend).await), 3);
}

#[tokio::test]
async fn an_answer_that_is_too_large_keeps_whole_records_and_says_tc() {
    let records = Arc::new(Records::default());
    let text = |index: u8| {
        let mut rdata = vec![100];
        rdata.resize(101, b'a' + index);
        Binding::Dns(DnsData {
            owner: String::new(),
            kind: types::TXT,
            ttl: Ttl(60),
            rdata,
        })
    };
    records.publish("long", 60, (0..20).map(text).collect());
    let frontend = frontend(&records, settings());
    for (edns, most) in [
        (None, 512),
        (Some((100, 0, false)), 512),
        (Some((800, 0, false)), 800),
        (Some((4_096, 0, false)), 1_232),
    ] {
        let mut ask = Ask::of(&format!("{}.{ORIGIN}", name("long")), types::TXT);
        ask.edns = edns;
        let answer = ask.of_frontend(&frontend).await;
        assert!(answer.len() <= most && truncated(&answer), "{} bytes", answer.len());
        let message = Message::from_vec(&answer).expect("whole records");
        assert!(message.answers.len() >= 3, "as many as fit");
        ask.carrier = Carrier::Tcp;
        let answer = Message::from_vec(&ask.of_frontend(&frontend).await).expect("message");
        assert_eq!((answer.answers.len(), answer.metadata.truncation), (20, false));
    }
}

#[tokio::test]
async fn letters_of_any_case_are_found_and_echoed() {
    let records = Arc::new(Records::default());
    records.publish("web", 60, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])))]);
    let frontend = frontend(&records, settings());
    for chance in [[0xff; 32], [0xaa; 32], [0x13; 32]] {
        let mut ask = Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A);
        ask.name = ask.name.with_case(&chance);
        let answer = ask.of_frontend(&frontend).await;
        assert_eq!((rcode(&answer), answers(&answer)), (0, 1));
        assert_eq!(answer[12..12 + ask.name.as_wire().len()], *ask.name.as_wire());
    }
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused() {
    let records = Arc::new(Records::default());
    let refused = |change: &dyn Fn(&mut dialtone_resolver::dns::FrontendSettings)| {
        let mut settings = settings();
        change(&mut settings);
        let source = Arc::clone(&records) as Arc<dyn dialtone_resolver::RecordSource>;
        dialtone_resolver::dns::Frontend::new(source, settings)
            .expect_err("refused")
            .to_string()
    };
    let long = format!("{}.{}.alt", "a".repeat(50), "b".repeat(50));
    assert!(refused(&|settings| settings.origin = crate::world::domain(&long)).contains("leave room"));
    assert!(refused(&|settings| settings.origin = crate::world::domain(".")).contains("root"));
    assert!(refused(&|settings| settings.authority.negative_ttl_secs = 11).contains("at most 10"));
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("aliases");
    std::fs::write(&file, "# fine\nhome nobody\n").expect("written");
    let error = refused(&|settings| settings.aliases = Some(file.clone()));
    assert!(error.contains("line 2") && error.contains("aliases in"), "{error}");
}
