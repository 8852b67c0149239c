//! What the sender counts and times: once a batch or a request, never once a record.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use streamledger_protocol::record_batch::HEADER_BYTES;
use streamledger_protocol::{BrokerId, TopicName};

use super::batch::ProducerBatch;
use super::effect::CompletedBatch;
use crate::map::Map;
use crate::window::{WindowConfig, Windowed};

/// The counts since the producer began, what Kafka measures over a window, and times by stage.
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
    /// What means, maxima and rates are made of.
    pub windows: SenderWindows,
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
    window: WindowConfig,
}

/// Declares values of a window, by name.
macro_rules! windows {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Windowed,)*
        }

        impl $name {
            fn new(window: WindowConfig) -> Self {
                Self { $($field: Windowed::new(window),)* }
            }
        }
    };
}

windows! {
    /// What the producer's means, maxima and rates are made of.
    SenderWindows {
        /// Milliseconds of each batch from its first record to its first request.
        queue_ms,
        /// Bytes of each batch as sent.
        batch_bytes,
        /// Those bytes over the bytes before compression.
        compression,
        /// The mean bytes of each batch's records, before compression.
        record_bytes,
        /// Records of each request.
        request_records,
        /// Bytes of the batches of each request.
        request_bytes,
        /// Milliseconds from each request to its answer.
        latency_ms,
        /// Milliseconds for which each answer asked to be left alone.
        throttle_ms,
        /// Records acknowledged.
        records_sent,
        /// Records failed.
        record_errors,
        /// Records sent again.
        record_retries,
        /// Responses.
        responses,
        /// Bytes of batches acknowledged.
        bytes_acknowledged,
        /// Batches split.
        batch_splits,
    }
}

windows! {
    /// What a topic's means and rates are made of.
    TopicWindows {
        /// Records acknowledged.
        records_sent,
        /// Records failed.
        record_errors,
        /// Records sent again.
        record_retries,
        /// Bytes of each batch as sent.
        batch_bytes,
        /// Those bytes over the bytes before compression.
        compression,
    }
}

windows! {
    /// What a broker's means, maxima and rates are made of.
    NodeWindows {
        /// Bytes of the batches of each request.
        request_bytes,
        /// Milliseconds from each request to its answer.
        latency_ms,
    }
}

/// The counts of one topic.
#[derive(Debug, Clone)]
pub struct TopicCounts {
    /// Records acknowledged.
    pub records_sent: u64,
    /// Records failed.
    pub record_errors: u64,
    /// Records sent again.
    pub record_retries: u64,
    /// Bytes of batches sent for the first time, as sent.
    pub batch_bytes: u64,
    /// What means and rates are made of.
    pub windows: TopicWindows,
}

/// The counts of one broker.
#[derive(Debug, Clone)]
pub struct NodeCounts {
    /// Requests sent.
    pub requests: u64,
    /// Responses to them.
    pub responses: u64,
    /// Bytes of batches in them.
    pub bytes: u64,
    /// What means, maxima and rates are made of.
    pub windows: NodeWindows,
}

impl SenderMetrics {
    /// Nothing was done yet.
    #[must_use]
    pub fn new(window: WindowConfig) -> Self {
        Self {
            records_sent: 0,
            record_errors: 0,
            record_retries: 0,
            batches: 0,
            batch_records: 0,
            batch_bytes: 0,
            bytes_acknowledged: 0,
            batch_splits: 0,
            requests: 0,
            responses: 0,
            requests_ended: 0,
            throttled: Duration::ZERO,
            windows: SenderWindows::new(window),
            topics: Map::default(),
            nodes: Map::default(),
            accumulated: StageTimes::new(),
            sent: StageTimes::new(),
            acknowledged: StageTimes::new(),
            window,
        }
    }

    /// Counts a request that is sent, with the records and bytes of its batches.
    pub(crate) fn count_request(
        &mut self,
        now: Instant,
        broker: BrokerId,
        records: u64,
        bytes: u64,
    ) {
        self.requests += 1;
        self.windows.request_records.record(now, records as f64);
        self.windows.request_bytes.record(now, bytes as f64);
        let node = self.node(broker);
        node.requests += 1;
        node.bytes += bytes;
        node.windows.request_bytes.record(now, bytes as f64);
    }

    /// Counts a batch in a request, its first one or a later.
    pub(crate) fn count_attempt(
        &mut self,
        now: Instant,
        topic: &TopicName,
        batch: &ProducerBatch,
        is_first: bool,
    ) {
        let (records, bytes) = (batch.records(), batch.sealed.bytes.len());
        if !is_first {
            self.record_retries += records;
            self.windows.record_retries.record(now, records as f64);
            let topic = self.topic(topic);
            topic.record_retries += records;
            topic.windows.record_retries.record(now, records as f64);
            return;
        }
        let uncompressed_bytes = batch.sealed.uncompressed_bytes;
        let compression = bytes as f64 / uncompressed_bytes.max(1) as f64;
        let record_bytes = uncompressed_bytes.saturating_sub(HEADER_BYTES) as f64;
        let queued = now.saturating_duration_since(batch.created);
        self.batches += 1;
        self.batch_records += records;
        self.batch_bytes += bytes as u64;
        self.accumulated.record(queued, 1);
        let windows = &mut self.windows;
        windows.queue_ms.record(now, millis(queued));
        windows.batch_bytes.record(now, bytes as f64);
        windows.compression.record(now, compression);
        windows.record_bytes.record(now, record_bytes / records.max(1) as f64);
        let topic = self.topic(topic);
        topic.batch_bytes += bytes as u64;
        topic.windows.batch_bytes.record(now, bytes as f64);
        topic.windows.compression.record(now, compression);
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
        self.sent.record(latency, 1);
        self.windows.responses.record(now, 1.0);
        self.windows.throttle_ms.record(now, millis(throttle));
        self.windows.latency_ms.record(now, millis(latency));
        let node = self.node(broker);
        node.responses += 1;
        node.windows.latency_ms.record(now, millis(latency));
    }

    pub(crate) fn count_split(&mut self, now: Instant) {
        self.batch_splits += 1;
        self.windows.batch_splits.record(now, 1.0);
    }

    pub(crate) fn count_completed(&mut self, now: Instant, batch: &CompletedBatch) {
        let records = u64::from(batch.record_count.cast_unsigned());
        let topic = batch.topic_partition().topic;
        if batch.outcome.is_err() {
            self.record_errors += records;
            self.windows.record_errors.record(now, records as f64);
            let topic = self.topic(&topic);
            topic.record_errors += records;
            topic.windows.record_errors.record(now, records as f64);
            return;
        }
        self.records_sent += records;
        self.bytes_acknowledged += batch.batch_bytes as u64;
        self.acknowledged.record(now.saturating_duration_since(batch.created()), records);
        self.windows.records_sent.record(now, records as f64);
        self.windows.bytes_acknowledged.record(now, batch.batch_bytes as f64);
        let topic = self.topic(&topic);
        topic.records_sent += records;
        topic.windows.records_sent.record(now, records as f64);
    }

    fn topic(&mut self, name: &TopicName) -> &mut TopicCounts {
        let window = self.window;
        self.topics.entry(name.clone()).or_insert_with(|| TopicCounts {
            records_sent: 0,
            record_errors: 0,
            record_retries: 0,
            batch_bytes: 0,
            windows: TopicWindows::new(window),
        })
    }

    fn node(&mut self, id: BrokerId) -> &mut NodeCounts {
        let window = self.window;
        self.nodes.entry(id).or_insert_with(|| NodeCounts {
            requests: 0,
            responses: 0,
            bytes: 0,
            windows: NodeWindows::new(window),
        })
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
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
