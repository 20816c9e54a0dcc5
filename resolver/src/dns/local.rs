//! Special-use names that never leave the house, whatever the upstream would say (RFC 6761, 6303, 6762, 7686, 8375, 9462, 9476).

use crate::dns::domain::Domain;

/// What is said about a special-use name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Local {
    /// This very machine.
    Loopback,
    /// The name is the zone itself: there, without data.
    NoData(&'static str),
    /// There is no such name in the zone.
    NoName(&'static str),
}

/// What is said about `name` here; `None` if it is nobody's special name.
pub fn special_use(name: &Domain) -> Option<Local> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let zone = ZONES.iter().find(|zone| ends_with(&labels, zone))?;
    let is_zone = labels.len() == zone.split('.').count();
    Some(match *zone {
        "localhost" => Local::Loopback,
        // Nothing under it is answered for here, but the resolver is asked whether it is (RFC 9462 §6.4: NODATA).
        "resolver.arpa" => Local::NoData(zone),
        _ if is_zone => Local::NoData(zone),
        _ => Local::NoName(zone),
    })
}

fn ends_with(labels: &[&[u8]], zone: &str) -> bool {
    let mut labels = labels.iter().rev();
    zone.rsplit('.')
        .all(|part| labels.next().is_some_and(|label| label.eq_ignore_ascii_case(part.as_bytes())))
}

const ZONES: [&str; 42] = [
    // No DNS behind these.
    "localhost", // RFC 6761 §6.3
    "invalid",   // RFC 6761 §6.4
    "test",      // RFC 6761 §6.2
    "alt",       // RFC 9476: other namespaces' questions are not for the DNS
    "onion",     // RFC 7686 §2
    "local",     // RFC 6762 §22.1: multicast
    // Each home has its own.
    "home.arpa",     // RFC 8375 §4
    "resolver.arpa", // RFC 9462 §6.4
    // Private addresses (RFC 6303 §4, RFC 6761 §6.1, RFC 7793).
    "0.in-addr.arpa",
    "10.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "168.192.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "16.172.in-addr.arpa",
    "17.172.in-addr.arpa",
    "18.172.in-addr.arpa",
    "19.172.in-addr.arpa",
    "20.172.in-addr.arpa",
    "21.172.in-addr.arpa",
    "22.172.in-addr.arpa",
    "23.172.in-addr.arpa",
    "24.172.in-addr.arpa",
    "25.172.in-addr.arpa",
    "26.172.in-addr.arpa",
    "27.172.in-addr.arpa",
    "28.172.in-addr.arpa",
    "29.172.in-addr.arpa",
    "30.172.in-addr.arpa",
    "31.172.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names_stay_here_and_others_do_not() {
        for (name, expected) in [
            ("localhost", Some(Local::Loopback)),
            ("a.LocalHost", Some(Local::Loopback)),
            ("alt", Some(Local::NoData("alt"))),
            ("key.gns.ALT", Some(Local::NoName("alt"))),
            ("x.onion", Some(Local::NoName("onion"))),
            ("a.home.arpa", Some(Local::NoName("home.arpa"))),
            ("arpa", None),
            ("_dns.resolver.arpa", Some(Local::NoData("resolver.arpa"))),
            ("1.0.168.192.in-addr.arpa", Some(Local::NoName("168.192.in-addr.arpa"))),
            ("1.0.15.172.in-addr.arpa", None),
            ("1.0.31.172.in-addr.arpa", Some(Local::NoName("31.172.in-addr.arpa"))),
            ("notalt", None),
            ("alt.example", None),
            ("example.com", None),
            (".", None),
        ] {
            assert_eq!(special_use(&Domain::from_text(name).expect(name)), expected, "{name}");
        }
    }
}
