//! The table of broker settings: Kafka's names, and a few of our own under `streamledger.`.

use super::coordinators::COORDINATORS;
use super::no_effect::no_effect;
use super::not_here::NOT_HERE;
use super::security::{SECURITY_CONFIGS, security_config};
use super::spec::{ConfigError, ConfigKind, ConfigSpec, nearest_name, shortened};
use super::topic::TOPIC_CONFIGS;
use super::topic_defaults::TOPIC_DEFAULTS;

macro_rules! row {
    ($name:literal, $kind:expr, $default:expr, $doc:literal, $why:literal) => {
        ConfigSpec { name: $name, kind: $kind, default: $default, doc: $doc, why: $why }
    };
}
pub(super) use row;

const HOURS: ConfigKind = ConfigKind::Int { min: 1, max: 2_000_000 };
const MILLISECONDS: ConfigKind = ConfigKind::Int { min: 1, max: i32::MAX };

/// Every broker setting, in order of name.
pub const BROKER_CONFIGS: &[ConfigSpec] = &in_order::<{ GENERAL_COUNT + TOPIC_DEFAULTS.len() }>(
    &in_order::<GENERAL_COUNT>(GENERAL, COORDINATORS),
    TOPIC_DEFAULTS,
);

const GENERAL_COUNT: usize = GENERAL.len() + COORDINATORS.len();

/// Two tables as one, in order of name.
const fn in_order<const N: usize>(one: &[ConfigSpec], two: &[ConfigSpec]) -> [ConfigSpec; N] {
    let (mut merged, mut from_one, mut from_two) = ([one[0]; N], 0, 0);
    while from_one + from_two < N {
        let takes_one = from_two == two.len()
            || (from_one < one.len() && is_before(one[from_one].name, two[from_two].name));
        merged[from_one + from_two] = if takes_one { one[from_one] } else { two[from_two] };
        if takes_one {
            from_one += 1;
        } else {
            from_two += 1;
        }
    }
    merged
}

const fn is_before(one: &str, two: &str) -> bool {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let mut at = 0;
    while at < one.len() && at < two.len() && one[at] == two[at] {
        at += 1;
    }
    at == one.len() || (at < two.len() && one[at] < two[at])
}

/// Those that no coordinator goes by.
const GENERAL: &[ConfigSpec] = &[
    row!(
        "advertised.listeners",
        ConfigKind::Text,
        None,
        "What clients are told to connect to: NAME://host:port of a listener, or host:port for \
         each in the order of listeners.",
        "Unset: each client is told the address it reached, which it can plainly reach."
    ),
    row!(
        "auto.create.topics.enable",
        ConfigKind::Boolean,
        Some("true"),
        "Whether asking for a topic that is not there creates it.",
        "Kafka's; client libraries' examples count on it."
    ),
    row!(
        "broker.rack",
        ConfigKind::Text,
        None,
        "The rack told to clients.",
        "One machine has none."
    ),
    row!(
        "compression.gzip.level",
        ConfigKind::IntOrDefault { min: 1, max: 9 },
        Some("-1"),
        "The default of compression.gzip.level.",
        "The codec's own."
    ),
    row!(
        "compression.lz4.level",
        ConfigKind::Int { min: 1, max: 17 },
        Some("9"),
        "The default of compression.lz4.level.",
        "Kafka's."
    ),
    row!(
        "compression.type",
        ConfigKind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        Some("producer"),
        "The default of compression.type.",
        "Storing batches as they came needs no work."
    ),
    row!(
        "compression.zstd.level",
        ConfigKind::Int { min: -131_072, max: 22 },
        Some("3"),
        "The default of compression.zstd.level.",
        "Kafka's."
    ),
    row!(
        "connections.max.idle.ms",
        ConfigKind::long_from(1000),
        Some("600000"),
        "A connection on which nothing is asked for this long is closed, in ms.",
        "Kafka's ten minutes: clients close theirs after nine."
    ),
    row!(
        "controller.listener.names",
        ConfigKind::List(&[]),
        None,
        "Which of the listeners are Kafka's controllers': nothing listens there.",
        "Unset: there is one node, and nobody asks its controller."
    ),
    row!(
        "controller.quota.window.num",
        ConfigKind::Int { min: 1, max: 1000 },
        Some("11"),
        "Of how many controller.quota.window.size.seconds the changes may come at once that \
         controller_mutation_rate allows.",
        "Kafka's: a short burst is no load."
    ),
    row!(
        "controller.quota.window.size.seconds",
        ConfigKind::Int { min: 1, max: 3600 },
        Some("1"),
        "How long each of controller.quota.window.num is, in seconds.",
        "Kafka's."
    ),
    row!(
        "default.replication.factor",
        ConfigKind::Int { min: 1, max: 1 },
        Some("1"),
        "Replicas of a topic that is created without saying how many.",
        "There is one node."
    ),
    row!(
        "delete.topic.enable",
        ConfigKind::Boolean,
        Some("true"),
        "Whether topics may be deleted.",
        "Kafka's."
    ),
    row!(
        "fetch.max.bytes",
        ConfigKind::int_from(1024),
        Some("8388608"),
        "The most bytes one fetch is answered with, whatever the client asks for; a first batch \
         larger than this is sent whole.",
        "8 MiB, not Kafka's 55: as fast on one machine, and many readers fit in little memory."
    ),
    row!(
        "follower.replication.throttled.rate",
        ConfigKind::long_from(0),
        Some("9223372036854775807"),
        "Bytes a second at which replicas catch up.",
        "No limit: there is one node, so nothing is moved. kafka-reassign-partitions sets it."
    ),
    row!(
        "leader.replication.throttled.rate",
        ConfigKind::long_from(0),
        Some("9223372036854775807"),
        "Bytes a second at which replicas are read.",
        "No limit: there is one node, so nothing is moved. kafka-reassign-partitions sets it."
    ),
    row!(
        "listeners",
        ConfigKind::Text,
        None,
        "Addresses to listen on: host:port or NAME://host:port, separated by commas. What a name \
         speaks is in listener.security.protocol.map; without a name it is PLAINTEXT.",
        "Unset: 127.0.0.1 on a free port; a program that wants a fixed one says so."
    ),
    row!(
        "log.cleaner.backoff.ms",
        ConfigKind::long_from(0),
        Some("15000"),
        "How long compaction rests after it has looked at all logs, in ms.",
        "Kafka's."
    ),
    row!(
        "log.cleaner.dedupe.buffer.size",
        ConfigKind::long_from(65_536),
        Some("16777216"),
        "Bytes of the map from key to offset; a log with more keys is compacted in several rounds.",
        "16 MiB keeps the broker small and holds 200,000 keys; Kafka's is 128 MiB."
    ),
    row!(
        "log.cleaner.delete.retention.ms",
        ConfigKind::long_from(0),
        Some("86400000"),
        "The default of delete.retention.ms.",
        "Kafka's day."
    ),
    row!(
        "log.cleaner.enable",
        ConfigKind::Boolean,
        Some("true"),
        "Whether logs are compacted.",
        "Kafka's; without it the internal topics grow, and with them the time of a start."
    ),
    row!(
        "log.cleaner.io.buffer.size",
        ConfigKind::int_from(4096),
        Some("524288"),
        "Bytes that compaction reads or writes at once; a longer batch is read whole.",
        "Kafka's."
    ),
    row!(
        "log.cleaner.io.max.bytes.per.second",
        ConfigKind::Double { min: 1.0, max: f64::MAX },
        Some("1.7976931348623157E308"),
        "Bytes that compaction reads and writes a second, at most.",
        "Kafka's: no limit."
    ),
    row!(
        "log.cleaner.max.compaction.lag.ms",
        ConfigKind::long_from(1),
        Some("9223372036854775807"),
        "The default of max.compaction.lag.ms.",
        "Kafka's: no limit."
    ),
    row!(
        "log.cleaner.min.cleanable.ratio",
        ConfigKind::Double { min: 0.0, max: 1.0 },
        Some("0.5"),
        "The default of min.cleanable.dirty.ratio.",
        "Kafka's half."
    ),
    row!(
        "log.cleaner.min.compaction.lag.ms",
        ConfigKind::long_from(0),
        Some("0"),
        "The default of min.compaction.lag.ms.",
        "Kafka's."
    ),
    row!(
        "log.cleaner.threads",
        ConfigKind::Int { min: 1, max: 1 },
        Some("1"),
        "Threads that compact.",
        "One keeps up with one machine, and leaves the rest of it to clients."
    ),
    row!(
        "log.cleanup.policy",
        ConfigKind::List(&["compact", "delete"]),
        Some("delete"),
        "The default of cleanup.policy.",
        "Kafka's."
    ),
    row!(
        "log.dirs",
        ConfigKind::Text,
        None,
        "The data directory (one).",
        "Unset: a temporary directory, removed when the broker is dropped."
    ),
    row!(
        "log.flush.interval.messages",
        ConfigKind::long_from(1),
        Some("9223372036854775807"),
        "The default of flush.messages.",
        "Kafka's; streamledger.flush says what goes for all."
    ),
    row!(
        "log.flush.interval.ms",
        ConfigKind::long_from(0),
        None,
        "The default of flush.ms.",
        "Unset in Kafka; streamledger.flush says what goes for all."
    ),
    row!(
        "log.message.timestamp.after.max.ms",
        ConfigKind::long_from(0),
        Some("3600000"),
        "The default of message.timestamp.after.max.ms.",
        "Kafka's hour."
    ),
    row!(
        "log.message.timestamp.before.max.ms",
        ConfigKind::long_from(0),
        Some("9223372036854775807"),
        "The default of message.timestamp.before.max.ms.",
        "Kafka's: old events are welcome."
    ),
    row!(
        "log.message.timestamp.type",
        ConfigKind::Choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        "The default of message.timestamp.type.",
        "Kafka's."
    ),
    row!(
        "log.retention.bytes",
        ConfigKind::long_from(-1),
        Some("-1"),
        "The default of retention.bytes.",
        "Kafka's: time limits, not size."
    ),
    row!(
        "log.retention.check.interval.ms",
        ConfigKind::long_from(1),
        Some("300000"),
        "How often old segments are looked for, in ms.",
        "Kafka's five minutes."
    ),
    row!(
        "log.retention.hours",
        ConfigKind::Int { min: -1, max: i32::MAX },
        Some("168"),
        "The default of retention.ms, in hours.",
        "Kafka's week."
    ),
    row!(
        "log.retention.minutes",
        ConfigKind::Int { min: -1, max: i32::MAX },
        None,
        "The default of retention.ms, in minutes; goes before the hours.",
        "Unset in Kafka."
    ),
    row!(
        "log.retention.ms",
        ConfigKind::long_from(-1),
        None,
        "The default of retention.ms; goes before minutes and hours.",
        "Unset in Kafka."
    ),
    row!(
        "log.roll.hours",
        HOURS,
        Some("168"),
        "The default of segment.ms, in hours.",
        "Kafka's week."
    ),
    row!(
        "log.roll.jitter.hours",
        ConfigKind::int_from(0),
        Some("0"),
        "The default of segment.jitter.ms, in hours.",
        "Kafka's: none."
    ),
    row!(
        "log.roll.jitter.ms",
        ConfigKind::long_from(0),
        None,
        "The default of segment.jitter.ms; goes before the hours.",
        "Unset in Kafka."
    ),
    row!(
        "log.roll.ms",
        ConfigKind::long_from(1),
        None,
        "The default of segment.ms; goes before the hours.",
        "Unset in Kafka."
    ),
    row!(
        "log.segment.bytes",
        ConfigKind::int_from(1_048_576),
        Some("1073741824"),
        "The default of segment.bytes.",
        "Kafka's GiB."
    ),
    row!(
        "max.connections",
        ConfigKind::int_from(1),
        Some("1024"),
        "Connections in all; one more is closed at once.",
        "File descriptors are few (1024 by default on Linux); Kafka has no limit."
    ),
    row!(
        "max.connections.per.ip",
        ConfigKind::int_from(1),
        Some("512"),
        "Connections from one address; one more is closed at once.",
        "Half of all, so that one address never shuts out the others."
    ),
    row!(
        "max.request.partition.size.limit",
        ConfigKind::int_from(1),
        Some("2000"),
        "Partitions described in one DescribeTopicPartitions answer.",
        "Kafka's."
    ),
    row!(
        "node.id",
        ConfigKind::int_from(0),
        Some("1"),
        "This broker's id.",
        "1, as in Kafka's own example configuration."
    ),
    row!(
        "num.partitions",
        ConfigKind::int_from(1),
        Some("1"),
        "Partitions of a topic that is created without saying how many.",
        "Kafka's."
    ),
    row!(
        "producer.id.expiration.ms",
        ConfigKind::int_from(1),
        Some("86400000"),
        "How long a silent producer's sequences are remembered, in ms.",
        "Kafka's day; a retry comes within minutes."
    ),
    row!(
        "queued.max.request.bytes",
        ConfigKind::long_from(65_536),
        Some("33554432"),
        "Bytes of requests held in memory, all connections together; past it reading waits.",
        "32 MiB keeps the broker small; Kafka has no limit."
    ),
    row!(
        "quota.window.num",
        ConfigKind::Int { min: 1, max: 1000 },
        Some("11"),
        "Samples over which the rates of client quotas are taken.",
        "Kafka's: ten whole ones and the present one."
    ),
    row!(
        "quota.window.size.seconds",
        ConfigKind::Int { min: 1, max: 3600 },
        Some("1"),
        "How long each of the samples of quota.window.num is, in seconds.",
        "Kafka's."
    ),
    row!(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        ConfigKind::long_from(0),
        Some("9223372036854775807"),
        "Bytes a second at which replicas move between directories.",
        "No limit: there is one node, so nothing is moved. kafka-reassign-partitions sets it."
    ),
    row!(
        "socket.listen.backlog.size",
        ConfigKind::int_from(1),
        Some("128"),
        "Connections the kernel holds before they are accepted.",
        "Linux's usual ceiling; Kafka's 50 drops bursts."
    ),
    row!(
        "socket.request.max.bytes",
        ConfigKind::int_from(1024),
        Some("104857600"),
        "The largest request, in bytes; a longer one closes its connection.",
        "Kafka's 100 MiB."
    ),
    row!(
        "socket.send.buffer.bytes",
        ConfigKind::int_from(-1),
        Some("-1"),
        "The send buffer of a connection, in bytes; -1: 256 KiB to clients on this machine, \
         to others what the kernel finds.",
        "Nearby, a small one stays in the processor's cache; far away, Kafka's 100 KiB are slow."
    ),
    row!(
        "streamledger.connection.requests.max",
        ConfigKind::int_from(1),
        Some("100"),
        "Requests of one connection that may be unanswered; past it reading waits.",
        "Clients keep five to a hundred in flight."
    ),
    row!(
        "streamledger.first.request.timeout.ms",
        MILLISECONDS,
        Some("10000"),
        "A connection that has sent no whole request after this long is closed, in ms.",
        "Clients speak first and at once; who doesn't holds a place for nothing."
    ),
    row!(
        "streamledger.flush",
        ConfigKind::Text,
        Some("commit"),
        "When appended bytes are forced to disk: commit (before each ack, many acks at once), \
         interval:MS, or os (when the kernel likes, as Kafka).",
        "One node has no replica to get lost records back from."
    ),
    row!(
        "streamledger.on.damage",
        ConfigKind::Choice(&["cut", "refuse"]),
        Some("refuse"),
        "What a start does about a log that is damaged in the middle: keep its partition offline, \
         as it is, or cut it there and lose what lies behind.",
        "What was acknowledged is lost by nobody's silence. A power cut may leave such a hole in \
         what was never acknowledged; only who runs the broker can know."
    ),
    row!(
        "streamledger.partitions.max",
        ConfigKind::int_from(1),
        Some("10000"),
        "Partitions of all topics together.",
        "Each has files and memory; a client must not exhaust either."
    ),
    row!(
        "streamledger.request.read.timeout.ms",
        MILLISECONDS,
        Some("30000"),
        "A request that was begun must be there in whole after this long and a second for each \
         64 KiB, in ms.",
        "The pace of a bad phone line; slower ones only hold memory."
    ),
    row!(
        "streamledger.response.max.bytes",
        ConfigKind::long_from(65_536),
        Some("33554432"),
        "Bytes of fetched records held in memory, all connections together; past it fetches wait.",
        "32 MiB: readers that do not read must not fill memory."
    ),
    row!(
        "streamledger.response.write.timeout.ms",
        MILLISECONDS,
        Some("30000"),
        "A response must be taken by its reader in this long and a second for each 64 KiB, in ms.",
        "As for requests."
    ),
    row!(
        "streamledger.shutdown.timeout.ms",
        MILLISECONDS,
        Some("8000"),
        "How long a shutdown waits for requests that are worked on, in ms; a quarter of it for \
         readers to take their answers.",
        "Under the ten seconds service supervisors give."
    ),
    row!(
        "streamledger.worker.threads",
        ConfigKind::Int { min: 1, max: 64 },
        Some("2"),
        "Threads that serve connections.",
        "Two keep a fast disk and a fast network busy."
    ),
];

/// The row of a broker setting.
#[must_use]
pub fn broker_config(name: &str) -> Option<&'static ConfigSpec> {
    BROKER_CONFIGS.iter().find(|spec| spec.name == name).or_else(|| security_config(name))
}

/// Whether a setting's value must not be seen.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let of_others = || no_effect(name)?.settings.iter().find(|(own, _)| *own == name);
    let kind = broker_config(name).map(|spec| spec.kind);
    kind.or_else(|| of_others().map(|(_, kind)| *kind)) == Some(ConfigKind::Password)
}

/// Those that may change while the broker runs, beside topics' defaults.
const DYNAMIC: [&str; 6] = [
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "log.cleaner.backoff.ms",
    "log.cleaner.threads",
    "max.connections.per.ip",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// Whether a broker setting may change while the broker runs: those that are topics' defaults, and
/// a few others. More may in Kafka; docs/broker-settings.md says which.
#[must_use]
pub fn is_dynamic(name: &str) -> bool {
    let mut of_topics = TOPIC_CONFIGS.iter().flat_map(|row| row.synonyms);
    DYNAMIC.contains(&name) || of_topics.any(|synonym| synonym.name == name)
}

/// Checks one broker setting: known here, if only as one of Kafka's that has no effect, and well
/// formed.
///
/// # Errors
/// [`ConfigError`], with what to write instead.
pub fn check_broker_config(name: &str, value: &str) -> Result<(), ConfigError> {
    if let Some(spec) = broker_config(name) {
        return spec.check(value);
    }
    if let Some(group) = no_effect(name) {
        return group.check(name, value);
    }
    let is_named = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    if let Some(&(_, reason)) = NOT_HERE.iter().find(|(pattern, _)| is_named(pattern)) {
        let (name, value) = (shortened(name), shortened(value));
        return Err(ConfigError::Unsupported { name, value, reason });
    }
    Err(ConfigError::Unknown {
        name: shortened(name),
        nearest: nearest_name(
            name,
            BROKER_CONFIGS.iter().chain(SECURITY_CONFIGS).map(|spec| spec.name),
        ),
    })
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
