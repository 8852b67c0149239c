//! UnregisterBroker (API 64, version 0): takes a broker that is gone for good out of the cluster.

use crate::message::Message;
use crate::{BrokerId, ErrorCode};

/// The request of UnregisterBroker.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct UnregisterBrokerRequest {
    /// The broker.
    pub broker_id: BrokerId,
}

/// The response of UnregisterBroker.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct UnregisterBrokerResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
