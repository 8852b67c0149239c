//! The node: what all handlers share, and the changes to topics that touch log and metadata both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use streamledger_broker_core::config::{
    BrokerConfigs, BrokerScope, GROUP_HEARTBEAT_INTERVAL, check_topic_configs_together,
    resolve_log_config, resolve_min_insync_replicas,
};
use streamledger_broker_core::controller::{
    ClusterState, ConfigAlteration, CreatedTopic, NewPartitions, NewTopic, Placement, Refusal,
    Topic, decide_add_partitions, decide_alter_broker_configs, decide_alter_group_configs,
    decide_alter_topic_configs, decide_create_topic, decide_delete_topic, is_internal_topic,
};
use streamledger_broker_core::log::LogConfig;
use streamledger_protocol::{
    BrokerId, ErrorCode, GroupId, LeaderEpoch, PartitionIndex, TopicId, TopicName, TopicPartition,
};
use tracing::{error, info, warn};

use streamledger_broker_core::authorizer::Authorizer;

use crate::authentication::UnknownUsers;
use crate::config::Settings;
use crate::controller::Controller;
use crate::coordinator::{Groups, InternalTopicError, Transactions};
use crate::faults::Faults;
use crate::metrics::RequestMeters;
use crate::quotas::{MutationQuota, Quotas};
use crate::server::ByteBudget;
use crate::storage::{LogStore, Partition};

/// What a client is told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name, or an address without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: i32,
}

/// What all handlers share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) controller: Controller,
    /// Who may do what, by the controller's ACLs; none lets everybody do everything.
    pub(crate) authorizer: Option<Authorizer>,
    pub(crate) store: LogStore,
    pub(crate) faults: Faults,
    pub(crate) quotas: Quotas,
    pub(crate) requests: RequestMeters,
    pub(crate) transactions: Transactions,
    pub(crate) groups: Groups,
    pub(crate) unknown_users: UnknownUsers,
    /// Records that were read and not yet sent.
    pub(crate) fetched: Arc<ByteBudget>,
}

impl Node {
    /// Replays what the coordinators kept, at start. Blocks on the disk.
    pub(crate) fn load_coordinators(&self) -> Result<(), InternalTopicError> {
        self.transactions.load(self)?;
        self.groups.load(self)
    }

    /// This broker's id.
    pub(crate) fn id(&self) -> BrokerId {
        self.settings.node_id
    }

    /// A topic by name.
    pub(crate) fn topic(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.controller.read(|state| state.topic(name.as_str()).cloned())
    }

    /// A topic as data requests name it: by name, or by id from version 13 on.
    pub(crate) fn topic_named(
        &self,
        name: &TopicName,
        id: TopicId,
    ) -> Result<Arc<Topic>, ErrorCode> {
        self.controller.read(|state| {
            if id.is_zero() {
                state.topic(name.as_str()).cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
            } else {
                state.topic_by_id(id).cloned().ok_or(ErrorCode::UnknownTopicId)
            }
        })
    }

    /// The log of a partition.
    pub(crate) fn partition(
        &self,
        topic: &Topic,
        index: PartitionIndex,
    ) -> Result<Arc<Partition>, ErrorCode> {
        topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let topic_partition = TopicPartition::new(topic.name.clone(), index);
        self.store.partition(&topic_partition).ok_or(ErrorCode::KafkaStorageError)
    }

    /// Whether enough replicas are in sync for `acks=all`: `min.insync.replicas` of them, or all
    /// that the partition has, if those are fewer (Kafka's `effectiveMinIsr`).
    pub(crate) fn has_enough_replicas(&self, topic: &Topic, index: PartitionIndex) -> bool {
        let Some(partition) = topic.partition(index) else { return false };
        let at_start = &self.controller.configs_at_start().at_start;
        let needed = self.controller.read(|state| {
            let of_brokers = (state.broker_configs(), state.cluster_configs());
            resolve_min_insync_replicas([&topic.configs, of_brokers.0, of_brokers.1, at_start])
        });
        partition.in_sync.len() >= needed.min(partition.replicas.len())
    }

    fn log_config(
        &self,
        overrides: &BTreeMap<String, String>,
        configs: &BrokerConfigs,
    ) -> LogConfig {
        resolve_log_config(overrides, configs, self.settings.flush.watermark())
    }

    fn placement(&self) -> Placement {
        Placement {
            brokers: vec![self.id()],
            default_partition_count: self.settings.default_partition_count,
            default_replication_factor: self.settings.default_replication_factor,
            partitions_max: self.settings.partitions_max,
        }
    }

    /// Creates a topic, or says what creating it would give, which counts as much. Blocks on the
    /// disk.
    pub(crate) fn create_topic(
        &self,
        topic: &NewTopic,
        only_validates: bool,
        quota: &mut MutationQuota,
    ) -> Result<CreatedTopic, Refusal> {
        let placement = self.placement();
        let broker_configs = self.controller.broker_configs();
        let decide = |state: &ClusterState| {
            let decision = decide_create_topic(state, topic, &placement)?;
            check_topic_configs_together(&decision.reply.configs, &broker_configs)?;
            quota.take(self, decision.reply.assignments.len())?;
            Ok(decision)
        };
        if only_validates {
            return self.controller.read(decide).map(|decision| decision.reply);
        }
        let range = |created: &CreatedTopic| 0..index_of(created.assignments.len());
        let created = self.controller.change(
            decide,
            |created| {
                let config = self.log_config(&created.configs, &broker_configs);
                self.create_logs(&topic.name, created.id, range(created), &config)
            },
            |created| self.delete_logs(&topic.name, range(created)),
        )?;
        let partition_count = created.assignments.len();
        info!(topic = %topic.name, id = %created.id, partition_count, "created topic");
        Ok(created)
    }

    /// Deletes a topic and its records. Blocks on the disk.
    pub(crate) fn delete_topic(
        &self,
        name: &TopicName,
        id: TopicId,
        quota: &mut MutationQuota,
    ) -> Result<Arc<Topic>, Refusal> {
        if !self.settings.deletes_topics {
            let message = "Topic deletion is disabled (delete.topic.enable).";
            return Err(Refusal::new(ErrorCode::TopicDeletionDisabled, message));
        }
        let deleted = self.controller.change(
            |_| {
                refuse_internal(name)?;
                let topic = self.topic_named(name, id).map_err(|error| {
                    Refusal::new(error, "This server does not host this topic.")
                })?;
                refuse_internal(&topic.name)?;
                quota.take(self, topic.partitions.len())?;
                let decision = decide_delete_topic(&topic);
                Ok(streamledger_broker_core::controller::Decision {
                    records: decision.records,
                    reply: topic,
                })
            },
            |_| Ok(()),
            |_| (),
        )?;
        self.delete_logs(&deleted.name, 0..deleted.partition_count());
        self.groups.forget_topic(self, &deleted.name);
        info!(topic = %deleted.name, id = %deleted.id, "deleted topic");
        Ok(deleted)
    }

    /// Adds partitions to a topic, or says whether it could, which counts as much. Blocks on the
    /// disk.
    pub(crate) fn add_partitions(
        &self,
        wanted: &NewPartitions,
        only_validates: bool,
        quota: &mut MutationQuota,
    ) -> Result<(), Refusal> {
        refuse_internal(&wanted.topic)?;
        let placement = self.placement();
        let decide = |state: &ClusterState| {
            let decision = decide_add_partitions(state, wanted, &placement)?;
            quota.take(self, decision.reply.len())?;
            Ok(decision)
        };
        if only_validates {
            return self.controller.read(decide).map(|_| ());
        }
        let range = |added: usize| wanted.partition_count - index_of(added)..wanted.partition_count;
        self.controller.change(
            decide,
            |assignments| {
                let Some(topic) = self.topic(&wanted.topic) else { return Ok(()) };
                let config = self.log_config(&topic.configs, &self.controller.broker_configs());
                self.create_logs(&topic.name, topic.id, range(assignments.len()), &config)
            },
            |assignments| self.delete_logs(&wanted.topic, range(assignments.len())),
        )?;
        info!(topic = %wanted.topic, partition_count = wanted.partition_count, "added partitions");
        Ok(())
    }

    /// Changes settings of a topic, or says whether it could. Blocks on the disk.
    pub(crate) fn alter_topic(
        &self,
        name: &TopicName,
        changes: &[ConfigAlteration],
        only_validates: bool,
    ) -> Result<(), Refusal> {
        let decide = |configs: &BrokerConfigs| {
            let topic = self.topic(name).ok_or_else(|| {
                let message = "This server does not host this topic.";
                Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
            })?;
            decide_alter_topic_configs(&topic, configs, changes)
        };
        let configs = self.controller.broker_configs();
        if only_validates {
            return decide(&configs).map(|decision| decision.reply);
        }
        self.controller.change(|_| decide(&configs), |()| Ok(()), |()| ())?;
        if let Some(topic) = self.topic(name) {
            self.reconfigure(&topic, &configs);
        }
        Ok(())
    }

    /// Changes settings of the broker or of all, or says whether it could. Blocks on the disk.
    pub(crate) fn alter_broker(
        &self,
        scope: BrokerScope,
        changes: &[ConfigAlteration],
        only_validates: bool,
    ) -> Result<(), Refusal> {
        let configs = self.controller.broker_configs();
        if only_validates {
            return decide_alter_broker_configs(&configs, scope, changes)
                .map(|decision| decision.reply);
        }
        let decide = || decide_alter_broker_configs(&configs, scope, changes);
        self.controller.change(|_| decide(), |()| Ok(()), |()| ())?;
        let changed = self.controller.broker_configs();
        self.reconfigure_store(&changed);
        let topics: Vec<_> = self.controller.read(|state| state.topics().cloned().collect());
        for topic in topics {
            self.reconfigure(&topic, &changed);
        }
        Ok(())
    }

    /// Changes settings of a group, or says whether it could. Blocks on the disk.
    pub(crate) fn alter_group(
        &self,
        group: &GroupId,
        changes: &[ConfigAlteration],
        only_validates: bool,
    ) -> Result<(), Refusal> {
        let configs = self.controller.broker_configs();
        let decide =
            |state: &ClusterState| decide_alter_group_configs(state, group, &configs, changes);
        if only_validates {
            return self.controller.read(decide).map(|decision| decision.reply);
        }
        self.controller.change(decide, |()| Ok(()), |()| ())?;
        self.groups.reconfigure(self, group);
        Ok(())
    }

    /// How often members of a next-generation group are told to send heartbeats, in ms.
    pub(crate) fn heartbeat_interval_ms(&self, group: &GroupId) -> i32 {
        let own = self.controller.read(|state| {
            let own = state.group_configs().get(group)?;
            own.get(GROUP_HEARTBEAT_INTERVAL.name)?.trim().parse().ok()
        });
        own.unwrap_or(self.settings.coordinators.consumer_heartbeat_ms)
    }

    fn reconfigure_store(&self, configs: &BrokerConfigs) {
        let backoff_ms = configs.number("log.cleaner.backoff.ms").unsigned_abs();
        self.store.rest_between_compactions(Duration::from_millis(backoff_ms));
    }

    fn reconfigure(&self, topic: &Topic, configs: &BrokerConfigs) {
        let config = self.log_config(&topic.configs, configs);
        for index in 0..topic.partition_count() {
            if let Ok(partition) = self.partition(topic, PartitionIndex(index)) {
                partition.reconfigure(&config);
            }
        }
        self.store.reconfigured();
    }

    /// Makes the logs on disk be those that the metadata names, at start.
    pub(crate) fn reconcile_logs(&self) -> Result<(), Refusal> {
        let topics: Vec<_> = self.controller.read(|state| state.topics().cloned().collect());
        let by_name: BTreeMap<_, _> = topics.iter().map(|topic| (&topic.name, topic)).collect();
        for log in self.store.partitions() {
            let (topic_partition, id) = (log.topic_partition(), log.topic_id());
            let topic = by_name.get(&topic_partition.topic).filter(|topic| {
                // A log without an id lost it in a crash, before anything in it was flushed.
                (topic.id == id || id.is_zero())
                    && topic.partition(topic_partition.partition).is_some()
            });
            if let Some(topic) = topic {
                if id.is_zero()
                    && let Err(error) = log.write_topic_id(topic.id)
                {
                    warn!(%topic_partition, %error, "whose log it is could not be written");
                }
            } else {
                info!(%topic_partition, %id, "removing the log of a deleted topic");
                self.delete_log(topic_partition);
            }
        }
        let configs = self.controller.broker_configs();
        self.reconfigure_store(&configs);
        for topic in topics {
            let config = self.log_config(&topic.configs, &configs);
            for (index, state) in (0..).zip(&topic.partitions) {
                match self.partition(&topic, PartitionIndex(index)) {
                    Ok(partition) => {
                        partition.reconfigure(&config);
                        partition.become_leader(state.leader_epoch);
                    }
                    Err(_) => {
                        self.create_logs(&topic.name, topic.id, index..index + 1, &config)?;
                    }
                }
            }
        }
        self.store.begin_retention();
        self.store.reconfigured();
        Ok(())
    }

    fn create_logs(
        &self,
        topic: &TopicName,
        id: TopicId,
        indexes: std::ops::Range<i32>,
        config: &LogConfig,
    ) -> Result<(), Refusal> {
        for index in indexes {
            let topic_partition = TopicPartition::new(topic.clone(), PartitionIndex(index));
            let created = self.store.create_partition(&topic_partition, id, config, LeaderEpoch(0));
            if let Err(error) = created {
                error!(%topic_partition, %error, "a partition could not be created");
                let message = format!("{topic_partition}: {error}");
                return Err(Refusal::new(ErrorCode::KafkaStorageError, message));
            }
        }
        Ok(())
    }

    fn delete_logs(&self, topic: &TopicName, indexes: std::ops::Range<i32>) {
        for index in indexes {
            self.delete_log(&TopicPartition::new(topic.clone(), PartitionIndex(index)));
        }
    }

    /// What cannot be removed now is removed at the next start.
    fn delete_log(&self, topic_partition: &TopicPartition) {
        if let Err(error) = self.store.delete_partition(topic_partition) {
            error!(%topic_partition, %error, "a partition's log could not be removed");
        }
    }
}

/// A coordinator finds its records by the number of partitions: nobody else makes, grows or deletes
/// its topic.
pub(crate) fn refuse_internal(name: &TopicName) -> Result<(), Refusal> {
    if !is_internal_topic(name.as_str()) {
        return Ok(());
    }
    let message = format!("{name} is an internal topic: the broker makes and keeps it itself.");
    Err(Refusal::new(ErrorCode::InvalidTopicException, message))
}

fn index_of(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
