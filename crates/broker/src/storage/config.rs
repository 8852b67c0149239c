//! How a log store is to be run.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use streamledger_broker_core::log::{HighWatermarkRule, LogConfig, OnDamage, ProducerLimits};
use streamledger_protocol::TopicPartition;

use super::faults::DiskFaults;

/// When appended batches are flushed to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Before they are acknowledged; all that arrived meanwhile share one flush. A power cut
    /// takes nothing that was acknowledged.
    #[default]
    Commit,
    /// That often. A power cut takes at most as much as was appended meanwhile.
    Interval(Duration),
    /// When the system sees fit, as Kafka does. A power cut takes what the system had not written.
    Os,
}

impl FlushPolicy {
    /// When consumers see a record: under `Commit` never before it is safe.
    #[must_use]
    pub const fn watermark(self) -> HighWatermarkRule {
        match self {
            Self::Commit => HighWatermarkRule::Flushed,
            Self::Interval(_) | Self::Os => HighWatermarkRule::Written,
        }
    }
}

impl FlushPolicy {
    /// The settings of a partition's log under this policy, with a jitter of its own.
    pub(super) fn log_config(
        self,
        config: &LogConfig,
        topic_partition: &TopicPartition,
    ) -> LogConfig {
        let name = topic_partition.to_string();
        LogConfig {
            watermark: self.watermark(),
            jitter_seed: u64::from(crc32c::crc32c(name.as_bytes())),
            ..config.clone()
        }
    }
}

/// A text that is not a flush policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a flush policy: expected commit, interval:MILLISECONDS or os")]
pub struct UnknownFlushPolicy(pub String);

impl FromStr for FlushPolicy {
    type Err = UnknownFlushPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownFlushPolicy> {
        let unknown = || UnknownFlushPolicy(text.to_owned());
        match text {
            "commit" => Ok(Self::Commit),
            "os" => Ok(Self::Os),
            _ => {
                let ms = text.strip_prefix("interval:").ok_or_else(unknown)?;
                let ms: u64 = ms.parse().map_err(|_| unknown())?;
                if ms == 0 { Err(unknown()) } else { Ok(Self::Interval(Duration::from_millis(ms))) }
            }
        }
    }
}

impl fmt::Display for FlushPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => f.write_str("commit"),
            Self::Interval(every) => write!(f, "interval:{}", every.as_millis()),
            Self::Os => f.write_str("os"),
        }
    }
}

/// How logs are compacted.
#[derive(Debug, Clone)]
pub struct CleanerConfig {
    /// Whether they are (`log.cleaner.enable`).
    pub enabled: bool,
    /// How long it rests after having looked at all logs (`log.cleaner.backoff.ms`).
    pub backoff: Duration,
    /// Bytes read and written a second at most (`log.cleaner.io.max.bytes.per.second`); none: any.
    pub bytes_per_second: Option<u64>,
    /// Bytes of the map from key to offset (`log.cleaner.dedupe.buffer.size`).
    pub map_bytes_max: usize,
    /// Bytes read or written at once (`log.cleaner.io.buffer.size`).
    pub step_bytes: usize,
}

impl Default for CleanerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            backoff: Duration::from_secs(15),
            bytes_per_second: None,
            map_bytes_max: 16 << 20,
            step_bytes: 512 << 10,
        }
    }
}

/// How a log store is to be run.
#[derive(Debug, Clone)]
pub struct LogStoreConfig {
    /// When batches are flushed.
    pub flush: FlushPolicy,
    /// The settings of partitions that are found on disk, until `reconfigure` gives others.
    pub log: LogConfig,
    /// The cluster that a new directory belongs to; one is made up if there is none. An existing
    /// directory must belong to it.
    pub cluster_id: Option<String>,
    /// What to do about a log that is damaged in the middle.
    pub on_damage: OnDamage,
    /// How often retention and producer expiry are looked at
    /// (`log.retention.check.interval.ms`).
    pub retention_check: Duration,
    /// How often it is looked whether logs have settled, at most.
    pub upkeep_every: Duration,
    /// How logs are compacted.
    pub cleaner: CleanerConfig,
    /// How many partitions are flushed at the same time.
    pub flush_threads: usize,
    /// How many producers logs may remember.
    pub producers: ProducerLimits,
    /// Faults on purpose.
    pub faults: Option<Arc<DiskFaults>>,
}

impl Default for LogStoreConfig {
    fn default() -> Self {
        Self {
            flush: FlushPolicy::Commit,
            log: LogConfig::default(),
            cluster_id: None,
            on_damage: OnDamage::Refuse,
            retention_check: Duration::from_secs(300),
            upkeep_every: Duration::from_secs(10),
            cleaner: CleanerConfig::default(),
            flush_threads: 4,
            producers: ProducerLimits::default(),
            faults: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_printed_and_nonsense_is_refused() {
        for text in ["commit", "interval:250", "os"] {
            assert_eq!(text.parse::<FlushPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "fsync", "interval", "interval:", "interval:0", "interval:-1"] {
            assert_eq!(text.parse::<FlushPolicy>(), Err(UnknownFlushPolicy(text.to_owned())));
        }
    }
}
