//! DescribeQuorum (API 55, versions 0 to 2): describes the voters of the metadata log.

use crate::message::Message;
use crate::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicName};

/// The request of DescribeQuorum.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeQuorumRequest {
    /// The topics.
    pub topics: Vec<TopicQuery>,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicQuery {
    /// The topic.
    pub topic_name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionQuery>,
}

/// One partition asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionQuery {
    /// The partition.
    pub partition_index: PartitionIndex,
}

/// The response of DescribeQuorum.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeQuorumResponse {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    #[field(versions = "2+", ignorable)]
    pub error_message: Option<String>,
    /// The topics.
    pub topics: Vec<TopicData>,
    /// Where to reach the voters.
    #[field(versions = "2+")]
    pub nodes: Vec<Node>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicData {
    /// The topic.
    pub topic_name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionData>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionData {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    #[field(versions = "2+", ignorable)]
    pub error_message: Option<String>,
    /// The leader; -1 when there is none.
    pub leader_id: BrokerId,
    /// The leader epoch; -1 when not known.
    pub leader_epoch: LeaderEpoch,
    /// The offset after the last record that all replicas in sync have.
    pub high_watermark: Offset,
    /// The voters.
    pub current_voters: Vec<ReplicaState>,
    /// The followers that do not vote.
    pub observers: Vec<ReplicaState>,
}

/// One voter or observer.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ReplicaState {
    /// The voter or observer.
    pub replica_id: BrokerId,
    /// The id of the log directory that holds the replica; zero when not known.
    #[field(versions = "2+")]
    pub replica_directory_id: [u8; 16],
    /// The offset after the replica's last record; -1 when not known.
    pub log_end_offset: Offset,
    /// When the replica last fetched; -1 when not known.
    #[field(versions = "1+", default = "TimestampMs::NONE", ignorable)]
    pub last_fetch_timestamp: TimestampMs,
    /// When the replica last had all records; -1 when not known.
    #[field(versions = "1+", default = "TimestampMs::NONE", ignorable)]
    pub last_caught_up_timestamp: TimestampMs,
}

/// One voter.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Node {
    /// The broker.
    pub node_id: BrokerId,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Listener {
    /// The name of the listener.
    pub name: String,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: u16,
}
