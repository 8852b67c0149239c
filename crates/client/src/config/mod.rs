//! Configuration by Kafka's names: one table of settings, and typed values that hold together.
//!
//! 1. A setting is declared once, in `settings`: its row, its field and its builder call.
//! 2. Every value takes one way, from a text by name; a builder's call writes such a text.
//! 3. Nothing is silently ignored: what is unknown, malformed or contradictory is an error, and
//!    what is known but has no effect is an error or a note.
//! 4. A secret is never printed.

mod builder;
mod document;
mod error;
mod properties;
mod providers;
mod resolve;
mod settings;
mod spec;
mod value;

pub use builder::{AdminConfig, Config, ConfigBuilder, ConsumerConfig, ProducerConfig, Settings};
pub use document::settings_markdown;
pub use error::{ConfigError, Origin};
pub use properties::Properties;
pub(crate) use properties::read_capped;
pub(crate) use resolve::is_known_secret;
pub use resolve::{ConfigNote, EffectiveSetting, SettingSource};
pub use settings::{
    AdminSettings, ClientSettings, ConsumerSettings, ProducerSettings, SecuritySettings,
};
pub use spec::{ClientKind, DefaultValue, Importance, SettingSpec, SettingType, Support, WhenSet};
pub use streamledger_protocol::Password;
pub use value::{
    AutoOffsetReset, GroupProtocolName, InvalidServerAddress, MetadataRecovery, PartitionerName,
    SecurityProtocol, ServerAddress,
};

/// Every setting of Kafka's clients, as this crate knows it.
pub fn settings_table() -> impl Iterator<Item = &'static SettingSpec> {
    settings::table()
}

#[cfg(test)]
mod tests;
