//! The assignors that remember nothing: ranges, and in turn.

use std::collections::BTreeMap;

use streamledger_protocol::TopicName;

use super::{Assignments, GroupMember, partitions_of};

/// The members that want the topic, static ones first and by their names, so that a restart changes
/// nothing (Kafka's `MemberInfo`).
fn in_order(members: &BTreeMap<String, GroupMember>) -> Vec<(&String, &GroupMember)> {
    let mut all: Vec<_> = members.iter().collect();
    all.sort_by_key(|(id, member)| (member.instance_id.is_none(), &member.instance_id, *id));
    all
}

fn wants(member: &GroupMember, topic: &TopicName) -> bool {
    member.subscription.topics.contains(topic)
}

/// Each topic by itself: as many neighbours for each as go evenly, one more for the first.
pub(super) fn by_ranges(
    topics: &BTreeMap<TopicName, i32>,
    members: &BTreeMap<String, GroupMember>,
) -> Assignments {
    let mut assigned: Assignments = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    let ordered = in_order(members);
    for (topic, count) in topics {
        let readers: Vec<_> = ordered.iter().filter(|(_, member)| wants(member, topic)).collect();
        let mut partitions = partitions_of(topic, *count);
        let total = usize::try_from(*count).unwrap_or(0);
        for (place, (id, _)) in readers.iter().enumerate() {
            let share = total / readers.len() + usize::from(place < total % readers.len());
            if let Some(own) = assigned.get_mut(*id) {
                own.extend(partitions.by_ref().take(share));
            }
        }
    }
    assigned
}

/// One partition for each in turn, passing those that don't want it.
pub(super) fn in_turn(
    topics: &BTreeMap<TopicName, i32>,
    members: &BTreeMap<String, GroupMember>,
) -> Assignments {
    let mut assigned: Assignments = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    let ordered = in_order(members);
    let mut turn = 0;
    for (topic, count) in topics {
        if !ordered.iter().any(|(_, member)| wants(member, topic)) {
            continue;
        }
        for partition in partitions_of(topic, *count) {
            while !wants(ordered[turn % ordered.len()].1, topic) {
                turn += 1;
            }
            if let Some(own) = assigned.get_mut(ordered[turn % ordered.len()].0) {
                own.push(partition);
            }
            turn += 1;
        }
    }
    assigned
}
