//! OffsetDelete (47): deletes what a group stored for topics that no member of it subscribes to.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::messages::offset_delete::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use streamledger_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use streamledger_protocol::{ErrorCode, TopicPartition};

use super::{Answer, Api, Call};

impl Api for OffsetDeleteRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;

    fn refused(&self, error: ErrorCode) -> OffsetDeleteResponse {
        OffsetDeleteResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<OffsetDeleteResponse> {
        let asked = self.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|one| TopicPartition::new(topic.name.clone(), one.partition_index))
        });
        let known: Vec<TopicPartition> = asked
            .filter(|one| {
                let topic = call.node.topic(&one.topic);
                topic.is_some_and(|topic| topic.partition(one.partition).is_some())
            })
            .collect();
        let groups = &call.node.groups;
        let answers = match groups.delete_offsets(&call.node, &self.group_id, &known).await {
            Ok(answers) => answers,
            Err(error) => return self.refused(error).into(),
        };
        let answers: BTreeMap<&TopicPartition, ErrorCode> = known.iter().zip(answers).collect();
        let topics = self.topics.iter().map(|topic| OffsetDeleteResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .map(|one| {
                    let partition = TopicPartition::new(topic.name.clone(), one.partition_index);
                    let answer = answers.get(&partition).copied();
                    OffsetDeleteResponsePartition {
                        partition_index: one.partition_index,
                        error_code: answer.unwrap_or(ErrorCode::UnknownTopicOrPartition),
                    }
                })
                .collect(),
            name: topic.name.clone(),
        });
        OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }.into()
    }
}
