//! `dialtone key`: makes the keys of a name, and shows the name of a key in all its forms.
//!
//! ```text
//! new ─▶ key in force ── rotate ─▶ the next link in force ── rotate ─▶ … ─▶ the last link
//!   ▲         └── revoke ─▶ nothing of this epoch counts; only a rotation goes on
//!   └── restore ◀── words ◀── backup
//! ```

mod backup;
mod derive;
mod revoke;
mod rotate;
mod seal;

use crate::bindings::{self, Salt};
use crate::exit::{Failure, Outcome};
use crate::passphrase::{self, PassphraseArgs};
use crate::{failures, output};
use clap::{Args, Subcommand};
use dialtone_resolver::io::key_files::{self, NewKey};
use dialtone_resolver::keyfile::{KeyPaths, PublicFile, to_hex};
use dialtone_shared::hip::Hit;
use dialtone_shared::limits::{CHAIN_LINKS_DEFAULT, CHAIN_LINKS_MAX};
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Make, show, derive, rotate, revoke, back up, restore or encrypt the key of a name
#[derive(Args, Debug)]
pub struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Subcommand, Debug)]
enum KeyVerb {
    New(NewArgs),
    Show(ShowArgs),
    Derive(derive::DeriveArgs),
    Rotate(rotate::RotateArgs),
    Revoke(revoke::RevokeArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Encrypt(seal::EncryptArgs),
    Decrypt(seal::DecryptArgs),
    Passwd(seal::PasswdArgs),
}

/// Make a new key and print its name
///
/// FILE becomes the private key (PKCS#8 PEM, mode 0600). Beside it stand the public file (FILE with the ending .pub) and
/// a folder (ending .offline) with the secrets of the keys that may follow: move it to a medium that you keep apart, and
/// whoever steals today's key can never take the name. Nothing is ever overwritten.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone key new alice.key\n  dialtone key new alice.key --encrypt\n  \
                        openssl genpkey -algorithm ed25519 -out mine.pem && chmod 600 mine.pem && dialtone key new mine.key --from mine.pem")]
struct NewArgs {
    /// Where the private key goes
    file: PathBuf,
    /// How many keys may follow this one, at most 32; with 0 the name can never change its key
    #[arg(long, value_name = "LINKS", default_value_t = CHAIN_LINKS_DEFAULT as u16, value_parser = clap::value_parser!(u16).range(0..=CHAIN_LINKS_MAX as i64))]
    chain: u16,
    /// Tells apart several names of one key: text, or 0x and hexadecimal digits
    #[arg(long, value_name = "SALT", value_parser = bindings::salt)]
    salt: Option<Salt>,
    /// Take the first key from this PKCS#8 PEM file instead of making one
    #[arg(long, value_name = "PEM")]
    from: Option<PathBuf>,
    /// Encrypt all secrets under a passphrase, which is asked twice on the terminal
    #[arg(long)]
    encrypt: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Show a key's name in all its forms, from the private or the public file
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone key show alice.key\n  dialtone key show alice.pub --json")]
struct ShowArgs {
    /// A private or a public file
    file: PathBuf,
    /// The DNS origin to show the name under
    #[arg(long, value_name = "DOMAIN", default_value = DEFAULT_ORIGIN)]
    origin: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Does one of these.
///
/// # Errors
/// The key's files cannot be made or read; a provider says no or nothing.
pub async fn run(args: KeyArgs) -> Outcome {
    match args.verb {
        KeyVerb::New(args) => new(args),
        KeyVerb::Show(args) => show(&args),
        KeyVerb::Derive(args) => derive::run(&args),
        KeyVerb::Rotate(args) => rotate::run(args).await,
        KeyVerb::Revoke(args) => revoke::run(args).await,
        KeyVerb::Backup(args) => backup::run(&args),
        KeyVerb::Restore(args) => backup::restore(&args).await,
        KeyVerb::Encrypt(args) => seal::encrypt(&args),
        KeyVerb::Decrypt(args) => seal::decrypt(&args),
        KeyVerb::Passwd(args) => seal::passwd(&args),
    }
}

fn new(args: NewArgs) -> Outcome {
    let first = args.from.as_deref().map(|path| args.passphrase.secret(path)).transpose()?;
    let wanted = NewKey {
        first,
        salt: args.salt.unwrap_or_default().0,
        links: usize::from(args.chain),
        passphrase: new_passphrase(args.encrypt, &args.passphrase, &args.file)?,
        ..NewKey::default()
    };
    make(&args.file, &wanted, args.json)
}

/// The passphrase of a key that is to be made, if it is to be encrypted.
fn new_passphrase(encrypt: bool, from: &PassphraseArgs, file: &Path) -> Result<Option<Zeroizing<String>>, Failure> {
    match encrypt {
        false => Ok(None),
        true => passphrase::new(from.passphrase_file.as_deref(), &format!("of {}", file.display())).map(Some),
    }
}

/// Makes the files of a key, and says which.
fn make(file: &Path, wanted: &NewKey, json: bool) -> Outcome {
    let (paths, public) = key_files::create(file, wanted).map_err(failures::key_file)?;
    announce(&paths, &public, json)
}

/// Says what was made.
fn announce(paths: &KeyPaths, public: &PublicFile, json: bool) -> Outcome {
    let offline = paths.offline.exists().then_some(paths.offline.as_path());
    if json {
        return output::json(&json!({
            "name": public.name().to_string(),
            "uri": public.name().to_uri(),
            "private": paths.private,
            "public": paths.public,
            "offline": offline,
            "links": public.chain.links.len(),
        }));
    }
    output::line(public.name())?;
    let shown = |path: &Path| path.display().to_string();
    output::remark(format!("private file   {}  (signs; keep it secret)", shown(&paths.private)));
    output::remark(format!(
        "public file    {}  (keep it beside the private one, and a copy)",
        shown(&paths.public)
    ));
    if let Some(offline) = offline {
        let what = if public.chain.links.is_empty() {
            "the seed that the key comes from"
        } else {
            "the keys that may follow"
        };
        output::remark(format!(
            "offline folder {}  ({what}: move it away from this machine)",
            shown(offline)
        ));
    }
    output::remark(format!(
        "next: dialtone publish --key {} --address 192.0.2.7",
        shown(&paths.private)
    ));
    Ok(())
}

fn show(args: &ShowArgs) -> Outcome {
    let public = key_files::load_public(&args.file).map_err(failures::key_file)?;
    let name = public.name();
    if args.json {
        return output::json(&json!({
            "name": name.to_string(),
            "uri": name.to_uri(),
            "dns": name.to_dns(&args.origin),
            "hex": to_hex(name.as_bytes()),
            "key": to_hex(public.key().as_bytes()),
            "hit": Hit::of(&public.key()).to_string(),
            "salt": to_hex(&public.chain.genesis.salt),
            "epoch": public.epoch,
            "links_left": links_left(&public),
        }));
    }
    output::text(format!(
        "name        {name}\nuri         {}\ndns         {}\nhex         {}\npublic key  {}\nhit         {}\n",
        name.to_uri(),
        name.to_dns(&args.origin),
        to_hex(name.as_bytes()),
        to_hex(public.key().as_bytes()),
        Hit::of(&public.key()),
    ))?;
    if !public.chain.genesis.salt.is_empty() {
        output::line(format!("salt        {}", to_hex(&public.chain.genesis.salt)))?;
    }
    output::text(format!("key epoch   {}\nlinks left  {}\n", public.epoch, links_left(&public)))
}

/// How many times the name's key can still change.
fn links_left(public: &PublicFile) -> usize {
    public.chain.links.len().saturating_sub(public.epoch)
}

/// The origin of a machine or a site that set none (RFC 9476).
pub const DEFAULT_ORIGIN: &str = "dialtone.alt";
