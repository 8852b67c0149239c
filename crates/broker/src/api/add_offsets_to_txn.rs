//! AddOffsetsToTxn (25): a group's stored offsets join a transaction: the partition of
//! `__consumer_offsets` that keeps them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::transaction::ClientVersion;
use streamledger_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use streamledger_protocol::{ErrorCode, ProducerIdentity};

use super::access::Access;
use super::{Answer, Api, Call, transactional};
use crate::coordinator::{Groups, Transactions};

impl Api for AddOffsetsToTxnRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=4;
    const ACCESS: Access = Access::Each(&[
        (Operation::Write, ResourceType::TransactionalId),
        (Operation::Read, ResourceType::Group),
    ]);

    fn refused(&self, error: ErrorCode) -> AddOffsetsToTxnResponse {
        AddOffsetsToTxnResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AddOffsetsToTxnResponse> {
        let added = add(&self, call).await;
        let error = added.err().unwrap_or(ErrorCode::None);
        self.refused(transactional::known_error(error, call.version)).into()
    }
}

async fn add(request: &AddOffsetsToTxnRequest, call: &Arc<Call>) -> Result<(), ErrorCode> {
    call.check_transactional_id(Operation::Write, &request.transactional_id)?;
    call.check_group(Operation::Read, &request.group_id)?;
    Groups::ensure(&call.node).await?;
    let partitions = BTreeSet::from([call.node.groups.partition_of(&request.group_id)]);
    let producer = ProducerIdentity { id: request.producer_id, epoch: request.producer_epoch };
    let id = &request.transactional_id;
    let client = ClientVersion::V1;
    let owner = call.producer_owner();
    Transactions::add_partitions(&call.node, id, producer, &partitions, client, &owner, || ()).await
}
