//! What a client reads off its metrics to be pushed.

use std::borrow::Cow;

/// A label's name and its value.
pub type Label = (&'static str, String);

/// One metric at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its name for telemetry, see [`telemetry_name`].
    pub name: Cow<'static, str>,
    /// What it is of.
    pub labels: Vec<Label>,
    /// Whether it only grows.
    pub kind: ReadingKind,
    /// The value: of a counter, since the client began.
    pub value: f64,
}

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingKind {
    /// A value as it is now, a mean or a maximum.
    Gauge,
    /// A count, or a sum.
    Counter,
}

/// The name under which a metric is pushed: `record-send-total` of `producer-topic-metrics` is
/// `org.apache.kafka.producer.topic.record.send.total` (KIP-714).
#[must_use]
pub fn telemetry_name(group: &str, name: &str) -> String {
    let group = group.strip_suffix("-metrics").unwrap_or(group);
    format!("org.apache.kafka.{group}.{name}").replace(['-', '_'], ".").to_ascii_lowercase()
}

/// What identifies a reading among those of a client.
pub(super) fn key_of(reading: &Reading) -> String {
    let mut key = reading.name.to_string();
    for (name, value) in &reading.labels {
        for part in [*name, value.as_str()] {
            key.push('\u{1f}');
            key.push_str(part);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kip_714_requires() {
        for (group, name, expected) in [
            (
                "producer-metrics",
                "connection-creation-rate",
                "org.apache.kafka.producer.connection.creation.rate",
            ),
            (
                "producer-node-metrics",
                "request-latency-max",
                "org.apache.kafka.producer.node.request.latency.max",
            ),
            (
                "consumer-fetch-manager-metrics",
                "fetch-latency-avg",
                "org.apache.kafka.consumer.fetch.manager.fetch.latency.avg",
            ),
        ] {
            assert_eq!(telemetry_name(group, name), expected);
        }
    }

    #[test]
    fn labels_tell_readings_of_one_name_apart() {
        let of =
            |labels| Reading { name: "a".into(), labels, kind: ReadingKind::Counter, value: 0.0 };
        let topic = |name: &str| of(vec![("topic", name.to_owned())]);
        assert_ne!(key_of(&topic("x")), key_of(&topic("y")));
        assert_ne!(key_of(&topic("x")), key_of(&of(Vec::new())));
    }
}
