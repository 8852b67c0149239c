//! Settings of the producer, and what must hold between them.

use std::time::Duration;

use streamledger_protocol::{Acks, Codec};

use super::{settings, settings_without_effect};
use crate::config::ConfigError;
use crate::config::builder::{ConfigBuilder, Settings};
use crate::config::resolve::Resolved;
use crate::config::settings::ClientSettings;
use crate::config::spec::{
    ClientKind, INT_FROM_0, INT_FROM_1, LONG_FROM_0, PRODUCER, SettingType, Support, WhenSet,
};
use crate::config::value::PartitionerName;

settings! {
    /// Settings of the producer.
    struct ProducerSettings;
    setters [] ConfigBuilder<ProducerSettings>;

    acks: Acks, set by Acks,
    "acks", PRODUCER, SettingType::Choice(&["all", "-1", "0", "1"]), default "all", Low;
    does "How many replicas must have a record before it counts as delivered: 0, 1 or all.";
    why "with less, a broker's death can lose records that were acknowledged.";

    enable_idempotence: bool, set by bool,
    "enable.idempotence", PRODUCER, SettingType::Boolean, default "true", Low;
    does "Numbers each batch, so that a retry is never written twice and order is kept (KIP-98).";
    why "it costs a few bytes a batch, and its absence costs duplicates.";

    linger: Duration, set by Duration,
    "linger.ms", PRODUCER, LONG_FROM_0, default "5", Medium;
    does "How long a batch that isn't full waits for more records before it is sent.";
    why "fuller batches cost every side less, which mostly wins back the 5 ms (KIP-1030). At 0 too \
        a batch waits for an answer that is about to come, half a millisecond at most.";

    batch_size: usize, set by usize,
    "batch.size", PRODUCER, INT_FROM_0, default "16384", Medium;
    does "The size in bytes at which a batch is full; 0 or 1 sends each record by itself.";
    why "small enough for many partitions in buffer.memory; busy topics gain from 64 KiB and more.";

    buffer_memory: usize, set by usize,
    "buffer.memory", PRODUCER, LONG_FROM_0, default "33554432", High;
    does "The bytes of records that may wait or be on their way; past it, send waits.";
    why "room for a second or so of a busy stream, and no surprise for the machine.";

    max_block: Duration, set by Duration,
    "max.block.ms", PRODUCER, LONG_FROM_0, default "60000", Medium;
    does "How long a send waits for buffer memory and for the first metadata of a topic.";
    why "a cluster that restarts is waited for; one that is gone is told of in a minute.";

    delivery_timeout: Duration, set by Duration,
    "delivery.timeout.ms", PRODUCER, INT_FROM_0, default "120000", Medium;
    does "How long a record has from send to its acknowledgement, all retries included.";
    why "room for a few requests to time out in turn, and an answer within two minutes.";

    compression_type: Codec, set by Codec,
    "compression.type", PRODUCER,
    SettingType::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]), default "none", High;
    does "How batches are compressed: none, gzip, snappy, lz4 or zstd.";
    why "not all data shrinks; lz4 costs little, zstd saves most.";

    compression_gzip_level: i32, set by i32,
    "compression.gzip.level", PRODUCER,
    SettingType::IntOr(1, 9, -1), default "-1", Medium;
    does "How hard gzip tries, from 1 to 9; -1 is its own default (KIP-390).";
    why "gzip's own choice, 6, is where more effort stops paying.";

    compression_zstd_level: i32, set by i32,
    "compression.zstd.level", PRODUCER, SettingType::Int(-131_072, 22), default "3", Medium;
    does "How hard zstd tries, up to 22; negative levels are faster and weaker (KIP-390).";
    why "zstd's own choice: most of the gain at a fraction of the cost.";

    max_in_flight_requests_per_connection: usize, set by usize,
    "max.in.flight.requests.per.connection", PRODUCER, INT_FROM_1, default "5", Low;
    does "How many requests may wait for their response on one connection.";
    why "a broker remembers the last five batches of a producer, so five keep order on a retry.";

    transactional_id: Option<String>, set by &str,
    "transactional.id", PRODUCER, SettingType::Text, default nothing, Low;
    does "The name under which a producer's transactions go on across its lives (KIP-98).";
    why "without a name there are no transactions, and none of their cost.";

    transaction_timeout: Duration, set by Duration,
    "transaction.timeout.ms", PRODUCER, INT_FROM_1, default "60000", Low;
    does "After how long without its end an open transaction is aborted by the broker.";
    why "a reader waits no more than a minute for a producer that died.";

    max_request_size: usize, set by usize,
    "max.request.size", PRODUCER, INT_FROM_0, default "1048576", Medium;
    does "The largest request in bytes, and so the largest record.";
    why "brokers refuse batches over about 1 MiB unless message.max.bytes says otherwise.";

    metadata_max_idle: Duration, set by Duration,
    "metadata.max.idle.ms", PRODUCER, SettingType::Long(5_000, i64::MAX), default "300000", Low;
    does "After how long without a record a topic is forgotten.";
    why "a producer that writes to many topics once doesn't ask for them for ever.";

    partitioner: PartitionerName, set by PartitionerName,
    "partitioner.class", PRODUCER,
    SettingType::Grammar(
        "class",
        "default, uniform_sticky, round_robin or consistent_random (or Kafka's class of that kind)"
    ),
    default nothing, Medium;
    does "A record's partition by: default, uniform_sticky, round_robin, consistent_random.";
    why "unset means default: the key's murmur2 hash, as every Java client, else sticky batches.";

    partitioner_ignore_keys: bool, set by bool,
    "partitioner.ignore.keys", PRODUCER, SettingType::Boolean, default "false", Medium;
    does "Whether the default partitioner spreads records evenly without regard to their keys.";
    why "records of one key belong in one partition, or their order is lost.";

    partitioner_adaptive_partitioning_enable: bool, set by bool,
    "partitioner.adaptive.partitioning.enable", PRODUCER, SettingType::Boolean, default "true", Low;
    does "Whether brokers that answer slowly get fewer records without a key (KIP-794).";
    why "one slow broker would otherwise fill the buffer and slow all.";

    partitioner_availability_timeout: Duration, set by Duration,
    "partitioner.availability.timeout.ms", PRODUCER, LONG_FROM_0, default "0", Low;
    does "After how long without taking a batch a broker gets no keyless records; 0 is never.";
    why "a partition that is only slow should not be left out by surprise.";

    partitioner_rack_aware: bool, set by bool,
    "partitioner.rack.aware", PRODUCER, SettingType::Boolean, default "false", Low;
    does "Whether records without a key go to leaders in client.rack, if it has any (KIP-1123).";
    why "partitions then get unequal shares, unless each rack has as many producers as leaders.";

    client_rack: String, set by &str,
    "client.rack", PRODUCER, SettingType::Text, default "", Low;
    does "Where this producer is, for partitioner.rack.aware (KIP-1123).";
    why "without a rack all leaders are alike.";
}

settings_without_effect! {
    /// Kafka's settings of the producer that have no effect here.
    const WITHOUT_EFFECT;

    "key.serializer", PRODUCER, SettingType::Class, default required, High;
    does "The Java class that makes bytes of a key.";
    why "Java has to be told; here the type that is sent decides, and nothing needs to be set.";
    support SERIALIZER;

    "value.serializer", PRODUCER, SettingType::Class, default required, High;
    does "The Java class that makes bytes of a value.";
    why "Java has to be told; here the type that is sent decides, and nothing needs to be set.";
    support SERIALIZER;

    "compression.lz4.level", PRODUCER, SettingType::Int(1, 17), default "9", Medium;
    does "How hard lz4 tries, from 1 to 17 (KIP-390).";
    why "Java's lz4 has a fast way and a thorough one, and this is the thorough one's middle.";
    support Support::NotYet(
        "lz4 has one level here, the fast one; zstd is there where size matters", WhenSet::Note
    );

    "transaction.two.phase.commit.enable", PRODUCER, SettingType::Boolean, default "false", Low;
    does "Whether somebody else decides when a transaction commits (KIP-939).";
    why "most producers decide for themselves.";
    support Support::NotYet(
        "a transaction is committed by the producer that wrote it", WhenSet::Refuse
    );
}

const SERIALIZER: Support =
    Support::NotNeeded("the program chooses its serializers by type, bytes if it doesn't");

impl Settings for ProducerSettings {
    const KIND: ClientKind = ClientKind::Producer;

    fn read(values: &Resolved) -> Result<Self, ConfigError> {
        Self::read(values)
    }

    fn reconcile(
        &mut self,
        client: &mut ClientSettings,
        values: &mut Resolved,
    ) -> Result<(), ConfigError> {
        self.reconcile_rack()?;
        self.check_transactions(client.retries, values)?;
        self.reconcile_idempotence(client.retries, values)?;
        self.reconcile_delivery_timeout(client.request_timeout, values)
    }
}

impl ProducerSettings {
    /// The level for [`compression_type`](Self::compression_type); nothing where the codec's own
    /// choice counts.
    #[must_use]
    pub fn compression_level(&self) -> Option<i32> {
        match self.compression_type {
            Codec::Gzip => Some(self.compression_gzip_level).filter(|level| *level != -1),
            Codec::Zstd => Some(self.compression_zstd_level),
            Codec::None | Codec::Snappy | Codec::Lz4 => None,
        }
    }

    /// Follows Kafka's `RecordAccumulator.PartitionerConfig`.
    fn reconcile_rack(&self) -> Result<(), ConfigError> {
        if self.partitioner_rack_aware && self.client_rack.trim().is_empty() {
            return Err(ConfigError::Contradiction {
                names: vec!["partitioner.rack.aware", "client.rack"],
                reason: "partitioner.rack.aware=true needs to know where the producer is; set \
                         client.rack to the broker.rack of the brokers nearby"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// Follows Kafka's `ProducerConfig.postProcessAndValidateIdempotenceConfigs` where it is about
    /// transactions: what they need is never given up for them.
    fn check_transactions(&self, retries: u32, values: &Resolved) -> Result<(), ConfigError> {
        let contradiction = |name, setting: &str| ConfigError::Contradiction {
            names: vec!["transactional.id", name],
            reason: format!(
                "a producer with {setting} can't have transactions; they need acks=all, retries \
                 above 0 and enable.idempotence=true"
            ),
        };
        if self.transactional_id.as_ref().is_none_or(String::is_empty) {
            if !values.is_given("transactional.id") {
                return Ok(());
            }
            return Err(ConfigError::Contradiction {
                names: vec!["transactional.id"],
                reason: "it is empty; give it a name, or leave it out".to_owned(),
            });
        }
        if !self.enable_idempotence && values.is_given("enable.idempotence") {
            return Err(contradiction("enable.idempotence", "enable.idempotence=false"));
        }
        if self.acks != Acks::All {
            let acks = if self.acks == Acks::None { "acks=0" } else { "acks=1" };
            return Err(contradiction("acks", acks));
        }
        if retries == 0 {
            return Err(contradiction("retries", "retries=0"));
        }
        Ok(())
    }

    /// Follows Kafka's `ProducerConfig.postProcessAndValidateIdempotenceConfigs`: what was asked
    /// for is refused if it can't be had; what is only the default gives way.
    fn reconcile_idempotence(
        &mut self,
        retries: u32,
        values: &mut Resolved,
    ) -> Result<(), ConfigError> {
        if !self.enable_idempotence {
            return Ok(());
        }
        let obstacle = if retries == 0 {
            Some(("retries", "retries=0"))
        } else if self.acks == Acks::All {
            None
        } else {
            Some(("acks", if self.acks == Acks::None { "acks=0" } else { "acks=1" }))
        };
        if let Some((name, setting)) = obstacle {
            if values.is_given("enable.idempotence") {
                return Err(ConfigError::Contradiction {
                    names: vec!["enable.idempotence", name],
                    reason: format!(
                        "a producer with {setting} can't be idempotent; it needs acks=all and \
                         retries above 0, or enable.idempotence=false"
                    ),
                });
            }
            self.enable_idempotence = false;
            let reason = format!("{setting} rules it out");
            values.adjust("enable.idempotence", "false".to_owned(), &reason);
            return Ok(());
        }
        let in_flight = self.max_in_flight_requests_per_connection;
        if in_flight > IDEMPOTENT_IN_FLIGHT_MAX {
            return Err(ConfigError::Contradiction {
                names: vec!["enable.idempotence", "max.in.flight.requests.per.connection"],
                reason: format!(
                    "brokers remember {IDEMPOTENT_IN_FLIGHT_MAX} batches of an idempotent \
                     producer, so {in_flight} in flight can't keep their order; set at most \
                     {IDEMPOTENT_IN_FLIGHT_MAX}, or enable.idempotence=false"
                ),
            });
        }
        Ok(())
    }

    /// Follows Kafka's `KafkaProducer.configureDeliveryTimeout`: a record must have time to linger
    /// and for one whole request.
    fn reconcile_delivery_timeout(
        &mut self,
        request_timeout: Duration,
        values: &mut Resolved,
    ) -> Result<(), ConfigError> {
        let needed = self.linger.saturating_add(request_timeout);
        if self.delivery_timeout >= needed {
            return Ok(());
        }
        if values.is_given("delivery.timeout.ms") {
            return Err(ConfigError::Contradiction {
                names: vec!["delivery.timeout.ms", "linger.ms", "request.timeout.ms"],
                reason: format!(
                    "delivery.timeout.ms is {} ms, but must be at least linger.ms + \
                     request.timeout.ms, {} ms",
                    self.delivery_timeout.as_millis(),
                    needed.as_millis()
                ),
            });
        }
        self.delivery_timeout = needed;
        let value = needed.as_millis().to_string();
        values.adjust("delivery.timeout.ms", value, "as long as linger.ms + request.timeout.ms");
        Ok(())
    }
}

/// The batches a broker remembers of each producer and partition (KIP-98,
/// `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;
