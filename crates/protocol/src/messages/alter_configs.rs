//! AlterConfigs (API 33, versions 0 to 2): replaces settings.

use crate::ErrorCode;
use crate::message::Message;

/// The request of AlterConfigs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct AlterConfigsRequest {
    /// The resources.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether to check the request and change nothing.
    pub validate_only: bool,
}

/// All settings one resource shall have.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterConfigsResource {
    /// The kind of resource (`ConfigResource.Type`): 2 topic, 4 broker, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// The settings.
    pub configs: Vec<AlterableConfig>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AlterableConfig {
    /// The setting.
    pub name: String,
    /// The value; null when it has none or is a secret.
    pub value: Option<String>,
}

/// The response of AlterConfigs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct AlterConfigsResponse {
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
