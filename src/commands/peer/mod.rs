//! `dialtone peer`: agreements with other providers, made and changed while the provider runs.

mod add;
mod invite;
mod list;
mod statement;
mod trace;

use crate::agreements::{Change, SettingsFile};
use crate::control::{About, Asked, Request, ask};
use crate::exit::{Exit, Failure, Outcome};
use crate::place::Place;
use crate::{bindings, output};
use clap::{Args, Subcommand};
use dialtone_shared::Name;
use dialtone_shared::invite::is_address;
use dialtone_shared::message::{Mode, Relationship};
use serde_json::Value;
use std::path::PathBuf;

/// Peer with other providers: list, add, remove, invite, accept, settle, trace
///
/// An agreement stands in the settings file of each side. What is changed here is written there, and a provider that runs applies it at once,
/// without touching its other links. Whoever may open the provider's data folder may do this.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct PeerArgs {
    #[command(subcommand)]
    verb: PeerVerb,
}

#[derive(Subcommand, Debug)]
enum PeerVerb {
    List(list::ListArgs),
    Show(list::ShowArgs),
    Add(add::AddArgs),
    Remove(add::RemoveArgs),
    Invite(invite::InviteArgs),
    Accept(invite::AcceptArgs),
    Statement(statement::StatementArgs),
    Trace(trace::TraceArgs),
}

/// What one peer may do.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What is agreed")]
pub struct TermsArgs {
    /// What the peer is to us: mutual (everything is passed on, both ways), customer, upstream, peer, or sibling (another node of this
    /// provider) [default: mutual]
    #[arg(long, value_name = "WHAT")]
    relationship: Option<Relationship>,
    /// The most that is pushed to it: none, digest, pointers or values [default: values]
    #[arg(long, value_name = "MODE")]
    push: Option<Mode>,
    /// The most that is accepted from it [default: values]
    #[arg(long, value_name = "MODE")]
    accept: Option<Mode>,
    /// Whether its queries are answered [default: true]
    #[arg(long, value_name = "BOOL")]
    answers: Option<bool>,
    /// Whether it is asked [default: true]
    #[arg(long, value_name = "BOOL")]
    asks: Option<bool>,
}

/// What one peer may cost.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits, lists and a label")]
pub struct LimitArgs {
    /// Names that may be held here because it sent them; 0: any number
    #[arg(long, value_name = "COUNT")]
    names_max: Option<u64>,
    /// Changes taken from it in a second; 0: any number
    #[arg(long, value_name = "COUNT")]
    changes_per_second: Option<u32>,
    /// Bytes taken from it in a second; 0: any number
    #[arg(long, value_name = "COUNT")]
    bytes_per_second: Option<u64>,
    /// Its queries answered in a second; 0: any number
    #[arg(long, value_name = "COUNT")]
    queries_per_second: Option<u32>,
    /// What the two of you call the price class; it stands in statements; `none` takes it out
    #[arg(long, value_name = "LABEL")]
    price: Option<String>,
    /// A name that passes, both ways, while all that are not listed do not; repeat it for more; `none` takes the list out
    #[arg(long, value_name = "NAME", value_parser = listed)]
    only: Vec<Listed>,
    /// A name that never passes; repeat it for more; `none` takes the list out
    #[arg(long, value_name = "NAME", value_parser = listed)]
    except: Vec<Listed>,
    /// Whether records that are for some providers only pass, too [default: true]
    #[arg(long, value_name = "BOOL")]
    scoped: Option<bool>,
}

/// An entry of a list: a name, or `None` for none at all.
type Listed = Option<Name>;

/// Does what the verb says.
///
/// # Errors
/// As each verb says.
pub async fn run(args: PeerArgs) -> Outcome {
    match args.verb {
        PeerVerb::List(args) => list::list(args).await,
        PeerVerb::Show(args) => list::show(args).await,
        PeerVerb::Add(args) => add::add(args).await,
        PeerVerb::Remove(args) => add::remove(args).await,
        PeerVerb::Invite(args) => invite::invite(args).await,
        PeerVerb::Accept(args) => invite::accept(args).await,
        PeerVerb::Statement(args) => statement::statement(args).await,
        PeerVerb::Trace(args) => trace::trace(args).await,
    }
}

impl TermsArgs {
    fn change(&self) -> Change {
        Change {
            relationship: self.relationship,
            push: self.push,
            accept: self.accept,
            answers: self.answers,
            asks: self.asks,
            ..Change::default()
        }
    }
}

impl LimitArgs {
    fn fill(self, change: &mut Change) {
        let limits = [
            ("names_max", self.names_max),
            ("changes_per_second", self.changes_per_second.map(u64::from)),
            ("bytes_per_second", self.bytes_per_second),
            ("queries_per_second", self.queries_per_second.map(u64::from)),
        ];
        change.limits = limits.into_iter().filter_map(|(key, limit)| Some((key, limit?))).collect();
        change.price = self.price.map(|label| if label == NONE { String::new() } else { label });
        let list = |entries: Vec<Listed>| (!entries.is_empty()).then(|| entries.into_iter().flatten().collect());
        (change.only, change.except, change.scoped) = (list(self.only), list(self.except), self.scoped);
    }
}

/// Siblings have this provider's own name, and nobody else has.
fn check_sibling(own: &Name, peer: &Name, relationship: Option<Relationship>) -> Result<(), Failure> {
    if relationship != Some(Relationship::Sibling) || own == peer {
        return Ok(());
    }
    Err(Failure::new(
        Exit::BadInput,
        peer,
        format!("a sibling is another node of the same provider, and this one is {own}"),
    )
    .help(
        "all nodes have the same key: stop this one, put a copy of the first node's identity.key into its data folder, and start it again",
    ))
}

/// The addresses that are agreed with `peer` already.
fn addresses_of(peer: &Name, place: &Place, running: Option<&About>) -> Vec<String> {
    match running {
        Some(about) => about
            .peers
            .iter()
            .find(|view| view.name == peer.to_string())
            .map(|view| view.addresses.clone()),
        None => place
            .settings
            .peers
            .iter()
            .find(|view| view.name == *peer)
            .map(|view| view.addresses.clone()),
    }
    .unwrap_or_default()
}

/// The provider that runs in this place, if one does.
async fn running(place: &Place) -> Result<Option<About>, Failure> {
    Ok(ask(place.data(), &Request::Peers).await?.told())
}

/// The settings file that is to be edited: the one that the provider that runs reads, or will read.
fn file_of(place: &Place, running: Option<&About>) -> Result<PathBuf, Failure> {
    let Some(about) = running else {
        return Ok(place.file.clone());
    };
    let same = |one: &PathBuf| std::path::absolute(one).ok();
    if place.named && same(&place.file) != same(&about.file) {
        return Err(Failure::new(
            Exit::BadInput,
            place.file.display(),
            format!("the provider that runs with this data folder reads {}", about.file.display()),
        )
        .help("name that file with --config, or leave --config out"));
    }
    Ok(about.file.clone())
}

/// Writes the agreement with `peer`, and has a provider that runs apply it. If it will not, the file is as it was.
async fn agree(place: &Place, running: Option<&About>, peer: &Name, change: &Change) -> Result<Agreed, Failure> {
    let file = SettingsFile::read(&file_of(place, running)?)?;
    let changed = file.set(peer, change)?;
    let applied = apply(place, &file).await?;
    Ok(Agreed {
        file: file.path().to_owned(),
        changed,
        applied,
    })
}

/// What became of a change.
struct Agreed {
    file: PathBuf,
    /// Whether there was an agreement before.
    changed: bool,
    /// Whether a provider runs, and has applied it.
    applied: bool,
}

impl Agreed {
    fn when(&self) -> &'static str {
        if self.applied {
            "the provider that runs does so now"
        } else {
            "no provider runs: it holds from the next start"
        }
    }
}

/// Has a provider that runs read its settings again; whether one runs.
async fn apply(place: &Place, file: &SettingsFile) -> Result<bool, Failure> {
    match ask::<Value>(place.data(), &Request::Reload).await {
        Ok(Asked::Told(told)) => {
            if told["restart"] == true {
                output::remark("note: other settings in the file have changed too; those hold from the next start");
            }
            Ok(true)
        }
        Ok(Asked::NobodyRuns) => Ok(false),
        Err(failure) => {
            file.restore()?;
            Err(failure.help(format!("{} is as it was", file.path().display())))
        }
    }
}

/// `NAME` or `NAME@HOST:PORT`.
fn peer_and_address(typed: &str) -> Result<(Name, Option<String>), String> {
    let (name, address) = typed.split_once('@').map_or((typed, None), |(name, address)| (name, Some(address)));
    let address = address.map(address_of).transpose()?;
    Ok((bindings::flat_name(name)?, address))
}

/// `NAME`, or `none`.
fn listed(typed: &str) -> Result<Listed, String> {
    if typed == NONE {
        return Ok(None);
    }
    bindings::flat_name(typed).map(Some)
}

/// `HOST:PORT`.
fn address_of(typed: &str) -> Result<String, String> {
    if is_address(typed) {
        Ok(typed.to_owned())
    } else {
        Err(format!("`{typed}` is not HOST:PORT"))
    }
}

/// Typed where a list, or a label, is to be no more.
const NONE: &str = "none";
