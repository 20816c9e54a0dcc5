//! What two providers ask and answer to find out in which records they differ, without naming those in which they do not.
//!
//! ```text
//! open     {0: 1, 1: nonce, 2: names, 3: at}
//! probe    {0: 2, 1: session, 2: depth, 3: fan, 4: [+ parent], 5: prints}        parents: the first, then each less the one before
//! claims   {0: 3, 1: session, 2: depth, 3: [+ claim]}
//! claim    [cell, tag, ? epoch, revoked, sequence, digest, keep-day, class]       cells: the first, then each less the one before
//! close    {0: 4, 1: session, 2: done, 3: sends}
//!
//! opened   {0: 1, 1: nonce, 2: names}
//! differs  {0: 2, 1: bits, ? 2: sums}
//! verdicts {0: 3, 1: verdicts}
//! closed   {0: 4, 1: sends}
//! refused  {0: 5, 1: why}
//! ```
//!
//! A *cell* is a part of the space of names: those whose path begins with `depth` bits that are the cell's number. What
//! paths, tags, prints and sums are is said where they are computed, in the provider's `peering::reconcile`.

use super::MessageError;
use crate::cbor::{Reader, Writer};
use crate::limits::UNCRITICAL_FROM;
use crate::time::{UnixMicros, UnixSecs};

/// Most cells that one probe may ask about: 24 kB of prints and at most 20 kB of parents, and up to 44 kB of sums in the answer, which fits a
/// request's 64 KiB.
pub const CELLS_MAX: usize = 4_096;

/// Most claims in one request: at 58 bytes at most, they fit a request too.
pub const CLAIMS_MAX: usize = 1_024;

/// Bytes of a print. A difference hides behind equal prints once in 2^48 times, and another time under another key.
pub const PRINT_BYTES: usize = 6;

/// Bytes of a sum.
pub const SUM_BYTES: usize = 16;

/// Deepest cells: a path has 64 bits.
pub const DEPTH_MAX: u8 = 64;

/// Most parts into which a probe splits a cell, as a power of two.
pub const FAN_MAX: u8 = 8;

/// What the initiator asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Let us compare.
    Open(Open),
    /// Which of these cells differ?
    Probe(Probe),
    /// Do you hold these?
    Claims(Claims),
    /// It is over.
    Close(Close),
}

/// What the responder answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Question::Open`].
    Opened(Opened),
    /// To [`Question::Probe`].
    Differs(Differs),
    /// To [`Question::Claims`]: one for each, in order.
    Verdicts(Vec<Verdict>),
    /// To [`Question::Close`]: how many records the responder sends.
    Closed(u64),
    /// To anything.
    Refused(Refusal),
}

/// Opens a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Half of what the key of this comparison is made of.
    pub nonce: [u8; 16],
    /// How many names the initiator holds.
    pub names: u64,
    /// The initiator's clock: what may be forgotten by then is left out by both.
    pub at: UnixSecs,
}

/// Agrees to a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The other half.
    pub nonce: [u8; 16],
    /// How many names the responder holds.
    pub names: u64,
}

/// Asks which of the children of these cells differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Which comparison.
    pub session: u32,
    /// Of the parents.
    pub depth: u8,
    /// Every parent has two to the power of this children.
    pub fan: u8,
    /// Ascending.
    pub parents: Vec<u64>,
    /// Of each child, in order.
    pub prints: Vec<[u8; PRINT_BYTES]>,
}

/// Asks about single names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Which comparison.
    pub session: u32,
    /// Of the cells.
    pub depth: u8,
    /// By ascending cells.
    pub claims: Vec<Claim>,
}

/// That a cell differs in one name and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The cell.
    pub cell: u64,
    /// The name's tag.
    pub tag: u64,
    /// What the initiator holds of it; `None`: nothing.
    pub mine: Option<Standing>,
}

/// What is held of a name, as far as it decides who tells whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// See [`Rank`](crate::Rank).
    pub epoch: u32,
    /// See [`Rank`](crate::Rank).
    pub revoked: bool,
    /// See [`Rank`](crate::Rank).
    pub sequence: UnixMicros,
    /// The first bytes of the rank's digest.
    pub digest: [u8; 8],
    /// Until which day since 1970 it is kept.
    pub keep_day: u64,
    /// Where it was learnt; 0: that does not travel between these two.
    pub class: u8,
}

/// Ends a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close {
    /// Which comparison.
    pub session: u32,
    /// Whether every difference was found. If not, the responder makes no use of it either.
    pub done: bool,
    /// How many records the initiator sends.
    pub sends: u64,
}

/// Which cells of a probe differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differs {
    /// A bit for each cell, the highest of the first byte first.
    pub bits: Vec<u8>,
    /// The responder's sums of those that differ, if they are few enough to be worth a closer look.
    pub sums: Option<Vec<[u8; SUM_BYTES]>>,
}

/// What becomes of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Verdict {
    /// The responder holds no such name.
    Absent = 0,
    /// The responder has what the initiator lacks, and sends it.
    Sends = 1,
    /// The initiator has what the responder lacks.
    Wants = 2,
    /// Each has something that the other lacks.
    Both = 3,
    /// Neither lacks anything.
    Same = 4,
}

/// Why the responder does not compare. The feed's log is then played instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Refusal {
    /// It compares with others, has just done so with this one, or opens a comparison itself.
    Busy = 0,
    /// No such comparison, or no longer.
    Unknown = 1,
    /// What was asked is out of bounds.
    Bounds = 2,
    /// Not between these two: the agreement does not have both sides hold the same.
    Terms = 3,
    /// It is still reading its store: ask the same again.
    NotYet = 4,
}

impl Question {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Open(open) => {
                w.map(4).uint(0).uint(1).uint(1).bytes(&open.nonce);
                w.uint(2).uint(open.names).uint(3).uint(open.at.0);
            }
            Self::Probe(probe) => {
                w.map(6).uint(0).uint(2).uint(1).uint(u64::from(probe.session));
                w.uint(2).uint(u64::from(probe.depth)).uint(3).uint(u64::from(probe.fan));
                w.uint(4).array(probe.parents.len());
                let mut last = 0;
                for parent in &probe.parents {
                    w.uint(parent.wrapping_sub(last));
                    last = *parent;
                }
                w.uint(5).bytes(probe.prints.as_flattened());
            }
            Self::Claims(claims) => {
                w.map(4).uint(0).uint(3).uint(1).uint(u64::from(claims.session));
                w.uint(2).uint(u64::from(claims.depth)).uint(3).array(claims.claims.len());
                let mut last = 0;
                for claim in &claims.claims {
                    w.array(if claim.mine.is_some() { 8 } else { 2 });
                    w.uint(claim.cell.wrapping_sub(last)).uint(claim.tag);
                    last = claim.cell;
                    if let Some(mine) = &claim.mine {
                        w.uint(u64::from(mine.epoch)).bool(mine.revoked).uint(mine.sequence.0);
                        w.bytes(&mine.digest).uint(mine.keep_day).uint(u64::from(mine.class));
                    }
                }
            }
            Self::Close(close) => {
                w.map(4).uint(0).uint(4).uint(1).uint(u64::from(close.session));
                w.uint(2).bool(close.done).uint(3).uint(close.sends);
            }
        }
        w.into_bytes()
    }

    /// Reads what [`Question::encode`] writes.
    ///
    /// # Errors
    /// [`MessageError`], the first thing found wrong.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut r = Reader::new(body);
        let mut map = Map::open(&mut r)?;
        let question = match map.kind()? {
            1 => Self::Open(Open {
                nonce: map.field(1, "nonce")?.array_of()?,
                names: map.field(2, "names")?.uint()?,
                at: UnixSecs(map.field(3, "at")?.uint()?),
            }),
            2 => Self::Probe(read_probe(&mut map)?),
            3 => Self::Claims(Claims {
                session: map.field(1, "session")?.uint_as()?,
                depth: depth(map.field(2, "depth")?)?,
                claims: read_claims(map.field(3, "claims")?)?,
            }),
            4 => Self::Close(Close {
                session: map.field(1, "session")?.uint_as()?,
                done: map.field(2, "done")?.bool()?,
                sends: map.field(3, "sends")?.uint()?,
            }),
            other => return Err(MessageError::Kind(other)),
        };
        map.rest()?;
        r.finish()?;
        Ok(question)
    }
}

impl Answer {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Opened(opened) => {
                w.map(3).uint(0).uint(1).uint(1).bytes(&opened.nonce).uint(2).uint(opened.names);
            }
            Self::Differs(differs) => {
                w.map(if differs.sums.is_some() { 3 } else { 2 }).uint(0).uint(2);
                w.uint(1).bytes(&differs.bits);
                if let Some(sums) = &differs.sums {
                    w.uint(2).bytes(sums.as_flattened());
                }
            }
            Self::Verdicts(verdicts) => {
                let bytes: Vec<u8> = verdicts.iter().map(|verdict| *verdict as u8).collect();
                w.map(2).uint(0).uint(3).uint(1).bytes(&bytes);
            }
            Self::Closed(sends) => {
                w.map(2).uint(0).uint(4).uint(1).uint(*sends);
            }
            Self::Refused(why) => {
                w.map(2).uint(0).uint(5).uint(1).uint(*why as u64);
            }
        }
        w.into_bytes()
    }

    /// Reads what [`Answer::encode`] writes.
    ///
    /// # Errors
    /// [`MessageError`], the first thing found wrong.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut r = Reader::new(body);
        let mut map = Map::open(&mut r)?;
        let answer = match map.kind()? {
            1 => Self::Opened(Opened {
                nonce: map.field(1, "nonce")?.array_of()?,
                names: map.field(2, "names")?.uint()?,
            }),
            2 => {
                let bits = map.field(1, "bits")?.bytes()?.to_vec();
                let sums = match map.optional(2)? {
                    Some(r) => Some(pieces(r.bytes()?, CELLS_MAX).ok_or(MessageError::Value("sums"))?),
                    None => None,
                };
                if bits.len() > CELLS_MAX / 8 {
                    return Err(MessageError::Value("bits"));
                }
                Self::Differs(Differs { bits, sums })
            }
            3 => {
                let bytes = map.field(1, "verdicts")?.bytes()?;
                if bytes.len() > CLAIMS_MAX {
                    return Err(MessageError::Value("verdicts"));
                }
                let verdicts: Option<Vec<_>> = bytes.iter().map(|byte| Verdict::from_number(*byte)).collect();
                Self::Verdicts(verdicts.ok_or(MessageError::Value("verdicts"))?)
            }
            4 => Self::Closed(map.field(1, "sends")?.uint()?),
            5 => Self::Refused(Refusal::from_number(map.field(1, "why")?.uint()?).ok_or(MessageError::Value("why"))?),
            other => return Err(MessageError::Kind(other)),
        };
        map.rest()?;
        r.finish()?;
        Ok(answer)
    }
}

impl Verdict {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Absent, Self::Sends, Self::Wants, Self::Both, Self::Same]
            .into_iter()
            .find(|one| *one as u8 == number)
    }
}

impl Refusal {
    fn from_number(number: u64) -> Option<Self> {
        [Self::Busy, Self::Unknown, Self::Bounds, Self::Terms, Self::NotYet]
            .into_iter()
            .find(|one| *one as u64 == number)
    }
}

fn read_probe(map: &mut Map<'_, '_>) -> Result<Probe, MessageError> {
    let session = map.field(1, "session")?.uint_as()?;
    let depth = depth(map.field(2, "depth")?)?;
    let fan: u8 = map.field(3, "fan")?.uint_as()?;
    if fan == 0 || fan > FAN_MAX || depth + fan > DEPTH_MAX {
        return Err(MessageError::Value("fan"));
    }
    let r = map.field(4, "parents")?;
    let count = r.array()?;
    if count == 0 || count > (CELLS_MAX >> fan) as u64 {
        return Err(MessageError::Value("parents"));
    }
    let mut parents = Vec::with_capacity(count as usize);
    for _ in 0..count {
        parents.push(ascending(parents.last().copied(), r.uint()?).ok_or(MessageError::Value("parents"))?);
    }
    let prints = pieces(map.field(5, "prints")?.bytes()?, CELLS_MAX).ok_or(MessageError::Value("prints"))?;
    if prints.len() != parents.len() << fan {
        return Err(MessageError::Value("prints"));
    }
    Ok(Probe {
        session,
        depth,
        fan,
        parents,
        prints,
    })
}

fn read_claims(r: &mut Reader<'_>) -> Result<Vec<Claim>, MessageError> {
    let count = r.array()?;
    if count == 0 || count > CLAIMS_MAX as u64 {
        return Err(MessageError::Value("claims"));
    }
    let mut claims: Vec<Claim> = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = r.array()?;
        let cell = ascending(claims.last().map(|claim| claim.cell), r.uint()?).ok_or(MessageError::Value("cell"))?;
        let tag = r.uint()?;
        let mine = match length {
            2 => None,
            8 => Some(Standing {
                epoch: r.uint_as()?,
                revoked: r.bool()?,
                sequence: UnixMicros(r.uint()?),
                digest: r.array_of()?,
                keep_day: r.uint()?,
                class: r.uint_as()?,
            }),
            _ => return Err(MessageError::Value("claim")),
        };
        claims.push(Claim { cell, tag, mine });
    }
    Ok(claims)
}

/// What follows `last` by `step`, if that is more.
fn ascending(last: Option<u64>, step: u64) -> Option<u64> {
    match last {
        None => Some(step),
        Some(last) => last.checked_add(step).filter(|next| *next > last),
    }
}

fn depth(r: &mut Reader<'_>) -> Result<u8, MessageError> {
    let depth: u8 = r.uint_as()?;
    if depth > DEPTH_MAX {
        return Err(MessageError::Value("depth"));
    }
    Ok(depth)
}

fn pieces<const N: usize>(bytes: &[u8], max: usize) -> Option<Vec<[u8; N]>> {
    let (pieces, rest) = bytes.as_chunks::<N>();
    (rest.is_empty() && pieces.len() <= max).then(|| pieces.to_vec())
}

/// A map whose known fields are read in order.
struct Map<'r, 'a> {
    fields: crate::cbor::Fields,
    r: &'r mut Reader<'a>,
    /// A field that was looked at and not taken.
    next: Option<u64>,
}

impl<'r, 'a> Map<'r, 'a> {
    fn open(r: &'r mut Reader<'a>) -> Result<Self, MessageError> {
        let fields = r.map()?;
        Ok(Self { fields, r, next: None })
    }

    fn kind(&mut self) -> Result<u64, MessageError> {
        Ok(self.field(0, "kind")?.uint()?)
    }

    fn field(&mut self, number: u64, name: &'static str) -> Result<&mut Reader<'a>, MessageError> {
        self.optional(number)?.ok_or(MessageError::Missing(name))
    }

    fn optional(&mut self, number: u64) -> Result<Option<&mut Reader<'a>>, MessageError> {
        if self.next.is_none() {
            self.next = self.fields.next(self.r)?;
        }
        Ok(self.next.take_if(|next| *next == number).map(|_| &mut *self.r))
    }

    fn rest(&mut self) -> Result<(), MessageError> {
        loop {
            let next = match self.next.take() {
                Some(next) => Some(next),
                None => self.fields.next(self.r)?,
            };
            match next {
                None => return Ok(()),
                Some(field) if field < UNCRITICAL_FROM => return Err(MessageError::UnknownField(field)),
                Some(_) => self.r.skip()?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Vec<(Question, &'static str)> {
        let standing = Standing {
            epoch: 1,
            revoked: false,
            sequence: UnixMicros(1_800_000_000_000_000),
            digest: [5; 8],
            keep_day: 20_833,
            class: 0,
        };
        let mine = |cell, mine| Claim { cell, tag: 9, mine };
        vec![
            (
                Question::Open(Open {
                    nonce: [1; 16],
                    names: 1_000,
                    at: UnixSecs(1_800_000_000),
                }),
                "a4 0001 0150 01010101010101010101010101010101 02 1903e8 03 1a6b49d200",
            ),
            (
                Question::Probe(Probe {
                    session: 7,
                    depth: 4,
                    fan: 1,
                    parents: vec![3, 12],
                    prints: vec![[1; 6], [2; 6], [3; 6], [4; 6]],
                }),
                "a6 0002 0107 0204 0301 04820309 055818 010101010101 020202020202 030303030303 040404040404",
            ),
            (
                Question::Claims(Claims {
                    session: 7,
                    depth: 9,
                    claims: vec![mine(300, None), mine(301, Some(standing))],
                }),
                "a4 0003 0107 0209 0382 82 19012c 09 88 01 09 01 f4 1b000665 1728988000 48 0505050505050505 195161 00",
            ),
            (
                Question::Close(Close {
                    session: 7,
                    done: true,
                    sends: 2,
                }),
                "a4 0004 0107 02f5 0302",
            ),
        ]
    }

    fn answers() -> Vec<(Answer, &'static str)> {
        vec![
            (
                Answer::Opened(Opened { nonce: [2; 16], names: 3 }),
                "a3 0001 0150 02020202020202020202020202020202 0203",
            ),
            (Answer::Differs(Differs { bits: vec![0], sums: None }), "a2 0002 014100"),
            (
                Answer::Differs(Differs {
                    bits: vec![0x80],
                    sums: Some(vec![[9; 16]]),
                }),
                "a3 0002 014180 0250 09090909090909090909090909090909",
            ),
            (
                Answer::Verdicts(vec![Verdict::Absent, Verdict::Sends, Verdict::Wants, Verdict::Both, Verdict::Same]),
                "a2 0003 0145 0001020304",
            ),
            (Answer::Closed(3), "a2 0004 0103"),
            (Answer::Refused(Refusal::Terms), "a2 0005 0103"),
        ]
    }

    #[test]
    fn questions_and_answers_have_known_bytes() {
        let plain = |hex: &str| hex.replace(' ', "");
        for (question, bytes) in questions() {
            assert_eq!(hex::encode(question.encode()), plain(bytes), "{question:?}");
            assert_eq!(Question::decode(&question.encode()), Ok(question));
        }
        for (answer, bytes) in answers() {
            assert_eq!(hex::encode(answer.encode()), plain(bytes), "{answer:?}");
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        for mut body in questions().into_iter().map(|(question, _)| question.encode()) {
            assert!((0..body.len()).all(|end| Question::decode(&body[..end]).is_err()));
            body.push(0);
            assert!(Question::decode(&body).is_err());
        }
        for mut body in answers().into_iter().map(|(answer, _)| answer.encode()) {
            assert!((0..body.len()).all(|end| Answer::decode(&body[..end]).is_err()));
            body.push(0);
            assert!(Answer::decode(&body).is_err());
        }
    }

    #[test]
    fn unknown_fields_are_refused_below_64_and_passed_over_above() {
        let with = |field: u64| {
            let mut w = Writer::new();
            w.map(3).uint(0).uint(4).uint(1).uint(3).uint(field).text("new");
            Answer::decode(&w.into_bytes())
        };
        assert_eq!(with(63), Err(MessageError::UnknownField(63)));
        assert_eq!(with(64), Ok(Answer::Closed(3)));
    }

    #[test]
    fn what_is_out_of_bounds_or_out_of_order_is_refused() {
        let probe = |depth, fan, parents: Vec<u64>, prints: usize| {
            let prints = vec![[0; PRINT_BYTES]; prints];
            let session = 1;
            Question::decode(
                &Question::Probe(Probe {
                    session,
                    depth,
                    fan,
                    parents,
                    prints,
                })
                .encode(),
            )
        };
        assert!(probe(4, 1, vec![1, 2], 4).is_ok());
        assert_eq!(probe(65, 1, vec![1], 2), Err(MessageError::Value("depth")));
        assert_eq!(probe(4, 0, vec![1], 1), Err(MessageError::Value("fan")));
        assert_eq!(probe(4, 9, vec![1], 512), Err(MessageError::Value("fan")));
        assert_eq!(probe(60, 5, vec![1], 32), Err(MessageError::Value("fan")));
        assert_eq!(probe(4, 1, vec![], 0), Err(MessageError::Value("parents")));
        assert_eq!(probe(4, 1, vec![2, 2], 4), Err(MessageError::Value("parents")));
        assert_eq!(probe(4, 1, vec![2, 1], 4), Err(MessageError::Value("parents")));
        assert_eq!(probe(4, 1, vec![1, 2], 3), Err(MessageError::Value("prints")));
        let many: Vec<u64> = (0..=CELLS_MAX as u64 / 2).collect();
        assert_eq!(probe(20, 1, many.clone(), many.len() * 2), Err(MessageError::Value("parents")));
        let bits = Answer::Differs(Differs {
            bits: vec![0; CELLS_MAX / 8 + 1],
            sums: None,
        });
        assert_eq!(Answer::decode(&bits.encode()), Err(MessageError::Value("bits")));
    }
}
