//! OffsetFetch (API 9, versions 1 to 10): reads a group's stored offsets.

use crate::message::Message;
use crate::{ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName};

/// The request of OffsetFetch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "6+")]
pub struct OffsetFetchRequest {
    /// The group.
    #[field(versions = "0-7")]
    pub group_id: GroupId,
    /// The topics asked about; null for all the group has offsets of.
    #[field(versions = "0-7", nullable = "2-7", default = "Some(Vec::new())")]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    /// The groups asked about (KIP-709).
    #[field(versions = "8+")]
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Whether to wait for offsets of open transactions, by UNSTABLE_OFFSET_COMMIT (KIP-447).
    #[field(versions = "7+")]
    pub require_stable: bool,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchRequestTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// One group asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchRequestGroup {
    /// The group.
    pub group_id: GroupId,
    /// The member; null outside of next-generation groups.
    #[field(versions = "9+", ignorable)]
    pub member_id: Option<String>,
    /// The epoch of the member; -1 outside of next-generation groups.
    #[field(versions = "9+", default = "-1", ignorable)]
    pub member_epoch: i32,
    /// The topics asked about; null for all the group has offsets of.
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchRequestTopics {
    /// The topic.
    #[field(versions = "8-9", ignorable)]
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "10+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// The response of OffsetFetch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "6+")]
pub struct OffsetFetchResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    #[field(versions = "0-7")]
    pub topics: Vec<OffsetFetchResponseTopic>,
    /// What went wrong, if anything.
    #[field(versions = "2-7", ignorable)]
    pub error_code: ErrorCode,
    /// One answer for each group.
    #[field(versions = "8+")]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchResponseTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchResponsePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The offset of the next record to consume; -1 when none is stored.
    pub committed_offset: Offset,
    /// The leader epoch of the last record consumed; -1 when not known.
    #[field(versions = "5-7", default = "LeaderEpoch::NONE", ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    /// The text kept beside the offset.
    pub metadata: Option<String>,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}

/// The offsets of one group.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchResponseGroup {
    /// The group.
    pub group_id: GroupId,
    /// The topics.
    pub topics: Vec<OffsetFetchResponseTopics>,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchResponseTopics {
    /// The topic.
    #[field(versions = "8-9", ignorable)]
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "10+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OffsetFetchResponsePartitions {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The offset of the next record to consume; -1 when none is stored.
    pub committed_offset: Offset,
    /// The leader epoch of the last record consumed; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub committed_leader_epoch: LeaderEpoch,
    /// The text kept beside the offset.
    pub metadata: Option<String>,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
