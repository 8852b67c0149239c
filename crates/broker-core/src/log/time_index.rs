//! The sparse index from timestamp to offset within one segment, in Kafka's file format.
//!
//! 1. An entry (t, o) says: the largest timestamp up to and including offset o is t. 12 bytes in
//!    the file: the timestamp, then the offset relative to the segment's base, big-endian.
//! 2. Both columns only rise; a batch that is older than one before it adds no entry.

use streamledger_protocol::{Offset, TimestampMs};

use super::offset_index::CorruptIndex;

/// Bytes of one entry in the file.
pub const TIME_ENTRY_BYTES: usize = 12;

/// The largest timestamp so far in a segment, and the last offset of the batch that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The largest timestamp so far.
    pub timestamp: TimestampMs,
    /// The last offset of the batch it is in.
    pub offset: Offset,
}

/// The sparse index from timestamp to offset of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: Offset,
    // Two columns, because a row of both would be padded from 12 bytes to 16.
    timestamps: Vec<i64>,
    relative_offsets: Vec<u32>,
}

impl TimeIndex {
    /// An index without entries for the segment that begins at `base_offset`.
    #[must_use]
    pub const fn new(base_offset: Offset) -> Self {
        Self { base_offset, timestamps: Vec::new(), relative_offsets: Vec::new() }
    }

    /// Adds an entry; one that is not later in both columns than the last is left out.
    pub fn append(&mut self, entry: TimestampOffset) {
        let Ok(relative) = u32::try_from(entry.offset - self.base_offset) else { return };
        let later = self.timestamps.last().is_none_or(|&last| entry.timestamp.0 > last);
        let higher = self.relative_offsets.last().is_none_or(|&last| relative > last);
        if entry.timestamp.0 >= 0 && later && higher {
            self.timestamps.push(entry.timestamp.0);
            self.relative_offsets.push(relative);
        }
    }

    /// The entry with the largest timestamp below `timestamp`: every record up to its offset is
    /// older than `timestamp`, so a search for the first that is not begins after it.
    #[must_use]
    pub fn below(&self, timestamp: TimestampMs) -> Option<TimestampOffset> {
        let number = self.timestamps.partition_point(|&t| t < timestamp.0).checked_sub(1)?;
        self.entry(number)
    }

    fn entry(&self, number: usize) -> Option<TimestampOffset> {
        Some(TimestampOffset {
            timestamp: TimestampMs(*self.timestamps.get(number)?),
            offset: self.base_offset + i64::from(*self.relative_offsets.get(number)?),
        })
    }

    /// The last entry: the largest timestamp that is indexed.
    #[must_use]
    pub fn last(&self) -> Option<TimestampOffset> {
        self.entry(self.timestamps.len().checked_sub(1)?)
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.timestamps.len()
    }

    /// Forgets the entries at or after `offset`.
    pub fn truncate_to_offset(&mut self, offset: Offset) {
        let relative = offset - self.base_offset;
        let kept = self.relative_offsets.partition_point(|&o| i64::from(o) < relative);
        self.timestamps.truncate(kept);
        self.relative_offsets.truncate(kept);
    }

    /// The bytes of the index file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.timestamps.len() * TIME_ENTRY_BYTES);
        for (timestamp, relative_offset) in self.timestamps.iter().zip(&self.relative_offsets) {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&relative_offset.to_be_bytes());
        }
        bytes
    }

    /// Reads the bytes of an index file.
    ///
    /// # Errors
    /// The bytes break a law of the index; it is to be rebuilt from the log.
    pub fn decode(base_offset: Offset, file: &[u8]) -> Result<Self, CorruptIndex> {
        let (chunks, cut) = file.as_chunks::<TIME_ENTRY_BYTES>();
        if !cut.is_empty() {
            let entry_bytes = TIME_ENTRY_BYTES;
            return Err(CorruptIndex::CutEntry { file_bytes: file.len(), entry_bytes });
        }
        let mut index = Self::new(base_offset);
        index.timestamps.reserve_exact(chunks.len());
        index.relative_offsets.reserve_exact(chunks.len());
        for (entry, chunk) in chunks.iter().enumerate() {
            let &[a, b, c, d, e, f, g, h, i, j, k, l] = chunk;
            let timestamp = TimestampMs(i64::from_be_bytes([a, b, c, d, e, f, g, h]));
            let offset = base_offset + i64::from(u32::from_be_bytes([i, j, k, l]));
            index.append(TimestampOffset { timestamp, offset });
            if index.entry_count() != entry + 1 {
                return Err(CorruptIndex::NotRising { entry });
            }
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(timestamp: i64, offset: i64) -> TimestampOffset {
        TimestampOffset { timestamp: TimestampMs(timestamp), offset: Offset(offset) }
    }

    fn index() -> TimeIndex {
        let mut index = TimeIndex::new(Offset(100));
        for (timestamp, offset) in [(1000, 109), (2000, 119), (1500, 129), (3000, 150)] {
            index.append(entry(timestamp, offset));
        }
        index
    }

    #[test]
    fn a_search_begins_after_records_that_are_all_older() {
        let index = index();
        let below = |timestamp| index.below(TimestampMs(timestamp));
        assert_eq!(below(1000), None);
        assert_eq!(below(1001), Some(entry(1000, 109)));
        assert_eq!(below(3000), Some(entry(2000, 119)));
        assert_eq!(below(9999), Some(entry(3000, 150)));
        assert_eq!(index.last(), Some(entry(3000, 150)));
    }

    #[test]
    fn the_file_is_kafkas_twelve_bytes_an_entry() {
        let bytes = index().encode();
        assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 9]);
        assert_eq!(TimeIndex::decode(Offset(100), &bytes), Ok(index()));
    }

    #[test]
    fn failure_34_a_corrupt_file_is_told_from_an_index() {
        let bytes = index().encode();
        assert!(TimeIndex::decode(Offset(100), &bytes[..13]).is_err());
        let twice = [&bytes[..12], &bytes[..12]].concat();
        let refused = TimeIndex::decode(Offset(100), &twice);
        assert_eq!(refused, Err(CorruptIndex::NotRising { entry: 1 }));
    }

    #[test]
    fn a_truncation_forgets_what_lies_at_or_after_it() {
        let mut index = index();
        index.truncate_to_offset(Offset(119));
        assert_eq!(index.last(), Some(entry(1000, 109)));
    }
}
