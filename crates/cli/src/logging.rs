//! Log lines: which of them go to stderr, and in what form.
//!
//! A broker that runs for months has nobody who looks at it: `serve` tells what is wrong unless it
//! is told not to. The other commands say on their own what a person must know.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::command::serve::ServeArguments;
use crate::failure::Failure;
use crate::ui;

/// Which log lines go to stderr, in tracing's syntax (`debug`, `streamledger=trace`).
const FILTER_VARIABLE: &str = "STREAMLEDGER_LOG";
/// `json` has each of them be one JSON object.
const FORMAT_VARIABLE: &str = "STREAMLEDGER_LOG_FORMAT";
/// Whose events the lines are that `serve` itself says, where lines are JSON.
const SERVE: &str = "streamledger::serve";

/// Begins to log: as the variables say, and without them nothing, or of a broker what is wrong.
pub fn start(serve: Option<&ServeArguments>) {
    let unless_told = match serve {
        None => "off",
        Some(serve) if serve.quiet => "error",
        Some(_) => "warn",
    };
    let asked = std::env::var(FILTER_VARIABLE).ok();
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let mut filter = match parsed {
        Some(Ok(filter)) => filter,
        None => EnvFilter::new(unless_told),
        Some(Err(error)) => {
            ui::say(format_args!("warning: {FILTER_VARIABLE} can't be used: {error}"));
            EnvFilter::new(unless_told)
        }
    };
    if let (Some(serve), true) = (serve, is_json()) {
        let own =
            if serve.quiet { "streamledger::serve=error" } else { "streamledger::serve=info" };
        if let Ok(own) = own.parse() {
            filter = filter.add_directive(own);
        }
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if is_json() {
        log.json().init();
    } else {
        log.with_ansi(io::stderr().is_terminal()).init();
    }
}

fn is_json() -> bool {
    std::env::var(FORMAT_VARIABLE).as_deref() == Ok("json")
}

/// Says a line of `serve` on stderr: as it is, or as an event where log lines are JSON.
pub fn announce(text: impl Display) {
    if is_json() {
        tracing::info!(target: SERVE, "{text}");
    } else {
        ui::say(text);
    }
}

/// Says why `serve` failed: as all commands do, or as an event where log lines are JSON.
pub fn announce_failure(failure: &Failure) {
    if is_json() {
        tracing::error!(target: SERVE, exit = failure.exit.code(), "{failure}");
    } else {
        ui::say(failure);
    }
}

/// Whether what is wrong with the broker's logs is told by log lines already.
pub fn tells_errors() -> bool {
    tracing::enabled!(target: "streamledger_broker", tracing::Level::ERROR)
}
