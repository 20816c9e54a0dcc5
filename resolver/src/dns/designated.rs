//! What a client that knows an address alone is told of the encrypted transports behind it (RFC 9462, RFC 9461).

use crate::dns::domain::Domain;
use crate::dns::https::PATH;
use crate::dns::question::Question;
use crate::dns::rdata_text::{RdataTextError, rdata_from_text};
use crate::dns::response::{Rdata, Rr};
use crate::dns::wire::CLASS_IN;
use bytes::Bytes;
use dialtone_shared::record::rdata::types;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The encrypted transports, and the name that their certificate is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Designated {
    name: Domain,
    services: Vec<Bytes>,
}

impl Designated {
    /// Of listeners over TLS, HTTPS and QUIC, whose certificate is for `name`; `None`: there is none.
    ///
    /// # Errors
    /// [`RdataTextError`]: the name cannot stand in a record.
    pub fn new(name: Domain, tls: &[SocketAddr], https: &[SocketAddr], quic: &[SocketAddr]) -> Result<Option<Self>, RdataTextError> {
        let mut services = Vec::new();
        let path = format!(" dohpath={PATH}{{?dns}}");
        for (addresses, alpn, more) in [(tls, "dot", ""), (https, "h2", path.as_str()), (quic, "doq", "")] {
            let mut by_port = BTreeMap::<u16, Vec<IpAddr>>::new();
            for address in addresses {
                by_port.entry(address.port()).or_default().push(address.ip());
            }
            for (port, ips) in by_port {
                // Where every address is listened on, the one that the client asked is one of them.
                let hints = |key: &str, is_meant: fn(&IpAddr) -> bool| {
                    let ips: Vec<String> = ips.iter().filter(|ip| is_meant(ip)).map(ToString::to_string).collect();
                    if ips.is_empty() {
                        String::new()
                    } else {
                        format!(" {key}={}", ips.join(","))
                    }
                };
                let v4 = hints("ipv4hint", |ip| ip.is_ipv4() && !ip.is_unspecified());
                let v6 = hints("ipv6hint", |ip| ip.is_ipv6() && !ip.is_unspecified());
                let order = services.len() + 1;
                let text = format!("{order} {name}. alpn={alpn} port={port}{v4}{v6}{more}");
                services.push(Bytes::from(rdata_from_text(types::SVCB, &text, &Domain::root())?));
            }
        }
        Ok((!services.is_empty()).then_some(Self { name, services }))
    }

    /// The answer, if this is what is asked for: of the resolver whose address is known, or of the one whose name is.
    pub(crate) fn answers(&self, question: &Question) -> Option<Vec<Rr>> {
        if question.kind != types::SVCB || question.class != CLASS_IN {
            return None;
        }
        let of = question.name.left_of(&Domain::from_labels([&b"resolver"[..], b"arpa"])?);
        let labels = of.or_else(|| question.name.left_of(&self.name))?;
        let [label] = labels[..] else { return None };
        label.eq_ignore_ascii_case(b"_dns").then(|| {
            let record = |data: &Bytes| Rr {
                owner: question.name.clone(),
                kind: types::SVCB,
                ttl: TTL_SECS,
                rdata: Rdata::Bytes(data.clone()),
            };
            self.services.iter().map(record).collect()
        })
    }
}

/// Listeners stay where they are for longer; a frontend that moved is found soon.
const TTL_SECS: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16) -> Question {
        Question {
            name: Domain::from_text(name).unwrap(),
            kind,
            class: CLASS_IN,
        }
    }

    #[test]
    fn each_transport_and_port_is_told_once_with_the_addresses_that_are_known() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let name = Domain::from_text("dns.example").unwrap();
        let tls = [at("192.0.2.1:853"), at("[2001:db8::1]:853"), at("0.0.0.0:8853")];
        let designated = Designated::new(name, &tls, &[at("192.0.2.1:443")], &[]).unwrap().unwrap();
        let answers = designated.answers(&question("_dns.Resolver.arpa", types::SVCB)).unwrap();
        assert_eq!(designated.answers(&question("_DNS.dns.example", types::SVCB)).unwrap().len(), 3);
        let expected = [
            "1 dns.example. alpn=dot port=853 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
            "2 dns.example. alpn=dot port=8853",
            "3 dns.example. alpn=h2 port=443 ipv4hint=192.0.2.1 dohpath=/dns-query{?dns}",
        ];
        for (answer, text) in answers.iter().zip(expected) {
            let rdata = rdata_from_text(types::SVCB, text, &Domain::root()).unwrap();
            assert_eq!(answer.rdata, Rdata::Bytes(rdata.into()));
        }
        for (name, kind) in [
            ("_dns.resolver.arpa", types::A),
            ("resolver.arpa", types::SVCB),
            ("x._dns.resolver.arpa", types::SVCB),
            ("_dns.example", types::SVCB),
        ] {
            assert_eq!(designated.answers(&question(name, kind)), None, "{name}");
        }
    }

    #[test]
    fn without_encrypted_transports_there_is_nothing_to_tell() {
        assert_eq!(Designated::new(Domain::from_text("dns.example").unwrap(), &[], &[], &[]), Ok(None));
    }
}
