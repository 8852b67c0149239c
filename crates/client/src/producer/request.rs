//! A produce request as the broker wants it, and its answer as the sender wants it.

use std::future::Future;
use std::time::Duration;

use streamledger_client_core::sender::{Event, OutgoingRequest, PartitionAnswer, RequestId};
use streamledger_client_core::transaction::TransactionVersion;
use streamledger_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use streamledger_protocol::messages::{ProduceRequest, ProduceResponse};
use streamledger_protocol::{
    Acks, ApiKey, ApiVersion, BrokerId, ErrorCode, LeaderEpoch, TopicId, TopicName, TopicPartition,
};

use crate::metadata::MetadataRefresher;
use crate::network::{BrokerConnection, NetworkError};

/// A request that was queued.
pub(super) enum Sent<A, W> {
    /// With acks=1 or all.
    Answered(A),
    /// With acks=0; done when it is written.
    Unanswered(W),
}

/// The answer to a request, for the sender and for the view of the cluster.
pub(super) struct Answered {
    pub(super) event: Event,
    /// Who leads now, as the broker says that doesn't (KIP-951).
    hints: Vec<(TopicPartition, BrokerId, LeaderEpoch)>,
}

impl Answered {
    /// Tells the view of new leaders, and says whether there were any.
    pub(super) fn hint(&self, refresher: &MetadataRefresher) -> bool {
        for (topic_partition, leader, leader_epoch) in &self.hints {
            refresher.hint_leader(topic_partition, *leader, *leader_epoch);
        }
        !self.hints.is_empty()
    }
}

/// From this version on topics are named by id (KIP-516).
const BY_TOPIC_ID: ApiVersion = ApiVersion(13);

/// From this version on a request adds its partitions to its transaction (KIP-890).
const ADDS_PARTITIONS: ApiVersion = ApiVersion(12);

/// Queues the request on the connection: calls in order are requests in order.
pub(super) fn send(
    connection: &BrokerConnection,
    outgoing: OutgoingRequest,
    timeout: Duration,
) -> Sent<
    impl Future<Output = Result<Answered, NetworkError>> + use<>,
    impl Future<Output = Result<(), NetworkError>> + use<>,
> {
    let (id, acks) = (outgoing.request, outgoing.acks);
    let common = connection.version_for(ApiKey::Produce);
    let has_all_ids = outgoing.batches.iter().all(|batch| !batch.topic_id.is_zero());
    let version = match common {
        Some(version) if version >= BY_TOPIC_ID && !has_all_ids => {
            Some(ApiVersion(BY_TOPIC_ID.0 - 1))
        }
        common => common,
    };
    let transaction = outgoing.transaction.as_ref().map(|transaction| transaction.version);
    let version = match (version, transaction) {
        (Some(version), Some(TransactionVersion::V1)) => {
            Some(version.min(ApiVersion(ADDS_PARTITIONS.0 - 1)))
        }
        // The cluster has agreed on version 2, but this broker can't have.
        (version, Some(TransactionVersion::V2)) => version.filter(|v| *v >= ADDS_PARTITIONS),
        (version, _) => version,
    };
    let request = message(outgoing);
    if acks == Acks::None {
        return Sent::Unanswered(connection.send_only(version, &request));
    }
    let topics: Vec<_> =
        request.topic_data.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect();
    let answer = connection.call_in(version, &request, timeout);
    Sent::Answered(async move { Ok(read(id, &topics, answer.await?)) })
}

fn message(outgoing: OutgoingRequest) -> ProduceRequest {
    let mut topic_data: Vec<TopicProduceData> = Vec::new();
    for batch in outgoing.batches {
        let TopicPartition { topic, partition } = batch.topic_partition;
        let partition = PartitionProduceData { index: partition, records: Some(batch.bytes) };
        // Mostly one topic, or a few.
        match topic_data.iter_mut().find(|other| other.name == topic) {
            Some(topic) => topic.partition_data.push(partition),
            None => topic_data.push(TopicProduceData {
                name: topic,
                topic_id: batch.topic_id,
                partition_data: vec![partition],
            }),
        }
    }
    ProduceRequest {
        transactional_id: outgoing.transaction.map(|transaction| transaction.id),
        acks: outgoing.acks as i16,
        timeout_ms: i32::try_from(outgoing.timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data,
    }
}

fn read(
    request: RequestId,
    topics: &[(TopicName, TopicId)],
    response: ProduceResponse,
) -> Answered {
    let throttle_ms = u64::try_from(response.throttle_time_ms).unwrap_or(0);
    let mut partitions = Vec::new();
    let mut hints = Vec::new();
    for topic in response.responses {
        let named = |(name, id): &&(TopicName, TopicId)| {
            if topic.topic_id.is_zero() { *name == topic.name } else { *id == topic.topic_id }
        };
        // What was not asked for is nobody's.
        let Some((name, _)) = topics.iter().find(named) else { continue };
        for partition in topic.partition_responses {
            let topic_partition =
                TopicPartition { topic: name.clone(), partition: partition.index };
            let leader = &partition.current_leader;
            if partition.error_code != ErrorCode::None && leader.leader_id.0 >= 0 {
                hints.push((topic_partition.clone(), leader.leader_id, leader.leader_epoch));
            }
            tell(&topic_partition, &partition);
            let answer = PartitionAnswer {
                error: partition.error_code,
                base_offset: partition.base_offset,
                log_append_time: partition.log_append_time_ms,
            };
            partitions.push((topic_partition, answer));
        }
    }
    let throttle = Duration::from_millis(throttle_ms);
    Answered { event: Event::ProduceResponse { request, throttle, partitions }, hints }
}

/// Says in the log what the broker has against a batch, in its own words.
fn tell(topic_partition: &TopicPartition, partition: &PartitionProduceResponse) {
    let error = partition.error_code;
    if error != ErrorCode::None {
        let message = partition.error_message.as_deref().unwrap_or("");
        let records = partition.record_errors.len();
        tracing::debug!(%topic_partition, %error, message, records, "a batch was refused");
    }
}
