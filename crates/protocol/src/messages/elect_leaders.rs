//! ElectLeaders (API 43, versions 0 to 2): elects leaders of partitions.

use crate::message::Message;
use crate::{ErrorCode, PartitionIndex, TopicName};

/// The request of ElectLeaders.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct ElectLeadersRequest {
    /// 0 for the preferred replica, 1 for any, even out of sync.
    #[field(versions = "1+")]
    pub election_type: i8,
    /// The partitions; null for all.
    pub topic_partitions: Option<Vec<TopicPartitions>>,
    /// Milliseconds the broker may take.
    #[field(default = "60_000")]
    pub timeout_ms: i32,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic.
    pub topic: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The response of ElectLeaders.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct ElectLeadersResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    #[field(versions = "1+")]
    pub error_code: ErrorCode,
    /// One answer for each topic.
    pub replica_election_results: Vec<ReplicaElectionResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReplicaElectionResult {
    /// The topic.
    pub topic: TopicName,
    /// One answer for each partition.
    pub partition_result: Vec<PartitionResult>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionResult {
    /// The partition.
    pub partition_id: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
