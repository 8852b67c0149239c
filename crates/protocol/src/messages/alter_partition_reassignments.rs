//! AlterPartitionReassignments (API 45, versions 0 to 1): begins or cancels moves of replicas
//! between brokers.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, PartitionIndex, TopicName};

/// The request of AlterPartitionReassignments.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct AlterPartitionReassignmentsRequest {
    /// Milliseconds the broker may take.
    #[field(default = "60_000")]
    pub timeout_ms: i32,
    /// Whether the number of replicas may change (KIP-860).
    #[field(versions = "1+", default = "true")]
    pub allow_replication_factor_change: bool,
    /// The topics.
    pub topics: Vec<ReassignableTopic>,
}

/// The moves of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReassignableTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<ReassignablePartition>,
}

/// The move of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReassignablePartition {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The brokers it shall be on, the preferred leader first; null to cancel a move.
    pub replicas: Option<Vec<BrokerId>>,
}

/// The response of AlterPartitionReassignments.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct AlterPartitionReassignmentsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// Whether the number of replicas may change (KIP-860).
    #[field(versions = "1+", default = "true", ignorable)]
    pub allow_replication_factor_change: bool,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// One answer for each topic.
    pub responses: Vec<ReassignableTopicResponse>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReassignableTopicResponse {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<ReassignablePartitionResponse>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReassignablePartitionResponse {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
