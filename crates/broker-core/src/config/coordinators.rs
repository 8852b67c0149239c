//! The rows of the broker's settings that the coordinators of groups and transactions go by.

use super::spec::{ConfigKind, ConfigSpec};

use super::broker::row;

/// Settings of the coordinators, in order of name.
pub(super) const COORDINATORS: &[ConfigSpec] = &[
    row!(
        "group.consumer.heartbeat.interval.ms",
        ConfigKind::int_from(1),
        Some("5000"),
        "How often members of next-generation groups are told to send heartbeats, in ms.",
        "Kafka's."
    ),
    row!(
        "group.consumer.max.heartbeat.interval.ms",
        ConfigKind::int_from(1),
        Some("15000"),
        "The longest that group.consumer.heartbeat.interval.ms may be, in ms.",
        "Kafka's."
    ),
    row!(
        "group.consumer.max.session.timeout.ms",
        ConfigKind::int_from(1),
        Some("60000"),
        "The longest that group.consumer.session.timeout.ms may be, in ms.",
        "Kafka's."
    ),
    row!(
        "group.consumer.max.size",
        ConfigKind::int_from(1),
        Some("10000"),
        "Members of one next-generation group.",
        "Each is memory and three records; Kafka has no limit."
    ),
    row!(
        "group.consumer.migration.policy",
        ConfigKind::Choice(&["bidirectional", "disabled", "downgrade", "upgrade"]),
        Some("bidirectional"),
        "Which way a group with members may change its protocol: to the next generation when its \
         first member of that comes, back to the classic one when the last goes, both, or neither.",
        "Kafka's: consumers are moved one by one, and moved back if need be."
    ),
    row!(
        "group.consumer.min.heartbeat.interval.ms",
        ConfigKind::int_from(1),
        Some("5000"),
        "The shortest that group.consumer.heartbeat.interval.ms may be, in ms.",
        "Kafka's."
    ),
    row!(
        "group.consumer.min.session.timeout.ms",
        ConfigKind::int_from(1),
        Some("45000"),
        "The shortest that group.consumer.session.timeout.ms may be, in ms.",
        "Kafka's."
    ),
    row!(
        "group.consumer.session.timeout.ms",
        ConfigKind::int_from(1),
        Some("45000"),
        "A member of a next-generation group that is silent for this long is out, in ms.",
        "Kafka's."
    ),
    row!(
        "group.initial.rebalance.delay.ms",
        ConfigKind::int_from(0),
        Some("3000"),
        "How long the first member of an empty classic group waits for others, in ms.",
        "Kafka's: consumers that start together then share at once. Tests want 0."
    ),
    row!(
        "group.max.session.timeout.ms",
        ConfigKind::int_from(1),
        Some("1800000"),
        "The longest session time-out a member of a classic group may ask for, in ms.",
        "Kafka's half hour."
    ),
    row!(
        "group.max.size",
        ConfigKind::int_from(1),
        Some("10000"),
        "Members of one classic group.",
        "Each is memory, and part of one record; Kafka has no limit."
    ),
    row!(
        "group.min.session.timeout.ms",
        ConfigKind::int_from(1),
        Some("6000"),
        "The shortest session time-out a member of a classic group may ask for, in ms.",
        "Kafka's: shorter ones take a pause for a death."
    ),
    row!(
        "offset.metadata.max.bytes",
        ConfigKind::int_from(0),
        Some("4096"),
        "The most bytes of text a client may keep beside a stored offset.",
        "Kafka's."
    ),
    row!(
        "offsets.retention.check.interval.ms",
        ConfigKind::long_from(1),
        Some("600000"),
        "How often stored offsets are looked at for being too old, in ms.",
        "Kafka's ten minutes."
    ),
    row!(
        "offsets.retention.minutes",
        ConfigKind::int_from(1),
        Some("10080"),
        "How long offsets are kept once their group has no members, or none that subscribes to \
         their topic; of consumers outside of groups, since they were stored.",
        "Kafka's week: a group may be away over a long weekend."
    ),
    row!(
        "offsets.topic.num.partitions",
        ConfigKind::Int { min: 1, max: 1000 },
        Some("50"),
        "Partitions of __consumer_offsets, when it is created at its first use.",
        "Kafka's."
    ),
    row!(
        "offsets.topic.replication.factor",
        ConfigKind::Int { min: 1, max: 1 },
        Some("1"),
        "Replicas of __consumer_offsets.",
        "There is one node; Kafka's default is 3."
    ),
    row!(
        "offsets.topic.segment.bytes",
        ConfigKind::int_from(1_048_576),
        Some("104857600"),
        "segment.bytes of __consumer_offsets.",
        "Kafka's 100 MiB."
    ),
    row!(
        "streamledger.client.producers.max",
        ConfigKind::int_from(1),
        Some("100000"),
        "Producers that one user, or one address where nobody is known, may bring in \
         producer.id.expiration.ms, each counted once for each partition; one more is \
         THROTTLING_QUOTA_EXCEEDED until time has made room.",
        "Half of all, so that one client never shuts out the others. Kafka has no limit."
    ),
    row!(
        "streamledger.group.member.bytes.max",
        ConfigKind::int_from(1024),
        Some("67108864"),
        "Bytes that the members of all groups together bring and are given: their subscriptions, \
         their protocols' metadata, their assignments; more is POLICY_VIOLATION.",
        "64 MiB: a consumer brings some hundred bytes, and each is memory. Kafka's bound is the \
         largest request, for each member."
    ),
    row!(
        "streamledger.group.members.max",
        ConfigKind::int_from(1),
        Some("100000"),
        "Members of all groups together.",
        "Each is memory; a client must not exhaust it."
    ),
    row!(
        "streamledger.groups.max",
        ConfigKind::int_from(1),
        Some("10000"),
        "Groups with members, all together; one more is POLICY_VIOLATION.",
        "Each is memory; a client must not exhaust it."
    ),
    row!(
        "streamledger.producers.max",
        ConfigKind::int_from(1),
        Some("200000"),
        "Producers that partitions remember, all together, each counted once for each partition; \
         a new one more is POLICY_VIOLATION.",
        "Each is 300 bytes of memory until it was silent for producer.id.expiration.ms. Kafka has \
         no limit; forgetting others earlier would write again what they send again."
    ),
    row!(
        "streamledger.stored.offsets.max",
        ConfigKind::int_from(1),
        Some("1000000"),
        "Offsets that groups may have stored, all together.",
        "Each is memory; a client must not exhaust it."
    ),
    row!(
        "streamledger.transactional.ids.max",
        ConfigKind::int_from(1),
        Some("100000"),
        "Transactional ids that may be known at a time.",
        "Each is memory for a week after its last use."
    ),
    row!(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        ConfigKind::int_from(1),
        Some("10000"),
        "Has no effect: a transaction is aborted at the moment its time is up.",
        "Kafka looks so often; a file that sets it works as it is."
    ),
    row!(
        "transaction.max.timeout.ms",
        ConfigKind::int_from(1),
        Some("900000"),
        "The longest time-out a producer may ask for its transactions, in ms.",
        "Kafka's quarter of an hour: an open transaction holds up every read-committed \
         reader."
    ),
    row!(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        ConfigKind::int_from(1),
        Some("3600000"),
        "Has no effect: a transactional id is forgotten at the moment its time is up.",
        "Kafka looks so often; a file that sets it works as it is."
    ),
    row!(
        "transaction.state.log.min.isr",
        ConfigKind::Int { min: 1, max: 1 },
        Some("1"),
        "min.insync.replicas of __transaction_state.",
        "There is one node; Kafka's default is 2."
    ),
    row!(
        "transaction.state.log.num.partitions",
        ConfigKind::Int { min: 1, max: 1000 },
        Some("50"),
        "Partitions of __transaction_state, when it is created at its first use.",
        "Kafka's."
    ),
    row!(
        "transaction.state.log.replication.factor",
        ConfigKind::Int { min: 1, max: 1 },
        Some("1"),
        "Replicas of __transaction_state.",
        "There is one node; Kafka's default is 3."
    ),
    row!(
        "transaction.state.log.segment.bytes",
        ConfigKind::int_from(1_048_576),
        Some("104857600"),
        "segment.bytes of __transaction_state.",
        "Kafka's 100 MiB."
    ),
    row!(
        "transactional.id.expiration.ms",
        ConfigKind::int_from(1),
        Some("604800000"),
        "A transactional id that was not used for this long is forgotten, in ms.",
        "Kafka's week."
    ),
];
