//! What two providers say to each other on a link: a greeting each, then batches of changes one way and their
//! acknowledgements the other; and requests, beside them.
//!
//! ```text
//! frame    [length u32 big-endian][body]                     at most FRAME_BYTES_MAX bytes of body
//! hello    {0: 1, 1: [+ version], 2: record, 3: store, 4: boot, 5: heads, terms}
//! batch    {0: 2, 1: lane, 2: cursor, 3: behind, 4: [* entry], ? 5: heard, ? 64: tags}
//! ack      {0: 3, 1: lane, 2: cursor, 3: [stored, same, older, deferred, refused, limited], ? 4: [+ name]}
//! terms    {0: 4, terms}      7: relationship, 8: pushes, 9: accepts, 10: answers, 11: takes-all, 12: asks, 13: partial,
//!                            14: filtered, 15: filter
//! digest   {0: 5, 1: seed, 2: names, 3: hashes, 4: total, 5: offset, 6: bytes, ? 64: with-tags}
//! branch   {0: 6, 1: root, 2: distance, 3: parent}
//! entry    [class, keep-until, record]
//!        / [class, keep-until, name, epoch, sequence, digest, expiry, ? keeper]
//!        / hash
//! ```
//!
//! Bodies are deterministic CBOR. Fields from 64 on are uncritical: a reader that does not know one passes over it. In a
//! greeting the versions come first and are read first: what follows them is only read when a version is shared, so
//! that two versions can always tell each other that they have none in common. Goodbyes are not messages: a
//! [`CloseCode`] and a sentence travel in the close frame that QUIC itself has (RFC 9000 §19.19), which needs no stream.

mod codes;
mod feed;
mod hello;
mod path;
pub mod reconcile;
mod request;
mod words;

pub use codes::CloseCode;
pub use feed::{Ack, BRANCH_DISTANCE_MAX, Batch, Branch, Counts, Digest, Entry, Mention, Pointer, Value, WANTS_MAX};
pub use hello::{Hello, REACH_MAX, Reach, Terms, WHOLE, mark};
pub use path::{PATH_MARKS_MAX, Path};
pub use request::{Answer, Query, Refused, Request, Response, VISITED_MAX};
pub use words::{Mode, Relationship, WordError};

use crate::cbor::{CborError, Reader, Writer};
use crate::limits::{FRAME_BYTES_MAX, RECORD_BYTES_MAX, UNCRITICAL_FROM};
use crate::name::Name;
use crate::record::signed::SignedRecord;
use bytes::Bytes;

/// The versions of this protocol that this crate speaks, best first.
pub const VERSIONS: [u64; 1] = [1];

/// Most versions that a greeting may offer: more than anyone will keep alive at once.
pub const VERSIONS_MAX: usize = 16;

/// Largest greeting, in bytes: one record, a mark for each provider of a reach, and a few numbers. Strangers may make us hold no more
/// than this.
pub const HELLO_BYTES_MAX: usize = RECORD_BYTES_MAX + 512 + 9 * REACH_MAX;

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
    /// The speaker's terms have changed.
    Terms(Terms),
    /// A part of a filter of what is held.
    Digest(Digest),
    /// Where the speaker stands in the tree that records take.
    Branch(Branch),
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
        let room = match self {
            Self::Batch(batch) => batch.bytes_about(),
            Self::Hello(_) | Self::Ack(_) | Self::Terms(_) | Self::Digest(_) | Self::Branch(_) => SMALL_FRAME_BYTES,
        };
        framed(room, |w| match self {
            Self::Hello(hello) => hello.write(w),
            Self::Batch(batch) => batch.write(w),
            Self::Ack(ack) => ack.write(w),
            Self::Terms(terms) => terms.write(w),
            Self::Digest(digest) => digest.write(w),
            Self::Branch(branch) => branch.write(w),
        })
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`MessageError`], the first thing found wrong.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        Map::whole(body, |kind, map| match kind {
            1 => Hello::read(map).map(Self::Hello),
            2 => Batch::read(map).map(Self::Batch),
            3 => Ack::read(map).map(Self::Ack),
            4 => Terms::read(map).map(Self::Terms),
            5 => Digest::read(map).map(Self::Digest),
            6 => Branch::read(map).map(Self::Branch),
            other => Err(MessageError::Kind(other)),
        })
    }
}

/// A frame around what `write` writes, which is about `room` bytes.
fn framed(room: usize, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::with_room(room);
    w.raw(&[0; 4]);
    write(&mut w);
    let mut frame = w.into_bytes();
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Room for a frame without many entries.
const SMALL_FRAME_BYTES: usize = 512;

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

/// A map that is being read.
struct Map<'r, 'a> {
    fields: crate::cbor::Fields,
    r: &'r mut Reader<'a>,
}

impl Map<'_, '_> {
    /// Reads a body: its kind, which stands first, and then what `read` makes of the rest.
    fn whole<T>(body: &[u8], read: impl FnOnce(u64, &mut Map<'_, '_>) -> Result<T, MessageError>) -> Result<T, MessageError> {
        let mut r = Reader::new(body);
        let mut map = Map {
            fields: r.map()?,
            r: &mut r,
        };
        if map.next()? != Some(0) {
            return Err(MessageError::Missing("kind"));
        }
        let kind = map.r.uint()?;
        let message = read(kind, &mut map)?;
        r.finish()?;
        Ok(message)
    }

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
        if lane > 2 { Err(MessageError::Value("lane")) } else { Ok(lane) }
    }

    fn name(&mut self) -> Result<Name, MessageError> {
        Name::from_bytes(self.r.bytes()?).map_err(|_| MessageError::Value("name"))
    }

    fn marks(&mut self, most: usize) -> Result<Vec<u64>, MessageError> {
        let count = self.r.array()?;
        if count > most as u64 {
            return Err(MessageError::Value("marks"));
        }
        Ok((0..count).map(|_| self.r.uint()).collect::<Result<_, _>>()?)
    }

    /// A record's bytes, copied: a slice of the frame would keep the whole frame in memory as long as the record.
    fn record(&mut self) -> Result<Bytes, MessageError> {
        let bytes = self.r.bytes()?;
        if bytes.len() > SignedRecord::bytes_max(bytes.first()) {
            return Err(MessageError::Value("record"));
        }
        Ok(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BATCH_RECORDS_MAX;
    use crate::name::Scheme;
    use crate::time::{UnixMicros, UnixSecs};

    fn hello() -> Hello {
        Hello {
            versions: vec![1],
            record: Bytes::from_static(b"record"),
            store: [7; 16],
            boot: [9; 16],
            heads: [1, 500, 0],
            terms: terms(),
        }
    }

    fn terms() -> Terms {
        Terms {
            relationship: Relationship::Customer,
            pushes: Mode::Values,
            accepts: Mode::None,
            answers: true,
            takes_all: false,
            reach: Reach {
                asks: vec![1, 1 << 40],
                partial: 2,
                filtered: 1,
            },
            filter: 1 << 50,
            schemes: Scheme::ALL,
        }
    }

    fn digest() -> Digest {
        Digest {
            seed: 77,
            names: 1_000,
            hashes: 7,
            total: 1_200,
            offset: 1_198,
            bytes: Bytes::from_static(b"ab"),
            tags: false,
        }
    }

    fn pointers() -> Batch {
        let pointer = Pointer {
            class: 2,
            keep_until: UnixSecs(1_800_000_000),
            name: Name::key_set([3; 32]),
            epoch: 0,
            sequence: UnixMicros(1_800_000_000_000_000),
            digest: [5; 16],
            expiry: UnixSecs(1_800_000_001),
            keeper: None,
            tag: Some(crate::hip::Hit::from_hash([6; 12])),
        };
        let kept = Pointer {
            keeper: Some(Name::key_set([4; 32])),
            tag: None,
            ..pointer.clone()
        };
        Batch {
            lane: 2,
            cursor: 9,
            behind: 0,
            entries: vec![
                Entry::Pointer(pointer),
                Entry::Mention(Mention {
                    name: u64::MAX,
                    tag: Some(7),
                }),
                Entry::Pointer(kept),
            ],
            heard: 5,
        }
    }

    fn value(batch: &mut Batch) -> &mut Value {
        match &mut batch.entries[0] {
            Entry::Value(value) => value,
            other => panic!("{other:?}"),
        }
    }

    fn batch() -> Batch {
        Batch {
            lane: 1,
            cursor: 300,
            behind: 2,
            entries: vec![Entry::Value(Value {
                class: 3,
                keep_until: UnixSecs(1_800_000_000),
                record: Bytes::from_static(b"abc"),
                path: Path::default(),
            })],
            heard: 0,
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
                limited: 6,
            },
            wants: Vec::new(),
        }
    }

    fn asks() -> Ack {
        Ack {
            lane: 1,
            wants: vec![Name::key_set([3; 32]), Name::key_set([4; 32])],
            ..ack()
        }
    }

    fn branch() -> Branch {
        Branch {
            root: u64::MAX,
            distance: 3,
            parent: true,
        }
    }

    #[test]
    fn messages_have_known_bytes() {
        for (message, bytes) in [
            (
                Message::Hello(hello()),
                "00000060b00001018101024672\
                 65636f7264\
                 035007070707070707070707070707070707\
                 045009090909090909090909090909090909\
                 0583011901f400\
                 0702080309000af50bf40c82011b00000100000000000d020e010f1b0004000000000000\
                 18400e",
            ),
            (
                Message::Batch(batch()),
                "00000018a500020101021901\
                 2c030204818303\
                 1a6b49d20043616263",
            ),
            (
                Message::Ack(ack()),
                "00000011a4000301000211038601020304\
                 1901f406",
            ),
            (Message::Branch(branch()), "00000011a40006011bffffffffffffffff020303f5"),
        ] {
            let frame = message.to_frame();
            assert_eq!(hex::encode(&frame), bytes.replace(char::is_whitespace, ""));
            assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
            assert_eq!(Message::decode(&frame[4..]), Ok(message));
        }
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        for message in [
            Message::Hello(hello()),
            Message::Batch(batch()),
            Message::Batch(pointers()),
            Message::Ack(ack()),
            Message::Ack(asks()),
            Message::Branch(branch()),
            Message::Terms(terms()),
            Message::Digest(digest()),
        ] {
            let mut body = message.to_frame().split_off(4);
            assert_eq!(Message::decode(&body), Ok(message));
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
    fn who_says_nothing_of_schemes_knows_the_first_and_lets_less_than_everything_pass() {
        let body = Message::Terms(Terms::mutual()).to_frame().split_off(4);
        let mut before = body[..body.len() - 3].to_vec();
        before[0] -= 1;
        let Ok(Message::Terms(terms)) = Message::decode(&before) else {
            panic!("an older peer's terms")
        };
        assert_eq!((terms.schemes, terms.filter), (Scheme::FIRST, 0));
        assert_ne!(terms.passing(), 0);
        assert_eq!(Terms::mutual().passing(), 0);
        let later = Terms {
            schemes: Scheme::ALL | 1 << 9,
            ..Terms::mutual()
        };
        assert_eq!(decoded(Message::Terms(later.clone())), Ok(Message::Terms(later.clone())));
        assert_eq!(later.passing(), 0, "a later version knows all that there is here");
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        let mut wrong = batch();
        value(&mut wrong).class = 4;
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("class")));
        let mut wrong = batch();
        wrong.lane = 3;
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("lane")));
        let mut wrong = batch();
        wrong.entries = vec![wrong.entries[0].clone(); BATCH_RECORDS_MAX + 1];
        assert_eq!(decoded(Message::Batch(wrong)), Err(MessageError::Value("entries")));
        let mut wrong = branch();
        wrong.distance = BRANCH_DISTANCE_MAX + 1;
        assert_eq!(decoded(Message::Branch(wrong)), Err(MessageError::Value("distance")));
        let mut wrong = asks();
        wrong.wants = vec![wrong.wants[0]; WANTS_MAX + 1];
        assert_eq!(decoded(Message::Ack(wrong)), Err(MessageError::Value("wants")));
        let mut wrong = batch();
        value(&mut wrong).record = Bytes::from(vec![0; RECORD_BYTES_MAX + 1]);
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
}
