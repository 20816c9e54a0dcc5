//! `dialtone provider`: keeps records for others, and peers; backs up and restores its store.

use crate::args::{LogArgs, listen_address};
use crate::commands::dns::encrypted;
use crate::control::{self, Control, ProviderDesk, Reload, SOCKET, STORE};
use crate::exit::{Exit, Failure, Outcome};
use crate::place::{Place, PlaceArgs};
use crate::reload::Reloader;
use crate::signals::{Hangups, Signals};
use crate::threads::Yielding;
use crate::{bindings, failures, files, log, output};
use clap::{Args, Subcommand};
use dialtone_provider::Provider;
use dialtone_provider::provider::Parts;
use dialtone_provider::settings::PeerSettings;
use dialtone_provider::store::backup;
use dialtone_provider::store::embedded::EmbeddedOptions;
use dialtone_resolver::dns::Server;
use dialtone_resolver::io::lent::Lent;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Run a provider, or back one up
///
/// Runs without any settings: data in ./dialtone-data, HTTP on 127.0.0.1:4380, DNS on 127.0.0.1:4353, peering on
/// 127.0.0.1:4381. SIGTERM or Ctrl-C stops it when what it accepted is done. SIGHUP has it read its settings again: agreements
/// change at once, the certificate of the encrypted transports is read again, all else is from the next start. A socket that systemd passes
/// for one of the addresses of HTTP and DNS is taken in place of a new one.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct ProviderArgs {
    #[command(subcommand)]
    verb: Option<ProviderVerb>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand, Debug)]
enum ProviderVerb {
    Backup(BackupArgs),
    Restore(RestoreArgs),
}

/// Settings of one run; they win over the file.
#[derive(Args, Clone, Debug)]
struct RunArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Where HTTP is answered; repeat it for more [default: 127.0.0.1:4380]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    http: Vec<SocketAddr>,
    /// Where DNS is answered, over UDP and TCP; repeat it for more [default: 127.0.0.1:4353]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    dns: Vec<SocketAddr>,
    /// Where peers connect [default: 127.0.0.1:4381]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    peering: Option<SocketAddr>,
    /// An agreement with another provider: its name, and where it listens unless it connects to us
    #[arg(long = "peer", value_name = "NAME[@HOST:PORT]", value_parser = peer)]
    peers: Vec<PeerSettings>,
    /// The domain under which names are found [default: dialtone.alt]
    #[arg(long, value_name = "DOMAIN")]
    origin: Option<String>,
    /// A resolver that other names are forwarded to: ADDR:PORT, or over TLS tls://ADDR#NAME or tls://ADDR#sha256/PIN; repeat it for more [default: other names are refused]
    #[arg(long, value_name = "RESOLVER")]
    forward: Vec<Server>,
    /// Print the start line as one JSON object
    #[arg(long)]
    json: bool,
}

/// Write all that a provider holds into one file, while it runs or while it is stopped
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone provider backup --to provider.backup\n  dialtone provider backup --data /var/lib/dialtone --to /backups/today"
)]
struct BackupArgs {
    /// The file to make; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Make a provider's data folder from a backup
///
/// The provider's key is not in a backup: copy it to DIR/identity.key, or the provider will have another name.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone provider restore --from provider.backup --data ./restored")]
struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The data folder to make
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs a provider until it is told to go, on what is `lent` and on sockets of its own, or does what the verb says.
///
/// # Errors
/// The settings, the folder or an address cannot be used; the store does not stop cleanly.
pub async fn run(args: ProviderArgs, log: LogArgs, lent: Lent) -> Outcome {
    match args.verb {
        None => stay(args.run, &log, lent).await,
        Some(ProviderVerb::Backup(args)) => {
            log::start(&log, None)?;
            let records = control::back_up(args.place.find()?.data(), &args.to).await?;
            output::line(format!("{}: {records} records", args.to.display()))
        }
        Some(ProviderVerb::Restore(args)) => {
            log::start(&log, None)?;
            restore(&args).await
        }
    }
}

async fn stay(args: RunArgs, log: &LogArgs, lent: Lent) -> Outcome {
    let json = args.json;
    let place = args.place()?;
    let settings = place.settings.clone();
    log::start(log, Some(&settings.log))?;
    files::raise_limit();
    let (mut signals, mut hangups) = (Signals::listen()?, Hangups::listen()?);
    let data = settings.data.clone();
    let origin = settings.dns.origin.clone();
    let for_peers = Yielding::start("peers")?;
    let parts = Parts {
        peering: for_peers.handle(),
        lent,
        ..Parts::default()
    };
    let mut provider = Provider::start_with(settings, parts)
        .await
        .map_err(|error| failures::start(error, FLAGS))?;
    let reloader: Arc<dyn Reload> = Arc::new(Reloader::new(provider.admin().clone(), place, move || args.place()));
    let control = provider
        .embedded()
        .map(|store| {
            ProviderDesk::new(
                store.clone(),
                provider.admin().clone(),
                Arc::clone(&reloader),
                Arc::clone(provider.frontend()),
            )
        })
        .and_then(|desk| Control::open(data.join(SOCKET), Arc::new(desk)));
    let at = provider.addresses();
    if json {
        let mut start = json!({
            "name": provider.name().to_string(), "http": at.http, "dns": at.dns, "peering": at.peering, "origin": origin, "data": data,
        });
        if let Some(certificate) = provider.certificate() {
            encrypted::add_to(&mut start, &at.encrypted, certificate);
        }
        output::json(&start)?;
    } else {
        let list = |addresses: &[SocketAddr]| addresses.iter().map(|address| format!(" {address}")).collect::<String>();
        let peering = at.peering.map(|address| format!(", peering {address}")).unwrap_or_default();
        output::line(format!(
            "provider {}: http{}, dns{}{peering}",
            provider.name(),
            list(&at.http),
            list(&at.dns)
        ))?;
        let lines = provider
            .certificate()
            .map(|certificate| encrypted::lines(&at.encrypted, certificate));
        for line in lines.into_iter().flatten() {
            output::line(line)?;
        }
    }
    let outcome = loop {
        tokio::select! {
            signal = signals.told_to_go() => {
                tracing::info!(signal, "stopping");
                break Ok(());
            }
            () = hangups.next() => {
                encrypted::read_again(provider.certificate());
                encrypted::reopen_log(provider.frontend());
                if let Err(failure) = reloader.reload().await {
                    tracing::error!("the settings cannot be used, so those before go on holding: {}", failure.to_string().trim_end());
                }
            }
            // Half a provider is worse than none: whoever supervises this process starts a whole one.
            () = provider.failed() => {
                break Err(Failure::new(Exit::Bug, "the provider", "a part of it failed").help("please tell us what its log says; start it again"));
            }
        }
    };
    drop(control);
    outcome.and(provider.shutdown().await.map_err(failures::store))
}

impl RunArgs {
    /// Defaults, then the file, then the environment, then the flags.
    fn place(&self) -> Result<Place, Failure> {
        let mut place = self.place.find()?;
        let settings = &mut place.settings;
        if !self.http.is_empty() {
            settings.http.listen.clone_from(&self.http);
        }
        if !self.dns.is_empty() {
            settings.dns.listen.clone_from(&self.dns);
        }
        if let Some(peering) = self.peering {
            settings.peering.listen = peering;
        }
        if let Some(origin) = &self.origin {
            settings.dns.origin.clone_from(origin);
        }
        if !self.forward.is_empty() {
            settings.dns.forward.clone_from(&self.forward);
        }
        settings.peers.extend(self.peers.iter().cloned());
        Ok(place)
    }
}

async fn restore(args: &RestoreArgs) -> Outcome {
    let to = args.data.join(STORE);
    std::fs::create_dir_all(&args.data).map_err(|error| Failure::file(&args.data, &error))?;
    let made = backup::restore(&args.from, &to, EmbeddedOptions::default())
        .await
        .map_err(failures::backup)?;
    output::line(format!("{}: {} records", args.data.display(), made.records))?;
    if !args.data.join("identity.key").exists() {
        output::remark(format!(
            "note: copy the provider's key to {}, or it will have another name",
            args.data.join("identity.key").display()
        ));
    }
    Ok(())
}

/// How its addresses are chosen here.
const FLAGS: failures::Flags = failures::Flags {
    http: "--http",
    dns: "--dns",
    peering: "--peering",
    or_file: true,
};

/// `NAME[@HOST:PORT]`.
fn peer(typed: &str) -> Result<PeerSettings, String> {
    let (name, address) = match typed.split_once('@') {
        Some((name, address)) => (name, Some(address)),
        None => (typed, None),
    };
    if let Some(address) = address
        && !address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    {
        return Err(format!("`{address}` is not HOST:PORT"));
    }
    let addresses = address.map(str::to_owned).into_iter().collect();
    Ok(PeerSettings::mutual(bindings::flat_name(name)?, addresses))
}

const EXAMPLES: &str = "Examples:
  dialtone provider
  dialtone template > provider.toml && dialtone provider --config provider.toml
  dialtone provider --data ./second --http 127.0.0.1:4390 --dns 127.0.0.1:4363 --peering 127.0.0.1:4391 --peer NAME@127.0.0.1:4381
  dialtone provider backup --to today.backup
  dialtone provider restore --from today.backup --data ./restored";
