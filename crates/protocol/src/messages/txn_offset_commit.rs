//! TxnOffsetCommit (API 28, versions 0 to 5): stores a group's offsets in a transaction.

use crate::message::Message;
use crate::{
    ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicName,
    TransactionalId,
};

/// The request of TxnOffsetCommit.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct TxnOffsetCommitRequest {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The group.
    pub group_id: GroupId,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The generation of the group.
    #[field(versions = "3+", default = "-1")]
    pub generation_id: i32,
    /// The member; empty when not known.
    #[field(versions = "3+")]
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "3+")]
    pub group_instance_id: Option<String>,
    /// The topics.
    pub topics: Vec<TxnOffsetCommitRequestTopic>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TxnOffsetCommitRequestTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<TxnOffsetCommitRequestPartition>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TxnOffsetCommitRequestPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The offset of the next record to consume.
    pub committed_offset: Offset,
    /// The leader epoch of the last record consumed; -1 when not known.
    #[field(versions = "2+", default = "LeaderEpoch::NONE", ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    /// A text kept beside the offset.
    pub committed_metadata: Option<String>,
}

/// The response of TxnOffsetCommit.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct TxnOffsetCommitResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<TxnOffsetCommitResponseTopic>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TxnOffsetCommitResponseTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<TxnOffsetCommitResponsePartition>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TxnOffsetCommitResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
