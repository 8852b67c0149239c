//! What the controller knows and metadata tells: topics, leaders, epochs, producer ids.

use streamledger_client_core::sender::{PartitionLeader, TopicLeaders};
use streamledger_protocol::{
    BrokerId, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, TopicId,
    TopicName, TopicPartition,
};

/// Where the transaction coordinator keeps what it decided.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// Where groups keep their members and offsets.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A topic in its present life.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    /// The number of its first partition among all of the cluster.
    pub(crate) first_slot: usize,
    pub(crate) partition_count: i32,
}

/// Who leads a partition, as metadata tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leader {
    pub(crate) broker: Option<usize>,
    pub(crate) epoch: LeaderEpoch,
}

/// The controller's view.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) topics: Vec<Topic>,
    /// How many of them, the first ones, are for callers to write to.
    pub(crate) callers_topics: usize,
    /// By slot: a partition's number among all of the cluster.
    pub(crate) leaders: Vec<Leader>,
    /// What metadata told at some earlier moment.
    pub(crate) stale_view: Vec<TopicLeaders>,
    next_producer_id: i64,
    next_topic_id: u8,
}

/// The name of a broker on the wire.
pub(crate) fn broker_id(broker: usize) -> BrokerId {
    BrokerId(i32::try_from(broker).unwrap_or(i32::MAX))
}

/// The broker of a name on the wire.
pub(crate) fn broker_number(broker: BrokerId) -> usize {
    usize::try_from(broker.0).unwrap_or(usize::MAX)
}

impl Cluster {
    /// The topics that callers write to, and those of coordinators.
    pub(crate) fn new(partition_counts: &[i32], internal: &[&str]) -> Self {
        let mut cluster = Self {
            topics: Vec::new(),
            callers_topics: partition_counts.len(),
            leaders: Vec::new(),
            stale_view: Vec::new(),
            next_producer_id: 1000,
            next_topic_id: 1,
        };
        for (number, &partition_count) in partition_counts.iter().enumerate() {
            cluster.add_topic(TopicName::new(format!("topic-{number}")), partition_count);
        }
        for name in internal {
            cluster.add_topic(TopicName::new((*name).to_owned()), 1);
        }
        cluster
    }

    fn add_topic(&mut self, name: TopicName, partition_count: i32) {
        let (id, first_slot) = (self.new_topic_id(), self.leaders.len());
        self.topics.push(Topic { name, id, first_slot, partition_count });
        let slots = usize::try_from(partition_count).unwrap_or(0);
        let leader = Leader { broker: None, epoch: LeaderEpoch::ZERO };
        self.leaders.resize(first_slot + slots, leader);
    }

    /// How many partitions, the first ones, are for callers to write to.
    pub(crate) fn callers_slots(&self) -> usize {
        let topics = self.topics.iter().take(self.callers_topics);
        topics.map(|topic| usize::try_from(topic.partition_count).unwrap_or(0)).sum()
    }

    pub(crate) fn new_topic_id(&mut self) -> TopicId {
        let mut id = [0; 16];
        id[15] = self.next_topic_id;
        self.next_topic_id = self.next_topic_id.wrapping_add(1);
        TopicId(id)
    }

    pub(crate) fn new_producer(&mut self) -> ProducerIdentity {
        self.next_producer_id += 1;
        ProducerIdentity { id: ProducerId(self.next_producer_id), epoch: ProducerEpoch::ZERO }
    }

    /// The slot of a partition that exists.
    pub(crate) fn slot(&self, topic_partition: &TopicPartition) -> Option<usize> {
        let topic = self.topics.iter().find(|topic| topic.name == topic_partition.topic)?;
        let partition = topic_partition.partition.0;
        let exists = (0..topic.partition_count).contains(&partition);
        exists.then(|| topic.first_slot + usize::try_from(partition).unwrap_or(0))
    }

    /// What metadata tells now of all topics.
    pub(crate) fn view(&self) -> Vec<TopicLeaders> {
        let of_topic = |topic: &Topic| {
            let slots = (0..).zip(&self.leaders[topic.first_slot..]);
            let partitions = slots.take(usize::try_from(topic.partition_count).unwrap_or(0));
            let partition = |(index, leader): (i32, &Leader)| PartitionLeader {
                partition: PartitionIndex(index),
                leader: leader.broker.map(broker_id),
                leader_epoch: leader.epoch,
                is_near: false,
            };
            TopicLeaders {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions: partitions.map(partition).collect(),
            }
        };
        self.topics.iter().map(of_topic).collect()
    }
}
