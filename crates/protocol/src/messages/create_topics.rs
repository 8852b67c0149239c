//! CreateTopics (API 19, versions 2 to 7): creates topics.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, PartitionIndex, TopicId, TopicName};

/// The request of CreateTopics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "5+")]
pub struct CreateTopicsRequest {
    /// The topics to create.
    pub topics: Vec<CreatableTopic>,
    /// Milliseconds the broker may take.
    #[field(default = "60_000")]
    pub timeout_ms: i32,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// One topic to create.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatableTopic {
    /// The topic.
    pub name: TopicName,
    /// The number of partitions; -1 for the broker's default.
    pub num_partitions: i32,
    /// The number of replicas; -1 for the broker's default.
    pub replication_factor: i16,
    /// Which brokers hold which partition; empty to let the controller choose.
    pub assignments: Vec<CreatableReplicaAssignment>,
    /// Settings that differ from the broker's.
    pub configs: Vec<CreatableTopicConfig>,
}

/// The brokers of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatableReplicaAssignment {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The brokers, the preferred leader first.
    pub broker_ids: Vec<BrokerId>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatableTopicConfig {
    /// The setting.
    pub name: String,
    /// The value; null when it has none or is a secret.
    pub value: Option<String>,
}

/// The response of CreateTopics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "5+")]
pub struct CreateTopicsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What came of each.
    pub topics: Vec<CreatableTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatableTopicResult {
    /// The topic.
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "7+", ignorable)]
    pub topic_id: TopicId,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// Why the settings are not told, if they are not.
    #[field(tagged = 0, versions = "5+", ignorable)]
    pub topic_config_error_code: ErrorCode,
    /// The number of partitions; -1 when not said.
    #[field(versions = "5+", default = "-1", ignorable)]
    pub num_partitions: i32,
    /// The number of replicas; -1 when not said.
    #[field(versions = "5+", default = "-1", ignorable)]
    pub replication_factor: i16,
    /// The settings the topic got; null when the client may not see them.
    #[field(versions = "5+", ignorable)]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

/// One setting of the new topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct CreatableTopicConfigs {
    /// The setting.
    pub name: String,
    /// The value; null when it has none or is a secret.
    pub value: Option<String>,
    /// Whether the setting cannot be changed.
    pub read_only: bool,
    /// Where the value comes from (`ConfigSource`): 1 the topic, 4 the broker's file, 5 the
    /// default, ...
    #[field(default = "-1")]
    pub config_source: i8,
    /// Whether the value is a secret, and so null.
    pub is_sensitive: bool,
}
