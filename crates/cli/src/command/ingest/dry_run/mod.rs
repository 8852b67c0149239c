//! `ingest --dry-run`: what would be sent, seen in the first rows of each file.

mod report;
mod sample;

use std::time::{Duration, Instant};

use streamledger::Properties;

use self::report::{Partitions, Report, ShownSchema};
use self::sample::{Sample, View};
use super::pace::{Rate, Replay};
use super::report::Setting;
use super::{IngestArguments, PARTITIONS};
use crate::access::{Access, MissingDirectory};
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::input::planned::PlannedFile;
use crate::input::{InputPlan, ReadFault, file};
use crate::interrupt::Interrupt;
use crate::partitioner::KeyPartitioner;
use crate::producing::Configured;
use crate::topic_access;
use crate::ui;

/// So many rows are looked at, of all files together.
const ROWS_MAX: u64 = 200_000;

/// At least so many of each file; of standard input, which may be slow, no more.
const FILE_ROWS_MIN: u64 = 1000;

/// So many bytes are read, of all files together.
const BYTES_MAX: u64 = 256 << 20;

/// Looks at the first rows and tells of them.
pub(super) fn run(
    arguments: &IngestArguments,
    plan: &mut InputPlan,
    configured: &Configured,
    interrupt: &Interrupt,
) -> Outcome<Exit> {
    let properties = &configured.properties;
    let partitions = partitions(arguments, properties)?;
    plan.set_partition_count(partitions.count);
    if let Some(id) = plan.fixed_schema_id() {
        plan.files.iter_mut().for_each(|file| file.schema_id = Some(id));
    }
    let plan = &*plan;
    let partitioner = if properties.get("partitioner.ignore.keys") == Some("true") {
        None
    } else {
        KeyPartitioner::of_class(properties.get("partitioner.class"))
    };
    let mut sample = Sample::new(partitions.count, partitioner);
    let begun = Instant::now();
    for planned in &plan.files {
        look(plan, planned, interrupt, &mut sample)?;
        if interrupt.is_raised() {
            return Ok(Exit::Interrupted);
        }
    }
    sample.reading = begun.elapsed();
    let total_bytes = plan.total_bytes();
    let report = Report {
        topic: &arguments.topic,
        options: in_force(arguments, configured),
        partitions,
        plan,
        total_bytes,
        schemas: schemas(arguments, plan)?,
        seconds: seconds(arguments, &sample, total_bytes),
        sample: &sample,
    };
    if arguments.json { ui::print(report.json()) } else { ui::print(report.text()) }?;
    Ok(Exit::Done)
}

/// The options of the command and the producer's settings, as far as they are in force.
fn in_force(arguments: &IngestArguments, configured: &Configured) -> Vec<Setting> {
    let of_command = arguments.in_force.iter();
    let of_command =
        of_command.map(|option| Setting::new(&option.name, option.value.as_str(), option.source));
    let of_producer = configured.in_force().into_iter();
    let of_producer = of_producer.map(|(name, value, source)| Setting { name, value, source });
    of_command.chain(of_producer).collect()
}

/// The schemas that values would be written by, each once.
fn schemas(arguments: &IngestArguments, plan: &InputPlan) -> Outcome<Vec<ShownSchema>> {
    let mut schemas: Vec<ShownSchema> = Vec::new();
    for file in &plan.files {
        let Some(schema) = plan.registered_schema(file)? else { continue };
        let subject = arguments.registry.subject(&arguments.topic, &schema);
        let shown = ShownSchema::new(subject, file.schema_id, schema);
        if !schemas.contains(&shown) {
            schemas.push(shown);
        }
    }
    Ok(schemas)
}

/// Takes the first rows of a file into the sample.
fn look(
    plan: &InputPlan,
    planned: &PlannedFile,
    interrupt: &Interrupt,
    sample: &mut Sample,
) -> Outcome<()> {
    let file_count = plan.files.len() as u64;
    let rows_max =
        if planned.is_stream() { FILE_ROWS_MIN } else { FILE_ROWS_MIN.max(ROWS_MAX / file_count) };
    let bytes_max = BYTES_MAX / file_count;
    let mut source = plan.open(planned)?;
    let schema = plan.value_schema(planned)?;
    let view = View { schema: schema.as_deref(), prefix_bytes: planned.value_prefix().len() };
    for _ in 0..rows_max {
        if source.place().bytes > bytes_max || interrupt.is_raised() {
            break;
        }
        match source.next_record() {
            Ok(Some(record)) => sample.add(&planned.path, &record, view),
            Ok(None) => {
                sample.whole_files += 1;
                break;
            }
            Err(fault) => match *fault {
                ReadFault::Row { line, fault } => sample.reject(&planned.path, line, &fault),
                io if interrupt.is_raised() => drop(io),
                io => return Err(file::failed_at(&planned.path, io).into()),
            },
        }
    }
    sample.read_bytes += source.read_bytes();
    sample.row_bytes += source.place().bytes;
    Ok(())
}

/// How many partitions the rows would go to, and who says so.
fn partitions(arguments: &IngestArguments, properties: &Properties) -> Outcome<Partitions> {
    if let Some(count) = arguments.partitions {
        return Ok(Partitions { count, source: "--partitions" });
    }
    let broker = &arguments.broker;
    if broker.bootstrap_servers.is_none() && !broker.data_dir.exists() {
        return Ok(Partitions { count: PARTITIONS, source: "new topic" });
    }
    let access = Access::open(broker, MissingDirectory::Refuse)?;
    let properties = properties.clone().with("bootstrap.servers", &access.bootstrap_servers);
    let found = topic_access::partitions_if_any(&access, &properties, &arguments.topic);
    let closed = access.close();
    let found = found.map_err(|mut failure| {
        if failure.exit == Exit::Unreachable {
            failure.remedy = Some("start it; or say --partitions N, and no broker is asked".into());
        }
        failure
    })?;
    closed?;
    Ok(match found {
        Some(count) => Partitions { count, source: "topic" },
        None => Partitions { count: PARTITIONS, source: "new topic" },
    })
}

/// How long it would take at least.
fn seconds(arguments: &IngestArguments, sample: &Sample, total_bytes: Option<u64>) -> Option<f64> {
    let share = sample.share(total_bytes)?;
    let of_all = |sampled: f64| sampled / share;
    let reading = of_all(sample.reading.as_secs_f64());
    let paced = match (arguments.rate, arguments.replay) {
        (Some(Rate::Rows(rows)), _) => of_all(sample.row_count as f64) / rows,
        (Some(Rate::Bytes(bytes)), _) => of_all(sample.row_bytes as f64) / bytes,
        (None, Some(Replay::Times(times))) => {
            let ms = sample.time_span_ms()?;
            of_all(Duration::from_millis(ms).as_secs_f64()) / times
        }
        (None, Some(Replay::Max) | None) => 0.0,
    };
    Some(reading.max(paced))
}
