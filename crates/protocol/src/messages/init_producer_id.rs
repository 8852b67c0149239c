//! InitProducerId (API 22, versions 0 to 5): gives an idempotent or transactional producer its id
//! and epoch.

use crate::message::Message;
use crate::{ErrorCode, ProducerEpoch, ProducerId, TransactionalId};

/// The request of InitProducerId.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct InitProducerIdRequest {
    /// The transactional id; null for a producer that is only idempotent.
    pub transactional_id: Option<TransactionalId>,
    /// Milliseconds after which the coordinator aborts an open transaction.
    pub transaction_timeout_ms: i32,
    /// The id the producer has; -1 when it has none (KIP-360).
    #[field(versions = "3+", default = "ProducerId::NONE")]
    pub producer_id: ProducerId,
    /// The epoch the producer has; -1 when it has none.
    #[field(versions = "3+", default = "ProducerEpoch::NONE")]
    pub producer_epoch: ProducerEpoch,
}

/// The response of InitProducerId.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct InitProducerIdResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The producer's id; -1 with an error.
    #[field(default = "ProducerId::NONE")]
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
}
