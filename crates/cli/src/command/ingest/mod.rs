//! `ingest`: the rows of files become records of a topic.

mod check;
mod dry_run;
mod events;
mod feed;
mod follow;
mod guarantee;
mod in_force;
mod observer;
pub mod pace;
mod pacing;
mod prepare;
pub mod report;
mod run;
mod telling;
mod transactions;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

pub use run::run;

use self::pace::{Rate, Replay};
use self::transactions::TransactionLimits;
use crate::args::{BrokerArguments, InputArguments, ProducerArguments};
use crate::clicks;
use crate::command::name_and_value;
use crate::dead_letter::default_topic;
use crate::help::with_examples;
use crate::job_file::OptionInForce;
use crate::metrics_server::MetricsArguments;
use crate::registry::RegistryArguments;

/// Partitions of a topic that `ingest` creates, unless told otherwise.
const PARTITIONS: i32 = 6;

/// Rows after which a transaction is committed, unless told otherwise: more than a second has.
const TRANSACTION_ROWS: u64 = 5_000_000;

/// Milliseconds after which a transaction is committed, unless told otherwise: readers wait that
/// long for a row, and a commit a second costs next to nothing.
const TRANSACTION_MS: u64 = 1000;

/// Milliseconds after which a file that didn't change is whole, unless told otherwise: who writes a
/// file mostly goes on within that time.
const SETTLE_MS: u64 = 2000;

/// Flags of `ingest`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES), long_about = ABOUT)]
pub struct IngestArguments {
    /// The files, sent one after the other: names, directories (their files), or patterns such as
    /// 'logs/*.csv'; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The topic; it is created if it isn't there
    #[arg(long, short = 't', default_value = clicks::TOPIC, value_name = "TOPIC")]
    topic: String,

    /// What to do at a row that can't become a record
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    on_error: OnError,

    /// Stop at a bad row after so many of them were left out or sent to the dead letters, also by
    /// earlier runs from the files that this one goes on with
    #[arg(long, value_name = "N")]
    max_rejected: Option<u64>,

    /// The topic of --on-error dead-letter, instead of TOPIC.dead-letters; it is created if it
    /// isn't there
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,

    /// Refuse to run where rows couldn't be there exactly once; without it, that is said
    #[arg(long, conflicts_with = "at_least_once")]
    exactly_once: bool,

    /// Send without transactions: nothing is kept of how far it came, and rows may be there twice
    #[arg(long)]
    at_least_once: bool,

    /// The name under which it is kept how far the files came, instead of the topic's name; of two
    /// runs of one job the later ends the earlier. A name that ends in .toml is a file with options
    /// like these, over which those of the command line win
    #[arg(long, value_name = "NAME", conflicts_with = "at_least_once")]
    job: Option<String>,

    /// Go on with files that have grown since they were ingested
    #[arg(long, conflicts_with = "at_least_once")]
    append: bool,

    /// At the end of the last file wait for it to grow, also through its rotation, until Ctrl-C
    #[arg(long, conflicts_with_all = ["at_least_once", "replay"])]
    follow: bool,

    /// Go on with files that come into the directories, or come to match the patterns, until Ctrl-C
    #[arg(long, conflicts_with_all = ["at_least_once", "follow", "replay", "dry_run"])]
    watch: bool,

    /// With --watch, a file is whole when nothing of it changed for so many milliseconds; 0 if
    /// files are renamed into place
    #[arg(long, value_name = "MS", default_value_t = SETTLE_MS, requires = "watch")]
    settle_ms: u64,

    /// Commit after so many rows
    #[arg(
        long,
        value_name = "N",
        default_value_t = TRANSACTION_ROWS,
        value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with = "at_least_once"
    )]
    transaction_rows: u64,

    /// Commit after so many milliseconds
    #[arg(
        long,
        value_name = "MS",
        default_value_t = TRANSACTION_MS,
        value_parser = clap::value_parser!(u64).range(1..=600_000),
        conflicts_with = "at_least_once"
    )]
    transaction_ms: u64,

    /// Stop after so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Send at most so much a second: rows (5000) or bytes of the files (10MB, 64KiB)
    #[arg(long, value_name = "RATE", conflicts_with = "replay")]
    rate: Option<Rate>,

    /// Send rows when their --timestamp says, so many times faster than it happened (1x, 60x, max):
    /// the first row at once, the others after it
    #[arg(long, value_name = "SPEED", requires = "timestamp")]
    replay: Option<Replay>,

    /// Send nothing: show the columns, the first records, where keys go, and how long it will take
    #[arg(long)]
    dry_run: bool,

    /// Partitions of the topic, if it is created [default: 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// A setting of the topic, if it is created, by Kafka's name; may be repeated. Unless given,
    /// retention.ms is -1: records are kept, however old their timestamps
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    topic_config: Vec<(String, String)>,

    #[command(flatten)]
    input: InputArguments,

    #[command(flatten)]
    registry: RegistryArguments,

    /// Print one JSON object at the end instead of tables
    #[arg(long)]
    json: bool,

    /// Print a JSON object a line while it runs: files as they begin and end, commits, rejected
    /// rows, once a second how far it is; the last one is that of --json
    #[arg(long, conflicts_with_all = ["json", "dry_run"])]
    json_events: bool,

    /// Print nothing but errors (and the objects of --json and --json-events)
    #[arg(long, short = 'q')]
    quiet: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    producer: ProducerArguments,

    #[command(flatten)]
    metrics: MetricsArguments,

    /// The options that have a value, and who gave it.
    #[arg(skip)]
    pub in_force: Vec<OptionInForce>,
}

/// What to do at a bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// End the run; what was sent by then stays sent
    Stop,
    /// Leave the row out, count it, and go on
    Skip,
    /// Send the row as it stands to a topic of its own, with what is wrong with it in the headers
    /// file, line, column and reason, and go on
    DeadLetter,
}

const ABOUT: &str = "Send the rows of files into a topic, a record a row.

Click events (a CSV file with the header of the public data set \"eCommerce behavior data\") \
become JSON in its reference form, keyed by user_id. The rows of any other CSV file become JSON \
objects: the columns in their order, with types from the first 1000 rows; empty is null unless the \
column is a string. The lines of NDJSON are checked and sent as they stand; lines are sent as they \
stand. Files that are compressed by gzip or zstd are unpacked on the way. The rows of Parquet \
files become JSON objects by the types of their schema.

A directory stands for its regular files in the order of their names' bytes, without hidden \
ones, with --recursive for those of its directories too; a quoted pattern for the files that match \
it. Each file has its own format by its name. Run again, those that are new are sent.

Standard input (-) is NDJSON if it begins with a brace, otherwise CSV, unless --format says. Types \
need its first 1000 rows: a slow stream waits for them, click events and NDJSON don't.

Without --bootstrap-servers the records go to the embedded broker, which keeps them in --data-dir. \
Each row is there exactly once: rows are sent in transactions, with how far the file came, kept \
in the topic __streamledger_progress under the job's name. Run the same command again after a \
crash, a kill, a broker's death or Ctrl-C, and it goes on after the last committed row; run it \
again when it is done, and it does nothing. A file that was edited, cut or replaced since stops \
the run before a row is sent. Consumers see committed rows only, if they set \
isolation.level=read_committed. Standard input can't be read again: its rows are there at least \
once.

--follow waits at the end of the last file for more of it. A row is sent once its line end is \
there; transactions end by time. A log that is rotated, by renaming it or by copying and cutting \
it, is read to its end and then gone on with in the new file, also by a run that comes later: it \
finds what was read last by its content, under whatever name.

--watch goes on with files that come into directories, each once it is whole: nothing of it \
changed for --settle-ms. A file that was ingested isn't read again until it changes, and then as \
above; an empty CSV file is waited for.

Unless -X or --producer-config say otherwise, linger.ms is 20 and batch.size 131072: a file is in \
no hurry, and large batches cost less; max.block.ms is 180000, to wait for brokers that are away.

--dry-run reads the first rows of each file and sends nothing. A broker is asked for the number of \
partitions, unless --partitions says it or there is none.";

const EXAMPLES: &[(&str, &str)] = &[
    (
        "Click events, onto the embedded broker",
        "streamledger ingest examples/clicks.csv --key user_id",
    ),
    (
        "Onto your Kafka, compressed, with the events' own times",
        "streamledger ingest clicks.csv --bootstrap-servers broker1:9092\n\
         --timestamp event_time -X compression.type=zstd",
    ),
    (
        "Any CSV, with a column's type set and bad rows left out",
        "streamledger ingest orders.csv --topic orders --key id\n\
         --type zip=string --on-error skip",
    ),
    (
        "A few columns under other names, the rest as headers, keyed by two columns",
        "streamledger ingest orders.csv --topic orders --key shop,id --select id,sum\n\
         --rename sum=total --header source=shop",
    ),
    (
        "Avro, by a schema that is registered under orders-value; see it first with --dry-run",
        "streamledger ingest orders.csv --topic orders --value avro\n\
         --schema-registry http://localhost:8081",
    ),
    (
        "A Parquet file, a few of its columns, at their own times",
        "streamledger ingest events.parquet --topic events --key user_id\n\
         --timestamp event_time --select user_id,price",
    ),
    ("A compressed file", "streamledger ingest 2019-Oct.csv.gz --key user_id"),
    (
        "All files of a directory, and later those that are new",
        "streamledger ingest logs/ --topic logs\n\
         streamledger ingest 'logs/2026-*.csv' --topic logs",
    ),
    (
        "What another program makes",
        "streamledger generate clicks --rows 100000 | streamledger ingest -",
    ),
    (
        "Bad rows into a topic of their own, a hundred at most",
        "streamledger ingest orders.csv --topic orders --on-error dead-letter --max-rejected 100",
    ),
    (
        "A log that goes on growing, from where the last run came to",
        "streamledger ingest events.ndjson --topic events --job nightly --append",
    ),
    (
        "A log that is being written, for as long as it is, also when it is rotated",
        "streamledger ingest /var/log/app/events.ndjson --topic events --follow",
    ),
    (
        "The files of a directory, and those that come, until Ctrl-C",
        "streamledger ingest 'inbox/*.csv' --topic orders --watch",
    ),
    (
        "Before a row is sent: columns, first records, partitions, time",
        "streamledger ingest clicks.csv --key user_id --dry-run",
    ),
    (
        "As it happened, an hour in a minute",
        "streamledger ingest clicks.csv --timestamp event_time --replay 60x",
    ),
    ("The same each night, from a file of options", "streamledger ingest --job nightly.toml"),
    ("For a script", "streamledger ingest day1.csv day2.csv --json --quiet | jq .rows"),
    (
        "For a program that follows it",
        "streamledger ingest day1.csv day2.csv --json-events --quiet | jq -c .event",
    ),
];

impl IngestArguments {
    /// The name under which progress is kept.
    fn job(&self) -> &str {
        self.job.as_deref().unwrap_or(&self.topic)
    }

    /// Partitions of the topic, if it is created.
    fn new_partitions(&self) -> i32 {
        self.partitions.unwrap_or(PARTITIONS)
    }

    fn dead_letter_topic(&self) -> String {
        self.dead_letter_topic.clone().unwrap_or_else(|| default_topic(&self.topic))
    }

    /// Whether standard output is for a program.
    fn is_for_programs(&self) -> bool {
        self.json || self.json_events
    }

    fn on_error_in_words(&self) -> String {
        match self.on_error {
            OnError::Stop => "stop".to_owned(),
            OnError::Skip => "skip".to_owned(),
            OnError::DeadLetter => format!("dead letter to {}", self.dead_letter_topic()),
        }
    }

    fn pace_in_words(&self) -> Option<String> {
        match (self.rate, self.replay) {
            (Some(rate), _) => Some(format!("{rate} at most")),
            (None, Some(replay)) => Some(format!("{replay} the rows' own times")),
            (None, None) => None,
        }
    }

    fn transaction_limits(&self) -> TransactionLimits {
        TransactionLimits {
            rows: self.transaction_rows,
            time: Duration::from_millis(self.transaction_ms),
        }
    }
}
