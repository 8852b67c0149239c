//! IncrementalAlterConfigs (API 44, versions 0 to 1): changes single settings.

use crate::ErrorCode;
use crate::message::Message;

/// The request of IncrementalAlterConfigs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct IncrementalAlterConfigsRequest {
    /// The resources.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// The changes to one resource.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterConfigsResource {
    /// The kind of resource (`ConfigResource.Type`): 2 topic, 4 broker, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// The settings.
    pub configs: Vec<AlterableConfig>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterableConfig {
    /// The setting.
    pub name: String,
    /// 0 sets, 1 deletes, 2 appends to and 3 subtracts from a list (KIP-339).
    pub config_operation: i8,
    /// The value; null when it has none or is a secret.
    pub value: Option<String>,
}

/// The response of IncrementalAlterConfigs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "1+")]
pub struct IncrementalAlterConfigsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each resource.
    pub responses: Vec<AlterConfigsResourceResponse>,
}

/// What came of one resource.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterConfigsResourceResponse {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The kind of resource (`ConfigResource.Type`): 2 topic, 4 broker, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
}
