//! The sparse index from offset to byte position within one segment, in Kafka's file format.
//!
//! 1. An entry is (last offset of a batch, position where that batch begins), as Kafka's
//!    `LogSegment.append` writes it: 8 bytes in the file, both numbers relative and big-endian.
//! 2. Both columns only rise.
//! 3. The index is never trusted over the log: whoever follows an entry checks the batch it finds.

use streamledger_protocol::Offset;

/// Bytes of one entry in the file.
pub const OFFSET_ENTRY_BYTES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OffsetEntry {
    relative_offset: u32,
    position: u32,
}

/// Where a batch begins in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The last offset of the batch.
    pub last_offset: Offset,
    /// The byte position of its first byte.
    pub position: u32,
}

/// Why the bytes of an index file cannot be an index of that segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptIndex {
    /// The file ends within an entry.
    #[error("its {file_bytes} bytes are not whole entries of {entry_bytes} bytes")]
    CutEntry {
        /// Bytes of the file.
        file_bytes: usize,
        /// Bytes of an entry.
        entry_bytes: usize,
    },
    /// An entry does not lie after the one before it.
    #[error("entry {entry} does not lie after the entry before it")]
    NotRising {
        /// The number of the entry, counted from 0.
        entry: usize,
    },
    /// The file has another number of entries than the index that was written.
    #[error("it has not as many entries as were written")]
    NotAsClosed,
    /// An entry points past the end of the segment.
    #[error("entry {entry} points past the segment's end")]
    PastEnd {
        /// The number of the entry, counted from 0.
        entry: usize,
    },
}

/// The sparse index from offset to byte position of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: Offset,
    entries: Vec<OffsetEntry>,
}

impl OffsetIndex {
    /// An index without entries for the segment that begins at `base_offset`.
    #[must_use]
    pub const fn new(base_offset: Offset) -> Self {
        Self { base_offset, entries: Vec::new() }
    }

    /// Adds an entry; one that would not lie after the last is left out.
    pub fn append(&mut self, last_offset: Offset, position: u32) {
        let Ok(relative_offset) = u32::try_from(last_offset - self.base_offset) else { return };
        let rises = self
            .entries
            .last()
            .is_none_or(|last| relative_offset > last.relative_offset && position > last.position);
        if rises {
            self.entries.push(OffsetEntry { relative_offset, position });
        }
    }

    /// The entry with the largest offset that is not above `offset`.
    #[must_use]
    pub fn floor(&self, offset: Offset) -> Option<OffsetPosition> {
        let above = self.first_above(offset);
        above.checked_sub(1).and_then(|below| self.entry(below))
    }

    /// The last entry of a batch with no offset at or above `limit` that ends by `position_max`,
    /// and the position that it ends by: that of the entry after it, or `end_position`, the end of
    /// the segment, after the last.
    pub(super) fn last_ending_by(
        &self,
        position_max: u32,
        end_position: u32,
        limit: Offset,
    ) -> Option<(OffsetPosition, u32)> {
        let beginning = self.entries.partition_point(|entry| entry.position <= position_max);
        // The last of these may go on behind `position_max`, unless nothing lies there.
        let ending = match position_max < end_position {
            true => beginning.saturating_sub(1),
            false => beginning,
        };
        let mut number = ending.checked_sub(1)?;
        if self.entry(number)?.last_offset >= limit {
            number = self.first_above(Offset(limit.0.saturating_sub(1))).checked_sub(1)?;
        }
        let next_position = self.entries.get(number + 1).map_or(end_position, |e| e.position);
        Some((self.entry(number)?, next_position))
    }

    fn first_above(&self, offset: Offset) -> usize {
        let relative = offset - self.base_offset;
        self.entries.partition_point(|entry| i64::from(entry.relative_offset) <= relative)
    }

    fn entry(&self, number: usize) -> Option<OffsetPosition> {
        self.entries.get(number).map(|entry| OffsetPosition {
            last_offset: self.base_offset + i64::from(entry.relative_offset),
            position: entry.position,
        })
    }

    /// All entries, by offset.
    pub fn entries(&self) -> impl Iterator<Item = OffsetPosition> + '_ {
        (0..self.entries.len()).filter_map(|number| self.entry(number))
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the entries of batches that begin at or after `position`.
    pub fn truncate_to_position(&mut self, position: u32) {
        let kept = self.entries.partition_point(|entry| entry.position < position);
        self.entries.truncate(kept);
    }

    /// The bytes of the index file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * OFFSET_ENTRY_BYTES);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.relative_offset.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
        }
        bytes
    }

    /// Reads the bytes of an index file of a segment of `segment_bytes`.
    ///
    /// # Errors
    /// The bytes break a law of the index; it is to be rebuilt from the log.
    pub fn decode(
        base_offset: Offset,
        segment_bytes: u32,
        file: &[u8],
    ) -> Result<Self, CorruptIndex> {
        let (chunks, cut) = file.as_chunks::<OFFSET_ENTRY_BYTES>();
        if !cut.is_empty() {
            let entry_bytes = OFFSET_ENTRY_BYTES;
            return Err(CorruptIndex::CutEntry { file_bytes: file.len(), entry_bytes });
        }
        let mut entries: Vec<OffsetEntry> = Vec::with_capacity(chunks.len());
        for (number, &[a, b, c, d, e, f, g, h]) in chunks.iter().enumerate() {
            let entry = OffsetEntry {
                relative_offset: u32::from_be_bytes([a, b, c, d]),
                position: u32::from_be_bytes([e, f, g, h]),
            };
            let rises = entries.last().is_none_or(|last| {
                entry.relative_offset > last.relative_offset && entry.position > last.position
            });
            if !rises {
                return Err(CorruptIndex::NotRising { entry: number });
            }
            if entry.position >= segment_bytes {
                return Err(CorruptIndex::PastEnd { entry: number });
            }
            entries.push(entry);
        }
        Ok(Self { base_offset, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> OffsetIndex {
        let mut index = OffsetIndex::new(Offset(100));
        for (last_offset, position) in [(109, 4096), (119, 9000), (150, 20_000)] {
            index.append(Offset(last_offset), position);
        }
        index
    }

    #[test]
    fn the_floor_is_the_last_entry_that_is_not_above() {
        let index = index();
        let floor = |offset| index.floor(Offset(offset)).map(|entry| entry.position);
        assert_eq!(floor(100), None);
        assert_eq!(floor(109), Some(4096));
        assert_eq!(floor(118), Some(4096));
        assert_eq!(floor(9999), Some(20_000));
    }

    #[test]
    fn the_file_is_kafkas_eight_bytes_an_entry() {
        let bytes = index().encode();
        assert_eq!(bytes[..8], [0, 0, 0, 9, 0, 0, 0x10, 0]);
        assert_eq!(OffsetIndex::decode(Offset(100), 30_000, &bytes), Ok(index()));
    }

    #[test]
    fn failure_34_a_corrupt_file_is_told_from_an_index() {
        let bytes = index().encode();
        let decode = |bytes: &[u8]| OffsetIndex::decode(Offset(100), 20_001, bytes);
        let cut = CorruptIndex::CutEntry { file_bytes: 23, entry_bytes: 8 };
        assert_eq!(decode(&bytes[..23]), Err(cut));
        assert_eq!(decode(&[0; 16]), Err(CorruptIndex::NotRising { entry: 1 }));
        let short = OffsetIndex::decode(Offset(100), 20_000, &bytes);
        assert_eq!(short, Err(CorruptIndex::PastEnd { entry: 2 }));
        assert!(decode(&[]).is_ok());
    }

    #[test]
    fn entries_behind_the_last_are_left_out_and_a_truncation_forgets() {
        let mut index = index();
        index.append(Offset(150), 30_000);
        index.append(Offset(99), 30_000);
        index.append(Offset(160), 20_000);
        assert_eq!(index.entry_count(), 3);
        index.truncate_to_position(9000);
        assert_eq!(index.entry_count(), 1);
    }
}
