//! AddPartitionsToTxn (24): adds partitions to a transaction. Up to version 3 a client's form, for
//! one transaction; from 4 on the one brokers use among each other, for several, and only to verify
//! if that is asked for.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::transaction::{ClientVersion, Verification};
use streamledger_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
use streamledger_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, ProducerIdentity, TopicPartition};

use super::{Answer, Api, Call, transactional};
use crate::coordinator::Transactions;
use crate::node::Node;

/// The first version in the form for several transactions.
const SEVERAL_FROM: ApiVersion = ApiVersion(4);

impl Api for AddPartitionsToTxnRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;

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
            let results_by_topic_v3_and_below = add(call, &transaction, ClientVersion::V1).await;
            return AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below,
                ..Default::default()
            }
            .into();
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
    if partitions.iter().any(|partition| !exists(&call.node, partition)) {
        return results(topics, |partition| match exists(&call.node, partition) {
            true => ErrorCode::OperationNotAttempted,
            false => ErrorCode::UnknownTopicOrPartition,
        });
    }
    let producer = producer_of(transaction);
    let id = &transaction.transactional_id;
    let added =
        Transactions::add_partitions(&call.node, id, producer, &partitions, client, || ()).await;
    let error = added.err().unwrap_or(ErrorCode::None);
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

fn exists(node: &Node, partition: &TopicPartition) -> bool {
    let topic = node.topic(&partition.topic);
    topic.is_some_and(|topic| topic.partition(partition.partition).is_some())
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
