//! `dialtone alias`: petnames, what a person calls a name, in the map file that `resolve` and the frontend read.

use crate::bindings;
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{output, petnames};
use clap::Args;
use dialtone_resolver::dns::aliases::{with_alias, without_alias};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Call a name by a name of your own
///
/// A petname holds on this machine: `dialtone resolve` takes it, and so does a frontend with the same map file, as a
/// DNS name of any form (`home`, `www.home`, `shop.example`), with a TTL of 10 s at most, whatever the record says: a change of the map
/// is then seen soon by those who asked before.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone alias home yg5tyqpz9wxdht84k43xh8a4ncn3fg7jmnp36bryw8jq6ed5u9x9mtei\n  dialtone alias --list\n  dialtone alias --remove home"
)]
pub struct AliasArgs {
    /// What you call it
    #[arg(required_unless_present_any = ["list", "remove"])]
    alias: Option<String>,
    /// What it stands for: a name in any of its forms
    #[arg(required_unless_present_any = ["list", "remove"], value_parser = bindings::flat_name)]
    name: Option<dialtone_shared::Name>,
    /// Print the petnames there are
    #[arg(long, conflicts_with_all = ["alias", "name", "remove"])]
    list: bool,
    /// Forget this petname
    #[arg(long, value_name = "ALIAS", conflicts_with_all = ["alias", "name"])]
    remove: Option<String>,
    /// The map file [env: DIALTONE_MAP] [default: ~/.config/dialtone/names]
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// With --list: print one JSON object
    #[arg(long, requires = "list")]
    json: bool,
}

/// Edits or lists the map.
///
/// # Errors
/// The map cannot be read or written, a line of it is wrong, or there is no such petname.
pub fn run(args: AliasArgs) -> Outcome {
    let asked = ClientArgs {
        map: args.map,
        ..ClientArgs::default()
    };
    let map = Client::load(&asked)?.map.value;
    if let Some(alias) = args.remove {
        return match without_alias(&petnames::read(&map)?, &alias).map_err(|error| petnames::wrong(&map, &error))? {
            Some(text) => petnames::write(&map, &text),
            None => Err(
                Failure::new(Exit::Absent, format!("`{alias}`"), format!("not in {}", map.display()))
                    .help("`dialtone alias --list` shows what there is"),
            ),
        };
    }
    if let (Some(alias), Some(name)) = (args.alias, args.name) {
        let text = with_alias(&petnames::read(&map)?, &alias, &name).map_err(|error| petnames::wrong(&map, &error))?;
        return petnames::write(&map, &text);
    }
    let aliases = petnames::load(&map)?;
    if args.json {
        let all: Map<String, Value> = aliases.iter().map(|(alias, name)| (alias, name.to_string().into())).collect();
        return output::json(&Value::Object(all));
    }
    aliases
        .iter()
        .try_for_each(|(alias, name)| output::line(format!("{alias}  {name}")))
}
