//! `produce`: lines of standard input become records.

use std::sync::Arc;

use clap::Args;
use streamledger::{Header, PartitionIndex, Producer, ProducerRecord};

use crate::access::{Access, MissingDirectory};
use crate::args::{BrokerArguments, ProducerArguments};
use crate::command::name_and_value;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::help::with_examples;
use crate::input::lines::{BlankLines, LineRows};
use crate::input::{ChunkReader, ROW_BYTES_MAX_DEFAULT, ReadFault};
use crate::interrupt::{Interrupt, InterruptibleInput};
use crate::ledger::Ledger;
use crate::producing::{self, Counted, Ending, LeftToDo, send_failure};
use crate::topic_access;
use crate::ui::{self, units};

/// Flags of `produce`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES))]
pub struct ProduceArguments {
    /// The topic; it is created if the broker's settings allow that
    topic: String,

    /// What separates a line's key from its value; without it, a line is a value
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,

    /// A header that every record gets; may be repeated, order and repeats are kept
    #[arg(long, short = 'H', value_name = "NAME=VALUE", value_parser = name_and_value)]
    header: Vec<(String, String)>,

    /// Send to this partition instead of the one the key gives
    #[arg(long, short = 'p', value_name = "P")]
    partition: Option<i32>,

    /// A key or value that is exactly this text is sent as null (a null value is a tombstone)
    #[arg(long, value_name = "TEXT")]
    null_marker: Option<String>,

    /// Print nothing but errors
    #[arg(long, short = 'q')]
    quiet: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    #[command(flatten)]
    producer: ProducerArguments,
}

const EXAMPLES: &[(&str, &str)] = &[
    ("A record a line", "seq 100 | streamledger produce numbers"),
    (
        "With keys and a header",
        "echo 'user-7:{\"page\":\"/\"}' | streamledger produce views\n\
         --key-separator : --header source=shell",
    ),
    (
        "A tombstone for a compacted topic",
        "echo 'user-7:NULL' | streamledger produce users --key-separator : --null-marker NULL",
    ),
];

/// Sends standard input.
pub fn run(arguments: &ProduceArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    producing::config(&arguments.producer, "localhost:9092", &[])?;
    let access = Access::open(&arguments.broker, MissingDirectory::Create)?;
    let outcome = run_on(arguments, &access, &interrupt);
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

fn run_on(arguments: &ProduceArguments, access: &Access, interrupt: &Interrupt) -> Outcome<Exit> {
    let configured = producing::config(&arguments.producer, &access.bootstrap_servers, &[])?;
    topic_access::reach(access, &configured.properties)?;
    let ledger = Arc::new(Ledger::default());
    let producer =
        producing::start(configured.config, Counted { ledger: &ledger, topic: &arguments.topic })?;
    let ending = Ending::watch(&producer, interrupt, LeftToDo::Acknowledgements);
    let fed = send_lines(arguments, &producer, &ledger, interrupt);
    let closed = ending.close(&producer);
    let account = ledger.account();
    if !arguments.quiet {
        let count = units::counted(account.totals.acked, "record");
        ui::say(format_args!("{count} sent to {}", arguments.topic));
    }
    if interrupt.is_raised() {
        return Ok(Exit::Interrupted);
    }
    fed?;
    closed?;
    match account.first_failure {
        None => Ok(Exit::Done),
        Some(cause) => Failure::new(
            Exit::Failed,
            format!("{} not delivered", units::counted(account.totals.failed, "record")),
        )
        .cause(cause)
        .err(),
    }
}

fn send_lines(
    arguments: &ProduceArguments,
    producer: &Producer,
    ledger: &Ledger,
    interrupt: &Interrupt,
) -> Outcome<()> {
    let headers: Vec<Header<'_>> = arguments
        .header
        .iter()
        .map(|(key, value)| Header { key, value: Some(value.as_bytes()) })
        .collect();
    let separator = arguments.key_separator.as_deref().map(str::as_bytes);
    let null_marker = arguments.null_marker.as_deref().map(str::as_bytes);
    let input = InterruptibleInput::new(interrupt);
    let chunks = ChunkReader::new(input, ROW_BYTES_MAX_DEFAULT);
    let mut lines = LineRows::new(chunks, BlankLines::Kept);
    while !interrupt.is_raised() && !ledger.has_failed() {
        let line = match lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(fault) => return Err(cant_read(*fault).into()),
        };
        let (key, value) = match separator {
            None => (None, line.bytes),
            Some(separator) => match memchr::memmem::find(line.bytes, separator) {
                Some(at) => (Some(&line.bytes[..at]), &line.bytes[at + separator.len()..]),
                None => return Err(no_separator(line.number, arguments).into()),
            },
        };
        let mut record = ProducerRecord::to(&arguments.topic)
            .headers(&headers)
            .nullable_key(key.filter(|key| null_marker != Some(*key)))
            .nullable_value(Some(value).filter(|value| null_marker != Some(*value)));
        if let Some(partition) = arguments.partition {
            record = record.partition(PartitionIndex(partition));
        }
        producer.send(record).map(drop).map_err(|error| {
            let mut failure = send_failure(&error);
            failure.what = format!("line {}: {}", line.number, failure.what);
            failure
        })?;
    }
    Ok(())
}

fn cant_read(fault: ReadFault) -> Failure {
    match fault {
        ReadFault::Io(error) => {
            Failure::new(Exit::BadInput, "can't read standard input").because(&error)
        }
        ReadFault::Row { line, fault } => {
            Failure::new(Exit::BadInput, format!("line {line} {fault}"))
        }
    }
}

fn no_separator(line: u64, arguments: &ProduceArguments) -> Failure {
    let separator = arguments.key_separator.as_deref().unwrap_or_default();
    Failure::new(Exit::BadInput, format!("line {line} has no key separator {separator:?}"))
        .cause("with --key-separator every line is a key, the separator and a value")
        .remedy("repair the line; the lines before it were sent")
}
