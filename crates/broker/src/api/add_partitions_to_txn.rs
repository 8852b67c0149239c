//! AddPartitionsToTxn (24): adds partitions to a transaction. Up to version 3 a client's form, for
//! one transaction; from 4 on the one brokers use among each other, for several, and only to verify
//! if that is asked for.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::transaction::{ClientVersion, Verification};
use streamledger_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
use streamledger_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, ProducerIdentity, TopicId, TopicPartition};

use super::access::Access;
use super::{Answer, Api, Call, transactional};
use crate::coordinator::Transactions;

/// The first version in the form for several transactions.
const SEVERAL_FROM: ApiVersion = ApiVersion(4);

impl Api for AddPartitionsToTxnRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[
        (Operation::Write, ResourceType::TransactionalId),
        (Operation::Write, ResourceType::Topic),
        // In the form of brokers among themselves.
        (Operation::ClusterAction, ResourceType::Cluster),
    ]);

    fn refused(&self, error: ErrorCode) -> AddPartitionsToTxnResponse {
        // Only the form for several transactions has a place for an error of all.
        let topics = &self.v3_and_below_topics;
        AddPartitionsToTxnResponse {
            error_code: error,
            results_by_topic_v3_and_below: results(topics, |_| error),
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AddPartitionsToTxnResponse> {
        if call.version < SEVERAL_FROM {
            let transaction = AddPartitionsToTxnTransaction {
                transactional_id: self.v3_and_below_transactional_id,
                producer_id: self.v3_and_below_producer_id,
                producer_epoch: self.v3_and_below_producer_epoch,
                verify_only: false,
                topics: self.v3_and_below_topics,
            };
            let id = &transaction.transactional_id;
            let results_by_topic_v3_and_below =
                match call.check_transactional_id(Operation::Write, id) {
                    Ok(()) => add(call, &transaction, ClientVersion::V1).await,
                    Err(error) => results(&transaction.topics, |_| error),
                };
            return AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below,
                ..Default::default()
            }
            .into();
        }
        if !call.allows_cluster(Operation::ClusterAction) {
            return self.refused(ErrorCode::ClusterAuthorizationFailed).into();
        }
        let mut response = AddPartitionsToTxnResponse::default();
        for transaction in self.transactions {
            let topic_results = match transaction.verify_only {
                true => verify(call, &transaction),
                false => add(call, &transaction, ClientVersion::V2).await,
            };
            response.results_by_transaction.push(AddPartitionsToTxnResult {
                transactional_id: transaction.transactional_id,
                topic_results,
            });
        }
        response.into()
    }
}

fn producer_of(transaction: &AddPartitionsToTxnTransaction) -> ProducerIdentity {
    ProducerIdentity { id: transaction.producer_id, epoch: transaction.producer_epoch }
}

fn partitions_of(topics: &[AddPartitionsToTxnTopic]) -> impl Iterator<Item = TopicPartition> + '_ {
    topics.iter().flat_map(|topic| {
        let in_topic = |index: &_| TopicPartition::new(topic.name.clone(), *index);
        topic.partitions.iter().map(in_topic)
    })
}

/// All of them, or none if one of them is not there.
async fn add(
    call: &Arc<Call>,
    transaction: &AddPartitionsToTxnTransaction,
    client: ClientVersion,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = &transaction.topics;
    let partitions: BTreeSet<_> = partitions_of(topics).collect();
    let check = |partition: &TopicPartition| can_be_added(call, partition, client);
    if partitions.iter().any(|partition| check(partition).is_err()) {
        return results(topics, |partition| {
            check(partition).err().unwrap_or(ErrorCode::OperationNotAttempted)
        });
    }
    let producer = producer_of(transaction);
    let id = &transaction.transactional_id;
    let owner = call.producer_owner();
    let added =
        Transactions::add_partitions(&call.node, id, producer, &partitions, client, &owner, || ());
    let error = added.await.err().unwrap_or(ErrorCode::None);
    results(topics, |_| transactional::known_error(error, call.version))
}

fn verify(
    call: &Call,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let asked: Vec<_> = partitions_of(&transaction.topics).collect();
    let producer = producer_of(transaction);
    let verified = call.node.transactions.verify(&transaction.transactional_id, producer, &asked);
    results(&transaction.topics, |partition| match &verified {
        Err(error) => *error,
        Ok(verified) => {
            let place = asked.iter().position(|asked| asked == partition);
            match place.and_then(|place| verified.get(place)) {
                Some(Verification::Added) => ErrorCode::None,
                Some(Verification::NotAdded) | None => ErrorCode::TransactionAbortable,
            }
        }
    })
}

/// That it is there, and that who calls may write to it; brokers may among themselves.
fn can_be_added(
    call: &Call,
    partition: &TopicPartition,
    client: ClientVersion,
) -> Result<(), ErrorCode> {
    let topic = match client {
        ClientVersion::V1 => {
            Some(call.topic_for(Operation::Write, &partition.topic, TopicId::ZERO)?)
        }
        ClientVersion::V2 => call.node.topic(&partition.topic),
    };
    let is_there = topic.is_some_and(|topic| topic.partition(partition.partition).is_some());
    if is_there { Ok(()) } else { Err(ErrorCode::UnknownTopicOrPartition) }
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    error: impl Fn(&TopicPartition) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let result = |index: &_| AddPartitionsToTxnPartitionResult {
            partition_index: *index,
            partition_error_code: error(&TopicPartition::new(topic.name.clone(), *index)),
        };
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic.partitions.iter().map(result).collect(),
        }
    };
    topics.iter().map(of_topic).collect()
}
