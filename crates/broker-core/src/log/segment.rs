//! One segment of a log: a stretch of it in one file, with what is known of that file.

use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{Offset, TimestampMs};

use super::offset_index::{CorruptIndex, OffsetIndex};
use super::time_index::{TimeIndex, TimestampOffset};

/// The two indexes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentIndexes {
    /// From offset to position.
    pub offsets: OffsetIndex,
    /// From timestamp to offset.
    pub times: TimeIndex,
}

impl SegmentIndexes {
    /// Reads the two index files of a closed segment.
    ///
    /// # Errors
    /// They are not the indexes that the segment was closed with; rebuild them from the log.
    pub fn decode(
        segment: &LogSegment,
        offset_file: &[u8],
        time_file: &[u8],
    ) -> Result<Self, CorruptIndex> {
        let base_offset = segment.base_offset();
        let indexes = Self {
            offsets: OffsetIndex::decode(base_offset, segment.bytes(), offset_file)?,
            times: TimeIndex::decode(base_offset, time_file)?,
        };
        let expected = segment.index_entries();
        let found = (indexes.offsets.entry_count(), indexes.times.entry_count());
        if found != (expected.offsets as usize, expected.times as usize) {
            return Err(CorruptIndex::NotAsClosed);
        }
        Ok(indexes)
    }

    /// Indexes without entries for the segment that begins at `base_offset`.
    #[must_use]
    pub const fn new(base_offset: Offset) -> Self {
        Self { offsets: OffsetIndex::new(base_offset), times: TimeIndex::new(base_offset) }
    }
}

/// How many entries the indexes of a segment have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexEntries {
    /// Entries from offset to position.
    pub offsets: u32,
    /// Entries from timestamp to offset.
    pub times: u32,
}

/// One segment of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSegment {
    base_offset: Offset,
    pub(super) bytes: u32,
    pub(super) next_offset: Offset,
    /// The largest timestamp of the first batch: what `segment.ms` counts from.
    pub(super) first_timestamp: TimestampMs,
    /// The wall clock when it was created: what `segment.ms` counts from if nothing is stamped.
    pub(super) created: TimestampMs,
    /// The wall clock at the last append: what retention goes by if nothing is stamped.
    pub(super) modified: TimestampMs,
    pub(super) largest: Option<TimestampOffset>,
    bytes_since_index_entry: u32,
    /// None while they are only on disk.
    indexes: Option<SegmentIndexes>,
    /// How many entries the indexes had when they were let go.
    pub(super) entries: IndexEntries,
}

impl LogSegment {
    /// A segment without batches.
    #[must_use]
    pub const fn new(base_offset: Offset, created: TimestampMs) -> Self {
        Self {
            base_offset,
            bytes: 0,
            next_offset: base_offset,
            first_timestamp: TimestampMs::NONE,
            created,
            modified: created,
            largest: None,
            bytes_since_index_entry: 0,
            indexes: Some(SegmentIndexes::new(base_offset)),
            entries: IndexEntries { offsets: 0, times: 0 },
        }
    }

    /// The offset in its file's name; no batch in it is below.
    #[must_use]
    pub const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of whole batches in its file.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// The offset after its last record.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Its largest timestamp, and the last offset of the batch that carries it.
    #[must_use]
    pub const fn largest_timestamp(&self) -> Option<TimestampOffset> {
        self.largest
    }

    /// Its indexes; none while they are only on disk.
    #[must_use]
    pub const fn indexes(&self) -> Option<&SegmentIndexes> {
        self.indexes.as_ref()
    }

    /// Notes that a batch is in the file, at its end. An index entry is added for each batch that
    /// begins more than `index_interval_bytes` after the last one that has an entry.
    pub(super) fn append(&mut self, header: &RecordBatchHeader, index_interval_bytes: u32) {
        let batch_bytes = u32::try_from(header.batch_bytes()).unwrap_or(u32::MAX);
        let timestamp = header.max_timestamp;
        if timestamp.0 >= 0 && self.largest.is_none_or(|largest| timestamp > largest.timestamp) {
            self.largest = Some(TimestampOffset { timestamp, offset: header.last_offset() });
        }
        if self.first_timestamp.0 < 0 {
            self.first_timestamp = timestamp;
        }
        if self.bytes_since_index_entry > index_interval_bytes {
            if let Some(indexes) = &mut self.indexes {
                indexes.offsets.append(header.last_offset(), self.bytes);
                if let Some(largest) = self.largest {
                    indexes.times.append(largest);
                }
            }
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry = self.bytes_since_index_entry.saturating_add(batch_bytes);
        self.bytes = self.bytes.saturating_add(batch_bytes);
        self.next_offset = header.next_offset();
    }

    /// Closes it: the time index ends with the largest timestamp, as Kafka's does.
    pub(super) fn close(&mut self) {
        if let (Some(indexes), Some(largest)) = (&mut self.indexes, self.largest) {
            indexes.times.append(largest);
        }
    }

    /// Takes indexes that were read from disk or rebuilt.
    pub(super) fn install_indexes(&mut self, indexes: SegmentIndexes) {
        self.indexes = Some(indexes);
    }

    /// Counts the torn tail as written: the planted bug of that name.
    pub(super) fn keep_torn_tail(&mut self, file_bytes: u64) {
        self.bytes = u32::try_from(file_bytes).unwrap_or(u32::MAX);
        self.next_offset = self.next_offset.next();
    }

    pub(super) fn take_indexes(self) -> Option<SegmentIndexes> {
        self.indexes
    }

    /// Lets go of the indexes, which are on disk.
    pub(super) fn drop_indexes(&mut self) {
        self.entries = self.index_entries();
        self.indexes = None;
    }

    /// How many entries its index files have: a file with another number is not the right one.
    #[must_use]
    pub fn index_entries(&self) -> IndexEntries {
        let count = |entries: usize| u32::try_from(entries).unwrap_or(u32::MAX);
        self.indexes.as_ref().map_or(self.entries, |indexes| IndexEntries {
            offsets: count(indexes.offsets.entry_count()),
            times: count(indexes.times.entry_count()),
        })
    }

    /// Whether one more entry would make an index file longer than `segment_index_bytes`.
    pub(super) fn index_is_full(&self, segment_index_bytes: u32) -> bool {
        let entries_max = segment_index_bytes as usize / super::OFFSET_ENTRY_BYTES;
        let time_entries_max = segment_index_bytes as usize / super::TIME_ENTRY_BYTES;
        self.indexes.as_ref().is_some_and(|indexes| {
            indexes.offsets.entry_count() >= entries_max
                || indexes.times.entry_count() >= time_entries_max
        })
    }

    /// The time that retention and `segment.ms` hold against the clock: the largest timestamp, or
    /// when it was last written to if nothing in it is stamped.
    #[must_use]
    pub fn retention_timestamp(&self) -> TimestampMs {
        self.largest.map_or(self.modified, |largest| largest.timestamp)
    }
}
