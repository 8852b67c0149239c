//! CreatePartitions (API 37, versions 0 to 3): adds partitions to topics.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, TopicName};

/// The request of CreatePartitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<CreatePartitionsTopic>,
    /// Milliseconds the broker may take.
    pub timeout_ms: i32,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// One topic to add partitions to.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatePartitionsTopic {
    /// The topic.
    pub name: TopicName,
    /// The number of partitions the topic shall have in all.
    pub count: i32,
    /// Which brokers hold each new partition; null to let the controller choose.
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

/// The brokers of one new partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatePartitionsAssignment {
    /// The brokers, the preferred leader first.
    pub broker_ids: Vec<BrokerId>,
}

/// The response of CreatePartitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct CreatePartitionsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each.
    pub results: Vec<CreatePartitionsTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatePartitionsTopicResult {
    /// The topic.
    pub name: TopicName,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
