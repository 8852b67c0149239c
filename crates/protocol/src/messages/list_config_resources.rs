//! ListConfigResources (API 74, versions 0 to 1): lists what has settings.

use crate::ErrorCode;
use crate::message::Message;

/// The request of ListConfigResources.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ListConfigResourcesRequest {
    /// Only resources of these kinds (`ConfigResource.Type`); all when empty.
    #[field(versions = "1+")]
    pub resource_types: Vec<i8>,
}

/// The response of ListConfigResources.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ListConfigResourcesResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The resources.
    pub config_resources: Vec<ConfigResource>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ConfigResource {
    /// The name of the resource.
    pub resource_name: String,
    /// The kind of resource (`ConfigResource.Type`): 2 topic, 16 client metrics, ...
    #[field(versions = "1+", default = "16", ignorable)]
    pub resource_type: i8,
}
