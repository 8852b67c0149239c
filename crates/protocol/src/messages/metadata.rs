//! Metadata (API 3, versions 0 to 13): says which brokers, topics and leaders there are.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName};

/// The request of Metadata.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "9+")]
pub struct MetadataRequest {
    /// The topics asked about; null for all, which version 0 says with none.
    #[field(nullable = "1+", default = "Some(Vec::new())")]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// Whether topics that do not exist may be created, if the broker allows it too.
    #[field(versions = "4+", default = "true")]
    pub allow_auto_topic_creation: bool,
    /// Whether to say what the client may do on the cluster.
    #[field(versions = "8-10")]
    pub include_cluster_authorized_operations: bool,
    /// Whether to say what the client may do on each topic.
    #[field(versions = "8+")]
    pub include_topic_authorized_operations: bool,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct MetadataRequestTopic {
    /// The topic, by its id.
    #[field(versions = "10+", ignorable)]
    pub topic_id: TopicId,
    /// The topic; null when it is named by its id.
    #[field(nullable = "10+", default = "Some(TopicName::default())")]
    pub name: Option<TopicName>,
}

/// The response of Metadata.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "9+")]
pub struct MetadataResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    /// The brokers.
    pub brokers: Vec<MetadataResponseBroker>,
    /// The id of the cluster.
    #[field(versions = "2+", ignorable)]
    pub cluster_id: Option<String>,
    /// The controller; -1 when there is none.
    #[field(versions = "1+", default = "BrokerId::NONE", ignorable)]
    pub controller_id: BrokerId,
    /// The topics.
    pub topics: Vec<MetadataResponseTopic>,
    /// A bit for each operation the client may do on the cluster; `i32::MIN` when not asked for.
    #[field(versions = "8-10", default = "i32::MIN")]
    pub cluster_authorized_operations: i32,
    /// What went wrong, if anything.
    #[field(versions = "13+", ignorable)]
    pub error_code: ErrorCode,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct MetadataResponseBroker {
    /// The broker.
    pub node_id: BrokerId,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: i32,
    /// The rack; null when not told.
    #[field(versions = "1+", ignorable)]
    pub rack: Option<String>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct MetadataResponseTopic {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The topic; null when its id is not known.
    #[field(nullable = "12+", default = "Some(TopicName::default())")]
    pub name: Option<TopicName>,
    /// The topic, by its id.
    #[field(versions = "10+", ignorable)]
    pub topic_id: TopicId,
    /// Whether the topic is Kafka's own.
    #[field(versions = "1+", ignorable)]
    pub is_internal: bool,
    /// The partitions.
    pub partitions: Vec<MetadataResponsePartition>,
    /// A bit for each operation the client may do on the topic; `i32::MIN` when not asked for.
    #[field(versions = "8+", default = "i32::MIN")]
    pub topic_authorized_operations: i32,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct MetadataResponsePartition {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition_index: PartitionIndex,
    /// The leader; -1 when there is none.
    pub leader_id: BrokerId,
    /// The leader epoch; -1 when not known.
    #[field(versions = "7+", default = "LeaderEpoch::NONE", ignorable)]
    pub leader_epoch: LeaderEpoch,
    /// The replicas, the preferred leader first.
    pub replica_nodes: Vec<BrokerId>,
    /// The replicas in sync.
    pub isr_nodes: Vec<BrokerId>,
    /// The replicas that are offline.
    #[field(versions = "5+", ignorable)]
    pub offline_replicas: Vec<BrokerId>,
}
