//! The feed: changes one way, and what became of them the other.

use super::{Map, MessageError, Path};
use crate::cbor::Writer;
use crate::hip::Hit;
use crate::limits::BATCH_RECORDS_MAX;
use crate::name::Name;
use crate::time::{UnixMicros, UnixSecs};
use bytes::Bytes;

/// A run of changes of one lane of the sender's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The lane: 0 urgent (revocations), 1 ordinary, 2 hearsay (pointers that are passed on).
    pub lane: u8,
    /// The sender's position in the lane once these are acknowledged.
    pub cursor: u64,
    /// How far the lane runs on after `cursor`, in positions, as far as the sender knows. 0: the receiver is caught up.
    pub behind: u64,
    /// At most 256; none only says how far the sender is.
    pub entries: Vec<Entry>,
    /// How many names the receiver has asked for in this lane, over this link, by the acknowledgements that the sender has read. What it
    /// lacks of those counts as behind.
    pub heard: u64,
}

/// One change, in the form that the mode of the link asks for. Each says itself which it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The record itself.
    Value(Value),
    /// Where the record is.
    Pointer(Pointer),
    /// That something of this name is held.
    Mention(Mention),
}

/// A name that is told of for the digest that was sent last, by its hash under that digest's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mention {
    /// The hash of the name.
    pub name: u64,
    /// The hash of the Host Identity Tag of the record's key; where there is no key, that of the name again. `None`: the sender does not know
    /// the tag, and from then on the digest does not say what tags there are.
    pub tag: Option<u64>,
}

/// A record that is passed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// Where the sender learnt it: 1 from an upstream, 2 from a peer, 3 from a customer.
    pub class: u8,
    /// How long the sender keeps it.
    pub keep_until: UnixSecs,
    /// The signed record.
    pub record: Bytes,
    /// By whom it came to the sender; empty if it was put there. In answers to queries it is not told.
    pub path: Path,
}

/// Who keeps a record, and which. Never of a revocation, which goes by value. Nothing of it is proved: a hint. In lane 1 where values are
/// pushed it is an offer: whoever lacks the record says so in its acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// Where the sender learnt it, as in a [`Value`].
    pub class: u8,
    /// How long the keeper keeps it.
    pub keep_until: UnixSecs,
    /// The name.
    pub name: Name,
    /// The record's key epoch.
    pub epoch: u32,
    /// The record's sequence.
    pub sequence: UnixMicros,
    /// The first 16 bytes of the record's digest.
    pub digest: [u8; 16],
    /// When the record expires.
    pub expiry: UnixSecs,
    /// Who keeps it; `None`: the sender.
    pub keeper: Option<Name>,
    /// The Host Identity Tag of the record's key; `None`: it has no key, or the sender does not know, or it is an offer.
    pub tag: Option<Hit>,
}

/// A part of a digest: a compact filter of the names that the sender holds. The parts come in order, each in a message of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest {
    /// Seeds its hashes, drawn for each digest, so that nobody can choose names that collide.
    pub seed: u64,
    /// How many names it was made for; it has room for as many as [`Entry::Mention`]s follow.
    pub names: u64,
    /// Hashes a name.
    pub hashes: u8,
    /// Bytes of the whole filter.
    pub total: u64,
    /// Where these stand in it.
    pub offset: u64,
    /// These.
    pub bytes: Bytes,
    /// Whether the Host Identity Tags of all the names are in it too.
    pub tags: bool,
}

/// Where a provider stands in the tree that records take between mutual peers. The tree spans all of them whatever their links are, by the rules
/// of bridges (IEEE 802.1D): everyone believes in the smallest root that it is told of, by the shortest way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Branch {
    /// The root that the speaker believes in: the first 8 bytes of the id of its store.
    pub root: u64,
    /// How many links away that is, at most [`BRANCH_DISTANCE_MAX`].
    pub distance: u8,
    /// Whether the listener is the next on the way there.
    pub parent: bool,
}

/// Roots further off than this are none: what is told in a circle of one that is gone comes to an end.
pub const BRANCH_DISTANCE_MAX: u8 = 32;

/// Everything of a lane up to a position has been dealt with, durably.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The lane.
    pub lane: u8,
    /// The position.
    pub cursor: u64,
    /// What became of the entries since the acknowledgement before.
    pub counts: Counts,
    /// Names that were offered, and whose records are to be sent: the only entries that are not dealt with and not counted.
    pub wants: Vec<Name>,
}

/// What became of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// New, or renewed, and kept.
    pub stored: u64,
    /// Held already, with nothing new about it.
    pub same: u64,
    /// Outranked by what is held, or past the time it may be kept.
    pub older: u64,
    /// From the future: kept aside until its time comes.
    pub deferred: u64,
    /// Not a record, not signed by the name's key, or not for this provider.
    pub refused: u64,
    /// Not taken because a limit of the agreement is reached. It may be sent again once there is room.
    pub limited: u64,
}

impl Batch {
    pub(super) fn write(&self, w: &mut Writer) {
        let tags = self.tags();
        w.map(5 + usize::from(self.heard > 0) + usize::from(tags.is_some()));
        w.uint(0).uint(2).uint(1).uint(u64::from(self.lane));
        w.uint(2)
            .uint(self.cursor)
            .uint(3)
            .uint(self.behind)
            .uint(4)
            .array(self.entries.len());
        for entry in &self.entries {
            entry.write(w);
        }
        if self.heard > 0 {
            w.uint(5).uint(self.heard);
        }
        if let Some(tags) = tags {
            w.uint(TAGS).bytes(&tags);
        }
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut lane, mut cursor, mut behind, mut entries, mut heard) = (None, None, None, None::<Vec<_>>, 0);
        while let Some(field) = map.next()? {
            match field {
                1 => lane = Some(map.lane()?),
                2 => cursor = Some(map.r.uint()?),
                3 => behind = Some(map.r.uint()?),
                4 => {
                    let count = map.r.array()?;
                    if count > BATCH_RECORDS_MAX as u64 {
                        return Err(MessageError::Value("entries"));
                    }
                    entries = Some((0..count).map(|_| Entry::read(map)).collect::<Result<Vec<_>, _>>()?);
                }
                5 => heard = map.r.uint()?,
                TAGS => tag_all(entries.as_deref_mut().unwrap_or_default(), map.r.bytes()?)?,
                other => map.pass_over(other)?,
            }
        }
        Ok(Self {
            lane: lane.ok_or(MessageError::Missing("lane"))?,
            cursor: cursor.ok_or(MessageError::Missing("cursor"))?,
            behind: behind.ok_or(MessageError::Missing("behind"))?,
            entries: entries.ok_or(MessageError::Missing("entries"))?,
            heard,
        })
    }
}

impl Batch {
    /// The tags of pointers and mentions one after the other, 0 for none; `None`: there is none at all.
    fn tags(&self) -> Option<Vec<u8>> {
        let (mut tags, mut any) = (Vec::new(), false);
        for entry in &self.entries {
            match entry {
                Entry::Value(_) => {}
                Entry::Pointer(pointer) => {
                    any |= pointer.tag.is_some();
                    tags.extend(pointer.tag.map_or([0; POINTER_TAG_BYTES], |tag| tag.hash()));
                }
                Entry::Mention(mention) => {
                    any |= mention.tag.is_some();
                    tags.extend(mention.tag.unwrap_or_default().to_be_bytes());
                }
            }
        }
        any.then_some(tags)
    }

    /// At least what it takes in a frame, so that the frame is written into memory that need not grow.
    pub(super) fn bytes_about(&self) -> usize {
        let entries = self.entries.iter().map(|entry| match entry {
            Entry::Value(value) => Entry::HEAD_BYTES_MAX + value.record.len() + value.path.bytes(),
            Entry::Pointer(_) => POINTER_BYTES_ABOUT + POINTER_TAG_BYTES,
            Entry::Mention(_) => 9 + MENTION_TAG_BYTES,
        });
        BATCH_HEAD_BYTES + entries.sum::<usize>()
    }
}

/// Gives each entry its tag of those that [`Batch::tags`] makes.
fn tag_all(entries: &mut [Entry], mut tags: &[u8]) -> Result<(), MessageError> {
    for entry in entries {
        match entry {
            Entry::Value(_) => {}
            Entry::Pointer(pointer) => {
                let hash = *take(&mut tags)?;
                pointer.tag = (hash != [0; POINTER_TAG_BYTES]).then(|| Hit::from_hash(hash));
            }
            Entry::Mention(mention) => {
                let hash = u64::from_be_bytes(*take(&mut tags)?);
                mention.tag = (hash != 0).then_some(hash);
            }
        }
    }
    if tags.is_empty() {
        Ok(())
    } else {
        Err(MessageError::Value("tags"))
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], MessageError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(MessageError::Value("tags"))?;
    *bytes = rest;
    Ok(first)
}

/// The field of a batch that has the tags of its entries, and of a digest that has tags in it: older readers pass over it.
const TAGS: u64 = 64;

/// What is told of a tag beside a pointer: its 96 bits.
const POINTER_TAG_BYTES: usize = 12;

/// What is told of a tag beside a mention: its hash.
const MENTION_TAG_BYTES: usize = 8;

impl Entry {
    /// Most bytes that an entry takes in a batch beside its record's and its path's.
    pub const HEAD_BYTES_MAX: usize = 1 + 1 + 9 + 3;

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Value(value) => {
                w.array(if value.path.is_empty() { 3 } else { 4 })
                    .uint(u64::from(value.class))
                    .uint(value.keep_until.0)
                    .bytes(&value.record);
                if !value.path.is_empty() {
                    value.path.write(w);
                }
            }
            Self::Pointer(pointer) => pointer.write(w),
            Self::Mention(mention) => {
                w.uint(mention.name);
            }
        }
    }

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        if !map.r.at_array() {
            let name = map.r.uint()?;
            return Ok(Self::Mention(Mention { name, tag: None }));
        }
        let items = map.r.array()?;
        let class = map.r.uint_as()?;
        if !(1..=3).contains(&class) {
            return Err(MessageError::Value("class"));
        }
        let keep_until = UnixSecs(map.r.uint()?);
        match items {
            3 | 4 => Ok(Self::Value(Value {
                class,
                keep_until,
                record: map.record()?,
                path: if items == 4 { Path::read(map)? } else { Path::default() },
            })),
            7 | 8 => Ok(Self::Pointer(Pointer {
                class,
                keep_until,
                name: map.name()?,
                epoch: map.r.uint_as()?,
                sequence: UnixMicros(map.r.uint()?),
                digest: map.r.array_of()?,
                expiry: UnixSecs(map.r.uint()?),
                keeper: if items == 8 { Some(map.name()?) } else { None },
                tag: None,
            })),
            _ => Err(MessageError::Value("entry")),
        }
    }
}

impl Pointer {
    fn write(&self, w: &mut Writer) {
        w.array(if self.keeper.is_some() { 8 } else { 7 });
        w.uint(u64::from(self.class)).uint(self.keep_until.0).bytes(self.name.as_bytes());
        w.uint(u64::from(self.epoch))
            .uint(self.sequence.0)
            .bytes(&self.digest)
            .uint(self.expiry.0);
        if let Some(keeper) = &self.keeper {
            w.bytes(keeper.as_bytes());
        }
    }
}

impl Digest {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(if self.tags { 8 } else { 7 });
        w.uint(0).uint(5).uint(1).uint(self.seed).uint(2).uint(self.names);
        w.uint(3).uint(u64::from(self.hashes)).uint(4).uint(self.total);
        w.uint(5).uint(self.offset).uint(6).bytes(&self.bytes);
        if self.tags {
            w.uint(TAGS).bool(true);
        }
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut seed, mut names, mut hashes, mut total, mut offset, mut bytes) = (None, None, None, None, None, None);
        let mut tags = false;
        while let Some(field) = map.next()? {
            match field {
                1 => seed = Some(map.r.uint()?),
                2 => names = Some(map.r.uint()?),
                3 => hashes = Some(map.r.uint_as()?),
                4 => total = Some(map.r.uint()?),
                5 => offset = Some(map.r.uint()?),
                6 => bytes = Some(Bytes::copy_from_slice(map.r.bytes()?)),
                TAGS => tags = map.r.bool()?,
                other => map.pass_over(other)?,
            }
        }
        Ok(Self {
            seed: seed.ok_or(MessageError::Missing("seed"))?,
            names: names.ok_or(MessageError::Missing("names"))?,
            hashes: hashes.ok_or(MessageError::Missing("hashes"))?,
            total: total.ok_or(MessageError::Missing("total"))?,
            offset: offset.ok_or(MessageError::Missing("offset"))?,
            bytes: bytes.ok_or(MessageError::Missing("bytes"))?,
            tags,
        })
    }
}

impl Ack {
    pub(super) fn write(&self, w: &mut Writer) {
        let counts = &self.counts;
        w.map(if self.wants.is_empty() { 4 } else { 5 });
        w.uint(0).uint(3).uint(1).uint(u64::from(self.lane)).uint(2).uint(self.cursor);
        w.uint(3).array(6).uint(counts.stored).uint(counts.same).uint(counts.older);
        w.uint(counts.deferred).uint(counts.refused).uint(counts.limited);
        if !self.wants.is_empty() {
            w.uint(4).array(self.wants.len());
            for name in &self.wants {
                w.bytes(name.as_bytes());
            }
        }
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut lane, mut cursor, mut counts, mut wants) = (None, None, None, Vec::new());
        while let Some(field) = map.next()? {
            match field {
                1 => lane = Some(map.lane()?),
                2 => cursor = Some(map.r.uint()?),
                3 => {
                    map.r.array_exact(6)?;
                    counts = Some(Counts {
                        stored: map.r.uint()?,
                        same: map.r.uint()?,
                        older: map.r.uint()?,
                        deferred: map.r.uint()?,
                        refused: map.r.uint()?,
                        limited: map.r.uint()?,
                    });
                }
                4 => {
                    let count = map.r.array()?;
                    if count == 0 || count > WANTS_MAX as u64 {
                        return Err(MessageError::Value("wants"));
                    }
                    wants = (0..count).map(|_| map.name()).collect::<Result<_, _>>()?;
                }
                other => map.pass_over(other)?,
            }
        }
        Ok(Self {
            lane: lane.ok_or(MessageError::Missing("lane"))?,
            cursor: cursor.ok_or(MessageError::Missing("cursor"))?,
            counts: counts.ok_or(MessageError::Missing("counts"))?,
            wants,
        })
    }
}

impl Branch {
    pub(super) fn write(&self, w: &mut Writer) {
        w.map(4).uint(0).uint(6).uint(1).uint(self.root);
        w.uint(2).uint(u64::from(self.distance)).uint(3).bool(self.parent);
    }

    pub(super) fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut root, mut distance, mut parent) = (None, None, None);
        while let Some(field) = map.next()? {
            match field {
                1 => root = Some(map.r.uint()?),
                2 => distance = Some(map.r.uint_as()?),
                3 => parent = Some(map.r.bool()?),
                other => map.pass_over(other)?,
            }
        }
        let distance = distance.ok_or(MessageError::Missing("distance"))?;
        if distance > BRANCH_DISTANCE_MAX {
            return Err(MessageError::Value("distance"));
        }
        Ok(Self {
            root: root.ok_or(MessageError::Missing("root"))?,
            distance,
            parent: parent.ok_or(MessageError::Missing("parent"))?,
        })
    }
}

impl Counts {
    /// How many entries these are.
    pub fn total(&self) -> u64 {
        let counts = [self.stored, self.same, self.older, self.deferred, self.refused, self.limited];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    /// Adds `other` to these; a peer that claims more than fits a number gets the largest.
    pub fn add(&mut self, other: &Self) {
        self.stored = self.stored.saturating_add(other.stored);
        self.same = self.same.saturating_add(other.same);
        self.older = self.older.saturating_add(other.older);
        self.deferred = self.deferred.saturating_add(other.deferred);
        self.refused = self.refused.saturating_add(other.refused);
        self.limited = self.limited.saturating_add(other.limited);
    }
}

/// Most names that an acknowledgement asks for: all that a window of batches can have offered.
pub const WANTS_MAX: usize = 8 * BATCH_RECORDS_MAX;

/// About what a pointer takes: a name, a rank, a keeper and their numbers.
const POINTER_BYTES_ABOUT: usize = 160;

/// The frame's head, and what stands before the entries.
const BATCH_HEAD_BYTES: usize = 64;
