//! Where a service is found in DNS, and what stands there.
//!
//! ```text
//! SRV    _<label>._<tcp|udp>     priority weight port target                       RFC 2782
//! TLSA   _<port>._<tcp|udp>      3 1 1 pin                                         RFC 6698, RFC 7671
//! HTTPS  the name itself (443), or _<port>._https                                  RFC 9460 §9
//! SVCB   _<label>, and _<port>._<label>                                            RFC 9460 §2.3
//! ```
//!
//! A preference of 0 is the best: in HTTPS and SVCB it is written as 1, since their 0 means an alias.

use crate::dns::answer::{Spot, flat_domain, ordered_addresses};
use crate::dns::domain::Domain;
use crate::dns::wire::Writer;
use bytes::Bytes;
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Service, Target, Transport};
use std::net::IpAddr;

/// The owners under the name that `service` makes, whatever stands there.
pub fn owners(service: &Service) -> Vec<String> {
    let (label, port, transport) = (&service.label, service.port, service.transport.as_label());
    let mut owners = vec![format!("_{label}.{transport}")];
    if !service.pins.is_empty() {
        owners.push(format!("_{port}.{transport}"));
    }
    if !is_https(service) {
        // The owner with the port is under the one without.
        owners.push(format!("_{port}._{label}"));
    } else if port != HTTPS_PORT {
        owners.push(format!("_{port}._https"));
    }
    owners
}

/// Whether `service` has a record of type `kind` at `labels`.
pub fn owns(service: &Service, kind: u16, labels: &[&[u8]]) -> bool {
    let label = |at: usize, text: &str| labels[at].strip_prefix(b"_") == Some(text.as_bytes());
    let port = |at: usize| labels[at].strip_prefix(b"_") == Some(service.port.to_string().as_bytes());
    let transport = |at: usize| labels[at] == service.transport.as_label().as_bytes();
    match (kind, labels.len()) {
        (types::SRV, 2) => label(0, &service.label) && transport(1),
        (types::TLSA, 2) => !service.pins.is_empty() && port(0) && transport(1),
        (types::HTTPS, 0) => is_https(service) && service.port == HTTPS_PORT,
        (types::HTTPS, 2) => is_https(service) && service.port != HTTPS_PORT && port(0) && label(1, HTTPS_LABEL),
        (types::SVCB, 1) => !is_https(service) && label(0, &service.label),
        (types::SVCB, 2) => !is_https(service) && port(0) && label(1, &service.label),
        _ => false,
    }
}

/// The RDATA that `service` has at `labels` for the type asked for.
pub fn rdata_at(service: &Service, spot: &Spot<'_>, labels: &[&[u8]]) -> Vec<Bytes> {
    if !owns(service, spot.kind, labels) {
        return Vec::new();
    }
    match spot.kind {
        types::SRV => srv(service, spot).into_iter().collect(),
        types::TLSA => service.pins.iter().map(tlsa).collect(),
        types::HTTPS | types::SVCB => svcb(service, spot, labels).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `[priority u16][weight u16][port u16][target]`
fn srv(service: &Service, spot: &Spot<'_>) -> Option<Bytes> {
    let target = target_domain(service, spot)?;
    let mut w = Writer::new();
    w.u16(service.priority)
        .u16(service.weight.max(1))
        .u16(service.port)
        .put(target.as_wire());
    Some(w.into_bytes().into())
}

/// `[usage 3][selector 1][matching 1][SHA-256 of the SubjectPublicKeyInfo]`
fn tlsa(pin: &[u8; 32]) -> Bytes {
    let mut rdata = vec![3, 1, 1];
    rdata.extend_from_slice(pin);
    rdata.into()
}

/// `[priority u16][target]([key u16][length u16][value])*`, the keys ascending.
fn svcb(service: &Service, spot: &Spot<'_>, labels: &[&[u8]]) -> Option<Bytes> {
    let addresses = match service.target {
        Target::Own => ordered_addresses(spot.record),
        Target::Name(name) => spot
            .at_hand
            .iter()
            .find(|(at_hand, _)| *at_hand == name)
            .map(|(_, ips)| ips.clone())
            .unwrap_or_default(),
    };
    // `.` is the owner itself, and only the name itself has addresses.
    let target = if service.target == Target::Own && labels.is_empty() {
        Domain::root()
    } else {
        target_domain(service, spot)?
    };
    let mut w = Writer::new();
    w.u16(service.priority.saturating_add(1)).put(target.as_wire());
    let over_udp = is_https(service) && service.transport == Transport::Udp;
    let mut alpn = Vec::new();
    for id in &service.alpn {
        push_alpn(&mut alpn, id);
    }
    if alpn.is_empty() && over_udp {
        push_alpn(&mut alpn, "h3");
    }
    if !alpn.is_empty() {
        param(&mut w, key::ALPN, &alpn);
    }
    if over_udp {
        // Without it HTTP/1.1 over TCP would be offered too.
        param(&mut w, key::NO_DEFAULT_ALPN, &[]);
    }
    if !labels.is_empty() {
        param(&mut w, key::PORT, &service.port.to_be_bytes());
    }
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for ip in addresses.into_iter().take(HINTS_MAX) {
        match ip {
            IpAddr::V4(ip) => v4.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => v6.extend_from_slice(&ip.octets()),
        }
    }
    for (key, hints) in [(key::IPV4_HINT, v4), (key::IPV6_HINT, v6)] {
        if !hints.is_empty() {
            param(&mut w, key, &hints);
        }
    }
    Some(w.into_bytes().into())
}

fn target_domain(service: &Service, spot: &Spot<'_>) -> Option<Domain> {
    match service.target {
        Target::Own => Some(spot.apex.clone()),
        Target::Name(name) => flat_domain(&name, spot.origin),
    }
}

fn param(w: &mut Writer, key: u16, value: &[u8]) {
    w.u16(key).u16(value.len() as u16).put(value);
}

fn push_alpn(alpn: &mut Vec<u8>, id: &str) {
    alpn.push(id.len() as u8);
    alpn.extend_from_slice(id.as_bytes());
}

fn is_https(service: &Service) -> bool {
    service.label == HTTPS_LABEL
}

const HTTPS_LABEL: &str = "https";
const HTTPS_PORT: u16 = 443;

/// Most addresses given as hints: a client tries no more before it has asked for the rest.
const HINTS_MAX: usize = 8;

/// SvcParamKeys (RFC 9460 §14.3.2).
mod key {
    pub const ALPN: u16 = 1;
    pub const NO_DEFAULT_ALPN: u16 = 2;
    pub const PORT: u16 = 3;
    pub const IPV4_HINT: u16 = 4;
    pub const IPV6_HINT: u16 = 6;
}
