//! CreateAcls (30): makes ACLs, each for itself. One that is there already is no error.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::controller::{Refusal, decide_create_acls};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::create_acls::AclCreationResult;
use streamledger_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::access::Access;
use super::authorized::NO_AUTHORIZER;
use super::{Answer, Api, Call, acl};

impl Api for CreateAclsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=3;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error_code: ErrorCode) -> CreateAclsResponse {
        let error_message =
            (error_code == ErrorCode::SecurityDisabled).then(|| NO_AUTHORIZER.to_owned());
        let result = AclCreationResult { error_code, error_message };
        CreateAclsResponse { results: vec![result; self.creations.len()], ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<CreateAclsResponse> {
        if call.node.authorizer.is_none() {
            return self.refused(ErrorCode::SecurityDisabled).into();
        }
        let failed = self.refused(ErrorCode::UnknownServerError);
        let kept = self.refused(ErrorCode::KafkaStorageError);
        let wanted: Vec<_> = self.creations.into_iter().map(acl::new_acl).collect();
        let created = call.blocking(move |node| {
            let decide = |state: &_| Ok(decide_create_acls(state, wanted));
            node.controller.change(decide, |_| Ok(()), |_| ())
        });
        let results = match created.await {
            Some(Ok(results)) => results.into_iter().map(result),
            Some(Err(_)) => return kept.into(),
            None => return failed.into(),
        };
        CreateAclsResponse { results: results.collect(), ..Default::default() }.into()
    }
}

fn result(created: Result<(), Refusal>) -> AclCreationResult {
    match created {
        Ok(()) => AclCreationResult { error_code: ErrorCode::None, error_message: None },
        Err(refusal) => {
            AclCreationResult { error_code: refusal.error, error_message: Some(refusal.message) }
        }
    }
}
