//! What the admin client is told and tells.

use streamledger_client_core::cluster::Broker;
use streamledger_client_core::transaction::CommittedOffset;
use streamledger_protocol::{BrokerId, GroupId, TopicId, TopicName, TopicPartition};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub(super) name: TopicName,
    pub(super) partition_count: Option<i32>,
    pub(super) replication_factor: Option<i16>,
    /// The brokers of each partition, where they are chosen here.
    pub(super) replicas: Vec<Vec<BrokerId>>,
    pub(super) configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic of so many partitions, each on so many brokers.
    pub fn new(name: impl Into<TopicName>, partitions: i32, replication: i16) -> Self {
        let (partition_count, replication_factor) = (Some(partitions), Some(replication));
        Self { partition_count, replication_factor, ..Self::with_broker_defaults(name) }
    }

    /// A topic of as many partitions and replicas as the broker thinks right (KIP-464).
    pub fn with_broker_defaults(name: impl Into<TopicName>) -> Self {
        let (partition_count, replication_factor) = (None, None);
        let (replicas, configs) = (Vec::new(), Vec::new());
        Self { name: name.into(), partition_count, replication_factor, replicas, configs }
    }

    /// A topic whose partitions are on these brokers: for each partition, from 0 on, those that
    /// have a replica, the one that is to lead first. Otherwise the cluster chooses, by lot.
    pub fn with_replicas(
        name: impl Into<TopicName>,
        replicas: impl IntoIterator<Item = Vec<BrokerId>>,
    ) -> Self {
        Self { replicas: replicas.into_iter().collect(), ..Self::with_broker_defaults(name) }
    }

    /// Gives it a setting, such as `retention.ms`.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// A topic that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero if the broker is too old to say (before Kafka 2.8).
    pub id: TopicId,
    /// How many partitions it has, if the broker says (since Kafka 2.4).
    pub partition_count: Option<i32>,
    /// How many brokers each of them is on, if the broker says.
    pub replication_factor: Option<i16>,
}

/// How many partitions a topic shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    pub(super) topic: TopicName,
    pub(super) partition_count: i32,
}

impl NewPartitions {
    /// The topic shall have so many partitions in all; never fewer than it has.
    pub fn to(topic: impl Into<TopicName>, partition_count: i32) -> Self {
        Self { topic: topic.into(), partition_count }
    }
}

/// A topic in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicListing {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero if the broker is too old to say (before Kafka 2.8).
    pub id: TopicId,
    /// Whether it is Kafka's own.
    pub is_internal: bool,
    /// How many partitions it has.
    pub partition_count: usize,
}

/// The cluster and its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id, if it has told.
    pub cluster_id: Option<String>,
    /// The broker to which requests for the controller go.
    pub controller: Option<BrokerId>,
    /// The brokers that are alive, by their numbers.
    pub brokers: Vec<Broker>,
    /// Whether the broker that told this gives producer ids: without them no producer is idempotent
    /// (KIP-98; Kafka since 0.11).
    pub gives_producer_ids: bool,
    /// Whether that broker has transactions (KIP-98).
    pub has_transactions: bool,
}

/// Something that has settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigResource {
    /// A topic.
    Topic(TopicName),
    /// A broker.
    Broker(BrokerId),
}

/// One setting of a topic or broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none if it is secret or not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can't be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether it is secret.
    pub is_sensitive: bool,
}

/// Where the value of a broker's or topic's setting comes from (Kafka's `ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker, while it runs.
    DynamicBroker,
    /// Set on all brokers, while they run.
    DynamicDefaultBroker,
    /// From the broker's file.
    StaticBroker,
    /// Nobody has set it.
    Default,
    /// From elsewhere.
    Other(i8),
}

impl ConfigSource {
    pub(super) fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            other => Self::Other(other),
        }
    }
}

/// A group in the list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub group_id: GroupId,
    /// What its members are; `consumer`, or empty if there are only offsets.
    pub protocol_type: String,
    /// Its state, such as `Stable` or `Empty`; none if the broker is too old to say (before 2.6).
    pub state: Option<String>,
    /// `classic`, `consumer` (the next generation) ...; none if the broker is too old to say
    /// (before 3.7).
    pub group_type: Option<String>,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group_id: GroupId,
    /// `classic`, or `consumer` for the next generation (KIP-848).
    pub group_type: String,
    /// Its state, such as `Stable` or `Empty`.
    pub state: String,
    /// What shares the partitions out; empty where nobody does.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
    /// Its members.
    pub members: Vec<GroupMemberDescription>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemberDescription {
    /// Its id.
    pub member_id: String,
    /// Its `group.instance.id`, if it is static.
    pub instance_id: Option<String>,
    /// What it calls itself (`client.id`).
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The rack it said it is in (`client.rack`). A classic group's members are known to be in one
    /// only while the group is stable (KIP-881).
    pub rack: Option<String>,
    /// What it reads.
    pub partitions: Vec<TopicPartition>,
}

/// Offsets to be stored for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffsets {
    /// The group. It may not be there yet; it may have no members.
    pub group_id: GroupId,
    /// The offsets: each that of the next record to be read.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// Partitions whose offsets a group is to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartitions {
    /// The group.
    pub group_id: GroupId,
    /// The partitions; no member may be subscribed to their topics.
    pub partitions: Vec<TopicPartition>,
}
