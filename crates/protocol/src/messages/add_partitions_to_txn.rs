//! AddPartitionsToTxn (API 24, versions 0 to 5): adds partitions to a transaction.

use crate::message::Message;
use crate::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, TopicName, TransactionalId};

/// The request of AddPartitionsToTxn.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct AddPartitionsToTxnRequest {
    /// The transactions.
    #[field(versions = "4+")]
    pub transactions: Vec<AddPartitionsToTxnTransaction>,
    /// The transactional id.
    #[field(versions = "0-3")]
    pub v3_and_below_transactional_id: TransactionalId,
    /// The producer's id.
    #[field(versions = "0-3")]
    pub v3_and_below_producer_id: ProducerId,
    /// The producer's epoch.
    #[field(versions = "0-3")]
    pub v3_and_below_producer_epoch: ProducerEpoch,
    /// The partitions to add.
    #[field(versions = "0-3")]
    pub v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
}

/// The partitions to add to one transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AddPartitionsToTxnTransaction {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Whether only to check that the partitions are in the transaction.
    pub verify_only: bool,
    /// The topics.
    pub topics: Vec<AddPartitionsToTxnTopic>,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AddPartitionsToTxnTopic {
    /// The topic.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The response of AddPartitionsToTxn.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct AddPartitionsToTxnResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    #[field(versions = "4+", ignorable)]
    pub error_code: ErrorCode,
    /// One answer for each transaction.
    #[field(versions = "4+")]
    pub results_by_transaction: Vec<AddPartitionsToTxnResult>,
    /// One answer for each topic.
    #[field(versions = "0-3")]
    pub results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
}

/// What came of one transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AddPartitionsToTxnResult {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// One answer for each topic.
    pub topic_results: Vec<AddPartitionsToTxnTopicResult>,
}

/// What came of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AddPartitionsToTxnTopicResult {
    /// The topic.
    pub name: TopicName,
    /// One answer for each partition.
    pub results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
}

/// What came of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AddPartitionsToTxnPartitionResult {
    /// The partition.
    pub partition_index: PartitionIndex,
    /// What went wrong, if anything.
    pub partition_error_code: ErrorCode,
}
