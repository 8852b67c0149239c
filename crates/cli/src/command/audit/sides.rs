//! The two sides of an audit, each read from front to back as rows.

use std::thread;
use std::time::{Duration, Instant};

use streamledger::{
    Consumer, ConsumerConfig, Offset, PartitionIndex, Position, Properties, TopicPartition,
    murmur2_partition,
};

use super::difference::{FilePlace, TopicPlace};
use super::tally::{Row, write_header};
use crate::access::Access;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::{InputPlan, ReadFault, file};
use crate::interrupt::Interrupt;
use crate::producing::config_failure;
use crate::topic_access;

/// How long one look for records may take.
const POLL: Duration = Duration::from_millis(200);

/// How long an open transaction is waited for.
const SETTLING: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile where the topic ends.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Rows between two looks for Ctrl-C.
const CHECK_ROWS: u64 = 1024;

/// What `visit` is called with for each row, and what reading a side ends with: how many rows were
/// bad, or nothing after Ctrl-C.
pub(super) type Read = Outcome<Option<u64>>;

/// The rows of all files, in order; the bad ones are counted, and those that are more than the
/// producer of `ingest` took.
pub(super) fn read_files(
    plan: &InputPlan,
    interrupt: &Interrupt,
    mut visit: impl FnMut(&Row<'_>, FilePlace),
) -> Read {
    let (mut rejected, mut headers) = (0, Vec::new());
    for (index, planned) in plan.files.iter().enumerate() {
        let mut source = plan.open(planned)?;
        let mut until_check = CHECK_ROWS;
        loop {
            match source.next_record() {
                Ok(Some(record)) => {
                    let rendered = record.rendered;
                    let bytes = rendered.with_record("", |record| record.batch_bytes());
                    if bytes > plan.record_bytes_max() {
                        rejected += 1;
                        continue;
                    }
                    headers.clear();
                    for (name, value) in rendered.headers.iter() {
                        write_header(&mut headers, name, value);
                    }
                    let row = Row {
                        key: rendered.key,
                        value: Some(rendered.value),
                        timestamp_ms: rendered.timestamp_ms,
                        partition: rendered.partition,
                        headers: &headers,
                    };
                    visit(&row, FilePlace { file: index, line: record.line });
                }
                Ok(None) => break,
                Err(fault) => match *fault {
                    ReadFault::Row { .. } => rejected += 1,
                    io => return Err(file::failed_at(&planned.path, io).into()),
                },
            }
            until_check -= 1;
            if until_check == 0 {
                until_check = CHECK_ROWS;
                if interrupt.is_raised() {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(rejected))
}

/// A topic as it is when the audit begins: what comes later is not part of it.
#[derive(Debug)]
pub(super) struct TopicSide<'a> {
    topic: &'a str,
    properties: Properties,
    partitions: Vec<TopicPartition>,
    ends: Vec<Offset>,
    compared: Compared,
}

/// What of a record is compared, besides its key and value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared {
    /// Its time.
    pub(super) timestamps: bool,
    /// Its partition.
    pub(super) partitions: bool,
    /// Its headers.
    pub(super) headers: bool,
}

impl<'a> TopicSide<'a> {
    /// Looks where each partition ends, for a reader of committed records.
    pub(super) fn look(
        access: &Access,
        given: &Properties,
        topic: &'a str,
        compared: Compared,
    ) -> Outcome<TopicSide<'a>> {
        let partitions = topic_access::partitions(access, given, topic)?;
        let properties = Properties::new()
            .with("fetch.max.bytes", "16777216")
            .and(given.clone())
            .with("auto.offset.reset", "earliest")
            .with("bootstrap.servers", &access.bootstrap_servers);
        let mut side = TopicSide { topic, properties, partitions, ends: Vec::new(), compared };
        side.ends = side.settled_ends()?;
        Ok(side)
    }

    /// Where it ends for readers of committed records, once what is there is committed or aborted:
    /// a broker acknowledges a commit before it has written that into each partition. A transaction
    /// that stays open is waited for no longer than `SETTLING`.
    fn settled_ends(&self) -> Outcome<Vec<Offset>> {
        let ends = |consumer: &Consumer| {
            consumer.end_offsets(&self.partitions).map_err(|error| self.failed(&error))
        };
        let whole = ends(&self.consumer("read_uncommitted")?)?;
        let committed = self.consumer("read_committed")?;
        let begun = Instant::now();
        loop {
            let now = ends(&committed)?;
            let is_settled = now.iter().zip(&whole).all(|(now, whole)| now >= whole);
            if is_settled || begun.elapsed() > SETTLING {
                return Ok(now);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// How many partitions it has.
    pub(super) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// Its records, of each partition in order.
    pub(super) fn read(
        &self,
        interrupt: &Interrupt,
        mut visit: impl FnMut(&Row<'_>, TopicPlace),
    ) -> Read {
        let consumer = self.consumer("read_committed")?;
        let start: Vec<_> =
            self.partitions.iter().map(|of| (of.clone(), Position::Beginning)).collect();
        consumer.assign(&start);
        let Compared { timestamps, partitions, headers: has_headers } = self.compared;
        let mut headers = Vec::new();
        while !self.is_read(&consumer) {
            if interrupt.is_raised() {
                return Ok(None);
            }
            let polled = consumer.poll_with(POLL, |record| {
                let partition = record.topic_partition.partition;
                let end = usize::try_from(partition.0).ok().and_then(|at| self.ends.get(at));
                if end.is_none_or(|end| record.offset >= *end) {
                    return;
                }
                headers.clear();
                if has_headers {
                    for (name, value) in record.headers() {
                        write_header(&mut headers, &name, value);
                    }
                }
                let row = Row {
                    key: record.key,
                    value: record.value,
                    timestamp_ms: timestamps.then_some(record.timestamp.0),
                    partition: partitions.then_some(partition.0),
                    headers: &headers,
                };
                visit(&row, TopicPlace { partition: partition.0, offset: record.offset.0 });
            });
            polled.map_err(|error| self.failed(&error))?;
        }
        Ok(Some(0))
    }

    fn consumer(&self, isolation: &str) -> Outcome<Consumer> {
        let properties = self.properties.clone().with("isolation.level", isolation);
        let config =
            ConsumerConfig::from_properties(&properties).map_err(|error| config_failure(&error))?;
        Ok(Consumer::new(config).map_err(|error| self.failed(&error))?)
    }

    fn is_read(&self, consumer: &Consumer) -> bool {
        let mut pairs = self.partitions.iter().zip(&self.ends);
        pairs.all(|(of, end)| consumer.position(of).is_some_and(|at| at >= *end))
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        Failure::new(Exit::Failed, format!("can't read {}", self.topic)).because(error)
    }
}

/// Where a row goes: where the files say, else where Java's rule puts its key; without both
/// nowhere in particular.
pub(super) fn partition_of(row: &Row<'_>, partition_count: usize) -> Option<usize> {
    if let Some(partition) = row.partition {
        return usize::try_from(partition).ok();
    }
    let count = i32::try_from(partition_count).ok()?;
    let PartitionIndex(index) = murmur2_partition(row.key?, count)?;
    usize::try_from(index).ok()
}
