//! One partition's log: what may be appended, where it lies, who sees it, what a restart finds.
//!
//! 1. LogStartOffset <= LastStableOffset <= HighWatermark <= LogEndOffset, always.
//! 2. A decision changes nothing; only what the shell reports as done does (`written`, `flushed`,
//!    `rolled`, ...). So a write that failed leaves nothing behind.
//! 3. The batches are the truth. Indexes, snapshots and checkpoints are rebuilt from them.
//! 4. Nothing that was acknowledged is cut without a word: damage with whole batches after it is
//!    named, and the log stays closed until someone decides.

mod append;
mod compaction;
mod config;
mod file_names;
mod leader_epochs;
mod offset_index;
mod partition_log;
mod prepared;
mod producer_entry;
mod producer_places;
mod producer_snapshot;
mod producer_state;
mod read;
mod recompress;
mod recovery;
mod retention;
mod scan;
mod segment;
mod summary;
mod time_index;
mod timestamps;
mod transaction_index;
mod transactions;

#[cfg(test)]
mod testing;

pub use append::{AppendOrigin, AppendRefusal, ValidBatches, validate_batches};
pub use compaction::{
    CLEANED_SUFFIX, CompactionEffect, CompactionPass, CompactionPlan, CompactionProblem,
    CompactionStanding, CorruptStanding, FileStep, KeyMap, LastOfProducer, Replacement,
    SWAP_SUFFIX, may_need_compaction, recovery_steps,
};
pub use config::{CleanupPolicy, HighWatermarkRule, LogConfig};
pub use file_names::{
    FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, TEMPORARY_SUFFIX, parse_directory_name,
};
pub use leader_epochs::{CorruptCheckpoint, EpochEnd, EpochStart, LeaderEpochCache};
pub use offset_index::{CorruptIndex, OFFSET_ENTRY_BYTES, OffsetIndex, OffsetPosition};
pub use partition_log::PartitionLog;
pub use prepared::{
    AppendDecision, AppendOutcome, IndexFiles, PreparedAppend, PreparedBatch, RollPlan, RollReason,
};
pub use producer_entry::{ProducerState, RECENT_BATCHES_MAX, RecentBatch, RecentBatches};
pub use producer_places::{NoPlace, ProducerLimits, ProducerOwner, ProducerPlaces};
pub use producer_snapshot::{CorruptSnapshot, decode_snapshot, encode_snapshot};
pub use producer_state::{
    Appended, MarkerEpoch, ProducerBatch, ProducerRefusal, ProducerStateTable, SequenceVerdict,
    TransactionGuard, TransactionMarker,
};
pub use read::{BatchWalk, Leap, OffsetOutOfRange, ReadLimit, ReadPlan, ReadRange, Selection};
pub use recompress::recompressed;
pub use recovery::{LogDamage, LogRecovery, OnDamage, RecoveryStart, SegmentVerdict};
pub use retention::{RetentionClock, RetentionPlan};
pub use scan::{BadBatch, BadStretch, Fed, ScanDepth, SegmentScan};
pub use segment::{IndexEntries, LogSegment, SegmentIndexes};
pub use summary::{AbortedCount, LogSummary, ManifestEntry, decode_manifest, encode_manifest};
pub use time_index::{TIME_ENTRY_BYTES, TimeIndex, TimestampOffset};
pub use timestamps::{BatchSearch, TimestampPlan, TimestampScan, find_batch, first_record_at};
pub use transaction_index::{decode_transaction_index, encode_transaction_index};
pub use transactions::{AbortedTransaction, TransactionTable};
