//! Creates and deletes topics and partitions: what the controller does.

use streamledger_protocol::messages::create_partitions::CreatePartitionsTopic;
use streamledger_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use streamledger_protocol::messages::delete_topics::DeleteTopicState;
use streamledger_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
};
use streamledger_protocol::{ApiKey, ApiVersion, PartitionIndex, TopicName};

use super::retry::{Learnt, outcome};
use super::{AdminError, CreatedTopic, NewPartitions, NewTopic, Results, Shell};

/// The first version of CreateTopics in which the broker fills in what is left to it (KIP-464).
const CREATE_WITH_DEFAULTS: ApiVersion = ApiVersion(4);

impl Shell {
    pub(super) async fn create_topics(
        &self,
        topics: &[NewTopic],
    ) -> Result<Results<CreatedTopic>, AdminError> {
        let names: Vec<TopicName> = topics.iter().map(|topic| topic.name.clone()).collect();
        for name in &names {
            name.validate()?;
        }
        self.retry_each(&names, |open| self.try_create_topics(topics, open)).await
    }

    async fn try_create_topics(
        &self,
        topics: &[NewTopic],
        open: Vec<TopicName>,
    ) -> Result<Learnt<TopicName, CreatedTopic>, AdminError> {
        let connection = self.controller().await?;
        // Before Kafka 2.4 a topic needs its numbers told: one partition on one broker then.
        let version = connection.version_for(ApiKey::CreateTopics);
        let unset = if version >= Some(CREATE_WITH_DEFAULTS) { -1 } else { 1 };
        let wanted = topics.iter().filter(|topic| open.contains(&topic.name));
        let request = CreateTopicsRequest {
            topics: wanted.map(|topic| creatable(topic, unset)).collect(),
            timeout_ms: self.request_timeout_ms(),
            validate_only: false,
        };
        let response = connection.call(&request, self.request_timeout()).await?;
        let learnt = response.topics.into_iter().map(|topic| {
            let created = CreatedTopic {
                name: topic.name.clone(),
                id: topic.topic_id,
                partition_count: Some(topic.num_partitions).filter(|count| *count > 0),
                replication_factor: Some(topic.replication_factor).filter(|factor| *factor > 0),
            };
            (topic.name, outcome(topic.error_code, topic.error_message, created))
        });
        Ok(learnt.collect())
    }

    pub(super) async fn delete_topics(
        &self,
        topics: &[TopicName],
    ) -> Result<Results<()>, AdminError> {
        self.retry_each(topics, |open| self.try_delete_topics(open)).await
    }

    async fn try_delete_topics(
        &self,
        open: Vec<TopicName>,
    ) -> Result<Learnt<TopicName, ()>, AdminError> {
        let connection = self.controller().await?;
        let timeout_ms = self.request_timeout_ms();
        // Since version 6 a topic is named by its name or its id.
        let is_by_state = connection.version_for(ApiKey::DeleteTopics) >= Some(ApiVersion(6));
        let request = if is_by_state {
            let state =
                |name: TopicName| DeleteTopicState { name: Some(name), ..Default::default() };
            let topics = open.into_iter().map(state).collect();
            DeleteTopicsRequest { topics, timeout_ms, ..Default::default() }
        } else {
            DeleteTopicsRequest { topic_names: open, timeout_ms, ..Default::default() }
        };
        let response = connection.call(&request, self.request_timeout()).await?;
        let learnt = response.responses.into_iter().filter_map(|topic| {
            Some((topic.name?, outcome(topic.error_code, topic.error_message, ())))
        });
        Ok(learnt.collect())
    }

    pub(super) async fn create_partitions(
        &self,
        topics: &[NewPartitions],
    ) -> Result<Results<()>, AdminError> {
        let names: Vec<TopicName> = topics.iter().map(|topic| topic.topic.clone()).collect();
        self.retry_each(&names, |open| self.try_create_partitions(topics, open)).await
    }

    async fn try_create_partitions(
        &self,
        topics: &[NewPartitions],
        open: Vec<TopicName>,
    ) -> Result<Learnt<TopicName, ()>, AdminError> {
        let connection = self.controller().await?;
        let wanted = topics.iter().filter(|topic| open.contains(&topic.topic));
        let wanted = wanted.map(|topic| CreatePartitionsTopic {
            name: topic.topic.clone(),
            count: topic.partition_count,
            assignments: None,
        });
        let request = CreatePartitionsRequest {
            topics: wanted.collect(),
            timeout_ms: self.request_timeout_ms(),
            validate_only: false,
        };
        let response = connection.call(&request, self.request_timeout()).await?;
        let learnt = response
            .results
            .into_iter()
            .map(|topic| (topic.name, outcome(topic.error_code, topic.error_message, ())));
        Ok(learnt.collect())
    }
}

fn creatable(topic: &NewTopic, unset: i16) -> CreatableTopic {
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    });
    let assignments =
        (0..).zip(&topic.replicas).map(|(index, brokers)| CreatableReplicaAssignment {
            partition_index: PartitionIndex(index),
            broker_ids: brokers.clone(),
        });
    // Beside replicas that are chosen any number is refused, in all versions.
    let unset = if topic.replicas.is_empty() { unset } else { -1 };
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partition_count.unwrap_or(i32::from(unset)),
        replication_factor: topic.replication_factor.unwrap_or(unset),
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}
