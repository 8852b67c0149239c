//! TxnOffsetCommit (28): stores a group's offsets in a transaction: visible once it commits. Up to
//! version 4 the group must have been added by AddOffsetsToTxn; from 5 on it joins by this.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::{CommitRequest, CommitWay, Committer, NewOffset};
use streamledger_broker_core::transaction::{ClientVersion, Verification};
use streamledger_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use streamledger_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, ProducerIdentity, TopicPartition};

use super::access::Access;
use super::{Answer, Api, Call, stored_offsets};
use crate::coordinator::{Groups, Transactions};
use crate::storage::TransactionGuard;

/// The first version by which a group joins.
const JOINS_FROM: ApiVersion = ApiVersion(5);
/// The first version that knows TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: ApiVersion = ApiVersion(4);

impl Api for TxnOffsetCommitRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[
        (Operation::Write, ResourceType::TransactionalId),
        (Operation::Read, ResourceType::Group),
        (Operation::Read, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> TxnOffsetCommitResponse {
        self.answered(|_| error)
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<TxnOffsetCommitResponse> {
        let guard = match admit(&self, call).await {
            Ok(guard) => guard,
            Err(error) => return self.refused(error).into(),
        };
        let producer = producer_of(&self);
        let (refused, offsets) = stored_offsets::split_refused(call, self.offsets());
        let request = CommitRequest {
            group: self.group_id.clone(),
            committer: Committer {
                member_id: self.member_id.clone(),
                instance_id: self.group_instance_id.clone(),
                generation: self.generation_id,
            },
            way: CommitWay::Transactional,
            retention_ms: None,
            offsets,
        };
        let groups = &call.node.groups;
        let reply = groups.commit(&call.node, &request, Some((producer, guard))).await;
        let answers = stored_offsets::Answers::new(&request, &reply, &refused);
        self.answered(|partition| answers.of(partition)).into()
    }
}

trait Parts {
    fn offsets(&self) -> Vec<NewOffset>;
    fn answered(&self, error: impl Fn(&TopicPartition) -> ErrorCode) -> TxnOffsetCommitResponse;
}

impl Parts for TxnOffsetCommitRequest {
    fn offsets(&self) -> Vec<NewOffset> {
        let topics = self.topics.iter();
        let offsets = topics.flat_map(|topic| {
            topic.partitions.iter().map(|partition| NewOffset {
                topic_partition: TopicPartition::new(topic.name.clone(), partition.partition_index),
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.clone(),
            })
        });
        offsets.collect()
    }

    fn answered(&self, error: impl Fn(&TopicPartition) -> ErrorCode) -> TxnOffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                TxnOffsetCommitResponsePartition {
                    partition_index: index,
                    error_code: error(&TopicPartition::new(topic.name.clone(), index)),
                }
            });
            TxnOffsetCommitResponseTopic {
                partitions: partitions.collect(),
                name: topic.name.clone(),
            }
        });
        TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
    }
}

fn producer_of(request: &TxnOffsetCommitRequest) -> ProducerIdentity {
    ProducerIdentity { id: request.producer_id, epoch: request.producer_epoch }
}

/// Whether the group's offsets are in the producer's transaction, or join it now.
async fn admit(
    request: &TxnOffsetCommitRequest,
    call: &Arc<Call>,
) -> Result<TransactionGuard, ErrorCode> {
    let node = &call.node;
    if request.group_id.as_str().is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    call.check_transactional_id(Operation::Write, &request.transactional_id)?;
    call.check_group(Operation::Read, &request.group_id)?;
    Groups::ensure(node).await?;
    let producer = producer_of(request);
    let guard = node.groups.guard(node, &request.group_id, producer)?;
    if guard.open_epoch == Some(producer.epoch) {
        return Ok(guard);
    }
    let partition = node.groups.partition_of(&request.group_id);
    let id = &request.transactional_id;
    if call.version >= JOINS_FROM {
        let joining = BTreeSet::from([partition]);
        let taken = Mutex::new(Ok(guard));
        let take_guard = || {
            *taken.lock() = node.groups.guard(node, &request.group_id, producer);
        };
        let client = ClientVersion::V2;
        let owner = call.producer_owner();
        Transactions::add_partitions(node, id, producer, &joining, client, &owner, take_guard)
            .await?;
        return taken.into_inner();
    }
    let verified = node.transactions.verify(id, producer, &[partition]);
    match verified.as_deref() {
        Ok([Verification::Added]) => Ok(guard),
        Ok(_) if call.version >= ABORTABLE_FROM => Err(ErrorCode::TransactionAbortable),
        Ok(_) => Err(ErrorCode::InvalidTxnState),
        // As the log would say; waiting is what older clients know (Kafka's `GroupCoordinator`).
        Err(ErrorCode::ProducerFenced) => Err(ErrorCode::InvalidProducerEpoch),
        Err(ErrorCode::ConcurrentTransactions) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(error) => Err(*error),
    }
}
