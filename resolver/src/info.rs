//! What a provider says about itself at `/v1/info`: its name, its origin, where it answers DNS.

use crate::error::InfoError;
use crate::message::Origin;
use crate::settings::ADDRESSES_MAX;
use dialtone_shared::Name;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// What a provider says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderInfo {
    /// Its name: who signs its receipts.
    pub name: Name,
    /// What names stand under.
    pub origin: Origin,
    /// Where it answers DNS; empty if it does not.
    pub dns: Vec<SocketAddr>,
}

#[derive(Deserialize)]
struct InfoJson {
    name: String,
    origin: String,
    #[serde(default)]
    dns: Vec<SocketAddr>,
}

impl ProviderInfo {
    /// Reads the JSON of `/v1/info`, asked at `host`. Fields that are not known are passed over: newer providers say more.
    ///
    /// # Errors
    /// [`InfoError::NotAProvider`].
    pub fn parse(json: &[u8], host: IpAddr) -> Result<Self, InfoError> {
        let not = |reason: String| InfoError::NotAProvider(reason);
        let read: InfoJson = serde_json::from_slice(json).map_err(|error| not(error.to_string()))?;
        let name = read.name.parse().map_err(|error| not(format!("`name`: {error}")))?;
        let origin = Origin::new(&read.origin).ok_or_else(|| not(format!("`origin`: {:?} is not a DNS name", read.origin)))?;
        let dns = read.dns.into_iter().filter_map(|listener| reachable(listener, host));
        Ok(Self {
            name,
            origin,
            dns: dns.take(ADDRESSES_MAX).collect(),
        })
    }
}

/// How a listener is reached by who reached the same machine at `host`: one on every address is at that one, and one
/// on loopback is nobody's who came from elsewhere.
fn reachable(listener: SocketAddr, host: IpAddr) -> Option<SocketAddr> {
    let ip = listener.ip();
    if ip.is_unspecified() {
        // `[::]` takes IPv4 too where the system maps it, which is the default.
        return (ip.is_ipv6() || host.is_ipv4()).then(|| SocketAddr::new(host, listener.port()));
    }
    (!ip.is_loopback() || host.is_loopback()).then_some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_reached_as_the_provider_was() {
        let name = Name::of_content(b"p");
        let json = format!(
            r#"{{"name":"{name}","origin":"Dialtone.alt.","dns":["0.0.0.0:53","[::]:54","127.0.0.1:55","192.0.2.9:56"],"more":1}}"#
        );
        let info = |host: &str| ProviderInfo::parse(json.as_bytes(), host.parse().unwrap()).unwrap();
        let at = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(info("192.0.2.1").dns, at(&["192.0.2.1:53", "192.0.2.1:54", "192.0.2.9:56"]));
        assert_eq!(
            info("127.0.0.1").dns,
            at(&["127.0.0.1:53", "127.0.0.1:54", "127.0.0.1:55", "192.0.2.9:56"])
        );
        assert_eq!(info("::1").dns, at(&["[::1]:54", "127.0.0.1:55", "192.0.2.9:56"]));
        assert_eq!(
            (info("::1").name, info("::1").origin.as_str().to_owned()),
            (name, "dialtone.alt".to_owned())
        );
    }

    #[test]
    fn what_is_not_a_provider_is_told_so() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let name = Name::of_content(b"p");
        for json in [
            "<html>".to_owned(),
            "{}".to_owned(),
            r#"{"name":"x","origin":"dialtone.alt"}"#.to_owned(),
            format!(r#"{{"name":"{name}","origin":"not a name"}}"#),
        ] {
            assert!(ProviderInfo::parse(json.as_bytes(), host).is_err(), "{json}");
        }
    }
}
