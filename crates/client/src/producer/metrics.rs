//! The producer's counters and times at one moment, under Kafka's names for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use streamledger_client_core::sender::{NodeCounts, SenderMetrics, StageTimes, TopicCounts};
use streamledger_client_core::stage::Stage;
use streamledger_protocol::{BrokerId, TopicName};

use super::rates::Counts;
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
    /// The producer's `client.id`.
    pub client_id: String,
    /// Seconds since the producer began.
    pub uptime_seconds: f64,
    /// Records acknowledged.
    pub record_send_total: u64,
    /// Records acknowledged a second. This and the other rates are over the time since an earlier
    /// snapshot: one at least half a minute old if there is one, else since the producer began.
    pub record_send_rate: f64,
    /// Records failed for good.
    pub record_error_total: u64,
    /// The same a second.
    pub record_error_rate: f64,
    /// Records sent again.
    pub record_retry_total: u64,
    /// The same a second.
    pub record_retry_rate: f64,
    /// Batches sent.
    pub batch_total: u64,
    /// Their mean size as sent, bytes.
    pub batch_size_avg: f64,
    /// The largest of them as sent, bytes.
    pub batch_size_max: u64,
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
    /// The same a second.
    pub request_rate: f64,
    /// Responses to them.
    pub response_total: u64,
    /// The same a second.
    pub response_rate: f64,
    /// Requests that have no answer yet.
    pub requests_in_flight: u64,
    /// Bytes of acknowledged batches.
    pub outgoing_byte_total: u64,
    /// The same a second.
    pub outgoing_byte_rate: f64,
    /// Mean time from a request to its answer, milliseconds.
    pub request_latency_avg: f64,
    /// The longest of those times, milliseconds.
    pub request_latency_max: f64,
    /// Mean time of a batch in the accumulator, milliseconds.
    pub record_queue_time_avg: f64,
    /// The longest of those times, milliseconds.
    pub record_queue_time_max: f64,
    /// All the time for which brokers asked to be left alone, milliseconds.
    pub produce_throttle_time_total: f64,
    /// The mean of what a response asked for, milliseconds.
    pub produce_throttle_time_avg: f64,
    /// The longest of those times, milliseconds.
    pub produce_throttle_time_max: f64,
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
    /// That time a second: over 1 if several callers waited at once.
    pub bufferpool_wait_ratio: f64,
    /// All the time that callers waited for metadata, nanoseconds.
    pub metadata_wait_time_ns_total: u64,
    /// Connections that were made.
    pub connection_creation_total: u64,
    /// The same a second, over `metrics.sample.window.ms` times `metrics.num.samples`.
    pub connection_creation_rate: f64,
    /// Connections that have ended.
    pub connection_close_total: u64,
    /// The same a second, over that time.
    pub connection_close_rate: f64,
    /// Connections there are.
    pub connection_count: u64,
    /// The times of each stage that the client can see, in the order of the journey.
    pub stages: Vec<StageMetrics>,
    /// What was counted of each topic, by name.
    pub topics: Vec<TopicMetrics>,
    /// What was counted of each broker, by number.
    pub nodes: Vec<NodeMetrics>,
}

/// The metrics of one topic: Kafka's `producer-topic-metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct TopicMetrics {
    /// Its name.
    pub topic: String,
    /// Records acknowledged.
    pub record_send_total: u64,
    /// Records failed for good.
    pub record_error_total: u64,
    /// Records sent again.
    pub record_retry_total: u64,
    /// Bytes of its batches as sent.
    pub byte_total: u64,
    /// Those bytes over the bytes before compression.
    pub compression_rate: f64,
}

/// The metrics of one broker: Kafka's `producer-node-metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct NodeMetrics {
    /// Its number.
    pub node_id: i32,
    /// Requests sent to it.
    pub request_total: u64,
    /// Its responses.
    pub response_total: u64,
    /// Bytes of batches sent to it, retries included.
    pub outgoing_byte_total: u64,
    /// Mean time from a request to its answer, milliseconds.
    pub request_latency_avg: f64,
    /// The longest of those times, milliseconds.
    pub request_latency_max: f64,
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
    /// Their sum, to two digits.
    pub sum_us: f64,
    /// How many were at most each of [`StageMetrics::BOUNDS_US`].
    #[serde(skip)]
    counts: Vec<u64>,
}

impl StageMetrics {
    /// The bounds of a histogram's buckets, microseconds.
    pub const BOUNDS_US: [u64; 18] = [
        1,
        10,
        100,
        250,
        500,
        1_000,
        2_500,
        5_000,
        10_000,
        25_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        5_000_000,
        30_000_000,
        120_000_000,
    ];

    /// Each bound, microseconds, and how many times were at most that.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        Self::BOUNDS_US.into_iter().zip(self.counts.iter().copied())
    }

    fn of(stage: Stage, times: &StageTimes) -> Self {
        Self {
            stage: stage.name(),
            count: times.count(),
            p50_us: times.quantile_micros(0.5),
            p90_us: times.quantile_micros(0.9),
            p99_us: times.quantile_micros(0.99),
            p999_us: times.quantile_micros(0.999),
            max_us: times.max_micros(),
            sum_us: times.mean_micros() * times.count() as f64,
            counts: times.counts_up_to(&Self::BOUNDS_US),
        }
    }
}

impl ProducerMetrics {
    pub(super) fn take(shared: &Shared) -> Self {
        let sender: SenderMetrics = shared.sender_metrics.lock().clone();
        let caller = &shared.caller_metrics;
        let memory = shared.accumulator.memory();
        let memory_wait_nanos = caller.memory_wait_nanos.load(Ordering::Relaxed);
        let counts = Counts {
            records_sent: sender.records_sent as f64,
            record_errors: sender.record_errors as f64,
            record_retries: sender.record_retries as f64,
            requests: sender.requests as f64,
            responses: sender.responses as f64,
            bytes: sender.bytes_acknowledged as f64,
            memory_wait_seconds: memory_wait_nanos as f64 / 1e9,
        };
        let rates = shared.rates.lock().per_second(Instant::now(), counts);
        let batches = sender.batches as f64;
        let throttled_ms = millis(sender.throttled);
        let connections = shared.connection_meter.read();
        Self {
            client_id: shared.client_id.clone(),
            uptime_seconds: shared.started.elapsed().as_secs_f64(),
            record_send_total: sender.records_sent,
            record_send_rate: rates.records_sent,
            record_error_total: sender.record_errors,
            record_error_rate: rates.record_errors,
            record_retry_total: sender.record_retries,
            record_retry_rate: rates.record_retries,
            batch_total: sender.batches,
            batch_size_avg: ratio(sender.batch_bytes as f64, batches),
            batch_size_max: sender.batch_bytes_max,
            batch_split_total: sender.batch_splits,
            compression_rate_avg: compression(sender.batch_bytes, sender.uncompressed_bytes),
            records_per_batch_avg: ratio(sender.batch_records as f64, batches),
            records_per_request_avg: ratio(sender.batch_records as f64, sender.requests as f64),
            request_total: sender.requests,
            request_rate: rates.requests,
            response_total: sender.responses,
            response_rate: rates.responses,
            requests_in_flight: sender.requests.saturating_sub(sender.requests_ended),
            outgoing_byte_total: sender.bytes_acknowledged,
            outgoing_byte_rate: rates.bytes,
            request_latency_avg: sender.sent.mean_micros() / 1000.0,
            request_latency_max: sender.sent.max_micros() as f64 / 1000.0,
            record_queue_time_avg: sender.accumulated.mean_micros() / 1000.0,
            record_queue_time_max: sender.accumulated.max_micros() as f64 / 1000.0,
            produce_throttle_time_total: throttled_ms,
            produce_throttle_time_avg: ratio(throttled_ms, sender.responses as f64),
            produce_throttle_time_max: millis(sender.throttled_max),
            buffer_total_bytes: memory.total_bytes() as u64,
            buffer_available_bytes: memory.available_bytes() as u64,
            waiting_threads: memory.waiting() as u64,
            bufferpool_wait_total: caller.memory_waits.load(Ordering::Relaxed),
            bufferpool_wait_time_ns_total: memory_wait_nanos,
            bufferpool_wait_ratio: rates.memory_wait_seconds,
            metadata_wait_time_ns_total: caller.metadata_wait_nanos.load(Ordering::Relaxed),
            connection_creation_total: connections.creation_total,
            connection_creation_rate: connections.creation_rate,
            connection_close_total: connections.close_total,
            connection_close_rate: connections.close_rate,
            connection_count: connections.count,
            stages: vec![
                StageMetrics::of(Stage::Serialized, &caller.serialized.lock()),
                StageMetrics::of(Stage::Partitioned, &caller.partitioned.lock()),
                StageMetrics::of(Stage::Accumulated, &sender.accumulated),
                StageMetrics::of(Stage::Sent, &sender.sent),
                StageMetrics::of(Stage::Acknowledged, &sender.acknowledged),
            ],
            topics: topics_of(&sender),
            nodes: nodes_of(&sender),
        }
    }

    /// The times of a stage, if the client can see it.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageMetrics> {
        self.stages.iter().find(|metrics| metrics.stage == stage.name())
    }
}

fn topics_of(sender: &SenderMetrics) -> Vec<TopicMetrics> {
    let metrics = |(name, counts): (&TopicName, &TopicCounts)| TopicMetrics {
        topic: name.to_string(),
        record_send_total: counts.records_sent,
        record_error_total: counts.record_errors,
        record_retry_total: counts.record_retries,
        byte_total: counts.batch_bytes,
        compression_rate: compression(counts.batch_bytes, counts.uncompressed_bytes),
    };
    let mut topics: Vec<_> = sender.topics.iter().map(metrics).collect();
    topics.sort_unstable_by(|one, other| one.topic.cmp(&other.topic));
    topics
}

fn nodes_of(sender: &SenderMetrics) -> Vec<NodeMetrics> {
    let metrics = |(id, counts): (&BrokerId, &NodeCounts)| NodeMetrics {
        node_id: id.0,
        request_total: counts.requests,
        response_total: counts.responses,
        outgoing_byte_total: counts.bytes,
        request_latency_avg: ratio(millis(counts.latency), counts.responses as f64),
        request_latency_max: millis(counts.latency_max),
    };
    let mut nodes: Vec<_> = sender.nodes.iter().map(metrics).collect();
    nodes.sort_unstable_by_key(|node| node.node_id);
    nodes
}

fn compression(bytes: u64, uncompressed_bytes: u64) -> f64 {
    ratio(bytes as f64, uncompressed_bytes as f64)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
