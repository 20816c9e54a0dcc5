//! What is asked: a query's bytes become a [`Query`], or the reason for which it gets no answer.
//!
//! Too little for a header, and responses, are dropped, since whatever answers them can be made to answer itself for ever. Everything
//! else that is not exactly one readable question gets a code (RFC 6891 §6.1.1, RFC 9619).

use crate::dns::domain::Domain;
use crate::dns::edns::Wants;
use crate::dns::rcode::Rcode;
use crate::dns::wire::{Header, Reader, flags};
use dialtone_shared::record::rdata::types;

/// A question (RFC 1035 §4.1.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// The name asked for, in the case in which it was written.
    pub name: Domain,
    /// The RR type asked for.
    pub kind: u16,
    /// The class asked for.
    pub class: u16,
}

/// The OPT record of a query (RFC 6891 §6.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edns {
    /// The largest UDP answer that who asks can take, in bytes.
    pub udp_bytes: u16,
    /// The version of EDNS.
    pub version: u8,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// Whether "there is no such name" may come with the smallest proof (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// What else is asked for by its options.
    pub wants: Wants,
}

/// A query that can be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Its id.
    pub id: u16,
    /// Its flags.
    pub flags: u16,
    /// The one question.
    pub question: Question,
    /// Its OPT record.
    pub edns: Option<Edns>,
    /// Its length, in bytes.
    pub bytes: usize,
}

/// Why a message is not a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAQuery {
    /// Answering it would do harm or reach nobody.
    Drop,
    /// Answered with a code alone.
    Code {
        /// The id to echo.
        id: u16,
        /// The flags to echo from.
        flags: u16,
        /// The question to echo, if it can be read.
        question: Option<Question>,
        /// The code.
        rcode: Rcode,
    },
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`NotAQuery`] for anything else.
    pub fn read(message: &[u8]) -> Result<Self, NotAQuery> {
        let mut r = Reader::new(message);
        let header = r.header().ok_or(NotAQuery::Drop)?;
        if header.flags & flags::QR != 0 {
            return Err(NotAQuery::Drop);
        }
        let refused = |question: Option<Question>, rcode| NotAQuery::Code {
            id: header.id,
            flags: header.flags,
            question,
            rcode,
        };
        let question = match header.counts[0] {
            1 => read_question(&mut r),
            _ => None,
        };
        if header.flags & flags::OPCODE != 0 {
            return Err(refused(question, Rcode::NotImp));
        }
        let question = question.ok_or_else(|| refused(None, Rcode::FormErr))?;
        match read_rest(&mut r, &header) {
            Some(edns) => Ok(Self {
                id: header.id,
                flags: header.flags,
                question,
                edns,
                bytes: message.len(),
            }),
            None => Err(refused(Some(question), Rcode::FormErr)),
        }
    }

    /// Whether recursion is desired.
    pub fn recursion_desired(&self) -> bool {
        self.flags & flags::RD != 0
    }

    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether they may be the smallest that there are, with a code that says what they prove.
    pub fn compact_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok && edns.compact_ok)
    }
}

fn read_question(r: &mut Reader<'_>) -> Option<Question> {
    Some(Question {
        name: r.plain_name()?,
        kind: r.u16()?,
        class: r.u16()?,
    })
}

/// The records after the question: readable, at most one OPT, and nothing after them.
fn read_rest(r: &mut Reader<'_>, header: &Header) -> Option<Option<Edns>> {
    let mut edns = None;
    for (section, &count) in header.counts.iter().enumerate().skip(1) {
        for _ in 0..count {
            let record = r.record()?;
            if record.kind != types::OPT {
                continue;
            }
            if section != ADDITIONALS || edns.is_some() || record.owner != Domain::root() {
                return None;
            }
            let wants = Wants::read(record.rdata)?;
            edns = Some(Edns {
                udp_bytes: record.class,
                version: (record.ttl >> 16) as u8,
                dnssec_ok: record.ttl & DNSSEC_OK != 0,
                compact_ok: record.ttl & COMPACT_OK != 0,
                wants,
            });
        }
    }
    r.is_at_end().then_some(edns)
}

const ADDITIONALS: usize = 3;

/// The DO bit in an OPT record's TTL (RFC 3225 §3).
pub(crate) const DNSSEC_OK: u32 = 0x8000;

/// The CO bit beside it (RFC 9824 §5.1).
pub(crate) const COMPACT_OK: u32 = 0x4000;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07eXample\x03alt\0\0\x01\0\x01";
    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    fn with(counts: [u8; 4], tail: &[u8]) -> Vec<u8> {
        let mut message = PLAIN.to_vec();
        for (index, count) in counts.into_iter().enumerate() {
            message[5 + 2 * index] = count;
        }
        message.extend_from_slice(tail);
        message
    }

    fn code(message: &[u8]) -> Option<Rcode> {
        match Query::read(message) {
            Err(NotAQuery::Code { rcode, .. }) => Some(rcode),
            Err(NotAQuery::Drop) => None,
            Ok(_) => Some(Rcode::NoError),
        }
    }

    #[test]
    fn a_question_is_read_with_its_case() {
        let query = Query::read(&with([1, 0, 0, 1], OPT)).expect("a query");
        assert_eq!(query.id, 0x1234);
        assert_eq!(query.question.name.as_wire(), b"\x07eXample\x03alt\0");
        assert_eq!((query.question.kind, query.question.class), (1, 1));
        let edns = Edns {
            udp_bytes: 1232,
            version: 0,
            dnssec_ok: true,
            compact_ok: false,
            wants: Wants::default(),
        };
        assert_eq!(query.edns, Some(edns));
        assert!(query.recursion_desired());
    }

    #[test]
    fn what_is_not_one_question_gets_a_code_or_nothing() {
        let mut response = PLAIN.to_vec();
        response[2] |= 0x80;
        let mut status = PLAIN.to_vec();
        status[2] = 2 << 3;
        let mut pointed = PLAIN.to_vec();
        pointed[12] = 0xc0;
        let (two_opts, option_too_long) = ([OPT, OPT].concat(), b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x08");
        let rows: [(&str, &[u8], Option<Rcode>); 14] = [
            ("nothing", b"", None),
            ("less than a header", &PLAIN[..11], None),
            ("a response", &response, None),
            ("another opcode", &status, Some(Rcode::NotImp)),
            ("a header alone", &PLAIN[..12], Some(Rcode::FormErr)),
            ("a cut question", &PLAIN[..20], Some(Rcode::FormErr)),
            ("a pointer in the question", &pointed, Some(Rcode::FormErr)),
            ("no question", &with([0, 0, 0, 0], b""), Some(Rcode::FormErr)),
            ("two questions", &with([2, 0, 0, 0], &PLAIN[12..]), Some(Rcode::FormErr)),
            ("an OPT that is not there", &with([1, 0, 0, 1], b""), Some(Rcode::FormErr)),
            ("two OPTs", &with([1, 0, 0, 2], &two_opts), Some(Rcode::FormErr)),
            ("an OPT among the answers", &with([1, 1, 0, 0], OPT), Some(Rcode::FormErr)),
            (
                "an option longer than its OPT",
                &with([1, 0, 0, 1], option_too_long),
                Some(Rcode::FormErr),
            ),
            ("bytes after the end", &with([1, 0, 0, 0], b"x"), Some(Rcode::FormErr)),
        ];
        for (what, message, expected) in rows {
            assert_eq!(code(message), expected, "{what}");
        }
    }
}
