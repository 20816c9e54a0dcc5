//! What was typed: the verbs and the flags that all of them share. Each verb's own flags are in its file.

use crate::commands;
use crate::exit::Exit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;

/// Flat, self-certifying names, kept by competing providers that peer.
///
/// A name is the hash of a key: it needs no registrar, never has to change, and whoever resolves it can check the
/// answer alone. A record published at one provider resolves at all of them.
#[derive(Parser, Debug)]
#[command(name = "dialtone", version, propagate_version = true, max_term_width = 110, after_long_help = epilogue(), arg_required_else_help = true)]
pub struct Cli {
    /// How much is said on standard error.
    #[command(flatten)]
    pub log: LogArgs,
    /// What is to be done.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What a person can ask for.
#[derive(Subcommand, Debug)]
pub enum Verb {
    Up(commands::up::UpArgs),
    Key(commands::key::KeyArgs),
    Publish(Box<commands::publish::PublishArgs>),
    Unpublish(commands::unpublish::UnpublishArgs),
    Lease(commands::lease::LeaseArgs),
    Resolve(commands::resolve::ResolveArgs),
    Put(commands::value::PutValueArgs),
    Get(commands::value::GetValueArgs),
    Watch(commands::watch::WatchArgs),
    Alias(commands::alias::AliasArgs),
    Link(commands::link::LinkArgs),
    Provider(commands::provider::ProviderArgs),
    Peer(commands::peer::PeerArgs),
    Dns(Box<commands::dns::DnsArgs>),
    Account(commands::account::AccountArgs),
    Template(commands::template::TemplateArgs),
    CheckConfig(commands::check_config::CheckConfigArgs),
    Doctor(commands::doctor::DoctorArgs),
    Audit(commands::audit::AuditArgs),
    Completions(commands::completions::CompletionsArgs),
}

/// How much is said on standard error, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Log what is going on, too; twice for every detail
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How log lines are written [default: text]
    #[arg(long, global = true, display_order = 901, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines are written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Where to listen, as it is typed.
///
/// # Errors
/// It is no address with a port.
pub fn listen_address(typed: &str) -> Result<SocketAddr, String> {
    let none = |_| {
        "not an address with a port: write one like 127.0.0.1:4353 or [::1]:4353; 0.0.0.0 and [::] are all of this machine's".to_owned()
    };
    typed.parse().map_err(none)
}

fn epilogue() -> String {
    format!(
        "Start here:\n  dialtone up          two peered providers and a DNS frontend on this machine, with a sample name\n  \
         dialtone help VERB   what a verb does, with examples\n\n{}",
        Exit::list()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no line of help", verb.get_name());
        }
    }
}
