//! `dialtone up`: peered providers and a DNS frontend in one process, and one sample name that goes all the way round.

mod live;
mod round;
mod topology;
mod traffic;
mod world;

use crate::exit::{Exit, Failure, Outcome, plain};
use crate::signals::Signals;
use crate::{config, files, output};
use clap::Args;
use dialtone_shared::message::Mode;
use round::Round;
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use topology::Topology;
use traffic::Traffic;
use world::World;

/// Run peered providers and a DNS frontend on this machine, with a sample name that goes all the way round
///
/// Nothing is faked: every provider has keys, a store on disk and sockets of its own, they peer over QUIC, and the sample
/// is published at the first and resolved at the last, by a verifying stub and by plain DNS. It stays until Ctrl-C or
/// SIGTERM; with --once it does the round and leaves with status 0 only if every step truly worked.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone up\n  dialtone up --once\n  dialtone up --providers 8 --topology ring\n  dialtone up --providers 3 --data ./here --http-port 8080 --json"
)]
pub struct UpArgs {
    /// How many providers
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub providers: u8,
    /// Who peers with whom
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t = Topology::Mesh)]
    pub topology: Topology,
    /// In what form the providers push changes to each other: none, digest, pointers or values
    #[arg(long, value_name = "MODE", default_value = "values")]
    pub mode: Mode,
    /// Show the links in a table that is drawn again every second, with a little traffic [default: with more than two providers, in a terminal]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub live: Option<bool>,
    /// Records put in a second while the table is shown, each looked up at five providers
    #[arg(long, value_name = "RATE", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub traffic: u16,
    /// The folder of keys and stores, used again next time [default: ~/.local/share/dialtone/up; with --once one that goes away]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The first provider's HTTP port; the next ones are 10 apart [default: 4380 if it is free; with --once any]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// The frontend's DNS port; the providers' own are 10 apart after it [default: 4353 if it is free; with --once any]
    #[arg(long, value_name = "PORT")]
    pub dns_port: Option<u16>,
    /// The first provider's peering port; the next ones are 10 apart [default: 4381 if it is free; with --once any]
    #[arg(long, value_name = "PORT")]
    pub peering_port: Option<u16>,
    /// Do one round and leave
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object with keys, names, addresses and times, instead of text
    #[arg(long)]
    pub json: bool,
}

/// Starts everything, does the round, and stays.
///
/// # Errors
/// Something does not start, or a step of the round did not work.
pub async fn run(args: UpArgs) -> Outcome {
    files::raise_limit();
    let mut signals = Signals::listen()?;
    let home = Home::open(&args)?;
    let world = World::start(&args, home.path()).await?;
    let outcome = visit(&args, &world).await;
    if outcome.is_ok() && !args.once {
        let signal = if args.is_live() {
            tokio::select! {
                signal = signals.told_to_go() => signal,
                shown = show(&args, &world) => {
                    // Whoever read the table is gone; the providers stay.
                    if shown.is_err() {
                        output::remark("the table is not read any more");
                    }
                    signals.told_to_go().await
                }
            }
        } else {
            signals.told_to_go().await
        };
        if !args.json {
            output::remark(format!("{signal}: stopping"));
        }
    }
    let stopped = world.stop().await;
    outcome.and(stopped)
}

/// Draws the table again and again, with traffic in between.
async fn show(args: &UpArgs, world: &World) -> Outcome {
    let mut traffic = Traffic::new(world.providers.len());
    let mut draw = tokio::time::interval(DRAW_EVERY);
    let pause = Duration::from_secs(1).checked_div(u32::from(args.traffic)).unwrap_or(Duration::MAX);
    let mut put = tokio::time::interval(pause.min(FOREVER));
    put.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drawn = 0;
    loop {
        tokio::select! {
            _ = draw.tick() => {
                // The window may have another size by now.
                let screen = output::screen().map(|(columns, rows)| live::Screen {
                    columns,
                    // A line stays free above, and the cursor stands in one below.
                    rows: rows.saturating_sub(2),
                });
                let table = live::table(world, traffic.seen(), screen);
                if screen.is_none() {
                    output::text(format!("\n{table}"))?;
                    continue;
                }
                // Over the table before, line by line: what is above stays, and a whole screen that is cleared would be kept by some terminals.
                let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
                drawn = table.lines().count() + 1;
                let lines = table.replace('\n', "\x1b[K\n");
                output::text(format!("{up}\x1b[K\n{lines}\x1b[J"))?;
            }
            _ = put.tick(), if args.traffic > 0 => traffic.step(world).await,
        }
    }
}

async fn visit(args: &UpArgs, world: &World) -> Outcome {
    if !args.json {
        world.print()?;
    }
    let mut round = Round::default();
    let done = round.go(world, !args.json).await;
    if args.json {
        let mut all = world.to_json();
        all["steps"] = round.to_json();
        all["ok"] = json!(done.is_ok());
        output::json(&all)?;
    }
    done?;
    if !args.json && !args.once {
        output::text(world.go_on())?;
    }
    Ok(())
}

impl UpArgs {
    /// Whether the table is shown. Two providers are for trying commands on, and these stand above it.
    fn is_live(&self) -> bool {
        let default = self.providers > 2 && !self.json && std::io::stdout().is_terminal();
        self.live.unwrap_or(default)
    }
}

/// The data folder; a temporary one goes away with it.
#[derive(Debug)]
enum Home {
    Kept(PathBuf),
    Passing(tempfile::TempDir),
}

impl Home {
    fn open(args: &UpArgs) -> Result<Self, Failure> {
        if let Some(path) = &args.data {
            return Ok(Self::Kept(path.clone()));
        }
        if !args.once {
            return Ok(Self::Kept(config::Folders::from_env(&config::variable).data.join("up")));
        }
        let made = tempfile::Builder::new().prefix("dialtone-up-").tempdir();
        made.map(Self::Passing)
            .map_err(|error| Failure::new(Exit::Local, "a temporary folder", plain(&error)).help("name a folder with --data"))
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(folder) => folder.path(),
        }
    }
}

/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// The pause where there is no traffic: nobody waits for its end.
const FOREVER: Duration = Duration::from_secs(86_400);
