//! The offsets that groups have stored, and those that open transactions are about to store.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::{
    ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TimestampMs,
    TopicPartition,
};

use super::record::OffsetRecord;
use crate::key_partition::key_partition;
use crate::planted_bugs::{Planted, PlantedBug};

/// What offsets are stored by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffsetsConfig {
    /// Partitions of `__consumer_offsets`.
    pub partition_count: i32,
    /// The most bytes of metadata beside an offset (offset.metadata.max.bytes).
    pub metadata_bytes_max: usize,
    /// How many offsets there may be, of all groups together.
    pub offsets_max: usize,
}

impl Default for GroupOffsetsConfig {
    /// Kafka's defaults, and a million offsets.
    fn default() -> Self {
        Self { partition_count: 50, metadata_bytes_max: 4096, offsets_max: 1_000_000 }
    }
}

/// An offset that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to consume.
    pub offset: Offset,
    /// The leader epoch of the last record consumed; NONE when not known.
    pub leader_epoch: LeaderEpoch,
    /// A text kept beside it.
    pub metadata: String,
    /// When it was stored, by the wall clock.
    pub committed: TimestampMs,
    /// When it may be forgotten, if its client said so; no more than kept in this version.
    pub expires: Option<TimestampMs>,
}

/// One offset to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOffset {
    /// Of which partition.
    pub topic_partition: TopicPartition,
    /// The offset of the next record to consume.
    pub offset: Offset,
    /// The leader epoch of the last record consumed; NONE when not known.
    pub leader_epoch: LeaderEpoch,
    /// A text to keep beside it.
    pub metadata: Option<String>,
}

/// Who stores offsets in a group's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committer {
    /// The member; empty for none.
    pub member_id: String,
    /// The member's `group.instance.id`.
    pub instance_id: Option<String>,
    /// The generation or member epoch; -1 for none.
    pub generation: i32,
}

impl Committer {
    /// A consumer that is no member of its group.
    #[must_use]
    pub const fn outside() -> Self {
        Self { member_id: String::new(), instance_id: None, generation: -1 }
    }
}

/// By which request offsets are to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitWay {
    /// OffsetCommit before version 9, in which members of the next generation may not.
    BeforeEpochs,
    /// OffsetCommit.
    Plain,
    /// TxnOffsetCommit: the offsets are stored if the producer's transaction is committed.
    Transactional,
}

/// Offsets to be stored for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group.
    pub group: GroupId,
    /// Who asks.
    pub committer: Committer,
    /// By which request.
    pub way: CommitWay,
    /// How long to keep them, in ms; `None` for as long as others.
    pub retention_ms: Option<u64>,
    /// What to store.
    pub offsets: Vec<NewOffset>,
}

/// Records to append as one batch, and what to answer for each offset, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct OffsetsDecision {
    /// To be appended to the partition of the group, then replayed.
    pub records: Vec<OffsetRecord>,
    /// One answer for each offset.
    pub reply: Vec<ErrorCode>,
}

/// What a group has stored for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The offset; `None` if none is stored.
    pub committed: Option<CommittedOffset>,
    /// An open transaction is about to store another, and the asker wants to know what is certain
    /// (UNSTABLE_OFFSET_COMMIT, KIP-447).
    pub is_unstable: bool,
}

/// An offset, and where its record is in its partition of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    committed: CommittedOffset,
    at: Offset,
}

type OfGroup = BTreeMap<TopicPartition, Stored>;
/// The partition of `__consumer_offsets` and the producer whose marker decides.
type PendingKey = (PartitionIndex, ProducerId);

/// The offsets of all groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupOffsets {
    config: GroupOffsetsConfig,
    stored: BTreeMap<GroupId, OfGroup>,
    pending: BTreeMap<PendingKey, BTreeMap<GroupId, OfGroup>>,
    stored_count: usize,
    planted: Planted,
}

impl GroupOffsets {
    /// One that knows no offset.
    #[must_use]
    pub fn new(config: GroupOffsetsConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The same with a bug, for the simulator to find.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// Takes the number of partitions that `__consumer_offsets` really has; before anything is
    /// replayed.
    pub fn set_partition_count(&mut self, partition_count: i32) {
        self.config.partition_count = partition_count;
    }

    /// The partition of `__consumer_offsets` that keeps the offsets of a group.
    #[must_use]
    pub fn partition_of(&self, group: &GroupId) -> PartitionIndex {
        key_partition(group.as_str(), self.config.partition_count)
    }

    /// Stores offsets (OffsetCommit), or prepares to (TxnOffsetCommit: the records then go into a
    /// transactional batch of the producer). `refusal` is why the group lets nothing be stored.
    pub fn decide_commit(
        &self,
        request: &CommitRequest,
        refusal: Option<ErrorCode>,
        now: TimestampMs,
    ) -> OffsetsDecision {
        let mut decision = OffsetsDecision { records: Vec::new(), reply: Vec::new() };
        let expires = request.retention_ms.map(|keep_ms| {
            TimestampMs(now.0.saturating_add(i64::try_from(keep_ms).unwrap_or(i64::MAX)))
        });
        for new in &request.offsets {
            let metadata_bytes = new.metadata.as_ref().map_or(0, String::len);
            let is_full = self.stored_count + decision.records.len() >= self.config.offsets_max;
            let refused = match refusal {
                Some(refusal) => Some(refusal),
                None if metadata_bytes > self.config.metadata_bytes_max => {
                    Some(ErrorCode::OffsetMetadataTooLarge)
                }
                None if is_full && !self.has(&request.group, &new.topic_partition) => {
                    Some(ErrorCode::PolicyViolation)
                }
                None => None,
            };
            decision.reply.push(refused.unwrap_or(ErrorCode::None));
            if refused.is_none() {
                decision.records.push(OffsetRecord {
                    group: request.group.clone(),
                    topic_partition: new.topic_partition.clone(),
                    offset: Some(CommittedOffset {
                        offset: new.offset,
                        leader_epoch: new.leader_epoch,
                        metadata: new.metadata.clone().unwrap_or_default(),
                        committed: now,
                        expires,
                    }),
                });
            }
        }
        decision
    }

    fn has(&self, group: &GroupId, topic_partition: &TopicPartition) -> bool {
        self.stored.get(group).is_some_and(|stored| stored.contains_key(topic_partition))
    }

    /// Forgets all that a group has stored or is about to store: records of tombstones.
    #[must_use]
    pub fn decide_forget_group(&self, group: &GroupId) -> Vec<OffsetRecord> {
        let stored = self.stored.get(group).into_iter().flat_map(BTreeMap::keys);
        let partitions: BTreeSet<&TopicPartition> =
            stored.chain(self.pending_of(group).flat_map(BTreeMap::keys)).collect();
        partitions.into_iter().filter_map(|one| self.decide_forget(group, one)).collect()
    }

    /// Forgets what a group has stored for a partition: the tombstone, if there is something.
    #[must_use]
    pub fn decide_forget(
        &self,
        group: &GroupId,
        topic_partition: &TopicPartition,
    ) -> Option<OffsetRecord> {
        let is_there = self.has(group, topic_partition)
            || self.pending_of(group).any(|pending| pending.contains_key(topic_partition));
        is_there.then(|| OffsetRecord {
            group: group.clone(),
            topic_partition: topic_partition.clone(),
            offset: None,
        })
    }

    /// Forgets what a group has stored where `is_expired` says so and no open transaction is about
    /// to store anew.
    #[must_use]
    pub fn decide_expire(
        &self,
        group: &GroupId,
        is_expired: impl Fn(&TopicPartition, &CommittedOffset) -> bool,
    ) -> Vec<OffsetRecord> {
        let stored = self.stored.get(group).into_iter().flatten();
        stored
            .filter(|(partition, stored)| {
                is_expired(partition, &stored.committed) && !self.is_pending(group, partition)
            })
            .filter_map(|(partition, _)| self.decide_forget(group, partition))
            .collect()
    }

    /// The groups that have stored offsets.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.stored.keys()
    }

    /// What all groups have stored, by group and partition.
    pub fn stored(&self) -> impl Iterator<Item = (&GroupId, &TopicPartition, Offset)> {
        self.stored.iter().flat_map(|(group, stored)| {
            stored.iter().map(move |(at, stored)| (group, at, stored.committed.offset))
        })
    }

    /// How many offsets all groups have stored.
    #[must_use]
    pub const fn stored_count(&self) -> usize {
        self.stored_count
    }

    /// Whether a group has stored offsets, or is about to.
    #[must_use]
    pub fn has_group(&self, group: &GroupId) -> bool {
        self.count_of_group(group) > 0
    }

    /// How many offsets a group has stored, and is about to store.
    #[must_use]
    pub fn count_of_group(&self, group: &GroupId) -> usize {
        let pending: usize = self.pending_of(group).map(BTreeMap::len).sum();
        self.stored.get(group).map_or(0, BTreeMap::len) + pending
    }

    fn pending_of(&self, group: &GroupId) -> impl Iterator<Item = &OfGroup> {
        self.pending.values().filter_map(move |pending| pending.get(group))
    }

    /// Forgets what groups stored for the partitions of a topic that is gone: records by group.
    #[must_use]
    pub fn decide_forget_topic(&self, topic: &str) -> Vec<OffsetRecord> {
        let of_group = |(group, stored): (&GroupId, &OfGroup)| {
            let of_topic = stored.keys().filter(|partition| partition.topic.as_str() == topic);
            let forget = |partition: &TopicPartition| OffsetRecord {
                group: group.clone(),
                topic_partition: partition.clone(),
                offset: None,
            };
            of_topic.map(forget).collect::<Vec<_>>()
        };
        self.stored.iter().flat_map(of_group).collect()
    }

    /// Applies a record that is in the log at that offset of that partition of
    /// `__consumer_offsets`: after it was appended, and at load. `producer` is the one of a
    /// transactional batch.
    pub fn replay(
        &mut self,
        record: OffsetRecord,
        producer: Option<ProducerId>,
        partition: PartitionIndex,
        at: Offset,
    ) {
        let OffsetRecord { group, topic_partition, offset } = record;
        match (offset, producer) {
            (Some(committed), None) => {
                self.store(group, topic_partition, Stored { committed, at });
            }
            (Some(committed), Some(producer)) => {
                if self.planted.has(PlantedBug::OffsetsBeforeCommit) {
                    let committed = committed.clone();
                    self.store(group.clone(), topic_partition.clone(), Stored { committed, at });
                }
                let pending = self.pending.entry((partition, producer)).or_default();
                let of_group = pending.entry(group).or_default();
                of_group.insert(topic_partition, Stored { committed, at });
            }
            (None, _) => {
                self.forget(&group, &topic_partition);
                self.forget_pending(partition, &group, &topic_partition);
            }
        }
    }

    /// Applies a marker that is in the log of that partition: what the producer had pending there
    /// is stored, or dropped.
    pub fn replay_marker(
        &mut self,
        partition: PartitionIndex,
        producer: ProducerId,
        committed: bool,
    ) {
        let Some(pending) = self.pending.remove(&(partition, producer)) else { return };
        if !committed && !self.planted.has(PlantedBug::OffsetsAfterAbort) {
            return;
        }
        for (group, offsets) in pending {
            for (topic_partition, stored) in offsets {
                self.store(group.clone(), topic_partition, stored);
            }
        }
    }

    fn store(&mut self, group: GroupId, topic_partition: TopicPartition, stored: Stored) {
        let of_group = self.stored.entry(group).or_default();
        match of_group.get_mut(&topic_partition) {
            Some(before) if before.at > stored.at => {}
            Some(before) => *before = stored,
            None => {
                of_group.insert(topic_partition, stored);
                self.stored_count += 1;
            }
        }
    }

    /// What transactions are about to store is forgotten too: it is older than the tombstone.
    fn forget_pending(
        &mut self,
        partition: PartitionIndex,
        group: &GroupId,
        topic_partition: &TopicPartition,
    ) {
        let first = (partition, ProducerId(i64::MIN));
        let last = (partition, ProducerId(i64::MAX));
        for (_, pending) in self.pending.range_mut(first..=last) {
            if let Some(of_group) = pending.get_mut(group) {
                of_group.remove(topic_partition);
            }
        }
    }

    fn forget(&mut self, group: &GroupId, topic_partition: &TopicPartition) {
        let Some(of_group) = self.stored.get_mut(group) else { return };
        if of_group.remove(topic_partition).is_some() {
            self.stored_count -= 1;
        }
        if of_group.is_empty() {
            self.stored.remove(group);
        }
    }

    /// What a group has stored for these partitions, or for all it has stored something for.
    #[must_use]
    pub fn fetch(
        &self,
        group: &GroupId,
        partitions: Option<&[TopicPartition]>,
        requires_stable: bool,
    ) -> Vec<FetchedOffset> {
        let stored = self.stored.get(group);
        let requires_stable =
            requires_stable && !self.planted.has(PlantedBug::UnstableOffsetsTakenAsStable);
        let fetch = |topic_partition: &TopicPartition| FetchedOffset {
            committed: stored
                .and_then(|stored| stored.get(topic_partition))
                .map(|stored| stored.committed.clone()),
            is_unstable: requires_stable && self.is_pending(group, topic_partition),
            topic_partition: topic_partition.clone(),
        };
        match partitions {
            Some(partitions) => partitions.iter().map(fetch).collect(),
            None => stored.into_iter().flat_map(BTreeMap::keys).map(fetch).collect(),
        }
    }

    fn is_pending(&self, group: &GroupId, topic_partition: &TopicPartition) -> bool {
        let partition = self.partition_of(group);
        let first = (partition, ProducerId(i64::MIN));
        let last = (partition, ProducerId(i64::MAX));
        let of_group = |pending: &BTreeMap<GroupId, OfGroup>| {
            pending.get(group).is_some_and(|offsets| offsets.contains_key(topic_partition))
        };
        self.pending.range(first..=last).any(|(_, pending)| of_group(pending))
    }

    /// How many offsets are stored, of all groups together.
    #[must_use]
    pub fn offset_count(&self) -> usize {
        self.stored_count
    }
}
