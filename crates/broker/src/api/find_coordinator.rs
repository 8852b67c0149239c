//! FindCoordinator (10): this node coordinates every group and every transactional id, being the
//! only one. Asking for a transactional id is the first use that makes `__transaction_state`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_protocol::messages::find_coordinator::Coordinator;
use streamledger_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use streamledger_protocol::{ApiVersion, BrokerId, ErrorCode, GroupId, TransactionalId};

use super::access::Access;
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
    const ACCESS: Access = Access::Each(&[
        (Operation::Describe, ResourceType::Group),
        (Operation::Describe, ResourceType::TransactionalId),
    ]);

    fn refused(&self, error: ErrorCode) -> FindCoordinatorResponse {
        let refuse = |key: &String| not_found(key, error, None);
        if self.coordinator_keys.is_empty() {
            return alone(refuse(&self.key));
        }
        let coordinators = self.coordinator_keys.iter().map(refuse).collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<FindCoordinatorResponse> {
        let keys: &[String] = match self.coordinator_keys.is_empty() {
            true => std::slice::from_ref(&self.key),
            false => &self.coordinator_keys,
        };
        let is_allowed = |key: &String| allowed(call, self.key_type, key).is_ok();
        if self.key_type == TRANSACTION
            && keys.iter().any(is_allowed)
            && let Err(error) = Transactions::ensure(&call.node).await
        {
            return self.refused(error).into();
        }
        let find = |key: &String| match allowed(call, self.key_type, key) {
            Ok(()) => Coordinator {
                key: key.clone(),
                node_id: call.node.id(),
                host: call.connection.endpoint.host.clone(),
                port: call.connection.endpoint.port,
                error_code: ErrorCode::None,
                error_message: None,
            },
            Err((error, message)) => not_found(key, error, message),
        };
        if call.version < SEVERAL_KEYS_FROM {
            return alone(find(&self.key)).into();
        }
        let coordinators = self.coordinator_keys.iter().map(find).collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }.into()
    }
}

/// That there is a coordinator of that type, and who calls may know of the key.
fn allowed(call: &Call, key_type: i8, key: &str) -> Result<(), (ErrorCode, Option<&'static str>)> {
    let checked = match key_type {
        GROUP => call.check_group(Operation::Describe, &GroupId::from(key)),
        TRANSACTION => {
            call.check_transactional_id(Operation::Describe, &TransactionalId::from(key))
        }
        _ => return Err((ErrorCode::InvalidRequest, Some(UNKNOWN_TYPE))),
    };
    checked.map_err(|error| (error, None))
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
