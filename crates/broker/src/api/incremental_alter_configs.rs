//! IncrementalAlterConfigs (44): changes single settings of topics, groups and the broker
//! (KIP-339).

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::{AlterOperation, ConfigAlteration, Refusal};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse,
};
use streamledger_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::access::Access;
use super::resource::Resource;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for IncrementalAlterConfigsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access = Access::Each(&[
        (Operation::AlterConfigs, ResourceType::Topic),
        (Operation::AlterConfigs, ResourceType::Group),
        (Operation::AlterConfigs, ResourceType::Cluster),
    ]);

    fn refused(&self, error: ErrorCode) -> IncrementalAlterConfigsResponse {
        let refuse = |resource| answer(resource, Err(Refusal::new(error, "")));
        let responses = self.resources.iter().map(refuse).collect();
        IncrementalAlterConfigsResponse { responses, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<IncrementalAlterConfigsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        let altered = call.blocking(move |_| {
            let alter = |resource| answer(resource, alter(&asking, resource, self.validate_only));
            let responses = self.resources.iter().map(alter).collect();
            IncrementalAlterConfigsResponse { responses, ..Default::default() }
        });
        altered.await.unwrap_or(failed).into()
    }
}

fn alter(
    call: &Call,
    resource: &AlterConfigsResource,
    only_validates: bool,
) -> Result<(), Refusal> {
    let mut changes: Vec<ConfigAlteration> = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let Some(operation) = AlterOperation::from_code(config.config_operation) else {
            let message = format!("There is no operation {}.", config.config_operation);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        };
        if changes.iter().any(|change| change.name == config.name) {
            let message = format!("{} is changed more than once.", config.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let (name, value) = (config.name.clone(), config.value.clone());
        changes.push(ConfigAlteration { name, operation, value });
    }
    let (node, kind): (&Node, _) = (&call.node, resource.resource_type);
    match Resource::parse(kind, &resource.resource_name, call, Operation::AlterConfigs)? {
        Resource::Broker(scope) => node.alter_broker(scope, &changes, only_validates),
        Resource::Group(group) => node.alter_group(&group, &changes, only_validates),
        Resource::Topic(name) => node.alter_topic(&name, &changes, only_validates),
    }
}

fn answer(
    resource: &AlterConfigsResource,
    altered: Result<(), Refusal>,
) -> AlterConfigsResourceResponse {
    let (error_code, error_message) = match altered {
        Ok(()) => (ErrorCode::None, None),
        Err(refusal) => (refusal.error, Some(refusal.message)),
    };
    AlterConfigsResourceResponse {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    }
}
