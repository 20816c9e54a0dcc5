//! Other names: asked of an upstream resolver that is watched, and that may lie.

use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use dialtone_resolver::dns::wire::{Header, Reader, Writer};
use dialtone_resolver::dns::{Carrier, Domain, Frontend};
use dialtone_resolver::io::listeners::bind;
use dialtone_shared::Binding;
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Address, Delegate, Step};
use hickory_proto::op::Message;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// An upstream resolver that answers each query with what it is told to.
pub struct Upstream {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<(Domain, u16, Carrier)>>>,
    tasks: [JoinHandle<()>; 2],
}

type Says = Arc<dyn Fn(&[u8], Carrier) -> Vec<Vec<u8>> + Send + Sync>;

impl Upstream {
    pub async fn that(says: impl Fn(&[u8], Carrier) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let says: Says = Arc::new(says);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (udp, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = udp.local_addr().expect("address");
        let note = |asked: &Mutex<Vec<_>>, query: &[u8], carrier| {
            let mut r = Reader::at(query, 12);
            let question = (r.plain_name().expect("name"), r.u16().expect("type"), carrier);
            asked.lock().expect("asked").push(question);
        };
        let by_udp = tokio::spawn({
            let (says, asked) = (Arc::clone(&says), Arc::clone(&asked));
            async move {
                let mut buffer = [0; 4_096];
                while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
                    note(&asked, &buffer[..length], Carrier::Udp);
                    for reply in says(&buffer[..length], Carrier::Udp) {
                        udp.send_to(&reply, client).await.ok();
                    }
                }
            }
        });
        let by_tcp = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                while let Ok((mut stream, _)) = tcp.accept().await {
                    let Ok(length) = stream.read_u16().await else { continue };
                    let mut query = vec![0; usize::from(length)];
                    stream.read_exact(&mut query).await.ok();
                    note(&asked, &query, Carrier::Tcp);
                    for reply in says(&query, Carrier::Tcp) {
                        stream.write_u16(reply.len() as u16).await.ok();
                        stream.write_all(&reply).await.ok();
                    }
                }
            }
        });
        Self {
            address,
            asked,
            tasks: [by_udp, by_tcp],
        }
    }

    pub fn asked(&self) -> Vec<(Domain, u16, Carrier)> {
        self.asked.lock().expect("asked").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub struct Rr<'a>(pub &'a str, pub u16, pub u32, pub &'a [u8]);

/// A reply to `query`, with RA and AD as a validating resolver has it.
pub fn reply(query: &[u8], rcode: u16, answers: &[Rr<'_>], authorities: &[Rr<'_>]) -> Vec<u8> {
    let mut r = Reader::new(query);
    let header = r.header().expect("header");
    let name = r.plain_name().expect("name");
    let mut w = Writer::new();
    w.header(&Header {
        id: header.id,
        flags: 0x8180 | 0x0020 | rcode,
        counts: [1, answers.len() as u16, authorities.len() as u16, 0],
    });
    w.name(&name).put(r.take(4).expect("type and class"));
    for Rr(owner, kind, ttl, rdata) in answers.iter().chain(authorities) {
        w.name(&Domain::from_text(owner).expect("owner")).u16(*kind).u16(1).u32(*ttl);
        w.u16(rdata.len() as u16).put(rdata);
    }
    w.into_bytes()
}

pub const SOA: Rr<'static> = Rr(
    "example",
    types::SOA,
    900,
    b"\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x3c",
);

async fn forwarding(upstreams: &[&Upstream]) -> (Arc<Records>, Arc<Frontend>) {
    let records = Arc::new(Records::default());
    let mut settings = settings();
    settings.upstreams = upstreams.iter().map(|upstream| upstream.address.into()).collect();
    let frontend = frontend(&records, settings);
    (records, frontend)
}

pub fn parsed(answer: &[u8]) -> Message {
    Message::from_vec(answer).expect("another implementation reads the answer")
}

pub fn ede(message: &Message) -> Option<u16> {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    match message.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, ede) => Some(u16::from_be_bytes([ede[0], ede[1]])),
        _ => None,
    }
}

fn lines(records: &[hickory_proto::rr::Record]) -> Vec<String> {
    records.iter().map(|record| record.to_string().trim_end().to_owned()).collect()
}

/// As [`lines`], where time may have passed.
pub fn without_ttl(records: &[hickory_proto::rr::Record]) -> Vec<String> {
    let strip = |line: String| {
        line.split(' ')
            .enumerate()
            .filter(|(index, _)| *index != 1)
            .map(|(_, word)| word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    lines(records).into_iter().map(strip).collect()
}

#[tokio::test]
async fn other_names_are_asked_upstream_once_and_kept() {
    let upstream = Upstream::that(|query, _| {
        let answers = [
            Rr("www.example", types::CNAME, 600, b"\x04host\x07example\0"),
            Rr("host.example", types::A, 300, &[192, 0, 2, 1]),
        ];
        vec![reply(query, 0, &answers, &[Rr("example", types::NS, 9, b"\x02ns\x07example\0")])]
    })
    .await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    for asked in ["www.example", "WWW.Example"] {
        let ask = Ask::of(asked, types::A);
        let answer = ask.of_frontend(&frontend).await;
        assert_eq!(answer[12..12 + ask.name.as_wire().len()], *ask.name.as_wire());
        let message = parsed(&answer);
        let flags = &message.metadata;
        assert!(flags.recursion_available && !flags.authoritative && !flags.authentic_data);
        let answers: Vec<String> = lines(&message.answers).iter().map(|line| line.to_lowercase()).collect();
        assert_eq!(
            answers,
            ["www.example. 600 in cname host.example.", "host.example. 300 in a 192.0.2.1"]
        );
        assert!(message.authorities.is_empty(), "what was not asked for is not passed on");
    }
    assert_eq!(upstream.asked().len(), 1);
    assert_eq!(frontend.counts().forwarded, 2);
    assert_eq!(frontend.counts().upstream_sent, 1);
    // With DNSSEC it is another answer.
    let mut ask = Ask::of("www.example", types::A);
    ask.edns = Some((1_232, 0, true));
    ask.of_frontend(&frontend).await;
    assert_eq!(upstream.asked().len(), 2);
}

#[tokio::test]
async fn there_is_none_is_kept_as_long_as_the_soa_says_and_without_one_not_at_all() {
    let upstream = Upstream::that(|query, _| {
        let with_soa = query[12..].to_ascii_lowercase().starts_with(b"\x04with");
        vec![reply(query, 3, &[], if with_soa { &[SOA] } else { &[] })]
    })
    .await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    for (name, asked) in [("with.example", 1), ("without.example", 2)] {
        let before = upstream.asked().len();
        for _ in 0..2 {
            let message = parsed(&Ask::of(name, types::A).of_frontend(&frontend).await);
            assert_eq!(format!("{:?}", message.metadata.response_code), "NXDomain");
            assert_eq!(message.authorities.len(), usize::from(asked == 1));
        }
        assert_eq!(upstream.asked().len() - before, asked, "{name}");
    }
}

#[tokio::test]
async fn junk_does_not_end_the_wait_for_the_answer() {
    let upstream = Upstream::that(|query, _| {
        let right = reply(query, 0, &[Rr("www.example", types::A, 60, &[192, 0, 2, 1])], &[]);
        let changed = |at: usize, byte: u8| {
            let mut reply = right.clone();
            reply[at] ^= byte;
            reply
        };
        let mut other_answer = right.clone();
        let length = other_answer.len();
        other_answer[length - 1] = 66;
        let other_name = reply(query, 0, &[Rr("other.example", types::A, 60, &[192, 0, 2, 66])], &[]);
        let other_question = {
            let mut reply = other_answer.clone();
            reply[13] = b'x';
            reply
        };
        let mut other_case = other_answer.clone();
        other_case[13] ^= 0x20;
        vec![
            b"".to_vec(),
            b"junk".to_vec(),
            query.to_vec(),
            right[..20].to_vec(),
            right[..right.len() - 1].to_vec(),
            changed(5, 1),
            changed(7, 2),
            other_question,
            other_name,
            other_case,
            right,
        ]
    })
    .await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
    assert_eq!(lines(&message.answers), ["www.example. 60 IN A 192.0.2.1"]);
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn a_cut_answer_or_one_in_another_case_is_asked_for_again_by_tcp() {
    for cut in [true, false] {
        let upstream = Upstream::that(move |query, carrier| {
            let mut right = reply(query, 0, &[Rr("www.example", types::A, 60, &[192, 0, 2, 1])], &[]);
            if cut && carrier == Carrier::Udp {
                right[2] |= 0x02;
            }
            if !cut {
                // An upstream that changes the case, whoever asks.
                right[13..16].copy_from_slice(b"wWw");
                if query[13..16] == *b"wWw" {
                    right[13] = b'W';
                }
            }
            vec![right]
        })
        .await;
        let (_, frontend) = forwarding(&[&upstream]).await;
        let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
        assert_eq!(lines(&message.answers), ["www.example. 60 IN A 192.0.2.1"]);
        let carriers: Vec<Carrier> = upstream.asked().into_iter().map(|(.., carrier)| carrier).collect();
        assert_eq!(carriers, [Carrier::Udp, Carrier::Tcp]);
    }
}

#[tokio::test]
async fn an_upstream_that_fails_is_passed_over_for_the_next() {
    let broken = Upstream::that(|query, _| vec![reply(query, 2, &[], &[])]).await;
    let sound = Upstream::that(|query, _| vec![reply(query, 0, &[Rr("www.example", types::A, 60, &[192, 0, 2, 1])], &[])]).await;
    let (_, frontend) = forwarding(&[&broken, &sound]).await;
    let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
    assert_eq!(message.answers.len(), 1);
    assert_eq!((broken.asked().len(), sound.asked().len()), (1, 1));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_waited_for_once_and_then_asked_last() {
    let silent = Upstream::that(|_, _| Vec::new()).await;
    let sound = Upstream::that(|query, _| vec![reply(query, 0, &[], &[SOA])]).await;
    let (_, frontend) = forwarding(&[&silent, &sound]).await;
    for asked in ["a.example", "b.example", "c.example"] {
        assert_eq!(parsed(&Ask::of(asked, types::A).of_frontend(&frontend).await).authorities.len(), 1);
    }
    assert_eq!((silent.asked().len(), sound.asked().len()), (1, 3));
}

#[tokio::test]
async fn what_is_asked_for_when_its_time_is_nearly_over_is_fetched_before_it_is() {
    let upstream = Upstream::that(|query, _| vec![reply(query, 0, &[Rr("www.example", types::A, 10, &[192, 0, 2, 1])], &[])]).await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let ask = async || parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await).answers[0].ttl;
    assert_eq!(ask().await, 10);
    let mut left = ask().await;
    while left > 1 {
        assert_eq!(upstream.asked().len(), 1, "not before the last tenth");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        left = ask().await;
    }
    // Whoever asked had what was there; the new one comes by itself.
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while upstream.asked().len() < 2 {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_failure_is_said_and_not_repeated_at_once() {
    let broken = Upstream::that(|query, _| vec![reply(query, 2, &[], &[])]).await;
    let (_, frontend) = forwarding(&[&broken]).await;
    for expected in [23, 13, 13] {
        let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
        assert_eq!(format!("{:?}", message.metadata.response_code), "ServFail");
        assert_eq!(ede(&message), Some(expected));
    }
    assert_eq!(broken.asked().len(), 2, "each try once");
}

#[tokio::test]
async fn while_no_upstream_answers_the_last_answer_is_given_and_said_to_be_old() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let upstream = Upstream::that(move |query, _| match broken.load(Ordering::SeqCst) {
        true => vec![reply(query, 2, &[], &[])],
        false => vec![reply(query, 0, &[Rr("www.example", types::A, 1, &[192, 0, 2, 1])], &[])],
    })
    .await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let ask = async || parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
    assert_eq!(lines(&ask().await.answers), ["www.example. 1 IN A 192.0.2.1"]);
    is_broken.store(true, Ordering::SeqCst);
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut message = ask().await;
    while ede(&message) != Some(3) {
        assert!(tokio::time::Instant::now() < until, "{message:?}");
        assert_eq!(message.answers.len(), 1, "there is an answer all the time");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        message = ask().await;
    }
    assert_eq!(lines(&message.answers), ["www.example. 30 IN A 192.0.2.1"]);
    // What was never answered has nothing to be given.
    let other = parsed(&Ask::of("other.example", types::A).of_frontend(&frontend).await);
    assert_eq!((ede(&other), other.answers.len()), (Some(23), 0));
    is_broken.store(false, Ordering::SeqCst);
    while ede(&message).is_some() {
        assert!(tokio::time::Instant::now() < until, "{message:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        message = ask().await;
    }
    assert_eq!(
        lines(&message.answers),
        ["www.example. 1 IN A 192.0.2.1"],
        "and as soon as there is a new one, that"
    );
}

#[tokio::test]
async fn a_legacy_alias_leads_to_its_flat_name_while_no_upstream_answers_too() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let flat = Domain::from_text(&name("site").to_dns(ORIGIN)).expect("a name");
    let alias = flat.as_wire().to_vec();
    let upstream = Upstream::that(move |query, _| match broken.load(Ordering::SeqCst) {
        true => vec![reply(query, 2, &[], &[])],
        false => vec![reply(query, 0, &[Rr("www.example", types::CNAME, 1, &alias)], &[SOA])],
    })
    .await;
    let (records, frontend) = forwarding(&[&upstream]).await;
    records.publish("site", 600, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 9])))]);
    let ask = async || parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
    assert_eq!(ask().await.answers.len(), 2);
    is_broken.store(true, Ordering::SeqCst);
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let message = ask().await;
        assert_eq!(message.answers.len(), 2, "there is an answer all the time: {message:?}");
        if ede(&message) == Some(3) {
            assert_eq!(message.answers[0].ttl, 30);
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{message:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_said_to_be_so() {
    let gone = Upstream::that(|_, _| Vec::new()).await;
    let (_, frontend) = forwarding(&[&gone]).await;
    drop(gone);
    tokio::task::yield_now().await;
    let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
    assert_eq!(ede(&message), Some(23));
}

#[tokio::test]
async fn those_who_ask_the_same_at_the_same_time_share_one_question() {
    let upstream = Upstream::that(|query, _| vec![reply(query, 0, &[Rr("www.example", types::A, 0, &[192, 0, 2, 1])], &[])]).await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let frontend = Arc::clone(&frontend);
        asking.spawn(async move { Ask::of("www.example", types::A).of_frontend(&frontend).await });
    }
    for answer in asking.join_all().await {
        assert_eq!(parsed(&answer).answers.len(), 1);
    }
    assert_eq!(upstream.asked().len(), 1);
    // A TTL of 0 is for those who were waiting, and nobody else.
    Ask::of("www.example", types::A).of_frontend(&frontend).await;
    assert_eq!(upstream.asked().len(), 2);
}

#[tokio::test]
async fn what_is_nobodys_business_never_leaves_the_house() {
    let upstream = Upstream::that(|query, _| vec![reply(query, 3, &[], &[SOA])]).await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let web = format!("{}.{ORIGIN}", name("web"));
    let under = format!("a.b.{web}");
    for asked in [
        "alt",
        "x.alt",
        "key.gns.ALT",
        "x.dialtone.alt",
        "dialtone.alt",
        "localhost",
        "x.onion",
        "x.invalid",
        "x.test",
        "x.local",
        "x.home.arpa",
        "1.0.0.10.in-addr.arpa",
        "_dns.resolver.arpa",
        web.as_str(),
        under.as_str(),
    ] {
        for kind in [types::A, types::TXT, types::SOA, types::ANY, 65_350] {
            let mut ask = Ask::of(asked, kind);
            ask.edns = Some((1_232, 0, true));
            ask.of_frontend(&frontend).await;
        }
    }
    assert_eq!(upstream.asked(), []);
    assert_eq!(frontend.counts().upstream_sent, 0);
}

#[tokio::test]
async fn an_upstream_has_no_say_about_names_that_are_answered_for_here() {
    let web = format!("{}.{ORIGIN}", name("web"));
    let target = crate::world::domain(&web);
    let lie = web.clone();
    let upstream = Upstream::that(move |query, _| {
        let onion = Domain::from_text("x.onion").expect("name");
        let (to, owner) = match query[12] {
            4 => (onion.as_wire(), "x.onion"),
            _ => (target.as_wire(), lie.as_str()),
        };
        let asked = Reader::at(query, 12).plain_name().expect("name").to_string();
        let answers = [Rr(owner, types::A, 60, &[6, 6, 6, 6]), Rr(&asked, types::CNAME, 600, to)];
        let reversed = [Rr(&asked, types::CNAME, 600, to), Rr(owner, types::A, 60, &[6, 6, 6, 6])];
        vec![reply(query, 0, if query[13] & 0x5f == b'F' { &answers } else { &reversed }, &[])]
    })
    .await;
    let (records, frontend) = forwarding(&[&upstream]).await;
    records.publish("web", 60, vec![Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1])))]);
    for asked in ["www.example", "fff.example"] {
        let message = parsed(&Ask::of(asked, types::A).of_frontend(&frontend).await);
        assert_eq!(
            without_ttl(&message.answers),
            [format!("{asked}. IN CNAME {web}."), format!("{web}. IN A 192.0.2.1")]
        );
        assert!(!message.metadata.authoritative);
    }
    let message = parsed(&Ask::of("host.example", types::A).of_frontend(&frontend).await);
    assert_eq!(format!("{:?}", message.metadata.response_code), "NXDomain");
    assert_eq!(without_ttl(&message.answers), ["host.example. IN CNAME x.onion."]);
    let message = parsed(&Ask::of("www.example", types::CNAME).of_frontend(&frontend).await);
    assert_eq!(message.answers.len(), 1);

    // From a flat name to a legacy one and back, with and without an alias to show for it.
    let delegate = Binding::Delegate(Delegate {
        path: vec![Step::Legacy("www.example".to_owned())],
    });
    records.publish("there", 60, vec![delegate.clone()]);
    records.publish(
        "hidden",
        60,
        vec![delegate, Binding::Address(Address::of(IpAddr::from([192, 0, 2, 9])))],
    );
    for (who, answers) in [("there", 3), ("hidden", 1)] {
        let message = parsed(&Ask::of(&format!("{}.{ORIGIN}", name(who)), types::A).of_frontend(&frontend).await);
        assert_eq!(message.answers.len(), answers, "{who}");
        let last = without_ttl(&message.answers).pop().expect("an answer");
        assert!(last.ends_with("IN A 192.0.2.1"), "{last}");
    }
    // Round and round ends.
    records.publish(
        "web",
        60,
        vec![Binding::Delegate(Delegate {
            path: vec![Step::Legacy("www.example".to_owned())],
        })],
    );
    let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
    assert_eq!(format!("{:?}", message.metadata.response_code), "ServFail");
}

#[tokio::test]
async fn there_is_none_is_believed_only_of_the_zone_that_the_name_is_in() {
    let upstream = Upstream::that(|query, _| vec![reply(query, 3, &[], &[Rr("dialtone.alt", types::SOA, 900, SOA.3)])]).await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    for asked in 1..=2 {
        let message = parsed(&Ask::of("www.example", types::A).of_frontend(&frontend).await);
        assert_eq!(format!("{:?}", message.metadata.response_code), "NXDomain");
        assert!(message.authorities.is_empty());
        assert_eq!(upstream.asked().len(), asked, "it is not kept");
    }
}

#[tokio::test]
async fn names_are_forwarded_for_those_near_by_who_want_it() {
    let upstream = Upstream::that(|query, _| vec![reply(query, 0, &[Rr("www.example", types::A, 60, &[192, 0, 2, 1])], &[])]).await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let mut stranger = Ask::of("www.example", types::A);
    stranger.client = SocketAddr::from(([203, 0, 113, 5], 4_000));
    let refused = parsed(&stranger.of_frontend(&frontend).await);
    assert_eq!((ede(&refused), refused.metadata.recursion_available), (Some(18), false));
    let mut iterating = Ask::of("www.example", types::A);
    iterating.flags = 0;
    assert_eq!(ede(&parsed(&iterating.of_frontend(&frontend).await)), Some(20));
    assert_eq!(upstream.asked(), []);
    for near in ["127.0.0.9", "192.168.1.2", "::1", "fd00::1", "::ffff:10.0.0.1"] {
        let mut ask = Ask::of("www.example", types::A);
        ask.client = SocketAddr::new(near.parse::<IpAddr>().expect(near), 4_000);
        assert_eq!(parsed(&ask.of_frontend(&frontend).await).answers.len(), 1, "{near}");
    }
}

#[tokio::test]
async fn an_upstream_answer_that_is_too_large_says_tc() {
    let upstream = Upstream::that(|query, _| {
        let text = [[200].as_slice(), &[b'x'; 200]].concat();
        let answers: Vec<Rr<'_>> = (0..5).map(|_| Rr("www.example", types::TXT, 60, &text)).collect();
        vec![reply(query, 0, &answers, &[])]
    })
    .await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let mut ask = Ask::of("www.example", types::TXT);
    ask.edns = None;
    let answer = ask.of_frontend(&frontend).await;
    assert!(answer.len() <= 512);
    let message = parsed(&answer);
    assert_eq!((message.metadata.truncation, message.answers.len()), (true, 0));
    ask.carrier = Carrier::Tcp;
    assert_eq!(parsed(&ask.of_frontend(&frontend).await).answers.len(), 5);
}

#[tokio::test]
async fn delegates_to_legacy_names_are_followed_there() {
    let upstream = Upstream::that(|query, _| {
        let kind = u16::from_be_bytes([query[query.len() - 15], query[query.len() - 14]]);
        let alias = Rr("www.example", types::CNAME, 600, b"\x04host\xc0\x10");
        if kind == types::A {
            vec![reply(query, 0, &[alias, Rr("host.example", types::A, 30, &[192, 0, 2, 1])], &[])]
        } else {
            vec![reply(query, 0, &[alias], &[SOA])]
        }
    })
    .await;
    let (records, frontend) = forwarding(&[&upstream]).await;
    let delegate = || {
        Binding::Delegate(Delegate {
            path: vec![Step::Legacy("www.example".to_owned())],
        })
    };
    records.publish("plain", 60, vec![delegate()]);
    let own = Binding::Address(Address::of(IpAddr::from([192, 0, 2, 99])));
    records.publish("flat", 60, vec![delegate(), own]);
    let ask = |who: &str, kind| Ask::of(&format!("{}.{ORIGIN}", name(who)), kind);

    let message = parsed(&ask("plain", types::A).of_frontend(&frontend).await);
    let plain = format!("{}.{ORIGIN}.", name("plain"));
    assert_eq!(
        lines(&message.answers),
        [
            format!("{plain} 60 IN CNAME www.example."),
            "www.example. 600 IN CNAME host.example.".to_owned(),
            "host.example. 30 IN A 192.0.2.1".to_owned()
        ]
    );
    let message = parsed(&ask("plain", types::AAAA).of_frontend(&frontend).await);
    assert_eq!((message.answers.len(), message.authorities.len()), (2, 1));

    let message = parsed(&ask("flat", types::A).of_frontend(&frontend).await);
    let flat = format!("{}.{ORIGIN}.", name("flat"));
    assert_eq!(without_ttl(&message.answers), [format!("{flat} IN A 192.0.2.1")]);
    // The least of the way, less the time since: never the record's own 60.
    assert!(message.answers[0].ttl <= 30);
    let message = parsed(&ask("flat", types::AAAA).of_frontend(&frontend).await);
    assert_eq!((message.answers.len(), message.authorities.len()), (0, 1));

    // A stranger gets the name's own data, and is not taken elsewhere.
    let mut stranger = ask("plain", types::A);
    stranger.client = SocketAddr::from(([203, 0, 113, 5], 4_000));
    assert_eq!(parsed(&stranger.of_frontend(&frontend).await).answers.len(), 1);
}

#[tokio::test]
async fn what_is_asked_for_ahead_of_time_and_fails_is_not_asked_for_again_with_each_question() {
    let upstream = Upstream::that({
        let is_first = AtomicBool::new(true);
        move |query, _| match is_first.swap(false, Ordering::SeqCst) {
            true => vec![reply(query, 0, &[Rr("www.example", types::A, 10, &[192, 0, 2, 9])], &[])],
            false => vec![reply(query, 2, &[], &[])],
        }
    })
    .await;
    let (_, frontend) = forwarding(&[&upstream]).await;
    let ask = Ask::of("www.example", types::A);
    let ahead = async {
        // In its last second the answer is asked for again.
        while upstream.asked().len() < 2 {
            ask.of_frontend(&frontend).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ahead)
        .await
        .expect("asked");
    for _ in 0..40 {
        ask.of_frontend(&frontend).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(upstream.asked().len(), 3, "once, and the two tries that each question has");
}
