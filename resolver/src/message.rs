//! The two DNS messages of the stub's protocol: the padded question for a record, and whatever comes back for it.
//!
//! ```text
//! question  <name text, letters in random case>.<origin> IN TYPE65350, RD, EDNS 1232, padding (RFC 7830) to 800 bytes
//!           or the tag's 32 nibbles, last first, .ip6.arpa, in place of the name and the origin
//! found     NOERROR and one answer whose RDATA is the record's envelope
//! absent    NXDOMAIN and the SOA of the origin, or of the tag's own name
//! cut off   TC: the same again over TCP
//! ```
//!
//! Anything else that bears our id and our question says that nothing can be said. What does not is not an answer to us, and
//! is passed over: over UDP anybody can send it. The random case (0x20) makes that as good as impossible to guess.

use bytes::Bytes;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};

use crate::settings::{QUERY_BYTES, UDP_PAYLOAD_BYTES};
use crate::source::Sought;
use dialtone_shared::Name;

/// What names stand under, in wire form, ready to be asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    wire: Vec<u8>,
    text: String,
}

/// A question on its way.
#[derive(Clone, Debug)]
pub struct Query {
    bytes: Vec<u8>,
    question_end: usize,
    origin_at: usize,
}

/// What an answer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The envelope of a record, not checked yet.
    Record {
        /// The RDATA.
        envelope: Bytes,
        /// The TTL of the answer, in seconds.
        ttl_secs: u32,
    },
    /// There is none.
    Absent {
        /// How long that may be believed, in seconds (RFC 2308 §5).
        ttl_secs: u32,
    },
    /// Ask again over TCP.
    Truncated,
    /// Nothing can be said; why.
    No(String),
}

/// How a question travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// One datagram.
    Udp,
    /// A stream, each message behind its length.
    Tcp,
}

impl Origin {
    /// An origin from its text. `None` if it is not a DNS name, or leaves no room for a name under it.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        if !dialtone_shared::record::binding::is_dns_name(&text) || text.len() + Name::TEXT_CHARS + 3 > NAME_BYTES_MAX {
            return None;
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        Some(Self { wire, text })
    }

    /// Its text, lower-case, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Query {
    /// The question for what is `sought`, a name under `origin`; `id` and `case` are random.
    pub fn new(sought: &Sought, origin: &Origin, id: u16, case: u64) -> Self {
        let mut bytes = Vec::with_capacity(QUERY_BYTES);
        bytes.extend_from_slice(&id.to_be_bytes());
        // RD; one question, one additional record.
        bytes.extend_from_slice(&[0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        let in_case = |index: usize, byte: u8| {
            let upper = case >> (index % 64) & 1 == 1;
            if upper { byte.to_ascii_uppercase() } else { byte }
        };
        let origin_at = match sought {
            Sought::Name(name) => {
                let text = name.to_string();
                bytes.push(text.len() as u8);
                bytes.extend(text.bytes().enumerate().map(|(index, byte)| in_case(index, byte)));
                bytes.extend_from_slice(&origin.wire);
                bytes.len() - origin.wire.len()
            }
            Sought::Hit(hit) => {
                let nibbles = hit.nibbles().into_iter().enumerate();
                bytes.extend(nibbles.flat_map(|(index, digit)| [1, in_case(index, digit)]));
                bytes.extend_from_slice(REVERSE_TREE);
                // Many a server is asked about the reverse tree that knows nothing of tags: who does answers as if each were a zone.
                HEADER_BYTES
            }
        };
        bytes.extend_from_slice(&TYPE_RECORD.to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        let question_end = bytes.len();
        // OPT: root, type, payload size, extended RCODE and flags, RDATA.
        bytes.push(0);
        bytes.extend_from_slice(&types::OPT.to_be_bytes());
        bytes.extend_from_slice(&UDP_PAYLOAD_BYTES.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        // A question is at most 12 + 255 + 4 bytes, so there is always room to pad.
        let padding = QUERY_BYTES - (bytes.len() + 2 + 4);
        bytes.extend_from_slice(&(padding as u16 + 4).to_be_bytes());
        bytes.extend_from_slice(&OPTION_PADDING.to_be_bytes());
        bytes.extend_from_slice(&(padding as u16).to_be_bytes());
        bytes.resize(QUERY_BYTES, 0);
        Self {
            bytes,
            question_end,
            origin_at,
        }
    }

    /// As it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What `message` says to this question; `None`: it is no answer to it, or not a DNS message.
    pub fn read_reply(&self, message: &[u8], over: Over) -> Option<Reply> {
        let header = message.get(..HEADER_BYTES)?;
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let ours = header[..2] == self.bytes[..2] && header[2] & 0xf8 == 0x80 && count(4) == 1;
        let question = message.get(HEADER_BYTES..self.question_end)?;
        let asked = &self.bytes[HEADER_BYTES..self.question_end];
        if !ours || !question.eq_ignore_ascii_case(asked) {
            return None;
        }
        if header[2] & 0x02 != 0 {
            return (over == Over::Udp).then_some(Reply::Truncated);
        }
        if question != asked && over == Over::Udp {
            // Somebody in between does not keep the case, or somebody guesses: a stream tells.
            return Some(Reply::Truncated);
        }
        let mut cursor = Cursor {
            message,
            at: self.question_end,
        };
        let mut found = None;
        for _ in 0..count(6) {
            let record = cursor.record()?;
            if record.kind == TYPE_RECORD && record.class == CLASS_IN && record.owner.is(&asked[..asked.len() - 4]) {
                if found.is_some() {
                    return None;
                }
                found = Some(Reply::Record {
                    envelope: Bytes::copy_from_slice(record.data),
                    ttl_secs: record.ttl,
                });
            }
        }
        let mut soa = None;
        for _ in 0..count(8) {
            let record = cursor.record()?;
            if record.kind == types::SOA && record.class == CLASS_IN {
                let ttl = record.ttl.min(soa_minimum(message, &record)?);
                soa = Some((record.owner, ttl));
            }
        }
        let (mut extended, mut error) = (0, None);
        for _ in 0..count(10) {
            let record = cursor.record()?;
            if record.kind == types::OPT {
                extended = (record.ttl >> 24) as u16;
                error = extended_error(record.data);
            }
        }
        let code = extended << 4 | u16::from(header[3] & 0x0f);
        Some(match (code, found, soa) {
            (NOERROR, Some(found), _) => found,
            (NOERROR, None, _) => Reply::No(reason("it answered without a record", error)),
            (NXDOMAIN, None, Some((owner, ttl_secs))) if self.is_at_origin(&owner) => Reply::Absent { ttl_secs },
            (NXDOMAIN, None, Some(_)) => Reply::No(reason("it does not serve this origin (NXDOMAIN from another zone)", error)),
            (NXDOMAIN, None, None) => Reply::No(reason("NXDOMAIN without SOA, which proves nothing", error)),
            (code, _, _) => Reply::No(reason(&code_name(code), error)),
        })
    }

    /// Whether `owner` is the origin or below it: only who serves the origin can say what it does not have.
    fn is_at_origin(&self, owner: &ExpandedName) -> bool {
        let origin = &self.bytes[self.origin_at..self.question_end - 4];
        let owner = owner.as_slice();
        let mut at = 0;
        while let Some(rest) = owner.get(at..).filter(|rest| !rest.is_empty()) {
            if rest.eq_ignore_ascii_case(origin) {
                return true;
            }
            at += usize::from(rest[0]) + 1;
        }
        false
    }
}

/// A name without compression.
struct ExpandedName {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl ExpandedName {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn is(&self, other: &[u8]) -> bool {
        self.as_slice().eq_ignore_ascii_case(other)
    }
}

struct ResourceRecord<'a> {
    owner: ExpandedName,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    data_at: usize,
}

/// A place in a message; every step is `None` when it does not fit.
struct Cursor<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|four| u32::from_be_bytes(*four))
    }

    fn record(&mut self) -> Option<ResourceRecord<'a>> {
        let owner = self.name()?;
        let (kind, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let data_at = self.at;
        Some(ResourceRecord {
            owner,
            kind,
            class,
            // A TTL with the top bit set is 0 (RFC 2181 §8); OPT uses all 32 bits for something else.
            ttl: if kind != types::OPT && ttl >> 31 == 1 { 0 } else { ttl },
            data: self.take(length)?,
            data_at,
        })
    }

    /// A name, compressed or not. Pointers only lead back, so reading ends (RFC 1035 §4.1.4).
    fn name(&mut self) -> Option<ExpandedName> {
        let mut name = ExpandedName {
            bytes: [0; NAME_BYTES_MAX],
            length: 0,
        };
        let (mut at, mut limit, mut end) = (self.at, self.at, None);
        loop {
            let length = *self.message.get(at)?;
            match length >> 6 {
                0 => {
                    let label = self.message.get(at..at + 1 + usize::from(length))?;
                    name.bytes.get_mut(name.length..name.length + label.len())?.copy_from_slice(label);
                    name.length += label.len();
                    at += label.len();
                    if length == 0 {
                        break;
                    }
                }
                3 => {
                    let low = *self.message.get(at + 1)?;
                    end.get_or_insert(at + 2);
                    at = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if at >= limit {
                        return None;
                    }
                    limit = at;
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(at);
        Some(name)
    }
}

fn soa_minimum(message: &[u8], soa: &ResourceRecord<'_>) -> Option<u32> {
    let mut cursor = Cursor { message, at: soa.data_at };
    cursor.name()?;
    cursor.name()?;
    cursor.take(16)?;
    let minimum = cursor.u32()?;
    (cursor.at == soa.data_at + soa.data.len()).then_some(minimum)
}

/// What an extended error says (RFC 8914), as far as it may be shown.
fn extended_error(options: &[u8]) -> Option<String> {
    let mut cursor = Cursor { message: options, at: 0 };
    loop {
        let (code, length) = (cursor.u16()?, cursor.u16()?);
        let data = cursor.take(usize::from(length))?;
        if code == OPTION_EXTENDED_ERROR {
            let (number, text) = data.split_first_chunk()?;
            let text: String = String::from_utf8_lossy(text)
                .chars()
                .filter(|char| !char.is_control())
                .take(REASON_CHARS_MAX)
                .collect();
            let number = u16::from_be_bytes(*number);
            return Some(if text.is_empty() {
                format!("extended error {number}")
            } else {
                text
            });
        }
    }
}

fn reason(what: &str, extended: Option<String>) -> String {
    match extended {
        Some(text) => format!("{what}: {text}"),
        None => what.to_owned(),
    }
}

fn code_name(code: u16) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        9 => "NOTAUTH".to_owned(),
        16 => "BADVERS".to_owned(),
        other => format!("DNS code {other}"),
    }
}

/// What addresses have their names under (RFC 3596 §2.5), in wire form.
const REVERSE_TREE: &[u8] = b"\x03ip6\x04arpa\0";
const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const CLASS_IN: u16 = 1;
const NOERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
const OPTION_PADDING: u16 = 12;
const OPTION_EXTENDED_ERROR: u16 = 15;
/// Longest text of an extended error that is passed on.
const REASON_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;
