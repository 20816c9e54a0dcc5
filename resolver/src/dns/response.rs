//! What is answered: a [`Response`] becomes bytes that fit the way back (RFC 1035 §4, RFC 6891, RFC 8914).

use crate::dns::denial::Denial;
use crate::dns::domain::Domain;
use crate::dns::question::{COMPACT_OK, DNSSEC_OK, NotAQuery, Query, Question};
use crate::dns::rcode::{Ede, Rcode};
use crate::dns::wire::{CLASS_IN, HEADER_BYTES, Header, Reader, Writer, flags};
use bytes::Bytes;
use dialtone_shared::record::rdata::types;

/// The largest UDP answer, and what is advertised: fits every path without fragments (1280 − 40 − 8; DNS flag day 2020).
pub const UDP_BYTES_MAX: usize = 1_232;

/// The largest UDP answer without EDNS, and what smaller advertised sizes count as (RFC 6891 §6.2.3).
pub const UDP_BYTES_MIN: usize = 512;

/// The largest answer over TCP: what two bytes of length can say.
pub const TCP_BYTES_MAX: usize = 65_535;

/// A resource record to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rr {
    /// Whose it is.
    pub owner: Domain,
    /// The RR type.
    pub kind: u16,
    /// Seconds.
    pub ttl: u32,
    /// What it says.
    pub rdata: Rdata,
}

/// What a resource record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rdata {
    /// Wire form without compression.
    Bytes(Bytes),
    /// One name, which may be compressed: CNAME, NS, PTR.
    Name(Domain),
    /// A start of authority.
    Soa(SoaData),
}

/// The data of an SOA record (RFC 1035 §3.3.13, RFC 2308 §4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoaData {
    /// The primary name server.
    pub mname: Domain,
    /// The mailbox of who answers for it, its `@` a dot.
    pub rname: Domain,
    /// Which version of the zone.
    pub serial: u32,
    /// Seconds between a secondary's checks; there are none.
    pub refresh: u32,
    /// Seconds before a failed check is repeated.
    pub retry: u32,
    /// Seconds after which a secondary gives up.
    pub expire: u32,
    /// Seconds for which "there is none" may be believed.
    pub minimum: u32,
}

/// An answer before it is bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The code.
    pub rcode: Rcode,
    /// Whether the name asked for is one that is answered for here.
    pub authoritative: bool,
    /// Whether all of it was validated by DNSSEC.
    pub authenticated: bool,
    /// Whether to ask again over TCP, whatever fits.
    pub truncated: bool,
    /// The answer section.
    pub answers: Vec<Rr>,
    /// The authority section: the SOA of a negative answer.
    pub authority: Vec<Rr>,
    /// Why, if it went wrong.
    pub ede: Option<Ede>,
    /// What is not there, as it can be proved where the zone is signed.
    pub denial: Option<Box<Denial>>,
    /// Whether such a proof is given with the code that it proves (RFC 9824 §5.1).
    pub compact: bool,
}

impl Response {
    /// A code without data.
    pub fn code(rcode: Rcode, ede: Option<Ede>) -> Self {
        Self {
            rcode,
            authoritative: false,
            authenticated: false,
            truncated: false,
            answers: Vec::new(),
            authority: Vec::new(),
            ede,
            denial: None,
            compact: false,
        }
    }

    /// The bytes of the answer to `query`, at most `limit` of them. What does not fit is left out a whole record at a time and TC is
    /// set; the extended error goes first (RFC 8914 §3).
    pub fn encode(&self, query: &Query, limit: usize, recursion_available: bool) -> Vec<u8> {
        let mut header = Header {
            id: query.id,
            flags: echoed_flags(query.flags) | (self.rcode as u16 & flags::RCODE),
            counts: [1, 0, 0, 0],
        };
        header.flags |= if self.authoritative { flags::AA } else { 0 };
        header.flags |= if self.authenticated { flags::AD } else { 0 };
        header.flags |= if recursion_available { flags::RA } else { 0 };
        let mut w = Writer::new();
        w.header(&header);
        write_question(&mut w, &query.question);
        let opt = query
            .edns
            .map(|edns| (u32::from(self.rcode as u16 >> 4) << 24) | if edns.dnssec_ok { DNSSEC_OK } else { 0 })
            .map(|extended| extended | if self.compact { COMPACT_OK } else { 0 });
        let room = limit.saturating_sub(if opt.is_some() { OPT_BYTES } else { 0 });
        let mut cut = self.truncated;
        for (section, records) in [(1, &self.answers), (2, &self.authority)] {
            for record in records {
                let before = w.len();
                if cut || write_record(&mut w, record).is_none() || w.len() > room {
                    cut = true;
                    w.truncate(before);
                    break;
                }
                header.counts[section] += 1;
            }
        }
        header.flags |= if cut { flags::TC } else { 0 };
        if let Some(extended) = opt {
            header.counts[3] = 1;
            let option = self.ede.as_ref().map(ede_option).filter(|option| w.len() + option.len() <= room);
            write_opt(&mut w, extended, option.as_deref().unwrap_or_default());
        }
        w.set_header(&header);
        w.into_bytes()
    }
}

/// The answer to what is no query: nothing, or a code.
pub fn encode_refusal(refusal: &NotAQuery) -> Option<Vec<u8>> {
    let NotAQuery::Code {
        id,
        flags,
        question,
        rcode,
    } = refusal
    else {
        return None;
    };
    let mut w = Writer::new();
    w.header(&Header {
        id: *id,
        flags: echoed_flags(*flags) | *rcode as u16,
        counts: [u16::from(question.is_some()), 0, 0, 0],
    });
    if let Some(question) = question {
        write_question(&mut w, question);
    }
    Some(w.into_bytes())
}

/// Makes `answer` say nothing but that there is more over TCP: its question, and its OPT without options. Its length, which is never more than
/// that of what asked; `None` if it has no question, or no room.
pub(crate) fn cut(answer: &mut [u8]) -> Option<usize> {
    let mut r = Reader::new(answer);
    let Header { id, flags: was, counts } = r.header()?;
    if counts[0] != 1 {
        return None;
    }
    r.plain_name()?;
    r.u32()?;
    let question = r.position();
    let mut w = Writer::new();
    let extended = counts[3] > 0;
    w.header(&Header {
        id,
        // No code: what is not said with its reason is not to be believed.
        flags: was & !(flags::AA | flags::AD | flags::RCODE) | flags::TC,
        counts: [1, 0, 0, u16::from(extended)],
    });
    w.put(answer.get(HEADER_BYTES..question)?);
    if extended {
        write_opt(&mut w, 0, &[]);
    }
    let bytes = w.into_bytes();
    answer.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(bytes.len())
}

/// The largest answer that `query` may get by UDP.
pub fn udp_limit(query: &Query) -> usize {
    match query.edns {
        Some(edns) => usize::from(edns.udp_bytes).clamp(UDP_BYTES_MIN, UDP_BYTES_MAX),
        None => UDP_BYTES_MIN,
    }
}

/// Bytes of an OPT record without options.
pub(crate) const OPT_BYTES: usize = 11;

pub(crate) fn echoed_flags(asked: u16) -> u16 {
    flags::QR | asked & (flags::OPCODE | flags::RD | flags::CD)
}

pub(crate) fn write_question(w: &mut Writer, question: &Question) {
    w.name(&question.name).u16(question.kind).u16(question.class);
}

/// `extended`: the upper code, the version and the flags, as they stand in the TTL.
pub(crate) fn write_opt(w: &mut Writer, extended: u32, options: &[u8]) {
    w.put(&[0]).u16(types::OPT).u16(UDP_BYTES_MAX as u16).u32(extended);
    w.u16(options.len() as u16).put(options);
}

/// `[15 u16][length u16][code u16][text]`, the text cut at a character.
pub(crate) fn ede_option(ede: &Ede) -> Vec<u8> {
    let mut end = ede.text.len().min(EDE_TEXT_BYTES_MAX);
    while !ede.text.is_char_boundary(end) {
        end -= 1;
    }
    let mut w = Writer::new();
    w.u16(EDE_OPTION).u16(2 + end as u16).u16(ede.code).put(&ede.text.as_bytes()[..end]);
    w.into_bytes()
}

fn write_record(w: &mut Writer, record: &Rr) -> Option<()> {
    w.name(&record.owner).u16(record.kind).u16(CLASS_IN).u32(record.ttl);
    w.with_length(|w| match &record.rdata {
        Rdata::Bytes(bytes) => {
            w.put(bytes);
        }
        Rdata::Name(name) => {
            w.name(name);
        }
        Rdata::Soa(soa) => {
            w.name(&soa.mname).name(&soa.rname);
            w.u32(soa.serial).u32(soa.refresh).u32(soa.retry).u32(soa.expire).u32(soa.minimum);
        }
    })
}

/// The EDNS option of extended errors (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// Longest text of an extended error, in bytes: a sentence, and never what makes an answer too large.
const EDE_TEXT_BYTES_MAX: usize = 120;

const _: () = assert!(HEADER_BYTES + 255 + 4 + OPT_BYTES <= UDP_BYTES_MIN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rcode::ede;

    fn query(hex: &str) -> Query {
        Query::read(&hex::decode(hex).expect("hex")).expect("a query")
    }

    fn rr(owner: &str, kind: u16, ttl: u32, rdata: Rdata) -> Rr {
        let owner = Domain::from_text(owner).expect(owner);
        Rr { owner, kind, ttl, rdata }
    }

    #[test]
    fn an_answer_with_an_extended_error_is_these_bytes() {
        let query = query("123401000001000000000001076578616d706c6503616c74000001000100002904d0000000000000");
        let mut response = Response::code(Rcode::NoError, Some(Ede::new(3, "")));
        let address = Rdata::Bytes(Bytes::from_static(&[192, 0, 2, 1]));
        response.answers.push(rr("example.alt", types::A, 30, address));
        let expected =
            "123481800001000100000001076578616d706c6503616c740000010001c00c000100010000001e0004c000020100002904d0000000000006000f00020003";
        assert_eq!(hex::encode(response.encode(&query, UDP_BYTES_MAX, true)), expected);
    }

    #[test]
    fn what_is_cut_is_no_longer_than_its_question_and_says_only_that_there_is_more() {
        for (asked, expected) in [
            (
                "123401000001000000000001076578616d706c6503616c74000001000100002904d0000000000000",
                "123483000001000000000001076578616d706c6503616c74000001000100002904d0000000000000",
            ),
            (
                "123401000001000000000000076578616d706c6503616c740000010001",
                "123483000001000000000000076578616d706c6503616c740000010001",
            ),
        ] {
            let mut response = Response::code(Rcode::NxDomain, Some(Ede::new(3, "because")));
            response.authoritative = true;
            let address = Rdata::Bytes(Bytes::from_static(&[192, 0, 2, 1]));
            response.answers.push(rr("example.alt", types::A, 30, address));
            let mut answer = response.encode(&query(asked), UDP_BYTES_MAX, false);
            let length = cut(&mut answer).expect("one question");
            assert_eq!(hex::encode(&answer[..length]), expected);
        }
        assert_eq!(cut(&mut [0; 12]), None);
    }

    #[test]
    fn there_is_no_such_name_is_these_bytes() {
        let query = query("123501000001000000000001046e6f706503616c7400000100010000291000000000000000");
        let mut response = Response::code(Rcode::NxDomain, None);
        response.authoritative = true;
        let soa = SoaData {
            mname: Domain::from_text("localhost").expect("name"),
            rname: Domain::from_text("nobody.invalid").expect("name"),
            serial: 1,
            refresh: 3_600,
            retry: 1_200,
            expire: 604_800,
            minimum: 60,
        };
        response.authority.push(rr("alt", types::SOA, 60, Rdata::Soa(soa)));
        let expected = "123585030001000000010001046e6f706503616c740000010001c011000600010000003c002f096c6f63616c686f737400066e6f626f647907696e76616c\
                        6964000000000100000e10000004b000093a800000003c00002904d0000000000000";
        assert_eq!(hex::encode(response.encode(&query, UDP_BYTES_MAX, false)), expected);
    }

    #[test]
    fn the_extended_error_goes_before_a_record_does() {
        let query = query("123401000001000000000001076578616d706c6503616c7400000100010000290200000000000000");
        let mut response = Response::code(Rcode::NoError, Some(Ede::new(ede::OTHER, "x".repeat(500))));
        for last in 0..40 {
            let address = Rdata::Bytes(Bytes::copy_from_slice(&[192, 0, 2, last]));
            response.answers.push(rr("example.alt", types::A, 30, address));
        }
        let answers = |limit| {
            let bytes = response.encode(&query, limit, false);
            assert!(bytes.len() <= limit);
            (u16::from_be_bytes([bytes[6], bytes[7]]), bytes[2] & 2 != 0, bytes.ends_with(b"xx"))
        };
        // The head and the question are 29 bytes, each record 16, OPT 11, the error and its text at most 126.
        assert_eq!(answers(29 + 40 * 16 + 11 + 126), (40, false, true));
        assert_eq!(answers(29 + 40 * 16 + 11 + 125), (40, false, false));
        assert_eq!(answers(29 + 40 * 16 + 11), (40, false, false));
        assert_eq!(answers(29 + 40 * 16 + 10), (39, true, false));
    }
}
