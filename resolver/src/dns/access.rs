//! Who may ask at all: networks that are answered, and networks that are not.

use serde::Deserialize;
use std::net::IpAddr;
use std::str::FromStr;

/// Who is answered, and what happens to the others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessSettings {
    /// Only these are answered; empty: everybody.
    pub allow: Vec<Network>,
    /// These are not, even if they are among the others.
    pub deny: Vec<Network>,
    /// What happens to who is not answered.
    pub denied: Denied,
}

/// What happens to a question of who is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Denied {
    /// It is told so: REFUSED.
    #[default]
    Refuse,
    /// Nothing is sent.
    Drop,
}

/// All addresses from one to another, of IPv4 or of IPv6: an IPv4 address in the form of an IPv6 one is an IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    is_v6: bool,
    from: u128,
    to: u128,
}

/// A text that is no network. The operator's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no network: an address, or one with its bits, such as 192.0.2.0/24 or 2001:db8::/32")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(whole);
        if bits > whole {
            return Err(wrong());
        }
        let (is_v6, _) = number(address);
        // `::ffff:192.0.2.0/120` is a network of IPv4, and what is larger than all of IPv4 is one of IPv6.
        let (is_v6, address) = match (is_v6, address) {
            (false, IpAddr::V6(ip)) if bits < 96 => (true, ip.to_bits()),
            _ => number(address),
        };
        let rest = u128::MAX.checked_shr(128 - whole + bits).unwrap_or(0);
        // More than a network is a slip of the pen: which of the two was meant?
        if address & rest != 0 {
            return Err(wrong());
        }
        Ok(Self {
            is_v6,
            from: address,
            to: address | rest,
        })
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

/// Addresses, found by halves.
#[derive(Clone, Debug, Default)]
struct Addresses(Vec<Network>);

impl Addresses {
    fn new(mut networks: Vec<Network>) -> Self {
        networks.sort_unstable();
        let mut apart: Vec<Network> = Vec::with_capacity(networks.len());
        for network in networks {
            match apart.last_mut() {
                Some(last) if network.is_v6 == last.is_v6 && network.from <= last.to => last.to = last.to.max(network.to),
                _ => apart.push(network),
            }
        }
        Self(apart)
    }

    fn has(&self, (is_v6, address): (bool, u128)) -> bool {
        let after = self.0.partition_point(|network| (network.is_v6, network.from) <= (is_v6, address));
        after > 0 && self.0[after - 1].is_v6 == is_v6 && address <= self.0[after - 1].to
    }
}

/// Who is answered.
#[derive(Clone, Debug)]
pub struct Access {
    allow: Addresses,
    deny: Addresses,
    denied: Denied,
    is_open: bool,
}

impl Access {
    /// From its settings.
    pub fn new(settings: AccessSettings) -> Self {
        Self {
            is_open: settings.allow.is_empty() && settings.deny.is_empty(),
            allow: Addresses::new(settings.allow),
            deny: Addresses::new(settings.deny),
            denied: settings.denied,
        }
    }

    /// What happens to a question of `client`; `None`: it is answered.
    pub fn denies(&self, client: IpAddr) -> Option<Denied> {
        if self.is_open {
            return None;
        }
        let address = number(client);
        let may = !self.deny.has(address) && (self.allow.0.is_empty() || self.allow.has(address));
        (!may).then_some(self.denied)
    }
}

/// Whether an address is one of IPv6, and its number as IPv6 has it.
fn number(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(ip) => (false, ip.to_ipv6_mapped().to_bits()),
        IpAddr::V6(ip) => (true, ip.to_bits()),
    }
}

/// Whether an address is of this machine or of a network that nobody else can send from.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn access(allow: &[&str], deny: &[&str]) -> Access {
        Access::new(AccessSettings {
            allow: networks(allow),
            deny: networks(deny),
            denied: Denied::Drop,
        })
    }

    fn may(access: &Access, address: &str) -> bool {
        access.denies(address.parse().expect(address)).is_none()
    }

    #[test]
    fn without_lists_everybody_is_answered() {
        assert!(may(&access(&[], &[]), "192.0.2.1") && may(&access(&[], &[]), "::"));
    }

    #[test]
    fn a_list_of_who_may_shuts_out_the_others_and_a_denial_wins() {
        let access = access(
            &["192.0.2.0/24", "2001:db8::/32", "203.0.113.7"],
            &["192.0.2.128/25", "2001:db8:bad::/48"],
        );
        for address in [
            "192.0.2.0",
            "192.0.2.127",
            "::ffff:192.0.2.1",
            "203.0.113.7",
            "2001:db8::1",
            "2001:db8:bac:ffff::",
        ] {
            assert!(may(&access, address), "{address}");
        }
        for address in [
            "192.0.1.255",
            "192.0.2.128",
            "192.0.2.255",
            "192.0.3.0",
            "203.0.113.8",
            "2001:db8:bad::1",
            "2001:db9::",
            "::1",
            "::",
        ] {
            assert!(!may(&access, address), "{address}");
        }
    }

    #[test]
    fn networks_that_overlap_are_as_good_as_one_by_one() {
        let access = access(&[], &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/32", "255.255.255.255"]);
        for (address, expected) in [
            ("10.1.2.4", false),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("0.0.0.0", false),
            ("0.0.0.1", true),
            ("255.255.255.255", false),
        ] {
            assert_eq!(may(&access, address), expected, "{address}");
        }
        for all_of_it in ["::/0", "::/80"] {
            let access = self::access(&[], &[all_of_it]);
            assert!(may(&access, "192.0.2.1") && may(&access, "::ffff:192.0.2.1"), "{all_of_it} is IPv6");
            assert!(!may(&access, "::1"), "{all_of_it}");
        }
        let mapped = self::access(&["::ffff:192.0.2.0/120"], &[]);
        assert!(may(&mapped, "192.0.2.9") && !may(&mapped, "192.0.3.9") && !may(&mapped, "::1"));
        assert!(may(&self::access(&[], &["0.0.0.0/0"]), "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "192.0.2",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/-1",
            "example.com",
            "2001:db8::1/32",
            "192.0.2.0/",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
