//! `dialtone dns`: a DNS frontend of one's own, in front of a stub that asks providers and verifies.

use crate::config::{self, Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use clap::Args;
use dialtone_provider::settings::LogSettings;
use serde::Deserialize;
use dialtone_resolver::dns::Domain;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Run a DNS frontend that verifies what providers say
///
/// Answers names under the origin and the petnames of the map file over UDP and TCP; every other name is forwarded, or refused.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone dns\n  dialtone dns --listen 127.0.0.1:5353 --provider http://127.0.0.1:4380 --forward 192.0.2.53:53\n  \
                        dialtone template dns > dns.toml && dialtone dns --config dns.toml")]
pub struct DnsArgs {
    /// A settings file; `dialtone template dns` prints one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to answer, over UDP and TCP; repeat it for more [default: 127.0.0.1:4353]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// The domain under which names are found [default: what the provider says]
    #[arg(long, value_name = "DOMAIN")]
    origin: Option<String>,
    /// A resolver to forward other names to; repeat it for more [default: other names are refused]
    #[arg(long, value_name = "ADDR:PORT")]
    forward: Vec<SocketAddr>,
    #[command(flatten)]
    client: ClientArgs,
}

/// A frontend's settings file.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct DnsFile {
    /// Where to answer.
    pub listen: Vec<SocketAddr>,
    /// The domain under which names are found; `None`: what the provider says.
    pub origin: Option<String>,
    /// Resolvers for other names.
    pub forward: Vec<SocketAddr>,
    /// Whether to forward for clients beyond private networks too.
    pub forward_for_everyone: bool,
    /// Whom to ask.
    pub providers: Option<Vec<String>>,
    /// The map of petnames.
    pub map: Option<PathBuf>,
    /// The folder of rollback floors.
    pub state: Option<PathBuf>,
    /// What is written to the log.
    pub log: LogSettings,
}

impl Default for DnsFile {
    fn default() -> Self {
        Self {
            listen: vec![LISTEN_DEFAULT],
            origin: None,
            forward: Vec::new(),
            forward_for_everyone: false,
            providers: None,
            map: None,
            state: None,
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
            return Err(Failure::new(Exit::Settings, path.display(), "`listen` is empty: a frontend answers somewhere").help("leave it out, or name an address"));
        }
        if let Some(origin) = &file.origin {
            Domain::from_text(origin).map_err(|error| Failure::new(Exit::Settings, format!("{}: `origin`", path.display()), error))?;
        }
        Ok(file)
    }

    /// What it would do, in a line.
    pub fn summary(&self) -> String {
        let list = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let others = if self.forward.is_empty() {
            "other names are refused".to_owned()
        } else {
            format!("other names are forwarded to {}", list(&self.forward))
        };
        format!("a frontend on {}, {others}", list(&self.listen))
    }
}

/// Where a frontend answers when nobody says.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4353);
