//! LeaveGroup (API 13, versions 0 to 5): leaves a classic consumer group.

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of LeaveGroup.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct LeaveGroupRequest {
    /// The group.
    pub group_id: GroupId,
    /// The member.
    #[field(versions = "0-2")]
    pub member_id: String,
    /// The members that leave.
    #[field(versions = "3+")]
    pub members: Vec<MemberIdentity>,
}

/// One member that leaves.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct MemberIdentity {
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    pub group_instance_id: Option<String>,
    /// Why, in words (KIP-800).
    #[field(versions = "5+", ignorable)]
    pub reason: Option<String>,
}

/// The response of LeaveGroup.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct LeaveGroupResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// What came of each.
    #[field(versions = "3+")]
    pub members: Vec<MemberResponse>,
}

/// What came of one member.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct MemberResponse {
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    pub group_instance_id: Option<String>,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
