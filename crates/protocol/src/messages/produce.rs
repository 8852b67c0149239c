//! Produce (API 0, versions 3 to 13): appends record batches to partitions.

use bytes::Bytes;

use crate::message::Message;
use crate::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId, TopicName,
    TransactionalId,
};

/// The request of Produce.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "9+")]
pub struct ProduceRequest {
    /// The transactional id; null outside of transactions.
    pub transactional_id: Option<TransactionalId>,
    /// Replicas that must have the records before the answer: 0, 1, or -1 for all in sync.
    pub acks: i16,
    /// Milliseconds the leader may wait for the replicas in sync.
    pub timeout_ms: i32,
    /// The topics.
    pub topic_data: Vec<TopicProduceData>,
}

/// The records for one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicProduceData {
    /// The topic.
    #[field(versions = "0-12", ignorable)]
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "13+", ignorable)]
    pub topic_id: TopicId,
    /// The partitions.
    pub partition_data: Vec<PartitionProduceData>,
}

/// The records for one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionProduceData {
    /// The partition.
    pub index: PartitionIndex,
    /// One record batch.
    pub records: Option<Bytes>,
}

/// The response of Produce.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "9+")]
pub struct ProduceResponse {
    /// One answer for each topic.
    pub responses: Vec<TopicProduceResponse>,
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// Where to reach the leaders named in the partitions (KIP-951).
    #[field(tagged = 0, versions = "10+")]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicProduceResponse {
    /// The topic.
    #[field(versions = "0-12", ignorable)]
    pub name: TopicName,
    /// The topic, by its id.
    #[field(versions = "13+", ignorable)]
    pub topic_id: TopicId,
    /// One answer for each partition.
    pub partition_responses: Vec<PartitionProduceResponse>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionProduceResponse {
    /// The partition.
    pub index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The offset of the first record; -1 with an error.
    pub base_offset: Offset,
    /// When the leader appended the records; -1 unless the topic stamps by LogAppendTime.
    #[field(default = "TimestampMs::NONE")]
    pub log_append_time_ms: TimestampMs,
    /// The first offset the partition still has; -1 when not known.
    #[field(versions = "5+", default = "Offset::NONE", ignorable)]
    pub log_start_offset: Offset,
    /// The records that made the broker refuse the batch (KIP-467).
    #[field(versions = "8+", ignorable)]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// More about the error, in words.
    #[field(versions = "8+", ignorable)]
    pub error_message: Option<String>,
    /// Who leads now, when the broker asked does not (KIP-951).
    #[field(tagged = 0, versions = "10+")]
    pub current_leader: LeaderIdAndEpoch,
}

/// A record the broker refused.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct BatchIndexAndErrorMessage {
    /// Where the refused record stands in its batch, counted from 0.
    pub batch_index: i32,
    /// Why the record was refused.
    pub batch_index_error_message: Option<String>,
}

/// A leader and the epoch it leads in.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct LeaderIdAndEpoch {
    /// The leader; -1 when there is none.
    #[field(default = "BrokerId::NONE")]
    pub leader_id: BrokerId,
    /// The leader epoch; -1 when not known.
    #[field(default = "LeaderEpoch::NONE")]
    pub leader_epoch: LeaderEpoch,
}

/// Where to reach a broker.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: BrokerId,
    /// The name or address to connect to.
    pub host: String,
    /// The port.
    pub port: i32,
    /// The rack; null when not told.
    pub rack: Option<String>,
}
