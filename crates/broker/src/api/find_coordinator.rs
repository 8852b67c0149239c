//! FindCoordinator (10): this node coordinates every group and every transactional id, being the
//! only one. Asking for a transactional id is the first use that makes `__transaction_state`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::messages::find_coordinator::Coordinator;
use streamledger_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use streamledger_protocol::{ApiVersion, BrokerId, ErrorCode};

use super::{Answer, Api, Call};
use crate::coordinator::Transactions;

/// Key types (Kafka's `FindCoordinatorRequest.CoordinatorType`).
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// The first version that asks for several keys at once (KIP-699).
const SEVERAL_KEYS_FROM: ApiVersion = ApiVersion(4);

const UNKNOWN_TYPE: &str = "there is no coordinator of that type";

impl Api for FindCoordinatorRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=6;

    fn refused(&self, error: ErrorCode) -> FindCoordinatorResponse {
        let refuse = |key: &String| not_found(key, error, None);
        if self.coordinator_keys.is_empty() {
            return alone(refuse(&self.key));
        }
        let coordinators = self.coordinator_keys.iter().map(refuse).collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<FindCoordinatorResponse> {
        if self.key_type == TRANSACTION
            && let Err(error) = Transactions::ensure(&call.node).await
        {
            return self.refused(error).into();
        }
        let find = |key: &String| match self.key_type {
            GROUP | TRANSACTION => Coordinator {
                key: key.clone(),
                node_id: call.node.id(),
                host: call.connection.endpoint.host.clone(),
                port: call.connection.endpoint.port,
                error_code: ErrorCode::None,
                error_message: None,
            },
            _ => not_found(key, ErrorCode::InvalidRequest, Some(UNKNOWN_TYPE)),
        };
        if call.version < SEVERAL_KEYS_FROM {
            return alone(find(&self.key)).into();
        }
        let coordinators = self.coordinator_keys.iter().map(find).collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }.into()
    }
}

fn not_found(key: &str, error_code: ErrorCode, message: Option<&str>) -> Coordinator {
    Coordinator {
        key: key.to_owned(),
        node_id: BrokerId::NONE,
        host: String::new(),
        port: -1,
        error_code,
        error_message: message.map(str::to_owned),
    }
}

/// The form of versions before several keys could be asked for.
fn alone(found: Coordinator) -> FindCoordinatorResponse {
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}
