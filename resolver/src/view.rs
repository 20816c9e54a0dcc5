//! A verified record, and what a name came to, as people and scripts read them: one view for the HTTP API and the command.

use crate::layers::{Endpoint, Host, Node, Resolution, Said, Via};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dialtone_shared::record::{Step, Target, Transport};
use dialtone_shared::{Binding, Body, VerifiedRecord};
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;

/// A record, spelt out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RecordView {
    /// Whose it is.
    pub name: String,
    /// Its place in the order; also its entity tag.
    pub rank: String,
    /// How many rotations it reveals.
    pub key_epoch: u32,
    /// Whether it is a revocation.
    pub revoked: bool,
    /// Microseconds since 1970.
    pub sequence: u64,
    /// The sequence as people read it.
    pub signed_at: String,
    /// Seconds since 1970; nothing for a revocation.
    pub expiry: Option<u64>,
    /// The expiry as people read it.
    pub expires_at: Option<String>,
    /// Seconds that caches may keep it; nothing for a revocation.
    pub ttl: Option<u32>,
    /// The providers that may hold it; empty: all.
    pub scope: Vec<String>,
    /// What it says.
    pub bindings: Vec<BindingView>,
    /// Always true: only verified records are shown.
    pub verified: bool,
    /// The signed bytes, in base64, so that whoever reads this can check them too.
    pub record: String,
}

/// A binding, spelt out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum BindingView {
    /// Where it is now.
    Address {
        /// The address.
        ip: IpAddr,
        /// Lower is preferred.
        #[serde(skip_serializing_if = "is_zero")]
        priority: u16,
        /// Share among equals.
        #[serde(skip_serializing_if = "is_zero")]
        weight: u16,
        /// Where that is.
        #[serde(skip_serializing_if = "Option::is_none")]
        region: Option<String>,
    },
    /// What it offers.
    Service {
        /// What it is.
        label: String,
        /// `tcp` or `udp`.
        transport: &'static str,
        /// The port.
        port: u16,
        /// The name that offers it, if it is not this one.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<String>,
        /// Application protocols.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        alpn: Vec<String>,
        /// Lower is preferred.
        #[serde(skip_serializing_if = "is_zero")]
        priority: u16,
        /// Share among equals.
        #[serde(skip_serializing_if = "is_zero")]
        weight: u16,
        /// SHA-256 of the keys it may present, in hexadecimal.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pins: Vec<String>,
    },
    /// Who stands in for it.
    Delegate {
        /// First to last.
        path: Vec<String>,
    },
    /// A DNS record under it.
    Dns {
        /// Labels under the name; empty is the name itself.
        owner: String,
        /// Such as `TXT` or `TYPE1234`.
        #[serde(rename = "type")]
        kind: String,
        /// Seconds.
        ttl: u32,
        /// As a zone file writes it, where the type is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// In wire form, in hexadecimal.
        rdata: String,
    },
    /// Anything else.
    Opaque {
        /// Such as `application/json`.
        media_type: String,
        /// In base64.
        bytes: String,
    },
}

/// What a name came to, spelt out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ResolutionView {
    /// What was asked for.
    pub name: String,
    /// Which record said what.
    pub tree: NodeView,
    /// Where to go, best first.
    pub endpoints: Vec<EndpointView>,
    /// Seconds that all of it may be kept.
    pub ttl: u32,
}

/// One name on the way, spelt out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeView {
    /// Which.
    pub name: String,
    /// What led to it: `asked`, `service` or `delegate`.
    pub via: &'static str,
    /// The service that led to it.
    pub service: Option<String>,
    /// What was found: `record`, `revoked`, `absent`, `failed`, `cycle` or `limit`.
    pub said: &'static str,
    /// Why nothing was found, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds that it may be kept.
    pub ttl: Option<u32>,
    /// The record that was found.
    pub record: Option<RecordView>,
    /// A DNS name that it led to.
    pub legacy: Option<String>,
    /// Where it led.
    pub children: Vec<NodeView>,
}

/// Somewhere to go, spelt out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndpointView {
    /// An address.
    pub ip: Option<IpAddr>,
    /// Or a DNS name.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// `tcp` or `udp`.
    pub transport: Option<&'static str>,
    /// The service.
    pub service: Option<String>,
    /// Application protocols, preferred first.
    pub alpn: Vec<String>,
    /// SHA-256 of the keys that it may present, in hexadecimal.
    pub pins: Vec<String>,
    /// Where it is, as its publisher calls it.
    pub region: Option<String>,
    /// The names that led here.
    pub path: Vec<String>,
    /// Where traffic goes on to from there.
    pub onward: Vec<String>,
}

/// The view of what a name came to.
pub fn resolution(resolution: &Resolution) -> ResolutionView {
    ResolutionView {
        name: resolution.tree.name.to_string(),
        tree: node(&resolution.tree),
        endpoints: resolution.endpoints.iter().map(endpoint).collect(),
        ttl: resolution.ttl.0,
    }
}

fn node(node: &Node) -> NodeView {
    let (via, service) = match &node.via {
        Via::Asked => ("asked", None),
        Via::Service(label) => ("service", Some(label.clone())),
        Via::Delegate => ("delegate", None),
    };
    let (said, reason, ttl, found) = match &node.said {
        Said::Record { record: found, ttl } => {
            let said = if found.record().is_revoked() { "revoked" } else { "record" };
            (said, None, Some(ttl.0), Some(record(found)))
        }
        Said::Absent { ttl } => ("absent", None, Some(ttl.0), None),
        Said::Failed(error) => ("failed", Some(error.to_string()), None, None),
        Said::Cycle => ("cycle", None, None, None),
        Said::Limit(which) => ("limit", Some((*which).to_owned()), None, None),
    };
    NodeView {
        name: node.name.to_string(),
        via,
        service,
        said,
        reason,
        ttl,
        record: found,
        legacy: node.legacy.clone(),
        children: node.children.iter().map(self::node).collect(),
    }
}

fn endpoint(endpoint: &Endpoint) -> EndpointView {
    let (ip, host) = match &endpoint.host {
        Host::Ip(ip) => (Some(*ip), None),
        Host::Legacy(name) => (None, Some(name.clone())),
    };
    EndpointView {
        ip,
        host,
        port: endpoint.port,
        transport: endpoint.transport.map(transport),
        service: endpoint.service.clone(),
        alpn: endpoint.alpn.clone(),
        pins: endpoint.pins.iter().map(|pin| hexadecimal(pin)).collect(),
        region: endpoint.region.clone(),
        path: endpoint.path.iter().map(ToString::to_string).collect(),
        onward: endpoint.onward.iter().map(step).collect(),
    }
}

/// The view of a record.
pub fn record(record: &VerifiedRecord) -> RecordView {
    let says = record.record();
    let ttl = match &says.body {
        Body::Live { ttl, .. } | Body::Packet { ttl, .. } => Some(ttl.0),
        Body::Revoked | Body::Value(_) => None,
    };
    RecordView {
        name: record.name().to_string(),
        rank: record.rank().to_string(),
        key_epoch: says.epoch(),
        revoked: says.is_revoked(),
        sequence: says.sequence.0,
        signed_at: says.sequence.secs().to_string(),
        expiry: says.expiry().map(|expiry| expiry.0),
        expires_at: says.expiry().map(|expiry| expiry.to_string()),
        ttl,
        scope: says.scope.iter().map(ToString::to_string).collect(),
        bindings: says.bindings().iter().map(binding).collect(),
        verified: true,
        record: BASE64.encode(record.bytes()),
    }
}

/// The view of a binding.
pub fn binding(binding: &Binding) -> BindingView {
    match binding {
        Binding::Address(address) => BindingView::Address {
            ip: address.ip,
            priority: address.priority,
            weight: address.weight,
            region: address.region.clone(),
        },
        Binding::Service(service) => BindingView::Service {
            label: service.label.clone(),
            transport: transport(service.transport),
            port: service.port,
            target: match service.target {
                Target::Own => None,
                Target::Name(name) => Some(name.to_string()),
            },
            alpn: service.alpn.clone(),
            priority: service.priority,
            weight: service.weight,
            pins: service.pins.iter().map(|pin| hexadecimal(pin)).collect(),
        },
        Binding::Delegate(delegate) => BindingView::Delegate {
            path: delegate.path.iter().map(step).collect(),
        },
        Binding::Dns(dns) => BindingView::Dns {
            owner: dns.owner.clone(),
            kind: type_name(dns.kind),
            ttl: dns.ttl.0,
            text: rdata_text(dns.kind, &dns.rdata),
            rdata: hexadecimal(&dns.rdata),
        },
        Binding::Opaque(opaque) => BindingView::Opaque {
            media_type: opaque.media_type.clone(),
            bytes: BASE64.encode(&opaque.bytes),
        },
    }
}

/// The mnemonic of an RR type, `TYPE1234` where it has none (RFC 3597 §5).
pub fn type_name(kind: u16) -> String {
    match RecordType::from(kind) {
        RecordType::Unknown(kind) => format!("TYPE{kind}"),
        known => known.to_string(),
    }
}

/// RDATA as a zone file writes it; `None` where the type is not known or the bytes are not its own.
pub fn rdata_text(kind: u16, rdata: &[u8]) -> Option<String> {
    let length = u16::try_from(rdata.len()).ok()?;
    let read = RData::read(&mut BinDecoder::new(rdata), RecordType::from(kind), Restrict::new(length)).ok()?;
    match read {
        RData::Unknown { .. } => None,
        known => {
            // Not `to_string`, which panics where the library cannot print what it read.
            let mut text = String::new();
            write!(text, "{known}").ok()?;
            Some(text)
        }
    }
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn step(step: &Step) -> String {
    match step {
        Step::Name(name) => name.to_string(),
        Step::Legacy(name) => name.clone(),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u16) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::record::{Address, Delegate, DnsData, Opaque, Service};
    use dialtone_shared::{Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixSecs};
    use serde_json::{Value, json};

    fn signed(body: Body) -> VerifiedRecord {
        let secret = SecretKey::from_seed(&[7; 32]);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: UnixSecs(1_700_000_000).micros(),
            scope: Vec::new(),
            body,
        };
        SignedRecord::sign(record, &secret).unwrap().verify().unwrap()
    }

    #[test]
    fn every_binding_is_spelt_out() {
        let other = Name::key_set([3; 32]);
        let shown = record(&signed(Body::Live {
            expiry: UnixSecs(1_700_003_600),
            ttl: Ttl(60),
            bindings: vec![
                Binding::Address(Address::of([192, 0, 2, 1].into())),
                Binding::Service(Service {
                    label: "https".to_owned(),
                    transport: Transport::Tcp,
                    port: 443,
                    target: Target::Name(other),
                    alpn: vec!["h2".to_owned()],
                    priority: 1,
                    weight: 0,
                    pins: vec![[0xab; 32]],
                }),
                Binding::Delegate(Delegate {
                    path: vec![Step::Name(other), Step::Legacy("example.com".to_owned())],
                }),
                Binding::Dns(DnsData {
                    owner: "www".to_owned(),
                    kind: 16,
                    ttl: Ttl(30),
                    rdata: b"\x05hello".to_vec(),
                }),
                Binding::Dns(DnsData {
                    owner: String::new(),
                    kind: 1_234,
                    ttl: Ttl(30),
                    rdata: vec![1, 2],
                }),
                Binding::Opaque(Opaque {
                    media_type: "text/plain".to_owned(),
                    bytes: b"hi".to_vec(),
                }),
            ],
        }));
        let shown: Value = serde_json::to_value(shown).unwrap();
        assert_eq!(
            shown["bindings"],
            json!([
                {"kind": "address", "ip": "192.0.2.1"},
                {"kind": "service", "label": "https", "transport": "tcp", "port": 443, "target": other.to_string(),
                 "alpn": ["h2"], "priority": 1, "pins": ["ab".repeat(32)]},
                {"kind": "delegate", "path": [other.to_string(), "example.com"]},
                {"kind": "dns", "owner": "www", "type": "TXT", "ttl": 30, "text": "hello", "rdata": "0568656c6c6f"},
                {"kind": "dns", "owner": "", "type": "TYPE1234", "ttl": 30, "rdata": "0102"},
                {"kind": "opaque", "media_type": "text/plain", "bytes": "aGk="},
            ])
        );
        assert_eq!(shown["signed_at"], "2023-11-14T22:13:20Z");
        assert_eq!(shown["expires_at"], "2023-11-14T23:13:20Z");
        assert_eq!(
            (&shown["ttl"], &shown["verified"], &shown["revoked"]),
            (&json!(60), &json!(true), &json!(false))
        );
    }

    #[test]
    fn a_revocation_has_no_end() {
        let shown = serde_json::to_value(record(&signed(Body::Revoked))).unwrap();
        assert_eq!(
            (&shown["revoked"], &shown["expiry"], &shown["ttl"], &shown["bindings"]),
            (&json!(true), &Value::Null, &Value::Null, &json!([]))
        );
    }

    #[test]
    fn the_bytes_in_a_view_are_the_record() {
        let signed = signed(Body::Revoked);
        let bytes = BASE64.decode(record(&signed).record).unwrap();
        assert_eq!(SignedRecord::decode(bytes.into()).unwrap().verify().unwrap(), signed);
    }

    proptest::proptest! {
        #[test]
        fn no_dns_data_is_too_odd_to_be_shown(
            kind in proptest::prop_oneof![0_u16..70, 99_u16..110, 249_u16..270, proptest::prelude::any::<u16>()],
            rdata in proptest::collection::vec(proptest::prop_oneof![0_u8..8, proptest::prelude::any::<u8>()], 0..80),
        ) {
            type_name(kind);
            rdata_text(kind, &rdata);
        }
    }
}
