//! DeleteRecords (21): moves the start of partitions up. Answered once that is on disk.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::Topic;
use streamledger_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopic,
    DeleteRecordsTopicResult,
};
use streamledger_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use streamledger_protocol::{ErrorCode, Offset, TopicId};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for DeleteRecordsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Each(&[(Operation::Delete, ResourceType::Topic)]);

    fn refused(&self, error: ErrorCode) -> DeleteRecordsResponse {
        answered(&self.topics, |_, _| Err(error))
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DeleteRecordsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        let deleted = call.blocking(move |_| {
            answered(&self.topics, |topic, partition| delete(&asking, topic, partition))
        });
        deleted.await.unwrap_or(failed).into()
    }
}

fn answered(
    topics: &[DeleteRecordsTopic],
    delete: impl Fn(&DeleteRecordsTopic, &DeleteRecordsPartition) -> Result<Offset, ErrorCode>,
) -> DeleteRecordsResponse {
    let topics = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let outcome = delete(topic, partition);
            DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: outcome.unwrap_or(Offset::NONE),
                error_code: outcome.err().unwrap_or(ErrorCode::None),
            }
        });
        DeleteRecordsTopicResult { name: topic.name.clone(), partitions: partitions.collect() }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete(
    call: &Call,
    asked: &DeleteRecordsTopic,
    partition: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    let topic = call.topic_for(Operation::Delete, &asked.name, TopicId::ZERO)?;
    if Topic::is_internal(&topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let log = call.node.partition(&topic, partition.partition_index)?;
    // What compaction keeps is not to be deleted by its place (Kafka's `ReplicaManager`).
    if !log.config().cleanup.deletes() {
        return Err(ErrorCode::PolicyViolation);
    }
    log.delete_records_before(partition.offset).map_err(|error| error.error_code())
}
