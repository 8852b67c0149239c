//! DescribeConfigs (32): settings of topics, groups and the broker, and who gave each.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::config::{
    BrokerScope, ConfigEntry, ConfigKind, resolve_group_configs, resolve_topic_configs,
};
use streamledger_broker_core::controller::Refusal;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use streamledger_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::access::Access;
use super::resource::Resource;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for DescribeConfigsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=4;
    const ACCESS: Access = Access::Each(&[
        (Operation::DescribeConfigs, ResourceType::Topic),
        (Operation::DescribeConfigs, ResourceType::Group),
        (Operation::DescribeConfigs, ResourceType::Cluster),
    ]);

    fn refused(&self, error: ErrorCode) -> DescribeConfigsResponse {
        let refuse =
            |resource: &DescribeConfigsResource| answer(resource, Err(Refusal::new(error, "")));
        let results = self.resources.iter().map(refuse).collect();
        DescribeConfigsResponse { results, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeConfigsResponse> {
        let results = self.resources.iter().map(|resource| {
            let described = entries(call, resource).map(|entries| {
                let wanted = entries.into_iter().filter(|entry| is_wanted(resource, entry.name));
                wanted.map(|entry| config(entry, &self)).collect()
            });
            answer(resource, described)
        });
        DescribeConfigsResponse { results: results.collect(), ..Default::default() }.into()
    }
}

fn entries(call: &Call, resource: &DescribeConfigsResource) -> Result<Vec<ConfigEntry>, Refusal> {
    let node: &Node = &call.node;
    let configs = node.controller.broker_configs();
    let (kind, name) = (resource.resource_type, &resource.resource_name);
    match Resource::parse(kind, name, call, Operation::DescribeConfigs)? {
        Resource::Broker(BrokerScope::One) => Ok(configs.entries()),
        Resource::Broker(BrokerScope::All) => Ok(configs.entries_of_all()),
        Resource::Group(group) => {
            let own = node.controller.read(|state| state.group_configs().get(&group).cloned());
            Ok(resolve_group_configs(&own.unwrap_or_default(), &configs))
        }
        Resource::Topic(name) => match node.topic(&name) {
            Some(topic) => Ok(resolve_topic_configs(&topic.configs, &configs)),
            None => {
                let message = "This server does not host this topic.";
                Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message))
            }
        },
    }
}

/// No list of names asks for all; so does an empty one.
fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(names) if !names.is_empty() => names.iter().any(|wanted| wanted == name),
        Some(_) | None => true,
    }
}

fn config(entry: ConfigEntry, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: Some(synonym.value),
        source: synonym.source.wire_code(),
    });
    DescribeConfigsResourceResult {
        name: entry.name.to_owned(),
        value: entry.value,
        read_only: entry.is_read_only,
        config_source: entry.source.wire_code(),
        is_sensitive: entry.kind == ConfigKind::Password,
        synonyms: if request.include_synonyms { synonyms.collect() } else { Vec::new() },
        config_type: entry.kind.wire_code(),
        documentation: request.include_documentation.then(|| entry.doc.to_owned()),
    }
}

fn answer(
    resource: &DescribeConfigsResource,
    described: Result<Vec<DescribeConfigsResourceResult>, Refusal>,
) -> DescribeConfigsResult {
    let (error_code, error_message, configs) = match described {
        Ok(configs) => (ErrorCode::None, None, configs),
        Err(refusal) => (refusal.error, Some(refusal.message), Vec::new()),
    };
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs,
    }
}
