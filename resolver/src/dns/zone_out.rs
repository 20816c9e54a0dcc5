//! Bindings into zone files: what [`zone`](super::zone) reads back, with everything that a zone has no line for as a comment.

use crate::dns::domain::Domain;
use crate::dns::rdata_text::type_to_text;
use crate::dns::zone::bindings_from_zone;
use crate::view;
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Address, DnsData};
use dialtone_shared::{Binding, Body, VerifiedRecord};
use std::fmt::Write;
use std::net::IpAddr;

/// What a record says as a zone file whose `@` is the name under `origin`. How the bindings that have no line are shown is the caller's affair:
/// `comment` says it in one line of printable text.
pub fn zone_from_record(record: &VerifiedRecord, origin: &str, comment: impl Fn(&Binding) -> String) -> String {
    let apex = record.name().to_dns(origin);
    let mut zone = format!("; {}, rank {}\n$ORIGIN {apex}.\n", record.name(), record.rank());
    let Body::Live { expiry, ttl, bindings } = &record.record().body else {
        return zone + "; revoked: nothing that this key signed counts any more\n";
    };
    // A string takes whatever is written to it.
    let _ = writeln!(zone, "; expires {expiry}\n$TTL {}", ttl.0);
    let domain = Domain::from_text(&apex).unwrap_or_else(|_| Domain::root());
    for binding in bindings {
        let line = match binding {
            Binding::Address(address) => Some(address_line(address)),
            Binding::Dns(dns) => Some(dns_line(dns, &domain)),
            Binding::Service(_) | Binding::Delegate(_) | Binding::Opaque(_) => None,
        };
        match line {
            Some(line) => zone += &line,
            None => {
                let _ = write!(zone, "; {}", comment(binding));
            }
        }
        zone.push('\n');
    }
    zone
}

/// A TXT record's strings, quoted and escaped (RFC 1035 §5.1).
pub fn strings_text(mut rdata: &[u8]) -> String {
    let mut shown = Vec::new();
    while let Some((&length, tail)) = rdata.split_first() {
        let (string, tail) = tail.split_at(usize::from(length).min(tail.len()));
        let mut quoted = String::from("\"");
        for &byte in string {
            match byte {
                b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
                b' '..=b'~' => quoted.push(char::from(byte)),
                _ => {
                    let _ = write!(quoted, "\\{byte:03}");
                }
            }
        }
        shown.push(quoted + "\"");
        rdata = tail;
    }
    shown.join(" ")
}

fn address_line(address: &Address) -> String {
    let kind = match address.ip {
        IpAddr::V4(_) => "A",
        IpAddr::V6(_) => "AAAA",
    };
    let mut line = format!("@ {kind} {}", address.ip);
    // A zone has no place for these.
    let mut more = Vec::new();
    if address.priority != 0 {
        more.push(format!("priority {}", address.priority));
    }
    if address.weight != 0 {
        more.push(format!("weight {}", address.weight));
    }
    more.extend(address.region.as_ref().map(|region| format!("region {region}")));
    if !more.is_empty() {
        let _ = write!(line, " ; {}", more.join(", "));
    }
    line
}

fn dns_line(dns: &DnsData, apex: &Domain) -> String {
    let owner = if dns.owner.is_empty() { "@" } else { &dns.owner };
    let head = format!("{owner} {} IN {}", dns.ttl.0, type_to_text(dns.kind));
    let text = match dns.kind {
        types::TXT | types::SPF => Some(strings_text(&dns.rdata)),
        kind => view::rdata_text(kind, &dns.rdata),
    };
    // Whatever would not be read back as these very bytes is written as bytes (RFC 3597 §5).
    text.filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .map(|text| format!("{head} {text}"))
        .filter(|line| {
            let wanted = Binding::Dns(dns.clone());
            bindings_from_zone(line, apex).is_ok_and(|zone| zone.bindings == [wanted])
        })
        .unwrap_or_else(|| format!("{head} \\# {} {}", dns.rdata.len(), view::hexadecimal(&dns.rdata)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::record_with;
    use dialtone_shared::Ttl;
    use dialtone_shared::record::{Opaque, Service, Transport};
    use proptest::prelude::*;

    const ORIGIN: &str = "dialtone.alt";

    fn with(bindings: Vec<Binding>) -> VerifiedRecord {
        record_with(1, 1, |live| live.bindings = bindings)
    }

    fn read(record: &VerifiedRecord, zone: &str) -> Vec<Binding> {
        let apex = Domain::from_text(&record.name().to_dns(ORIGIN)).unwrap();
        let read = bindings_from_zone(zone, &apex).unwrap_or_else(|error| panic!("{error}:\n{zone}"));
        assert_eq!(read.passed_over, []);
        read.bindings
    }

    #[test]
    fn a_zone_file_goes_in_and_comes_out_and_goes_in_again() {
        let text = r#"
@       A 192.0.2.1
        AAAA 2001:db8::1
www 60  CNAME @
_a.b    TXT "x;y" "say \"hi\" \\ \200"
*.sub   A 192.0.2.2
@ 1d    MX 5 mail.example.org.
@       CAA 0 issue "ca.example.net; policy=ev"
_443._tcp TLSA 3 1 1 0d6fce1347bcd1d4ae3e5b9bd2cc9aca1a2b3c4d5e6f708192a3b4c5d6e7f809
svc     HTTPS 1 . alpn=h2,h3 port=8443
_s._tcp SRV 1 2 443 @
x       TYPE4711 \# 3 010203
"#;
        let apex = Domain::from_text(&with(Vec::new()).name().to_dns(ORIGIN)).unwrap();
        let bindings = bindings_from_zone(text, &apex).unwrap().bindings;
        let record = with(bindings.clone());
        let zone = zone_from_record(&record, ORIGIN, |_| panic!("all of it has a line"));
        assert_eq!(read(&record, &zone), bindings, "{zone}");
        assert!(
            zone.contains(" MX 5 mail.example.org.") && zone.contains(r#""x;y" "say \"hi\" \\ \200""#),
            "{zone}"
        );
    }

    #[test]
    fn what_has_no_line_is_a_comment() {
        let mut address = Address::of([192, 0, 2, 1].into());
        (address.priority, address.region) = (7, Some("eu".into()));
        let record = with(vec![
            Binding::Address(address),
            Binding::Service(Service::of("https", Transport::Tcp, 443)),
            Binding::Opaque(Opaque {
                media_type: "text/plain".into(),
                bytes: b"x".to_vec(),
            }),
        ]);
        let zone = zone_from_record(&record, ORIGIN, |binding| format!("{:.7}", format!("{binding:?}")));
        assert!(
            zone.contains("@ A 192.0.2.1 ; priority 7, region eu\n; Service\n; Opaque("),
            "{zone}"
        );
        assert_eq!(read(&record, &zone), [Binding::Address(Address::of([192, 0, 2, 1].into()))]);
    }

    proptest! {
        #[test]
        fn whatever_a_record_holds_comes_back_byte_for_byte(
            owner in prop::sample::select(vec!["", "www", "*.sub", "_a._b", "*"]),
            kind in prop::sample::select(vec![16_u16, 99, 257, 4_711, 10, 13, 35, 44, 256]),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            ttl in 0..100_000_u32,
        ) {
            let strings = [&[bytes.len() as u8][..], &bytes].concat();
            for rdata in [bytes, strings] {
                let binding = Binding::Dns(DnsData { owner: owner.to_owned(), kind, ttl: Ttl(ttl), rdata });
                if binding.check().is_ok() {
                    let record = with(vec![binding.clone()]);
                    let zone = zone_from_record(&record, ORIGIN, |_| String::new());
                    prop_assert_eq!(read(&record, &zone), [binding], "{}", zone);
                }
            }
        }
    }
}
