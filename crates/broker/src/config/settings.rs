//! The broker's settings, parsed once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use streamledger_broker_core::authorizer::{Authorizer, Principal};
use streamledger_broker_core::config::{BrokerConfigs, ConfigError, STANDARD_AUTHORIZER};
use streamledger_broker_core::group::{GroupConfig, MigrationPolicy};
use streamledger_broker_core::quota::QuotaWindow;
use streamledger_protocol::BrokerId;

use super::listener::ListenerSettings;
use crate::storage::{CleanerConfig, FlushPolicy, OnDamage, ProducerLimits, UnknownFlushPolicy};

/// What the broker acts on. Each field names the setting it carries.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// node.id.
    pub(crate) node_id: BrokerId,
    /// broker.rack.
    pub(crate) rack: Option<String>,
    /// log.dirs; none is a temporary directory.
    pub(crate) data_dir: Option<PathBuf>,
    /// streamledger.flush.
    pub(crate) flush: FlushPolicy,
    /// streamledger.on.damage.
    pub(crate) on_damage: OnDamage,
    /// listeners, advertised.listeners, and what each asks of who connects.
    pub(crate) listeners: Vec<ListenerSettings>,
    /// Whether a listener may be reached from other machines.
    pub(crate) allows_insecure_listen: bool,
    /// streamledger.worker.threads.
    pub(crate) worker_threads: usize,
    /// auto.create.topics.enable.
    pub(crate) auto_creates_topics: bool,
    /// delete.topic.enable.
    pub(crate) deletes_topics: bool,
    /// num.partitions.
    pub(crate) default_partition_count: i32,
    /// default.replication.factor.
    pub(crate) default_replication_factor: i16,
    /// streamledger.partitions.max.
    pub(crate) partitions_max: usize,
    /// max.request.partition.size.limit.
    pub(crate) described_partitions_max: usize,
    /// fetch.max.bytes.
    pub(crate) fetch_bytes_max: usize,
    /// log.retention.check.interval.ms.
    pub(crate) retention_check_interval: Duration,
    /// log.cleaner.*.
    pub(crate) cleaner: CleanerConfig,
    /// streamledger.shutdown.timeout.ms.
    pub(crate) shutdown_timeout: Duration,
    /// authorizer.class.name, super.users, allow.everyone.if.no.acl.found.
    pub(crate) authorizer: Option<Authorizer>,
    /// quota.window.num, quota.window.size.seconds.
    pub(crate) quota_window: QuotaWindow,
    /// controller.quota.window.num, controller.quota.window.size.seconds.
    pub(crate) mutation_window: QuotaWindow,
    /// streamledger.producers.max, streamledger.client.producers.max.
    pub(crate) producers: ProducerLimits,
    /// What connections may use.
    pub(crate) network: NetworkSettings,
    /// What the coordinators of groups and transactions go by.
    pub(crate) coordinators: CoordinatorSettings,
}

/// What the coordinators of groups and transactions go by.
#[derive(Debug, Clone)]
pub(crate) struct CoordinatorSettings {
    /// transaction.state.log.num.partitions.
    pub(crate) transaction_partition_count: i32,
    /// transaction.state.log.segment.bytes.
    pub(crate) transaction_segment_bytes: i64,
    /// transaction.max.timeout.ms.
    pub(crate) transaction_timeout_ms_max: i32,
    /// transactional.id.expiration.ms.
    pub(crate) transactional_id_expiration_ms: u64,
    /// streamledger.transactional.ids.max.
    pub(crate) transactional_ids_max: usize,
    /// offsets.topic.num.partitions.
    pub(crate) offsets_partition_count: i32,
    /// offsets.topic.segment.bytes.
    pub(crate) offsets_segment_bytes: i64,
    /// offset.metadata.max.bytes.
    pub(crate) offset_metadata_bytes_max: usize,
    /// streamledger.stored.offsets.max.
    pub(crate) stored_offsets_max: usize,
    /// offsets.retention.check.interval.ms.
    pub(crate) offsets_retention_check: Duration,
    /// group.consumer.heartbeat.interval.ms.
    pub(crate) consumer_heartbeat_ms: i32,
    /// group.*, and what caps groups.
    pub(crate) groups: GroupConfig,
}

/// Caps and deadlines of connections.
#[derive(Debug, Clone)]
pub(crate) struct NetworkSettings {
    /// socket.listen.backlog.size.
    pub(crate) backlog: u32,
    /// max.connections.
    pub(crate) connections_max: usize,
    /// max.connections.per.ip.
    pub(crate) connections_per_address_max: usize,
    /// connections.max.idle.ms.
    pub(crate) idle_max: Duration,
    /// streamledger.first.request.timeout.ms.
    pub(crate) first_request_timeout: Duration,
    /// streamledger.handshake.timeout.ms.
    pub(crate) handshake_timeout: Duration,
    /// streamledger.request.read.timeout.ms, before what the length adds.
    pub(crate) request_read_timeout: Duration,
    /// streamledger.response.write.timeout.ms, before what the length adds.
    pub(crate) response_write_timeout: Duration,
    /// socket.send.buffer.bytes; none: as is best for the client's place.
    pub(crate) send_buffer_bytes: Option<usize>,
    /// socket.request.max.bytes.
    pub(crate) request_bytes_max: u32,
    /// streamledger.connection.requests.max.
    pub(crate) requests_in_flight_max: usize,
    /// queued.max.request.bytes, all connections together.
    pub(crate) queued_request_bytes_max: usize,
    /// streamledger.response.max.bytes, all connections together.
    pub(crate) queued_response_bytes_max: usize,
}

impl Settings {
    /// Parses settings that were each checked before.
    pub(crate) fn parse(configs: &BrokerConfigs) -> Result<Self, ConfigError> {
        let mut settings = Self::from_checked(configs);
        let mut wrong = Vec::new();
        match flush_policy(configs) {
            Ok(policy) => settings.flush = policy,
            Err(error) => wrong.push(error),
        }
        match ListenerSettings::parse_all(configs) {
            Ok(listeners) => settings.listeners = listeners,
            Err(error) => wrong.push(error),
        }
        match authorizer(configs) {
            Ok(authorizer) => settings.authorizer = authorizer,
            Err(error) => wrong.push(error),
        }
        wrong.extend(settings.check(configs).err());
        ConfigError::all(wrong)?;
        Ok(settings)
    }

    fn check(&self, configs: &BrokerConfigs) -> Result<(), ConfigError> {
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        if self.data_dir.as_ref().is_some_and(|dirs| dirs.to_string_lossy().contains(',')) {
            return contradiction("log.dirs must be one directory".to_owned());
        }
        for what in ["heartbeat.interval", "session.timeout"] {
            let number = |bound: &str| configs.number(&format!("group.consumer.{bound}{what}.ms"));
            let (value, min, max) = (number(""), number("min."), number("max."));
            if !(min..=max).contains(&value) {
                return contradiction(format!(
                    "group.consumer.{what}.ms ({value}) is not from {min} to {max}"
                ));
            }
        }
        let network = &self.network;
        let is_given = configs.at_start.contains_key("max.connections.per.ip");
        if is_given && network.connections_per_address_max > network.connections_max {
            return contradiction(format!(
                "max.connections.per.ip ({}) is more than max.connections ({})",
                network.connections_per_address_max, network.connections_max
            ));
        }
        Ok(())
    }

    /// The settings that need no further parsing; the rest at their defaults.
    pub(crate) fn from_checked(configs: &BrokerConfigs) -> Self {
        let count = |name| usize::try_from(configs.number(name)).unwrap_or(0);
        let ms = |name| Duration::from_millis(configs.number(name).unsigned_abs());
        let int = |name| i32::try_from(configs.number(name)).unwrap_or(i32::MAX);
        Self {
            node_id: BrokerId(int("node.id")),
            rack: configs.value("broker.rack").map(str::to_owned),
            data_dir: configs.value("log.dirs").map(PathBuf::from),
            flush: FlushPolicy::Commit,
            on_damage: on_damage(configs),
            listeners: vec![ListenerSettings::default()],
            allows_insecure_listen: false,
            worker_threads: count("streamledger.worker.threads"),
            auto_creates_topics: configs.is_true("auto.create.topics.enable"),
            deletes_topics: configs.is_true("delete.topic.enable"),
            default_partition_count: int("num.partitions"),
            default_replication_factor: i16::try_from(int("default.replication.factor"))
                .unwrap_or(1),
            partitions_max: count("streamledger.partitions.max"),
            described_partitions_max: count("max.request.partition.size.limit"),
            fetch_bytes_max: count("fetch.max.bytes"),
            retention_check_interval: ms("log.retention.check.interval.ms"),
            cleaner: cleaner(configs),
            shutdown_timeout: ms("streamledger.shutdown.timeout.ms"),
            authorizer: None,
            quota_window: QuotaWindow {
                sample_count: configs.number("quota.window.num").unsigned_abs(),
                sample_ms: configs.number("quota.window.size.seconds").unsigned_abs() * 1000,
            },
            mutation_window: QuotaWindow {
                sample_count: configs.number("controller.quota.window.num").unsigned_abs(),
                sample_ms: configs.number("controller.quota.window.size.seconds").unsigned_abs()
                    * 1000,
            },
            producers: ProducerLimits {
                remembered_max: count("streamledger.producers.max"),
                per_owner_max: count("streamledger.client.producers.max"),
            },
            network: NetworkSettings {
                backlog: int("socket.listen.backlog.size").unsigned_abs(),
                connections_max: count("max.connections"),
                connections_per_address_max: count("max.connections.per.ip"),
                idle_max: ms("connections.max.idle.ms"),
                first_request_timeout: ms("streamledger.first.request.timeout.ms"),
                handshake_timeout: ms("streamledger.handshake.timeout.ms"),
                request_read_timeout: ms("streamledger.request.read.timeout.ms"),
                response_write_timeout: ms("streamledger.response.write.timeout.ms"),
                send_buffer_bytes: usize::try_from(configs.number("socket.send.buffer.bytes")).ok(),
                request_bytes_max: int("socket.request.max.bytes").unsigned_abs(),
                requests_in_flight_max: count("streamledger.connection.requests.max"),
                queued_request_bytes_max: count("queued.max.request.bytes"),
                queued_response_bytes_max: count("streamledger.response.max.bytes"),
            },
            coordinators: CoordinatorSettings {
                transaction_partition_count: int("transaction.state.log.num.partitions"),
                transaction_segment_bytes: configs.number("transaction.state.log.segment.bytes"),
                transaction_timeout_ms_max: int("transaction.max.timeout.ms"),
                transactional_id_expiration_ms: configs
                    .number("transactional.id.expiration.ms")
                    .unsigned_abs(),
                transactional_ids_max: count("streamledger.transactional.ids.max"),
                offsets_partition_count: int("offsets.topic.num.partitions"),
                offsets_segment_bytes: configs.number("offsets.topic.segment.bytes"),
                offset_metadata_bytes_max: count("offset.metadata.max.bytes"),
                stored_offsets_max: count("streamledger.stored.offsets.max"),
                offsets_retention_check: ms("offsets.retention.check.interval.ms"),
                consumer_heartbeat_ms: int("group.consumer.heartbeat.interval.ms"),
                groups: group_config(configs),
            },
        }
    }
}

fn on_damage(configs: &BrokerConfigs) -> OnDamage {
    match configs.value("streamledger.on.damage") {
        Some("cut") => OnDamage::Cut,
        _ => OnDamage::Refuse,
    }
}

fn flush_policy(configs: &BrokerConfigs) -> Result<FlushPolicy, ConfigError> {
    let Some(policy) = configs.value("streamledger.flush") else { return Ok(FlushPolicy::Commit) };
    policy.parse().map_err(|UnknownFlushPolicy(value)| {
        let (name, expected) = ("streamledger.flush", "commit, interval:MS or os".to_owned());
        ConfigError::Malformed { name, value, expected }
    })
}

/// What is set about ACLs; a setting that would be without effect is refused.
fn authorizer(configs: &BrokerConfigs) -> Result<Option<Authorizer>, ConfigError> {
    if configs.value("authorizer.class.name").is_none() {
        let given = |name: &&str| configs.at_start.contains_key(*name);
        let without_effect = ["super.users", "allow.everyone.if.no.acl.found"];
        return match without_effect.iter().find(|name| given(name)) {
            None => Ok(None),
            Some(name) => Err(ConfigError::Contradiction(format!(
                "{name} has no effect without authorizer.class.name={STANDARD_AUTHORIZER}"
            ))),
        };
    }
    let text = configs.value("super.users").unwrap_or_default();
    let mut super_users = BTreeSet::new();
    for user in text.split(';').map(str::trim).filter(|user| !user.is_empty()) {
        let principal = Principal::parse(user).ok_or_else(|| ConfigError::Malformed {
            name: "super.users",
            value: user.to_owned(),
            expected: "User:NAME, separated by semicolons".to_owned(),
        })?;
        super_users.insert(principal);
    }
    let allows_what_no_acl_is_about = configs.is_true("allow.everyone.if.no.acl.found");
    Ok(Some(Authorizer { super_users, allows_what_no_acl_is_about }))
}

fn cleaner(configs: &BrokerConfigs) -> CleanerConfig {
    let count = |name| usize::try_from(configs.number(name)).unwrap_or(0);
    let rate = configs.value("log.cleaner.io.max.bytes.per.second");
    let rate: Option<f64> = rate.and_then(|rate| rate.parse().ok());
    CleanerConfig {
        enabled: configs.is_true("log.cleaner.enable"),
        backoff: Duration::from_millis(configs.number("log.cleaner.backoff.ms").unsigned_abs()),
        // More than any disk does is no limit.
        bytes_per_second: rate.filter(|rate| *rate < 1e15).map(|rate| rate as u64),
        map_bytes_max: count("log.cleaner.dedupe.buffer.size"),
        step_bytes: count("log.cleaner.io.buffer.size"),
    }
}

fn migration_policy(configs: &BrokerConfigs) -> MigrationPolicy {
    let name = configs.value("group.consumer.migration.policy").unwrap_or_default();
    MigrationPolicy::from_name(&name.to_ascii_lowercase()).unwrap_or_default()
}

fn group_config(configs: &BrokerConfigs) -> GroupConfig {
    let count = |name| usize::try_from(configs.number(name)).unwrap_or(0);
    let int = |name| i32::try_from(configs.number(name)).unwrap_or(i32::MAX);
    GroupConfig {
        consumer_group_size_max: count("group.consumer.max.size"),
        migration: migration_policy(configs),
        consumer_session_timeout_ms: configs
            .number("group.consumer.session.timeout.ms")
            .unsigned_abs(),
        offsets_retention_ms: configs
            .number("offsets.retention.minutes")
            .unsigned_abs()
            .saturating_mul(60_000),
        initial_rebalance_delay_ms: configs
            .number("group.initial.rebalance.delay.ms")
            .unsigned_abs(),
        session_timeout_ms_min: int("group.min.session.timeout.ms"),
        session_timeout_ms_max: int("group.max.session.timeout.ms"),
        group_size_max: count("group.max.size"),
        groups_max: count("streamledger.groups.max"),
        members_max: count("streamledger.group.members.max"),
        member_bytes_max: count("streamledger.group.member.bytes.max"),
        ..GroupConfig::default()
    }
}
