//! What a provider tells of names that are watched: server-sent events, taken apart and verified. Bytes in, events out.
//!
//! ```text
//! event: put | revoke | expire | absent | unknown | current | resync       data: one JSON object       id: where to go on
//! ```
//!
//! What is not known is passed over: newer providers say more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Name, Rank, SignedRecord, Ttl, UnixSecs, VerifiedRecord};
use serde::Deserialize;

/// What was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// This is the record now. `fresh`: it is kept elsewhere, nothing will be told of its next change, and for so long it may be believed.
    Put {
        /// The record, verified and current.
        record: VerifiedRecord,
        /// See above.
        fresh: Option<Ttl>,
    },
    /// The name is revoked, by this record.
    Revoked(VerifiedRecord),
    /// The newest record has expired.
    Expired {
        /// Whose.
        name: Name,
        /// The record's rank.
        rank: Rank,
    },
    /// There is no record.
    Absent(Name),
    /// Nothing certain can be said, or what was said is not to be believed.
    Unknown {
        /// Of which name.
        name: Name,
        /// Why, in words.
        reason: String,
    },
    /// Everything that is true now has been told. `whole`: what the provider keeps is the newest there is, so that no change will be missed.
    Current {
        /// See above.
        whole: bool,
    },
    /// Where we left off says nothing there any more: everything is told anew.
    Resync(String),
    /// Nothing is told for now: the connection is lost, and is being made again.
    Lost {
        /// With which provider.
        provider: String,
        /// Why, in words.
        reason: String,
    },
}

/// What came is no stream of events.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a stream of events: {0}")]
pub struct NotEvents(&'static str);

/// Takes a stream of events apart.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// How much of it has been read.
    at: usize,
    id: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    name: String,
    #[serde(default)]
    rank: String,
    #[serde(default)]
    record: String,
    fresh: Option<u32>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    whole: bool,
}

impl Reader {
    /// Takes in what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that has come whole.
    ///
    /// # Errors
    /// [`NotEvents`]: the provider is broken, or none.
    pub fn next(&mut self, now: UnixSecs) -> Result<Option<Told>, NotEvents> {
        loop {
            let rest = &self.bytes[self.at..];
            let Some(length) = rest.windows(2).position(|two| two == b"\n\n") else {
                return if rest.len() > EVENT_BYTES_MAX {
                    Err(NotEvents("an event has no end"))
                } else {
                    Ok(None)
                };
            };
            let block = std::str::from_utf8(&rest[..length]).map_err(|_| NotEvents("it is not text"))?;
            self.at += length + 2;
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(|value| value.strip_prefix(' ').unwrap_or(value))
            };
            let told = match (field("event:"), field("data:")) {
                (Some(kind), Some(data)) => event(kind, data, now)?,
                _ => None,
            };
            if let Some(id) = field("id:") {
                self.id = id.to_owned();
            }
            if told.is_some() {
                return Ok(told);
            }
        }
    }

    /// Where to go on: everything up to here was told.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Told {
    /// The name that it is about.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Put { record, .. } | Self::Revoked(record) => Some(record.name()),
            Self::Expired { name, .. } | Self::Absent(name) | Self::Unknown { name, .. } => Some(name),
            Self::Current { .. } | Self::Resync(_) | Self::Lost { .. } => None,
        }
    }
}

fn event(kind: &str, data: &str, now: UnixSecs) -> Result<Option<Told>, NotEvents> {
    let data: Data = serde_json::from_str(data).map_err(|_| NotEvents("its data is not a JSON object"))?;
    let name = || data.name.parse::<Name>().map_err(|_| NotEvents("an event is about no name"));
    Ok(Some(match kind {
        "put" | "revoke" => record(name()?, &data, now),
        "expire" => Told::Expired {
            name: name()?,
            rank: data.rank.parse().map_err(|_| NotEvents("an event has no rank"))?,
        },
        "absent" => Told::Absent(name()?),
        "unknown" => Told::Unknown {
            name: name()?,
            reason: data.reason,
        },
        "current" => Told::Current { whole: data.whole },
        "resync" => Told::Resync(data.reason),
        _ => return Ok(None),
    }))
}

/// What is told is believed for its signature alone.
fn record(name: Name, data: &Data, now: UnixSecs) -> Told {
    let unknown = |reason: String| Told::Unknown { name, reason };
    let Ok(bytes) = BASE64.decode(&data.record) else {
        return unknown("the record that was told is not base64".to_owned());
    };
    let verified = SignedRecord::decode(bytes.into())
        .map_err(|error| error.to_string())
        .and_then(|signed| signed.verify_for(&name).map_err(|error| error.to_string()));
    match verified {
        Err(reason) => unknown(format!("an invalid record was told: {reason}")),
        Ok(record) => match record.record().from_peer(now) {
            Timeliness::Current if record.rank().revoked => Told::Revoked(record),
            Timeliness::Current => Told::Put {
                record,
                fresh: data.fresh.map(Ttl),
            },
            Timeliness::Expired => Told::Expired {
                name,
                rank: *record.rank(),
            },
            Timeliness::Future(secs) => unknown(format!("the record that was told is from {secs} s in the future")),
        },
    }
}

/// The largest event that is read: the largest record in base64, and what stands around it, twice.
const EVENT_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, record};

    fn all(bytes: &[u8]) -> Result<(Vec<Told>, String), NotEvents> {
        let mut reader = Reader::default();
        let mut told = Vec::new();
        // In pieces as a network would bring it.
        for piece in bytes.chunks(7) {
            reader.push(piece);
            while let Some(one) = reader.next(NOW)? {
                told.push(one);
            }
        }
        Ok((told, reader.id().to_owned()))
    }

    fn put(kind: &str, record: &VerifiedRecord, name: &Name) -> String {
        format!(
            "event: {kind}\ndata: {{\"name\":\"{name}\",\"rank\":\"{}\",\"record\":\"{}\"}}\n\n",
            record.rank(),
            BASE64.encode(record.bytes())
        )
    }

    #[test]
    fn events_are_read_in_whatever_pieces_they_come() {
        let record = record(1, 10);
        let name = *record.name();
        let text = format!(
            ": hello\n\n{}:\nid: 1.2\n\nevent: absent\nid: 1.3\ndata: {{\"name\":\"{name}\"}}\n\nevent: novelty\ndata: {{}}\n\nevent: current\ndata: {{\"whole\":true}}\n\nevent: expire\ndata: {{\"na",
            put("put", &record, &name)
        );
        let (told, id) = all(text.as_bytes()).unwrap();
        assert_eq!(
            told,
            [Told::Put { record, fresh: None }, Told::Absent(name), Told::Current { whole: true }]
        );
        assert_eq!(id, "1.3");
    }

    #[test]
    fn a_record_is_believed_for_its_signature_alone() {
        let record = record(1, 10);
        let other = Name::key_set([9; 32]);
        let (told, _) = all(put("put", &record, &other).as_bytes()).unwrap();
        assert!(matches!(&told[..], [Told::Unknown { name, .. }] if *name == other), "{told:?}");
        let forged = put("put", &record, record.name()).replace("\"record\":\"", "\"record\":\"AAAA");
        assert!(matches!(&all(forged.as_bytes()).unwrap().0[..], [Told::Unknown { .. }]));
    }

    #[test]
    fn what_is_no_stream_of_events_ends_it() {
        for text in [
            "event: put\ndata: {}\n\n",
            "event: put\ndata: <html>\n\n",
            "event: expire\ndata: {\"name\":\"x\"}\n\n",
        ] {
            assert!(all(text.as_bytes()).is_err(), "{text}");
        }
        assert!(all(&[b'x'; EVENT_BYTES_MAX + 8]).is_err(), "nothing without an end is gathered");
        assert!(all(b"event: \xff\n\n").is_err());
    }
}
