//! Zone files into bindings: master files as people write them (RFC 1035 §5, `$TTL` of RFC 2308 §4).

use crate::dns::domain::Domain;
use crate::dns::rdata_text::{domain_from_word, rdata_from_words, type_from_text, type_to_text};
use crate::dns::zone_lex::{Entry, LexError, Word, entries};
use dialtone_shared::limits::TTL_SECS_DEFAULT;
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Address, DnsData};
use dialtone_shared::{Binding, Ttl};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a zone file says about a name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ZoneBindings {
    /// A and AAAA of the name itself as addresses, which the layers are made of and which have the record's TTL; everything else as DNS
    /// data; in the order of the file.
    pub bindings: Vec<Binding>,
    /// Lines that a record has no place for, and why. Worth a warning.
    pub passed_over: Vec<PassedOver>,
}

/// A line of a zone file that is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PassedOver {
    /// Which, counted from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Why a zone file is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ZoneError {
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it, and what to write.
    pub reason: String,
}

/// Reads a zone file whose `@` is `origin`, by custom `<name>.<origin of the frontend>`.
///
/// # Errors
/// [`ZoneError`], the first line that is wrong.
pub fn bindings_from_zone(text: &str, origin: &Domain) -> Result<ZoneBindings, ZoneError> {
    let entries = entries(text).map_err(|LexError { line, reason }| ZoneError {
        line,
        reason: reason.to_owned(),
    })?;
    let mut reading = Reading {
        apex: origin,
        origin: origin.clone(),
        owner: None,
        default_ttl: None,
        last_ttl: None,
        zone: ZoneBindings::default(),
    };
    for entry in &entries {
        reading.entry(entry).map_err(|reason| ZoneError { line: entry.line, reason })?;
    }
    Ok(reading.zone)
}

/// A number of seconds as zone files write it: `300`, or `1h30m` (s, m, h, d, w).
///
/// # Errors
/// What is wrong with it, for people.
pub fn ttl_from_text(text: &str) -> Result<Ttl, String> {
    let wrong = || format!("{text:?} is not a TTL: write seconds, or such as 1h30m, at most 2147483647 in all");
    let (mut total, mut number) = (0_u64, None::<u64>);
    for byte in text.bytes() {
        match (byte, number) {
            (b'0'..=b'9', _) => {
                let digit = u64::from(byte - b'0');
                number = Some(number.unwrap_or_default().saturating_mul(10).saturating_add(digit));
            }
            (unit, Some(count)) => {
                let secs = match unit.to_ascii_lowercase() {
                    b's' => 1,
                    b'm' => 60,
                    b'h' => 3_600,
                    b'd' => 86_400,
                    b'w' => 7 * 86_400,
                    _ => return Err(wrong()),
                };
                total = total.saturating_add(count.saturating_mul(secs));
                number = None;
            }
            (_, None) => return Err(wrong()),
        }
    }
    total = total.saturating_add(number.unwrap_or_default());
    match u32::try_from(total) {
        // RFC 2181 §8: 31 bits.
        Ok(secs) if !text.is_empty() && secs <= i32::MAX as u32 => Ok(Ttl(secs)),
        _ => Err(wrong()),
    }
}

struct Reading<'a> {
    /// The name that the bindings are for.
    apex: &'a Domain,
    /// What relative names are under, as of the last `$ORIGIN`.
    origin: Domain,
    /// The owner of the entry before.
    owner: Option<Domain>,
    default_ttl: Option<Ttl>,
    last_ttl: Option<Ttl>,
    zone: ZoneBindings,
}

impl Reading<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        let mut words = &entry.words[..];
        if !entry.is_indented
            && let Some((first, rest)) = words.split_first()
        {
            if first.raw.starts_with(b"$") && !first.is_quoted {
                return self.control(&first.text(), rest);
            }
            self.owner = Some(domain_from_word(first, &self.origin).map_err(|error| error.to_string())?);
            words = rest;
        }
        let owner = self.owner.clone().ok_or("no owner: the first entry starts with one, or with `@`")?;
        let mut ttl = None;
        let mut class = None;
        let kind = loop {
            let (word, rest) = words.split_first().ok_or("no type: write `<owner> [ttl] [IN] <type> <data>`")?;
            words = rest;
            let text = word.text();
            if ttl.is_none() && text.starts_with(|first: char| first.is_ascii_digit()) {
                ttl = Some(ttl_from_text(&text)?);
            } else if class.is_none() && ["IN", "CH", "HS", "CS"].iter().any(|class| class.eq_ignore_ascii_case(&text)) {
                if !text.eq_ignore_ascii_case("IN") {
                    return Err(format!("class {text}: only IN can be published"));
                }
                class = Some(());
            } else {
                break type_from_text(&text).map_err(|error| error.to_string())?;
            }
        };
        self.last_ttl = ttl.or(self.last_ttl);
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl).unwrap_or(Ttl(TTL_SECS_DEFAULT));
        self.record(entry.line, &owner, kind, ttl, words)
    }

    fn control(&mut self, directive: &str, words: &[Word]) -> Result<(), String> {
        let [word] = words else {
            return Err(match directive.to_ascii_uppercase().as_str() {
                "$INCLUDE" | "$GENERATE" => format!("{directive} is not followed: write the lines out"),
                _ => format!("{directive} takes one word"),
            });
        };
        match directive.to_ascii_uppercase().as_str() {
            "$ORIGIN" => self.origin = domain_from_word(word, &self.origin).map_err(|error| error.to_string())?,
            "$TTL" => self.default_ttl = Some(ttl_from_text(&word.text())?),
            "$INCLUDE" | "$GENERATE" => return Err(format!("{directive} is not followed: write the lines out")),
            _ => return Err(format!("{directive} is not known; $ORIGIN and $TTL are")),
        }
        Ok(())
    }

    fn record(&mut self, line: usize, owner: &Domain, kind: u16, ttl: Ttl, words: &[Word]) -> Result<(), String> {
        let Some(labels) = owner.left_of(self.apex) else {
            return Err(format!("{owner} is not under {}", self.apex));
        };
        if OF_A_ZONE.contains(&kind) {
            let reason = format!(
                "{} is about zones and their signatures, which a name has no need of",
                type_to_text(kind)
            );
            self.zone.passed_over.push(PassedOver { line, reason });
            return Ok(());
        }
        let rdata = rdata_from_words(kind, words, &self.origin).map_err(|error| error.to_string())?;
        let binding = match address(kind, &rdata) {
            Some(ip) if labels.is_empty() => Binding::Address(Address::of(ip)),
            _ => Binding::Dns(DnsData {
                owner: String::from_utf8_lossy(&labels.join(&b'.')).to_ascii_lowercase(),
                kind,
                ttl,
                rdata,
            }),
        };
        binding.check().map_err(|error| error.to_string())?;
        self.zone.bindings.push(binding);
        Ok(())
    }
}

fn address(kind: u16, rdata: &[u8]) -> Option<IpAddr> {
    match kind {
        types::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?).into()),
        types::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?).into()),
        _ => None,
    }
}

/// NS, SOA, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, CSYNC, ZONEMD: what exported zones have around the data.
const OF_A_ZONE: [u16; 12] = [types::NS, types::SOA, 43, 46, 47, 48, 50, 51, 59, 60, 62, 63];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<ZoneBindings, ZoneError> {
        bindings_from_zone(text, &Domain::from_text("n.dialtone.alt").expect("origin"))
    }

    fn dns(owner: &str, kind: u16, ttl: u32, rdata: &[u8]) -> Binding {
        Binding::Dns(DnsData {
            owner: owner.to_owned(),
            kind,
            ttl: Ttl(ttl),
            rdata: rdata.to_vec(),
        })
    }

    #[test]
    fn a_zone_file_becomes_bindings() {
        let zone = read(
            r#"
$TTL 1h
@       IN SOA ns.example. host.example. ( 1 ; serial
                2 3 4 5 )
        NS   ns.example.
        A    192.0.2.1
   300  IN   AAAA 2001:db8::1
WWW     IN 60 CNAME @
_a.b    TXT  "x" ; a comment
        TXT  y
$ORIGIN sub
*       A    192.0.2.2
n.Dialtone.ALT. 1d MX 5 mail
"#,
        )
        .expect("zone");
        let mail = b"\x00\x05\x04mail\x03sub\x01n\x08dialtone\x03alt\x00";
        assert_eq!(
            zone.bindings,
            [
                Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1]))),
                Binding::Address(Address::of("2001:db8::1".parse().expect("address"))),
                dns("www", types::CNAME, 60, b"\x01n\x08dialtone\x03alt\x00"),
                dns("_a.b", types::TXT, 3_600, b"\x01x"),
                dns("_a.b", types::TXT, 3_600, b"\x01y"),
                dns("*.sub", types::A, 3_600, &[192, 0, 2, 2]),
                dns("", types::MX, 86_400, mail),
            ]
        );
        assert_eq!(zone.passed_over.iter().map(|passed| passed.line).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn a_wrong_line_is_named_with_the_reason() {
        for (text, line, says) in [
            ("\n  A 192.0.2.1", 2, "no owner"),
            ("@ A 192.0.2.1\n@ A 192.0.2", 2, "an IPv4 address"),
            ("@ 60", 1, "no type"),
            ("@ CH TXT x", 1, "only IN"),
            ("@ 5q A 192.0.2.1", 1, "not a TTL"),
            ("@ 4294967296 A 192.0.2.1", 1, "not a TTL"),
            ("www.example.com. A 192.0.2.1", 1, "not under"),
            ("$INCLUDE /etc/passwd", 1, "not followed"),
            ("$GENERATE 1-2 a A 192.0.2.$", 1, "not followed"),
            ("$WHAT x", 1, "not known"),
            ("a!b A 192.0.2.1", 1, "owner"),
            ("@ DNAME x", 1, "cannot be published"),
            ("@ TXT (\n x", 1, "without a `)`"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(says),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn ttls_have_units() {
        for (text, secs) in [
            ("0", 0),
            ("300", 300),
            ("1h30m", 5_400),
            ("2W", 1_209_600),
            ("1m1", 61),
            ("2147483647", 2_147_483_647),
        ] {
            assert_eq!(ttl_from_text(text), Ok(Ttl(secs)), "{text}");
        }
        for text in ["", "h", "-1", "1h h", "99999999999999999999", "2147483648"] {
            assert!(ttl_from_text(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "[ -~\\t\\n]{0,200}") {
            let _refused_or_not = read(&text);
        }

        #[test]
        fn no_data_is_too_odd_to_be_refused(
            kind in prop::sample::select(vec!["A", "MX", "TXT", "SVCB", "NAPTR", "CAA", "TLSA", "URI", "TYPE99"]),
            text in r#"[ -~]{0,40}"#,
        ) {
            match read(&format!("@ {kind} {text}")) {
                Ok(zone) => prop_assert!(zone.bindings.iter().all(|binding| binding.check().is_ok())),
                Err(error) => prop_assert_eq!(error.line, 1),
            }
        }
    }
}
