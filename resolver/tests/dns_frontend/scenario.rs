//! Conversations as text: what is published, what is asked, what is answered. Answers are read by another implementation of DNS.
//!
//! ```text
//! publish web ttl=60            who, and below it one binding a line:
//!   address 192.0.2.1 [priority]
//!   service https tcp 443 [target={host}] [alpn=h2,h3] [priority=1] [weight=2] [pin=ab]
//!   delegate {host} | www.example
//!   dns www 300 A 192.0.2.2     a line of a zone file
//! revoke web                    fails web expired                absent web
//! ask {web} A [do] [noedns] [rd=0] [tcp] [class=3] [size=512] [pad=500]
//!   NOERROR aa rd               the code and the flags, then each record, then the extended error
//!   answer {web} 60 IN A 192.0.2.1
//! ```
//!
//! `{web}` stands for the name that `web` holds, under the origin.

use crate::world::{Ask, ORIGIN, Records, domain, frontend, name, settings};
use dialtone_resolver::LookupError;
use dialtone_resolver::dns::zone::bindings_from_zone;
use dialtone_resolver::dns::{Carrier, Frontend, rdata_text};
use dialtone_shared::record::{Address, Delegate, Service, Step, Target, Transport};
use dialtone_shared::{Binding, Name};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

#[tokio::test]
async fn every_conversation_goes_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("scenarios")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    let mut asked = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("scenario");
        asked += play(&file.display().to_string(), &text).await;
    }
    assert!(asked > 100, "only {asked} questions: are the scenarios there?");
}

/// Plays one file and says how many questions were in it.
async fn play(file: &str, text: &str) -> usize {
    let records = Arc::new(Records::default());
    let folder = tempfile::tempdir().expect("folder");
    let aliases = folder.path().join("aliases");
    let lines: Vec<&str> = text.lines().collect();
    let people = people(text);
    let map: String = lines
        .iter()
        .filter_map(|line| line.strip_prefix("alias "))
        .filter_map(|line| line.split_once(' '))
        .map(|(alias, who)| format!("{alias} {}\n", name(who.trim())))
        .collect();
    fs::write(&aliases, map).expect("aliases");
    let mut settings = settings();
    settings.aliases = Some(aliases);
    let frontend = frontend(&records, settings);
    let mut asked = 0;
    let mut at = 0;
    while at < lines.len() {
        let (line, number) = (lines[at], at + 1);
        at += 1;
        let mut block = Vec::new();
        while at < lines.len() && lines[at].starts_with("  ") {
            block.push(lines[at].trim());
            at += 1;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] | ["alias", ..] => {}
            [comment, ..] if comment.starts_with('#') => {}
            ["publish", who, ref rest @ ..] => {
                let ttl = rest
                    .first()
                    .and_then(|ttl| ttl.strip_prefix("ttl="))
                    .map_or(60, |ttl| ttl.parse().expect("ttl"));
                records.publish(who, ttl, block.iter().flat_map(|line| bindings(who, line)).collect());
            }
            ["revoke", who] => records.revoke(who),
            ["fails", who, how] => records.set(name(who), Err(failure(how))),
            ["ask", asked_name, kind, ref rest @ ..] => {
                asked += 1;
                let answer = conversation(&frontend, &question(asked_name, kind, rest), &people).await;
                let expected: Vec<String> = block.iter().map(|line| (*line).to_owned()).collect();
                assert_eq!(answer, expected, "{file}:{number}: {line}\n got:\n  {}\n", answer.join("\n  "));
            }
            _ => panic!("{file}:{number}: {line:?} is not understood"),
        }
    }
    asked
}

async fn conversation(frontend: &Frontend, ask: &Ask, people: &BTreeSet<String>) -> Vec<String> {
    let bytes = ask.of_frontend(frontend).await;
    let message = Message::from_vec(&bytes).expect("another implementation reads the answer");
    assert_eq!(message.metadata.id, 0xabcd);
    assert_eq!(
        bytes[12..12 + ask.name.as_wire().len()],
        *ask.name.as_wire(),
        "the question is echoed byte for byte"
    );
    assert_eq!(message.edns.is_some(), ask.edns.is_some(), "OPT comes back if it came");
    let mut head = format!("{:?}", message.metadata.response_code).to_uppercase();
    for (is_set, flag) in [
        (message.metadata.authoritative, "aa"),
        (message.metadata.truncation, "tc"),
        (message.metadata.recursion_desired, "rd"),
        (message.metadata.recursion_available, "ra"),
        (message.metadata.authentic_data, "ad"),
    ] {
        if is_set {
            head.push(' ');
            head.push_str(flag);
        }
    }
    let mut lines = vec![head];
    for (section, records) in [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("additional", &message.additionals),
    ] {
        lines.extend(
            records
                .iter()
                .map(|record| format!("{section} {}", shorten(&record.to_string(), people))),
        );
    }
    if let Some(EdnsOption::Unknown(_, ede)) = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Unknown(15))) {
        let code = u16::from_be_bytes([ede[0], ede[1]]);
        lines.push(shorten(&format!("ede {code} {}", String::from_utf8_lossy(&ede[2..])), people));
    }
    lines
}

/// Everybody that the text speaks of as `{somebody}`.
fn people(text: &str) -> BTreeSet<String> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(who, _)| who.to_owned())
        .collect()
}

fn shorten(text: &str, people: &BTreeSet<String>) -> String {
    let shortened = people.iter().fold(text.to_owned(), |text, who| {
        let name = format!("{}.{ORIGIN}", name(who));
        text.replace(&format!("{name}."), &format!("{{{who}}}"))
            .replace(&name, &format!("{{{who}}}"))
    });
    shortened.trim_end().to_owned()
}

/// `{web}` as it is meant: absolute.
fn expand(text: &str) -> String {
    people(text).iter().fold(text.to_owned(), |text, who| {
        text.replace(&format!("{{{who}}}"), &format!("{}.{ORIGIN}.", name(who)))
    })
}

fn question(asked_name: &str, kind: &str, rest: &[&str]) -> Ask {
    let kind = match kind {
        "ANY" => 255,
        "AXFR" => 252,
        kind => rdata_text::type_from_text(kind).expect(kind),
    };
    let mut ask = Ask::of(&expand(asked_name), kind);
    for word in rest {
        match word.split_once('=').unwrap_or((word, "")) {
            ("do", _) => ask.edns = Some((1_232, 0, true)),
            ("noedns", _) => ask.edns = None,
            ("version", version) => ask.edns = Some((1_232, version.parse().expect("version"), false)),
            ("size", size) => ask.edns = Some((size.parse().expect("size"), 0, false)),
            ("rd", "0") => ask.flags = 0,
            ("tcp", _) => ask.carrier = Carrier::Tcp,
            ("class", class) => ask.class = class.parse().expect("class"),
            ("pad", bytes) => ask.padding = bytes.parse().expect("bytes"),
            _ => panic!("{word} is not understood"),
        }
    }
    ask
}

fn failure(how: &str) -> LookupError {
    match how {
        "expired" => LookupError::Expired,
        "unreachable" => LookupError::Unreachable("secret address".to_owned()),
        "unavailable" => LookupError::Unavailable("secret reason".to_owned()),
        "invalid" => LookupError::Invalid("secret reason".to_owned()),
        "rolledback" => LookupError::RolledBack,
        "busy" => LookupError::Busy,
        _ => panic!("{how} is no failure"),
    }
}

fn bindings(who: &str, line: &str) -> Vec<Binding> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let flat = |text: &str| -> Name { name(text.trim_start_matches('{').trim_end_matches('}')) };
    vec![match words[..] {
        ["address", ip, ref rest @ ..] => {
            let mut address = Address::of(ip.parse().expect("ip"));
            address.priority = rest.first().map_or(0, |priority| priority.parse().expect("priority"));
            Binding::Address(address)
        }
        ["service", label, transport, port, ref rest @ ..] => {
            let transport = if transport == "udp" { Transport::Udp } else { Transport::Tcp };
            let mut service = Service::of(label, transport, port.parse().expect("port"));
            for word in rest {
                match word.split_once('=').expect("key=value") {
                    ("target", target) => service.target = Target::Name(flat(target)),
                    ("alpn", ids) => service.alpn = ids.split(',').map(str::to_owned).collect(),
                    ("priority", priority) => service.priority = priority.parse().expect("priority"),
                    ("weight", weight) => service.weight = weight.parse().expect("weight"),
                    ("pin", byte) => service.pins.push([u8::from_str_radix(byte, 16).expect("hex"); 32]),
                    _ => panic!("{word} is not understood"),
                }
            }
            Binding::Service(service)
        }
        ["delegate", ref steps @ ..] => Binding::Delegate(Delegate {
            path: steps
                .iter()
                .map(|step| {
                    if step.starts_with('{') {
                        Step::Name(flat(step))
                    } else {
                        Step::Legacy((*step).to_owned())
                    }
                })
                .collect(),
        }),
        ["dns", ..] => {
            let origin = domain(&format!("{}.{ORIGIN}", name(who)));
            let text = expand(line.trim_start_matches("dns").trim_start());
            let zone = bindings_from_zone(&text, &origin).unwrap_or_else(|error| panic!("{line}: {error}"));
            return zone.bindings;
        }
        _ => panic!("{line} is no binding"),
    }]
}
