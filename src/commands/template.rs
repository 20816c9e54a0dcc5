//! `dialtone template`: the settings files, with every key explained.

use crate::exit::Outcome;
use crate::output;
use clap::{Args, ValueEnum};

/// Print a settings file that explains every key
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone template > provider.toml\n  dialtone template dns > dns.toml && dialtone check-config dns.toml"
)]
pub struct TemplateArgs {
    /// Whose settings
    #[arg(value_enum, default_value_t = Which::Provider)]
    which: Which,
}

/// Whose settings.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Of `dialtone provider`.
    Provider,
    /// Of `dialtone dns`.
    Dns,
    /// Of the verbs that ask: ~/.config/dialtone/client.toml.
    Client,
}

impl Which {
    /// The template's text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Provider => include_str!("../../etc/provider.toml"),
            Self::Dns => include_str!("../../etc/dns.toml"),
            Self::Client => include_str!("../../etc/client.toml"),
        }
    }
}

/// Prints it.
///
/// # Errors
/// Nobody listens.
pub fn run(args: TemplateArgs) -> Outcome {
    output::text(args.which.text())
}
