//! The cluster at one moment, to be shared and read from any thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use streamledger_protocol::{
    BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName, TopicPartition,
};

use crate::map::Map;

/// A broker and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: BrokerId,
    /// Its name or IP address, as it advertises it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The rack it says it is in.
    pub rack: Option<String>,
}

/// A partition and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: PartitionIndex,
    /// Its leader, if it has one now.
    pub leader: Option<BrokerId>,
    /// The leader's epoch; -1 where the brokers are too old to tell (before Kafka 2.1).
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The replicas in sync.
    pub in_sync: Vec<BrokerId>,
    /// The replicas that are offline.
    pub offline: Vec<BrokerId>,
}

/// A topic as it was last told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero where the brokers are too old to have ids (before Kafka 2.8).
    pub id: TopicId,
    /// Whether it is Kafka's own.
    pub is_internal: bool,
    /// Its partitions by their number; empty if it was never known.
    pub partitions: Vec<Partition>,
    /// What the last answer said against it, if anything. The partitions are then those known
    /// before.
    pub error: Option<ErrorCode>,
}

impl Topic {
    /// The partition of that number.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        // Almost always they are 0, 1, 2 ... without a gap.
        let place = usize::try_from(index.0).ok()?;
        let in_order = self.partitions.get(place).filter(|partition| partition.index == index);
        in_order.or_else(|| {
            let found = self.partitions.binary_search_by_key(&index, |partition| partition.index);
            found.ok().map(|place| &self.partitions[place])
        })
    }
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSnapshot {
    pub(super) generation: u64,
    pub(super) cluster_id: Option<String>,
    pub(super) controller: Option<BrokerId>,
    pub(super) brokers: BTreeMap<BrokerId, Broker>,
    pub(super) topics: BTreeMap<TopicName, Arc<Topic>>,
    pub(super) names: Map<TopicId, TopicName>,
}

impl ClusterSnapshot {
    /// How many answers have made this view; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The cluster's id, if it has told.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The broker to which requests for the controller go.
    #[must_use]
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// The brokers by their numbers.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// The broker of that number.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// The topics by their names, those with nothing but an error included.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.names.get(&id).and_then(|name| self.topics.get(name))
    }

    /// What is known of a partition.
    #[must_use]
    pub fn partition(&self, topic_partition: &TopicPartition) -> Option<&Partition> {
        self.topic(topic_partition.topic.as_str())?.partition(topic_partition.partition)
    }

    /// The leader of a partition, if it has one whose address is known, and its epoch.
    #[must_use]
    pub fn leader(&self, topic_partition: &TopicPartition) -> Option<(&Broker, LeaderEpoch)> {
        let partition = self.partition(topic_partition)?;
        let leader = self.brokers.get(&partition.leader?)?;
        Some((leader, partition.leader_epoch))
    }
}
