//! ListOffsets (API 2, versions 1 to 11): finds the offset at a timestamp, or at either end.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicName};

/// The request of ListOffsets.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "6+")]
pub struct ListOffsetsRequest {
    /// The follower that asks; -1 for a client.
    pub replica_id: BrokerId,
    /// 0 reads uncommitted records too, 1 only committed ones.
    #[field(versions = "2+")]
    pub isolation_level: i8,
    /// The topics.
    pub topics: Vec<ListOffsetsTopic>,
    /// Milliseconds the broker may take.
    #[field(versions = "10+", ignorable)]
    pub timeout_ms: i32,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ListOffsetsTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<ListOffsetsPartition>,
}

/// What is looked for in one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The leader epoch the client knows; -1 when it knows none.
    #[field(versions = "4+", default = "LeaderEpoch::NONE", ignorable)]
    pub current_leader_epoch: LeaderEpoch,
    /// The timestamp looked for; -1 the end, -2 the start, -3 the largest timestamp, ...
    pub timestamp: TimestampMs,
}

/// The response of ListOffsets.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "6+")]
pub struct ListOffsetsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "2+", ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<ListOffsetsTopicResponse>,
}

/// What was found in one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ListOffsetsTopicResponse {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

/// What was found in one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ListOffsetsPartitionResponse {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The timestamp of the record found; -1 when there is none.
    #[field(default = "TimestampMs::NONE")]
    pub timestamp: TimestampMs,
    /// The offset found; -1 when there is none.
    #[field(default = "Offset::NONE")]
    pub offset: Offset,
    /// The leader epoch; -1 when not known.
    #[field(versions = "4+", default = "LeaderEpoch::NONE")]
    pub leader_epoch: LeaderEpoch,
}
