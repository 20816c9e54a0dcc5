//! The greeting: whether the other side is the provider that the agreement names, speaking with a key that this
//! provider's record authorises now.
//!
//! TLS has proved that the other side holds the key of the certificate it showed. The greeting carries the provider's own
//! signed record; it must be of the name that is pinned, signed by the key in force, timely, not behind what our store knows of
//! the name's keys, and list that certificate's pin. So providers rotate keys like anyone, and nobody else can vouch for them.

use super::agreement::{Agreement, Agreements};
use super::limits::GREETING_LIFETIME_SECS;
use dialtone_shared::message::{CloseCode, Hello, Relationship, SERVICE_LABEL};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::signed::SignError;
use dialtone_shared::record::{Address, Service, Timeliness, Transport};
use dialtone_shared::{Binding, Body, Name, Rank, Record, RecordError, SignedRecord, Ttl, UnixMicros, UnixSecs, VerifyError};
use std::net::IpAddr;

/// Why a greeting is not accepted. Said in the same words to both sides.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GreetingError {
    /// What was presented is no record. The presenter's turn.
    #[error("the greeting's record is not a record: {0}")]
    NotARecord(#[from] RecordError),
    /// Not whom we dialled. The turn of whoever wrote the agreement, or the address is another provider's by now.
    #[error("the agreement is with {pinned}, and who answered presented the name {presented}: correct the agreement's name or its address")]
    WrongName {
        /// Who it says it is.
        presented: Name,
        /// Who it should be.
        pinned: Name,
    },
    /// A stranger. The turn of both operators, if they mean to peer.
    #[error("no agreement with {0}: each side must list the other")]
    NoAgreement(Name),
    /// Signed by someone else. The presenter's turn.
    #[error("the record of {name} is not believed: {error}")]
    NotSigned {
        /// Whose record it pretends to be.
        name: Name,
        /// Why not.
        error: VerifyError,
    },
    /// Out of date. The turn of whoever has the wrong clock.
    #[error("the record of {0} has expired: one of the two clocks is wrong")]
    Expired(Name),
    /// From the future. The turn of whoever has the wrong clock.
    #[error("the record of {name} is {ahead} s ahead: one of the two clocks is wrong")]
    Future {
        /// Whose.
        name: Name,
        /// By how much.
        ahead: u64,
    },
    /// Signed by a key that has been rotated away or revoked. The presenter's turn: it runs on an old key.
    #[error("the record of {0} is signed by a key that is known to be rotated away or revoked: use the key in force")]
    OldKey(Name),
    /// The certificate holds a key that the record does not list: someone replays a greeting, or the peer is misconfigured.
    #[error("the certificate presented is not one that the record of {0} lists")]
    WrongKey(Name),
    /// The two agreements contradict each other. The operators' turn.
    #[error(
        "the agreements contradict each other: {own} says {ours} of {name}, which says {theirs} of it: either the first has to say {}, or the second {}",
        theirs.mirrored(), ours.mirrored()
    )]
    Disagreement {
        /// Ourselves: what is said here is read on the other side too.
        own: Name,
        /// With whom.
        name: Name,
        /// What it is to us.
        ours: Relationship,
        /// What we are to it.
        theirs: Relationship,
    },
}

impl GreetingError {
    /// The code it is closed with.
    pub fn code(&self) -> CloseCode {
        match self {
            Self::WrongName { .. } => CloseCode::WrongName,
            Self::NoAgreement(_) => CloseCode::NoAgreement,
            Self::NotARecord(_) | Self::NotSigned { .. } | Self::OldKey(_) | Self::WrongKey(_) => CloseCode::BadProof,
            Self::Expired(_) | Self::Future { .. } => CloseCode::Clock,
            Self::Disagreement { .. } => CloseCode::Disagreement,
        }
    }
}

/// The record with which `signer` authorises the link keys `pins`, on `port`: signed anew for every link, so that it is
/// always timely and a record that someone kept soon proves nothing.
///
/// # Errors
/// [`SignError`]: the signer's secret is not the one in force, or there are more addresses than a record has bindings.
pub fn own_record(
    signer: &Signer,
    now: UnixMicros,
    port: u16,
    addresses: &[IpAddr],
    pins: Vec<[u8; 32]>,
) -> Result<SignedRecord, SignError> {
    let mut service = Service::of(SERVICE_LABEL, Transport::Udp, port);
    service.pins = pins;
    let addresses = addresses.iter().map(|ip| Binding::Address(Address::of(*ip)));
    let record = Record {
        genesis: signer.genesis.clone(),
        chain: signer.chain.clone(),
        sequence: now,
        scope: Vec::new(),
        body: Body::Live {
            expiry: now.secs().plus(GREETING_LIFETIME_SECS),
            ttl: Ttl(60),
            bindings: std::iter::once(Binding::Service(service)).chain(addresses).collect(),
        },
    };
    SignedRecord::sign(record, &signer.secret)
}

/// Who the other side claims to be, as far as it costs nothing to tell: `pinned` is whom we dialled, if we did.
///
/// # Errors
/// [`GreetingError::NotARecord`], [`GreetingError::WrongName`] or [`GreetingError::NoAgreement`].
pub fn claim<'a>(hello: &Hello, pinned: Option<&Name>, agreements: &'a Agreements) -> Result<(SignedRecord, &'a Agreement), GreetingError> {
    let record = SignedRecord::decode(hello.record.clone())?;
    let presented = *record.name();
    if let Some(pinned) = pinned.filter(|pinned| **pinned != presented) {
        let pinned = *pinned;
        return Err(GreetingError::WrongName { presented, pinned });
    }
    let agreement = agreements.get(&presented).ok_or(GreetingError::NoAgreement(presented))?;
    Ok((record, agreement))
}

/// Whether the claim is proved: `pin` is of the certificate that was shown, `known` what our store holds of the name.
///
/// # Errors
/// [`GreetingError`].
pub fn prove(
    record: SignedRecord,
    own: &Name,
    agreement: &Agreement,
    hello: &Hello,
    pin: &[u8; 32],
    known: Option<&Rank>,
    now: UnixSecs,
) -> Result<(), GreetingError> {
    let name = agreement.peer;
    let lists = |binding: &Binding| match binding {
        Binding::Service(service) => service.label == SERVICE_LABEL && service.transport == Transport::Udp && service.pins.contains(pin),
        Binding::Address(_) | Binding::Delegate(_) | Binding::Dns(_) | Binding::Opaque(_) => false,
    };
    if !record.record().bindings().iter().any(lists) {
        return Err(GreetingError::WrongKey(name));
    }
    match record.record().from_peer(now) {
        Timeliness::Current => {}
        Timeliness::Expired => return Err(GreetingError::Expired(name)),
        Timeliness::Future(ahead) => return Err(GreetingError::Future { name, ahead }),
    }
    let rank = record.rank();
    if known.is_some_and(|known| (known.epoch, known.revoked) > (rank.epoch, rank.revoked)) {
        return Err(GreetingError::OldKey(name));
    }
    record.verify_for(&name).map_err(|error| GreetingError::NotSigned { name, error })?;
    let (ours, theirs) = (agreement.relationship, hello.terms.relationship);
    if ours != theirs.mirrored() {
        let own = *own;
        return Err(GreetingError::Disagreement { own, name, ours, theirs });
    }
    Ok(())
}
