//! Walks a segment's bytes from the front, batch by batch, until the end or the first bad one.
//!
//! 1. Bytes come in pieces, as the shell reads them; a piece may end anywhere.
//! 2. Nothing is asked for that the file doesn't have: a length is held against what is left of
//!    the file before anyone makes room for it.
//! 3. Behind a bad batch the rest is searched for a whole one. If there is none, the bad one is a
//!    torn tail; if there is one, the log was damaged in the middle.

use streamledger_protocol::record_batch::{HEADER_BYTES, RecordBatchHeader, RecordBatchRef};
use streamledger_protocol::{Offset, TimestampMs};

use super::segment::{LogSegment, SegmentIndexes};

/// How much of a batch is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanDepth {
    /// Header and checksum: after a crash.
    Checksum,
    /// The header only: to rebuild an index of a segment that is otherwise trusted.
    Header,
}

/// Why a stretch of a segment is no batch that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// The file ends before the batch does.
    #[error("the file ends within a batch")]
    Cut,
    /// The header is no header of a batch.
    #[error("there is no batch header")]
    Header,
    /// The checksum doesn't match.
    #[error("the checksum does not match")]
    Checksum,
    /// The offsets go back, or too far ahead for the segment.
    #[error("the offsets do not continue the log")]
    Offsets,
    /// Nothing more is there, and there should be.
    #[error("nothing is there")]
    Gap,
}

/// The first bad batch of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadStretch {
    /// Where in the file it begins.
    pub position: u64,
    /// The offset that the batch should have.
    pub expected_offset: Offset,
    /// What is wrong with it.
    pub reason: BadBatch,
    /// Where the next whole batch begins, if there is one.
    pub resumes_at: Option<u64>,
}

/// How the shell goes on after a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the piece that are done with: the next piece begins after them.
    pub consumed: usize,
    /// Bytes that the next piece must have for any progress; never more than the file has left.
    pub wanted: usize,
}

/// A walk over one segment's bytes.
#[derive(Debug)]
pub struct SegmentScan {
    segment: LogSegment,
    file_bytes: u64,
    depth: ScanDepth,
    index_interval_bytes: u32,
    /// How far the walk is: the end of the last whole batch, or of the search behind a bad one.
    position: u64,
    bad: Option<BadStretch>,
}

impl SegmentScan {
    /// A walk over a file of `file_bytes` that begins at `base_offset`.
    #[must_use]
    pub fn new(
        base_offset: Offset,
        file_bytes: u64,
        modified: TimestampMs,
        depth: ScanDepth,
        index_interval_bytes: u32,
    ) -> Self {
        let segment = LogSegment::new(base_offset, modified);
        Self { segment, file_bytes, depth, index_interval_bytes, position: 0, bad: None }
    }

    /// Where the next piece is to begin.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the file that is walked.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Whether nothing more can be learnt.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let found = self.bad.is_some_and(|bad| bad.resumes_at.is_some());
        found || self.file_bytes.saturating_sub(self.position) == 0
    }

    /// Takes the bytes at `position`, and shows each whole batch in them to `visit`.
    pub fn feed(&mut self, piece: &[u8], mut visit: impl FnMut(&RecordBatchRef<'_>)) -> Fed {
        let mut consumed = 0;
        while self.bad.is_none() {
            let rest = piece.get(consumed..).unwrap_or_default();
            match self.next_batch(rest) {
                Next::Batch(batch) => {
                    visit(&batch);
                    self.segment.append(batch.header(), self.index_interval_bytes);
                    consumed += batch.bytes().len();
                    self.position += batch.bytes().len() as u64;
                }
                Next::Wants(wanted) => return Fed { consumed, wanted },
                Next::Bad(reason) => self.stop(reason),
            }
        }
        let searched = self.search(piece.get(consumed..).unwrap_or_default());
        Fed { consumed: consumed + searched.consumed, wanted: searched.wanted }
    }

    fn next_batch<'a>(&self, rest: &'a [u8]) -> Next<'a> {
        let left = self.file_bytes.saturating_sub(self.position);
        if rest.len() < HEADER_BYTES {
            return match left {
                0 => Next::Wants(0),
                left if left < HEADER_BYTES as u64 => Next::Bad(BadBatch::Cut),
                _ => Next::Wants(HEADER_BYTES),
            };
        }
        let Ok(header) = RecordBatchHeader::parse(rest) else { return Next::Bad(BadBatch::Header) };
        if header.batch_bytes() as u64 > left {
            return Next::Bad(BadBatch::Cut);
        }
        if !self.continues(&header) {
            return Next::Bad(BadBatch::Offsets);
        }
        match RecordBatchRef::parse(rest) {
            Ok((batch, _)) if self.depth == ScanDepth::Header || batch.verify_crc().is_ok() => {
                Next::Batch(batch)
            }
            Ok(_) => Next::Bad(BadBatch::Checksum),
            Err(_) => Next::Wants(header.batch_bytes()),
        }
    }

    fn continues(&self, header: &RecordBatchHeader) -> bool {
        let last_delta = header.last_offset() - self.segment.base_offset();
        header.base_offset >= self.segment.next_offset()
            && header.last_offset_delta >= 0
            && (0..=i64::from(i32::MAX)).contains(&last_delta)
    }

    fn stop(&mut self, reason: BadBatch) {
        self.bad = Some(BadStretch {
            position: self.position,
            expected_offset: self.segment.next_offset(),
            reason,
            resumes_at: None,
        });
    }

    /// Looks for a whole batch at any byte behind the bad one.
    fn search(&mut self, piece: &[u8]) -> Fed {
        let start = self.bad.map_or(0, |bad| bad.position);
        let mut at = usize::from(self.position == start);
        while let Some(window) = piece.get(at..).filter(|window| window.len() >= HEADER_BYTES) {
            let left = self.file_bytes.saturating_sub(self.position + at as u64);
            match self.candidate(window, left) {
                Candidate::No => at += 1,
                Candidate::Longer(wanted) => {
                    self.position += at as u64;
                    return Fed { consumed: at, wanted };
                }
                Candidate::Whole => {
                    self.position += at as u64;
                    if let Some(bad) = &mut self.bad {
                        bad.resumes_at = Some(self.position);
                    }
                    return Fed { consumed: at, wanted: 0 };
                }
            }
        }
        let consumed = at.min(piece.len());
        self.position += consumed as u64;
        let left = self.file_bytes.saturating_sub(self.position);
        if left < HEADER_BYTES as u64 {
            self.position = self.file_bytes;
            return Fed { consumed: piece.len(), wanted: 0 };
        }
        Fed { consumed, wanted: HEADER_BYTES }
    }

    fn candidate(&self, window: &[u8], left: u64) -> Candidate {
        // The magic byte first: most garbage ends here.
        if window.get(16) != Some(&2) {
            return Candidate::No;
        }
        let Ok(header) = RecordBatchHeader::parse(window) else { return Candidate::No };
        if header.batch_bytes() as u64 > left || !self.continues(&header) || header.record_count < 0
        {
            return Candidate::No;
        }
        match RecordBatchRef::parse(window) {
            Ok((batch, _)) if batch.verify_crc().is_ok() => Candidate::Whole,
            Ok(_) => Candidate::No,
            Err(_) => Candidate::Longer(header.batch_bytes()),
        }
    }

    /// What the walk found: the segment as far as it is whole, with its indexes, and the first bad
    /// stretch.
    #[must_use]
    pub fn finish(mut self) -> (LogSegment, Option<BadStretch>) {
        if self.bad.is_none() && self.position < self.file_bytes {
            self.stop(BadBatch::Cut);
        }
        (self.segment, self.bad)
    }

    /// The indexes alone, for a segment that is known otherwise; none if a batch was bad.
    #[must_use]
    pub fn into_indexes(self) -> Option<SegmentIndexes> {
        let (mut segment, bad) = self.finish();
        segment.close();
        segment.take_indexes().filter(|_| bad.is_none())
    }
}

enum Next<'a> {
    Batch(RecordBatchRef<'a>),
    Wants(usize),
    Bad(BadBatch),
}

enum Candidate {
    No,
    Longer(usize),
    Whole,
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
