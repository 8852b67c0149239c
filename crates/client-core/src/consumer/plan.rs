//! One round: who is asked for what now, and when to look again.

use std::collections::BTreeMap;
use std::time::Instant;

use streamledger_protocol::{BrokerId, TopicName, TopicPartition};

use super::event::{Effect, Generation, PartitionToFetch, PartitionToFind, RequestId, Trouble};
use super::fetch_state::{FetchState, RequestInFlight};
use super::partition::Phase;

/// What a round finds to be done at one broker.
#[derive(Default)]
struct BrokerWork {
    find: Vec<PartitionToFind>,
    fetch: Vec<PartitionToFetch>,
    /// A partition has no room for more: then nothing is fetched here.
    is_full: bool,
}

impl FetchState {
    pub(super) fn plan(&mut self, now: Instant) {
        self.wakeup = None;
        self.see_to_leaders(now);
        let is_full = self.buffered_bytes() >= self.config.bytes_max;
        for (broker, work) in self.work(now) {
            if !work.find.is_empty() {
                self.find(broker, work.find);
            }
            let state = self.brokers.entry(broker).or_default();
            // What a search finds would have to wait behind a fetch that waits for records.
            let is_free = state.fetches == 0 && state.searches == 0;
            if is_free && !is_full && !work.is_full && !work.fetch.is_empty() {
                self.fetch(broker, work.fetch);
            }
        }
        self.see_to_metadata(now);
    }

    fn buffered_bytes(&self) -> usize {
        // What a paused partition holds back is no reason to hold up the others.
        let reading = self.partitions.values().filter(|partition| !partition.is_paused);
        reading.map(|partition| partition.buffered_bytes).sum()
    }

    /// What is to be done at each broker that may be asked now.
    fn work(&mut self, now: Instant) -> BTreeMap<BrokerId, BrokerWork> {
        let mut work: BTreeMap<BrokerId, BrokerWork> = BTreeMap::new();
        let mut wakeups = Vec::new();
        for (topic_partition, partition) in &self.partitions {
            let Some(broker) = partition.whom_to_ask(now) else { continue };
            if partition.phase == Phase::Stopped || partition.in_flight.is_some() {
                continue;
            }
            if partition.is_paused && matches!(partition.phase, Phase::Fetching(_)) {
                continue;
            }
            let not_before = self.brokers.get(&broker).and_then(|broker| broker.not_before);
            let later = [partition.retry_at, not_before].into_iter().flatten();
            if let Some(later) = later.filter(|later| *later > now).max() {
                wakeups.push(later);
                continue;
            }
            let work = work.entry(broker).or_default();
            let leader_epoch = partition.leader_epoch;
            match partition.phase {
                Phase::Finding(lookup) => work.find.push(PartitionToFind {
                    topic_partition: topic_partition.clone(),
                    leader_epoch,
                    lookup,
                }),
                Phase::Fetching(offset) => {
                    work.is_full |= partition.buffered_bytes >= self.config.partition_bytes_max;
                    work.fetch.push(PartitionToFetch {
                        topic_partition: topic_partition.clone(),
                        topic_id: partition.topic_id,
                        leader_epoch,
                        offset,
                    });
                }
                Phase::Stopped => {}
            }
        }
        wakeups.into_iter().for_each(|wakeup| self.wake_at(wakeup));
        work
    }

    fn find(&mut self, broker: BrokerId, partitions: Vec<PartitionToFind>) {
        let named = partitions.iter().map(|wanted| &wanted.topic_partition);
        let request = self.begin(broker, false, named.cloned().collect());
        self.brokers.entry(broker).or_default().searches += 1;
        self.effects.push_back(Effect::FindOffsets { request, broker, partitions });
    }

    fn fetch(&mut self, broker: BrokerId, mut partitions: Vec<PartitionToFetch>) {
        // A broker fills its answer in the order of the request: each has its turn to be first.
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % partitions.len();
        partitions.rotate_left(first);
        let named = partitions.iter().map(|wanted| &wanted.topic_partition);
        let request = self.begin(broker, true, named.cloned().collect());
        self.brokers.entry(broker).or_default().fetches += 1;
        self.effects.push_back(Effect::Fetch { request, broker, partitions });
    }

    fn begin(
        &mut self,
        broker: BrokerId,
        is_fetch: bool,
        topic_partitions: Vec<TopicPartition>,
    ) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let mut partitions: Vec<(TopicPartition, Generation)> = Vec::new();
        for topic_partition in topic_partitions {
            if let Some(partition) = self.partitions.get_mut(&topic_partition) {
                partition.in_flight = Some(request);
                partitions.push((topic_partition, partition.generation));
            }
        }
        self.requests.insert(request, RequestInFlight { broker, is_fetch, partitions });
        request
    }

    /// Notes which partitions have no leader, and tells of those that have had none for long.
    fn see_to_leaders(&mut self, now: Instant) {
        let mut wakeup = None;
        for (topic_partition, partition) in &mut self.partitions {
            if partition.leader.is_some() || partition.phase == Phase::Stopped {
                continue;
            }
            self.metadata.wanted = true;
            let since = *partition.leaderless_since.get_or_insert(now);
            let mut due = since + self.config.patience;
            // Where nobody answers at all, that is told instead.
            let is_heard = self.metadata.heard_at.is_some_and(|heard_at| heard_at >= since);
            if due <= now && is_heard && self.metadata.silent_since.is_none() {
                partition.leaderless_since = Some(now);
                due = now + self.config.patience;
                self.effects.push_back(Effect::Tell(Trouble::NoLeader {
                    topic_partition: topic_partition.clone(),
                    generation: partition.generation,
                    error: partition.topic_error,
                }));
            }
            if due > now {
                wakeup = Some(wakeup.map_or(due, |wakeup: Instant| wakeup.min(due)));
            }
        }
        if let Some(wakeup) = wakeup {
            self.wake_at(wakeup);
        }
    }

    fn see_to_metadata(&mut self, now: Instant) {
        if !self.metadata.wanted || self.metadata.in_progress || self.partitions.is_empty() {
            return;
        }
        if let Some(not_before) = self.metadata.not_before.filter(|moment| *moment > now) {
            return self.wake_at(not_before);
        }
        let mut topics: Vec<TopicName> = self.topics().cloned().collect();
        topics.dedup();
        self.metadata.wanted = false;
        self.metadata.in_progress = true;
        self.effects.push_back(Effect::RefreshMetadata(topics));
    }

    fn wake_at(&mut self, moment: Instant) {
        self.wakeup = Some(self.wakeup.map_or(moment, |wakeup| wakeup.min(moment)));
    }
}
