//! How a broker is configured: a builder with Kafka's setting names, checked as a whole.

mod listener;
mod oauth;
mod principal_rules;
mod security;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use streamledger_broker_core::config::{
    BrokerConfigs, ConfigError, check_broker_config, is_secret, no_effect,
};

use streamledger_protocol::Password;

use crate::storage::FlushPolicy;

pub(crate) use listener::{ListenAddress, ListenerSettings};
pub(crate) use oauth::{KeyPlace, KeySource, OAuthSettings, TokenRules};
pub(crate) use security::{ClientAuth, Mechanism, PemSource, SaslSettings, TlsSettings};
pub(crate) use settings::{NetworkSettings, Settings};

/// What a broker is started with. [`BrokerConfig::default`] is a broker for a test: loopback, a
/// free port, a temporary directory.
///
/// ```
/// use streamledger_broker::BrokerConfig;
///
/// let config = BrokerConfig::builder()
///     .listen("127.0.0.1:0")
///     .property("num.partitions", "6")
///     .build()?;
/// # Ok::<(), streamledger_broker::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    pub(crate) settings: Settings,
    pub(crate) configs: BrokerConfigs,
    pub(crate) scram_users: Vec<(String, Password)>,
}

impl BrokerConfig {
    /// A builder with every setting at its default.
    #[must_use]
    pub fn builder() -> BrokerConfigBuilder {
        BrokerConfigBuilder::default()
    }

    /// The data directory; `None` is a temporary one.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.settings.data_dir.as_deref()
    }

    /// The settings that were given and have no effect, each with the reason.
    #[must_use]
    pub fn without_effect(&self) -> Vec<(&str, &'static str)> {
        let given = self.configs.at_start.keys();
        given.filter_map(|name| Some((name.as_str(), no_effect(name)?.reason))).collect()
    }

    /// Every setting in force that has a value: name, value, and whether it was given.
    #[must_use]
    pub fn effective(&self) -> Vec<(&'static str, String, bool)> {
        let entries = self.configs.entries().into_iter();
        entries
            .filter_map(|entry| {
                let is_given = self.configs.at_start.contains_key(entry.name);
                entry.value.map(|value| (entry.name, value, is_given))
            })
            .collect()
    }
}

impl BrokerConfig {
    /// Whether a setting's value must not be seen, by its name: a password, a key, a login module.
    #[must_use]
    pub fn is_secret(name: &str) -> bool {
        is_secret(name)
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let configs = BrokerConfigs::default();
        let settings = Settings::from_checked(&configs);
        Self { settings, configs, scram_users: Vec::new() }
    }
}

/// Collects settings; [`build`](Self::build) checks them.
#[derive(Clone, Default)]
pub struct BrokerConfigBuilder {
    properties: BTreeMap<String, String>,
    data_dir: Option<PathBuf>,
    allows_insecure_listen: bool,
    scram_users: Vec<(String, Password)>,
}

impl BrokerConfigBuilder {
    /// Where everything is kept (`log.dirs`). Without it: a temporary directory, removed when the
    /// broker stops.
    #[must_use]
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// The address to listen on (`listeners`), such as `127.0.0.1:9092`; port 0 is a free port.
    /// Several are separated by commas.
    #[must_use]
    pub fn listen(self, addresses: impl Into<String>) -> Self {
        self.property("listeners", addresses)
    }

    /// When appended bytes are forced to disk (`streamledger.flush`).
    #[must_use]
    pub fn flush(self, policy: FlushPolicy) -> Self {
        self.property("streamledger.flush", policy.to_string())
    }

    /// A setting by its name; a later one replaces an earlier one.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Several settings by their names.
    #[must_use]
    pub fn properties<N: Into<String>, V: Into<String>>(
        mut self,
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = properties.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.properties.extend(pairs);
        self
    }

    /// Allows addresses that other machines can reach, at listeners without TLS or without
    /// knowing who connects: whoever reaches one may read what goes over it, or do everything.
    #[must_use]
    pub fn allow_insecure_listen(mut self) -> Self {
        self.allows_insecure_listen = true;
        self
    }

    /// A user who can log in by SCRAM-SHA-256 and SCRAM-SHA-512 from the start, with this password
    /// instead of any former one. Kept in the data directory, as keys that only check it.
    #[must_use]
    pub fn scram_user(mut self, name: impl Into<String>, password: impl Into<Password>) -> Self {
        self.scram_users.push((name.into(), password.into()));
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], naming the setting, and the nearest known name of an unknown one; of all
    /// that is wrong, not the first.
    pub fn build(mut self) -> Result<BrokerConfig, ConfigError> {
        if let Some(directory) = &self.data_dir {
            let text = directory.to_string_lossy().into_owned();
            self.properties.insert("log.dirs".to_owned(), text);
        }
        let checked = self.properties.iter().map(|(name, value)| check_broker_config(name, value));
        ConfigError::all(checked.filter_map(Result::err).collect())?;
        let mut configs = BrokerConfigs { at_start: self.properties, ..BrokerConfigs::default() };
        let mut settings = Settings::parse(&configs)?;
        configs.hide_secrets();
        if let Some(directory) = self.data_dir {
            settings.data_dir = Some(directory);
        }
        settings.allows_insecure_listen = self.allows_insecure_listen;
        Ok(BrokerConfig { settings, configs, scram_users: self.scram_users })
    }
}

impl fmt::Debug for BrokerConfigBuilder {
    /// Shows `***` for secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.properties.iter().map(|(name, value)| {
            let value = if is_secret(name) { "***" } else { value.as_str() };
            (name, value)
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_unknown_setting_is_named_with_its_nearest() {
        let error = BrokerConfig::builder().property("num.partition", "3").build().unwrap_err();
        assert!(error.to_string().contains("did you mean num.partitions?"), "{error}");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = [("num.partition", "3"), ("node.id", "x"), ("broker.id", "4")];
        let error = BrokerConfig::builder().properties(wrong).build().unwrap_err().to_string();
        for part in ["num.partitions?", "node.id must be", "broker.id=4", "called node.id"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(error.lines().count(), 3);
        let both = [("streamledger.flush", "sometimes"), ("log.dirs", "/a,/b")];
        let error = BrokerConfig::builder().properties(both).build().unwrap_err().to_string();
        assert!(error.contains("interval:MS") && error.contains("one directory"), "{error}");
    }

    /// What Kafka 4.3 ships as config/server.properties says no more and no less.
    const SHIPPED: &[(&str, &str)] = &[
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("inter.broker.listener.name", "PLAINTEXT"),
        ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        (
            "listener.security.protocol.map",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,\
             SASL_SSL:SASL_SSL",
        ),
        ("num.network.threads", "3"),
        ("num.io.threads", "8"),
        ("socket.send.buffer.bytes", "102400"),
        ("socket.receive.buffer.bytes", "102400"),
        ("socket.request.max.bytes", "104857600"),
        ("log.dirs", "/tmp/kraft-combined-logs"),
        ("num.partitions", "1"),
        ("num.recovery.threads.per.data.dir", "2"),
        ("offsets.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("log.retention.hours", "168"),
        ("log.segment.bytes", "1073741824"),
        ("log.retention.check.interval.ms", "300000"),
    ];

    #[test]
    fn kafkas_own_file_is_taken_and_what_has_no_effect_is_named() {
        let config = BrokerConfig::builder().properties(SHIPPED.iter().copied()).build().unwrap();
        let names: Vec<&str> =
            config.settings.listeners.iter().map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["PLAINTEXT"], "nothing listens for controllers");
        let without_effect = config.without_effect();
        assert_eq!(without_effect.len(), 9, "{without_effect:?}");
        let reason = |wanted| without_effect.iter().find(|(name, _)| *name == wanted).unwrap().1;
        assert!(reason("num.io.threads").contains("streamledger.worker.threads"));
    }

    #[test]
    fn settings_come_from_properties_and_typed_methods_alike() {
        let config = BrokerConfig::builder()
            .listen("127.0.0.1:9092")
            .flush(FlushPolicy::Interval(Duration::from_millis(50)))
            .properties([("num.partitions", "6")])
            .data_dir("/tmp/somewhere")
            .build()
            .unwrap();
        assert_eq!(config.settings.flush, FlushPolicy::Interval(Duration::from_millis(50)));
        assert_eq!(config.data_dir(), Some(Path::new("/tmp/somewhere")));
        assert!(config.effective().contains(&("num.partitions", "6".to_owned(), true)));
        assert!(config.effective().contains(&("min.insync.replicas", "1".to_owned(), false)));
    }

    #[test]
    fn a_contradiction_is_named() {
        let build = |name: &str, value: &str| {
            BrokerConfig::builder()
                .listen("127.0.0.1:0,127.0.0.1:0")
                .property(name, value)
                .build()
                .unwrap_err()
                .to_string()
        };
        assert!(build("advertised.listeners", "a:1").contains("2 listeners"));
        assert!(build("streamledger.flush", "sometimes").contains("interval:MS"));
        assert!(build("log.dirs", "/a,/b").contains("one directory"));
        assert!(build("listeners", "SSL://:9093").contains("ssl.keystore.location"));
        assert!(build("max.connections.per.ip", "2000").contains("max.connections"));
    }
}
