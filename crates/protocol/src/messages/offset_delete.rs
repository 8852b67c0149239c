//! OffsetDelete (API 47, version 0): deletes a group's stored offsets.

use crate::message::Message;
use crate::{ErrorCode, GroupId, PartitionIndex, TopicName};

/// The request of OffsetDelete.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
pub struct OffsetDeleteRequest {
    /// The group.
    pub group_id: GroupId,
    /// The topics.
    pub topics: Vec<OffsetDeleteRequestTopic>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetDeleteRequestTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<OffsetDeleteRequestPartition>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetDeleteRequestPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
}

/// The response of OffsetDelete.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
pub struct OffsetDeleteResponse {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetDeleteResponseTopic>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetDeleteResponseTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<OffsetDeleteResponsePartition>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetDeleteResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
