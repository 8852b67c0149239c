//! `consume`: the records of a topic, on standard output.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use streamledger::{
    CommittedOffset, Consumer, ConsumerConfig, ConsumerError, ConsumerRecord, Offset,
    PartitionIndex, Position, Properties, TimestampMs, TimestampType, TopicName, TopicPartition,
};

use crate::access::{Access, MissingDirectory};
use crate::args::BrokerArguments;
use crate::command::written;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::given::given;
use crate::help::with_examples;
use crate::input::value_schema::GivenSchema;
use crate::interrupt::Interrupt;
use crate::output::{Bytes, Field, PrintedRecord, write_json, write_text};
use crate::producing::config_failure;
use crate::registry::RegistryAddress;
use crate::time::parse_since;
use crate::topic_access::{self, SETTLING};
use crate::ui::note;
use crate::value_reader::ValueReader;

/// How long one poll waits for records; Ctrl-C is looked for in between.
const POLL: Duration = Duration::from_millis(100);

/// How long the end may take: a commit, and leaving the group.
const CLOSE: Duration = Duration::from_secs(5);

/// How long a partition's leader may take to say where the partition ends, in milliseconds, unless
/// `-X default.api.timeout.ms` says otherwise.
const PATIENT_MS: &str = "10000";

/// Flags of `consume`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES), long_about = ABOUT)]
pub struct ConsumeArguments {
    /// The topic
    topic: String,

    /// Start at the oldest record there is
    #[arg(long, group = "start")]
    from_beginning: bool,

    /// Start at this offset, in each partition read; negative counts from the end
    #[arg(long, short = 'o', value_name = "N", group = "start", allow_negative_numbers = true)]
    offset: Option<i64>,

    /// Start at the first record of this time: 2019-10-01T12:00:00Z, epoch milliseconds, or how
    /// long ago, as 10m, 2h or 7d
    #[arg(long, value_name = "TIME", group = "start")]
    since: Option<String>,

    /// Read only this partition
    #[arg(long, short = 'p', value_name = "P")]
    partition: Option<i32>,

    /// Read as a member of this group: from where it is, and with its other members sharing the
    /// partitions; what was printed is committed. -X group.protocol=consumer speaks the next
    /// generation of the protocol
    #[arg(long, short = 'g', value_name = "GROUP", conflicts_with_all = ["start", "partition"])]
    group: Option<String>,

    /// Stop after so many records
    #[arg(long, short = 'n', value_name = "N")]
    max_messages: Option<u64>,

    /// How a record is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Text)]
    format: Format,

    /// What a line of text shows, separated by tabs
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "partition,offset,timestamp,key,headers,value"
    )]
    fields: Vec<Field>,

    /// Go on with records as they arrive, until Ctrl-C
    #[arg(long, short = 'F')]
    follow: bool,

    /// A setting of the consumer by Kafka's name, for example isolation.level=read_committed; may
    /// be repeated and wins over --consumer-config
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    settings: Vec<String>,

    /// A properties file with settings of the consumer, as the Java client takes it
    #[arg(long, value_name = "FILE")]
    consumer_config: Option<PathBuf>,

    /// Values are Avro by this schema, a file with its JSON (.avsc), and are printed as JSON
    #[arg(long, value_name = "FILE")]
    avro_schema: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryAddress,

    #[command(flatten)]
    broker: BrokerArguments,
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line, its fields separated by tabs
    Text,
    /// An object a line: topic, partition, offset, timestamp, timestamp_type, key, headers, value
    Json,
}

const ABOUT: &str = "Print the records of a topic.

It starts at the oldest record and ends at the newest there was when it began; with --follow it \
starts at the end, unless told otherwise, and goes on. Records of one partition come in order. \
Those of transactions that are open or were aborted are left out, unless -X \
isolation.level=read_uncommitted says otherwise; for one that is open it waits up to ten seconds.

On a terminal control characters are escaped; into a file or pipe, keys and values go as they are. \
In JSON, text that isn't UTF-8 comes as key_base64 and value_base64.

With --schema-registry a value that has a schema's id in front is printed as JSON, by that schema \
(Avro, or JSON itself); with --avro-schema any value is Avro by that one. What can't be read so is \
printed as it is.";

const EXAMPLES: &[(&str, &str)] = &[
    ("The first five records", "streamledger consume ecommerce.events --max-messages 5"),
    (
        "The last hour's values, and whatever comes",
        "streamledger consume ecommerce.events --since 1h --follow --fields value",
    ),
    (
        "One partition from an offset, for a program",
        "streamledger consume ecommerce.events --partition 2 --offset 1000 --format json | jq .key",
    ),
    (
        "Avro values as JSON",
        "streamledger consume orders --schema-registry http://localhost:8081 --fields value",
    ),
    (
        "Where the last reader of the group stopped, and on",
        "streamledger consume ecommerce.events --group invoices --follow",
    ),
];

/// Prints the records.
pub fn run(arguments: &ConsumeArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    let since_ms = since(arguments)?;
    consumer_config(arguments, "localhost:9092")?;
    Printer::new(arguments)?;
    let access = Access::open(&arguments.broker, MissingDirectory::Refuse)?;
    let outcome = run_on(arguments, since_ms, &access, &interrupt);
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

fn run_on(
    arguments: &ConsumeArguments,
    since_ms: Option<i64>,
    access: &Access,
    interrupt: &Interrupt,
) -> Outcome<Exit> {
    let (config, properties) = consumer_config(arguments, &access.bootstrap_servers)?;
    let partitions = partitions(arguments, access, &properties)?;
    let consumer = Consumer::new(config).map_err(|error| failed(arguments, &error))?;
    let mut ends = Ends::look(arguments, &consumer, &properties, &partitions)?;
    if arguments.group.is_some() {
        return run_in_group(arguments, &consumer, &mut ends, interrupt);
    }
    let start = match (arguments.offset, since_ms) {
        (Some(offset), _) => Start::Offset(offset),
        (None, Some(ms)) => Start::Time(ms),
        (None, None) if arguments.follow && !arguments.from_beginning => Start::End,
        (None, None) => Start::Beginning,
    };
    let assignment: Vec<(TopicPartition, Position)> = partitions
        .iter()
        .map(|partition| (partition.clone(), start.position(ends.committed_of(partition))))
        .collect();
    consumer.assign(&assignment);
    let mut printer = Printer::new(arguments)?;
    while printer.left > 0 {
        if interrupt.is_raised() {
            let _ = printer.out.flush();
            return Ok(Exit::Interrupted);
        }
        if !arguments.follow && ends.are_reached(&consumer, &partitions) {
            break;
        }
        let records = consumer.poll(POLL).map_err(|error| failed(arguments, &error))?;
        let is_idle = records.is_empty();
        for record in &records {
            let end = ends.written_of(&record.topic_partition);
            if !arguments.follow && record.offset >= end {
                continue;
            }
            if let Err(error) = printer.print(record) {
                return written(Err(error));
            }
            if printer.left == 0 {
                break;
            }
        }
        if is_idle && let Err(error) = printer.out.flush() {
            return written(Err(error));
        }
    }
    written(printer.out.flush())
}

/// Prints as a member of a group, and commits what was printed. Without --follow it ends where the
/// partitions it has ended at the beginning.
fn run_in_group(
    arguments: &ConsumeArguments,
    consumer: &Consumer,
    ends: &mut Ends,
    interrupt: &Interrupt,
) -> Outcome<Exit> {
    consumer.subscribe([&arguments.topic]).map_err(|error| failed(arguments, &error))?;
    let mut printer = Printer::new(arguments)?;
    let mut exit = Exit::Done;
    while printer.left > 0 {
        if interrupt.is_raised() {
            exit = Exit::Interrupted;
            break;
        }
        let own = consumer.assignment();
        if !arguments.follow && !own.is_empty() && ends.are_reached(consumer, &own) {
            break;
        }
        let records = consumer.poll(POLL).map_err(|error| failed(arguments, &error))?;
        let mut offsets: BTreeMap<TopicPartition, CommittedOffset> = BTreeMap::new();
        for record in &records {
            if printer.left == 0 {
                break;
            }
            if let Err(error) = printer.print(record) {
                return written(Err(error));
            }
            offsets.insert(record.topic_partition.clone(), record.next_offset());
        }
        if let Err(error) = printer.out.flush() {
            return written(Err(error));
        }
        if !offsets.is_empty() {
            let offsets: Vec<_> = offsets.into_iter().collect();
            match consumer.commit_offsets(&offsets) {
                // Whoever has the partitions now prints these again.
                Ok(())
                | Err(ConsumerError::NotAMember { .. } | ConsumerError::Rebalancing { .. }) => {}
                Err(error) => return Err(failed(arguments, &error).into()),
            }
        }
    }
    consumer.close(CLOSE).map_err(|error| failed(arguments, &error))?;
    Ok(exit)
}

/// Where each partition ended when the command began.
#[derive(Debug)]
struct Ends {
    /// For readers of committed records.
    committed: BTreeMap<TopicPartition, Offset>,
    /// With what wasn't committed yet: a broker acknowledges a commit before it has written that
    /// into each partition, and who asks right after it is to have its records.
    written: BTreeMap<TopicPartition, Offset>,
    /// Since when only records that aren't committed are left.
    settling_since: Option<Instant>,
}

impl Ends {
    fn look(
        arguments: &ConsumeArguments,
        consumer: &Consumer,
        properties: &Properties,
        partitions: &[TopicPartition],
    ) -> Outcome<Self> {
        let ask = |consumer: &Consumer| {
            let ends = consumer.end_offsets(partitions);
            let ends = ends.map_err(|error| failed(arguments, &error))?;
            Ok::<_, Failure>(partitions.iter().cloned().zip(ends).collect::<BTreeMap<_, _>>())
        };
        let committed = ask(consumer)?;
        let written = if arguments.follow {
            committed.clone()
        } else {
            let all = properties.clone().with("isolation.level", "read_uncommitted");
            let config =
                ConsumerConfig::from_properties(&all).map_err(|error| config_failure(&error))?;
            ask(&Consumer::new(config).map_err(|error| failed(arguments, &error))?)?
        };
        Ok(Self { committed, written, settling_since: None })
    }

    fn committed_of(&self, partition: &TopicPartition) -> Offset {
        self.committed.get(partition).copied().unwrap_or_default()
    }

    fn written_of(&self, partition: &TopicPartition) -> Offset {
        self.written.get(partition).copied().unwrap_or_default()
    }

    /// Whether there is nothing left to read of these partitions. A transaction that stays open is
    /// waited for no longer than `SETTLING`.
    fn are_reached(&mut self, consumer: &Consumer, partitions: &[TopicPartition]) -> bool {
        let is_read = |end: &dyn Fn(&TopicPartition) -> Offset| {
            let is_past = |at: &TopicPartition| consumer.position(at).map(|own| own >= end(at));
            partitions.iter().all(|partition| is_past(partition).unwrap_or(false))
        };
        if is_read(&|partition| self.written_of(partition)) {
            return true;
        }
        if !is_read(&|partition| self.committed_of(partition)) {
            self.settling_since = None;
            return false;
        }
        self.settling_since.get_or_insert_with(Instant::now).elapsed() > SETTLING
    }
}

/// Where reading starts in each partition.
#[derive(Debug, Clone, Copy)]
enum Start {
    Beginning,
    End,
    Offset(i64),
    Time(i64),
}

impl Start {
    fn position(self, end: Offset) -> Position {
        match self {
            Start::Beginning => Position::Beginning,
            Start::End => Position::End,
            Start::Offset(offset) if offset < 0 => {
                Position::Offset(Offset((end.0 + offset).max(0)))
            }
            Start::Offset(offset) => Position::Offset(Offset(offset.min(end.0))),
            Start::Time(ms) => Position::Timestamp(TimestampMs(ms)),
        }
    }
}

struct Printer<'a> {
    arguments: &'a ConsumeArguments,
    out: BufWriter<io::Stdout>,
    bytes: Bytes,
    /// How many records may still be printed.
    left: u64,
    values: ValueReader,
}

impl<'a> Printer<'a> {
    fn new(arguments: &'a ConsumeArguments) -> Outcome<Self> {
        let given = arguments.avro_schema.as_deref().map(GivenSchema::of_file).transpose()?;
        let given = given.map(|given| given.schema);
        Ok(Self {
            values: ValueReader::new(arguments.registry.registry()?, given),
            arguments,
            out: BufWriter::with_capacity(64 << 10, io::stdout()),
            bytes: if io::stdout().is_terminal() { Bytes::Escaped } else { Bytes::Raw },
            left: arguments.max_messages.unwrap_or(u64::MAX),
        })
    }

    fn print(&mut self, record: &ConsumerRecord) -> io::Result<()> {
        let headers: Vec<(&str, Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let value = record.value.as_deref();
        let value = value.map(|value| self.values.shown(value, |said| note(false, said)));
        let printed = PrintedRecord {
            topic: record.topic_partition.topic.as_str(),
            partition: record.topic_partition.partition.0,
            offset: record.offset.0,
            timestamp_ms: record.timestamp.0,
            timestamp_type: match record.timestamp_type {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            },
            headers: &headers,
            key: record.key.as_deref(),
            value: value.as_deref(),
        };
        self.left -= 1;
        match self.arguments.format {
            Format::Json => write_json(&mut self.out, &printed),
            Format::Text => write_text(&mut self.out, &printed, &self.arguments.fields, self.bytes),
        }
    }
}

fn since(arguments: &ConsumeArguments) -> Outcome<Option<i64>> {
    let Some(text) = &arguments.since else { return Ok(None) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match parse_since(text, i64::try_from(now.as_millis()).unwrap_or(i64::MAX)) {
        Some(ms) => Ok(Some(ms)),
        None => Failure::new(Exit::Usage, format!("--since {text:?} isn't a time"))
            .remedy(
                "write it as 2019-10-01T12:00:00Z, as epoch milliseconds, or as 90s, 10m, 2h, 7d",
            )
            .err(),
    }
}

fn consumer_config(
    arguments: &ConsumeArguments,
    servers: &str,
) -> Outcome<(ConsumerConfig, Properties)> {
    // What retention took meanwhile is no reason to leave out what there is.
    // And rows of an `ingest` that died are no rows.
    let mut properties = Properties::new()
        .with("auto.offset.reset", "earliest")
        .with("isolation.level", "read_committed")
        // What is committed is what was printed, and only in a group.
        .with("enable.auto.commit", "false");
    if !arguments.follow {
        // A person waits for the first record; who follows waits for brokers that come back.
        properties = properties.with("default.api.timeout.ms", PATIENT_MS);
    }
    let given = given(arguments.consumer_config.as_deref(), &arguments.settings)?;
    let mut properties = properties.and(given).with("bootstrap.servers", servers);
    if let Some(group) = &arguments.group {
        properties = properties.with("group.id", group);
    }
    let config =
        ConsumerConfig::from_properties(&properties).map_err(|error| config_failure(&error))?;
    Ok((config, properties))
}

/// The partitions to read, in order.
fn partitions(
    arguments: &ConsumeArguments,
    access: &Access,
    properties: &Properties,
) -> Outcome<Vec<TopicPartition>> {
    let count = topic_access::partition_count(access, properties, &arguments.topic)?;
    let topic = TopicName::new(arguments.topic.as_str());
    let of = |index| TopicPartition { topic: topic.clone(), partition: PartitionIndex(index) };
    match arguments.partition {
        None => Ok((0..count).map(of).collect()),
        Some(index) if (0..count).contains(&index) => Ok(vec![of(index)]),
        Some(index) => {
            let what = format!("{} has no partition {index}", arguments.topic);
            Failure::new(Exit::Usage, what)
                .cause(format!("it has {count}, counted from 0"))
                .remedy(format!("choose one from 0 to {}", count - 1))
                .err()
        }
    }
}

fn failed(arguments: &ConsumeArguments, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Failed, format!("can't read {}", arguments.topic)).because(error)
}
