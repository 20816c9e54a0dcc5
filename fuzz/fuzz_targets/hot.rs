//! The same question gets the same answer by the short way and the long, whatever was asked before, in whatever order records change.
//!
//! A house with records, owners under them, aliases of three kinds, revoked and absent names. An input is a list of steps: a question, made of
//! a few bytes and then broken in places; a change of a record; time that goes by; a whole message as it stands.
#![no_main]

use async_trait::async_trait;
use dialtone_resolver::dns::cookie::OPTION_BYTES;
use dialtone_resolver::dns::edns::add_option;
use dialtone_resolver::dns::frontend::Given;
use dialtone_resolver::dns::glance::Key;
use dialtone_resolver::dns::hot::Answers;
use dialtone_resolver::dns::wire::{CLASS_IN, Reader};
use dialtone_resolver::dns::{Carrier, Domain, Frontend, FrontendSettings, Reply, Via};
use dialtone_resolver::{Lookup, LookupError, RecordSource};
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use dialtone_shared::record::{Address, Body, DnsData, Record, Service, Transport};
use dialtone_shared::{Binding, Genesis, Name, SecretKey, SignedRecord, Ttl, UnixSecs, VerifiedRecord};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::UNIX_EPOCH;

fuzz_target!(|bytes: &[u8]| {
    let house = &*HOUSE;
    // Little room, so that answers also go.
    let (mut answers, mut now_millis) = (Answers::new(2 << 10, 5), 0);
    let mut input = bytes.iter().copied();
    for _ in 0..STEPS_MAX {
        let Some(step) = input.next() else { return };
        match step {
            0..=15 => {
                house.records.turn.fetch_add(1, Ordering::SeqCst);
                house.frontend.generations().changed(&name("web"));
            }
            16..=31 => now_millis += 1 << (step & 15),
            32..=47 => ask(house, &input.by_ref().collect::<Vec<u8>>(), &mut answers, now_millis),
            48.. => {
                let message = question(&mut input);
                // Asked for twice, most questions are kept the second time.
                for _ in 0..=step & 1 {
                    ask(house, &message, &mut answers, now_millis);
                }
            }
        }
    }
});

fn ask(house: &House, message: &[u8], answers: &mut Answers, now_millis: u64) {
    let Given { reply, fill, .. } = long_way(&house.frontend, message);
    let recursion = house.frontend.recursion_for(CLIENT.ip());
    let Some(key) = Key::of(message, recursion) else { return };
    let mut out = [0; 1_232];
    if let Some(length) = answers.answer(&key, message, house.frontend.generations(), now_millis, &mut out) {
        let Reply::Send(long) = reply else {
            panic!("the long way says nothing to {message:?}")
        };
        let mut kept = out[..length].to_vec();
        if key.cookie().is_some() {
            let (_, cookie) = long.split_at(long.len() - OPTION_BYTES);
            assert_eq!(cookie[..4], [0, 10, 0, 24], "{message:?}");
            add_option(&mut kept, cookie, key.limit());
        }
        assert_eq!(timeless(kept), timeless(long), "{message:?}");
    }
    if let Some(fill) = fill {
        answers.keep(&key, &fill, house.frontend.generations(), now_millis);
    }
}

/// Nothing here has to wait.
fn long_way(frontend: &Frontend, message: &[u8]) -> Given {
    let via = Via::new(Carrier::Udp, CLIENT);
    let giving = std::pin::pin!(frontend.give(message, via));
    match giving.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(given) => given,
        Poll::Pending => panic!("an answer that waits, to {message:?}"),
    }
}

/// A question made of a few bytes: its name, its type, how it is put, and where it is broken.
fn question(input: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    let mut next = || input.next().unwrap_or_default();
    let house = &*HOUSE;
    let (whose, kind, how, size) = (next(), next(), next(), next());
    let mut message = vec![next(), next()];
    message.extend([[0, 0], [1, 0], [1, 0x10], [0, 0x20]][usize::from(how & 3)]);
    let edns = how & 4 != 0;
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    let letters = next();
    let wire = house.names[usize::from(whose) % house.names.len()].as_wire().iter().enumerate();
    message.extend(wire.map(|(at, &byte)| {
        if letters >> (at % 8) & 1 == 1 {
            byte.to_ascii_uppercase()
        } else {
            byte
        }
    }));
    message.extend(KINDS[usize::from(kind) % KINDS.len()].to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    if edns {
        let size = [512, 600, 1_000, 1_231, 1_232, 4_096, 0, u16::MAX][usize::from(size & 7)];
        message.extend([0, 0, 41]);
        message.extend(u16::to_be_bytes(size));
        message.extend([0, 0, if how & 8 != 0 { 0x80 } else { 0 }, 0]);
        let cookie = [0, 8, 16, 24, 40][usize::from(how >> 4) % 5];
        let mut options = Vec::new();
        if cookie > 0 {
            options.extend([0, 10, 0, cookie]);
            options.resize(4 + usize::from(cookie), 7);
        }
        message.extend((options.len() as u16).to_be_bytes());
        message.extend(options);
    }
    for _ in 0..how >> 6 {
        let (at, bit) = (usize::from(next()) % message.len(), next());
        message[at] ^= 1 << (bit & 7);
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

struct House {
    frontend: Frontend,
    records: Arc<Records>,
    /// What there is to ask about.
    names: Vec<Domain>,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let records = Arc::new(Records::new());
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/map");
    let lines = ["home", ".zone.example", "*.each.example"]
        .map(|pattern| format!("{pattern} {}\n", name("web")))
        .concat();
    // It is looked at every second: who is fuzzing beside must not see it half written.
    if std::fs::read_to_string(&map).ok().as_ref() != Some(&lines) {
        std::fs::write(&map, lines).expect("a map");
    }
    let mut settings = FrontendSettings::new(domain(ORIGIN));
    settings.aliases = Some(map);
    let frontend = Frontend::new(Arc::clone(&records) as Arc<dyn RecordSource>, settings).expect("a frontend");
    let mut names: Vec<Domain> = [
        "home",
        "zone.example",
        "www.zone.example",
        "no.zone.example",
        "a.each.example",
        "localhost",
        "alt",
        ".",
        ORIGIN,
    ]
    .into_iter()
    .map(domain)
    .collect();
    names.extend(["typo", "a.typo"].map(|left| domain(&format!("{left}.{ORIGIN}"))));
    for who in ["web", "empty", "gone", "nobody", "service", "large", "late"] {
        for under in ["", "www.", "alias.", "_https._tcp.", "_443._tcp.", "any.wild.", "a.b."] {
            names.push(domain(&format!("{under}{}.{ORIGIN}", name(who))));
        }
    }
    House { frontend, records, names }
});

/// Records by name. `web` has another address with each turn.
#[derive(Debug)]
struct Records {
    known: HashMap<Name, VerifiedRecord>,
    web: Vec<VerifiedRecord>,
    turn: AtomicUsize,
}

impl Records {
    fn new() -> Self {
        let address = |last| Binding::Address(Address::of(IpAddr::from([192, 0, 2, last])));
        let dns = |owner: &str, kind, rdata: &[u8]| {
            Binding::Dns(DnsData {
                owner: owner.to_owned(),
                kind,
                ttl: Ttl(60),
                rdata: rdata.to_vec(),
            })
        };
        let https = || Binding::Service(Service::of("https", Transport::Tcp, 443));
        let text = |length: u8| [&[length][..], &vec![b'x'; usize::from(length)]].concat();
        let web = |turn: u8| {
            let mut bindings = vec![address(turn), https(), dns("", types::TXT, &text(turn))];
            bindings.push(dns("www", types::A, &[192, 0, 2, turn]));
            bindings.push(dns("alias", types::CNAME, b"\x03www\x07example\x03com\0"));
            bindings.push(dns("*.wild", types::TXT, &text(9)));
            sign("web", body(bindings))
        };
        let mut known = HashMap::new();
        let mut publish = |who, body| known.insert(name(who), sign(who, body));
        publish("service", body(vec![https()]));
        publish("empty", body(Vec::new()));
        publish("gone", Body::Revoked);
        publish("large", body((1..=7).map(|nth| dns("", types::TXT, &text(90 + nth))).collect()));
        Self {
            known,
            web: (1..=3).map(web).collect(),
            turn: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl RecordSource for Records {
    async fn lookup(&self, asked: &Name) -> Result<Lookup, LookupError> {
        if *asked == name("late") {
            return Err(LookupError::Unreachable("nobody is there".to_owned()));
        }
        let ttl = Ttl(60);
        let found = if *asked == name("web") {
            self.web.get(self.turn.load(Ordering::SeqCst) % self.web.len())
        } else {
            self.known.get(asked)
        };
        Ok(match found {
            Some(record) => Lookup::Found {
                record: record.clone(),
                ttl,
            },
            None => Lookup::Absent { ttl },
        })
    }
}

fn key(who: &str) -> SecretKey {
    SecretKey::from_seed(&Name::of_content(who.as_bytes()).digest())
}

/// Made once each: a key costs more than all the rest.
fn name(who: &'static str) -> Name {
    static NAMES: LazyLock<HashMap<&str, Name>> = LazyLock::new(|| {
        let all = ["web", "empty", "gone", "nobody", "service", "large", "late"];
        all.map(|who| (who, Genesis::of(key(who).public()).name())).into()
    });
    NAMES[who]
}

fn body(bindings: Vec<Binding>) -> Body {
    Body::Live {
        expiry: now().plus(86_400 * 7),
        ttl: Ttl(60),
        bindings,
    }
}

fn now() -> UnixSecs {
    UnixSecs(UNIX_EPOCH.elapsed().expect("after 1970").as_secs())
}

fn sign(who: &str, body: Body) -> VerifiedRecord {
    let record = Record {
        genesis: Genesis::of(key(who).public()),
        chain: Vec::new(),
        sequence: now().micros(),
        scope: Vec::new(),
        body,
    };
    SignedRecord::sign(record, &key(who)).expect("signed").verify().expect("verified")
}

fn domain(text: &str) -> Domain {
    Domain::from_text(text).expect(text)
}

const ORIGIN: &str = "dialtone.alt";

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4_000);

/// More would only make the search slower.
const STEPS_MAX: usize = 16;

const KINDS: [u16; 16] = [
    types::A,
    types::AAAA,
    types::TXT,
    types::HTTPS,
    types::SRV,
    types::CNAME,
    types::SOA,
    types::NS,
    types::ANY,
    types::PTR,
    46,
    41,
    252,
    0,
    TYPE_RECORD,
    4_711,
];
