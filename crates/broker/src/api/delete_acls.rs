//! DeleteAcls (31): deletes the ACLs that each filter means, and tells which they were.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Acl, AclFilter, Operation, RawAclFilter};
use streamledger_broker_core::controller::{Refusal, decide_delete_acls};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::delete_acls::{
    DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsMatchingAcl,
};
use streamledger_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::access::Access;
use super::authorized::NO_AUTHORIZER;
use super::{Answer, Api, Call, acl};

impl Api for DeleteAclsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=3;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error_code: ErrorCode) -> DeleteAclsResponse {
        let error_message =
            (error_code == ErrorCode::SecurityDisabled).then(|| NO_AUTHORIZER.to_owned());
        let result =
            DeleteAclsFilterResult { error_code, error_message, matching_acls: Vec::new() };
        DeleteAclsResponse {
            filter_results: vec![result; self.filters.len()],
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DeleteAclsResponse> {
        if call.node.authorizer.is_none() {
            return self.refused(ErrorCode::SecurityDisabled).into();
        }
        let failed = self.refused(ErrorCode::UnknownServerError);
        let not_kept = self.refused(ErrorCode::KafkaStorageError);
        let filters: Vec<_> = self.filters.into_iter().map(filter).collect();
        let meant: Vec<Option<AclFilter>> =
            filters.iter().map(|filter| filter.as_ref().ok().cloned()).collect();
        let deleted = call.blocking(move |node| {
            let decide = |state: &_| Ok(decide_delete_acls(state, &meant));
            node.controller.change(decide, |_| Ok(()), |_| ())
        });
        let deleted = match deleted.await {
            Some(Ok(deleted)) => deleted,
            Some(Err(_)) => return not_kept.into(),
            None => return failed.into(),
        };
        let results = filters.into_iter().zip(deleted).map(|(filter, acls)| match filter {
            Ok(_) => DeleteAclsFilterResult {
                matching_acls: acls.into_iter().map(told).collect(),
                ..Default::default()
            },
            Err(refusal) => DeleteAclsFilterResult {
                error_code: refusal.error,
                error_message: Some(refusal.message),
                matching_acls: Vec::new(),
            },
        });
        DeleteAclsResponse { filter_results: results.collect(), ..Default::default() }.into()
    }
}

fn filter(filter: DeleteAclsFilter) -> Result<AclFilter, Refusal> {
    acl::filter(RawAclFilter {
        resource: filter.resource_type_filter,
        pattern: filter.pattern_type_filter,
        name: filter.resource_name_filter,
        principal: filter.principal_filter,
        host: filter.host_filter,
        operation: filter.operation,
        permission: filter.permission_type,
    })
}

fn told(acl: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_code: ErrorCode::None,
        error_message: None,
        resource_type: acl.resource.code(),
        resource_name: acl.name,
        pattern_type: acl.pattern.code(),
        principal: acl.principal,
        host: acl.host,
        operation: acl.operation.code(),
        permission_type: acl.permission.code(),
    }
}
