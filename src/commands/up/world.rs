//! The providers and the frontend of `up`: started, shown, stopped.

use super::UpArgs;
use crate::commands::dns::{Sockets, domain};
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::threads::Yielding;
use crate::{failures, output};
use dialtone_provider::provider::Parts;
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::{Provider, Settings, identity};
use dialtone_resolver::Stub;
use dialtone_resolver::dns::{Frontend, FrontendSettings, ListenerSettings};
use dialtone_resolver::io::key_files::{self, NewKey};
use dialtone_resolver::io::lent::Lent;
use dialtone_resolver::io::listeners;
use dialtone_resolver::keyfile::KeyPaths;
use dialtone_resolver::settings::{FloorAt, ProviderAt, StubSettings};
use dialtone_shared::Name;
use dialtone_shared::receipt::Signer;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Everything that `up` runs.
#[derive(Debug)]
pub struct World {
    /// The providers, in the order in which they were started.
    pub providers: Vec<Running>,
    /// A stub at the last provider; the frontend asks it, too.
    pub stub: Stub,
    /// Where the frontend answers.
    pub dns: SocketAddr,
    /// Under what.
    pub origin: String,
    /// The sample name's keys.
    pub sample: Sample,
    frontend: JoinHandle<()>,
    stop_frontend: oneshot::Sender<()>,
    for_peers: Yielding,
}

/// One provider that runs.
#[derive(Debug)]
pub struct Running {
    /// It.
    pub provider: Provider,
    /// Where its HTTP service is.
    pub url: String,
    data: PathBuf,
    took: Duration,
}

/// The sample name.
#[derive(Debug)]
pub struct Sample {
    /// Who signs for it.
    pub signer: Signer,
    /// Its name.
    pub name: Name,
    paths: KeyPaths,
    took: Duration,
}

impl World {
    /// Starts everything in `data`.
    ///
    /// # Errors
    /// The folder, a key, a store or a port cannot be used.
    pub async fn start(args: &UpArgs, data: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(data).map_err(|error| Failure::file(data, &error).help("choose another folder with --data"))?;
        let sample = Sample::open(data)?;
        let for_peers = Yielding::start("peers")?;
        let providers = start_providers(args, data, &for_peers).await?;
        let last = providers.last().map(|last| last.url.clone()).unwrap_or_default();
        let settings = StubSettings {
            providers: vec![ProviderAt::Http(last)],
            floor: FloorAt::Folder(data.join("stub")),
            ..StubSettings::default()
        };
        let stub = Stub::connect(settings).await.map_err(failures::stub)?;
        let origin = Settings::default().dns.origin;
        let map = if args.once {
            None
        } else {
            Some(Client::load(&ClientArgs::default())?.map.value)
        };
        let settings = FrontendSettings {
            aliases: map,
            ..FrontendSettings::new(domain(&origin)?)
        };
        let frontend = Arc::new(Frontend::new(Arc::new(stub.clone()), settings).map_err(failures::frontend)?);
        let sockets = Sockets::open(&[port(args.dns_port, FRONTEND_PORT, 0, args.once)?], &mut Lent::default()).await?;
        let dns = sockets.addresses[0];
        let (stop_frontend, stopped) = oneshot::channel();
        let told = async move {
            // A sender that is gone says the same.
            let _ = stopped.await;
        };
        let serve = listeners::serve(frontend, sockets.udp, sockets.tcp, ListenerSettings::default(), told);
        Ok(Self {
            providers,
            stub,
            dns,
            origin,
            sample,
            frontend: tokio::spawn(serve),
            stop_frontend,
            for_peers,
        })
    }

    /// The sample's name as DNS has it.
    pub fn sample_dns(&self) -> String {
        self.sample.name.to_dns(&self.origin)
    }

    /// Stops the frontend, then the providers, in good order.
    ///
    /// # Errors
    /// A store did not close cleanly.
    pub async fn stop(self) -> Outcome {
        // They run on until the last has said goodbye.
        let _for_peers = self.for_peers;
        let _ = self.stop_frontend.send(());
        let _ = self.frontend.await;
        let mut stopping: JoinSet<_> = self.providers.into_iter().map(|running| running.provider.shutdown()).collect();
        let mut outcome = Ok(());
        while let Some(stopped) = stopping.join_next().await {
            outcome = outcome.and(match stopped {
                Ok(stopped) => stopped.map_err(failures::store),
                Err(error) => Err(Failure::new(Exit::Bug, "stopping a provider", error)),
            });
        }
        outcome
    }

    /// Says what was started, a line each.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn print(&self) -> Outcome {
        output::step(self.sample.took, format!("sample key   {}", self.sample.paths.private.display()))?;
        for (index, running) in self.providers.iter().enumerate() {
            let name = running.provider.name().to_string();
            output::step(
                running.took,
                format!("provider {}   {} is {}…", index + 1, running.url, &name[..12]),
            )?;
        }
        Ok(())
    }

    /// Everything that a script may want to know.
    pub fn to_json(&self) -> Value {
        let providers = self.providers.iter().map(|running| {
            let at = running.provider.addresses();
            json!({
                "name": running.provider.name().to_string(),
                "url": running.url,
                "http": at.http,
                "dns": at.dns,
                "peering": at.peering,
                "data": running.data,
            })
        });
        json!({
            "providers": providers.collect::<Vec<_>>(),
            "frontend": { "dns": self.dns, "origin": self.origin },
            "sample": {
                "name": self.sample.name.to_string(),
                "dns": self.sample_dns(),
                "private": self.sample.paths.private,
                "public": self.sample.paths.public,
            },
        })
    }

    /// Lines to copy.
    pub fn go_on(&self) -> String {
        let me = std::env::args().next().unwrap_or_else(|| "dialtone".to_owned());
        let (first, last) = match (self.providers.first(), self.providers.last()) {
            (Some(first), Some(last)) => (&first.url, &last.url),
            _ => return String::new(),
        };
        let (name, dns) = (self.sample.name, self.dns);
        let mut text = String::from("\nEverything runs until Ctrl-C. To go on, in another terminal:\n\n");
        let key = self.sample.paths.private.display();
        for line in [
            format!("{me} resolve {name} --provider {last}"),
            format!("{me} publish --key {key} --address 192.0.2.99 --provider {first} --wait-visible-at {last}"),
            format!("{me} key new alice.key && {me} publish --key alice.key --address 192.0.2.7 --provider {first}"),
            format!("dig @{} -p {} {} A", dns.ip(), dns.port(), self.sample_dns()),
            format!("curl -H 'Accept: application/json' {last}/v1/records/{name}"),
            format!("{me} doctor --provider {first} --provider {last}"),
        ] {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(text, "\nAnd in a browser, which checks the signatures itself: {last}/look#{name}");
        text
    }
}

impl Sample {
    /// The key of last time, or a new one.
    fn open(data: &Path) -> Result<Self, Failure> {
        let began = Instant::now();
        let path = data.join("sample.key");
        if !path.exists() {
            key_files::create(&path, &NewKey::default()).map_err(failures::key_file)?;
        }
        let signer = key_files::load_signer(&path).map_err(failures::key_file)?;
        Ok(Self {
            name: signer.name(),
            signer,
            paths: KeyPaths::of(&path).map_err(failures::key_file)?,
            took: began.elapsed(),
        })
    }
}

/// Starts the providers one after the other; each connects to those before it, so no port needs to be known beforehand.
async fn start_providers(args: &UpArgs, data: &Path, for_peers: &Yielding) -> Result<Vec<Running>, Failure> {
    let count = usize::from(args.providers);
    let folders: Vec<PathBuf> = (1..=count).map(|number| data.join(format!("provider-{number}"))).collect();
    let mut names = Vec::with_capacity(count);
    for folder in &folders {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
        let signer = identity::open(&folder.join("identity.key"), true).map_err(failures::identity)?;
        names.push(signer.name());
    }
    let pairs = args.topology.pairs(count);
    let mut running: Vec<Running> = Vec::with_capacity(count);
    for (index, folder) in folders.into_iter().enumerate() {
        let began = Instant::now();
        let mut settings = Settings {
            data: folder.clone(),
            ..Settings::default()
        };
        settings.http.listen = vec![port(args.http_port, HTTP_PORT, index, args.once)?];
        settings.dns.listen = vec![port(args.dns_port, FRONTEND_PORT, index + 1, args.once)?];
        settings.peering.listen = port(args.peering_port, PEERING_PORT, index, args.once)?;
        settings.peers = pairs
            .iter()
            .filter_map(|pair| {
                let (other, relationship) = match index {
                    index if index == pair.dials => (pair.dialled, pair.as_what),
                    index if index == pair.dialled => (pair.dials, pair.as_what.mirrored()),
                    _ => return None,
                };
                let addresses = running.get(other).and_then(Running::peering).into_iter().collect();
                Some(PeerSettings {
                    relationship,
                    push: args.mode,
                    accept: args.mode,
                    ..PeerSettings::mutual(names[other], addresses)
                })
            })
            .collect();
        let parts = Parts {
            peering: for_peers.handle(),
            ..Parts::default()
        };
        let provider = Provider::start_with(settings, parts)
            .await
            .map_err(|error| failures::start(error, FLAGS))?;
        let Some(http) = provider.addresses().http.first() else {
            return Err(Failure::new(Exit::Bug, "provider", "it listens nowhere"));
        };
        running.push(Running {
            url: format!("http://{http}"),
            provider,
            data: folder,
            took: began.elapsed(),
        });
    }
    Ok(running)
}

impl Running {
    /// Where its peers connect.
    fn peering(&self) -> Option<String> {
        self.provider.addresses().peering.map(|address| address.to_string())
    }
}

/// How their addresses are chosen here.
const FLAGS: failures::Flags = failures::Flags {
    http: "--http-port",
    dns: "--dns-port",
    peering: "--peering-port",
    or_file: false,
};

/// The address for the `index`-th of its kind: as asked; otherwise the usual one if it is free and we stay; otherwise any.
fn port(asked: Option<u16>, usual: u16, index: usize, once: bool) -> Result<SocketAddr, Failure> {
    let apart = |base: u16| {
        u16::try_from(index)
            .ok()
            .and_then(|index| base.checked_add(index.checked_mul(PORTS_APART)?))
    };
    let port = match asked {
        Some(0) => 0,
        Some(base) => apart(base).ok_or_else(|| {
            Failure::new(Exit::BadInput, format!("port {base}"), "the ports after it end before all have one").help("choose a lower port")
        })?,
        None if once => 0,
        None => apart(usual).filter(|port| is_free(*port)).unwrap_or(0),
    };
    Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Where the first provider's HTTP service is, unless somebody has that port.
const HTTP_PORT: u16 = 4380;
/// Where the first provider's peers connect, likewise.
const PEERING_PORT: u16 = 4381;
/// Where the frontend answers, likewise; the providers' own DNS follows.
const FRONTEND_PORT: u16 = 4353;
/// How far apart the ports of two providers are: a provider needs three, and 4380 and 4390 are remembered together.
const PORTS_APART: u16 = 10;
