//! The frontend beside other people's servers: one zone, served here from a flat name, by Knot DNS and by unbound from its file; ten thousand questions, the same answers.

use crate::support::{DnsServer, ProviderProcess, Running, World, asking, exchange};
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn ten_thousand_questions_about_a_zone_are_answered_as_knot_and_unbound_answer_them() {
    let world = World::new();
    world.write(
        "zone",
        format!("$ORIGIN {ZONE}.\n$TTL {TTL}\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\n{DATA}"),
    );
    let Some(knot) = DnsServer::knot(&world, ZONE, "zone") else {
        return;
    };
    let auth = format!(
        "auth-zone:\n name: \"{ZONE}\"\n zonefile: \"{}\"\n for-downstream: yes\n for-upstream: yes\n fallback-enabled: no",
        world.path("zone").display()
    );
    let Some(unbound) = DnsServer::unbound(&world, "unbound", "", &auth, ZONE) else {
        return;
    };
    let (_provider, _frontend, ours) = ours(&world);

    let mut seed = StdRng::seed_from_u64(SEED);
    let sockets = [ours, knot.at, unbound.at].map(asking);
    let mut differences = Differences::default();
    for _ in 0..QUESTIONS {
        let question = question(&mut seed);
        let [our, knots, unbounds] = sockets
            .each_ref()
            .map(|socket| exchange(socket, &question, PATIENCE).unwrap_or_else(|| panic!("no answer to\n{question}")));
        let asked = question.queries[0].clone();
        assert_eq!(our.queries, std::slice::from_ref(&asked), "the question is repeated to the letter");
        let said = Gist::of(&our);
        differences.note("Knot", &asked, &said, &Gist::of(&knots));
        differences.note("unbound", &asked, &said, &Gist::of(&unbounds));
    }
    assert!(differences.kinds.is_empty(), "{}", differences.told());
    assert_eq!(differences.explained.len(), 4, "{:?}", differences.explained);
    assert!(
        differences.alike.len() == 3,
        "the questions should come to all kinds of answers: {:?}",
        differences.alike
    );
}

/// What an answer says, without what servers may do as they like (order, additional data, authority, AA).
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
struct Gist {
    code: String,
    truncated: bool,
    /// Owner, type, data.
    answers: Vec<String>,
    /// NODATA and NXDOMAIN must have one, positive answers none.
    soa: bool,
}

impl Gist {
    fn of(message: &Message) -> Self {
        let mut answers: Vec<String> = message.answers.iter().map(line).collect();
        answers.sort();
        answers.dedup();
        let ttl = message.answers.iter().map(|record| record.ttl).max().unwrap_or(0);
        assert!(ttl <= TTL, "no TTL may grow: {message}");
        Self {
            code: format!("{:?}", message.metadata.response_code),
            truncated: message.metadata.truncation,
            // What is left of a cut answer is nobody's business: its reader asks again over TCP.
            answers: if message.metadata.truncation { Vec::new() } else { answers },
            soa: message.authorities.iter().any(|record| record.record_type() == RecordType::SOA),
        }
    }
}

fn line(record: &Record) -> String {
    format!("{} {} {}", record.name.to_lowercase(), record.record_type(), record.data).to_ascii_lowercase()
}

#[derive(Default)]
struct Differences {
    /// By what differs: how often, and the first.
    kinds: BTreeMap<String, (u32, String)>,
    alike: BTreeMap<String, u32>,
    explained: BTreeMap<&'static str, u32>,
}

/// Why an answer may differ, if it may.
fn explained(whose: &str, asked: &Query, ours: &Gist, theirs: &Gist) -> Option<&'static str> {
    let aliases: Vec<(&str, &str)> = theirs.answers.iter().filter_map(|line| line.split_once(" cname ")).collect();
    let goes_round = !aliases.is_empty() && aliases.iter().all(|(_, target)| aliases.iter().any(|(owner, _)| owner == target));
    let of_the_zone = |line: &String| line.starts_with(&format!("{ZONE}. ns ")) || line.starts_with(&format!("{ZONE}. soa "));
    let below = format!(".deep.wild.{ZONE}.");
    if goes_round && ours.code == "ServFail" {
        Some("aliases that go round in a circle are an error (RFC 1034 §3.6.2), which an authority leaves to resolvers to find out")
    } else if theirs.answers.iter().any(of_the_zone) {
        Some("a flat name has no name servers, and its SOA is the frontend's")
    } else if whose == "unbound" && ours.code == "NXDomain" && asked.name.to_string().to_ascii_lowercase().ends_with(&below) {
        Some(
            "deep.wild is an empty non-terminal, so *.wild does not cover what is below it (RFC 4592 §3.3.1), but unbound says that it does",
        )
    } else if whose == "unbound" && ours.answers == theirs.answers && !aliases.is_empty() && ours.soa && !theirs.soa {
        Some("where an alias ends with nothing the code and the SOA are about its target (RFC 6604), of which unbound says nothing")
    } else {
        None
    }
}

impl Differences {
    fn note(&mut self, whose: &str, asked: &Query, ours: &Gist, theirs: &Gist) {
        if ours == theirs {
            let kind = match (&*ours.code, ours.answers.is_empty()) {
                ("NoError", true) => "NODATA",
                (code, _) => code,
            };
            *self.alike.entry(kind.to_owned()).or_default() += 1;
            return;
        }
        if let Some(why) = explained(whose, asked, ours, theirs) {
            *self.explained.entry(why).or_default() += 1;
            return;
        }
        let kind = format!("{whose}, {}: {} for {}", asked.query_type, ours.code, theirs.code);
        let first = || {
            (
                0,
                format!("{} {}\n    ours   {ours:?}\n    theirs {theirs:?}", asked.name, asked.query_type),
            )
        };
        self.kinds.entry(kind).or_insert_with(first).0 += 1;
    }

    fn told(&self) -> String {
        let mut told = String::from("answers differ:\n");
        for (kind, (count, first)) in &self.kinds {
            let _ = writeln!(told, "{count} × {kind}, at first {first}");
        }
        told
    }
}

/// A question about something in the zone, near it, or nothing.
fn question(seed: &mut StdRng) -> Message {
    let mut owner = match seed.random_range(0..10) {
        0 => String::new(),
        1..=5 => OWNERS[seed.random_range(0..OWNERS.len())].to_owned(),
        6 => format!(
            "{}.{}",
            LABELS[seed.random_range(0..LABELS.len())],
            OWNERS[seed.random_range(0..OWNERS.len())]
        ),
        7 => {
            // Above something that is there: perhaps an empty non-terminal.
            let owner = OWNERS[seed.random_range(0..OWNERS.len())];
            owner.split_once('.').map_or("", |(_, above)| above).to_owned()
        }
        8 => format!(
            "{}.{}",
            LABELS[seed.random_range(0..LABELS.len())],
            LABELS[seed.random_range(0..LABELS.len())]
        ),
        _ => format!("n{}", seed.random::<u32>()),
    };
    if seed.random_bool(0.3) {
        owner = owner
            .chars()
            .map(|letter| {
                if seed.random_bool(0.5) {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            })
            .collect();
    }
    let dot = if owner.is_empty() { "" } else { "." };
    let name = Name::from_ascii(format!("{owner}{dot}{ZONE}.")).expect("a name");
    let mut kind = KINDS[seed.random_range(0..KINDS.len())];
    if owner.is_empty() && matches!(kind, RecordType::SOA | RecordType::NS) {
        kind = RecordType::A; // the apex of a flat name has an SOA of the frontend's own, and no name servers
    }
    let mut question = Message::query();
    question.metadata.recursion_desired = seed.random();
    question.add_query(Query::query(name, kind));
    if seed.random_bool(0.7) {
        let mut edns = Edns::new();
        edns.set_max_payload([512, 1_232, 4_096][seed.random_range(0..3)]);
        question.set_edns(edns);
    }
    question
}

/// A provider with the zone under a flat name, and a frontend that has the zone in its map.
fn ours(world: &World) -> (ProviderProcess, Running, SocketAddr) {
    let provider = ProviderProcess::alone(world);
    let name = world.ok(["key", "new", "zone.key"]).stdout.trim().to_owned();
    let zone = world.write("relative", format!("$TTL {TTL}\n{DATA}"));
    let zone = zone.to_str().expect("text");
    world.ok(["publish", "--key", "zone.key", "--provider", &provider.url(), "--zone", zone]);
    world.ok(["alias", &format!(".{ZONE}"), &name]);
    let mut frontend = Running::start(world, &["dns", "--listen", "127.0.0.1:0", "--provider", &provider.url(), "--json"]);
    let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
    let at = start["dns"][0].as_str().expect("an address").parse().expect("an address");
    (provider, frontend, at)
}

const ZONE: &str = "example.com";
const TTL: u32 = 3_600;
/// Every shape that a zone can take in which names are found differently: several of a type, chains of aliases in and out of the zone, to nothing and in a
/// circle, wildcards and what blocks them, empty non-terminals, names below names, answers too long for a datagram.
const DATA: &str = "\
@ A 192.0.2.1\n@ AAAA 2001:db8::1\n@ MX 10 mail\n@ MX 20 mail.example.net.\n@ TXT \"v=spf1 -all\"\n@ CAA 0 issue \"ca.example\"\n\
ns A 192.0.2.53\nmail A 192.0.2.25\nmail AAAA 2001:db8::25\nwww CNAME @\nftp CNAME www\nout CNAME elsewhere.example.net.\n\
dangling CNAME nothing\nround CNAME about\nabout CNAME round\nself CNAME self\n\
*.wild A 192.0.2.77\n*.wild TXT \"any\"\nblock.wild A 192.0.2.78\nx.deep.wild A 192.0.2.79\n*.alias CNAME www\n*.loose MX 5 mail\n\
a.b.c.d A 192.0.2.4\n_sip._tcp SRV 0 5 5060 mail\n_sip._tcp SRV 1 5 5061 ns\n_443._tcp.www2 TLSA 3 1 1 aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899\n\
host SSHFP 4 2 aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899\nhost HTTPS 1 . alpn=h2,h3 port=8443\nhost A 192.0.2.80\n\
long TXT \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789a\"\n\
long TXT \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789b\"\n\
long TXT \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789c\"\n\
long TXT \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789d\"\n\
many A 192.0.2.101\nmany A 192.0.2.102\nmany A 192.0.2.103\nmany A 192.0.2.104\nunder_score TXT \"fine\"\n";
const OWNERS: &[&str] = &[
    "ns",
    "mail",
    "www",
    "ftp",
    "out",
    "dangling",
    "round",
    "about",
    "self",
    "wild",
    "*.wild",
    "one.wild",
    "two.one.wild",
    "block.wild",
    "below.block.wild",
    "deep.wild",
    "x.deep.wild",
    "y.deep.wild",
    "alias",
    "q.alias",
    "r.q.alias",
    "s.loose",
    "a.b.c.d",
    "b.c.d",
    "c.d",
    "d",
    "z.b.c.d",
    "_sip._tcp",
    "_tcp",
    "_443._tcp.www2",
    "_tcp.www2",
    "www2",
    "host",
    "long",
    "many",
    "under_score",
    "below.www",
    "below.out",
    "below.ns",
];
const LABELS: &[&str] = &["a", "www", "mail", "_tcp", "wild", "*", "x--y", "0"];
const KINDS: &[RecordType] = &[
    RecordType::A,
    RecordType::A,
    RecordType::AAAA,
    RecordType::TXT,
    RecordType::MX,
    RecordType::SRV,
    RecordType::CNAME,
    RecordType::HTTPS,
    RecordType::CAA,
    RecordType::TLSA,
    RecordType::SSHFP,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::Unknown(1_000),
];
const QUESTIONS: u32 = 10_000;
const SEED: u64 = 0xD1A1;
const PATIENCE: Duration = Duration::from_secs(20);
