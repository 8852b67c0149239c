//! Which transactional batches of a produce request may be appended (KIP-890).
//!
//! A partition that is in the producer's open transaction already lets its batches in. Else the
//! coordinator is asked, under a guard taken before: from version 12 on the partition joins by
//! being written to, before that it must have been added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use streamledger_broker_core::transaction::{ClientVersion, Verification};
use streamledger_protocol::messages::ProduceRequest;
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{
    ApiVersion, ErrorCode, ProducerIdentity, TopicPartition, TransactionalId,
};

use super::transactions::Transactions;
use crate::api::Call;
use crate::storage::{Partition, TransactionGuard};

/// The first version in which partitions join by being written to.
const JOINS_FROM: ApiVersion = ApiVersion(12);
/// The first version that knows TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: ApiVersion = ApiVersion(11);

/// What was found out about the transactional batches of a request, by their place in it: topic and
/// partition. A batch that is not here is not transactional.
#[derive(Debug, Default)]
pub(crate) struct Gates(BTreeMap<(usize, usize), Result<TransactionGuard, ErrorCode>>);

impl Gates {
    /// The guard to append a batch under; none if it is not transactional.
    pub(crate) fn guard(
        &self,
        topic: usize,
        partition: usize,
    ) -> Result<Option<TransactionGuard>, ErrorCode> {
        self.0.get(&(topic, partition)).copied().transpose()
    }
}

/// A transactional batch whose partition has no open transaction of its producer.
struct Opening {
    place: (usize, usize),
    log: Arc<Partition>,
    guard: Mutex<TransactionGuard>,
}

impl Opening {
    fn take_guard_again(&self, producer: ProducerIdentity) {
        // A log that went offline refuses the batch itself.
        if let Ok(guard) = self.log.transaction_guard(producer.id) {
            *self.guard.lock() = guard;
        }
    }
}

/// Finds out about all transactional batches of a request, asking the coordinator where need be.
pub(crate) async fn admit(call: &Call, request: &ProduceRequest) -> Gates {
    let node = &call.node;
    let mut gates = Gates::default();
    let mut opening: BTreeMap<ProducerIdentity, Vec<Opening>> = BTreeMap::new();
    for (topic_place, data) in request.topic_data.iter().enumerate() {
        for (place, partition) in data.partition_data.iter().enumerate() {
            let Some(producer) = transactional_producer(partition.records.as_deref()) else {
                continue;
            };
            let place = (topic_place, place);
            if request.transactional_id.is_none() {
                gates.0.insert(place, Err(ErrorCode::InvalidTxnState));
                continue;
            }
            let found = node.topic_named(&data.name, data.topic_id).and_then(|topic| {
                let log = node.partition(&topic, partition.index)?;
                let guard = log.transaction_guard(producer.id);
                let guard = guard.map_err(|offline| offline.error_code())?;
                Ok((log, guard))
            });
            match found {
                Ok((log, guard)) if guard.open_epoch != Some(producer.epoch) => {
                    let of_producer = opening.entry(producer).or_default();
                    of_producer.push(Opening { place, log, guard: Mutex::new(guard) });
                }
                found => {
                    gates.0.insert(place, found.map(|(_, guard)| guard));
                }
            }
        }
    }
    let Some(id) = &request.transactional_id else { return gates };
    for (producer, opening) in opening {
        let answers = ask(call, id, producer, &opening).await;
        for (one, answer) in opening.into_iter().zip(answers) {
            gates.0.insert(one.place, answer.map(|()| one.guard.into_inner()));
        }
    }
    gates
}

fn transactional_producer(records: Option<&[u8]>) -> Option<ProducerIdentity> {
    let header = RecordBatchHeader::parse(records?).ok()?;
    header.attributes.is_transactional().then(|| header.producer()).flatten()
}

/// What the coordinator says to each partition.
async fn ask(
    call: &Call,
    id: &TransactionalId,
    producer: ProducerIdentity,
    opening: &[Opening],
) -> Vec<Result<(), ErrorCode>> {
    let (node, version) = (&call.node, call.version);
    let partitions: Vec<TopicPartition> =
        opening.iter().map(|one| one.log.topic_partition().clone()).collect();
    let all = |answer: Result<(), ErrorCode>| vec![answer; partitions.len()];
    if version >= JOINS_FROM {
        let joining: BTreeSet<_> = partitions.iter().cloned().collect();
        let take_guards = || opening.iter().for_each(|one| one.take_guard_again(producer));
        let client = ClientVersion::V2;
        let owner = call.producer_owner();
        let joined =
            Transactions::add_partitions(node, id, producer, &joining, client, &owner, take_guards);
        let joined = joined.await;
        return all(joined.map_err(|error| as_produce_error(error, version)));
    }
    match node.transactions.verify(id, producer, &partitions) {
        Err(error) => all(Err(as_produce_error(error, version))),
        Ok(verified) => verified
            .into_iter()
            .map(|verified| match verified {
                Verification::Added => Ok(()),
                Verification::NotAdded if version >= ABORTABLE_FROM => {
                    Err(ErrorCode::TransactionAbortable)
                }
                Verification::NotAdded => Err(ErrorCode::InvalidTxnState),
            })
            .collect(),
    }
}

/// What a producer is told: old ones know neither a fence nor how to wait (Kafka's
/// `AddPartitionsToTxnManager` and `ReplicaManager`).
fn as_produce_error(error: ErrorCode, version: ApiVersion) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::ConcurrentTransactions if version < JOINS_FROM => ErrorCode::NotEnoughReplicas,
        ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress => {
            ErrorCode::NotEnoughReplicas
        }
        other => other,
    }
}
