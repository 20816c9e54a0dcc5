//! `dialtone peer add` and `remove`: an agreement in the settings file, and in the provider that runs.

use super::invite::signer;
use super::{LimitArgs, TermsArgs, agree, apply, file_of, peer_and_address, running};
use crate::agreements::SettingsFile;
use crate::exit::{Exit, Failure, Outcome};
use crate::place::PlaceArgs;
use crate::{bindings, output};
use clap::Args;
use dialtone_shared::Name;
use dialtone_shared::message::Relationship;

/// Make an agreement with another provider, or change one
///
/// What is left out stays as it is, or at its default; a list that is given replaces the one that was. The other side needs an agreement of its own; `dialtone peer invite` makes both in
/// one go.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone peer add yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh@192.0.2.1:4381 --relationship upstream\n  \
                        dialtone peer add yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh --push pointers --names-max 100000\n  \
                        dialtone peer add OWN-NAME@node1.example:4381 --address node2.example:4381 --relationship sibling"
)]
pub struct AddArgs {
    /// The peer's name, and where it listens unless it connects to us
    #[arg(value_name = "NAME[@HOST:PORT]", value_parser = peer_and_address)]
    peer: (Name, Option<String>),
    /// Another address of it; repeat it for more
    #[arg(long = "address", value_name = "HOST:PORT", value_parser = super::address_of)]
    addresses: Vec<String>,
    /// It cannot be reached: it connects to us
    #[arg(long, conflicts_with = "addresses")]
    unreachable: bool,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// End the agreement with another provider
///
/// Its link is closed. What it brought is kept as long as it was promised to be.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone peer remove yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh")]
pub struct RemoveArgs {
    /// The peer's name
    #[arg(value_parser = bindings::flat_name)]
    peer: Name,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Makes or changes an agreement.
///
/// # Errors
/// The settings cannot be read, written or used.
pub async fn add(args: AddArgs) -> Outcome {
    let place = args.place.find()?;
    let running = running(&place).await?;
    let (peer, first) = args.peer;
    if args.unreachable && first.is_some() {
        return Err(Failure::new(Exit::BadInput, "--unreachable", "an address is given beside the name").help("leave out one of the two"));
    }
    if args.terms.relationship == Some(Relationship::Sibling) {
        super::check_sibling(&signer(&place)?.name(), &peer, args.terms.relationship)?;
    }
    let addresses: Vec<String> = first.into_iter().chain(args.addresses).collect();
    let mut change = args.terms.change();
    change.addresses = (args.unreachable || !addresses.is_empty()).then_some(addresses);
    args.limits.fill(&mut change);
    let agreed = agree(&place, running.as_ref(), &peer, &change).await?;
    let done = if agreed.changed { "changed" } else { "made" };
    output::line(format!(
        "{}: the agreement with {peer} is {done}; {}",
        agreed.file.display(),
        agreed.when()
    ))
}

/// Ends an agreement.
///
/// # Errors
/// There is none; the settings cannot be read, written or used.
pub async fn remove(args: RemoveArgs) -> Outcome {
    let place = args.place.find()?;
    let running = running(&place).await?;
    let peer = args.peer;
    let file = SettingsFile::read(&file_of(&place, running.as_ref())?)?;
    if !file.remove(&peer)? {
        let lives = running.is_some_and(|about| about.peers.iter().any(|view| view.name == peer.to_string()));
        let failure = Failure::new(Exit::Absent, peer, format!("{} has no agreement with it", file.path().display()));
        return Err(if lives {
            failure.help("it was given with --peer when the provider was started: start it again without")
        } else {
            failure.help("`dialtone peer list` shows those that there are")
        });
    }
    let when = if apply(&place, &file).await? {
        "its link is closed"
    } else {
        "no provider runs: it holds from the next start"
    };
    output::line(format!("{}: the agreement with {peer} is removed; {when}", file.path().display()))
}
