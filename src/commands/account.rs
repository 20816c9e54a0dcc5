//! `dialtone account new`: a token for a customer, and the lines that let a provider know it.

use crate::exit::{Exit, Failure, Outcome};
use crate::output;
use clap::{Args, Subcommand};
use dialtone_provider::settings::ACCOUNT_NAME_BYTES_MAX;
use dialtone_resolver::keyfile::to_hex;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Make a token for a customer of a provider
#[derive(Args, Debug)]
pub struct AccountArgs {
    #[command(subcommand)]
    verb: AccountVerb,
}

#[derive(Subcommand, Debug)]
enum AccountVerb {
    New(NewArgs),
}

/// Make an account's token and print the settings that accept it
///
/// The token is printed once and kept nowhere; the provider's settings hold only its hash.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone account new alice --names-max 1000\n  \
                        DIALTONE_TOKEN=… dialtone publish --key alice.key --address 192.0.2.7 --provider https://provider.example")]
struct NewArgs {
    /// What the account is called in the provider's books
    name: String,
    /// How many names it may keep; 0: any number
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    names_max: u64,
    /// How many records it may put in a second; 0: any number
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    puts_per_second: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Makes a token.
///
/// # Errors
/// The name cannot stand in a provider's books.
pub fn run(args: AccountArgs) -> Outcome {
    let AccountVerb::New(args) = args.verb;
    if args.name.is_empty() || args.name.len() > ACCOUNT_NAME_BYTES_MAX || args.name.chars().any(char::is_control) {
        return Err(Failure::new(Exit::BadInput, "account name", "not 1 to 64 bytes of printable text").help("choose a short name"));
    }
    let token = to_hex(&rand::random::<[u8; 32]>());
    let digest = to_hex(&Sha256::digest(token.as_bytes()));
    let name = toml::Value::String(args.name.clone());
    let settings = format!(
        "[[account]]\nname = {name}\ntoken_sha256 = \"{digest}\"\nnames_max = {}\nputs_per_second = {}\n",
        args.names_max, args.puts_per_second
    );
    if args.json {
        return output::json(&json!({ "name": args.name, "token": token, "token_sha256": digest, "settings": settings }));
    }
    output::remark("The customer's token, shown only now (DIALTONE_TOKEN, or a file named by token_file in client.toml):");
    output::line(&token)?;
    output::remark("\nFor the provider's settings file:");
    output::text(settings)
}
