//! AlterClientQuotas (API 49, versions 0 to 1): changes quotas.

use crate::ErrorCode;
use crate::message::Message;

/// The request of AlterClientQuotas.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct AlterClientQuotasRequest {
    /// The changes, by entity.
    pub entries: Vec<EntryData>,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// The changes to one entity.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EntryData {
    /// The entity, one part for each type.
    pub entity: Vec<EntityData>,
    /// The changes to its quotas.
    pub ops: Vec<OpData>,
}

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EntityData {
    /// `user`, `client-id` or `ip`.
    pub entity_type: String,
    /// The name of that user, client id or address; null for the default.
    pub entity_name: Option<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct OpData {
    /// The quota: `producer_byte_rate`, ...
    pub key: String,
    /// The value to set.
    pub value: f64,
    /// Whether the quota is removed.
    pub remove: bool,
}

/// The response of AlterClientQuotas.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct AlterClientQuotasResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What came of each change.
    pub entries: Vec<EntryResult>,
}

/// What came of one entity.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EntryResult {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The entity, one part for each type.
    pub entity: Vec<EntityData>,
}
