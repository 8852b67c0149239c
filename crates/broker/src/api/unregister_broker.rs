//! UnregisterBroker (64): takes a broker out of the cluster that is gone for good. Here there is
//! one, and it answers: no other is registered, and itself it keeps. (Kafka takes a running broker
//! out as well, which then stops.)

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::access::Access;
use super::{Answer, Api, Call};

impl Api for UnregisterBrokerRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access = Access::Cluster(&[Operation::Alter]);

    fn refused(&self, error: ErrorCode) -> UnregisterBrokerResponse {
        UnregisterBrokerResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<UnregisterBrokerResponse> {
        let id = self.broker_id;
        let (error_code, message) = if id == call.node.id() {
            let message = format!("Broker {id} is the only one, and stays registered.");
            (ErrorCode::InvalidRequest, message)
        } else {
            let message = format!("Broker ID {id} is not currently registered");
            (ErrorCode::BrokerIdNotRegistered, message)
        };
        let error_message = Some(message);
        UnregisterBrokerResponse { error_code, error_message, ..Default::default() }.into()
    }
}
