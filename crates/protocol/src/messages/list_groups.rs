//! ListGroups (API 16, versions 0 to 5): lists the groups a broker coordinates.

use crate::message::Message;
use crate::{ErrorCode, GroupId};

/// The request of ListGroups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct ListGroupsRequest {
    /// Only groups in these states; all when empty (KIP-518).
    #[field(versions = "4+")]
    pub states_filter: Vec<String>,
    /// Only groups of these types; all when empty (KIP-848).
    #[field(versions = "5+")]
    pub types_filter: Vec<String>,
}

/// The response of ListGroups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "3+")]
pub struct ListGroupsResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// The groups.
    pub groups: Vec<ListedGroup>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct ListedGroup {
    /// The group.
    pub group_id: GroupId,
    /// The kind of group, `consumer` for consumers.
    pub protocol_type: String,
    /// The state of the group, as Kafka names it.
    #[field(versions = "4+", ignorable)]
    pub group_state: String,
    /// The type of the group: `classic`, `consumer`, ...
    #[field(versions = "5+", ignorable)]
    pub group_type: String,
}
