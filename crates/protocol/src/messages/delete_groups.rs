//! DeleteGroups (API 42, versions 0 to 2): deletes groups.

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of DeleteGroups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DeleteGroupsRequest {
    /// The groups to delete.
    pub groups_names: Vec<GroupId>,
}

/// The response of DeleteGroups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "2+")]
pub struct DeleteGroupsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// One answer for each.
    pub results: Vec<DeletableGroupResult>,
}

/// What came of one group.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DeletableGroupResult {
    /// The group.
    pub group_id: GroupId,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
