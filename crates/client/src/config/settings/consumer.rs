//! Settings of the consumer, and what must hold between them.

use std::time::Duration;

use streamledger_client_core::consumer::group::Assignor;
use streamledger_protocol::IsolationLevel;

use super::{settings, settings_without_effect};
use crate::config::ConfigError;
use crate::config::builder::{ConfigBuilder, Settings};
use crate::config::resolve::Resolved;
use crate::config::settings::ClientSettings;
use crate::config::spec::{
    ANY_INT, CONSUMER, ClientKind, INT_FROM_0, INT_FROM_1, SettingType, Support, WhenSet,
};
use crate::config::value::{AutoOffsetReset, GroupProtocolName};

settings! {
    /// Settings of the consumer.
    struct ConsumerSettings;
    setters [] ConfigBuilder<ConsumerSettings>;

    auto_offset_reset: AutoOffsetReset, set by AutoOffsetReset,
    "auto.offset.reset", CONSUMER,
    SettingType::Grammar("string", "latest, earliest, none or by_duration:PnDTnHnMnS"),
    default "latest", Medium;
    does "Where to read when there is no position, or one outside the log.";
    why "a new reader of a big topic isn't flooded; set earliest where no record may be missed.";

    isolation_level: IsolationLevel, set by IsolationLevel,
    "isolation.level", CONSUMER, SettingType::Choice(&["read_committed", "read_uncommitted"]),
    default "read_uncommitted", Medium;
    does "Whether records of open and aborted transactions are seen too.";
    why "it waits for nobody; set read_committed to read what transactions wrote, once.";

    fetch_min_bytes: usize, set by usize,
    "fetch.min.bytes", CONSUMER, INT_FROM_0, default "1", High;
    does "The bytes a broker gathers before it answers, unless fetch.max.wait.ms is over.";
    why "a record is handed on as soon as it is there.";

    fetch_max_wait: Duration, set by Duration,
    "fetch.max.wait.ms", CONSUMER, INT_FROM_0, default "500", Low;
    does "How long a broker waits for fetch.min.bytes before it answers with less.";
    why "an idle consumer asks twice a second, which no broker feels.";

    fetch_max_bytes: usize, set by usize,
    "fetch.max.bytes", CONSUMER, INT_FROM_0, default "52428800", Medium;
    does "The bytes a broker answers with at most, save that one batch always fits.";
    why "a reader that is behind catches up in big steps; memory is a few times this.";

    max_partition_fetch_bytes: usize, set by usize,
    "max.partition.fetch.bytes", CONSUMER, INT_FROM_0, default "1048576", High;
    does "The bytes of one partition a broker answers with at most, save that one batch fits.";
    why "partitions share fetch.max.bytes, so that a full one doesn't starve the others.";

    client_rack: String, set by &str,
    "client.rack", CONSUMER, SettingType::Text, default "", Low;
    does "Where this consumer is, so that it can read from a replica nearby (KIP-392) and be \
          given partitions that have one (KIP-881).";
    why "without a rack the leader is read.";

    max_poll_records: usize, set by usize,
    "max.poll.records", CONSUMER, INT_FROM_1, default "500", Medium;
    does "The most records one poll gives; it doesn't change what is fetched.";
    why "small enough to work through well within max.poll.interval.ms.";

    check_crcs: bool, set by bool,
    "check.crcs", CONSUMER, SettingType::Boolean, default "true", Low;
    does "Whether each batch's checksum is verified before its records are given.";
    why "it finds what networks and disks break, at a thousandth of a record's cost.";

    allow_auto_create_topics: bool, set by bool,
    "allow.auto.create.topics", CONSUMER, SettingType::Boolean, default "true", Medium;
    does "Whether asking for a topic that isn't there may create it, if the broker allows it.";
    why "a reader may start before the first writer.";

    group_id: Option<String>, set by &str,
    "group.id", CONSUMER, SettingType::Text, default nothing, High;
    does "The group whose members share the partitions and whose offsets are committed.";
    why "without a group a consumer reads what it is assigned, from where it is told to.";

    group_instance_id: Option<String>, set by &str,
    "group.instance.id", CONSUMER, SettingType::Text, default nothing, Medium;
    does "A member's name that survives its restarts, so that they cause no rebalance (KIP-345).";
    why "names must be handed out, one for each process.";

    group_protocol: GroupProtocolName, set by GroupProtocolName,
    "group.protocol", CONSUMER, SettingType::ChoiceAnyCase(&["classic", "consumer"]),
    default "classic", High;
    does "Which group protocol is spoken: classic, or consumer for the next generation (KIP-848).";
    why "older brokers speak only the classic one.";

    group_remote_assignor: Option<String>, set by &str,
    "group.remote.assignor", CONSUMER, SettingType::Text, default nothing, Medium;
    does "Which of the broker's assignors shares the partitions out (KIP-848).";
    why "the broker has a choice of its own.";

    partition_assignment_strategy: Vec<Assignor>, set by &[Assignor],
    "partition.assignment.strategy", CONSUMER, SettingType::List,
    default "class org.apache.kafka.clients.consumer.RangeAssignor,\
             class org.apache.kafka.clients.consumer.CooperativeStickyAssignor", Medium;
    does "Which assignors the members of a classic group offer, best first.";
    why "ranges for all, and a way to the cooperative one in a single rolling restart.";

    enable_auto_commit: bool, set by bool,
    "enable.auto.commit", CONSUMER, SettingType::Boolean, default "true", Medium;
    does "Whether offsets are committed now and then without being asked, if there is a group.id.";
    why "a first program needs no commit; one that counts its records sets false.";

    auto_commit_interval: Duration, set by Duration,
    "auto.commit.interval.ms", CONSUMER, INT_FROM_0, default "5000", Low;
    does "How often offsets are committed without being asked.";
    why "after a crash at most five seconds are read again.";

    session_timeout: Duration, set by Duration,
    "session.timeout.ms", CONSUMER, ANY_INT, default "45000", High;
    does "After how long without a heartbeat a member counts as gone (classic).";
    why "a broker's restart and a short partition of the network pass without a rebalance.";

    heartbeat_interval: Duration, set by Duration,
    "heartbeat.interval.ms", CONSUMER, ANY_INT, default "3000", High;
    does "How often a member says that it is alive (classic).";
    why "a rebalance is noticed within three seconds.";

    max_poll_interval: Duration, set by Duration,
    "max.poll.interval.ms", CONSUMER, INT_FROM_1, default "300000", Medium;
    does "After how long without a poll a member gives its partitions back.";
    why "a member that hangs is replaced, and five minutes of work for one poll are allowed.";

    exclude_internal_topics: bool, set by bool,
    "exclude.internal.topics", CONSUMER, SettingType::Boolean, default "true", Medium;
    does "Whether a pattern of topics leaves out those that belong to Kafka itself.";
    why "nobody means __consumer_offsets when asking for all topics.";
}

settings_without_effect! {
    /// Kafka's settings of the consumer that have no effect here.
    const WITHOUT_EFFECT;

    "key.deserializer", CONSUMER, SettingType::Class, default required, High;
    does "The Java class that makes a key of bytes.";
    why "Java has to be told; here a record's key is given as the bytes it is.";
    support DESERIALIZER;

    "value.deserializer", CONSUMER, SettingType::Class, default required, High;
    does "The Java class that makes a value of bytes.";
    why "Java has to be told; here a record's value is given as the bytes it is.";
    support DESERIALIZER;

    "share.acknowledgement.mode", CONSUMER, SettingType::Choice(&["implicit", "explicit"]),
    default "implicit", Medium;
    does "Whether a poll acknowledges the records of the one before, in a share group (KIP-932).";
    why "a first program needs no acknowledgement.";
    support SHARE_GROUPS;

    "share.acquire.mode", CONSUMER,
    SettingType::ChoiceAnyCase(&["batch_optimized", "record_limit"]),
    default "BATCH_OPTIMIZED", Medium;
    does "Whether a share group gives out whole batches or counts records (KIP-1206).";
    why "whole batches cost the broker less.";
    support SHARE_GROUPS;
}

const DESERIALIZER: Support =
    Support::NotNeeded("records are given as bytes, and the program makes of them what it wants");
const SHARE_GROUPS: Support =
    Support::Never("share groups are another kind of consumer", WhenSet::Note);

impl Settings for ConsumerSettings {
    const KIND: ClientKind = ClientKind::Consumer;

    fn read(values: &Resolved) -> Result<Self, ConfigError> {
        Self::read(values)
    }

    fn reconcile(
        &mut self,
        client: &mut ClientSettings,
        values: &mut Resolved,
    ) -> Result<(), ConfigError> {
        self.reconcile_group(values)?;
        if self.fetch_max_wait < client.request_timeout {
            return Ok(());
        }
        Err(ConfigError::Contradiction {
            names: vec!["fetch.max.wait.ms", "request.timeout.ms"],
            reason: format!(
                "a fetch that waits {} ms for records times out after {} ms; let it wait less",
                self.fetch_max_wait.as_millis(),
                client.request_timeout.as_millis()
            ),
        })
    }
}

impl ConsumerSettings {
    /// What Kafka's `ConsumerConfig` and `Heartbeat` check.
    fn reconcile_group(&mut self, values: &Resolved) -> Result<(), ConfigError> {
        let contradiction = |names: Vec<&'static str>, reason: &str| {
            Err(ConfigError::Contradiction { names, reason: reason.to_owned() })
        };
        if self.group_id.is_none() {
            if self.enable_auto_commit && values.is_given("enable.auto.commit") {
                let names = vec!["enable.auto.commit", "group.id"];
                return contradiction(names, "offsets are a group's; name one to commit them");
            }
            self.enable_auto_commit = false;
        }
        match self.group_protocol {
            GroupProtocolName::Classic => {
                if self.group_remote_assignor.is_some() {
                    let names = vec!["group.remote.assignor", "group.protocol"];
                    let reason = "in a classic group a member assigns, not the broker";
                    return contradiction(names, reason);
                }
                if self.heartbeat_interval >= self.session_timeout {
                    let names = vec!["heartbeat.interval.ms", "session.timeout.ms"];
                    let reason = "a member would be gone before it says that it is alive";
                    return contradiction(names, reason);
                }
            }
            GroupProtocolName::Consumer => {
                let classic = [
                    "session.timeout.ms",
                    "heartbeat.interval.ms",
                    "partition.assignment.strategy",
                ];
                if let Some(name) = classic.into_iter().find(|name| values.is_given(name)) {
                    let reason = "in a next-generation group the broker decides that";
                    return contradiction(vec![name, "group.protocol"], reason);
                }
            }
        }
        Ok(())
    }
}
