//! DeleteAcls (31): there is no authorizer, and so there are no rules.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::delete_acls::DeleteAclsFilterResult;
use streamledger_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::authorized::NO_AUTHORIZER;
use super::{Answer, Api, Call};

impl Api for DeleteAclsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=3;

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

    async fn handle(self, _: &Arc<Call>) -> Answer<DeleteAclsResponse> {
        self.refused(ErrorCode::SecurityDisabled).into()
    }
}
