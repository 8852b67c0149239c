//! What happens in a run, as whoever follows it is told.
//!
//! Law: of rows only what lasts is told. A commit, the rows it left out and the files it ends are
//! told after it was acknowledged; without transactions, after the records were. What is told of a
//! file counts from its start, over all runs: told twice, or not at all for a kill, it is still
//! right the next time.

use serde::Serialize;

use super::report::Rejection;

/// Something that happened. Its keys are documented in docs/command-line.md.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// The run begins; nothing is sent yet.
    Started(Started<'a>),
    /// The rows of a file come next.
    FileStarted {
        /// The file, as in the summary.
        file: &'a str,
        /// Its bytes on the disk; None of standard input.
        file_bytes: Option<u64>,
    },
    /// Rows of that file were ingested before: it goes on after them.
    Resumed(Place<'a>),
    /// How far the run has read. Nothing of it need last.
    Progress(Measured<'a>),
    /// A transaction was committed.
    Committed {
        /// Transactions of this run so far.
        transactions: u64,
        /// The rows in them.
        rows: u64,
        /// How far it goes in the file that is read; None between files.
        place: Option<Place<'a>>,
    },
    /// Rows of a file were left out, for good.
    Rejected {
        /// The file.
        file: &'a str,
        /// How many so far.
        rejected: u64,
        /// Those that weren't told yet, as long as they are among the first of the run.
        rejections: &'a [Rejection],
    },
    /// All rows of a file are in the topic, or were left out.
    FileDone {
        /// The file.
        file: &'a str,
        /// Rows of it that are in the topic.
        rows: u64,
        /// Rows of it that were left out.
        rejected: u64,
        /// Whether that was so before this run.
        earlier: bool,
    },
    /// Another run of the job has begun; what this one had not committed is taken back.
    Fenced {
        /// The job.
        job: &'a str,
    },
}

/// What a run is about to do.
#[derive(Debug, Serialize)]
pub(super) struct Started<'a> {
    pub(super) topic: &'a str,
    pub(super) job: Option<&'a str>,
    pub(super) guarantee: &'static str,
    /// How many files there are, those that are done among them; None while any number may come.
    pub(super) files: Option<u64>,
    /// Their bytes on the disk; None with standard input.
    pub(super) bytes: Option<u64>,
}

/// A place in a file before which everything is in the topic.
#[derive(Debug, Serialize)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    /// Bytes of what the file holds, before the row that comes next.
    pub(super) bytes: u64,
    /// The line of that row, counted from 1.
    pub(super) next_line: u64,
    /// Rows before it that are in the topic.
    pub(super) rows: u64,
    /// Rows before it that were left out.
    pub(super) rejected: u64,
}

/// How far a run has read, and how fast.
#[derive(Debug, Serialize)]
pub(super) struct Measured<'a> {
    pub(super) file: &'a str,
    /// Bytes of the file that were read, as they are on the disk.
    pub(super) read_bytes: u64,
    /// Bytes that it has there; None of standard input.
    pub(super) file_bytes: Option<u64>,
    /// Rows that this run sent.
    pub(super) sent: u64,
    /// Rows that it left out.
    pub(super) rejected: u64,
    /// Bytes that it read.
    pub(super) input_bytes: u64,
    /// Since it began.
    pub(super) seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_and_its_keys_are_documented() {
        let document = include_str!("../../../../../docs/command-line.md");
        let (_, section) = document.split_once("## `ingest --json-events`").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let place = || Place { file: "f", bytes: 1, next_line: 2, rows: 3, rejected: 4 };
        let guarantee = "exactly-once";
        let started = Started { topic: "t", job: None, guarantee, files: Some(1), bytes: None };
        let measured = Measured {
            file: "f",
            read_bytes: 1,
            file_bytes: None,
            sent: 2,
            rejected: 3,
            input_bytes: 4,
            seconds: 0.5,
        };
        let all = [
            Event::Started(started),
            Event::FileStarted { file: "f", file_bytes: None },
            Event::Resumed(place()),
            Event::Progress(measured),
            Event::Committed { transactions: 1, rows: 2, place: Some(place()) },
            Event::Rejected { file: "f", rejected: 1, rejections: &[] },
            Event::FileDone { file: "f", rows: 1, rejected: 2, earlier: false },
            Event::Fenced { job: "j" },
        ];
        for event in all {
            let object = serde_json::to_value(&event).unwrap();
            let name = object["event"].as_str().unwrap();
            let line = section.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let line = line.unwrap_or_else(|| panic!("{name} isn't documented"));
            for key in object.as_object().unwrap().keys().filter(|key| *key != "event") {
                assert!(line.contains(&format!("`{key}`")), "{key} of {name} isn't documented");
            }
        }
    }
}
