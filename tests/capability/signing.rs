//! The origin signed: validating resolvers that know its key believe what is said of flat names, and of names that are not there, and nothing that was changed on the way.

use crate::support::{DnsServer, ProviderProcess, Running, Tool, World, asking, exchange};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A provider whose origin is signed, with two names, one of which leads to the other.
struct Signed {
    world: World,
    _provider: ProviderProcess,
    _frontend: Running,
    at: SocketAddr,
    web: String,
    also: String,
}

const ORIGIN: &str = "names.example";

impl Signed {
    fn new() -> Self {
        let world = World::new();
        let provider = ProviderProcess::alone(&world);
        let url = provider.url();
        let publish = |key: &str, what: &[&str]| {
            let name = world.ok(["key", "new", key]).stdout.trim().to_owned();
            world.ok([&["publish", "--key", key, "--provider", &url][..], what].concat());
            format!("{name}.{ORIGIN}")
        };
        let web = publish(
            "web.key",
            &[
                "--address",
                "192.0.2.7",
                "--dns",
                "www 60 CNAME @",
                "--dns",
                "*.wild 60 TXT text",
                "--dns",
                "mail.deep 60 MX 10 Mail.Example.",
                "--dns",
                "@ 60 TXT text",
            ],
        );
        let to = web.split('.').next().expect("a name");
        let also = publish("also.key", &["--delegate", to]);
        world.ok(["dns", "key", "origin.pem", "--origin", ORIGIN]);
        let told = [
            "dns",
            "--provider",
            &url,
            "--listen",
            "127.0.0.1:0",
            "--origin",
            ORIGIN,
            "--signing-key",
            "origin.pem",
            "--json",
        ];
        let mut frontend = Running::start(&world, &told);
        let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
        let at = start["dns"][0].as_str().expect("an address").parse().expect("an address");
        Self {
            world,
            _provider: provider,
            _frontend: frontend,
            at,
            web,
            also,
        }
    }

    /// What `dialtone dns key` prints.
    fn keys(&self, change: &[&str]) -> Value {
        let told = [&["dns", "key", "origin.pem", "--origin", ORIGIN, "--json"][..], change].concat();
        serde_json::from_str(&self.world.ok(told).stdout).expect("one JSON object")
    }

    /// A file of what a validator starts from, with the DS or DNSKEY of a key.
    fn anchor(&self, file: &str, kind: &str, key: &Value) -> PathBuf {
        let said = key[kind.to_lowercase()].as_str().expect("text");
        self.world.write(file, format!("{ORIGIN}. 3600 IN {kind} {said}\n"))
    }

    /// A resolver that validates what it is told here with what is in this file. `None`: it is not installed.
    fn unbound(&self, label: &str, anchor: &std::path::Path) -> Option<DnsServer> {
        let server = format!(
            " module-config: \"validator iterator\"\n trust-anchor-file: \"{}\"\n aggressive-nsec: yes\n val-log-level: 2",
            anchor.display()
        );
        let stub = format!("stub-zone:\n name: \"{ORIGIN}\"\n stub-addr: {}@{}\n", self.at.ip(), self.at.port());
        DnsServer::unbound(&self.world, label, &server, &stub, &self.web)
    }
}

/// The code, how many answers, and whether they are said to be validated.
fn ask(at: SocketAddr, owner: &str, kind: RecordType) -> (ResponseCode, usize, bool) {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.metadata.authentic_data = true;
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    question.edns = Some(edns);
    question.add_query(Query::query(Name::from_ascii(format!("{owner}.")).expect("a name"), kind));
    let answer = exchange(&asking(at), &question, PATIENCE).unwrap_or_else(|| panic!("no answer to {owner} {kind}"));
    (answer.metadata.response_code, answer.answers.len(), answer.metadata.authentic_data)
}

/// Questions of all kinds about what is there and what is not, and how many answers each has.
fn questions(signed: &Signed) -> Vec<(String, RecordType, usize)> {
    let (web, also) = (&signed.web, &signed.also);
    let nobody = format!("{}.{ORIGIN}", "y".repeat(52));
    vec![
        (web.clone(), RecordType::A, 1),
        (web.clone(), RecordType::TXT, 1),
        (web.clone(), RecordType::MX, 0),
        (web.clone(), RecordType::AAAA, 0),
        (format!("www.{web}"), RecordType::A, 2),
        (format!("www.{web}"), RecordType::AAAA, 1),
        (format!("any.thing.wild.{web}"), RecordType::TXT, 1),
        (format!("any.wild.{web}"), RecordType::A, 0),
        (format!("deep.{web}"), RecordType::A, 0),
        (format!("mail.deep.{web}"), RecordType::MX, 1),
        (format!("none.{web}"), RecordType::A, 0),
        (format!("*.{web}"), RecordType::A, 0),
        (also.clone(), RecordType::A, 2),
        (also.clone(), RecordType::MX, 1),
        (nobody, RecordType::A, 0),
        (format!("not-a-name.{ORIGIN}"), RecordType::A, 0),
        (ORIGIN.to_owned(), RecordType::SOA, 1),
        (ORIGIN.to_owned(), RecordType::NS, 1),
        (ORIGIN.to_owned(), RecordType::DNSKEY, 1),
        (ORIGIN.to_owned(), RecordType::A, 0),
    ]
}

#[test]
fn unbound_validates_everything_under_a_signed_origin_from_its_ds_and_from_its_key_and_nothing_by_another() {
    let signed = Signed::new();
    let keys = signed.keys(&[]);
    for kind in ["DS", "DNSKEY"] {
        let anchor = signed.anchor(kind, kind, &keys["keys"][0]);
        let Some(unbound) = signed.unbound(&format!("by-{kind}"), &anchor) else {
            return;
        };
        for round in 0..2 {
            for (owner, kind, answers) in questions(&signed) {
                assert_eq!(
                    ask(unbound.at, &owner, kind),
                    (ResponseCode::NoError, answers, true),
                    "{round} {owner} {kind}"
                );
            }
        }
        // What was not asked for before is not taken for absent because of a proof about something else: its host identity, and the record itself.
        for kind in [55, 65_350] {
            assert_eq!(
                ask(unbound.at, &signed.web, RecordType::Unknown(kind)),
                (ResponseCode::NoError, 1, true),
                "{kind}"
            );
        }
    }
    signed.world.ok(["dns", "key", "other.pem", "--origin", ORIGIN]);
    let other = signed.world.ok(["dns", "key", "other.pem", "--origin", ORIGIN, "--json"]).stdout;
    let other: Value = serde_json::from_str(&other).expect("one JSON object");
    let anchor = signed.anchor("wrong", "DS", &other["keys"][0]);
    let Some(unbound) = signed.unbound("by-another", &anchor) else {
        return;
    };
    assert_eq!(ask(unbound.at, &signed.web, RecordType::A), (ResponseCode::ServFail, 0, false));
}

#[test]
fn delv_validates_what_is_there_and_what_is_not() {
    let Some(delv) = Tool::find("delv") else { return };
    let signed = Signed::new();
    let keys = signed.keys(&[]);
    let ds = keys["keys"][0]["ds"].as_str().expect("text");
    let (numbers, digest) = ds.rsplit_once(' ').expect("a digest");
    let anchors = format!("trust-anchors {{ \"{ORIGIN}\" initial-ds {numbers} \"{digest}\"; }};\n");
    let anchors = signed.world.write("anchors", anchors);
    let port = signed.at.port().to_string();
    for (owner, kind, answers) in questions(&signed) {
        if kind == RecordType::DNSKEY {
            // It says of the key that the anchor names that it is trusted, and not why.
            continue;
        }
        let said = delv.run([
            "@127.0.0.1",
            "-p",
            &port,
            "-a",
            anchors.to_str().expect("text"),
            &format!("+root={ORIGIN}"),
            &owner,
            &kind.to_string(),
        ]);
        let expected = match answers {
            0 => "; negative response, fully validated",
            _ => "; fully validated",
        };
        assert!(said.stdout.contains(expected), "{owner} {kind}: {said}");
        assert!(!said.stdout.contains("unsigned"), "{owner} {kind}: {said}");
    }
}

#[test]
fn a_roll_leaves_nobody_behind_who_knows_one_of_the_two_keys_that_there_are_at_the_time() {
    let signed = Signed::new();
    let old = signed.keys(&[])["keys"][0].clone();
    let both = signed.keys(&["--add"]);
    let new = both["keys"][1].clone();
    let (old_anchor, new_anchor) = (signed.anchor("old", "DS", &old), signed.anchor("new", "DS", &new));
    let shown = |count: usize| {
        let deadline = Instant::now() + PATIENCE;
        while ask(signed.at, ORIGIN, RecordType::DNSKEY).1 != count {
            assert!(Instant::now() < deadline, "the keys are not read again");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let validates = |label: &str, anchor: &std::path::Path| {
        let unbound = signed.unbound(label, anchor)?;
        Some(ask(unbound.at, &signed.web, RecordType::A) == (ResponseCode::NoError, 1, true))
    };
    shown(2);
    let Some(by_old) = validates("added-old", &old_anchor) else {
        return;
    };
    assert!(by_old && validates("added-new", &new_anchor) == Some(true));
    let first = signed.keys(&["--first", &new["tag"].to_string()]);
    assert_eq!(first["keys"][0], new);
    assert!(validates("first-old", &old_anchor) == Some(true) && validates("first-new", &new_anchor) == Some(true));
    let left = signed.keys(&["--drop", &old["tag"].to_string()]);
    assert_eq!(left["keys"].as_array().map(Vec::len), Some(1));
    shown(1);
    assert!(validates("dropped-old", &old_anchor) == Some(false) && validates("dropped-new", &new_anchor) == Some(true));
}

const PATIENCE: Duration = Duration::from_secs(60);
