//! What is asked of upstream resolvers, which of their replies are believed, and how they are passed on.
//!
//! A reply that is not exactly the answer to what was asked is passed over, and the wait goes on: whoever can end the wait with junk
//! can choose the answer. Only where somebody guesses what the answer must have, another way is taken: one that has nothing to be guessed.

use crate::dns::domain::Domain;
use crate::dns::question::{DNSSEC_OK, Query, Question};
use crate::dns::rcode::Rcode;
use crate::dns::response::{OPT_BYTES, Rdata, Rr, echoed_flags, write_opt, write_question};
use crate::dns::settings::{ALIAS_HOPS_MAX, UPSTREAM_PREFETCH_TTL_MIN, UPSTREAM_SOON_OVER, UPSTREAM_STALE_TTL_SECS, UPSTREAM_TTL_SECS_MAX};
use crate::dns::wire::{CLASS_IN, HEADER_BYTES, Header, RawRecord, Reader, Writer, flags};
use bytes::Bytes;
use dialtone_shared::record::rdata::types;
use std::time::Duration;

/// What tells one answer of an upstream from another.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Asked {
    /// The name, in lower case.
    pub name: Domain,
    /// The RR type.
    pub kind: u16,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// Whether answers that do not validate are wanted.
    pub checking_disabled: bool,
}

/// One query on its way to an upstream.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The id that the reply must have.
    pub id: u16,
    /// The question that the reply must have, in this very case.
    pub question: Question,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What to do about a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the answer.
    Answer(Answered),
    /// It is the start of an answer: ask again over TCP.
    Truncated,
    /// Right but for the case of the name: some upstreams change it, and so may who forges. Ask again over TCP.
    OtherCase,
    /// Right but for its id: somebody guesses, who may have better luck with the next. Ask again over TCP (RFC 5452 §9.3).
    Guess,
    /// It says that it cannot answer: ask another.
    Failed,
    /// It is nothing that was asked for: keep waiting.
    PassOver,
}

/// An answer of an upstream: what is kept of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// NOERROR or NXDOMAIN.
    pub rcode: Rcode,
    /// The message as it came, as far as it is kept: header, question, answers, and authorities where they are needed.
    message: Vec<u8>,
    /// How many answers and authorities are in it.
    counts: [u16; 2],
    /// Where the TTLs stand in it.
    ttls_at: Vec<usize>,
    /// What the aliases in it lead to, step by step.
    targets: Vec<Domain>,
    /// How long it may be kept, in seconds; 0: not at all.
    pub ttl: u32,
}

impl Asked {
    /// What `question` asks for, on behalf of `query`.
    pub fn of(query: &Query, name: &Domain) -> Self {
        Self {
            name: name.to_lower(),
            kind: query.question.kind,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: query.flags & flags::CD != 0,
        }
    }

    /// The query for it. `chance` decides the case of the letters, one bit each (draft-vixie-dnsext-dns0x20).
    pub fn query(&self, id: u16, chance: &[u8; 32]) -> Sent {
        let question = Question {
            name: self.name.with_case(chance),
            kind: self.kind,
            class: CLASS_IN,
        };
        let mut w = Writer::new();
        w.header(&Header {
            id,
            flags: flags::RD | if self.checking_disabled { flags::CD } else { 0 },
            counts: [1, 0, 0, 1],
        });
        write_question(&mut w, &question);
        write_opt(&mut w, if self.dnssec_ok { DNSSEC_OK } else { 0 }, &[]);
        Sent {
            id,
            question,
            bytes: w.into_bytes(),
        }
    }
}

impl Sent {
    /// As long as others, for a way on which only the length can be seen: filled up to a multiple of 128 bytes (RFC 8467 §4.1).
    pub fn padded(mut self) -> Self {
        let filling = (PADDED_TO - (self.bytes.len() + 4) % PADDED_TO) % PADDED_TO;
        // The OPT record is the last, and empty so far.
        let rdlength_at = self.bytes.len() - 2;
        self.bytes[rdlength_at..].copy_from_slice(&(4 + filling as u16).to_be_bytes());
        self.bytes.extend_from_slice(&OPTION_PADDING.to_be_bytes());
        self.bytes.extend_from_slice(&(filling as u16).to_be_bytes());
        self.bytes.resize(self.bytes.len() + filling, 0);
        self
    }

    /// What `reply` is to this query.
    pub fn judge(&self, reply: &[u8]) -> Verdict {
        self.try_judge(reply, true).unwrap_or(Verdict::PassOver)
    }

    /// As [`Sent::judge`], where nobody but the upstream can have written the reply: the case of the name is not looked at.
    pub fn judge_any_case(&self, reply: &[u8]) -> Verdict {
        self.try_judge(reply, false).unwrap_or(Verdict::PassOver)
    }

    /// `None` where the reply cannot be read or is not to this query.
    fn try_judge(&self, reply: &[u8], same_case: bool) -> Option<Verdict> {
        let mut r = Reader::new(reply);
        let header = r.header()?;
        let is_reply = header.flags & flags::QR != 0 && header.flags & flags::OPCODE == 0;
        if !is_reply || header.counts[0] != 1 {
            return None;
        }
        let (name, kind, class) = (r.plain_name()?, r.u16()?, r.u16()?);
        if name != self.question.name || kind != self.question.kind || class != self.question.class {
            return None;
        }
        if header.id != self.id {
            return same_case.then_some(Verdict::Guess);
        }
        if same_case && name.as_wire() != self.question.name.as_wire() {
            return Some(Verdict::OtherCase);
        }
        if header.flags & flags::TC != 0 {
            return Some(Verdict::Truncated);
        }
        let rcode = match header.flags & flags::RCODE {
            0 => Rcode::NoError,
            3 => Rcode::NxDomain,
            _ => return Some(Verdict::Failed),
        };
        let answers = (0..header.counts[1]).map(|_| r.record()).collect::<Option<Vec<_>>>()?;
        let answers_end = r.position();
        let authorities = (0..header.counts[2]).map(|_| r.record()).collect::<Option<Vec<_>>>()?;
        let authorities_end = r.position();
        let mut chain = chain_of(reply, &self.question, &answers)?;
        let is_positive = answers.iter().any(|answer| answer.kind == kind || kind == types::ANY);
        // Without DNSSEC a positive answer's authorities are of no use to who asked, and a way in for who forges.
        let kept_authorities = if is_positive && !has_rrsig(&answers) || !are_above(&authorities, &chain) {
            &[][..]
        } else {
            &authorities[..]
        };
        let end = if kept_authorities.is_empty() {
            answers_end
        } else {
            authorities_end
        };
        let ttl = if is_positive {
            answers.iter().map(|answer| answer.ttl).min()
        } else {
            negative_ttl(reply, kept_authorities).map(|ttl| answers.iter().map(|answer| answer.ttl).fold(ttl, u32::min))
        };
        let mut message = reply[..end].to_vec();
        let kept = || answers.iter().chain(kept_authorities);
        if !stands_alone(reply, &message, kept()) {
            return None;
        }
        // The case was for the way only; names that point to the question get it back from who asks.
        message[HEADER_BYTES..HEADER_BYTES + name.as_wire().len()].make_ascii_lowercase();
        Some(Verdict::Answer(Answered {
            rcode,
            message,
            counts: [header.counts[1], kept_authorities.len() as u16],
            ttls_at: kept().map(|record| record.ttl_at).collect(),
            ttl: ttl.unwrap_or_default().min(UPSTREAM_TTL_SECS_MAX),
            targets: chain.split_off(1),
        }))
    }
}

impl Answered {
    /// What its aliases lead to, step by step. About a name that is not the upstream's it has no say, whatever it adds.
    pub fn targets(&self) -> &[Domain] {
        &self.targets
    }

    /// Whether it holds for little longer, `age` after it came, and for long enough that asking sooner than has to be is worth it.
    pub fn is_soon_over(&self, age: Duration) -> bool {
        let left = aged(self.ttl, age);
        self.ttl >= UPSTREAM_PREFETCH_TTL_MIN && left <= self.ttl / UPSTREAM_SOON_OVER
    }

    /// The same, that long ago: its TTLs are shorter.
    pub fn older_by(mut self, age: Duration) -> Self {
        for &at in &self.ttls_at {
            patch_ttl(&mut self.message, at, |ttl| aged(ttl, age));
        }
        self.ttl = aged(self.ttl, age);
        self
    }

    /// How much room it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.message.len() + self.targets.iter().map(|target| target.as_wire().len()).sum::<usize>()
    }

    /// The answer to `query`, which asks for just this, `age` after it came; at most `limit` bytes.
    pub fn relay(&self, query: &Query, age: Duration, limit: usize) -> Vec<u8> {
        self.relay_with(query, limit, |ttl| aged(ttl, age))
    }

    /// As [`Answered::relay`], long after its time: for so short a while that who asked asks again soon (RFC 8767 §4).
    pub fn relay_stale(&self, query: &Query, limit: usize) -> Vec<u8> {
        self.relay_with(query, limit, |_| UPSTREAM_STALE_TTL_SECS)
    }

    fn relay_with(&self, query: &Query, limit: usize, ttl: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut header = Header {
            id: query.id,
            flags: echoed_flags(query.flags) | flags::RA | self.rcode as u16,
            counts: [1, self.counts[0], self.counts[1], u16::from(query.edns.is_some())],
        };
        let opt_bytes = if query.edns.is_some() { OPT_BYTES } else { 0 };
        let mut w = Writer::new();
        if self.message.len() + opt_bytes <= limit {
            let mut message = self.message.clone();
            let name = query.question.name.as_wire();
            // The same name in another case: as long, so that pointers still lead where they did.
            if let Some(place) = message.get_mut(HEADER_BYTES..HEADER_BYTES + name.len()) {
                place.copy_from_slice(name);
            }
            for &at in &self.ttls_at {
                patch_ttl(&mut message, at, &ttl);
            }
            w.put(&message);
        } else {
            header.flags |= flags::TC;
            header.counts[1..3].fill(0);
            w.header(&header);
            write_question(&mut w, &query.question);
        }
        if query.edns.is_some() {
            write_opt(&mut w, if query.dnssec_ok() { DNSSEC_OK } else { 0 }, &[]);
        }
        w.set_header(&header);
        w.into_bytes()
    }

    /// The answers and the SOA as records of their own, `age` after they came: for an answer that goes on where one from here ends.
    pub fn records(&self, age: Duration) -> (Vec<Rr>, Vec<Rr>) {
        self.records_with(|ttl| aged(ttl, age))
    }

    /// As [`Answered::records`], long after their time: see [`Answered::relay_stale`].
    pub fn records_stale(&self) -> (Vec<Rr>, Vec<Rr>) {
        self.records_with(|_| UPSTREAM_STALE_TTL_SECS)
    }

    fn records_with(&self, ttl: impl Fn(u32) -> u32) -> (Vec<Rr>, Vec<Rr>) {
        let mut r = Reader::at(&self.message, HEADER_BYTES);
        let mut sections = (Vec::new(), Vec::new());
        if r.plain_name().and_then(|_| r.u32()).is_none() {
            return sections;
        }
        for index in 0..self.counts[0] + self.counts[1] {
            let Some(raw) = r.record() else { break };
            let Some(rdata) = uncompressed(&self.message, &raw) else { continue };
            let record = Rr {
                owner: raw.owner,
                kind: raw.kind,
                ttl: ttl(raw.ttl),
                rdata: Rdata::Bytes(rdata),
            };
            if index < self.counts[0] {
                sections.0.push(record);
            } else if record.kind == types::SOA {
                sections.1.push(record);
            }
        }
        sections
    }
}

/// The chain of aliases that starts with the question's name; `None` if an alias cannot be read, or an answer does not belong to it.
fn chain_of(message: &[u8], question: &Question, answers: &[RawRecord<'_>]) -> Option<Vec<Domain>> {
    let mut chain = vec![question.name.clone()];
    for answer in answers {
        if answer.class != CLASS_IN {
            return None;
        }
        if answer.kind == types::CNAME {
            let target = Reader::at(message, answer.rdata_at).name()?;
            if chain.contains(&answer.owner) && !chain.contains(&target) {
                chain.push(target);
            }
            if chain.len() > CHAIN_MAX {
                return None;
            }
        }
    }
    // A DNAME, and its signature, stand at an ancestor of a name of the chain (RFC 6672).
    let at_ancestor = |owner: &Domain| chain.iter().any(|link| link.is_within(owner));
    let all_belong = answers.iter().all(|answer| match answer.kind {
        TYPE_DNAME | TYPE_RRSIG => at_ancestor(&answer.owner),
        _ => chain.contains(&answer.owner),
    });
    all_belong.then_some(chain)
}

/// Whether all authorities speak for a name of the chain: the zone that one of its names is in (RFC 2308 §2), and proofs from there.
fn are_above(authorities: &[RawRecord<'_>], chain: &[Domain]) -> bool {
    let is_above = |owner: &Domain| chain.iter().any(|link| link.is_within(owner));
    authorities
        .iter()
        .all(|record| matches!(record.kind, TYPE_RRSIG | TYPE_NSEC | TYPE_NSEC3) || is_above(&record.owner))
}

fn has_rrsig(answers: &[RawRecord<'_>]) -> bool {
    answers.iter().any(|answer| answer.kind == TYPE_RRSIG)
}

/// How long "there is none" may be kept (RFC 2308 §5): by the SOA, and without one not at all.
fn negative_ttl(message: &[u8], authorities: &[RawRecord<'_>]) -> Option<u32> {
    let soa = authorities.iter().find(|record| record.kind == types::SOA)?;
    let mut r = Reader::at(message, soa.rdata_at);
    r.name()?;
    r.name()?;
    r.take(16)?;
    Some(soa.ttl.min(r.u32()?))
}

fn patch_ttl(message: &mut [u8], at: usize, patched: impl Fn(u32) -> u32) {
    if let Some(place) = message.get_mut(at..at + 4) {
        let ttl = u32::from_be_bytes([place[0], place[1], place[2], place[3]]);
        place.copy_from_slice(&patched(ttl).to_be_bytes());
    }
}

/// What is left of a TTL.
fn aged(ttl: u32, age: Duration) -> u32 {
    ttl.min(UPSTREAM_TTL_SECS_MAX)
        .saturating_sub(u32::try_from(age.as_secs()).unwrap_or(u32::MAX))
}

/// Whether `records`, of `reply`, are the same in `kept`, the part of it that is kept, whatever its header and its TTLs come to be. A name whose end is
/// left out, or that leads through what changes, could be read as anything by whoever gets the rest.
fn stands_alone<'a>(reply: &[u8], kept: &[u8], records: impl Iterator<Item = &'a RawRecord<'a>> + Clone) -> bool {
    let mut changed = kept.to_vec();
    changed[..HEADER_BYTES].fill(NO_LABEL);
    for record in records.clone() {
        changed[record.ttl_at..record.ttl_at + 4].fill(NO_LABEL);
    }
    let mut r = Reader::at(&changed, HEADER_BYTES);
    if r.plain_name().and_then(|_| r.u32()).is_none() {
        return false;
    }
    let mut records = records;
    records.all(|record| {
        r.record().is_some_and(|again| {
            let rdata = uncompressed(&changed, &again);
            again.owner == record.owner && rdata.is_some() && rdata == uncompressed(reply, record)
        })
    })
}

/// RDATA that stands on its own: without pointers in the types that may have them (RFC 3597 §4).
fn uncompressed(message: &[u8], record: &RawRecord<'_>) -> Option<Bytes> {
    let (before, names) = match record.kind {
        types::NS | types::CNAME | types::PTR => (0, 1),
        types::SOA => (0, 2),
        types::MX | types::AFSDB | types::KX => (2, 1),
        types::SRV => (6, 1),
        types::RP => (0, 2),
        _ => return Some(Bytes::copy_from_slice(record.rdata)),
    };
    let mut r = Reader::at(message, record.rdata_at);
    let mut rdata = r.take(before)?.to_vec();
    for _ in 0..names {
        rdata.extend_from_slice(r.name()?.as_wire());
    }
    let rest = (record.rdata_at + record.rdata.len()).checked_sub(r.position())?;
    rdata.extend_from_slice(r.take(rest)?);
    Some(rdata.into())
}

/// Longest chain of aliases that is believed: twice what is followed here, for upstreams that follow further.
const CHAIN_MAX: usize = 2 * ALIAS_HOPS_MAX;

/// A byte at which no label begins (RFC 1035 §4.1.4: the two bits that were reserved).
const NO_LABEL: u8 = 0x80;

/// To a multiple of what questions are filled up (RFC 8467 §4.1), in bytes.
const PADDED_TO: usize = 128;

/// The option that fills up (RFC 7830).
const OPTION_PADDING: u16 = 12;

const TYPE_DNAME: u16 = 39;
const TYPE_RRSIG: u16 = 46;
const TYPE_NSEC: u16 = 47;
const TYPE_NSEC3: u16 = 50;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn asked(name: &str) -> Asked {
        Asked {
            name: Domain::from_text(name).expect(name),
            kind: types::A,
            dnssec_ok: false,
            checking_disabled: false,
        }
    }

    /// The answer to a question for `www.example` whose one record has this TTL.
    pub(crate) fn answered(ttl: u32) -> Answered {
        let sent = asked("www.example").query(7, &[0; 32]);
        let mut w = Writer::new();
        w.header(&Header {
            id: 7,
            flags: flags::QR | flags::RD | flags::RA,
            counts: [1, 1, 0, 0],
        });
        write_question(&mut w, &sent.question);
        w.name(&sent.question.name)
            .u16(types::A)
            .u16(CLASS_IN)
            .u32(ttl)
            .u16(4)
            .put(&[192, 0, 2, 1]);
        match sent.judge(&w.into_bytes()) {
            Verdict::Answer(answered) => answered,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_query_has_the_name_in_chosen_letters_and_nothing_of_who_asked() {
        let sent = asked("www.example").query(0x1234, &[0xff; 32]);
        let expected = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\x01\x03WWW\x07EXAMPLE\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_eq!(sent.bytes, expected);
    }

    #[test]
    fn a_question_that_is_filled_up_is_still_the_question() {
        for name in ["a", "www.example", &"abcdefgh.".repeat(20), &"abcdefghi.".repeat(8)] {
            let sent = asked(name).query(7, &[0; 32]).padded();
            assert_eq!(sent.bytes.len() % 128, 0, "{name}");
            let query = Query::read(&sent.bytes).expect("a query");
            assert_eq!(query.question.name, sent.question.name);
            assert!(query.edns.is_some());
        }
    }

    #[test]
    fn an_answer_whose_names_lead_out_of_it_or_through_what_changes_is_passed_over() {
        let asked = Asked {
            kind: types::MX,
            ..asked("www.example")
        };
        let sent = asked.query(7, &[0; 32]);
        // The question's name, the header's last byte, the TTL, and beyond the end.
        for (pointer, believed) in [(0x0c, true), (0x0b, false), (0x23, false), (0xff, false)] {
            let mut w = Writer::new();
            w.header(&Header {
                id: 7,
                flags: flags::QR,
                counts: [1, 1, 0, 0],
            });
            write_question(&mut w, &sent.question);
            w.name(&sent.question.name).u16(types::MX).u16(CLASS_IN).u32(60);
            w.u16(4).put(&[0, 10, 0xc0, pointer]);
            let verdict = sent.judge(&w.into_bytes());
            assert_eq!(matches!(verdict, Verdict::Answer(_)), believed, "{pointer:x}: {verdict:?}");
        }
    }

    #[test]
    fn of_all_ids_and_all_cases_one_is_the_answer() {
        // Ten letters.
        let sent = asked("www.example").query(0x1234, &[0x5a; 32]);
        let reply = |id: u16, question: &Question| {
            let mut w = Writer::new();
            w.header(&Header {
                id,
                flags: flags::QR,
                counts: [1, 1, 0, 0],
            });
            write_question(&mut w, question);
            w.name(&question.name)
                .u16(types::A)
                .u16(CLASS_IN)
                .u32(60)
                .u16(4)
                .put(&[192, 0, 2, 66]);
            w.into_bytes()
        };
        let believed: Vec<u16> = (0..=u16::MAX)
            .filter(|&id| sent.judge(&reply(id, &sent.question)) != Verdict::Guess)
            .collect();
        assert_eq!(believed, [sent.id]);
        // Over TCP there are no guesses.
        assert_eq!(sent.judge_any_case(&reply(1, &sent.question)), Verdict::PassOver);
        let mut answers = 0;
        for letters in 0..1_u16 << 10 {
            let mut wire = sent.question.name.as_wire().to_vec();
            for (bit, letter) in wire.iter_mut().filter(|byte| byte.is_ascii_alphabetic()).enumerate() {
                *letter = letter.to_ascii_lowercase() & !(u8::from(letters >> bit & 1 == 1) << 5);
            }
            let question = Question {
                name: Reader::new(&wire).plain_name().expect("a name"),
                ..sent.question.clone()
            };
            match sent.judge(&reply(sent.id, &question)) {
                Verdict::Answer(_) => answers += 1,
                verdict => assert_eq!(verdict, Verdict::OtherCase),
            }
        }
        assert_eq!(answers, 1);
    }

    proptest! {
        #[test]
        fn no_reply_is_too_odd_to_be_judged_and_what_is_believed_can_be_passed_on(
            names in proptest::collection::vec(0_u8..4, 0..4),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            positive in any::<bool>(),
            limit in prop::sample::select(vec![512_usize, 65_535]),
        ) {
            let sent = asked("www.example").query(7, &[0x55; 32]);
            let mut w = Writer::new();
            w.header(&Header { id: 7, flags: flags::QR, counts: [1, names.len() as u16, 1, 0] });
            write_question(&mut w, &sent.question);
            for (index, name) in names.iter().enumerate() {
                let owner = if index == 0 { sent.question.name.clone() } else { Domain::root().child(&[b'a' + name]).expect("name") };
                let kind = if positive && index + 1 == names.len() { types::A } else { types::CNAME };
                w.name(&owner).u16(kind).u16(CLASS_IN).u32(60);
                w.with_length(|w| { w.name(&Domain::root().child(&[b'a' + name]).expect("name")); });
            }
            w.name(&sent.question.name).u16(types::SOA).u16(CLASS_IN).u32(60).u16(22).put(&[0; 22]);
            let mut reply = w.into_bytes();
            for (at, byte) in changes {
                let at = at.index(reply.len());
                reply[at] = byte;
            }
            let whole = reply.len();
            if cut.index(4) == 0 {
                reply.truncate(cut.index(whole));
            }
            if let Verdict::Answer(answered) = sent.judge(&reply) {
                let query = Query::read(&sent.bytes).expect("a query");
                let relayed = answered.relay(&query, Duration::from_secs(30), limit);
                prop_assert!(relayed.len() <= limit);
                let header = Reader::new(&relayed).header().expect("a header");
                let mut r = Reader::at(&relayed, HEADER_BYTES);
                let name = r.plain_name().expect("the name");
                prop_assert_eq!(name.as_wire(), query.question.name.as_wire());
                r.u32().expect("type and class");
                for _ in 0..header.counts[1..].iter().sum() {
                    prop_assert!(r.record().is_some());
                }
                prop_assert!(r.is_at_end());
                answered.records(Duration::ZERO);
            }
        }
    }
}
