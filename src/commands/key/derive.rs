//! `dialtone key derive`: another name of the same keys, told apart by its salt.

use super::announce;
use crate::bindings::{self, Salt};
use crate::exit::Outcome;
use crate::{failures, output};
use clap::Args;
use dialtone_resolver::io::key_files;
use serde_json::json;
use std::path::PathBuf;

/// Make another name of the same keys
///
/// Names of one key are told apart by a salt (SFR): who has the key has all of them, and nobody sees from one that there are others, unless both are
/// published. The new name is rotated by the same links: `dialtone key rotate NEW.key --link OLD.offline/link-01.key`. Without NEW
/// it is only said what the name is.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone key derive alice.key shop.key --salt shop\n  dialtone key derive alice.pub --salt shop\n  \
                        dialtone publish --key shop.key --service https:tcp:443"
)]
pub struct DeriveArgs {
    /// The private file of the name that there is; without NEW, the public one will do
    file: PathBuf,
    /// Where the private key of the new name goes; its public file goes beside it
    new: Option<PathBuf>,
    /// What tells the names apart: text, or 0x and hexadecimal digits
    #[arg(long, value_name = "SALT", value_parser = bindings::salt)]
    salt: Salt,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Derives it.
///
/// # Errors
/// The key's files cannot be read; something is in the way.
pub fn run(args: &DeriveArgs) -> Outcome {
    let Some(new) = &args.new else {
        let public = key_files::load_public(&args.file).map_err(failures::key_file)?;
        let name = public
            .derived(&args.salt.0)
            .map_err(|error| failures::key_file(error.into()))?
            .name();
        return match args.json {
            true => output::json(&json!({ "name": name.to_string(), "uri": name.to_uri() })),
            false => output::line(name),
        };
    };
    let (paths, public) = key_files::derive(&args.file, new, &args.salt.0).map_err(failures::key_file)?;
    announce(&paths, &public, args.json)
}
