//! `dialtone peer list` and `show`: every agreement, and how its link is.

use super::running;
use crate::control::{ModeView, NodeView, PeerView};
use crate::exit::{Exit, Failure, Outcome};
use crate::place::{Place, PlaceArgs};
use crate::show::printable;
use crate::{bindings, output};
use clap::Args;
use dialtone_provider::settings::PeerSettings;
use dialtone_shared::Name;
use serde_json::json;

/// List the agreements, and how their links are
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone peer list\n  dialtone peer list --data /var/lib/dialtone --json")]
pub struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Show one agreement, both sides' view of it, and its link
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone peer show yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh")]
pub struct ShowArgs {
    /// The peer's name
    #[arg(value_parser = bindings::flat_name)]
    peer: Name,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Lists them: a table, and below it what somebody should look at.
///
/// # Errors
/// The settings or the provider cannot be read.
pub async fn list(args: ListArgs) -> Outcome {
    let place = args.place.find()?;
    let (peers, runs) = peers(&place).await?;
    if args.json {
        return output::json(&json!({ "running": runs, "peers": peers }));
    }
    if !runs {
        output::remark(
            "no provider that can be asked runs with this data folder (what `dialtone up` runs cannot): this is what its settings say",
        );
    }
    if peers.is_empty() {
        return output::line("no agreements: `dialtone peer invite` asks another provider to peer");
    }
    let head = ["PEER", "IT IS", "LINK", "WE PUSH", "IT PUSHES", "LAG"].map(str::to_owned);
    let mut rows = vec![head];
    for peer in &peers {
        rows.push(row(peer));
        rows.extend(nodes(peer).iter().map(node_row));
    }
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        output::line(cells.join("  ").trim_end())?;
    }
    for peer in &peers {
        for remark in remarks(peer) {
            output::line(format!("{}: {remark}", peer.name))?;
        }
    }
    Ok(())
}

/// Shows one.
///
/// # Errors
/// There is no such agreement; the settings or the provider cannot be read.
pub async fn show(args: ShowArgs) -> Outcome {
    let place = args.place.find()?;
    let wanted = args.peer.to_string();
    let (peers, _) = peers(&place).await?;
    let peer = peers.into_iter().find(|peer| peer.name == wanted).ok_or_else(|| {
        Failure::new(Exit::Absent, &wanted, "there is no agreement with it").help("`dialtone peer list` shows those that there are")
    })?;
    if args.json {
        return output::json(&json!(peer));
    }
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let list = |list: &[String]| {
        if list.is_empty() {
            "none: it connects to us".to_owned()
        } else {
            list.join(", ")
        }
    };
    let answered = peer.is_answered.map_or("unknown: no link stands", yes);
    for (what, value) in [
        ("peer", peer.name.clone()),
        ("it is", peer.relationship.clone()),
        ("addresses", list(&peer.addresses)),
        ("link", link(&peer)),
        ("we push", both(&peer.push, "it accepts")),
        ("it pushes", both(&peer.accept, "it pushes")),
        ("we answer it", yes(peer.answers).to_owned()),
        ("it answers us", format!("{answered}; we ask it: {}", yes(peer.asks))),
        ("price class", peer.price.clone().unwrap_or_else(|| "none".to_owned())),
        ("lists", lists(&peer)),
        (
            "behind",
            format!(
                "{} positions; it has all: {}; we have all: {}",
                peer.lag,
                yes(peer.sent_all),
                yes(peer.received_all)
            ),
        ),
        ("sent", format!("{} records, {} bytes", peer.records_sent, peer.bytes_sent)),
        (
            "received",
            format!(
                "{} records, {} bytes, {} refused",
                peer.records_received, peer.bytes_received, peer.refused
            ),
        ),
        ("links so far", peer.links.to_string()),
        (
            if peer.state == "up" { "error before" } else { "last error" },
            peer.last_error.as_deref().map_or_else(|| "none".to_owned(), printable),
        ),
    ] {
        output::line(format!("{what:<14}{value}"))?;
    }
    for node in nodes(&peer) {
        let what = node
            .node
            .as_deref()
            .map_or_else(|| "no node".to_owned(), |name| format!("node {name}"));
        let how = match &node.last_error {
            Some(error) => printable(error),
            None => format!(
                "behind {}; it has all: {}; we have all: {}",
                node.lag,
                yes(node.sent_all),
                yes(node.received_all)
            ),
        };
        output::line(format!("{what:<22}{} {}; {how}", node.state, node.address))?;
    }
    Ok(())
}

/// All agreements: of the provider that runs, or else of the settings. Whether one runs.
async fn peers(place: &Place) -> Result<(Vec<PeerView>, bool), Failure> {
    Ok(match running(place).await? {
        Some(about) => (about.peers, true),
        None => (place.settings.peers.iter().map(stopped).collect(), false),
    })
}

fn stopped(peer: &PeerSettings) -> PeerView {
    let mode = |mode: dialtone_shared::message::Mode| ModeView {
        ours: mode.to_string(),
        theirs: None,
        holds: None,
    };
    PeerView {
        name: peer.name.to_string(),
        relationship: peer.relationship.to_string(),
        addresses: peer.addresses.clone(),
        state: "not running".to_owned(),
        address: None,
        push: mode(peer.push),
        accept: mode(peer.accept),
        answers: peer.answers,
        is_answered: None,
        asks: peer.asks,
        price: peer.price.clone(),
        filter: peer.agreement().filter.mark(),
        their_filter: None,
        lag: 0,
        sent_all: false,
        received_all: false,
        last_error: None,
        cause: None,
        records_sent: 0,
        records_received: 0,
        bytes_sent: 0,
        bytes_received: 0,
        refused: 0,
        links: 0,
        nodes: Vec::new(),
    }
}

fn row(peer: &PeerView) -> [String; COLUMNS] {
    let mode = |mode: &ModeView| match &mode.holds {
        Some(holds) if mode.is_shut() => format!("{holds} (!)"),
        Some(holds) => holds.clone(),
        None => format!("({})", mode.ours),
    };
    let lag = if peer.state == "up" { peer.lag.to_string() } else { "-".to_owned() };
    [
        peer.name.clone(),
        peer.relationship.clone(),
        link(peer),
        mode(&peer.push),
        mode(&peer.accept),
        lag,
    ]
}

/// The nodes of a peer that has several, or whose only one is not reached everywhere.
fn nodes(peer: &PeerView) -> &[NodeView] {
    if peer.nodes.len() > 1 { &peer.nodes } else { &[] }
}

fn node_row(node: &NodeView) -> [String; COLUMNS] {
    let name = node
        .node
        .as_deref()
        .map_or_else(|| "  no node reached".to_owned(), |name| format!("  node {name}"));
    let lag = if node.state == "up" { node.lag.to_string() } else { "-".to_owned() };
    let link = format!("{} {}", node.state, node.address);
    [name, String::new(), link, String::new(), String::new(), lag]
}

/// What somebody should look at.
fn remarks(peer: &PeerView) -> Vec<String> {
    let mut remarks = Vec::new();
    if let (true, Some(theirs)) = (peer.push.is_shut(), &peer.push.theirs) {
        remarks.push(format!("we would push {}, it accepts {theirs}: the lesser holds", peer.push.ours));
    }
    if let (true, Some(theirs)) = (peer.accept.is_shut(), &peer.accept.theirs) {
        remarks.push(format!("it would push {theirs}, we accept {}: the lesser holds", peer.accept.ours));
    }
    // What went wrong before the link that stands now is history: `peer show` and the log have it.
    let is_well = peer.state == "up" && peer.nodes.iter().all(|node| node.state == "up");
    if let Some(error) = peer.last_error.as_ref().filter(|_| !is_well) {
        remarks.push(format!("{} (`dialtone doctor` says what to do)", printable(error)));
    }
    remarks
}

fn link(peer: &PeerView) -> String {
    let (up, all) = (peer.nodes.iter().filter(|node| node.state == "up").count(), peer.nodes.len());
    match &peer.address {
        Some(_) if all > 1 => format!("{up} of {all} up"),
        Some(address) => format!("{} {address}", peer.state),
        None => peer.state.clone(),
    }
}

/// Whether names are shut out, and by whom.
fn lists(peer: &PeerView) -> String {
    let ours = if peer.filter == 0 {
        "everything passes by ours"
    } else {
        "ours let some names pass only"
    };
    let theirs = match peer.their_filter {
        None => "theirs are unknown: no link stands",
        Some(0) => "everything by theirs",
        Some(theirs) if theirs == peer.filter => "theirs are the same",
        Some(_) => "theirs are others",
    };
    format!("{ours}; {theirs}")
}

fn both(mode: &ModeView, it: &str) -> String {
    match (&mode.holds, &mode.theirs) {
        (Some(holds), Some(theirs)) => format!("{holds} (we allow {}, {it} {theirs})", mode.ours),
        _ => format!("{} allowed; no link stands", mode.ours),
    }
}

/// Of the table.
const COLUMNS: usize = 6;
