//! JoinGroup (API 11, versions 0 to 9): enters a classic consumer group.

use bytes::Bytes;

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of JoinGroup.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "6+")]
pub struct JoinGroupRequest {
    /// The group.
    pub group_id: GroupId,
    /// Milliseconds without a heartbeat after which the member is out.
    pub session_timeout_ms: i32,
    /// Milliseconds a member has to give up its partitions; -1 when not said.
    #[field(versions = "1+", default = "-1", ignorable)]
    pub rebalance_timeout_ms: i32,
    /// The member; empty until the coordinator gave it an id.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "5+")]
    pub group_instance_id: Option<String>,
    /// The kind of group, `consumer` for consumers.
    pub protocol_type: String,
    /// The protocols the member can do, the best first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// Why, in words (KIP-800).
    #[field(versions = "8+", ignorable)]
    pub reason: Option<String>,
}

/// One protocol the member can do.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct JoinGroupRequestProtocol {
    /// The name of the protocol.
    pub name: String,
    /// What the member joins with, as the protocol writes it.
    pub metadata: Bytes,
}

/// The response of JoinGroup.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "6+")]
pub struct JoinGroupResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "2+", ignorable)]
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The generation of the group.
    #[field(default = "-1")]
    pub generation_id: i32,
    /// The kind of group, `consumer` for consumers.
    #[field(versions = "7+", ignorable)]
    pub protocol_type: Option<String>,
    /// The protocol the group has chosen; null with an error.
    #[field(nullable = "7+", default = "Some(String::default())")]
    pub protocol_name: Option<String>,
    /// The member that leads the group.
    pub leader: String,
    /// Whether the leader need not assign anything (KIP-814).
    #[field(versions = "9+")]
    pub skip_assignment: bool,
    /// The member.
    pub member_id: String,
    /// To the leader, all members; to the others, nothing.
    pub members: Vec<JoinGroupResponseMember>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct JoinGroupResponseMember {
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "5+", ignorable)]
    pub group_instance_id: Option<String>,
    /// What the member joins with, as the protocol writes it.
    pub metadata: Bytes,
}
