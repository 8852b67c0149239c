//! Shares the partitions of a classic group out among its members: what the leader does.
//!
//! Each gives the result that Java's assignor of the same name gives, racks and all (KIP-881), save
//! that the sticky ones break ties by the member's id where Java's hash order does.

mod racks;
mod range;
mod simple;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_protocol::{PartitionIndex, TopicName, TopicPartition};

use super::subscription::{MemberSubscription, NO_GENERATION, StickyUserData};

/// Who gets what, by member id.
pub type Assignments = BTreeMap<String, Vec<TopicPartition>>;

/// The racks that replicas of a partition are in, of those partitions where they are known.
pub type PartitionRacks = BTreeMap<TopicPartition, BTreeSet<String>>;

/// How partitions are shared out (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Ranges of each topic by itself: partitions of the same number of several topics stay
    /// together.
    Range,
    /// One after the other over all topics.
    RoundRobin,
    /// Balanced, and as few as possible change hands (KIP-54).
    Sticky,
    /// As sticky, and what stays goes on being read meanwhile (KIP-429).
    CooperativeSticky,
}

/// Whether members give everything up before they join again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RebalanceProtocol {
    /// They do.
    Eager,
    /// They give up only what goes to others.
    Cooperative,
}

/// A member as the leader hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its `group.instance.id`, if it has one.
    pub instance_id: Option<String>,
    /// What it joined with.
    pub subscription: MemberSubscription,
}

impl Assignor {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky];

    /// The name by which members agree on it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The Java class, as `partition.assignment.strategy` names it.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Range => "org.apache.kafka.clients.consumer.RangeAssignor",
            Self::RoundRobin => "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            Self::Sticky => "org.apache.kafka.clients.consumer.StickyAssignor",
            Self::CooperativeSticky => {
                "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
            }
        }
    }

    /// That of this name or Java class.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("class ").unwrap_or(text).trim();
        Self::ALL.into_iter().find(|assignor| text == assignor.name() || text == assignor.class())
    }

    /// The protocol that members speak who have agreed on these: the best that all of them can do
    /// (Kafka's `ConsumerCoordinator`), so that a group can be moved over one member at a time.
    #[must_use]
    pub fn protocol_of(offered: &[Self]) -> RebalanceProtocol {
        let all_can = offered.iter().all(|assignor| *assignor == Self::CooperativeSticky);
        if all_can && !offered.is_empty() {
            RebalanceProtocol::Cooperative
        } else {
            RebalanceProtocol::Eager
        }
    }

    /// What it adds to a member's subscription: `had` is what the member got last, none if it has
    /// got nothing yet, and the generation that was in.
    #[must_use]
    pub fn user_data(self, had: Option<(&[TopicPartition], i32)>) -> Option<Bytes> {
        match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky => had.map(|(previous, generation)| {
                let (previous, generation) = (previous.to_vec(), Some(generation));
                StickyUserData { previous, generation }.encode()
            }),
            Self::CooperativeSticky => {
                let generation = had.map_or(NO_GENERATION, |(_, generation)| generation);
                Some(Bytes::copy_from_slice(&generation.to_be_bytes()))
            }
        }
    }

    /// Shares the partitions out. `topics` has the partition count of each that is there; where
    /// `racks` tell partitions apart, members get those of their own rack as far as that leaves the
    /// shares as even as they would be (KIP-881; not in turn).
    #[must_use]
    pub fn assign(
        self,
        topics: &BTreeMap<TopicName, i32>,
        racks: &PartitionRacks,
        members: &BTreeMap<String, GroupMember>,
    ) -> Assignments {
        match self {
            Self::Range => range::assign(topics, racks, members),
            Self::RoundRobin => simple::in_turn(topics, members),
            Self::Sticky => sticky::assign(topics, racks, members, sticky::owned_by_user_data),
            Self::CooperativeSticky => {
                let owned = sticky::owned_by_subscription;
                let assigned = sticky::assign(topics, racks, members, owned);
                sticky::without_what_others_still_have(assigned, members)
            }
        }
    }
}

fn partitions_of(topic: &TopicName, count: i32) -> impl Iterator<Item = TopicPartition> + '_ {
    (0..count).map(move |index| TopicPartition::new(topic.clone(), PartitionIndex(index)))
}

/// The members, static ones first and by their names, so that a restart changes nothing (Kafka's
/// `MemberInfo`).
fn in_order(members: &BTreeMap<String, GroupMember>) -> Vec<(&String, &GroupMember)> {
    let mut all: Vec<_> = members.iter().collect();
    all.sort_by_key(|(id, member)| (member.instance_id.is_none(), &member.instance_id, *id));
    all
}

fn wants(member: &GroupMember, topic: &TopicName) -> bool {
    member.subscription.topics.contains(topic)
}

#[cfg(test)]
mod rack_tests;
#[cfg(test)]
mod tests;
