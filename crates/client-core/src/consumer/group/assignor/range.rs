//! Ranges: each topic by itself, as many neighbours for each member as go evenly, one more for the
//! first.
//!
//! Where racks tell partitions apart, members first get what is in their own, and the rest after
//! that (KIP-881). Topics that can be joined (as many partitions, the same members) stay together
//! in that: partitions of one number go to one member, or wait for the second round.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::{PartitionIndex, TopicName, TopicPartition};

use super::racks::Racks;
use super::{Assignments, GroupMember, PartitionRacks, in_order, partitions_of, wants};

pub(super) fn assign(
    topics: &BTreeMap<TopicName, i32>,
    racks: &PartitionRacks,
    members: &BTreeMap<String, GroupMember>,
) -> Assignments {
    let mut assigned: Assignments = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    let ordered = in_order(members);
    let shares_of = |(topic, count): (_, &i32)| {
        let readers = ordered.iter().copied().filter(|(_, member)| wants(member, topic));
        Shares::new(topic, *count, racks, readers.collect())
    };
    let mut shares: Vec<Shares<'_>> = topics.iter().map(shares_of).collect();
    if shares.iter().any(Shares::looks_at_racks) {
        within_racks(&mut shares, &mut assigned);
    }
    for shares in &mut shares {
        shares.fill(&mut assigned, |_, _, _| true);
    }
    assigned.values_mut().for_each(|own| own.sort_unstable());
    assigned
}

/// The first round: what members find in their racks.
fn within_racks(shares: &mut [Shares<'_>], assigned: &mut Assignments) {
    let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, one) in shares.iter().enumerate().filter(|(_, one)| one.racks.is_some()) {
        alike.entry((one.readers.clone(), one.partition_count)).or_default().push(place);
    }
    for ((readers, partition_count), places) in alike {
        match places[..] {
            [place] if shares[place].looks_at_racks() => {
                shares[place].fill(assigned, Shares::is_near);
            }
            [_] => {}
            _ => together(shares, &places, readers, partition_count, assigned),
        }
    }
}

/// Gives partitions of one number of all these topics to one reader, who is near to each.
fn together<'a>(
    shares: &mut [Shares<'a>],
    places: &[usize],
    mut readers: Vec<&'a String>,
    partition_count: usize,
    assigned: &mut Assignments,
) {
    for index in (0..).map(PartitionIndex).take(partition_count) {
        let takes = |one: &Shares<'_>, id: &String| one.room(id) > 0 && one.is_near(id, index);
        let fits = |id: &&String| places.iter().all(|place| takes(&shares[*place], id));
        let Some(reader) = readers.iter().position(fits) else { continue };
        let id = readers[reader];
        places.iter().for_each(|place| shares[*place].give(id, &[index], assigned));
        if places.iter().all(|place| shares[*place].room(id) == 0) {
            readers.remove(reader);
        }
    }
}

/// One topic, and what its readers have of it.
struct Shares<'a> {
    topic: &'a TopicName,
    partition_count: usize,
    readers: Vec<&'a String>,
    racks: Option<Racks<'a>>,
    free: BTreeSet<PartitionIndex>,
    given: BTreeMap<&'a String, usize>,
    /// How many each is to get.
    even: usize,
    /// How many readers are still to get one more.
    with_one_more: usize,
}

impl<'a> Shares<'a> {
    fn new(
        topic: &'a TopicName,
        count: i32,
        racks: &'a PartitionRacks,
        readers: Vec<(&'a String, &'a GroupMember)>,
    ) -> Self {
        let partition_count = usize::try_from(count).unwrap_or(0);
        let reader_count = readers.len().max(1);
        Self {
            topic,
            partition_count,
            racks: Racks::of(readers.iter().copied(), partitions_of(topic, count), racks),
            readers: readers.into_iter().map(|(id, _)| id).collect(),
            free: partitions_of(topic, count).map(|at| at.partition).collect(),
            given: BTreeMap::new(),
            even: partition_count / reader_count,
            with_one_more: partition_count % reader_count,
        }
    }

    fn looks_at_racks(&self) -> bool {
        self.racks.as_ref().is_some_and(Racks::tell_apart)
    }

    fn is_near(&self, id: &str, index: PartitionIndex) -> bool {
        let at = TopicPartition::new(self.topic.clone(), index);
        self.racks.as_ref().is_none_or(|racks| racks.is_near(id, &at))
    }

    /// How many more a reader may have.
    fn room(&self, id: &String) -> usize {
        let given = self.given.get(id).copied().unwrap_or(0);
        (self.even + usize::from(self.with_one_more > 0)).saturating_sub(given)
    }

    fn give(&mut self, id: &'a String, indexes: &[PartitionIndex], assigned: &mut Assignments) {
        let given = self.given.entry(id).or_default();
        *given += indexes.len();
        if *given > self.even {
            self.with_one_more = self.with_one_more.saturating_sub(1);
        }
        let own = assigned.entry(id.clone()).or_default();
        for index in indexes {
            self.free.remove(index);
            own.push(TopicPartition::new(self.topic.clone(), *index));
        }
    }

    /// Gives each reader, the first one first, what there is room for of what it may have.
    fn fill(
        &mut self,
        assigned: &mut Assignments,
        may: impl Fn(&Self, &str, PartitionIndex) -> bool,
    ) {
        for id in self.readers.clone() {
            let free = self.free.iter().copied().filter(|index| may(self, id, *index));
            let next: Vec<PartitionIndex> = free.take(self.room(id)).collect();
            if !next.is_empty() {
                self.give(id, &next, assigned);
            }
        }
    }
}
