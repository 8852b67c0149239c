//! DescribeProducers (API 61, version 0): describes the producers writing to partitions.

use crate::message::Message;
use crate::{
    ErrorCode, Offset, PartitionIndex, ProducerId, SequenceNumber, TimestampMs, TopicName,
};

/// The request of DescribeProducers.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeProducersRequest {
    /// The topics.
    pub topics: Vec<TopicRequest>,
}

/// One topic asked about.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicRequest {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// The response of DescribeProducers.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeProducersResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<TopicResponse>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicResponse {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionResponse>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct PartitionResponse {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The producers the partition remembers.
    pub active_producers: Vec<ProducerState>,
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ProducerState {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: i32,
    /// The sequence of its last record; -1 when not known.
    #[field(default = "SequenceNumber::NONE")]
    pub last_sequence: SequenceNumber,
    /// When it last wrote; -1 when not known.
    #[field(default = "TimestampMs::NONE")]
    pub last_timestamp: TimestampMs,
    /// The epoch of the coordinator that wrote the last marker.
    pub coordinator_epoch: i32,
    /// The first offset of the open transaction; -1 when none is open.
    #[field(default = "Offset::NONE")]
    pub current_txn_start_offset: Offset,
}
