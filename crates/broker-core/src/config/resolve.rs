//! Who overrides whom: topic, then broker while running, then all brokers while running, then
//! broker at start, then default.

use std::collections::BTreeMap;

use streamledger_protocol::compression::Compression;
use streamledger_protocol::{Codec, TimestampType};

use super::broker::{BROKER_CONFIGS, is_dynamic, is_secret};
use super::security::SECURITY_CONFIGS;
use super::spec::{ConfigKind, HIDDEN, parse_boolean, words};
use super::topic::{TOPIC_CONFIGS, TopicConfigSpec};
use crate::log::{CleanupPolicy, HighWatermarkRule, LogConfig};

/// Where a setting's value comes from (Kafka's `DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic,
    /// Set on the group.
    DynamicGroup,
    /// Set on this broker while it ran.
    DynamicBroker,
    /// Set on all brokers while they ran.
    DynamicDefaultBroker,
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
            Self::DynamicGroup => 8,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// Whose settings are meant where they change while brokers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerScope {
    /// One broker's: they go before those of all.
    One,
    /// Those of all brokers of the cluster (`--entity-default` of Kafka's tools).
    All,
}

/// The broker's settings: those given at start and those changed since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerConfigs {
    /// Given at start, checked.
    pub at_start: BTreeMap<String, String>,
    /// Changed since for this broker, through `IncrementalAlterConfigs`; kept in the metadata log.
    pub dynamic: BTreeMap<String, String>,
    /// The same for all brokers.
    pub dynamic_default: BTreeMap<String, String>,
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
        let own = self.dynamic.get(name).map(|value| value.trim());
        own.or_else(|| self.value_for(BrokerScope::All, name))
    }

    /// The value in force of a broker setting; for all brokers, without what this one has of its
    /// own.
    #[must_use]
    pub fn value_for(&self, scope: BrokerScope, name: &str) -> Option<&str> {
        if scope == BrokerScope::One {
            return self.value(name);
        }
        let given = self.dynamic_default.get(name).or_else(|| self.at_start.get(name));
        match given {
            Some(value) => Some(value.trim()),
            None => super::broker_config(name).and_then(|spec| spec.default),
        }
    }

    /// What was changed while running, of this broker or of all.
    #[must_use]
    pub fn changed(&self, scope: BrokerScope) -> &BTreeMap<String, String> {
        match scope {
            BrokerScope::One => &self.dynamic,
            BrokerScope::All => &self.dynamic_default,
        }
    }

    /// The value in force of a setting for the listener of that name (in lower case): its own, else
    /// the broker's.
    #[must_use]
    pub fn listener_value(&self, listener: &str, name: &str) -> Option<&str> {
        let own = self.at_start.get(&format!("listener.name.{listener}.{name}"));
        own.map(|value| value.trim()).or_else(|| self.value(name))
    }

    /// Forgets the secrets, once they are where they are needed.
    pub fn hide_secrets(&mut self) {
        for (name, value) in &mut self.at_start {
            if is_secret(name) {
                HIDDEN.clone_into(value);
            }
        }
    }

    /// Every broker setting as it is in force, in order of name.
    #[must_use]
    pub fn entries(&self) -> Vec<ConfigEntry> {
        let mut specs: Vec<_> = BROKER_CONFIGS.iter().chain(SECURITY_CONFIGS).collect();
        specs.sort_by_key(|spec| spec.name);
        specs
            .into_iter()
            .map(|spec| {
                let mut synonyms = self.given(spec.name);
                let source = synonyms.first().map_or(ConfigSource::Default, |first| first.source);
                if spec.kind == ConfigKind::Password {
                    // A secret shows who gave it, and nothing more.
                    synonyms.clear();
                }
                ConfigEntry {
                    name: spec.name,
                    value: synonyms.first().map(|first| first.value.clone()),
                    source,
                    is_read_only: !is_dynamic(spec.name),
                    kind: spec.kind,
                    doc: spec.doc,
                    synonyms,
                }
            })
            .collect()
    }

    /// The settings that were changed for all brokers, in order of name: only that, as Kafka shows
    /// them (`ConfigHelper`).
    #[must_use]
    pub fn entries_of_all(&self) -> Vec<ConfigEntry> {
        let of_all = |synonym: &ConfigSynonym| synonym.source == ConfigSource::DynamicDefaultBroker;
        let mut entries = self.entries();
        entries.retain_mut(|entry| {
            entry.synonyms.retain(of_all);
            let Some(own) = entry.synonyms.first() else { return false };
            (entry.value, entry.source) = (Some(own.value.clone()), own.source);
            true
        });
        entries
    }

    /// What was given for a broker setting, the strongest first, its default last.
    pub(super) fn given(&self, name: &str) -> Vec<ConfigSynonym> {
        let Some(spec) = super::broker_config(name) else { return Vec::new() };
        let layers = [
            (self.dynamic.get(name).cloned(), ConfigSource::DynamicBroker),
            (self.dynamic_default.get(name).cloned(), ConfigSource::DynamicDefaultBroker),
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

/// The settings of a topic's logs, with these overrides, all of them checked before.
///
/// A value that does not parse can only come from a metadata log of another version; its default
/// is used then.
#[must_use]
pub fn resolve_log_config(
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
    watermark: HighWatermarkRule,
) -> LogConfig {
    let text = |name: &str| topic_value(name, overrides, broker);
    let long = |name: &str| topic_number(name, overrides, broker);
    let unsigned = |name: &str| u64::try_from(long(name)).unwrap_or(0);
    let u32_of = |name: &str| u32::try_from(long(name)).unwrap_or(0);
    let limit = |name: &str| u64::try_from(long(name)).ok();
    let distance = |name: &str| limit(name).filter(|&distance| distance < i64::MAX as u64);
    let policy = text("cleanup.policy");
    let has = |word: &str| words(&policy).any(|own| own == word);
    LogConfig {
        segment_bytes: u32_of("segment.bytes"),
        segment_ms: unsigned("segment.ms"),
        segment_jitter_ms: unsigned("segment.jitter.ms"),
        segment_index_bytes: u32_of("segment.index.bytes"),
        index_interval_bytes: u32_of("index.interval.bytes"),
        retention_ms: limit("retention.ms"),
        retention_bytes: limit("retention.bytes"),
        cleanup: match (has("compact"), has("delete")) {
            (true, true) => CleanupPolicy::CompactAndDelete,
            (true, false) => CleanupPolicy::Compact,
            (false, _) => CleanupPolicy::Delete,
        },
        dirty_ratio_ppm_min: millionths(&text("min.cleanable.dirty.ratio")),
        compaction_lag_ms_min: unsigned("min.compaction.lag.ms"),
        compaction_lag_ms_max: distance("max.compaction.lag.ms"),
        delete_retention_ms: unsigned("delete.retention.ms"),
        compression: compression(&text("compression.type"), &long),
        flush_messages: distance("flush.messages"),
        flush_ms: distance("flush.ms"),
        message_bytes_max: u32_of("max.message.bytes"),
        timestamp_type: match text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_ms_max: distance("message.timestamp.before.max.ms"),
        timestamp_after_ms_max: distance("message.timestamp.after.max.ms"),
        producer_expiration_ms: broker.number("producer.id.expiration.ms").unsigned_abs(),
        watermark,
        ..LogConfig::default()
    }
}

/// A ratio from 0 to 1 in millionths.
fn millionths(ratio: &str) -> u64 {
    let ratio: f64 = ratio.parse().unwrap_or(0.5);
    // In range by its check; what isn't is cut.
    (ratio * 1e6).clamp(0.0, 1e6).round() as u64
}

/// What batches are stored in; none keeps what they come in.
fn compression(name: &str, level: &impl Fn(&str) -> i64) -> Option<Compression> {
    let level = |name| i32::try_from(level(name)).ok();
    Some(match name {
        "uncompressed" => Compression::of(Codec::None),
        "snappy" => Compression::of(Codec::Snappy),
        "gzip" => Compression {
            codec: Codec::Gzip,
            // -1 is the codec's own default.
            level: level("compression.gzip.level").filter(|level| *level > 0),
        },
        "lz4" => Compression { codec: Codec::Lz4, level: level("compression.lz4.level") },
        "zstd" => Compression { codec: Codec::Zstd, level: level("compression.zstd.level") },
        _ => return None,
    })
}

/// min.insync.replicas in force for a topic, of all that may say it, the strongest first: the
/// topic, the broker, all brokers, and the broker at start.
///
/// Asked at every `acks=all`, so it looks up and parses, and allocates nothing.
#[must_use]
pub fn resolve_min_insync_replicas(given: [&BTreeMap<String, String>; 4]) -> usize {
    let mut values = given.into_iter().filter_map(|layer| layer.get("min.insync.replicas"));
    values.next().and_then(|value| value.trim().parse().ok()).unwrap_or(1)
}

fn topic_value(name: &str, overrides: &BTreeMap<String, String>, broker: &BrokerConfigs) -> String {
    super::topic_config(name)
        .and_then(|row| resolve_topic_config(row, overrides, broker).value)
        .unwrap_or_default()
}

fn topic_number(name: &str, overrides: &BTreeMap<String, String>, broker: &BrokerConfigs) -> i64 {
    let default = || super::topic_config(name)?.spec.default?.parse().ok();
    topic_value(name, overrides, broker).parse().ok().or_else(default).unwrap_or(0)
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
        let broker = BrokerConfigs {
            at_start: map(at_start),
            dynamic: map(dynamic),
            ..BrokerConfigs::default()
        };
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
        let broker = BrokerConfigs { at_start: map(&hours), ..BrokerConfigs::default() };
        let config = resolve_log_config(&BTreeMap::new(), &broker, HighWatermarkRule::Flushed);
        assert_eq!(config.retention_ms, None);
    }

    #[test]
    fn with_nothing_given_a_log_has_kafkas_defaults() {
        let (none, broker) = (BTreeMap::new(), BrokerConfigs::default());
        let config = resolve_log_config(&none, &broker, HighWatermarkRule::Flushed);
        assert_eq!(config, LogConfig::default());
        assert_eq!(resolve_min_insync_replicas([&none; 4]), 1);
    }

    #[test]
    fn a_log_gets_what_its_topic_says() {
        let own = map(&[
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("segment.bytes", "1048576"),
        ]);
        let broker = BrokerConfigs::default();
        let config = resolve_log_config(&own, &broker, HighWatermarkRule::Written);
        assert_eq!(config.cleanup, CleanupPolicy::CompactAndDelete);
        assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(config.segment_bytes, 1 << 20);
        assert_eq!(config.watermark, HighWatermarkRule::Written);
        let weaker = map(&[("min.insync.replicas", "3")]);
        let none = BTreeMap::new();
        assert_eq!(resolve_min_insync_replicas([&own, &weaker, &weaker, &weaker]), 2);
        assert_eq!(resolve_min_insync_replicas([&none, &weaker, &own, &own]), 3);
        assert_eq!(resolve_min_insync_replicas([&none, &none, &weaker, &own]), 3);
    }

    #[test]
    fn broker_entries_show_what_was_given_and_what_can_change() {
        let broker = BrokerConfigs {
            at_start: map(&[("num.partitions", "6")]),
            dynamic: map(&[("message.max.bytes", "1000")]),
            ..BrokerConfigs::default()
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
    #[test]
    fn what_is_set_for_all_brokers_stands_under_what_is_set_for_one() {
        let broker = BrokerConfigs {
            at_start: map(&[("log.retention.ms", "1"), ("message.max.bytes", "1")]),
            dynamic: map(&[("log.retention.ms", "3")]),
            dynamic_default: map(&[("log.retention.ms", "2"), ("message.max.bytes", "2")]),
        };
        let sources = |entry: &ConfigEntry| {
            let own = entry.synonyms.iter().map(|synonym| synonym.source.wire_code());
            own.collect::<Vec<_>>()
        };
        let entries = broker.entries();
        let find = |name| entries.iter().find(|entry| entry.name == name).unwrap();
        let (retention, size) = (find("log.retention.ms"), find("message.max.bytes"));
        assert_eq!((retention.value.as_deref(), sources(retention)), (Some("3"), vec![2, 3, 4]));
        assert_eq!((size.value.as_deref(), sources(size)), (Some("2"), vec![3, 4, 5]));
        let row = super::super::topic_config("retention.ms").unwrap();
        let topic = resolve_topic_config(row, &map(&[]), &broker);
        assert_eq!(
            (topic.value.as_deref(), topic.source),
            (Some("3"), ConfigSource::DynamicBroker)
        );
        let of_all = broker.entries_of_all();
        let shown: Vec<_> =
            of_all.iter().map(|own| (own.name, own.value.as_deref(), sources(own))).collect();
        assert_eq!(
            shown,
            [("log.retention.ms", Some("2"), vec![3]), ("message.max.bytes", Some("2"), vec![3]),]
        );
    }
}
