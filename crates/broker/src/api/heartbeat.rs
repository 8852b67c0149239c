//! Heartbeat (12): a member of a classic group is there; REBALANCE_IN_PROGRESS has it join again.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::MemberOfGeneration;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for HeartbeatRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=4;
    const ACCESS: Access = Access::Each(&[(Operation::Read, ResourceType::Group)]);

    fn refused(&self, error: ErrorCode) -> HeartbeatResponse {
        HeartbeatResponse { throttle_time_ms: 0, error_code: error }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<HeartbeatResponse> {
        if let Err(error) = call.check_group(Operation::Read, &self.group_id) {
            return self.refused(error).into();
        }
        let from = MemberOfGeneration {
            member_id: self.member_id.clone(),
            instance_id: self.group_instance_id.clone(),
            generation: self.generation_id,
        };
        let error = call.node.groups.heartbeat(&call.node, &self.group_id, &from);
        self.refused(error).into()
    }
}
