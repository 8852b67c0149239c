//! CreateAcls (API 30, versions 1 to 3): adds access rules.

use crate::ErrorCode;
use crate::message::Message;

/// The request of CreateAcls.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct CreateAclsRequest {
    /// The rules to add.
    pub creations: Vec<AclCreation>,
}

/// One rule to add.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AclCreation {
    /// The kind of resource (`ResourceType`): 2 topic, 3 group, 4 cluster, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// How the name matches: 3 literally, 4 as a prefix.
    #[field(default = "3")]
    pub resource_pattern_type: i8,
    /// The principal, as `User:alice`.
    pub principal: String,
    /// The address the rule is about; `*` for any.
    pub host: String,
    /// The operation (`AclOperation`).
    pub operation: i8,
    /// 2 denies, 3 allows.
    pub permission_type: i8,
}

/// The response of CreateAcls.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct CreateAclsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each.
    pub results: Vec<AclCreationResult>,
}

/// What came of one rule.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AclCreationResult {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
}
