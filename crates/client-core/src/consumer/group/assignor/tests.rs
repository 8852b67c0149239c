//! The assignors against what Java's give, and against what must always hold.

use proptest::prelude::*;

use super::*;

pub(super) const NO_RACKS: PartitionRacks = PartitionRacks::new();

pub(super) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, PartitionIndex(partition))
}

pub(super) fn topics(counts: &[(&str, i32)]) -> BTreeMap<TopicName, i32> {
    counts.iter().map(|(topic, count)| (TopicName::from(*topic), *count)).collect()
}

pub(super) fn member(wanted: &[&str]) -> GroupMember {
    let topics = wanted.iter().map(|topic| TopicName::from(*topic)).collect();
    let generation = NO_GENERATION;
    let subscription = MemberSubscription { topics, generation, ..MemberSubscription::default() };
    GroupMember { instance_id: None, subscription }
}

pub(super) fn group(members: &[(&str, GroupMember)]) -> BTreeMap<String, GroupMember> {
    members.iter().map(|(id, member)| ((*id).to_owned(), member.clone())).collect()
}

pub(super) fn text(assigned: &Assignments) -> String {
    let own = |own: &Vec<TopicPartition>| {
        own.iter().map(|at| format!("{}{}", at.topic, at.partition)).collect::<Vec<_>>().join(" ")
    };
    let each = assigned.iter().map(|(id, partitions)| format!("{id}: {}", own(partitions)));
    each.collect::<Vec<_>>().join("; ")
}

#[test]
fn ranges_are_of_each_topic_by_itself() {
    let both = group(&[("m1", member(&["a", "b"])), ("m2", member(&["a", "b"]))]);
    let assigned = Assignor::Range.assign(&topics(&[("a", 3), ("b", 3)]), &NO_RACKS, &both);
    assert_eq!(text(&assigned), "m1: a0 a1 b0 b1; m2: a2 b2");
}

#[test]
fn static_members_come_first_and_by_their_names() {
    let named = |name: &str| GroupMember { instance_id: Some(name.to_owned()), ..member(&["a"]) };
    let all = group(&[("m1", member(&["a"])), ("m2", named("z")), ("m3", named("y"))]);
    let assigned = Assignor::Range.assign(&topics(&[("a", 4)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a3; m2: a2; m3: a0 a1");
    let assigned = Assignor::RoundRobin.assign(&topics(&[("a", 4)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a2; m2: a1; m3: a0 a3");
}

#[test]
fn in_turn_passes_those_that_do_not_want_it() {
    let all = group(&[
        ("m1", member(&["a"])),
        ("m2", member(&["a", "b"])),
        ("m3", member(&["a", "b", "c"])),
    ]);
    let assigned =
        Assignor::RoundRobin.assign(&topics(&[("a", 1), ("b", 2), ("c", 3)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a0; m2: b0; m3: b1 c0 c1 c2");
}

#[test]
fn a_new_group_is_shared_out_in_turn() {
    let all = group(&[("m1", member(&["a", "b"])), ("m2", member(&["a", "b"]))]);
    let assigned = Assignor::Sticky.assign(&topics(&[("a", 3), ("b", 2)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a0 a2 b1; m2: a1 b0");
}

pub(super) fn having(wanted: &[&str], owned: &[TopicPartition], generation: i32) -> GroupMember {
    let mut member = member(wanted);
    member.subscription.owned = owned.to_vec();
    member.subscription.generation = generation;
    let had = Some((owned, generation));
    member.subscription.user_data = Assignor::Sticky.user_data(had);
    member
}

#[test]
fn a_third_member_takes_only_what_is_over_the_share() {
    let all = group(&[
        ("m1", having(&["a"], &[at("a", 0), at("a", 2), at("a", 4)], 5)),
        ("m2", having(&["a"], &[at("a", 1), at("a", 3), at("a", 5)], 5)),
        ("m3", member(&["a"])),
    ]);
    let assigned = Assignor::Sticky.assign(&topics(&[("a", 6)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a0 a2; m2: a1 a3; m3: a4 a5");
    // Cooperatively the third has to wait until they are given up.
    let assigned = Assignor::CooperativeSticky.assign(&topics(&[("a", 6)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a0 a2; m2: a1 a3; m3: ");
}

#[test]
fn what_is_claimed_from_an_older_generation_or_twice_is_not_kept() {
    let all = group(&[
        ("m1", having(&["a"], &[at("a", 0), at("a", 1)], 4)),
        ("m2", having(&["a"], &[at("a", 1), at("a", 3)], 5)),
        ("m3", having(&["a"], &[at("a", 3), at("a", 2)], 5)),
    ]);
    let assigned = Assignor::Sticky.assign(&topics(&[("a", 4)]), &NO_RACKS, &all);
    assert_eq!(text(&assigned), "m1: a0; m2: a1 a3; m3: a2");
}

#[test]
fn members_that_want_different_topics_are_balanced_as_far_as_can_be() {
    let all = group(&[("m1", member(&["a"])), ("m2", member(&["a", "b"]))]);
    let assigned = Assignor::Sticky.assign(&topics(&[("a", 4), ("b", 2)]), &NO_RACKS, &all);
    let loads: Vec<usize> = assigned.values().map(Vec::len).collect();
    assert_eq!(loads, [3, 3], "{}", text(&assigned));
}

#[test]
fn names_and_javas_classes_are_known() {
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::from_text(assignor.name()), Some(assignor));
        let class = format!("class {}", assignor.class());
        assert_eq!(Assignor::from_text(&class), Some(assignor));
    }
    assert_eq!(Assignor::from_text("org.example.Mine"), None);
}

#[test]
fn a_group_is_cooperative_only_once_all_its_members_can_be() {
    use Assignor::{CooperativeSticky, Range};
    let protocol = Assignor::protocol_of;
    assert_eq!(protocol(&[CooperativeSticky]), RebalanceProtocol::Cooperative);
    assert_eq!(protocol(&[Range, CooperativeSticky]), RebalanceProtocol::Eager);
    assert_eq!(protocol(&[CooperativeSticky, Range]), RebalanceProtocol::Eager);
}

/// Each partition that somebody wants has one owner who wants it.
pub(super) fn holds(
    topics: &BTreeMap<TopicName, i32>,
    members: &BTreeMap<String, GroupMember>,
    assigned: &Assignments,
) {
    let mut owners: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    for (id, own) in assigned {
        for at in own {
            assert!(members[id].subscription.topics.contains(&at.topic), "{}", text(assigned));
            *owners.entry(at).or_default() += 1;
        }
    }
    let wanted = |topic: &&TopicName| {
        members.values().any(|member| member.subscription.topics.contains(topic))
    };
    let all = topics.keys().filter(wanted).flat_map(|topic| partitions_of(topic, topics[topic]));
    let all: Vec<_> = all.collect();
    assert!(owners.values().all(|count| *count == 1), "{}", text(assigned));
    assert_eq!(owners.len(), all.len(), "{}", text(assigned));
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    #[test]
    fn nothing_is_left_or_given_twice_through_any_history(
        counts in prop::collection::vec(0..9_i32, 4),
        wishes in prop::collection::vec(1..16_u8, 1..7),
        leaving in prop::collection::vec(any::<bool>(), 7),
    ) {
        let named: Vec<_> = NAMES.iter().copied().zip(counts).collect();
        let topics = topics(&named);
        let wanted = |bits: u8| -> Vec<&str> {
            (0..4).filter(|bit| bits & (1 << bit) != 0).map(|bit| NAMES[bit]).collect()
        };
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
            let mut members = BTreeMap::new();
            let mut had = Assignments::new();
            for (place, bits) in wishes.iter().enumerate() {
                members.insert(format!("m{place}"), member(&wanted(*bits)));
                for (id, member) in &mut members {
                    let own = had.get(id).cloned().unwrap_or_default();
                    member.subscription.user_data = assignor.user_data(Some((&own, 1)));
                }
                had = assignor.assign(&topics, &NO_RACKS, &members);
                holds(&topics, &members, &had);
                if leaving[place] && members.len() > 1 {
                    members.pop_first();
                }
            }
        }
    }

    #[test]
    fn equal_members_stay_within_one_of_each_other_and_keep_what_they_can(
        partition_count in 1..40_i32,
        member_count in 1..9_usize,
    ) {
        let topics = topics(&[("a", partition_count)]);
        let name = |place: usize| format!("m{place}");
        let mut members: BTreeMap<_, _> =
            (0..member_count).map(|place| (name(place), member(&["a"]))).collect();
        let before = Assignor::Sticky.assign(&topics, &NO_RACKS, &members);
        members.insert(name(member_count), member(&["a"]));
        for (id, own) in &before {
            members.insert(id.clone(), having(&["a"], own, 1));
        }
        let after = Assignor::Sticky.assign(&topics, &NO_RACKS, &members);
        holds(&topics, &members, &after);
        let loads = after.values().map(Vec::len);
        let (most, least) = (loads.clone().max().unwrap(), loads.min().unwrap());
        prop_assert!(most - least <= 1);
        let moved = |id: &String| after[id].iter().filter(|at| !before[id].contains(at)).count();
        prop_assert_eq!(before.keys().map(moved).sum::<usize>(), 0, "{}", text(&after));
        // Cooperatively, the second round finds the rest free.
        let first = Assignor::CooperativeSticky.assign(&topics, &NO_RACKS, &members);
        for (id, own) in &first {
            members.insert(id.clone(), having(&["a"], own, 2));
        }
        let second = Assignor::CooperativeSticky.assign(&topics, &NO_RACKS, &members);
        holds(&topics, &members, &second);
    }
}
