//! A source of records in memory, and questions as bytes.

use async_trait::async_trait;
use dialtone_resolver::dns::domain::Domain;
use dialtone_resolver::dns::{Carrier, Frontend, FrontendSettings, Reply, Via};
use dialtone_resolver::{Lookup, LookupError, RecordSource};
use dialtone_shared::record::{Body, Record};
use dialtone_shared::{Binding, Genesis, Name, SecretKey, SignedRecord, Ttl, UnixSecs, VerifiedRecord};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

pub const ORIGIN: &str = "dialtone.alt";

/// Records by name; what it does not hold is absent for a minute.
#[derive(Debug, Default)]
pub struct Records(Mutex<HashMap<Name, Result<Lookup, LookupError>>>);

#[async_trait]
impl RecordSource for Records {
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        let records = self.0.lock().expect("records");
        records.get(name).cloned().unwrap_or(Ok(Lookup::Absent { ttl: Ttl(60) }))
    }
}

impl Records {
    pub fn set(&self, name: Name, said: Result<Lookup, LookupError>) {
        self.0.lock().expect("records").insert(name, said);
    }

    pub fn publish(&self, who: &str, ttl: u32, bindings: Vec<Binding>) -> VerifiedRecord {
        let ttl = Ttl(ttl);
        let expiry = now().plus(86_400);
        let record = sign(who, Body::Live { expiry, ttl, bindings });
        self.set(
            *record.name(),
            Ok(Lookup::Found {
                record: record.clone(),
                ttl,
            }),
        );
        record
    }

    pub fn revoke(&self, who: &str) {
        let record = sign(who, Body::Revoked);
        let ttl = Ttl(60);
        self.set(*record.name(), Ok(Lookup::Found { record, ttl }));
    }
}

/// The key that `who` holds, made from the word alone.
fn key(who: &str) -> SecretKey {
    SecretKey::from_seed(&Name::of_content(who.as_bytes()).digest())
}

/// The name that `who` holds.
pub fn name(who: &str) -> Name {
    Genesis::of(key(who).public()).name()
}

fn now() -> UnixSecs {
    UnixSecs(UNIX_EPOCH.elapsed().expect("after 1970").as_secs())
}

fn sign(who: &str, body: Body) -> VerifiedRecord {
    let record = Record {
        genesis: Genesis::of(key(who).public()),
        chain: Vec::new(),
        sequence: now().micros(),
        scope: Vec::new(),
        body,
    };
    SignedRecord::sign(record, &key(who)).expect("signed").verify().expect("verified")
}

pub fn domain(text: &str) -> Domain {
    Domain::from_text(text).expect(text)
}

pub fn settings() -> FrontendSettings {
    FrontendSettings::new(domain(ORIGIN))
}

pub fn frontend(records: &Arc<Records>, settings: FrontendSettings) -> Arc<Frontend> {
    Arc::new(Frontend::new(Arc::clone(records) as Arc<dyn RecordSource>, settings).expect("frontend"))
}

/// One question.
#[derive(Clone, Debug)]
pub struct Ask {
    pub name: Domain,
    pub kind: u16,
    pub class: u16,
    pub flags: u16,
    /// The OPT record: UDP size, version, and whether DNSSEC is wanted.
    pub edns: Option<(u16, u8, bool)>,
    /// Padding, in bytes.
    pub padding: usize,
    /// The data of a cookie option.
    pub cookie: Option<Vec<u8>>,
    pub carrier: Carrier,
    pub client: SocketAddr,
}

impl Ask {
    pub fn of(name: &str, kind: u16) -> Self {
        Self {
            name: domain(name),
            kind,
            class: 1,
            flags: 0x0100,
            edns: Some((1_232, 0, false)),
            padding: 0,
            cookie: None,
            carrier: Carrier::Udp,
            client: SocketAddr::from(([127, 0, 0, 1], 4_000)),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd];
        bytes.extend_from_slice(&self.flags.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        bytes.extend_from_slice(self.name.as_wire());
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        bytes.extend_from_slice(&self.class.to_be_bytes());
        if let Some((size, version, dnssec_ok)) = self.edns {
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&[0, version, if dnssec_ok { 0x80 } else { 0 }, 0]);
            let padding = (self.padding > 0).then(|| (12_u16, vec![0; self.padding]));
            let cookie = self.cookie.clone().map(|cookie| (10, cookie));
            let options: Vec<_> = [cookie, padding].into_iter().flatten().collect();
            let length: usize = options.iter().map(|(_, data)| 4 + data.len()).sum();
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
            for (code, data) in options {
                bytes.extend_from_slice(&code.to_be_bytes());
                bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
                bytes.extend_from_slice(&data);
            }
        }
        bytes
    }

    pub async fn of_frontend(&self, frontend: &Frontend) -> Vec<u8> {
        let via = Via::new(self.carrier, self.client);
        match frontend.answer(&self.bytes(), via).await {
            Reply::Send(bytes) => bytes,
            Reply::Drop => panic!("no answer to {self:?}"),
        }
    }
}
