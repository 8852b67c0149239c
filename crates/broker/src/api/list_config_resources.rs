//! ListConfigResources (74): what has settings (KIP-1142). Version 0 asks for client metrics only.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::messages::list_config_resources::ConfigResource;
use streamledger_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use streamledger_protocol::{ApiVersion, ErrorCode};

use super::access::Access;
use super::resource::{BROKER_TYPE, GROUP_TYPE, TOPIC_TYPE};
use super::{Answer, Api, Call};

impl Api for ListConfigResourcesRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Cluster(&[Operation::DescribeConfigs]);

    fn refused(&self, error: ErrorCode) -> ListConfigResourcesResponse {
        ListConfigResourcesResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<ListConfigResourcesResponse> {
        if call.version == ApiVersion(0) {
            return ListConfigResourcesResponse::default().into();
        }
        let is_wanted =
            |kind| self.resource_types.is_empty() || self.resource_types.contains(&kind);
        let mut config_resources = Vec::new();
        if is_wanted(TOPIC_TYPE) {
            call.node.controller.read(|state| {
                config_resources.extend(state.topics().map(|topic| ConfigResource {
                    resource_name: topic.name.as_str().to_owned(),
                    resource_type: TOPIC_TYPE,
                }));
            });
        }
        if is_wanted(GROUP_TYPE) {
            call.node.controller.read(|state| {
                config_resources.extend(state.group_configs().keys().map(|group| ConfigResource {
                    resource_name: group.as_str().to_owned(),
                    resource_type: GROUP_TYPE,
                }));
            });
        }
        if is_wanted(BROKER_TYPE) {
            let resource_name = call.node.id().to_string();
            config_resources.push(ConfigResource { resource_name, resource_type: BROKER_TYPE });
        }
        ListConfigResourcesResponse { config_resources, ..Default::default() }.into()
    }
}
