//! `dialtone provider`: keeps records for others, and peers; backs up and restores its store.

use crate::args::LogArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Signals;
use crate::{bindings, failures, log, output};
use clap::{Args, Subcommand};
use dialtone_provider::settings::{PeerSettings, Relationship};
use dialtone_provider::{Provider, Settings};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Run a provider, or back one up
///
/// Runs without any settings: data in ./dialtone-data, HTTP on 127.0.0.1:4380, DNS on 127.0.0.1:4353, peering on
/// 127.0.0.1:4381. SIGTERM or Ctrl-C stops it when what it accepted is done.
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
#[derive(Args, Debug)]
struct RunArgs {
    /// The settings file; `dialtone template` prints one [env: DIALTONE_PROVIDER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the store, the key and the books [env: DIALTONE_DATA] [default: ./dialtone-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where HTTP is answered; repeat it for more [default: 127.0.0.1:4380]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Vec<SocketAddr>,
    /// Where DNS is answered, over UDP and TCP; repeat it for more [default: 127.0.0.1:4353]
    #[arg(long, value_name = "ADDR:PORT")]
    dns: Vec<SocketAddr>,
    /// Where peers connect [default: 127.0.0.1:4381]
    #[arg(long, value_name = "ADDR:PORT")]
    peering: Option<SocketAddr>,
    /// An agreement with another provider: its name, and where it listens unless it connects to us
    #[arg(long = "peer", value_name = "NAME[@HOST:PORT]", value_parser = peer)]
    peers: Vec<PeerSettings>,
    /// The domain under which names are found [default: dialtone.alt]
    #[arg(long, value_name = "DOMAIN")]
    origin: Option<String>,
    /// A resolver that other names are forwarded to; repeat it for more [default: other names are refused]
    #[arg(long, value_name = "ADDR:PORT")]
    forward: Vec<SocketAddr>,
    /// Print the start line as one JSON object
    #[arg(long)]
    json: bool,
}
