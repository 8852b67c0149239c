//! One compaction, as a walk that the shell is led through: what to read, what to write, which
//! segments to replace. The first round notes the keys of what is dirty, the second writes what
//! stays of all.

use bytes::Bytes;
use streamledger_protocol::record_batch::{RecordBatchHeader, RecordBatchRef, placeholder_batch};
use streamledger_protocol::{LeaderEpoch, Offset, TimestampMs};

use super::super::file_names::FileKind;
use super::super::partition_log::PartitionLog;
use super::super::prepared::IndexFiles;
use super::super::read::READ_HINTS;
use super::super::scan::{ScanDepth, SegmentScan};
use super::super::segment::LogSegment;
use super::super::transaction_index::encode_transaction_index;
use super::super::transactions::AbortedTransaction;
use super::cleaner::{Cleaner, CompactionProblem, Kept};
use super::plan::CompactionPlan;
use super::standing::CompactionStanding;
use super::swap::{CLEANED_SUFFIX, FileStep, discard_steps, finish_steps, seal_steps};
use crate::planted_bugs::{Planted, PlantedBug};

/// What the shell does next for a compaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a compaction goes on when the shell has done this"]
pub enum CompactionEffect {
    /// Read that part of a segment's file and hand it in with `read`.
    Read {
        /// The base offset of the segment.
        segment: Offset,
        /// Where to begin.
        position: u64,
        /// How many bytes.
        bytes: usize,
    },
    /// Write to the file of that name, which is made anew at position 0.
    Write {
        /// The name.
        file: String,
        /// Where.
        position: u64,
        /// What.
        bytes: Bytes,
    },
    /// The segment is written: `index_files` beside it, then its steps.
    Replace(Box<Replacement>),
    /// What was written is of no use: do these steps.
    Discard(Vec<FileStep>),
    /// It is over; this is how far the log is compacted.
    Done(CompactionStanding),
}

/// A compacted segment that is to take the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The segments it was made of, as they were then.
    pub sources: Vec<LogSegment>,
    /// The segment, with its indexes.
    pub segment: LogSegment,
    /// The content of its index files; all three are written, each name with `CLEANED_SUFFIX`.
    pub index_files: IndexFiles,
    /// The offsets of the markers that are gone from it.
    dropped_markers: Vec<Offset>,
    planted: Planted,
}

impl Replacement {
    /// The base offset of the segment, before and after.
    #[must_use]
    pub const fn base_offset(&self) -> Offset {
        self.segment.base_offset()
    }

    /// First: from written files to a swap that will be finished, even by the next start.
    #[must_use]
    pub fn seal_steps(&self) -> Vec<FileStep> {
        let mut steps = seal_steps(self.base_offset());
        if self.planted.has(PlantedBug::CompactionSwapsUnflushed) {
            steps.retain(|step| !matches!(step, FileStep::Sync(_)));
        }
        steps
    }

    /// Then, once the log knows (`segments_replaced`): to the end.
    #[must_use]
    pub fn finish_steps(&self) -> Vec<FileStep> {
        let others: Vec<_> = self.sources.iter().skip(1).map(LogSegment::base_offset).collect();
        finish_steps(self.base_offset(), &others, |_| true)
    }

    /// Instead of both: nothing happened.
    #[must_use]
    pub fn discard_steps(&self) -> Vec<FileStep> {
        discard_steps(self.base_offset())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Mapping,
    Cleaning,
    Over,
}

/// What is being written in place of a group of segments.
#[derive(Debug)]
struct Output {
    segment: LogSegment,
    /// What was not handed out yet, and how much was.
    pending: Vec<u8>,
    handed_out: u64,
    changed: bool,
    leader_epoch: LeaderEpoch,
}

/// One compaction of a log.
#[derive(Debug)]
pub struct CompactionPass {
    plan: CompactionPlan,
    cleaner: Cleaner,
    round: Round,
    /// The group, and the segment in it, that is walked.
    at: (usize, usize),
    scan: Option<SegmentScan>,
    /// How much the shell was asked to read, and how much is needed for any progress.
    asked: usize,
    wanted: usize,
    /// The file is shorter than the log says.
    is_cut: bool,
    step_bytes: usize,
    output: Option<Output>,
    /// All of the output's group was walked.
    output_is_whole: bool,
}

impl CompactionPass {
    /// Begins a compaction that holds keys in `map_bytes_max` of memory, and reads and writes
    /// `step_bytes` at a time, or a batch where that is more.
    #[must_use]
    pub fn new(plan: CompactionPlan, map_bytes_max: usize, step_bytes: usize) -> Self {
        Self {
            cleaner: Cleaner::new(&plan, map_bytes_max),
            plan,
            round: Round::Mapping,
            at: (0, 0),
            scan: None,
            asked: 0,
            wanted: 0,
            is_cut: false,
            step_bytes,
            output: None,
            output_is_whole: false,
        }
    }

    /// What the shell does next.
    ///
    /// # Errors
    /// A segment is not what it should be; the log stays as it is.
    pub fn poll(&mut self) -> Result<CompactionEffect, CompactionProblem> {
        loop {
            let write_bytes_min = if self.output_is_whole { 1 } else { self.step_bytes.max(1) };
            if let Some(write) = self.take_write(write_bytes_min) {
                return Ok(write);
            }
            if std::mem::take(&mut self.output_is_whole)
                && let Some(effect) = self.end_group()
            {
                return Ok(effect);
            }
            let group = self.plan.groups.get(self.at.0).filter(|_| self.round != Round::Over);
            let Some(source) = group.and_then(|group| group.get(self.at.1)) else {
                if let Some(done) = self.end_round() {
                    return Ok(done);
                }
                continue;
            };
            let segment = source.base_offset();
            if !self.is_to_be_skipped(source) {
                let scan = self.scan.get_or_insert_with(|| new_scan(source));
                if !scan.is_done() && !self.is_cut {
                    let position = scan.position();
                    let left = usize::try_from(scan.file_bytes() - position).unwrap_or(usize::MAX);
                    self.asked = self.wanted.max(self.step_bytes).min(left);
                    let bytes = self.asked;
                    return Ok(CompactionEffect::Read { segment, position, bytes });
                }
            }
            self.end_source(segment)?;
        }
    }

    /// The first round begins at what is dirty, and ends when the map is full.
    fn is_to_be_skipped(&self, source: &LogSegment) -> bool {
        let is_clean = source.next_offset() <= self.plan.first_dirty;
        self.round == Round::Mapping && (is_clean || self.cleaner.is_full())
    }

    fn end_round(&mut self) -> Option<CompactionEffect> {
        self.at = (0, 0);
        if self.round == Round::Mapping {
            self.round = Round::Cleaning;
            let last = self.plan.groups.iter().flatten().next_back();
            if let Some(last) = last.filter(|_| !self.cleaner.is_full()) {
                self.cleaner.mapped_up_to(last.next_offset());
            }
            return None;
        }
        self.round = Round::Over;
        Some(CompactionEffect::Done(CompactionStanding {
            first_dirty: self.cleaner.until(),
            next_horizon: self.cleaner.next_horizon,
        }))
    }

    /// Takes the bytes that a `Read` asked for.
    ///
    /// # Errors
    /// A batch can't be read; the log stays as it is.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), CompactionProblem> {
        let Some(mut scan) = self.scan.take() else { return Ok(()) };
        let mut outcome = Ok(());
        let fed = scan.feed(piece, |batch| {
            if outcome.is_ok() {
                outcome = self.take_batch(batch);
            }
        });
        let brings_nothing = fed.consumed == 0 && fed.wanted <= piece.len();
        self.is_cut = piece.len() < self.asked || brings_nothing;
        self.wanted = fed.wanted;
        self.scan = Some(scan);
        outcome
    }

    fn take_batch(&mut self, batch: &RecordBatchRef<'_>) -> Result<(), CompactionProblem> {
        let at = batch.header().base_offset;
        let failed = |problem| CompactionProblem::Batch { at, problem };
        if self.round == Round::Mapping {
            let is_dirty = batch.header().last_offset() >= self.plan.first_dirty;
            if is_dirty && !self.cleaner.is_full() {
                return self.cleaner.map_batch(batch).map_err(failed);
            }
            return Ok(());
        }
        let kept = self.cleaner.clean(batch).map_err(failed)?;
        let group = self.plan.groups.get(self.at.0).map_or(&[][..], Vec::as_slice);
        let output = self.output.get_or_insert_with(|| Output::of(group));
        output.leader_epoch = batch.header().partition_leader_epoch;
        let interval = self.plan.config.index_interval_bytes;
        match kept {
            Kept::AsItIs => output.append(batch.bytes(), interval),
            Kept::Rewritten(bytes) => {
                output.changed = true;
                output.append(&bytes, interval);
            }
            Kept::Nothing => output.changed = true,
        }
        Ok(())
    }

    /// A segment was walked to its end, or need not be.
    fn end_source(&mut self, segment: Offset) -> Result<(), CompactionProblem> {
        (self.wanted, self.is_cut) = (0, false);
        let is_left_early = self.round == Round::Mapping && self.cleaner.is_full();
        if let Some(scan) = self.scan.take().filter(|_| !is_left_early)
            && let (_, Some(bad)) = scan.finish()
        {
            return Err(CompactionProblem::Damaged { segment, bad });
        }
        self.at.1 += 1;
        let group = self.plan.groups.get(self.at.0).map_or(&[][..], Vec::as_slice);
        if self.at.1 < group.len() {
            return Ok(());
        }
        if self.round == Round::Cleaning
            && let (Some(output), Some(last)) = (&mut self.output, group.last())
        {
            let end = last.next_offset();
            if output.segment.next_offset() < end {
                let placeholder = placeholder_batch(end - 1, output.leader_epoch);
                output.append(&placeholder, self.plan.config.index_interval_bytes);
            }
            if !output.changed && group.len() == 1 {
                output.pending.clear();
            }
            self.output_is_whole = true;
        }
        self.at = (self.at.0 + 1, 0);
        Ok(())
    }

    /// The output of the group before the present one is written.
    fn end_group(&mut self) -> Option<CompactionEffect> {
        let output = self.output.take()?;
        let sources = self.plan.groups.get(self.at.0.checked_sub(1)?)?.clone();
        if !output.changed && sources.len() == 1 {
            let steps = discard_steps(output.segment.base_offset());
            return (output.handed_out > 0).then_some(CompactionEffect::Discard(steps));
        }
        Some(CompactionEffect::Replace(Box::new(self.replacement(sources, output.segment))))
    }

    fn replacement(&self, sources: Vec<LogSegment>, segment: LogSegment) -> Replacement {
        let (from, to) = (segment.base_offset(), segment.next_offset());
        let dropped = &self.cleaner.dropped_markers;
        let is_left = |transaction: &&AbortedTransaction| {
            (from..to).contains(&transaction.last_offset)
                && !dropped.contains(&transaction.last_offset)
        };
        let aborted: Vec<_> = self.plan.aborted.iter().filter(is_left).copied().collect();
        let index_files = IndexFiles::with(&segment, encode_transaction_index(&aborted));
        let dropped_markers = dropped.range(from..to).copied().collect();
        let planted = self.plan.config.planted;
        Replacement { sources, segment, index_files, dropped_markers, planted }
    }

    /// What is to be written, once it is at least that much.
    fn take_write(&mut self, bytes_min: usize) -> Option<CompactionEffect> {
        let output = self.output.as_mut()?;
        if output.pending.len() < bytes_min {
            return None;
        }
        let position = output.handed_out;
        output.handed_out += output.pending.len() as u64;
        let bytes = Bytes::from(std::mem::take(&mut output.pending));
        Some(CompactionEffect::Write { file: cleaned_log(&output.segment), position, bytes })
    }
}

fn new_scan(source: &LogSegment) -> SegmentScan {
    // The indexes of what is read are of no use: an interval that is never reached.
    let (bytes, interval) = (u64::from(source.bytes()), u32::MAX);
    SegmentScan::new(source.base_offset(), bytes, source.modified, ScanDepth::Checksum, interval)
}

fn cleaned_log(segment: &LogSegment) -> String {
    format!("{}{CLEANED_SUFFIX}", FileKind::Log.file_name(segment.base_offset()))
}

impl Output {
    fn of(group: &[LogSegment]) -> Self {
        let none = || LogSegment::new(Offset::ZERO, TimestampMs::NONE);
        let mut segment = group
            .first()
            .map_or_else(none, |first| LogSegment::new(first.base_offset(), first.created));
        let modified = group.iter().map(|source| source.modified).max();
        segment.modified = modified.unwrap_or(TimestampMs::NONE);
        Self {
            segment,
            pending: Vec::new(),
            handed_out: 0,
            changed: false,
            leader_epoch: LeaderEpoch::ZERO,
        }
    }

    fn append(&mut self, batch: &[u8], index_interval_bytes: u32) {
        if let Ok(header) = RecordBatchHeader::parse(batch) {
            self.segment.append(&header, index_interval_bytes);
            self.pending.extend_from_slice(batch);
        }
    }
}

impl PartitionLog {
    /// Whether the segments that a replacement was made of are still there as they were. If not,
    /// it is of no use.
    #[must_use]
    pub fn can_replace(&self, replacement: &Replacement) -> bool {
        let same = |source: &LogSegment, own: &LogSegment| {
            (source.base_offset(), source.bytes(), source.next_offset())
                == (own.base_offset(), own.bytes(), own.next_offset())
        };
        let first =
            self.closed.partition_point(|own| own.base_offset() < replacement.base_offset());
        let own = self.closed.get(first..).unwrap_or_default();
        own.len() >= replacement.sources.len()
            && replacement.sources.iter().zip(own).all(|(source, own)| same(source, own))
    }

    /// The shell has sealed the replacement: from now on reads find what it holds. Its files take
    /// their names after this.
    pub fn segments_replaced(&mut self, replacement: &Replacement) {
        if !self.can_replace(replacement) {
            return;
        }
        let first =
            self.closed.partition_point(|own| own.base_offset() < replacement.base_offset());
        let mut segment = replacement.segment.clone();
        segment.close();
        segment.drop_indexes();
        self.closed.splice(first..first + replacement.sources.len(), [segment]);
        self.producers.transactions_mut().forget_markers(&replacement.dropped_markers);
        self.read_hints = [None; READ_HINTS];
        self.replacements += 1;
    }

    /// How often segments were replaced: what was planned before the last time names positions in
    /// files that are no longer the log's.
    #[must_use]
    pub const fn replacements(&self) -> u64 {
        self.replacements
    }
}
