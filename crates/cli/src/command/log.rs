//! `log dump`: what is in the files of a data directory.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use streamledger_broker::dump::{DumpError, DumpOptions, DumpSummary, dump};

use crate::command::written;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::help::with_examples;
use crate::ui;

/// Flags of `log`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct LogArguments {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print what is in segments, indexes, snapshots and checkpoints, as kafka-dump-log does
    Dump(DumpArguments),
}

#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
struct DumpArguments {
    /// Files of a data directory, or directories of partitions
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Print each record too, not only each batch
    #[arg(long, short = 'r')]
    records: bool,

    /// Print each record with its key and value
    #[arg(long, short = 'p')]
    payloads: bool,
}

const EXAMPLES: &[(&str, &str)] = &[
    (
        "The batches of a partition, its indexes and its producers",
        "streamledger log dump .streamledger/t-0",
    ),
    (
        "The records of one segment",
        "streamledger log dump --payloads .streamledger/t-0/00000000000000000000.log",
    ),
];

/// Does what `log` was asked for.
pub fn run(arguments: &LogArguments) -> Outcome<Exit> {
    let Action::Dump(asked) = &arguments.action;
    let options =
        DumpOptions { records: asked.records || asked.payloads, payloads: asked.payloads };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut sum = DumpSummary::default();
    for path in &asked.paths {
        match dump(path, options, &mut |line| writeln!(out, "{line}")) {
            Ok(summary) => {
                sum.files += summary.files;
                sum.batches += summary.batches;
                sum.records += summary.records;
                sum.problems += summary.problems;
            }
            Err(DumpError::Write(error)) => return written(Err(error)),
            Err(error) => {
                let failure = Failure::new(Exit::BadInput, error.to_string());
                return failure.remedy("name a file or a partition's directory").err();
            }
        }
    }
    written(out.flush())?;
    let DumpSummary { files, batches, records, problems, .. } = sum;
    ui::say(format_args!(
        "{files} files, {batches} batches, {records} records, {problems} places that are wrong"
    ));
    if problems > 0 { Ok(Exit::Failed) } else { Ok(Exit::Done) }
}
