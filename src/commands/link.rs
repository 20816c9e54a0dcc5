//! `dialtone link`: the record by which a domain's owner links it to a flat name, and whether it is there.

use crate::bindings;
use crate::exit::{Exit, Failure, Outcome};
use crate::output;
use clap::Args;
use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::links::{Link, owner, text_of};
use dialtone_resolver::io::links::Links;
use dialtone_resolver::io::upstream::Upstream;
use dialtone_shared::Name;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};

/// Link a domain of yours to a name
///
/// Prints the TXT record to add to the domain's zone, then asks a resolver whether it is there. A frontend that follows links
/// (`dialtone dns --links`) answers for the domain, and for what the name has below itself, from the name.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone link example.com yg5tyqpz9wxdht84k43xh8a4ncn3fg7jmnp36bryw8jq6ed5u9x9mtei\n  dialtone link example.com yg5tyqpz9wxdht84k43xh8a4ncn3fg7jmnp36bryw8jq6ed5u9x9mtei --resolver 192.0.2.53:53"
)]
pub struct LinkArgs {
    /// The domain
    domain: String,
    /// What it is linked to: a name in any of its forms
    #[arg(value_parser = bindings::flat_name)]
    name: Name,
    /// The resolver to ask [default: the first of /etc/resolv.conf]
    #[arg(long, value_name = "ADDR:PORT")]
    resolver: Option<SocketAddr>,
    /// Print the record alone, and ask nobody
    #[arg(long, conflicts_with = "resolver")]
    print_only: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the record, then looks for it.
///
/// # Errors
/// It is not there yet, is another, or nobody answered.
pub async fn run(args: LinkArgs) -> Outcome {
    let bad = |reason: &dyn std::fmt::Display| Failure::new(Exit::BadInput, format!("domain `{}`", args.domain), reason);
    let domain = Domain::from_text(args.domain.trim_end_matches('.'))
        .map_err(|error| bad(&error))?
        .to_lower();
    let at = owner(&domain).ok_or_else(|| bad(&"too long for a link below it"))?;
    if domain.labels().count() < 2 {
        return Err(bad(&"a link is looked for at domains of two labels and more"));
    }
    let record = format!(
        "{}. {TTL_SECS} IN TXT \"{}\"",
        at.to_string().trim_end_matches('.'),
        text_of(&args.name)
    );
    if !args.json {
        output::line(&record)?;
    }
    if args.print_only {
        return if args.json {
            output::json(&json!({ "record": record }))
        } else {
            Ok(())
        };
    }
    let resolver = match args.resolver {
        Some(resolver) => resolver,
        None => system_resolver().ok_or_else(|| {
            Failure::new(Exit::Settings, "/etc/resolv.conf", "no nameserver in it").help("name a resolver with --resolver")
        })?,
    };
    let upstream = Upstream::new(vec![resolver.into()], None).map_err(|error| Failure::new(Exit::Network, resolver, error))?;
    let found = Links::new(upstream, None).at(domain).await;
    let found =
        found.ok_or_else(|| Failure::new(Exit::Network, resolver, "no answer that helps").help("name another resolver with --resolver"))?;
    if args.json {
        let there = found.link == Link::To(args.name);
        output::json(&json!({ "record": record, "there": there, "signed": found.signed }))?;
    }
    let missing = |exit, reason: String| Err(Failure::new(exit, &at, reason).help(format!("add to the zone: {record}")));
    match found.link {
        Link::To(name) if name == args.name && args.json => Ok(()),
        Link::To(name) if name == args.name && found.signed => {
            output::line("it is there, and signed: every frontend that follows links finds it")
        }
        Link::To(name) if name == args.name => output::line(
            "it is there, and not signed: only frontends that follow any link use it (sign the zone with DNSSEC for the others)",
        ),
        Link::To(other) => missing(Exit::Unverified, format!("links to another name, {other}")),
        Link::Broken(why) => missing(Exit::Unverified, why),
        Link::None => missing(Exit::Absent, format!("the record is not there yet, says {resolver}")),
    }
}

/// The first name server of the system.
fn system_resolver() -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let address = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    })?;
    Some(SocketAddr::new(address, 53))
}

/// How long the record may be kept, in seconds: an hour, as long as a frontend believes it at most.
const TTL_SECS: u32 = 3_600;
