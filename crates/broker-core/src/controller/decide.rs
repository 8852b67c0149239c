//! What the controller decides: records to append and what to answer, from the state alone.

use std::collections::BTreeMap;

use streamledger_protocol::{BrokerId, ErrorCode, GroupId, PartitionIndex, TopicId, TopicName};

use super::record::{MetadataRecord, TEXT_BYTES_MAX};
use super::state::{ClusterState, Topic};
use crate::config::{
    BrokerConfigs, BrokerScope, ConfigError, ConfigKind, broker_config, check_broker_config,
    check_group_config_name, check_group_configs, check_topic_config, check_topic_configs_together,
    is_dynamic, no_effect, topic_config,
};

/// How many producer ids are reserved at first; a crash loses the rest of a block, no more.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Records to append, and what to answer once they are on disk and replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision<R> {
    /// To be appended as one, then replayed.
    pub records: Vec<MetadataRecord>,
    /// The answer.
    pub reply: R,
}

/// A request that cannot be granted: the error code and a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub error: ErrorCode,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Refusal {
    /// A refusal with a sentence.
    #[must_use]
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

/// Where partitions may go, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The brokers, in order.
    pub brokers: Vec<BrokerId>,
    /// num.partitions.
    pub default_partition_count: i32,
    /// default.replication.factor.
    pub default_replication_factor: i16,
    /// streamledger.partitions.max.
    pub partitions_max: usize,
}

/// A topic that someone wants created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// A fresh random id, used if the topic is created.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions; -1 for the default.
    pub partition_count: i32,
    /// How many replicas; -1 for the default.
    pub replication_factor: i16,
    /// Replicas by partition, chosen by hand; empty for "place them yourself".
    pub assignments: Vec<(PartitionIndex, Vec<BrokerId>)>,
    /// Settings; a value of `None` is "the default".
    pub configs: Vec<(String, Option<String>)>,
}

/// Partitions that someone wants added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub topic: TopicName,
    /// How many it shall have in all.
    pub partition_count: i32,
    /// Replicas of each new partition, chosen by hand.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What a created topic looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// Replicas by partition.
    pub assignments: Vec<Vec<BrokerId>>,
    /// The settings of its own.
    pub configs: BTreeMap<String, String>,
}

/// What `IncrementalAlterConfigs` may do to a setting (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOperation {
    /// Give it this value.
    Set,
    /// Go back to the default.
    Delete,
    /// Add words to a list.
    Append,
    /// Take words from a list.
    Subtract,
}

impl AlterOperation {
    /// The operation of a wire code, if there is one.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// One change to one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// The setting.
    pub name: String,
    /// What to do.
    pub operation: AlterOperation,
    /// The value or words; not used by a delete.
    pub value: Option<String>,
}

/// Founds the cluster, once, and takes up leadership under new leader epochs at every start.
pub fn decide_found_cluster(
    state: &ClusterState,
    cluster_id: &str,
    node: BrokerId,
) -> Decision<()> {
    let mut records = Vec::new();
    if state.cluster_id().is_empty() {
        let cluster_id = cluster_id.to_owned();
        records.push(MetadataRecord::ClusterFounded { cluster_id });
    }
    if state.partition_count() > 0 {
        records.push(MetadataRecord::LeaderEpochsRaised { node, by: 1 });
    }
    Decision { records, reply: () }
}

/// Creates a topic.
///
/// # Errors
/// A [`Refusal`] with the code Kafka gives.
pub fn decide_create_topic(
    state: &ClusterState,
    topic: &NewTopic,
    placement: &Placement,
) -> Result<Decision<CreatedTopic>, Refusal> {
    check_name(state, &topic.name)?;
    let assignments = if topic.assignments.is_empty() {
        place_new_topic(state, topic, placement)?
    } else {
        assignments_by_hand(topic, placement)?
    };
    check_partition_limit(state, assignments.len(), placement)?;
    let configs = check_topic_configs(&topic.configs)?;
    let record = MetadataRecord::TopicCreated {
        topic_id: topic.id,
        name: topic.name.clone(),
        assignments: assignments.clone(),
        configs: configs.clone().into_iter().collect(),
    };
    let reply = CreatedTopic { id: topic.id, assignments, configs };
    Ok(Decision { records: vec![record], reply })
}

/// A log of Kafka's controllers, that looks like a topic and isn't one (Kafka's `ControllerApis`).
const CLUSTER_METADATA: &str = "__cluster_metadata";

fn check_name(state: &ClusterState, name: &TopicName) -> Result<(), Refusal> {
    if let Err(invalid) = name.validate() {
        return Err(Refusal::new(ErrorCode::InvalidTopicException, invalid.to_string()));
    }
    if name.as_str() == CLUSTER_METADATA {
        let message = format!("{name} is the name of Kafka's own metadata: no topic has it.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    if state.topic(name.as_str()).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    // Kafka's metric names write a dot as an underscore, so it refuses two topics that differ
    // in nothing else (org.apache.kafka.common.internals.Topic.hasCollision).
    let unified = |name: &str| name.replace('.', "_");
    let wanted = unified(name.as_str());
    let has_either = wanted.contains('_');
    match state.topics().find(|other| has_either && unified(other.name.as_str()) == wanted) {
        Some(other) => Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic '{}'.", other.name),
        )),
        None => Ok(()),
    }
}

fn place_new_topic(
    state: &ClusterState,
    topic: &NewTopic,
    placement: &Placement,
) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let partition_count = match topic.partition_count {
        -1 => placement.default_partition_count,
        count if count > 0 => count,
        _ => {
            let message = "Number of partitions must be larger than 0.";
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
    };
    let replication_factor = match topic.replication_factor {
        -1 => placement.default_replication_factor,
        factor => factor,
    };
    check_replication_factor(replication_factor, placement)?;
    let partition_count = usize::try_from(partition_count).unwrap_or(usize::MAX);
    check_partition_limit(state, partition_count, placement)?;
    let first = state.partition_count();
    Ok(place(first, partition_count, replication_factor, placement))
}

fn check_replication_factor(factor: i16, placement: &Placement) -> Result<(), Refusal> {
    let broker_count = placement.brokers.len();
    if usize::try_from(factor).is_ok_and(|factor| (1..=broker_count).contains(&factor)) {
        return Ok(());
    }
    let message = if factor <= 0 {
        "Replication factor must be larger than 0.".to_owned()
    } else {
        format!(
            "Replication factor {factor} is larger than the {broker_count} broker(s) there are."
        )
    };
    Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message))
}

fn check_partition_limit(
    state: &ClusterState,
    added: usize,
    placement: &Placement,
) -> Result<(), Refusal> {
    if state.partition_count().saturating_add(added) <= placement.partitions_max {
        return Ok(());
    }
    let message = format!(
        "There would be more than {} partitions in all (streamledger.partitions.max).",
        placement.partitions_max
    );
    Err(Refusal::new(ErrorCode::PolicyViolation, message))
}

/// Leaders in turn, the followers next to them.
fn place(
    first: usize,
    partition_count: usize,
    replication_factor: i16,
    placement: &Placement,
) -> Vec<Vec<BrokerId>> {
    let brokers = &placement.brokers;
    let replica_count = usize::try_from(replication_factor).unwrap_or(0);
    let replicas_from =
        |start: usize| (0..replica_count).map(move |next| brokers[(start + next) % brokers.len()]);
    (0..partition_count).map(|index| replicas_from(first + index).collect()).collect()
}

fn assignments_by_hand(
    topic: &NewTopic,
    placement: &Placement,
) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    if topic.partition_count != -1 || topic.replication_factor != -1 {
        let message = "Replicas are assigned by hand, so the number of partitions and the \
                       replication factor must both be -1.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let mut by_index = BTreeMap::new();
    for (index, replicas) in &topic.assignments {
        if by_index.insert(index.0, replicas.clone()).is_some() {
            let message = format!("Partition {index} is assigned twice.");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    if !by_index.keys().copied().eq(0..i32::try_from(by_index.len()).unwrap_or(i32::MAX)) {
        let message = "Partitions must be numbered from 0 on without a gap.";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let assignments: Vec<_> = by_index.into_values().collect();
    check_assignments(&assignments, placement)?;
    Ok(assignments)
}

fn check_assignments(assignments: &[Vec<BrokerId>], placement: &Placement) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    for (index, replicas) in assignments.iter().enumerate() {
        if replicas.is_empty() {
            return refuse(format!("Partition {index} is assigned to no broker."));
        }
        if replicas.len() != assignments[0].len() {
            return refuse("Every partition must have the same number of replicas.".to_owned());
        }
        for (position, replica) in replicas.iter().enumerate() {
            if !placement.brokers.contains(replica) {
                return refuse(format!("There is no broker {replica}."));
            }
            if replicas[..position].contains(replica) {
                return refuse(format!("Partition {index} has broker {replica} twice."));
            }
        }
    }
    Ok(())
}

fn check_topic_configs(
    given: &[(String, Option<String>)],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut configs = BTreeMap::new();
    for (name, value) in given {
        let Some(value) = value else {
            let message = format!("Null value not supported for topic configs: {name}.");
            return Err(Refusal::new(ErrorCode::InvalidConfig, message));
        };
        check_topic_config(name, value)?;
        check_value_bytes(name, value)?;
        configs.insert(name.clone(), value.clone());
    }
    Ok(configs)
}

fn check_value_bytes(name: &str, value: &str) -> Result<(), Refusal> {
    if value.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("The value of {name} is longer than {TEXT_BYTES_MAX} bytes.");
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}

/// Deletes a topic.
pub fn decide_delete_topic(topic: &Topic) -> Decision<()> {
    let records = vec![MetadataRecord::TopicDeleted { topic_id: topic.id }];
    Decision { records, reply: () }
}

/// Adds partitions to a topic; the reply is the replicas of each new one.
///
/// # Errors
/// A [`Refusal`] with the code Kafka gives.
pub fn decide_add_partitions(
    state: &ClusterState,
    wanted: &NewPartitions,
    placement: &Placement,
) -> Result<Decision<Vec<Vec<BrokerId>>>, Refusal> {
    let Some(topic) = state.topic(wanted.topic.as_str()) else {
        let message = format!("There is no topic '{}'.", wanted.topic);
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
    };
    let count = topic.partition_count();
    let added = usize::try_from(i64::from(wanted.partition_count) - i64::from(count)).unwrap_or(0);
    if added == 0 {
        let message = format!(
            "The topic {} has {count} partition(s); {} would not be an increase.",
            topic.name, wanted.partition_count
        );
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    check_partition_limit(state, added, placement)?;
    let replication_factor = topic.partitions.first().map_or(1, |first| first.replicas.len());
    let assignments = match &wanted.assignments {
        Some(assignments) if assignments.len() != added => {
            let message = format!(
                "{added} partition(s) are added, but replicas of {} are assigned.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        Some(assignments) => {
            check_assignments(assignments, placement)?;
            assignments.clone()
        }
        None => {
            let factor = i16::try_from(replication_factor).unwrap_or(i16::MAX);
            check_replication_factor(factor, placement)?;
            place(state.partition_count(), added, factor, placement)
        }
    };
    let record =
        MetadataRecord::PartitionsAdded { topic_id: topic.id, assignments: assignments.clone() };
    Ok(Decision { records: vec![record], reply: assignments })
}

/// Changes settings of a topic; all of the changes, or none.
///
/// # Errors
/// A [`Refusal`] with the code Kafka gives.
pub fn decide_alter_topic_configs(
    topic: &Topic,
    broker: &BrokerConfigs,
    changes: &[ConfigAlteration],
) -> Result<Decision<()>, Refusal> {
    let mut records = Vec::new();
    let mut configs = topic.configs.clone();
    for change in changes {
        let row = topic_config(&change.name);
        let present = || {
            row.and_then(|row| {
                crate::config::resolve_topic_config(row, &topic.configs, broker).value
            })
        };
        let value = altered(change, row.map(|row| row.spec.kind), present)?;
        match &value {
            Some(value) => {
                check_topic_config(&change.name, value)?;
                check_value_bytes(&change.name, value)?;
            }
            None if row.is_none() => {
                check_topic_config(&change.name, "")?;
            }
            None => {}
        }
        let (topic_id, name) = (topic.id, change.name.clone());
        match &value {
            Some(value) => configs.insert(name.clone(), value.clone()),
            None => configs.remove(&name),
        };
        records.push(MetadataRecord::TopicConfigChanged { topic_id, name, value });
    }
    check_topic_configs_together(&configs, broker)?;
    Ok(Decision { records, reply: () })
}

/// Changes settings of one broker or of all while running; all of the changes, or none.
///
/// # Errors
/// A [`Refusal`]; settings that only act at start are refused.
pub fn decide_alter_broker_configs(
    broker: &BrokerConfigs,
    scope: BrokerScope,
    changes: &[ConfigAlteration],
) -> Result<Decision<()>, Refusal> {
    let mut records = Vec::new();
    for change in changes {
        let spec = broker_config(&change.name);
        let present = || broker.value_for(scope, &change.name).map(str::to_owned);
        let value = altered(change, spec.map(|spec| spec.kind), present)?;
        match value.clone().or_else(present) {
            Some(checked) => check_broker_config(&change.name, &checked)?,
            // What isn't set may be put back to its default, too.
            None if spec.is_some() || no_effect(&change.name).is_some() => {}
            None => check_broker_config(&change.name, "")?,
        }
        if !is_dynamic(&change.name) {
            let message = match no_effect(&change.name) {
                Some(none) => format!("{} has no effect here: {}.", change.name, none.reason),
                None => format!("{} can only be given when the broker starts.", change.name),
            };
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        if let Some(value) = &value {
            check_value_bytes(&change.name, value)?;
        }
        let name = change.name.clone();
        records.push(match scope {
            BrokerScope::One => MetadataRecord::BrokerConfigChanged { name, value },
            BrokerScope::All => MetadataRecord::ClusterConfigChanged { name, value },
        });
    }
    Ok(Decision { records, reply: () })
}

/// So many groups may have settings of their own.
const GROUPS_WITH_CONFIGS_MAX: usize = 10_000;

/// Changes settings of a group, which needn't be there; all of the changes, or none.
///
/// # Errors
/// A [`Refusal`] with the code Kafka gives; too many groups are POLICY_VIOLATION.
pub fn decide_alter_group_configs(
    state: &ClusterState,
    group: &GroupId,
    broker: &BrokerConfigs,
    changes: &[ConfigAlteration],
) -> Result<Decision<()>, Refusal> {
    if group.as_str().is_empty() {
        let message = "Default group resources are not allowed.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let mut own = state.group_configs().get(group).cloned().unwrap_or_default();
    let mut records = Vec::new();
    for change in changes {
        check_group_config_name(&change.name)?;
        let present = || own.get(&change.name).cloned();
        let value = altered(change, Some(ConfigKind::int_from(1)), present)?;
        match &value {
            Some(value) => own.insert(change.name.clone(), value.clone()),
            None => own.remove(&change.name),
        };
        let (group, name) = (group.clone(), change.name.clone());
        records.push(MetadataRecord::GroupConfigChanged { group, name, value });
    }
    check_group_configs(&own, broker)?;
    let is_new = !own.is_empty() && !state.group_configs().contains_key(group);
    if is_new && state.group_configs().len() >= GROUPS_WITH_CONFIGS_MAX {
        let message = format!("{GROUPS_WITH_CONFIGS_MAX} groups have settings of their own.");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    Ok(Decision { records, reply: () })
}

/// A setting's value after a change; `None` is "back to the default".
fn altered(
    change: &ConfigAlteration,
    kind: Option<ConfigKind>,
    present: impl Fn() -> Option<String>,
) -> Result<Option<String>, Refusal> {
    let name = &change.name;
    let given = || {
        change.value.clone().ok_or_else(|| {
            let message = format!("A value is needed to set {name}.");
            Refusal::new(ErrorCode::InvalidConfig, message)
        })
    };
    let list = || {
        let value = present().unwrap_or_default();
        let own: Vec<String> = value.split(',').map(|word| word.trim().to_owned()).collect();
        own.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>()
    };
    let is_list = matches!(kind, Some(ConfigKind::List(_)) | None);
    match change.operation {
        AlterOperation::Set => given().map(Some),
        AlterOperation::Delete => Ok(None),
        AlterOperation::Append | AlterOperation::Subtract if !is_list => {
            let message = format!("{name} is not a list: words cannot be added or taken away.");
            Err(Refusal::new(ErrorCode::InvalidConfig, message))
        }
        AlterOperation::Append => {
            let mut words = list();
            for word in given()?.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                if !words.iter().any(|own| own == word) {
                    words.push(word.to_owned());
                }
            }
            Ok(Some(words.join(",")))
        }
        AlterOperation::Subtract => {
            let taken = given()?;
            let mut words = list();
            words.retain(|own| !taken.split(',').any(|word| word.trim() == own));
            Ok(Some(words.join(",")))
        }
    }
}

/// Reserves a block of so many producer ids; the reply is the first of it.
///
/// # Errors
/// A [`Refusal`] when all 2^63 are gone.
pub fn decide_reserve_producer_ids(
    state: &ClusterState,
    count: i64,
) -> Result<Decision<i64>, Refusal> {
    let first = state.next_producer_id();
    let Some(next) = first.checked_add(count) else {
        let message = "There are no producer ids left.";
        return Err(Refusal::new(ErrorCode::UnknownServerError, message));
    };
    Ok(Decision { records: vec![MetadataRecord::ProducerIdsReserved { next }], reply: first })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
