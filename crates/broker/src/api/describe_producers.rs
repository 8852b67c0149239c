//! DescribeProducers (61): the producers that partitions remember (KIP-664).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_protocol::messages::describe_producers::{
    PartitionResponse, ProducerState, TopicRequest, TopicResponse,
};
use streamledger_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use streamledger_protocol::{ErrorCode, Offset, PartitionIndex, TopicId};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for DescribeProducersRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Each(&[(Operation::Read, ResourceType::Topic)]);

    fn refused(&self, error: ErrorCode) -> DescribeProducersResponse {
        answered(&self.topics, |_, index| refused(index, error))
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeProducersResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        // A log that was put down is opened for it.
        let asking = Arc::clone(call);
        let described = call.blocking(move |_| {
            answered(&self.topics, |topic, index| match describe(&asking, topic, index) {
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
    call: &Call,
    topic: &TopicRequest,
    index: PartitionIndex,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let topic = call.topic_for(Operation::Read, &topic.name, TopicId::ZERO)?;
    let log = call.node.partition(&topic, index)?;
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
