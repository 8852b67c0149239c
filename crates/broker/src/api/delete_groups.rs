//! DeleteGroups (42): deletes groups without members, and their offsets.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_protocol::messages::delete_groups::DeletableGroupResult;
use streamledger_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use streamledger_protocol::{ErrorCode, GroupId};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for DeleteGroupsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Each(&[(Operation::Delete, ResourceType::Group)]);

    fn refused(&self, error: ErrorCode) -> DeleteGroupsResponse {
        let results = self.groups_names.iter().map(|group| result(group, error)).collect();
        DeleteGroupsResponse { results, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DeleteGroupsResponse> {
        let mut results = Vec::with_capacity(self.groups_names.len());
        for group in &self.groups_names {
            let deleted = match call.check_group(Operation::Delete, group) {
                Ok(()) => call.node.groups.delete(&call.node, group).await,
                Err(error) => Err(error),
            };
            results.push(result(group, deleted.err().unwrap_or(ErrorCode::None)));
        }
        DeleteGroupsResponse { results, ..Default::default() }.into()
    }
}

fn result(group: &GroupId, error_code: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult { group_id: group.clone(), error_code }
}
