//! AlterReplicaLogDirs (API 34, versions 1 to 2): moves replicas between log directories.

use crate::message::Message;
use crate::{ErrorCode, PartitionIndex, TopicName};

/// The request of AlterReplicaLogDirs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct AlterReplicaLogDirsRequest {
    /// The moves, by directory.
    pub dirs: Vec<AlterReplicaLogDir>,
}

/// What shall be in one directory.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterReplicaLogDir {
    /// The absolute path of the directory.
    pub path: String,
    /// The topics.
    pub topics: Vec<AlterReplicaLogDirTopic>,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterReplicaLogDirTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The response of AlterReplicaLogDirs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct AlterReplicaLogDirsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each.
    pub results: Vec<AlterReplicaLogDirTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterReplicaLogDirTopicResult {
    /// The topic.
    pub topic_name: TopicName,
    /// The partitions.
    pub partitions: Vec<AlterReplicaLogDirPartitionResult>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterReplicaLogDirPartitionResult {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
