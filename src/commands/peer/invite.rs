//! `dialtone peer invite` and `accept`: what two providers need to know of one another, in one line of text each way.

use super::{Agreed, LimitArgs, TermsArgs, agree, running};
use crate::agreements::Change;
use crate::control::About;
use crate::exit::{Exit, Failure, Outcome, plain};
use crate::place::{Place, PlaceArgs};
use crate::show::until;
use crate::{failures, output};
use clap::Args;
use dialtone_provider::identity;
use dialtone_shared::UnixMicros;
use dialtone_shared::invite::{Invite, Offer};
use dialtone_shared::limits::{INVITE_ADDRESSES_MAX, INVITE_BYTES_MAX};
use dialtone_shared::message::{Mode, Relationship};
use dialtone_shared::receipt::Signer;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

/// Print the line by which another provider can be asked to peer
///
/// Send it to the other operator, who gives it to `dialtone peer accept` and sends back the line that this prints; give that one to
/// `dialtone peer accept` here. Nothing is agreed before. The line is signed; it is no secret, but whoever has it can say yes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone peer invite --address provider.example:4381\n  \
                        dialtone peer invite --relationship customer --accept pointers --days 2")]
pub struct InviteArgs {
    /// Where the other one reaches us; repeat it for more [default: where this provider listens, and its siblings]
    #[arg(long = "address", value_name = "HOST:PORT", value_parser = super::address_of)]
    addresses: Vec<String>,
    /// We cannot be reached: the other one must be
    #[arg(long, conflicts_with = "addresses")]
    unreachable: bool,
    /// For how many days it can be accepted
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=365))]
    days: u64,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Accept an invitation, or the reply to one
///
/// Makes the agreement on this side, and applies it at once if the provider runs. For an invitation the reply is printed, which the other
/// side accepts in turn. A reply is taken only on the terms that were offered.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone peer accept dialtone-peer:yf3uyndt6tgb…\n  \
                        dialtone peer invite --data a | dialtone peer accept --data b | dialtone peer accept --data a")]
pub struct AcceptArgs {
    /// The line; left out or `-`: it is read from standard input
    line: Option<String>,
    /// Where the other one reaches us; repeat it for more [default: where this provider listens, and its siblings]
    #[arg(long = "address", value_name = "HOST:PORT", value_parser = super::address_of)]
    addresses: Vec<String>,
    /// We cannot be reached: the other one must be
    #[arg(long, conflicts_with = "addresses")]
    unreachable: bool,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Prints an invitation.
///
/// # Errors
/// The provider's key cannot be used; it is not known where we are reached.
pub async fn invite(args: InviteArgs) -> Outcome {
    let place = args.place.find()?;
    let running = running(&place).await?;
    let signer = signer(&place)?;
    let addresses = own_addresses(args.addresses, args.unreachable, &place, running.as_ref())?;
    let offer = Offer {
        relationship: args.terms.relationship.unwrap_or(Relationship::Mutual),
        push: args.terms.push.unwrap_or(Mode::Values),
        accept: args.terms.accept.unwrap_or(Mode::Values),
        asks: args.terms.asks.unwrap_or(true),
        answers: args.terms.answers.unwrap_or(true),
    };
    let now = now();
    let until = now.secs().plus(args.days * 86_400);
    output::line(Invite::offer(&signer, now, until, &addresses, offer))
}

/// Accepts one.
///
/// # Errors
/// The line is not an invitation, or not one for us, or too late; the settings cannot be written or used.
pub async fn accept(args: AcceptArgs) -> Outcome {
    let text = match args.line {
        Some(line) if line != "-" => line,
        Some(_) | None => standard_input()?,
    };
    let invite = Invite::parse(&text).map_err(failures::invite)?;
    let now = now();
    invite.check_time(now.secs()).map_err(failures::invite)?;
    let place = args.place.find()?;
    let running = running(&place).await?;
    let signer = signer(&place)?;
    let own = signer.name();
    if invite.from == own && invite.offer.relationship != Relationship::Sibling {
        return Err(Failure::new(Exit::BadInput, "the invitation", "this provider wrote it itself").help("give it to the other side"));
    }
    if invite.reply_to.is_some() {
        invite.check_reply(&own, &signer.secret.public()).map_err(failures::invite)?;
    }
    let offer = invite.offer;
    super::check_sibling(&own, &invite.from, Some(offer.relationship))?;
    let addresses = own_addresses(args.addresses, args.unreachable, &place, running.as_ref())?;
    if invite.addresses.is_empty() && addresses.is_empty() {
        return Err(
            Failure::new(Exit::BadInput, "the invitation", "neither side says where it can be reached")
                .help("one of the two has to listen where the other can connect: give --address HOST:PORT"),
        );
    }
    let mut known = match offer.relationship {
        // It tells of one more node; the others stay.
        Relationship::Sibling => super::addresses_of(&own, &place, running.as_ref()),
        Relationship::Mutual | Relationship::Customer | Relationship::Upstream | Relationship::Peer => Vec::new(),
    };
    known.retain(|address| !invite.addresses.contains(address));
    let mut change = Change {
        addresses: Some([known, invite.addresses.clone()].concat()),
        relationship: Some(offer.relationship),
        push: Some(offer.push),
        accept: Some(offer.accept),
        answers: Some(offer.answers),
        asks: Some(offer.asks),
        ..Change::default()
    };
    args.limits.fill(&mut change);
    let agreed = agree(&place, running.as_ref(), &invite.from, &change).await?;
    let says = said(&invite, &agreed);
    if invite.reply_to.is_some() {
        return output::line(says);
    }
    output::remark(says);
    output::remark(format!(
        "the other side is to accept this line in turn, by {}:",
        until(invite.until, now.secs())
    ));
    output::line(invite.reply(&signer, now, &addresses))
}

/// What was agreed, in words.
fn said(invite: &Invite, agreed: &Agreed) -> String {
    let not = |yes: bool| if yes { "" } else { "not " };
    let offer = &invite.offer;
    format!(
        "{}: {} is {} to us; we push {}, accept {}, do {}ask it, do {}answer it; {}",
        agreed.file.display(),
        invite.from,
        offer.relationship,
        offer.push,
        offer.accept,
        not(offer.asks),
        not(offer.answers),
        agreed.when()
    )
}

/// The provider's own key; made, as at its first start, if it has none, which is said: whoever is in the wrong folder should see it.
pub(super) fn signer(place: &Place) -> Result<Signer, Failure> {
    match &place.settings.identity.key {
        Some(path) => identity::open(path, false),
        None => {
            std::fs::create_dir_all(place.data()).map_err(|error| Failure::file(place.data(), &error))?;
            let path = place.data().join("identity.key");
            let is_there = path.exists();
            let signer = identity::open(&path, true);
            if let (Ok(signer), false) = (&signer, is_there) {
                output::remark(format!(
                    "made     {}, the key of a new provider, {}: none was there. Meant another? Name its folder with --data. Start this one with \
                     `dialtone provider --data {}`",
                    path.display(),
                    signer.name(),
                    place.data().display()
                ));
            }
            signer
        }
    }
    .map_err(failures::identity)
}

/// Where the other one reaches us.
fn own_addresses(given: Vec<String>, unreachable: bool, place: &Place, running: Option<&About>) -> Result<Vec<String>, Failure> {
    if unreachable {
        return Ok(Vec::new());
    }
    if given.len() > INVITE_ADDRESSES_MAX {
        return Err(Failure::new(
            Exit::BadInput,
            "--address",
            format!("an invitation has at most {INVITE_ADDRESSES_MAX}"),
        ));
    }
    if !given.is_empty() {
        return Ok(given);
    }
    let listens = running.and_then(|about| about.peering).unwrap_or(place.settings.peering.listen);
    let say = "say where the other side reaches us with --address HOST:PORT, or that it cannot with --unreachable";
    if listens.ip().is_unspecified() {
        return Err(Failure::new(
            Exit::BadInput,
            listens,
            "peers connect to any address of this machine, and which one the other side reaches is not known",
        )
        .help(say));
    }
    if listens.port() == 0 {
        return Err(Failure::new(
            Exit::BadInput,
            listens,
            "the port is chosen when the provider starts, and it does not run",
        )
        .help("start it first")
        .help(say));
    }
    if listens.ip().is_loopback() {
        output::remark(format!("note: {listens} is reached from this machine only"));
    }
    // Whoever reaches one node of a provider is to know all.
    let own = signer(place)?.name();
    let mut addresses = vec![listens.to_string()];
    addresses.extend(super::addresses_of(&own, place, running));
    addresses.sort();
    addresses.dedup();
    addresses.truncate(INVITE_ADDRESSES_MAX);
    Ok(addresses)
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(4 * INVITE_BYTES_MAX as u64).read_to_string(&mut text);
    read.map_err(|error| Failure::new(Exit::BadInput, "standard input", plain(&error)))?;
    if text.trim().is_empty() {
        return Err(
            Failure::new(Exit::BadInput, "standard input", "nothing was given").help("give the line that `dialtone peer invite` printed")
        );
    }
    Ok(text)
}

fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMicros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
