//! What several examples stand on: providers on this machine, somebody who publishes, a stub.
#![allow(dead_code, reason = "each example uses its part")]

use dialtone_provider::settings::PeerSettings;
use dialtone_provider::{Provider, Settings};
use dialtone_resolver::io::clock;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_resolver::{FloorAt, ProviderAt, Stub, StubSettings};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Service, Target, Transport};
use dialtone_shared::{Binding, Body, Name, SecretKey, Ttl, UnixMicros};
use std::error::Error;
use std::net::IpAddr;
use std::path::Path;

/// Whatever goes wrong ends an example.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A provider with a store in this folder, on free ports of this machine.
pub async fn provider(folder: &Path) -> Outcome<Provider> {
    let mut settings = Settings {
        data: folder.to_owned(),
        ..Settings::default()
    };
    settings.http.listen = vec!["127.0.0.1:0".parse()?];
    settings.dns.listen = vec!["127.0.0.1:0".parse()?];
    settings.peering.listen = "127.0.0.1:0".parse()?;
    Ok(Provider::start(settings).await?)
}

/// Two providers that peer with each other.
pub async fn two_peers(folder: &Path) -> Outcome<(Provider, Provider)> {
    let (one, other) = (provider(&folder.join("one")).await?, provider(&folder.join("other")).await?);
    let address = one.addresses().peering.ok_or("it listens for peers")?.to_string();
    one.admin().agree(&[PeerSettings::mutual(other.name(), Vec::new())]).await?;
    other.admin().agree(&[PeerSettings::mutual(one.name(), vec![address])]).await?;
    Ok((one, other))
}

/// Where a provider is, for a stub.
pub fn at(provider: &Provider) -> ProviderAt {
    ProviderAt::Http(format!("http://{}", provider.addresses().http[0]))
}

/// A stub that asks this provider.
pub async fn stub(provider: &Provider) -> Outcome<Stub> {
    let settings = StubSettings {
        providers: vec![at(provider)],
        floor: FloorAt::Memory,
        ..StubSettings::default()
    };
    Ok(Stub::connect(settings).await?)
}

/// A name of one's own: its key, and what was published of it last.
pub struct Owned {
    signer: Signer,
    last: UnixMicros,
}

impl Owned {
    /// A new one.
    pub fn new() -> Self {
        Self {
            signer: Signer::of(SecretKey::from_seed(&rand::random())),
            last: UnixMicros(0),
        }
    }

    pub fn name(&self) -> Name {
        self.signer.name()
    }

    /// Publishes what the name stands for, at a provider, for an hour.
    pub async fn publish(&mut self, provider: &Provider, bindings: Vec<Binding>) -> Outcome<()> {
        let now = clock::now_micros();
        // A clock that went back must not make a change look old.
        self.last = UnixMicros(now.0.max(self.last.0 + 1));
        let body = Body::Live {
            expiry: now.secs().plus(3_600),
            ttl: Ttl(60),
            bindings,
        };
        let record = publish::sign(&self.signer, self.last, Vec::new(), body)?;
        let account = Account {
            at: at(provider),
            token: None,
        };
        for put in Publisher::new(vec![account]).put(&record, PutIf::Always).await {
            put?;
        }
        Ok(())
    }
}

/// An address.
pub fn address(ip: impl Into<IpAddr>) -> Binding {
    Binding::Address(Address::of(ip.into()))
}

/// A service over TCP; `None`: at the addresses of the same record.
pub fn service(label: &str, port: u16, target: Option<Name>) -> Service {
    Service {
        target: target.map_or(Target::Own, Target::Name),
        ..Service::of(label, Transport::Tcp, port)
    }
}
