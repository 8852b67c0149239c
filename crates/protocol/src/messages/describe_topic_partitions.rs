//! DescribeTopicPartitions (API 75, version 0): describes topics page by page (KIP-966).

use crate::message::Message;
use crate::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName};

/// The request of DescribeTopicPartitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeTopicPartitionsRequest {
    /// The topics.
    pub topics: Vec<TopicRequest>,
    /// The most partitions to describe in one answer.
    #[field(default = "2000")]
    pub response_partition_limit: i32,
    /// Where to go on; null from the beginning.
    pub cursor: Option<Cursor>,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicRequest {
    /// The topic.
    pub name: TopicName,
}

/// A place in the list of all partitions.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Cursor {
    /// The first topic of the page.
    pub topic_name: TopicName,
    /// The first partition of the page.
    pub partition_index: PartitionIndex,
}

/// The response of DescribeTopicPartitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeTopicPartitionsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where to go on; null when this was the last page.
    pub next_cursor: Option<Cursor>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeTopicPartitionsResponseTopic {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The topic.
    pub name: Option<TopicName>,
    /// The topic, by its id.
    pub topic_id: TopicId,
    /// Whether the topic is Kafka's own.
    pub is_internal: bool,
    /// The partitions.
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    /// A bit for each operation the client may do on the topic; `i32::MIN` when not asked for.
    #[field(default = "i32::MIN")]
    pub topic_authorized_operations: i32,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeTopicPartitionsResponsePartition {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The leader; -1 when there is none.
    pub leader_id: BrokerId,
    /// The leader epoch; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub leader_epoch: LeaderEpoch,
    /// The replicas, the preferred leader first.
    pub replica_nodes: Vec<BrokerId>,
    /// The replicas in sync.
    pub isr_nodes: Vec<BrokerId>,
    /// Replicas out of sync that have all committed records (KIP-966).
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    /// The last eligible leaders, when none is left (KIP-966).
    pub last_known_elr: Option<Vec<BrokerId>>,
    /// The replicas that are offline.
    pub offline_replicas: Vec<BrokerId>,
}
