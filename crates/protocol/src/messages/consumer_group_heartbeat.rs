//! ConsumerGroupHeartbeat (API 68, versions 0 to 1): joins, stays in and leaves a next-generation
//! consumer group (KIP-848).

use crate::message::Message;
use crate::{ErrorCode, GroupId, PartitionIndex, TopicId, TopicName};

/// The request of ConsumerGroupHeartbeat.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ConsumerGroupHeartbeatRequest {
    /// The group.
    pub group_id: GroupId,
    /// The member.
    pub member_id: String,
    /// The epoch of the member; 0 joins, -1 leaves, -2 leaves for a while.
    pub member_epoch: i32,
    /// The member's `group.instance.id`; null for a dynamic member.
    pub instance_id: Option<String>,
    /// The member's rack; null when unchanged.
    pub rack_id: Option<String>,
    /// Milliseconds a member has to give up its partitions; -1 when not said.
    #[field(default = "-1")]
    pub rebalance_timeout_ms: i32,
    /// The topics the member subscribes to; null when unchanged.
    pub subscribed_topic_names: Option<Vec<TopicName>>,
    /// The pattern of topics the member subscribes to; null when unchanged or none.
    #[field(versions = "1+")]
    pub subscribed_topic_regex: Option<String>,
    /// The assignor on the broker's side; null when unchanged or not chosen.
    pub server_assignor: Option<String>,
    /// The partitions the member has; null when unchanged.
    pub topic_partitions: Option<Vec<TopicPartitions>>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic, by its id.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// The response of ConsumerGroupHeartbeat.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ConsumerGroupHeartbeatResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
    pub throttle_time_ms: i32,
    /// What went wrong, if anything.
    pub error_code: ErrorCode,
    /// More about the error, in words.
    pub error_message: Option<String>,
    /// The member's id; null with an error.
    pub member_id: Option<String>,
    /// The epoch of the member.
    pub member_epoch: i32,
    /// Milliseconds until the next heartbeat is due.
    pub heartbeat_interval_ms: i32,
    /// What this member shall have now; null when that is unchanged.
    pub assignment: Option<Assignment>,
}

/// The partitions of one member.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Assignment {
    /// The partitions.
    pub topic_partitions: Vec<TopicPartitions>,
}
