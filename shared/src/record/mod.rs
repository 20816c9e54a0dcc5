//! What a publisher says about a name at one time: a [`Record`], and its bytes.
//!
//! ```text
//! record  = {1: version, 2: genesis, ? 3: [+ link], 4: sequence, ? 5: expiry, ? 6: ttl, ? 7: [+ scope],
//!            ? 8: [* binding], ? 9: true}                       (deterministic CBOR; CDDL in docs/PROTOCOL.md)
//! ```
//!
//! A live record has 5, 6 and 8; a revocation has 9 in their stead. Fields from 64 on are uncritical: a reader
//! that does not know one passes over it. Any other unknown field is refused.

pub mod binding;
pub mod pkarr;
pub mod rank;
pub mod rdata;
pub mod signed;

pub use binding::{Address, Binding, BindingError, Delegate, DnsData, Opaque, Service, Step, Target, Transport};

use crate::cbor::{CborError, Reader, Writer};
use crate::key::{self, Genesis, KeyError, Link, PublicKey};
use crate::limits::{
    BINDINGS_MAX, CHAIN_LINKS_MAX, FUTURE_PEER_SECS, FUTURE_PUT_SECS, LEASE_SECS_MAX, LIFETIME_SECS_MAX, RECORD_BYTES_MAX,
    RECORD_BYTES_MIN, SCOPE_MAX, SEQUENCE_MAX, TTL_SECS_DEFAULT, TTL_SECS_MAX, UNCRITICAL_FROM, VALUE_BYTES_MAX,
};
use crate::name::{Name, Scheme};
use crate::record::pkarr::PacketError;
use crate::time::{Ttl, UnixMicros, UnixSecs};

/// The version of the record format that this crate reads and writes.
pub const VERSION: u64 = 1;

/// What a publisher says about a name at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What the name commits to. Of a pkarr name it is the key alone, of a value nobody's.
    pub genesis: Genesis,
    /// The rotations so far: their number is the key epoch.
    pub chain: Vec<Link>,
    /// When it was signed, by convention; what orders the records of an epoch.
    pub sequence: UnixMicros,
    /// The providers that may hold it, in ascending order; empty means all.
    pub scope: Vec<Name>,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The name stands for these bindings, until it expires.
    Live {
        /// From then on it is not served. At most 400 days after the sequence.
        expiry: UnixSecs,
        /// How long caches may keep it.
        ttl: Ttl,
        /// What the name stands for; none withdraws it without burning it.
        bindings: Vec<Binding>,
    },
    /// The key is lost: nothing of this epoch counts any more. Has no expiry.
    Revoked,
    /// A pkarr packet: see [`pkarr`]. It is kept for as long as it is leased.
    Packet {
        /// The least TTL of its RRs.
        ttl: Ttl,
        /// Its RRs under the key, as far as they can be answered in DNS: all of them [`Binding::Dns`].
        bindings: Vec<Binding>,
    },
    /// The bytes that a `content` name is the hash of: it is [`signed::VALUE_HEAD`] and the bytes. It is kept for as long as it is leased.
    Value(Name),
}

/// How a record stands to the present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeliness {
    /// Valid now.
    Current,
    /// Its expiry has passed: kept as a floor, never served.
    Expired,
    /// Its sequence is in the future by this many seconds, more than the tolerance.
    Future(u64),
}

/// Why bytes are not a record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Larger than any record.
    #[error("{0} bytes is larger than a record may be ({RECORD_BYTES_MAX})")]
    TooLarge(usize),
    /// Larger than any value.
    #[error("a value of {0} bytes is larger than one may be ({VALUE_BYTES_MAX}): put its parts, and a value that lists their names")]
    TooLargeValue(usize),
    /// Smaller than any record.
    #[error("{0} bytes is too short for a record (at least {RECORD_BYTES_MIN})")]
    TooShort(usize),
    /// Not a pkarr packet.
    #[error("pkarr packet: {0}")]
    Packet(#[from] PacketError),
    /// Another envelope than the one.
    #[error("not the one envelope that is accepted (COSE_Sign1, tag 18, protected {{1: -19}}, nothing unprotected): differs at byte {0}")]
    Envelope(usize),
    /// Not deterministic CBOR of the shape of a record.
    #[error("payload: {0}")]
    Cbor(#[from] CborError),
    /// A version from the future.
    #[error("record format version {0} is not known, this reads version {VERSION}")]
    Version(u64),
    /// A critical field that is not known.
    #[error("field {0} is critical and not known to this version")]
    UnknownField(u64),
    /// A field that must be there.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A field that a revocation must not have.
    #[error("a revocation has no `{0}`")]
    RevokedWith(&'static str),
    /// An empty list that must be left out.
    #[error("an empty `{0}` is left out, not written")]
    EmptyList(&'static str),
    /// A key chain that does not hold together.
    #[error("key chain: {0}")]
    Chain(#[from] KeyError),
    /// A sequence of 0 or beyond 2^62.
    #[error("sequence {0} is out of range (1 to 2^62 microseconds)")]
    Sequence(u64),
    /// An expiry outside the sequence + 400 days.
    #[error("expiry {expiry} is not after the sequence ({signed}) and at most 400 days later")]
    Lifetime {
        /// The sequence, in seconds.
        signed: UnixSecs,
        /// The expiry asked for.
        expiry: UnixSecs,
    },
    /// A scope that is too long, out of order or names something that cannot be a provider.
    #[error("scope: at most {SCOPE_MAX} `key-set` names of providers in ascending order, each once")]
    Scope,
    /// Too many bindings.
    #[error("{0} bindings are more than a record may have ({BINDINGS_MAX})")]
    TooManyBindings(u64),
    /// A binding that is not right.
    #[error("binding {index}: {error}")]
    Binding {
        /// Which, counted from 1. Bindings of unknown, uncritical kinds are not counted by the rules that values must keep.
        index: usize,
        /// What is wrong with it.
        error: BindingError,
    },
}

impl Record {
    /// The name that this is a record of.
    pub fn name(&self) -> Name {
        match &self.body {
            Body::Live { .. } | Body::Revoked => self.genesis.name(),
            Body::Packet { .. } => Name::pkarr(*self.genesis.key.as_bytes()),
            Body::Value(name) => *name,
        }
    }

    /// How many rotations it reveals.
    pub fn epoch(&self) -> u32 {
        self.chain.len() as u32
    }

    /// The key that must have signed it.
    ///
    /// # Errors
    /// [`KeyError`] if a link is not the one committed to.
    pub fn signing_key(&self) -> Result<PublicKey, KeyError> {
        key::current_key(&self.genesis, &self.chain)
    }

    /// The key that speaks for the name by now; `None` for a revocation, which says that it is lost, and for a value, which nobody signs.
    pub fn key(&self) -> Option<PublicKey> {
        match &self.body {
            Body::Live { .. } | Body::Packet { .. } => self.signing_key().ok(),
            Body::Revoked | Body::Value(_) => None,
        }
    }

    /// Whether it is a revocation.
    pub fn is_revoked(&self) -> bool {
        matches!(self.body, Body::Revoked)
    }

    /// When it stops being served, by what it says itself; `None` for a revocation, which never does, and for what is leased.
    pub fn expiry(&self) -> Option<UnixSecs> {
        match &self.body {
            Body::Live { expiry, .. } => Some(*expiry),
            Body::Revoked | Body::Packet { .. } | Body::Value(_) => None,
        }
    }

    /// When it stops being served where it is kept until `keep_until`: at its expiry; what says nothing of one, with its lease.
    pub fn served_until(&self, keep_until: UnixSecs) -> Option<UnixSecs> {
        match &self.body {
            Body::Live { expiry, .. } => Some(*expiry),
            Body::Revoked => None,
            Body::Packet { .. } | Body::Value(_) => Some(keep_until),
        }
    }

    /// When it may be forgotten where it is kept until `keep_until`; `None`: never. A record kept to its end is kept on as a floor
    /// until no older one can be valid; one whose lease ends earlier goes with the lease; a packet stays a floor for as long after
    /// its timestamp as a record would; a revocation stays for ever.
    pub fn forgotten_at(&self, keep_until: UnixSecs) -> Option<UnixSecs> {
        match &self.body {
            Body::Live { expiry, .. } if keep_until < *expiry => Some(keep_until),
            Body::Live { .. } | Body::Revoked => self.forget_at(),
            Body::Packet { .. } => Some(keep_until.max(self.sequence.secs().plus(LIFETIME_SECS_MAX))),
            Body::Value(_) => Some(keep_until),
        }
    }

    /// Until when it can be kept at `now` by whoever promised `keep_until`: to its expiry; what is leased, for as long as any lease is.
    pub fn bounded(&self, keep_until: UnixSecs, now: UnixSecs) -> UnixSecs {
        match &self.body {
            Body::Live { expiry, .. } => keep_until.min(*expiry),
            Body::Revoked => keep_until,
            Body::Packet { .. } | Body::Value(_) => keep_until.min(now.plus(LEASE_SECS_MAX)),
        }
    }

    /// How long a cache may keep it at `now`: its TTL, at most 7 days, at most until it expires.
    pub fn ttl_at(&self, now: UnixSecs) -> Ttl {
        match &self.body {
            Body::Live { expiry, ttl, .. } => Ttl(ttl.0.min(TTL_SECS_MAX).min(u32::try_from(expiry.since(now)).unwrap_or(u32::MAX))),
            Body::Revoked => Ttl(TTL_SECS_DEFAULT),
            Body::Packet { ttl, .. } => Ttl(ttl.0.min(TTL_SECS_MAX)),
            // It cannot change: only that it is kept can.
            Body::Value(_) => Ttl(TTL_SECS_MAX),
        }
    }

    /// Its bindings; none for a revocation.
    pub fn bindings(&self) -> &[Binding] {
        match &self.body {
            Body::Live { bindings, .. } | Body::Packet { bindings, .. } => bindings,
            Body::Revoked | Body::Value(_) => &[],
        }
    }

    /// When it may be forgotten however long it is leased: nothing older can be valid after sequence + 400 days. `None`: never.
    pub fn forget_at(&self) -> Option<UnixSecs> {
        match &self.body {
            Body::Live { .. } => Some(self.sequence.secs().plus(LIFETIME_SECS_MAX)),
            Body::Revoked | Body::Packet { .. } | Body::Value(_) => None,
        }
    }

    /// Whether `provider` may hold it.
    pub fn in_scope(&self, provider: &Name) -> bool {
        self.scope.is_empty() || self.scope.binary_search(provider).is_ok()
    }

    /// How it stands to the present when it is put: a clock may be ahead by 5 minutes.
    pub fn at_put(&self, now: UnixSecs) -> Timeliness {
        self.at(now, FUTURE_PUT_SECS)
    }

    /// How it stands to the present when a peer sends it: a clock may be ahead by 10 minutes.
    pub fn from_peer(&self, now: UnixSecs) -> Timeliness {
        self.at(now, FUTURE_PEER_SECS)
    }

    fn at(&self, now: UnixSecs, tolerance: u64) -> Timeliness {
        let ahead = self.sequence.secs().since(now);
        if ahead > tolerance {
            Timeliness::Future(ahead)
        } else if self.expiry().is_some_and(|expiry| expiry <= now) {
            Timeliness::Expired
        } else {
            Timeliness::Current
        }
    }

    /// The payload that is signed, as deterministic CBOR.
    ///
    /// # Errors
    /// As [`Record::decode_payload`]: what could not be read is not written.
    pub fn encode_payload(&self) -> Result<Vec<u8>, RecordError> {
        if matches!(self.body, Body::Packet { .. } | Body::Value(_)) {
            return Err(RecordError::Envelope(0));
        }
        self.check()?;
        let mut w = Writer::new();
        let live = usize::from(!self.is_revoked()) * 2;
        w.map(4 + usize::from(!self.chain.is_empty()) + usize::from(!self.scope.is_empty()) + live);
        w.uint(field::VERSION).uint(VERSION).uint(field::GENESIS);
        self.genesis.write(&mut w);
        if !self.chain.is_empty() {
            w.uint(field::CHAIN).array(self.chain.len());
            self.chain.iter().for_each(|link| link.write(&mut w));
        }
        w.uint(field::SEQUENCE).uint(self.sequence.0);
        if let Body::Live { expiry, ttl, .. } = &self.body {
            w.uint(field::EXPIRY).uint(expiry.0).uint(field::TTL).uint(u64::from(ttl.0));
        }
        if !self.scope.is_empty() {
            w.uint(field::SCOPE).array(self.scope.len());
            for name in &self.scope {
                w.bytes(name.as_bytes());
            }
        }
        match &self.body {
            Body::Live { bindings, .. } => {
                w.uint(field::BINDINGS).array(bindings.len());
                bindings.iter().for_each(|binding| binding.write(&mut w));
            }
            Body::Revoked => {
                w.uint(field::REVOKED).bool(true);
            }
            Body::Packet { .. } | Body::Value(_) => {}
        }
        Ok(w.into_bytes())
    }

    /// Reads what [`Record::encode_payload`] writes, and nothing after it.
    ///
    /// # Errors
    /// [`RecordError`], the first thing found wrong.
    pub fn decode_payload(payload: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::new(payload);
        let mut fields = r.map()?;
        let mut version = None;
        let (mut genesis, mut chain, mut sequence, mut scope) = (None, Vec::new(), None, Vec::new());
        let (mut expiry, mut ttl, mut bindings, mut revoked) = (None, None, None, false);
        while let Some(key) = fields.next(&mut r)? {
            match key {
                field::VERSION => {
                    let found = r.uint()?;
                    if found != VERSION {
                        return Err(RecordError::Version(found));
                    }
                    version = Some(found);
                }
                field::GENESIS => genesis = Some(Genesis::read(&mut r)?),
                field::CHAIN => chain = read_chain(&mut r)?,
                field::SEQUENCE => sequence = Some(UnixMicros(r.uint()?)),
                field::EXPIRY => expiry = Some(UnixSecs(r.uint()?)),
                field::TTL => ttl = Some(Ttl(r.uint_as()?)),
                field::SCOPE => scope = read_scope(&mut r)?,
                field::BINDINGS => bindings = Some(read_bindings(&mut r)?),
                field::REVOKED => {
                    let at = r.position();
                    revoked = r.bool()?;
                    if !revoked {
                        return Err(CborError::Type(at).into());
                    }
                }
                UNCRITICAL_FROM.. => r.skip()?,
                unknown => return Err(RecordError::UnknownField(unknown)),
            }
        }
        r.finish()?;
        version.ok_or(RecordError::Missing("version"))?;
        let body = if revoked {
            for (present, what) in [
                (expiry.is_some(), "expiry"),
                (ttl.is_some(), "ttl"),
                (bindings.is_some(), "bindings"),
            ] {
                if present {
                    return Err(RecordError::RevokedWith(what));
                }
            }
            Body::Revoked
        } else {
            Body::Live {
                expiry: expiry.ok_or(RecordError::Missing("expiry"))?,
                ttl: ttl.ok_or(RecordError::Missing("ttl"))?,
                bindings: bindings.ok_or(RecordError::Missing("bindings"))?,
            }
        };
        let record = Self {
            genesis: genesis.ok_or(RecordError::Missing("genesis"))?,
            chain,
            sequence: sequence.ok_or(RecordError::Missing("sequence"))?,
            scope,
            body,
        };
        record.check()?;
        Ok(record)
    }

    /// Every rule that the shape alone does not say, the same for what is read and for what is written.
    fn check(&self) -> Result<(), RecordError> {
        if self.genesis.salt.len() > crate::limits::SALT_BYTES_MAX {
            return Err(KeyError::Salt.into());
        }
        self.signing_key()?;
        if self.sequence.0 == 0 || self.sequence.0 > SEQUENCE_MAX {
            return Err(RecordError::Sequence(self.sequence.0));
        }
        let ordered = self.scope.windows(2).all(|pair| pair[0] < pair[1]);
        let providers = self.scope.iter().all(|name| name.scheme() == Scheme::KeySet); // what cannot sign cannot provide
        if self.scope.len() > SCOPE_MAX || !ordered || !providers {
            return Err(RecordError::Scope);
        }
        if let Body::Live { expiry, bindings, .. } = &self.body {
            let signed = self.sequence.secs();
            if *expiry <= signed || *expiry > signed.plus(LIFETIME_SECS_MAX) {
                return Err(RecordError::Lifetime { signed, expiry: *expiry });
            }
            if bindings.len() > BINDINGS_MAX {
                return Err(RecordError::TooManyBindings(bindings.len() as u64));
            }
            for (index, binding) in bindings.iter().enumerate() {
                binding.check().map_err(|error| RecordError::Binding { index: index + 1, error })?;
            }
            binding::check_together(bindings).map_err(|(index, error)| RecordError::Binding { index: index + 1, error })?;
        }
        Ok(())
    }
}

fn read_chain(r: &mut Reader<'_>) -> Result<Vec<Link>, RecordError> {
    let count = r.array()?;
    if count > CHAIN_LINKS_MAX as u64 {
        return Err(KeyError::TooManyLinks.into());
    }
    if count == 0 {
        return Err(RecordError::EmptyList("chain"));
    }
    (0..count).map(|_| Link::read(r).map_err(Into::into)).collect()
}

fn read_scope(r: &mut Reader<'_>) -> Result<Vec<Name>, RecordError> {
    let count = r.array()?;
    if count > SCOPE_MAX as u64 {
        return Err(RecordError::Scope);
    }
    if count == 0 {
        return Err(RecordError::EmptyList("scope"));
    }
    (0..count)
        .map(|_| Name::from_bytes(r.bytes()?).map_err(|_| RecordError::Scope))
        .collect()
}

fn read_bindings(r: &mut Reader<'_>) -> Result<Vec<Binding>, RecordError> {
    let count = r.array()?;
    if count > BINDINGS_MAX as u64 {
        return Err(RecordError::TooManyBindings(count));
    }
    let mut bindings = Vec::with_capacity(count as usize);
    for index in 1..=count as usize {
        let binding = Binding::read(r).map_err(|error| RecordError::Binding { index, error })?;
        bindings.extend(binding);
    }
    Ok(bindings)
}

/// The keys of a record's map.
mod field {
    pub const VERSION: u64 = 1;
    pub const GENESIS: u64 = 2;
    pub const CHAIN: u64 = 3;
    pub const SEQUENCE: u64 = 4;
    pub const EXPIRY: u64 = 5;
    pub const TTL: u64 = 6;
    pub const SCOPE: u64 = 7;
    pub const BINDINGS: u64 = 8;
    pub const REVOKED: u64 = 9;
}
