//! Racks (KIP-881): members get what is near as far as the shares stay even, and never less than
//! that anything is given once.

use proptest::prelude::*;

use super::tests::{NO_RACKS, at, group, having, holds, member, text, topics};
use super::*;

fn in_rack(rack: &str, member: GroupMember) -> GroupMember {
    let subscription = MemberSubscription { rack: Some(rack.to_owned()), ..member.subscription };
    GroupMember { subscription, ..member }
}

/// The racks of a topic's partitions, by their numbers.
fn racks(topic: &str, of_each: &[&[&str]]) -> PartitionRacks {
    let set = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    (0..).zip(of_each).map(|(index, names)| (at(topic, index), set(names))).collect()
}

#[test]
fn ranges_follow_racks_within_even_shares() {
    let both =
        group(&[("m1", in_rack("r1", member(&["a"]))), ("m2", in_rack("r2", member(&["a"])))]);
    let four = topics(&[("a", 4)]);
    let alternating = racks("a", &[&["r2"], &["r1"], &["r2"], &["r1"]]);
    let assigned = Assignor::Range.assign(&four, &alternating, &both);
    assert_eq!(text(&assigned), "m1: a1 a3; m2: a0 a2");
    // More near the first than its share: the rest goes to the other.
    let lopsided = racks("a", &[&["r1"], &["r1"], &["r1"], &["r2"]]);
    let assigned = Assignor::Range.assign(&four, &lopsided, &both);
    assert_eq!(text(&assigned), "m1: a0 a1; m2: a2 a3");
    // Where every rack has all, or nobody's rack has any, it is as without.
    for of_each in [["r1", "r2"].as_slice(), &["r3"]] {
        let same = racks("a", &[of_each; 4]);
        assert_eq!(text(&Assignor::Range.assign(&four, &same, &both)), "m1: a0 a1; m2: a2 a3");
    }
}

#[test]
fn topics_that_can_be_joined_stay_together() {
    let wanted = ["a", "b"];
    let both =
        group(&[("m1", in_rack("r1", member(&wanted))), ("m2", in_rack("r2", member(&wanted)))]);
    let two = topics(&[("a", 2), ("b", 2)]);
    let mut of_both = racks("a", &[&["r2"], &["r1"]]);
    of_both.extend(racks("b", &[&["r2"], &["r1"]]));
    let assigned = Assignor::Range.assign(&two, &of_both, &both);
    assert_eq!(text(&assigned), "m1: a1 b1; m2: a0 b0");
    // Where their racks differ, numbers stay together and racks lose.
    let mut of_both = racks("a", &[&["r2"], &["r1"]]);
    of_both.extend(racks("b", &[&["r1"], &["r2"]]));
    let assigned = Assignor::Range.assign(&two, &of_both, &both);
    assert_eq!(text(&assigned), "m1: a0 b0; m2: a1 b1");
}

#[test]
fn sticky_members_give_up_what_is_in_other_racks() {
    let near = racks("a", &[&["r1"], &["r2"], &["r1"], &["r2"]]);
    let four = topics(&[("a", 4)]);
    let all = group(&[
        ("m1", in_rack("r1", having(&["a"], &[at("a", 0), at("a", 1)], 3))),
        ("m2", in_rack("r2", having(&["a"], &[at("a", 2), at("a", 3)], 3))),
    ]);
    let assigned = Assignor::Sticky.assign(&four, &near, &all);
    assert_eq!(text(&assigned), "m1: a0 a2; m2: a3 a1");
    // Cooperatively each has to give up first.
    let assigned = Assignor::CooperativeSticky.assign(&four, &near, &all);
    assert_eq!(text(&assigned), "m1: a0; m2: a3");
    // In turn looks at none.
    let assigned = Assignor::RoundRobin.assign(&four, &near, &all);
    assert_eq!(text(&assigned), "m1: a0 a2; m2: a1 a3");
}

#[test]
fn members_that_want_different_topics_get_what_is_near_too() {
    let all =
        group(&[("m1", in_rack("r1", member(&["a"]))), ("m2", in_rack("r2", member(&["a", "b"])))]);
    let mut near = racks("a", &[&["r2"], &["r1"], &["r2"], &["r1"]]);
    near.extend(racks("b", &[&["r2"], &["r2"]]));
    let assigned = Assignor::Sticky.assign(&topics(&[("a", 4), ("b", 2)]), &near, &all);
    // One of the second rack goes to the first member all the same: balance comes first.
    assert_eq!(assigned["m1"].len(), 3, "{}", text(&assigned));
    assert!(assigned["m1"].contains(&at("a", 1)) && assigned["m1"].contains(&at("a", 3)));
}

const RACKS: [&str; 3] = ["r1", "r2", "r3"];
const BY_RACKS: [Assignor; 3] = [Assignor::Range, Assignor::Sticky, Assignor::CooperativeSticky];

fn subset(bits: u8) -> BTreeSet<String> {
    let chosen = (0..3).filter(|bit| bits & (1 << bit) != 0);
    chosen.map(|bit| RACKS[bit].to_owned()).collect()
}

proptest! {
    #[test]
    fn whatever_the_racks_everything_is_given_once_and_evenly(
        of_a in prop::collection::vec(0..8_u8, 1..20),
        of_b in prop::collection::vec(0..8_u8, 1..20),
        places in prop::collection::vec(0..4_usize, 1..7),
        is_alike in any::<bool>(),
    ) {
        let counts = [("a", of_a.len() as i32), ("b", of_b.len() as i32)];
        let all_topics = topics(&counts);
        let mut near = PartitionRacks::new();
        for (topic, bits) in [("a", &of_a), ("b", &of_b)] {
            near.extend((0..).zip(bits).map(|(index, bits)| (at(topic, index), subset(*bits))));
        }
        let wanted = |place: usize| match is_alike || place.is_multiple_of(2) {
            true => &["a", "b"][..],
            false => &["a"],
        };
        for assignor in BY_RACKS {
            let mut members = BTreeMap::new();
            for (place, rack) in places.iter().enumerate() {
                let one = member(wanted(place));
                let one = if let Some(rack) = RACKS.get(*rack) { in_rack(rack, one) } else { one };
                members.insert(format!("m{place}"), one);
            }
            let assigned = assignor.assign(&all_topics, &near, &members);
            holds(&all_topics, &members, &assigned);
            let without = assignor.assign(&all_topics, &NO_RACKS, &members);
            let sizes = |assigned: &Assignments| {
                let mut sizes: Vec<usize> = assigned.values().map(Vec::len).collect();
                sizes.sort_unstable();
                sizes
            };
            if is_alike && assignor != Assignor::Range {
                prop_assert_eq!(sizes(&assigned), sizes(&without), "{}", text(&assigned));
            }
            if assignor == Assignor::Range {
                for topic in ["a", "b"] {
                    let of_topic = |own: &Vec<TopicPartition>| {
                        own.iter().filter(|at| at.topic.as_str() == topic).count()
                    };
                    let readers = members.iter()
                        .filter(|(_, one)| one.subscription.topics.contains(&topic.into()));
                    let loads = readers.map(|(id, _)| of_topic(&assigned[id]));
                    let (most, least) = (loads.clone().max(), loads.min());
                    let most = most.unwrap_or(0);
                    prop_assert!(most - least.unwrap_or(0) <= 1, "{}", text(&assigned));
                }
            }
            // What they got they keep, round after round.
            let again = members.iter().map(|(id, one)| {
                let topics = one.subscription.topics.iter().map(TopicName::as_str);
                let topics: Vec<&str> = topics.collect();
                let rack = one.subscription.rack.clone();
                let mut one = having(&topics, &assigned[id], 7);
                one.subscription.rack = rack;
                (id.clone(), one)
            }).collect();
            if is_alike && assignor == Assignor::CooperativeSticky {
                let next = assignor.assign(&all_topics, &near, &again);
                let gained =
                    |id: &String| next[id].iter().filter(|at| !assigned[id].contains(at)).count();
                prop_assert_eq!(next.keys().map(gained).sum::<usize>(), 0, "{}", text(&next));
            }
        }
    }

    #[test]
    fn where_each_rack_has_its_members_share_nobody_reads_across(
        each in 1..6_usize,
        rack_count in 1..4_usize,
        order in any::<u64>(),
    ) {
        // So many partitions in each rack, in some order, and one member there.
        let mut of_each: Vec<&str> =
            RACKS[..rack_count].iter().flat_map(|rack| vec![*rack; each]).collect();
        let count = of_each.len();
        let mut seed = order | 1;
        for place in (1..count).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            of_each.swap(place, (seed >> 33) as usize % (place + 1));
        }
        let near: PartitionRacks = (0..)
            .zip(&of_each)
            .map(|(index, rack)| (at("a", index), BTreeSet::from([(*rack).to_owned()])))
            .collect();
        let members: BTreeMap<String, GroupMember> = RACKS[..rack_count]
            .iter()
            .map(|rack| (format!("in-{rack}"), in_rack(rack, member(&["a"]))))
            .collect();
        for assignor in BY_RACKS {
            let assigned = assignor.assign(&topics(&[("a", count as i32)]), &near, &members);
            for (id, own) in &assigned {
                let is_near = |at: &TopicPartition| near[at].contains(id.trim_start_matches("in-"));
                prop_assert!(own.iter().all(is_near), "{}", text(&assigned));
                prop_assert_eq!(own.len(), each);
            }
        }
    }
}
