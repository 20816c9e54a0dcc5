//! From a name to a connection: which of its endpoints to try, in which order, and who may be met there. The trying is in
//! [`crate::io::connector`], the pace of it in [`race`].
//!
//! ```text
//! resolve ─ what cannot be connected to is left out ─ nearest region, then priority, then drawn by weight ─ families in turn ─ race
//! ```

pub mod race;

use crate::error::ResolveError;
use crate::layers::{Endpoint, Host, Node, Resolution, ResolveOptions, Said};
use crate::settings::{CONNECT_ATTEMPTS_MAX, CONNECT_DEADLINE, ORIGIN_DEFAULT};
use dialtone_shared::Name;
use dialtone_shared::record::Transport;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How a name is connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectOptions {
    /// Which service of the name is meant.
    pub service: String,
    /// The port, where no service says one: of names with addresses alone, and of legacy hosts.
    pub port: Option<u16>,
    /// Which regions are near, nearest first, as publishers call them.
    pub regions: Vec<String>,
    /// Which addresses may be connected to.
    pub reach: Reach,
    /// The application protocols to offer, preferred first; empty: those that the service says.
    pub alpn: Vec<Vec<u8>>,
    /// TLS is told that `<name>.<origin>` is meant (SNI), which tells servers of many names apart. It authenticates nothing: pins do.
    pub origin: String,
    /// When to give up.
    pub deadline: Duration,
}

/// Which addresses may be connected to. Anyone can publish any address: a program that connects for others, to names that others say, must
/// not be made to knock at doors inside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Reach {
    /// Not those of this machine, of private networks, or of links.
    #[default]
    Public,
    /// All.
    Everywhere,
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing certain can be said of the name.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It leads nowhere. The publisher's turn.
    #[error("{name} offers no `{service}` over TCP{}", trouble.as_ref().map_or(String::new(), |why| format!(": {why}")))]
    Nowhere {
        /// The name.
        name: Name,
        /// What was wanted.
        service: String,
        /// What is wrong on the way, if anything.
        trouble: Option<String>,
    },
    /// Nobody answered rightly at any of its addresses.
    #[error("{name} cannot be connected to: {}", .tried.iter().map(|(to, why)| format!("{to}: {why}")).collect::<Vec<_>>().join("; "))]
    Failed {
        /// The name.
        name: Name,
        /// What was tried, and what came of it.
        tried: Vec<(String, String)>,
    },
    /// What was to be connected to is no flat name.
    #[error("{0} is not a flat name under {1}")]
    NotAName(String, String),
}

/// What is to be tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// In this order, each with its port.
    pub candidates: Vec<(Endpoint, u16)>,
    /// What is not, and why.
    pub left_out: Vec<(String, String)>,
    /// Pins that would be those of signing keys of the names on the way: a key that signs records is never a server's.
    pub forbidden: Vec<[u8; 32]>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            service: "https".to_owned(),
            port: None,
            regions: Vec::new(),
            reach: Reach::default(),
            alpn: Vec::new(),
            origin: ORIGIN_DEFAULT.to_owned(),
            deadline: CONNECT_DEADLINE,
        }
    }
}

impl ConnectOptions {
    /// What is to be resolved.
    pub(crate) fn resolving(&self, seed: u64) -> ResolveOptions {
        ResolveOptions {
            service: Some(self.service.clone()),
            transport: Some(Transport::Tcp),
            regions: self.regions.clone(),
            seed,
        }
    }
}

impl Reach {
    /// Whether this address may be connected to.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Public => match address.to_canonical() {
                IpAddr::V4(address) => is_public_v4(address),
                IpAddr::V6(address) => is_public_v6(address),
            },
        }
    }
}

/// What to try of what a name came to.
///
/// # Errors
/// [`ConnectError::Nowhere`].
pub fn plan(found: &Resolution, options: &ConnectOptions) -> Result<Plan, ConnectError> {
    let mut plan = Plan {
        candidates: Vec::new(),
        left_out: Vec::new(),
        forbidden: Vec::new(),
    };
    for endpoint in &found.endpoints {
        let Some(port) = endpoint.port.or(options.port) else {
            plan.left_out.push((shown(&endpoint.host), "no service says its port".to_owned()));
            continue;
        };
        if let Host::Ip(ip) = endpoint.host
            && !options.reach.allows(ip)
        {
            plan.left_out.push((ip.to_string(), NOT_PUBLIC.to_owned()));
            continue;
        }
        let again = |(known, at): &(Endpoint, u16)| known.host == endpoint.host && *at == port && known.pins == endpoint.pins;
        if !plan.candidates.iter().any(again) {
            plan.candidates.push((endpoint.clone(), port));
        }
    }
    if plan.candidates.is_empty() && plan.left_out.is_empty() {
        return Err(ConnectError::Nowhere {
            name: found.tree.name,
            service: options.service.clone(),
            trouble: found.trouble().map(|(name, said)| format!("{name} {}", in_words(said))),
        });
    }
    take_turns(&mut plan.candidates);
    plan.candidates.truncate(CONNECT_ATTEMPTS_MAX);
    signing_keys(&found.tree, &mut plan.forbidden);
    Ok(plan)
}

/// Among those that are preferred alike, one of the other family after each (RFC 8305 §4): one family may be broken.
fn take_turns(candidates: &mut [(Endpoint, u16)]) {
    let mut start = 0;
    while start < candidates.len() {
        let alike =
            |one: &(Endpoint, u16), other: &(Endpoint, u16)| (&one.0.region, one.0.preference) == (&other.0.region, other.0.preference);
        let first = candidates[start].clone();
        let end = start + candidates[start..].iter().take_while(|other| alike(&first, other)).count();
        for at in start + 1..end {
            let before = family(&candidates[at - 1].0.host);
            if let Some(other) = (at..end).find(|index| family(&candidates[*index].0.host) != before) {
                candidates[at..=other].rotate_right(1);
            }
        }
        start = end;
    }
}

fn family(host: &Host) -> u8 {
    match host {
        Host::Ip(IpAddr::V6(_)) => 6,
        Host::Ip(IpAddr::V4(_)) => 4,
        Host::Legacy(_) => 0,
    }
}

/// The pins that the keys that signed these records would have as keys of TLS.
fn signing_keys(node: &Node, out: &mut Vec<[u8; 32]>) {
    if let Said::Record { record, .. } = &node.said
        && let Ok(key) = record.record().signing_key()
    {
        out.push(
            Sha256::new()
                .chain_update(ED25519_SPKI_HEAD)
                .chain_update(key.as_bytes())
                .finalize()
                .into(),
        );
    }
    node.children.iter().for_each(|child| signing_keys(child, out));
}

fn in_words(said: &Said) -> String {
    match said {
        Said::Record { record, .. } if record.record().is_revoked() => "is revoked".to_owned(),
        Said::Record { .. } => "is right".to_owned(),
        Said::Absent { .. } => "has no record".to_owned(),
        Said::Failed(error) => format!("cannot be looked up: {error}"),
        Said::Cycle => "leads back to itself".to_owned(),
        Said::Limit(why) => format!("is not followed: {why}"),
    }
}

/// A host as people read it.
pub(crate) fn shown(host: &Host) -> String {
    match host {
        Host::Ip(ip) => ip.to_string(),
        Host::Legacy(dns) => dns.clone(),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    !(a == 0
        || shared
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let inner = match address.segments() {
        // IPv4 in the forms that translators (RFC 6052) and tunnels (RFC 3056) carry on to it, and the outdated compatible form.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] | [0, 0, 0, 0, 0, 0, high, low] => Some((high, low)),
        _ => None,
    };
    let inner_is_public = inner.is_none_or(|(high, low)| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))));
    inner_is_public
        && !(address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || address.is_unique_local()
            || address.is_unicast_link_local())
}

/// Why an address is left out.
pub(crate) const NOT_PUBLIC: &str = "not a public address, and only those may be connected to (see `Reach`)";
/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const ED25519_SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: &str, preference: u32) -> (Endpoint, u16) {
        let endpoint = Endpoint {
            host: Host::Ip(ip.parse().unwrap()),
            port: Some(443),
            transport: Some(Transport::Tcp),
            service: None,
            alpn: Vec::new(),
            pins: Vec::new(),
            region: None,
            preference,
            path: Vec::new(),
            onward: Vec::new(),
        };
        (endpoint, 443)
    }

    #[test]
    fn families_take_turns_among_equals_and_only_there() {
        let mut candidates = vec![
            at("2001:db8::1", 0),
            at("2001:db8::2", 0),
            at("2001:db8::3", 0),
            at("192.0.2.1", 0),
            at("192.0.2.2", 0),
            at("2001:db8::9", 1),
            at("192.0.2.9", 1),
        ];
        take_turns(&mut candidates);
        let order: Vec<String> = candidates.iter().map(|(endpoint, _)| shown(&endpoint.host)).collect();
        assert_eq!(
            order,
            [
                "2001:db8::1",
                "192.0.2.1",
                "2001:db8::2",
                "192.0.2.2",
                "2001:db8::3",
                "2001:db8::9",
                "192.0.2.9"
            ]
        );
    }

    #[test]
    fn what_is_inside_is_not_public_in_whatever_form() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(!Reach::Public.allows(inside.parse().unwrap()), "{inside}");
            assert!(Reach::Everywhere.allows(inside.parse().unwrap()));
        }
        for outside in ["198.51.100.1", "100.128.0.1", "2001:db8::1", "64:ff9b::c633:6401"] {
            assert!(Reach::Public.allows(outside.parse().unwrap()), "{outside}");
        }
    }
}
