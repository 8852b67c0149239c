//! Finds the coordinator of a group or of a transactional id.

use std::time::Duration;

use streamledger_client_core::cluster::Broker;
use streamledger_client_core::transaction::CoordinatorKey;
use streamledger_protocol::messages::FindCoordinatorRequest;
use streamledger_protocol::{ApiKey, ApiVersion, BrokerId, ErrorCode};

use crate::metadata::{MetadataRefresher, Unreachable};
use crate::network::{BrokerConnection, NetworkError};

/// From this version on several keys are asked about at once (KIP-699).
const MANY_KEYS: ApiVersion = ApiVersion(4);

/// Asks any broker who coordinates the key; the view of the cluster learns where that broker is.
///
/// # Errors
/// No broker answered. A broker's refusal is inside.
pub(crate) async fn find(
    refresher: &MetadataRefresher,
    key: &CoordinatorKey,
    timeout: Duration,
) -> Result<Result<BrokerId, ErrorCode>, Unreachable> {
    let found = refresher.ask_any(|connection| ask(connection, key, timeout)).await?;
    Ok(found.map(|broker| {
        let id = broker.id;
        refresher.hint_broker(broker);
        id
    }))
}

async fn ask(
    connection: BrokerConnection,
    key: &CoordinatorKey,
    timeout: Duration,
) -> Result<Result<Broker, ErrorCode>, NetworkError> {
    let (name, key_type) = match key {
        CoordinatorKey::Group(group) => (group.as_str(), 0),
        CoordinatorKey::Transaction(id) => (id.as_str(), 1),
    };
    let asks_many = connection.version_for(ApiKey::FindCoordinator) >= Some(MANY_KEYS);
    let request = FindCoordinatorRequest {
        key: if asks_many { String::new() } else { name.to_owned() },
        key_type,
        coordinator_keys: if asks_many { vec![name.to_owned()] } else { Vec::new() },
    };
    let response = connection.call(&request, timeout).await?;
    let (error, id, host, port) = if asks_many {
        match response.coordinators.into_iter().find(|found| found.key == name) {
            Some(found) => (found.error_code, found.node_id, found.host, found.port),
            None => (ErrorCode::CoordinatorNotAvailable, BrokerId::NONE, String::new(), 0),
        }
    } else {
        (response.error_code, response.node_id, response.host, response.port)
    };
    Ok(match (error, u16::try_from(port)) {
        (ErrorCode::None, Ok(port)) => Ok(Broker { id, host, port, rack: None }),
        // There is nothing to connect to.
        (ErrorCode::None, Err(_)) => Err(ErrorCode::CoordinatorNotAvailable),
        (error, _) => Err(error),
    })
}
