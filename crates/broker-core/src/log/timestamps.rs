//! From a timestamp to an offset: the first record that is not older, and the newest record.

use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::{
    CorruptBatch, HEADER_BYTES, RecordBatchHeader, RecordBatchRef,
};
use streamledger_protocol::{Offset, TimestampMs};

use super::partition_log::PartitionLog;
use super::read::ReadLimit;
use super::time_index::TimestampOffset;

/// What the shell is to do to find a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampPlan {
    /// No record is that new.
    Nothing,
    /// Read the indexes of that segment, hand them in with `install_indexes`, and ask again.
    LoadIndexes {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// Walk the batches of a segment with `find_batch`.
    Scan(TimestampScan),
}

/// A stretch of a segment's file in which a batch that is new enough is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampScan {
    /// The base offset of the segment.
    pub segment: Offset,
    /// Where to begin: the first byte of a batch.
    pub position: u32,
    /// The end of the whole batches in the file.
    pub end_position: u32,
    /// The timestamp that is looked for.
    pub timestamp: TimestampMs,
    /// No record before this one counts.
    pub from: Offset,
    /// No record from this one on counts.
    pub limit: Offset,
}

/// What a walk over batches found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSearch {
    /// A batch whose largest timestamp is new enough: read it, and ask `first_record_at`.
    Found {
        /// Bytes from the beginning of what was read to the batch.
        skip: usize,
        /// Bytes of the batch.
        bytes: usize,
    },
    /// None among the batches that begin in what was read; go on that many bytes further.
    Beyond(usize),
}

/// Walks the headers in `bytes`, which begin with a batch, for one that is new enough.
///
/// # Errors
/// There is no batch where one must be.
pub fn find_batch(bytes: &[u8], scan: &TimestampScan) -> Result<BatchSearch, CorruptBatch> {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let header = RecordBatchHeader::parse(rest)?;
        if header.max_timestamp >= scan.timestamp && header.last_offset() >= scan.from {
            return Ok(BatchSearch::Found { skip: at, bytes: header.batch_bytes() });
        }
        at = at.saturating_add(header.batch_bytes());
    }
    Ok(BatchSearch::Beyond(at))
}

/// The first record of a batch that is not older than asked for, with its own timestamp.
///
/// # Errors
/// The batch can't be read.
pub fn first_record_at(
    batch: &[u8],
    timestamp: TimestampMs,
    from: Offset,
    decompressor: &mut Decompressor,
) -> Result<Option<TimestampOffset>, CorruptBatch> {
    let (batch, _) = RecordBatchRef::parse(batch)?;
    for record in batch.records(decompressor)? {
        let record = record?;
        if record.timestamp >= timestamp && record.offset >= from {
            let (timestamp, offset) = (record.timestamp, record.offset);
            return Ok(Some(TimestampOffset { timestamp, offset }));
        }
    }
    Ok(None)
}

impl PartitionLog {
    /// Where to look for the first record that is not older than `timestamp`, from the first
    /// offset `from` on.
    #[must_use]
    pub fn plan_timestamp(
        &self,
        timestamp: TimestampMs,
        from: Offset,
        limit: ReadLimit,
    ) -> TimestampPlan {
        let from = from.max(self.log_start_offset);
        let new_enough = self.segments().find(|segment| {
            let newest = segment.largest_timestamp().map(|largest| largest.timestamp);
            segment.next_offset() > from && newest.is_some_and(|newest| newest >= timestamp)
        });
        let Some(segment) = new_enough else { return TimestampPlan::Nothing };
        let Some(indexes) = segment.indexes() else {
            return TimestampPlan::LoadIndexes { segment: segment.base_offset() };
        };
        let older = indexes.times.below(timestamp).map_or(from, |entry| entry.offset.max(from));
        TimestampPlan::Scan(TimestampScan {
            segment: segment.base_offset(),
            position: indexes.offsets.floor(older).map_or(0, |entry| entry.position),
            end_position: segment.bytes(),
            timestamp,
            from,
            limit: self.limit_offset(limit),
        })
    }

    /// The largest timestamp in the log, and the last offset of the first batch that carries it
    /// (ListOffsets with -3, KIP-734).
    #[must_use]
    pub fn largest_timestamp(&self) -> Option<TimestampOffset> {
        let newest = |best: Option<TimestampOffset>, next: TimestampOffset| match best {
            Some(best) if best.timestamp >= next.timestamp => Some(best),
            _ => Some(next),
        };
        self.segments().filter_map(|segment| segment.largest_timestamp()).fold(None, newest)
    }
}
