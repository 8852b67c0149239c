//! The cluster's state: topics, partitions, settings, producer ids. Only [`ClusterState::replay`]
//! changes it, after a decision is on disk and at load alike (law 4), so a restart can't differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use streamledger_protocol::{BrokerId, GroupId, LeaderEpoch, PartitionIndex, TopicId, TopicName};
use thiserror::Error;

use super::quotas::{QuotaEntity, QuotaValue};
use super::record::MetadataRecord;
use super::scram::{ScramCredential, ScramMechanism};
use crate::authorizer::Acls;
use crate::map::Map;

/// Topics whose records are the broker's own (Kafka's `Topic.INTERNAL_TOPICS`).
const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic of this name holds the broker's own records.
#[must_use]
pub fn is_internal_topic(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// Who has a partition, and who leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those that have every acknowledged record.
    pub in_sync: Vec<BrokerId>,
    /// Who takes and gives records.
    pub leader: BrokerId,
    /// Rises with every election, a restart of the leader included.
    pub leader_epoch: LeaderEpoch,
}

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id, never given to another.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionState>,
    /// The settings of its own.
    pub configs: BTreeMap<String, String>,
}

impl Topic {
    /// Whether it holds the broker's own records.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal_topic(self.name.as_str())
    }

    /// A partition's state.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionState> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// A record that cannot follow those before it: the log is not ours, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("metadata record does not follow from those before it: {0}")]
pub struct ReplayError(pub String);

/// Everything the controller knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterState {
    cluster_id: String,
    topics: BTreeMap<TopicName, Arc<Topic>>,
    names_by_id: Map<TopicId, TopicName>,
    partition_count: usize,
    broker_configs: BTreeMap<String, String>,
    group_configs: BTreeMap<GroupId, BTreeMap<String, String>>,
    cluster_configs: BTreeMap<String, String>,
    next_producer_id: i64,
    quotas: BTreeMap<QuotaEntity, BTreeMap<String, QuotaValue>>,
    scram: BTreeMap<(String, ScramMechanism), ScramCredential>,
    acls: Acls,
}

impl ClusterState {
    /// The cluster's id; empty before it was founded.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// All topics, in order of name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// Topics from `name` on, in order of name.
    pub fn topics_from(&self, name: &TopicName) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.range(name.clone()..).map(|(_, topic)| topic)
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// A topic by id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.names_by_id.get(&id).and_then(|name| self.topics.get(name))
    }

    /// Partitions of all topics together.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Settings of all brokers, changed while running.
    #[must_use]
    pub fn cluster_configs(&self) -> &BTreeMap<String, String> {
        &self.cluster_configs
    }

    /// The broker's own settings, changed while running. Former versions kept those of all brokers
    /// here too.
    #[must_use]
    pub fn broker_configs(&self) -> &BTreeMap<String, String> {
        &self.broker_configs
    }

    /// Settings of groups, by group; none has an empty map.
    #[must_use]
    pub fn group_configs(&self) -> &BTreeMap<GroupId, BTreeMap<String, String>> {
        &self.group_configs
    }

    /// The first producer id that was never reserved.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Client quotas, by whose they are.
    #[must_use]
    pub fn quotas(&self) -> &BTreeMap<QuotaEntity, BTreeMap<String, QuotaValue>> {
        &self.quotas
    }

    /// SCRAM credentials, by user and mechanism.
    pub fn scram_credentials(
        &self,
    ) -> impl Iterator<Item = (&str, ScramMechanism, &ScramCredential)> {
        self.scram.iter().map(|((user, mechanism), own)| (user.as_str(), *mechanism, own))
    }

    /// A user's SCRAM credential.
    #[must_use]
    pub fn scram_credential(
        &self,
        user: &str,
        mechanism: ScramMechanism,
    ) -> Option<&ScramCredential> {
        self.scram.get(&(user.to_owned(), mechanism))
    }

    /// Who may do what.
    #[must_use]
    pub fn acls(&self) -> &Acls {
        &self.acls
    }

    /// Applies one record, after it is on disk, or at load.
    ///
    /// # Errors
    /// [`ReplayError`] if it contradicts the state; nothing has then changed.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::ClusterFounded { cluster_id } => {
                if !self.cluster_id.is_empty() {
                    return Err(ReplayError("the cluster is founded twice".to_owned()));
                }
                self.cluster_id.clone_from(cluster_id);
            }
            MetadataRecord::LeaderEpochsRaised { node, by } => {
                self.raise_leader_epochs(*node, *by);
            }
            MetadataRecord::TopicCreated { topic_id, name, assignments, configs } => {
                self.add_topic(*topic_id, name, assignments, configs)?;
            }
            MetadataRecord::PartitionsAdded { topic_id, assignments } => {
                let added: Vec<_> = assignments.iter().map(|own| new_partition(own)).collect();
                self.topic_mut(*topic_id)?.partitions.extend(added);
                self.partition_count += assignments.len();
            }
            MetadataRecord::TopicDeleted { topic_id } => {
                self.topic_mut(*topic_id)?;
                if let Some(name) = self.names_by_id.remove(topic_id)
                    && let Some(topic) = self.topics.remove(&name)
                {
                    self.partition_count -= topic.partitions.len();
                }
            }
            MetadataRecord::TopicConfigChanged { topic_id, name, value } => {
                change(&mut self.topic_mut(*topic_id)?.configs, name, value.as_ref());
            }
            MetadataRecord::BrokerConfigChanged { name, value } => {
                change(&mut self.broker_configs, name, value.as_ref());
            }
            MetadataRecord::GroupConfigChanged { group, name, value } => {
                self.change_group_config(group, name, value.as_ref());
            }
            MetadataRecord::ClusterConfigChanged { name, value } => {
                change(&mut self.cluster_configs, name, value.as_ref());
            }
            MetadataRecord::ProducerIdsReserved { next } => {
                if *next < self.next_producer_id {
                    return Err(ReplayError("producer ids go back".to_owned()));
                }
                self.next_producer_id = *next;
            }
            MetadataRecord::ClientQuotaChanged { entity, key, value } => {
                self.change_quota(entity, key, *value);
            }
            MetadataRecord::ScramCredentialChanged { user, mechanism, credential } => {
                let key = (user.clone(), *mechanism);
                match credential {
                    Some(credential) => self.scram.insert(key, credential.clone()),
                    None => self.scram.remove(&key),
                };
            }
            MetadataRecord::AclCreated { acl } => {
                if !self.acls.insert(acl.clone()) {
                    return Err(ReplayError("an ACL is made twice".to_owned()));
                }
            }
            MetadataRecord::AclDeleted { acl } => {
                if !self.acls.remove(acl) {
                    return Err(ReplayError("an ACL is deleted that isn't there".to_owned()));
                }
            }
        }
        Ok(())
    }

    fn change_group_config(&mut self, group: &GroupId, name: &str, value: Option<&String>) {
        let own = self.group_configs.entry(group.clone()).or_default();
        change(own, name, value);
        if own.is_empty() {
            self.group_configs.remove(group);
        }
    }

    fn change_quota(&mut self, entity: &QuotaEntity, key: &str, value: Option<QuotaValue>) {
        let own = self.quotas.entry(entity.clone()).or_default();
        match value {
            Some(value) => own.insert(key.to_owned(), value),
            None => own.remove(key),
        };
        if own.is_empty() {
            self.quotas.remove(entity);
        }
    }

    /// The records that lead from nothing to this state: a shorter log that means the same.
    ///
    /// Every partition of a node gets the highest leader epoch among them: an epoch may rise by
    /// this, never fall.
    #[must_use]
    pub fn snapshot(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        if !self.cluster_id.is_empty() {
            let cluster_id = self.cluster_id.clone();
            records.push(MetadataRecord::ClusterFounded { cluster_id });
        }
        for (name, value) in &self.broker_configs {
            let (name, value) = (name.clone(), Some(value.clone()));
            records.push(MetadataRecord::BrokerConfigChanged { name, value });
        }
        for (group, own) in &self.group_configs {
            records.extend(own.iter().map(|(name, value)| MetadataRecord::GroupConfigChanged {
                group: group.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            }));
        }
        for (name, value) in &self.cluster_configs {
            let (name, value) = (name.clone(), Some(value.clone()));
            records.push(MetadataRecord::ClusterConfigChanged { name, value });
        }
        records.push(MetadataRecord::ProducerIdsReserved { next: self.next_producer_id });
        for (entity, quotas) in &self.quotas {
            records.extend(quotas.iter().map(|(key, value)| MetadataRecord::ClientQuotaChanged {
                entity: entity.clone(),
                key: key.clone(),
                value: Some(*value),
            }));
        }
        records.extend(self.scram.iter().map(|((user, mechanism), credential)| {
            MetadataRecord::ScramCredentialChanged {
                user: user.clone(),
                mechanism: *mechanism,
                credential: Some(credential.clone()),
            }
        }));
        let acls = self.acls.iter().cloned();
        records.extend(acls.map(|acl| MetadataRecord::AclCreated { acl }));
        records.extend(self.topics.values().map(|topic| MetadataRecord::TopicCreated {
            topic_id: topic.id,
            name: topic.name.clone(),
            assignments: topic.partitions.iter().map(|own| own.replicas.clone()).collect(),
            configs: topic.configs.clone().into_iter().collect(),
        }));
        let raised = self.highest_epochs().into_iter().filter(|&(_, epoch)| epoch > 0);
        records.extend(raised.map(|(node, by)| MetadataRecord::LeaderEpochsRaised { node, by }));
        records
    }

    fn highest_epochs(&self) -> BTreeMap<BrokerId, i32> {
        let mut highest = BTreeMap::new();
        for partition in self.topics.values().flat_map(|topic| &topic.partitions) {
            let epoch: &mut i32 = highest.entry(partition.leader).or_default();
            *epoch = (*epoch).max(partition.leader_epoch.0);
        }
        highest
    }

    fn topic_mut(&mut self, id: TopicId) -> Result<&mut Topic, ReplayError> {
        let topic = match self.names_by_id.get(&id) {
            Some(name) => self.topics.get_mut(name),
            None => None,
        };
        topic.map(Arc::make_mut).ok_or_else(|| ReplayError(format!("no topic has the id {id}")))
    }

    fn add_topic(
        &mut self,
        id: TopicId,
        name: &TopicName,
        assignments: &[Vec<BrokerId>],
        configs: &[(String, String)],
    ) -> Result<(), ReplayError> {
        if self.topics.contains_key(name) || self.names_by_id.contains_key(&id) {
            return Err(ReplayError(format!("topic {name} ({id}) is there already")));
        }
        let topic = Topic {
            id,
            name: name.clone(),
            partitions: assignments.iter().map(|own| new_partition(own)).collect(),
            configs: configs.iter().cloned().collect(),
        };
        self.names_by_id.insert(id, name.clone());
        self.topics.insert(name.clone(), Arc::new(topic));
        self.partition_count += assignments.len();
        Ok(())
    }

    fn raise_leader_epochs(&mut self, node: BrokerId, by: i32) {
        for topic in self.topics.values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                if partition.leader == node {
                    partition.leader_epoch.0 = partition.leader_epoch.0.saturating_add(by);
                }
            }
        }
    }
}

fn new_partition(replicas: &[BrokerId]) -> PartitionState {
    PartitionState {
        replicas: replicas.to_vec(),
        in_sync: replicas.to_vec(),
        leader: replicas.first().copied().unwrap_or(BrokerId::NONE),
        leader_epoch: LeaderEpoch(0),
    }
}

fn change(configs: &mut BTreeMap<String, String>, name: &str, value: Option<&String>) {
    match value {
        Some(value) => configs.insert(name.to_owned(), value.clone()),
        None => configs.remove(name),
    };
}
