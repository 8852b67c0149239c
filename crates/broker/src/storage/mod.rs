//! The logs on disk: performs what `broker-core::log` decides.
//!
//! 1. An append is in the page cache when `append` returns, and on disk when `wait_flushed` does.
//!    Dispatch and acknowledgement are two stages, so a connection has many appends on their way.
//! 2. All appends that arrive during an fsync share the next one (group commit).
//! 3. A failed write leaves nothing; a failed fsync takes the directory offline for good.
//! 4. Nothing is believed because it is on disk: sizes, checksums and counts are held against what
//!    was written, and what does not fit is rebuilt from the batches.

mod append;
mod clock;
mod codecs;
mod compaction;
mod config;
mod directory;
mod disk;
mod errors;
mod faults;
mod file_range;
mod flusher;
mod housekeeping;
mod journal;
mod journaled;
mod load;
mod lock;
mod meta;
mod parallel;
mod partition;
mod producers;
mod read;
mod shared;
mod store;
mod swap;
mod wait;
mod waiters;

#[cfg(test)]
mod tests;

pub(crate) use disk::{is_disk_full, new_directory, new_file};
pub(crate) use file_range::FileRange;
pub(crate) use read::StoredRecords;

pub use append::Admission;
pub use config::{CleanerConfig, FlushPolicy, LogStoreConfig, UnknownFlushPolicy};
pub use errors::{AppendError, ReadError, StorageError, StorageOffline};
pub use faults::DiskFaults;
pub use partition::Partition;
pub use read::ReadOutcome;
pub use shared::StoreCounts;
pub use store::LogStore;
pub use wait::Reached;

pub use streamledger_broker_core::log::{
    AbortedTransaction, AppendOrigin, AppendOutcome, LogConfig, OnDamage, ProducerLimits,
    ProducerOwner, ReadLimit, TimestampOffset, TransactionGuard,
};
