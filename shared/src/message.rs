//! What two providers say to each other on a link: a greeting each, then batches of changes one way and their
//! acknowledgements the other.
//!
//! ```text
//! frame    [length u32 big-endian][body]                     at most FRAME_BYTES_MAX bytes of body
//! hello    {0: 1, 1: [+ version], 2: record, 3: store, 4: boot, 5: relationship, 6: pushes, 7: accepts}
//! batch    {0: 2, 1: lane, 2: cursor, 3: behind, 4: [* [class, keep-until, record]]}
//! ack      {0: 3, 1: lane, 2: cursor, 3: [stored, same, older, deferred, refused]}
//! ```
//!
//! Bodies are deterministic CBOR. Fields from 64 on are uncritical: a reader that does not know one passes over it. In a
//! greeting the versions come first and are read first: what follows them is only read when a version is shared, so
//! that two versions can always tell each other that they have none in common. Goodbyes are not messages: a
//! [`CloseCode`] and a sentence travel in the close frame that QUIC itself has (RFC 9000 §19.19), which needs no stream.

pub mod reconcile;

use crate::cbor::{CborError, Reader, Writer};
use crate::limits::{BATCH_RECORDS_MAX, FRAME_BYTES_MAX, RECORD_BYTES_MAX, UNCRITICAL_FROM};
use crate::time::UnixSecs;
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// The versions of this protocol that this crate speaks, best first.
pub const VERSIONS: [u64; 1] = [1];

/// Most versions that a greeting may offer: more than anyone will keep alive at once.
pub const VERSIONS_MAX: usize = 16;

/// Largest greeting, in bytes: one record and a few numbers. Strangers may make us hold no more than this.
pub const HELLO_BYTES_MAX: usize = RECORD_BYTES_MAX + 512;

/// Application protocol of a link (TLS ALPN).
pub const ALPN: &[u8] = b"dialtone-peer";

/// The label of the service binding under which a provider's record lists its link keys, over UDP.
pub const SERVICE_LABEL: &str = "dialtone";

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who speaks, and on what terms. The first message of each side, once.
    Hello(Hello),
    /// Changes, in the order of the sender's log.
    Batch(Batch),
    /// What became of batches.
    Ack(Ack),
}

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
    /// What the listener is to the speaker.
    pub relationship: Relationship,
    /// What the speaker would push.
    pub pushes: Mode,
    /// What the speaker would accept.
    pub accepts: Mode,
}

/// A run of changes of one lane of the sender's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The lane: 0 urgent (revocations), 1 ordinary.
    pub lane: u8,
    /// The sender's position in the lane once these are acknowledged.
    pub cursor: u64,
    /// How far the lane runs on after `cursor`, in positions, as far as the sender knows. 0: the receiver is caught up.
    pub behind: u64,
    /// At most 256; none only says how far the sender is.
    pub entries: Vec<Entry>,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where the sender learnt it: 1 from an upstream, 2 from a peer, 3 from a customer.
    pub class: u8,
    /// How long the sender keeps it.
    pub keep_until: UnixSecs,
    /// The signed record.
    pub record: Bytes,
}

/// Everything of a lane up to a position has been dealt with, durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The lane.
    pub lane: u8,
    /// The position.
    pub cursor: u64,
    /// What became of the entries since the acknowledgement before.
    pub counts: Counts,
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
}

/// What a provider is to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Relationship {
    /// Everything is passed on, both ways: any connected graph is coherent.
    Mutual = 1,
    /// It is our customer: it hears everything, and what it says goes to everyone.
    Customer = 2,
    /// It is our upstream: it hears what customers say, and what it says goes to customers.
    Upstream = 3,
    /// It is our peer: as an upstream, without either paying.
    Peer = 4,
}

/// In what form changes are pushed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Not at all.
    None = 0,
    /// Whole records.
    Values = 1,
}

/// Why a link is closed: the number in QUIC's close frame. A sentence for people comes with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CloseCode {
    /// The speaker stops.
    Stopping = 0,
    /// No version in common. The turn of whoever speaks the older one.
    Version = 1,
    /// The speaker has no agreement with that name.
    NoAgreement = 2,
    /// Another name than the one pinned was presented.
    WrongName = 3,
    /// What was presented does not prove the name: the record is invalid, out of date, or lists another key.
    BadProof = 4,
    /// The two agreements contradict each other. The operators' turn.
    Disagreement = 5,
    /// There is a better link between the two already.
    Duplicate = 6,
    /// Something that the protocol does not allow was said.
    Protocol = 7,
    /// Too many records that are not records.
    InvalidRecords = 8,
    /// Nothing moved for too long.
    Hold = 9,
    /// Too many records from the future: a clock is wrong.
    Clock = 10,
    /// The speaker's store cannot take more now.
    Store = 11,
    /// Too many links or greetings at once.
    Busy = 12,
}

/// Why bytes are not a message. The turn of whoever sent them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// A frame larger than any may be.
    #[error("a frame of {0} bytes is larger than allowed")]
    TooLarge(u64),
    /// Not deterministic CBOR of the shape of a message.
    #[error("not a message: {0}")]
    Cbor(#[from] CborError),
    /// A kind of message that is not known.
    #[error("message kind {0} is not known")]
    Kind(u64),
    /// A critical field that is not known.
    #[error("field {0} is critical and not known to this version")]
    UnknownField(u64),
    /// A field that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value outside its bounds.
    #[error("`{0}` is out of bounds")]
    Value(&'static str),
    /// A greeting by someone who speaks none of our versions.
    #[error("no version of the protocol in common: offered {offered:?}, spoken here {VERSIONS:?}")]
    Version {
        /// What was offered.
        offered: Vec<u64>,
    },
}

impl Message {
    /// As it travels: length and body.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&[0; 4]);
        match self {
            Self::Hello(hello) => hello.write(&mut w),
            Self::Batch(batch) => batch.write(&mut w),
            Self::Ack(ack) => ack.write(&mut w),
        }
        let mut frame = w.into_bytes();
        let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`MessageError`], the first thing found wrong.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        let mut r = Reader::new(body);
        let mut fields = Map {
            fields: r.map()?,
            r: &mut r,
        };
        if fields.next()? != Some(0) {
            return Err(MessageError::Missing("kind"));
        }
        let message = match fields.r.uint()? {
            1 => Self::Hello(Hello::read(&mut fields)?),
            2 => Self::Batch(Batch::read(&mut fields)?),
            3 => Self::Ack(Ack::read(&mut fields)?),
            other => return Err(MessageError::Kind(other)),
        };
        r.finish()?;
        Ok(message)
    }
}

/// The length of the body that follows a frame's head, at most `max`.
///
/// # Errors
/// [`MessageError::TooLarge`].
pub fn body_length(head: [u8; 4], max: usize) -> Result<usize, MessageError> {
    let length = u32::from_be_bytes(head) as usize;
    if length > max.min(FRAME_BYTES_MAX) {
        return Err(MessageError::TooLarge(length as u64));
    }
    Ok(length)
}

impl Hello {
    fn write(&self, w: &mut Writer) {
        w.map(8).uint(0).uint(1).uint(1).array(self.versions.len());
        for version in &self.versions {
            w.uint(*version);
        }
        w.uint(2).bytes(&self.record).uint(3).bytes(&self.store).uint(4).bytes(&self.boot);
        w.uint(5).uint(self.relationship as u64);
        w.uint(6).uint(self.pushes as u64).uint(7).uint(self.accepts as u64);
    }

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        if map.next()? != Some(1) {
            return Err(MessageError::Missing("versions"));
        }
        let count = map.r.array()?;
        if count > VERSIONS_MAX as u64 {
            return Err(MessageError::Value("versions"));
        }
        let versions = (0..count).map(|_| map.r.uint()).collect::<Result<Vec<_>, _>>()?;
        if !versions.iter().any(|version| VERSIONS.contains(version)) {
            return Err(MessageError::Version { offered: versions });
        }
        let (mut record, mut store, mut boot, mut relationship, mut pushes, mut accepts) = (None, None, None, None, None, None);
        while let Some(field) = map.next()? {
            match field {
                2 => record = Some(map.record()?),
                3 => store = Some(map.r.array_of()?),
                4 => boot = Some(map.r.array_of()?),
                5 => relationship = Some(Relationship::from_number(map.r.uint()?).ok_or(MessageError::Value("relationship"))?),
                6 => pushes = Some(Mode::from_number(map.r.uint()?).ok_or(MessageError::Value("pushes"))?),
                7 => accepts = Some(Mode::from_number(map.r.uint()?).ok_or(MessageError::Value("accepts"))?),
                other => map.pass_over(other)?,
            }
        }
        Ok(Self {
            versions,
            record: record.ok_or(MessageError::Missing("record"))?,
            store: store.ok_or(MessageError::Missing("store"))?,
            boot: boot.ok_or(MessageError::Missing("boot"))?,
            relationship: relationship.ok_or(MessageError::Missing("relationship"))?,
            pushes: pushes.ok_or(MessageError::Missing("pushes"))?,
            accepts: accepts.ok_or(MessageError::Missing("accepts"))?,
        })
    }
}

impl Batch {
    fn write(&self, w: &mut Writer) {
        w.map(5).uint(0).uint(2).uint(1).uint(u64::from(self.lane));
        w.uint(2)
            .uint(self.cursor)
            .uint(3)
            .uint(self.behind)
            .uint(4)
            .array(self.entries.len());
        for entry in &self.entries {
            w.array(3)
                .uint(u64::from(entry.class))
                .uint(entry.keep_until.0)
                .bytes(&entry.record);
        }
    }

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut lane, mut cursor, mut behind, mut entries) = (None, None, None, None);
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
                other => map.pass_over(other)?,
            }
        }
        Ok(Self {
            lane: lane.ok_or(MessageError::Missing("lane"))?,
            cursor: cursor.ok_or(MessageError::Missing("cursor"))?,
            behind: behind.ok_or(MessageError::Missing("behind"))?,
            entries: entries.ok_or(MessageError::Missing("entries"))?,
        })
    }
}

impl Entry {
    /// Most bytes that an entry takes in a batch beside its record's.
    pub const HEAD_BYTES_MAX: usize = 1 + 1 + 9 + 3;

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        map.r.array_exact(3)?;
        let class = map.r.uint_as()?;
        if !(1..=3).contains(&class) {
            return Err(MessageError::Value("class"));
        }
        Ok(Self {
            class,
            keep_until: UnixSecs(map.r.uint()?),
            record: map.record()?,
        })
    }
}

impl Ack {
    fn write(&self, w: &mut Writer) {
        let counts = &self.counts;
        w.map(4)
            .uint(0)
            .uint(3)
            .uint(1)
            .uint(u64::from(self.lane))
            .uint(2)
            .uint(self.cursor);
        w.uint(3).array(5).uint(counts.stored).uint(counts.same).uint(counts.older);
        w.uint(counts.deferred).uint(counts.refused);
    }

    fn read(map: &mut Map<'_, '_>) -> Result<Self, MessageError> {
        let (mut lane, mut cursor, mut counts) = (None, None, None);
        while let Some(field) = map.next()? {
            match field {
                1 => lane = Some(map.lane()?),
                2 => cursor = Some(map.r.uint()?),
                3 => {
                    map.r.array_exact(5)?;
                    counts = Some(Counts {
                        stored: map.r.uint()?,
                        same: map.r.uint()?,
                        older: map.r.uint()?,
                        deferred: map.r.uint()?,
                        refused: map.r.uint()?,
                    });
                }
                other => map.pass_over(other)?,
            }
        }
        Ok(Self {
            lane: lane.ok_or(MessageError::Missing("lane"))?,
            cursor: cursor.ok_or(MessageError::Missing("cursor"))?,
            counts: counts.ok_or(MessageError::Missing("counts"))?,
        })
    }
}

impl Counts {
    /// Adds `other` to these; a peer that claims more than fits a number gets the largest.
    pub fn add(&mut self, other: &Self) {
        self.stored = self.stored.saturating_add(other.stored);
        self.same = self.same.saturating_add(other.same);
        self.older = self.older.saturating_add(other.older);
        self.deferred = self.deferred.saturating_add(other.deferred);
        self.refused = self.refused.saturating_add(other.refused);
    }
}

impl Relationship {
    /// What the other side must call it.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Mutual => Self::Mutual,
            Self::Customer => Self::Upstream,
            Self::Upstream => Self::Customer,
            Self::Peer => Self::Peer,
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        [Self::Mutual, Self::Customer, Self::Upstream, Self::Peer]
            .into_iter()
            .find(|one| *one as u64 == number)
    }
}

impl Mode {
    fn from_number(number: u64) -> Option<Self> {
        [Self::None, Self::Values].into_iter().find(|one| *one as u64 == number)
    }
}

impl CloseCode {
    /// The code of a number in a close frame; `None` for one that this version does not know.
    pub fn from_number(number: u64) -> Option<Self> {
        use CloseCode as C;
        [
            C::Stopping,
            C::Version,
            C::NoAgreement,
            C::WrongName,
            C::BadProof,
            C::Disagreement,
            C::Duplicate,
            C::Protocol,
            C::InvalidRecords,
            C::Hold,
            C::Clock,
            C::Store,
            C::Busy,
        ]
        .into_iter()
        .find(|one| *one as u64 == number)
    }
}

/// The word is not one of those that settings know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{found:?} is not one of {known}")]
pub struct WordError {
    found: String,
    known: &'static str,
}

impl FromStr for Relationship {
    type Err = WordError;

    /// Reads the word that settings use.
    fn from_str(text: &str) -> Result<Self, WordError> {
        Ok(match text {
            "mutual" => Self::Mutual,
            "customer" => Self::Customer,
            "upstream" => Self::Upstream,
            "peer" => Self::Peer,
            _ => {
                return Err(WordError {
                    found: text.to_owned(),
                    known: "mutual, customer, upstream, peer",
                });
            }
        })
    }
}

impl fmt::Display for Relationship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mutual => "mutual",
            Self::Customer => "customer",
            Self::Upstream => "upstream",
            Self::Peer => "peer",
        })
    }
}

impl FromStr for Mode {
    type Err = WordError;

    /// Reads the word that settings use.
    fn from_str(text: &str) -> Result<Self, WordError> {
        Ok(match text {
            "none" => Self::None,
            "values" => Self::Values,
            _ => {
                return Err(WordError {
                    found: text.to_owned(),
                    known: "none, values",
                });
            }
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Values => "values",
        })
    }
}

/// A map that is being read.
struct Map<'r, 'a> {
    fields: crate::cbor::Fields,
    r: &'r mut Reader<'a>,
}

impl Map<'_, '_> {
    fn next(&mut self) -> Result<Option<u64>, CborError> {
        self.fields.next(self.r)
    }

    fn pass_over(&mut self, field: u64) -> Result<(), MessageError> {
        if field < UNCRITICAL_FROM {
            return Err(MessageError::UnknownField(field));
        }
        Ok(self.r.skip()?)
    }

    fn lane(&mut self) -> Result<u8, MessageError> {
        let lane = self.r.uint_as()?;
        if lane > 1 { Err(MessageError::Value("lane")) } else { Ok(lane) }
    }

    /// A record's bytes, copied: a slice of the frame would keep the whole frame in memory as long as the record.
    fn record(&mut self) -> Result<Bytes, MessageError> {
        let bytes = self.r.bytes()?;
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(MessageError::Value("record"));
        }
        Ok(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            versions: vec![1],
            record: Bytes::from_static(b"record"),
            store: [7; 16],
            boot: [9; 16],
            relationship: Relationship::Customer,
            pushes: Mode::Values,
            accepts: Mode::None,
        }
    }

    fn batch() -> Batch {
        Batch {
            lane: 1,
            cursor: 300,
            behind: 2,
            entries: vec![Entry {
                class: 3,
                keep_until: UnixSecs(1_800_000_000),
                record: Bytes::from_static(b"abc"),
            }],
        }
    }

    fn ack() -> Ack {
        Ack {
            lane: 0,
            cursor: 17,
            counts: Counts {
                stored: 1,
                same: 2,
                older: 3,
                deferred: 4,
                refused: 500,
            },
        }
    }

    #[test]
    fn messages_have_known_bytes() {
        for (message, bytes) in [
            (
                Message::Hello(hello()),
                "00000038a80001018101024672\
                 65636f7264\
                 035007070707070707070707070707070707\
                 045009090909090909090909090909090909\
                 050206010700",
            ),
            (
                Message::Batch(batch()),
                "00000018a500020101021901\
                 2c030204818303\
                 1a6b49d20043616263",
            ),
            (
                Message::Ack(ack()),
                "00000010a4000301000211038501020304\
                 1901f4",
            ),
        ] {
            let frame = message.to_frame();
            assert_eq!(hex::encode(&frame), bytes.replace(char::is_whitespace, ""));
            assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
            assert_eq!(Message::decode(&frame[4..]), Ok(message));
        }
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        for message in [Message::Hello(hello()), Message::Batch(batch()), Message::Ack(ack())] {
            let mut body = message.to_frame().split_off(4);
            for end in 0..body.len() {
                assert!(Message::decode(&body[..end]).is_err(), "cut at {end}");
            }
            body.push(0);
            assert!(Message::decode(&body).is_err());
        }
    }

    #[test]
    fn a_greeting_of_another_version_is_told_from_a_malformed_one() {
        let mut w = Writer::new();
        w.map(3)
            .uint(0)
            .uint(1)
            .uint(1)
            .array(2)
            .uint(2)
            .uint(3)
            .uint(9)
            .text("whatever version 2 says");
        let offered = vec![2, 3];
        assert_eq!(Message::decode(&w.into_bytes()), Err(MessageError::Version { offered }));
    }

    #[test]
    fn unknown_fields_are_refused_below_64_and_passed_over_above() {
        let with = |field: u64| {
            let mut body = Message::Ack(ack()).to_frame().split_off(4);
            body[0] += 1;
            let mut w = Writer::new();
            w.raw(&body).uint(field).text("new");
            Message::decode(&w.into_bytes())
        };
        assert_eq!(with(63), Err(MessageError::UnknownField(63)));
        assert_eq!(with(64), Ok(Message::Ack(ack())));
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        let mut wrong = batch();
        wrong.entries[0].class = 4;
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("class")));
        let mut wrong = batch();
        wrong.lane = 2;
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("lane")));
        let mut wrong = batch();
        wrong.entries = vec![wrong.entries[0].clone(); BATCH_RECORDS_MAX + 1];
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("entries")));
        let mut wrong = batch();
        wrong.entries[0].record = Bytes::from(vec![0; RECORD_BYTES_MAX + 1]);
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("record")));
        assert_eq!(
            body_length(u32::MAX.to_be_bytes(), usize::MAX),
            Err(MessageError::TooLarge(u64::from(u32::MAX)))
        );
        assert_eq!(body_length([0, 0, 0x20, 0], HELLO_BYTES_MAX), Err(MessageError::TooLarge(0x2000)));
    }

    fn decoded(message: Message) -> Result<Message, MessageError> {
        Message::decode(&message.to_frame()[4..])
    }

    #[test]
    fn words_of_settings_read_back() {
        for one in [
            Relationship::Mutual,
            Relationship::Customer,
            Relationship::Upstream,
            Relationship::Peer,
        ] {
            assert_eq!(one.to_string().parse(), Ok(one));
            assert_eq!(one.mirrored().mirrored(), one);
        }
        for one in [Mode::None, Mode::Values] {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert!("friend".parse::<Relationship>().is_err());
    }
}
