//! Some rows of the broker's settings that give topics' settings a default; the others are in
//! `broker`.

use super::broker::row;
use super::spec::{ConfigKind, ConfigSpec};

/// Defaults of topics' settings, in order of name.
pub(super) const TOPIC_DEFAULTS: &[ConfigSpec] = &[
    row!(
        "log.index.interval.bytes",
        ConfigKind::int_from(0),
        Some("4096"),
        "The default of index.interval.bytes.",
        "Kafka's."
    ),
    row!(
        "log.index.size.max.bytes",
        ConfigKind::int_from(4),
        Some("10485760"),
        "The default of segment.index.bytes.",
        "Kafka's 10 MiB."
    ),
    row!(
        "log.preallocate",
        ConfigKind::Boolean,
        Some("false"),
        "The default of preallocate, which is kept and has no effect.",
        "Kafka's."
    ),
    row!(
        "log.segment.delete.delay.ms",
        ConfigKind::long_from(0),
        Some("60000"),
        "The default of file.delete.delay.ms, which is kept and has no effect.",
        "Kafka's minute."
    ),
    row!(
        "message.max.bytes",
        ConfigKind::int_from(0),
        Some("1048588"),
        "The default of max.message.bytes.",
        "Kafka's."
    ),
    row!(
        "min.insync.replicas",
        ConfigKind::int_from(1),
        Some("1"),
        "The default of the topic setting of the same name.",
        "There is one replica."
    ),
    row!(
        "unclean.leader.election.enable",
        ConfigKind::Boolean,
        Some("false"),
        "The default of the topic setting of the same name, which is kept and has no effect.",
        "Kafka's: never lose what was acked."
    ),
];
