//! The line of text by which one provider asks another to peer, and by which the other says yes.
//!
//! ```text
//! line    = "dialtone-peer:" z-base-32 of [envelope][checksum, 4 bytes]          spaces and line ends in it do not count
//! invite  = envelope over {1: 1, 2: genesis, ? 3: chain, 4: time µs, 5: until s, 6: [* address], 7: relationship, 8: pushes, 9: accepts,
//!                          10: asks, 11: answers, 12: seal, ? 13: reply to}, "dialtone/invite/v1"
//! seal    = signature by who offered first, "dialtone/offer/v1", over [until u64 big-endian][relationship, pushes, accepts, asks, answers: a byte
//!           each], as who offered first sees them
//! ```
//!
//! The checksum is the first four bytes of SHA-256("dialtone/invite/v1" ‖ envelope): a mistyped line is told apart from a forged one.
//!
//! Offer are as the reader of the line sees them: what the writer is to the reader, what the reader pushes. The seal is the memory of who
//! offered first: the reply carries it back, and who made it sees that the terms are those it offered, without having kept anything.

use crate::cbor::{CborError, Reader};
use crate::key::PublicKey;
use crate::limits::{INVITE_ADDRESS_BYTES_MAX, INVITE_ADDRESSES_MAX, INVITE_BYTES_MAX};
use crate::message::{Mode, Relationship};
use crate::name::Name;
use crate::receipt::{ReceiptError, Signer, expect, open, read_name};
use crate::record::signed::to_be_signed;
use crate::time::{UnixMicros, UnixSecs};
use crate::z32::{self, Z32Error};
use sha2::{Digest, Sha256};

/// An invitation, or a reply to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// Who wrote it.
    pub from: Name,
    /// When.
    pub time: UnixMicros,
    /// Until when it may be accepted; a reply: until when the invitation could be.
    pub until: UnixSecs,
    /// Where its writer listens, `host:port`; none: it has to be the one who dials.
    pub addresses: Vec<String>,
    /// The terms, as the reader sees them.
    pub offer: Offer,
    /// Who offered first, to whom this is a reply; `None`: it is the first.
    pub reply_to: Option<Name>,
    seal: [u8; 64],
}

/// What two providers agree on, as one of them sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// What the other one is.
    pub relationship: Relationship,
    /// What is pushed to it.
    pub push: Mode,
    /// What is accepted from it.
    pub accept: Mode,
    /// Whether it is asked.
    pub asks: bool,
    /// Whether it is answered.
    pub answers: bool,
}

/// Why a line is not an invitation that can be used. The turn of who wrote it, or of who copied it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InviteError {
    /// It begins otherwise.
    #[error("this is not an invitation: one begins with `{INVITE_PREFIX}`")]
    Prefix,
    /// A character that it cannot have.
    #[error("character {found:?} at position {position} cannot stand in an invitation")]
    Alphabet {
        /// Where, counted from 1, without spaces.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// Not what was written: cut off or mistyped.
    #[error("the checksum does not match: a part of the line is missing, or a character is mistyped")]
    Checksum,
    /// Longer than any invitation.
    #[error("longer than any invitation is")]
    TooLong,
    /// It is whole, but it is no invitation of this version.
    #[error("it is whole, but this version does not understand it: {0}")]
    Contents(ReceiptError),
    /// It is whole, but not signed by who it says wrote it.
    #[error("it is not signed by the provider that it names: somebody else made it")]
    Forged,
    /// Too late.
    #[error("it could be accepted until {0} seconds since 1970, which is over")]
    Expired(UnixSecs),
    /// A reply to somebody else.
    #[error("it is a reply to {0}, not to this provider")]
    ReplyToOther(Name),
    /// A reply on other terms than were offered.
    #[error("the reply is on other terms than this provider offered")]
    OtherTerms,
}

impl Offer {
    /// The same terms as the other one sees them.
    pub fn mirrored(self) -> Self {
        Self {
            relationship: self.relationship.mirrored(),
            push: self.accept,
            accept: self.push,
            asks: self.answers,
            answers: self.asks,
        }
    }

    /// What the seal signs.
    fn sealed(&self, until: UnixSecs) -> Vec<u8> {
        let mut bytes = until.0.to_be_bytes().to_vec();
        bytes.extend([
            self.relationship as u8,
            self.push as u8,
            self.accept as u8,
            u8::from(self.asks),
            u8::from(self.answers),
        ]);
        to_be_signed(SEAL_DOMAIN, &bytes)
    }
}

impl Invite {
    /// The line that offers these terms, as the writer sees them, until `until`.
    pub fn offer(signer: &Signer, now: UnixMicros, until: UnixSecs, addresses: &[String], offer: Offer) -> String {
        let seal = signer.secret.sign(&offer.sealed(until));
        line(signer, now, until, addresses, offer.mirrored(), &seal, None)
    }

    /// The line by which the reader of this one says yes to its terms, and where it listens.
    pub fn reply(&self, signer: &Signer, now: UnixMicros, addresses: &[String]) -> String {
        let to = self.from;
        line(signer, now, self.until, addresses, self.offer.mirrored(), &self.seal, Some(&to))
    }

    /// Reads a line, and checks that it is whole and signed by who it says wrote it.
    ///
    /// # Errors
    /// [`InviteError`], saying what is wrong with the line.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).take(LINE_CHARS_MAX + 1).collect();
        let head = text.get(..INVITE_PREFIX.len()).ok_or(InviteError::Prefix)?;
        if !head.eq_ignore_ascii_case(INVITE_PREFIX) {
            return Err(InviteError::Prefix);
        }
        if text.chars().count() > LINE_CHARS_MAX {
            return Err(InviteError::TooLong);
        }
        let bytes = z32::decode(&text[INVITE_PREFIX.len()..]).map_err(|error| match error {
            Z32Error::Alphabet { position, found } => InviteError::Alphabet {
                position: INVITE_PREFIX.len() + position + 1,
                found,
            },
            Z32Error::NonCanonical | Z32Error::Length(_) => InviteError::Checksum,
        })?;
        let (envelope, sum) = bytes.split_last_chunk().ok_or(InviteError::Checksum)?;
        if checksum(envelope) != *sum {
            return Err(InviteError::Checksum);
        }
        Self::verify(envelope)
    }

    /// Whether it can still be accepted.
    ///
    /// # Errors
    /// [`InviteError::Expired`].
    pub fn check_time(&self, now: UnixSecs) -> Result<(), InviteError> {
        if now > self.until {
            return Err(InviteError::Expired(self.until));
        }
        Ok(())
    }

    /// Whether it is a reply to what `own`, whose key is `key`, offered: on those terms, to that name.
    ///
    /// # Errors
    /// [`InviteError::ReplyToOther`] or [`InviteError::OtherTerms`].
    pub fn check_reply(&self, own: &Name, key: &PublicKey) -> Result<(), InviteError> {
        match &self.reply_to {
            Some(to) if to != own => return Err(InviteError::ReplyToOther(*to)),
            Some(_) | None => {}
        }
        // The reader is who offered first: the terms of the reply are already as it sees them.
        match key.verify(&self.offer.sealed(self.until), &self.seal) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(InviteError::OtherTerms),
        }
    }

    fn verify(envelope: &[u8]) -> Result<Self, InviteError> {
        let read = |r: &mut Reader<'_>, fields: &mut crate::cbor::Fields| {
            expect(fields.next(r)?, 5, r)?;
            let until = UnixSecs(r.uint()?);
            expect(fields.next(r)?, 6, r)?;
            let at = r.position();
            let count = r.array()?;
            if count > INVITE_ADDRESSES_MAX as u64 {
                return Err(CborError::Type(at));
            }
            let addresses = (0..count).map(|_| address(r)).collect::<Result<_, _>>()?;
            expect(fields.next(r)?, 7, r)?;
            let relationship = coded(r, Relationship::from_number)?;
            expect(fields.next(r)?, 8, r)?;
            let push = coded(r, Mode::from_number)?;
            expect(fields.next(r)?, 9, r)?;
            let accept = coded(r, Mode::from_number)?;
            expect(fields.next(r)?, 10, r)?;
            let asks = r.bool()?;
            expect(fields.next(r)?, 11, r)?;
            let answers = r.bool()?;
            expect(fields.next(r)?, 12, r)?;
            let seal = r.array_of()?;
            let reply_to = match fields.next(r)? {
                None => None,
                key => {
                    expect(key, 13, r)?;
                    Some(read_name(r)?)
                }
            };
            let offer = Offer {
                relationship,
                push,
                accept,
                asks,
                answers,
            };
            Ok((until, addresses, offer, seal, reply_to))
        };
        let (from, time, (until, addresses, offer, seal, reply_to)) = open(INVITE_DOMAIN, envelope, read).map_err(|error| match error {
            ReceiptError::Signature => InviteError::Forged,
            other => InviteError::Contents(other),
        })?;
        Ok(Self {
            from,
            time,
            until,
            addresses,
            offer,
            reply_to,
            seal,
        })
    }
}

fn line(
    signer: &Signer,
    now: UnixMicros,
    until: UnixSecs,
    addresses: &[String],
    offer: Offer,
    seal: &[u8; 64],
    reply_to: Option<&Name>,
) -> String {
    let fill = |w: &mut crate::cbor::Writer| {
        w.uint(4).uint(now.0).uint(5).uint(until.0).uint(6).array(addresses.len());
        addresses.iter().for_each(|address| {
            w.text(address);
        });
        w.uint(7).uint(offer.relationship as u64);
        w.uint(8).uint(offer.push as u64).uint(9).uint(offer.accept as u64);
        w.uint(10).bool(offer.asks).uint(11).bool(offer.answers).uint(12).bytes(seal);
        if let Some(name) = reply_to {
            w.uint(13).bytes(name.as_bytes());
        }
    };
    let mut bytes = signer.sign(INVITE_DOMAIN, fill, 9 + usize::from(reply_to.is_some())).to_vec();
    bytes.extend(checksum(&bytes));
    format!("{INVITE_PREFIX}{}", z32::encode(&bytes))
}

/// Whether an address can stand in an invitation: `host:port`, short, and nothing that a terminal or a settings file would act upon.
pub fn is_address(text: &str) -> bool {
    let host_and_port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    host_and_port
        && text.len() <= INVITE_ADDRESS_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte))
}

fn address(r: &mut Reader<'_>) -> Result<String, CborError> {
    let at = r.position();
    let text = r.text()?;
    if is_address(text) {
        Ok(text.to_owned())
    } else {
        Err(CborError::Type(at))
    }
}

fn coded<T>(r: &mut Reader<'_>, from_number: impl FnOnce(u64) -> Option<T>) -> Result<T, CborError> {
    let at = r.position();
    from_number(r.uint()?).ok_or(CborError::Type(at))
}

fn checksum(envelope: &[u8]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(INVITE_DOMAIN).chain_update(envelope).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// What every line begins with.
pub const INVITE_PREFIX: &str = "dialtone-peer:";
/// The external_aad of an invitation.
pub const INVITE_DOMAIN: &str = "dialtone/invite/v1";
/// The external_aad of the seal.
pub const SEAL_DOMAIN: &str = "dialtone/offer/v1";
const LINE_CHARS_MAX: usize = INVITE_PREFIX.len() + ((INVITE_BYTES_MAX + 4) * 8).div_ceil(5);
