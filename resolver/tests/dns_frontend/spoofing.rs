//! Whoever cannot see a question does not answer it, however often they guess; and whatever odd things come first, the answer is waited for.

use crate::forwarding::{Rr, Upstream, parsed, reply};
use crate::world::{Ask, Records, frontend, settings};
use dialtone_resolver::dns::settings::UPSTREAM_UNWANTED_MAX;
use dialtone_resolver::dns::wire::{Header, Reader, Writer};
use dialtone_resolver::dns::{Carrier, Domain, Frontend};
use dialtone_resolver::io::listeners::bind;
use dialtone_shared::record::rdata::types;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};

const HONEST: [u8; 4] = [192, 0, 2, 1];
const POISON: [u8; 4] = [192, 0, 2, 66];

/// A reply that would be believed, if its id and the case of its name were those of the question. All that is known of that: what is asked for.
fn guess(name: &Domain) -> Vec<u8> {
    let mut w = Writer::new();
    w.header(&Header {
        id: rand::random(),
        flags: 0x8180,
        counts: [1, 1, 0, 0],
    });
    let name = name.with_case(&rand::random());
    w.name(&name).u16(types::A).u16(1);
    w.name(&name).u16(types::A).u16(1).u32(86_400).u16(4).put(&POISON);
    w.into_bytes()
}

/// What is no reply to anything that is asked here: another name.
fn junk(_: &Domain) -> Vec<u8> {
    guess(&Domain::from_text("another.example").expect("a name"))
}

/// An upstream that answers late, by UDP and TCP: before that, somebody sends messages in its name to the very port that asked.
struct Besieged {
    address: SocketAddr,
    counted: Arc<Counted>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Counted {
    by_udp: AtomicU64,
    by_tcp: AtomicU64,
    /// Messages of the forger.
    forged: AtomicU64,
    /// Those that happened to have the id.
    hits: AtomicU64,
}

impl Besieged {
    async fn by(forge: fn(&Domain) -> Vec<u8>, each: u64) -> Self {
        let (udp, tcp) = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = udp.local_addr().expect("address");
        let counted = Arc::<Counted>::default();
        let by_udp = tokio::spawn({
            let counted = Arc::clone(&counted);
            async move {
                let mut query = [0; 4_096];
                while let Ok((length, asker)) = udp.recv_from(&mut query).await {
                    let query = &query[..length];
                    counted.by_udp.fetch_add(1, Ordering::Relaxed);
                    let name = Reader::at(query, 12).plain_name().expect("a name").to_lower();
                    for _ in 0..each {
                        let forged = forge(&name);
                        counted.hits.fetch_add(u64::from(forged[..2] == query[..2]), Ordering::Relaxed);
                        counted.forged.fetch_add(1, Ordering::Relaxed);
                        udp.send_to(&forged, asker).await.expect("sent");
                    }
                    udp.send_to(&honest(query), asker).await.ok();
                }
            }
        });
        let by_tcp = tokio::spawn({
            let counted = Arc::clone(&counted);
            async move {
                while let Ok((mut stream, _)) = tcp.accept().await {
                    let counted = Arc::clone(&counted);
                    tokio::spawn(async move {
                        let Ok(length) = stream.read_u16().await else { return };
                        let mut query = vec![0; usize::from(length)];
                        if stream.read_exact(&mut query).await.is_err() {
                            return;
                        }
                        counted.by_tcp.fetch_add(1, Ordering::Relaxed);
                        let answer = honest(&query);
                        stream.write_u16(answer.len() as u16).await.ok();
                        stream.write_all(&answer).await.ok();
                        // Until who asked is gone.
                        stream.read_u8().await.ok();
                    });
                }
            }
        });
        Self {
            address,
            counted,
            tasks: [by_udp, by_tcp],
        }
    }

    fn count(&self, of: impl Fn(&Counted) -> &AtomicU64) -> u64 {
        of(&self.counted).load(Ordering::Relaxed)
    }
}

impl Drop for Besieged {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn honest(query: &[u8]) -> Vec<u8> {
    let name = Reader::at(query, 12).plain_name().expect("a name").to_string();
    reply(query, 0, &[Rr(&name, types::A, 60, &HONEST)], &[])
}

fn forwarding_to(address: SocketAddr) -> Arc<Frontend> {
    let mut settings = settings();
    settings.upstreams = vec![address.into()];
    frontend(&Arc::new(Records::default()), settings)
}

async fn address_of(frontend: &Frontend, name: &str) -> Vec<String> {
    let message = parsed(&Ask::of(name, types::A).of_frontend(frontend).await);
    message.answers.iter().map(|answer| answer.data.to_string()).collect()
}

/// Asks so many questions, for each of which somebody forges so many messages before the answer; every one must get the honest answer, then and from the
/// cache. Says how many of the messages were read.
async fn siege(questions: u64, forge: fn(&Domain) -> Vec<u8>, each: u64) -> (Besieged, u64) {
    let upstream = Besieged::by(forge, each).await;
    let frontend = forwarding_to(upstream.address);
    let mut askers = JoinSet::new();
    for first in 0..AT_ONCE {
        let frontend = Arc::clone(&frontend);
        askers.spawn(async move {
            for question in (first..questions).step_by(AT_ONCE as usize) {
                let name = format!("q{question}.bank-of-the-patient-forgers.example");
                for _ in 0..2 {
                    assert_eq!(address_of(&frontend, &name).await, ["192.0.2.1"], "{name}");
                }
            }
        });
    }
    while let Some(asked) = askers.join_next().await {
        asked.expect("the honest answer");
    }
    let read = frontend.counts().upstream_unwanted;
    println!(
        "{questions} questions: {} by UDP, {} by TCP; of {} forged messages {read} were read, and {} had the id",
        upstream.count(|counted| &counted.by_udp),
        upstream.count(|counted| &counted.by_tcp),
        upstream.count(|counted| &counted.forged),
        upstream.count(|counted| &counted.hits),
    );
    assert_eq!(upstream.count(|counted| &counted.by_udp), questions);
    (upstream, read)
}

/// One wrong guess says that somebody guesses: no second one is looked at, and the answer comes over TCP, however many there are.
async fn one_guess_a_question_is_all_there_is(questions: u64, each: u64) {
    let (upstream, read) = siege(questions, guess, each).await;
    assert_eq!(upstream.count(|counted| &counted.by_tcp), questions);
    assert_eq!(read, questions);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thirty_thousand_guesses_at_the_right_port_none_is_believed() {
    one_guess_a_question_is_all_there_is(100, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million datagrams, half a minute of two cores"]
async fn of_a_million_guesses_at_the_right_port_none_is_believed() {
    one_guess_a_question_is_all_there_is(2_000, 500).await;
    // One each, as who guesses ports as well would have it at best.
    one_guess_a_question_is_all_there_is(10_000, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_is_passed_over_for_the_answer_behind_it() {
    let each = UPSTREAM_UNWANTED_MAX as u64 - 1;
    let (upstream, read) = siege(200, junk, each).await;
    assert_eq!(upstream.count(|counted| &counted.by_tcp), 0);
    assert_eq!(read, 200 * each);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_junk_in_which_the_answer_drowns_is_not_waded_through() {
    let (upstream, read) = siege(40, junk, 1_000).await;
    assert_eq!(upstream.count(|counted| &counted.by_tcp), 40);
    assert_eq!(read, 40 * UPSTREAM_UNWANTED_MAX as u64);
}

/// Even who sees the question is not heard from anywhere else: what comes from there reaches no one.
#[tokio::test]
async fn what_comes_from_another_address_or_port_is_not_looked_at() {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = upstream.local_addr().expect("address");
    let others = [
        UdpSocket::bind("127.0.0.1:0").await.expect("a free port"),
        UdpSocket::bind("127.0.0.2:0").await.expect("a free port"),
        UdpSocket::bind(("127.0.0.2", address.port()))
            .await
            .expect("the same port elsewhere"),
    ];
    let frontend = forwarding_to(address);
    let asking = tokio::spawn({
        let frontend = Arc::clone(&frontend);
        async move { address_of(&frontend, "www.example").await }
    });
    let mut query = [0; 512];
    let (length, asker) = upstream.recv_from(&mut query).await.expect("a question");
    let query = &query[..length];
    let poison = reply(query, 0, &[Rr("www.example", types::A, 60, &POISON)], &[]);
    for other in &others {
        for _ in 0..100 {
            // Nobody is there for them: that is what they are told, too.
            other.send_to(&poison, asker).await.ok();
        }
    }
    upstream.send_to(&honest(query), asker).await.expect("answered");
    assert_eq!(asking.await.expect("answered"), ["192.0.2.1"]);
    assert_eq!((frontend.counts().upstream_unwanted, frontend.counts().upstream_sent), (0, 1));
}

/// Replies as TuDoor sends them (Li et al., IEEE S&P 2024), each with the right id and before the answer: none ends the wait, by failing or otherwise.
#[tokio::test]
async fn odd_replies_with_the_right_id_do_not_end_the_wait() {
    let next: Arc<Mutex<Vec<u8>>> = Arc::default();
    let upstream = Upstream::that({
        let next = Arc::clone(&next);
        move |query, carrier| {
            let honest = honest(query);
            if carrier == Carrier::Tcp {
                return vec![honest];
            }
            // The id is right, and so is the name where there is one, case and all.
            let name = Reader::at(query, 12).plain_name().expect("a name");
            let mut odd = with_name(&next.lock().expect("one"), name.as_wire());
            for (place, id) in odd.iter_mut().zip(&query[..2]) {
                *place = *id;
            }
            vec![odd, honest]
        }
    })
    .await;
    let frontend = forwarding_to(upstream.address);
    let header = |flags: u16, counts: [u16; 4]| {
        let mut w = Writer::new();
        w.header(&Header { id: 0, flags, counts });
        w.into_bytes()
    };
    let question = |name: &str, kind: u16, class: u16| {
        let mut w = Writer::new();
        w.name(&Domain::from_text(name).expect("a name")).u16(kind).u16(class);
        w.into_bytes()
    };
    let record = |name: &str, rdata: &[u8]| {
        let mut w = Writer::new();
        w.name(&Domain::from_text(name).expect("a name")).u16(types::A).u16(1).u32(60);
        w.u16(rdata.len() as u16).put(rdata);
        w.into_bytes()
    };
    let (reply, cut) = (0x8180, 0x8380);
    let mut odd: Vec<(String, Vec<u8>)> = Vec::new();
    // Without a question they are nobody's answer, whatever they say: FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, NOTAUTH, BADVERS as far as it shows.
    for rcode in 0..=15_u16 {
        odd.push((format!("no question, code {rcode}"), header(reply | rcode, [0; 4])));
        odd.push((
            format!("another question, code {rcode}"),
            [header(reply | rcode, [1, 0, 0, 0]), question("other.example", types::A, 1)].concat(),
        ));
    }
    let other = "other.example";
    for (what, message) in [
        ("nothing", Vec::new()),
        ("a byte", vec![0]),
        ("half an id", vec![0, 0]),
        ("less than a header", header(reply, [0; 4])[..11].to_vec()),
        ("cut, without a question", header(cut, [0; 4])),
        (
            "cut, another question",
            [header(cut, [1, 0, 0, 0]), question(other, types::A, 1)].concat(),
        ),
        (
            "cut, a question that ends too soon",
            [header(cut, [1, 0, 0, 0]), vec![3, b'w', b'w']].concat(),
        ),
        (
            "another type",
            [header(reply | 2, [1, 0, 0, 0]), question("NAME", types::AAAA, 1)].concat(),
        ),
        (
            "another class",
            [header(reply | 2, [1, 0, 0, 0]), question("NAME", types::A, 3)].concat(),
        ),
        (
            "two questions",
            [
                header(reply | 1, [2, 0, 0, 0]),
                question("NAME", types::A, 1),
                question("NAME", types::A, 1),
            ]
            .concat(),
        ),
        ("a question", [header(0x0100, [1, 0, 0, 0]), question("NAME", types::A, 1)].concat()),
        (
            "a question that fails",
            [header(0x0105, [1, 0, 0, 0]), question("NAME", types::A, 1)].concat(),
        ),
        (
            "a notification",
            [header(reply | 0x2000, [1, 0, 0, 0]), question("NAME", types::A, 1)].concat(),
        ),
        (
            "an update that is refused",
            [header(reply | 0x2805, [1, 0, 0, 0]), question("NAME", types::A, 1)].concat(),
        ),
        (
            "a name that points to itself",
            [header(reply, [1, 0, 0, 0]), vec![0xc0, 12, 0, 1, 0, 1]].concat(),
        ),
        (
            "a label of no kind",
            [header(reply, [1, 0, 0, 0]), vec![0x80, 1, 0, 0, 1, 0, 1]].concat(),
        ),
        (
            "a name below the right one",
            [header(reply | 3, [1, 0, 0, 0]), question("a.NAME", types::A, 1)].concat(),
        ),
        (
            "a name above the right one",
            [header(reply | 3, [1, 0, 0, 0]), question("example", types::A, 1)].concat(),
        ),
        ("junk that is longer than what fits", vec![0xff; 6_000]),
    ] {
        odd.push((what.to_owned(), message));
    }
    // And with the right question in its right case, as only the upstream can have it: what cannot be read is no answer yet.
    for (what, counts, rest) in [
        ("an answer that is missing", [1, 1, 0, 0], Vec::new()),
        (
            "thousands of answers that are missing",
            [1, 0xffff, 0xffff, 0xffff],
            record("NAME", &POISON),
        ),
        ("an answer that ends too soon", [1, 1, 0, 0], {
            let mut short = record("NAME", &POISON);
            short.pop();
            short
        }),
        ("another's answer", [1, 1, 0, 0], record(other, &POISON)),
        (
            "another's beside",
            [1, 2, 0, 0],
            [record("NAME", &POISON), record(other, &POISON)].concat(),
        ),
        ("authority that is missing", [1, 1, 1, 0], record("NAME", &POISON)),
    ] {
        odd.push((
            what.to_owned(),
            [header(reply, counts), question("NAME", types::A, 1), rest].concat(),
        ));
    }
    for (nth, (what, message)) in odd.into_iter().enumerate() {
        let name = format!("odd-{nth:03}.example");
        let before = (frontend.counts().upstream_unwanted, upstream.asked().len());
        *next.lock().expect("one") = message;
        assert_eq!(address_of(&frontend, &name).await, ["192.0.2.1"], "{what}");
        assert_eq!(upstream.asked().len() - before.1, 1, "{what}: asked once");
        assert_eq!(upstream.asked().last().expect("asked").2, Carrier::Udp, "{what}");
        assert_eq!(
            frontend.counts().upstream_unwanted - before.0,
            1,
            "{what}: was read, and passed over"
        );
    }
}

/// `message`, with `name` for the names NAME in it.
fn with_name(message: &[u8], name: &[u8]) -> Vec<u8> {
    let stand_in = b"\x04NAME\0";
    let mut message = message.to_vec();
    while let Some(at) = message.windows(stand_in.len()).position(|window| window == stand_in) {
        message.splice(at..at + stand_in.len(), name.iter().copied());
    }
    message
}

/// So many questions wait at a time.
const AT_ONCE: u64 = 4;
