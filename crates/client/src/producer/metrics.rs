//! The producer's counters and times at one moment, under Kafka's names for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use streamledger_client_core::sender::{SenderMetrics, StageTimes};
use streamledger_client_core::stage::Stage;

use super::shared::Shared;

/// What callers count. Only waits are counted one by one; the rest is sampled.
#[derive(Debug, Default)]
pub(super) struct CallerMetrics {
    memory_waits: AtomicU64,
    memory_wait_nanos: AtomicU64,
    metadata_wait_nanos: AtomicU64,
    pub(super) serialized: Mutex<StageTimes>,
    pub(super) partitioned: Mutex<StageTimes>,
}

impl CallerMetrics {
    pub(super) fn count_memory_wait(&self, time: Duration) {
        self.memory_waits.fetch_add(1, Ordering::Relaxed);
        self.memory_wait_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    pub(super) fn count_metadata_wait(&self, time: Duration) {
        self.metadata_wait_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A snapshot of the producer's metrics. Counts are since the producer began; serialized, they have
/// the names of Kafka's `producer-metrics`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Seconds since the producer began.
    pub uptime_seconds: f64,
    /// Records acknowledged.
    pub record_send_total: u64,
    /// Records acknowledged a second, since the producer began.
    pub record_send_rate: f64,
    /// Records failed for good.
    pub record_error_total: u64,
    /// Records sent again.
    pub record_retry_total: u64,
    /// Batches sent.
    pub batch_total: u64,
    /// Their mean size as sent, bytes.
    pub batch_size_avg: f64,
    /// Batches split because the broker found them too large.
    pub batch_split_total: u64,
    /// Bytes sent over bytes before compression.
    pub compression_rate_avg: f64,
    /// Mean records of a batch.
    pub records_per_batch_avg: f64,
    /// Mean records of a request.
    pub records_per_request_avg: f64,
    /// Requests sent.
    pub request_total: u64,
    /// Responses to them.
    pub response_total: u64,
    /// Bytes of acknowledged batches.
    pub outgoing_byte_total: u64,
    /// Mean time from a request to its answer, milliseconds.
    pub request_latency_avg: f64,
    /// Mean time of a batch in the accumulator, milliseconds.
    pub record_queue_time_avg: f64,
    /// All the time for which brokers asked to be left alone, milliseconds.
    pub produce_throttle_time_total: f64,
    /// All of `buffer.memory`.
    pub buffer_total_bytes: u64,
    /// What of it is free.
    pub buffer_available_bytes: u64,
    /// Callers that wait for memory now.
    pub waiting_threads: u64,
    /// How often somebody waited for memory.
    pub bufferpool_wait_total: u64,
    /// All the time that callers waited for memory, nanoseconds.
    pub bufferpool_wait_time_ns_total: u64,
    /// All the time that callers waited for metadata, nanoseconds.
    pub metadata_wait_time_ns_total: u64,
    /// The times of each stage that the client can see, in the order of the journey.
    pub stages: Vec<StageMetrics>,
}

/// The times of one stage, microseconds.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StageMetrics {
    /// The stage's name: see [`Stage`].
    pub stage: &'static str,
    /// How many times were taken: of records, of batches or of requests.
    pub count: u64,
    /// Half of them were at most this.
    pub p50_us: u64,
    /// Nine of ten.
    pub p90_us: u64,
    /// 99 of a hundred.
    pub p99_us: u64,
    /// 999 of a thousand.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl StageMetrics {
    fn of(stage: Stage, times: &StageTimes) -> Self {
        Self {
            stage: stage.name(),
            count: times.count(),
            p50_us: times.quantile_micros(0.5),
            p90_us: times.quantile_micros(0.9),
            p99_us: times.quantile_micros(0.99),
            p999_us: times.quantile_micros(0.999),
            max_us: times.max_micros(),
        }
    }
}

impl ProducerMetrics {
    pub(super) fn take(shared: &Shared) -> Self {
        let sender: SenderMetrics = shared.sender_metrics.lock().clone();
        let caller = &shared.caller_metrics;
        let memory = shared.accumulator.memory();
        let uptime_seconds = shared.started.elapsed().as_secs_f64();
        Self {
            uptime_seconds,
            record_send_total: sender.records_sent,
            record_send_rate: ratio(sender.records_sent as f64, uptime_seconds),
            record_error_total: sender.record_errors,
            record_retry_total: sender.record_retries,
            batch_total: sender.batches,
            batch_size_avg: ratio(sender.batch_bytes as f64, sender.batches as f64),
            batch_split_total: sender.batch_splits,
            compression_rate_avg: ratio(
                sender.batch_bytes as f64,
                sender.uncompressed_bytes as f64,
            ),
            records_per_batch_avg: ratio(sender.batch_records as f64, sender.batches as f64),
            records_per_request_avg: ratio(sender.batch_records as f64, sender.requests as f64),
            request_total: sender.requests,
            response_total: sender.responses,
            outgoing_byte_total: sender.bytes_acknowledged,
            request_latency_avg: sender.sent.mean_micros() / 1000.0,
            record_queue_time_avg: sender.accumulated.mean_micros() / 1000.0,
            produce_throttle_time_total: sender.throttled.as_secs_f64() * 1000.0,
            buffer_total_bytes: memory.total_bytes() as u64,
            buffer_available_bytes: memory.available_bytes() as u64,
            waiting_threads: memory.waiting() as u64,
            bufferpool_wait_total: caller.memory_waits.load(Ordering::Relaxed),
            bufferpool_wait_time_ns_total: caller.memory_wait_nanos.load(Ordering::Relaxed),
            metadata_wait_time_ns_total: caller.metadata_wait_nanos.load(Ordering::Relaxed),
            stages: vec![
                StageMetrics::of(Stage::Serialized, &caller.serialized.lock()),
                StageMetrics::of(Stage::Partitioned, &caller.partitioned.lock()),
                StageMetrics::of(Stage::Accumulated, &sender.accumulated),
                StageMetrics::of(Stage::Sent, &sender.sent),
                StageMetrics::of(Stage::Acknowledged, &sender.acknowledged),
            ],
        }
    }

    /// The times of a stage, if the client can see it.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageMetrics> {
        self.stages.iter().find(|metrics| metrics.stage == stage.name())
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
