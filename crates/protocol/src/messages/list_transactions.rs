//! ListTransactions (API 66, versions 0 to 2): lists transactions.

use crate::message::Message;
use crate::{ErrorCode, ProducerId, TransactionalId};

/// The request of ListTransactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ListTransactionsRequest {
    /// Only transactions in these states; all when empty.
    pub state_filters: Vec<String>,
    /// Only transactions of these producer ids; all when empty.
    pub producer_id_filters: Vec<ProducerId>,
    /// Only transactions open for at least this many milliseconds; -1 for any.
    #[field(versions = "1+", default = "-1")]
    pub duration_filter: i64,
    /// Only transactional ids that match this pattern; null for all.
    #[field(versions = "2+")]
    pub transactional_id_pattern: Option<String>,
}

/// The response of ListTransactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ListTransactionsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The states asked for that the broker does not know.
    pub unknown_state_filters: Vec<String>,
    /// The transactions.
    pub transaction_states: Vec<TransactionState>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TransactionState {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The state of the transaction, as Kafka names it.
    pub transaction_state: String,
}
