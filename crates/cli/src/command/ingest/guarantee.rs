//! How often a row may be in the topic, and why.

use streamledger::admin::ClusterDescription;

use super::IngestArguments;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::InputPlan;

/// What a run promises of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// It is there once, however often the run, the broker or the machine dies and the command is
    /// run again.
    ExactlyOnce,
    /// It is there, and after a failure perhaps twice: that was asked for.
    AtLeastOnce,
    /// The same, as standard input can't be read again from where a run died.
    StandardInput,
    /// The same, as the broker has no transactions.
    BrokerHasNoTransactions,
}

impl Guarantee {
    /// What the user wants, as far as the input allows it.
    pub(super) fn wanted(arguments: &IngestArguments, plan: &InputPlan) -> Outcome<Guarantee> {
        if arguments.at_least_once {
            return Ok(Guarantee::AtLeastOnce);
        }
        if !plan.files.iter().any(|file| file.is_stream()) {
            return Ok(Guarantee::ExactlyOnce);
        }
        if !arguments.exactly_once {
            return Ok(Guarantee::StandardInput);
        }
        Failure::new(Exit::Usage, "standard input can't be ingested exactly once")
            .cause("after a failure it can't be read again from where the run was")
            .remedy("write it to a file first, or leave --exactly-once out")
            .err()
    }

    /// What that comes to on a broker.
    pub(super) fn on(
        self,
        broker: &ClusterDescription,
        arguments: &IngestArguments,
    ) -> Outcome<Guarantee> {
        if !self.is_exactly_once() || broker.has_transactions {
            return Ok(self);
        }
        if arguments.exactly_once || arguments.follow || arguments.watch {
            return Failure::new(Exit::Failed, "the broker has no transactions")
                .cause("it doesn't say that it has InitProducerId and EndTxn (ApiVersions)")
                .remedy("say --at-least-once: rows may then be there twice after a failure")
                .err();
        }
        Ok(Guarantee::BrokerHasNoTransactions)
    }

    /// Whether rows are sent in transactions with the progress.
    pub fn is_exactly_once(self) -> bool {
        self == Guarantee::ExactlyOnce
    }

    /// One word for programs.
    pub fn name(self) -> &'static str {
        if self.is_exactly_once() { "exactly-once" } else { "at-least-once" }
    }

    /// What it is, and why, for people.
    pub fn words(self) -> &'static str {
        match self {
            Guarantee::ExactlyOnce => "exactly once: run it again after a failure, it goes on",
            Guarantee::AtLeastOnce => "at least once",
            Guarantee::StandardInput => "at least once: standard input can't be read again",
            Guarantee::BrokerHasNoTransactions => "at least once: the broker has no transactions",
        }
    }
}
