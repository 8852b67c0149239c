//! FindCoordinator (10): there is no group or transaction coordinator in this version.
//!
//! The answer is COORDINATOR_NOT_AVAILABLE with that sentence. Any other error librdkafka hands to
//! the application, also to one that only assigns partitions and has a `group.id` all the same.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::messages::find_coordinator::Coordinator;
use streamledger_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use streamledger_protocol::{ApiVersion, BrokerId, ErrorCode};

use super::{Answer, Api, Call};

const NOT_HERE: &str = "this broker has no group and transaction coordinators yet: consume by \
                        assigned partitions, produce without transactional.id";

impl Api for FindCoordinatorRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=6;

    fn refused(&self, error: ErrorCode) -> FindCoordinatorResponse {
        // Which of the two forms is written depends on the version; the other is then empty.
        if self.coordinator_keys.is_empty() {
            return FindCoordinatorResponse {
                error_code: error,
                error_message: Some(NOT_HERE.to_owned()),
                node_id: BrokerId::NONE,
                port: -1,
                ..Default::default()
            };
        }
        let coordinators = self.coordinator_keys.iter().map(|key| Coordinator {
            key: key.clone(),
            node_id: BrokerId::NONE,
            host: String::new(),
            port: -1,
            error_code: error,
            error_message: Some(NOT_HERE.to_owned()),
        });
        FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<FindCoordinatorResponse> {
        if call.version >= ApiVersion(4) && self.coordinator_keys.is_empty() {
            return FindCoordinatorResponse::default().into();
        }
        self.refused(ErrorCode::CoordinatorNotAvailable).into()
    }
}
