//! Reads delivered records: batch by batch, only as far as somebody wants them, without copying.

use std::collections::VecDeque;

use bytes::Bytes;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::messages::fetch::AbortedTransaction;
use streamledger_protocol::record_batch::{
    ControlKind, ControlRecord, CorruptBatch, RecordBatchHeader, RecordBatchRef, RecordRef,
    RecordsMark, parse_control_record, records_of,
};
use streamledger_protocol::{
    Codec, IsolationLevel, LeaderEpoch, Offset, ProducerId, TimestampType, TopicPartition,
};

use super::event::{Fetched, Generation};
use crate::map::Set;

/// What the records of one batch have in common.
#[derive(Debug, Clone, Copy)]
pub struct BatchOfRecords<'a> {
    /// Where they are from.
    pub topic_partition: &'a TopicPartition,
    /// The leader epoch in which they were written.
    pub leader_epoch: LeaderEpoch,
    /// Whose clock stamped them.
    pub timestamp_type: TimestampType,
    /// The bytes that keys, values and headers are slices of: of the answer, or decompressed.
    pub bytes: &'a Bytes,
}

/// Records that can't be read. The partition stands at them until a seek.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFault {
    /// Where.
    pub topic_partition: TopicPartition,
    /// The position: the first offset that can't be read.
    pub offset: Offset,
    /// The offset after the batch, if that much can be told: what to seek to in order to go on.
    pub skip_to: Option<Offset>,
    /// What is wrong.
    pub fault: Unreadable,
}

/// Why records can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// A batch is damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptBatch),
    /// A record has an offset that its batch doesn't have.
    #[error("a record with an offset outside its batch, {0}")]
    OutsideBatch(Offset),
    /// All that came is from before the position.
    #[error("all that the broker sent is from before the position")]
    LeadsNowhere,
}

/// Reads what was fetched of one partition.
#[derive(Debug)]
pub struct PartitionReader {
    fetched: Fetched,
    isolation: IsolationLevel,
    check_crcs: bool,
    /// Where in the bytes the next batch begins.
    at: usize,
    position: Offset,
    batch: Option<OpenBatch>,
    /// Aborted transactions whose first record may still come, by that record's offset.
    aborted: VecDeque<AbortedTransaction>,
    /// Producers whose records are those of an aborted transaction here.
    aborting: Set<ProducerId>,
}

/// A batch that is being read.
#[derive(Debug)]
struct OpenBatch {
    header: RecordBatchHeader,
    records: Bytes,
    mark: RecordsMark,
}

impl PartitionReader {
    /// Begins at the offset that was asked for.
    #[must_use]
    pub fn new(mut fetched: Fetched, isolation: IsolationLevel, check_crcs: bool) -> Self {
        let mut aborted = std::mem::take(&mut fetched.aborted);
        // Brokers order them so; it costs nothing to be sure.
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Self {
            position: fetched.offset,
            fetched,
            isolation,
            check_crcs,
            at: 0,
            batch: None,
            aborted: aborted.into(),
            aborting: Set::default(),
        }
    }

    /// Where the records are from.
    #[must_use]
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.fetched.topic_partition
    }

    /// The generation they were asked for in.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.fetched.generation
    }

    /// What they count for against the limits of fetching.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.fetched.bytes
    }

    /// The offset of the next record; beyond records that were passed over.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.batch.is_none() && self.at >= self.fetched.records.len()
    }

    /// Shows up to `records_max` records to `visit`, and says how many there were: fewer only at
    /// the end.
    ///
    /// # Errors
    /// A batch can't be read. Records before it were shown; nothing behind it ever is.
    pub fn read(
        &mut self,
        records_max: usize,
        decompressor: &mut Decompressor,
        mut visit: impl FnMut(&BatchOfRecords<'_>, &RecordRef<'_>),
    ) -> Result<usize, ReadFault> {
        let mut record_count = 0;
        while record_count < records_max && !self.is_done() {
            let skip_to = self.batch.as_ref().map(|batch| batch.header.next_offset());
            let step = match self.batch.take() {
                None => self.open_next(decompressor),
                Some(batch) => {
                    let wanted = records_max - record_count;
                    self.read_batch(batch, wanted, &mut visit).map(|shown| record_count += shown)
                }
            };
            step.map_err(|fault| self.stop(fault, skip_to))?;
            let is_stuck = self.is_done() && self.position == self.fetched.offset;
            if is_stuck {
                return Err(self.stop(Unreadable::LeadsNowhere, None));
            }
        }
        Ok(record_count)
    }

    /// Whatever is left can't be read.
    fn stop(&mut self, fault: Unreadable, skip_to: Option<Offset>) -> ReadFault {
        let rest = self.fetched.records.get(self.at..).unwrap_or_default();
        let next = || RecordBatchHeader::parse(rest).ok().map(|header| header.next_offset());
        let skip_to = skip_to.or_else(next).filter(|offset| *offset > self.position);
        self.at = self.fetched.records.len();
        self.batch = None;
        let (topic_partition, offset) = (self.fetched.topic_partition.clone(), self.position);
        ReadFault { topic_partition, offset, skip_to, fault }
    }

    /// Opens the next batch, or passes it over. On an error, `at` stays before it.
    fn open_next(&mut self, decompressor: &mut Decompressor) -> Result<(), Unreadable> {
        let rest = self.fetched.records.slice(self.at..);
        let (batch, _) = RecordBatchRef::parse(&rest)?;
        if self.check_crcs {
            batch.verify_crc()?;
        }
        let header = *batch.header();
        let is_wanted = header.next_offset() > self.position && self.is_visible(&batch)?;
        if is_wanted {
            let records = match header.attributes.codec()? {
                Codec::None => rest.slice_ref(batch.stored_records()),
                codec => decompressor
                    .decompress_owned(codec, batch.stored_records())
                    .map_err(CorruptBatch::from)?,
            };
            records_of(&header, &records)?;
            self.batch = Some(OpenBatch { header, records, mark: RecordsMark::default() });
        } else {
            self.position = self.position.max(header.next_offset());
        }
        self.at += header.batch_bytes();
        Ok(())
    }

    /// Whether the batch has records for the reader: not markers, and with read-committed not those
    /// of an aborted transaction (Kafka's `CompletedFetch.nextFetchedRecord`).
    fn is_visible(&mut self, batch: &RecordBatchRef<'_>) -> Result<bool, CorruptBatch> {
        let header = batch.header();
        if self.isolation == IsolationLevel::ReadUncommitted {
            return Ok(!header.attributes.is_control());
        }
        let is_begun =
            |transaction: &mut AbortedTransaction| transaction.first_offset <= header.last_offset();
        while let Some(transaction) = self.aborted.pop_front_if(is_begun) {
            self.aborting.insert(transaction.producer_id);
        }
        if header.attributes.is_control() {
            if is_abort_marker(batch)? {
                self.aborting.remove(&header.producer_id);
            }
            return Ok(false);
        }
        let is_aborted = header.attributes.is_transactional();
        Ok(!(is_aborted && self.aborting.contains(&header.producer_id)))
    }

    fn read_batch(
        &mut self,
        batch: OpenBatch,
        records_max: usize,
        visit: &mut impl FnMut(&BatchOfRecords<'_>, &RecordRef<'_>),
    ) -> Result<usize, Unreadable> {
        let shared = BatchOfRecords {
            topic_partition: &self.fetched.topic_partition,
            leader_epoch: batch.header.partition_leader_epoch,
            timestamp_type: batch.header.attributes.timestamp_type(),
            bytes: &batch.records,
        };
        let last_offset = batch.header.last_offset();
        let mut records = records_of(&batch.header, &batch.records)?.resume(batch.mark);
        let mut record_count = 0;
        while record_count < records_max {
            let Some(record) = records.next() else {
                self.position = self.position.max(batch.header.next_offset());
                return Ok(record_count);
            };
            let record = record?;
            if record.offset > last_offset {
                return Err(Unreadable::OutsideBatch(record.offset));
            }
            // A compressed batch comes whole, also with records before the position.
            if record.offset >= self.position {
                visit(&shared, &record);
                record_count += 1;
                self.position = record.offset.next();
            }
        }
        let mark = records.mark();
        self.batch = Some(OpenBatch { mark, ..batch });
        Ok(record_count)
    }
}

fn is_abort_marker(batch: &RecordBatchRef<'_>) -> Result<bool, CorruptBatch> {
    let mut records = records_of(batch.header(), batch.stored_records())?;
    let Some(record) = records.next().transpose()? else { return Ok(false) };
    let control = parse_control_record(&record)?;
    Ok(matches!(control, ControlRecord::Marker { kind: ControlKind::Abort, .. }))
}
