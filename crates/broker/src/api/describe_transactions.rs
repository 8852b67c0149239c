//! DescribeTransactions (65): what is known of transactional ids (KIP-664).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::transaction::Transaction;
use streamledger_protocol::messages::describe_transactions::{TopicData, TransactionState};
use streamledger_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use streamledger_protocol::{
    ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, TopicName, TransactionalId,
};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for DescribeTransactionsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Each(&[
        (Operation::Describe, ResourceType::TransactionalId),
        (Operation::Describe, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> DescribeTransactionsResponse {
        let ids = self.transactional_ids.iter();
        let transaction_states = ids.map(|id| refused(id.clone(), error)).collect();
        DescribeTransactionsResponse { transaction_states, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeTransactionsResponse> {
        let describe = |id: TransactionalId| {
            if id.as_str().is_empty() {
                return refused(id, ErrorCode::InvalidRequest);
            }
            if let Err(error) = call.check_transactional_id(Operation::Describe, &id) {
                return refused(id, error);
            }
            match call.node.transactions.transaction(&id) {
                Some(transaction) => described(call, id, &transaction),
                None => refused(id, ErrorCode::TransactionalIdNotFound),
            }
        };
        DescribeTransactionsResponse {
            transaction_states: self.transactional_ids.into_iter().map(describe).collect(),
            ..Default::default()
        }
        .into()
    }
}

fn described(call: &Call, id: TransactionalId, transaction: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<TopicName, Vec<PartitionIndex>> = BTreeMap::new();
    for one in &transaction.partitions {
        topics.entry(one.topic.clone()).or_default().push(one.partition);
    }
    topics.retain(|topic, _| call.allows_topic(Operation::Describe, topic));
    let topics = topics.into_iter().map(|(topic, partitions)| TopicData { topic, partitions });
    TransactionState {
        error_code: ErrorCode::None,
        transactional_id: id,
        transaction_state: transaction.state.name().to_owned(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.started,
        producer_id: transaction.producer.id,
        producer_epoch: transaction.producer.epoch,
        topics: topics.collect(),
    }
}

fn refused(id: TransactionalId, error: ErrorCode) -> TransactionState {
    TransactionState {
        error_code: error,
        transactional_id: id,
        transaction_start_time_ms: TimestampMs::NONE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        ..Default::default()
    }
}
