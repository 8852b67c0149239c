//! SyncGroup (API 14, versions 0 to 5): hands out the assignment of a classic consumer group.

use bytes::Bytes;

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of SyncGroup.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct SyncGroupRequest {
    /// The group.
    pub group_id: GroupId,
    /// The generation of the group.
    pub generation_id: i32,
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "3+")]
    pub group_instance_id: Option<String>,
    /// The kind of group, `consumer` for consumers.
    #[field(versions = "5+", ignorable)]
    pub protocol_type: Option<String>,
    /// The protocol the group has chosen.
    #[field(versions = "5+", ignorable)]
    pub protocol_name: Option<String>,
    /// From the leader, what each member gets; from the others, nothing.
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

/// What one member gets.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct SyncGroupRequestAssignment {
    /// The member.
    pub member_id: String,
    /// What the member gets, as the group's protocol writes it.
    pub assignment: Bytes,
}

/// The response of SyncGroup.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct SyncGroupResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The kind of group, `consumer` for consumers.
    #[field(versions = "5+", ignorable)]
    pub protocol_type: Option<String>,
    /// The protocol the group has chosen.
    #[field(versions = "5+", ignorable)]
    pub protocol_name: Option<String>,
    /// What this member gets, as the group's protocol writes it.
    pub assignment: Bytes,
}
