//! DescribeAcls (29): the ACLs that a filter means, by what they are about.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Acl, Operation, RawAclFilter};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::describe_acls::{AclDescription, DescribeAclsResource};
use streamledger_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::access::Access;
use super::authorized::NO_AUTHORIZER;
use super::{Answer, Api, Call, acl};

impl Api for DescribeAclsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=3;
    const ACCESS: Access = Access::Cluster(&[Operation::Describe]);

    fn refused(&self, error: ErrorCode) -> DescribeAclsResponse {
        DescribeAclsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeAclsResponse> {
        if call.node.authorizer.is_none() {
            let refused = self.refused(ErrorCode::SecurityDisabled);
            let error_message = Some(NO_AUTHORIZER.to_owned());
            return DescribeAclsResponse { error_message, ..refused }.into();
        }
        let filter = acl::filter(RawAclFilter {
            resource: self.resource_type_filter,
            pattern: self.pattern_type_filter,
            name: self.resource_name_filter,
            principal: self.principal_filter,
            host: self.host_filter,
            operation: self.operation,
            permission: self.permission_type,
        });
        let filter = match filter {
            Ok(filter) => filter,
            Err(refusal) => {
                return DescribeAclsResponse {
                    error_code: refusal.error,
                    error_message: Some(refusal.message),
                    ..Default::default()
                }
                .into();
            }
        };
        let mut resources: BTreeMap<_, Vec<AclDescription>> = BTreeMap::new();
        call.node.controller.read(|state| {
            for acl in state.acls().iter().filter(|acl| filter.means(acl)) {
                let of = (acl.resource, acl.name.clone(), acl.pattern);
                resources.entry(of).or_default().push(described(acl));
            }
        });
        let resources =
            resources.into_iter().map(|((resource, name, pattern), acls)| DescribeAclsResource {
                resource_type: resource.code(),
                resource_name: name,
                pattern_type: pattern.code(),
                acls,
            });
        DescribeAclsResponse { resources: resources.collect(), ..Default::default() }.into()
    }
}

fn described(acl: &Acl) -> AclDescription {
    AclDescription {
        principal: acl.principal.clone(),
        host: acl.host.clone(),
        operation: acl.operation.code(),
        permission_type: acl.permission.code(),
    }
}
