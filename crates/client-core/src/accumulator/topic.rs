//! A topic as callers see it: its partitions' queues, found without a lock, and the sticky choice.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use streamledger_protocol::{PartitionIndex, TopicName};

use super::partition_queue::PartitionQueue;
use super::sticky::{LoadWeights, StickyChoices};
use crate::partitioner::RandomSource;

/// Partitions in the first chunk; each later chunk doubles what there is before it.
const FIRST_CHUNK: usize = 16;
/// 16 * 2^16: more than a million partitions.
const CHUNKS: usize = 17;
/// No sticky partition has been chosen.
const NOT_CHOSEN: i32 = -1;

/// The queues of one topic. It is made on first use and stays as long as the producer.
#[derive(Debug)]
pub struct TopicQueues {
    name: TopicName,
    /// 0 until metadata has told.
    partition_count: AtomicI32,
    /// The size at which a batch is full: `batch.size`, or less once the broker has found one
    /// too large.
    batch_bytes_max: AtomicUsize,
    sticky: AtomicI32,
    round_robin: AtomicU32,
    /// Partitions that have a leader, for the round robin.
    available: RwLock<Box<[PartitionIndex]>>,
    /// What the sticky partitioner chooses among; looked at once a batch.
    choices: RwLock<StickyChoices>,
    chunks: [OnceLock<Chunk>; CHUNKS],
}

type Chunk = Box<[OnceLock<Arc<PartitionQueue>>]>;

impl TopicQueues {
    pub(crate) fn new(name: TopicName, batch_bytes_max: usize) -> Self {
        Self {
            name,
            partition_count: AtomicI32::new(0),
            batch_bytes_max: AtomicUsize::new(batch_bytes_max),
            sticky: AtomicI32::new(NOT_CHOSEN),
            round_robin: AtomicU32::new(0),
            available: RwLock::default(),
            choices: RwLock::default(),
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// How many partitions the topic has; None until metadata has told.
    #[inline]
    #[must_use]
    pub fn partition_count(&self) -> Option<i32> {
        let count = self.partition_count.load(Ordering::Acquire);
        (count > 0).then_some(count)
    }

    /// The next partition in turn, among those with a leader if there are any, else of all
    /// `partition_count`.
    #[must_use]
    pub(crate) fn next_in_round(&self, partition_count: i32) -> PartitionIndex {
        let turn = self.round_robin.fetch_add(1, Ordering::Relaxed);
        let available = self.available.read();
        match (turn as usize).checked_rem(available.len()) {
            Some(place) => available[place],
            None => PartitionIndex(
                (turn & i32::MAX.cast_unsigned()).cast_signed() % partition_count.max(1),
            ),
        }
    }

    /// Takes what metadata says: the count, the partitions that have a leader, and those of them
    /// that the sticky partitioner is to choose among.
    ///
    /// A count never shrinks: Kafka can't take partitions away, and a topic that was made anew
    /// with fewer is told apart by its id, in the sender.
    pub(crate) fn set_partitions(
        &self,
        count: i32,
        available: Box<[PartitionIndex]>,
        choices: Box<[PartitionIndex]>,
    ) {
        let sticky = PartitionIndex(self.sticky.load(Ordering::Relaxed));
        if !choices.is_empty() && !choices.contains(&sticky) {
            self.sticky.store(NOT_CHOSEN, Ordering::Relaxed);
        }
        *self.available.write() = available;
        *self.choices.write() = StickyChoices { available: choices, weights: None };
        self.partition_count.store(count, Ordering::Release);
    }

    /// What metadata said counts no more: the next record waits for it to be asked for again.
    pub(crate) fn forget_partitions(&self) {
        self.partition_count.store(0, Ordering::Release);
    }

    /// The partition the sticky partitioner is at, chosen now if there is none.
    #[inline]
    pub(crate) fn sticky_partition(&self, random: &dyn RandomSource) -> PartitionIndex {
        match self.sticky.load(Ordering::Relaxed) {
            NOT_CHOSEN => self.choose_sticky(random),
            partition => PartitionIndex(partition),
        }
    }

    /// Whether the sticky partitioner is still at `partition`. Ask under the partition's lock.
    #[inline]
    pub(crate) fn is_sticky_at(&self, partition: PartitionIndex) -> bool {
        self.sticky.load(Ordering::Relaxed) == partition.0
    }

    /// Whether the sticky partitioner has chosen anything here.
    pub(crate) fn is_sticky_used(&self) -> bool {
        self.sticky.load(Ordering::Relaxed) != NOT_CHOSEN
    }

    /// How likely the sticky partitioner is to choose each partition from now on.
    pub(crate) fn set_weights(&self, weights: Option<LoadWeights>) {
        if weights.is_some() || self.choices.read().weights.is_some() {
            self.choices.write().weights = weights;
        }
    }

    /// Moves the sticky partitioner to a partition chosen by chance (KIP-480, KIP-794).
    #[cold]
    pub(crate) fn choose_sticky(&self, random: &dyn RandomSource) -> PartitionIndex {
        let partition_count = self.partition_count().unwrap_or(1);
        let partition = self.choices.read().choose(partition_count, random);
        self.sticky.store(partition.0, Ordering::Relaxed);
        partition
    }

    /// The size at which a batch is full, bytes.
    #[inline]
    pub(crate) fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max.load(Ordering::Relaxed)
    }

    /// Makes new batches no larger than this: the broker refused a larger one.
    pub(crate) fn lower_batch_bytes_max(&self, batch_bytes: usize) {
        self.batch_bytes_max.fetch_min(batch_bytes, Ordering::Relaxed);
    }

    /// The queue of a partition that has one.
    #[inline]
    pub(crate) fn queue(&self, partition: PartitionIndex) -> Option<&Arc<PartitionQueue>> {
        let (chunk, place) = chunk_and_place(partition)?;
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// The queue of a partition, made and registered on first use. None if there can't be one.
    ///
    /// It is registered before anybody can find it, so a close that has gone through the registry
    /// has met every queue to which a record may have been appended.
    #[cold]
    pub(crate) fn make_queue(
        &self,
        partition: PartitionIndex,
        registry: &Mutex<Vec<Arc<PartitionQueue>>>,
    ) -> Option<&Arc<PartitionQueue>> {
        let (chunk, place) = chunk_and_place(partition)?;
        let chunk_len = if chunk == 0 { FIRST_CHUNK } else { FIRST_CHUNK << (chunk - 1) };
        let chunk = self.chunks.get(chunk)?;
        let queues = chunk.get_or_init(|| (0..chunk_len).map(|_| OnceLock::new()).collect());
        Some(queues.get(place)?.get_or_init(|| {
            let mut registry = registry.lock();
            let slot = registry.len();
            let queue = Arc::new(PartitionQueue::new(slot, self.name.clone(), partition));
            registry.push(Arc::clone(&queue));
            queue
        }))
    }
}

/// Partition 0-15 are chunk 0, 16-31 chunk 1, 32-63 chunk 2 and so on.
#[inline]
fn chunk_and_place(partition: PartitionIndex) -> Option<(usize, usize)> {
    let index = usize::try_from(partition.0).ok()?;
    if index < FIRST_CHUNK {
        return Some((0, index));
    }
    let chunk = (index / FIRST_CHUNK).ilog2() as usize + 1;
    Some((chunk, index - (FIRST_CHUNK << (chunk - 1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitioner::SeededRandom;

    fn topic() -> TopicQueues {
        TopicQueues::new("clicks".into(), 16_384)
    }

    fn set_available(topic: &TopicQueues, count: i32, available: &[i32]) {
        let available: Box<[_]> = available.iter().copied().map(PartitionIndex).collect();
        topic.set_partitions(count, available.clone(), available);
    }

    #[test]
    fn every_partition_up_to_a_million_has_a_queue_of_its_own() {
        let topic = topic();
        let registry = Mutex::default();
        for (slot, index) in [0, 1, 15, 16, 31, 32, 1000, 65_535, 1_048_575].into_iter().enumerate()
        {
            let partition = PartitionIndex(index);
            assert!(topic.queue(partition).is_none());
            assert_eq!(topic.make_queue(partition, &registry).unwrap().slot(), slot);
            assert_eq!(topic.queue(partition).unwrap().topic_partition().partition, partition);
        }
        assert!(topic.make_queue(PartitionIndex(-1), &registry).is_none());
        assert!(topic.make_queue(PartitionIndex(1_048_576), &registry).is_none());
    }

    #[test]
    fn chunks_meet_without_gap_or_overlap() {
        let mut expected = (0, 0);
        for index in 1..5000 {
            let (chunk, place) = chunk_and_place(PartitionIndex(index)).unwrap();
            let next = if place == 0 { (expected.0 + 1, 0) } else { (expected.0, expected.1 + 1) };
            assert_eq!((chunk, place), next);
            expected = (chunk, place);
        }
    }

    #[test]
    fn sticky_chooses_among_partitions_with_a_leader() {
        let topic = topic();
        set_available(&topic, 6, &[2, 5]);
        let random = SeededRandom::new(1);
        let mut seen = [0; 6];
        for _ in 0..200 {
            seen[usize::try_from(topic.choose_sticky(&random).0).unwrap()] += 1;
        }
        assert_eq!(seen[0] + seen[1] + seen[3] + seen[4], 0);
        assert!(seen[2] > 60 && seen[5] > 60, "{seen:?}");
    }

    #[test]
    fn sticky_leaves_a_partition_that_lost_its_leader() {
        let topic = topic();
        let random = SeededRandom::new(1);
        set_available(&topic, 2, &[0]);
        assert_eq!(topic.sticky_partition(&random), PartitionIndex(0));
        set_available(&topic, 2, &[1]);
        assert_eq!(topic.sticky_partition(&random), PartitionIndex(1));
        set_available(&topic, 2, &[]);
        assert!(topic.is_sticky_at(PartitionIndex(1)), "no leader anywhere: stays");
    }
}
