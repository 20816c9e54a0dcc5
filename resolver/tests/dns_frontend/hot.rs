//! What is asked again goes a short way: with the same answer as the long one, for as long as that holds, and not longer.

use crate::access::Searching;
use crate::forwarding::parsed;
use crate::sockets::Served;
use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use dialtone_resolver::RecordSource;
use dialtone_resolver::dns::cookie::OPTION_BYTES;
use dialtone_resolver::dns::edns::add_option;
use dialtone_resolver::dns::frontend::Given;
use dialtone_resolver::dns::generations::Millis;
use dialtone_resolver::dns::glance::Key;
use dialtone_resolver::dns::hot::Answers;
use dialtone_resolver::dns::wire::Reader;
use dialtone_resolver::dns::{Carrier, Frontend, ListenerSettings, Reply, Via};
use dialtone_shared::Binding;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use dialtone_shared::record::{Address, Service, Transport};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn address(last: u8) -> Binding {
    Binding::Address(Address::of(IpAddr::from([192, 0, 2, last])))
}

fn via() -> Via {
    Via::new(Carrier::Udp, SocketAddr::from(([127, 0, 0, 1], 4_000)))
}

async fn exchange(socket: &UdpSocket, message: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 4_096];
    socket.send(message).await.expect("sent");
    let length = timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .expect("in time")
        .expect("received");
    buffer.truncate(length);
    buffer
}

/// As any client does it: what is lost where too much comes at once is asked again.
async fn exchange_again(socket: &UdpSocket, message: &[u8]) -> Vec<u8> {
    for _ in 0..PATIENCE.as_secs() {
        socket.send(message).await.expect("sent");
        let mut buffer = vec![0; 4_096];
        if let Ok(received) = timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await {
            buffer.truncate(received.expect("received"));
            return buffer;
        }
    }
    panic!("no answer in {PATIENCE:?}");
}

async fn client(served: &Served) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("socket");
    socket.connect(served.address).await.expect("connected");
    socket
}

#[tokio::test]
async fn an_answer_that_is_kept_ends_with_the_record_it_was_made_from() {
    let records = Arc::new(Records::default());
    records.publish("web", 3_600, vec![address(1)]);
    let house = frontend(&records, settings());
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let socket = client(&served).await;
    let question = Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A).bytes();
    let first = exchange(&socket, &question).await;
    assert_eq!(exchange(&socket, &question).await[..first.len() - 20], first[..first.len() - 20]);
    assert!(house.counts().hot > 0, "the second was kept");
    records.publish("web", 3_600, vec![address(2)]);
    house.generations().changed(&name("web"));
    let changed = exchange(&socket, &question).await;
    assert!(changed.windows(4).any(|bytes| bytes == [192, 0, 2, 2]), "{changed:?}");
}

#[tokio::test]
async fn a_name_that_was_absent_is_there_once_it_is_published() {
    let records = Arc::new(Records::default());
    let house = frontend(&records, settings());
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let socket = client(&served).await;
    let question = Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A).bytes();
    for _ in 0..2 {
        assert_eq!(exchange(&socket, &question).await[3] & 0xf, 3, "NXDOMAIN");
    }
    assert_eq!(house.counts().hot, 1, "kept as well");
    records.publish("web", 3_600, vec![address(1)]);
    house.generations().changed(&name("web"));
    assert_eq!(exchange(&socket, &question).await[3] & 0xf, 0);
}

#[tokio::test]
async fn what_is_answered_by_way_of_the_map_is_kept_and_ends_with_a_change_of_the_map_or_of_the_record() {
    let folder = tempfile::tempdir().expect("folder");
    let map = folder.path().join("map");
    let records = Arc::new(Records::default());
    records.publish("web", 3_600, vec![address(1)]);
    std::fs::write(&map, format!(".zone.example {}\n", name("web"))).expect("written");
    let mut settings = settings();
    settings.aliases = Some(map.clone());
    let house = frontend(&records, settings);
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let socket = client(&served).await;
    let kept_after = async |question: &[u8]| {
        let before = house.counts().hot;
        let answer = exchange(&socket, question).await;
        (answer, house.counts().hot > before)
    };
    let ask = |name: &str| Ask::of(name, types::A).bytes();
    let has = |answer: &[u8], last: u8| answer.windows(4).any(|bytes| bytes == [192, 0, 2, last]);
    // One that is mapped, and special ones that are not yet.
    let special = [ask("nas.home.arpa"), ask("app.localhost")];
    for question in [&ask("zone.example"), &special[0], &special[1]] {
        assert!(!kept_after(question).await.1);
        assert!(kept_after(question).await.1, "the second is kept");
    }
    records.publish("web", 3_600, vec![address(2)]);
    house.generations().changed(&name("web"));
    assert!(has(&kept_after(&ask("zone.example")).await.0, 2), "the record's new address");
    let line = |name: &str| format!("{name} {}\n", crate::world::name("web"));
    std::fs::write(&map, line("nas.home.arpa") + &line("app.localhost")).expect("written");
    // It is looked at every second, whoever asks what.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for question in special {
        while !has(&kept_after(&question).await.0, 2) {
            assert!(tokio::time::Instant::now() < deadline, "the map is not followed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let gone = exchange(&socket, &ask("zone.example")).await;
    assert_eq!(gone[3] & 0xf, 5, "REFUSED: no longer mapped, and no upstream");
}

#[tokio::test]
async fn an_answer_that_had_to_wait_is_as_old_as_its_question_however_long_nobody_asks_after_it() {
    let source = Arc::new(Searching::default());
    source.is_slow.store(true, Ordering::SeqCst);
    let house = Frontend::new(Arc::clone(&source) as Arc<dyn RecordSource>, settings()).expect("frontend");
    let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
    let time = Arc::clone(&clock);
    let house = Arc::new(house.following(Arc::default(), Millis::new(move || time.load(Ordering::SeqCst))));
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let socket = client(&served).await;
    let question = Ask::of(&format!("{}.{ORIGIN}", name("nobody")), types::A).bytes();
    socket.send(&question).await.expect("sent");
    while source.searches.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    source.is_slow.store(false, Ordering::SeqCst);
    let mut first = vec![0; 4_096];
    let length = timeout(PATIENCE, socket.recv(&mut first))
        .await
        .expect("in time")
        .expect("received");
    let ttl = |answer: &[u8]| parsed(answer).authorities[0].ttl;
    let before = ttl(&first[..length]);
    // The core sleeps until the next datagram; what came back to it meanwhile grows old all the same.
    clock.fetch_add(1_000 * u64::from(before - 1), Ordering::SeqCst);
    assert_eq!(ttl(&exchange(&socket, &question).await), 1);
    clock.fetch_add(1_000, Ordering::SeqCst);
    exchange(&socket, &question).await;
    assert_eq!(source.searches.load(Ordering::SeqCst), 2, "looked up again");
}

/// All that there is to ask, in some order.
fn question(random: &mut StdRng) -> Vec<u8> {
    const KINDS: [u16; 12] = [
        types::A,
        types::AAAA,
        types::HTTPS,
        types::SRV,
        types::CNAME,
        types::SOA,
        types::NS,
        types::ANY,
        41,
        252,
        0,
        TYPE_RECORD,
    ];
    let whose = name(["web", "empty", "gone", "nobody", "service"][random.random_range(0..5)]);
    let under = ["", "_https._tcp.", "www.", "_443._tcp."][random.random_range(0..4)];
    let of = match random.random_range(0..12) {
        0 => "localhost".to_owned(),
        1 => format!("typo.{ORIGIN}"),
        2 => ORIGIN.to_owned(),
        3 => "alt".to_owned(),
        4 => "example.com".to_owned(),
        _ => format!("{under}{whose}.{ORIGIN}"),
    };
    let letters: String = of
        .chars()
        .map(|letter| {
            if random.random_bool(0.3) {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        })
        .collect();
    let mut ask = Ask::of(&letters, KINDS[random.random_range(0..KINDS.len())]);
    ask.flags = [0, 0x0100, 0x0110, 0x0130, 0x0010][random.random_range(0..5)];
    ask.edns = match random.random_range(0..3) {
        0 => None,
        _ => Some((
            [0, 512, 600, 1_200, 1_232, 4_096, 65_535][random.random_range(0..7)],
            u8::from(random.random_bool(0.05)),
            random.random(),
        )),
    };
    ask.padding = if ask.edns.is_some() && random.random_bool(0.2) {
        random.random_range(1..600)
    } else {
        0
    };
    ask.cookie = (ask.edns.is_some() && random.random_bool(0.1)).then(|| vec![7; random.random_range(0..45)]);
    ask.class = if random.random_bool(0.03) { 3 } else { 1 };
    let mut message = ask.bytes();
    message[..2].copy_from_slice(&random.random::<[u8; 2]>());
    if random.random_bool(0.3) {
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..message.len());
            message[at] ^= 1 << random.random_range(0..8);
        }
    }
    if random.random_bool(0.05) {
        message.truncate(random.random_range(0..=message.len()));
    }
    message
}

/// An answer with its TTLs taken out, so that time makes no difference.
fn timeless(mut answer: Vec<u8>) -> Vec<u8> {
    let mut r = Reader::new(&answer);
    let header = r.header().expect("a header");
    for _ in 0..header.counts[0] {
        r.plain_name().and_then(|_| r.u32()).expect("a question");
    }
    let mut ttls = Vec::new();
    for _ in 0..header.counts[1..].iter().sum() {
        let record = r.record().expect("a record");
        if record.kind != types::OPT {
            ttls.push(record.ttl_at);
        }
    }
    for at in ttls {
        answer[at..at + 4].fill(0);
    }
    answer
}

fn whole_house() -> Arc<Frontend> {
    let records = Arc::new(Records::default());
    records.publish(
        "web",
        60,
        vec![address(1), Binding::Service(Service::of("https", Transport::Tcp, 443))],
    );
    records.publish("service", 60, vec![Binding::Service(Service::of("https", Transport::Tcp, 443))]);
    records.publish("empty", 60, Vec::new());
    records.revoke("gone");
    frontend(&records, settings())
}

#[tokio::test]
async fn the_same_question_gets_the_same_answer_by_the_short_way_and_the_long() {
    let house = whole_house();
    let mut random = StdRng::seed_from_u64(5);
    // Little room, so that answers also go and come back.
    let mut answers = Answers::new(64 << 10, 5);
    let (mut now_millis, mut short) = (0, 0);
    let mut out = [0; 1_232];
    for round in 0..GENERATED {
        let message = question(&mut random);
        now_millis += random.random_range(0..5);
        let Given { reply, fill, .. } = house.give(&message, via()).await;
        let Some(key) = Key::of(&message, house.recursion_for(via().client.ip())) else {
            continue;
        };
        if let Some(length) = answers.answer(&key, &message, house.generations(), now_millis, &mut out) {
            short += 1;
            let Reply::Send(long) = reply else {
                panic!("round {round}: the long way says nothing to {message:?}")
            };
            let mut kept = out[..length].to_vec();
            if key.cookie().is_some() {
                // What is kept is for those without one, too.
                let (_, cookie) = long.split_at(long.len() - OPTION_BYTES);
                assert_eq!(cookie[..4], [0, 10, 0, 24], "round {round}: {message:?}");
                add_option(&mut kept, cookie, key.limit());
            }
            assert_eq!(timeless(kept), timeless(long), "round {round}: {message:?}");
        }
        if let Some(fill) = fill {
            answers.keep(&key, &fill, house.generations(), now_millis);
        }
    }
    assert!(short > GENERATED / 50, "only {short} went the short way");
}

#[tokio::test]
async fn over_connections_too_an_answer_given_again_is_the_one_of_the_long_way() {
    let house = whole_house();
    let mut random = StdRng::seed_from_u64(9);
    for round in 0..GENERATED {
        let message = question(&mut random);
        let via = Via {
            carrier: [Carrier::Tcp, Carrier::Tls, Carrier::Https, Carrier::Quic][random.random_range(0..4)],
            ..via()
        };
        let long = house.give(&message, via).await.reply;
        match (house.answer(&message, via).await, long) {
            (Reply::Send(given), Reply::Send(long)) => assert_eq!(timeless(given), timeless(long), "round {round}: {message:?}"),
            (given, long) => assert_eq!(given, long, "round {round}: {message:?}"),
        }
    }
    let hot = house.counts().hot;
    assert!(hot > u64::from(GENERATED) / 50, "only {hot} went the short way");
}

#[tokio::test]
async fn over_connections_too_what_is_kept_ends_with_the_record_and_is_padded_for_who_asks_so() {
    let records = Arc::new(Records::default());
    records.publish("web", 3_600, vec![address(1)]);
    let house = frontend(&records, settings());
    let via = Via {
        carrier: Carrier::Tls,
        ..via()
    };
    let plain = Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A);
    let mut padded = plain.clone();
    padded.padding = 30;
    let (mut answers, mut lengths) = (Vec::new(), Vec::new());
    for ask in [&plain, &plain, &padded, &padded] {
        let Reply::Send(answer) = house.answer(&ask.bytes(), via).await else {
            panic!("no answer")
        };
        lengths.push(answer.len());
        answers.push(timeless(answer));
    }
    // Padding makes no other question.
    assert_eq!((house.counts().hot, house.counts().kept), (3, 1));
    assert_eq!((&answers[0], &answers[2]), (&answers[1], &answers[3]));
    assert!(lengths[1] < 200 && lengths[3] == 468, "{lengths:?}");
    records.publish("web", 3_600, vec![address(2)]);
    house.generations().changed(&name("web"));
    let Reply::Send(changed) = house.answer(&plain.bytes(), via).await else {
        panic!("no answer")
    };
    assert!(changed.windows(4).any(|bytes| bytes == [192, 0, 2, 2]), "{changed:?}");
    assert_eq!((house.counts().hot, house.counts().kept), (3, 1));
}

#[tokio::test]
async fn between_malformed_messages_every_honest_question_is_answered() {
    let house = whole_house();
    let served = Served::start(Arc::clone(&house), ListenerSettings::default()).await;
    let (honest, hostile) = (client(&served).await, client(&served).await);
    let mut random = StdRng::seed_from_u64(7);
    let asked = Ask::of(&format!("{}.{ORIGIN}", name("web")), types::A).bytes();
    for round in 0..MALFORMED {
        let mut message = question(&mut random);
        message.truncate(random.random_range(0..=message.len()));
        hostile.send(&message).await.expect("sent");
        if round % 100 == 0 {
            let answer = exchange_again(&honest, &asked).await;
            assert_eq!((answer[3] & 0xf, answer[7]), (0, 1), "round {round}");
        }
    }
}

/// How many questions are made up: enough to meet every kind of each with every other.
const GENERATED: u32 = 20_000;

/// How many messages are broken.
const MALFORMED: u32 = 30_000;

const PATIENCE: Duration = Duration::from_secs(60);
