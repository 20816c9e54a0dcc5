//! The command: what was typed, done, and the exit status.

mod agreements;
mod args;
mod ask;
mod bindings;
mod commands;
mod config;
mod control;
mod exit;
mod failures;
mod files;
mod leases;
mod log;
mod output;
mod passphrase;
mod petnames;
mod place;
mod reload;
mod show;
mod signals;
mod threads;

use args::{Cli, Verb};
use clap::Parser;
use dialtone_resolver::io::lent::Lent;
use exit::{Exit, Failure, Outcome};
use std::future::Future;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help that was asked for comes this way, too. Nobody may be listening.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(failures::typed(&error) as u8);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::from(Exit::Done as u8),
        Err(failure) => {
            use std::io::Write;
            let _ = write!(std::io::stderr().lock(), "{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Outcome {
    // Verbs that stay start their own log, when they have read their settings.
    if !matches!(cli.verb, Verb::Provider(_) | Verb::Dns(_)) {
        log::start(&cli.log, None)?;
    }
    match cli.verb {
        Verb::Up(args) => wait_for(commands::up::run(args)),
        Verb::Key(args) => wait_for(commands::key::run(args)),
        Verb::Publish(args) => wait_for(commands::publish::run(*args)),
        Verb::Unpublish(args) => wait_for(commands::unpublish::run(args)),
        Verb::Lease(args) => wait_for(commands::lease::run(args)),
        Verb::Resolve(args) => wait_for(commands::resolve::run(args)),
        Verb::Watch(args) => wait_for(commands::watch::run(args)),
        Verb::Put(args) => wait_for(commands::value::put(args)),
        Verb::Get(args) => wait_for(commands::value::get(args)),
        Verb::Alias(args) => commands::alias::run(args),
        Verb::Link(args) => wait_for(commands::link::run(args)),
        Verb::Provider(args) => {
            let lent = Lent::from_environment().map_err(failures::lent)?;
            wait_for(commands::provider::run(args, cli.log, lent))
        }
        Verb::Peer(args) => wait_for(commands::peer::run(args)),
        Verb::Dns(args) => {
            let lent = Lent::from_environment().map_err(failures::lent)?;
            wait_for(commands::dns::run(*args, cli.log, lent))
        }
        Verb::Account(args) => commands::account::run(args),
        Verb::Template(args) => commands::template::run(args),
        Verb::CheckConfig(args) => commands::check_config::run(args),
        Verb::Doctor(args) => wait_for(commands::doctor::run(args)),
        Verb::Audit(args) => wait_for(commands::audit::run(args)),
        Verb::Completions(args) => commands::completions::run(args),
    }
}

/// Runs a verb that waits for others.
fn wait_for(verb: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Local, "starting threads", exit::plain(&error)))?;
    let outcome = runtime.block_on(verb);
    runtime.shutdown_background();
    outcome
}
