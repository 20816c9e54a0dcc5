//! `dialtone unpublish`: a record that says nothing, which withdraws a name without burning it.

use crate::commands::publish::TermsArgs;
use crate::commands::publish::change::change;
use crate::commands::publish::put::PutArgs;
use crate::config::ClientArgs;
use crate::exit::Outcome;
use crate::passphrase::PassphraseArgs;
use clap::Args;
use dialtone_resolver::edit::{Edit, How};
use std::path::PathBuf;

/// Withdraw what a name stands for, and keep the name
///
/// Puts a record without bindings. Whoever resolves the name finds that it exists and stands for nothing; publish again
/// whenever you like.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone unpublish --key alice.key\n  dialtone unpublish --key alice.key --provider http://127.0.0.1:4380"
)]
pub struct UnpublishArgs {
    /// The private key of the name
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    put: PutArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Puts an empty record.
///
/// # Errors
/// As `publish`.
pub async fn run(args: UnpublishArgs) -> Outcome {
    let signer = args.passphrase.signer(&args.key)?;
    let edit = Edit {
        how: How::Replace,
        ..args.terms.edit()
    };
    // Whatever others say meanwhile, it is withdrawn.
    change(&signer, edit, true, &args.put, &args.client).await
}
