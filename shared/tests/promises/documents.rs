//! `docs/` says what the code does: the vectors are what the program makes, and the numbers of PROTOCOL.md are the code's.

use crate::world::*;
use dialtone_shared::invite::{INVITE_DOMAIN, SEAL_DOMAIN};
use dialtone_shared::message::{self, CloseCode, Message, Request, Response};
use dialtone_shared::proof::Proof;
use dialtone_shared::receipt::{ROOT_DOMAIN, Receipt, STATUS_DOMAIN, Status};
use dialtone_shared::record::rdata::{TYPE_RECORD, is_forbidden};
use dialtone_shared::record::signed::RECORD_DOMAIN;
use dialtone_shared::statement::STATEMENT_DOMAIN;
use dialtone_shared::{Genesis, Name, SignedRecord, limits, z32};
use std::collections::BTreeMap;

#[path = "../../examples/vectors.rs"]
#[expect(dead_code, reason = "its `main` is for people")]
mod program;

const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");
const VECTORS: &str = include_str!("../../../docs/vectors.json");

#[test]
fn the_published_vectors_are_what_the_program_makes() {
    let same = vectors(VECTORS) == program::document();
    assert!(same, "run: cargo run -p dialtone-shared --example vectors > docs/vectors.json");
}

#[test]
fn the_published_vectors_hold() {
    let all = vectors(VECTORS);
    for vector in list(&all, "names") {
        let name = Name::from_bytes(&bytes(vector, "wire")).unwrap();
        for form in ["text", "uri"] {
            assert_eq!(text(vector, form).parse(), Ok(name));
        }
        assert_eq!(Name::from_dns(text(vector, "dns"), "dialtone.alt"), Ok(name));
        assert_eq!(name.digest().to_vec(), bytes(vector, "digest"));
    }
    for vector in list(&all, "refused_names") {
        assert!(text(vector, "text").parse::<Name>().is_err());
    }
    let keys = &all["keys"];
    let genesis = Genesis::decode(&bytes(keys, "genesis")).unwrap();
    assert_eq!(genesis.name().to_string(), text(keys, "name"));
    for vector in list(&all, "records") {
        let verified = SignedRecord::decode(bytes(vector, "record").into()).unwrap().verify().unwrap();
        assert_eq!(verified.name().to_string(), text(vector, "name"));
        assert_eq!(verified.rank().to_string(), text(vector, "rank"));
    }
    for vector in list(&all, "refused_records") {
        let decoded = SignedRecord::decode(bytes(vector, "record").into());
        let late = matches!(text(vector, "reason"), "signature" | "key");
        assert_eq!(decoded.is_ok(), late, "{}", text(vector, "what"));
        assert!(decoded.is_err() || decoded.unwrap().verify().is_err());
    }
    for vector in list(&all, "packets").iter().chain(list(&all, "values")) {
        let verified = SignedRecord::decode(bytes(vector, "envelope").into()).unwrap().verify().unwrap();
        assert_eq!(verified.name().to_string(), text(vector, "name"));
        assert_eq!(verified.rank().to_string(), text(vector, "rank"));
    }
    for vector in list(&all["receipts"], "receipts") {
        let promise = Receipt::decode(&bytes(vector, "receipt")).unwrap().verify().unwrap();
        assert_eq!(promise.provider.to_string(), text(&all["receipts"], "provider"));
        assert_eq!(promise.rank.to_string(), text(vector, "rank"));
    }
    for vector in list(&all, "messages") {
        let frame = bytes(vector, "frame");
        let length = message::body_length(frame[..4].try_into().unwrap(), limits::FRAME_BYTES_MAX).unwrap();
        let body = &frame[4..4 + length];
        let back = Message::decode(body)
            .map(|message| message.to_frame())
            .or_else(|_| Request::decode(body).map(|request| request.to_frame()))
            .or_else(|_| Response::decode(body).map(|response| response.to_frame()));
        assert_eq!(back.unwrap(), frame);
    }
    for vector in list(&all, "proofs") {
        let proof = Proof::decode(&bytes(vector, "proof")).unwrap();
        assert_eq!(proof.subject().unwrap().of.to_string(), text(vector, "of"));
        assert_eq!(proof.check().unwrap().to_string(), text(vector, "says"));
    }
    for vector in list(&all, "statuses") {
        assert_eq!(
            Status::verify(&bytes(vector, "status")).unwrap().name.to_string(),
            text(vector, "name")
        );
    }
}

/// Each limit by its name, so that a constant without a row, or a row without a constant, is noticed.
macro_rules! limits {
    ($($name:ident)*) => { BTreeMap::from([$((stringify!($name), limits::$name as u64)),*]) };
}

#[test]
fn the_table_of_limits_is_the_codes() {
    let code = limits!(
        RECORD_BYTES_MAX RECORD_BYTES_MIN SALT_BYTES_MAX CHAIN_LINKS_MAX CHAIN_LINKS_DEFAULT SCOPE_MAX BINDINGS_MAX
        DELEGATE_STEPS_MAX LABEL_BYTES_MAX ALPN_MAX ALPN_BYTES_MAX PINS_MAX REGION_BYTES_MAX OWNER_BYTES_MAX
        MEDIA_TYPE_BYTES_MAX LIFETIME_SECS_MAX TTL_SECS_DEFAULT TTL_SECS_MAX FUTURE_PUT_SECS FUTURE_PEER_SECS SEQUENCE_MAX
        CBOR_DEPTH_MAX UNCRITICAL_FROM FRAME_BYTES_MAX BATCH_RECORDS_MAX STATEMENT_ROWS_MAX STATEMENT_BYTES_MAX
        STATEMENT_ROW_BYTES_MAX PRICE_BYTES_MAX INVITE_ADDRESSES_MAX INVITE_ADDRESS_BYTES_MAX INVITE_BYTES_MAX
        LEASE_SECS_MAX PACKET_DNS_BYTES_MAX VALUE_BYTES_MAX
    );
    let source: Vec<&str> = include_str!("../../src/limits.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
        .collect();
    assert_eq!(source.len(), code.len(), "a limit is missing in this test: {source:?}");
    assert!(source.iter().all(|name| code.contains_key(name)), "{source:?}");

    let table: BTreeMap<&str, u64> = section("## 14. Limits")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            Some((name, cells.next()?.replace(',', "").parse().unwrap()))
        })
        .collect();
    assert_eq!(table, code);
}

/// From a heading to the next of its level.
fn section(heading: &str) -> &'static str {
    let start = PROTOCOL.find(&format!("\n{heading}\n")).expect("the heading is there") + heading.len() + 1;
    let rest = &PROTOCOL[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

#[test]
fn the_words_and_numbers_in_the_text_are_the_codes() {
    for domain in [
        RECORD_DOMAIN,
        ROOT_DOMAIN,
        STATUS_DOMAIN,
        STATEMENT_DOMAIN,
        INVITE_DOMAIN,
        SEAL_DOMAIN,
    ] {
        assert!(section("## 1. Encoding").contains(&format!("`{domain}`")), "{domain}");
    }
    let alphabet = str::from_utf8(z32::ALPHABET).unwrap();
    assert!(section("## 2. Names").contains(alphabet));
    assert!(section("## 10. Asking over DNS").contains(&format!("QTYPE {TYPE_RECORD}")));
    let longest = format!("{} characters", Name::TEXT_CHARS);
    assert!(section("## 2. Names").contains(&longest));
    let last = format!("\n{} = 1..{}\n", "sequence      ", limits::SEQUENCE_MAX);
    assert!(section("## 15. CDDL").contains(&last));
}

#[test]
fn the_numbers_between_providers_are_the_codes() {
    let text = section("## 12. Between providers");
    let thousands = |number: usize| format!("{},{:03}", number / 1_000, number % 1_000);
    for said in [
        format!("ALPN `{}`", str::from_utf8(message::ALPN).unwrap()),
        format!("label `{}`", message::SERVICE_LABEL),
        format!("a greeting has at most {}", thousands(message::HELLO_BYTES_MAX)),
        format!("best first (1 to {})", message::VERSIONS_MAX),
        format!("at most {} of [class", limits::BATCH_RECORDS_MAX),
    ] {
        assert!(text.contains(&said), "{said}");
    }
    for number in 0..=u64::from(u8::MAX) {
        let row = text
            .lines()
            .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
            .any(|cells| {
                // Three codes a row, each with its meaning.
                cells.len() == 8 && cells[1..].iter().step_by(2).any(|cell| *cell == number.to_string())
            });
        assert_eq!(row, CloseCode::from_number(number).is_some(), "close code {number}");
    }
}

#[test]
fn the_forbidden_types_in_the_text_are_the_codes() {
    let sentence = section("## 5. Bindings").split("MUST be refused").nth(1).unwrap();
    let sentence = &sentence[sentence.find(':').unwrap() + 1..sentence.find(".\n").unwrap()];
    let mut listed = Vec::new();
    for item in sentence.replace("and", "").split(',') {
        let item = item.split('(').next().unwrap().trim();
        match item.split_once('–') {
            Some((first, last)) => listed.extend(first.parse::<u16>().unwrap()..=last.parse().unwrap()),
            None => listed.push(item.parse().unwrap()),
        }
    }
    let forbidden: Vec<u16> = (0..=u16::MAX).filter(|kind| is_forbidden(*kind)).collect();
    assert_eq!(listed, forbidden);
}

#[test]
fn every_rule_of_the_grammar_is_defined_and_used() {
    let grammar = section("## 15. CDDL").split("```").nth(1).unwrap();
    let (mut defined, mut used) = (Vec::new(), String::new());
    for line in grammar.lines().skip(1).filter(|line| !line.is_empty()) {
        let line = line.split(';').next().unwrap_or_default();
        match line.split_once(" = ") {
            Some((name, rule)) if !line.starts_with(' ') => {
                defined.push(name.trim());
                used += rule;
            }
            _ => used += line,
        }
        used.push('\n');
    }
    let words: Vec<&str> = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    for name in &defined {
        let top = ["signed-status", "signed-invite", "receipt", "message", "request", "response"];
        assert!(words.contains(name) || top.contains(name), "{name} is not used");
    }
    let known = ["cbor", "size", "le", "ge", "bstr", "tstr", "uint", "bool", "any", "true", "null"];
    for word in words.iter().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) {
        let is_known = known.contains(word) || defined.contains(word);
        assert!(is_known, "{word} is not defined");
    }
}
