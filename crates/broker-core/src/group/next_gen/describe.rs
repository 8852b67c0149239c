//! A next-generation group as administrators see it.

use std::collections::BTreeSet;

use streamledger_protocol::TopicName;

use super::group::{ConsumerGroup, MemberState};
use super::request::Assigned;

/// A next-generation group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch of the target assignment.
    pub target_epoch: i32,
    /// The assignor.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedConsumerMember>,
}

/// A member of a next-generation group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumerMember {
    /// The member.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its rack.
    pub rack_id: Option<String>,
    /// Its epoch.
    pub epoch: i32,
    /// How its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The topics it subscribes to by name.
    pub topic_names: BTreeSet<TopicName>,
    /// The pattern it subscribes to.
    pub topic_regex: Option<String>,
    /// What it may have.
    pub assigned: Assigned,
    /// What it shall have in the end.
    pub target: Assigned,
    /// Whether it is a member by the classic protocol.
    pub is_classic: bool,
}

impl ConsumerGroup {
    /// Its state, as Kafka names it.
    pub(in crate::group) fn state_name(&self) -> &'static str {
        let is_there = |member: &super::group::ConsumerMember| {
            member.current.state == MemberState::Stable && member.current.epoch == self.target_epoch
        };
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(is_there) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub(in crate::group) fn describe(&self) -> DescribedConsumerGroup {
        let members = self.members.iter().map(|(id, member)| DescribedConsumerMember {
            member_id: id.clone(),
            instance_id: member.subscription.instance_id.clone(),
            rack_id: member.subscription.rack_id.clone(),
            epoch: member.current.epoch,
            client_id: member.subscription.client_id.clone(),
            client_host: member.subscription.client_host.clone(),
            topic_names: member.subscription.topic_names.clone(),
            topic_regex: member.subscription.topic_regex.clone(),
            assigned: member.current.assigned.clone(),
            target: self.target.get(id).cloned().unwrap_or_default(),
            is_classic: member.subscription.classic.is_some(),
        });
        DescribedConsumerGroup {
            state: self.state_name(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor().name(),
            members: members.collect(),
        }
    }
}
