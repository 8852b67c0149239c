//! Metadata (3): brokers, topics and their leaders; asking for a topic may create it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::controller::{NewTopic, Topic, is_internal_topic};
use streamledger_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::messages::{MetadataRequest, MetadataResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, PartitionIndex, TopicName};

use super::{Answer, Api, Call, authorized};
use crate::controller::random_topic_id;

/// The first version in which a topic that is not known by its id may have no name.
const NULL_NAME_FROM: ApiVersion = ApiVersion(12);

impl Api for MetadataRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=13;

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
        if !wants_all && self.allow_auto_topic_creation && call.node.settings.auto_creates_topics {
            create_missing(call, &asked).await;
        }
        let operations = if self.include_topic_authorized_operations {
            authorized::TOPIC_OPERATIONS
        } else {
            authorized::NOT_ASKED
        };
        let mut topics: Vec<_> = call.node.controller.read(|state| {
            if wants_all {
                return state.topics().map(|topic| described(topic, operations)).collect();
            }
            let find = |wanted: &MetadataRequestTopic| match &wanted.name {
                Some(name) => state.topic(name.as_str()),
                None => state.topic_by_id(wanted.topic_id),
            };
            let describe = |wanted| match find(wanted) {
                Some(topic) => described(topic, operations),
                None => refused_topic(wanted, not_there(wanted)),
            };
            asked.iter().map(describe).collect()
        });
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
            cluster_authorized_operations: if self.include_cluster_authorized_operations {
                authorized::CLUSTER_OPERATIONS
            } else {
                authorized::NOT_ASKED
            },
            error_code: ErrorCode::None,
        }
        .into()
    }
}

/// Creates the topics that are asked for by name and not there, one by one. A refusal shows in
/// the answer as what it is: a topic that is not there.
async fn create_missing(call: &Arc<Call>, asked: &[MetadataRequestTopic]) {
    let missing: Vec<TopicName> = call.node.controller.read(|state| {
        let names = asked.iter().filter_map(|topic| topic.name.as_ref());
        names
            .filter(|name| state.topic(name.as_str()).is_none())
            .filter(|name| name.validate().is_ok() && !is_internal_topic(name.as_str()))
            .cloned()
            .collect()
    });
    if missing.is_empty() {
        return;
    }
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
            if let Err(refusal) = node.create_topic(&topic, false) {
                tracing::debug!(topic = %topic.name, refusal.message, "not created on demand");
            }
        }
    });
    created.await;
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
