//! `dialtone dns`: a DNS frontend of one's own, in front of a stub that asks providers and verifies.

mod asked;
pub mod encrypted;
mod key;
pub mod site;
pub mod watched;

use crate::args::{LogArgs, listen_address};
use crate::commands::dns::site::{Made, SiteSettings};
use crate::commands::dns::watched::Watched;
use crate::config::{self, Client, ClientArgs, ClientFile};
use crate::control::DNS_SOCKET;
use crate::exit::{Exit, Failure, Outcome, plain as plain_error};
use crate::signals::{Hangups, Signals};
use crate::{failures, files, log, output};
use clap::{Args, Subcommand};
use dialtone_provider::settings::{LogSettings, from_file};
use dialtone_resolver::RecordSource;
use dialtone_resolver::dns::access::{bound, check_views};
use dialtone_resolver::dns::generations::{Generations, Millis};
use dialtone_resolver::dns::settings::taken_twice;
use dialtone_resolver::dns::{
    AccessSettings, Authority, Domain, Follow, Frontend, FrontendSettings, ListenerSettings, QueryLogSettings, RateSettings,
    SearchSettings, Server, ViewSettings,
};
use dialtone_resolver::io::certificate::Certificate;
use dialtone_resolver::io::encrypted_sockets::{EncryptedSettings, EncryptedSockets};
use dialtone_resolver::io::environment::state_folder;
use dialtone_resolver::io::lent::Lent;
use dialtone_resolver::io::listeners::{self, Datagrams};
use dialtone_resolver::io::live::Live;
use dialtone_resolver::io::site::Site;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Run a DNS frontend that verifies what providers say
///
/// Answers names under the origin and the petnames of the map file over UDP and TCP, and where asked to over TLS, HTTPS and QUIC; every other name is forwarded, or refused. SIGHUP reads the certificate and the files of a site again, and the log of questions goes on in a new file. A socket that systemd passes for one of the addresses is taken in place of a new one.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone dns\n  dialtone dns --listen 127.0.0.1:5353 --provider http://127.0.0.1:4380 --forward 192.0.2.53:53\n  \
                        dialtone dns --tls 127.0.0.1:4853 --https 127.0.0.1:4443 --quic 127.0.0.1:4853\n  \
                        dialtone dns --site site\n  \
                        dialtone template dns > dns.toml && dialtone dns --config dns.toml\n  dialtone dns top",
    args_conflicts_with_subcommands = true
)]
pub struct DnsArgs {
    #[command(subcommand)]
    verb: Option<DnsVerb>,
    /// A settings file; `dialtone template dns` prints one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to answer, over UDP and TCP; repeat it for more [default: 127.0.0.1:4353]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Vec<SocketAddr>,
    /// Where to answer DNS over TLS; repeat it for more
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    tls: Vec<SocketAddr>,
    /// Where to answer DNS over HTTPS, at /dns-query; repeat it for more
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    https: Vec<SocketAddr>,
    /// Where to answer DNS over QUIC; repeat it for more
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    quic: Vec<SocketAddr>,
    /// Where to answer /metrics and /healthz over HTTP [default: nowhere]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    metrics: Option<SocketAddr>,
    /// The certificate to show, a chain in PEM; read again when it changes [default: one made for first use]
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The key of the certificate in PEM [default: in the same file]
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// The domain under which names are found [default: what the provider says]
    #[arg(long, value_name = "DOMAIN")]
    origin: Option<String>,
    /// Sign the origin with the first key of this file, which `dialtone dns key` makes [default: it is not signed]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Keep the names of your own site in this folder, and answer them from there while no provider can be reached, also after a restart
    #[arg(long, value_name = "FOLDER")]
    site: Option<PathBuf>,
    /// A name of the site's own, kept with whatever it leads to; repeat it for more [default: all names of the map file]
    #[arg(long = "site-name", value_name = "NAME")]
    site_names: Vec<String>,
    /// A resolver to forward other names to: ADDR:PORT, over TLS tls://ADDR#NAME or tls://ADDR#sha256/PIN, over HTTPS https://ADDR/PATH#NAME; repeat it for more [default: other names are refused]
    #[arg(long, value_name = "RESOLVER")]
    forward: Vec<Server>,
    /// The certificate authorities, in PEM, that vouch for resolvers over TLS and HTTPS [default: the web's]
    #[arg(long, value_name = "FILE")]
    forward_ca: Option<PathBuf>,
    /// Which links from legacy names to flat ones, that their owners set with `dialtone link`, are followed: no, validated (by DNSSEC) or any [default: no]
    #[arg(long, value_name = "WHICH", value_parser = str::parse::<Follow>)]
    links: Option<Follow>,
    /// Validate forwarded answers by DNSSEC, and what flat names take from legacy ones
    #[arg(long)]
    validate: bool,
    /// Print the start line as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Subcommand, Debug)]
enum DnsVerb {
    Flush(asked::FlushArgs),
    Top(asked::TopArgs),
    Key(key::KeyArgs),
}

/// A frontend's settings file.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct DnsFile {
    /// Where to answer.
    pub listen: Vec<SocketAddr>,
    /// Where to answer DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// Where to answer DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// Where to answer DNS over QUIC.
    pub quic: Vec<SocketAddr>,
    /// Where to answer `/metrics` and `/healthz` over HTTP; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// The chain in PEM that the encrypted ones show; `None`: a self-made one.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`; `None`: in the same file.
    pub certificate_key: Option<PathBuf>,
    /// What this server is called where there are several; `None`: it is not said.
    pub nsid: Option<String>,
    /// The domain under which names are found; `None`: what the provider says.
    pub origin: Option<String>,
    /// The name servers that the origin is delegated to; empty: it is not.
    pub nameservers: Vec<Domain>,
    /// The keys that sign the origin; `None`: it is not signed.
    pub signing_key: Option<PathBuf>,
    /// Where the site's own names are kept; `None`: nowhere.
    pub site: Option<PathBuf>,
    /// The site's own names; empty: those of the map.
    pub site_names: Vec<String>,
    /// Resolvers for other names.
    pub forward: Vec<Server>,
    /// The certificate authorities that vouch for them over TLS and HTTPS; `None`: the web's.
    pub forward_ca: Option<PathBuf>,
    /// Whether to forward for clients beyond private networks too.
    pub forward_for_everyone: bool,
    /// Which owners' links are followed.
    pub links: Follow,
    /// Whether forwarded answers, and what flat names take from legacy ones, are validated by DNSSEC.
    pub validate: bool,
    /// The keys that validation starts from; `None`: the root's.
    pub trust_anchors: Option<PathBuf>,
    /// Whom to ask.
    pub providers: Option<Vec<String>>,
    /// The map of petnames.
    pub map: Option<PathBuf>,
    /// The folder of rollback floors.
    pub state: Option<PathBuf>,
    /// How fast answers may go by UDP to one network.
    pub rate: RateSettings,
    /// How often providers and upstream resolvers are asked because of one network.
    pub searches: SearchSettings,
    /// Who is answered at all.
    pub access: AccessSettings,
    /// Who is answered at some of the listeners instead.
    pub view: Vec<ViewSettings>,
    /// The name that the certificate is for, by which clients are told of the encrypted listeners; `None`: they are not told.
    #[serde(deserialize_with = "host_name")]
    pub resolver_name: Option<Domain>,
    /// What is logged of questions, and where.
    pub query_log: QueryLogSettings,
    /// What is written to the log.
    pub log: LogSettings,
}

impl Default for DnsFile {
    fn default() -> Self {
        Self {
            listen: vec![LISTEN_DEFAULT],
            tls: Vec::new(),
            https: Vec::new(),
            quic: Vec::new(),
            metrics: None,
            certificate: None,
            certificate_key: None,
            nsid: None,
            origin: None,
            nameservers: Vec::new(),
            signing_key: None,
            site: None,
            site_names: Vec::new(),
            forward: Vec::new(),
            forward_ca: None,
            forward_for_everyone: false,
            links: Follow::No,
            validate: false,
            trust_anchors: None,
            providers: None,
            map: None,
            state: None,
            rate: RateSettings::default(),
            searches: SearchSettings::default(),
            access: AccessSettings::default(),
            view: Vec::new(),
            resolver_name: None,
            query_log: QueryLogSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl DnsFile {
    /// Reads a frontend's settings; `path` is what errors call them.
    ///
    /// # Errors
    /// The line and the key that are wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let file: Self = toml::from_str(text).map_err(|error| config::bad_settings(path, text, &error, "dns"))?;
        if file.listen.is_empty() {
            return Err(
                Failure::new(Exit::Settings, path.display(), "`listen` is empty: a frontend answers somewhere")
                    .help("leave it out, or name an address"),
            );
        }
        if file.certificate_key.is_some() && file.certificate.is_none() {
            let what = format!("{}: `certificate_key`", path.display());
            return Err(Failure::new(Exit::Settings, what, "a key without its certificate").help("name the certificate too"));
        }
        if let Some(origin) = &file.origin {
            Domain::from_text(origin).map_err(|error| Failure::new(Exit::Settings, format!("{}: `origin`", path.display()), error))?;
        }
        site::check(file.site.as_deref(), &file.site_names, path)?;
        let by_tcp = file.listen.iter().chain(&file.tls).chain(&file.https).chain(&file.metrics);
        if let Some(address) = taken_twice(by_tcp).or_else(|| taken_twice(file.listen.iter().chain(&file.quic))) {
            let why = format!("{address} stands there twice, and is listened on once");
            return Err(Failure::new(Exit::Settings, path.display(), why)
                .help("give `listen`, `tls`, `https` and `metrics` ports of their own, and so `listen` and `quic`"));
        }
        log::check(&file.log)?;
        for (table, checked) in [
            ("rate", file.rate.check()),
            ("searches", file.searches.check()),
            ("query_log", file.query_log.check()),
            ("view", check_views(&file.view, &file.listeners())),
        ] {
            checked.map_err(|wrong| Failure::new(Exit::Settings, format!("{}: `{table}`", path.display()), wrong))?;
        }
        Ok(file)
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        [&self.listen[..], &self.tls, &self.https, &self.quic].concat()
    }

    /// What it would do, in a line.
    pub fn summary(&self) -> String {
        let list = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let others = if self.forward.is_empty() {
            "other names are refused".to_owned()
        } else {
            let forward: Vec<String> = self.forward.iter().map(ToString::to_string).collect();
            format!("other names are forwarded to {}", forward.join(", "))
        };
        let encrypted = [("TLS", &self.tls), ("HTTPS", &self.https), ("QUIC", &self.quic)];
        let encrypted = encrypted.iter().filter(|(_, addresses)| !addresses.is_empty());
        let encrypted: String = encrypted
            .map(|(kind, addresses)| format!(", {kind} on {}", list(addresses)))
            .collect();
        let site = self
            .site
            .as_ref()
            .map(|folder| format!(", the site's own names in {}", folder.display()));
        format!(
            "a frontend on {}{encrypted}, {others}{}",
            list(&self.listen),
            site.unwrap_or_default()
        )
    }
}

/// Runs until it is told to go, on what is `lent` and on sockets of its own.
///
/// # Errors
/// The settings cannot be used, no provider is found, or an address is taken.
pub async fn run(args: DnsArgs, log: LogArgs, mut lent: Lent) -> Outcome {
    match args.verb {
        Some(DnsVerb::Flush(args)) => return asked::flush(args).await,
        Some(DnsVerb::Top(args)) => return asked::top(args).await,
        Some(DnsVerb::Key(args)) => return key::run(args),
        None => {}
    }
    let mut file = match &args.config {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::new(Exit::Settings, path.display(), plain_error(&error)).help("check --config"))?;
            let mut file = DnsFile::parse(&text, path)?;
            let named = [
                &mut file.certificate,
                &mut file.certificate_key,
                &mut file.forward_ca,
                &mut file.signing_key,
                &mut file.site,
            ];
            for said in named.into_iter().flatten() {
                *said = from_file(path, said);
            }
            // `-` is no file.
            if let Some(said) = file.query_log.file.as_mut().filter(|file| file.as_path() != Path::new("-")) {
                *said = from_file(path, said);
            }
            file
        }
        None => DnsFile::default(),
    };
    log::start(&log, Some(&file.log))?;
    files::raise_limit();
    if !args.listen.is_empty() {
        file.listen = args.listen;
    }
    for (said, setting) in [
        (args.tls, &mut file.tls),
        (args.https, &mut file.https),
        (args.quic, &mut file.quic),
    ] {
        if !said.is_empty() {
            *setting = said;
        }
    }
    if args.certificate.is_some() {
        (file.certificate, file.certificate_key) = (args.certificate, args.certificate_key);
    }
    if !args.forward.is_empty() {
        file.forward = args.forward;
    }
    file.forward_ca = args.forward_ca.or(file.forward_ca);
    file.links = args.links.unwrap_or(file.links);
    file.validate |= args.validate;
    let asked = ClientFile {
        providers: file.providers.clone(),
        map: file.map.clone(),
        state: file.state.clone(),
        token_file: None,
    };
    let client = Client::load_over(&args.client, args.config.as_deref().map(|path| (asked, path)))?;
    let mut signals = Signals::listen()?;
    let hangups = Hangups::listen()?;
    let sockets = Sockets::open(&file.listen, &mut lent).await?;
    let folder = client.state.value.clone().or_else(state_folder);
    let control = folder.as_ref().map(|folder| folder.join(DNS_SOCKET));
    let listeners_said = file.listeners();
    check_views(&file.view, &listeners_said).map_err(|wrong| Failure::new(Exit::Settings, "`view`", wrong))?;
    let wanted = EncryptedSettings {
        tls: file.tls,
        https: file.https,
        quic: file.quic,
        certificate: file.certificate,
        certificate_key: file.certificate_key,
        folder: folder.unwrap_or_else(|| PathBuf::from(".")),
    };
    let encrypted = EncryptedSockets::open(&wanted, &mut lent).map_err(encrypted::failed)?;
    let watched = args.metrics.or(file.metrics).map(|address| Watched::open(address, &mut lent));
    let watched = watched.transpose()?;
    lent.all_taken().map_err(failures::lent)?;
    let folder = args.site.or(file.site);
    site::check(folder.as_deref(), &args.site_names, Path::new("--site-name"))?;
    let site = folder.map(|folder| SiteSettings {
        folder,
        names: if args.site_names.is_empty() {
            file.site_names
        } else {
            args.site_names
        },
    });
    let origin = args.origin.or(file.origin);
    let Made { stub, site, origin } = site::make(client.stub_settings(), site, &client.map.value, origin).await?;
    let at = encrypted.as_ref().map(|sockets| sockets.addresses.clone()).unwrap_or_default();
    let became = [&sockets.addresses[..], &at.tls, &at.https, &at.quic].concat();
    let designated = at.designated(file.resolver_name.as_ref());
    let settings = FrontendSettings {
        views: bound(&file.view, &listeners_said, &became),
        designated: designated.map_err(|error| Failure::new(Exit::Settings, "`resolver_name`", error))?,
        authority: Authority::of(&file.nameservers),
        nameservers: file.nameservers,
        signing_key: args.signing_key.or(file.signing_key),
        upstreams: file.forward,
        upstream_authorities: file.forward_ca,
        forward_for_everyone: file.forward_for_everyone,
        aliases: Some(client.map.value),
        links: file.links,
        validate: file.validate,
        trust_anchors: file.trust_anchors,
        nsid: file.nsid,
        access: file.access,
        searches: file.searches,
        query_log: file.query_log,
        ..FrontendSettings::new(domain(&origin)?)
    };
    let generations = Arc::new(Generations::new());
    let _live = Live::keep(stub.clone(), Arc::clone(&generations));
    let source: Arc<dyn RecordSource> = match &site {
        Some(site) => Arc::clone(site) as Arc<dyn RecordSource>,
        None => Arc::new(stub.clone()),
    };
    let frontend = Frontend::new(source, settings).map_err(failures::frontend)?;
    let frontend = Arc::new(frontend.following(Arc::clone(&generations), Millis::since_now()));
    let _control = match control {
        Some(path) => asked::open(path, &frontend).await,
        None => None,
    };
    let shown: Vec<String> = sockets.addresses.iter().map(ToString::to_string).collect();
    if args.json {
        let mut start = json!({ "dns": shown, "origin": origin });
        if let Some(sockets) = &encrypted {
            encrypted::add_to(&mut start, &sockets.addresses, &sockets.certificate);
        }
        if let Some(watched) = &watched {
            start["metrics"] = json!(watched.address);
        }
        if let Some(site) = &site {
            let (names, kept) = site.holdings();
            start["site"] = json!({ "names": names, "kept": kept });
        }
        output::json(&start)?;
    } else {
        output::line(format!("frontend for {origin} on {}", shown.join(", ")))?;
        let lines = encrypted
            .as_ref()
            .map(|sockets| encrypted::lines(&sockets.addresses, &sockets.certificate));
        for line in lines.into_iter().flatten() {
            output::line(line)?;
        }
        if let Some(watched) = &watched {
            output::line(format!("  http://{0}/metrics, http://{0}/healthz", watched.address))?;
        }
        if let Some(site) = &site {
            output::line(site::line(site))?;
        }
    }
    let (stop, stopped) = watch::channel(false);
    let told = |mut stopped: watch::Receiver<bool>| async move {
        // A sender that is gone says the same.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let limits = ListenerSettings {
        rate: file.rate,
        ..ListenerSettings::default()
    };
    let watching = {
        let (frontend, stopped, site) = (Arc::clone(&frontend), stopped.clone(), site.clone());
        async move {
            if let Some(watched) = watched {
                watched.serve(frontend, stub, site, stopped).await;
            }
        }
    };
    let plain = listeners::serve(Arc::clone(&frontend), sockets.udp, sockets.tcp, limits, told(stopped.clone()));
    let certificate = encrypted.as_ref().map(|sockets| Arc::clone(&sockets.certificate));
    let ready = encrypted.map(|sockets| sockets.ready(limits)).transpose();
    let ready = ready.map_err(|error| Failure::new(Exit::Local, "encrypted listeners", plain_error(&error)))?;
    let secure = async {
        if let Some(ready) = ready {
            ready.serve(Arc::clone(&frontend), told(stopped.clone())).await;
        }
    };
    let signals = async {
        let signal = tokio::select! {
            signal = signals.told_to_go() => signal,
            () = reload(certificate, site, &frontend, hangups) => "none",
        };
        tracing::info!(signal, "stopping");
        stop.send_replace(true);
    };
    let ((), (), (), ()) = tokio::join!(plain, secure, watching, signals);
    Ok(())
}

/// A domain that a certificate can be for (RFC 1123 §2.1).
fn host_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Domain>, D::Error> {
    let domain = Domain::deserialize(deserializer)?;
    let is_of_hosts = |label: &[u8]| {
        let inner = !label.starts_with(b"-") && !label.ends_with(b"-");
        inner && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    if domain.labels().next().is_some() && domain.labels().all(is_of_hosts) {
        return Ok(Some(domain));
    }
    Err(D::Error::custom(format!(
        "`{domain}` is no name of a host: letters, digits and hyphens, with dots between"
    )))
}

/// Reads the certificate and the site's files again at every SIGHUP, and goes on with the log of questions in a new file.
async fn reload(certificate: Option<Arc<Certificate>>, site: Option<Arc<Site>>, frontend: &Frontend, mut hangups: Hangups) {
    loop {
        hangups.next().await;
        encrypted::reopen_log(frontend);
        if let Some(site) = &site {
            site.read_again().await;
            frontend.generations().all_changed();
            tracing::info!("the site's files were read again");
        }
        if !encrypted::read_again(certificate.as_deref()) && site.is_none() {
            tracing::info!("nothing to read again: the map file is looked at by itself");
        }
    }
}

/// A frontend's sockets, and where they came to be.
#[derive(Debug)]
pub struct Sockets {
    /// For datagrams.
    pub udp: Vec<Datagrams>,
    /// For connections.
    pub tcp: Vec<TcpListener>,
    /// Their addresses, with the ports that they got.
    pub addresses: Vec<SocketAddr>,
}

impl Sockets {
    /// Opens UDP and TCP on each address, but for what is `lent`: that is taken.
    ///
    /// # Errors
    /// An address is taken, or not this machine's.
    pub async fn open(addresses: &[SocketAddr], lent: &mut Lent) -> Result<Self, Failure> {
        let mut sockets = Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            addresses: Vec::new(),
        };
        for address in addresses {
            let failed = |error: std::io::Error| {
                // The reason says which address.
                Failure::new(Exit::Local, "frontend", plain_error(&error))
                    .help(failures::elsewhere(error.kind(), "--listen, or `listen` in a settings file"))
            };
            let (udp, tcp) = listeners::open(*address, lent).await.map_err(failed)?;
            sockets.addresses.push(udp.local_addr().map_err(failed)?);
            sockets.udp.push(udp);
            sockets.tcp.push(tcp);
        }
        Ok(sockets)
    }
}

/// The domain that a text means.
///
/// # Errors
/// It is none.
pub fn domain(origin: &str) -> Result<Domain, Failure> {
    Domain::from_text(origin.trim_matches('.')).map_err(|error| Failure::new(Exit::Settings, format!("origin `{origin}`"), error))
}

/// Where a frontend answers when nobody says.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4353);
