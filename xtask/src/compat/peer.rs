//! Every client that can produce and consume records, behind one interface.

use std::process::Command;

use super::kcat;
use super::lab::{LIMIT, Trial};
use super::our_client;
use super::record::{Ack, Record, lines_of, read_lines};
use crate::failure::{Failure, Outcome};
use crate::process;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Java,
    Python,
    FranzGo,
    Kcat,
    /// The `streamledger` crate, in this process.
    Ours,
}

/// What one producer sends, with its settings by Kafka's names.
pub(crate) struct Job {
    pub(crate) records: Vec<Record>,
    pub(crate) settings: Vec<String>,
}

impl Peer {
    pub(crate) const READERS: [Self; 5] =
        [Self::Java, Self::Python, Self::FranzGo, Self::Kcat, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Python => "python",
            Self::FranzGo => "franz-go",
            Self::Kcat => "kcat",
            Self::Ours => "streamledger",
        }
    }

    /// Produces each job's records with a producer of its own; acks in the order of sending.
    pub(crate) fn produce(self, trial: &Trial, jobs: &[Job]) -> Outcome<Vec<Ack>> {
        if self == Self::Ours {
            return our_client::produce(trial, jobs);
        }
        let mut command = self.program(trial)?;
        command.args(["produce", &trial.bootstrap()?]);
        for (number, job) in jobs.iter().enumerate() {
            if number > 0 {
                command.arg("--");
            }
            let name = format!("{}-{number}.tsv", self.name());
            command.arg(trial.write(&name, &lines_of(&job.records))?).args(&job.settings);
        }
        let finished = process::run_ok(&mut command, b"", LIMIT)
            .map_err(|failure| failure.while_doing(format!("{} produces", self.name())))?;
        read_lines(&finished.text(), Ack::from_line)
    }

    /// Everything in these topics, from the first offset to the end as it is now.
    pub(crate) fn consume(self, trial: &Trial, topics: &[String]) -> Outcome<Vec<Record>> {
        match self {
            Self::Kcat => return kcat::consume(trial, topics),
            Self::Ours => return our_client::consume(trial, topics),
            Self::Java | Self::Python | Self::FranzGo => {}
        }
        let mut command = self.program(trial)?;
        command.args(["consume", &trial.bootstrap()?]).args(topics);
        let finished = process::run_ok(&mut command, b"", LIMIT)
            .map_err(|failure| failure.while_doing(format!("{} consumes", self.name())))?;
        read_lines(&finished.text(), Record::from_line)
    }

    /// Its program, without arguments.
    pub(crate) fn program(self, trial: &Trial) -> Outcome<Command> {
        match self {
            Self::Java => trial.tools().java("Peer"),
            Self::Python => trial.tools().python(),
            Self::FranzGo => trial.tools().go(),
            Self::Kcat | Self::Ours => {
                Err(Failure::new(format!("{} is no program for record lines", self.name())))
            }
        }
    }
}
