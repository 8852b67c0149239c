//! What is asked of a next-generation group, what is answered, and what it must know of topics.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::{ErrorCode, GroupId, PartitionIndex, TopicId, TopicName};

/// Partitions of topics by their ids.
pub type Assigned = BTreeSet<(TopicId, PartitionIndex)>;

/// The topics there are, as a decision sees them.
pub trait TopicsView {
    /// Changes whenever topics do.
    fn version(&self) -> u64;

    /// A topic's id and number of partitions.
    fn topic(&self, name: &TopicName) -> Option<(TopicId, i32)>;

    /// The topics that a pattern matches as a whole; `None` if it is none (RE2's syntax).
    fn matching(&self, pattern: &str) -> Option<BTreeSet<TopicName>>;
}

/// No topics at all: where all groups are classic, their members alone look at topics.
#[derive(Debug, Clone, Copy)]
pub struct NoTopics;

impl TopicsView for NoTopics {
    fn version(&self) -> u64 {
        0
    }

    fn topic(&self, _: &TopicName) -> Option<(TopicId, i32)> {
        None
    }

    fn matching(&self, _: &str) -> Option<BTreeSet<TopicName>> {
        None
    }
}

/// ConsumerGroupHeartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// The member, which made its id up itself.
    pub member_id: String,
    /// Its epoch; 0 to join, -1 to leave, -2 for a static member that will be back.
    pub member_epoch: i32,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its rack, if it says so now.
    pub rack_id: Option<String>,
    /// How many ms it has to give partitions up; -1 when not said now.
    pub rebalance_timeout_ms: i32,
    /// The topics it subscribes to, if it says so now.
    pub topic_names: Option<BTreeSet<TopicName>>,
    /// The pattern it subscribes to, if it says so now; empty for none.
    pub topic_regex: Option<String>,
    /// The assignor it wants, if it says so now.
    pub assignor: Option<String>,
    /// The partitions it owns, if it says so now.
    pub owned: Option<Assigned>,
    /// How its client calls itself.
    pub client_id: String,
    /// Where it connects from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHeartbeatReply {
    /// The member's epoch.
    pub member_epoch: i32,
    /// What it shall have now; `None` when that is as it was.
    pub assigned: Option<Assigned>,
}

/// Why a heartbeat is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRefusal {
    /// The error.
    pub error: ErrorCode,
    /// In words.
    pub message: String,
}

impl HeartbeatRefusal {
    pub(in crate::group) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

/// Partitions topic by topic, as messages have them.
pub(super) fn by_topic(assigned: &Assigned) -> BTreeMap<TopicId, Vec<PartitionIndex>> {
    let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
    for (topic, partition) in assigned {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics
}
