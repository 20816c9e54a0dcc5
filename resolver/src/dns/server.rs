//! Which resolver other names are forwarded to, and how: as a text, such as `192.0.2.53:53` or `tls://192.0.2.53#dns.example`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// Who is believed to be it, over TLS; `None`: whoever answers, over UDP and TCP.
    pub identity: Option<Identity>,
}

/// What an upstream over TLS (RFC 7858) proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// That the web's certificate authorities know it by this name, or address (RFC 8310 §8.1).
    Web(ServerName<'static>),
    /// That it holds the key with this SHA-256 of its SubjectPublicKeyInfo (RFC 7858 §4.2).
    Pin([u8; 32]),
}

/// Why a text names no upstream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is no resolver: {reason}; write ADDR:PORT, tls://ADDR[:PORT]#NAME or tls://ADDR[:PORT]#sha256/PIN, the address in numbers"
)]
pub struct ServerError {
    text: String,
    reason: &'static str,
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { address, identity: None }
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = |reason| ServerError {
            text: text.to_owned(),
            reason,
        };
        let Some(rest) = text.strip_prefix("tls://") else {
            return match text.contains("://") {
                true => Err(wrong("only `tls://` is known")),
                false => text.parse().map(SocketAddr::into).map_err(|_| wrong("not an address with a port")),
            };
        };
        // Without a name there would be nothing to check, and whoever is on the way could answer.
        let (at, whose) = rest
            .split_once('#')
            .ok_or_else(|| wrong("over TLS it must be said whose certificate is right"))?;
        let bare = || at.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let address = at.parse().or_else(|_| bare().map(|ip| SocketAddr::new(ip, TLS_PORT)));
        let identity = match whose.strip_prefix(PIN_PREFIX) {
            Some(pin) => {
                let pin = STANDARD.decode(pin).ok().and_then(|pin| pin.try_into().ok());
                Identity::Pin(pin.ok_or_else(|| wrong("the pin is not the base64 of 32 bytes"))?)
            }
            None => Identity::Web(ServerName::try_from(whose.to_owned()).map_err(|_| wrong("no certificate can be for such a name"))?),
        };
        Ok(Self {
            address: address.map_err(|_| wrong("not an address"))?,
            identity: Some(identity),
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            None => write!(f, "{}", self.address),
            Some(Identity::Web(name)) => write!(f, "tls://{}#{}", self.address, name.to_str()),
            Some(Identity::Pin(pin)) => write!(f, "tls://{}#{PIN_PREFIX}{}", self.address, STANDARD.encode(pin)),
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
        ] {
            let error = text.parse::<Server>().expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
