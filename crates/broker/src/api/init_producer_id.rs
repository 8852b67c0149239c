//! InitProducerId (22): an identity for an idempotent producer, or for a transactional one, which
//! fences and aborts whoever had the transactional id before (KIP-98, KIP-360, KIP-588).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::transaction::Initialize;
use streamledger_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use streamledger_protocol::{
    ApiVersion, ErrorCode, ProducerEpoch, ProducerId, ProducerIdentity, TransactionalId,
};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::coordinator::Transactions;

/// The first version that knows PRODUCER_FENCED.
const FENCED_FROM: ApiVersion = ApiVersion(4);

impl Api for InitProducerIdRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[
        (Operation::Write, ResourceType::TransactionalId),
        // Without a transactional id one of these two.
        (Operation::IdempotentWrite, ResourceType::Cluster),
        (Operation::Write, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse {
            error_code: error,
            producer_epoch: ProducerEpoch::NONE,
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<InitProducerIdResponse> {
        let initialized = match self.transactional_id.clone() {
            Some(id) => take_id(call, id, &self).await,
            // Without a transactional id nothing ties a producer to its former identity, so also
            // who already has one gets a new one, as from Kafka.
            None => new_identity(call).await,
        };
        match initialized {
            Ok(producer) => InitProducerIdResponse {
                throttle_time_ms: 0,
                error_code: ErrorCode::None,
                producer_id: producer.id,
                producer_epoch: producer.epoch,
            }
            .into(),
            Err(ErrorCode::ProducerFenced) if call.version < FENCED_FROM => {
                self.refused(ErrorCode::InvalidProducerEpoch).into()
            }
            Err(error) => self.refused(error).into(),
        }
    }
}

async fn take_id(
    call: &Arc<Call>,
    transactional_id: TransactionalId,
    request: &InitProducerIdRequest,
) -> Result<ProducerIdentity, ErrorCode> {
    call.check_transactional_id(Operation::Write, &transactional_id)?;
    if transactional_id.as_str().is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let known = match (request.producer_id, request.producer_epoch) {
        (ProducerId::NONE, ProducerEpoch::NONE) => None,
        // Half an identity is none that could be known.
        (ProducerId::NONE, _) | (_, ProducerEpoch::NONE) => return Err(ErrorCode::InvalidRequest),
        (id, epoch) => Some(ProducerIdentity { id, epoch }),
    };
    Transactions::ensure(&call.node).await?;
    let timeout_ms = request.transaction_timeout_ms;
    let ask = Initialize { transactional_id, timeout_ms, known, fresh: None };
    Transactions::initialize(&call.node, ask).await
}

async fn new_identity(call: &Arc<Call>) -> Result<ProducerIdentity, ErrorCode> {
    let may_write = call.allows_cluster(Operation::IdempotentWrite)
        || call.allows_any(Operation::Write, ResourceType::Topic);
    if !may_write {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let id = match call.node.controller.take_producer_id() {
        Some(id) => id,
        None => call
            .blocking(|node| node.controller.new_producer_id().map_err(|no| no.error))
            .await
            .unwrap_or(Err(ErrorCode::UnknownServerError))?,
    };
    Ok(ProducerIdentity { id, epoch: ProducerEpoch::ZERO })
}
