//! `dialtone dns key`: the keys that sign the origin, made, shown and rolled.

use crate::commands::dns::domain;
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::signing::ShownKey;
use dialtone_resolver::io::zone_keys::{FileKey, read_keys, write_keys};
use dialtone_resolver::keyfile::to_hex;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Make, show or roll the keys that sign the origin
///
/// Prints what the parent of the origin has to say of each key (DS), and the key itself (DNSKEY). FILE is made if it is not there (mode 0600); a
/// frontend signs with it by `signing_key` in its settings, and reads it again when it changes. The first key in it signs; the others are shown beside it.
/// To roll: --add, then add the new key's DS at the parent, and wait for a day; --first TAG, and wait for a day; --drop the old TAG and its DS.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone dns key origin.pem --origin names.example\n  dialtone dns key origin.pem --origin names.example --add\n  \
                        dialtone dns key origin.pem --origin names.example --first 12345"
)]
pub struct KeyArgs {
    /// The file of the keys
    file: PathBuf,
    /// The domain that is signed: the `origin` of the frontend
    #[arg(long, value_name = "DOMAIN")]
    origin: String,
    /// Add another key, after those that there are
    #[arg(long, group = "change")]
    add: bool,
    /// Sign with the key of this tag from now on
    #[arg(long, value_name = "TAG", group = "change")]
    first: Option<u16>,
    /// Take the key of this tag away; the last one stays
    #[arg(long, value_name = "TAG", group = "change")]
    drop: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Makes, changes and prints them.
///
/// # Errors
/// The file cannot be used, or has no key of that tag.
pub fn run(args: KeyArgs) -> Outcome {
    let origin = domain(&args.origin)?;
    let file = &args.file;
    let is_there = file.symlink_metadata().is_ok();
    let unknown = |tag: u16| {
        Failure::new(Exit::BadInput, file.display(), format!("no key in it has the tag {tag}")).help("without a flag its keys are shown")
    };
    let keys = match is_there {
        true => read_keys(file).map_err(failures::zone_keys)?,
        false => Vec::new(),
    };
    let place_of = |tag: u16| keys.iter().position(|key| key.shown().tag() == tag).ok_or_else(|| unknown(tag));
    let change = match (args.first, args.drop) {
        (Some(tag), _) => Some((place_of(tag)?, true)),
        (None, Some(tag)) => Some((place_of(tag)?, false)),
        (None, None) => None,
    };
    let mut keys = keys;
    let changes = args.add || change.is_some() || !is_there;
    if args.add || !is_there {
        keys.push(FileKey::new().map_err(failures::zone_keys)?);
    }
    if let Some((place, stays)) = change {
        let key = keys.remove(place);
        if stays {
            keys.insert(0, key);
        } else if keys.is_empty() {
            return Err(
                Failure::new(Exit::BadInput, file.display(), "its only key is not taken away").help("add another first, with --add")
            );
        }
    }
    if changes {
        keys = write_keys(file, keys, !is_there).map_err(failures::zone_keys)?;
    }
    let shown: Vec<ShownKey> = keys.iter().map(FileKey::shown).collect();
    match args.json {
        true => {
            output::json(&json!({ "origin": origin.to_string(), "keys": shown.iter().map(|key| object(key, &origin)).collect::<Vec<_>>() }))
        }
        false => output::text(zone_file(&shown, &origin)),
    }
}

/// Lines of a zone file: a validator may take them as its trust anchor as they are.
fn zone_file(keys: &[ShownKey], origin: &Domain) -> String {
    let mut text = String::new();
    for (nth, key) in keys.iter().enumerate() {
        let signs = if nth == 0 { "signs" } else { "is shown, and signs the keys" };
        text += &format!("; the key {} {signs}\n", key.tag());
        text += &format!("{origin}. 3600 IN DS {}\n", ds(key, origin));
        text += &format!("{origin}. 3600 IN DNSKEY {}\n", dnskey(key));
    }
    text
}

fn object(key: &ShownKey, origin: &Domain) -> Value {
    json!({ "tag": key.tag(), "ds": ds(key, origin), "dnskey": dnskey(key) })
}

/// `<tag> <algorithm> <digest type> <digest>`
fn ds(key: &ShownKey, origin: &Domain) -> String {
    let rdata = key.ds(origin);
    format!("{} {} {} {}", key.tag(), rdata[2], rdata[3], to_hex(&rdata[4..]))
}

/// `<flags> <protocol> <algorithm> <key>`
fn dnskey(key: &ShownKey) -> String {
    let rdata = key.rdata();
    let flags = u16::from_be_bytes([rdata[0], rdata[1]]);
    format!("{flags} {} {} {}", rdata[2], rdata[3], STANDARD.encode(&rdata[4..]))
}
