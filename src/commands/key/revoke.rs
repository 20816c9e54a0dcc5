//! `dialtone key revoke`: the tombstone of a key that is lost, signed now or long before.

use crate::commands::publish::put::{self, PutArgs};
use crate::config::ClientArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::failures;
use crate::passphrase::PassphraseArgs;
use clap::Args;
use dialtone_resolver::io::key_files;
use dialtone_shared::Body;
use std::path::PathBuf;

/// Burn the key in force: nothing that it signed or signs counts any more
///
/// A revocation travels before everything else and is kept for ever. Only the next key of the chain (`dialtone key rotate`) makes the name
/// stand for something again. To withdraw what a name stands for and keep the key, use `dialtone unpublish`.
///
/// With --sign-only it can be signed at birth and kept in a drawer: whoever finds it can do no more than revoke, and you can do so from
/// anywhere, without the key, by `dialtone publish --signed FILE`. It is good for the key that signed it: make a new one after each rotation.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone key revoke alice.key --sign-only alice.revocation\n  dialtone publish --signed alice.revocation\n  \
                        dialtone key revoke alice.key --yes"
)]
pub struct RevokeArgs {
    /// The private key that is to be burnt
    file: PathBuf,
    /// Yes: there is no way back but the next key
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    put: PutArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Signs a revocation, and puts it or keeps it for later.
///
/// # Errors
/// As `publish`.
pub async fn run(args: RevokeArgs) -> Outcome {
    let public = key_files::load_public(&args.file).map_err(failures::key_file)?;
    let signer = args.passphrase.signer(&args.file)?;
    let left = public.chain.links.len() - public.epoch;
    if !args.yes && !args.put.dry_run && args.put.sign_only.is_none() {
        let then = match left {
            0 => "no key can follow it: the name would be gone for ever".to_owned(),
            left => format!("only the next of the {left} keys that may follow makes it stand for something again"),
        };
        return Err(Failure::new(
            Exit::Usage,
            format!("revoking the key of {}", signer.name()),
            format!("cannot be taken back: {then}"),
        )
        .help("if you mean it, add --yes")
        .help("to keep the revocation for later, add --sign-only FILE")
        .help("to withdraw what the name stands for and keep the key, use `dialtone unpublish`"));
    }
    put::put_body(&signer, &Body::Revoked, &[], &args.put, &args.client).await
}
