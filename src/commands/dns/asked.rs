//! `dialtone dns top` and `dialtone dns flush`: a frontend that runs is asked what it is asked most, and told to forget.

use crate::commands::check_config::told_from_keys;
use crate::commands::dns::DnsFile;
use crate::commands::template::Which;
use crate::config::{Client, ClientArgs};
use crate::control::{Asked, Control, DNS_SOCKET, FrontendDesk, Request, SOCKET, ask_at};
use crate::exit::{Exit, Failure, Outcome};
use crate::output;
use crate::place::PlaceArgs;
use crate::show::printable;
use crate::signals::Signals;
use clap::Args;
use dialtone_provider::settings::from_file;
use dialtone_resolver::dns::Frontend;
use dialtone_resolver::dns::flush::{Flushed, Scope};
use dialtone_resolver::dns::top::Top;
use dialtone_resolver::io::environment::state_folder;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fs::DirBuilder;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::UnixStream;

/// See what a frontend is asked most, and by whom, as it happens
///
/// Asks the frontend of one's own that runs with the state folder, or else the one in the provider that runs with the data folder. What is counted are questions from now on, and only while somebody looks;
/// of clients it tells as much as the log of questions would (`query_log.ipv4_prefix`, `ipv6_prefix`).
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone dns top\n  dialtone dns top --once --seconds 10\n  \
                        dialtone dns top --data /var/lib/dialtone --json | jq '.names[0]'")]
pub struct TopArgs {
    /// How long questions are counted for before they are shown
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How many names and networks are shown at most
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    rows: usize,
    /// Show it once, and end
    #[arg(long)]
    once: bool,
    /// Print one JSON object a time
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: WhichArgs,
}

/// Have a frontend forget what it keeps of a name
///
/// What is forgotten is looked up anew: answers of upstream resolvers, owners' links, and what a frontend of one's own keeps of records. A provider's own store and a site's own records stay, and so do the ranks that no record may fall behind.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone dns flush www.example.org\n  dialtone dns flush example.org --below\n  dialtone dns flush . --below"
)]
pub struct FlushArgs {
    /// A domain, or a flat name in any form
    #[arg(value_name = "NAME")]
    name: String,
    /// And everything below it; of `.`: everything there is
    #[arg(long)]
    below: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: WhichArgs,
}

/// Which frontend is meant.
#[derive(Args, Debug)]
struct WhichArgs {
    /// The state folder of the frontend of one's own that is meant [env: DIALTONE_STATE]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "data"])]
    state: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Opens the socket of a frontend of one's own at `path`, unless another one answers there.
pub async fn open(path: PathBuf, frontend: &Arc<Frontend>) -> Option<Control> {
    if UnixStream::connect(&path).await.is_ok() {
        tracing::warn!(path = %path.display(), "another frontend runs with this state folder: `dialtone dns top` and `flush` ask that one; give each its own (`state` in its settings, or DIALTONE_STATE)");
        return None;
    }
    if let Some(folder) = path.parent()
        && let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(folder)
    {
        tracing::warn!(path = %path.display(), %error, "nothing can be asked while running");
        return None;
    }
    Control::open(path, Arc::new(FrontendDesk(Arc::clone(frontend))))
}

/// Shows what is asked most until it is interrupted, or once.
///
/// # Errors
/// No frontend runs there, or it cannot be asked.
pub async fn top(args: TopArgs) -> Outcome {
    let sockets = args.which.sockets()?;
    let mut signals = Signals::listen()?;
    let request = Request::Top {
        millis: args.seconds * 1_000,
        rows: args.rows,
    };
    let is_live = !args.once && !args.json && std::io::stdout().is_terminal();
    let mut drawn = 0;
    loop {
        let top: Top = tokio::select! {
            top = asked(&sockets, &request) => top?,
            _ = signals.told_to_go() => return Ok(()),
        };
        if args.json {
            output::json(&json!(top))?;
        } else {
            let mut text = table(&top);
            if is_live {
                // Over the table before, line by line: what is above stays.
                let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
                drawn = text.lines().count();
                text = format!("{up}{}\x1b[J", text.replace('\n', "\x1b[K\n"));
            }
            output::text(text)?;
        }
        if args.once {
            return Ok(());
        }
    }
}

/// Has a frontend forget.
///
/// # Errors
/// It is no name, no frontend runs there, or it cannot be asked.
pub async fn flush(args: FlushArgs) -> Outcome {
    let sockets = args.which.sockets()?;
    let scope = Scope {
        domain: args.name,
        below: args.below,
    };
    let flushed: Flushed = asked(&sockets, &Request::Flush(scope)).await?;
    if args.json {
        return output::json(&json!(flushed));
    }
    let below = if args.below { " and all below it" } else { "" };
    let links = if flushed.links > 0 {
        format!(", {} of owners' links", flushed.links)
    } else {
        String::new()
    };
    output::line(format!(
        "{}{below}: forgotten; answers of upstream resolvers {}{links}",
        printable(&flushed.domain),
        flushed.upstream
    ))
}

async fn asked<T: DeserializeOwned>(sockets: &[PathBuf], request: &Request) -> Result<T, Failure> {
    for socket in sockets {
        if let Asked::Told(told) = ask_at(socket, request).await? {
            return Ok(told);
        }
    }
    let looked: Vec<String> = sockets.iter().map(|socket| socket.display().to_string()).collect();
    Err(Failure::new(Exit::Local, looked.join(", "), "no frontend answers there")
        .help("start one (`dialtone dns`, `dialtone provider`), or say which with --state or --data"))
}

impl WhichArgs {
    /// Where it may listen, the likelier first.
    fn sockets(&self) -> Result<Vec<PathBuf>, Failure> {
        if let Some(state) = &self.state {
            return Ok(vec![state.join(DNS_SOCKET)]);
        }
        if let Some(path) = &self.place.config {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
            if told_from_keys(&text) == Which::Dns {
                let said = DnsFile::parse(&text, path)?.state.map(|state| from_file(path, &state));
                let state = said.or(Client::load(&ClientArgs::default())?.state.value).or_else(state_folder);
                return Ok(state.map(|state| state.join(DNS_SOCKET)).into_iter().collect());
            }
        }
        let provider = self.place.find()?.settings.data.join(SOCKET);
        if self.place.config.is_some() || self.place.data.is_some() {
            return Ok(vec![provider]);
        }
        let state = Client::load(&ClientArgs::default())?.state.value.or_else(state_folder);
        Ok(state.map(|state| state.join(DNS_SOCKET)).into_iter().chain([provider]).collect())
    }
}

fn table(top: &Top) -> String {
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    let each = |counts: &[(String, u64)]| {
        counts
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect::<Vec<_>>()
            .join("  ")
    };
    let mut text = format!(
        "{:.1} s  {} questions, {:.0} a second  kept {:.1}%  forwarded {}  dropped {}\n{}\n{}\n",
        top.seconds,
        top.questions,
        top.questions as f64 / top.seconds,
        share(top.kept, top.questions),
        top.forwarded,
        top.dropped,
        each(&top.transports),
        each(&top.rcodes),
    );
    text += &format!("\n{:>9}  {:>6}  {:<8} NAME\n", "QUESTIONS", "SHARE", "TYPE");
    for (name, kind, count) in &top.names {
        text += &format!(
            "{count:>9}  {:>5.1}%  {kind:<8} {}\n",
            share(*count, top.questions),
            printable(name)
        );
    }
    text += &format!("\n{:>9}  {:>6}  CLIENTS\n", "QUESTIONS", "SHARE");
    for (network, count) in &top.clients {
        text += &format!("{count:>9}  {:>5.1}%  {network}\n", share(*count, top.questions));
    }
    text
}
