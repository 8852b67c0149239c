//! A question to a coordinator as that wants it, and the answer as the sender wants it.

use std::sync::Arc;
use std::time::Duration;

use streamledger_client_core::transaction::{
    AskedBroker, Capabilities, GroupOffsets, Question, TransactionAnswer, TransactionQuestion,
    TransactionReply, TransactionVersion,
};
use streamledger_protocol::message::Request;
use streamledger_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use streamledger_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use streamledger_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest,
    InitProducerIdRequest, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use streamledger_protocol::{
    ApiKey, ApiVersion, BrokerId, ErrorCode, PartitionIndex, ProducerId, ProducerIdentity,
    TopicName, TopicPartition, TransactionalId,
};

use crate::coordinator;
use crate::metadata::MetadataRefresher;
use crate::network::{BrokerConnection, NetworkError, NetworkErrorKind};

/// Versions above are for brokers among themselves.
const ADD_PARTITIONS_MAX: ApiVersion = ApiVersion(3);
/// From this version on TxnOffsetCommit and EndTxn are of transactions version 2.
const VERSION_2: ApiVersion = ApiVersion(5);

/// Puts the question and waits for its answer. `turned_away` is told if no broker lets us in.
pub(super) async fn ask(
    refresher: &MetadataRefresher,
    asked: TransactionQuestion,
    timeout: Duration,
    turned_away: impl Fn(Arc<str>),
) -> TransactionAnswer {
    let TransactionQuestion { id, to, question } = asked;
    let broker = match (to, &question) {
        (_, Question::FindCoordinator(key)) => {
            let reply = match coordinator::find(refresher, key, timeout).await {
                Ok(found) => TransactionReply::Coordinator(found),
                Err(unreachable) => {
                    tracing::warn!(%unreachable, "no coordinator was found");
                    if unreachable.is_authentication() {
                        turned_away(unreachable.to_string().into());
                    }
                    TransactionReply::Nothing { possibly_sent: false }
                }
            };
            return TransactionAnswer { id, capabilities: None, reply };
        }
        (AskedBroker::One(broker), _) => broker,
        (AskedBroker::Any, _) => BrokerId::NONE,
    };
    let mut capabilities = None;
    let reply = match refresher.connection_to(broker).await {
        Ok(connection) => {
            capabilities = capabilities_of(&connection);
            put(&connection, question, timeout).await
        }
        Err(error) => Err(error),
    };
    let reply = reply.unwrap_or_else(|error| {
        tracing::warn!(%broker, %error, "a coordinator was asked in vain");
        if error.is_authentication() {
            turned_away(error.to_string().into());
        }
        TransactionReply::Nothing { possibly_sent: error.possibly_sent }
    });
    TransactionAnswer { id, capabilities, reply }
}

fn capabilities_of(connection: &BrokerConnection) -> Option<Capabilities> {
    let level = connection.versions()?.finalized_feature("transaction.version");
    Some(Capabilities::new(level, |api| connection.version_for(api)))
}

async fn put(
    connection: &BrokerConnection,
    question: Question,
    timeout: Duration,
) -> Result<TransactionReply, NetworkError> {
    let refusal = refusal_of(&question);
    let answered = match question {
        // Answered above.
        Question::FindCoordinator(_) => return Ok(refusal),
        // A transaction that can be begun and not ended is none: some brokers give producers ids
        // and have no transactions.
        Question::InitProducerId { .. } if lacks(connection, ApiKey::EndTxn) => return Ok(refusal),
        Question::InitProducerId { transactional_id, timeout: transaction_timeout, current } => {
            let request = InitProducerIdRequest {
                transactional_id: Some(transactional_id),
                transaction_timeout_ms: millis(transaction_timeout),
                producer_id: current.id,
                producer_epoch: current.epoch,
            };
            connection.call(&request, timeout).await.map(|response| {
                let (id, epoch) = (response.producer_id, response.producer_epoch);
                let given = ProducerIdentity { id, epoch };
                TransactionReply::Identity(check(response.error_code, given))
            })
        }
        Question::AddPartitions { transactional_id, identity, partitions } => {
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: transactional_id,
                v3_and_below_producer_id: identity.id,
                v3_and_below_producer_epoch: identity.epoch,
                v3_and_below_topics: by_topic(partitions.iter().cloned()),
                ..AddPartitionsToTxnRequest::default()
            };
            let version = at_most(connection, &request, ADD_PARTITIONS_MAX);
            let answer = connection.call_in(version, &request, timeout).await;
            answer.map(|response| TransactionReply::Partitions(added(response, partitions)))
        }
        Question::AddOffsets { transactional_id, identity, group_id } => {
            let request = AddOffsetsToTxnRequest {
                transactional_id,
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                group_id,
            };
            let answer = connection.call(&request, timeout).await;
            answer.map(|response| TransactionReply::Group(response.error_code))
        }
        Question::CommitOffsets { transactional_id, identity, offsets, version } => {
            let request = offset_commit(transactional_id, identity, &offsets);
            let version = of_version(connection, &request, version);
            let answer = connection.call_in(version, &request, timeout).await;
            answer.map(|response| TransactionReply::Partitions(stored(response, offsets)))
        }
        Question::EndTransaction { transactional_id, identity, committed, version } => {
            let request = EndTxnRequest {
                transactional_id,
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                committed,
            };
            let version = of_version(connection, &request, version);
            connection.call_in(version, &request, timeout).await.map(|response| {
                let (id, epoch) = (response.producer_id, response.producer_epoch);
                let next = (id != ProducerId::NONE).then_some(ProducerIdentity { id, epoch });
                TransactionReply::Ended(check(response.error_code, next))
            })
        }
    };
    match answered {
        // Trying again would not help.
        Err(NetworkError {
            kind: NetworkErrorKind::NoCommonVersion(_) | NetworkErrorKind::NotEncodable(_),
            ..
        }) => Ok(refusal),
        answered => answered,
    }
}

/// Whether the broker at the other end is known not to have an API.
fn lacks(connection: &BrokerConnection, api: ApiKey) -> bool {
    connection.versions().is_some() && connection.version_for(api).is_none()
}

/// The answer of a broker that doesn't have the request.
fn refusal_of(question: &Question) -> TransactionReply {
    let error = ErrorCode::UnsupportedVersion;
    match question {
        Question::FindCoordinator(_) => TransactionReply::Coordinator(Err(error)),
        Question::InitProducerId { .. } => TransactionReply::Identity(Err(error)),
        Question::AddPartitions { partitions, .. } => {
            let refused = partitions.iter().map(|partition| (partition.clone(), error));
            TransactionReply::Partitions(refused.collect())
        }
        Question::AddOffsets { .. } => TransactionReply::Group(error),
        Question::CommitOffsets { offsets, .. } => {
            let refused = offsets.offsets.iter().map(|(partition, _)| (partition.clone(), error));
            TransactionReply::Partitions(refused.collect())
        }
        Question::EndTransaction { .. } => TransactionReply::Ended(Err(error)),
    }
}

fn check<T>(error: ErrorCode, value: T) -> Result<T, ErrorCode> {
    if error == ErrorCode::None { Ok(value) } else { Err(error) }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// The highest common version that is no higher.
fn at_most<R: Request>(
    connection: &BrokerConnection,
    _: &R,
    most: ApiVersion,
) -> Option<ApiVersion> {
    connection.version_for(R::API_KEY).map(|common| common.min(most))
}

/// The highest common version that is of the transaction's.
fn of_version<R: Request>(
    connection: &BrokerConnection,
    request: &R,
    version: TransactionVersion,
) -> Option<ApiVersion> {
    match version {
        TransactionVersion::V1 => at_most(connection, request, ApiVersion(VERSION_2.0 - 1)),
        TransactionVersion::V2 => {
            connection.version_for(R::API_KEY).filter(|common| *common >= VERSION_2)
        }
    }
}

fn by_topic(partitions: impl Iterator<Item = TopicPartition>) -> Vec<AddPartitionsToTxnTopic> {
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        match topics.iter_mut().find(|other| other.name == topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                topics.push(AddPartitionsToTxnTopic { name: topic, partitions: vec![partition] });
            }
        }
    }
    topics
}

fn offset_commit(
    transactional_id: TransactionalId,
    identity: ProducerIdentity,
    offsets: &GroupOffsets,
) -> TxnOffsetCommitRequest {
    let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
    for (TopicPartition { topic, partition }, offset) in &offsets.offsets {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            committed_metadata: Some(offset.metadata.clone().unwrap_or_default()),
        };
        match topics.iter_mut().find(|other| other.name == *topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TxnOffsetCommitRequestTopic {
                name: topic.clone(),
                partitions: vec![partition],
            }),
        }
    }
    let group = &offsets.group;
    TxnOffsetCommitRequest {
        transactional_id,
        group_id: group.group_id.clone(),
        producer_id: identity.id,
        producer_epoch: identity.epoch,
        generation_id: group.generation_id,
        member_id: group.member_id.clone(),
        group_instance_id: group.group_instance_id.clone(),
        topics,
    }
}

type Errors = Vec<(TopicPartition, ErrorCode)>;

fn added(response: AddPartitionsToTxnResponse, asked: Vec<TopicPartition>) -> Errors {
    let topics = response.results_by_topic_v3_and_below.into_iter();
    let answers = topics.flat_map(|topic| {
        let of = move |partition| TopicPartition { topic: topic.name.clone(), partition };
        let partitions = topic.results_by_partition.into_iter();
        partitions.map(move |result| (of(result.partition_index), result.partition_error_code))
    });
    each_of(asked, &answers.collect())
}

fn stored(response: TxnOffsetCommitResponse, asked: GroupOffsets) -> Errors {
    let answers = response.topics.into_iter().flat_map(|topic| {
        let name: TopicName = topic.name;
        let of = move |partition: PartitionIndex| TopicPartition { topic: name.clone(), partition };
        let partitions = topic.partitions.into_iter();
        partitions.map(move |result| (of(result.partition_index), result.error_code))
    });
    each_of(asked.offsets.into_iter().map(|(partition, _)| partition).collect(), &answers.collect())
}

/// One answer for each partition that was asked for. One that is left out is asked for again.
fn each_of(asked: Vec<TopicPartition>, answers: &Errors) -> Errors {
    let of = |partition: &TopicPartition| {
        let answer = answers.iter().find(|(answered, _)| answered == partition);
        answer.map_or(ErrorCode::RequestTimedOut, |(_, error)| *error)
    };
    asked.into_iter().map(|partition| (partition.clone(), of(&partition))).collect()
}
