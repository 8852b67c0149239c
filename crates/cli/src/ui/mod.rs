//! What people see: numbers with units, tables, progress, notes; and the two ways out, stdout and
//! stderr. Neither panics when its reader is gone, as `println!` does.

pub mod progress;
mod progress_view;
pub mod table;
pub mod units;

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Writes a line to stdout: what the command was asked for.
///
/// # Errors
/// As [`printed`].
pub fn print(text: impl Display) -> Outcome<()> {
    printed(writeln!(io::stdout(), "{text}"))
}

/// What became of writing to stdout. A reader that went away, as `head` does, is no failure; a full
/// disk is.
///
/// # Errors
/// It can't be written to, for another reason.
pub fn printed(result: io::Result<()>) -> Outcome<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Failure::new(Exit::Failed, "can't write to standard output")
            .because(&error)
            .remedy("check where it is redirected to")
            .err(),
    }
}

/// Writes a line to stderr: progress, remarks and errors. There is nobody to tell if that fails.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a remark to stderr, unless `--quiet`.
pub fn note(quiet: bool, text: &str) {
    if !quiet {
        say(format_args!("note: {}", text.replace('\n', "\n      ")));
    }
}
