//! What the sender counts and times: once a batch or a request, never once a record.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use streamledger_protocol::{BrokerId, TopicName};

use super::batch::ProducerBatch;
use super::effect::CompletedBatch;
use crate::map::Map;

/// The counts since the producer began, and its times by stage.
#[derive(Debug, Clone)]
pub struct SenderMetrics {
    /// Records acknowledged (`record-send-total`).
    pub records_sent: u64,
    /// Records failed (`record-error-total`).
    pub record_errors: u64,
    /// Records sent again (`record-retry-total`).
    pub record_retries: u64,
    /// Batches sent for the first time.
    pub batches: u64,
    /// Records in them.
    pub batch_records: u64,
    /// Their bytes as sent.
    pub batch_bytes: u64,
    /// Bytes of the largest of them.
    pub batch_bytes_max: u64,
    /// Their bytes before compression.
    pub uncompressed_bytes: u64,
    /// Bytes of batches acknowledged, as sent.
    pub bytes_acknowledged: u64,
    /// Batches split because the broker found them too large (`batch-split-total`).
    pub batch_splits: u64,
    /// Requests sent (`request-total`).
    pub requests: u64,
    /// Responses to them (`response-total`).
    pub responses: u64,
    /// Requests that have ended, answered or not.
    pub requests_ended: u64,
    /// The sum of the brokers' throttle times.
    pub throttled: Duration,
    /// The longest of them.
    pub throttled_max: Duration,
    /// What was counted of each topic.
    pub topics: Map<TopicName, TopicCounts>,
    /// What was counted of each broker.
    pub nodes: Map<BrokerId, NodeCounts>,
    /// From a batch's first record to its first request (`record-queue-time`).
    pub accumulated: StageTimes,
    /// From a request to its answer (`request-latency`).
    pub sent: StageTimes,
    /// From a batch's first record to its acknowledgement, each batch as often as it has records.
    pub acknowledged: StageTimes,
}

/// The counts of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicCounts {
    /// Records acknowledged.
    pub records_sent: u64,
    /// Records failed.
    pub record_errors: u64,
    /// Records sent again.
    pub record_retries: u64,
    /// Bytes of batches sent for the first time, as sent.
    pub batch_bytes: u64,
    /// Their bytes before compression.
    pub uncompressed_bytes: u64,
}

/// The counts of one broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Requests sent.
    pub requests: u64,
    /// Responses to them.
    pub responses: u64,
    /// Bytes of batches in them.
    pub bytes: u64,
    /// The sum of the times from a request to its response.
    pub latency: Duration,
    /// The longest of them.
    pub latency_max: Duration,
}

impl Default for SenderMetrics {
    fn default() -> Self {
        Self {
            records_sent: 0,
            record_errors: 0,
            record_retries: 0,
            batches: 0,
            batch_records: 0,
            batch_bytes: 0,
            batch_bytes_max: 0,
            uncompressed_bytes: 0,
            bytes_acknowledged: 0,
            batch_splits: 0,
            requests: 0,
            responses: 0,
            requests_ended: 0,
            throttled: Duration::ZERO,
            throttled_max: Duration::ZERO,
            topics: Map::default(),
            nodes: Map::default(),
            accumulated: StageTimes::new(),
            sent: StageTimes::new(),
            acknowledged: StageTimes::new(),
        }
    }
}

impl SenderMetrics {
    /// Counts a request that is sent.
    pub(crate) fn count_request(&mut self, broker: BrokerId) {
        self.requests += 1;
        self.nodes.entry(broker).or_default().requests += 1;
    }

    /// Counts a batch in a request, its first one or a later.
    pub(crate) fn count_attempt(
        &mut self,
        now: Instant,
        to: (&TopicName, BrokerId),
        batch: &ProducerBatch,
        is_first: bool,
    ) {
        let (records, bytes) = (batch.records(), batch.sealed.bytes.len() as u64);
        let uncompressed_bytes = batch.sealed.uncompressed_bytes as u64;
        let (topic, broker) = to;
        self.nodes.entry(broker).or_default().bytes += bytes;
        if !is_first {
            self.record_retries += records;
            self.topic(topic).record_retries += records;
            return;
        }
        self.batches += 1;
        self.batch_records += records;
        self.batch_bytes += bytes;
        self.batch_bytes_max = self.batch_bytes_max.max(bytes);
        self.uncompressed_bytes += uncompressed_bytes;
        self.accumulated.record(now.saturating_duration_since(batch.created), 1);
        let topic = self.topic(topic);
        topic.batch_bytes += bytes;
        topic.uncompressed_bytes += uncompressed_bytes;
    }

    pub(crate) fn count_response(
        &mut self,
        now: Instant,
        sent_at: Instant,
        broker: BrokerId,
        throttle: Duration,
    ) {
        let latency = now.saturating_duration_since(sent_at);
        self.responses += 1;
        self.throttled += throttle;
        self.throttled_max = self.throttled_max.max(throttle);
        self.sent.record(latency, 1);
        let node = self.nodes.entry(broker).or_default();
        node.responses += 1;
        node.latency += latency;
        node.latency_max = node.latency_max.max(latency);
    }

    pub(crate) fn count_completed(&mut self, now: Instant, batch: &CompletedBatch) {
        let records = u64::from(batch.record_count.cast_unsigned());
        let topic = batch.topic_partition().topic;
        if batch.outcome.is_err() {
            self.record_errors += records;
            self.topic(&topic).record_errors += records;
            return;
        }
        self.records_sent += records;
        self.bytes_acknowledged += batch.batch_bytes as u64;
        self.acknowledged.record(now.saturating_duration_since(batch.created()), records);
        self.topic(&topic).records_sent += records;
    }

    fn topic(&mut self, name: &TopicName) -> &mut TopicCounts {
        self.topics.entry(name.clone()).or_default()
    }
}

/// Times in microseconds, to two significant digits, up to an hour.
#[derive(Debug, Clone)]
pub struct StageTimes {
    /// None only if the bounds below were wrong.
    histogram: Option<Histogram<u64>>,
}

const MICROS_MAX: u64 = 3_600_000_000;

impl StageTimes {
    /// No times yet.
    #[must_use]
    pub fn new() -> Self {
        Self { histogram: Histogram::new_with_bounds(1, MICROS_MAX, 2).ok() }
    }

    /// Counts one time, `count` times over.
    pub fn record(&mut self, time: Duration, count: u64) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(MICROS_MAX);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record_n(micros.max(1), count);
        }
    }

    /// How many times there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// The time under which the given share (0 to 1) of all times lies, microseconds.
    #[must_use]
    pub fn quantile_micros(&self, share: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(share))
    }

    /// The longest time, microseconds.
    #[must_use]
    pub fn max_micros(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::max)
    }

    /// How many times are at most each of these bounds, which rise; microseconds.
    #[must_use]
    pub fn counts_up_to(&self, bounds_us: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds_us.len()];
        for bucket in self.histogram.iter().flat_map(Histogram::iter_recorded) {
            let place = bounds_us.partition_point(|bound| *bound < bucket.value_iterated_to());
            if let Some(count) = counts.get_mut(place) {
                *count += bucket.count_since_last_iteration();
            }
        }
        let mut sum = 0;
        for count in &mut counts {
            sum += *count;
            *count = sum;
        }
        counts
    }

    /// The mean time, microseconds.
    #[must_use]
    pub fn mean_micros(&self) -> f64 {
        self.histogram.as_ref().map_or(0.0, Histogram::mean)
    }
}

impl Default for StageTimes {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_bounds_add_up_and_leave_out_what_is_longer() {
        let mut times = StageTimes::new();
        for (micros, count) in [(5, 2), (80, 3), (5_000, 4), (2_000_000, 1)] {
            times.record(Duration::from_micros(micros), count);
        }
        assert_eq!(times.counts_up_to(&[10, 100, 1_000, 10_000]), [2, 5, 5, 9]);
        assert_eq!(times.count(), 10);
        assert_eq!(StageTimes::new().counts_up_to(&[1, 2]), [0, 0]);
    }
}
