//! `dialtone peer trace`: by which providers the record of a name came here.

use crate::control::{Asked, Origin, Request, ask};
use crate::exit::{Exit, Failure, Outcome};
use crate::place::PlaceArgs;
use crate::{bindings, output};
use clap::Args;
use dialtone_shared::Name;
use serde_json::json;

/// Show by which providers the record of a name came here
///
/// The nearest was seen by this provider itself; what lies behind it is what the others say, kept in memory for the records that came last. Each is
/// shown by the first letters of its name, and in full if there is an agreement with it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone peer trace yf3uyndt6tgbpduh11q6ft4ohagn3g7a97joyf6fwju1guwhsupahjnh")]
pub struct TraceArgs {
    /// The name
    #[arg(value_parser = bindings::flat_name)]
    name: Name,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Shows it.
///
/// # Errors
/// No provider runs, or it holds nothing of the name and has heard of nothing.
pub async fn trace(args: TraceArgs) -> Outcome {
    let place = args.place.find()?;
    let name = args.name.to_string();
    let request = Request::Trace { name: name.clone() };
    let Asked::Told(origin) = ask::<Origin>(place.data(), &request).await? else {
        return Err(
            Failure::new(Exit::Local, place.data().display(), "no provider runs with this data folder")
                .help("start it, or name its folder with --data"),
        );
    };
    if args.json {
        return output::json(&json!(origin));
    }
    if let Some(held) = &origin.held {
        output::line(format!("holds   {}", held.rank))?;
        output::line(format!("class   {}", held.class))?;
        if held.path.is_empty() {
            output::line(match held.class.as_str() {
                "customer" => "came    put here",
                _ => "came    from two sides: what it counts as, and how long it is kept, come from different peers",
            })?;
        }
        for (hop, provider) in held.path.iter().enumerate() {
            let label = if hop == 0 { "came" } else { "" };
            output::line(format!("{label:<8}from {provider}"))?;
        }
        let left_out = usize::from(held.hops).saturating_sub(held.path.len());
        if left_out > 0 {
            output::line(format!("        with {left_out} more before the last"))?;
        }
    }
    if let Some(pointer) = &origin.pointer {
        let label = if origin.held.is_some() { "newer" } else { "told" };
        output::line(format!("{label:<8}{}", pointer.rank))?;
        output::line(match pointer.from == pointer.keeper {
            true => format!("kept    by {}, as it says itself", pointer.keeper),
            false => format!("kept    by {}, as {} says", pointer.keeper, pointer.from),
        })?;
    }
    if origin.held.is_none() && origin.pointer.is_none() {
        return Err(
            Failure::new(Exit::Absent, name, "nothing is held of it here, and no peer has told of it")
                .help("`dialtone resolve` asks the peers that answer questions"),
        );
    }
    Ok(())
}
