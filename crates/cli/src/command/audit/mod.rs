//! `audit`: whether a topic holds the rows of files, each of them once and in order.

mod difference;
mod order;
mod report;
mod sides;
mod tally;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use streamledger::config::ClientKind;
use streamledger::{ProducerConfig, Properties};

use self::difference::{Difference, Suspects, Suspicion};
use self::order::KeyOrders;
use self::report::{Order, Report};
use self::sides::{Compared, TopicSide, partition_of, read_files};
use self::tally::{Fingerprint, Fingerprints, KeyPlace, Row, Tally};
use crate::access::{Access, MissingDirectory};
use crate::args::{BrokerArguments, InputArguments};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::given::given;
use crate::help::with_examples;
use crate::input::InputPlan;
use crate::interrupt::Interrupt;
use crate::producing::config_failure;
use crate::registry::{Registering, RegistryArguments};
use crate::topic_access;
use crate::ui;

/// So often both sides are read again to name what differs; what is left then is counted only.
const NAMING_PASSES_MAX: usize = 4;

/// Flags of `audit`.
#[derive(Debug, Args)]
#[command(after_help = with_examples(EXAMPLES), long_about = ABOUT)]
pub struct AuditArguments {
    /// The files, in the order in which they were ingested; directories and patterns stand for
    /// files as for `ingest`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The topic
    #[arg(required = true, value_name = "TOPIC")]
    topic: String,

    #[command(flatten)]
    input: InputArguments,

    #[command(flatten)]
    registry: RegistryArguments,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    broker: BrokerArguments,

    /// A setting of the consumer by Kafka's name; may be repeated and wins over --consumer-config.
    /// If `ingest` was given max.request.size, give it here too: larger rows are bad rows
    #[arg(short = 'X', value_name = "NAME=VALUE", help_heading = "Consumer")]
    settings: Vec<String>,

    /// A properties file with settings of the consumer, as the Java client takes it
    #[arg(long, value_name = "FILE", help_heading = "Consumer")]
    consumer_config: Option<PathBuf>,
}

const ABOUT: &str = "Find out whether a topic holds the rows of files, each of them once.

The files are read as `ingest` reads them (give the same --key, --timestamp, --partition, \
--header, --value, --select, --rename and --type), the topic as a reader of committed records \
does, up to where it ends now. Both are hashed row by row, so memory stays the same whatever \
their size; where they differ they are read again, to name the rows that are missing, doubled, \
altered, or in no file. Rows that `ingest` would have rejected are counted, and none of the \
topic's business. The order of the rows of each key is compared too, where the default \
partitioner placed them.

Ends with 0 if they are equal, and with 6 if they differ.";

const EXAMPLES: &[(&str, &str)] = &[
    (
        "After an ingest, on the embedded broker",
        "streamledger audit examples/clicks.csv ecommerce.events --key user_id",
    ),
    (
        "With the options that ingest was given for columns",
        "streamledger audit orders.csv orders --key shop,id --select id,sum --header shop",
    ),
    ("All files of a directory", "streamledger audit logs/ logs"),
    (
        "Several files, on your Kafka, for a script",
        "streamledger audit day1.csv day2.csv orders --key id --json -b broker1:9092",
    ),
];

/// Compares them.
pub fn run(arguments: &AuditArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    if arguments.files.iter().any(|path| path.as_os_str() == "-") {
        return Failure::new(Exit::Usage, "standard input can't be audited")
            .cause("it may have to be read again, to name what differs")
            .remedy("write it to a file first")
            .err();
    }
    let mut options = arguments.input.options(&arguments.topic)?;
    arguments.registry.complete(&arguments.topic, &mut options)?;
    let mut plan = InputPlan::make(&arguments.files, options, || Box::new(std::io::empty()))?;
    for remark in plan.remarks() {
        ui::note(false, &remark);
    }
    arguments.registry.assign_ids(&arguments.topic, &mut plan, Registering::No)?;
    let access = Access::open(&arguments.broker, MissingDirectory::Refuse)?;
    let outcome = run_on(arguments, &mut plan, &access, &interrupt);
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

fn run_on(
    arguments: &AuditArguments,
    plan: &mut InputPlan,
    access: &Access,
    interrupt: &Interrupt,
) -> Outcome<Exit> {
    let begun = Instant::now();
    let given = given(arguments.consumer_config.as_deref(), &arguments.settings)?;
    plan.set_record_bytes_max(max_request_size(&given, access)?);
    let given = topic_access::known_to(ClientKind::Consumer, &given);
    let compared = Compared {
        timestamps: arguments.input.timestamp.is_some(),
        partitions: arguments.input.partition.is_some(),
        headers: !arguments.input.headers.is_empty(),
    };
    let topic = TopicSide::look(access, &given, &arguments.topic, compared)?;
    plan.set_partition_count(i32::try_from(topic.partition_count()).unwrap_or(i32::MAX));
    if compared.timestamps {
        plan.set_times(topic_access::times(access, &given, &arguments.topic)?);
    }
    let plan = &*plan;
    let Some(counted) = count(plan, &topic, interrupt)? else { return Ok(Exit::Interrupted) };
    let mut unnamed = counted.files.differing_buckets(&counted.topic);
    let mut differences = Vec::new();
    for _ in 0..NAMING_PASSES_MAX {
        if unnamed.is_empty() {
            break;
        }
        let (suspicion, rest) = Suspicion::of(&unnamed);
        let Some(found) = name(plan, &topic, &suspicion, interrupt)? else {
            return Ok(Exit::Interrupted);
        };
        differences.extend(found);
        unnamed = rest.to_vec();
    }
    differences.sort();
    let Some(order) = order(plan, &topic, &counted, interrupt)? else {
        return Ok(Exit::Interrupted);
    };
    let report = Report {
        topic: &arguments.topic,
        files: plan.files.iter().map(|file| file.path.display().to_string()).collect(),
        file_rows: counted.files.row_count,
        rejected: counted.rejected,
        topic_records: counted.topic.row_count,
        order,
        differences: &differences,
        is_all_named: unnamed.is_empty(),
        elapsed: begun.elapsed(),
    };
    if arguments.json {
        ui::print(report.json())?;
    } else {
        ui::print(report.text())?;
    }
    Ok(if report.is_equal() { Exit::Done } else { Exit::Different })
}

/// The most bytes of a record that the producer of `ingest` took.
fn max_request_size(given: &Properties, access: &Access) -> Outcome<usize> {
    const NAME: &str = "max.request.size";
    let mut own = Properties::new().with("bootstrap.servers", &access.bootstrap_servers);
    if let Some(bytes) = given.get(NAME) {
        own = own.with(NAME, bytes);
    }
    let config = ProducerConfig::from_properties(&own).map_err(|error| config_failure(&error))?;
    Ok(config.max_request_size)
}

/// Both sides, counted.
#[derive(Debug)]
struct Counted {
    files: Tally,
    topic: Tally,
    rejected: u64,
    /// Records with a key that aren't where the default partitioner puts them.
    misplaced: u64,
}

/// Whether the rows of each key are in the files' order. None after Ctrl-C.
fn order(
    plan: &InputPlan,
    topic: &TopicSide<'_>,
    counted: &Counted,
    interrupt: &Interrupt,
) -> Outcome<Option<Order>> {
    if !counted.files.differing_buckets(&counted.topic).is_empty() {
        return Ok(Some(Order::RowsDiffer));
    }
    if counted.misplaced > 0 {
        return Ok(Some(Order::OtherPartitioner));
    }
    let partition_count = topic.partition_count();
    let mut groups = counted.files.reordered_groups(&counted.topic);
    let mut keys = Vec::new();
    for _ in 0..NAMING_PASSES_MAX {
        if groups.is_empty() {
            break;
        }
        let (mut orders, mut fingerprints) = (KeyOrders::of(groups), Fingerprints::default());
        let of_files = read_files(plan, interrupt, |row, place| {
            if let Some(key) = KeyPlace::of(row, partition_of(row, partition_count)) {
                orders.in_files(&counted.files, key, fingerprints.of(row), place);
            }
        })?;
        let of_topic = topic.read(interrupt, |row, _| {
            if let Some(key) = KeyPlace::of(row, partition_of(row, partition_count)) {
                orders.in_topic(key, fingerprints.of(row));
            }
        })?;
        if of_files.and(of_topic).is_none() {
            return Ok(None);
        }
        let found = orders.reordered(&counted.files);
        keys.extend(found.keys);
        groups = found.left_out;
    }
    keys.sort();
    Ok(Some(match (keys.is_empty(), groups.is_empty()) {
        (true, true) => Order::Kept,
        (_, is_whole) => Order::Changed { keys, is_whole },
    }))
}

/// Counts both sides, one beside the other. None after Ctrl-C.
fn count(
    plan: &InputPlan,
    topic: &TopicSide<'_>,
    interrupt: &Interrupt,
) -> Outcome<Option<Counted>> {
    let partition_count = topic.partition_count();
    let (mut files, mut misplaced) = (Tally::new(partition_count), 0);
    let mut records = Tally::new(partition_count);
    let (of_topic, of_files) = side_by_side(
        || {
            let mut fingerprints = Fingerprints::default();
            topic.read(interrupt, |row, place| {
                let rule = partition_of(row, partition_count);
                let is = usize::try_from(place.partition).ok();
                misplaced += u64::from(rule.is_some() && rule != is);
                let key = KeyPlace::of(row, is.filter(|_| rule.is_some()));
                records.add(fingerprints.of(row), key);
            })
        },
        || {
            let mut fingerprints = Fingerprints::default();
            read_files(plan, interrupt, |row, _| {
                let key = KeyPlace::of(row, partition_of(row, partition_count));
                files.add(fingerprints.of(row), key);
            })
        },
    )?;
    let (Some(_), Some(rejected)) = (of_topic, of_files) else { return Ok(None) };
    Ok(Some(Counted { files, topic: records, rejected, misplaced }))
}

/// Reads both sides again for the rows that are suspect. None after Ctrl-C.
fn name(
    plan: &InputPlan,
    topic: &TopicSide<'_>,
    suspicion: &Suspicion,
    interrupt: &Interrupt,
) -> Outcome<Option<Vec<Difference>>> {
    let mut suspects = Suspects::default();
    let mut fingerprints = Fingerprints::default();
    let mut suspect = |row: &Row<'_>| {
        let fingerprint = fingerprints.of(row);
        suspicion.has(fingerprint).then(|| (fingerprint, key_of(&mut fingerprints, row)))
    };
    let of_files = read_files(plan, interrupt, |row, place| {
        if let Some((row, key)) = suspect(row) {
            suspects.in_files(row, key, place);
        }
    })?;
    let of_topic = topic.read(interrupt, |row, place| {
        if let Some((row, key)) = suspect(row) {
            suspects.in_topic(row, key, place);
        }
    })?;
    Ok(of_files.and(of_topic).map(|_| suspects.differences()))
}

fn key_of(fingerprints: &mut Fingerprints, row: &Row<'_>) -> u128 {
    let Fingerprint(key) = fingerprints.of(&Row {
        value: None,
        timestamp_ms: None,
        partition: None,
        headers: &[],
        ..*row
    });
    key
}

/// Does one thing on a thread of its own and another on this one; fails as the first of them.
fn side_by_side<A: Send, B>(
    there: impl FnOnce() -> Outcome<A> + Send,
    here: impl FnOnce() -> Outcome<B>,
) -> Outcome<(A, B)> {
    std::thread::scope(|scope| {
        let there = scope.spawn(there);
        let here = here();
        match there.join() {
            Ok(there) => Ok((there?, here?)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
