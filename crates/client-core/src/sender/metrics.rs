//! What the sender counts and times: once a batch or a request, never once a record.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::batch::ProducerBatch;
use super::effect::CompletedBatch;

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
    /// The sum of the brokers' throttle times.
    pub throttled: Duration,
    /// From a batch's first record to its first request (`record-queue-time`).
    pub accumulated: StageTimes,
    /// From a request to its answer (`request-latency`).
    pub sent: StageTimes,
    /// From a batch's first record to its acknowledgement, each batch as often as it has records.
    pub acknowledged: StageTimes,
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
            uncompressed_bytes: 0,
            bytes_acknowledged: 0,
            batch_splits: 0,
            requests: 0,
            responses: 0,
            throttled: Duration::ZERO,
            accumulated: StageTimes::new(),
            sent: StageTimes::new(),
            acknowledged: StageTimes::new(),
        }
    }
}

impl SenderMetrics {
    pub(crate) fn count_first_attempt(&mut self, now: Instant, batch: &ProducerBatch) {
        self.batches += 1;
        self.batch_records += batch.records();
        self.batch_bytes += batch.sealed.bytes.len() as u64;
        self.uncompressed_bytes += batch.sealed.uncompressed_bytes as u64;
        self.accumulated.record(now.saturating_duration_since(batch.created), 1);
    }

    pub(crate) fn count_response(&mut self, now: Instant, sent_at: Instant, throttle: Duration) {
        self.responses += 1;
        self.throttled += throttle;
        self.sent.record(now.saturating_duration_since(sent_at), 1);
    }

    pub(crate) fn count_completed(&mut self, now: Instant, batch: &CompletedBatch) {
        let records = u64::from(batch.record_count.cast_unsigned());
        if batch.outcome.is_err() {
            self.record_errors += records;
            return;
        }
        self.records_sent += records;
        self.bytes_acknowledged += batch.batch_bytes as u64;
        self.acknowledged.record(now.saturating_duration_since(batch.created()), records);
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
