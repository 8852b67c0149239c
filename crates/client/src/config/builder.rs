//! A configuration that holds together, and the typed builder that makes one.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::error::{ConfigError, Origin};
use super::properties::Properties;
use super::resolve::{ConfigNote, EffectiveSetting, Resolved};
use super::settings::{
    AdminSettings, ClientSettings, ConsumerSettings, ProducerSettings, SecuritySettings,
};
use super::spec::ClientKind;
use crate::network::{Security, TokenProvider};

/// The settings that one kind of client has for itself. Sealed by what it reads from, which has no
/// public name.
pub trait Settings: Sized {
    /// The client.
    const KIND: ClientKind;

    /// Reads each field from its text.
    #[doc(hidden)]
    fn read(values: &Resolved) -> Result<Self, ConfigError>;

    /// Refuses what doesn't go together, and lets defaults give way.
    #[doc(hidden)]
    fn reconcile(
        &mut self,
        client: &mut ClientSettings,
        values: &mut Resolved,
    ) -> Result<(), ConfigError>;
}

/// The producer's configuration: `config.linger`, `config.client().request_timeout`.
pub type ProducerConfig = Config<ProducerSettings>;
/// The consumer's configuration.
pub type ConsumerConfig = Config<ConsumerSettings>;
/// The admin client's configuration.
pub type AdminConfig = Config<AdminSettings>;

/// A client's settings, checked one by one and together. It can't be changed, so it stays so.
#[derive(Clone)]
pub struct Config<S> {
    client: ClientSettings,
    security: SecuritySettings,
    own: S,
    values: Resolved,
    connections: Security,
}

impl<S: Settings> Config<S> {
    /// Starts an empty one; every setting has Kafka's default until it is set.
    #[must_use]
    pub fn builder() -> ConfigBuilder<S> {
        ConfigBuilder { properties: Properties::new(), token_provider: None, settings: PhantomData }
    }

    /// Reads settings by Kafka's names, as Java's client takes them from a properties file.
    ///
    /// # Errors
    /// Names the setting that is unknown, malformed, missing, not supported, or at odds with
    /// another.
    pub fn from_properties(properties: &Properties) -> Result<Self, ConfigError> {
        Self::new(properties, None)
    }

    fn new(
        properties: &Properties,
        token_provider: Option<Arc<dyn TokenProvider>>,
    ) -> Result<Self, ConfigError> {
        let mut values = Resolved::new(properties, S::KIND)?;
        let mut client = ClientSettings::read(&values)?;
        let security = SecuritySettings::read(&values)?;
        let mut own = S::read(&values)?;
        client.reconcile(&mut values);
        own.reconcile(&mut client, &mut values)?;
        let connections = Security::new(&security, token_provider)?;
        Ok(Self { client, security, own, values, connections })
    }

    /// The settings that this client shares with the others.
    #[must_use]
    pub fn client(&self) -> &ClientSettings {
        &self.client
    }

    /// The settings for encryption and login.
    #[must_use]
    pub fn security(&self) -> &SecuritySettings {
        &self.security
    }

    /// How connections are secured: what those settings come to, files read.
    pub(crate) fn connections(&self) -> &Security {
        &self.connections
    }

    /// Each setting that has an effect, with its value and where that came from.
    #[must_use]
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        self.values.effective()
    }

    /// Logs the notes, as a client starts.
    pub(crate) fn log_notes(&self) {
        for note in self.notes() {
            tracing::warn!("{note}");
        }
    }

    /// What was set and is not in effect as it was set, for a person to read.
    #[must_use]
    pub fn notes(&self) -> &[ConfigNote] {
        self.values.notes()
    }
}

impl<S> Deref for Config<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.own
    }
}

impl<S: Settings> fmt::Debug for Config<S> {
    /// Shows what is in effect; no secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.effective().into_iter().map(|row| (row.name, row.value));
        f.debug_map().entries(rows).finish()
    }
}

/// Builds a [`Config`] by typed calls, one for each setting; the last word on a setting counts.
///
/// ```
/// use std::time::Duration;
/// use streamledger::{Acks, ProducerConfig};
/// let config = ProducerConfig::builder()
///     .bootstrap_servers("localhost:9092")
///     .linger(Duration::from_millis(20))
///     .acks(Acks::All)
///     .build()?;
/// assert_eq!(config.batch_size, 16_384);
/// # Ok::<(), streamledger::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ConfigBuilder<S> {
    properties: Properties,
    token_provider: Option<Arc<dyn TokenProvider>>,
    settings: PhantomData<S>,
}

impl<S> ConfigBuilder<S> {
    /// Adds all settings of a file or of the command line.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = self.properties.and(properties);
        self
    }

    /// Adds a setting by Kafka's name for it.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut properties = std::mem::take(&mut self.properties);
        properties.push(name.into(), value.into(), Origin::Builder);
        Self { properties, ..self }
    }

    /// Gives the tokens for `sasl.mechanism=OAUTHBEARER`, in place of what the settings say.
    #[must_use]
    pub fn token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.token_provider = Some(Arc::new(provider));
        self
    }

    pub(crate) fn set_typed(self, name: &'static str, value: String) -> Self {
        self.set(name, value)
    }
}

impl<S: Settings> ConfigBuilder<S> {
    /// Checks all settings, each and together.
    ///
    /// # Errors
    /// Names the setting that is unknown, malformed, missing, not supported, or at odds with
    /// another.
    pub fn build(self) -> Result<Config<S>, ConfigError> {
        Config::new(&self.properties, self.token_provider)
    }
}

impl<S> fmt::Debug for ConfigBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.properties.fmt(f)
    }
}
