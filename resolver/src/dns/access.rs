//! Who may ask at all: networks that are answered, and networks that are not.

use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
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

/// Who is answered at some listeners, instead of who is at all others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewSettings {
    /// The addresses of the listeners, as they are where they are named as such.
    pub listen: Vec<SocketAddr>,
    /// As of [`AccessSettings`].
    pub allow: Vec<Network>,
    /// As of [`AccessSettings`].
    pub deny: Vec<Network>,
    /// As of [`AccessSettings`].
    pub denied: Denied,
}

/// Which list of who is answered counts for a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct View(u8);

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

/// Who is answered, where.
#[derive(Clone, Debug)]
pub struct Views {
    /// The first counts where no other does.
    all: Vec<Access>,
    /// The others' listeners.
    at: Vec<(SocketAddr, View)>,
}

impl Views {
    /// `settings` where none of `views` says otherwise. Their listeners are said as they were bound.
    pub fn new(settings: AccessSettings, views: Vec<ViewSettings>) -> Self {
        let mut all = vec![Access::new(settings)];
        let mut at = Vec::new();
        for ViewSettings {
            listen,
            allow,
            deny,
            denied,
        } in views.into_iter().take(VIEWS_MAX)
        {
            let view = View(all.len() as u8);
            at.extend(listen.into_iter().map(|address| (address, view)));
            all.push(Access::new(AccessSettings { allow, deny, denied }));
        }
        Self { all, at }
    }

    /// The list that counts for the listener at `address`.
    pub fn at(&self, address: Option<SocketAddr>) -> View {
        let said = self.at.iter().find(|(at, _)| Some(*at) == address);
        said.map_or_else(View::default, |(_, view)| *view)
    }

    /// As [`Access::denies`], at a listener of this view.
    pub fn denies(&self, view: View, client: IpAddr) -> Option<Denied> {
        // There is one for each view that was made here; without it nobody is answered.
        self.all
            .get(usize::from(view.0))
            .map_or(Some(Denied::Drop), |access| access.denies(client))
    }
}

/// Whether `views` can be used for listeners at these addresses.
///
/// # Errors
/// What is wrong with which; the operator's turn.
pub fn check_views(views: &[ViewSettings], listeners: &[SocketAddr]) -> Result<(), String> {
    if views.len() > VIEWS_MAX {
        return Err(format!("there are {}: at most {VIEWS_MAX}", views.len()));
    }
    let mut said = Vec::new();
    for view in views {
        if view.listen.is_empty() {
            return Err("one of them names no listener: `listen` says for which addresses it is".to_owned());
        }
        for address in &view.listen {
            if !listeners.contains(address) {
                return Err(format!(
                    "nothing listens on {address}: it is to be one of `listen`, `tls`, `https` or `quic`"
                ));
            }
            if said.contains(address) {
                return Err(format!("{address} is in two of them"));
            }
            said.push(*address);
        }
    }
    Ok(())
}

/// `views` with their listeners as they were bound: what was `said`, and in the same order what they `became`.
pub fn bound(views: &[ViewSettings], said: &[SocketAddr], became: &[SocketAddr]) -> Vec<ViewSettings> {
    let of = |address: &SocketAddr| {
        let all = said.iter().zip(became).filter(move |(said, _)| *said == address);
        all.map(|(_, became)| *became).collect::<Vec<_>>()
    };
    let one = |view: &ViewSettings| ViewSettings {
        listen: view.listen.iter().flat_map(of).collect(),
        ..view.clone()
    };
    views.iter().map(one).collect()
}

/// More than anybody has listeners.
const VIEWS_MAX: usize = 64;

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

    #[test]
    fn a_view_counts_at_its_listeners_alone() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let view = |listen: &[&str], allow: &str| ViewSettings {
            listen: listen.iter().map(|text| at(text)).collect(),
            allow: vec![allow.parse().unwrap()],
            ..ViewSettings::default()
        };
        let said = [view(&["127.0.0.1:0"], "192.0.2.0/24"), view(&["[::1]:53"], "2001:db8::/32")];
        let listeners = [at("127.0.0.1:0"), at("[::1]:53"), at("127.0.0.1:53")];
        assert_eq!(check_views(&said, &listeners), Ok(()));
        let bound = bound(&said, &listeners, &[at("127.0.0.1:4000"), listeners[1], listeners[2]]);
        let views = Views::new(AccessSettings::default(), bound);
        let denies = |listener: &str, client: &str| views.denies(views.at(Some(at(listener))), client.parse().unwrap()).is_some();
        assert!(!denies("127.0.0.1:4000", "192.0.2.7") && denies("127.0.0.1:4000", "198.51.100.7"));
        assert!(!denies("[::1]:53", "2001:db8::7") && denies("[::1]:53", "192.0.2.7"));
        assert!(!denies("127.0.0.1:53", "198.51.100.7"), "no view is for it");
        for (wrong, said) in [
            (vec![view(&[], "192.0.2.0/24")], "names no listener"),
            (vec![view(&["127.0.0.1:54"], "192.0.2.0/24")], "nothing listens on 127.0.0.1:54"),
            (vec![view(&["[::1]:53"], "192.0.2.0/24"); 2], "in two of them"),
        ] {
            assert!(check_views(&wrong, &listeners).unwrap_err().contains(said));
        }
    }
}
