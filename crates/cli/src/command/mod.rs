//! The commands, one file each: flags, and the acting part that puts the pure parts together.

pub mod audit;
pub mod bench;
pub mod completions;
pub mod consume;
pub mod generate;
pub mod groups;
pub mod ingest;
pub mod jobs;
pub mod log;
pub mod partition_of;
pub mod produce;
pub mod serve;
pub mod topics;
pub mod transactions;

use std::io;

use crate::args::Command;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::ui;

/// Does what the command line asks for.
pub fn run(command: Command) -> Outcome<Exit> {
    match command {
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Consume(arguments) => consume::run(&arguments),
        Command::Produce(arguments) => produce::run(&arguments),
        Command::Topics(arguments) => topics::run(&arguments),
        Command::Transactions(arguments) => transactions::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Jobs(arguments) => jobs::run(&arguments),
        Command::Groups(arguments) => groups::run(&arguments),
        Command::PartitionOf(arguments) => partition_of::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// The end of a command that writes to standard output.
pub fn written(result: io::Result<()>) -> Outcome<Exit> {
    ui::printed(result).map(|()| Exit::Done)
}

/// Parses `NAME=VALUE`, for flags that take such pairs.
pub fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
