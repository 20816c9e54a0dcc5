//! Records as people and scripts read them. What a stranger published never reaches a terminal as it is: control
//! characters are escaped.

use dialtone_resolver::dns::zone_out::strings_text;
use dialtone_resolver::keyfile::to_hex;
use dialtone_resolver::view;
use dialtone_shared::UnixSecs;
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Binding, DnsData, Service, Step, Target, Transport};

/// A binding in one line.
pub fn binding(binding: &Binding) -> String {
    match binding {
        Binding::Address(address) => {
            let mut line = format!("address  {}", address.ip);
            preferences(&mut line, address.priority, address.weight);
            if let Some(region) = &address.region {
                line += &format!("  region {region}");
            }
            line
        }
        Binding::Service(service) => service_line(service),
        Binding::Delegate(delegate) => {
            let steps: Vec<String> = delegate.path.iter().map(step).collect();
            format!("delegate {}", steps.join(" → "))
        }
        Binding::Dns(dns) => {
            let owner = if dns.owner.is_empty() { "@" } else { &dns.owner };
            format!("dns      {owner} {} {} {}", dns.ttl.0, view::type_name(dns.kind), rdata(dns))
        }
        Binding::Opaque(opaque) => {
            let (media_type, bytes) = (printable(&opaque.media_type), opaque.bytes.len());
            match std::str::from_utf8(&opaque.bytes) {
                Ok(text) if bytes <= OPAQUE_SHOWN && !text.is_empty() => format!("opaque   {media_type}  {}", printable(text)),
                _ => format!("opaque   {media_type}  ({bytes} bytes)"),
            }
        }
    }
}

/// Until when, and how far away that is.
pub fn until(expiry: UnixSecs, now: UnixSecs) -> String {
    if expiry <= now {
        return format!("{expiry} (past)");
    }
    format!("{expiry} (in {})", span(expiry.since(now)))
}

/// Seconds in the largest unit that still says something, rounded.
pub fn span(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", (secs + 30) / 60),
        7_200..172_800 => format!("{} h", (secs + 1_800) / 3_600),
        _ => format!("{} days", (secs + 43_200) / 86_400),
    }
}

/// Whether a terminal would act upon `c`, or show what stands around it otherwise than it is: control characters, line ends, what has
/// no width, and what turns the direction of writing.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text without control characters or anything else that a terminal would act upon.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let (as_is, escaped) = if !is_harmful(c) {
                (Some(c), None)
            } else {
                (None, Some(c.escape_unicode()))
            };
            as_is.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// `tcp` or `udp`.
pub fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn service_line(service: &Service) -> String {
    let mut line = format!("service  {}  {}/{}", service.label, transport(service.transport), service.port);
    if let Target::Name(name) = &service.target {
        line += &format!("  at {name}");
    }
    if !service.alpn.is_empty() {
        line += &format!("  alpn {}", printable(&service.alpn.join(" ")));
    }
    preferences(&mut line, service.priority, service.weight);
    if !service.pins.is_empty() {
        line += &format!("  {} pinned key(s)", service.pins.len());
    }
    line
}

fn preferences(line: &mut String, priority: u16, weight: u16) {
    if priority != 0 {
        *line += &format!("  priority {priority}");
    }
    if weight != 0 {
        *line += &format!("  weight {weight}");
    }
}

/// A step of a delegate's path.
pub fn step(step: &Step) -> String {
    match step {
        Step::Name(name) => name.to_string(),
        Step::Legacy(dns) => dns.clone(),
    }
}

/// Presentation form where the type has one, otherwise RFC 3597's.
fn rdata(dns: &DnsData) -> String {
    match dns.kind {
        // A TXT record's strings may be any bytes; only the zone file's own escapes keep them apart.
        types::TXT | types::SPF => strings_text(&dns.rdata),
        kind => match view::rdata_text(kind, &dns.rdata) {
            Some(text) => printable(&text),
            None => format!("\\# {} {}", dns.rdata.len(), to_hex(&dns.rdata)),
        },
    }
}

/// An opaque binding up to this many bytes is shown as text; more would push the rest off the screen.
const OPAQUE_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::Ttl;

    fn dns(kind: u16, rdata: &[u8]) -> Binding {
        Binding::Dns(DnsData {
            owner: String::new(),
            kind,
            ttl: Ttl(60),
            rdata: rdata.to_vec(),
        })
    }

    #[test]
    fn dns_data_is_shown_as_a_zone_file_has_it() {
        for (shown, line) in [
            (dns(types::TXT, b"\x05hello\x03a\"b"), r#"dns      @ 60 TXT "hello" "a\"b""#),
            (dns(types::A, &[192, 0, 2, 7]), "dns      @ 60 A 192.0.2.7"),
            (dns(types::MX, b"\x00\x0a\x04mail\x00"), "dns      @ 60 MX 10 mail."),
            (dns(4_711, &[1, 2]), r"dns      @ 60 TYPE4711 \# 2 0102"),
        ] {
            assert_eq!(binding(&shown), line);
        }
    }

    #[test]
    fn nothing_published_can_move_the_cursor() {
        let hostile = Binding::Opaque(dialtone_shared::record::Opaque {
            media_type: "text/plain".into(),
            bytes: "\u{1b}[2Jgone\u{202e}".into(),
        });
        let said = [binding(&hostile), binding(&dns(types::TXT, b"\x05\x1b[2Jx"))];
        assert!(said.iter().all(|line| !line.contains(['\u{1b}', '\u{202e}'])), "{said:?}");
    }

    #[test]
    fn nothing_published_can_turn_or_hide_what_stands_beside_it() {
        for c in "\u{9b}\u{7f}\u{2066}\u{2067}\u{2068}\u{2069}\u{61c}\u{2028}\u{feff}\u{ad}\u{e0041}".chars() {
            assert!(!printable(&format!("a{c}b")).contains(c), "{}", c.escape_unicode());
        }
        assert_eq!(printable("Grüße, 日本, \"x\""), "Grüße, 日本, \"x\"");
    }

    #[test]
    fn spans_are_said_in_the_largest_unit() {
        assert_eq!(
            [span(60), span(600), span(7_200), span(2_592_000)],
            ["60 s", "10 min", "2 h", "30 days"]
        );
    }
}
