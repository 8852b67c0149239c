//! How much waits for each leader, told to the sticky partitioner so that it spares the slow ones
//! (KIP-794). Computed in the sender's rounds, never on a caller's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::TopicName;

use super::Sender;
use crate::accumulator::{LoadWeights, PartitionLoad};

/// The loads are looked at again after this long: some dozen batches at full speed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Sender {
    /// Weighs the partitions of each topic to which something is queued, now and then. Must follow
    /// the filling of requests, which tells who takes nothing.
    pub(super) fn weigh_loads(&mut self, now: Instant) {
        if !self.config.adaptive_partitioning
            || self.active.is_empty()
            || self.loads_weighed.is_some_and(|last| now < last + LOOK_EVERY)
        {
            return;
        }
        self.loads_weighed = Some(now);
        let mut topics: Vec<TopicName> = Vec::new();
        for &slot in &self.active {
            let Some(partition) = &self.partitions[slot] else { continue };
            let topic = &partition.topic_partition.topic;
            // Partitions of one topic mostly lie together.
            if topics.last() != Some(topic) && !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
        let accumulator = Arc::clone(&self.accumulator);
        for topic in topics {
            accumulator.with_topic(topic.as_str(), |queues| {
                if queues.is_sticky_used() {
                    queues.set_weights(self.weights_of(now, &topic));
                }
            });
        }
    }

    fn weights_of(&self, now: Instant, topic: &TopicName) -> Option<LoadWeights> {
        let state = self.topics.get(topic)?;
        let mut loads = Vec::with_capacity(state.partitions.len());
        for of_partition in state.sticky_choices() {
            let Some(leader) = of_partition.leader else { continue };
            let timeout = self.config.availability_timeout;
            let broker = self.brokers.get(&leader);
            loads.push(PartitionLoad {
                partition: of_partition.partition,
                queued_batches: 0,
                is_left_out: timeout > Duration::ZERO
                    && broker.is_some_and(|broker| broker.refuses_for(now) > timeout),
            });
        }
        loads.sort_unstable_by_key(|load| load.partition);
        for &slot in &state.slots {
            let Some(partition) = &self.partitions[slot] else { continue };
            let index = partition.topic_partition.partition;
            if let Ok(place) = loads.binary_search_by_key(&index, |load| load.partition) {
                loads[place].queued_batches = partition.queued_batches();
            }
        }
        LoadWeights::of(&loads)
    }
}
