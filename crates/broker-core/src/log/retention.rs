//! Which segments go, by age, by size, or because the log begins after them.
//!
//! 1. Only whole segments go, from the oldest on, and only below the high watermark.
//! 2. The active segment never goes: if its records are too old it is closed first.
//! 3. A clock that jumps forward deletes nothing: age is held against a clock that believes a jump
//!    only after a day.

use streamledger_protocol::{Offset, TimestampMs};

use super::partition_log::PartitionLog;
use super::read::OffsetOutOfRange;
use super::segment::LogSegment;
use crate::time::{MonotonicMs, Now};

/// How long the wall clock must have been ahead before retention goes by it.
const JUMP_BELIEVED_AFTER_MS: u64 = 24 * 3_600_000;
/// How far ahead the wall clock may be without being suspected.
const JUMP_MS_MIN: i64 = 60_000;

/// The clock that retention goes by: never ahead of what has really passed since the start.
#[derive(Debug, Clone, Copy)]
pub struct RetentionClock {
    anchor: Now,
    ahead_since: Option<MonotonicMs>,
}

impl RetentionClock {
    /// A clock that believes what the wall clock says now.
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self { anchor: now, ahead_since: None }
    }

    /// The time by which nothing is deleted too early: the wall clock's, but not ahead of the
    /// start plus what has passed since, unless it has been ahead for a day.
    pub fn read(&mut self, now: Now) -> TimestampMs {
        let passed = i64::try_from(now.monotonic.since(self.anchor.monotonic)).unwrap_or(i64::MAX);
        let expected = self.anchor.wall.0.saturating_add(passed);
        let ahead = now.wall.0.saturating_sub(expected);
        if ahead <= JUMP_MS_MIN {
            self.ahead_since = None;
        } else {
            let since = *self.ahead_since.get_or_insert(now.monotonic);
            if now.monotonic.since(since) < JUMP_BELIEVED_AFTER_MS {
                return TimestampMs(expected);
            }
        }
        *self = Self::new(now);
        now.wall
    }
}

/// Segments that are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// The base offsets of the segments, oldest first.
    pub segments: Vec<Offset>,
    /// Where the log begins once they are gone.
    pub log_start_offset: Offset,
    /// The active segment is too old as well: close it, and plan again.
    pub roll_first: bool,
}

impl PartitionLog {
    /// Which segments are to go at `now`, a reading of a `RetentionClock`. Changes nothing.
    #[must_use]
    pub fn plan_retention(&self, now: TimestampMs) -> RetentionPlan {
        let mut excess_bytes = match self.config.retention_bytes {
            Some(keep) if self.config.cleanup.deletes() => self.bytes().saturating_sub(keep),
            _ => 0,
        };
        let mut plan =
            RetentionPlan { log_start_offset: self.log_start_offset, ..Default::default() };
        for segment in &self.closed {
            let end_offset = segment.next_offset();
            let starts_after = end_offset <= self.log_start_offset;
            let too_much = excess_bytes > 0 && excess_bytes >= u64::from(segment.bytes());
            let goes = starts_after || too_much || self.is_too_old(segment, now);
            if !goes || end_offset > self.high_watermark {
                return plan;
            }
            excess_bytes = excess_bytes.saturating_sub(u64::from(segment.bytes()));
            plan.segments.push(segment.base_offset());
            plan.log_start_offset = plan.log_start_offset.max(end_offset);
        }
        plan.roll_first = self.active.bytes() > 0
            && self.is_too_old(&self.active, now)
            && self.log_end_offset() <= self.high_watermark;
        plan
    }

    fn is_too_old(&self, segment: &LogSegment, now: TimestampMs) -> bool {
        let Some(keep_ms) = self.config.retention_ms else { return false };
        let age_ms = now.0.saturating_sub(segment.retention_timestamp().0);
        self.config.cleanup.deletes() && u64::try_from(age_ms).is_ok_and(|age| age > keep_ms)
    }

    /// The shell is about to remove the segments of `plan`: from now on the log begins after them,
    /// and no new read finds them.
    pub fn segments_removed(&mut self, plan: &RetentionPlan) {
        self.closed.retain(|segment| !plan.segments.contains(&segment.base_offset()));
        self.raise_log_start(plan.log_start_offset);
    }

    /// Makes the log begin at `offset` (DeleteRecords); at the high watermark if `offset` is NONE.
    /// Whole segments before it go with the next `plan_retention`. Gives the log's new start.
    ///
    /// # Errors
    /// The offset is above the high watermark, or negative.
    pub fn delete_records_before(&mut self, offset: Offset) -> Result<Offset, OffsetOutOfRange> {
        let wanted = if offset == Offset::NONE { self.high_watermark } else { offset };
        if wanted > self.high_watermark || wanted.0 < 0 {
            return Err(OffsetOutOfRange {
                asked: offset,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset(),
            });
        }
        self.raise_log_start(wanted);
        Ok(self.log_start_offset)
    }

    fn raise_log_start(&mut self, offset: Offset) {
        if offset > self.log_start_offset {
            self.log_start_offset = offset;
            self.epochs.truncate_from_start(offset);
            self.producers.transactions_mut().forget_before(offset);
        }
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
