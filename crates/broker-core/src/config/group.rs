//! The settings of single groups (Kafka's `GroupConfig`), within what the broker allows.

use std::collections::BTreeMap;

use super::broker_config;
use super::resolve::{BrokerConfigs, ConfigEntry, ConfigSource, ConfigSynonym};
use super::spec::{ConfigError, ConfigKind, nearest_name, shortened};

/// A group's setting. Its type, and its value where the group says nothing, are those of the
/// broker's setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupConfigSpec {
    /// Its name.
    pub name: &'static str,
    /// The broker's setting that it takes the place of.
    pub synonym: &'static str,
    /// The broker's settings between which it has to be.
    pub bounds: (&'static str, &'static str),
}

/// How often the members of a next-generation group are told to send heartbeats, in ms.
pub const GROUP_HEARTBEAT_INTERVAL: GroupConfigSpec = GroupConfigSpec {
    name: "consumer.heartbeat.interval.ms",
    synonym: "group.consumer.heartbeat.interval.ms",
    bounds: (
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
};

/// After how long a silent member of a next-generation group is out, in ms.
pub const GROUP_SESSION_TIMEOUT: GroupConfigSpec = GroupConfigSpec {
    name: "consumer.session.timeout.ms",
    synonym: "group.consumer.session.timeout.ms",
    bounds: ("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
};

/// All settings of a group that act here, in order of name.
pub const GROUP_CONFIGS: [GroupConfigSpec; 2] = [GROUP_HEARTBEAT_INTERVAL, GROUP_SESSION_TIMEOUT];

/// Kafka's settings of groups of kinds that aren't here, and of what isn't done here.
const NOT_HERE: [(&str, &str); 4] = [
    ("share.", "there are no share groups"),
    ("streams.", "there are no streams groups"),
    ("consumer.assignment.interval.ms", "an assignment is made as soon as it is needed"),
    ("consumer.assignor.offload.enable", "assignors run where the group is kept"),
];

impl GroupConfigSpec {
    /// The value in force for a group with these settings of its own.
    #[must_use]
    pub fn value(&self, own: Option<&BTreeMap<String, String>>, broker: &BrokerConfigs) -> i64 {
        let own = own.and_then(|own| own.get(self.name)?.trim().parse().ok());
        own.unwrap_or_else(|| broker.number(self.synonym))
    }

    fn check(&self, value: &str, broker: &BrokerConfigs) -> Result<(), ConfigError> {
        let number = value.trim().parse::<i32>().map_err(|_| ConfigError::Malformed {
            name: self.name,
            value: shortened(value),
            expected: "an integer".to_owned(),
        })?;
        let (min, max) = self.bounds;
        let (name, number) = (self.name, i64::from(number));
        if number < broker.number(min) {
            let sentence = format!("{name} must be greater than or equal to {min}");
            return Err(ConfigError::Contradiction(sentence));
        }
        if number > broker.number(max) {
            let sentence = format!("{name} must be less than or equal to {max}");
            return Err(ConfigError::Contradiction(sentence));
        }
        Ok(())
    }

    fn entry(&self, own: &BTreeMap<String, String>, broker: &BrokerConfigs) -> ConfigEntry {
        let own = own.get(self.name).map(|value| ConfigSynonym {
            name: self.name,
            value: value.trim().to_owned(),
            source: ConfigSource::DynamicGroup,
        });
        let synonyms: Vec<_> = own.into_iter().chain(broker.given(self.synonym)).collect();
        let spec = broker_config(self.synonym);
        ConfigEntry {
            name: self.name,
            value: synonyms.first().map(|first| first.value.clone()),
            source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
            is_read_only: false,
            kind: spec.map_or(ConfigKind::Text, |spec| spec.kind),
            doc: spec.map_or("", |spec| spec.doc),
            synonyms,
        }
    }
}

/// Every setting of a group as it is in force, in order of name.
#[must_use]
pub fn resolve_group_configs(
    own: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> Vec<ConfigEntry> {
    GROUP_CONFIGS.iter().map(|spec| spec.entry(own, broker)).collect()
}

/// Checks the name of a group's setting.
///
/// # Errors
/// There is no such setting, or it is Kafka's and has no meaning here.
pub fn check_group_config_name(name: &str) -> Result<(), ConfigError> {
    if GROUP_CONFIGS.iter().any(|spec| spec.name == name) {
        return Ok(());
    }
    let not_here = NOT_HERE.iter().find(|(start, _)| name.starts_with(start));
    Err(match not_here {
        Some((_, reason)) => ConfigError::Contradiction(format!(
            "{} is not supported by this broker: {reason}",
            shortened(name)
        )),
        None => ConfigError::Unknown {
            name: shortened(name),
            nearest: nearest_name(name, GROUP_CONFIGS.iter().map(|spec| spec.name)),
        },
    })
}

/// Checks a group's settings as they would be, all together.
///
/// # Errors
/// Names the setting, with what is wrong.
pub fn check_group_configs(
    own: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> Result<(), ConfigError> {
    for spec in &GROUP_CONFIGS {
        own.get(spec.name).map_or(Ok(()), |value| spec.check(value, broker))?;
    }
    let (session, heartbeat) = (GROUP_SESSION_TIMEOUT, GROUP_HEARTBEAT_INTERVAL);
    if session.value(Some(own), broker) > heartbeat.value(Some(own), broker) {
        return Ok(());
    }
    let sentence = format!("{} must be greater than {}", session.name, heartbeat.name);
    Err(ConfigError::Contradiction(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        let broker = BrokerConfigs::default();
        check_group_configs(&own(pairs), &broker).unwrap_err().to_string()
    }

    #[test]
    fn a_groups_settings_are_within_the_brokers_and_go_together() {
        let broker = BrokerConfigs::default();
        let good = [(GROUP_SESSION_TIMEOUT.name, "50000"), (GROUP_HEARTBEAT_INTERVAL.name, "6000")];
        assert_eq!(check_group_configs(&own(&good), &broker), Ok(()));
        let short = refusal(&[(GROUP_SESSION_TIMEOUT.name, "44999")]);
        assert!(short.ends_with("or equal to group.consumer.min.session.timeout.ms"), "{short}");
        let long = refusal(&[(GROUP_HEARTBEAT_INTERVAL.name, "15001")]);
        assert!(long.ends_with("or equal to group.consumer.max.heartbeat.interval.ms"), "{long}");
        assert!(refusal(&[(GROUP_SESSION_TIMEOUT.name, "x")]).contains("an integer"));
        let wide = BrokerConfigs {
            at_start: own(&[
                ("group.consumer.min.session.timeout.ms", "1"),
                ("group.consumer.min.heartbeat.interval.ms", "1"),
            ]),
            ..BrokerConfigs::default()
        };
        let equal = [(GROUP_SESSION_TIMEOUT.name, "5000")];
        let refused = check_group_configs(&own(&equal), &wide).unwrap_err().to_string();
        assert!(refused.contains("must be greater than consumer.heartbeat"), "{refused}");
    }

    #[test]
    fn names_that_are_not_here_are_told_apart_from_those_that_are_none() {
        assert_eq!(check_group_config_name(GROUP_SESSION_TIMEOUT.name), Ok(()));
        let told = |name| check_group_config_name(name).unwrap_err().to_string();
        assert!(told("share.session.timeout.ms").contains("no share groups"));
        assert!(told("consumer.session.timeout").contains("did you mean consumer.session"));
    }

    #[test]
    fn what_a_group_has_not_is_the_brokers() {
        let broker = BrokerConfigs {
            at_start: own(&[("group.consumer.heartbeat.interval.ms", "7000")]),
            ..BrokerConfigs::default()
        };
        let own = own(&[(GROUP_SESSION_TIMEOUT.name, "50000")]);
        let entries = resolve_group_configs(&own, &broker);
        let told: Vec<_> =
            entries.iter().map(|entry| (entry.value.as_deref(), entry.source)).collect();
        let heartbeat = (Some("7000"), ConfigSource::StaticBroker);
        assert_eq!(told, [heartbeat, (Some("50000"), ConfigSource::DynamicGroup)]);
        assert_eq!(GROUP_HEARTBEAT_INTERVAL.value(Some(&own), &broker), 7000);
        assert_eq!(GROUP_SESSION_TIMEOUT.value(Some(&own), &broker), 50_000);
        assert_eq!(GROUP_SESSION_TIMEOUT.value(None, &broker), 45_000);
    }
}
