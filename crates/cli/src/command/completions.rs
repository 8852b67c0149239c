//! `completions`: what a shell needs to complete our commands and flags.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Arguments;
use crate::command::written;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::help::with_examples;

/// Flags of `completions`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

const EXAMPLES: &[(&str, &str)] = &[
    (
        "For this user's bash",
        "streamledger completions bash \
         > ~/.local/share/bash-completion/completions/streamledger",
    ),
    ("For zsh, in a directory of $fpath", "streamledger completions zsh > ~/.zfunc/_streamledger"),
];

/// Prints the completions.
pub fn run(arguments: &CompletionsArguments) -> Outcome<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "streamledger",
        &mut script,
    );
    written(io::stdout().write_all(&script).and_then(|()| io::stdout().flush()))
}
