//! OffsetForLeaderEpoch (23): where an epoch ended, so that a reader sees whether what it read is
//! still there (KIP-320).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::Topic;
use streamledger_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use streamledger_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use streamledger_protocol::{ErrorCode, PartitionIndex, TopicId};

use super::access::Access;
use super::{Answer, Api, Call, leadership};
use crate::node::Node;

impl Api for OffsetForLeaderEpochRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 2..=4;
    // The one or the other, as brokers asked it first and consumers only later.
    const ACCESS: Access = Access::Each(&[
        (Operation::ClusterAction, ResourceType::Cluster),
        (Operation::Describe, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> OffsetForLeaderEpochResponse {
        let topics = self.topics.iter().map(|topic| OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(|ask| refused(ask.partition, error)).collect(),
        });
        OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<OffsetForLeaderEpochResponse> {
        let is_broker = call.allows_cluster(Operation::ClusterAction);
        let topics = self.topics.into_iter().map(|topic| {
            let found = match is_broker {
                true => call.node.topic_named(&topic.topic, TopicId::ZERO),
                false => call.topic_for(Operation::Describe, &topic.topic, TopicId::ZERO),
            };
            let answer = |ask: &OffsetForLeaderPartition| match &found {
                Ok(found) => end_of_epoch(&call.node, found, ask)
                    .unwrap_or_else(|error| refused(ask.partition, error)),
                Err(error) => refused(ask.partition, *error),
            };
            OffsetForLeaderTopicResult {
                partitions: topic.partitions.iter().map(answer).collect(),
                topic: topic.topic,
            }
        });
        OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }.into()
    }
}

fn end_of_epoch(
    node: &Node,
    topic: &Topic,
    ask: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let log = node.partition(topic, ask.partition)?;
    leadership::check(topic, ask.partition, ask.current_leader_epoch)?;
    let end = log.end_offset_for_epoch(ask.leader_epoch).map_err(|offline| offline.error_code())?;
    Ok(EpochEndOffset {
        error_code: ErrorCode::None,
        partition: ask.partition,
        leader_epoch: end.epoch,
        end_offset: end.end_offset,
    })
}

fn refused(partition: PartitionIndex, error_code: ErrorCode) -> EpochEndOffset {
    EpochEndOffset { error_code, partition, ..Default::default() }
}
