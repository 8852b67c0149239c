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
pub mod given;
pub mod interrupt;
pub mod job;
pub mod job_file;
pub mod metrics_server;
pub mod producing;
pub mod registry;
pub mod topic_access;
pub mod usage;
pub mod value_reader;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use self::args::Misunderstood;

/// Which log lines go to stderr, in tracing's syntax (`debug`, `streamledger=trace`); none unless
/// set.
const LOG_VARIABLE: &str = "STREAMLEDGER_LOG";
/// `json` has each of them be one JSON object.
const LOG_FORMAT_VARIABLE: &str = "STREAMLEDGER_LOG_FORMAT";

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
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("off"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match std::env::var(LOG_FORMAT_VARIABLE).as_deref() {
        Ok("json") => log.json().init(),
        _ => log.init(),
    }
    match command::run(arguments.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            ui::say(&failure);
            failure.exit.into()
        }
    }
}
