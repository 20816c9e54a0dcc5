//! `dialtone up`: peered providers and a DNS frontend in one process, and one sample name that goes all the way round.

mod round;
mod world;

use crate::exit::{Exit, Failure, Outcome, plain};
use crate::signals::Signals;
use crate::{config, files, output};
use clap::Args;
use round::Round;
use serde_json::json;
use std::path::PathBuf;
use world::World;

/// Run peered providers and a DNS frontend on this machine, with a sample name that goes all the way round
///
/// Nothing is faked: every provider has keys, a store on disk and sockets of its own, they peer over QUIC, and the sample
/// is published at the first and resolved at the last, by a verifying stub and by plain DNS. It stays until Ctrl-C or
/// SIGTERM; with --once it does the round and leaves with status 0 only if every step truly worked.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone up\n  dialtone up --once\n  dialtone up --providers 3 --data ./here --http-port 8080 --json")]
pub struct UpArgs {
    /// How many providers, each peered with all others
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub providers: u8,
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
        let signal = signals.told_to_go().await;
        if !args.json {
            output::remark(format!("{signal}: stopping"));
        }
    }
    let stopped = world.stop().await;
    outcome.and(stopped)
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
