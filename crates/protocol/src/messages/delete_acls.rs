//! DeleteAcls (API 31, versions 1 to 3): removes access rules.

use crate::ErrorCode;
use crate::message::Message;

/// The request of DeleteAcls.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DeleteAclsRequest {
    /// The rules to remove match one of these.
    pub filters: Vec<DeleteAclsFilter>,
}

/// What the rules to remove match.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteAclsFilter {
    /// The kind of resource (`ResourceType`): 1 any, 2 topic, 3 group, ...
    pub resource_type_filter: i8,
    /// The name of the resource; null for any.
    pub resource_name_filter: Option<String>,
    /// How the rule's name matches: 1 any way, 2 this name, 3 literally, 4 as a prefix.
    #[field(default = "3")]
    pub pattern_type_filter: i8,
    /// The principal; null for any.
    pub principal_filter: Option<String>,
    /// The address; null for any.
    pub host_filter: Option<String>,
    /// The operation (`AclOperation`).
    pub operation: i8,
    /// 2 denies, 3 allows.
    pub permission_type: i8,
}

/// The response of DeleteAcls.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DeleteAclsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What each filter removed.
    pub filter_results: Vec<DeleteAclsFilterResult>,
}

/// What came of one filter.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteAclsFilterResult {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The rules removed.
    pub matching_acls: Vec<DeleteAclsMatchingAcl>,
}

/// One rule that matched.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeleteAclsMatchingAcl {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The kind of resource (`ResourceType`): 2 topic, 3 group, 4 cluster, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// How the name matches: 3 literally, 4 as a prefix.
    #[field(default = "3")]
    pub pattern_type: i8,
    /// The principal, as `User:alice`.
    pub principal: String,
    /// The address the rule was about; `*` for any.
    pub host: String,
    /// The operation (`AclOperation`).
    pub operation: i8,
    /// 2 denies, 3 allows.
    pub permission_type: i8,
}
