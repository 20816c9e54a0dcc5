//! `dialtone key rotate`: the next key of the chain takes over, here and, by a record that it signs, everywhere.

use crate::commands::publish::put::{self, PutArgs};
use crate::config::ClientArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::passphrase::PassphraseArgs;
use crate::{failures, output};
use clap::Args;
use dialtone_resolver::io::key_files;
use dialtone_resolver::io::key_rotation::{self, Rotated};
use dialtone_shared::{Body, VerifiedRecord};
use std::path::{Path, PathBuf};

/// Put the next key of the chain in force
///
/// Takes the secret of one link, never the seed. From the first record that the new key signs, everything that the old one signed or will
/// sign is outranked everywhere, for ever: also what a thief publishes with a later date. So rotate when a key may be known to somebody
/// else, and publish at once.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone key rotate alice.key --republish\n  dialtone key rotate alice.key --link /media/usb/alice.offline/link-01.key\n  \
                        dialtone publish --key alice.key --address 192.0.2.7"
)]
pub struct RotateArgs {
    /// The private key that is in force
    file: PathBuf,
    /// The secret of the link that comes next [default: the one in the offline folder beside FILE]
    #[arg(long, value_name = "FILE")]
    link: Option<PathBuf>,
    /// Sign what the name stands for at the provider with the new key, and put it there; look at it first with --dry-run: a thief may have changed it
    #[arg(long)]
    republish: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    put: PutArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Rotates.
///
/// # Errors
/// The key's files cannot be used; with --republish, as `publish`: the key is rotated all the same.
pub async fn run(args: RotateArgs) -> Outcome {
    // Whoever cannot be asked is found out before anything is changed.
    let held = match args.republish {
        true => Some(put::held(&args.file, &args.client).await?),
        false => None,
    };
    if let Some(held) = &held {
        nothing_to_republish(&args.file, held.as_ref())?;
    }
    if args.put.dry_run {
        return match &held {
            Some(Some(held)) => put::print_record(held, args.put.json),
            _ => Err(Failure::new(Exit::Usage, "--dry-run", "there is nothing to show")
                .help("with --republish it shows what the provider holds, which would be signed anew")),
        };
    }
    let asking = args.passphrase.asking();
    let Rotated { public, superseded } = key_rotation::rotate(&args.file, args.link.as_deref(), &asking).map_err(failures::key_file)?;
    output::remark(format!(
        "rotated  {} is at key epoch {}; {} more keys may follow",
        public.name(),
        public.epoch,
        public.chain.links.len() - public.epoch
    ));
    output::remark(format!("the key before is kept as {}", superseded.display()));
    match held {
        Some(held) => {
            put::again(
                &key_files::load_signer_with(&args.file, &asking).map_err(failures::key_file)?,
                held.as_ref(),
                &args.put,
                &args.client,
            )
            .await
        }
        None => {
            output::line(public.name())?;
            output::remark(format!(
                "next: dialtone publish --key {} …: what the old key signed counts until a record of the new one is out",
                args.file.display()
            ));
            Ok(())
        }
    }
}

/// An empty record that nobody asked for would say that the name stands for nothing.
fn nothing_to_republish(file: &Path, held: Option<&VerifiedRecord>) -> Outcome {
    let reason = match held.map(|held| &held.record().body) {
        Some(Body::Live { .. } | Body::Packet { .. } | Body::Value(_)) => return Ok(()),
        Some(Body::Revoked) => "the provider holds its revocation: what it stood for before is not known there any more",
        None => "the provider holds no record of it",
    };
    Err(Failure::new(Exit::Absent, "nothing to republish", reason)
        .help(format!("rotate without --republish: dialtone key rotate {}", file.display()))
        .help("then say what the name stands for with `dialtone publish`"))
}
