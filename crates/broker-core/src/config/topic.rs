//! The table of topic settings: Kafka's names and defaults, and which of them act here.

use std::collections::BTreeMap;

use super::resolve::{BrokerConfigs, resolve_topic_config};
use super::spec::{ConfigError, ConfigKind, ConfigSpec, nearest_name, shortened, words};

/// What this broker does with a topic setting.
#[derive(Debug, Clone, Copy)]
pub enum Support {
    /// It does what Kafka's documentation says.
    Honoured,
    /// It is checked, kept and described, and changes nothing; the reason says what happens.
    Kept(&'static str),
    /// Only these values are taken; another is refused with the reason.
    Only(&'static [&'static str], &'static str),
}

/// A broker setting that gives a topic setting its default.
#[derive(Debug, Clone, Copy)]
pub struct Synonym {
    /// The broker setting's name.
    pub name: &'static str,
    /// How many of the topic setting's units one of the broker setting's is (hours to ms).
    pub factor: i64,
}

/// One topic setting.
#[derive(Debug, Clone, Copy)]
pub struct TopicConfigSpec {
    /// Name, type, default and documentation.
    pub spec: ConfigSpec,
    /// Where the default comes from, the strongest first (Kafka's `ServerTopicConfigSynonyms`).
    pub synonyms: &'static [Synonym],
    /// What it does here.
    pub support: Support,
}

const LONG_MAX: &str = "9223372036854775807";
const ONE_NODE: Support = Support::Kept("there is one node, so nothing is moved between nodes");
const NO_TIERS: Support = Support::Only(&["false"], "there is no tiered storage");
macro_rules! topic_config {
    ($name:literal, $kind:expr, $default:expr, $support:expr,
     [$($synonym:literal $(* $factor:literal)?),*], $doc:literal, $why:literal) => {
        TopicConfigSpec {
            spec: ConfigSpec {
                name: $name, kind: $kind, default: Some($default), doc: $doc, why: $why,
            },
            synonyms: &[$(Synonym { name: $synonym, factor: 1 $(* $factor)? }),*],
            support: $support,
        }
    };
}

/// Every topic setting of Kafka 4.3, in order of name.
pub const TOPIC_CONFIGS: &[TopicConfigSpec] = &[
    topic_config!(
        "cleanup.policy",
        ConfigKind::List(&["compact", "delete"]),
        "delete",
        Support::Honoured,
        ["log.cleanup.policy"],
        "What happens to old segments: delete removes them by age and size, compact keeps the \
         latest record of each key.",
        "A stream of events is kept for a time, then dropped."
    ),
    topic_config!(
        "compression.gzip.level",
        ConfigKind::IntOrDefault { min: 1, max: 9 },
        "-1",
        Support::Honoured,
        ["compression.gzip.level"],
        "The gzip level where the broker compresses.",
        "The codec's own default."
    ),
    topic_config!(
        "compression.lz4.level",
        ConfigKind::Int { min: 1, max: 17 },
        "9",
        Support::Kept("the lz4 used here has one level"),
        ["compression.lz4.level"],
        "The lz4 level where the broker compresses.",
        "The codec's own default."
    ),
    topic_config!(
        "compression.type",
        ConfigKind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        Support::Honoured,
        ["compression.type"],
        "The codec batches are stored in; producer keeps the producer's.",
        "Storing batches as they came needs no work on the broker."
    ),
    topic_config!(
        "compression.zstd.level",
        ConfigKind::Int { min: -131_072, max: 22 },
        "3",
        Support::Honoured,
        ["compression.zstd.level"],
        "The zstd level where the broker compresses.",
        "The codec's own default."
    ),
    topic_config!(
        "delete.retention.ms",
        ConfigKind::long_from(0),
        "86400000",
        Support::Honoured,
        ["log.cleaner.delete.retention.ms"],
        "How long a compacted topic keeps tombstones, in ms.",
        "A day lets a reader that starts at 0 see every deletion."
    ),
    topic_config!(
        "file.delete.delay.ms",
        ConfigKind::long_from(0),
        "60000",
        Support::Kept("a removed file goes at once; who reads it keeps it open"),
        ["log.segment.delete.delay.ms"],
        "How long a removed segment's file stays, in ms.",
        "Kafka's."
    ),
    topic_config!(
        "flush.messages",
        ConfigKind::long_from(1),
        LONG_MAX,
        Support::Honoured,
        ["log.flush.interval.messages"],
        "Records are forced to disk before more than this many are answered that are not; on top \
         of streamledger.flush.",
        "Flushing is the broker's policy; under commit nothing is answered before it is on disk."
    ),
    topic_config!(
        "flush.ms",
        ConfigKind::long_from(0),
        LONG_MAX,
        Support::Honoured,
        ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "Records are forced to disk after this many ms at most; on top of streamledger.flush.",
        "Flushing is the broker's policy; under commit nothing is answered before it is on disk."
    ),
    topic_config!(
        "follower.replication.throttled.replicas",
        ConfigKind::List(&[]),
        "",
        ONE_NODE,
        [],
        "Replicas whose catching up is slowed.",
        "None."
    ),
    topic_config!(
        "index.interval.bytes",
        ConfigKind::int_from(0),
        "4096",
        Support::Honoured,
        ["log.index.interval.bytes"],
        "Bytes of log between two index entries.",
        "A read scans 2 KiB on average behind the index, and the index is a 500th of the log."
    ),
    topic_config!(
        "leader.replication.throttled.replicas",
        ConfigKind::List(&[]),
        "",
        ONE_NODE,
        [],
        "Replicas whose being read by followers is slowed.",
        "None."
    ),
    topic_config!(
        "local.retention.bytes",
        ConfigKind::long_from(-2),
        "-2",
        Support::Only(&["-2"], "there is no tiered storage"),
        ["log.local.retention.bytes"],
        "Bytes kept locally under tiered storage; -2 follows retention.bytes.",
        "There is no tiered storage."
    ),
    topic_config!(
        "local.retention.ms",
        ConfigKind::long_from(-2),
        "-2",
        Support::Only(&["-2"], "there is no tiered storage"),
        ["log.local.retention.ms"],
        "Milliseconds kept locally under tiered storage; -2 follows retention.ms.",
        "There is no tiered storage."
    ),
    topic_config!(
        "max.compaction.lag.ms",
        ConfigKind::long_from(1),
        LONG_MAX,
        Support::Honoured,
        ["log.cleaner.max.compaction.lag.ms"],
        "The longest a record stays uncompacted, in ms.",
        "No limit."
    ),
    topic_config!(
        "max.message.bytes",
        ConfigKind::int_from(0),
        "1048588",
        Support::Honoured,
        ["message.max.bytes"],
        "The largest record batch accepted, in bytes, as it comes (compressed).",
        "1 MiB and a batch's 12 bytes of prefix: what a producer's max.request.size lets through."
    ),
    topic_config!(
        "message.timestamp.after.max.ms",
        ConfigKind::long_from(0),
        "3600000",
        Support::Honoured,
        ["log.message.timestamp.after.max.ms"],
        "How far ahead of the broker's clock a record's timestamp may be, in ms.",
        "Retention and lookups by time go wrong on timestamps in the wrong unit; an hour \
         allows for clocks that differ."
    ),
    topic_config!(
        "message.timestamp.before.max.ms",
        ConfigKind::long_from(0),
        LONG_MAX,
        Support::Honoured,
        ["log.message.timestamp.before.max.ms"],
        "How far behind the broker's clock a record's timestamp may be, in ms.",
        "No limit: old events are loaded all the time."
    ),
    topic_config!(
        "message.timestamp.type",
        ConfigKind::Choice(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        Support::Honoured,
        ["log.message.timestamp.type"],
        "Whose clock stamps a record: its producer's or the broker's at append.",
        "The producer's time is the event's."
    ),
    topic_config!(
        "min.cleanable.dirty.ratio",
        ConfigKind::Double { min: 0.0, max: 1.0 },
        "0.5",
        Support::Honoured,
        ["log.cleaner.min.cleanable.ratio"],
        "The share of uncompacted log that starts a compaction.",
        "Half."
    ),
    topic_config!(
        "min.compaction.lag.ms",
        ConfigKind::long_from(0),
        "0",
        Support::Honoured,
        ["log.cleaner.min.compaction.lag.ms"],
        "The shortest a record stays uncompacted, in ms.",
        "No limit."
    ),
    topic_config!(
        "min.insync.replicas",
        ConfigKind::int_from(1),
        "1",
        Support::Honoured,
        ["min.insync.replicas"],
        "How many replicas must have a record before acks=all is answered; all, if there are \
         fewer.",
        "One node has one replica; Kafka too counts more than there are as all."
    ),
    topic_config!(
        "preallocate",
        ConfigKind::Boolean,
        "false",
        Support::Kept("segments grow as they are written"),
        ["log.preallocate"],
        "Whether a new segment's file is allocated in full.",
        "It helps no present file system."
    ),
    topic_config!(
        "remote.log.copy.disable",
        ConfigKind::Boolean,
        "false",
        NO_TIERS,
        [],
        "Stops tiering.",
        "There is no tiered storage."
    ),
    topic_config!(
        "remote.log.delete.on.disable",
        ConfigKind::Boolean,
        "false",
        NO_TIERS,
        [],
        "Deletes tiered data when tiering is switched off.",
        "There is no tiered storage."
    ),
    topic_config!(
        "remote.storage.enable",
        ConfigKind::Boolean,
        "false",
        NO_TIERS,
        [],
        "Switches tiered storage on.",
        "There is no tiered storage."
    ),
    topic_config!(
        "retention.bytes",
        ConfigKind::long_from(-1),
        "-1",
        Support::Honoured,
        ["log.retention.bytes"],
        "The most bytes a partition keeps; -1 is no limit.",
        "Time limits a stream by default."
    ),
    topic_config!(
        "retention.ms",
        ConfigKind::long_from(-1),
        "604800000",
        Support::Honoured,
        ["log.retention.ms", "log.retention.minutes" * 60_000, "log.retention.hours" * 3_600_000],
        "How long a record is kept, in ms by its timestamp; -1 is for ever.",
        "A week, Kafka's."
    ),
    topic_config!(
        "segment.bytes",
        ConfigKind::int_from(1_048_576),
        "1073741824",
        Support::Honoured,
        ["log.segment.bytes"],
        "The size at which a segment file is closed and the next begun, in bytes.",
        "Retention drops whole segments; 1 GiB keeps their number small."
    ),
    topic_config!(
        "segment.index.bytes",
        ConfigKind::int_from(4),
        "10485760",
        Support::Honoured,
        ["log.index.size.max.bytes"],
        "The most bytes an index file takes; a full one closes its segment.",
        "Kafka's."
    ),
    topic_config!(
        "segment.jitter.ms",
        ConfigKind::long_from(0),
        "0",
        Support::Honoured,
        ["log.roll.jitter.ms", "log.roll.jitter.hours" * 3_600_000],
        "A segment is closed by age up to this much earlier, in ms, each by another part of it.",
        "None."
    ),
    topic_config!(
        "segment.ms",
        ConfigKind::long_from(1),
        "604800000",
        Support::Honoured,
        ["log.roll.ms", "log.roll.hours" * 3_600_000],
        "The age at which a segment is closed even when it is small, in ms.",
        "A quiet partition's records can then be dropped by age too."
    ),
    topic_config!(
        "unclean.leader.election.enable",
        ConfigKind::Boolean,
        "false",
        ONE_NODE,
        ["unclean.leader.election.enable"],
        "Whether a replica that lags may lead, losing records.",
        "Never lose what was acked."
    ),
];

/// The row of a topic setting.
#[must_use]
pub fn topic_config(name: &str) -> Option<&'static TopicConfigSpec> {
    TOPIC_CONFIGS.iter().find(|row| row.spec.name == name)
}

/// Checks one topic setting: known, well formed and supported.
///
/// # Errors
/// [`ConfigError`], with what to write instead.
pub fn check_topic_config(
    name: &str,
    value: &str,
) -> Result<&'static TopicConfigSpec, ConfigError> {
    let row = topic_config(name).ok_or_else(|| ConfigError::Unknown {
        name: shortened(name),
        nearest: nearest_name(name, TOPIC_CONFIGS.iter().map(|row| row.spec.name)),
    })?;
    row.spec.check(value)?;
    if name == "cleanup.policy" && words(value).next().is_none() {
        return Err(ConfigError::Malformed {
            name: row.spec.name,
            value: shortened(value),
            expected: "compact, delete or both".to_owned(),
        });
    }
    if let Support::Only(accepted, reason) = row.support
        && !accepted.contains(&value.trim().to_ascii_lowercase().as_str())
    {
        let (name, value) = (name.to_owned(), shortened(value));
        return Err(ConfigError::Unsupported { name, value, reason });
    }
    Ok(row)
}

/// Checks a topic's settings as they would be in force together, those of the broker included.
///
/// # Errors
/// [`ConfigError::Contradiction`], with the two that can't both hold (Kafka's
/// `LogConfig.validateValues`).
pub fn check_topic_configs_together(
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> Result<(), ConfigError> {
    let lag = |name: &str| {
        let value = topic_config(name).and_then(|row| {
            let entry = resolve_topic_config(row, overrides, broker);
            entry.value?.parse::<i64>().ok()
        });
        value.unwrap_or(0)
    };
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min <= max {
        return Ok(());
    }
    Err(ConfigError::Contradiction(format!(
        "min.compaction.lag.ms ({min}) is more than max.compaction.lag.ms ({max})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_lag_of_compaction_is_not_longer_than_the_longest() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let broker = BrokerConfigs {
            at_start: map(&[("log.cleaner.max.compaction.lag.ms", "50")]),
            ..BrokerConfigs::default()
        };
        let check = |own: &[(&str, &str)]| check_topic_configs_together(&map(own), &broker);
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("min.compaction.lag.ms", "50")]), Ok(()));
        let refused = check(&[("min.compaction.lag.ms", "51")]).unwrap_err().to_string();
        assert!(refused.contains("(51) is more than max.compaction.lag.ms (50)"), "{refused}");
        let wider = [("min.compaction.lag.ms", "51"), ("max.compaction.lag.ms", "51")];
        assert_eq!(check(&wider), Ok(()));
    }

    #[test]
    fn gzip_has_levels_from_1_to_9_and_a_default_of_its_own() {
        for (level, is_one) in [("-1", true), ("0", false), ("1", true), ("9", true), ("10", false)]
        {
            assert_eq!(check_topic_config("compression.gzip.level", level).is_ok(), is_one);
        }
    }

    #[test]
    fn rows_are_in_order_of_name_and_every_default_passes_its_own_check() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.spec.name < b.spec.name));
        for row in TOPIC_CONFIGS {
            let default = row.spec.default.unwrap();
            assert!(check_topic_config(row.spec.name, default).is_ok(), "{}", row.spec.name);
            assert!(!row.spec.doc.is_empty() && !row.spec.why.is_empty());
        }
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        let refusal = |name, value| check_topic_config(name, value).unwrap_err().to_string();
        assert_eq!(
            refusal("retention.mss", "1"),
            "unknown setting retention.mss; did you mean retention.ms?"
        );
        assert_eq!(
            refusal("retention.ms", "a week"),
            "retention.ms must be an integer of at least -1, not \"a week\""
        );
        assert!(
            refusal("remote.storage.enable", "true").contains("is not supported by this broker")
        );
        assert!(refusal("remote.storage.enable", "TRUE").contains("no tiered storage"));
        assert!(refusal("cleanup.policy", "").contains("compact, delete or both"));
        assert!(check_topic_config("cleanup.policy", "compact,delete").is_ok());
    }
}
