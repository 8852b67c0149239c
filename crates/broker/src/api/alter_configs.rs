//! AlterConfigs (33): gives topics, groups and the broker exactly these settings; what is not named
//! goes back to its default. `IncrementalAlterConfigs` is the better one, and older tools use this.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::{AlterOperation, ConfigAlteration, Refusal};
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse,
};
use streamledger_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::access::Access;
use super::resource::Resource;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for AlterConfigsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=2;
    const ACCESS: Access = Access::Each(&[
        (Operation::AlterConfigs, ResourceType::Topic),
        (Operation::AlterConfigs, ResourceType::Group),
        (Operation::AlterConfigs, ResourceType::Cluster),
    ]);

    fn refused(&self, error: ErrorCode) -> AlterConfigsResponse {
        let refuse = |resource| answer(resource, Err(Refusal::new(error, "")));
        let responses = self.resources.iter().map(refuse).collect();
        AlterConfigsResponse { responses, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<AlterConfigsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        let altered = call.blocking(move |_| {
            let alter = |resource| answer(resource, alter(&asking, resource, self.validate_only));
            let responses = self.resources.iter().map(alter).collect();
            AlterConfigsResponse { responses, ..Default::default() }
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
        if config.value.is_none() || changes.iter().any(|change| change.name == config.name) {
            let message = format!("{} has no value, or more than one.", config.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let (name, value) = (config.name.clone(), config.value.clone());
        changes.push(ConfigAlteration { name, operation: AlterOperation::Set, value });
    }
    let (node, kind): (&Node, _) = (&call.node, resource.resource_type);
    match Resource::parse(kind, &resource.resource_name, call, Operation::AlterConfigs)? {
        Resource::Broker(scope) => {
            let configs = node.controller.broker_configs();
            forget_others(&mut changes, configs.changed(scope).keys());
            node.alter_broker(scope, &changes, only_validates)
        }
        Resource::Group(group) => {
            let present = node.controller.read(|state| state.group_configs().get(&group).cloned());
            forget_others(&mut changes, present.iter().flat_map(|own| own.keys()));
            node.alter_group(&group, &changes, only_validates)
        }
        Resource::Topic(name) => {
            let topic = node.topic(&name);
            forget_others(&mut changes, topic.iter().flat_map(|topic| topic.configs.keys()));
            node.alter_topic(&name, &changes, only_validates)
        }
    }
}

/// What is set now and is not among the changes goes back to its default.
fn forget_others<'a>(
    changes: &mut Vec<ConfigAlteration>,
    present: impl Iterator<Item = &'a String>,
) {
    let gone: Vec<_> =
        present.filter(|name| !changes.iter().any(|change| change.name == **name)).collect();
    changes.extend(gone.into_iter().map(|name| ConfigAlteration {
        name: name.clone(),
        operation: AlterOperation::Delete,
        value: None,
    }));
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
