//! The greeting, and the terms that a side speaks on: said in the greeting, and said again whenever they change.

use super::words::{Mode, Relationship};
use super::{Map, MessageError, VERSIONS};
use crate::cbor::Writer;
use crate::name::{Name, Scheme, Schemes};
use bytes::Bytes;

/// A greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The versions that the speaker speaks, best first.
    pub versions: Vec<u64>,
    /// The speaker's own record, signed: it lists the pin of the key that the speaker's certificate holds.
    pub record: Bytes,
    /// Which store the speaker keeps: what peers remember about its content, they remember about this id.
    pub store: [u8; 16],
    /// Drawn when the speaker's process started: tells a link that was left behind from one that is doubled.
    pub boot: [u8; 16],
    /// Where the lanes of the speaker's change log end now; all 0: its store is empty. Lower than before: it went back in time.
    pub heads: [u64; 3],
    /// On what terms.
    pub terms: Terms,
}

/// What one side says of an agreement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// What the listener is to the speaker.
    pub relationship: Relationship,
    /// The most that the speaker pushes.
    pub pushes: Mode,
    /// The most that the speaker accepts.
    pub accepts: Mode,
    /// Whether the speaker answers the listener's queries.
    pub answers: bool,
    /// Whether everything that the listener has for the speaker is taken: no limit of the agreement is reached.
    pub takes_all: bool,
    /// Whom the speaker would have to ask itself.
    pub reach: Reach,
    /// Stands for what the speaker lets pass of what is told and asked on this link, both ways; 0: everything.
    pub filter: u64,
    /// Names of which schemes the speaker knows: records of others are not for it.
    pub schemes: Schemes,
}

/// How much a provider knows without asking: what another needs to tell whether its silence means absence.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// Providers, without the listener, that it would itself ask on a miss, since they push it less than pointers: [`mark`]s, ascending, at most
    /// [`REACH_MAX`].
    pub asks: Vec<u64>,
    /// How many links away the nearest provider is that would ask somebody, along links that push values or pointers to the speaker and without
    /// the listener; [`WHOLE`]: none is near.
    pub partial: u8,
    /// How many links away, counted in the same way, the nearest provider is that has a link on which not everything passes, so that what it does
    /// not hold it may have been kept from; [`WHOLE`]: none is near. 0: the speaker.
    pub filtered: u8,
}

/// Most providers that a reach lists: as many as a provider has links.
pub const REACH_MAX: usize = 256;

/// Spreads a filter and a set of schemes over the number that stands for both: odd, so that nothing is lost.
const UNLIKE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The distance that stands for none: no question goes as far.
pub const WHOLE: u8 = 16;

/// Eight bytes that stand for a provider where a mistake costs a question and not a promise: the first of its digest.
pub fn mark(name: &Name) -> u64 {
    name.digest().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

impl Reach {
    /// Of one who has everything by value, from providers who have: nothing needs asking.
    pub fn whole() -> Self {
        Self {
            asks: Vec::new(),
            partial: WHOLE,
            filtered: WHOLE,
        }
    }
}

impl Terms {
    /// Everything is passed on whole, both ways.
    pub fn mutual() -> Self {
        Self {
            relationship: Relationship::Mutual,
            pushes: Mode::Values,
            accepts: Mode::Values,
            answers: true,
            takes_all: true,
            reach: Reach::whole(),
            filter: 0,
            schemes: Scheme::ALL,
        }
    }

    /// As `filter`, for what passes of all that there may be: a speaker that does not know every scheme lets less pass than it says.
    pub fn passing(&self) -> u64 {
        if Scheme::ALL & !self.schemes == 0 {
            return self.filter;
        }
        let unlike = (self.filter ^ self.schemes).wrapping_mul(UNLIKE);
        unlike | 1
    }

    const FIELDS: usize = 10;

    fn fields(&self, w: &mut Writer) {
        w.uint(7).uint(self.relationship as u64);
        w.uint(8).uint(self.pushes as u64).uint(9).uint(self.accepts as u64);
        w.uint(10).bool(self.answers).uint(11).bool(self.takes_all);
        w.uint(12).array(self.reach.asks.len());
        for mark in &self.reach.asks {
            w.uint(*mark);
        }
        w.uint(13).uint(u64::from(self.reach.partial));
        w.uint(14).uint(u64::from(self.reach.filtered)).uint(15).uint(self.filter);
        w.uint(64).uint(self.schemes);
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.map(1 + Self::FIELDS).uint(0).uint(4);
        self.fields(w);
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let mut read = TermsRead::default();
        while let Some(field) = map.next()? {
            if !read.field(map, field)? {
                map.pass_over(field)?;
            }
        }
        read.done()
    }
}

#[derive(Default)]
struct TermsRead {
    relationship: Option<Relationship>,
    pushes: Option<Mode>,
    accepts: Option<Mode>,
    answers: Option<bool>,
    takes_all: Option<bool>,
    asks: Option<Vec<u64>>,
    partial: Option<u8>,
    filtered: Option<u8>,
    filter: Option<u64>,
    schemes: Option<Schemes>,
}

impl TermsRead {
    /// Whether the field is one of the terms.
    fn field(&mut self, map: &mut Map<'_, '_>, field: u64) -> Result<bool, MessageError> {
        match field {
            7 => self.relationship = Some(Relationship::from_number(map.r.uint()?).ok_or(MessageError::Value("relationship"))?),
            8 => self.pushes = Some(Mode::from_number(map.r.uint()?).ok_or(MessageError::Value("pushes"))?),
            9 => self.accepts = Some(Mode::from_number(map.r.uint()?).ok_or(MessageError::Value("accepts"))?),
            10 => self.answers = Some(map.r.bool()?),
            11 => self.takes_all = Some(map.r.bool()?),
            12 => self.asks = Some(map.marks(REACH_MAX)?),
            13 => self.partial = Some(distance(map, "partial")?),
            14 => self.filtered = Some(distance(map, "filtered")?),
            15 => self.filter = Some(map.r.uint()?),
            64 => self.schemes = Some(map.r.uint()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn done(self) -> Result<Terms, MessageError> {
        Ok(Terms {
            relationship: self.relationship.ok_or(MessageError::Missing("relationship"))?,
            pushes: self.pushes.ok_or(MessageError::Missing("pushes"))?,
            accepts: self.accepts.ok_or(MessageError::Missing("accepts"))?,
            answers: self.answers.ok_or(MessageError::Missing("answers"))?,
            takes_all: self.takes_all.ok_or(MessageError::Missing("takes-all"))?,
            reach: Reach {
                asks: self.asks.ok_or(MessageError::Missing("asks"))?,
                partial: self.partial.ok_or(MessageError::Missing("partial"))?,
                filtered: self.filtered.ok_or(MessageError::Missing("filtered"))?,
            },
            filter: self.filter.ok_or(MessageError::Missing("filter"))?,
            schemes: self.schemes.unwrap_or(Scheme::FIRST),
        })
    }
}

fn distance(map: &mut Map<'_, '_>, what: &'static str) -> Result<u8, MessageError> {
    let distance = map.r.uint_as()?;
    Some(distance)
        .filter(|distance| *distance <= WHOLE)
        .ok_or(MessageError::Value(what))
}

impl Hello {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(6 + Terms::FIELDS).uint(0).uint(1).uint(1).array(self.versions.len());
        for version in &self.versions {
            w.uint(*version);
        }
        w.uint(2).bytes(&self.record).uint(3).bytes(&self.store).uint(4).bytes(&self.boot);
        w.uint(5).array(self.heads.len());
        for head in self.heads {
            w.uint(head);
        }
        self.terms.fields(w);
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        if map.next()? != Some(1) {
            return Err(MessageError::Missing("versions"));
        }
        let count = map.r.array()?;
        if count > super::VERSIONS_MAX as u64 {
            return Err(MessageError::Value("versions"));
        }
        let versions = (0..count).map(|_| map.r.uint()).collect::<Result<Vec<_>, _>>()?;
        if !versions.iter().any(|version| VERSIONS.contains(version)) {
            return Err(MessageError::Version { offered: versions });
        }
        let (mut record, mut store, mut boot, mut heads) = (None, None, None, None);
        let mut terms = TermsRead::default();
        while let Some(field) = map.next()? {
            match field {
                2 => record = Some(map.record()?),
                3 => store = Some(map.r.array_of()?),
                4 => boot = Some(map.r.array_of()?),
                5 => {
                    map.r.array_exact(3)?;
                    heads = Some([map.r.uint()?, map.r.uint()?, map.r.uint()?]);
                }
                other => {
                    if !terms.field(map, other)? {
                        map.pass_over(other)?;
                    }
                }
            }
        }
        Ok(Self {
            versions,
            record: record.ok_or(MessageError::Missing("record"))?,
            store: store.ok_or(MessageError::Missing("store"))?,
            boot: boot.ok_or(MessageError::Missing("boot"))?,
            heads: heads.ok_or(MessageError::Missing("heads"))?,
            terms: terms.done()?,
        })
    }
}
