//! The log of one partition: where it begins and ends, who sees how much of it, what it takes.

use streamledger_protocol::{LeaderEpoch, Offset, ProducerId, TimestampMs, TimestampType};

use super::append::{AppendOrigin, AppendRefusal, ValidBatch, ValidBatches, producer_batch_of};
use super::config::{HighWatermarkRule, LogConfig};
use super::leader_epochs::{EpochEnd, LeaderEpochCache};
use super::prepared::{
    AppendDecision, AppendOutcome, IndexFiles, PreparedAppend, PreparedBatch, RollPlan, RollReason,
};
use super::producer_snapshot::encode_snapshot;
use super::producer_state::{ProducerStateTable, SequenceVerdict, TransactionGuard};
use super::read::{READ_HINTS, ReadHint};
use super::segment::LogSegment;
use crate::planted_bugs::PlantedBug;
use crate::time::{MonotonicMs, Now};

/// The log of one partition.
#[derive(Debug, Clone)]
pub struct PartitionLog {
    pub(super) config: LogConfig,
    /// All segments but the last, by base offset.
    pub(super) closed: Vec<LogSegment>,
    /// The last segment: the only one that is written to.
    pub(super) active: LogSegment,
    pub(super) log_start_offset: Offset,
    pub(super) high_watermark: Offset,
    pub(super) flushed_offset: Offset,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerStateTable,
    pub(super) read_hints: [Option<ReadHint>; READ_HINTS],
    /// How often compaction replaced segments.
    pub(super) replacements: u64,
}

impl PartitionLog {
    /// A log without records that begins at offset 0.
    #[must_use]
    pub fn new(config: LogConfig, now: TimestampMs) -> Self {
        let producers = ProducerStateTable::new(config.planted);
        Self {
            config,
            closed: Vec::new(),
            active: LogSegment::new(Offset::ZERO, now),
            log_start_offset: Offset::ZERO,
            high_watermark: Offset::ZERO,
            flushed_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::ZERO,
            epochs: LeaderEpochCache::default(),
            producers,
            read_hints: [None; READ_HINTS],
            replacements: 0,
        }
    }

    /// The first offset there is.
    #[must_use]
    pub const fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The offset up to which the outcome of every transaction is known: how far a read-committed
    /// consumer sees.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        match self.producers.transactions().first_undecided() {
            _ if self.config.planted.has(PlantedBug::StableOffsetPastOpenTransaction) => {
                self.high_watermark
            }
            Some(undecided) => undecided.min(self.high_watermark).max(self.log_start_offset),
            None => self.high_watermark,
        }
    }

    /// The offset up to which consumers see.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The offset up to which records are known to be on disk.
    #[must_use]
    pub const fn flushed_offset(&self) -> Offset {
        self.flushed_offset
    }

    /// The offset that the next record gets.
    #[must_use]
    pub const fn log_end_offset(&self) -> Offset {
        self.active.next_offset
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes other settings; they count from the next decision on.
    pub fn reconfigure(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The producers it knows.
    #[must_use]
    pub const fn producers(&self) -> &ProducerStateTable {
        &self.producers
    }

    /// The leader epochs it knows.
    #[must_use]
    pub const fn leader_epochs(&self) -> &LeaderEpochCache {
        &self.epochs
    }

    /// The epoch under which it appends.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The segments, by base offset; the last one is active.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &LogSegment> {
        self.closed.iter().chain(std::iter::once(&self.active))
    }

    /// The segment that is written to.
    #[must_use]
    pub const fn active_segment(&self) -> &LogSegment {
        &self.active
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments().map(|segment| u64::from(segment.bytes)).sum()
    }

    /// From here on it is appended to under `leader_epoch`; true if the checkpoint of the leader
    /// epochs is to be written. An older epoch than the present one is ignored.
    pub fn become_leader(&mut self, leader_epoch: LeaderEpoch) -> bool {
        if leader_epoch < self.leader_epoch {
            return false;
        }
        self.leader_epoch = leader_epoch;
        self.epochs.assign(leader_epoch, self.log_end_offset())
    }

    /// Where a leader epoch ended (OffsetForLeaderEpoch).
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.epochs.end_offset_for(epoch, self.log_end_offset())
    }

    /// Decides about batches that passed `validate_batches`. Changes nothing.
    ///
    /// # Errors
    /// They may not be appended, and why.
    pub fn decide_append(
        &self,
        valid: ValidBatches,
        now: Now,
    ) -> Result<AppendDecision, AppendRefusal> {
        match valid.origin {
            AppendOrigin::Client => {
                if let Some(duplicate) =
                    self.check_producers(&valid.batches, valid.guard.as_ref())?
                {
                    return Ok(AppendDecision::Duplicate(duplicate));
                }
            }
            AppendOrigin::Coordinator => {
                self.check_coordinator(&valid.batches, valid.guard.as_ref())?;
            }
            AppendOrigin::Marker(epoch) => {
                for marker in valid.batches.iter().filter_map(|batch| batch.marker.as_ref()) {
                    self.producers.check_marker(marker, epoch)?;
                }
            }
            AppendOrigin::Replication => self.check_continuous(&valid.batches)?,
        }
        let wants_place = valid.origin == AppendOrigin::Client
            && valid.batches.iter().any(|batch| self.is_by_unknown(batch));
        let batches = match valid.origin {
            AppendOrigin::Replication => as_received(valid.batches),
            AppendOrigin::Client | AppendOrigin::Coordinator | AppendOrigin::Marker(_) => {
                self.give_offsets(valid.batches)
            }
        };
        let prepared = self.prepare(batches, now)?;
        Ok(AppendDecision::Write(PreparedAppend { wants_place, ..prepared }))
    }

    /// Whether a batch is by a producer of whom nothing is known, outside of a transaction.
    fn is_by_unknown(&self, batch: &ValidBatch) -> bool {
        let producer = producer_batch_of(&batch.header);
        producer.is_some_and(|by| !by.transactional && !self.knows_producer(by.producer.id))
    }

    /// Whether anything of a producer is remembered.
    #[must_use]
    pub fn knows_producer(&self, id: ProducerId) -> bool {
        self.producers.producer(id).is_some()
    }

    fn check_producers(
        &self,
        batches: &[ValidBatch],
        guard: Option<&TransactionGuard>,
    ) -> Result<Option<AppendOutcome>, AppendRefusal> {
        for batch in batches {
            let Some(producer_batch) = producer_batch_of(&batch.header) else { continue };
            if let SequenceVerdict::Duplicate(original) = self.producers.check(&producer_batch)? {
                return Ok(Some(AppendOutcome {
                    base_offset: original.first_offset,
                    last_offset: original.last_offset,
                    log_append_time: self.answered_time(original.timestamp),
                    log_start_offset: self.log_start_offset,
                    duplicate: true,
                }));
            }
            if producer_batch.transactional {
                self.producers.check_verified(producer_batch.producer, guard)?;
            }
        }
        Ok(None)
    }

    fn check_coordinator(
        &self,
        batches: &[ValidBatch],
        guard: Option<&TransactionGuard>,
    ) -> Result<(), AppendRefusal> {
        for batch in batches {
            let Some(producer) = batch.header.producer() else { continue };
            self.producers.check_epoch(producer)?;
            if batch.header.attributes.is_transactional() {
                self.producers.check_verified(producer, guard)?;
            }
        }
        Ok(())
    }

    fn check_continuous(&self, batches: &[ValidBatch]) -> Result<(), AppendRefusal> {
        let mut log_end_offset = self.log_end_offset();
        for batch in batches {
            let found = batch.header.base_offset;
            if found < log_end_offset {
                return Err(AppendRefusal::NotContinuous { found, log_end_offset });
            }
            log_end_offset = batch.header.next_offset();
        }
        Ok(())
    }

    fn give_offsets(&self, batches: Vec<ValidBatch>) -> Vec<PreparedBatch> {
        let mut next_offset = self.log_end_offset();
        let give = |batch: ValidBatch| {
            let mut header = batch.header;
            header.base_offset = next_offset;
            header.partition_leader_epoch = self.leader_epoch;
            next_offset = header.next_offset();
            PreparedBatch::new(header, &batch.bytes, batch.marker)
        };
        batches.into_iter().map(give).collect()
    }

    fn answered_time(&self, stamped: TimestampMs) -> TimestampMs {
        match self.config.timestamp_type {
            TimestampType::CreateTime => TimestampMs::NONE,
            TimestampType::LogAppendTime => stamped,
        }
    }

    fn prepare(
        &self,
        batches: Vec<PreparedBatch>,
        now: Now,
    ) -> Result<PreparedAppend, AppendRefusal> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(AppendRefusal::NoBatch);
        };
        let outcome = AppendOutcome {
            base_offset: first.header.base_offset,
            last_offset: last.header.last_offset(),
            log_append_time: self.answered_time(last.header.max_timestamp),
            log_start_offset: self.log_start_offset,
            duplicate: false,
        };
        let roll = self.roll_reason(&batches, now.wall);
        let (segment, position) = match roll {
            Some(_) => (self.log_end_offset(), 0),
            None => (self.active.base_offset(), self.active.bytes),
        };
        Ok(PreparedAppend { roll, segment, position, batches, wants_place: false, outcome })
    }

    /// Kafka's `LogSegment.shouldRoll`.
    fn roll_reason(&self, batches: &[PreparedBatch], now: TimestampMs) -> Option<RollReason> {
        let bytes: u64 = batches.iter().map(|batch| batch.header.batch_bytes() as u64).sum();
        let last_offset = batches.last()?.header.last_offset();
        let too_far = last_offset - self.active.base_offset() > i64::from(i32::MAX);
        if self.active.bytes == 0 {
            // Only an empty segment whose base is too far below gives way to another.
            return too_far.then_some(RollReason::OffsetTooFar);
        }
        let newest = batches.iter().map(|batch| batch.header.max_timestamp).max()?;
        let age_ms = match self.active.first_timestamp {
            TimestampMs::NONE => now.0.saturating_sub(self.active.created.0),
            first => newest.0.saturating_sub(first.0),
        };
        let jitter_ms = self.config.roll_jitter_ms(self.active.base_offset());
        let age_ms_max = self.config.segment_ms_max().saturating_sub(jitter_ms);
        if u64::from(self.active.bytes) + bytes > u64::from(self.config.segment_bytes) {
            Some(RollReason::Full)
        } else if u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > age_ms_max) {
            Some(RollReason::Old)
        } else if self.active.index_is_full(self.config.segment_index_bytes) {
            Some(RollReason::IndexFull)
        } else {
            too_far.then_some(RollReason::OffsetTooFar)
        }
    }

    /// The files that end the active segment and begin the next. Changes nothing.
    pub fn plan_roll(&self, now: MonotonicMs) -> RollPlan {
        let opened = self.log_end_offset();
        RollPlan {
            closed: self.active.base_offset(),
            opened,
            index_files: self.index_files(&self.active),
            producer_snapshot: encode_snapshot(&self.producers, opened, now),
        }
    }

    /// The content of a segment's index files; its indexes must be in memory.
    #[must_use]
    pub fn index_files(&self, segment: &LogSegment) -> IndexFiles {
        IndexFiles::of(segment, self.producers.transactions())
    }

    /// The shell has begun the segment that `plan` opens.
    pub fn rolled(&mut self, plan: &RollPlan, now: TimestampMs) {
        let mut closed = std::mem::replace(&mut self.active, LogSegment::new(plan.opened, now));
        closed.close();
        closed.drop_indexes();
        self.closed.push(closed);
    }

    /// The shell has written `append`: its records are in the log, and in sight as far as the
    /// rule of the high watermark says. True if the checkpoint of the leader epochs is to be
    /// written.
    pub fn written(&mut self, append: &PreparedAppend, now: Now) -> bool {
        debug_assert_eq!(
            (append.segment, append.position),
            (self.active.base_offset(), self.active.bytes)
        );
        let mut new_epoch = false;
        for batch in &append.batches {
            let header = &batch.header;
            new_epoch |= self.epochs.assign(header.partition_leader_epoch, header.base_offset);
            self.active.append(header, self.config.index_interval_bytes);
            self.producers.replay_batch(header, batch.marker.as_ref(), now.monotonic);
        }
        self.active.modified = now.wall;
        if self.config.planted.has(PlantedBug::AckBeforeFlush) {
            self.flushed(self.log_end_offset());
        }
        if self.config.watermark == HighWatermarkRule::Written {
            self.raise_high_watermark(self.log_end_offset());
        }
        new_epoch
    }

    /// The shell has flushed the log up to `offset`.
    pub fn flushed(&mut self, offset: Offset) {
        let offset = offset.min(self.log_end_offset());
        self.flushed_offset = self.flushed_offset.max(offset);
        if self.config.watermark == HighWatermarkRule::Flushed {
            if self.config.planted.has(PlantedBug::HighWatermarkBack) {
                self.high_watermark = offset;
            }
            self.raise_high_watermark(offset);
        }
    }

    /// The in-sync replicas have the log up to `offset`; true if that lets consumers see more.
    pub fn replicated(&mut self, offset: Offset) -> bool {
        self.raise_high_watermark(offset)
    }

    fn raise_high_watermark(&mut self, offset: Offset) -> bool {
        let offset = offset.min(self.log_end_offset());
        if offset <= self.high_watermark {
            return false;
        }
        self.high_watermark = offset;
        self.producers.transactions_mut().high_watermark_advanced(offset);
        true
    }

    /// Forgets producers that were silent for too long; says how many.
    pub fn expire_producers(&mut self, now: MonotonicMs) -> usize {
        self.producers.expire(now, self.config.producer_expiration_ms)
    }

    /// The content of the producer snapshot at the log's end.
    #[must_use]
    pub fn producer_snapshot(&self, now: MonotonicMs) -> Vec<u8> {
        encode_snapshot(&self.producers, self.log_end_offset(), now)
    }
}

fn as_received(batches: Vec<ValidBatch>) -> Vec<PreparedBatch> {
    let keep = |batch: ValidBatch| PreparedBatch::new(batch.header, &batch.bytes, batch.marker);
    batches.into_iter().map(keep).collect()
}

#[cfg(test)]
#[path = "partition_log_tests.rs"]
mod tests;
