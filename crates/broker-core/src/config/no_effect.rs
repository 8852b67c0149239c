//! Kafka's broker settings that are taken and have no effect here, so that its files start a
//! broker; each with the reason. Some are taken only with the value that asks for nothing.

use super::spec::{ConfigError, ConfigKind, ConfigSpec, shortened};

/// Settings that have no effect for one reason.
#[derive(Debug, Clone, Copy)]
pub struct NoEffect {
    /// Why they have none.
    pub reason: &'static str,
    /// The only value that is taken, because another would ask for what isn't here; none: any.
    pub only: Option<&'static str>,
    /// The settings and their types.
    pub settings: &'static [(&'static str, ConfigKind)],
}

/// The reason why a broker setting of Kafka's has no effect here, if it is taken and has none.
#[must_use]
pub fn no_effect(name: &str) -> Option<&'static NoEffect> {
    NO_EFFECT.iter().find(|group| group.settings.iter().any(|(own, _)| *own == name))
}

impl NoEffect {
    /// Checks the value of one of them: even what has no effect is spelt right.
    pub(super) fn check(&self, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(&(name, kind)) = self.settings.iter().find(|(own, _)| *own == name) else {
            return Ok(());
        };
        ConfigSpec { name, kind, default: None, doc: "", why: "" }.check(value)?;
        match self.only {
            Some(only) if !value.trim().eq_ignore_ascii_case(only) => {
                let (name, value) = (name.to_owned(), shortened(value));
                Err(ConfigError::Unsupported { name, value, reason: self.reason })
            }
            _ => Ok(()),
        }
    }
}

const BOOLEAN: ConfigKind = ConfigKind::Boolean;
const TEXT: ConfigKind = ConfigKind::Text;
const LIST: ConfigKind = ConfigKind::List(&[]);
const SECRET: ConfigKind = ConfigKind::Password;
const NUMBER: ConfigKind = ConfigKind::Double { min: 0.0, max: f64::MAX };
/// An integer of any size that Kafka bounds by itself.
const INT: ConfigKind = ConfigKind::int_from(i32::MIN);
const PROTOCOLS: ConfigKind = ConfigKind::List(&["classic", "consumer", "share", "streams"]);
const LONG: ConfigKind = ConfigKind::long_from(i64::MIN);

const fn int(min: i32, max: i32) -> ConfigKind {
    ConfigKind::Int { min, max }
}

macro_rules! group {
    ($reason:literal, $only:expr, [$($name:literal: $kind:expr),* $(,)?]) => {
        NoEffect { reason: $reason, only: $only, settings: &[$(($name, $kind)),*] }
    };
}

/// All of them, by reason.
pub const NO_EFFECT: &[NoEffect] = &[
    group!(
        "there is one node, which is its own controller",
        None,
        [
            "auto.leader.rebalance.enable": BOOLEAN,
            "broker.heartbeat.interval.ms": INT,
            "broker.session.timeout.ms": INT,
            "controlled.shutdown.enable": BOOLEAN,
            "controller.performance.always.log.threshold.ms": ConfigKind::long_from(0),
            "controller.performance.sample.period.ms": ConfigKind::long_from(100),
            "controller.quorum.append.linger.ms": ConfigKind::int_from(0),
            "controller.quorum.auto.join.enable": BOOLEAN,
            "controller.quorum.bootstrap.servers": LIST,
            "controller.quorum.election.backoff.max.ms": ConfigKind::int_from(0),
            "controller.quorum.election.timeout.ms": ConfigKind::int_from(0),
            "controller.quorum.fetch.max.bytes": ConfigKind::int_from(1),
            "controller.quorum.fetch.snapshot.max.bytes": ConfigKind::int_from(1),
            "controller.quorum.fetch.timeout.ms": ConfigKind::int_from(0),
            "controller.quorum.request.timeout.ms": ConfigKind::int_from(0),
            "controller.quorum.retry.backoff.ms": ConfigKind::int_from(0),
            "controller.quorum.voters": LIST,
            "controller.socket.timeout.ms": INT,
            "early.start.listeners": LIST,
            "initial.broker.registration.timeout.ms": INT,
            "leader.imbalance.check.interval.seconds": ConfigKind::long_from(1),
            "process.roles": ConfigKind::List(&["broker", "controller"]),
            "server.max.startup.time.ms": ConfigKind::long_from(0),
            "unclean.leader.election.interval.ms": ConfigKind::long_from(1),
        ]
    ),
    group!(
        "there is one node, which connects to no other",
        None,
        [
            "add.partitions.to.txn.retry.backoff.max.ms": ConfigKind::int_from(0),
            "add.partitions.to.txn.retry.backoff.ms": ConfigKind::int_from(1),
            "inter.broker.listener.name": TEXT,
            "request.timeout.ms": INT,
            "sasl.client.callback.handler.class": TEXT,
            "sasl.login.callback.handler.class": TEXT,
            "sasl.login.class": TEXT,
            "sasl.login.connect.timeout.ms": INT,
            "sasl.login.read.timeout.ms": INT,
            "sasl.login.refresh.buffer.seconds": INT,
            "sasl.login.refresh.min.period.seconds": INT,
            "sasl.login.refresh.window.factor": NUMBER,
            "sasl.login.refresh.window.jitter": NUMBER,
            "sasl.login.retry.backoff.max.ms": LONG,
            "sasl.login.retry.backoff.ms": LONG,
            "sasl.mechanism.controller.protocol": TEXT,
            "sasl.mechanism.inter.broker.protocol": TEXT,
            "sasl.oauthbearer.assertion.algorithm": TEXT,
            "sasl.oauthbearer.assertion.claim.aud": TEXT,
            "sasl.oauthbearer.assertion.claim.exp.seconds": ConfigKind::Int { min: 0, max: 86_400 },
            "sasl.oauthbearer.assertion.claim.iss": TEXT,
            "sasl.oauthbearer.assertion.claim.jti.include": BOOLEAN,
            "sasl.oauthbearer.assertion.claim.nbf.seconds": ConfigKind::Int { min: 0, max: 3_600 },
            "sasl.oauthbearer.assertion.claim.sub": TEXT,
            "sasl.oauthbearer.assertion.file": TEXT,
            "sasl.oauthbearer.assertion.private.key.file": TEXT,
            "sasl.oauthbearer.assertion.private.key.passphrase": SECRET,
            "sasl.oauthbearer.assertion.template.file": TEXT,
            "sasl.oauthbearer.client.credentials.client.id": TEXT,
            "sasl.oauthbearer.client.credentials.client.secret": SECRET,
            "sasl.oauthbearer.jwt.retriever.class": TEXT,
            "sasl.oauthbearer.scope": TEXT,
            "sasl.oauthbearer.token.endpoint.url": TEXT,
            "security.inter.broker.protocol": TEXT,
            "socket.connection.setup.timeout.max.ms": LONG,
            "socket.connection.setup.timeout.ms": LONG,
            "ssl.endpoint.identification.algorithm": TEXT,
        ]
    ),
    group!(
        "there is one node, so nothing is replicated",
        None,
        [
            "alter.log.dirs.replication.quota.window.num": ConfigKind::int_from(1),
            "alter.log.dirs.replication.quota.window.size.seconds": ConfigKind::int_from(1),
            "num.replica.alter.log.dirs.threads": INT,
            "num.replica.fetchers": ConfigKind::int_from(1),
            "replica.fetch.backoff.ms": ConfigKind::int_from(0),
            "replica.fetch.max.bytes": ConfigKind::int_from(0),
            "replica.fetch.min.bytes": INT,
            "replica.fetch.response.max.bytes": ConfigKind::int_from(0),
            "replica.fetch.wait.max.ms": INT,
            "replica.high.watermark.checkpoint.interval.ms": LONG,
            "replica.lag.time.max.ms": LONG,
            "replica.selector.class": TEXT,
            "replica.socket.receive.buffer.bytes": INT,
            "replica.socket.timeout.ms": INT,
            "replication.quota.window.num": ConfigKind::int_from(1),
            "replication.quota.window.size.seconds": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "streamledger.worker.threads serve connections; the disk has threads of its own",
        None,
        [
            "background.threads": ConfigKind::int_from(1),
            "group.coordinator.background.threads": ConfigKind::int_from(1),
            "group.coordinator.threads": ConfigKind::int_from(1),
            "num.io.threads": ConfigKind::int_from(1),
            "num.network.threads": ConfigKind::int_from(1),
            "num.recovery.threads.per.data.dir": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "the kernel sizes the receive buffers of sockets",
        None,
        [
            "socket.receive.buffer.bytes": INT,
        ]
    ),
    group!(
        "queued.max.request.bytes counts the bytes of requests that wait",
        None,
        [
            "queued.max.requests": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "what waits is forgotten at the moment it is answered",
        None,
        [
            "delete.records.purgatory.purge.interval.requests": INT,
            "fetch.purgatory.purge.interval.requests": INT,
            "producer.purgatory.purge.interval.requests": INT,
            "share.fetch.purgatory.purge.interval.requests": INT,
        ]
    ),
    group!(
        "there are no fetch sessions",
        None,
        [
            "max.incremental.fetch.session.cache.slots": ConfigKind::int_from(0),
        ]
    ),
    group!(
        "a group is assigned as soon as it changes",
        None,
        [
            "group.consumer.assignment.interval.ms": ConfigKind::int_from(0),
            "group.consumer.max.assignment.interval.ms": ConfigKind::int_from(0),
            "group.consumer.min.assignment.interval.ms": ConfigKind::int_from(0),
        ]
    ),
    group!(
        "uniform and range are always there, and uniform unless the members wish otherwise",
        None,
        [
            "group.consumer.assignors": ConfigKind::List(&["range", "uniform"]),
        ]
    ),
    group!(
        "patterns are matched whenever topics change",
        None,
        [
            "group.consumer.regex.refresh.interval.ms": ConfigKind::int_from(10_000),
        ]
    ),
    group!(
        "classic and consumer are always spoken; share and streams groups are not here",
        None,
        [
            "group.coordinator.rebalance.protocols": PROTOCOLS,
        ]
    ),
    group!(
        "what coordinators keep is appended at once, read in steps of its own, and not compressed",
        None,
        [
            "group.coordinator.append.linger.ms": ConfigKind::int_from(-1),
            "group.coordinator.cached.buffer.max.bytes": ConfigKind::int_from(524_288),
            "offsets.commit.timeout.ms": ConfigKind::int_from(1),
            "offsets.load.buffer.size": ConfigKind::int_from(1),
            "offsets.topic.compression.codec": INT,
            "transaction.state.log.load.buffer.size": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "there are no share groups",
        None,
        [
            "group.share.assignment.interval.ms": ConfigKind::int_from(0),
            "group.share.assignors": LIST,
            "group.share.delivery.count.limit": ConfigKind::Int { min: 2, max: 10 },
            "group.share.heartbeat.interval.ms": ConfigKind::int_from(1),
            "group.share.initialize.retry.interval.ms": ConfigKind::int_from(1),
            "group.share.max.assignment.interval.ms": ConfigKind::int_from(0),
            "group.share.max.delivery.count.limit": ConfigKind::Int { min: 5, max: 25 },
            "group.share.max.heartbeat.interval.ms": ConfigKind::int_from(1),
            "group.share.max.partition.max.record.locks": int(2000, 10_000),
            "group.share.max.record.lock.duration.ms": int(30_000, 3_600_000),
            "group.share.max.session.timeout.ms": ConfigKind::int_from(1),
            "group.share.max.share.sessions": ConfigKind::int_from(1),
            "group.share.max.size": ConfigKind::Int { min: 1, max: 1_000 },
            "group.share.min.assignment.interval.ms": ConfigKind::int_from(0),
            "group.share.min.delivery.count.limit": ConfigKind::Int { min: 2, max: 5 },
            "group.share.min.heartbeat.interval.ms": ConfigKind::int_from(1),
            "group.share.min.partition.max.record.locks": ConfigKind::Int { min: 100, max: 2_000 },
            "group.share.min.record.lock.duration.ms": ConfigKind::Int { min: 1000, max: 30_000 },
            "group.share.min.session.timeout.ms": ConfigKind::int_from(1),
            "group.share.partition.max.record.locks": ConfigKind::Int { min: 100, max: 10_000 },
            "group.share.persister.class.name": TEXT,
            "group.share.record.lock.duration.ms": ConfigKind::Int { min: 1000, max: 3_600_000 },
            "group.share.session.timeout.ms": ConfigKind::int_from(1),
            "share.coordinator.append.linger.ms": ConfigKind::int_from(-1),
            "share.coordinator.cached.buffer.max.bytes": ConfigKind::int_from(524_288),
            "share.coordinator.cold.partition.snapshot.interval.ms": ConfigKind::int_from(1),
            "share.coordinator.load.buffer.size": ConfigKind::int_from(1),
            "share.coordinator.snapshot.update.records.per.snapshot": int(0, 500),
            "share.coordinator.state.topic.compression.codec": INT,
            "share.coordinator.state.topic.min.isr": ConfigKind::int_from(1),
            "share.coordinator.state.topic.num.partitions": ConfigKind::int_from(1),
            "share.coordinator.state.topic.prune.interval.ms": ConfigKind::int_from(1),
            "share.coordinator.state.topic.replication.factor": ConfigKind::int_from(1),
            "share.coordinator.state.topic.segment.bytes": ConfigKind::int_from(1),
            "share.coordinator.threads": ConfigKind::int_from(1),
            "share.coordinator.write.timeout.ms": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "there is no protocol for groups of Kafka Streams (KIP-1071)",
        None,
        [
            "group.streams.assignment.interval.ms": ConfigKind::int_from(0),
            "group.streams.heartbeat.interval.ms": ConfigKind::int_from(1),
            "group.streams.initial.rebalance.delay.ms": ConfigKind::int_from(0),
            "group.streams.max.assignment.interval.ms": ConfigKind::int_from(0),
            "group.streams.max.heartbeat.interval.ms": ConfigKind::int_from(1),
            "group.streams.max.session.timeout.ms": ConfigKind::int_from(1),
            "group.streams.max.size": ConfigKind::int_from(1),
            "group.streams.max.standby.replicas": ConfigKind::int_from(0),
            "group.streams.min.assignment.interval.ms": ConfigKind::int_from(0),
            "group.streams.min.heartbeat.interval.ms": ConfigKind::int_from(1),
            "group.streams.min.session.timeout.ms": ConfigKind::int_from(1),
            "group.streams.num.standby.replicas": ConfigKind::int_from(0),
            "group.streams.session.timeout.ms": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "the metadata log is one small file in log.dirs",
        None,
        [
            "internal.metadata.delete.delay.millis": LONG,
            "internal.metadata.log.segment.bytes": INT,
            "internal.metadata.max.batch.size.in.bytes": INT,
            "metadata.log.dir": TEXT,
            "metadata.log.max.record.bytes.between.snapshots": ConfigKind::long_from(1),
            "metadata.log.max.snapshot.interval.ms": ConfigKind::long_from(0),
            "metadata.log.segment.bytes": ConfigKind::int_from(8_388_608),
            "metadata.log.segment.ms": LONG,
            "metadata.max.idle.interval.ms": ConfigKind::int_from(0),
            "metadata.max.retention.bytes": LONG,
            "metadata.max.retention.ms": LONG,
        ]
    ),
    group!(
        "the broker's metrics are those of docs/metrics.md",
        None,
        [
            "kafka.metrics.polling.interval.secs": ConfigKind::int_from(1),
            "kafka.metrics.reporters": LIST,
            "metric.reporters": LIST,
            "metrics.num.samples": ConfigKind::int_from(1),
            "metrics.recording.level": TEXT,
            "metrics.sample.window.ms": ConfigKind::long_from(1),
            "telemetry.max.bytes": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "the map of compaction holds whole keys, not slots of a table",
        None,
        [
            "log.cleaner.io.buffer.load.factor": NUMBER,
        ]
    ),
    group!(
        "a directory that fails takes its broker offline at once",
        None,
        [
            "log.dir.failure.timeout.ms": ConfigKind::long_from(1),
        ]
    ),
    group!(
        "what is flushed is written down with the flush",
        None,
        [
            "log.flush.offset.checkpoint.interval.ms": ConfigKind::int_from(0),
            "log.flush.start.offset.checkpoint.interval.ms": ConfigKind::int_from(0),
        ]
    ),
    group!(
        "logs are looked at when their flush.ms or retention is due",
        None,
        [
            "log.flush.scheduler.interval.ms": LONG,
            "log.initial.task.delay.ms": ConfigKind::long_from(0),
            "producer.id.expiration.check.interval.ms": ConfigKind::int_from(1),
        ]
    ),
    group!(
        "TLS is not Java's here",
        None,
        [
            "ssl.keymanager.algorithm": TEXT,
            "ssl.protocol": TEXT,
            "ssl.provider": TEXT,
            "ssl.secure.random.implementation": TEXT,
            "ssl.trustmanager.algorithm": TEXT,
        ]
    ),
    group!(
        "a certificate that replaces another is taken for whomever it names",
        None,
        [
            "ssl.allow.dn.changes": BOOLEAN,
            "ssl.allow.san.changes": BOOLEAN,
        ]
    ),
    group!(
        "Kerberos is not spoken here",
        None,
        [
            "sasl.kerberos.kinit.cmd": TEXT,
            "sasl.kerberos.min.time.before.relogin": LONG,
            "sasl.kerberos.principal.to.local.rules": LIST,
            "sasl.kerberos.service.name": TEXT,
            "sasl.kerberos.ticket.renew.jitter": NUMBER,
            "sasl.kerberos.ticket.renew.window.factor": NUMBER,
        ]
    ),
    group!(
        "there are no delegation tokens",
        None,
        [
            "delegation.token.expiry.check.interval.ms": ConfigKind::long_from(1),
            "delegation.token.expiry.time.ms": ConfigKind::long_from(1),
            "delegation.token.max.lifetime.ms": ConfigKind::long_from(1),
        ]
    ),
    group!(
        "there is no tiered storage",
        Some("false"),
        [
            "remote.log.storage.system.enable": BOOLEAN,
        ]
    ),
    group!(
        "there is no tiered storage",
        Some("-2"),
        [
            "log.local.retention.bytes": ConfigKind::long_from(-2),
            "log.local.retention.ms": ConfigKind::long_from(-2),
        ]
    ),
    group!(
        "there is no tiered storage",
        None,
        [
            "follower.fetch.last.tiered.offset.enable": BOOLEAN,
            "remote.fetch.max.wait.ms": ConfigKind::int_from(1),
            "remote.list.offsets.request.timeout.ms": ConfigKind::long_from(1),
            "remote.log.index.file.cache.total.size.bytes": ConfigKind::long_from(1),
            "remote.log.index.file.cache.ttl.ms": ConfigKind::long_from(-1),
            "remote.log.manager.copier.thread.pool.size": ConfigKind::int_from(1),
            "remote.log.manager.copy.max.bytes.per.second": ConfigKind::long_from(1),
            "remote.log.manager.copy.quota.window.num": ConfigKind::int_from(1),
            "remote.log.manager.copy.quota.window.size.seconds": ConfigKind::int_from(1),
            "remote.log.manager.expiration.thread.pool.size": ConfigKind::int_from(1),
            "remote.log.manager.fetch.max.bytes.per.second": ConfigKind::long_from(1),
            "remote.log.manager.fetch.quota.window.num": ConfigKind::int_from(1),
            "remote.log.manager.fetch.quota.window.size.seconds": ConfigKind::int_from(1),
            "remote.log.manager.follower.thread.pool.size": ConfigKind::int_from(1),
            "remote.log.manager.task.interval.ms": ConfigKind::long_from(1),
            "remote.log.manager.task.retry.backoff.max.ms": ConfigKind::long_from(1),
            "remote.log.manager.task.retry.backoff.ms": ConfigKind::long_from(1),
            "remote.log.manager.task.retry.jitter": NUMBER,
            "remote.log.manager.thread.pool.size": ConfigKind::int_from(1),
            "remote.log.metadata.custom.metadata.max.bytes": ConfigKind::int_from(0),
            "remote.log.metadata.manager.class.name": TEXT,
            "remote.log.metadata.manager.class.path": TEXT,
            "remote.log.metadata.manager.impl.prefix": TEXT,
            "remote.log.metadata.manager.listener.name": TEXT,
            "remote.log.reader.max.pending.tasks": ConfigKind::int_from(1),
            "remote.log.reader.threads": ConfigKind::int_from(1),
            "remote.log.storage.manager.class.name": TEXT,
            "remote.log.storage.manager.class.path": TEXT,
            "remote.log.storage.manager.impl.prefix": TEXT,
        ]
    ),
    group!(
        "batches of transactions are always verified",
        Some("true"),
        [
            "transaction.partition.verification.enable": BOOLEAN,
        ]
    ),
    group!(
        "two-phase commit (KIP-939) is not here",
        Some("false"),
        [
            "transaction.two.phase.commit.enable": BOOLEAN,
        ]
    ),
    group!(
        "only what is stable is here",
        Some("false"),
        [
            "unstable.api.versions.enable": BOOLEAN,
            "unstable.feature.versions.enable": BOOLEAN,
        ]
    ),
    group!(
        "there is one limit for every address, max.connections.per.ip",
        Some(""),
        [
            "max.connections.per.ip.overrides": TEXT,
        ]
    ),
    group!(
        "there is one data directory",
        Some(""),
        [
            "cordoned.log.dirs": LIST,
        ]
    ),
    group!(
        "connection_creation_rate of an address is what is limited (KIP-612)",
        Some("2147483647"),
        [
            "max.connection.creation.rate": ConfigKind::int_from(0),
        ]
    ),
    group!(
        "the ciphers are TLS's own good choice",
        Some(""),
        [
            "ssl.cipher.suites": LIST,
        ]
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{broker_config, check_broker_config};

    /// What `KafkaConfig` says, see `xtask/src/compat/settings.rs`.
    const KAFKAS: &str = include_str!("../../tests/data/kafka-4.3-broker-settings.tsv");

    #[test]
    fn every_setting_of_kafkas_broker_acts_or_is_taken_or_is_refused_with_the_reason() {
        let mut counts = [0; 3];
        for line in KAFKAS.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('\t').nth(1).unwrap();
            let place = match check_broker_config(name, "") {
                _ if broker_config(name).is_some() => 0,
                _ if no_effect(name).is_some() => 1,
                Err(ConfigError::Unsupported { reason, .. }) => {
                    assert!(reason.len() > 10, "{name}");
                    2
                }
                other => panic!("{name}: {other:?}"),
            };
            counts[place] += 1;
        }
        let [acts, without_effect, refused] = counts;
        assert!(acts > 100 && without_effect > 150 && refused < 25, "{counts:?}");
    }

    #[test]
    fn each_is_named_once_and_acts_nowhere_else() {
        let mut seen = BTreeSet::new();
        for (name, _) in NO_EFFECT.iter().flat_map(|group| group.settings) {
            assert!(seen.insert(name), "{name} twice");
            assert!(broker_config(name).is_none(), "{name} acts");
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn what_has_no_effect_is_taken_and_what_would_ask_for_more_is_refused_with_the_reason() {
        assert_eq!(check_broker_config("num.io.threads", "8"), Ok(()));
        let refusal = |name, value| check_broker_config(name, value).unwrap_err().to_string();
        assert!(refusal("num.io.threads", "many").contains("an integer"));
        assert_eq!(check_broker_config("remote.log.storage.system.enable", "false"), Ok(()));
        assert!(refusal("remote.log.storage.system.enable", "true").contains("no tiered storage"));
        assert!(refusal("process.roles", "controllers").contains("broker, controller"));
    }
}
