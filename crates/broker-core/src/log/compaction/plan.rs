//! What of a log may be compacted, and whether it is time to.

use std::collections::BTreeMap;

use streamledger_protocol::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::super::partition_log::PartitionLog;
use super::super::segment::LogSegment;
use super::super::transactions::AbortedTransaction;
use super::super::{LogConfig, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use super::standing::CompactionStanding;
use crate::planted_bugs::PlantedBug;

/// The batch that a restart knows a producer by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOfProducer {
    /// Its last data batch begins there.
    Data(Offset),
    /// It wrote nothing under its epoch but markers: the last is at that offset, or any of the
    /// epoch if that isn't known.
    Marker(ProducerEpoch, Option<Offset>),
}

/// One compaction of a log, as it stands when it is planned.
#[derive(Debug, Clone)]
pub struct CompactionPlan {
    /// The first offset whose key may be in the log a second time.
    pub first_dirty: Offset,
    /// The segments, in groups: what stays of a group becomes one segment.
    pub groups: Vec<Vec<LogSegment>>,
    /// The transactions whose records go.
    pub(super) aborted: Vec<AbortedTransaction>,
    /// By which batch each producer is known.
    pub(super) last_of_producers: BTreeMap<ProducerId, LastOfProducer>,
    pub(super) config: LogConfig,
    pub(super) now: TimestampMs,
}

/// What lies behind and before the first dirty offset.
#[derive(Debug, Clone, Copy, Default)]
struct Balance {
    clean_bytes: u64,
    dirty_bytes: u64,
    /// The first timestamp of the oldest dirty segment.
    oldest: Option<TimestampMs>,
}

impl PartitionLog {
    /// The compaction that is due at `now`, a reading of a `RetentionClock`; none if none is.
    /// Changes nothing.
    #[must_use]
    pub fn plan_compaction(
        &self,
        standing: &CompactionStanding,
        now: TimestampMs,
    ) -> Option<CompactionPlan> {
        let stable = self.last_stable_offset().min(self.flushed_offset);
        let segments = compactable(&self.closed, &self.config, stable, now);
        let first_dirty = self.first_dirty(standing);
        if !is_due(segments, &self.config, first_dirty, standing, now) {
            return None;
        }
        Some(CompactionPlan {
            first_dirty,
            groups: groups(segments, &self.config),
            aborted: self.producers.transactions().aborted().to_vec(),
            last_of_producers: self.last_of_producers(),
            config: self.config.clone(),
            now,
        })
    }

    /// A standing that is past the log's end is of another log.
    fn first_dirty(&self, standing: &CompactionStanding) -> Offset {
        match standing.first_dirty <= self.log_end_offset() {
            true => standing.first_dirty.max(self.log_start_offset),
            false => self.log_start_offset,
        }
    }

    fn last_of_producers(&self) -> BTreeMap<ProducerId, LastOfProducer> {
        if self.config.planted.has(PlantedBug::CompactionForgetsProducers) {
            return BTreeMap::new();
        }
        let last = |id: ProducerId, state: &super::super::ProducerState| match state.recent.last() {
            Some(batch) => LastOfProducer::Data(batch.first_offset),
            None => LastOfProducer::Marker(state.epoch, self.producers.last_marker(id)),
        };
        let all = self.producers.producers();
        all.into_iter().map(|(id, state)| (id, last(id, state))).collect()
    }
}

/// Whether a log that is put down may need a compaction: else it is not opened for it.
#[must_use]
pub fn may_need_compaction(
    segments: &[LogSegment],
    config: &LogConfig,
    standing: &CompactionStanding,
    now: TimestampMs,
) -> bool {
    let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
    let end = segments.last().map_or(Offset::ZERO, LogSegment::next_offset);
    let first_dirty = if standing.first_dirty <= end { standing.first_dirty } else { Offset::ZERO };
    let segments = compactable(closed, config, end, now);
    is_due(segments, config, first_dirty, standing, now)
}

/// The closed segments whose records are stable, on disk, and old enough.
fn compactable<'a>(
    closed: &'a [LogSegment],
    config: &LogConfig,
    stable: Offset,
    now: TimestampMs,
) -> &'a [LogSegment] {
    if !config.cleanup.compacts() {
        return &[];
    }
    let is_old_enough = |segment: &LogSegment| {
        let age_ms = now.0.saturating_sub(segment.retention_timestamp().0);
        config.compaction_lag_ms_min == 0
            || u64::try_from(age_ms).is_ok_and(|age| age >= config.compaction_lag_ms_min)
    };
    let may_be = |segment: &LogSegment| segment.next_offset() <= stable && is_old_enough(segment);
    let count = closed.iter().take_while(|segment| may_be(segment)).count();
    closed.get(..count).unwrap_or_default()
}

fn is_due(
    segments: &[LogSegment],
    config: &LogConfig,
    first_dirty: Offset,
    standing: &CompactionStanding,
    now: TimestampMs,
) -> bool {
    let mut balance = Balance::default();
    for segment in segments {
        if segment.next_offset() <= first_dirty {
            balance.clean_bytes += u64::from(segment.bytes());
        } else {
            balance.dirty_bytes += u64::from(segment.bytes());
            balance.oldest = balance.oldest.or(Some(segment.first_timestamp));
        }
    }
    let horizon_passed = standing.next_horizon.is_some_and(|horizon| horizon <= now);
    if balance.dirty_bytes == 0 {
        return horizon_passed && !segments.is_empty();
    }
    let lagged = config.compaction_lag_ms_max.zip(balance.oldest).is_some_and(|(max, oldest)| {
        u64::try_from(now.0.saturating_sub(oldest.0)).is_ok_and(|age| oldest.0 >= 0 && age > max)
    });
    lagged || horizon_passed || balance.ratio_ppm() > config.dirty_ratio_ppm_min
}

impl Balance {
    /// The share of dirty bytes, in millionths.
    fn ratio_ppm(&self) -> u64 {
        let all = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        let ratio = (u128::from(self.dirty_bytes) * 1_000_000).checked_div(all);
        u64::try_from(ratio.unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

/// Neighbours that fit in one segment together (Kafka's `Cleaner.groupSegmentsBySize`).
fn groups(segments: &[LogSegment], config: &LogConfig) -> Vec<Vec<LogSegment>> {
    let mut groups: Vec<Vec<LogSegment>> = Vec::new();
    for segment in segments {
        match groups.last_mut().filter(|group| fits(group, segment, config)) {
            Some(group) => group.push(segment.clone()),
            None => groups.push(vec![segment.clone()]),
        }
    }
    groups
}

fn fits(group: &[LogSegment], next: &LogSegment, config: &LogConfig) -> bool {
    let Some(first) = group.first() else { return true };
    let all = || group.iter().chain(std::iter::once(next));
    let bytes: u64 = all().map(|segment| u64::from(segment.bytes())).sum();
    let sum = |count: fn(&LogSegment) -> u32| all().map(|s| count(s) as usize).sum::<usize>();
    let index_bytes_max = config.segment_index_bytes as usize;
    bytes <= u64::from(config.segment_bytes)
        && sum(|s| s.index_entries().offsets) * OFFSET_ENTRY_BYTES <= index_bytes_max
        && sum(|s| s.index_entries().times) * TIME_ENTRY_BYTES <= index_bytes_max
        && next.next_offset() - first.base_offset() <= i64::from(i32::MAX)
}
