//! Metadata (3): brokers, topics and their leaders; asking for a topic may create it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::{ClusterState, NewTopic, Topic, is_internal_topic};
use streamledger_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::messages::{MetadataRequest, MetadataResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, PartitionIndex, TopicName};

use super::access::Access;
use super::{Answer, Api, Call, authorized};
use crate::controller::random_topic_id;

const TOPIC: ResourceType = ResourceType::Topic;

/// The first version in which a topic that is not known by its id may have no name.
const NULL_NAME_FROM: ApiVersion = ApiVersion(12);

impl Api for MetadataRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=13;
    const ACCESS: Access = Access::Each(&[
        (Operation::Describe, ResourceType::Topic),
        // To make one that is missing, one of these two.
        (Operation::Create, ResourceType::Cluster),
        (Operation::Create, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> MetadataResponse {
        let refuse = |topic: &MetadataRequestTopic| refused_topic(topic, error);
        MetadataResponse {
            topics: self.topics.iter().flatten().map(refuse).collect(),
            error_code: error,
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<MetadataResponse> {
        let wants_all = match &self.topics {
            None => true,
            // Before there was a null list, an empty one meant all.
            Some(topics) => topics.is_empty() && call.version.0 == 0,
        };
        let mut asked = self.topics.unwrap_or_default();
        for topic in asked.iter_mut().filter(|topic| !topic.topic_id.is_zero()) {
            // The Java client leaves an empty name beside an id.
            topic.name = None;
        }
        let mut denied = BTreeSet::new();
        if !wants_all && self.allow_auto_topic_creation && call.node.settings.auto_creates_topics {
            denied = create_missing(call, &asked).await;
        }
        let (topics, cluster_authorized_operations) = call.node.controller.read(|state| {
            let topics = match wants_all {
                true => all_topics(call, state, self.include_topic_authorized_operations),
                false => {
                    let told = Told { call, state, denied: &denied };
                    let with_operations = self.include_topic_authorized_operations;
                    asked.iter().map(|wanted| told.topic(wanted, with_operations)).collect()
                }
            };
            let operations = match self.include_cluster_authorized_operations {
                true => authorized::cluster(call, state),
                false => authorized::NOT_ASKED,
            };
            (topics, operations)
        });
        let mut topics: Vec<MetadataResponseTopic> = topics;
        if call.version < NULL_NAME_FROM {
            for topic in &mut topics {
                topic.name.get_or_insert_default();
            }
        }
        let endpoint = &call.connection.endpoint;
        let broker = MetadataResponseBroker {
            node_id: call.node.id(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            rack: call.node.settings.rack.clone(),
        };
        MetadataResponse {
            throttle_time_ms: 0,
            brokers: vec![broker],
            cluster_id: Some(call.node.controller.read(|state| state.cluster_id().to_owned())),
            controller_id: call.node.id(),
            topics,
            cluster_authorized_operations,
            error_code: ErrorCode::None,
        }
        .into()
    }
}

/// All topics that who calls may describe.
fn all_topics(
    call: &Call,
    state: &ClusterState,
    with_operations: bool,
) -> Vec<MetadataResponseTopic> {
    let may_see =
        |name: &TopicName| call.allows_in(state, Operation::Describe, TOPIC, name.as_str());
    let seen = state.topics().filter(|topic| may_see(&topic.name));
    seen.map(|topic| described(topic, operations(call, state, topic, with_operations))).collect()
}

fn operations(call: &Call, state: &ClusterState, topic: &Topic, are_wanted: bool) -> i32 {
    match are_wanted {
        true => authorized::topic(call, state, &topic.name),
        false => authorized::NOT_ASKED,
    }
}

/// What is told of topics that were asked for.
struct Told<'a> {
    call: &'a Call,
    state: &'a ClusterState,
    /// Those that who calls may describe, and not make.
    denied: &'a BTreeSet<TopicName>,
}

impl Told<'_> {
    fn topic(&self, wanted: &MetadataRequestTopic, with_operations: bool) -> MetadataResponseTopic {
        let Self { call, state, denied } = self;
        let found = match &wanted.name {
            Some(name) => state.topic(name.as_str()),
            None => state.topic_by_id(wanted.topic_id),
        };
        let name = wanted.name.as_ref().or(found.map(|topic| &topic.name));
        let may_see = |name: &TopicName| {
            call.allows_in(state, Operation::Describe, TOPIC, name.as_str())
                && !denied.contains(name)
        };
        match (found, name.is_none_or(may_see)) {
            (Some(topic), true) => {
                described(topic, operations(call, state, topic, with_operations))
            }
            (None, true) => refused_topic(wanted, not_there(wanted)),
            // By its id it is as unknown as one that is not there.
            (_, false) if wanted.name.is_none() => refused_topic(wanted, ErrorCode::UnknownTopicId),
            (_, false) => refused_topic(wanted, ErrorCode::TopicAuthorizationFailed),
        }
    }
}

/// Creates the topics that are asked for by name and not there, one by one; gives those that who
/// calls may not make. Another refusal shows in the answer as what it is: a topic that is not
/// there.
async fn create_missing(call: &Arc<Call>, asked: &[MetadataRequestTopic]) -> BTreeSet<TopicName> {
    let missing: Vec<TopicName> = call.node.controller.read(|state| {
        let names = asked.iter().filter_map(|topic| topic.name.as_ref());
        names
            .filter(|name| state.topic(name.as_str()).is_none())
            .filter(|name| name.validate().is_ok() && !is_internal_topic(name.as_str()))
            .filter(|name| call.allows_in(state, Operation::Describe, TOPIC, name.as_str()))
            .cloned()
            .collect()
    });
    let makes_all = call.allows_cluster(Operation::Create);
    let (missing, denied): (Vec<_>, BTreeSet<_>) = missing.into_iter().fold(
        Default::default(),
        |(mut missing, mut denied): (Vec<_>, BTreeSet<_>), name| {
            match makes_all || call.allows_topic(Operation::Create, &name) {
                true => missing.push(name),
                false => drop(denied.insert(name)),
            }
            (missing, denied)
        },
    );
    if missing.is_empty() {
        return denied;
    }
    // What is too much isn't made, and the answer has no place for the wait: Kafka's brokers ask
    // their controller for it in the client's name, by the strict rule.
    let mut quota = call.mutations(true);
    let created = call.blocking(move |node| {
        for name in missing {
            let topic = NewTopic {
                id: random_topic_id(),
                name,
                partition_count: -1,
                replication_factor: -1,
                assignments: Vec::new(),
                configs: Vec::new(),
            };
            if let Err(refusal) = node.create_topic(&topic, false, &mut quota) {
                tracing::debug!(topic = %topic.name, refusal.message, "not created on demand");
            }
        }
    });
    created.await;
    denied
}

fn not_there(wanted: &MetadataRequestTopic) -> ErrorCode {
    match &wanted.name {
        None => ErrorCode::UnknownTopicId,
        Some(name) if name.validate().is_err() => ErrorCode::InvalidTopicException,
        Some(_) => ErrorCode::UnknownTopicOrPartition,
    }
}

fn refused_topic(wanted: &MetadataRequestTopic, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error,
        name: wanted.name.clone(),
        topic_id: wanted.topic_id,
        is_internal: wanted.name.as_ref().is_some_and(|name| is_internal_topic(name.as_str())),
        ..Default::default()
    }
}

fn described(topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(index, state)| MetadataResponsePartition {
        error_code: ErrorCode::None,
        partition_index: PartitionIndex(index),
        leader_id: state.leader,
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.in_sync.clone(),
        offline_replicas: Vec::new(),
    });
    MetadataResponseTopic {
        error_code: ErrorCode::None,
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
    }
}
