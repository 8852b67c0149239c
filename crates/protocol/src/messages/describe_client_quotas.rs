//! DescribeClientQuotas (API 48, versions 0 to 1): reads quotas.

use crate::ErrorCode;
use crate::message::Message;

/// The request of DescribeClientQuotas.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct DescribeClientQuotasRequest {
    /// What the entities must match.
    pub components: Vec<ComponentData>,
    /// Whether an entity with other types than those asked for is left out.
    pub strict: bool,
}

/// What one part of an entity must match.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ComponentData {
    /// `user`, `client-id` or `ip`.
    pub entity_type: String,
    /// 0 for that name, 1 for the default, 2 for any name.
    pub match_type: i8,
    /// The name to match, when `match_type` is 0.
    pub r#match: Option<String>,
}

/// The response of DescribeClientQuotas.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct DescribeClientQuotasResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The quotas, by entity; null with an error.
    pub entries: Option<Vec<EntryData>>,
}

/// The quotas of one entity.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EntryData {
    /// The entity, one part for each type.
    pub entity: Vec<EntityData>,
    /// The quotas.
    pub values: Vec<ValueData>,
}

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct EntityData {
    /// `user`, `client-id` or `ip`.
    pub entity_type: String,
    /// The name of that user, client id or address; null for the default.
    pub entity_name: Option<String>,
}

/// One quota.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ValueData {
    /// The quota: `producer_byte_rate`, ...
    pub key: String,
    /// Its value.
    pub value: f64,
}
