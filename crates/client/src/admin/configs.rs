//! Reads the settings of topics and brokers.

use streamledger_protocol::messages::DescribeConfigsRequest;
use streamledger_protocol::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult,
};

use super::retry::{Learnt, outcome};
use super::{AdminError, ConfigEntry, ConfigResource, ConfigSource, Results, Shell};

/// Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Shell {
    pub(super) async fn describe_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Results<Vec<ConfigEntry>, ConfigResource>, AdminError> {
        self.retry_each(resources, |open| self.try_describe_configs(open)).await
    }

    async fn try_describe_configs(
        &self,
        open: Vec<ConfigResource>,
    ) -> Result<Learnt<ConfigResource, Vec<ConfigEntry>>, AdminError> {
        let mut learnt = Vec::new();
        let is_broker = |resource: &&ConfigResource| matches!(resource, ConfigResource::Broker(_));
        // A broker's settings are its own to tell; a topic's any broker knows.
        for broker in open.iter().filter(is_broker) {
            learnt.extend(self.ask_configs(std::slice::from_ref(broker)).await?);
        }
        let topics: Vec<_> = open.iter().filter(|resource| !is_broker(resource)).cloned().collect();
        if !topics.is_empty() {
            learnt.extend(self.ask_configs(&topics).await?);
        }
        Ok(learnt)
    }

    /// Asks one broker: the one that all resources belong to, or any.
    async fn ask_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Learnt<ConfigResource, Vec<ConfigEntry>>, AdminError> {
        let connection = match resources {
            [ConfigResource::Broker(broker)] => {
                if self.refresher.snapshot().broker(*broker).is_none() {
                    self.refresher.refresh([]).await?;
                }
                self.refresher.connection_to(*broker).await?
            }
            _ => self.any_broker().await?,
        };
        let request = DescribeConfigsRequest {
            resources: resources.iter().map(asked).collect(),
            ..Default::default()
        };
        let response = connection.call(&request, self.request_timeout()).await?;
        let learnt = response.results.into_iter().filter_map(|result| {
            let key = (result.resource_type, &*result.resource_name);
            let resource = resources.iter().find(|resource| {
                let asked = asked(resource);
                (asked.resource_type, &*asked.resource_name) == key
            })?;
            let entries = result.configs.into_iter().map(entry).collect();
            Some((resource.clone(), outcome(result.error_code, result.error_message, entries)))
        });
        Ok(learnt.collect())
    }
}

fn asked(resource: &ConfigResource) -> DescribeConfigsResource {
    let (resource_type, resource_name) = match resource {
        ConfigResource::Topic(name) => (TOPIC, name.to_string()),
        ConfigResource::Broker(id) => (BROKER, id.to_string()),
    };
    DescribeConfigsResource { resource_type, resource_name, configuration_keys: None }
}

fn entry(told: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: told.name,
        value: told.value,
        source: ConfigSource::from_code(told.config_source),
        is_read_only: told.read_only,
        is_sensitive: told.is_sensitive,
    }
}
