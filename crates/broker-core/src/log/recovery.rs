//! Brings a log back from what is on disk: segments that are known, segments that must be walked.
//!
//! 1. What was closed and flushed is taken as known; what may not have been flushed is walked, with
//!    checksums, and everything derived (indexes, producers, epochs, aborted transactions) is
//!    rebuilt from it through the same functions that a run uses.
//! 2. A torn tail is cut, and so are the segments behind it: nothing after it was ever acknowledged
//!    by a log that flushes first.
//! 3. What is known to have been flushed (`flushed_below`) is never cut silently, and neither is
//!    damage with whole batches after it in one segment: recovery ends with what is damaged and
//!    where, unless it was told to cut there too.
//! 4. A producer snapshot at an offset is written only once everything below is on disk. So where
//!    there is one, a gap or a torn end below it is damage; where there is none, it is the end of
//!    what a power cut left, and the next segment held nothing that was acknowledged.

use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::RecordBatchRef;
use streamledger_protocol::{LeaderEpoch, Offset, TimestampMs};

use super::append::marker_of;
use super::config::{HighWatermarkRule, LogConfig};
use super::leader_epochs::LeaderEpochCache;
use super::partition_log::PartitionLog;
use super::prepared::IndexFiles;
use super::producer_snapshot::encode_snapshot;
use super::producer_state::ProducerStateTable;
use super::read::READ_HINTS;
use super::scan::{BadBatch, BadStretch, Fed, ScanDepth, SegmentScan};
use super::segment::LogSegment;
use super::transactions::AbortedTransaction;
use crate::planted_bugs::PlantedBug;
use crate::time::Now;

/// What to do about damage that has whole batches behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Leave everything as it is and say what is damaged.
    #[default]
    Refuse,
    /// Cut the log there, losing what is behind: only because someone said so.
    Cut,
}

/// A log with damage that nobody allowed to cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogDamage {
    /// A stretch within the log is no batch, and whole batches follow.
    #[error(
        "segment {segment} is damaged from byte {position} (offset {expected_offset}): {reason}; \
         whole batches go on at byte {resumes_at}"
    )]
    Middle {
        /// The base offset of the damaged segment.
        segment: Offset,
        /// Where in its file the damage begins.
        position: u64,
        /// The offset that should be there.
        expected_offset: Offset,
        /// What is wrong there.
        reason: BadBatch,
        /// Where in the file whole batches begin again.
        resumes_at: u64,
    },
    /// Records that were flushed are not there any more.
    #[error(
        "segment {segment} ends at byte {position} (offset {expected_offset}), but records up to \
         offset {flushed_below} had been flushed: {reason}"
    )]
    Missing {
        /// The base offset of the last segment before the gap.
        segment: Offset,
        /// Where in its file the whole batches end.
        position: u64,
        /// The first offset that is not there.
        expected_offset: Offset,
        /// Everything below this was on disk.
        flushed_below: Offset,
        /// What is there instead.
        reason: BadBatch,
    },
    /// A control batch of the log's own can't be read.
    #[error("the control batch at offset {offset} cannot be read")]
    ControlBatch {
        /// Its base offset.
        offset: Offset,
    },
}

/// What becomes of a segment's file after it was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentVerdict {
    /// It stays as it is.
    Whole,
    /// It is to be cut to that many bytes.
    CutTo {
        /// Bytes of whole batches.
        bytes: u32,
        /// What is wrong behind them.
        bad: BadStretch,
    },
    /// It lies behind a cut, whatever is in it, and is to be removed with all its files.
    Remove,
}

/// What recovery begins with.
#[derive(Debug, Clone, Default)]
pub struct RecoveryStart {
    /// Where the log begins; 0 if nothing was ever deleted.
    pub log_start_offset: Offset,
    /// A producer snapshot, at or below the base offset of the first segment that is walked;
    /// none if the walk begins with the first segment.
    pub snapshot: Option<(Offset, ProducerStateTable)>,
    /// The leader epochs, if their checkpoint could be read.
    pub epochs: LeaderEpochCache,
    /// Everything below is known to have been on disk; 0 if nothing is known.
    pub flushed_below: Offset,
}

/// A log that is being brought back, segment by segment, oldest first.
#[derive(Debug)]
pub struct LogRecovery {
    config: LogConfig,
    on_damage: OnDamage,
    now: Now,
    log_start_offset: Offset,
    flushed_below: Offset,
    replay_from: Offset,
    producers: ProducerStateTable,
    epochs: LeaderEpochCache,
    aborted: Vec<AbortedTransaction>,
    segments: Vec<LogSegment>,
    scan: Option<SegmentScan>,
    /// The producers as of the base offset of the segment that is walked, as a snapshot's content.
    snapshot: Option<(Offset, Vec<u8>)>,
    /// The segment that is walked does not follow the one before it: where the log ends, and how.
    misplaced: Option<(Offset, BadStretch)>,
    /// The log was cut: what lies behind is not looked at.
    is_cut: bool,
    unreadable_control: Option<Offset>,
    decompressor: Decompressor,
}

/// A control batch is small: more than this decompressed is no control batch.
const CONTROL_BYTES_MAX: usize = 64 << 10;

impl LogRecovery {
    /// Begins a recovery.
    #[must_use]
    pub fn new(config: LogConfig, start: RecoveryStart, on_damage: OnDamage, now: Now) -> Self {
        let fresh = || (Offset::ZERO, ProducerStateTable::new(config.planted));
        let (replay_from, producers) = start.snapshot.unwrap_or_else(fresh);
        Self {
            config,
            on_damage,
            now,
            log_start_offset: start.log_start_offset,
            flushed_below: start.flushed_below,
            replay_from,
            producers,
            epochs: start.epochs,
            aborted: Vec::new(),
            segments: Vec::new(),
            scan: None,
            snapshot: None,
            misplaced: None,
            is_cut: false,
            unreadable_control: None,
            decompressor: Decompressor::new(CONTROL_BYTES_MAX),
        }
    }

    /// Takes a closed segment that is known without a walk, and its aborted transactions.
    ///
    /// # Errors
    /// A segment before it is missing.
    pub fn known_segment(
        &mut self,
        segment: LogSegment,
        aborted: Vec<AbortedTransaction>,
    ) -> Result<(), LogDamage> {
        if let Some((before, gap)) = self.misplaced(segment.base_offset()) {
            return Err(self.missing(before, gap));
        }
        self.aborted.extend(aborted);
        self.segments.push(segment);
        Ok(())
    }

    /// Begins to walk a segment's file.
    pub fn begin_segment(&mut self, base_offset: Offset, file_bytes: u64, modified: TimestampMs) {
        let interval = self.config.index_interval_bytes;
        let depth = ScanDepth::Checksum;
        self.scan = Some(SegmentScan::new(base_offset, file_bytes, modified, depth, interval));
        self.misplaced = self.misplaced(base_offset);
        if !self.is_cut && !self.segments.is_empty() {
            let content = encode_snapshot(&self.producers, base_offset, self.now.monotonic);
            self.snapshot = Some((base_offset, content));
        }
    }

    /// Takes the bytes of the file from `position` on; a piece may end anywhere.
    pub fn feed(&mut self, piece: &[u8]) -> Fed {
        let Some(mut scan) = self.scan.take() else { return Fed { consumed: 0, wanted: 0 } };
        let fed = scan.feed(piece, |batch| self.replay(batch));
        self.scan = Some(scan);
        fed
    }

    /// Whether the file need not be read further.
    #[must_use]
    pub fn segment_is_done(&self) -> bool {
        self.is_cut
            || self.misplaced.is_some()
            || self.scan.as_ref().is_none_or(SegmentScan::is_done)
    }

    fn replay(&mut self, batch: &RecordBatchRef<'_>) {
        let header = batch.header();
        self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        if header.base_offset < self.replay_from {
            return;
        }
        match marker_of(batch, &mut self.decompressor) {
            Ok(marker) => {
                self.producers.replay_batch(header, marker.as_ref(), self.now.monotonic);
            }
            Err(_) => self.unreadable_control = Some(header.base_offset),
        }
    }

    /// Ends the walk over a file: says what becomes of it.
    ///
    /// # Errors
    /// The log is damaged, and nobody allowed to cut it there.
    pub fn end_segment(&mut self) -> Result<SegmentVerdict, LogDamage> {
        let Some(scan) = self.scan.take() else { return Ok(SegmentVerdict::Whole) };
        if self.is_cut {
            return Ok(SegmentVerdict::Remove);
        }
        if let Some((before, bad)) = self.misplaced.take() {
            self.refuse_damage(before, bad)?;
            self.is_cut = true;
            return Ok(SegmentVerdict::Remove);
        }
        let file_bytes = scan.file_bytes();
        let (segment, bad) = scan.finish();
        if let Some(offset) = self.unreadable_control {
            return Err(LogDamage::ControlBatch { offset });
        }
        let Some(bad) = bad else {
            self.segments.push(segment);
            return Ok(SegmentVerdict::Whole);
        };
        self.refuse_damage(segment.base_offset(), bad)?;
        if self.config.planted.has(PlantedBug::KeepTornTail) {
            let mut kept = segment;
            kept.keep_torn_tail(file_bytes);
            self.segments.push(kept);
            return Ok(SegmentVerdict::Whole);
        }
        self.is_cut = true;
        let bytes = segment.bytes();
        self.segments.push(segment);
        Ok(SegmentVerdict::CutTo { bytes, bad })
    }

    /// What is wrong with a segment that begins at `base_offset`, if it does not follow the one
    /// before it. A gap may be below the log's start; compaction leaves none between segments.
    fn misplaced(&self, base_offset: Offset) -> Option<(Offset, BadStretch)> {
        let last = self.segments.last()?;
        let expected_offset = last.next_offset();
        let position = u64::from(last.bytes());
        if base_offset < expected_offset {
            // The file's name claims offsets that the segment before it has.
            let (reason, resumes_at) = (BadBatch::Offsets, Some(0));
            let bad = BadStretch { position: 0, expected_offset, reason, resumes_at };
            return Some((base_offset, bad));
        }
        let gap_may_be = base_offset <= self.log_start_offset
            || self.config.planted.has(PlantedBug::IgnoreGapAtRecovery);
        if base_offset == expected_offset || gap_may_be {
            return None;
        }
        let (reason, resumes_at) = (BadBatch::Gap, None);
        Some((last.base_offset(), BadStretch { position, expected_offset, reason, resumes_at }))
    }

    /// The index files of the segment whose walk ended last: they may be missing or wrong on disk.
    #[must_use]
    pub fn index_files(&self) -> Option<IndexFiles> {
        let segment = self.segments.last()?;
        Some(IndexFiles::of(segment, self.producers.transactions()))
    }

    /// The producers as of the base offset of the last segment, for a snapshot there: to be written
    /// once everything below is on disk. None if the log begins with that segment.
    #[must_use]
    pub fn last_segment_snapshot(&self) -> Option<(Offset, &[u8])> {
        let last = self.segments.last()?.base_offset();
        let snapshot = self.snapshot.as_ref().filter(|(offset, _)| *offset == last);
        snapshot.map(|(offset, content)| (*offset, content.as_slice()))
    }

    fn refuse_damage(&self, segment: Offset, bad: BadStretch) -> Result<(), LogDamage> {
        if self.on_damage == OnDamage::Cut {
            return Ok(());
        }
        match bad.resumes_at {
            Some(resumes_at) => Err(LogDamage::Middle {
                segment,
                position: bad.position,
                expected_offset: bad.expected_offset,
                reason: bad.reason,
                resumes_at,
            }),
            None if bad.expected_offset < self.flushed_below => Err(self.missing(segment, bad)),
            None => Ok(()),
        }
    }

    fn missing(&self, segment: Offset, bad: BadStretch) -> LogDamage {
        LogDamage::Missing {
            segment,
            position: bad.position,
            expected_offset: bad.expected_offset,
            flushed_below: self.flushed_below.max(bad.expected_offset),
            reason: bad.reason,
        }
    }

    /// The log as it was brought back, nothing of it counted as flushed past `flushed_offset`.
    ///
    /// Consumers see it as far as the rule of the high watermark says.
    ///
    /// # Errors
    /// It ends below what had been flushed, and nobody allowed to cut it there.
    pub fn finish(mut self, flushed_offset: Offset) -> Result<PartitionLog, LogDamage> {
        let nothing = (self.log_start_offset, self.log_start_offset, 0);
        let end = |last: &LogSegment| (last.base_offset(), last.next_offset(), last.bytes());
        let (segment, expected_offset, bytes) = self.segments.last().map_or(nothing, end);
        let (position, reason, resumes_at) = (u64::from(bytes), BadBatch::Gap, None);
        let end = BadStretch { position, expected_offset, reason, resumes_at };
        self.refuse_damage(segment, end)?;
        let new_segment = || LogSegment::new(self.log_start_offset, self.now.wall);
        let active = self.segments.pop().unwrap_or_else(new_segment);
        let mut closed = self.segments;
        for segment in &mut closed {
            segment.close();
            segment.drop_indexes();
        }
        let first = closed.first().unwrap_or(&active).base_offset();
        let log_start_offset =
            self.log_start_offset.max(first).min(active.next_offset().max(first));
        let log_end_offset = active.next_offset();
        // An epoch that begins at the log's end has written nothing yet.
        self.epochs.truncate_from_end(log_end_offset.next());
        self.producers.transactions_mut().restore_aborted(self.aborted);
        if self.config.planted.has(PlantedBug::ForgetProducerStateOnRestart) {
            self.producers.forget_all();
        }
        let flushed_offset = flushed_offset.min(log_end_offset).max(log_start_offset);
        let high_watermark = match self.config.watermark {
            HighWatermarkRule::Written => log_end_offset,
            HighWatermarkRule::Flushed | HighWatermarkRule::Replicated => flushed_offset,
        };
        let mut producers = self.producers;
        producers.transactions_mut().high_watermark_advanced(high_watermark);
        let leader_epoch = self.epochs.latest().unwrap_or(LeaderEpoch::ZERO);
        Ok(PartitionLog {
            config: self.config,
            closed,
            active,
            log_start_offset,
            high_watermark,
            flushed_offset,
            leader_epoch,
            epochs: self.epochs,
            producers,
            read_hints: [None; READ_HINTS],
            replacements: 0,
        })
    }
}
