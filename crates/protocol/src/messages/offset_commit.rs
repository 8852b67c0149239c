//! OffsetCommit (API 8, versions 2 to 10): stores a group's offsets.

use crate::message::Message;
use crate::{ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName};

/// The request of OffsetCommit.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "8+")]
pub struct OffsetCommitRequest {
    /// The group.
    pub group_id: GroupId,
    /// The generation of a classic group, the member epoch of a next-generation one; -1 outside of
    /// groups.
    #[field(default = "-1")]
    pub generation_id_or_member_epoch: i32,
    /// The member; empty outside of groups.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "7+")]
    pub group_instance_id: Option<String>,
    /// Milliseconds to keep the offsets; -1 for the broker's setting.
    #[field(versions = "0-4", default = "-1", ignorable)]
    pub retention_time_ms: i64,
    /// The topics.
    pub topics: Vec<OffsetCommitRequestTopic>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetCommitRequestTopic {
    /// The topic.
    #[field(versions = "0-9", ignorable)]
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "10+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetCommitRequestPartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The offset of the next record to consume.
    pub committed_offset: Offset,
    /// The leader epoch of the last record consumed; -1 when not known.
    #[field(versions = "6+", default = "LeaderEpoch::NONE", ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    /// A text kept beside the offset.
    pub committed_metadata: Option<String>,
}

/// The response of OffsetCommit.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "8+")]
pub struct OffsetCommitResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<OffsetCommitResponseTopic>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetCommitResponseTopic {
    /// The topic.
    #[field(versions = "0-9", ignorable)]
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "10+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetCommitResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
