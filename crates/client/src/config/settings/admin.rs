//! Settings of the admin client, and what must hold between them.

use super::settings_without_effect;
use crate::config::ConfigError;
use crate::config::builder::Settings;
use crate::config::resolve::Resolved;
use crate::config::settings::ClientSettings;
use crate::config::spec::{ADMIN, ClientKind, SettingType, Support, WhenSet};

/// Settings of the admin client alone: there are none that no other client shares.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdminSettings;

settings_without_effect! {
    /// Kafka's settings of the admin client that have no effect here.
    const WITHOUT_EFFECT;

    "bootstrap.controllers", ADMIN, SettingType::List, default "", High;
    does "Controllers to ask in the place of brokers (KIP-919).";
    why "brokers pass on what controllers must do.";
    support Support::NotYet("name brokers, in bootstrap.servers", WhenSet::Refuse);
}

impl Settings for AdminSettings {
    const KIND: ClientKind = ClientKind::Admin;

    fn read(_values: &Resolved) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    /// Follows Kafka's `KafkaAdminClient.configureDefaultApiTimeoutMs`: a call has time for at
    /// least one request.
    fn reconcile(
        &mut self,
        client: &mut ClientSettings,
        values: &mut Resolved,
    ) -> Result<(), ConfigError> {
        if client.default_api_timeout >= client.request_timeout {
            return Ok(());
        }
        if values.is_given("default.api.timeout.ms") {
            return Err(ConfigError::Contradiction {
                names: vec!["default.api.timeout.ms", "request.timeout.ms"],
                reason: format!(
                    "a call of {} ms leaves no time for a request of {} ms",
                    client.default_api_timeout.as_millis(),
                    client.request_timeout.as_millis()
                ),
            });
        }
        client.default_api_timeout = client.request_timeout;
        let value = client.default_api_timeout.as_millis().to_string();
        values.adjust("default.api.timeout.ms", value, "as long as request.timeout.ms");
        Ok(())
    }
}
