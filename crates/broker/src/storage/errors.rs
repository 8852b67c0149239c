//! What can go wrong in the log store, and the error code that answers it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamledger_broker_core::log::{AppendRefusal, OffsetOutOfRange};
use streamledger_protocol::record_batch::CorruptBatch;
use streamledger_protocol::{ErrorCode, TopicPartition};

use super::disk::is_disk_full;

/// Why a data directory can't be opened, or a partition not be created or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A running broker has the directory.
    #[error(
        "{path} is in use by a running broker{}{}",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        listening_at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default()
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Where that broker listens, if it has said so.
        listening_at: Option<String>,
        /// Its process, if it has said so.
        pid: Option<u32>,
    },
    /// The directory holds something else.
    #[error("{path} is not empty and not a data directory of Streamledger; choose another one")]
    NotOurs {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory was written by a newer version of this program.
    #[error(
        "{path} has format version {found}, and this program knows up to {known}; use a newer one"
    )]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// The directory belongs to another cluster than the one asked for.
    #[error("{path} belongs to cluster {found}, not to {expected}")]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// The cluster it belongs to.
        found: String,
        /// The cluster that was asked for.
        expected: String,
    },
    /// The file that says what the directory is can't be understood.
    #[error("{path} is damaged: {reason}")]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no room left.
    #[error("the disk of {path} is full")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The partition is there already.
    #[error("{0} is there already")]
    PartitionExists(TopicPartition),
    /// The store was taken offline, or is closed.
    #[error(transparent)]
    Offline(#[from] StorageOffline),
}

impl StorageError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_disk_full(&source) {
            Self::DiskFull { path, source }
        } else {
            Self::Io { action, path, source }
        }
    }
}

/// Why a partition, or a whole data directory, takes and gives nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageOffline {
    /// An fsync or a repair failed: what the disk has is not known any more.
    #[error("the data directory is offline: {0}")]
    Failed(Arc<str>),
    /// The partition's log is damaged.
    #[error(
        "{topic_partition} is offline: {damage} (a start with streamledger.on.damage=cut gives up \
         what lies behind)"
    )]
    Damaged {
        /// The partition.
        topic_partition: TopicPartition,
        /// What is damaged.
        damage: Arc<str>,
    },
    /// The partition was deleted.
    #[error("{0} was deleted")]
    Deleted(TopicPartition),
    /// The store was closed.
    #[error("the log store is closed")]
    Closed,
}

impl StorageOffline {
    /// The error code that answers it, as Kafka's broker would.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Failed(_) | Self::Damaged { .. } => ErrorCode::KafkaStorageError,
            Self::Deleted(_) => ErrorCode::UnknownTopicOrPartition,
            Self::Closed => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Why batches are not in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// They break a rule.
    #[error(transparent)]
    Refused(#[from] AppendRefusal),
    /// They could not be written, and nothing of them is there: worth another try.
    #[error("nothing was appended: {0}")]
    NotWritten(io::Error),
    /// The partition takes nothing any more.
    #[error(transparent)]
    Offline(#[from] StorageOffline),
}

impl AppendError {
    /// The error code that answers it, as Kafka's broker would.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.error_code(),
            Self::NotWritten(_) => ErrorCode::KafkaStorageError,
            Self::Offline(offline) => offline.error_code(),
        }
    }
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not in the log.
    #[error(transparent)]
    OutOfRange(#[from] OffsetOutOfRange),
    /// The file can't be read.
    #[error("reading {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what the log wrote.
    #[error("{path} is damaged at byte {position}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// How.
        reason: String,
    },
    /// The partition gives nothing any more.
    #[error(transparent)]
    Offline(#[from] StorageOffline),
}

impl ReadError {
    pub(super) fn corrupt(path: PathBuf, position: u64, corrupt: &CorruptBatch) -> Self {
        Self::Damaged { path, position, reason: corrupt.to_string() }
    }

    /// The error code that answers it, as Kafka's broker would.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange(_) => OffsetOutOfRange::ERROR_CODE,
            Self::Io { .. } | Self::Damaged { .. } => ErrorCode::KafkaStorageError,
            Self::Offline(offline) => offline.error_code(),
        }
    }
}
