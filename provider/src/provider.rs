//! A provider: all of it started, and stopped. Any number run in one process; nothing is global.
//!
//! ```text
//! start   settings ─ data folder ─ listeners ─ store ─ key ─ books ─ queue ─ peering ─ HTTP, DNS
//! stop    HTTP, DNS ─ queue ─ peering ─ books ─ store          (what was accepted is finished and kept)
//! ```

use crate::accounting::{Admission, Ledger};
use crate::admin::{self, Admin};
use crate::error::StartError;
use crate::identity;
use crate::io::answers;
use crate::io::audit::Auditor;
use crate::io::clock::{Clock, SystemClock};
use crate::io::coherence::Links;
use crate::io::desk::Desk;
use crate::io::evidence::Evidence;
use crate::io::link_books::LinkBooks;
use crate::io::peering::ask::{Answerer, Asking};
use crate::io::peering::{self, PeeringContext, PeeringError, PeeringHandle};
use crate::io::quic::EndpointError;
use crate::io::upkeep::Upkeep;
use crate::io::watching::Watching;
use crate::io::{files, http};
use crate::metrics::Metrics;
use crate::metrics::scraped;
use crate::peering::ask::tally::Tally;
use crate::peering::health::PeerStatus;
use crate::service::get::StoreSource;
use crate::service::queue::{Batcher, PutQueue};
use crate::service::watch::board::Board;
use crate::service::{self, Service};
use crate::settings::{AnonymousPuts, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, PeerSettings, Settings, SettingsError, WATCH_BODIES_AT_A_TIME};
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::{RecordStore, StoreError};
use dialtone_resolver::dns::access::bound;
use dialtone_resolver::dns::generations::{Generations, Millis};
use dialtone_resolver::dns::{Authority, Domain, Frontend, FrontendSettings, ListenerSettings};
use dialtone_resolver::io::certificate::Certificate;
use dialtone_resolver::io::encrypted_sockets::{EncryptedAddresses, EncryptedError, EncryptedSettings, EncryptedSockets};
use dialtone_resolver::io::lent::Lent;
use dialtone_resolver::io::listeners::{self as dns, Datagrams};
use dialtone_resolver::{RecordSource, view};
use dialtone_shared::Name;
use dialtone_shared::limits::RECORD_BYTES_MAX;
use dialtone_shared::receipt::Signer;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// A provider that runs. Dropped, it stops as soon as it can; [`Provider::shutdown`] stops it in good order.
#[derive(Debug)]
pub struct Provider {
    name: Name,
    addresses: Addresses,
    source: Arc<dyn RecordSource>,
    asking: Arc<Asking>,
    store: Arc<dyn RecordStore>,
    embedded: Option<Arc<EmbeddedStore>>,
    certificate: Option<Arc<Certificate>>,
    frontend: Arc<Frontend>,
    peering: Arc<PeeringHandle>,
    admin: Admin,
    /// Listeners, then the queue, then upkeep: stopped in this order.
    stages: [Stage; 3],
}

/// Where a provider is reached, with the ports that it got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The HTTP API.
    pub http: Vec<SocketAddr>,
    /// DNS, over UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// DNS over TLS, HTTPS and QUIC.
    pub encrypted: EncryptedAddresses,
    /// Peers.
    pub peering: Option<SocketAddr>,
}

/// What may be put in the place of the usual: for tests, simulated worlds and programs with needs of their own.
#[derive(Debug)]
pub struct Parts {
    /// Where records are kept; `None`: the embedded store in the data folder.
    pub store: Option<Arc<dyn RecordStore>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where the links with peers run; `None`: where everything else does. Threads that give way keep what peers send from those who get and put.
    pub peering: Option<Handle>,
    /// Sockets that are there already, for HTTP and DNS: taken where the settings name their addresses. Peers' is always our own.
    pub lent: Lent,
}

/// Sockets that are open before anything else is, so that a port in use is known first.
struct Listeners {
    http: Vec<TcpListener>,
    dns: Vec<(Datagrams, TcpListener)>,
    encrypted: Option<EncryptedSockets>,
}

/// Tasks that stop together.
#[derive(Debug)]
struct Stage {
    stopping: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Provider {
    /// Starts a provider.
    ///
    /// # Errors
    /// [`StartError`], naming what stands in the way and the remedy.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_with(settings, Parts::default()).await
    }

    /// Starts a provider with other parts than the usual.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(settings: Settings, mut parts: Parts) -> Result<Self, StartError> {
        settings.check()?;
        let mut lent = std::mem::take(&mut parts.lent);
        let http = listen(&settings.http.listen, &mut lent)?;
        let dns = open_dns(&settings.dns.listen, &mut lent).await?;
        make_folder(&settings.data)?;
        let encrypted = open_encrypted(&settings, &mut lent)?;
        lent.all_taken()?;
        let listeners = Listeners { http, dns, encrypted };
        let (store, embedded): (Arc<dyn RecordStore>, _) = match parts.store {
            Some(ref store) => (Arc::clone(store), None),
            None => {
                let store = open_store(&settings).await?;
                (store.clone(), Some(store))
            }
        };
        // From here on a failure must not leave the folder locked.
        match Self::run(settings, listeners, Arc::clone(&store), parts).await {
            Ok(provider) => Ok(Self { embedded, ..provider }),
            Err(error) => {
                // Why it did not start says more than that closing failed too.
                let _ = store.close().await;
                Err(error)
            }
        }
    }

    async fn run(settings: Settings, listeners: Listeners, store: Arc<dyn RecordStore>, parts: Parts) -> Result<Self, StartError> {
        let clock = parts.clock;
        let signer = Arc::new(open_identity(&settings)?);
        let name = signer.name();
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::new(&mut registry));
        let accounts = settings.accounts.iter().map(|account| account.name.as_str());
        let ledger = Arc::new(Ledger::new(accounts, clock.now().secs()));
        let [mut listening, mut queueing, mut keeping] = std::array::from_fn(|_| Stage::new());

        let connections = http_connections(settings.limits.http_connections);
        let board = Board::new(watchers(settings.limits.http_watchers, connections));
        let upkeep = Upkeep {
            store: Arc::clone(&store),
            ledger: Arc::clone(&ledger),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            board: Arc::clone(&board),
        };
        let exact = upkeep.open_books().await?;
        keeping.tasks.spawn(upkeep.clone().expire(keeping.told()));
        keeping.tasks.spawn(upkeep.clone().count(exact, keeping.told()));
        keeping.tasks.spawn(upkeep.keep_books(keeping.told()));

        let generations = Arc::new(Generations::new());
        keeping
            .tasks
            .spawn(answers::follow(Arc::clone(&store), Arc::clone(&generations), keeping.told()));
        let batcher = Batcher {
            generations: Arc::clone(&generations),
            store: Arc::clone(&store),
            signer: Arc::clone(&signer),
            clock: Arc::clone(&clock),
            ledger: Arc::clone(&ledger),
            metrics: Arc::clone(&metrics),
        };
        let queue = PutQueue::start(
            batcher,
            settings.limits.put_queue,
            &mut queueing.tasks,
            queueing.stopping.subscribe(),
        );

        let evidence = Evidence::open(Arc::clone(&store), Arc::clone(&clock), name).await?;
        keeping.tasks.spawn(Arc::clone(&evidence).watch(keeping.told()));
        registry.register_collector(Box::new(scraped::Wrongs(Arc::clone(&evidence))));

        let peering = start_peering(&settings, &store, &signer, &clock, parts.peering).await?;
        peering.prove_by(Arc::clone(&evidence));
        keeping
            .tasks
            .spawn(Arc::clone(&evidence).spread(Arc::clone(&peering), keeping.told()));
        let auditor = Auditor::new(Arc::clone(&store), Arc::clone(&peering), Arc::clone(&clock));
        keeping.tasks.spawn(Arc::clone(&auditor).run(keeping.told()));
        registry.register_collector(Box::new(scraped::Audits(auditor)));
        let books = LinkBooks::open(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&signer), &peering).await?;
        let books = Arc::new(books);
        keeping.tasks.spawn(Arc::clone(&books).keep(keeping.told()));
        keeping.tasks.spawn(Arc::clone(&books).count(keeping.told()));
        let links = Arc::new(Links::open(Arc::clone(&peering), Arc::clone(&store)).await?);
        keeping.tasks.spawn(Arc::clone(&links).watch(keeping.told()));
        registry.register_collector(Box::new(scraped::Links(Arc::clone(&peering))));

        let asking = Asking::new(name, Arc::clone(&store), Arc::clone(&peering), links, Arc::clone(&clock));
        books.counts_questions_of(&asking);
        peering.answer_by(Arc::new(Desk {
            queries: Some(Arc::new(Answerer(Arc::downgrade(&asking)))),
            statements: Some(books.clone()),
            ..Desk::default()
        }));
        registry.register_collector(Box::new(scraped::Questions(Arc::clone(&asking))));
        let source = Arc::new(StoreSource::new(Arc::clone(&asking), Arc::clone(&clock)));
        let watching = Watching {
            store: Arc::clone(&store),
            source: Arc::clone(&source),
            board: Arc::clone(&board),
            clock: Arc::clone(&clock),
        };
        keeping.tasks.spawn(watching.run(keeping.told()));
        registry.register_collector(Box::new(scraped::Watchers(Arc::clone(&board))));
        let addresses = Addresses {
            http: listeners.http.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            dns: listeners.dns.iter().filter_map(|(udp, _)| udp.local_addr().ok()).collect(),
            encrypted: listeners
                .encrypted
                .as_ref()
                .map(|sockets| sockets.addresses.clone())
                .unwrap_or_default(),
            peering: peering.local_addr(),
        };
        let frontend = frontend(&settings, &addresses, Arc::clone(&source))?.following(generations, millis(&clock));
        let frontend = Arc::new(frontend);
        registry.register_collector(Box::new(scraped::Dns(Arc::clone(&frontend))));
        let (udp, tcp) = listeners.dns.into_iter().unzip();
        let limits = dns_listeners(&settings);
        let certificate = listeners.encrypted.as_ref().map(|sockets| Arc::clone(&sockets.certificate));
        if let Some(sockets) = listeners.encrypted {
            let ready = sockets.ready(limits).map_err(StartError::Encrypted)?;
            listening.tasks.spawn(ready.serve(Arc::clone(&frontend), told(listening.told())));
        }
        listening
            .tasks
            .spawn(dns::serve(Arc::clone(&frontend), udp, tcp, limits, told(listening.told())));

        let about = about(&settings, &signer, &addresses);
        let info = watch::Sender::new(admin::with_peers(&about, &settings.peers));
        let service = Arc::new(Service {
            name,
            store: Arc::clone(&store),
            source: Arc::clone(&source),
            clock,
            admission: Admission::new(&settings),
            evidence,
            ledger,
            value_bytes_max: settings.limits.value_bytes,
            queue,
            batches: service::batches(),
            board,
            watch_bodies: Semaphore::new(WATCH_BODIES_AT_A_TIME),
            info: info.subscribe(),
            health: service::info::Health::default(),
            metrics: Arc::clone(&metrics),
            registry: Arc::new(registry),
            signer,
        });
        let router = service::router(service);
        let room = http::Room::new(connections);
        for listener in listeners.http {
            let serve = http::serve(listener, router.clone(), Arc::clone(&metrics), room.clone(), listening.told());
            listening.tasks.spawn(serve);
        }
        tracing::info!(%name, http = ?addresses.http, dns = ?addresses.dns, peering = addresses.peering.map(tracing::field::display), "the provider runs");
        Ok(Self {
            name,
            addresses: addresses.clone(),
            source,
            asking,
            store,
            embedded: None,
            certificate,
            frontend,
            admin: Admin {
                name,
                addresses,
                peering: Arc::clone(&peering),
                books,
                about,
                info,
            },
            peering,
            stages: [listening, queueing, keeping],
        })
    }

    /// Who it is.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Where it is reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its own store as something to look names up in, without a network between.
    pub fn source(&self) -> Arc<dyn RecordSource> {
        Arc::clone(&self.source)
    }

    /// How the links with its peers are.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.peering.peers()
    }

    /// What it has asked its peers, and they it, since it runs.
    pub fn questions(&self) -> Tally {
        self.asking.tally()
    }

    /// A handle for its operator.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Where its records are kept.
    pub fn store(&self) -> &Arc<dyn RecordStore> {
        &self.store
    }

    /// The store in its data folder, of which backups are made; `None` if another was put in its place.
    pub fn embedded(&self) -> Option<&Arc<EmbeddedStore>> {
        self.embedded.as_ref()
    }

    /// What answers DNS.
    pub fn frontend(&self) -> &Arc<Frontend> {
        &self.frontend
    }

    /// The certificate that DNS over TLS, HTTPS and QUIC shows; `None` where none of them is answered.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_deref()
    }

    /// Waits for as long as all of it runs. Returns when a part of it panicked, which is a bug: what is left may still answer gets
    /// and take no puts, so it should be shut down and started again rather than left like that.
    pub async fn failed(&mut self) {
        let [listening, queueing, keeping] = &mut self.stages;
        tokio::select! {
            () = listening.failed() => {}
            () = queueing.failed() => {}
            () = keeping.failed() => {}
        }
    }

    /// Stops in good order: nothing more is accepted, what was accepted is finished, then the store is closed.
    ///
    /// # Errors
    /// [`StoreError`] if the store does not close cleanly; acknowledged puts are safe all the same.
    pub async fn shutdown(self) -> Result<(), StoreError> {
        let [listening, queueing, keeping] = self.stages;
        listening.stop().await;
        queueing.stop().await;
        // After the queue, so that what was just put may still be pushed.
        self.peering.shutdown().await;
        keeping.stop().await;
        self.store.close().await?;
        tracing::info!(name = %self.name, "the provider stopped");
        Ok(())
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            store: None,
            clock: Arc::new(SystemClock),
            peering: None,
            lent: Lent::default(),
        }
    }
}

impl Stage {
    fn new() -> Self {
        Self {
            stopping: watch::channel(false).0,
            tasks: JoinSet::new(),
        }
    }

    /// Turns true when it is time to stop.
    fn told(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Waits until a task panics; for ever, if none does.
    async fn failed(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a task of the provider failed, please tell us: {error}");
                return;
            }
        }
        std::future::pending().await
    }

    async fn stop(mut self) {
        self.stopping.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a task of the provider failed, please tell us: {error}");
            }
        }
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|reason| StartError::Folder {
        path: path.to_owned(),
        reason,
    })
}

fn listen(addresses: &[SocketAddr], lent: &mut Lent) -> Result<Vec<TcpListener>, StartError> {
    let open = |address: &SocketAddr| {
        lent.tcp(*address)
            .unwrap_or_else(|| http::listen(*address))
            .map_err(|error| StartError::Listen {
                what: "HTTP",
                address: *address,
                reason: error,
                setting: "http.listen",
            })
    };
    addresses.iter().map(open).collect()
}

async fn open_dns(addresses: &[SocketAddr], lent: &mut Lent) -> Result<Vec<(Datagrams, TcpListener)>, StartError> {
    let mut bound = Vec::with_capacity(addresses.len());
    for address in addresses {
        bound.push(dns::open(*address, lent).await.map_err(|error| StartError::Listen {
            what: "DNS",
            address: *address,
            reason: error,
            setting: "dns.listen",
        })?);
    }
    Ok(bound)
}

fn open_encrypted(settings: &Settings, lent: &mut Lent) -> Result<Option<EncryptedSockets>, StartError> {
    let dns = &settings.dns;
    let wanted = EncryptedSettings {
        tls: dns.tls.clone(),
        https: dns.https.clone(),
        quic: dns.quic.clone(),
        certificate: dns.certificate.clone(),
        certificate_key: dns.certificate_key.clone(),
        folder: settings.data.clone(),
    };
    let opened = EncryptedSockets::open(&wanted, lent);
    opened.map_err(|error| match error {
        EncryptedError::Certificate(error) => error.into(),
        EncryptedError::Taken {
            over,
            setting,
            address,
            reason,
        } => StartError::Listen {
            what: over,
            address,
            reason,
            setting,
        },
    })
}

/// Ready when it is time to stop.
async fn told(mut stopping: watch::Receiver<bool>) {
    // A provider that is gone says the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn start_peering(
    settings: &Settings,
    store: &Arc<dyn RecordStore>,
    signer: &Arc<Signer>,
    clock: &Arc<dyn Clock>,
    runs_on: Option<Handle>,
) -> Result<Arc<PeeringHandle>, StartError> {
    let context = PeeringContext {
        store: Arc::clone(store),
        signer: Arc::clone(signer),
        listen: settings.peering.listen,
        addresses: Vec::new(),
        agreements: settings.peers.iter().map(PeerSettings::agreement).collect(),
        compare_every: std::time::Duration::from_secs(u64::from(settings.peering.compare_hours) * 3_600),
        clock: Arc::clone(clock),
        seed: rand::random(),
    };
    let starting = peering::start(context);
    // What it starts runs where it is started.
    let started = match runs_on {
        Some(runtime) => runtime.spawn(starting).await?,
        None => starting.await,
    };
    match started {
        Ok(handle) => Ok(Arc::new(handle)),
        Err(PeeringError::Endpoint(EndpointError::Listen { address, error })) => Err(StartError::Listen {
            what: "peers",
            address,
            reason: error,
            setting: "peering.listen",
        }),
        Err(error) => Err(error.into()),
    }
}

fn frontend(settings: &Settings, at: &Addresses, source: Arc<StoreSource>) -> Result<Frontend, StartError> {
    let origin = Domain::from_text(&settings.dns.origin).map_err(|error| SettingsError::Together(format!("`dns.origin`: {error}")))?;
    let became = [&at.dns[..], &at.encrypted.tls, &at.encrypted.https, &at.encrypted.quic].concat();
    let designated = at.encrypted.designated(settings.dns.resolver_name.as_ref());
    let settings = FrontendSettings {
        views: bound(&settings.dns.view, &settings.dns.listeners(), &became),
        designated: designated.map_err(|error| SettingsError::Together(format!("`dns.resolver_name`: {error}")))?,
        nsid: settings.dns.nsid.clone(),
        authority: Authority::of(&settings.dns.nameservers),
        nameservers: settings.dns.nameservers.clone(),
        signing_key: settings.dns.signing_key.clone(),
        upstreams: settings.dns.forward.clone(),
        upstream_authorities: settings.dns.forward_ca.clone(),
        aliases: settings.dns.map.clone(),
        access: settings.dns.access.clone(),
        searches: settings.dns.searches,
        query_log: settings.dns.query_log.clone(),
        ..FrontendSettings::new(origin)
    };
    Ok(Frontend::new(source, settings)?)
}

/// The clock by which records expire is the one by which answers made from them do.
fn millis(clock: &Arc<dyn Clock>) -> Millis {
    let clock = Arc::clone(clock);
    Millis::new(move || clock.now().0 / 1_000)
}

fn dns_listeners(settings: &Settings) -> ListenerSettings {
    let usual = ListenerSettings::default();
    ListenerSettings {
        tcp_connections: files::share(usual.tcp_connections),
        rate: settings.dns.rate,
        ..usual
    }
}

fn http_connections(wanted: usize) -> usize {
    let share = files::most(wanted);
    if share < wanted {
        tracing::warn!("{share} HTTP connections instead of {wanted}: this process may not have more files open (`ulimit -n`)");
    }
    share
}

/// How many of so many connections may watch: half, unless the operator says otherwise. Some are always for those who ask.
fn watchers(wanted: usize, connections: usize) -> usize {
    match wanted {
        0 => connections.div_ceil(2),
        some => some.min(connections - connections / 16),
    }
}

async fn open_store(settings: &Settings) -> Result<Arc<EmbeddedStore>, StartError> {
    let folder = settings.data.join("store");
    let options = EmbeddedOptions {
        cache_bytes: settings.store.cache_mebibytes << 20,
        ..EmbeddedOptions::default()
    };
    let open = tokio::task::spawn_blocking(move || EmbeddedStore::open(&folder, options));
    let store = open.await.map_err(|error| StoreError::Failed(error.to_string()))??;
    Ok(store)
}

fn open_identity(settings: &Settings) -> Result<Signer, StartError> {
    let signer = match &settings.identity.key {
        Some(path) => identity::open(path, false),
        None => identity::open(&settings.data.join("identity.key"), true),
    };
    Ok(signer?)
}

/// What `/v1/info` says, but for the peers, who come and go.
fn about(settings: &Settings, signer: &Signer, addresses: &Addresses) -> Value {
    let anonymous = match settings.http.anonymous_puts {
        AnonymousPuts::Yes => "anyone",
        AnonymousPuts::Auto if settings.http_is_local() => "this machine",
        AnonymousPuts::Auto | AnonymousPuts::No => "nobody",
    };
    json!({
        "name": signer.name().to_string(),
        "genesis": view::hexadecimal(&signer.genesis.encode()),
        "version": env!("CARGO_PKG_VERSION"),
        "origin": settings.dns.origin.trim_matches('.'),
        "http": addresses.http,
        "dns": addresses.dns,
        "peering": addresses.peering,
        "peers": [],
        "limits": {
            "record_bytes": RECORD_BYTES_MAX,
            "value_bytes": settings.limits.value_bytes,
            "batch_records": BATCH_RECORDS_MAX,
            "batch_bytes": BATCH_BYTES_MAX,
            "anonymous_puts": anonymous,
            "anonymous_puts_per_second": settings.limits.anonymous_puts_per_second,
            "anonymous_keep_days": settings.limits.anonymous_keep_days,
        },
    })
}
