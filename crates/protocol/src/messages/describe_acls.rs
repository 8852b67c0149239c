//! DescribeAcls (API 29, versions 1 to 3): lists access rules.

use crate::ErrorCode;
use crate::message::Message;

/// The request of DescribeAcls.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DescribeAclsRequest {
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

/// The response of DescribeAcls.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DescribeAclsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The resources.
    pub resources: Vec<DescribeAclsResource>,
}

/// One resource with its rules.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribeAclsResource {
    /// The kind of resource (`ResourceType`): 2 topic, 3 group, 4 cluster, ...
    pub resource_type: i8,
    /// The name of the resource.
    pub resource_name: String,
    /// How the name matches: 3 literally, 4 as a prefix.
    #[field(default = "3")]
    pub pattern_type: i8,
    /// Its rules.
    pub acls: Vec<AclDescription>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct AclDescription {
    /// The principal, as `User:alice`.
    pub principal: String,
    /// The address the rule is about; `*` for any.
    pub host: String,
    /// The operation (`AclOperation`).
    pub operation: i8,
    /// 2 denies, 3 allows.
    pub permission_type: i8,
}
