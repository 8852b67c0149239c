//! OffsetForLeaderEpoch (API 23, versions 2 to 4): says where a leader epoch ends.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicName};

/// The request of OffsetForLeaderEpoch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct OffsetForLeaderEpochRequest {
    /// The follower that asks; -1 for a client, -2 when not said.
    #[field(versions = "3+", default = "BrokerId(-2)", ignorable)]
    pub replica_id: BrokerId,
    /// The topics.
    pub topics: Vec<OffsetForLeaderTopic>,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetForLeaderTopic {
    /// The topic.
    pub topic: TopicName,
    /// The partitions.
    pub partitions: Vec<OffsetForLeaderPartition>,
}

/// What is asked about one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetForLeaderPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader epoch the client knows; -1 when it knows none.
    #[field(default = "LeaderEpoch::NONE")]
    pub current_leader_epoch: LeaderEpoch,
    /// The leader epoch whose end is asked for.
    pub leader_epoch: LeaderEpoch,
}

/// The response of OffsetForLeaderEpoch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct OffsetForLeaderEpochResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetForLeaderTopicResult>,
}

/// The answers for one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetForLeaderTopicResult {
    /// The topic.
    pub topic: TopicName,
    /// The partitions.
    pub partitions: Vec<EpochEndOffset>,
}

/// Where the leader epoch ends in one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EpochEndOffset {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader epoch; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub leader_epoch: LeaderEpoch,
    /// The offset after the epoch's last record; -1 when not known.
    #[field(default = "Offset::NONE")]
    pub end_offset: Offset,
}
