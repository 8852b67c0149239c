//! The assignor that remembers nothing and looks at nothing: in turn.

use std::collections::BTreeMap;

use streamledger_protocol::TopicName;

use super::{Assignments, GroupMember, in_order, partitions_of, wants};

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
