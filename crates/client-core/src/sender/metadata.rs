//! Who leads what, as far as the sender goes by it, and when to ask again.

use std::time::Instant;

use streamledger_protocol::{LeaderEpoch, PartitionIndex, TopicId, TopicName};

use super::Sender;
use super::config::SenderConfig;
use super::effect::Effect;
use super::event::{PartitionLeader, TopicLeaders};
use super::partition::PartitionState;
use crate::idempotence::ResetTo;
use crate::partitioner::RandomSource;

/// A topic as metadata last told of it.
#[derive(Debug, Default)]
pub(crate) struct TopicState {
    topic_id: TopicId,
    /// Empty while metadata doesn't know the topic.
    pub(crate) partitions: Vec<PartitionLeader>,
    /// When a record was last on its way to it, or metadata first told of it; None once forgotten.
    pub(crate) used_at: Option<Instant>,
    /// The slots of its partitions that the sender has seen.
    pub(crate) slots: Vec<usize>,
}

/// Whether metadata is to be asked for.
#[derive(Debug, Default)]
pub(crate) struct MetadataWish {
    /// An answer or a lost connection hints that leaders have moved.
    pub(crate) wanted: bool,
    /// Some partition with batches had no leader in this round.
    pub(crate) leaderless: bool,
    in_progress: bool,
    not_before: Option<Instant>,
    /// Answers in a row that did not end the wish.
    failures: u32,
}

impl MetadataWish {
    /// The question was answered. If that doesn't end the wish, it is asked again at once, and
    /// after that with backoff.
    pub(crate) fn is_answered(
        &mut self,
        now: Instant,
        config: &SenderConfig,
        random: &dyn RandomSource,
    ) {
        if self.failures == 0 {
            self.in_progress = false;
            self.failures = 1;
        } else {
            self.has_failed(now, config, random);
        }
    }

    /// The question was not answered: it is asked again after a backoff.
    pub(crate) fn has_failed(
        &mut self,
        now: Instant,
        config: &SenderConfig,
        random: &dyn RandomSource,
    ) {
        self.in_progress = false;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + config.retry_backoff.wait(self.failures, random));
    }
}

impl TopicState {
    /// What the sticky partitioner chooses among: partitions with a leader nearby, or if there is
    /// none, with any.
    pub(crate) fn sticky_choices(&self) -> impl Iterator<Item = &PartitionLeader> {
        sticky_choices(&self.partitions)
    }

    /// Takes what metadata says, but keeps what has a newer leader epoch (FAILURES 19).
    fn take(&mut self, mut partitions: Vec<PartitionLeader>, recreated: bool) {
        if !recreated {
            for (known, told) in self.partitions.iter().zip(&mut partitions) {
                if known.partition == told.partition && is_older(told, known.leader_epoch) {
                    *told = *known;
                }
            }
        }
        self.partitions = partitions;
    }
}

fn sticky_choices(partitions: &[PartitionLeader]) -> impl Iterator<Item = &PartitionLeader> {
    let led = |partition: &&PartitionLeader| partition.leader.is_some();
    let any_is_near = partitions.iter().filter(led).any(|partition| partition.is_near);
    partitions.iter().filter(led).filter(move |partition| partition.is_near || !any_is_near)
}

/// Whether what is told is out of date. Brokers before Kafka 2.1 tell no epoch: then what they say
/// last counts.
fn is_older(told: &PartitionLeader, known: LeaderEpoch) -> bool {
    told.leader_epoch.0 >= 0 && told.leader_epoch < known
}

impl Sender {
    /// Asks for metadata if it is wanted, not more often than the backoff lets it.
    pub(super) fn see_to_metadata(&mut self, now: Instant) {
        let leaderless = std::mem::take(&mut self.metadata.leaderless);
        if !leaderless && !self.metadata.wanted {
            self.metadata.failures = 0;
            return;
        }
        if self.metadata.in_progress {
            return;
        }
        if let Some(not_before) = self.metadata.not_before.filter(|moment| *moment > now) {
            return self.wake_at(not_before);
        }
        let active = self.active.iter().filter_map(|&slot| self.partitions[slot].as_ref());
        let mut topics: Vec<TopicName> = Vec::new();
        for partition in active {
            let topic = &partition.topic_partition.topic;
            if (self.metadata.wanted || partition.leader.is_none()) && !topics.contains(topic) {
                topics.push(topic.clone());
            }
        }
        // With nothing to send there is nothing to ask; the wish stays for when there is.
        if !topics.is_empty() {
            self.metadata.wanted = false;
            self.metadata.in_progress = true;
            self.effects.push_back(Effect::RefreshMetadata(topics));
        }
    }

    /// Metadata has come: callers learn the partition counts, partitions their leaders.
    pub(super) fn on_metadata(&mut self, now: Instant, topics: Vec<TopicLeaders>) {
        self.metadata.is_answered(now, &self.config, &*self.random);
        for topic in topics {
            self.on_topic(now, topic);
        }
    }

    fn on_topic(&mut self, now: Instant, leaders: TopicLeaders) {
        let TopicLeaders { topic, topic_id, partitions } = leaders;
        if !partitions.is_empty() {
            let available: Box<[PartitionIndex]> = partitions
                .iter()
                .filter(|partition| partition.leader.is_some())
                .map(|partition| partition.partition)
                .collect();
            let choices = sticky_choices(&partitions).map(|partition| partition.partition);
            let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
            self.accumulator.topic(&topic).set_partitions(count, available, choices.collect());
        }
        let state = self.topics.entry(topic).or_default();
        // A topic that metadata has lost for the moment keeps the id by which it is known again.
        let known = !topic_id.is_zero();
        let recreated = known && !state.topic_id.is_zero() && state.topic_id != topic_id;
        if known {
            state.topic_id = topic_id;
        }
        let used_at = *state.used_at.get_or_insert(now);
        // Nothing is forgotten at once: the round that is due then finds when the next is.
        self.next_idle.get_or_insert(used_at);
        state.take(partitions, recreated);
        for &slot in &state.slots {
            if let Some(partition) = &mut self.partitions[slot] {
                partition.take_leader(state, recreated);
            }
        }
        if recreated {
            let slots = state.slots.clone();
            self.leave_old_topic(now, &slots);
        }
        #[cfg(feature = "planted-bugs")]
        self.restart_lost_topics();
    }

    /// The topic was deleted and made anew: old sequences mean nothing to it (FAILURES 16).
    fn leave_old_topic(&mut self, now: Instant, slots: &[usize]) {
        #[cfg(feature = "planted-bugs")]
        if self.config.has_bug(crate::planted_bugs::PlantedBug::KeepSequencesInRecreatedTopic) {
            return;
        }
        let Some(identity) = self.identity.current() else { return };
        for &slot in slots {
            let Some(partition) = self.partition(slot) else { continue };
            if partition.sequences.are_used(identity) {
                self.lose_sequence(now, slot, ResetTo::NextEpoch);
            }
        }
    }
}

impl PartitionState {
    /// Takes the leader that metadata names, unless it names an older one (FAILURES 19).
    pub(crate) fn take_leader(&mut self, topic: &TopicState, recreated: bool) {
        let index = self.topic_partition.partition;
        let is_ours = |leader: &&PartitionLeader| leader.partition == index;
        let place = usize::try_from(index.0).unwrap_or(usize::MAX);
        let in_order = topic.partitions.get(place).filter(is_ours);
        self.topic_id = topic.topic_id;
        let Some(named) = in_order.or_else(|| topic.partitions.iter().find(is_ours)) else {
            self.leader = None;
            return;
        };
        if recreated || !is_older(named, self.leader_epoch) {
            self.leader = named.leader;
            self.leader_epoch = named.leader_epoch;
        }
    }
}
