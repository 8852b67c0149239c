//! Heartbeat (API 12, versions 0 to 4): keeps a member in a classic consumer group.

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of Heartbeat.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: GroupId,
    /// The generation of the group.
    pub generation_id: i32,
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "3+")]
    pub group_instance_id: Option<String>,
}

/// The response of Heartbeat.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "4+")]
pub struct HeartbeatResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
}
