//! The settings of one partition's log, with Kafka's topic-level defaults.

use streamledger_protocol::compression::Compression;
use streamledger_protocol::{Offset, TimestampType};

use crate::planted_bugs::Planted;

/// When records become visible to consumers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HighWatermarkRule {
    /// As soon as they are in the page cache, as Kafka does with one replica.
    Written,
    /// Once they are on disk: a consumer never sees what a power cut could take back.
    #[default]
    Flushed,
    /// When the in-sync replicas have them: the replica's side moves the watermark.
    Replicated,
}

/// What happens to old records (`cleanup.policy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Whole segments go by age and size.
    #[default]
    Delete,
    /// The latest record of each key stays for good.
    Compact,
    /// Both.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Whether segments go by age and size.
    #[must_use]
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactAndDelete)
    }

    /// Whether records need a key.
    #[must_use]
    pub const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactAndDelete)
    }
}

/// The settings of one partition's log; each field names the topic setting it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow past this is closed. At most 2^31-1.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when its records span more time than this.
    pub segment_ms: u64,
    /// `segment.jitter.ms`: a segment is closed up to this much earlier, each by another part.
    pub segment_jitter_ms: u64,
    /// Which parts those are: another number for each log.
    pub jitter_seed: u64,
    /// `segment.index.bytes`: a segment whose index would grow past this is closed.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: log bytes from one index entry to the next, at least.
    pub index_interval_bytes: u32,
    /// `retention.ms`: segments whose newest record is older go; none keeps them.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`: the oldest segments past this size go; none keeps them.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
    /// `min.cleanable.dirty.ratio` in millionths: compaction begins when more of the log is dirty.
    pub dirty_ratio_ppm_min: u64,
    /// `min.compaction.lag.ms`: a record stays uncompacted for this long at least.
    pub compaction_lag_ms_min: u64,
    /// `max.compaction.lag.ms`: and for this long at most; none has no such limit.
    pub compaction_lag_ms_max: Option<u64>,
    /// `delete.retention.ms`: deletions and transaction markers stay for this long once everything
    /// they are about is gone.
    pub delete_retention_ms: u64,
    /// `compression.type` with its level: what batches are stored in; none keeps their producer's.
    pub compression: Option<Compression>,
    /// `flush.messages`: no more than this many records, the last ones not counted, are answered
    /// before they are on disk; none leaves it to the flush policy.
    pub flush_messages: Option<u64>,
    /// `flush.ms`: records are on disk after this long; none leaves it to the flush policy.
    pub flush_ms: Option<u64>,
    /// `max.message.bytes`: the largest record batch taken, compressed as it is.
    pub message_bytes_max: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a stamp may lie in the past; none: any.
    pub timestamp_before_ms_max: Option<u64>,
    /// `message.timestamp.after.max.ms`: how far a stamp may lie in the future; none: any.
    pub timestamp_after_ms_max: Option<u64>,
    /// `producer.id.expiration.ms`: a producer silent for longer is forgotten.
    pub producer_expiration_ms: u64,
    /// What a record's visibility waits for.
    pub watermark: HighWatermarkRule,
    /// A bug planted for the simulator, if any.
    pub planted: Planted,
}

const HOUR_MS: u64 = 3_600_000;

impl LogConfig {
    /// The age at which a segment is closed: a compacted log's in time for `max.compaction.lag.ms`
    /// (Kafka's `LogConfig.maxSegmentMs`).
    #[must_use]
    pub fn segment_ms_max(&self) -> u64 {
        match self.compaction_lag_ms_max.filter(|_| self.cleanup.compacts()) {
            Some(lag_ms) => lag_ms.min(self.segment_ms),
            None => self.segment_ms,
        }
    }

    /// How much earlier the segment that begins at `base_offset` is closed, so that the logs of
    /// many partitions don't all begin segments at once. No chance is in it: a restart finds the
    /// same.
    #[must_use]
    pub fn roll_jitter_ms(&self, base_offset: Offset) -> u64 {
        let limit = self.segment_jitter_ms.min(self.segment_ms);
        // One step of SplitMix64: neighbours get numbers that have nothing to do with each other.
        let mut mixed = self.jitter_seed ^ base_offset.0.cast_unsigned();
        mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or(0)
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * HOUR_MS,
            segment_jitter_ms: 0,
            jitter_seed: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * HOUR_MS),
            retention_bytes: None,
            cleanup: CleanupPolicy::Delete,
            dirty_ratio_ppm_min: 500_000,
            compaction_lag_ms_min: 0,
            compaction_lag_ms_max: None,
            delete_retention_ms: 24 * HOUR_MS,
            compression: None,
            flush_messages: None,
            flush_ms: None,
            message_bytes_max: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_ms_max: None,
            timestamp_after_ms_max: Some(HOUR_MS),
            producer_expiration_ms: 24 * HOUR_MS,
            watermark: HighWatermarkRule::Flushed,
            planted: Planted::none(),
        }
    }
}
