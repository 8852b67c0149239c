//! CreateTopics (19): new topics, with their settings checked; or only checked.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::config::{ConfigEntry, resolve_topic_configs};
use streamledger_broker_core::controller::{CreatedTopic, NewTopic, Refusal};
use streamledger_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
};
use streamledger_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use streamledger_protocol::{ErrorCode, TopicId, TopicName};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::controller::random_topic_id;
use crate::node::{Node, refuse_internal};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const QUOTA_ERROR_FROM: i16 = 6;

impl Api for CreateTopicsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 2..=7;
    const ACCESS: Access = Access::Each(&[
        // One of these two.
        (Operation::Create, ResourceType::Cluster),
        (Operation::Create, ResourceType::Topic),
        // Else the answer has no settings.
        (Operation::DescribeConfigs, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> CreateTopicsResponse {
        let refuse = |topic: &CreatableTopic| refused(&topic.name, Refusal::new(error, ""));
        CreateTopicsResponse {
            topics: self.topics.iter().map(refuse).collect(),
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<CreateTopicsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        let mut quota = call.mutations(call.version.0 >= QUOTA_ERROR_FROM);
        let created = call.blocking(move |node| {
            let makes_all = asking.allows_cluster(Operation::Create);
            let mut times_asked: HashMap<TopicName, usize> = HashMap::new();
            for topic in &self.topics {
                *times_asked.entry(topic.name.clone()).or_default() += 1;
            }
            let topics = self.topics.into_iter().map(|topic| {
                let name = topic.name.clone();
                if times_asked.get(&name).is_some_and(|&times| times > 1) {
                    let message = "The topic is in the request more than once.";
                    return refused(&name, Refusal::new(ErrorCode::InvalidRequest, message));
                }
                if !makes_all && !asking.allows_topic(Operation::Create, &name) {
                    let error = ErrorCode::TopicAuthorizationFailed;
                    return refused(&name, Refusal::new(error, "Authorization failed."));
                }
                let new = new_topic(topic);
                let created = refuse_internal(&name)
                    .and_then(|()| node.create_topic(&new, self.validate_only, &mut quota));
                match created {
                    Ok(created) => {
                        let told = described(node, &name, &created, self.validate_only);
                        match asking.allows_topic(Operation::DescribeConfigs, &name) {
                            true => told,
                            false => without_settings(told),
                        }
                    }
                    Err(refusal) => refused(&name, refusal),
                }
            });
            let topics = topics.collect();
            asking.throttle(quota.wait());
            CreateTopicsResponse { topics, ..Default::default() }
        });
        created.await.unwrap_or(failed).into()
    }
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let by_hand = topic.assignments.into_iter();
    NewTopic {
        id: random_topic_id(),
        name: topic.name,
        partition_count: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: by_hand.map(|own| (own.partition_index, own.broker_ids)).collect(),
        configs: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
    }
}

fn described(
    node: &Node,
    name: &TopicName,
    created: &CreatedTopic,
    is_only_validated: bool,
) -> CreatableTopicResult {
    let configs = resolve_topic_configs(&created.configs, &node.controller.broker_configs());
    CreatableTopicResult {
        name: name.clone(),
        topic_id: if is_only_validated { TopicId::ZERO } else { created.id },
        error_code: ErrorCode::None,
        error_message: None,
        topic_config_error_code: ErrorCode::None,
        num_partitions: i32::try_from(created.assignments.len()).unwrap_or(i32::MAX),
        replication_factor: created
            .assignments
            .first()
            .map_or(-1, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX)),
        configs: Some(configs.into_iter().map(config).collect()),
    }
}

/// For who may make a topic, and not see its settings.
fn without_settings(told: CreatableTopicResult) -> CreatableTopicResult {
    CreatableTopicResult {
        topic_config_error_code: ErrorCode::TopicAuthorizationFailed,
        num_partitions: -1,
        replication_factor: -1,
        configs: None,
        ..told
    }
}

fn config(entry: ConfigEntry) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: entry.name.to_owned(),
        value: entry.value,
        read_only: entry.is_read_only,
        config_source: entry.source.wire_code(),
        is_sensitive: false,
    }
}

fn refused(name: &TopicName, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.clone(),
        error_code: refusal.error,
        error_message: Some(refusal.message).filter(|message| !message.is_empty()),
        ..Default::default()
    }
}
