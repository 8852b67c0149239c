//! EndTxn (26): commits or aborts a transaction. Answered when the decision is on disk; the markers
//! follow. From version 5 on each end gives the producer a new epoch (KIP-890).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::transaction::{ClientVersion, EndTransaction};
use streamledger_protocol::messages::{EndTxnRequest, EndTxnResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, ProducerEpoch, ProducerId, ProducerIdentity};

use super::access::Access;
use super::{Answer, Api, Call, transactional};
use crate::coordinator::Transactions;

/// The first version that is spoken under transaction.version 2.
const BUMPS_FROM: ApiVersion = ApiVersion(5);

impl Api for EndTxnRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[(Operation::Write, ResourceType::TransactionalId)]);

    fn refused(&self, error: ErrorCode) -> EndTxnResponse {
        EndTxnResponse {
            error_code: error,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<EndTxnResponse> {
        let id = &self.transactional_id;
        if let Err(error) = call.check_transactional_id(Operation::Write, id) {
            return self.refused(error).into();
        }
        let client = match call.version >= BUMPS_FROM {
            true => ClientVersion::V2,
            false => ClientVersion::V1,
        };
        let ask = EndTransaction {
            transactional_id: self.transactional_id.clone(),
            producer: ProducerIdentity { id: self.producer_id, epoch: self.producer_epoch },
            committed: self.committed,
            client,
            fresh: None,
        };
        match Transactions::end(&call.node, ask).await {
            Ok(producer) => EndTxnResponse {
                throttle_time_ms: 0,
                error_code: ErrorCode::None,
                producer_id: producer.id,
                producer_epoch: producer.epoch,
            }
            .into(),
            Err(error) => self.refused(transactional::known_error(error, call.version)).into(),
        }
    }
}
