//! DeleteRecords (API 21, versions 0 to 2): moves the start of partitions up.

use crate::message::Message;
use crate::{ErrorCode, Offset, PartitionIndex, TopicName};

/// The request of DeleteRecords.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DeleteRecordsRequest {
    /// The topics.
    pub topics: Vec<DeleteRecordsTopic>,
    /// Milliseconds the broker may take.
    pub timeout_ms: i32,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteRecordsTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<DeleteRecordsPartition>,
}

/// The new start of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteRecordsPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The first offset to keep; -1 for the high watermark.
    pub offset: Offset,
}

/// The response of DeleteRecords.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DeleteRecordsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DeleteRecordsTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteRecordsTopicResult {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<DeleteRecordsPartitionResult>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteRecordsPartitionResult {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The smallest first offset among the replicas; -1 with an error.
    pub low_watermark: Offset,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
