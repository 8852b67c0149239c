//! SaslHandshake (API 17, versions 0 to 1): chooses a SASL mechanism.

use crate::ErrorCode;
use crate::message::Message;

/// The request of SaslHandshake.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
pub struct SaslHandshakeRequest {
    /// The SASL mechanism.
    pub mechanism: String,
}

/// The response of SaslHandshake.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "none")]
pub struct SaslHandshakeResponse {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The mechanisms the broker offers.
    pub mechanisms: Vec<String>,
}
