//! Where a fetch finds its batches: a plan for the shell to read by, and the choice of whole
//! batches in what it read.
//!
//! 1. A read never crosses its limit: high watermark, last stable offset, or the log's end.
//! 2. The first batch is given even if it alone is larger than was asked for (KIP-74).
//! 3. An index only says where to begin; what counts is in the batches' headers.

use streamledger_protocol::record_batch::{HEADER_BYTES, RecordBatchHeader};
use streamledger_protocol::{ErrorCode, IsolationLevel, Offset};

use super::partition_log::PartitionLog;
use super::segment::{LogSegment, SegmentIndexes};

/// The most bytes read at once to get to a batch: a sparse index costs time, never memory.
const SKIP_BYTES_MAX: usize = 256 << 10;

/// Where a reader stopped: the next read usually goes on there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadHint {
    from: Offset,
    segment: Offset,
    position: u32,
}

/// How many readers are remembered.
pub(super) const READ_HINTS: usize = 4;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLimit {
    /// A follower: to the log's end.
    LogEnd,
    /// A consumer that reads uncommitted: to the high watermark.
    HighWatermark,
    /// A consumer that reads committed: to the last stable offset.
    LastStable,
}

impl From<IsolationLevel> for ReadLimit {
    fn from(isolation_level: IsolationLevel) -> Self {
        match isolation_level {
            IsolationLevel::ReadUncommitted => Self::HighWatermark,
            IsolationLevel::ReadCommitted => Self::LastStable,
        }
    }
}

/// An offset that is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {asked} is not in the log, which has {log_start_offset} to {log_end_offset}")]
pub struct OffsetOutOfRange {
    /// The offset that was asked for.
    pub asked: Offset,
    /// Where the log begins.
    pub log_start_offset: Offset,
    /// Where the log ends.
    pub log_end_offset: Offset,
}

impl OffsetOutOfRange {
    /// The error code that answers it.
    pub const ERROR_CODE: ErrorCode = ErrorCode::OffsetOutOfRange;
}

/// What the shell is to do for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadPlan {
    /// There is nothing to see yet at that offset.
    Nothing,
    /// Read the indexes of that segment, hand them in with `install_indexes`, and ask again.
    LoadIndexes {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// Read that range and choose from it with `select_batches`.
    Range(ReadRange),
}

/// A stretch of a segment's file in which a wanted offset is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// The base offset of the segment.
    pub segment: Offset,
    /// Where to begin to read: the first byte of a batch.
    pub position: u32,
    /// How many bytes at most lie between `position` and the wanted batch.
    pub skip_bytes_max: u32,
    /// The end of the whole batches in the file.
    pub end_position: u32,
    /// The last offset of the batch at `position`, if the index names it.
    pub begins_with: Option<Offset>,
    /// The offset that is wanted.
    pub from: Offset,
    /// No batch that begins at or after this may be given.
    pub limit: Offset,
    /// The base offset of the segment after this one, where to go on if nothing is found: the
    /// offsets that compaction left out may fill a segment's end.
    pub next_segment: Option<Offset>,
}

impl ReadRange {
    /// Begins `bytes` further on: nothing before is wanted.
    pub fn go_on(&mut self, bytes: usize) {
        if bytes > 0 {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.position = self.position.saturating_add(bytes).min(self.end_position);
            self.skip_bytes_max = self.skip_bytes_max.saturating_sub(bytes);
            self.begins_with = None;
        }
    }

    /// Whether there may be another batch `bytes` further on.
    #[must_use]
    pub fn goes_on_after(&self, bytes: usize) -> bool {
        let left = self.end_position.saturating_sub(self.position) as usize;
        left.saturating_sub(bytes) >= HEADER_BYTES
    }

    /// Bytes to read for `max_bytes` of batches.
    #[must_use]
    pub fn bytes_to_read(&self, max_bytes: usize) -> usize {
        let available = self.end_position.saturating_sub(self.position) as usize;
        let skip = (self.skip_bytes_max as usize).min(SKIP_BYTES_MAX);
        max_bytes.max(HEADER_BYTES).saturating_add(skip).min(available)
    }
}

/// What of the bytes that were read is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// No wanted batch begins in what was read: go on that many bytes further, or with the next
    /// segment if that is the end of this one.
    Beyond(usize),
    /// What is wanted lies at or after the limit.
    AtLimit,
    /// The first wanted batch is longer than what was read: read `bytes` from `skip` bytes further
    /// on, and give it.
    Longer {
        /// Bytes from the beginning of what was read to the batch.
        skip: usize,
        /// Bytes of the batch.
        bytes: usize,
        /// The offset after its last record.
        next_offset: Offset,
    },
    /// Give this part of what was read.
    Batches {
        /// Where the first batch begins.
        start: usize,
        /// Where the last one ends.
        end: usize,
        /// The offset after the last record in it.
        next_offset: Offset,
    },
    /// Not a batch where one must be: the file is not what the log wrote.
    Damaged {
        /// Bytes from the beginning of what was read.
        at: usize,
    },
}

/// Chooses the whole batches that answer a read from bytes read as `range` says.
#[must_use]
pub fn select_batches(bytes: &[u8], range: &ReadRange, max_bytes: usize) -> Selection {
    let mut at = 0;
    let mut chosen: Option<(usize, usize, Offset)> = None;
    let file_bytes = range.end_position.saturating_sub(range.position) as usize;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let Ok(header) = RecordBatchHeader::parse(rest) else { return Selection::Damaged { at } };
        let batch_bytes = header.batch_bytes();
        let misled = at == 0 && range.begins_with.is_some_and(|last| last != header.last_offset());
        if misled || batch_bytes > file_bytes.saturating_sub(at) {
            return Selection::Damaged { at };
        }
        if header.base_offset >= range.limit {
            return chosen.map_or(Selection::AtLimit, as_batches);
        }
        let end = at + batch_bytes;
        if header.last_offset() >= range.from {
            let next_offset = header.next_offset();
            let start = chosen.map_or(at, |(start, ..)| start);
            if end > bytes.len() || (end - start > max_bytes && chosen.is_some()) {
                return chosen.map_or(
                    Selection::Longer { skip: at, bytes: batch_bytes, next_offset },
                    as_batches,
                );
            }
            chosen = Some((start, end, next_offset));
        }
        at = end;
    }
    chosen.map_or(Selection::Beyond(at), as_batches)
}

const fn as_batches((start, end, next_offset): (usize, usize, Offset)) -> Selection {
    Selection::Batches { start, end, next_offset }
}

impl PartitionLog {
    /// The offset that a reader sees up to.
    #[must_use]
    pub fn limit_offset(&self, limit: ReadLimit) -> Offset {
        match limit {
            ReadLimit::LogEnd => self.log_end_offset(),
            ReadLimit::HighWatermark => self.high_watermark,
            ReadLimit::LastStable => self.last_stable_offset(),
        }
    }

    /// Where the batch with `from` is, and how far a reader may go.
    ///
    /// # Errors
    /// The offset is below the log's start or above its end.
    pub fn plan_read(&self, from: Offset, limit: ReadLimit) -> Result<ReadPlan, OffsetOutOfRange> {
        let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset());
        if from < log_start_offset || from > log_end_offset {
            return Err(OffsetOutOfRange { asked: from, log_start_offset, log_end_offset });
        }
        let limit = self.limit_offset(limit);
        if from >= limit {
            return Ok(ReadPlan::Nothing);
        }
        let number = self.segment_number(from);
        let Some(segment) = self.segment_at(number) else { return Ok(ReadPlan::Nothing) };
        let mut range = ReadRange {
            segment: segment.base_offset(),
            position: 0,
            skip_bytes_max: 0,
            end_position: segment.bytes(),
            begins_with: None,
            from,
            limit,
            next_segment: self.segment_at(number + 1).map(LogSegment::base_offset),
        };
        if let Some(hint) = self.read_hint(from, segment) {
            range.position = hint.position;
            return Ok(ReadPlan::Range(range));
        }
        let Some(indexes) = segment.indexes() else {
            return Ok(ReadPlan::LoadIndexes { segment: segment.base_offset() });
        };
        if let Some(entry) = indexes.offsets.floor(from) {
            range.position = entry.position;
            range.begins_with = Some(entry.last_offset);
        }
        let until = indexes.offsets.ceiling(from).map_or(range.end_position, |e| e.position);
        range.skip_bytes_max = until.saturating_sub(range.position);
        Ok(ReadPlan::Range(range))
    }

    fn read_hint(&self, from: Offset, segment: &LogSegment) -> Option<ReadHint> {
        let fits = |hint: &&ReadHint| {
            hint.from == from
                && hint.segment == segment.base_offset()
                && hint.position < segment.bytes()
        };
        self.read_hints.iter().flatten().find(fits).copied()
    }

    /// A reader got the batches that end at `position` of `segment` and will ask for `next_offset`
    /// next: that read finds its place without the index.
    pub fn note_read(&mut self, next_offset: Offset, segment: Offset, position: u32) {
        self.read_hints.rotate_right(1);
        self.read_hints[0] = Some(ReadHint { from: next_offset, segment, position });
    }

    /// The number of the segment that holds `offset`, or would.
    pub(super) fn segment_number(&self, offset: Offset) -> usize {
        if offset >= self.active.base_offset() {
            return self.closed.len();
        }
        let above = self.closed.partition_point(|segment| segment.base_offset() <= offset);
        above.saturating_sub(1)
    }

    pub(super) fn segment_at(&self, number: usize) -> Option<&LogSegment> {
        if number == self.closed.len() { Some(&self.active) } else { self.closed.get(number) }
    }

    /// The segment that begins at `base_offset`.
    #[must_use]
    pub fn segment(&self, base_offset: Offset) -> Option<&LogSegment> {
        self.segments().find(|segment| segment.base_offset() == base_offset)
    }

    /// Takes the indexes of a segment, read from disk or rebuilt, letting go of those of the other
    /// closed segments: memory holds the active one's and one more.
    ///
    /// Those of the active segment may lack what was appended while they were rebuilt: an index is
    /// sparse anyway.
    pub fn install_indexes(&mut self, segment: Offset, indexes: SegmentIndexes) {
        if segment == self.active.base_offset() {
            self.active.install_indexes(indexes);
            return;
        }
        for closed in &mut self.closed {
            if closed.base_offset() != segment {
                closed.drop_indexes();
            }
        }
        if let Some(closed) = self.closed.iter_mut().find(|s| s.base_offset() == segment) {
            closed.install_indexes(indexes);
        }
    }

    /// Lets go of the indexes of closed segments; they are read again when they are needed.
    pub fn drop_closed_indexes(&mut self) {
        for closed in &mut self.closed {
            closed.drop_indexes();
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
