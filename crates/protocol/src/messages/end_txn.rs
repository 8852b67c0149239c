//! EndTxn (API 26, versions 0 to 5): commits or aborts a transaction.

use crate::message::Message;
use crate::{ErrorCode, ProducerEpoch, ProducerId, TransactionalId};

/// The request of EndTxn.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct EndTxnRequest {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Whether the transaction is committed; else it is aborted.
    pub committed: bool,
}

/// The response of EndTxn.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct EndTxnResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The id to go on with; -1 when unchanged (KIP-890).
    #[field(versions = "5+", default = "ProducerId::NONE", ignorable)]
    pub producer_id: ProducerId,
    /// The epoch to go on with; -1 when unchanged (KIP-890).
    #[field(versions = "5+", default = "ProducerEpoch::NONE", ignorable)]
    pub producer_epoch: ProducerEpoch,
}
