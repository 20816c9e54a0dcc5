//! RDATA as people write it, into wire form with names uncompressed (RFC 1035 §5.1, RFC 3597 §5).

use crate::dns::domain::Domain;
use crate::dns::svcb_text;
use crate::dns::zone_lex::{Word, entries};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dialtone_shared::record::rdata::{self, types};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why text is not RDATA. The writer's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RdataTextError {
    /// A type without a name here.
    #[error("type {0:?} is not known: write TYPE and its number, and the data as `\\# <length> <hex>`")]
    UnknownType(String),
    /// Data that is not of its type.
    #[error("{0}")]
    Data(String),
}

/// The number of a type's mnemonic, in any case: `A`, `TXT`, `TYPE65280`.
///
/// # Errors
/// [`RdataTextError::UnknownType`].
pub fn type_from_text(text: &str) -> Result<u16, RdataTextError> {
    let upper = text.to_ascii_uppercase();
    let known = MNEMONICS.iter().find(|(mnemonic, _)| *mnemonic == upper).map(|(_, kind)| *kind);
    let number = || {
        upper
            .strip_prefix("TYPE")
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?
            .parse()
            .ok()
    };
    known.or_else(number).ok_or_else(|| RdataTextError::UnknownType(text.to_owned()))
}

/// The mnemonic of a type, or `TYPE` and its number.
pub fn type_to_text(kind: u16) -> String {
    match MNEMONICS.iter().find(|(_, known)| *known == kind) {
        Some((mnemonic, _)) => (*mnemonic).to_owned(),
        None => format!("TYPE{kind}"),
    }
}

/// The wire form of `text`, data of type `kind`; names that do not end in a dot are under `origin`.
///
/// # Errors
/// [`RdataTextError::Data`].
pub fn rdata_from_text(kind: u16, text: &str, origin: &Domain) -> Result<Vec<u8>, RdataTextError> {
    let entries = entries(text).map_err(|error| RdataTextError::Data(error.reason.to_owned()))?;
    match &entries[..] {
        [] => rdata_from_words(kind, &[], origin),
        [entry] => rdata_from_words(kind, &entry.words, origin),
        _ => Err(RdataTextError::Data(
            "more than one line: hold them together with parentheses".to_owned(),
        )),
    }
}

/// The domain name that a word stands for: `@` is `origin`, and what does not end in a dot is under it.
pub(crate) fn domain_from_word(word: &Word, origin: &Domain) -> Result<Domain, RdataTextError> {
    if word.raw == b"@" {
        return Ok(origin.clone());
    }
    let wrong = |reason: String| RdataTextError::Data(format!("{:?} is not a domain name: {reason}", word.text()));
    let domain = Domain::from_text_bytes(&word.raw).map_err(|error| wrong(error.to_string()))?;
    if ends_with_dot(&word.raw) {
        return Ok(domain);
    }
    Domain::from_labels(domain.labels().chain(origin.labels())).ok_or_else(|| wrong(format!("too long under {origin}")))
}

pub(crate) fn rdata_from_words(kind: u16, words: &[Word], origin: &Domain) -> Result<Vec<u8>, RdataTextError> {
    if rdata::is_forbidden(kind) {
        return data(rdata::RdataError::ForbiddenType(kind).to_string());
    }
    let mut fields = Fields {
        words: words.iter(),
        origin,
        rdata: Vec::new(),
    };
    if fields
        .words
        .as_slice()
        .first()
        .is_some_and(|word| word.raw == b"\\#" && !word.is_quoted)
    {
        fields.generic()?;
    } else {
        fields.of_kind(kind)?;
    }
    if let Some(word) = fields.words.next() {
        return data(format!("{:?} is more than the data of {} has", word.text(), type_to_text(kind)));
    }
    let rdata = fields.rdata;
    match rdata::check(kind, &rdata) {
        Ok(()) => Ok(rdata),
        Err(error) => data(error.to_string()),
    }
}

/// The words of one record's data, and what has been made of them.
struct Fields<'a> {
    words: std::slice::Iter<'a, Word>,
    origin: &'a Domain,
    rdata: Vec<u8>,
}

impl Fields<'_> {
    fn of_kind(&mut self, kind: u16) -> Result<(), RdataTextError> {
        match kind {
            types::A => {
                let ip: Ipv4Addr = self.parse("an IPv4 address")?;
                self.rdata.extend_from_slice(&ip.octets());
            }
            types::AAAA => {
                let ip: Ipv6Addr = self.parse("an IPv6 address")?;
                self.rdata.extend_from_slice(&ip.octets());
            }
            types::CNAME | types::PTR => self.domain()?,
            types::MX | types::AFSDB | types::KX => {
                self.u16("a preference")?;
                self.domain()?;
            }
            types::SRV => {
                for what in ["a priority", "a weight", "a port"] {
                    self.u16(what)?;
                }
                self.domain()?;
            }
            types::TXT | types::SPF => {
                self.string()?;
                while !self.words.as_slice().is_empty() {
                    self.string()?;
                }
            }
            types::HINFO => {
                self.string()?;
                self.string()?;
            }
            types::RP => {
                self.domain()?;
                self.domain()?;
            }
            types::NAPTR => {
                self.u16("an order")?;
                self.u16("a preference")?;
                for _ in ["flags", "services", "regexp"] {
                    self.string()?;
                }
                self.domain()?;
            }
            types::SSHFP => {
                self.u8("an algorithm")?;
                self.u8("a fingerprint type")?;
                self.hex()?;
            }
            types::TLSA | types::SMIMEA => {
                for what in ["a usage", "a selector", "a matching type"] {
                    self.u8(what)?;
                }
                self.hex()?;
            }
            types::URI => {
                self.u16("a priority")?;
                self.u16("a weight")?;
                let target = self.bytes("a target")?;
                self.rdata.extend_from_slice(&target);
            }
            types::CAA => {
                self.u8("flags")?;
                self.string()?;
                let value = self.bytes("a value")?;
                self.rdata.extend_from_slice(&value);
            }
            TYPE_OPENPGPKEY => {
                let key = self.rest().and_then(|text| STANDARD.decode(text).ok());
                self.rdata.extend_from_slice(&key.ok_or_else(|| wanted("a key in base64", ""))?);
            }
            types::SVCB | types::HTTPS => {
                self.u16("a priority")?;
                self.domain()?;
                let params = svcb_text::params(&mut self.words).map_err(RdataTextError::Data)?;
                self.rdata.extend_from_slice(&params);
            }
            _ => {
                let kind = type_to_text(kind);
                return data(format!("the text of {kind} is not read here: write it as `\\# <length> <hex>`"));
            }
        }
        Ok(())
    }

    /// `\# <length> <hex>` (RFC 3597 §5).
    fn generic(&mut self) -> Result<(), RdataTextError> {
        self.words.next();
        let length: usize = self.parse("a length in bytes")?;
        if !self.words.as_slice().is_empty() {
            self.hex()?;
        }
        if self.rdata.len() == length {
            return Ok(());
        }
        data(format!("{} bytes of hex, but the length says {length}", self.rdata.len()))
    }

    fn word(&mut self, what: &str) -> Result<&Word, RdataTextError> {
        self.words.next().ok_or_else(|| wanted(what, ""))
    }

    fn parse<T: FromStr>(&mut self, what: &str) -> Result<T, RdataTextError> {
        let text = self.word(what)?.text();
        text.parse().map_err(|_| wanted(what, &text))
    }

    fn u8(&mut self, what: &str) -> Result<(), RdataTextError> {
        let value: u8 = self.parse(&format!("{what} (0 to 255)"))?;
        self.rdata.push(value);
        Ok(())
    }

    fn u16(&mut self, what: &str) -> Result<(), RdataTextError> {
        let value: u16 = self.parse(&format!("{what} (0 to 65535)"))?;
        self.rdata.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn domain(&mut self) -> Result<(), RdataTextError> {
        let origin = self.origin;
        let domain = domain_from_word(self.word("a domain name")?, origin)?;
        self.rdata.extend_from_slice(domain.as_wire());
        Ok(())
    }

    fn bytes(&mut self, what: &str) -> Result<Vec<u8>, RdataTextError> {
        let word = self.word(what)?;
        word.bytes()
            .ok_or_else(|| wanted("three digits or a character after each `\\`", &word.text()))
    }

    /// A character-string: its length in one byte, and the bytes.
    fn string(&mut self) -> Result<(), RdataTextError> {
        let bytes = self.bytes("a string")?;
        let Ok(length) = u8::try_from(bytes.len()) else {
            return data(format!("a string of {} bytes: write it as several of at most 255", bytes.len()));
        };
        self.rdata.push(length);
        self.rdata.extend_from_slice(&bytes);
        Ok(())
    }

    /// All the words that are left, in one.
    fn rest(&mut self) -> Option<String> {
        let text: String = self.words.by_ref().map(Word::text).collect();
        (!text.is_empty()).then_some(text)
    }

    fn hex(&mut self) -> Result<(), RdataTextError> {
        let text = self.rest().unwrap_or_default();
        let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
        match digits {
            Some(digits) if !digits.is_empty() && digits.len().is_multiple_of(2) => {
                self.rdata.extend(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
                Ok(())
            }
            _ => Err(wanted("an even number of hex digits", &text)),
        }
    }
}

fn ends_with_dot(raw: &[u8]) -> bool {
    let Some(before) = raw.strip_suffix(b".") else { return false };
    // An odd number of backslashes makes the dot a character of the last label.
    before.iter().rev().take_while(|&&byte| byte == b'\\').count().is_multiple_of(2)
}

fn wanted(what: &str, found: &str) -> RdataTextError {
    RdataTextError::Data(match found {
        "" => format!("{what} is missing"),
        found => format!("{what} is wanted, not {found:?}"),
    })
}

fn data<T>(reason: String) -> Result<T, RdataTextError> {
    Err(RdataTextError::Data(reason))
}

const TYPE_OPENPGPKEY: u16 = 61;

/// IANA "Resource Record (RR) TYPEs", as far as people write them.
const MNEMONICS: [(&str, u16); 38] = [
    ("A", types::A),
    ("NS", types::NS),
    ("CNAME", types::CNAME),
    ("SOA", types::SOA),
    ("PTR", types::PTR),
    ("HINFO", types::HINFO),
    ("MX", types::MX),
    ("TXT", types::TXT),
    ("RP", types::RP),
    ("AFSDB", types::AFSDB),
    ("AAAA", types::AAAA),
    ("LOC", types::LOC),
    ("SRV", types::SRV),
    ("NAPTR", types::NAPTR),
    ("KX", types::KX),
    ("CERT", 37),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", types::SSHFP),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", types::TLSA),
    ("SMIMEA", types::SMIMEA),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", TYPE_OPENPGPKEY),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", types::SVCB),
    ("HTTPS", types::HTTPS),
    ("SPF", types::SPF),
    ("EUI48", 108),
    ("EUI64", 109),
    ("URI", types::URI),
    ("CAA", types::CAA),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: &str, text: &str) -> Result<String, RdataTextError> {
        let origin = Domain::from_text("o.alt").expect("origin");
        rdata_from_text(type_from_text(kind)?, text, &origin).map(hex::encode)
    }

    #[test]
    fn data_becomes_wire() {
        for (kind, text, expected) in [
            ("A", "192.0.2.1", "c0000201"),
            ("aaaa", "2001:db8::1", "20010db8000000000000000000000001"),
            ("CNAME", "@", "016f03616c7400"),
            ("CNAME", "www", "03777777016f03616c7400"),
            ("CNAME", "Example.COM.", "074578616d706c6503434f4d00"),
            ("MX", "10 mail", "000a046d61696c016f03616c7400"),
            (
                "TXT",
                r#""hello world" x\034y "\000\255""#,
                "0b68656c6c6f20776f726c6403782279 0200ff",
            ),
            ("TXT", r#""""#, "00"),
            ("SRV", "1 2 443 .", "0001000201bb00"),
            ("CAA", r#"0 issue "ca.example""#, "0005697373756563612e6578616d706c65"),
            ("TLSA", "3 1 1 AB cd", "030101abcd"),
            ("SSHFP", "4 2 0123", "04020123"),
            ("NAPTR", r#"1 2 "u" "E2U+sip" "" ."#, "0001000201750745325 52b736970 00 00"),
            ("URI", r#"1 2 "https://x""#, "0001000268747470733a2f2f78"),
            ("TYPE64000", r"\# 3 01 0203", "010203"),
            ("A", r"\# 4 c0000201", "c0000201"),
            ("TYPE64000", r"\# 0", ""),
        ] {
            assert_eq!(wire(kind, text), Ok(expected.replace(' ', "")), "{kind} {text}");
        }
    }

    #[test]
    fn service_parameters_become_wire_as_in_rfc_9460_appendix_d() {
        for (text, expected) in [
            ("0 foo.example.com.", "000003666f6f076578616d706c6503636f6d00"),
            ("1 .", "000100"),
            ("16 foo.example.com. port=53", "001003666f6f076578616d706c6503636f6d00000300020035"),
            (
                "1 foo.example.com. key667=hello",
                "000103666f6f076578616d706c6503636f6d00029b000568656c6c6f",
            ),
            (
                r#"1 foo.example.com. key667="hello\210qoo""#,
                "000103666f6f076578616d706c6503636f6d00029b000968656c6c6fd2716f6f",
            ),
            (
                r#"1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1""#,
                "000103666f6f076578616d706c6503636f6d000006002020010db800000000000000000000000120010db8000000000000000000530001",
            ),
            (
                "1 example.com. ipv6hint=2001:db8:122:344::192.0.2.33",
                "0001076578616d706c6503636f6d000006001020010db80122034400000000c0000221",
            ),
            (
                "16 foo.example.org. (alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1)",
                "001003666f6f076578616d706c65036f7267000000000400010004000100090268320568332d313900040004c0000201",
            ),
            (
                r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#,
                "001003666f6f076578616d706c65036f7267000001000c08665c6f6f2c626172026832",
            ),
            (
                r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2",
                "001003666f6f076578616d706c65036f7267000001000c08665c6f6f2c626172026832",
            ),
        ] {
            assert_eq!(wire("SVCB", text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_data_is_refused_with_the_reason() {
        let long = format!("\"{}\"", "x".repeat(256));
        for (kind, text, says) in [
            ("A", "192.0.2", "an IPv4 address"),
            ("A", "", "missing"),
            ("A", "192.0.2.1 x", "more than the data of A"),
            ("MX", "10", "a domain name is missing"),
            ("MX", "70000 a", "0 to 65535"),
            ("CNAME", "a..b", "empty"),
            ("TXT", "a\nb", "more than one line"),
            ("TXT", "\"a", "not closed"),
            ("TXT", long.as_str(), "at most 255"),
            ("TXT", "\\300", "three digits"),
            ("TLSA", "3 1 1 abc", "hex"),
            ("LOC", "52 22 23.000 N", "\\#"),
            ("A", "\\# 5 c0000201", "4 bytes of hex"),
            ("A", "\\# 3 c00002", "not RDATA"),
            ("NS", "a", "cannot be published"),
            ("TYPE65350", "\\# 0", "cannot be published"),
            ("WHAT", "x", "not known"),
            ("TYPE+1", "x", "not known"),
            ("SVCB", "1 . alpn", "alpn"),
            ("SVCB", "1 . port=1 port=2", "twice"),
            ("SVCB", "1 . key007=x", "not a parameter"),
            ("SVCB", "1 . mandatory=mandatory", "not RDATA"),
            ("HTTPS", "1 . ipv4hint=1.2.3", "ipv4hint"),
        ] {
            let error = wire(kind, text).expect_err(text).to_string();
            assert!(error.contains(says), "{kind} {text}: {error}");
        }
    }
}
