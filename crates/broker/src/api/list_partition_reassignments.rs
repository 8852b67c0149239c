//! ListPartitionReassignments (46): none ever goes on, for there is one broker.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for ListPartitionReassignmentsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Cluster(&[Operation::Describe]);

    fn refused(&self, error: ErrorCode) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, _: &Arc<Call>) -> Answer<ListPartitionReassignmentsResponse> {
        ListPartitionReassignmentsResponse::default().into()
    }
}
