//! SaslAuthenticate (API 36, versions 0 to 2): carries one step of a SASL exchange.

use bytes::Bytes;

use crate::ErrorCode;
use crate::message::Message;

/// The request of SaslAuthenticate.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct SaslAuthenticateRequest {
    /// What the SASL mechanism sends.
    pub auth_bytes: Bytes,
}

/// The response of SaslAuthenticate.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct SaslAuthenticateResponse {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// What the SASL mechanism sends.
    pub auth_bytes: Bytes,
    /// Milliseconds until the client must authenticate again; 0 for never (KIP-368).
    #[field(versions = "1+", ignorable)]
    pub session_lifetime_ms: i64,
}
