//! The exit codes of the `streamledger` command, in the one table that help and docs print.

use std::process::ExitCode;

/// How a run ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All that was asked is done.
    Done,
    /// It was begun and failed: a record was refused, a broker answered with an error, a write
    /// failed.
    Failed,
    /// The command line, a setting or a properties file is wrong; nothing was begun.
    Usage,
    /// An input file can't be read or holds a row that isn't what it should be.
    BadInput,
    /// No broker answered.
    Unreachable,
    /// The embedded broker can't start: port in use, a directory that isn't ours, a full disk.
    BrokerStart,
    /// An audit found that the topic doesn't hold what the files do.
    Different,
    /// Ended by Ctrl-C or SIGTERM; what was sent by then was flushed and counted.
    Interrupted,
}

impl Exit {
    /// Each way to end, in the order of its code.
    pub const ALL: [Exit; 8] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::BadInput,
        Exit::Unreachable,
        Exit::BrokerStart,
        Exit::Different,
        Exit::Interrupted,
    ];

    /// The number the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::BadInput => 3,
            Exit::Unreachable => 4,
            Exit::BrokerStart => 5,
            Exit::Different => 6,
            Exit::Interrupted => 130,
        }
    }

    /// One line for the table in `--help`.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed on the way: a record, a request or a write",
            Exit::Usage => "wrong command line, setting or properties file",
            Exit::BadInput => "an input file can't be read, or a row of it is bad",
            Exit::Unreachable => "no broker answered",
            Exit::BrokerStart => "the embedded broker can't start",
            Exit::Different => "audit: the topic doesn't hold what the files do",
            Exit::Interrupted => "ended by Ctrl-C or SIGTERM, after flushing",
        }
    }

    /// The table of exit codes that every `--help` ends with.
    pub fn table() -> String {
        let mut table = String::from("Exit codes:\n");
        for exit in Exit::ALL {
            table.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
        }
        table
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_and_in_the_table() {
        let table = Exit::table();
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        for exit in Exit::ALL {
            assert!(table.contains(&format!("{:>3}  {}", exit.code(), exit.meaning())));
        }
        codes.dedup();
        assert_eq!(codes.len(), Exit::ALL.len());
    }
}
