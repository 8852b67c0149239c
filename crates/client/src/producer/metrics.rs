//! The producer's counters and times at one moment, under Kafka's names for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use streamledger_client_core::sender::{NodeCounts, SenderMetrics, StageTimes, TopicCounts};
use streamledger_client_core::stage::Stage;
use streamledger_client_core::transaction::TransactionOperation;
use streamledger_client_core::window::{WindowConfig, Windowed};
use streamledger_protocol::{BrokerId, TopicName};

use super::shared::Shared;

/// What callers count. Only waits are counted one by one; the rest is sampled.
#[derive(Debug)]
pub(super) struct CallerMetrics {
    memory_waits: AtomicU64,
    memory_wait_nanos: AtomicU64,
    memory_wait_seconds: Mutex<Windowed>,
    metadata_wait_nanos: AtomicU64,
    flush_nanos: AtomicU64,
    init_nanos: AtomicU64,
    begin_nanos: AtomicU64,
    send_offsets_nanos: AtomicU64,
    commit_nanos: AtomicU64,
    abort_nanos: AtomicU64,
    pub(super) serialized: Mutex<StageTimes>,
    pub(super) partitioned: Mutex<StageTimes>,
}

impl CallerMetrics {
    pub(super) fn new(window: WindowConfig) -> Self {
        Self {
            memory_waits: AtomicU64::new(0),
            memory_wait_nanos: AtomicU64::new(0),
            memory_wait_seconds: Mutex::new(Windowed::new(window)),
            metadata_wait_nanos: AtomicU64::new(0),
            flush_nanos: AtomicU64::new(0),
            init_nanos: AtomicU64::new(0),
            begin_nanos: AtomicU64::new(0),
            send_offsets_nanos: AtomicU64::new(0),
            commit_nanos: AtomicU64::new(0),
            abort_nanos: AtomicU64::new(0),
            serialized: Mutex::default(),
            partitioned: Mutex::default(),
        }
    }

    pub(super) fn count_memory_wait(&self, time: Duration) {
        self.memory_waits.fetch_add(1, Ordering::Relaxed);
        add(&self.memory_wait_nanos, time);
        self.memory_wait_seconds.lock().record(Instant::now(), time.as_secs_f64());
    }

    pub(super) fn count_metadata_wait(&self, time: Duration) {
        add(&self.metadata_wait_nanos, time);
    }

    pub(super) fn count_flush(&self, time: Duration) {
        add(&self.flush_nanos, time);
    }

    /// Counts a call of a transaction's, whatever came of it.
    pub(super) fn count_transaction(&self, operation: TransactionOperation, time: Duration) {
        let nanos = match operation {
            TransactionOperation::Init => &self.init_nanos,
            TransactionOperation::Begin => &self.begin_nanos,
            TransactionOperation::SendOffsets => &self.send_offsets_nanos,
            TransactionOperation::Commit => &self.commit_nanos,
            TransactionOperation::Abort => &self.abort_nanos,
        };
        add(nanos, time);
    }
}

fn add(nanos: &AtomicU64, time: Duration) {
    nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A snapshot of the producer's metrics. Counts are since the producer began; means, maxima and
/// rates are over the last `metrics.num.samples` of `metrics.sample.window.ms`, and 0 where there
/// was nothing in that time. Serialized, they have the names of Kafka's `producer-metrics`.
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
    /// The same a second.
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
    /// The same a second.
    pub batch_split_rate: f64,
    /// The mean, over batches, of bytes sent over bytes before compression.
    pub compression_rate_avg: f64,
    /// The mean, over batches, of their records' mean size before compression, bytes.
    pub record_size_avg: f64,
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
    /// Mean bytes of the batches of a request.
    pub request_size_avg: f64,
    /// The most bytes of the batches of one.
    pub request_size_max: u64,
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
    /// All the time that callers waited for a flush, nanoseconds.
    pub flush_time_ns_total: u64,
    /// All the time that callers waited for `init_transactions`, nanoseconds.
    pub txn_init_time_ns_total: u64,
    /// The same of `begin_transaction`.
    pub txn_begin_time_ns_total: u64,
    /// The same of `send_offsets`.
    pub txn_send_offsets_time_ns_total: u64,
    /// The same of `commit`.
    pub txn_commit_time_ns_total: u64,
    /// The same of `abort`.
    pub txn_abort_time_ns_total: u64,
    /// Connections that were made.
    pub connection_creation_total: u64,
    /// The same a second.
    pub connection_creation_rate: f64,
    /// Connections that have ended.
    pub connection_close_total: u64,
    /// The same a second.
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
    /// The same a second.
    pub record_send_rate: f64,
    /// Records failed for good.
    pub record_error_total: u64,
    /// The same a second.
    pub record_error_rate: f64,
    /// Records sent again.
    pub record_retry_total: u64,
    /// The same a second.
    pub record_retry_rate: f64,
    /// Bytes of its batches as sent.
    pub byte_total: u64,
    /// The same a second.
    pub byte_rate: f64,
    /// The mean, over its batches, of those bytes over the bytes before compression.
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
    /// The same a second.
    pub request_rate: f64,
    /// Mean bytes of the batches of one.
    pub request_size_avg: f64,
    /// The most bytes of the batches of one.
    pub request_size_max: u64,
    /// Its responses.
    pub response_total: u64,
    /// The same a second.
    pub response_rate: f64,
    /// Bytes of batches sent to it, retries included.
    pub outgoing_byte_total: u64,
    /// The same a second.
    pub outgoing_byte_rate: f64,
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
        let now = Instant::now();
        let sender = shared.sender_metrics.lock();
        let times = [&sender.accumulated, &sender.sent, &sender.acknowledged].map(Clone::clone);
        let mut metrics = Self::counted(shared, &sender, now);
        // What takes longer doesn't hold up the I/O thread.
        drop(sender);
        let [accumulated, sent, acknowledged] = times;
        let caller = &shared.caller_metrics;
        metrics.stages = vec![
            StageMetrics::of(Stage::Serialized, &caller.serialized.lock()),
            StageMetrics::of(Stage::Partitioned, &caller.partitioned.lock()),
            StageMetrics::of(Stage::Accumulated, &accumulated),
            StageMetrics::of(Stage::Sent, &sent),
            StageMetrics::of(Stage::Acknowledged, &acknowledged),
        ];
        metrics.topics.sort_unstable_by(|one, other| one.topic.cmp(&other.topic));
        metrics.nodes.sort_unstable_by_key(|node| node.node_id);
        metrics
    }

    fn counted(shared: &Shared, sender: &SenderMetrics, now: Instant) -> Self {
        let (caller, memory) = (&shared.caller_metrics, shared.accumulator.memory());
        let connections = shared.connection_meter.read();
        let windows = &sender.windows;
        let of = |nanos: &AtomicU64| nanos.load(Ordering::Relaxed);
        Self {
            client_id: shared.client_id.clone(),
            uptime_seconds: shared.started.elapsed().as_secs_f64(),
            record_send_total: sender.records_sent,
            record_send_rate: windows.records_sent.per_second(now),
            record_error_total: sender.record_errors,
            record_error_rate: windows.record_errors.per_second(now),
            record_retry_total: sender.record_retries,
            record_retry_rate: windows.record_retries.per_second(now),
            batch_total: sender.batches,
            batch_size_avg: windows.batch_bytes.mean(now),
            batch_size_max: windows.batch_bytes.max(now) as u64,
            batch_split_total: sender.batch_splits,
            batch_split_rate: windows.batch_splits.per_second(now),
            compression_rate_avg: windows.compression.mean(now),
            record_size_avg: windows.record_bytes.mean(now),
            records_per_batch_avg: ratio(sender.batch_records as f64, sender.batches as f64),
            records_per_request_avg: windows.request_records.mean(now),
            request_total: sender.requests,
            request_rate: windows.request_bytes.events_per_second(now),
            response_total: sender.responses,
            response_rate: windows.responses.per_second(now),
            request_size_avg: windows.request_bytes.mean(now),
            request_size_max: windows.request_bytes.max(now) as u64,
            requests_in_flight: sender.requests.saturating_sub(sender.requests_ended),
            outgoing_byte_total: sender.bytes_acknowledged,
            outgoing_byte_rate: windows.bytes_acknowledged.per_second(now),
            request_latency_avg: windows.latency_ms.mean(now),
            request_latency_max: windows.latency_ms.max(now),
            record_queue_time_avg: windows.queue_ms.mean(now),
            record_queue_time_max: windows.queue_ms.max(now),
            produce_throttle_time_total: millis(sender.throttled),
            produce_throttle_time_avg: windows.throttle_ms.mean(now),
            produce_throttle_time_max: windows.throttle_ms.max(now),
            buffer_total_bytes: memory.total_bytes() as u64,
            buffer_available_bytes: memory.available_bytes() as u64,
            waiting_threads: memory.waiting() as u64,
            bufferpool_wait_total: of(&caller.memory_waits),
            bufferpool_wait_time_ns_total: of(&caller.memory_wait_nanos),
            bufferpool_wait_ratio: caller.memory_wait_seconds.lock().per_second(now),
            metadata_wait_time_ns_total: of(&caller.metadata_wait_nanos),
            flush_time_ns_total: of(&caller.flush_nanos),
            txn_init_time_ns_total: of(&caller.init_nanos),
            txn_begin_time_ns_total: of(&caller.begin_nanos),
            txn_send_offsets_time_ns_total: of(&caller.send_offsets_nanos),
            txn_commit_time_ns_total: of(&caller.commit_nanos),
            txn_abort_time_ns_total: of(&caller.abort_nanos),
            connection_creation_total: connections.creation_total,
            connection_creation_rate: connections.creation_rate,
            connection_close_total: connections.close_total,
            connection_close_rate: connections.close_rate,
            connection_count: connections.count,
            stages: Vec::new(),
            topics: sender.topics.iter().map(|(name, of)| topic_of(name, of, now)).collect(),
            nodes: sender.nodes.iter().map(|(id, of)| node_of(*id, of, now)).collect(),
        }
    }

    /// The times of a stage, if the client can see it.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&StageMetrics> {
        self.stages.iter().find(|metrics| metrics.stage == stage.name())
    }
}

fn topic_of(name: &TopicName, counts: &TopicCounts, now: Instant) -> TopicMetrics {
    let windows = &counts.windows;
    TopicMetrics {
        topic: name.to_string(),
        record_send_total: counts.records_sent,
        record_send_rate: windows.records_sent.per_second(now),
        record_error_total: counts.record_errors,
        record_error_rate: windows.record_errors.per_second(now),
        record_retry_total: counts.record_retries,
        record_retry_rate: windows.record_retries.per_second(now),
        byte_total: counts.batch_bytes,
        byte_rate: windows.batch_bytes.per_second(now),
        compression_rate: windows.compression.mean(now),
    }
}

fn node_of(id: BrokerId, counts: &NodeCounts, now: Instant) -> NodeMetrics {
    let windows = &counts.windows;
    NodeMetrics {
        node_id: id.0,
        request_total: counts.requests,
        request_rate: windows.request_bytes.events_per_second(now),
        request_size_avg: windows.request_bytes.mean(now),
        request_size_max: windows.request_bytes.max(now) as u64,
        response_total: counts.responses,
        response_rate: windows.latency_ms.events_per_second(now),
        outgoing_byte_total: counts.bytes,
        outgoing_byte_rate: windows.request_bytes.per_second(now),
        request_latency_avg: windows.latency_ms.mean(now),
        request_latency_max: windows.latency_ms.max(now),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
