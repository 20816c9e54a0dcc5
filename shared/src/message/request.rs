//! Requests: on streams of their own beside the feed, so that a question never waits behind a batch. One request and one
//! response a stream, a frame each.
//!
//! ```text
//! query      {0: 16, 1: name / tag, 2: hops, 3: visited, 4: budget, 5: own-only, ? 6: known}
//! reconcile  {0: 17, 1: body}                 a round of set reconciliation
//! statement  {0: 18, 1: from-hour, 2: hours}
//! proofs     {0: 19, 1: [* proof]}            wrongs that the asker can prove
//!
//! answer     {0: 32, 1: outcome, ? 2: [class, keep-until, record], ? 3: fresh}
//! reconcile  {0: 33, 1: body}
//! statement  {0: 34, 1: body}
//! noted      {0: 35}
//! refused    {0: 48, 1: why}
//! ```

use super::feed::Value;
use super::hello::REACH_MAX;
use super::{Map, MessageError, Path, SMALL_FRAME_BYTES, framed};
use crate::Rank;
use crate::cbor::Writer;
use crate::hip::Hit;
use crate::name::Name;
use crate::time::{Ttl, UnixSecs};
use bytes::Bytes;

/// What one provider asks of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// What do you know of this name?
    Query(Query),
    /// A round of set reconciliation, as `reconcile` reads it.
    Reconcile(Bytes),
    /// What crossed this link, by your books, signed.
    Statement {
        /// From this hour on, in hours since 1970.
        from_hour: u64,
        /// For so many hours.
        hours: u32,
    },
    /// What you should know: proofs, as [`crate::proof`] reads them.
    Proofs(Vec<Bytes>),
}

/// What it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To a query.
    Answer(Answer),
    /// To a round of reconciliation.
    Reconcile(Bytes),
    /// To a request for a statement: the signed statement.
    Statement(Bytes),
    /// To proofs: what was news and holds is kept.
    Noted,
    /// Not now, or not at all.
    Refused(Refused),
}

/// A question for a name, or for whatever name has a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The name; where it is asked for a tag, its [`place`](Hit::place).
    pub name: Name,
    /// The Host Identity Tag that is asked for in the place of a name: the record of any name whose key has it. On the wire it stands where the
    /// name does, and who does not know it cannot read the question and refuses it, which is no absence.
    pub tag: Option<Hit>,
    /// How many links further it may be passed on; 0: answer from what you hold.
    pub hops: u8,
    /// Who has been asked or will be: [`mark`](super::mark)s, in no order.
    pub visited: Vec<u64>,
    /// How many more providers may be asked on its behalf.
    pub budget: u8,
    /// A second opinion: only what is held counts, nobody else is asked, and nothing is fetched.
    pub own_only: bool,
    /// What the asker knows already: only something newer is wanted.
    pub known: Option<Rank>,
}

/// What a provider knows of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// This.
    Found {
        /// The record.
        value: Value,
        /// For how much longer the answerer would say so itself without asking again: whoever keeps the answer keeps it no longer, so that a
        /// copy of a copy is no older than a copy.
        fresh: Ttl,
    },
    /// Nothing that outranks what the asker knows.
    NotNewer {
        /// For how much longer, as above.
        fresh: Ttl,
    },
    /// Nothing. `certain`: nobody whom this provider could ask knows it either.
    Absent {
        /// See above.
        certain: bool,
    },
}

/// Why a request is not answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Refused {
    /// Too much to do: later.
    Busy = 1,
    /// More than the agreement allows in this time: later.
    Limit = 2,
    /// Not agreed: never, as things stand.
    NotAgreed = 3,
    /// What was asked cannot be done, now or with these words: another way must be taken.
    Cannot = 4,
}

/// Most marks of providers visited: a question that has seen more is lost anyway.
pub const VISITED_MAX: usize = 2 * REACH_MAX;

impl Request {
    /// As it travels: length and body.
    pub fn to_frame(&self) -> Vec<u8> {
        framed(SMALL_FRAME_BYTES, |w| match self {
            Self::Query(query) => query.write(w),
            Self::Reconcile(body) => {
                w.map(2).uint(0).uint(17).uint(1).bytes(body);
            }
            Self::Statement { from_hour, hours } => {
                w.map(3).uint(0).uint(18).uint(1).uint(*from_hour).uint(2).uint(u64::from(*hours));
            }
            Self::Proofs(proofs) => {
                w.map(2).uint(0).uint(19).uint(1).array(proofs.len());
                for proof in proofs {
                    w.bytes(proof);
                }
            }
        })
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`MessageError`], the first thing found wrong.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        Map::whole(body, |kind, map| match kind {
            16 => Query::read(map).map(Self::Query),
            17 => body_of(map).map(Self::Reconcile),
            18 => {
                let (mut from_hour, mut hours) = (None, None);
                while let Some(field) = map.next()? {
                    match field {
                        1 => from_hour = Some(map.r.uint()?),
                        2 => hours = Some(map.r.uint_as()?),
                        other => map.pass_over(other)?,
                    }
                }
                Ok(Self::Statement {
                    from_hour: from_hour.ok_or(MessageError::Missing("from-hour"))?,
                    hours: hours.ok_or(MessageError::Missing("hours"))?,
                })
            }
            19 => {
                let mut proofs = None;
                while let Some(field) = map.next()? {
                    match field {
                        1 => {
                            let count = map.r.array()?;
                            if count > PROOFS_MAX as u64 {
                                return Err(MessageError::Value("proofs"));
                            }
                            let proof = |_| map.r.bytes().map(Bytes::copy_from_slice);
                            proofs = Some((0..count).map(proof).collect::<Result<_, _>>()?);
                        }
                        other => map.pass_over(other)?,
                    }
                }
                Ok(Self::Proofs(proofs.ok_or(MessageError::Missing("proofs"))?))
            }
            other => Err(MessageError::Kind(other)),
        })
    }
}

/// Most proofs in one request: each may cost two signatures.
pub const PROOFS_MAX: usize = 16;

impl Response {
    /// As it travels: length and body.
    pub fn to_frame(&self) -> Vec<u8> {
        framed(SMALL_FRAME_BYTES, |w| match self {
            Self::Answer(answer) => answer.write(w),
            Self::Reconcile(body) => {
                w.map(2).uint(0).uint(33).uint(1).bytes(body);
            }
            Self::Statement(body) => {
                w.map(2).uint(0).uint(34).uint(1).bytes(body);
            }
            Self::Noted => {
                w.map(1).uint(0).uint(35);
            }
            Self::Refused(why) => {
                w.map(2).uint(0).uint(48).uint(1).uint(*why as u64);
            }
        })
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`MessageError`], the first thing found wrong.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        Map::whole(body, |kind, map| match kind {
            32 => Answer::read(map).map(Self::Answer),
            33 => body_of(map).map(Self::Reconcile),
            34 => body_of(map).map(Self::Statement),
            35 => {
                while let Some(field) = map.next()? {
                    map.pass_over(field)?;
                }
                Ok(Self::Noted)
            }
            48 => {
                let mut why = None;
                while let Some(field) = map.next()? {
                    match field {
                        1 => why = Some(Refused::from_number(map.r.uint()?).ok_or(MessageError::Value("why"))?),
                        other => map.pass_over(other)?,
                    }
                }
                Ok(Self::Refused(why.ok_or(MessageError::Missing("why"))?))
            }
            other => Err(MessageError::Kind(other)),
        })
    }
}

fn body_of(map: &mut Map<'_, '_>) -> Result<Bytes, MessageError> {
    let mut body = None;
    while let Some(field) = map.next()? {
        match field {
            1 => body = Some(Bytes::copy_from_slice(map.r.bytes()?)),
            other => map.pass_over(other)?,
        }
    }
    body.ok_or(MessageError::Missing("body"))
}

impl Query {
    fn write(&self, w: &mut Writer) {
        w.map(if self.known.is_some() { 7 } else { 6 });
        w.uint(0)
            .uint(16)
            .uint(1)
            .bytes(self.tag.as_ref().map_or(self.name.as_bytes(), |tag| tag.as_bytes()))
            .uint(2)
            .uint(u64::from(self.hops));
        w.uint(3).array(self.visited.len());
        for mark in &self.visited {
            w.uint(*mark);
        }
        w.uint(4).uint(u64::from(self.budget)).uint(5).bool(self.own_only);
        if let Some(known) = &self.known {
            w.uint(6);
            known.write(w);
        }
    }

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut asked, mut hops, mut visited, mut budget, mut own_only, mut known) = (None, None, None, None, None, None);
        while let Some(field) = map.next()? {
            match field {
                1 => asked = Some(asked_for(map)?),
                2 => hops = Some(map.r.uint_as()?),
                3 => visited = Some(map.marks(VISITED_MAX)?),
                4 => budget = Some(map.r.uint_as()?),
                5 => own_only = Some(map.r.bool()?),
                6 => known = Some(Rank::read(map.r)?),
                other => map.pass_over(other)?,
            }
        }
        let (name, tag) = asked.ok_or(MessageError::Missing("name"))?;
        Ok(Self {
            name,
            tag,
            hops: hops.ok_or(MessageError::Missing("hops"))?,
            visited: visited.ok_or(MessageError::Missing("visited"))?,
            budget: budget.ok_or(MessageError::Missing("budget"))?,
            own_only: own_only.ok_or(MessageError::Missing("own-only"))?,
            known,
        })
    }
}

/// A name, or a tag: they differ in length.
fn asked_for(map: &mut Map<'_, '_>) -> Result<(Name, Option<Hit>), MessageError> {
    let bytes = map.r.bytes()?;
    let Ok(tag) = <[u8; 16]>::try_from(bytes) else {
        let name = Name::from_bytes(bytes).map_err(|_| MessageError::Value("name"))?;
        return Ok((name, None));
    };
    let tag = Hit::from_address(tag.into()).ok_or(MessageError::Value("tag"))?;
    Ok((tag.place(), Some(tag)))
}

impl Answer {
    fn write(&self, w: &mut Writer) {
        let (outcome, value, fresh) = match self {
            Self::Found { value, fresh } => (1, Some(value), Some(fresh)),
            Self::NotNewer { fresh } => (2, None, Some(fresh)),
            Self::Absent { certain: true } => (3, None, None),
            Self::Absent { certain: false } => (4, None, None),
        };
        let fields = 2 + usize::from(value.is_some()) + usize::from(fresh.is_some());
        w.map(fields).uint(0).uint(32).uint(1).uint(outcome);
        if let Some(value) = value {
            w.uint(2)
                .array(3)
                .uint(u64::from(value.class))
                .uint(value.keep_until.0)
                .bytes(&value.record);
        }
        if let Some(fresh) = fresh {
            w.uint(3).uint(u64::from(fresh.0));
        }
    }

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut outcome, mut value, mut fresh) = (None, None, None);
        while let Some(field) = map.next()? {
            match field {
                1 => outcome = Some(map.r.uint()?),
                2 => {
                    map.r.array_exact(3)?;
                    let class = map.r.uint_as()?;
                    if !(1..=3).contains(&class) {
                        return Err(MessageError::Value("class"));
                    }
                    value = Some(Value {
                        class,
                        keep_until: UnixSecs(map.r.uint()?),
                        record: map.record()?,
                        path: Path::default(),
                    });
                }
                3 => fresh = Some(Ttl(map.r.uint_as()?)),
                other => map.pass_over(other)?,
            }
        }
        match (outcome.ok_or(MessageError::Missing("outcome"))?, value, fresh) {
            (1, Some(value), Some(fresh)) => Ok(Self::Found { value, fresh }),
            (2, None, Some(fresh)) => Ok(Self::NotNewer { fresh }),
            (3, None, None) => Ok(Self::Absent { certain: true }),
            (4, None, None) => Ok(Self::Absent { certain: false }),
            _ => Err(MessageError::Value("outcome")),
        }
    }
}

impl Refused {
    fn from_number(number: u64) -> Option<Self> {
        let all = [Self::Busy, Self::Limit, Self::NotAgreed, Self::Cannot];
        all.into_iter().find(|one| *one as u64 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMicros;

    fn requests() -> Vec<Request> {
        let query = Query {
            name: Name::key_set([7; 32]),
            tag: None,
            hops: 15,
            visited: vec![9, 1, u64::MAX],
            budget: 32,
            own_only: false,
            known: None,
        };
        let known = Rank {
            epoch: 1,
            revoked: false,
            sequence: UnixMicros(5),
            digest: [3; 32],
        };
        let newer = Query {
            known: Some(known),
            own_only: true,
            ..query.clone()
        };
        let tag = Hit::from_hash([8; 12]);
        let tagged = Query {
            name: tag.place(),
            tag: Some(tag),
            ..query.clone()
        };
        let (from_hour, hours) = (500_000, 24);
        vec![
            Request::Query(query),
            Request::Query(newer),
            Request::Query(tagged),
            Request::Reconcile(Bytes::from_static(b"round")),
            Request::Statement { from_hour, hours },
            Request::Proofs(vec![Bytes::from_static(b"one"), Bytes::from_static(b"another")]),
        ]
    }

    fn responses() -> Vec<Response> {
        let value = Value {
            class: 2,
            keep_until: UnixSecs(1_800_000_000),
            record: Bytes::from_static(b"record"),
            path: Path::default(),
        };
        vec![
            Response::Answer(Answer::Found { value, fresh: Ttl(60) }),
            Response::Answer(Answer::NotNewer { fresh: Ttl(60) }),
            Response::Answer(Answer::Absent { certain: true }),
            Response::Answer(Answer::Absent { certain: false }),
            Response::Reconcile(Bytes::from_static(b"round")),
            Response::Statement(Bytes::from_static(b"signed")),
            Response::Noted,
            Response::Refused(Refused::Busy),
            Response::Refused(Refused::Cannot),
        ]
    }

    #[test]
    fn requests_and_responses_read_back_and_nothing_shorter_or_longer_does() {
        for request in requests() {
            let mut body = request.to_frame().split_off(4);
            assert_eq!(Request::decode(&body), Ok(request));
            assert!((0..body.len()).all(|end| Request::decode(&body[..end]).is_err()));
            body.push(0);
            assert!(Request::decode(&body).is_err());
        }
        for response in responses() {
            let mut body = response.to_frame().split_off(4);
            assert_eq!(Response::decode(&body), Ok(response));
            assert!((0..body.len()).all(|end| Response::decode(&body[..end]).is_err()));
            body.push(0);
            assert!(Response::decode(&body).is_err());
        }
    }

    #[test]
    fn a_request_is_no_response_and_neither_is_a_message_of_the_feed() {
        for request in requests() {
            let body = request.to_frame().split_off(4);
            assert!(Response::decode(&body).is_err() && super::super::Message::decode(&body).is_err());
        }
    }

    #[test]
    fn a_tag_stands_where_the_name_does_and_nothing_else_of_its_length_is_one() {
        let Request::Query(tagged) = requests().remove(2) else {
            unreachable!()
        };
        let frame = Request::Query(tagged.clone()).to_frame();
        let at = frame
            .windows(16)
            .position(|window| Some(window) == tagged.tag.as_ref().map(|tag| &tag.as_bytes()[..]));
        let mut body = frame[4..].to_vec();
        body[at.unwrap() - 4] ^= 1;
        assert_eq!(Request::decode(&body), Err(MessageError::Value("tag")));
    }

    #[test]
    fn a_list_of_visited_providers_has_an_end() {
        let Request::Query(mut query) = requests().remove(0) else {
            unreachable!()
        };
        query.visited = vec![0; VISITED_MAX + 1];
        let body = Request::Query(query).to_frame().split_off(4);
        assert_eq!(Request::decode(&body), Err(MessageError::Value("marks")));
    }
}
