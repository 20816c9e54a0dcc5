//! `dialtone peer statement`: what a peer says crossed the link, under its signature, and where our books differ.

use crate::control::{Asked, Request, ask};
use crate::exit::{Exit, Failure, Outcome};
use crate::place::{Place, PlaceArgs};
use crate::{bindings, output};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use dialtone_provider::accounting::books::STATEMENT_HOURS_MAX;
use dialtone_shared::statement::{Category, Comparison, Crossed, Statement, Way, compare};
use dialtone_shared::{Name, UnixSecs};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Fetch what a peer says crossed the link, signed, and compare it with our books
///
/// Books are kept by the hour for 40 days, and by the day for 400. With --compare it leaves with status 7 where the two differ by more than
/// honest sides do: 1 in 100, and always 256 (256 KiB of bytes).
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone peer statement yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh --compare\n  \
                        dialtone peer statement yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh --hours 720 --save october"
)]
pub struct StatementArgs {
    /// The peer's name
    #[arg(value_parser = bindings::flat_name)]
    peer: Name,
    /// How many hours back, the present one counted
    #[arg(long, value_name = "COUNT", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=STATEMENT_HOURS_MAX as i64))]
    hours: u32,
    /// Show where the two sides differ
    #[arg(long)]
    compare: bool,
    /// The peer's statement, as it was saved, rather than what it says now
    #[arg(long, value_name = "FILE", conflicts_with = "hours")]
    theirs: Option<PathBuf>,
    /// Write what the peer signed into a new file: evidence that anyone can check
    #[arg(long, value_name = "FILE", conflicts_with = "theirs")]
    save: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Shows it.
///
/// # Errors
/// No provider runs, or no link with the peer stands; what it gave proves nothing; the two sides differ.
pub async fn statement(args: StatementArgs) -> Outcome {
    let place = args.place.find()?;
    let signed = match &args.theirs {
        Some(file) => saved(file)?,
        None => {
            let end = hour_now() + 1;
            fetch(&place, &args.peer, true, (end.saturating_sub(u64::from(args.hours)), end)).await?
        }
    };
    let theirs = joined(&signed, &args.peer)?;
    if theirs.provider != args.peer {
        return Err(Failure::new(
            Exit::Unverified,
            args.peer,
            format!("this statement is signed by {}", theirs.provider),
        ));
    }
    if let Some(file) = &args.save {
        save(file, &signed)?;
    }
    if !args.compare {
        return if args.json { output::json(&told(&theirs)) } else { table(&theirs) };
    }
    let ours = fetch(&place, &args.peer, false, (theirs.first, theirs.end)).await?;
    let ours = joined(&ours, &args.peer)?;
    let found = compare(&ours, &theirs).map_err(|error| Failure::new(Exit::Unverified, args.peer, error))?;
    if args.json {
        output::json(
            &json!({ "ours": told(&ours), "theirs": told(&theirs), "agrees": found.agrees(), "differences": differences(&found) }),
        )?;
    } else {
        both_sides(&found)?;
    }
    if found.agrees() {
        Ok(())
    } else {
        Err(Failure::already_said(Exit::Unverified))
    }
}

/// All that one side says of these hours, newest first: as many statements as it takes.
async fn fetch(place: &Place, peer: &Name, of_peer: bool, (first, end): (u64, u64)) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut parts, mut until) = (Vec::new(), end);
    while first < until && parts.len() < PARTS_MAX {
        let request = Request::Statement {
            peer: peer.to_string(),
            of_peer,
            first,
            hours: u32::try_from(until - first).unwrap_or(u32::MAX),
        };
        let Asked::Told(text) = ask::<String>(place.data(), &request).await? else {
            return Err(
                Failure::new(Exit::Network, place.data().display(), "no provider runs with this data folder")
                    .help("start it: only a provider that runs can ask its peers, and read its books"),
            );
        };
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| Failure::new(Exit::Bug, "the provider", format!("gave no statement: {error}")))?;
        let begins = joined(std::slice::from_ref(&bytes), peer)?.first;
        parts.push(bytes);
        if begins >= until {
            break;
        }
        until = begins;
    }
    Ok(parts)
}

/// The statement that these parts make.
fn joined(parts: &[Vec<u8>], peer: &Name) -> Result<Statement, Failure> {
    let parts: Vec<Statement> = parts
        .iter()
        .map(|bytes| Statement::verify(bytes))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(Exit::Unverified, peer, format!("its statement proves nothing: {error}")))?;
    Statement::join(parts).ok_or_else(|| Failure::new(Exit::Unverified, peer, "its statements do not go on where one another end"))
}

/// A statement that was saved: a line of Base64 for each part.
fn saved(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
    let parts: Result<Vec<_>, _> = text.lines().take(PARTS_MAX).map(|line| STANDARD.decode(line.trim())).collect();
    parts.map_err(|error| {
        Failure::new(
            Exit::BadInput,
            file.display(),
            format!("not a statement as --save writes it: {error}"),
        )
    })
}

fn save(file: &Path, parts: &[Vec<u8>]) -> Outcome {
    let lines: String = parts.iter().map(|part| STANDARD.encode(part) + "\n").collect();
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        std::io::Write::write_all(&mut options.write(true).create_new(true).open(file)?, lines.as_bytes())
    };
    write().map_err(|error| Failure::file(file, &error))
}

fn told(said: &Statement) -> Value {
    let amounts = |crossed: &Crossed| -> Value {
        let line = |category: Category| {
            let [given, taken] = Way::BOTH.map(|way| crossed.of(category, way));
            (category.word().to_owned(), json!({ "given": given, "taken": taken }))
        };
        Category::ALL.into_iter().map(line).collect::<serde_json::Map<_, _>>().into()
    };
    let rows: Vec<Value> = said
        .rows
        .iter()
        .map(|row| {
            json!({ "from": hour(row.start), "hours": row.hours, "price": row.price, "held": row.held, "crossed": amounts(&row.crossed) })
        })
        .collect();
    json!({
        "provider": said.provider.to_string(), "peer": said.peer.to_string(), "time": said.time.secs().to_string(),
        "from": hour(said.first), "to": hour(said.end), "total": amounts(&said.total()), "rows": rows,
    })
}

fn differences(found: &Comparison) -> Vec<Value> {
    let difference = |found: &dialtone_shared::statement::Difference| {
        json!({
            "from": hour(found.start), "hours": found.hours, "what": found.category.word(), "way": found.way.word(),
            "ours": found.ours, "theirs": found.theirs, "open": found.open,
        })
    };
    found.differences.iter().map(difference).collect()
}

fn table(said: &Statement) -> Outcome {
    output::line(format!(
        "{} says of its link with {}, from {} to {}:",
        said.provider,
        said.peer,
        hour(said.first),
        hour(said.end)
    ))?;
    output::line(format!("{:<10}{:>16}{:>16}", "", "it gave", "it took"))?;
    let total = said.total();
    for category in Category::ALL {
        let [given, taken] = Way::BOTH.map(|way| total.of(category, way));
        output::line(format!("{:<10}{given:>16}{taken:>16}", category.word()))?;
    }
    let held = said.rows.last().map_or(0, |row| row.held);
    output::line(format!("it holds {held} records from us, as it last counted"))
}

fn both_sides(found: &Comparison) -> Outcome {
    output::line(format!("from {} to {}:", hour(found.first), hour(found.end)))?;
    output::line(format!("{:<10}{:>32}{:>32}", "", "we gave", "we took"))?;
    output::line(format!(
        "{:<10}{:>16}{:>16}{:>16}{:>16}",
        "", "we say", "it says", "we say", "it says"
    ))?;
    for category in Category::ALL {
        let [given, taken] = Way::BOTH.map(|way| (found.ours.of(category, way), found.theirs.of(category, way)));
        output::line(format!(
            "{:<10}{:>16}{:>16}{:>16}{:>16}",
            category.word(),
            given.0,
            given.1,
            taken.0,
            taken.1
        ))?;
    }
    if let Some([ours, theirs]) = &found.prices {
        output::line(format!(
            "price classes: we say [{}], it says [{}]",
            ours.join(", "),
            theirs.join(", ")
        ))?;
    }
    for difference in &found.differences {
        let open = if difference.open { " (that time was not over)" } else { "" };
        output::line(format!(
            "differs: {} {} in {} h from {}: we say {}, it says {}{open}",
            difference.category.word(),
            difference.way.word(),
            difference.hours,
            hour(difference.start),
            difference.ours,
            difference.theirs
        ))?;
    }
    if found.agrees() {
        output::line("the two sides agree")
    } else {
        output::line(format!("the two sides differ in {} places", found.differences.len()))
    }
}

/// An hour as people read it.
fn hour(hour: u64) -> String {
    UnixSecs(hour.saturating_mul(3_600)).to_string()
}

fn hour_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 3_600
}

/// Statements that one side gives at most for all that is kept: the most rows over the rows of one, with room to spare.
const PARTS_MAX: usize = 64;
