//! Bindings: the entries of a record. Each is a CBOR map whose field 0 says what kind it is.
//!
//! ```text
//! address   {0: 1, 1: ip (4 or 16 bytes), ? 2: priority, ? 3: weight, ? 4: region}
//! service   {0: 2, 1: label, 2: transport, 3: port, ? 4: target, ? 5: [+ alpn], ? 6: priority, ? 7: weight, ? 8: [+ pin]}
//! delegate  {0: 3, 1: [+ step]}
//! dns       {0: 4, 1: owner, 2: type, 3: ttl, 4: rdata}
//! opaque    {0: 5, 1: media type, 2: bytes}
//! ```
//!
//! Kinds from 64 on are uncritical: a reader that does not know one passes over it. A priority or weight of 0 is left out.

use crate::cbor::{CborError, Fields, Reader, Writer};
use crate::limits::{
    ALPN_BYTES_MAX, ALPN_MAX, DELEGATE_STEPS_MAX, LABEL_BYTES_MAX, MEDIA_TYPE_BYTES_MAX, OWNER_BYTES_MAX, PINS_MAX, REGION_BYTES_MAX,
    UNCRITICAL_FROM,
};
use crate::name::{Name, Scheme};
use crate::record::rdata::{self, RdataError, types};
use crate::time::Ttl;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One entry of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Where it is now.
    Address(Address),
    /// What it offers.
    Service(Service),
    /// Who stands in for it.
    Delegate(Delegate),
    /// A DNS record under the name.
    Dns(DnsData),
    /// Anything else (SFR's o-info).
    Opaque(Opaque),
}

/// An IP address of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Lower is preferred.
    pub priority: u16,
    /// Share among those of equal priority; 0 counts as 1.
    pub weight: u16,
    /// Where it is, as the publisher calls it: lower-case letters, digits, `-`.
    pub region: Option<String>,
}

/// A service of a name, or of another name that it targets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// What it is, as in IANA's service names: `https`, `ssh`.
    pub label: String,
    /// What it runs over.
    pub transport: Transport,
    /// The port, not 0.
    pub port: u16,
    /// Which endpoint offers it.
    pub target: Target,
    /// Application protocols, preferred first.
    pub alpn: Vec<String>,
    /// Lower is preferred.
    pub priority: u16,
    /// Share among those of equal priority; 0 counts as 1.
    pub weight: u16,
    /// SHA-256 of the SubjectPublicKeyInfos it may present (TLSA 3 1 1).
    pub pins: Vec<[u8; 32]>,
}

/// Where a service is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// At the addresses of this very record.
    Own,
    /// At another flat name, of the `key-set` scheme.
    Name(Name),
}

/// What a service runs over, by IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// 6.
    Tcp,
    /// 17.
    Udp,
}

/// An ordered path that traffic is directed to in this name's stead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delegate {
    /// First to last; 1 to 8.
    pub path: Vec<Step>,
}

/// One step of a delegate's path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A flat name.
    Name(Name),
    /// A legacy DNS name, lower-case, without a final dot.
    Legacy(String),
}

/// A DNS record under the name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsData {
    /// Labels under the name, lower-case; empty is the name itself; `*` may stand first.
    pub owner: String,
    /// The RR type.
    pub kind: u16,
    /// Its own lifetime in caches.
    pub ttl: Ttl,
    /// In wire form, names uncompressed.
    pub rdata: Vec<u8>,
}

/// Bytes with a media type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opaque {
    /// Such as `application/json`.
    pub media_type: String,
    /// Whatever it says.
    pub bytes: Vec<u8>,
}

/// Why a binding is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BindingError {
    /// Not the shape of a binding.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A critical kind that is not known.
    #[error("binding kind {0} is critical and not known to this version")]
    UnknownKind(u64),
    /// A critical field that is not known.
    #[error("field {0} is critical and not known to this version")]
    UnknownField(u64),
    /// A field that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value outside its bounds.
    #[error("`{field}`: {rule}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// DNS data that is refused.
    #[error(transparent)]
    Rdata(#[from] RdataError),
    /// A CNAME beside other data of the same owner.
    #[error("a CNAME stands alone: the owner {0:?} has other data too")]
    CnameNotAlone(String),
    /// Two delegates.
    #[error("a name has one delegate: put the steps into one path")]
    SecondDelegate,
}

impl Binding {
    /// Whether every value is within its bounds.
    ///
    /// # Errors
    /// [`BindingError`].
    pub fn check(&self) -> Result<(), BindingError> {
        match self {
            Self::Address(address) => address.check(),
            Self::Service(service) => service.check(),
            Self::Delegate(delegate) => delegate.check(),
            Self::Dns(dns) => dns.check(),
            Self::Opaque(opaque) if is_media_type(&opaque.media_type) => Ok(()),
            Self::Opaque(_) => value(
                "media type",
                "`type/subtype`, parameters after it, in at most 64 printable ASCII characters",
            ),
        }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Address(address) => address.write(w),
            Self::Service(service) => service.write(w),
            Self::Delegate(delegate) => {
                w.map(2).uint(0).uint(kind::DELEGATE).uint(1).array(delegate.path.len());
                for step in &delegate.path {
                    match step {
                        Step::Name(name) => w.bytes(name.as_bytes()),
                        Step::Legacy(dns) => w.text(dns),
                    };
                }
            }
            Self::Dns(dns) => {
                w.map(5)
                    .uint(0)
                    .uint(kind::DNS)
                    .uint(1)
                    .text(&dns.owner)
                    .uint(2)
                    .uint(u64::from(dns.kind));
                w.uint(3).uint(u64::from(dns.ttl.0)).uint(4).bytes(&dns.rdata);
            }
            Self::Opaque(opaque) => {
                w.map(3)
                    .uint(0)
                    .uint(kind::OPAQUE)
                    .uint(1)
                    .text(&opaque.media_type)
                    .uint(2)
                    .bytes(&opaque.bytes);
            }
        }
    }

    /// Reads one; `None` for an uncritical kind that is not known.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Option<Self>, BindingError> {
        let at = r.position();
        let mut fields = r.map()?;
        if fields.next(r)? != Some(0) {
            return Err(CborError::Type(at).into());
        }
        Ok(Some(match r.uint()? {
            kind::ADDRESS => Self::Address(Address::read(r, &mut fields)?),
            kind::SERVICE => Self::Service(Service::read(r, &mut fields)?),
            kind::DELEGATE => Self::Delegate(Delegate::read(r, &mut fields)?),
            kind::DNS => Self::Dns(DnsData::read(r, &mut fields)?),
            kind::OPAQUE => Self::Opaque(Opaque::read(r, &mut fields)?),
            UNCRITICAL_FROM.. => {
                while fields.next(r)?.is_some() {
                    r.skip()?;
                }
                return Ok(None);
            }
            unknown => return Err(BindingError::UnknownKind(unknown)),
        }))
    }
}

/// Rules between the bindings of one record; the error says which one breaks them, counted from 0.
pub(crate) fn check_together(bindings: &[Binding]) -> Result<(), (usize, BindingError)> {
    let mut delegates = 0;
    for (index, binding) in bindings.iter().enumerate() {
        match binding {
            Binding::Delegate(_) => {
                delegates += 1;
                if delegates > 1 {
                    return Err((index, BindingError::SecondDelegate));
                }
            }
            Binding::Dns(cname) if cname.kind == types::CNAME => {
                let beside = |(other, with): (usize, &Binding)| match with {
                    Binding::Dns(with) => other != index && with.owner == cname.owner,
                    Binding::Opaque(_) => false,
                    _ => cname.owner.is_empty(),
                };
                if bindings.iter().enumerate().any(beside) {
                    return Err((index, BindingError::CnameNotAlone(cname.owner.clone())));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

impl Address {
    /// An address without preferences.
    pub fn of(ip: IpAddr) -> Self {
        Self {
            ip,
            priority: 0,
            weight: 0,
            region: None,
        }
    }

    fn check(&self) -> Result<(), BindingError> {
        if matches!(self.ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
            return value("ip", "an IPv4 address has 4 bytes, not its IPv4-mapped IPv6 form");
        }
        match &self.region {
            Some(region) if !is_region(region) => value("region", "1 to 16 lower-case letters, digits or `-`"),
            _ => Ok(()),
        }
    }

    fn write(&self, w: &mut Writer) {
        w.map(2 + usize::from(self.priority != 0) + usize::from(self.weight != 0) + usize::from(self.region.is_some()));
        w.uint(0).uint(kind::ADDRESS).uint(1);
        match self.ip {
            IpAddr::V4(ip) => w.bytes(&ip.octets()),
            IpAddr::V6(ip) => w.bytes(&ip.octets()),
        };
        write_nonzero(w, 2, self.priority);
        write_nonzero(w, 3, self.weight);
        if let Some(region) = &self.region {
            w.uint(4).text(region);
        }
    }

    fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, BindingError> {
        let (mut ip, mut priority, mut weight, mut region) = (None, 0, 0, None);
        while let Some(field) = fields.next(r)? {
            match field {
                1 => {
                    let at = r.position();
                    let bytes = r.bytes()?;
                    ip = Some(match bytes.len() {
                        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).map_err(|_| CborError::Type(at))?)),
                        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).map_err(|_| CborError::Type(at))?)),
                        _ => {
                            return Err(BindingError::Value {
                                field: "ip",
                                rule: "4 or 16 bytes",
                            });
                        }
                    });
                }
                2 => priority = read_nonzero(r)?,
                3 => weight = read_nonzero(r)?,
                4 => region = Some(r.text()?.to_owned()),
                other => pass_over(r, other)?,
            }
        }
        Ok(Self {
            ip: ip.ok_or(BindingError::Missing("ip"))?,
            priority,
            weight,
            region,
        })
    }
}

impl Service {
    /// A service of the record's own addresses, without preferences.
    pub fn of(label: &str, transport: Transport, port: u16) -> Self {
        Self {
            label: label.to_owned(),
            transport,
            port,
            target: Target::Own,
            alpn: Vec::new(),
            priority: 0,
            weight: 0,
            pins: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), BindingError> {
        if !is_label(&self.label) {
            return value("label", "1 to 15 lower-case letters, digits or inner `-`, with a letter among them");
        }
        if self.port == 0 {
            return value("port", "1 to 65535");
        }
        if matches!(&self.target, Target::Name(name) if name.scheme() != Scheme::KeySet) {
            return value("target", "a `key-set` name: content has no addresses");
        }
        if self.alpn.len() > ALPN_MAX
            || self
                .alpn
                .iter()
                .any(|id| id.is_empty() || id.len() > ALPN_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return value("alpn", "at most 8 ids of 1 to 32 printable ASCII characters");
        }
        if self.pins.len() > PINS_MAX {
            return value("pins", "at most 6");
        }
        Ok(())
    }

    fn write(&self, w: &mut Writer) {
        let target = usize::from(self.target != Target::Own);
        let lists = usize::from(!self.alpn.is_empty()) + usize::from(!self.pins.is_empty());
        w.map(4 + target + lists + usize::from(self.priority != 0) + usize::from(self.weight != 0));
        w.uint(0).uint(kind::SERVICE).uint(1).text(&self.label);
        w.uint(2).uint(self.transport.number()).uint(3).uint(u64::from(self.port));
        if let Target::Name(name) = &self.target {
            w.uint(4).bytes(name.as_bytes());
        }
        if !self.alpn.is_empty() {
            w.uint(5).array(self.alpn.len());
            for id in &self.alpn {
                w.text(id);
            }
        }
        write_nonzero(w, 6, self.priority);
        write_nonzero(w, 7, self.weight);
        if !self.pins.is_empty() {
            w.uint(8).array(self.pins.len());
            for pin in &self.pins {
                w.bytes(pin);
            }
        }
    }

    fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, BindingError> {
        let (mut label, mut transport, mut port) = (None, None, None);
        let (mut target, mut alpn, mut priority, mut weight, mut pins) = (Target::Own, Vec::new(), 0, 0, Vec::new());
        while let Some(field) = fields.next(r)? {
            match field {
                1 => label = Some(r.text()?.to_owned()),
                2 => {
                    transport = Some(Transport::from_number(r.uint()?).ok_or(BindingError::Value {
                        field: "transport",
                        rule: "6 (TCP) or 17 (UDP)",
                    })?)
                }
                3 => port = Some(r.uint_as()?),
                4 => {
                    target = Target::Name(Name::from_bytes(r.bytes()?).map_err(|_| BindingError::Value {
                        field: "target",
                        rule: "33 bytes of a name",
                    })?)
                }
                5 => alpn = read_list(r, ALPN_MAX, "alpn", |r| Ok(r.text()?.to_owned()))?,
                6 => priority = read_nonzero(r)?,
                7 => weight = read_nonzero(r)?,
                8 => pins = read_list(r, PINS_MAX, "pins", |r| Ok(r.array_of()?))?,
                other => pass_over(r, other)?,
            }
        }
        Ok(Self {
            label: label.ok_or(BindingError::Missing("label"))?,
            transport: transport.ok_or(BindingError::Missing("transport"))?,
            port: port.ok_or(BindingError::Missing("port"))?,
            target,
            alpn,
            priority,
            weight,
            pins,
        })
    }
}

impl Transport {
    /// The IP protocol number.
    pub fn number(self) -> u64 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// As DNS writes it in an owner: `_tcp`, `_udp`.
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Tcp => "_tcp",
            Self::Udp => "_udp",
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl Delegate {
    fn check(&self) -> Result<(), BindingError> {
        if self.path.is_empty() || self.path.len() > DELEGATE_STEPS_MAX {
            return value("path", "1 to 8 steps");
        }
        for step in &self.path {
            if let Step::Legacy(dns) = step
                && !is_dns_name(dns)
            {
                return value(
                    "path",
                    "a legacy step is a lower-case DNS name (no IP address) of at most 253 characters without a final dot",
                );
            }
        }
        Ok(())
    }

    fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, BindingError> {
        let mut path = None;
        while let Some(field) = fields.next(r)? {
            match field {
                1 => {
                    path = Some(read_list(r, DELEGATE_STEPS_MAX, "path", |r| {
                        if r.at_text() {
                            return Ok(Step::Legacy(r.text()?.to_owned()));
                        }
                        let name = Name::from_bytes(r.bytes()?).map_err(|_| BindingError::Value {
                            field: "path",
                            rule: "33 bytes of a name",
                        })?;
                        Ok(Step::Name(name))
                    })?);
                }
                other => pass_over(r, other)?,
            }
        }
        Ok(Self {
            path: path.ok_or(BindingError::Missing("path"))?,
        })
    }
}

impl DnsData {
    fn check(&self) -> Result<(), BindingError> {
        if !is_owner(&self.owner) {
            return value(
                "owner",
                "lower-case labels of letters, digits, `-` and `_`, at most 100 characters; `*` may stand first",
            );
        }
        rdata::check(self.kind, &self.rdata)?;
        Ok(())
    }

    fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, BindingError> {
        let (mut owner, mut kind, mut ttl, mut rdata) = (None, None, None, None);
        while let Some(field) = fields.next(r)? {
            match field {
                1 => owner = Some(r.text()?.to_owned()),
                2 => kind = Some(r.uint_as()?),
                3 => ttl = Some(Ttl(r.uint_as()?)),
                4 => rdata = Some(r.bytes()?.to_vec()),
                other => pass_over(r, other)?,
            }
        }
        Ok(Self {
            owner: owner.ok_or(BindingError::Missing("owner"))?,
            kind: kind.ok_or(BindingError::Missing("type"))?,
            ttl: ttl.ok_or(BindingError::Missing("ttl"))?,
            rdata: rdata.ok_or(BindingError::Missing("rdata"))?,
        })
    }
}

impl Opaque {
    fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, BindingError> {
        let (mut media_type, mut bytes) = (None, None);
        while let Some(field) = fields.next(r)? {
            match field {
                1 => media_type = Some(r.text()?.to_owned()),
                2 => bytes = Some(r.bytes()?.to_vec()),
                other => pass_over(r, other)?,
            }
        }
        Ok(Self {
            media_type: media_type.ok_or(BindingError::Missing("media type"))?,
            bytes: bytes.ok_or(BindingError::Missing("bytes"))?,
        })
    }
}

/// Whether `text` is a legacy DNS name as a record writes it: lower-case, no final dot, and no IPv4 address: a last label of
/// digits alone is none (RFC 1123 §2.1).
pub fn is_dns_name(text: &str) -> bool {
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(is_dns_label) && !text.rsplit('.').next().is_some_and(is_number)
}

pub(super) fn is_owner(owner: &str) -> bool {
    let rest = owner.strip_prefix("*.").unwrap_or(if owner == "*" { "" } else { owner });
    owner.len() <= OWNER_BYTES_MAX
        && (rest.is_empty() && (owner.is_empty() || owner == "*") || !rest.is_empty() && rest.split('.').all(is_dns_label))
}

fn is_dns_label(label: &str) -> bool {
    (1..=63).contains(&label.len()) && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// RFC 6335 §5.1, in lower case.
fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && label.bytes().any(|byte| byte.is_ascii_lowercase())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.contains("--")
}

/// Type and subtype of RFC 6838 §4.2, then whatever parameters.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let plain = text.len() <= MEDIA_TYPE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let essence = text.split(';').next().unwrap_or_default().trim_end_matches(' ');
    plain && essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

fn is_region(region: &str) -> bool {
    (1..=REGION_BYTES_MAX).contains(&region.len()) && region.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn value(field: &'static str, rule: &'static str) -> Result<(), BindingError> {
    Err(BindingError::Value { field, rule })
}

fn write_nonzero(w: &mut Writer, field: u64, value: u16) {
    if value != 0 {
        w.uint(field).uint(u64::from(value));
    }
}

/// 0 is the default and has one spelling: left out.
fn read_nonzero(r: &mut Reader<'_>) -> Result<u16, BindingError> {
    match r.uint_as()? {
        0 => Err(BindingError::Value {
            field: "priority or weight",
            rule: "0 is left out",
        }),
        value => Ok(value),
    }
}

fn read_list<T>(
    r: &mut Reader<'_>,
    most: usize,
    field: &'static str,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, BindingError>,
) -> Result<Vec<T>, BindingError> {
    let count = r.array()?;
    if count == 0 || count > most as u64 {
        return Err(BindingError::Value {
            field,
            rule: "a list is left out when empty, and bounded",
        });
    }
    (0..count).map(|_| item(r)).collect()
}

fn pass_over(r: &mut Reader<'_>, field: u64) -> Result<(), BindingError> {
    if field < UNCRITICAL_FROM {
        return Err(BindingError::UnknownField(field));
    }
    Ok(r.skip()?)
}

/// The numbers of the kinds.
mod kind {
    pub const ADDRESS: u64 = 1;
    pub const SERVICE: u64 = 2;
    pub const DELEGATE: u64 = 3;
    pub const DNS: u64 = 4;
    pub const OPAQUE: u64 = 5;
}
