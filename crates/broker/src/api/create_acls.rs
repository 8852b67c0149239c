//! CreateAcls (30): there is no authorizer, and so no rule is taken that nobody would follow.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::create_acls::AclCreationResult;
use streamledger_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::authorized::NO_AUTHORIZER;
use super::{Answer, Api, Call};

impl Api for CreateAclsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=3;

    fn refused(&self, error_code: ErrorCode) -> CreateAclsResponse {
        let error_message =
            (error_code == ErrorCode::SecurityDisabled).then(|| NO_AUTHORIZER.to_owned());
        let result = AclCreationResult { error_code, error_message };
        CreateAclsResponse { results: vec![result; self.creations.len()], ..Default::default() }
    }

    async fn handle(self, _: &Arc<Call>) -> Answer<CreateAclsResponse> {
        self.refused(ErrorCode::SecurityDisabled).into()
    }
}
