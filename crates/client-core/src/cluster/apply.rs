//! How an answer of metadata, or a hint in another answer, changes the view of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use streamledger_protocol::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use streamledger_protocol::messages::{MetadataResponse, metadata::MetadataResponseBroker};
use streamledger_protocol::{
    BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName, TopicPartition,
};

use super::snapshot::{Broker, ClusterSnapshot, Partition, Topic};

/// Which topics an answer was to tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Those that were named, each of which is in the answer.
    ForTopics,
    /// All: one that is not in the answer isn't there.
    ForAll,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterChange {
    /// A topic is known for the first time.
    TopicAppeared(TopicName),
    /// A topic was deleted, and made anew under its name.
    TopicRecreated {
        /// Its name.
        topic: TopicName,
        /// The id of the one that is gone.
        old: TopicId,
        /// The id of the one that is there.
        new: TopicId,
    },
    /// A topic got more partitions.
    PartitionsAdded {
        /// The topic.
        topic: TopicName,
        /// How many it has now.
        partition_count: usize,
    },
    /// A partition's leader or its epoch is another.
    LeaderChanged {
        /// The partition.
        topic_partition: TopicPartition,
        /// Who leads, if anyone.
        leader: Option<BrokerId>,
        /// Its epoch.
        leader_epoch: LeaderEpoch,
    },
    /// The broker doesn't know a topic, or won't tell of it.
    TopicFailed {
        /// The topic.
        topic: TopicName,
        /// What it said.
        error: ErrorCode,
    },
    /// A topic is not there any more.
    TopicGone(TopicName),
}

/// Why an answer of metadata is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// The broker said so; with `REBOOTSTRAP_REQUIRED` the client must start anew (KIP-1102).
    #[error("{0}")]
    Refused(ErrorCode),
    /// It names no broker at all, as one does that has only just started.
    #[error("the broker names no broker, not even itself")]
    NoBrokers,
}

/// The current view, and the rules by which it changes.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    snapshot: Arc<ClusterSnapshot>,
}

impl Cluster {
    /// The view as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<ClusterSnapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Takes in an answer of metadata, and says what has changed with it.
    ///
    /// # Errors
    /// The answer is of no use; the view stays as it was.
    pub fn apply(
        &mut self,
        response: MetadataResponse,
        asked: Asked,
    ) -> Result<Vec<ClusterChange>, MetadataFault> {
        if response.error_code != ErrorCode::None {
            return Err(MetadataFault::Refused(response.error_code));
        }
        let brokers: BTreeMap<_, _> =
            response.brokers.into_iter().filter_map(read_broker).map(|b| (b.id, b)).collect();
        if brokers.is_empty() {
            return Err(MetadataFault::NoBrokers);
        }
        let snapshot = Arc::make_mut(&mut self.snapshot);
        snapshot.generation += 1;
        snapshot.cluster_id = response.cluster_id.or_else(|| snapshot.cluster_id.take());
        snapshot.controller = Some(response.controller_id).filter(|id| brokers.contains_key(id));
        snapshot.brokers = brokers;
        let mut changes = Vec::new();
        let mut told = Vec::new();
        for topic in response.topics {
            let Some(name) = topic.name.clone() else { continue };
            if asked == Asked::ForAll {
                told.push(name.clone());
            }
            snapshot.apply_topic(name, topic, &mut changes);
        }
        if asked == Asked::ForAll {
            told.sort_unstable();
            snapshot.retain_topics(|name| told.binary_search(name).is_ok(), &mut changes);
        }
        Ok(changes)
    }

    /// Takes in what another answer says of a partition's leader (KIP-951), unless an equally new
    /// or newer one is known.
    pub fn apply_leader_hint(
        &mut self,
        topic_partition: &TopicPartition,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
    ) -> Option<ClusterChange> {
        let known = self.snapshot.partition(topic_partition)?;
        if leader_epoch <= known.leader_epoch || !self.snapshot.brokers.contains_key(&leader) {
            return None;
        }
        let snapshot = Arc::make_mut(&mut self.snapshot);
        let topic = Arc::make_mut(snapshot.topics.get_mut(topic_partition.topic.as_str())?);
        let index = topic_partition.partition;
        let partition = topic.partitions.iter_mut().find(|partition| partition.index == index)?;
        partition.leader = Some(leader);
        partition.leader_epoch = leader_epoch;
        Some(ClusterChange::LeaderChanged {
            topic_partition: topic_partition.clone(),
            leader: Some(leader),
            leader_epoch,
        })
    }

    /// Takes in where brokers are that another answer names beside its leaders (KIP-951).
    pub fn add_broker(&mut self, broker: Broker) {
        if self.snapshot.brokers.get(&broker.id) != Some(&broker) {
            Arc::make_mut(&mut self.snapshot).brokers.insert(broker.id, broker);
        }
    }

    /// Keeps only the topics for which `keep` holds: the others are of no interest any more.
    pub fn retain_topics(&mut self, keep: impl FnMut(&TopicName) -> bool) {
        Arc::make_mut(&mut self.snapshot).retain_topics(keep, &mut Vec::new());
    }
}

impl ClusterSnapshot {
    fn retain_topics(
        &mut self,
        mut keep: impl FnMut(&TopicName) -> bool,
        changes: &mut Vec<ClusterChange>,
    ) {
        let names = &mut self.names;
        self.topics.retain(|name, topic| {
            let kept = keep(name);
            if !kept {
                names.remove(&topic.id);
                changes.push(ClusterChange::TopicGone(name.clone()));
            }
            kept
        });
    }

    fn apply_topic(
        &mut self,
        name: TopicName,
        told: MetadataResponseTopic,
        changes: &mut Vec<ClusterChange>,
    ) {
        let known = self.topics.get(&name);
        if told.error_code != ErrorCode::None {
            changes
                .push(ClusterChange::TopicFailed { topic: name.clone(), error: told.error_code });
            let topic = match known {
                Some(known) => Topic { error: Some(told.error_code), ..Topic::clone(known) },
                None => Topic {
                    name: name.clone(),
                    id: told.topic_id,
                    is_internal: told.is_internal,
                    partitions: Vec::new(),
                    error: Some(told.error_code),
                },
            };
            self.topics.insert(name, Arc::new(topic));
            return;
        }
        let is_known = |topic: &&Arc<Topic>| !topic.partitions.is_empty();
        let before = match known.filter(is_known) {
            Some(known) if is_recreated(known.id, told.topic_id) => {
                self.names.remove(&known.id);
                changes.push(ClusterChange::TopicRecreated {
                    topic: name.clone(),
                    old: known.id,
                    new: told.topic_id,
                });
                &[]
            }
            Some(known) => &known.partitions[..],
            None => {
                changes.push(ClusterChange::TopicAppeared(name.clone()));
                &[]
            }
        };
        let partitions = merge_partitions(&name, before, told.partitions, changes);
        let id = match known {
            Some(known) if told.topic_id.is_zero() => known.id,
            _ => told.topic_id,
        };
        if !id.is_zero() {
            self.names.insert(id, name.clone());
        }
        let is_internal = told.is_internal;
        let topic = Topic { name: name.clone(), id, is_internal, partitions, error: None };
        self.topics.insert(name, Arc::new(topic));
    }
}

fn is_recreated(known: TopicId, told: TopicId) -> bool {
    !known.is_zero() && !told.is_zero() && known != told
}

/// What is known of a topic's partitions, after an answer that tells of them. One that it leaves
/// out stays: partitions are never taken away from a topic.
fn merge_partitions(
    topic: &TopicName,
    before: &[Partition],
    told: Vec<MetadataResponsePartition>,
    changes: &mut Vec<ClusterChange>,
) -> Vec<Partition> {
    let mut merged: BTreeMap<PartitionIndex, Partition> =
        before.iter().map(|partition| (partition.index, partition.clone())).collect();
    for told in told.into_iter().filter(|told| told.partition_index.0 >= 0) {
        let new = read_partition(told);
        let known = merged.get(&new.index);
        if known.is_some_and(|known| is_older(new.leader_epoch, known.leader_epoch)) {
            continue;
        }
        let is_other = known.is_some_and(|known| {
            (known.leader, known.leader_epoch) != (new.leader, new.leader_epoch)
        });
        if is_other {
            changes.push(ClusterChange::LeaderChanged {
                topic_partition: TopicPartition::new(topic.clone(), new.index),
                leader: new.leader,
                leader_epoch: new.leader_epoch,
            });
        }
        merged.insert(new.index, new);
    }
    if !before.is_empty() && merged.len() > before.len() {
        changes.push(ClusterChange::PartitionsAdded {
            topic: topic.clone(),
            partition_count: merged.len(),
        });
    }
    merged.into_values().collect()
}

/// Epochs that aren't known can't be compared: what is told last counts.
fn is_older(told: LeaderEpoch, known: LeaderEpoch) -> bool {
    told != LeaderEpoch::NONE && told < known
}

fn read_partition(told: MetadataResponsePartition) -> Partition {
    Partition {
        index: told.partition_index,
        leader: Some(told.leader_id).filter(|leader| leader.0 >= 0),
        leader_epoch: told.leader_epoch,
        replicas: told.replica_nodes,
        in_sync: told.isr_nodes,
        offline: told.offline_replicas,
    }
}

fn read_broker(told: MetadataResponseBroker) -> Option<Broker> {
    let port = u16::try_from(told.port).ok().filter(|port| *port != 0)?;
    let is_useful = told.node_id.0 >= 0 && !told.host.is_empty();
    is_useful.then_some(Broker { id: told.node_id, host: told.host, port, rack: told.rack })
}
