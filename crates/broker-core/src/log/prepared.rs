//! What the log decided about an append: the bytes to write where, and what to answer.

use bytes::Bytes;
use streamledger_protocol::record_batch::{HEADER_BYTES, RecordBatchHeader};
use streamledger_protocol::{Offset, TimestampMs};

use super::producer_state::TransactionMarker;
use super::segment::{LogSegment, SegmentIndexes};
use super::transaction_index::encode_transaction_index;
use super::transactions::TransactionTable;

/// What an append answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendOutcome {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record: flushed once the log is flushed past it.
    pub last_offset: Offset,
    /// The leader's time that stamped the records; NONE unless the topic has LogAppendTime.
    pub log_append_time: TimestampMs,
    /// Where the log begins.
    pub log_start_offset: Offset,
    /// Whether the batch had been appended before, and nothing was written now.
    pub duplicate: bool,
}

/// Why a new segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollReason {
    /// The segment would grow past `segment.bytes`.
    Full,
    /// Its records span more time than `segment.ms`.
    Old,
    /// Its index has no room for an entry more.
    IndexFull,
    /// An offset would lie too far from its base for the index.
    OffsetTooFar,
    /// Its records are past retention, and an active segment is never deleted.
    Retention,
}

/// One batch as it goes into the file.
#[derive(Debug, Clone)]
pub struct PreparedBatch {
    pub(super) header: RecordBatchHeader,
    pub(super) marker: Option<TransactionMarker>,
    head: [u8; HEADER_BYTES],
    records: Bytes,
}

impl PreparedBatch {
    /// A batch with `header` in front of what follows the header in `bytes`.
    pub(super) fn new(
        header: RecordBatchHeader,
        bytes: &Bytes,
        marker: Option<TransactionMarker>,
    ) -> Self {
        let records = bytes.slice(HEADER_BYTES.min(bytes.len())..);
        Self { header, marker, head: header.to_bytes(), records }
    }

    /// What it says about itself, with its place in the log.
    #[must_use]
    pub const fn header(&self) -> &RecordBatchHeader {
        &self.header
    }

    /// Its bytes in two pieces: the header with its place in the log, and the rest as received.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, &self.records]
    }
}

/// An append that was decided and not yet performed: write the pieces of `batches` one after the
/// other at `position` of the segment's file, then tell the log with `written`.
///
/// If `roll` is there, the log wants a new segment first: `plan_roll`, perform it, `rolled`.
/// If the write fails, cut the file back to `position` and drop this: nothing happened.
#[derive(Debug, Clone)]
#[must_use = "an append happens when the shell writes it"]
pub struct PreparedAppend {
    /// Why a new segment must begin first.
    pub roll: Option<RollReason>,
    /// The base offset of the segment that takes the batches.
    pub segment: Offset,
    /// Where in its file they begin.
    pub position: u32,
    /// The batches, in order.
    pub batches: Vec<PreparedBatch>,
    /// Whether it brings a producer that the log doesn't know and that has no place yet: one is to
    /// be taken (`ProducerPlaces::take`) before it is written. A transactional one took its place
    /// when the partition joined its transaction.
    pub wants_place: bool,
    /// What to answer once it is written.
    pub outcome: AppendOutcome,
}

impl PreparedAppend {
    /// Bytes of all batches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.header.batch_bytes()).sum()
    }

    /// The pieces to write, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.batches.iter().flat_map(PreparedBatch::pieces)
    }

    /// The bytes to write, copied together.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.pieces().flatten().copied().collect()
    }
}

/// What the log makes of batches that are to be appended.
#[derive(Debug, Clone)]
#[must_use = "an append happens when the shell writes it"]
pub enum AppendDecision {
    /// They were appended before: answer with this, once it is flushed.
    Duplicate(AppendOutcome),
    /// They are to be written.
    Write(PreparedAppend),
}

/// A new segment that was decided and not yet begun: write the index files of the closed one,
/// create the file of the new one, then tell the log with `rolled`.
///
/// The producer snapshot is written later, once everything below `opened` is on disk, and before
/// anything in the new segment is acknowledged: recovery takes it as the proof of that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a segment is closed when the shell has written its files"]
pub struct RollPlan {
    /// The base offset of the segment that ends.
    pub closed: Offset,
    /// The base offset of the segment that begins.
    pub opened: Offset,
    /// The index files of the closed one.
    pub index_files: IndexFiles,
    /// The producers as of `opened`: the content of the snapshot file of that offset, to be written
    /// once everything below is on disk.
    pub producer_snapshot: Vec<u8>,
}

/// The content of a segment's index files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFiles {
    /// The `.index` file.
    pub offsets: Vec<u8>,
    /// The `.timeindex` file.
    pub times: Vec<u8>,
    /// The `.txnindex` file; no file if empty.
    pub transactions: Vec<u8>,
}

impl IndexFiles {
    /// The files of a segment whose indexes are in memory, closed as it is now.
    pub(super) fn of(segment: &LogSegment, transactions: &TransactionTable) -> Self {
        let (from, to) = (segment.base_offset(), segment.next_offset());
        Self::with(segment, encode_transaction_index(transactions.aborted_in_segment(from, to)))
    }

    /// The same with that content of the `.txnindex` file.
    pub(super) fn with(segment: &LogSegment, transactions: Vec<u8>) -> Self {
        let empty = SegmentIndexes::new(segment.base_offset());
        let indexes = segment.indexes().unwrap_or(&empty);
        let mut times = indexes.times.clone();
        if let Some(largest) = segment.largest_timestamp() {
            times.append(largest);
        }
        Self { offsets: indexes.offsets.encode(), times: times.encode(), transactions }
    }
}
