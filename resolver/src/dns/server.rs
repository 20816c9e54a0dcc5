//! Which resolver other names are forwarded to, and how: as a text, such as `192.0.2.53:53`, `tls://192.0.2.53#dns.example` or
//! `https://192.0.2.53/dns-query#dns.example`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::http::uri::PathAndQuery;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An upstream resolver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Where it is: an address, so that nobody has to be asked for it.
    pub address: SocketAddr,
    /// How it is asked.
    pub way: Way,
}

/// How an upstream is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// Over UDP, and TCP where that is needed: whoever answers is believed to be it.
    Plain,
    /// Over TLS (RFC 7858).
    Tls(Identity),
    /// Over HTTPS (RFC 8484), at this path.
    Https(Identity, String),
}

/// What an upstream over TLS proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// That certificate authorities know it by this name, or address (RFC 8310 §8.1).
    Web(ServerName<'static>),
    /// That it holds the key with this SHA-256 of its SubjectPublicKeyInfo (RFC 7858 §4.2).
    Pin([u8; 32]),
}

/// Why a text names no upstream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is no resolver: {reason}; write ADDR:PORT, tls://ADDR[:PORT]#WHO or https://ADDR[:PORT][/PATH]#WHO, the address in numbers, and WHO a name or sha256/PIN"
)]
pub struct ServerError {
    text: String,
    reason: &'static str,
}

impl Server {
    /// Whether nobody on the way can see what is asked.
    pub fn is_private(&self) -> bool {
        match self.way {
            Way::Plain => false,
            Way::Tls(_) | Way::Https(..) => true,
        }
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { address, way: Way::Plain }
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let parsed = if let Some(rest) = text.strip_prefix("tls://") {
            let (at, identity) = split_identity(rest);
            address(at, TLS_PORT).and_then(|address| Ok((address, Way::Tls(identity?))))
        } else if let Some(rest) = text.strip_prefix("https://") {
            let (place, identity) = split_identity(rest);
            let (at, path) = place.split_at(place.find('/').unwrap_or(place.len()));
            address(at, HTTPS_PORT).and_then(|address| Ok((address, Way::Https(identity?, checked_path(path)?))))
        } else if text.contains("://") {
            Err("only `tls://` and `https://` are known")
        } else {
            text.parse()
                .map(|address| (address, Way::Plain))
                .map_err(|_| "not an address with a port")
        };
        parsed.map(|(address, way)| Self { address, way }).map_err(|reason| ServerError {
            text: text.to_owned(),
            reason,
        })
    }
}

/// What stands before `#`, and who is meant by what stands behind it.
fn split_identity(text: &str) -> (&str, Result<Identity, &'static str>) {
    match text.split_once('#') {
        Some((place, whose)) => (place, identity(whose)),
        // Without a name there would be nothing to check, and whoever is on the way could answer.
        None => (text, Err("over TLS it must be said whose certificate is right")),
    }
}

fn identity(whose: &str) -> Result<Identity, &'static str> {
    match whose.strip_prefix(PIN_PREFIX) {
        Some(pin) => {
            let pin = STANDARD.decode(pin).ok().and_then(|pin| pin.try_into().ok());
            pin.map(Identity::Pin).ok_or("the pin is not the base64 of 32 bytes")
        }
        None => ServerName::try_from(whose.to_owned())
            .map(Identity::Web)
            .map_err(|_| "no certificate can be for such a name"),
    }
}

fn address(at: &str, port: u16) -> Result<SocketAddr, &'static str> {
    let bare = || at.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    at.parse()
        .or_else(|_| bare().map(|ip| SocketAddr::new(ip, port)))
        .map_err(|_| "not an address")
}

fn checked_path(path: &str) -> Result<String, &'static str> {
    match path {
        "" => Ok(HTTPS_PATH.to_owned()),
        // A template (RFC 6570), as RFC 8484 has them, is of no use: questions are sent, not written into the path.
        path if path.contains(['{', '}', '?']) || path.parse::<PathAndQuery>().is_err() => Err("not a path: leave out what is for GET"),
        path => Ok(path.to_owned()),
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(name) => f.write_str(&name.to_str()),
            Self::Pin(pin) => write!(f, "{PIN_PREFIX}{}", STANDARD.encode(pin)),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Plain => write!(f, "{}", self.address),
            Way::Tls(who) => write!(f, "tls://{}#{who}", self.address),
            Way::Https(who, path) => write!(f, "https://{}{path}#{who}", self.address),
        }
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Where DNS over TLS is answered (RFC 7858 §3.1).
const TLS_PORT: u16 = 853;

/// Where HTTPS is.
const HTTPS_PORT: u16 = 443;

/// Where DNS over HTTPS is answered if nothing else is said: as in RFC 8484's examples, and everywhere.
const HTTPS_PATH: &str = "/dns-query";

/// What a pin is told from a name by.
const PIN_PREFIX: &str = "sha256/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant_and_can_be_written_again() {
        let pin = format!("tls://127.0.0.1:4853#sha256/{}", STANDARD.encode([7; 32]));
        for (text, shown) in [
            ("192.0.2.53:53", "192.0.2.53:53"),
            ("[2001:db8::53]:53", "[2001:db8::53]:53"),
            ("tls://192.0.2.53#dns.example", "tls://192.0.2.53:853#dns.example"),
            ("tls://[2001:db8::53]#dns.example", "tls://[2001:db8::53]:853#dns.example"),
            ("tls://192.0.2.53:4853#192.0.2.53", "tls://192.0.2.53:4853#192.0.2.53"),
            (&pin, &pin),
            ("https://192.0.2.53#dns.example", "https://192.0.2.53:443/dns-query#dns.example"),
            (
                "https://[2001:db8::53]:8443/q/x#dns.example",
                "https://[2001:db8::53]:8443/q/x#dns.example",
            ),
        ] {
            let server: Server = text.parse().expect(text);
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse(), Ok(server));
        }
    }

    #[test]
    fn what_cannot_be_asked_is_an_error_that_says_why() {
        for (text, why) in [
            ("192.0.2.53", "with a port"),
            ("dns.example:53", "with a port"),
            ("tls://192.0.2.53", "whose certificate"),
            ("tls://dns.example#dns.example", "not an address"),
            ("tls://192.0.2.53#", "no certificate"),
            ("tls://192.0.2.53#sha256/AAAA", "32 bytes"),
            ("http://192.0.2.53", "only `tls://`"),
            ("https://192.0.2.53/dns-query", "whose certificate"),
            ("https://dns.example/dns-query#dns.example", "not an address"),
            ("https://192.0.2.53/dns-query{?dns}#dns.example", "leave out"),
        ] {
            let error = text.parse::<Server>().expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
