//! The sticky assignors: balanced, and what a member has it keeps if that can be.
//!
//! Where all members want the same topics, each keeps up to its share and the rest go round
//! (Kafka's constrained assignment). Otherwise each keeps what it has, the rest go to who has
//! least, and then partitions move from those with more to those with less until no move helps.
//!
//! Where racks tell partitions apart (KIP-881), nobody keeps what is in other racks than its own,
//! and what is free goes within racks as far as the shares allow, first what few are near to; the
//! rest goes as it would without.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use streamledger_protocol::{TopicName, TopicPartition};

use super::super::subscription::{MemberSubscription, NO_GENERATION, StickyUserData};
use super::racks::Racks;
use super::{Assignments, GroupMember, PartitionRacks, partitions_of, wants};

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
    racks: &PartitionRacks,
    members: &BTreeMap<String, GroupMember>,
    owned: fn(&MemberSubscription) -> Owned,
) -> Assignments {
    let mut had = still_valid(topics, members, owned);
    let is_wanted = |topic: &&TopicName| members.values().any(|member| wants(member, topic));
    let wanted = topics.keys().filter(is_wanted);
    let partitions = wanted.flat_map(|topic| partitions_of(topic, topics[topic]));
    let racks = Racks::of(members.iter(), partitions, racks).filter(Racks::tell_apart);
    if let Some(racks) = &racks {
        had.iter_mut().for_each(|(id, own)| own.retain(|at| racks.is_near(id, at)));
    }
    let mut wishes = members.values().map(|member| wish(member, topics));
    let first = wishes.next().unwrap_or_default();
    if wishes.all(|wish| wish == first) {
        let all = first.iter().flat_map(|topic| partitions_of(topic, topics[*topic]));
        return evenly(had, all.collect(), racks.as_ref());
    }
    let mut general = General::new(topics, members, had, racks);
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
fn evenly(had: Assignments, all: Vec<TopicPartition>, racks: Option<&Racks<'_>>) -> Assignments {
    if had.is_empty() {
        return had;
    }
    let mut shares = EvenShares::new(had, all.len());
    let kept: BTreeSet<TopicPartition> = shares.assigned.values().flatten().cloned().collect();
    let mut free: Vec<TopicPartition> =
        all.into_iter().filter(|partition| !kept.contains(partition)).collect();
    if let Some(racks) = racks {
        free.sort_by_key(|partition| racks.member_count(partition));
        free = shares.hand_out_within_racks(free, racks);
    }
    shares.hand_out(free);
    shares.assigned
}

/// Equal members on their way to equal shares.
struct EvenShares {
    assigned: Assignments,
    /// How many each is to get.
    even: usize,
    /// How many members are still to get one more.
    with_one_more: usize,
    /// Those that have less than that.
    below: VecDeque<String>,
    /// Those that have just that, as long as somebody is to get one more.
    full: VecDeque<String>,
}

impl EvenShares {
    /// Each keeps what it had, up to its share.
    fn new(had: Assignments, partition_count: usize) -> Self {
        let (even, with_one_more) = (partition_count / had.len(), partition_count % had.len());
        let (below, full) = (VecDeque::new(), VecDeque::new());
        let mut shares = Self { assigned: had, even, with_one_more, below, full };
        for (id, own) in &mut shares.assigned {
            if own.len() < even {
                shares.below.push_back(id.clone());
            } else if own.len() > even && shares.with_one_more > 0 {
                shares.with_one_more -= 1;
                own.truncate(even + 1);
            } else {
                own.truncate(even);
                shares.full.push_back(id.clone());
            }
        }
        shares
    }

    /// In turn among those in a rack of the partition; gives back what nobody could take.
    fn hand_out_within_racks(
        &mut self,
        free: Vec<TopicPartition>,
        racks: &Racks<'_>,
    ) -> Vec<TopicPartition> {
        let mut turn = 0;
        let mut left = Vec::new();
        for partition in free {
            let is_within = |id: &String| racks.is_within(id, &partition);
            let below = &self.below;
            let in_turn = (turn..below.len()).chain(0..turn.min(below.len()));
            let next = in_turn.into_iter().find(|place| is_within(&below[*place]));
            if let Some(place) = next {
                let id = below[place].clone();
                let is_below = self.give(&id, partition) < self.even;
                if !is_below {
                    self.below.remove(place);
                    self.full.push_back(id);
                }
                let count = self.below.len().max(1);
                turn = (place + usize::from(is_below)) % count;
            } else if self.with_one_more > 0
                && let Some(place) = self.full.iter().position(is_within)
                && let Some(id) = self.full.remove(place)
            {
                self.give(&id, partition);
                self.with_one_more -= 1;
            } else {
                left.push(partition);
            }
        }
        left
    }

    /// In turn among those below their share, then one each to those that have it.
    fn hand_out(&mut self, free: Vec<TopicPartition>) {
        for partition in free {
            let is_below = !self.below.is_empty();
            let next = if is_below { self.below.pop_front() } else { self.full.pop_front() };
            let Some(id) = next else { return };
            let count = self.give(&id, partition);
            if count < self.even {
                self.below.push_back(id);
            } else if count == self.even {
                self.full.push_back(id);
            }
        }
    }

    /// How many the member has then.
    fn give(&mut self, id: &str, partition: TopicPartition) -> usize {
        self.assigned.get_mut(id).map_or(0, |own| {
            own.push(partition);
            own.len()
        })
    }
}

/// Members that want different topics.
struct General<'a> {
    /// Each partition and who may have it.
    candidates: BTreeMap<TopicPartition, Vec<&'a String>>,
    assigned: Assignments,
    racks: Option<Racks<'a>>,
}

impl<'a> General<'a> {
    fn new(
        topics: &BTreeMap<TopicName, i32>,
        members: &'a BTreeMap<String, GroupMember>,
        assigned: Assignments,
        racks: Option<Racks<'a>>,
    ) -> Self {
        let mut candidates: BTreeMap<TopicPartition, Vec<&'a String>> = BTreeMap::new();
        for (id, member) in members {
            for topic in wish(member, topics) {
                for partition in partitions_of(topic, topics[topic]) {
                    candidates.entry(partition).or_default().push(id);
                }
            }
        }
        Self { candidates, assigned, racks }
    }

    fn is_near(&self, id: &str, partition: &TopicPartition) -> bool {
        self.racks.as_ref().is_none_or(|racks| racks.is_near(id, partition))
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
        let mut free: Vec<TopicPartition> = free.into_iter().map(|(_, at)| at).collect();
        if self.racks.is_some() {
            free.retain(|partition| !self.give_to_least(partition, Self::is_near));
        }
        for partition in free {
            self.give_to_least(&partition, |_, _, _| true);
        }
    }

    /// Whether any of those that may have it can take it.
    fn give_to_least(
        &mut self,
        partition: &TopicPartition,
        may: impl Fn(&Self, &str, &TopicPartition) -> bool,
    ) -> bool {
        let candidates = self.candidates[partition].iter();
        let candidates = candidates.filter(|id| may(self, id, partition));
        let least = candidates.min_by_key(|id| (self.load(id), **id)).copied();
        let own = least.and_then(|id| self.assigned.get_mut(id));
        own.is_some_and(|own| {
            own.push(partition.clone());
            true
        })
    }

    /// Moves partitions, one at a time, from who has at least two more to who has least. Each move
    /// brings the loads closer together, so that it ends. Moves to where a partition is near come
    /// first.
    fn balance(&mut self) {
        loop {
            let within = self.racks.as_ref().and_then(|_| self.helpful_move(Self::is_near));
            let next = within.or_else(|| self.helpful_move(|_, _, _| true));
            let Some((from, place, to)) = next else { return };
            let Some(moved) = self.assigned.get_mut(&from).map(|own| own.remove(place)) else {
                return;
            };
            self.assigned.entry(to).or_default().push(moved);
        }
    }

    fn helpful_move(
        &self,
        may: impl Fn(&Self, &str, &TopicPartition) -> bool,
    ) -> Option<(String, usize, String)> {
        let mut by_load: Vec<&String> = self.assigned.keys().collect();
        by_load.sort_by_key(|id| (std::cmp::Reverse(self.load(id)), *id));
        for from in by_load {
            // What came last moves first: what was kept is what was there before.
            for (place, partition) in self.assigned[from].iter().enumerate().rev() {
                let candidates = self.candidates[partition].iter();
                let candidates = candidates.filter(|id| may(self, id, partition));
                let least = candidates.min_by_key(|id| (self.load(id), **id));
                if let Some(to) = least.filter(|to| self.load(to) + 1 < self.load(from)) {
                    return Some((from.clone(), place, (*to).clone()));
                }
            }
        }
        None
    }
}
