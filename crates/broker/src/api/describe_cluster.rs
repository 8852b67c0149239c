//! DescribeCluster (60): the cluster's id, its controller and its brokers, all of them this node.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::describe_cluster::DescribeClusterBroker;
use streamledger_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::access::Access;
use super::{Answer, Api, Call, authorized};

/// The endpoint type of brokers (KIP-919); the other one is controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Api for DescribeClusterRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Open("it says who the brokers are, as Metadata does");

    fn refused(&self, error: ErrorCode) -> DescribeClusterResponse {
        DescribeClusterResponse {
            error_code: error,
            endpoint_type: self.endpoint_type,
            ..Default::default()
        }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeClusterResponse> {
        let wrong = match self.endpoint_type {
            BROKERS => None,
            // What a broker's listener says to the question for controllers (KIP-919).
            CONTROLLERS => Some(ErrorCode::MismatchedEndpointType),
            _ => Some(ErrorCode::UnsupportedEndpointType),
        };
        if let Some(error) = wrong {
            let message = "This listener is a broker's; ask it for brokers.".to_owned();
            let refused = self.refused(error);
            return DescribeClusterResponse { error_message: Some(message), ..refused }.into();
        }
        let node = &call.node;
        let endpoint = &call.connection.endpoint;
        let broker = DescribeClusterBroker {
            broker_id: node.id(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            rack: node.settings.rack.clone(),
            is_fenced: false,
        };
        DescribeClusterResponse {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            error_message: None,
            endpoint_type: BROKERS,
            cluster_id: node.controller.read(|state| state.cluster_id().to_owned()),
            controller_id: node.id(),
            brokers: vec![broker],
            cluster_authorized_operations: if self.include_cluster_authorized_operations {
                node.controller.read(|state| authorized::cluster(call, state))
            } else {
                authorized::NOT_ASKED
            },
        }
        .into()
    }
}
