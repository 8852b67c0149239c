//! InitProducerId (22): an identity for an idempotent producer (KIP-98, KIP-360).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use streamledger_protocol::{ErrorCode, ProducerEpoch, ProducerId};

use super::{Answer, Api, Call};

impl Api for InitProducerIdRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;

    fn refused(&self, error: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse {
            error_code: error,
            producer_epoch: ProducerEpoch::NONE,
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<InitProducerIdResponse> {
        if let Some(transactional_id) = &self.transactional_id {
            // An empty id is no id. Another one has no coordinator here yet; a retriable answer
            // would only have the client ask for a minute.
            let error = if transactional_id.as_str().is_empty() {
                ErrorCode::InvalidRequest
            } else {
                ErrorCode::UnsupportedVersion
            };
            return self.refused(error).into();
        }
        // Without a transactional id nothing ties a producer to its former identity, so also who
        // already has one gets a new one, as from Kafka.
        let id = match call.node.controller.take_producer_id() {
            Some(id) => Ok(id),
            None => call
                .blocking(|node| node.controller.new_producer_id().map_err(|no| no.error))
                .await
                .unwrap_or(Err(ErrorCode::UnknownServerError)),
        };
        match id {
            Ok(id) => identity(id).into(),
            Err(error) => self.refused(error).into(),
        }
    }
}

fn identity(producer_id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::None,
        producer_id,
        producer_epoch: ProducerEpoch(0),
    }
}
