//! DescribeProducers (61): the producers that partitions remember (KIP-664).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::messages::describe_producers::{
    PartitionResponse, ProducerState, TopicRequest, TopicResponse,
};
use streamledger_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use streamledger_protocol::{ErrorCode, Offset, PartitionIndex};

use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for DescribeProducersRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;

    fn refused(&self, error: ErrorCode) -> DescribeProducersResponse {
        answered(&self.topics, |_, index| refused(index, error))
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeProducersResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        // A log that was put down is opened for it.
        let described = call.blocking(move |node| {
            answered(&self.topics, |topic, index| match describe(node, topic, index) {
                Ok(active_producers) => PartitionResponse {
                    partition_index: index,
                    error_code: ErrorCode::None,
                    error_message: None,
                    active_producers,
                },
                Err(error) => refused(index, error),
            })
        });
        described.await.unwrap_or(failed).into()
    }
}

fn answered(
    topics: &[TopicRequest],
    answer: impl Fn(&TopicRequest, PartitionIndex) -> PartitionResponse,
) -> DescribeProducersResponse {
    let topics = topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(|index| answer(topic, *index)).collect(),
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn describe(
    node: &Node,
    topic: &TopicRequest,
    index: PartitionIndex,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let topic = node.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let log = node.partition(&topic, index)?;
    let producers = log.producers().map_err(|offline| offline.error_code())?;
    let described = producers.into_iter().map(|(producer_id, state)| ProducerState {
        producer_id,
        producer_epoch: i32::from(state.epoch.0),
        last_sequence: state.last_sequence(),
        last_timestamp: state.last_timestamp,
        coordinator_epoch: state.coordinator_epoch,
        current_txn_start_offset: state.open_transaction.unwrap_or(Offset::NONE),
    });
    Ok(described.collect())
}

fn refused(index: PartitionIndex, error: ErrorCode) -> PartitionResponse {
    PartitionResponse { partition_index: index, error_code: error, ..Default::default() }
}
