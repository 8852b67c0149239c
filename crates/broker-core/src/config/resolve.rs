//! Who overrides whom: topic, then broker while running, then broker at start, then default.

use std::collections::BTreeMap;

use streamledger_protocol::TimestampType;

use super::broker::{BROKER_CONFIGS, is_dynamic};
use super::spec::{ConfigKind, parse_boolean, words};
use super::topic::{TOPIC_CONFIGS, TopicConfigSpec};

/// Where a setting's value comes from (Kafka's `DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic,
    /// Set on this broker while it ran.
    DynamicBroker,
    /// Given to the broker at start.
    StaticBroker,
    /// Given by nobody.
    Default,
}

impl ConfigSource {
    /// The code in a `DescribeConfigs` answer.
    #[must_use]
    pub const fn wire_code(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::DynamicBroker => 2,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// The broker's own settings: those given at start and those changed since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerConfigs {
    /// Given at start, checked.
    pub at_start: BTreeMap<String, String>,
    /// Changed since, through `IncrementalAlterConfigs`; kept in the metadata log.
    pub dynamic: BTreeMap<String, String>,
}

/// One value a setting could have, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The name under which it was given.
    pub name: &'static str,
    /// The value, in that name's unit.
    pub value: String,
    /// Who gave it.
    pub source: ConfigSource,
}

/// A setting in force: what `DescribeConfigs` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigEntry {
    /// The setting.
    pub name: &'static str,
    /// The value in force; `None` is not set.
    pub value: Option<String>,
    /// Who gave it.
    pub source: ConfigSource,
    /// Whether it can only be given at start.
    pub is_read_only: bool,
    /// The type of the value.
    pub kind: ConfigKind,
    /// What it does.
    pub doc: &'static str,
    /// All that were given, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
}

impl BrokerConfigs {
    /// The value in force of a broker setting, or its default.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let given = self.dynamic.get(name).or_else(|| self.at_start.get(name));
        match given {
            Some(value) => Some(value.trim()),
            None => super::broker_config(name).and_then(|spec| spec.default),
        }
    }

    /// Every broker setting as it is in force, in order of name.
    #[must_use]
    pub fn entries(&self) -> Vec<ConfigEntry> {
        BROKER_CONFIGS
            .iter()
            .map(|spec| {
                let synonyms = self.given(spec.name);
                ConfigEntry {
                    name: spec.name,
                    value: synonyms.first().map(|first| first.value.clone()),
                    source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
                    is_read_only: !is_dynamic(spec.name),
                    kind: spec.kind,
                    doc: spec.doc,
                    synonyms,
                }
            })
            .collect()
    }

    /// What was given for a broker setting, the strongest first, its default last.
    fn given(&self, name: &str) -> Vec<ConfigSynonym> {
        let Some(spec) = super::broker_config(name) else { return Vec::new() };
        let layers = [
            (self.dynamic.get(name).cloned(), ConfigSource::DynamicBroker),
            (self.at_start.get(name).cloned(), ConfigSource::StaticBroker),
            (spec.default.map(str::to_owned), ConfigSource::Default),
        ];
        layers
            .into_iter()
            .filter_map(|(value, source)| {
                value.map(|value| ConfigSynonym { name: spec.name, value, source })
            })
            .collect()
    }
}

/// Every topic setting as it is in force for a topic with these overrides, in order of name.
#[must_use]
pub fn resolve_topic_configs(
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> Vec<ConfigEntry> {
    TOPIC_CONFIGS.iter().map(|row| resolve_topic_config(row, overrides, broker)).collect()
}

/// One topic setting as it is in force.
#[must_use]
pub fn resolve_topic_config(
    row: &'static TopicConfigSpec,
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> ConfigEntry {
    let spec = &row.spec;
    let mut value = spec.default.map(str::to_owned);
    let mut source = ConfigSource::Default;
    let mut synonyms = Vec::new();
    if let Some(own) = overrides.get(spec.name) {
        (value, source) = (Some(own.trim().to_owned()), ConfigSource::DynamicTopic);
        synonyms.push(ConfigSynonym { name: spec.name, value: own.trim().to_owned(), source });
    }
    for synonym in row.synonyms {
        for given in broker.given(synonym.name) {
            if synonyms.is_empty() {
                (value, source) = (Some(scaled(&given.value, synonym.factor)), given.source);
            }
            synonyms.push(given);
        }
    }
    let (name, kind, doc) = (spec.name, spec.kind, spec.doc);
    ConfigEntry { name, value, source, is_read_only: false, kind, doc, synonyms }
}

/// A broker setting's value in the topic setting's unit; -1 is "no limit" in both.
fn scaled(value: &str, factor: i64) -> String {
    match value.trim().parse::<i64>() {
        Ok(number) if factor != 1 && number >= 0 => number.saturating_mul(factor).to_string(),
        _ => value.trim().to_owned(),
    }
}

/// What happens to old segments of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments past the retention are deleted.
    pub deletes: bool,
    /// Only the latest record of each key is kept.
    pub compacts: bool,
}

/// The topic settings the broker acts on, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// cleanup.policy.
    pub cleanup_policy: CleanupPolicy,
    /// index.interval.bytes.
    pub index_interval_bytes: i32,
    /// max.message.bytes.
    pub max_message_bytes: i32,
    /// message.timestamp.after.max.ms.
    pub timestamp_after_max_ms: i64,
    /// message.timestamp.before.max.ms.
    pub timestamp_before_max_ms: i64,
    /// message.timestamp.type.
    pub timestamp_type: TimestampType,
    /// min.insync.replicas.
    pub min_insync_replicas: i32,
    /// retention.bytes; `None` is no limit.
    pub retention_bytes: Option<i64>,
    /// retention.ms; `None` is for ever.
    pub retention_ms: Option<i64>,
    /// segment.bytes.
    pub segment_bytes: i32,
    /// segment.ms.
    pub segment_ms: i64,
}

impl TopicSettings {
    /// The settings in force for a topic with these overrides, all of them checked before.
    ///
    /// A value that does not parse can only come from a metadata log of another version; its
    /// default is used then.
    #[must_use]
    pub fn resolve(overrides: &BTreeMap<String, String>, broker: &BrokerConfigs) -> Self {
        let text = |name: &str| {
            super::topic_config(name)
                .and_then(|row| resolve_topic_config(row, overrides, broker).value)
                .unwrap_or_default()
        };
        let long = |name: &str| {
            let default = || {
                let row = super::topic_config(name)?;
                row.spec.default?.parse::<i64>().ok()
            };
            text(name).parse::<i64>().ok().or_else(default).unwrap_or(0)
        };
        let int = |name: &str| i32::try_from(long(name)).unwrap_or(i32::MAX);
        let limit = |name: &str| Some(long(name)).filter(|&limit| limit >= 0);
        let policy = text("cleanup.policy");
        Self {
            cleanup_policy: CleanupPolicy {
                deletes: words(&policy).any(|word| word == "delete"),
                compacts: words(&policy).any(|word| word == "compact"),
            },
            index_interval_bytes: int("index.interval.bytes"),
            max_message_bytes: int("max.message.bytes"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_insync_replicas: int("min.insync.replicas"),
            retention_bytes: limit("retention.bytes"),
            retention_ms: limit("retention.ms"),
            segment_bytes: int("segment.bytes"),
            segment_ms: long("segment.ms"),
        }
    }
}

impl BrokerConfigs {
    /// A setting's value as a number; 0 where there is none.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A setting's value as a truth; false where there is none.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.value(name).and_then(parse_boolean).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn entry(
        name: &str,
        overrides: &[(&str, &str)],
        at_start: &[(&str, &str)],
        dynamic: &[(&str, &str)],
    ) -> ConfigEntry {
        let broker = BrokerConfigs { at_start: map(at_start), dynamic: map(dynamic) };
        let row = super::super::topic_config(name).unwrap();
        resolve_topic_config(row, &map(overrides), &broker)
    }

    #[test]
    fn with_nothing_given_the_default_stands_in_the_topics_unit() {
        let retention = entry("retention.ms", &[], &[], &[]);
        assert_eq!(retention.value.as_deref(), Some("604800000"));
        assert_eq!(retention.source, ConfigSource::Default);
        assert_eq!(retention.synonyms.len(), 1);
        assert_eq!(retention.synonyms[0].name, "log.retention.hours");
    }

    #[test]
    fn the_topic_goes_before_the_running_broker_before_its_start() {
        let at_start = [("log.retention.minutes", "10")];
        let dynamic = [("log.retention.ms", "77")];
        let from_start = entry("retention.ms", &[], &at_start, &[]);
        assert_eq!(from_start.value.as_deref(), Some("600000"));
        assert_eq!(from_start.source, ConfigSource::StaticBroker);
        let from_dynamic = entry("retention.ms", &[], &at_start, &dynamic);
        assert_eq!(from_dynamic.value.as_deref(), Some("77"));
        assert_eq!(from_dynamic.source, ConfigSource::DynamicBroker);
        let own = entry("retention.ms", &[("retention.ms", "5")], &at_start, &dynamic);
        assert_eq!(own.value.as_deref(), Some("5"));
        assert_eq!(own.source, ConfigSource::DynamicTopic);
        let order: Vec<_> = own.synonyms.iter().map(|synonym| synonym.name).collect();
        assert_eq!(
            order,
            ["retention.ms", "log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        );
    }

    #[test]
    fn no_limit_is_no_limit_in_every_unit() {
        let hours = [("log.retention.hours", "-1")];
        assert_eq!(entry("retention.ms", &[], &hours, &[]).value.as_deref(), Some("-1"));
        let broker = BrokerConfigs { at_start: map(&hours), dynamic: BTreeMap::new() };
        assert_eq!(TopicSettings::resolve(&BTreeMap::new(), &broker).retention_ms, None);
    }

    #[test]
    fn settings_parse_to_kafkas_defaults() {
        let settings = TopicSettings::resolve(&BTreeMap::new(), &BrokerConfigs::default());
        assert_eq!(settings.retention_ms, Some(604_800_000));
        assert_eq!(settings.retention_bytes, None);
        assert_eq!(settings.segment_bytes, 1 << 30);
        assert_eq!(settings.segment_ms, 604_800_000);
        assert_eq!(settings.max_message_bytes, 1_048_588);
        assert_eq!(settings.timestamp_type, TimestampType::CreateTime);
        assert_eq!(settings.cleanup_policy, CleanupPolicy { deletes: true, compacts: false });
        assert_eq!(settings.min_insync_replicas, 1);
    }

    #[test]
    fn broker_entries_show_what_was_given_and_what_can_change() {
        let broker = BrokerConfigs {
            at_start: map(&[("num.partitions", "6")]),
            dynamic: map(&[("message.max.bytes", "1000")]),
        };
        let entries = broker.entries();
        let find = |name| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(find("num.partitions").value.as_deref(), Some("6"));
        assert!(find("num.partitions").is_read_only);
        assert_eq!(find("message.max.bytes").source, ConfigSource::DynamicBroker);
        assert!(!find("message.max.bytes").is_read_only);
        assert_eq!(find("listeners").value, None);
        assert_eq!(broker.number("num.partitions"), 6);
        assert!(broker.is_true("auto.create.topics.enable"));
    }
}
