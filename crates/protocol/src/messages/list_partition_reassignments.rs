//! ListPartitionReassignments (API 46, version 0): lists the moves of replicas that go on.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, PartitionIndex, TopicName};

/// The request of ListPartitionReassignments.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ListPartitionReassignmentsRequest {
    /// Milliseconds the broker may take.
    #[field(default = "60_000")]
    pub timeout_ms: i32,
    /// The topics asked about; null for all.
    pub topics: Option<Vec<ListPartitionReassignmentsTopics>>,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ListPartitionReassignmentsTopics {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// The response of ListPartitionReassignments.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ListPartitionReassignmentsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The topics.
    pub topics: Vec<OngoingTopicReassignment>,
}

/// The moves of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OngoingTopicReassignment {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<OngoingPartitionReassignment>,
}

/// The move of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OngoingPartitionReassignment {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The replicas now, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Brokers that are becoming replicas.
    pub adding_replicas: Vec<BrokerId>,
    /// Brokers that will not be replicas any more.
    pub removing_replicas: Vec<BrokerId>,
}
