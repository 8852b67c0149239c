//! Produce (0): appends record batches. Done when they are in the page cache, in the order of the
//! requests; answered when they are flushed as the policy asks, whatever acks says: an ack is a
//! promise, also with acks=1.
//!
//! What is not flushed within the request's `timeout_ms` is answered REQUEST_TIMED_OUT, as Kafka's
//! `DelayedProduce` does for acks=all: it is in the log, and its retry is known as a duplicate.
//!
//! A transactional batch is let in by its producer's transaction: see `coordinator::produce_gate`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::Topic;
use streamledger_broker_core::log::{AppendOrigin, AppendOutcome};
use streamledger_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceResponse,
};
use streamledger_protocol::messages::{ProduceRequest, ProduceResponse};
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{Acks, ApiVersion, Codec, ErrorCode, Offset, PartitionIndex};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::access::Access;
use super::{Answer, Api, Call, CloseReason, Held};
use crate::coordinator::admit;
use crate::node::Node;
use crate::storage::{Admission, AppendError, Partition, TransactionGuard};

/// The first version in which a batch may be compressed with zstd (KIP-110).
const ZSTD_FROM: ApiVersion = ApiVersion(7);

impl Api for ProduceRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 3..=13;
    // librdkafka drops gzip, snappy and lz4 without a word where 0 is missing (KAFKA-18659).
    const ADVERTISED_FROM: i16 = 0;
    const ACCESS: Access = Access::Each(&[
        (Operation::Write, ResourceType::Topic),
        (Operation::Write, ResourceType::TransactionalId),
    ]);

    fn refused(&self, error: ErrorCode) -> ProduceResponse {
        let refuse = |data: &PartitionProduceData| Refusal::of(error).answer(data.index);
        let responses = self.topic_data.iter().map(|topic| TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: topic.partition_data.iter().map(refuse).collect(),
        });
        ProduceResponse { responses: responses.collect(), ..Default::default() }
    }

    async fn handle(mut self, call: &Arc<Call>) -> Answer<ProduceResponse> {
        let Some(acks) = Acks::from_code(self.acks) else {
            return self.refused(ErrorCode::InvalidRequiredAcks).into();
        };
        let refused = match check_transaction(call, &self) {
            Err(error) => Some(self.refused(error)),
            Ok(()) => None,
        };
        if let Some(refused) = refused {
            return if acks == Acks::None { without_answer(&refused) } else { refused.into() };
        }
        // Before the gate, which makes partitions join the transaction.
        let mut response =
            ProduceResponse { responses: take_denied(call, &mut self), ..Default::default() };
        let gates = admit(call, &self).await;
        let (mut allowed, mut unflushed) = (Vec::new(), Vec::new());
        for (topic_position, data) in self.topic_data.into_iter().enumerate() {
            let topic = call.node.topic_named(&data.name, data.topic_id);
            let mut partition_responses = Vec::with_capacity(data.partition_data.len());
            for (position, partition) in data.partition_data.into_iter().enumerate() {
                let index = partition.index;
                let appended = match (&topic, gates.guard(topic_position, position)) {
                    (Err(error), _) => Err(Refusal::of(*error)),
                    (Ok(_), Err(error)) => Err(Refusal::of(error)),
                    (Ok(topic), Ok(guard)) => append(
                        call,
                        topic,
                        index,
                        Admitted { records: partition.records, guard },
                        acks,
                    ),
                };
                partition_responses.push(match appended {
                    Err(refusal) => refusal.answer(index),
                    Ok((log, outcome)) => {
                        let last_offset = outcome.last_offset;
                        let place = (topic_position, position);
                        unflushed.push(Unflushed { place, log, last_offset });
                        answer_of(index, &outcome)
                    }
                });
            }
            let (name, topic_id) = (data.name, data.topic_id);
            allowed.push(TopicProduceResponse { name, topic_id, partition_responses });
        }
        // Those that were let in have their places by which they are found.
        response.responses.splice(0..0, allowed);
        if acks == Acks::None {
            return without_answer(&response);
        }
        let timeout = Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0));
        Answer::Later(Box::pin(once_flushed(response, unflushed, timeout)))
    }
}

/// That who calls may write transactional batches by that id, if there are any.
fn check_transaction(call: &Call, request: &ProduceRequest) -> Result<(), ErrorCode> {
    let Some(id) = &request.transactional_id else { return Ok(()) };
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut batches = batches.filter_map(|data| data.records.as_deref());
    let is_transactional = batches.any(|records| {
        let header = RecordBatchHeader::parse(records);
        header.is_ok_and(|header| header.attributes.is_transactional())
    });
    match is_transactional {
        true => call.check_transactional_id(Operation::Write, id),
        false => Ok(()),
    }
}

/// Takes topics out that who calls may not write to, and gives their answers.
fn take_denied(call: &Call, request: &mut ProduceRequest) -> Vec<TopicProduceResponse> {
    let mut denied = Vec::new();
    if call.node.authorizer.is_none() {
        return denied;
    }
    request.topic_data.retain(|topic| {
        let found = call.topic_for(Operation::Write, &topic.name, topic.topic_id);
        let is_denied = found.err() == Some(ErrorCode::TopicAuthorizationFailed);
        if is_denied {
            let refusal = |data: &PartitionProduceData| {
                Refusal::of(ErrorCode::TopicAuthorizationFailed).answer(data.index)
            };
            denied.push(TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses: topic.partition_data.iter().map(refusal).collect(),
            });
        }
        !is_denied
    });
    denied
}

/// An append whose flush is to be waited for, and where in the response its answer is.
struct Unflushed {
    place: (usize, usize),
    log: Arc<Partition>,
    last_offset: Offset,
}

/// Why a partition's records were not appended.
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
}

impl Refusal {
    const fn of(error: ErrorCode) -> Self {
        Self { error, message: None }
    }

    fn answer(self, index: PartitionIndex) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.error,
            base_offset: Offset::NONE,
            error_message: self.message,
            ..Default::default()
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self { error: error.error_code(), message: Some(error.to_string()) }
    }
}

/// Records that may be appended as far as their transaction goes.
struct Admitted {
    records: Option<Bytes>,
    guard: Option<TransactionGuard>,
}

fn append(
    call: &Call,
    topic: &Topic,
    index: PartitionIndex,
    admitted: Admitted,
    acks: Acks,
) -> Result<(Arc<Partition>, AppendOutcome), Refusal> {
    let node: &Node = &call.node;
    if topic.is_internal() {
        // What a coordinator reads back at start is what it wrote itself.
        return Err(Refusal::of(ErrorCode::InvalidTopicException));
    }
    let log = node.partition(topic, index).map_err(Refusal::of)?;
    if acks == Acks::All && !node.has_enough_replicas(topic, index) {
        return Err(Refusal::of(ErrorCode::NotEnoughReplicas));
    }
    let records = admitted.records.unwrap_or_default();
    if call.version < ZSTD_FROM
        && let Ok(header) = RecordBatchHeader::parse(&records)
        && header.attributes.codec().is_ok_and(|codec| codec == Codec::Zstd)
    {
        return Err(Refusal::of(ErrorCode::UnsupportedCompressionType));
    }
    let owner = || call.producer_owner();
    let admission = Admission { guard: admitted.guard, owner: Some(&owner) };
    let outcome = log.append_admitted(records, AppendOrigin::Client, admission)?;
    Ok((log, outcome))
}

fn answer_of(index: PartitionIndex, outcome: &AppendOutcome) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: ErrorCode::None,
        base_offset: outcome.base_offset,
        log_append_time_ms: outcome.log_append_time,
        log_start_offset: outcome.log_start_offset,
        ..Default::default()
    }
}

/// The response, once all that it acknowledges is flushed, or the time is up. Each wait costs
/// nothing once a later one's flush is done, so they are taken one after the other.
async fn once_flushed(
    mut response: ProduceResponse,
    unflushed: Vec<Unflushed>,
    timeout: Duration,
) -> Held<ProduceResponse> {
    let deadline = Instant::now() + timeout;
    for wait in unflushed {
        let (topic, partition) = wait.place;
        let answer = &mut response.responses[topic].partition_responses[partition];
        match timeout_at(deadline, wait.log.wait_flushed(wait.last_offset)).await {
            Ok(Ok(())) => {}
            Ok(Err(offline)) => {
                let message = Some(offline.to_string());
                *answer = Refusal { error: offline.error_code(), message }.answer(answer.index);
            }
            Err(_elapsed) => answer.error_code = ErrorCode::RequestTimedOut,
        }
    }
    Held::whole(response)
}

/// With acks=0 nothing is answered; an error can only be told by closing the connection, so that
/// the client refreshes what it believes (Kafka's `KafkaApis.handleProduceRequest`).
fn without_answer(response: &ProduceResponse) -> Answer<ProduceResponse> {
    let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let Some(failed) = answers.into_iter().find(|one| one.error_code != ErrorCode::None) else {
        return Answer::Nothing;
    };
    debug!(partition = %failed.index, error = %failed.error_code, "acks=0: not appended");
    Answer::Close(CloseReason::FailedWithoutAck(failed.error_code))
}

#[cfg(test)]
mod tests {
    use streamledger_protocol::compression::CompressionScratch;
    use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder};
    use streamledger_protocol::{LeaderEpoch, TimestampMs, TopicId, TopicPartition};

    use super::*;
    use crate::storage::{DiskFaults, LogConfig, LogStore, LogStoreConfig};

    fn batch() -> Bytes {
        let mut builder = RecordBatchBuilder::with_capacity(100);
        builder.append(TimestampMs(1), None, Some(b"x"), &[]);
        builder.seal(&BatchSeal::default(), &mut CompressionScratch::new()).unwrap().bytes
    }

    #[tokio::test]
    async fn failure_37_what_is_not_flushed_in_time_is_answered_as_timed_out_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(DiskFaults::new());
        let config = LogStoreConfig { faults: Some(Arc::clone(&faults)), ..Default::default() };
        let store = LogStore::open(directory.path(), config).unwrap();
        let clicks = TopicPartition::new("clicks", PartitionIndex(0));
        let log = store
            .create_partition(&clicks, TopicId([7; 16]), &LogConfig::default(), LeaderEpoch(0))
            .unwrap();
        let answer = |outcome: &AppendOutcome| ProduceResponse {
            responses: vec![TopicProduceResponse {
                partition_responses: vec![answer_of(PartitionIndex(0), outcome)],
                ..Default::default()
            }],
            ..Default::default()
        };
        let wait = |outcome: &AppendOutcome| {
            vec![Unflushed {
                place: (0, 0),
                log: Arc::clone(&log),
                last_offset: outcome.last_offset,
            }]
        };
        // An append needs no fsync, and its flush gets nowhere.
        faults.hold_syncs(true);
        let outcome = log.append(batch(), AppendOrigin::Client).unwrap();
        let answered_after = async |ms| {
            let timeout = Duration::from_millis(ms);
            let held = once_flushed(answer(&outcome), wait(&outcome), timeout).await;
            let answered = &held.response.responses[0].partition_responses[0];
            assert_eq!(answered.base_offset, Offset(0));
            answered.error_code
        };
        assert_eq!(answered_after(0).await, ErrorCode::RequestTimedOut);
        assert_eq!(answered_after(20).await, ErrorCode::RequestTimedOut);
        faults.hold_syncs(false);
        assert_eq!(answered_after(60_000).await, ErrorCode::None);
        assert_eq!(log.log_end_offset(), Offset(1));
    }
}
