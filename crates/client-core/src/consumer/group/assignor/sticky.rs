//! The sticky assignors: balanced, and what a member has it keeps if that can be.
//!
//! Where all members want the same topics, each keeps up to its share and the rest go round
//! (Kafka's constrained assignment). Otherwise each keeps what it has, the rest go to who has
//! least, and then partitions move from those with more to those with less until no move helps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use streamledger_protocol::{TopicName, TopicPartition};

use super::super::subscription::{MemberSubscription, NO_GENERATION, StickyUserData};
use super::{Assignments, GroupMember, partitions_of};

/// What a member says it had, and since when.
pub(super) type Owned = (Vec<TopicPartition>, Option<i32>);

/// Of an eager member, whose assignor remembers.
pub(super) fn owned_by_user_data(subscription: &MemberSubscription) -> Owned {
    let remembered = subscription.user_data.as_ref().and_then(StickyUserData::decode);
    remembered.map_or_else(Owned::default, |data| (data.previous, data.generation))
}

/// Of a cooperative member, which goes on reading.
pub(super) fn owned_by_subscription(subscription: &MemberSubscription) -> Owned {
    let mut generation = subscription.generation;
    let by_assignor = subscription.user_data.as_deref().and_then(|bytes| bytes.first_chunk());
    if let Some(bytes) = by_assignor.filter(|_| generation == NO_GENERATION) {
        generation = i32::from_be_bytes(*bytes);
    }
    (subscription.owned.clone(), Some(generation).filter(|generation| *generation >= 0))
}

pub(super) fn assign(
    topics: &BTreeMap<TopicName, i32>,
    members: &BTreeMap<String, GroupMember>,
    owned: fn(&MemberSubscription) -> Owned,
) -> Assignments {
    let had = still_valid(topics, members, owned);
    let mut wishes = members.values().map(|member| wish(member, topics));
    let first = wishes.next().unwrap_or_default();
    if wishes.all(|wish| wish == first) {
        let all = first.iter().flat_map(|topic| partitions_of(topic, topics[*topic]));
        return evenly(had, all.collect());
    }
    let mut general = General::new(topics, members, had);
    general.hand_out();
    general.balance();
    general.assigned
}

/// What goes to one member while another still has it stays away until that one has given it up
/// (KIP-429).
pub(super) fn without_what_others_still_have(
    mut assigned: Assignments,
    members: &BTreeMap<String, GroupMember>,
) -> Assignments {
    let mut owners: BTreeMap<&TopicPartition, BTreeSet<&String>> = BTreeMap::new();
    for (id, member) in members {
        for partition in &member.subscription.owned {
            owners.entry(partition).or_default().insert(id);
        }
    }
    for (id, partitions) in &mut assigned {
        partitions.retain(|partition| {
            owners.get(partition).is_none_or(|owners| owners.iter().all(|owner| *owner == id))
        });
    }
    assigned
}

/// The topics it wants that are there, sorted.
fn wish<'a>(member: &GroupMember, topics: &'a BTreeMap<TopicName, i32>) -> Vec<&'a TopicName> {
    topics.keys().filter(|topic| member.subscription.topics.contains(topic)).collect()
}

/// What each had, of what is there and it wants: of the newest generation alone, and not what two
/// claim. Sorted by number, then topic, as Java does.
fn still_valid(
    topics: &BTreeMap<TopicName, i32>,
    members: &BTreeMap<String, GroupMember>,
    owned: fn(&MemberSubscription) -> Owned,
) -> Assignments {
    let all: Vec<(&String, &GroupMember, Owned)> =
        members.iter().map(|(id, member)| (id, member, owned(&member.subscription))).collect();
    let newest = all.iter().filter_map(|(_, _, (_, generation))| *generation).max();
    let mut claims: BTreeMap<TopicPartition, u32> = BTreeMap::new();
    let mut had = Assignments::new();
    for (id, member, (mut partitions, generation)) in all {
        // Without a generation a claim counts only where nobody has one.
        if generation != newest {
            partitions.clear();
        }
        partitions.retain(|at| {
            let count = topics.get(&at.topic).copied().unwrap_or(0);
            (0..count).contains(&at.partition.0) && member.subscription.topics.contains(&at.topic)
        });
        partitions.sort_by(|a, b| (a.partition, &a.topic).cmp(&(b.partition, &b.topic)));
        partitions.dedup();
        partitions.iter().for_each(|at| *claims.entry(at.clone()).or_default() += 1);
        had.insert(id.clone(), partitions);
    }
    had.values_mut().for_each(|own| own.retain(|at| claims.get(at) == Some(&1)));
    had
}

/// Of equal members each gets the same, and some of them one more.
fn evenly(mut had: Assignments, all: Vec<TopicPartition>) -> Assignments {
    if had.is_empty() {
        return had;
    }
    let (share, mut with_one_more) = (all.len() / had.len(), all.len() % had.len());
    let mut below: VecDeque<String> = VecDeque::new();
    let mut full: VecDeque<String> = VecDeque::new();
    for (id, own) in &mut had {
        if own.len() < share {
            below.push_back(id.clone());
        } else if own.len() > share && with_one_more > 0 {
            with_one_more -= 1;
            own.truncate(share + 1);
        } else {
            own.truncate(share);
            full.push_back(id.clone());
        }
    }
    let kept: BTreeSet<TopicPartition> = had.values().flatten().cloned().collect();
    for partition in all.into_iter().filter(|partition| !kept.contains(partition)) {
        let is_below = !below.is_empty();
        let next = if is_below { below.pop_front() } else { full.pop_front() };
        let Some(id) = next else { break };
        let Some(own) = had.get_mut(&id) else { break };
        own.push(partition);
        if own.len() < share {
            below.push_back(id);
        } else if own.len() == share {
            full.push_back(id);
        }
    }
    had
}

/// Members that want different topics.
struct General<'a> {
    /// Each partition and who may have it.
    candidates: BTreeMap<TopicPartition, Vec<&'a String>>,
    assigned: Assignments,
}

impl<'a> General<'a> {
    fn new(
        topics: &BTreeMap<TopicName, i32>,
        members: &'a BTreeMap<String, GroupMember>,
        assigned: Assignments,
    ) -> Self {
        let mut candidates: BTreeMap<TopicPartition, Vec<&'a String>> = BTreeMap::new();
        for (id, member) in members {
            for topic in wish(member, topics) {
                for partition in partitions_of(topic, topics[topic]) {
                    candidates.entry(partition).or_default().push(id);
                }
            }
        }
        Self { candidates, assigned }
    }

    fn load(&self, id: &str) -> usize {
        self.assigned.get(id).map_or(0, Vec::len)
    }

    /// Gives what nobody has to whoever has least of those that may; first what few may have.
    fn hand_out(&mut self) {
        let taken: BTreeSet<TopicPartition> = self.assigned.values().flatten().cloned().collect();
        let mut free: Vec<(usize, TopicPartition)> = self
            .candidates
            .iter()
            .filter(|(partition, _)| !taken.contains(*partition))
            .map(|(partition, candidates)| (candidates.len(), partition.clone()))
            .collect();
        free.sort();
        for (_, partition) in free {
            let candidates = &self.candidates[&partition];
            let least = candidates.iter().min_by_key(|id| (self.load(id), **id));
            if let Some(own) = least.and_then(|id| self.assigned.get_mut(*id)) {
                own.push(partition);
            }
        }
    }

    /// Moves partitions, one at a time, from who has at least two more to who has least. Each move
    /// brings the loads closer together, so that it ends.
    fn balance(&mut self) {
        while let Some((from, place, to)) = self.helpful_move() {
            let Some(moved) = self.assigned.get_mut(&from).map(|own| own.remove(place)) else {
                return;
            };
            self.assigned.entry(to).or_default().push(moved);
        }
    }

    fn helpful_move(&self) -> Option<(String, usize, String)> {
        let mut by_load: Vec<&String> = self.assigned.keys().collect();
        by_load.sort_by_key(|id| (std::cmp::Reverse(self.load(id)), *id));
        for from in by_load {
            // What came last moves first: what was kept is what was there before.
            for (place, partition) in self.assigned[from].iter().enumerate().rev() {
                let candidates = &self.candidates[partition];
                let least = candidates.iter().min_by_key(|id| (self.load(id), **id));
                if let Some(to) = least.filter(|to| self.load(to) + 1 < self.load(from)) {
                    return Some((from.clone(), place, (*to).clone()));
                }
            }
        }
        None
    }
}
