//! `dialtone lease`: what was published from here, until when it lives, who promised to keep it how long, and whether they do.

use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::leases::{self, Lease};
use crate::{output, petnames, show};
use bytes::Bytes;
use clap::Args;
use dialtone_resolver::io::clock;
use dialtone_resolver::io::environment::state_folder;
use dialtone_resolver::io::http::HttpClient;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::publish::Account;
use dialtone_resolver::settings::{INFO_TIMEOUT, ProviderAt};
use dialtone_shared::receipt::Status;
use dialtone_shared::{Rank, UnixSecs};
use hyper::Method;
use serde_json::json;
use std::cmp::Ordering;

/// Report what expires when, and at whom
///
/// Of every name that was published from this machine: until when each provider promised to keep its record, whether it says today, signed, that it
/// holds it, and when the record itself expires. A promise that is not kept is status 7, and can be proved with `dialtone audit`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone lease\n  dialtone lease home --json")]
pub struct LeaseArgs {
    /// Only these names, in any form, or petnames [default: all that were published from here]
    names: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// One line of the report.
struct Row {
    lease: Lease,
    standing: Standing,
    /// When the record that it holds expires.
    expiry: Option<UnixSecs>,
}

/// How a promise stands.
enum Standing {
    /// It holds what it promised, or a later one.
    Kept(Rank),
    /// It holds less than it promised, and its promise is not over.
    Broken(Option<Rank>),
    /// It is over.
    Over,
    /// It does not say.
    Unknown(String),
}

/// Reports.
///
/// # Errors
/// Nothing was published from here; a promise is broken, or a provider does not say.
pub async fn run(args: LeaseArgs) -> Outcome {
    let client = Client::load(&args.client)?;
    let names = args
        .names
        .iter()
        .map(|typed| petnames::resolve(typed, &client.map.value))
        .collect::<Result<Vec<_>, _>>()?;
    let nothing = |thing: &str| {
        Failure::new(Exit::Absent, thing, "no receipt is kept on this machine")
            .help("receipts are kept where something was published, in the state folder ($DIALTONE_STATE)")
    };
    let state = client
        .state
        .value
        .clone()
        .or_else(state_folder)
        .ok_or_else(|| nothing("no state folder"))?;
    let mut all = leases::all(&state).map_err(|error| Failure::file(&state, &error))?;
    all.retain(|lease| names.is_empty() || names.contains(&lease.promise.name));
    if all.is_empty() {
        return Err(nothing(&args.names.join(", ")));
    }
    let http = HttpClient::new();
    let mut rows = Vec::with_capacity(all.len());
    for lease in all {
        rows.push(look(&http, lease).await);
    }
    match args.json {
        true => output::json(&to_json(&rows))?,
        false => print(&rows)?,
    }
    if rows.iter().any(|row| matches!(row.standing, Standing::Broken(_))) {
        return Err(Failure::already_said(Exit::Unverified));
    }
    match rows.iter().any(|row| matches!(row.standing, Standing::Unknown(_))) {
        true => Err(Failure::already_said(Exit::Network)),
        false => Ok(()),
    }
}

async fn look(http: &HttpClient, lease: Lease) -> Row {
    let promise = &lease.promise;
    let says = status(http, &lease).await;
    let is_over = promise.keep_until.is_some_and(|until| until <= clock::now().unix);
    let standing = match says {
        Ok(Some(held)) if !matches!(held.compare(&promise.rank), Some(Ordering::Less)) => Standing::Kept(held),
        Ok(_) if is_over => Standing::Over,
        Ok(held) => Standing::Broken(held),
        Err(_) if is_over => Standing::Over,
        Err(reason) => Standing::Unknown(reason),
    };
    let account = Account {
        at: lease.at.clone(),
        token: None,
    };
    let held = match standing {
        Standing::Unknown(_) => None,
        Standing::Kept(_) | Standing::Broken(_) | Standing::Over => Publisher::new(vec![account]).held(&promise.name).await.ok().flatten(),
    };
    let expiry = held.and_then(|held| held.record().expiry());
    Row { lease, standing, expiry }
}

/// What the provider says that it holds, signed by the key that made the promise.
async fn status(http: &HttpClient, lease: &Lease) -> Result<Option<Rank>, String> {
    let ProviderAt::Http(base) = &lease.at else {
        return Err("it answers no HTTP".to_owned());
    };
    let url = format!("{base}/v1/records/{}/status", lease.promise.name);
    let answer = http
        .ask(Method::GET, &url, &[], Bytes::new(), INFO_TIMEOUT)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    let says = Status::verify(&answer.body).map_err(|error| error.to_string())?;
    if says.provider != lease.promise.provider || says.name != lease.promise.name {
        return Err("another provider is there now".to_owned());
    }
    // An old one, handed out again, would hide what is lost.
    let age = clock::now().unix.since(says.time.secs());
    match age > STATUS_SECS_MAX {
        true => Err(format!("its status is {age} s old")),
        false => Ok(says.rank),
    }
}

fn print(rows: &[Row]) -> Outcome {
    let now = clock::now().unix;
    let mut name = None;
    for row in rows {
        let promise = &row.lease.promise;
        if name != Some(promise.name) {
            output::line(promise.name)?;
            name = Some(promise.name);
        }
        let until = promise
            .keep_until
            .map_or_else(|| "for ever".to_owned(), |until| show::until(until, now));
        let (mark, says) = match &row.standing {
            Standing::Kept(rank) if *rank == promise.rank => ("✓", "holds it".to_owned()),
            Standing::Kept(rank) => ("✓", format!("holds a later one, rank {rank}")),
            Standing::Broken(Some(rank)) => ("✗", format!("BROKEN: holds an older one, rank {rank}")),
            Standing::Broken(None) => ("✗", "BROKEN: holds nothing".to_owned()),
            Standing::Over => ("-", "the promise is over".to_owned()),
            Standing::Unknown(reason) => ("?", format!("does not say: {}", show::printable(reason))),
        };
        output::line(format!("  {mark} {}  {says}", row.lease.at))?;
        output::line(format!("      promised until  {until}"))?;
        if let Some(expiry) = row.expiry {
            output::line(format!("      record expires  {}", show::until(expiry, now)))?;
        }
        if matches!(row.standing, Standing::Broken(_)) {
            output::line(format!(
                "      prove it with   dialtone audit --receipt {} --provider {} --out broken.proof",
                row.lease.receipt.display(),
                row.lease.at
            ))?;
        }
    }
    Ok(())
}

fn to_json(rows: &[Row]) -> serde_json::Value {
    let row = |row: &Row| {
        let (standing, held, reason) = match &row.standing {
            Standing::Kept(rank) => ("kept", Some(rank), None),
            Standing::Broken(rank) => ("broken", rank.as_ref(), None),
            Standing::Over => ("over", None, None),
            Standing::Unknown(reason) => ("unknown", None, Some(reason)),
        };
        json!({
            "name": row.lease.promise.name.to_string(),
            "at": row.lease.at.to_string(),
            "provider": row.lease.promise.provider.to_string(),
            "promised": row.lease.promise.rank.to_string(),
            "keep_until": row.lease.promise.keep_until.map(|until| until.0),
            "receipt": row.lease.receipt,
            "standing": standing,
            "held": held.map(ToString::to_string),
            "reason": reason,
            "expiry": row.expiry.map(|expiry| expiry.0),
        })
    };
    json!({ "leases": rows.iter().map(row).collect::<Vec<_>>() })
}

/// A status is signed when it is asked for; a clock may be off by some minutes.
const STATUS_SECS_MAX: u64 = 600;
