//! WriteTxnMarkers (27): writes markers as another coordinator, or `kafka-transactions abort`, asks
//! for. Answered when they are on disk and have taken effect on stored offsets (KAFKA-17507), for
//! each marker of the request (KAFKA-17877).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::log::{MarkerEpoch, TransactionMarker};
use streamledger_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
};
use streamledger_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use streamledger_protocol::{ErrorCode, Offset, ProducerIdentity, TopicPartition};

use super::access::Access;
use super::{Answer, Api, Call, Held};
use crate::coordinator::{MarkerRefusal, write_marker};
use crate::storage::Partition;

impl Api for WriteTxnMarkersRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=2;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter, Operation::ClusterAction]);

    fn refused(&self, error: ErrorCode) -> WriteTxnMarkersResponse {
        let markers = self.markers.iter().map(|marker| result(marker, |_| error));
        WriteTxnMarkersResponse { markers: markers.collect() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<WriteTxnMarkersResponse> {
        let mut unflushed = Vec::new();
        let markers = self.markers.iter().enumerate().map(|(place, asked)| {
            let marker = TransactionMarker {
                producer: ProducerIdentity { id: asked.producer_id, epoch: asked.producer_epoch },
                coordinator_epoch: asked.coordinator_epoch,
                committed: asked.transaction_result,
            };
            // Older versions of the request don't say.
            let epoch = match asked.transaction_version {
                ..=1 => MarkerEpoch::Same,
                2.. => MarkerEpoch::Raised,
            };
            result(asked, |partition| match write_marker(&call.node, &partition, &marker, epoch) {
                Ok((log, last)) => {
                    unflushed.push((place, log, last));
                    ErrorCode::None
                }
                Err(refusal) => MarkerRefusal::error_code(&refusal),
            })
        });
        let response = WriteTxnMarkersResponse { markers: markers.collect() };
        Answer::Later(Box::pin(once_flushed(response, unflushed)))
    }
}

fn result(
    asked: &WritableTxnMarker,
    mut write: impl FnMut(TopicPartition) -> ErrorCode,
) -> WritableTxnMarkerResult {
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in &asked.topics {
        let partitions = topic.partition_indexes.iter().map(|&partition_index| {
            let partition = TopicPartition::new(topic.name.clone(), partition_index);
            WritableTxnMarkerPartitionResult { partition_index, error_code: write(partition) }
        });
        topics.push(WritableTxnMarkerTopicResult {
            partitions: partitions.collect(),
            name: topic.name.clone(),
        });
    }
    WritableTxnMarkerResult { producer_id: asked.producer_id, topics }
}

async fn once_flushed(
    mut response: WriteTxnMarkersResponse,
    unflushed: Vec<(usize, Arc<Partition>, Offset)>,
) -> Held<WriteTxnMarkersResponse> {
    for (place, log, last) in unflushed {
        let Err(offline) = log.wait_flushed(last).await else { continue };
        let of = log.topic_partition();
        let topics = response.markers.get_mut(place).map(|marker| &mut marker.topics);
        let topics = topics.into_iter().flatten().filter(|topic| topic.name == of.topic);
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            if partition.partition_index == of.partition {
                partition.error_code = offline.error_code();
            }
        }
    }
    Held::whole(response)
}
