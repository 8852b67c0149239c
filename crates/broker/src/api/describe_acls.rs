//! DescribeAcls (29): there is no authorizer, and so there are no rules.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::authorized::NO_AUTHORIZER;
use super::{Answer, Api, Call};

impl Api for DescribeAclsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=3;

    fn refused(&self, error: ErrorCode) -> DescribeAclsResponse {
        DescribeAclsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, _: &Arc<Call>) -> Answer<DescribeAclsResponse> {
        let refused = self.refused(ErrorCode::SecurityDisabled);
        DescribeAclsResponse { error_message: Some(NO_AUTHORIZER.to_owned()), ..refused }.into()
    }
}
