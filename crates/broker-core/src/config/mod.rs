//! Settings by Kafka's names: three tables (broker, topic, group), their checks, and who overrides
//! whom.

mod broker;
mod coordinators;
mod group;
mod no_effect;
mod not_here;
mod resolve;
mod security;
mod spec;
mod topic;
mod topic_defaults;

pub use broker::{BROKER_CONFIGS, broker_config, check_broker_config, is_dynamic, is_secret};
pub use group::{
    GROUP_CONFIGS, GROUP_HEARTBEAT_INTERVAL, GROUP_SESSION_TIMEOUT, GroupConfigSpec,
    check_group_config_name, check_group_configs, resolve_group_configs,
};
pub use no_effect::{NO_EFFECT, NoEffect, no_effect};
pub use resolve::{
    BrokerConfigs, BrokerScope, ConfigEntry, ConfigSource, ConfigSynonym, resolve_log_config,
    resolve_min_insync_replicas, resolve_topic_config, resolve_topic_configs,
};
pub use security::{
    ListenerSetting, SASL_MECHANISMS, SECURITY_CONFIGS, SIGNED_TOKENS, STANDARD_AUTHORIZER,
    UNSIGNED_TOKENS, is_listener_config, listener_setting,
};
pub use spec::{ConfigError, ConfigKind, ConfigSpec, nearest_name};
pub use topic::{
    Support, Synonym, TOPIC_CONFIGS, TopicConfigSpec, check_topic_config,
    check_topic_configs_together, topic_config,
};
