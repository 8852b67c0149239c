//! DescribeGroups (API 15, versions 0 to 6): describes classic consumer groups.

use bytes::Bytes;

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of DescribeGroups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "5+")]
pub struct DescribeGroupsRequest {
    /// The groups.
    pub groups: Vec<GroupId>,
    /// Whether to say what the client may do on each group.
    #[field(versions = "3+")]
    pub include_authorized_operations: bool,
}

/// The response of DescribeGroups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "5+")]
pub struct DescribeGroupsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// The groups.
    pub groups: Vec<DescribedGroup>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribedGroup {
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    #[field(versions = "6+")]
    pub error_message: Option<String>,
    /// The group.
    pub group_id: GroupId,
    /// The state of the group, as Kafka names it.
    pub group_state: String,
    /// The kind of group, `consumer` for consumers.
    pub protocol_type: String,
    /// The protocol the group has chosen.
    pub protocol_data: String,
    /// The members.
    pub members: Vec<DescribedGroupMember>,
    /// A bit for each operation the client may do; `i32::MIN` when not asked for.
    #[field(versions = "3+", default = "i32::MIN")]
    pub authorized_operations: i32,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct DescribedGroupMember {
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member (KIP-345).
    #[field(versions = "4+", ignorable)]
    pub group_instance_id: Option<String>,
    /// How the member's client calls itself.
    pub client_id: String,
    /// The address the member connects from.
    pub client_host: String,
    /// What the member joined with, as the group's protocol writes it.
    pub member_metadata: Bytes,
    /// What the member has, as the group's protocol writes it.
    pub member_assignment: Bytes,
}
