//! The project's own chores: what CI runs, one by one or all at once.

mod check;
mod compat;
mod dependencies;
mod failure;
mod layering;
mod named;
mod process;
mod tidy;
mod workspace;

use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

use crate::failure::{Failure, Outcome};

/// Streamledger's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything CI runs, in CI's order.
    Check(check::Options),
    /// Which crate may use which.
    Layering,
    /// Sizes of files, the line that says what each is for, and what ARCHITECTURE.md names.
    Tidy,
    /// Licences, bans and sources of all dependencies, by deny.toml.
    Dependencies,
    /// The accumulator's locks in every interleaving, by loom.
    Loom,
    /// Other people's clients against our broker, our client against Apache Kafka.
    Compat(compat::Options),
    /// Writes transactions until it is killed: what `compat` kills.
    #[command(hide = true)]
    Transact { bootstrap: String, topic: String, transactional_id: String },
    /// The simulator, in release; arguments are passed on.
    #[command(trailing_var_arg = true)]
    Simulate {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// `streamledger bench produce`, in release; arguments are passed on.
    #[command(trailing_var_arg = true)]
    Bench {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(chore: Chore) -> Outcome<()> {
    process::end_children_on_signals()?;
    match chore {
        Chore::Check(options) => check::run(&options),
        Chore::Layering => layering::check(),
        Chore::Tidy => tidy::check(),
        Chore::Dependencies => dependencies::check(),
        Chore::Loom => check::loom(),
        Chore::Compat(options) => compat::run(&options),
        Chore::Transact { bootstrap, topic, transactional_id } => {
            compat::transact_until_killed(&bootstrap, &topic, &transactional_id)
        }
        Chore::Simulate { arguments } => {
            pass_on(&["run", "--release", "-p", "streamledger-simulator", "--"], &arguments)
        }
        Chore::Bench { arguments } => {
            pass_on(&["run", "--release", "--", "bench", "produce"], &arguments)
        }
    }
}

fn pass_on(cargo_arguments: &[&str], arguments: &[String]) -> Outcome<()> {
    let mut cargo: Command = workspace::cargo();
    cargo.args(cargo_arguments).args(arguments).current_dir(workspace::root());
    if process::show(&mut cargo)? { Ok(()) } else { Err(Failure::new("it failed")) }
}
