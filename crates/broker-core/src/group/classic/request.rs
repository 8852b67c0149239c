//! What is asked of a classic group, and what is answered.

use bytes::Bytes;
use streamledger_protocol::{ErrorCode, GroupId};

/// A protocol that a member can do (an assignor, for consumers), and what it joins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The name.
    pub name: String,
    /// What the member joins with, in the protocol's own form.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: GroupId,
    /// The member; empty until the coordinator gave it an id.
    pub member_id: String,
    /// The member's `group.instance.id` (KIP-345).
    pub instance_id: Option<String>,
    /// How its client calls itself.
    pub client_id: String,
    /// Where it connects from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    /// After how many ms without a heartbeat it is out.
    pub session_timeout_ms: i32,
    /// How many ms it has to join again.
    pub rebalance_timeout_ms: i32,
    /// The kind of group: `consumer`, `connect` ...
    pub protocol_type: String,
    /// What it can do, the best first.
    pub protocols: Vec<Protocol>,
    /// Whether its client, told MEMBER_ID_REQUIRED, asks again with the id it was given (KIP-394).
    pub takes_member_id_first: bool,
    /// Whether its client, as a leader, can be told not to assign anything (KIP-814).
    pub can_skip_assignment: bool,
    /// An id that no member has, should one be needed: chance is not for a core.
    pub fresh_member_id: String,
}

/// A member as its leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// What it joined with under the protocol that was chosen.
    pub metadata: Bytes,
}

/// The answer to JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation: i32,
    /// The kind of group.
    pub protocol_type: Option<String>,
    /// The protocol that was chosen.
    pub protocol: Option<String>,
    /// The member that leads.
    pub leader: String,
    /// Whether the leader need not assign anything.
    pub skips_assignment: bool,
    /// The member that is answered.
    pub member_id: String,
    /// To the leader, all members.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// One that says an error.
    #[must_use]
    pub fn refused(error: ErrorCode, member_id: &str) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skips_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group: GroupId,
    /// Who asks.
    pub member: MemberOfGeneration,
    /// The kind of group that the member takes it for, if it says so.
    pub protocol_type: Option<String>,
    /// The protocol that the member was told, if it says so.
    pub protocol: Option<String>,
    /// From the leader: who gets what.
    pub assignments: Vec<(String, Bytes)>,
}

/// A member, and the generation it believes to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOfGeneration {
    /// The member.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// The generation.
    pub generation: i32,
}

/// The answer to SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReply {
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The kind of group.
    pub protocol_type: Option<String>,
    /// The protocol that was chosen.
    pub protocol: Option<String>,
    /// What the member gets, in the protocol's own form.
    pub assignment: Bytes,
}

impl SyncReply {
    /// One that says an error.
    #[must_use]
    pub const fn refused(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// One member that is to leave (LeaveGroup).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member; empty if an administrator names the instance only.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
}
