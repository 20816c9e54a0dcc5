//! pkarr packets: what an Ed25519 key says of itself, signed as BEP 44 has it, and kept here as a record of the name that is the key.
//!
//! ```text
//! envelope       03 | public key (32) | timestamp (8) | DNS message (12 to 1,000) | signature (64)
//! relay payload  signature (64) | timestamp (8) | DNS message                        what pkarr's clients send and get
//! signed         "3:seqi" timestamp in decimal "e1:v" length of the message in decimal ":" message
//! ```
//!
//! The envelope begins with the name, as no other does, and stands in the order in which pkarr ranks packets: timestamp, then the message's
//! bytes. So the larger envelope is the newer packet, as of every record, and nothing that compares records needs to know of pkarr.
//! Everything that was signed is kept as it arrived.

use super::binding::{Binding, DnsData, is_owner};
use super::rdata::{self, types};
use super::{Body, Record, RecordError};
use crate::key::{Genesis, KeyError, PublicKey, SecretKey};
use crate::limits::{PACKET_DNS_BYTES_MAX, SEQUENCE_MAX, TTL_SECS_DEFAULT};
use crate::name::{Name, Scheme};
use crate::time::{Ttl, UnixMicros};
use crate::z32;
use bytes::Bytes;

/// Why bytes are not a pkarr packet. The publisher's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// Too short for a signature, a timestamp and the header of a DNS message.
    #[error("{0} bytes is too short: a signature, a timestamp and a DNS message have at least {RELAY_BYTES_MIN}")]
    TooShort(usize),
    /// A longer DNS message than BEP 44 has room for.
    #[error("a DNS message of {0} bytes is longer than a packet may carry ({PACKET_DNS_BYTES_MAX})")]
    TooLong(usize),
    /// The DNS message cannot be read.
    #[error("the DNS message cannot be read at byte {0}")]
    Message(usize),
    /// Something follows the DNS message.
    #[error("the DNS message ends at byte {0}, and more follows")]
    Trailing(usize),
}

/// An envelope taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Whose.
    pub key: [u8; 32],
    /// Microseconds since 1970.
    pub timestamp: UnixMicros,
    /// The DNS message.
    pub dns: &'a [u8],
    /// The signature.
    pub signature: &'a [u8; 64],
}

impl<'a> Packet<'a> {
    /// Takes an envelope apart. Nothing is checked but its length.
    ///
    /// # Errors
    /// [`PacketError::TooShort`] or [`PacketError::TooLong`].
    pub fn open(envelope: &'a [u8]) -> Result<Self, PacketError> {
        let parts = || {
            let (&key, rest) = envelope.get(1..)?.split_first_chunk()?;
            let (&timestamp, rest) = rest.split_first_chunk()?;
            let (dns, signature) = rest.split_last_chunk()?;
            Some(Self {
                key,
                timestamp: UnixMicros(u64::from_be_bytes(timestamp)),
                dns,
                signature,
            })
        };
        let packet = parts()
            .filter(|packet| packet.dns.len() >= HEADER_BYTES)
            .ok_or(PacketError::TooShort(envelope.len().saturating_sub(Name::BYTES)))?;
        if packet.dns.len() > PACKET_DNS_BYTES_MAX {
            return Err(PacketError::TooLong(packet.dns.len()));
        }
        Ok(packet)
    }

    /// The packet that a relay was sent for `key`.
    ///
    /// # Errors
    /// As [`Packet::open`].
    pub fn from_relay(key: [u8; 32], payload: &'a [u8]) -> Result<Self, PacketError> {
        let (signature, rest) = payload.split_first_chunk().ok_or(PacketError::TooShort(payload.len()))?;
        let (&timestamp, dns) = rest.split_first_chunk().ok_or(PacketError::TooShort(payload.len()))?;
        if dns.len() < HEADER_BYTES {
            return Err(PacketError::TooShort(payload.len()));
        }
        if dns.len() > PACKET_DNS_BYTES_MAX {
            return Err(PacketError::TooLong(dns.len()));
        }
        Ok(Self {
            key,
            timestamp: UnixMicros(u64::from_be_bytes(timestamp)),
            dns,
            signature,
        })
    }

    /// As it is sent to a relay, and by one.
    pub fn to_relay(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(RELAY_HEAD_BYTES + self.dns.len());
        payload.extend_from_slice(self.signature);
        payload.extend_from_slice(&self.timestamp.0.to_be_bytes());
        payload.extend_from_slice(self.dns);
        payload
    }

    /// As it is kept.
    pub fn to_envelope(&self) -> Bytes {
        let mut envelope = Vec::with_capacity(Name::BYTES + RELAY_HEAD_BYTES + self.dns.len());
        envelope.push(Scheme::Pkarr as u8);
        envelope.extend_from_slice(&self.key);
        envelope.extend_from_slice(&self.timestamp.0.to_be_bytes());
        envelope.extend_from_slice(self.dns);
        envelope.extend_from_slice(self.signature);
        envelope.into()
    }

    /// Whether the key signed it: strictly, as everywhere.
    ///
    /// # Errors
    /// [`KeyError`] if it is no key.
    pub(super) fn verify(&self) -> Result<bool, KeyError> {
        PublicKey::from_bytes(self.key).verify(&signable(self.timestamp, self.dns), self.signature)
    }

    /// What it says.
    ///
    /// # Errors
    /// [`PacketError`] or [`RecordError::Sequence`].
    pub(super) fn record(&self) -> Result<Record, RecordError> {
        if self.timestamp.0 == 0 || self.timestamp.0 > SEQUENCE_MAX {
            return Err(RecordError::Sequence(self.timestamp.0));
        }
        let (ttl, bindings) = read(self.dns, &self.key)?;
        Ok(Record {
            genesis: Genesis::of(PublicKey::from_bytes(self.key)),
            chain: Vec::new(),
            sequence: self.timestamp,
            scope: Vec::new(),
            body: Body::Packet { ttl, bindings },
        })
    }
}

/// A packet of `secret`'s key, signed now: its envelope.
///
/// # Errors
/// [`PacketError`]: the message is too long, or none.
pub fn sign(secret: &SecretKey, timestamp: UnixMicros, dns: &[u8]) -> Result<Bytes, PacketError> {
    let key = *secret.public().as_bytes();
    read(dns, &key)?;
    let signature = &secret.sign(&signable(timestamp, dns));
    let envelope = Packet {
        key,
        timestamp,
        dns,
        signature,
    }
    .to_envelope();
    Packet::open(&envelope).map(drop)?;
    Ok(envelope)
}

/// What is signed: the message as a mutable item of BEP 44, without salt.
fn signable(timestamp: UnixMicros, dns: &[u8]) -> Vec<u8> {
    let mut signed = format!("3:seqi{}e1:v{}:", timestamp.0, dns.len()).into_bytes();
    signed.extend_from_slice(dns);
    signed
}

/// The RRs of a message that are under the key and can be answered in DNS, and the least TTL of all that are under it. What is not under it,
/// of another class, or of a type or owner that no record may publish, is left out: it is kept, and means nothing here.
fn read(dns: &[u8], key: &[u8; 32]) -> Result<(Ttl, Vec<Binding>), PacketError> {
    let mut at = Reader { message: dns, at: 0 };
    at.skip(4)?;
    let [questions, answers, authorities, additionals] = [at.u16()?, at.u16()?, at.u16()?, at.u16()?];
    for _ in 0..questions {
        at.name()?;
        at.skip(4)?;
    }
    let apex = z32::encode(key);
    let (mut least, mut bindings) = (None::<u32>, Vec::new());
    for index in 0..u32::from(answers) + u32::from(authorities) + u32::from(additionals) {
        let owner = at.name()?;
        let (kind, class, ttl) = (at.u16()?, at.u16()?, at.u32()?);
        let length = usize::from(at.u16()?);
        let start = at.at;
        at.skip(length)?;
        let rdata = Reader {
            message: &dns[..at.at],
            at: start,
        };
        if index >= u32::from(answers) || class & CLASS_MASK != CLASS_IN {
            continue;
        }
        let Some(owner) = owner_under(&owner, &apex) else { continue };
        least = Some(least.map_or(ttl, |least| least.min(ttl)));
        let Ok(rdata) = rdata.rdata(kind) else { continue };
        if is_owner(&owner) && rdata::check(kind, &rdata).is_ok() {
            bindings.push(Binding::Dns(DnsData {
                owner,
                kind,
                ttl: Ttl(ttl),
                rdata,
            }));
        }
    }
    if at.at != dns.len() {
        return Err(PacketError::Trailing(at.at));
    }
    Ok((Ttl(least.unwrap_or(TTL_SECS_DEFAULT)), bindings))
}

/// The labels left of the key, as a record writes an owner; `None`: not under it, or not text.
fn owner_under(name: &[u8], apex: &str) -> Option<String> {
    let mut owner = String::new();
    let mut rest = name;
    loop {
        let (&length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(length))?;
        let label = str::from_utf8(label).ok()?;
        if after == [0] {
            return label.eq_ignore_ascii_case(apex).then_some(owner);
        }
        if !owner.is_empty() {
            owner.push('.');
        }
        // A dot within a label would be another owner.
        owner.extend(label.chars().map(|c| if c == '.' { ' ' } else { c.to_ascii_lowercase() }));
        rest = after;
    }
}

/// A place in a DNS message.
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], PacketError> {
        let taken = self.message.get(self.at..self.at + count).ok_or(PacketError::Message(self.at))?;
        self.at += count;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), PacketError> {
        self.take(count).map(drop)
    }

    fn byte(&mut self) -> Result<u8, PacketError> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Result<u16, PacketError> {
        self.take(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn u32(&mut self) -> Result<u32, PacketError> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name, uncompressed (RFC 1035 §4.1.4). A pointer leads back to before what it continues, so there is an end.
    fn name(&mut self) -> Result<Vec<u8>, PacketError> {
        let mut name = Vec::new();
        let (mut after, mut begin) = (None, self.at);
        loop {
            let here = self.at;
            let wrong = PacketError::Message(here);
            let length = self.byte()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    name.push(length);
                    name.extend_from_slice(label);
                    if name.len() >= NAME_BYTES_MAX {
                        return Err(wrong);
                    }
                }
                0xc0.. => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(self.byte()?);
                    if target >= begin {
                        return Err(wrong);
                    }
                    after.get_or_insert(self.at);
                    (begin, self.at) = (target, target);
                }
                64..=0xbf => return Err(wrong),
            }
        }
        name.push(0);
        self.at = after.unwrap_or(self.at);
        Ok(name)
    }

    fn string(&mut self) -> Result<(), PacketError> {
        let length = self.byte()?;
        self.skip(usize::from(length))
    }

    /// The RDATA from here to the end of what can be read, its names uncompressed.
    fn rdata(mut self, kind: u16) -> Result<Vec<u8>, PacketError> {
        let begin = self.at;
        let names = match kind {
            types::CNAME | types::PTR | types::MB | types::MG | types::MR => 1,
            types::RP | types::MINFO => 2,
            types::MX | types::AFSDB | types::RT | types::KX | types::SVCB | types::HTTPS => self.skip(2).map(|()| 1)?,
            types::PX => self.skip(2).map(|()| 2)?,
            types::SRV => self.skip(6).map(|()| 1)?,
            types::NAPTR => {
                self.skip(4)?;
                self.string()?;
                self.string()?;
                self.string()?;
                1
            }
            _ => 0,
        };
        let mut rdata = self.message[begin..self.at].to_vec();
        for _ in 0..names {
            rdata.extend(self.name()?);
        }
        rdata.extend_from_slice(&self.message[self.at..]);
        Ok(rdata)
    }
}

/// A signature and a timestamp, in bytes.
const RELAY_HEAD_BYTES: usize = 64 + 8;
/// Shortest relay payload, in bytes.
const RELAY_BYTES_MIN: usize = RELAY_HEAD_BYTES + HEADER_BYTES;
/// Longest relay payload, in bytes.
pub const RELAY_BYTES_MAX: usize = RELAY_HEAD_BYTES + PACKET_DNS_BYTES_MAX;
/// The header of a DNS message, in bytes.
const HEADER_BYTES: usize = 12;
/// Longest name, in bytes of its wire form.
const NAME_BYTES_MAX: usize = 255;
/// The Internet, without the bit by which multicast DNS flushes caches.
const CLASS_IN: u16 = 1;
const CLASS_MASK: u16 = 0x7fff;
