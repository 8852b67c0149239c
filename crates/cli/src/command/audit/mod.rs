//! `audit`: whether a topic holds the rows of files, each of them once and in order.

mod difference;
mod letters;
mod order;
mod report;
mod sides;
mod tally;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use streamledger::config::ClientKind;
use streamledger::{ProducerConfig, Properties};
use twox_hash::XxHash3_128;

use self::difference::{Findings, Suspects, Suspicion};
use self::letters::{LetterRow, LetterSide};
use self::order::KeyOrders;
use self::report::{BadRows, Order, Report};
use self::sides::{BadRow, Compared, FileSide, TopicSide, partition_of};
use self::tally::{Fingerprint, Fingerprints, KeyPlace, Row, Tally};
use crate::access::{Access, MissingDirectory};
use crate::args::{BrokerArguments, InputArguments};
use crate::dead_letter::default_topic;
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

/// So often both sides are read again to name what differs.
const LOOKS_MAX: u64 = 8;

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

    /// The topic of the dead letters, if bad rows were sent there: each is to be there once, as it
    /// stands in its file. `ingest` names it TOPIC.dead-letters, unless told otherwise
    #[arg(long, visible_alias = "dead-letters", value_name = "TOPIC")]
    dead_letter_topic: Option<String>,

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
altered, or in no file. Headers are compared with --header only. Rows that `ingest` would have \
rejected are counted, and none of the topic's business; with --dead-letter-topic each is looked \
for among the dead letters. The order of the rows of each key is compared too, where the default \
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
    (
        "After --on-error dead-letter: each bad row is among the dead letters, once",
        "streamledger audit orders.csv orders --dead-letter-topic orders.dead-letters",
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
    if arguments.dead_letter_topic.as_ref() == Some(&arguments.topic) {
        let what = format!("{} can't be the topic of its own dead letters", arguments.topic);
        return Failure::new(Exit::Usage, what)
            .cause("bad rows among the others would be taken for rows")
            .remedy("name the topic that `ingest` sent them to, or leave --dead-letter-topic out")
            .err();
    }
    let mut options = arguments.input.options(&arguments.topic)?;
    arguments.registry.complete(&arguments.topic, &mut options)?;
    let mut plan = InputPlan::make(&arguments.files, options, || Box::new(std::io::empty()))?;
    for remark in plan.remarks() {
        ui::note(false, &remark);
    }
    arguments.registry.assign_ids(&arguments.topic, &mut plan, Registering::No, |_| true)?;
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
    let files = FileSide { plan, topic: &arguments.topic };
    let letters = arguments.dead_letter_topic.as_deref();
    let letters = letters.map(|letters| LetterSide::look(access, &given, letters, files));
    let letters = letters.transpose()?;
    let Some(counted) = count(files, &topic, interrupt)? else { return Ok(Exit::Interrupted) };
    let differing = counted.files.differing_buckets(&counted.topic);
    let found = findings(&differing, |look| name(files, &topic, look, interrupt))?;
    let Some(findings) = found else { return Ok(Exit::Interrupted) };
    let Some(order) = order(files, &topic, &counted, interrupt)? else {
        return Ok(Exit::Interrupted);
    };
    let bad_rows = match &letters {
        Some(letters) => match letters.compare(files, &counted.bad_rows, interrupt)? {
            Some(found) => BadRows::Compared(found),
            None => return Ok(Exit::Interrupted),
        },
        None => BadRows::Counted {
            letters_by_default: letters_by_default(arguments, &counted, access, &given)?,
        },
    };
    let report = Report {
        topic: &arguments.topic,
        files: plan.files.iter().map(|file| file.path.display().to_string()).collect(),
        file_rows: counted.files.row_count,
        rejected: counted.bad_rows.row_count,
        bad_rows,
        topic_records: counted.topic.row_count,
        headers_ignored: counted.headers_ignored,
        order,
        findings,
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

/// The topic that `ingest` sends dead letters to by itself, if it is there, nobody has named it,
/// and there are bad rows.
fn letters_by_default(
    arguments: &AuditArguments,
    counted: &Counted,
    access: &Access,
    given: &Properties,
) -> Outcome<Option<String>> {
    let name = default_topic(&arguments.topic);
    let is_there = counted.bad_rows.row_count > 0 && topic_access::exists(access, given, &name)?;
    Ok(is_there.then_some(name))
}

/// Both sides, counted.
#[derive(Debug)]
struct Counted {
    files: Tally,
    /// Their bad rows, as dead letters.
    bad_rows: Tally,
    topic: Tally,
    /// Records with a key that aren't where the default partitioner puts them.
    misplaced: u64,
    /// Records with headers, where those aren't compared.
    headers_ignored: u64,
}

/// Whether the rows of each key are in the files' order. None after Ctrl-C.
fn order(
    from: FileSide<'_>,
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
    for _ in 0..LOOKS_MAX {
        if groups.is_empty() {
            break;
        }
        let (mut orders, mut fingerprints) = (KeyOrders::of(groups), Fingerprints::default());
        let of_files = from.read_rows(interrupt, |row, place| {
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
    from: FileSide<'_>,
    topic: &TopicSide<'_>,
    interrupt: &Interrupt,
) -> Outcome<Option<Counted>> {
    let partition_count = topic.partition_count();
    let (mut files, mut misplaced) = (Tally::new(partition_count), 0);
    let (mut records, mut bad_rows) = (Tally::new(partition_count), Tally::without_order());
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
            let (mut fingerprints, mut letter) = (Fingerprints::default(), LetterRow::default());
            let mut letter_fingerprints = Fingerprints::default();
            let row = |row: &Row<'_>, _| {
                let key = KeyPlace::of(row, partition_of(row, partition_count));
                files.add(fingerprints.of(row), key);
            };
            let bad = |bad: &BadRow<'_>, place| {
                bad_rows.add(letter_fingerprints.of(&letter.of(bad, place)), None);
            };
            from.read(interrupt, row, bad)
        },
    )?;
    let (Some(headers_ignored), Some(())) = (of_topic, of_files) else { return Ok(None) };
    Ok(Some(Counted { files, bad_rows, topic: records, misplaced, headers_ignored }))
}

/// What differs, found out by looks at the rows of buckets that do. None after Ctrl-C.
fn findings(
    differing: &[(usize, u64)],
    mut look_at: impl FnMut(&Suspicion) -> Outcome<Option<Suspects>>,
) -> Outcome<Option<Findings>> {
    let (mut findings, mut suspicion) = (Findings::default(), Suspicion::of(differing));
    for look in 0..suspicion.look_count.min(LOOKS_MAX) {
        suspicion.set_look(look);
        let Some(suspects) = look_at(&suspicion)? else { return Ok(None) };
        suspects.add_to(&mut findings);
    }
    findings.has_more |= suspicion.look_count > LOOKS_MAX;
    Ok(Some(findings))
}

/// Reads both sides again for the rows that are suspect. None after Ctrl-C.
fn name(
    from: FileSide<'_>,
    topic: &TopicSide<'_>,
    suspicion: &Suspicion,
    interrupt: &Interrupt,
) -> Outcome<Option<Suspects>> {
    let mut suspects = Suspects::new();
    let mut fingerprints = Fingerprints::default();
    let of_files = from.read_rows(interrupt, |row, place| {
        if let Some((row, key)) = suspect(suspicion, fingerprints.of(row), row) {
            suspects.in_files(row, key, place);
        }
    })?;
    let of_topic = topic.read(interrupt, |row, place| {
        if let Some((row, key)) = suspect(suspicion, fingerprints.of(row), row) {
            suspects.in_topic(row, key, place);
        }
    })?;
    Ok(of_files.and(of_topic).map(|_| suspects))
}

/// A row that is to be looked at now, and its key's hash.
fn suspect(
    suspicion: &Suspicion,
    fingerprint: Fingerprint,
    row: &Row<'_>,
) -> Option<(Fingerprint, u64)> {
    if !suspicion.has(fingerprint) {
        return None;
    }
    let key = row.key.map(|key| XxHash3_128::oneshot(key) as u64);
    suspicion.is_now(fingerprint, key).then_some((fingerprint, key.unwrap_or_default()))
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
