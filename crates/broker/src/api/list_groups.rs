//! ListGroups (16): the groups, by state from version 4 on, by type from 5 on.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::group::GroupCoordinator;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::list_groups::ListedGroup;
use streamledger_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for ListGroupsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access = Access::Each(&[
        (Operation::Describe, ResourceType::Cluster),
        (Operation::Describe, ResourceType::Group),
    ]);

    fn refused(&self, error: ErrorCode) -> ListGroupsResponse {
        ListGroupsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ListGroupsResponse> {
        let passes = |filter: &[String], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let sees_all = call.allows_cluster(Operation::Describe);
        let groups = call.node.groups.read(GroupCoordinator::list).into_iter();
        let groups = groups
            .filter(|group| {
                passes(&self.states_filter, group.state)
                    && passes(&self.types_filter, group.group_type)
                    && (sees_all || call.check_group(Operation::Describe, &group.group).is_ok())
            })
            .map(|group| ListedGroup {
                group_id: group.group,
                protocol_type: group.protocol_type,
                group_state: group.state.to_owned(),
                group_type: group.group_type.to_owned(),
            });
        ListGroupsResponse { groups: groups.collect(), ..Default::default() }.into()
    }
}
