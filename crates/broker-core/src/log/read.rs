//! Where a fetch finds its batches: a plan for the shell to read by, and the choice of whole
//! batches by their headers.
//!
//! 1. A read never crosses its limit: high watermark, last stable offset, or the log's end.
//! 2. The first batch is given even if it alone is larger than was asked for (KIP-74).
//! 3. An index only says where to look; what counts is in the batches' headers.
//! 4. A walk may leap over batches that lie between two whose headers it reads: they are whole and
//!    below the limit because the second one's header is where the index says, and is the one that
//!    the index says. Whatever the index is, the answer is that of a walk along each header, or
//!    [`Selection::Damaged`].

use streamledger_protocol::record_batch::{HEADER_BYTES, RecordBatchHeader};
use streamledger_protocol::{ErrorCode, IsolationLevel, Offset};

use super::offset_index::OffsetIndex;
use super::partition_log::PartitionLog;
use super::segment::{LogSegment, SegmentIndexes};

/// How much of a log of short batches is looked through at once.
const PIECE_BYTES: usize = 16 << 10;
/// After a batch of this many bytes only the next one's header is looked at.
const LONG_BATCH_BYTES: usize = 4 << 10;

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
    /// Choose from that range with a [`BatchWalk`].
    Range(ReadRange),
}

/// A stretch of a segment's file in which a wanted offset is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// The base offset of the segment.
    pub segment: Offset,
    /// Where to begin to read: the first byte of a batch.
    pub position: u32,
    /// The end of the whole batches in the file.
    pub end_position: u32,
    /// The last offset of the batch at `position`, if the index names it.
    pub begins_with: Option<Offset>,
    /// A batch further on that is surely part of the answer, if the one before it is.
    pub leap: Option<Leap>,
    /// The offset that is wanted.
    pub from: Offset,
    /// No batch that begins at or after this may be given.
    pub limit: Offset,
    /// The base offset of the segment after this one, where to go on if nothing is found: the
    /// offsets that compaction left out may fill a segment's end.
    pub next_segment: Option<Offset>,
}

/// A batch that the index names and an answer from [`ReadRange::position`] on reaches, with all
/// that lies before it: once its header has been found there, theirs need not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leap {
    /// Its first byte in the file.
    pub position: u32,
    /// Its last offset; below the limit.
    pub last_offset: Offset,
    /// It ends here at the latest, and still fits.
    pub ends_by: u32,
}

/// What of a range is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Not decided yet: hand in what [`BatchWalk::wants`] says.
    Open,
    /// No wanted batch begins in the range: go on with the next segment.
    Beyond,
    /// What is wanted lies at or after the limit.
    AtLimit,
    /// Give this part of the file.
    Batches {
        /// Where in the file the first batch begins.
        position: u32,
        /// Bytes of all batches.
        bytes: usize,
        /// The offset after the last record in them.
        next_offset: Offset,
    },
    /// Not a batch where one must be: the file is not what the log wrote.
    Damaged {
        /// Where in the file.
        position: u64,
    },
}

/// Chooses the whole batches that answer a read, by headers alone: what is to be given need not be
/// in memory.
///
/// It looks at the first batch that it gives; at that which it may leap to; and at all that follow,
/// to the first that it doesn't give.
#[derive(Debug, Clone)]
pub struct BatchWalk {
    range: ReadRange,
    max_bytes: usize,
    /// The next batch to look at, counted from the range's position.
    at: usize,
    passed_bytes: usize,
    chosen: Option<Chosen>,
    /// Leapt to, and not looked at yet.
    landing: Option<Leap>,
}

#[derive(Debug, Clone, Copy)]
struct Chosen {
    start: usize,
    end: usize,
    next_offset: Offset,
}

impl BatchWalk {
    /// Looks in a range for up to `max_bytes` of batches.
    #[must_use]
    pub const fn new(range: ReadRange, max_bytes: usize) -> Self {
        Self { range, max_bytes, at: 0, passed_bytes: 0, chosen: None, landing: None }
    }

    /// Where in the file to read next, and how much of it at best. After a short batch that is a
    /// piece with many headers; after a long one, or where a leap follows, only the next header.
    #[must_use]
    pub fn wants(&self) -> (u64, usize) {
        let is_long = self.passed_bytes >= LONG_BATCH_BYTES;
        let bytes = if is_long || self.goes_on_with_a_leap() { HEADER_BYTES } else { PIECE_BYTES };
        (self.position_of(self.at), bytes.min(self.file_bytes().saturating_sub(self.at)))
    }

    /// Takes what is in the file from where [`Self::wants`] says on, at least a header of it.
    #[must_use]
    pub fn look(&mut self, bytes: &[u8]) -> Selection {
        let begin = self.at;
        loop {
            let is_full = self.chosen.is_some_and(|c| c.end - c.start >= self.max_bytes);
            let is_over = self.file_bytes().saturating_sub(self.at) < HEADER_BYTES;
            if is_full || is_over && !self.is_promised_a_batch() {
                return self.selection_or(Selection::Beyond);
            }
            let damaged = Selection::Damaged { position: self.position_of(self.at) };
            if is_over {
                return damaged;
            }
            let rest = bytes.get(self.at - begin..).filter(|rest| rest.len() >= HEADER_BYTES);
            let Some(rest) = rest else { return Selection::Open };
            let Ok(header) = RecordBatchHeader::parse(rest) else { return damaged };
            let batch_bytes = header.batch_bytes();
            if self.is_misled(&header) || batch_bytes > self.file_bytes() - self.at {
                return damaged;
            }
            if header.base_offset >= self.range.limit {
                return self.selection_or(Selection::AtLimit);
            }
            let end = self.at + batch_bytes;
            if header.last_offset() >= self.range.from {
                let start = self.chosen.map_or(self.at, |chosen| chosen.start);
                if self.chosen.is_some() && end - start > self.max_bytes {
                    return self.selection_or(Selection::Beyond);
                }
                self.chosen = Some(Chosen { start, end, next_offset: header.next_offset() });
            }
            (self.at, self.passed_bytes) = (end, batch_bytes);
            self.landing = None;
            self.leap();
        }
    }

    /// Whether an index says that a batch begins here.
    fn is_promised_a_batch(&self) -> bool {
        self.landing.is_some() || self.at == 0 && self.range.begins_with.is_some()
    }

    /// Whether an index named another batch than the one that begins here.
    fn is_misled(&self, header: &RecordBatchHeader) -> bool {
        let begins_with = self.range.begins_with.filter(|_| self.at == 0);
        let landed_elsewhere = self.landing.is_some_and(|leap| {
            let end = self.position_of(self.at + header.batch_bytes());
            let before = self.chosen.map_or(self.range.from, |chosen| chosen.next_offset);
            header.last_offset() != leap.last_offset
                || header.base_offset < before
                || end > u64::from(leap.ends_by)
        });
        begins_with.is_some_and(|last| last != header.last_offset()) || landed_elsewhere
    }

    /// Once the first batch is chosen, goes to one further on that fits as well.
    fn leap(&mut self) {
        let Some(leap) = self.range.leap.filter(|_| self.chosen.is_some()) else { return };
        self.range.leap = None;
        let to = leap.position.saturating_sub(self.range.position) as usize;
        if to > self.at {
            self.at = to;
            self.landing = Some(leap);
        }
    }

    /// Whether nothing is looked at yet, the range most likely begins with a batch that is given,
    /// as where an earlier read ended, and a leap goes over the rest of a piece.
    fn goes_on_with_a_leap(&self) -> bool {
        let far = self.range.position.saturating_add(PIECE_BYTES as u32);
        self.at == 0
            && self.range.begins_with.is_none()
            && self.range.leap.is_some_and(|leap| leap.position >= far)
    }

    fn file_bytes(&self) -> usize {
        self.range.end_position.saturating_sub(self.range.position) as usize
    }

    fn position_of(&self, at: usize) -> u64 {
        u64::from(self.range.position) + at as u64
    }

    fn selection_or(&self, nothing: Selection) -> Selection {
        self.chosen.map_or(nothing, |Chosen { start, end, next_offset }| Selection::Batches {
            position: u32::try_from(self.position_of(start)).unwrap_or(u32::MAX),
            bytes: end - start,
            next_offset,
        })
    }
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

    /// Where the batch with `from` is, and how far a reader of up to `max_bytes` may go.
    ///
    /// # Errors
    /// The offset is below the log's start or above its end.
    pub fn plan_read(
        &self,
        from: Offset,
        max_bytes: usize,
        limit: ReadLimit,
    ) -> Result<ReadPlan, OffsetOutOfRange> {
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
            end_position: segment.bytes(),
            begins_with: None,
            leap: None,
            from,
            limit,
            next_segment: self.segment_at(number + 1).map(LogSegment::base_offset),
        };
        if let Some(hint) = self.read_hint(from, segment) {
            range.position = hint.position;
            // Indexes that aren't in memory aren't read for a leap alone: two readers in two
            // segments would drive out each other's.
            range.leap = segment.indexes().and_then(|i| leap_of(&i.offsets, &range, max_bytes));
            return Ok(ReadPlan::Range(range));
        }
        let Some(indexes) = segment.indexes() else {
            return Ok(ReadPlan::LoadIndexes { segment: segment.base_offset() });
        };
        if let Some(entry) = indexes.offsets.floor(from) {
            range.position = entry.position;
            range.begins_with = Some(entry.last_offset);
        }
        range.leap = leap_of(&indexes.offsets, &range, max_bytes);
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

/// The last batch with an entry that lies below the limit and fits: one that ends where the next
/// entry, or the range, does at the latest. The answer may begin after the range does; then more
/// would fit, and the walk goes on from there.
fn leap_of(offsets: &OffsetIndex, range: &ReadRange, max_bytes: usize) -> Option<Leap> {
    let asked_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
    let fits_to = range.position.saturating_add(asked_bytes).min(range.end_position);
    let (entry, next_position) =
        offsets.last_ending_by(fits_to, range.end_position, range.limit)?;
    let leap =
        Leap { position: entry.position, last_offset: entry.last_offset, ends_by: next_position };
    let is_further = leap.position > range.position && leap.last_offset >= range.from;
    is_further.then_some(leap)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
