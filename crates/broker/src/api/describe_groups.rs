//! DescribeGroups (15): classic groups with their members. A group that is not there is Dead, and
//! an error from version 6 on (KIP-1043).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::{DescribedMember, GroupState};
use streamledger_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use streamledger_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use streamledger_protocol::{ApiVersion, ErrorCode, GroupId};

use super::access::Access;
use super::{Answer, Api, Call, authorized};

/// The first version in which a group that is not there is an error.
const NOT_FOUND_FROM: ApiVersion = ApiVersion(6);

impl Api for DescribeGroupsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=6;
    const ACCESS: Access = Access::Each(&[(Operation::Describe, ResourceType::Group)]);

    fn refused(&self, error: ErrorCode) -> DescribeGroupsResponse {
        let groups = self.groups.iter().map(|group| refused(group, error)).collect();
        DescribeGroupsResponse { groups, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeGroupsResponse> {
        let with_operations = self.include_authorized_operations;
        let describe = |group: GroupId| {
            if let Err(error) = call.check_group(Operation::Describe, &group) {
                return refused(&group, error);
            }
            let authorized_operations = match with_operations {
                true => authorized::group(call, &group),
                false => authorized::NOT_ASKED,
            };
            DescribedGroup { authorized_operations, ..describe(call, group) }
        };
        let groups = self.groups.into_iter().map(describe).collect();
        DescribeGroupsResponse { groups, ..Default::default() }.into()
    }
}

fn refused(group: &GroupId, error_code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code,
        group_id: group.clone(),
        authorized_operations: authorized::NOT_ASKED,
        ..Default::default()
    }
}

fn describe(call: &Call, group: GroupId) -> DescribedGroup {
    let Some(described) = call.node.groups.read(|groups| groups.describe(&group)) else {
        let is_error = call.version >= NOT_FOUND_FROM;
        return DescribedGroup {
            error_code: if is_error { ErrorCode::GroupIdNotFound } else { ErrorCode::None },
            error_message: is_error.then(|| format!("Group {group} not found.")),
            group_id: group,
            group_state: GroupState::Dead.name().to_owned(),
            ..Default::default()
        };
    };
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    };
    DescribedGroup {
        group_id: group,
        group_state: described.state.name().to_owned(),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol,
        members: described.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
