//! The assignors on the broker's side: `uniform` spreads partitions evenly, `range` gives each
//! member neighbours of each topic; both leave what they can where it is (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::{PartitionIndex, TopicId};

use super::request::Assigned;

/// An assignor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::group) enum Assignor {
    /// Even over all topics.
    #[default]
    Uniform,
    /// Neighbouring partitions, the same ones of each topic that is alike.
    Range,
}

impl Assignor {
    pub(in crate::group) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// The name that clients ask for.
    pub(in crate::group) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    pub(in crate::group) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }
}

/// Who subscribes to what, and what there is.
#[derive(Debug, Default)]
pub(super) struct Wishes<'a> {
    /// The topics of each member, those that exist.
    pub(super) members: BTreeMap<&'a String, BTreeSet<TopicId>>,
    /// The number of partitions of each topic.
    pub(super) topics: BTreeMap<TopicId, i32>,
}

/// Gives every partition to one member that subscribes to its topic; `before` is what each had.
pub(super) fn assign(
    assignor: Assignor,
    wishes: &Wishes<'_>,
    before: &BTreeMap<String, Assigned>,
) -> BTreeMap<String, Assigned> {
    let mut target = match assignor {
        Assignor::Uniform => uniform(wishes, before),
        Assignor::Range => range(wishes, before),
    };
    for member in wishes.members.keys() {
        target.entry((*member).clone()).or_default();
    }
    target
}

fn indexes(partition_count: i32) -> impl Iterator<Item = PartitionIndex> {
    (0..partition_count).map(PartitionIndex)
}

/// Keeps what is still wanted, gives the rest to whoever has least, and then moves single
/// partitions from the fullest while somebody else has two fewer.
fn uniform(wishes: &Wishes<'_>, before: &BTreeMap<String, Assigned>) -> BTreeMap<String, Assigned> {
    let mut taken = Assigned::new();
    let mut target: BTreeMap<String, Assigned> = BTreeMap::new();
    for (member, topics) in &wishes.members {
        let kept = before.get(*member).into_iter().flatten().filter(|(topic, partition)| {
            let partition_count = wishes.topics.get(topic).copied().unwrap_or(0);
            topics.contains(topic) && partition.0 < partition_count
        });
        let kept: Assigned = kept.filter(|one| taken.insert(**one)).copied().collect();
        target.insert((*member).clone(), kept);
    }
    let mut subscribers: BTreeMap<TopicId, Vec<&String>> = BTreeMap::new();
    for (member, topics) in &wishes.members {
        for topic in topics {
            subscribers.entry(*topic).or_default().push(*member);
        }
    }
    let least = |target: &BTreeMap<String, Assigned>, topic: &TopicId| {
        let load = |member: &&&String| target.get(**member).map_or(0, BTreeSet::len);
        subscribers.get(topic)?.iter().min_by_key(load).map(|member| (*member).clone())
    };
    for (topic, partition_count) in &wishes.topics {
        for partition in indexes(*partition_count) {
            let one = (*topic, partition);
            if !taken.contains(&one)
                && let Some(to) = least(&target, topic)
            {
                target.entry(to).or_default().insert(one);
            }
        }
    }
    while let Some((one, from, to)) = unfair(&target, &least) {
        target.entry(from).or_default().remove(&one);
        target.entry(to).or_default().insert(one);
    }
    target
}

/// A partition whose holder has at least two more than another subscriber. Each move makes the sum
/// of the squares smaller, so that there is an end.
fn unfair(
    target: &BTreeMap<String, Assigned>,
    least: &impl Fn(&BTreeMap<String, Assigned>, &TopicId) -> Option<String>,
) -> Option<((TopicId, PartitionIndex), String, String)> {
    let mut fullest: Vec<(&String, &Assigned)> = target.iter().collect();
    fullest.sort_by_key(|(_, assigned)| std::cmp::Reverse(assigned.len()));
    for (from, assigned) in fullest {
        let topics: BTreeSet<TopicId> = assigned.iter().map(|(topic, _)| *topic).collect();
        for topic in topics {
            let Some(to) = least(target, &topic) else { continue };
            let load = target.get(&to).map_or(0, BTreeSet::len);
            if assigned.len() >= load + 2
                && let Some(one) = assigned.iter().rfind(|(of, _)| *of == topic)
            {
                return Some((*one, from.clone(), to));
            }
        }
    }
    None
}

/// Ranges of each topic, members in the order of what they had of it, or else of anything, so that
/// who stays keeps its place, and topics that are alike are shared alike.
fn range(wishes: &Wishes<'_>, before: &BTreeMap<String, Assigned>) -> BTreeMap<String, Assigned> {
    let place = |member: &String, topic: Option<&TopicId>| {
        let had = before.get(member).into_iter().flatten();
        let had = had.filter(|(of, _)| topic.is_none_or(|topic| of == topic));
        had.map(|(_, partition)| partition.0).min().unwrap_or(i32::MAX)
    };
    let mut target: BTreeMap<String, Assigned> = BTreeMap::new();
    for (topic, partition_count) in &wishes.topics {
        let members = wishes.members.iter().filter(|(_, topics)| topics.contains(topic));
        let mut subscribers: Vec<&String> = members.map(|(member, _)| *member).collect();
        subscribers.sort_by_key(|member| (place(member, Some(topic)), place(member, None)));
        let count = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        if count == 0 {
            continue;
        }
        let mut partitions = indexes(*partition_count);
        for (n, member) in (0..).zip(subscribers) {
            let share = partition_count / count + i32::from(n < partition_count % count);
            let share = usize::try_from(share).unwrap_or(0);
            let own = partitions.by_ref().take(share).map(|partition| (*topic, partition));
            target.entry(member.clone()).or_default().extend(own);
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(n: u8) -> TopicId {
        TopicId([n; 16])
    }

    /// `members` says which of the topics each subscribes to, bit by bit.
    fn wishes<'a>(names: &'a [String], members: &[u8], partitions: &[i32]) -> Wishes<'a> {
        let topics: BTreeMap<TopicId, i32> =
            (0_u8..).zip(partitions).map(|(n, count)| (topic(n), *count)).collect();
        let subscribes = |bits: u8| {
            let ids = (0_u8..).zip(partitions);
            ids.filter(move |(n, _)| bits & (1 << n) != 0).map(|(n, _)| topic(n)).collect()
        };
        let members = names.iter().zip(members.iter().map(|bits| subscribes(*bits))).collect();
        Wishes { members, topics }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("m{n}")).collect()
    }

    fn sizes(target: &BTreeMap<String, Assigned>) -> Vec<usize> {
        target.values().map(BTreeSet::len).collect()
    }

    #[test]
    fn a_new_member_takes_only_its_share() {
        for assignor in Assignor::ALL {
            let names = names(3);
            let two = assign(assignor, &wishes(&names[..2], &[1, 1], &[6]), &BTreeMap::new());
            assert_eq!(sizes(&two), [3, 3]);
            let three = assign(assignor, &wishes(&names, &[1, 1, 1], &[6]), &two);
            assert_eq!(sizes(&three), [2, 2, 2]);
            if assignor == Assignor::Uniform {
                let moved = two.iter().flat_map(|(m, had)| had.difference(&three[m])).count();
                assert_eq!(moved, 2);
            }
        }
    }

    #[test]
    fn range_gives_neighbours_and_the_same_ones_of_each_topic() {
        let names = names(2);
        let target = assign(Assignor::Range, &wishes(&names, &[3, 3], &[4, 4]), &BTreeMap::new());
        let first: Vec<i32> = target["m0"].iter().map(|(_, partition)| partition.0).collect();
        assert_eq!(first, [0, 1, 0, 1]);
    }

    proptest! {
        #[test]
        fn each_partition_is_one_subscribers_and_the_assignment_is_at_rest(
            members in proptest::collection::vec(0_u8..8, 1..6),
            partitions in proptest::collection::vec(1_i32..9, 3),
            changed in proptest::collection::vec(0_u8..8, 1..6),
        ) {
            for assignor in Assignor::ALL {
                let (old, new) = (names(members.len()), names(changed.len()));
                let first = wishes(&old, &members, &partitions);
                let before = assign(assignor, &first, &BTreeMap::new());
                let now = wishes(&new, &changed, &partitions);
                let target = assign(assignor, &now, &before);
                let mut seen = Assigned::new();
                for (member, assigned) in &target {
                    for one in assigned {
                        prop_assert!(seen.insert(*one), "twice");
                        prop_assert!(now.members[member].contains(&one.0), "not subscribed");
                    }
                }
                let wanted: BTreeSet<TopicId> = now.members.values().flatten().copied().collect();
                let all: i32 = wanted.iter().map(|topic| now.topics[topic]).sum();
                prop_assert_eq!(seen.len(), usize::try_from(all).unwrap());
                prop_assert_eq!(&assign(assignor, &now, &target), &target);
            }
        }
    }
}
