//! `dialtone watch`: what becomes of names, as it happens.

use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Signals;
use crate::{failures, output, petnames, show};
use clap::Args;
use dialtone_resolver::io::clock;
use dialtone_resolver::stub::Stub;
use dialtone_resolver::view;
use dialtone_resolver::watch::Told;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Watch names: what is true of them now, and then every change as it happens
///
/// Stays until it is interrupted. Every record is checked on this machine against its name; what was missed while the provider was away is
/// told when it is back.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone watch home office\n  dialtone watch home --json | jq .record.bindings\n  \
                        dialtone watch home --once"
)]
pub struct WatchArgs {
    /// The names, in any form, or petnames
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Say what is true now, and end
    #[arg(long)]
    once: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Watches.
///
/// # Errors
/// It is no name, no provider is there, or, with `--once`, nothing certain was said.
pub async fn run(args: WatchArgs) -> Outcome {
    let client = Client::load(&args.client)?;
    let mut asked = HashMap::new();
    for text in &args.names {
        asked.insert(petnames::resolve(text, &client.map.value)?, text.clone());
    }
    let mut signals = Signals::listen()?;
    let stub = Stub::connect(client.stub_settings()).await.map_err(failures::stub)?;
    let mut watch = stub.watch(asked.keys().copied());
    loop {
        let told = tokio::select! {
            told = watch.next() => told,
            _ = signals.told_to_go() => return Ok(()),
        };
        if args.json {
            output::json(&to_json(&told))?;
        } else {
            print(&told)?;
        }
        match told {
            Told::Current { .. } if args.once => return Ok(()),
            Told::Lost { provider, reason } if args.once => {
                return Err(Failure::new(Exit::Network, provider, reason).help("is it a provider, and does it run? try `dialtone doctor`"));
            }
            _ => {}
        }
    }
}

fn print(told: &Told) -> Outcome {
    let at = clock::now().unix;
    match told {
        Told::Put { record, fresh } => {
            let bindings = record.record().bindings().len();
            let elsewhere = if fresh.is_some() {
                ", kept elsewhere: its next change is not told"
            } else {
                ""
            };
            output::line(format!(
                "{at}  put      {}  {bindings} {}, rank {}{elsewhere}",
                record.name(),
                if bindings == 1 { "binding" } else { "bindings" },
                record.rank()
            ))
        }
        Told::Revoked(record) => output::line(format!("{at}  revoke   {}  rank {}", record.name(), record.rank())),
        Told::Expired { name, rank } => output::line(format!("{at}  expire   {name}  rank {rank}")),
        Told::Absent(name) => output::line(format!("{at}  absent   {name}")),
        Told::Unknown { name, reason } => output::line(format!("{at}  unknown  {name}  {}", show::printable(reason))),
        Told::Current { whole: true } => output::line(format!("{at}  current  this is all; every change is told from here on")),
        Told::Current { whole: false } => output::line(format!(
            "{at}  current  this is all; a link of the provider is behind, changes made elsewhere may come late"
        )),
        Told::Resync(reason) => output::line(format!("{at}  resync   {}", show::printable(reason))),
        Told::Lost { provider, reason } => output::line(format!("{at}  lost     {provider}: {}", show::printable(reason))),
    }
}

fn to_json(told: &Told) -> Value {
    match told {
        Told::Put { record, fresh } => {
            json!({"event": "put", "name": record.name().to_string(), "rank": record.rank().to_string(), "fresh": fresh.map(|ttl| ttl.0), "record": view::record(record)})
        }
        Told::Revoked(record) => {
            json!({"event": "revoke", "name": record.name().to_string(), "rank": record.rank().to_string(), "record": view::record(record)})
        }
        Told::Expired { name, rank } => json!({"event": "expire", "name": name.to_string(), "rank": rank.to_string()}),
        Told::Absent(name) => json!({"event": "absent", "name": name.to_string()}),
        Told::Unknown { name, reason } => json!({"event": "unknown", "name": name.to_string(), "reason": reason}),
        Told::Current { whole } => json!({"event": "current", "whole": whole}),
        Told::Resync(reason) => json!({"event": "resync", "reason": reason}),
        Told::Lost { provider, reason } => json!({"event": "lost", "provider": provider, "reason": reason}),
    }
}
