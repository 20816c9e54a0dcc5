//! What is noted of a question and its answer, of how many, and how it reads: one line of JSON each. Writing them is
//! [`io::query_log`](crate::io::query_log)'s.

use crate::dns::domain::Domain;
use crate::dns::edns::extended_error;
use crate::dns::frontend::Via;
use crate::dns::latency::Found;
use crate::dns::question::Query;
use crate::dns::rdata_text::type_to_text;
use crate::dns::wire::{HEADER_BYTES, flags};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// What is logged of questions, and where.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryLogSettings {
    /// The file that lines are added to; `-`: standard error; `None`: nothing is logged.
    pub file: Option<PathBuf>,
    /// Every so manyth question is logged; 0: none but those of `errors`.
    pub one_in: u32,
    /// Whether every question is logged that got an error: any code but NOERROR and NXDOMAIN.
    pub errors: bool,
    /// How many bits of an IPv4 address are told; 32: all.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address are told; 128: all.
    pub ipv6_prefix: u8,
}

impl QueryLogSettings {
    /// Whether they can be used.
    ///
    /// # Errors
    /// The key that is wrong, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        match (self.ipv4_prefix, self.ipv6_prefix) {
            (33.., _) => Err(format!("`ipv4_prefix` is {}: 0 to 32", self.ipv4_prefix)),
            (_, 129..) => Err(format!("`ipv6_prefix` is {}: 0 to 128", self.ipv6_prefix)),
            _ => Ok(()),
        }
    }

    /// How much of an address is told.
    pub(crate) fn prefixes(&self) -> Prefixes {
        Prefixes {
            ipv4: self.ipv4_prefix,
            ipv6: self.ipv6_prefix,
        }
    }

    /// An address, as much of it as is told.
    fn cut(&self, client: IpAddr) -> String {
        let prefixes = self.prefixes();
        prefixes.text(prefixes.network(client))
    }
}

/// How many bits of addresses are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Prefixes {
    ipv4: u8,
    ipv6: u8,
}

impl Prefixes {
    /// The network of `client`.
    pub(crate) fn network(self, client: IpAddr) -> IpAddr {
        match client.to_canonical() {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.ipv6)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        }
    }

    /// A network as text.
    pub(crate) fn text(self, network: IpAddr) -> String {
        let (bits, whole) = match network {
            IpAddr::V4(_) => (self.ipv4, 32),
            IpAddr::V6(_) => (self.ipv6, 128),
        };
        if bits == whole {
            network.to_string()
        } else {
            format!("{network}/{bits}")
        }
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        QueryLogSettings::default().prefixes()
    }
}

impl Default for QueryLogSettings {
    /// Off; of an address, what tells a network and not who is in it.
    fn default() -> Self {
        Self {
            file: None,
            one_in: 1_000,
            errors: false,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
        }
    }
}

/// A question and what became of it, as it was when it was over: bytes, since most are never read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Noted {
    via: Via,
    found: Found,
    took: Duration,
    unix_millis: u64,
    question: Box<[u8]>,
    /// Flags of the answer, its extended error and its length; `None`: nothing was sent.
    answer: Option<(u16, Option<u16>, usize)>,
}

impl Noted {
    /// `reply` went back to `question`, or nothing did.
    pub(crate) fn new(question: &[u8], via: Via, found: Found, took: Duration, reply: Option<&[u8]>, unix_millis: u64) -> Self {
        Self {
            via,
            found,
            took,
            unix_millis,
            question: question.get(..QUESTION_BYTES_NOTED).unwrap_or(question).into(),
            answer: reply.map(|reply| (flags_of(reply), extended_error(reply), reply.len())),
        }
    }

    /// Its line, without the end.
    pub(crate) fn line(&self, settings: &QueryLogSettings) -> String {
        let query = question_of(&self.question);
        let (rcode, extended_error, bytes) = match self.answer {
            Some((bits, extended_error, bytes)) => (Some(rcode_text(bits)), extended_error, bytes),
            None => (None, None, 0),
        };
        let line = Line {
            unix: self.unix_millis as f64 / 1_000.0,
            client: settings.cut(self.via.client.ip()),
            transport: self.via.carrier.as_str(),
            name: query.as_ref().map(|(name, _)| name.to_string()),
            kind: query.map(|(_, kind)| type_to_text(kind)),
            rcode,
            extended_error,
            found: self.found.as_str(),
            micros: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            bytes,
        };
        // Numbers and texts can always be written.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// A line of the log.
#[derive(Serialize)]
struct Line {
    unix: f64,
    client: String,
    transport: &'static str,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    rcode: Option<String>,
    extended_error: Option<u16>,
    found: &'static str,
    micros: u64,
    bytes: usize,
}

/// Whether `reply` says that something is wrong: any code but "here it is" and "there is none".
pub(crate) fn is_error(reply: &[u8]) -> bool {
    !matches!(flags_of(reply) & flags::RCODE, 0 | 3)
}

fn flags_of(message: &[u8]) -> u16 {
    message
        .get(2..4)
        .and_then(|bits| bits.first_chunk().copied())
        .map_or(0, u16::from_be_bytes)
}

pub(crate) fn question_of(message: &[u8]) -> Option<(Domain, u16)> {
    if let Ok(query) = Query::read(message) {
        return Some((query.question.name, query.question.kind));
    }
    // What is wrong, or cut off, may come after the question.
    let rest = message.get(HEADER_BYTES..)?;
    let mut end = 0;
    while let Some(&length @ 1..=63) = rest.get(end) {
        end += usize::from(length) + 1;
    }
    let name = Domain::from_wire(rest.get(..=end)?)?;
    let kind = rest.get(end + 1..end + 3)?.first_chunk().copied().map(u16::from_be_bytes)?;
    Some((name, kind))
}

fn rcode_text(bits: u16) -> String {
    match bits & flags::RCODE {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("RCODE{other}"),
    }
}

/// How much of a message is noted, in bytes: its head and the longest question.
const QUESTION_BYTES_NOTED: usize = HEADER_BYTES + 255 + 4;

/// Lines that wait to be written: a disk that stands still for longer than these take costs lines, and never an answer.
pub const LINES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::frontend::Carrier;
    use std::net::SocketAddr;

    fn via(client: &str) -> Via {
        Via::new(Carrier::Tls, SocketAddr::new(client.parse().expect("an address"), 4_000))
    }

    const QUESTION: &[u8] = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03wW\"\x07example\0\0\x1c\0\x01";

    #[test]
    fn a_line_tells_the_network_and_not_who_is_in_it() {
        let settings = QueryLogSettings::default();
        let noted = |client: &str| {
            let took = Duration::from_micros(7);
            Noted::new(
                QUESTION,
                via(client),
                Found::Local,
                took,
                Some(b"\0\x01\x81\x82rest"),
                1_700_000_000_250,
            )
        };
        let line = noted("192.0.2.77").line(&settings);
        let says = r#"{"unix":1700000000.25,"client":"192.0.2.0/24","transport":"tls","name":"wW\"#;
        assert!(line.starts_with(says), "{line}");
        let says = r#""type":"AAAA","rcode":"SERVFAIL","extended_error":null,"found":"local","micros":7,"bytes":8}"#;
        assert!(line.ends_with(says), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["name"].as_str().map(str::len), Some("wW\\\".example".len()));
        assert!(noted("2001:db8:1:2ff::1").line(&settings).contains(r#""2001:db8:1:200::/56""#));
        assert!(noted("::ffff:192.0.2.77").line(&settings).contains(r#""192.0.2.0/24""#));
        let (whole, none) = ((32, 128), (0, 0));
        for ((ipv4_prefix, ipv6_prefix), v4, v6) in [(whole, "\"192.0.2.77\"", "\"2001:db8::1\""), (none, "\"0.0.0.0/0\"", "\"::/0\"")] {
            let settings = QueryLogSettings {
                ipv4_prefix,
                ipv6_prefix,
                ..settings.clone()
            };
            settings.check().expect("bits");
            assert!(noted("192.0.2.77").line(&settings).contains(v4) && noted("2001:db8::1").line(&settings).contains(v6));
        }
    }

    #[test]
    fn what_cannot_be_read_and_what_is_not_answered_is_a_line_too() {
        let settings = QueryLogSettings::default();
        let line = |question: &[u8]| Noted::new(question, via("192.0.2.1"), Found::Local, Duration::ZERO, None, 0).line(&settings);
        for question in [&b""[..], b"\0\x01", &[0xff; 600], &QUESTION[..20]] {
            assert!(line(question).contains(r#""name":null,"type":null,"rcode":null"#), "{question:?}");
        }
        // With something wrong behind it, a question is still told.
        let cut = [QUESTION, b"rest"].concat();
        assert!(line(&cut).contains(r#""type":"AAAA","rcode":null"#));
    }

    #[test]
    fn what_is_there_and_what_is_not_is_no_error() {
        for (low, expected) in [(0x80, false), (0x83, false), (0x82, true), (0x85, true), (0x81, true)] {
            assert_eq!(is_error(&[0, 0, 0x81, low]), expected);
        }
    }
}
