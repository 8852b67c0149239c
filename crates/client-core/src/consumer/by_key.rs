//! Records worked on in parallel: of one key in order, and committed only as far as all is done.
//!
//! 1. Of one partition's records with one key at most one is in work, and they are begun in the
//!    order of their offsets. Records without a key have no order to keep.
//! 2. What may be committed of a partition is the offset of its first record that isn't done:
//!    never beyond, so that whoever takes the partition over misses nothing.
//! 3. Not more records are held than were let in; a key takes memory only while it has some.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use streamledger_protocol::{LeaderEpoch, Offset, TopicPartition};

use crate::map::Map;
use crate::transaction::CommittedOffset;

/// The name of a record in work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A record to be let in.
#[derive(Debug, Clone)]
pub struct KeyedRecord<T> {
    /// Its partition.
    pub topic_partition: TopicPartition,
    /// Its offset; higher than those of its partition before.
    pub offset: Offset,
    /// The leader epoch it was written in.
    pub leader_epoch: LeaderEpoch,
    /// Its key.
    pub key: Option<Bytes>,
    /// What is to be worked on.
    pub work: T,
}

/// Keeps the order of keys, and how far each partition is done.
#[derive(Debug)]
pub struct KeyOrder<T> {
    records_max: usize,
    next_ticket: u64,
    held: Map<Ticket, Held<T>>,
    /// Those that may be begun, in the order in which they could.
    ready: VecDeque<Ticket>,
    /// Of each key with a record ready or in work: those behind it.
    keys: Map<(TopicPartition, Bytes), VecDeque<Ticket>>,
    partitions: BTreeMap<TopicPartition, Progress>,
}

#[derive(Debug)]
struct Held<T> {
    topic_partition: TopicPartition,
    offset: Offset,
    key: Option<Bytes>,
    /// None once it is in work.
    work: Option<T>,
}

/// How far a partition is done.
#[derive(Debug, Default)]
struct Progress {
    /// Its records from the first on that isn't done, in order.
    open: VecDeque<Open>,
    /// What may be committed.
    done: Option<CommittedOffset>,
    /// That has grown since it was taken.
    is_news: bool,
    in_work: usize,
}

#[derive(Debug)]
struct Open {
    offset: Offset,
    leader_epoch: LeaderEpoch,
    is_done: bool,
}

impl<T> KeyOrder<T> {
    /// Holds nothing; at most `records_max` records are to be let in.
    #[must_use]
    pub fn new(records_max: usize) -> Self {
        Self {
            records_max,
            next_ticket: 0,
            held: Map::default(),
            ready: VecDeque::new(),
            keys: Map::default(),
            partitions: BTreeMap::new(),
        }
    }

    /// How many more records there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.records_max.saturating_sub(self.held.len())
    }

    /// How many records are held, in work or not.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.held.len()
    }

    /// Lets a record in.
    pub fn add(&mut self, record: KeyedRecord<T>) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let KeyedRecord { topic_partition, offset, leader_epoch, key, work } = record;
        let progress = self.partitions.entry(topic_partition.clone()).or_default();
        progress.open.push_back(Open { offset, leader_epoch, is_done: false });
        let behind = key.as_ref().map(|key| (topic_partition.clone(), key.clone()));
        let work = Some(work);
        self.held.insert(ticket, Held { topic_partition, offset, key, work });
        match behind {
            None => self.ready.push_back(ticket),
            Some(key) => match self.keys.get_mut(&key) {
                Some(behind) => behind.push_back(ticket),
                None => {
                    self.keys.insert(key, VecDeque::new());
                    self.ready.push_back(ticket);
                }
            },
        }
    }

    /// A record to be worked on now, if there is one.
    pub fn begin(&mut self) -> Option<(Ticket, T)> {
        while let Some(ticket) = self.ready.pop_front() {
            // One that was forgotten meanwhile is no longer held.
            let Some(held) = self.held.get_mut(&ticket) else { continue };
            let Some(work) = held.work.take() else { continue };
            if let Some(progress) = self.partitions.get_mut(&held.topic_partition) {
                progress.in_work += 1;
            }
            return Some((ticket, work));
        }
        None
    }

    /// A record is done: the next of its key may be begun. One that was forgotten changes nothing.
    pub fn done(&mut self, ticket: Ticket) {
        let Some(held) = self.held.remove(&ticket) else { return };
        if let Some(progress) = self.partitions.get_mut(&held.topic_partition) {
            progress.in_work = progress.in_work.saturating_sub(1);
            progress.done(held.offset);
        }
        let Some(key) = held.key else { return };
        let key = (held.topic_partition, key);
        match self.keys.get_mut(&key).and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => drop(self.keys.remove(&key)),
        }
    }

    /// What may be committed and was not taken yet, of each partition.
    pub fn take_committable(&mut self) -> Vec<(TopicPartition, CommittedOffset)> {
        let news = self.partitions.iter_mut().filter_map(|(topic_partition, progress)| {
            let is_news = std::mem::take(&mut progress.is_news);
            Some((topic_partition.clone(), progress.done.clone().filter(|_| is_news)?))
        });
        news.collect()
    }

    /// What may be committed of each partition, whether it was taken or not: a commit that was
    /// taken may have failed.
    #[must_use]
    pub fn committable(&self) -> Vec<(TopicPartition, CommittedOffset)> {
        let done = self.partitions.iter();
        done.filter_map(|(of, progress)| Some((of.clone(), progress.done.clone()?))).collect()
    }

    /// Begins no more of these partitions' records; those in work go on.
    pub fn stop(&mut self, partitions: &[TopicPartition]) {
        let stopped = |held: &Held<T>| partitions.contains(&held.topic_partition);
        self.held.retain(|_, held| held.work.is_none() || !stopped(held));
        self.keys.retain(|(of, _), behind| {
            behind.retain(|ticket| self.held.contains_key(ticket));
            // A key whose record is in work keeps its place until that is done.
            !partitions.contains(of) || self.held.values().any(|held| held.topic_partition == *of)
        });
    }

    /// How many records of these partitions are in work.
    #[must_use]
    pub fn in_work(&self, partitions: &[TopicPartition]) -> usize {
        let counts = partitions.iter().filter_map(|of| self.partitions.get(of));
        counts.map(|progress| progress.in_work).sum()
    }

    /// Forgets these partitions: they are another's. What is still in work of them counts for
    /// nothing.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.held.retain(|_, held| !partitions.contains(&held.topic_partition));
        self.keys.retain(|(of, _), _| !partitions.contains(of));
        self.partitions.retain(|of, _| !partitions.contains(of));
    }
}

impl Progress {
    fn done(&mut self, offset: Offset) {
        if let Ok(place) = self.open.binary_search_by_key(&offset, |open| open.offset) {
            self.open[place].is_done = true;
        }
        while let Some(first) = self.open.pop_front_if(|open| open.is_done) {
            let (offset, leader_epoch) = (first.offset.next(), first.leader_epoch);
            self.done = Some(CommittedOffset { offset, leader_epoch, metadata: None });
            self.is_news = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use streamledger_protocol::PartitionIndex;

    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition::new("clicks", PartitionIndex(partition))
    }

    fn record(partition: i32, offset: i64, key: Option<u8>) -> KeyedRecord<(i32, i64)> {
        KeyedRecord {
            topic_partition: at(partition),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::ZERO,
            key: key.map(|key| Bytes::copy_from_slice(&[key])),
            work: (partition, offset),
        }
    }

    fn committable(order: &mut KeyOrder<(i32, i64)>) -> Vec<(i32, i64)> {
        let all = order.take_committable().into_iter();
        all.map(|(at, committed)| (at.partition.0, committed.offset.0)).collect()
    }

    #[test]
    fn of_one_key_one_is_in_work_and_other_keys_pass_it() {
        let mut order = KeyOrder::new(10);
        for (offset, key) in [(0, 1), (1, 1), (2, 2)] {
            order.add(record(0, offset, Some(key)));
        }
        let (first, work) = order.begin().unwrap();
        assert_eq!(work, (0, 0));
        let (second, work) = order.begin().unwrap();
        assert_eq!(work, (0, 2));
        assert!(order.begin().is_none(), "offset 1 waits for offset 0");
        order.done(second);
        assert_eq!(committable(&mut order), [], "offset 0 is not done");
        order.done(first);
        assert_eq!(committable(&mut order), [(0, 1)]);
        let (third, work) = order.begin().unwrap();
        assert_eq!(work, (0, 1));
        order.done(third);
        assert_eq!(committable(&mut order), [(0, 3)]);
        assert_eq!((order.room(), committable(&mut order)), (10, vec![]));
    }

    #[test]
    fn the_same_key_in_another_partition_is_another() {
        let mut order = KeyOrder::new(10);
        order.add(record(0, 0, Some(1)));
        order.add(record(1, 0, Some(1)));
        order.add(record(1, 1, None));
        assert_eq!(std::iter::from_fn(|| order.begin()).count(), 3);
    }

    #[test]
    fn a_partition_that_is_given_up_finishes_what_is_in_work_and_no_more() {
        let mut order = KeyOrder::new(10);
        for offset in 0..4 {
            order.add(record(0, offset, Some(u8::try_from(offset % 2).unwrap())));
        }
        order.add(record(1, 0, None));
        let (first, _) = order.begin().unwrap();
        order.stop(&[at(0)]);
        assert_eq!(order.in_work(&[at(0)]), 1);
        let (_, work) = order.begin().unwrap();
        assert_eq!(work, (1, 0));
        assert!(order.begin().is_none());
        order.done(first);
        assert_eq!((order.in_work(&[at(0)]), committable(&mut order)), (0, vec![(0, 1)]));
        assert_eq!(order.committable().len(), 1, "for a commit that failed");
        order.forget(&[at(0)]);
        // It comes back, and begins where it was committed.
        order.add(record(0, 1, Some(1)));
        assert_eq!(order.begin().unwrap().1, (0, 1));
    }

    #[test]
    fn what_is_done_of_a_lost_partition_counts_for_nothing() {
        let mut order = KeyOrder::new(10);
        order.add(record(0, 5, Some(1)));
        let (late, _) = order.begin().unwrap();
        order.forget(&[at(0)]);
        order.add(record(0, 3, Some(1)));
        order.done(late);
        assert_eq!(committable(&mut order), []);
        let (again, _) = order.begin().unwrap();
        order.done(again);
        assert_eq!(committable(&mut order), [(0, 4)]);
    }

    /// One thing that happens: a record comes, one is begun, or one of those in work is done.
    #[derive(Debug, Clone)]
    enum Step {
        Add(i32, Option<u8>),
        Begin,
        Done(usize),
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_i32, prop::option::weighted(0.8, 0..5_u8))
                .prop_map(|(partition, key)| Step::Add(partition, key)),
            4 => Just(Step::Begin),
            4 => any::<usize>().prop_map(Step::Done),
            1 => Just(Step::Commit),
        ]
    }

    type Begun = Vec<(Ticket, (i32, i64))>;

    /// What is committed is never past a record that isn't done.
    fn holds(order: &mut KeyOrder<(i32, i64)>, added: &[i64; 3], undone: &[(i32, i64)]) {
        for (partition, offset) in committable(order) {
            let first = undone.iter().filter(|(of, _)| *of == partition).map(|(_, at)| *at).min();
            let place = usize::try_from(partition).unwrap();
            assert_eq!(offset, first.unwrap_or(added[place]), "{undone:?}");
        }
    }

    proptest! {
        #[test]
        fn no_history_commits_past_an_undone_record_or_breaks_the_order_of_a_key(
            steps in prop::collection::vec(step(), 1..400),
        ) {
            let mut order = KeyOrder::new(30);
            let (mut added, mut undone) = ([0_i64; 3], Vec::new());
            let mut in_work: Begun = Vec::new();
            let mut keys: BTreeMap<(i32, i64), u8> = BTreeMap::new();
            let mut last: BTreeMap<(i32, u8), i64> = BTreeMap::new();
            let finish = |order: &mut KeyOrder<_>, in_work: &mut Begun, place: usize,
                              undone: &mut Vec<(i32, i64)>| {
                if !in_work.is_empty() {
                    let (ticket, at) = in_work.remove(place % in_work.len());
                    undone.retain(|other| *other != at);
                    order.done(ticket);
                }
            };
            let mut begin = |order: &mut KeyOrder<(i32, i64)>, in_work: &mut Begun,
                             keys: &BTreeMap<(i32, i64), u8>| {
                let Some((ticket, at)) = order.begin() else { return false };
                if let Some(key) = keys.get(&at) {
                    assert!(last.insert((at.0, *key), at.1) < Some(at.1), "out of order");
                    let same = |(_, other): &&(Ticket, (i32, i64))| {
                        other.0 == at.0 && keys.get(other) == Some(key)
                    };
                    assert!(in_work.iter().find(same).is_none(), "two of one key in work");
                }
                in_work.push((ticket, at));
                true
            };
            for step in steps {
                match step {
                    Step::Add(partition, key) if order.room() > 0 => {
                        let place = usize::try_from(partition).unwrap();
                        let at = (partition, added[place]);
                        added[place] += 1;
                        undone.push(at);
                        keys.extend(key.map(|key| (at, key)));
                        order.add(record(partition, at.1, key));
                    }
                    Step::Add(..) => assert_eq!(order.record_count(), 30),
                    Step::Begin => drop(begin(&mut order, &mut in_work, &keys)),
                    Step::Done(place) => finish(&mut order, &mut in_work, place, &mut undone),
                    Step::Commit => holds(&mut order, &added, &undone),
                }
            }
            while begin(&mut order, &mut in_work, &keys) || !in_work.is_empty() {
                finish(&mut order, &mut in_work, 0, &mut undone);
            }
            prop_assert!(undone.is_empty(), "{} records were never begun", undone.len());
            holds(&mut order, &added, &undone);
            prop_assert_eq!((order.record_count(), order.keys.len()), (0, 0));
        }
    }
}
