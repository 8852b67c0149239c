//! LeaveGroup (13): takes members out of a classic group, several at once from version 3 on.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::LeavingMember;
use streamledger_protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use streamledger_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use streamledger_protocol::{ApiVersion, ErrorCode};
use tracing::debug;

use super::access::Access;
use super::{Answer, Api, Call};

/// The first version in which several leave (KIP-345).
const SEVERAL_FROM: ApiVersion = ApiVersion(3);

impl Api for LeaveGroupRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[(Operation::Read, ResourceType::Group)]);

    fn refused(&self, error: ErrorCode) -> LeaveGroupResponse {
        LeaveGroupResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<LeaveGroupResponse> {
        if let Err(error) = call.check_group(Operation::Read, &self.group_id) {
            return self.refused(error).into();
        }
        let leaving: Vec<LeavingMember> = match call.version < SEVERAL_FROM {
            true => vec![LeavingMember { member_id: self.member_id.clone(), instance_id: None }],
            false => self.members.iter().map(|member| leaving(&self, member)).collect(),
        };
        let left = call.node.groups.leave(&call.node, &self.group_id, &leaving).await;
        let errors = match left {
            Ok(errors) => errors,
            Err(error) => return self.refused(error).into(),
        };
        if call.version < SEVERAL_FROM {
            let error = errors.first().copied().unwrap_or(ErrorCode::UnknownServerError);
            return self.refused(error).into();
        }
        let members = leaving.into_iter().zip(errors).map(|(member, error_code)| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.instance_id,
            error_code,
        });
        LeaveGroupResponse { members: members.collect(), ..Default::default() }.into()
    }
}

fn leaving(request: &LeaveGroupRequest, member: &MemberIdentity) -> LeavingMember {
    if let Some(reason) = &member.reason {
        debug!(group = %request.group_id, member = member.member_id, reason, "leaves");
    }
    LeavingMember {
        member_id: member.member_id.clone(),
        instance_id: member.group_instance_id.clone(),
    }
}
