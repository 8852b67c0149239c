//! SyncGroup (14): hands out the assignments of a generation, answered once the leader's are kept.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::{MemberOfGeneration, SyncReply, SyncRequest};
use streamledger_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use streamledger_protocol::{ApiVersion, ErrorCode};

use super::access::Access;
use super::group_member::kept;
use super::{Answer, Api, Call, Held};

/// The first version that must name the protocol (KIP-559).
const NAMES_PROTOCOL_FROM: ApiVersion = ApiVersion(5);

impl Api for SyncGroupRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[(Operation::Read, ResourceType::Group)]);

    fn refused(&self, error: ErrorCode) -> SyncGroupResponse {
        told(SyncReply::refused(error))
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<SyncGroupResponse> {
        if let Err(error) = call.check_group(Operation::Read, &self.group_id) {
            return self.refused(error).into();
        }
        let is_named = self.protocol_type.is_some() && self.protocol_name.is_some();
        if call.version >= NAMES_PROTOCOL_FROM && !is_named {
            return self.refused(ErrorCode::InconsistentGroupProtocol).into();
        }
        let assignments = self.assignments.into_iter();
        let request = SyncRequest {
            group: self.group_id,
            member: MemberOfGeneration {
                member_id: self.member_id,
                instance_id: self.group_instance_id,
                generation: self.generation_id,
            },
            protocol_type: self.protocol_type,
            protocol: self.protocol_name,
            assignments: assignments.map(|one| (one.member_id, kept(&one.assignment))).collect(),
        };
        let reply = call.node.groups.sync(&call.node, &call.connection, &request);
        Answer::Later(Box::pin(async move { Held::whole(told(reply.await)) }))
    }
}

fn told(reply: SyncReply) -> SyncGroupResponse {
    SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: reply.error,
        protocol_type: reply.protocol_type,
        protocol_name: reply.protocol,
        assignment: reply.assignment,
    }
}
