//! What administrators ask: which groups there are, what they are like, and that they or their
//! offsets go away.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_protocol::{ErrorCode, GroupId, TopicPartition};

use super::classic::{ClassicGroup, GroupState};
use super::coordinator::GroupCoordinator;
use super::log_record::GroupRecord;
use super::next_gen::ConsumerGroup;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: GroupId,
    /// The kind of group, `consumer` for consumers; empty if it never had members.
    pub protocol_type: String,
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// `classic` or `consumer`, by the protocol of its members.
    pub group_type: &'static str,
}

/// A classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its state.
    pub state: GroupState,
    /// The kind of group, `consumer` for consumers.
    pub protocol_type: String,
    /// The protocol that was chosen; empty unless it is stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// How its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it joined with; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it has; empty unless the group is stable.
    pub assignment: Bytes,
}

impl GroupCoordinator {
    /// All groups: those with members, and those that only have stored offsets.
    #[must_use]
    pub fn list(&self) -> Vec<ListedGroup> {
        let classic = |(id, group): (&GroupId, &ClassicGroup)| {
            let listed = ListedGroup {
                group: id.clone(),
                protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
                state: group.state().name(),
                group_type: "classic",
            };
            (id.clone(), listed)
        };
        let mut listed: BTreeMap<GroupId, ListedGroup> = self.groups.iter().map(classic).collect();
        let consumer = |(id, group): (&GroupId, &ConsumerGroup)| {
            let listed = ListedGroup {
                group: id.clone(),
                protocol_type: "consumer".to_owned(),
                state: group.state_name(),
                group_type: "consumer",
            };
            (id.clone(), listed)
        };
        listed.extend(self.consumers.iter().map(consumer));
        for id in self.offsets.groups() {
            listed.entry(id.clone()).or_insert_with(|| ListedGroup {
                group: id.clone(),
                protocol_type: String::new(),
                state: GroupState::Empty.name(),
                group_type: "classic",
            });
        }
        listed.into_values().collect()
    }

    /// What a classic group is like; `None` if there is no such group.
    #[must_use]
    pub fn describe(&self, id: &GroupId) -> Option<DescribedGroup> {
        let Some(group) = self.groups.get(id) else {
            let is_plain = !self.consumers.contains_key(id) && self.offsets.has_group(id);
            return is_plain.then(|| DescribedGroup {
                state: GroupState::Empty,
                protocol_type: String::new(),
                protocol: String::new(),
                members: Vec::new(),
            });
        };
        let protocol = group.protocol().filter(|_| group.state() == GroupState::Stable);
        let members = group.members().map(|member| DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: protocol.map_or_else(Bytes::new, |_| member.assignment.clone()),
        });
        Some(DescribedGroup {
            state: group.state(),
            protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: members.collect(),
        })
    }

    /// Deletes a group with its offsets; by records to append.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP, or there is no such group.
    pub fn delete_group(&mut self, id: &GroupId) -> Result<(), ErrorCode> {
        match self.groups.get(id).map(ClassicGroup::state) {
            Some(GroupState::Empty) => {}
            None if self.consumers.contains_key(id) => {
                if self.consumers.get(id).is_some_and(|group| !group.is_empty()) {
                    return Err(ErrorCode::NonEmptyGroup);
                }
            }
            None if self.offsets.has_group(id) => {}
            None | Some(GroupState::Dead) => return Err(ErrorCode::GroupIdNotFound),
            Some(_) => return Err(ErrorCode::NonEmptyGroup),
        }
        let forgotten = self.offsets.decide_forget_group(id).into_iter();
        self.outbox.records.extend(forgotten.map(GroupRecord::Offset));
        self.append_tombstone(id);
        Ok(())
    }

    pub(super) fn append_tombstone(&mut self, id: &GroupId) {
        self.append_consumer_tombstones(id);
        if self.groups.contains_key(id) {
            self.outbox.records.push(GroupRecord::Classic { group: id.clone(), kept: None });
        }
    }

    /// Deletes what a group stored for partitions (OffsetDelete); by records to append, and one
    /// answer for each partition.
    ///
    /// # Errors
    /// What all of it is refused with.
    pub fn delete_offsets(
        &mut self,
        id: &GroupId,
        partitions: &[TopicPartition],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let group = self.groups.get(id);
        let is_consumer = self.consumers.contains_key(id);
        if group.is_none() && !is_consumer && !self.offsets.has_group(id) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let is_of_others = |group: &ClassicGroup| {
            group.state() != GroupState::Empty && group.protocol_type() != Some("consumer")
        };
        if group.is_some_and(is_of_others) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let subscribed: BTreeSet<&str> = partitions
            .iter()
            .map(|partition| partition.topic.as_str())
            .filter(|topic| self.may_be_subscribed(id, topic))
            .collect();
        let answer =
            |partition: &TopicPartition| match subscribed.contains(partition.topic.as_str()) {
                true => ErrorCode::GroupSubscribedToTopic,
                false => ErrorCode::None,
            };
        let answers = partitions.iter().map(answer).collect();
        let deleted = partitions.iter().filter(|one| answer(one) == ErrorCode::None);
        let records: Vec<_> =
            deleted.filter_map(|one| self.offsets.decide_forget(id, one)).collect();
        self.outbox.records.extend(records.into_iter().map(GroupRecord::Offset));
        Ok(answers)
    }

    /// Whether members of a group subscribe to a topic; also where that is not known.
    fn may_be_subscribed(&self, id: &GroupId, topic: &str) -> bool {
        self.groups.get(id).is_some_and(|group| group.may_be_subscribed(topic))
            || self.consumers.get(id).is_some_and(|group| group.is_subscribed(topic))
    }
}
