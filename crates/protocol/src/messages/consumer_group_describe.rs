//! ConsumerGroupDescribe (API 69, versions 0 to 1): describes next-generation consumer groups.

use crate::message::Message;
use crate::{ErrorCode, GroupId, PartitionIndex, TopicId, TopicName};

/// The request of ConsumerGroupDescribe.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ConsumerGroupDescribeRequest {
    /// The groups.
    pub group_ids: Vec<GroupId>,
    /// Whether to say what the client may do on each group.
    pub include_authorized_operations: bool,
}

/// The response of ConsumerGroupDescribe.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(flexible = "0+")]
pub struct ConsumerGroupDescribeResponse {
    /// Milliseconds the client shall wait before its next request, for a quota.
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
    pub error_message: Option<String>,
    /// The group.
    pub group_id: GroupId,
    /// The state of the group, as Kafka names it.
    pub group_state: String,
    /// The epoch of the group.
    pub group_epoch: i32,
    /// The epoch of the target assignment.
    pub assignment_epoch: i32,
    /// The assignor that made the target assignment.
    pub assignor_name: String,
    /// The members.
    pub members: Vec<Member>,
    /// A bit for each operation the client may do; `i32::MIN` when not asked for.
    #[field(default = "i32::MIN")]
    pub authorized_operations: i32,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Member {
    /// The member.
    pub member_id: String,
    /// The member's `group.instance.id`; null for a dynamic member.
    pub instance_id: Option<String>,
    /// The member's rack; null when not told.
    pub rack_id: Option<String>,
    /// The epoch of the member.
    pub member_epoch: i32,
    /// How the member's client calls itself.
    pub client_id: String,
    /// The address the member connects from.
    pub client_host: String,
    /// The topics the member subscribes to.
    pub subscribed_topic_names: Vec<TopicName>,
    /// The pattern of topics the member subscribes to; null when unchanged or none.
    pub subscribed_topic_regex: Option<String>,
    /// What the member has.
    pub assignment: Assignment,
    /// What the member shall have.
    pub target_assignment: Assignment,
    /// 0 classic, 1 next-generation, -1 not known.
    #[field(versions = "1+", default = "-1", ignorable)]
    pub member_type: i8,
}

/// The partitions of one member.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct Assignment {
    /// The partitions.
    pub topic_partitions: Vec<TopicPartitions>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
pub struct TopicPartitions {
    /// The topic, by its id.
    pub topic_id: TopicId,
    /// The topic.
    pub topic_name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}
