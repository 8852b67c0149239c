//! The state of all fetching: takes events, gives effects.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use streamledger_protocol::{BrokerId, ErrorCode, Offset, TopicName, TopicPartition};

use super::event::{Effect, Event, Generation, RequestId, Trouble};
use super::partition::{PartitionState, Phase};
use super::position::{FetchConfig, Lookup, Position};
use crate::cluster::{ClusterSnapshot, Topic};
use crate::map::Map;
use crate::partitioner::RandomSource;

/// Decides what to fetch from whom. Owned by one thread.
pub struct FetchState {
    pub(super) config: FetchConfig,
    pub(super) random: Arc<dyn RandomSource>,
    /// In a fixed order, so that a run repeats.
    pub(super) partitions: BTreeMap<TopicPartition, PartitionState>,
    pub(super) brokers: Map<BrokerId, BrokerState>,
    pub(super) requests: Map<RequestId, RequestInFlight>,
    pub(super) metadata: MetadataWish,
    pub(super) effects: VecDeque<Effect>,
    pub(super) next_request: u64,
    /// How many fetches were planned: each begins with another partition.
    pub(super) turn: usize,
    /// Something happened since the last plan.
    pub(super) stirred: bool,
    pub(super) wakeup: Option<Instant>,
}

/// What is on its way to a broker.
#[derive(Debug, Default)]
pub(super) struct BrokerState {
    pub(super) fetches: usize,
    pub(super) searches: usize,
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
    /// Since when it has answered nothing, or since that was told last.
    pub(super) silent_since: Option<Instant>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct RequestInFlight {
    pub(super) broker: BrokerId,
    pub(super) is_fetch: bool,
    pub(super) partitions: Vec<(TopicPartition, Generation)>,
}

/// Whether metadata is to be asked for.
#[derive(Debug, Default)]
pub(super) struct MetadataWish {
    pub(super) wanted: bool,
    pub(super) in_progress: bool,
    /// Answers in a row that didn't end the wish.
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
    /// When metadata came last.
    pub(super) heard_at: Option<Instant>,
    /// Since when nobody has answered, or since that was told last.
    pub(super) silent_since: Option<Instant>,
}

impl FetchState {
    /// Fetches nothing until partitions are assigned. `random` is for the backoffs.
    #[must_use]
    pub fn new(config: FetchConfig, random: Arc<dyn RandomSource>) -> Self {
        Self {
            config,
            random,
            partitions: BTreeMap::new(),
            brokers: Map::default(),
            requests: Map::default(),
            metadata: MetadataWish::default(),
            effects: VecDeque::new(),
            next_request: 0,
            turn: 0,
            stirred: false,
            wakeup: None,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.stirred = true;
        match event {
            Event::Assign(partitions) => self.assign(partitions),
            Event::Add(partitions) => self.add(partitions),
            Event::Remove(partitions) => {
                self.partitions.retain(|topic_partition, _| !partitions.contains(topic_partition));
            }
            Event::Pause(topic_partition, is_paused) => {
                if let Some(partition) = self.partitions.get_mut(&topic_partition) {
                    partition.is_paused = is_paused;
                }
            }
            Event::Seek(topic_partition, generation, position) => {
                self.seek(&topic_partition, generation, position);
            }
            Event::Metadata(snapshot) => self.on_metadata(now, &snapshot),
            Event::MetadataFailed => self.on_metadata_failed(now),
            Event::Fetched { request, partitions } => self.on_fetched(now, request, partitions),
            Event::OffsetsFound { request, partitions } => {
                self.on_offsets_found(now, request, partitions);
            }
            Event::RequestFailed(request) => self.on_request_failed(now, request),
            Event::Consumed { topic_partition, generation, bytes } => {
                if let Some(partition) = self.current(&topic_partition, generation) {
                    partition.buffered_bytes = partition.buffered_bytes.saturating_sub(bytes);
                }
            }
            Event::Unreadable { topic_partition, generation } => {
                if let Some(partition) = self.current(&topic_partition, generation) {
                    partition.phase = Phase::Stopped;
                }
            }
        }
    }

    /// What to do next, if anything. Ask until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let is_due = self.wakeup.is_some_and(|wakeup| wakeup <= now);
        if !self.stirred && !is_due {
            return None;
        }
        self.stirred = false;
        self.plan(now);
        self.effects.pop_front()
    }

    /// When to poll again, if nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.wakeup
    }

    /// The topics of the assignment.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.partitions.keys().map(|topic_partition| &topic_partition.topic)
    }

    /// The partition, if it is still in that generation.
    pub(super) fn current(
        &mut self,
        topic_partition: &TopicPartition,
        generation: Generation,
    ) -> Option<&mut PartitionState> {
        let partition = self.partitions.get_mut(topic_partition);
        partition.filter(|partition| partition.generation == generation)
    }

    fn assign(&mut self, partitions: Vec<(TopicPartition, Generation, Position)>) {
        let mut before = std::mem::take(&mut self.partitions);
        for (topic_partition, generation, position) in partitions {
            let phase = self.phase_at(&topic_partition, generation, position);
            // What is known of its leader stays true.
            let partition = match before.remove(&topic_partition) {
                Some(mut partition) => {
                    partition.move_to(generation, phase);
                    partition
                }
                None => PartitionState::new(generation, phase),
            };
            self.partitions.insert(topic_partition, partition);
        }
    }

    fn add(&mut self, partitions: Vec<(TopicPartition, Generation, Option<Position>)>) {
        for (topic_partition, generation, position) in partitions {
            let phase = match position {
                Some(position) => self.phase_at(&topic_partition, generation, position),
                None => Phase::Stopped,
            };
            self.partitions.insert(topic_partition, PartitionState::new(generation, phase));
        }
    }

    fn seek(&mut self, topic_partition: &TopicPartition, generation: Generation, to: Position) {
        let partition = self.partitions.get(topic_partition);
        if partition.is_none_or(|partition| partition.generation > generation) {
            return;
        }
        let phase = self.phase_at(topic_partition, generation, to);
        if let Some(partition) = self.partitions.get_mut(topic_partition) {
            partition.move_to(generation, phase);
        }
    }

    fn phase_at(
        &mut self,
        topic_partition: &TopicPartition,
        generation: Generation,
        position: Position,
    ) -> Phase {
        Phase::at(position, self.config.offset_reset).unwrap_or_else(|offset| {
            let topic_partition = topic_partition.clone();
            let trouble = Trouble::OutOfRange { topic_partition, generation, offset };
            self.effects.push_back(Effect::Tell(trouble));
            Phase::Stopped
        })
    }

    fn on_metadata(&mut self, now: Instant, snapshot: &ClusterSnapshot) {
        self.metadata.silent_since = None;
        self.metadata.heard_at = Some(now);
        self.metadata_is_done(now);
        let mut told = Vec::new();
        for (topic_partition, partition) in &mut self.partitions {
            let topic = snapshot.topic(topic_partition.topic.as_str());
            if let Some(topic) = topic {
                let recreated = partition.learn_topic(topic);
                told.extend(told_of(topic_partition, partition, topic, recreated, &self.config));
            }
            partition.learn_leader(snapshot, topic_partition);
        }
        self.effects.extend(told.into_iter().map(Effect::Tell));
        if self.partitions.values().all(|partition| partition.leader.is_some()) {
            self.metadata.failures = 0;
            self.metadata.not_before = None;
        }
    }

    fn on_metadata_failed(&mut self, now: Instant) {
        self.metadata_is_done(now);
        self.metadata.wanted = true;
        let since = *self.metadata.silent_since.get_or_insert(now);
        if now.duration_since(since) >= self.config.patience {
            self.metadata.silent_since = Some(now);
            self.effects.push_back(Effect::Tell(Trouble::Unreachable));
        }
    }

    fn metadata_is_done(&mut self, now: Instant) {
        let metadata = &mut self.metadata;
        metadata.in_progress = false;
        metadata.failures = metadata.failures.saturating_add(1);
        let wait = self.config.retry_backoff.wait(metadata.failures, &*self.random);
        metadata.not_before = Some(now + wait);
    }
}

/// What the news of its topic means for a partition: it may have to begin anew, or to stop.
fn told_of(
    topic_partition: &TopicPartition,
    partition: &mut PartitionState,
    topic: &Topic,
    recreated: bool,
    config: &FetchConfig,
) -> Option<Trouble> {
    if partition.phase == Phase::Stopped {
        return None;
    }
    let (topic_partition, generation) = (topic_partition.clone(), partition.generation);
    // The old offsets mean nothing in the new topic, all of whose records are new to the reader.
    if recreated && config.offset_reset.lookup().is_none() {
        partition.phase = Phase::Stopped;
        let offset = Offset::NONE;
        return Some(Trouble::OutOfRange { topic_partition, generation, offset });
    }
    if recreated {
        partition.phase = Phase::Finding(Lookup::Beginning);
        partition.in_flight = None;
    }
    let error = topic.error.filter(|error| is_final(*error))?;
    partition.phase = Phase::Stopped;
    Some(Trouble::Refused { topic_partition, generation, error })
}

/// Errors of a topic that waiting doesn't mend.
fn is_final(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::TopicAuthorizationFailed | ErrorCode::InvalidTopicException)
}

impl PartitionState {
    /// Takes the topic's id; true if the topic was deleted and made anew.
    fn learn_topic(&mut self, topic: &Topic) -> bool {
        self.topic_error = topic.error;
        let before = std::mem::replace(&mut self.topic_id, topic.id);
        if topic.id.is_zero() {
            self.topic_id = before;
        }
        !before.is_zero() && !topic.id.is_zero() && before != topic.id
    }

    fn learn_leader(&mut self, snapshot: &ClusterSnapshot, topic_partition: &TopicPartition) {
        let known = snapshot.leader(topic_partition);
        let is_there = |broker| {
            let topic = snapshot.topic(topic_partition.topic.as_str());
            let partition = topic.and_then(|topic| topic.partition(topic_partition.partition));
            snapshot.broker(broker).is_some()
                && partition.is_some_and(|partition| !partition.offline.contains(&broker))
        };
        self.replica = self.replica.filter(|(broker, _)| is_there(*broker));
        let before = (self.leader, self.leader_epoch);
        self.leader = known.map(|(broker, _)| broker.id);
        if let Some((_, leader_epoch)) = known {
            self.leader_epoch = leader_epoch;
            self.leaderless_since = None;
            if before != (self.leader, self.leader_epoch) {
                self.retry_at = None;
                // A new leader says anew which replica is to be read.
                self.replica = None;
            }
        }
    }
}
