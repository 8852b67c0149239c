//! The two sides of an audit, each read from front to back as rows.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use streamledger::{
    Consumer, ConsumerConfig, Offset, PartitionIndex, Position, Properties, RecordView,
    TopicPartition, murmur2_partition,
};

use super::difference::{FilePlace, TopicPlace};
use super::tally::{Row, write_header};
use crate::access::Access;
use crate::dead_letter::too_large;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::{InputPlan, ReadFault, RowFault, SourceRecord, file};
use crate::interrupt::Interrupt;
use crate::producing::config_failure;
use crate::render::Rendered;
use crate::topic_access::{self, SETTLING};

/// How long one look for records may take.
const POLL: Duration = Duration::from_millis(200);

/// How often it is asked meanwhile where the topic ends.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Rows between two looks for Ctrl-C.
const CHECK_ROWS: u64 = 1024;

/// What reading a side ends with: nothing after Ctrl-C.
pub(super) type Read = Outcome<Option<()>>;

/// The files, whose rows were to go to a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileSide<'a> {
    pub(super) plan: &'a InputPlan,
    pub(super) topic: &'a str,
}

/// A row that is no record.
#[derive(Debug, Clone, Copy)]
pub(super) struct BadRow<'a> {
    pub(super) file: &'a Path,
    /// Its bytes, if they are known.
    pub(super) row: Option<&'a [u8]>,
    pub(super) fault: &'a RowFault,
    /// The most bytes that the producer of `ingest` took of a record.
    pub(super) bytes_max: usize,
}

impl FileSide<'_> {
    /// The rows of all files, in order, without the bad ones.
    pub(super) fn read_rows(
        self,
        interrupt: &Interrupt,
        visit: impl FnMut(&Row<'_>, FilePlace),
    ) -> Read {
        self.read(interrupt, visit, |_, _| ())
    }

    /// The rows of all files, in order, those that are good and those that are bad: also those that
    /// are more than the producer of `ingest` took.
    pub(super) fn read(
        self,
        interrupt: &Interrupt,
        mut visit: impl FnMut(&Row<'_>, FilePlace),
        mut reject: impl FnMut(&BadRow<'_>, FilePlace),
    ) -> Read {
        let FileSide { plan, topic } = self;
        let mut headers = Vec::new();
        let bytes_max = plan.record_bytes_max();
        for (file, planned) in plan.files.iter().enumerate() {
            let mut source = plan.open(planned)?;
            let mut until_check = CHECK_ROWS;
            loop {
                let bad = match source.next_record() {
                    Ok(Some(SourceRecord { rendered, line })) => {
                        let bytes = rendered.with_record("", |record| record.batch_bytes());
                        if bytes > bytes_max {
                            Some((line, too_large(topic, bytes, bytes_max)))
                        } else {
                            headers.clear();
                            for (name, value) in rendered.headers.iter() {
                                write_header(&mut headers, name, value);
                            }
                            visit(&row_of(&rendered, &headers), FilePlace { file, line });
                            None
                        }
                    }
                    Ok(None) => break,
                    Err(fault) => match *fault {
                        ReadFault::Row { line, fault } => Some((line, fault)),
                        io => return Err(file::failed_at(&planned.path, io).into()),
                    },
                };
                if let Some((line, fault)) = bad {
                    let (row, fault) = (source.last_row(), &fault);
                    let bad = BadRow { file: &planned.path, row, fault, bytes_max };
                    reject(&bad, FilePlace { file, line });
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
        Ok(Some(()))
    }
}

fn row_of<'a>(rendered: &Rendered<'a>, headers: &'a [u8]) -> Row<'a> {
    Row {
        key: rendered.key,
        value: Some(rendered.value),
        timestamp_ms: rendered.timestamp_ms,
        partition: rendered.partition,
        headers,
    }
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

impl Compared {
    /// Nothing else.
    pub(super) const NOTHING: Compared =
        Compared { timestamps: false, partitions: false, headers: false };
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
            .with("fetch.max.bytes", "2097152")
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

    /// Its records as rows, of each partition in order; how many of them have headers that aren't
    /// compared. None after Ctrl-C.
    pub(super) fn read(
        &self,
        interrupt: &Interrupt,
        mut visit: impl FnMut(&Row<'_>, TopicPlace),
    ) -> Outcome<Option<u64>> {
        let Compared { timestamps, partitions, headers: has_headers } = self.compared;
        let (mut headers, mut ignored) = (Vec::new(), 0);
        let read = self.read_records(interrupt, |record, place| {
            headers.clear();
            if !has_headers {
                ignored += u64::from(record.headers().next().is_some());
            } else {
                for (name, value) in record.headers() {
                    write_header(&mut headers, &name, value);
                }
            }
            let row = Row {
                key: record.key,
                value: record.value,
                timestamp_ms: timestamps.then_some(record.timestamp.0),
                partition: partitions.then_some(place.partition),
                headers: &headers,
            };
            visit(&row, place);
        })?;
        Ok(read.map(|()| ignored))
    }

    /// Its records, of each partition in order.
    pub(super) fn read_records(
        &self,
        interrupt: &Interrupt,
        mut visit: impl FnMut(&RecordView<'_>, TopicPlace),
    ) -> Read {
        let consumer = self.consumer("read_committed")?;
        let start: Vec<_> =
            self.partitions.iter().map(|of| (of.clone(), Position::Beginning)).collect();
        consumer.assign(&start);
        while !self.is_read(&consumer) {
            if interrupt.is_raised() {
                return Ok(None);
            }
            let polled = consumer.poll_with(POLL, |record| {
                let partition = record.topic_partition.partition.0;
                let end = usize::try_from(partition).ok().and_then(|at| self.ends.get(at));
                if end.is_some_and(|end| record.offset < *end) {
                    visit(&record, TopicPlace { partition, offset: record.offset.0 });
                }
            });
            polled.map_err(|error| self.failed(&error))?;
        }
        Ok(Some(()))
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
