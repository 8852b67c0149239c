//! The `streamledger` command: files become Kafka streams, in plain sight.
//!
//! The pure parts come first: they read bytes and make text, and know no network. The acting parts
//! (from `interrupt` on) put them together with the client and the broker.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod exit;
pub mod failure;
pub mod help;
pub mod nearest;
pub mod time;

pub mod avro;
pub mod clicks;
pub mod input;
pub mod json_schema;
pub mod render;
pub mod schema;

pub mod bench_input;
pub mod latency;
pub mod ledger;
pub mod output;
pub mod partitioner;
pub mod ui;

pub mod access;
pub mod args;
pub mod broker_settings;
pub mod command;
pub mod dead_letter;
pub mod given;
pub mod interrupt;
pub mod job;
pub mod job_file;
pub mod logging;
pub mod metrics_server;
pub mod producing;
pub mod registry;
pub mod rights;
pub mod topic_access;
pub mod usage;
pub mod value_reader;

use std::process::ExitCode;

use self::args::{Command, Misunderstood};
use self::failure::Failure;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match args::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(Misunderstood::ByClap(error)) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(exit::Exit::Usage.code());
            // Nothing can be said if stderr is gone.
            let _ = error.print();
            return ExitCode::from(code);
        }
        Err(Misunderstood::JobFile(failure)) => {
            ui::say(&failure);
            return failure.exit.into();
        }
    };
    let serve = match &arguments.command {
        Command::Serve(serve) => Some(serve),
        _ => None,
    };
    logging::start(serve);
    let tell =
        if serve.is_some() { logging::announce_failure } else { |why: &Failure| ui::say(why) };
    match command::run(arguments.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            tell(&failure);
            failure.exit.into()
        }
    }
}
