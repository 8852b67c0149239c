//! OffsetDelete (47): deletes what a group stored for topics that no member of it subscribes to.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_protocol::messages::offset_delete::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use streamledger_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use streamledger_protocol::{ErrorCode, TopicId, TopicName, TopicPartition};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for OffsetDeleteRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Each(&[
        (Operation::Delete, ResourceType::Group),
        (Operation::Read, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> OffsetDeleteResponse {
        OffsetDeleteResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<OffsetDeleteResponse> {
        if let Err(error) = call.check_group(Operation::Delete, &self.group_id) {
            return self.refused(error).into();
        }
        let asked = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|one| TopicPartition::new(topic.name.clone(), one.partition_index))
        });
        let known: Vec<TopicPartition> = asked
            .filter(|one| {
                let topic = call.topic_for(Operation::Read, &one.topic, TopicId::ZERO);
                topic.is_ok_and(|topic| topic.partition(one.partition).is_some())
            })
            .collect();
        let groups = &call.node.groups;
        let answers = match groups.delete_offsets(&call.node, &self.group_id, &known).await {
            Ok(answers) => answers,
            Err(error) => return self.refused(error).into(),
        };
        let answers: BTreeMap<&TopicPartition, ErrorCode> = known.iter().zip(answers).collect();
        let missing = |topic: &TopicName| match call.allows_topic(Operation::Read, topic) {
            true => ErrorCode::UnknownTopicOrPartition,
            false => ErrorCode::TopicAuthorizationFailed,
        };
        let topics = self.topics.iter().map(|topic| OffsetDeleteResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .map(|one| {
                    let partition = TopicPartition::new(topic.name.clone(), one.partition_index);
                    let answer = answers.get(&partition).copied();
                    OffsetDeleteResponsePartition {
                        partition_index: one.partition_index,
                        error_code: answer.unwrap_or_else(|| missing(&topic.name)),
                    }
                })
                .collect(),
            name: topic.name.clone(),
        });
        OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }.into()
    }
}
