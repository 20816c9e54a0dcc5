//! `dialtone completions SHELL`: what the shell needs to complete verbs and flags.

use crate::args::Cli;
use crate::exit::Outcome;
use crate::output;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// Print the completions of a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone completions bash > ~/.local/share/bash-completion/completions/dialtone\n  \
                        dialtone completions zsh > ~/.zfunc/_dialtone\n  \
                        dialtone completions fish > ~/.config/fish/completions/dialtone.fish"
)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// Nobody listens.
pub fn run(args: CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "dialtone", &mut script);
    output::text(String::from_utf8_lossy(&script))
}
