//! DescribeTransactions (API 65, version 0): describes transactions.

use crate::message::Message;
use crate::{
    ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, TopicName, TransactionalId,
};

/// The request of DescribeTransactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeTransactionsRequest {
    /// The transactional ids.
    pub transactional_ids: Vec<TransactionalId>,
}

/// The response of DescribeTransactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct DescribeTransactionsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// The transactions.
    pub transaction_states: Vec<TransactionState>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TransactionState {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The state of the transaction, as Kafka names it.
    pub transaction_state: String,
    /// Milliseconds after which the coordinator aborts an open transaction.
    pub transaction_timeout_ms: i32,
    /// When the transaction began; -1 when none is open.
    pub transaction_start_time_ms: TimestampMs,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The topics.
    pub topics: Vec<TopicData>,
}

/// Its partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicData {
    /// The topic.
    pub topic: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}
