//! Who asks in another's name gains nothing: what goes out by UDP is held to a rate, by the short way and the long, and comes over TCP.

use crate::sockets::{Served, client, receive, receive_udp, send};
use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use dialtone_resolver::dns::generations::Millis;
use dialtone_resolver::dns::{Frontend, ListenerSettings, RateSettings};
use dialtone_shared::Binding;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use dialtone_shared::record::{Address, Opaque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A frontend whose clock stands still, so that no answer becomes due while a slow machine asks.
fn house() -> Arc<Frontend> {
    let records = Arc::new(Records::default());
    let addresses = (0..20).map(|last| Binding::Address(Address::of(IpAddr::from([192, 0, 2, last]))));
    records.publish("web", 60, addresses.collect());
    let opaque = Binding::Opaque(Opaque {
        media_type: "text/plain".to_owned(),
        bytes: vec![7; 900],
    });
    records.publish("large", 60, vec![opaque]);
    let house = frontend(&records, settings());
    let house = Arc::into_inner(house).expect("nobody else's");
    Arc::new(house.following(Arc::default(), Millis::new(|| 1_700_000_000_000)))
}

fn limits(slip: u8) -> ListenerSettings {
    ListenerSettings {
        rate: RateSettings {
            answers_per_second: 1,
            burst: BURST,
            slip,
            private: true,
            ..RateSettings::default()
        },
        ..ListenerSettings::default()
    }
}

fn ask(who: &str, kind: u16) -> Vec<u8> {
    Ask::of(&format!("{}.{ORIGIN}", name(who)), kind).bytes()
}

fn is_cut(answer: &[u8]) -> bool {
    answer[2] & 2 != 0
}

#[tokio::test]
async fn beyond_its_rate_a_network_is_told_by_udp_to_come_over_tcp_and_gets_all_of_it_there() {
    let house = house();
    let served = Served::start(Arc::clone(&house), limits(1)).await;
    let socket = client(served.address).await;
    let question = ask("web", types::A);
    let mut whole = Vec::new();
    for at in 0..100 {
        socket.send(&question).await.expect("sent");
        let answer = receive_udp(&socket).await;
        assert_eq!(is_cut(&answer), at >= BURST, "{at}");
        if is_cut(&answer) {
            assert_eq!(answer[..2], question[..2]);
            assert_eq!(answer[12..], question[12..], "its question, and an OPT");
        } else {
            whole = answer;
        }
    }
    assert!(house.counts().hot > u64::from(BURST), "the short way too");
    assert_eq!(house.counts().limited, [u64::from(100 - BURST), 0]);
    let mut stream = TcpStream::connect(served.address).await.expect("connected");
    for _ in 0..2 * BURST {
        send(&mut stream, &question).await;
        assert_eq!(receive(&mut stream).await.as_ref(), Some(&whole));
    }
}

#[tokio::test]
async fn without_slip_nothing_is_sent_beyond_the_rate() {
    let house = house();
    let served = Served::start(Arc::clone(&house), limits(0)).await;
    let socket = client(served.address).await;
    let question = ask("web", types::A);
    for _ in 0..BURST {
        socket.send(&question).await.expect("sent");
        assert!(!is_cut(&receive_udp(&socket).await));
    }
    socket.send(&question).await.expect("sent");
    timeout(PATIENCE, async {
        while house.counts().limited != [0, 1] {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("held back");
    // What is no larger than its question is sent all the same, and nothing was sent before it.
    let mut other = question;
    other[2] = 2 << 3;
    socket.send(&other).await.expect("sent");
    let answer = receive_udp(&socket).await;
    assert_eq!(answer[3] & 0xf, 4, "NOTIMP");
}

#[tokio::test]
async fn once_beyond_its_rate_a_network_gets_less_than_it_sends_whatever_it_asks() {
    let served = Served::start(house(), limits(1)).await;
    let socket = client(served.address).await;
    let (mut sent, mut received, mut asked) = (0, 0, 0);
    for kind in (0..=300).chain([TYPE_RECORD]) {
        for (who, opcode) in [("web", 0), ("large", 0), ("nobody", 0), ("web", kind as u8 % 16)] {
            let mut question = ask(who, kind);
            question[2] |= opcode << 3;
            socket.send(&question).await.expect("sent");
            let answer = receive_udp(&socket).await;
            asked += 1;
            if asked > 4 * BURST {
                sent += question.len();
                received += answer.len();
                assert!(2 * answer.len() <= 3 * question.len(), "{kind} of {who}: {} bytes", answer.len());
            }
        }
    }
    assert!(received <= sent, "{received} bytes for {sent}");
}

#[tokio::test]
async fn a_record_is_never_half_as_large_again_as_its_question_below_the_rate_too() {
    let served = Served::start(house(), ListenerSettings::default()).await;
    let socket = client(served.address).await;
    let mut were_whole = 0;
    for who in ["web", "large", "nobody"] {
        for padding in [0, 1, 100, 400, 700, 1_000] {
            let mut ask = Ask::of(&format!("{}.{ORIGIN}", name(who)), TYPE_RECORD);
            ask.padding = padding;
            let question = ask.bytes();
            socket.send(&question).await.expect("sent");
            let answer = receive_udp(&socket).await;
            assert!(
                2 * answer.len() <= 3 * question.len(),
                "{who}, padded by {padding}: {} bytes",
                answer.len()
            );
            were_whole += usize::from(!is_cut(&answer));
        }
    }
    assert!(were_whole >= 3, "{were_whole} of them");
}

fn with_cookie(who: &str, kind: u16, cookie: &[u8]) -> Vec<u8> {
    let mut ask = Ask::of(&format!("{}.{ORIGIN}", name(who)), kind);
    ask.cookie = Some(cookie.to_vec());
    ask.bytes()
}

/// The cookie at the end of an answer.
fn cookie_of(answer: &[u8]) -> Vec<u8> {
    let (_, option) = answer.split_at(answer.len() - 28);
    assert_eq!(option[..4], [0, 10, 0, 24]);
    option[4..].to_vec()
}

#[tokio::test]
async fn who_shows_the_cookie_that_it_got_over_tcp_is_answered_by_udp_beyond_the_rate_too() {
    let house = house();
    let served = Served::start(Arc::clone(&house), limits(1)).await;
    let socket = client(served.address).await;
    let bare = with_cookie("web", types::A, b"customer");
    let mut whole = Vec::new();
    for at in 0..2 * BURST {
        socket.send(&bare).await.expect("sent");
        let answer = receive_udp(&socket).await;
        assert_eq!(is_cut(&answer), at >= BURST, "{at}");
        if !is_cut(&answer) {
            assert!(whole.is_empty() || whole == answer, "the same by the short way and the long");
            whole = answer;
        }
    }
    let mut stream = TcpStream::connect(served.address).await.expect("connected");
    send(&mut stream, &bare).await;
    let over_tcp = receive(&mut stream).await.expect("an answer");
    assert_eq!(over_tcp, whole);
    let cookie = cookie_of(&over_tcp);
    assert_eq!(cookie[..8], *b"customer");
    let known = with_cookie("web", types::A, &cookie);
    let before = house.counts().hot;
    for _ in 0..10 * BURST {
        socket.send(&known).await.expect("sent");
        assert_eq!(receive_udp(&socket).await, whole);
    }
    assert_eq!(house.counts().hot - before, u64::from(10 * BURST));
    let mut forged = cookie.clone();
    forged[23] ^= 1;
    socket.send(&with_cookie("web", types::A, &forged)).await.expect("sent");
    assert!(is_cut(&receive_udp(&socket).await));
    // A record that is larger than its question, only to who has the address.
    for (cookie, is_whole) in [(&cookie, true), (&forged, false), (&b"customer".to_vec(), false)] {
        let question = with_cookie("web", TYPE_RECORD, cookie);
        socket.send(&question).await.expect("sent");
        let answer = receive_udp(&socket).await;
        assert_eq!(is_cut(&answer), !is_whole);
        assert_eq!(2 * answer.len() > 3 * question.len(), is_whole, "{} bytes", answer.len());
    }
}

#[tokio::test]
async fn a_cookie_of_a_length_that_none_has_is_an_error_and_one_of_another_make_is_not() {
    let served = Served::start(house(), ListenerSettings::default()).await;
    let socket = client(served.address).await;
    for length in 0..=45 {
        socket.send(&with_cookie("web", types::A, &vec![7; length])).await.expect("sent");
        let answer = receive_udp(&socket).await;
        let expected = if matches!(length, 8 | 16..=40) { 0 } else { 1 };
        assert_eq!(answer[3] & 0xf, expected, "{length}");
        if expected == 0 {
            assert_eq!(cookie_of(&answer)[..8], [7; 8]);
        }
    }
}

/// What may be answered at once.
const BURST: u32 = 10;

const PATIENCE: Duration = Duration::from_secs(60);
