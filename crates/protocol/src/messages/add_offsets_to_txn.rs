//! AddOffsetsToTxn (API 25, versions 0 to 4): adds a group's offsets to a transaction.

use crate::message::Message;
use crate::{ErrorCode, GroupId, ProducerEpoch, ProducerId, TransactionalId};

/// The request of AddOffsetsToTxn.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct AddOffsetsToTxnRequest {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The group.
    pub group_id: GroupId,
}

/// The response of AddOffsetsToTxn.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct AddOffsetsToTxnResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
