//! The sender's settings and its backoffs.

use std::time::Duration;

use streamledger_protocol::compression::Compression;
use streamledger_protocol::{Acks, TransactionalId};

use crate::partitioner::RandomSource;
#[cfg(feature = "planted-bugs")]
use crate::planted_bugs::PlantedBug;
use crate::window::WindowConfig;

/// The settings of the sender, by Kafka's meaning.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// Whose acknowledgement counts (`acks`).
    pub acks: Acks,
    /// Batches carry a producer id and sequences (`enable.idempotence`). Wants acks=all and at
    /// most five requests in flight, for a broker remembers the last five batches of a producer.
    pub idempotent: bool,
    /// The codec and its level (`compression.type` and its levels).
    pub compression: Compression,
    /// How many batches may be at a codec at once: the cores that compress.
    pub compressions_max: usize,
    /// Requests in flight to one broker (`max.in.flight.requests.per.connection`).
    pub in_flight_max: usize,
    /// Bytes of one request (`max.request.size`).
    pub request_bytes_max: usize,
    /// How often a batch is sent again (`retries`).
    pub retries_max: u32,
    /// How long the broker may wait for its followers (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// From append to the end of a record (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// The sticky partitioner spares leaders for which much is queued
    /// (`partitioner.adaptive.partitioning.enable`, KIP-794).
    pub adaptive_partitioning: bool,
    /// A leader that has taken nothing for longer gets nothing from the sticky partitioner; zero is
    /// never (`partitioner.availability.timeout.ms`).
    pub availability_timeout: Duration,
    /// After how long without a record a topic is forgotten (`metadata.max.idle.ms`).
    pub topic_idle_max: Duration,
    /// Between two attempts (`retry.backoff.ms`, `retry.backoff.max.ms`).
    pub retry_backoff: Backoff,
    /// Between two connections (`reconnect.backoff.ms`, `reconnect.backoff.max.ms`).
    pub reconnect_backoff: Backoff,
    /// Over how much time means, maxima and rates are (`metrics.sample.window.ms`,
    /// `metrics.num.samples`).
    pub metrics_window: WindowConfig,
    /// With a transactional id, which asks for idempotence.
    pub transaction: Option<TransactionConfig>,
    /// The bug to have, for the simulator to find.
    #[cfg(feature = "planted-bugs")]
    pub planted_bug: Option<PlantedBug>,
}

/// The settings of a transactional producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionConfig {
    /// The name of its transactions across its lives (`transactional.id`).
    pub id: TransactionalId,
    /// After how long the coordinator aborts an open transaction (`transaction.timeout.ms`).
    pub timeout: Duration,
}

impl Default for SenderConfig {
    /// Kafka 4's defaults.
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::default(),
            compressions_max: 1,
            in_flight_max: 5,
            request_bytes_max: 1_048_576,
            retries_max: i32::MAX.cast_unsigned(),
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            adaptive_partitioning: true,
            availability_timeout: Duration::ZERO,
            topic_idle_max: Duration::from_secs(300),
            retry_backoff: Backoff {
                first: Duration::from_millis(100),
                max: Duration::from_secs(1),
            },
            reconnect_backoff: Backoff {
                first: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
            metrics_window: WindowConfig::default(),
            transaction: None,
            #[cfg(feature = "planted-bugs")]
            planted_bug: None,
        }
    }
}

impl SenderConfig {
    /// Batches of one partition that may be unresolved at once.
    pub(crate) fn unresolved_max(&self) -> usize {
        self.in_flight_max.max(1)
    }

    /// Whether this bug was planted.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has_bug(&self, bug: PlantedBug) -> bool {
        self.planted_bug == Some(bug)
    }
}

/// Waiting times that double, with a fifth of chance either way (Kafka's `ExponentialBackoff`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait, before chance.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row, 1 or more.
    #[must_use]
    pub fn wait(&self, failures: u32, random: &dyn RandomSource) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let wait = self.first.saturating_mul(1 << doublings).min(self.max);
        // 0.8 to 1.2, in steps of a 2^32nd.
        let chance = f64::from(random.next_u32()) / f64::from(u32::MAX);
        wait.mul_f64(0.8 + 0.4 * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitioner::SeededRandom;

    #[test]
    fn backoff_doubles_to_its_maximum_within_a_fifth() {
        let random = SeededRandom::new(5);
        let backoff = SenderConfig::default().retry_backoff;
        for (failures, expected_ms) in
            [(1, 100.0), (2, 200.0), (4, 800.0), (5, 1000.0), (99, 1000.0)]
        {
            for _ in 0..50 {
                let wait_ms = backoff.wait(failures, &random).as_secs_f64() * 1000.0;
                assert!((0.8..=1.2).contains(&(wait_ms / expected_ms)), "{failures}: {wait_ms}");
            }
        }
    }
}
