//! RDATA of the types that a `dns` binding may hold: wire form, names uncompressed, checked type by type.
//!
//! Every type whose names a receiver may decompress (RFC 3597 §4) is in the table: bytes that only we take for opaque would be
//! pointers to others. A type that is not in the table passes as opaque bytes; a type that would change how DNS itself works
//! (meta, delegation, DNSSEC) or that this protocol gives a meaning to is refused.

use crate::limits::RECORD_BYTES_MAX;
use std::ops::Range;

/// The private-use RR type whose RDATA is a signed record: how stubs ask. 65350, in 65280–65534 (RFC 6895 §3.1).
pub const TYPE_RECORD: u16 = 65_350;

/// Why RDATA is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RdataError {
    /// Types that describe transactions, delegation, DNSSEC or Dialtone itself.
    #[error("type {0} cannot be published: it is a meta, delegation, DNSSEC or Dialtone type")]
    ForbiddenType(u16),
    /// The bytes are not RDATA of the type.
    #[error("not RDATA of type {0}: names are uncompressed, lengths exact")]
    Malformed(u16),
}

/// Whether `kind` may be published at all.
pub fn is_forbidden(kind: u16) -> bool {
    FORBIDDEN.binary_search(&kind).is_ok() || (128..=255).contains(&kind) || (65_280..=65_535).contains(&kind)
}

/// Whether `rdata` is what `kind` says.
///
/// # Errors
/// [`RdataError`].
pub fn check(kind: u16, rdata: &[u8]) -> Result<(), RdataError> {
    if is_forbidden(kind) {
        return Err(RdataError::ForbiddenType(kind));
    }
    let mut at = Cursor::new(rdata);
    match at.read(kind) {
        Some(()) if at.rest.is_empty() => Ok(()),
        _ => Err(RdataError::Malformed(kind)),
    }
}

/// Where the domain names are in `rdata`, which [`check`] has let pass: their ranges in wire form, in order. Of types that are not in the table: none.
pub fn names(kind: u16, rdata: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = Cursor::new(rdata);
    let fits = at.read(kind).is_some();
    at.names.into_iter().flatten().filter(move |_| fits)
}

/// Numbers of the RR types that have a meaning here (IANA "Resource Record (RR) TYPEs").
#[expect(missing_docs, reason = "the names are the registry's")]
pub mod types {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const MB: u16 = 7;
    pub const MG: u16 = 8;
    pub const MR: u16 = 9;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const MINFO: u16 = 14;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const RP: u16 = 17;
    pub const AFSDB: u16 = 18;
    pub const RT: u16 = 21;
    pub const PX: u16 = 26;
    pub const AAAA: u16 = 28;
    pub const LOC: u16 = 29;
    pub const SRV: u16 = 33;
    pub const NAPTR: u16 = 35;
    pub const KX: u16 = 36;
    pub const OPT: u16 = 41;
    pub const SSHFP: u16 = 44;
    pub const TLSA: u16 = 52;
    pub const SMIMEA: u16 = 53;
    pub const HIP: u16 = 55;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const SPF: u16 = 99;
    pub const ANY: u16 = 255;
    pub const URI: u16 = 256;
    pub const CAA: u16 = 257;
}

/// 0, NS, MD, MF, SOA, SIG, KEY, NXT, DNAME, OPT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, CSYNC, ZONEMD, TA, DLV; sorted.
/// 128–255 (meta and query types) and 65280–65535 (private use) are ranges of their own.
const FORBIDDEN: [u16; 22] = [
    0, 2, 3, 4, 6, 24, 25, 30, 39, 41, 43, 46, 47, 48, 50, 51, 59, 60, 62, 63, 32_768, 32_769,
];

/// No type has more names than that: PX, RP and MINFO have two.
const NAMES_MAX: usize = 2;

/// What is left to read; every step is `None` when it does not fit.
struct Cursor<'a> {
    rest: &'a [u8],
    /// How long all of it is.
    whole: usize,
    /// Where names were found.
    names: [Option<Range<usize>>; NAMES_MAX],
}

impl<'a> Cursor<'a> {
    fn new(rdata: &'a [u8]) -> Self {
        Self {
            rest: rdata,
            whole: rdata.len(),
            names: [None, None],
        }
    }

    fn read(&mut self, kind: u16) -> Option<()> {
        let at = self;
        match kind {
            types::A => at.skip(4),
            types::AAAA => at.skip(16),
            types::CNAME | types::PTR | types::MB | types::MG | types::MR => at.name(),
            types::MX | types::AFSDB | types::RT | types::KX => at.skip(2).and_then(|()| at.name()),
            types::PX => at.skip(2).and_then(|()| at.name()).and_then(|()| at.name()),
            types::SRV => at.skip(6).and_then(|()| at.name()),
            types::TXT | types::SPF => at.strings(),
            types::HINFO => at.string().and_then(|()| at.string()),
            types::RP | types::MINFO => at.name().and_then(|()| at.name()),
            types::NAPTR => at
                .skip(4)
                .and_then(|()| at.string())
                .and_then(|()| at.string())
                .and_then(|()| at.string())
                .and_then(|()| at.name()),
            types::LOC => at.loc(),
            types::SSHFP => at.skip(2).and_then(|()| at.some()),
            types::TLSA | types::SMIMEA => at.skip(3).and_then(|()| at.some()),
            types::URI => at.skip(4).and_then(|()| at.some()),
            types::CAA => at.caa(),
            types::SVCB | types::HTTPS => at.svcb(),
            _ if at.whole <= RECORD_BYTES_MAX => at.all(),
            _ => None,
        }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn all(&mut self) -> Option<()> {
        self.rest = &[];
        Some(())
    }

    fn some(&mut self) -> Option<()> {
        if self.rest.is_empty() { None } else { self.all() }
    }

    fn string(&mut self) -> Option<()> {
        let length = self.byte()?;
        self.skip(usize::from(length))
    }

    fn strings(&mut self) -> Option<()> {
        self.string()?;
        while !self.rest.is_empty() {
            self.string()?;
        }
        Some(())
    }

    /// A name without compression: labels of 1 to 63 bytes, 255 in all.
    fn name(&mut self) -> Option<()> {
        let begin = self.whole - self.rest.len();
        let mut total = 0;
        loop {
            let length = usize::from(self.byte()?);
            total += length + 1;
            if length > 63 || total > 255 {
                return None;
            }
            if length == 0 {
                if let Some(free) = self.names.iter_mut().find(|name| name.is_none()) {
                    *free = Some(begin..begin + total);
                }
                return Some(());
            }
            self.skip(length)?;
        }
    }

    fn loc(&mut self) -> Option<()> {
        if self.byte()? == 0 { self.skip(15) } else { None }
    }

    fn caa(&mut self) -> Option<()> {
        self.byte()?;
        let tag = self.byte()?;
        let tag = self.take(usize::from(tag))?;
        if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
            None
        } else {
            self.all()
        }
    }

    /// SvcPriority, TargetName, then SvcParams with strictly ascending keys (RFC 9460 §2.2), each of the form that its key asks for,
    /// and together without contradiction (§2.4.3): `mandatory` lists what is there, `no-default-alpn` comes with `alpn`.
    /// In AliasMode too, where they mean nothing.
    fn svcb(&mut self) -> Option<()> {
        self.skip(2)?;
        self.name()?;
        let params = self.rest;
        let (mut last, mut mandatory, mut alpn) = (None, [].as_slice(), false);
        while !self.rest.is_empty() {
            let key = self.u16()?;
            if last.is_some_and(|last| key <= last) {
                return None;
            }
            last = Some(key);
            let length = usize::from(self.u16()?);
            let value = self.take(length)?;
            let fits = match key {
                svc_param::MANDATORY => {
                    mandatory = value;
                    !value.is_empty() && ascending(value)
                }
                svc_param::ALPN => {
                    alpn = true;
                    !value.is_empty() && alpn_fits(value)
                }
                svc_param::NO_DEFAULT_ALPN => alpn && value.is_empty(),
                svc_param::PORT => length == 2,
                svc_param::IPV4_HINT => length > 0 && length.is_multiple_of(4),
                svc_param::IPV6_HINT => length > 0 && length.is_multiple_of(16),
                svc_param::INVALID => false,
                _ => true,
            };
            if !fits {
                return None;
            }
        }
        pairs(mandatory)
            .all(|key| key != svc_param::MANDATORY && has_param(params, key))
            .then_some(())
    }
}

/// Whether `params`, already known to be well-formed, have `wanted`.
fn has_param(params: &[u8], wanted: u16) -> bool {
    let mut at = Cursor::new(params);
    while let (Some(key), Some(length)) = (at.u16(), at.u16()) {
        if key == wanted {
            return true;
        }
        if at.skip(usize::from(length)).is_none() {
            return false;
        }
    }
    false
}

fn alpn_fits(mut value: &[u8]) -> bool {
    while let Some((&length, rest)) = value.split_first() {
        if length == 0 {
            return false;
        }
        match rest.get(usize::from(length)..) {
            Some(rest) => value = rest,
            None => return false,
        }
    }
    true
}

/// Whole numbers of 16 bits, each larger than the one before.
fn ascending(value: &[u8]) -> bool {
    value.len().is_multiple_of(2) && pairs(value).zip(pairs(value).skip(1)).all(|(one, next)| one < next)
}

fn pairs(value: &[u8]) -> impl Iterator<Item = u16> {
    value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// SvcParamKeys with a form of their own (RFC 9460 §14.3.2).
mod svc_param {
    pub const MANDATORY: u16 = 0;
    pub const ALPN: u16 = 1;
    pub const NO_DEFAULT_ALPN: u16 = 2;
    pub const PORT: u16 = 3;
    pub const IPV4_HINT: u16 = 4;
    pub const IPV6_HINT: u16 = 6;
    pub const INVALID: u16 = 65_535;
}
