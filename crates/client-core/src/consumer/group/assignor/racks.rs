//! Where members and replicas are (KIP-881): a member should read what its own rack has.
//!
//! Balance comes before racks: nobody gets more for being near. Racks are looked at only where they
//! tell partitions apart (Kafka's `useRackAwareAssignment`).

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::TopicPartition;

use super::{GroupMember, PartitionRacks};

/// The racks of some members and partitions.
pub(super) struct Racks<'a> {
    of_members: BTreeMap<&'a str, &'a str>,
    of_partitions: &'a PartitionRacks,
    /// How many members are in the rack.
    member_counts: BTreeMap<&'a str, usize>,
    tell_apart: bool,
}

impl<'a> Racks<'a> {
    /// None if no member is in a rack.
    pub(super) fn of(
        members: impl Iterator<Item = (&'a String, &'a GroupMember)>,
        partitions: impl Iterator<Item = TopicPartition>,
        of_partitions: &'a PartitionRacks,
    ) -> Option<Self> {
        let rack = |(id, member): (&'a String, &'a GroupMember)| {
            let rack = member.subscription.rack.as_deref().filter(|rack| !rack.is_empty())?;
            Some((id.as_str(), rack))
        };
        let of_members: BTreeMap<&str, &str> = members.filter_map(rack).collect();
        if of_members.is_empty() {
            return None;
        }
        let mut member_counts = BTreeMap::new();
        for rack in of_members.values() {
            *member_counts.entry(*rack).or_default() += 1;
        }
        let none = BTreeSet::new();
        let sets: Vec<&BTreeSet<String>> =
            partitions.map(|at| of_partitions.get(&at).unwrap_or(&none)).collect();
        let all: BTreeSet<&String> = sets.iter().copied().flatten().collect();
        let is_shared = all.iter().any(|rack| member_counts.contains_key(rack.as_str()));
        let tell_apart = is_shared && sets.iter().any(|set| set.len() != all.len());
        Some(Self { of_members, of_partitions, member_counts, tell_apart })
    }

    /// Whether some partitions are nearer to some members than others are.
    pub(super) fn tell_apart(&self) -> bool {
        self.tell_apart
    }

    /// Whether a member is in a rack that has the partition.
    pub(super) fn is_within(&self, member: &str, at: &TopicPartition) -> bool {
        let rack = self.of_members.get(member);
        rack.is_some_and(|rack| self.of_partitions.get(at).is_some_and(|set| set.contains(*rack)))
    }

    /// Whether nothing speaks against a member for the partition: a member in no rack is as near
    /// as any.
    pub(super) fn is_near(&self, member: &str, at: &TopicPartition) -> bool {
        !self.of_members.contains_key(member) || self.is_within(member, at)
    }

    /// How many members are in the partition's racks.
    pub(super) fn member_count(&self, at: &TopicPartition) -> usize {
        let racks = self.of_partitions.get(at).into_iter().flatten();
        racks.filter_map(|rack| self.member_counts.get(rack.as_str())).sum()
    }
}
