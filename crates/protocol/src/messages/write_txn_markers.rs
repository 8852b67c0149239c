//! WriteTxnMarkers (API 27, versions 1 to 2): writes the end of transactions into partitions.

use crate::message::Message;
use crate::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, TopicName};

/// The request of WriteTxnMarkers.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct WriteTxnMarkersRequest {
    /// The transactions that end.
    pub markers: Vec<WritableTxnMarker>,
}

/// The end of one transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct WritableTxnMarker {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Whether the transaction commits; else it aborts.
    pub transaction_result: bool,
    /// The topics.
    pub topics: Vec<WritableTxnMarkerTopic>,
    /// The epoch of the transaction coordinator that writes the marker.
    pub coordinator_epoch: i32,
    /// The version of the transaction protocol the markers are written for (KIP-1228).
    #[field(versions = "2+", ignorable)]
    pub transaction_version: i8,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct WritableTxnMarkerTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partition_indexes: Vec<PartitionIndex>,
}

/// The response of WriteTxnMarkers.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct WriteTxnMarkersResponse {
    /// What came of each.
    pub markers: Vec<WritableTxnMarkerResult>,
}

/// What came of one transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct WritableTxnMarkerResult {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The topics.
    pub topics: Vec<WritableTxnMarkerTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct WritableTxnMarkerTopicResult {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<WritableTxnMarkerPartitionResult>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct WritableTxnMarkerPartitionResult {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
