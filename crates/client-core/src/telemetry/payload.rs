//! Makes a push's contents out of readings: which are wanted, how counters count, how much fits.
//!
//! 1. A growth is pushed at most once: what a broker may have is never pushed again, and what it
//!    surely refused is pushed with the next.
//! 2. A push is no larger than asked for: what doesn't fit is left out whole, the last first.

use streamledger_protocol::Codec;
use streamledger_protocol::compression::{Compression, CompressionScratch};

use super::metrics_data::{DataPoint, MetricsData, PointKind};
use super::reading::{Label, Reading, ReadingKind, key_of};
use super::subscription::Subscription;
use crate::map::Map;

/// What counters had reached when they were pushed last.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    values: Map<String, f64>,
    unix_nanos: Option<u64>,
}

/// Contents that are ready to be pushed.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) codec: Codec,
    pub(super) bytes: Vec<u8>,
    /// Readings that were wanted and did not fit.
    pub(super) left_out: usize,
    /// What counters will have been pushed up to.
    pub(super) reached: Baseline,
}

/// Uncompressed contents may be that many times what they may be compressed; beyond that nothing is
/// tried, so that the time it takes is bounded.
const COMPRESSED_BY_MAX: usize = 8;

impl Payload {
    /// Makes the contents of at most `bytes_max` bytes.
    pub(super) fn of(
        readings: &[Reading],
        unix_nanos: u64,
        since_unix_nanos: u64,
        subscription: &Subscription,
        bytes_max: usize,
        before: &Baseline,
        resource: &[Label],
    ) -> Self {
        let mut data = MetricsData::default();
        let mut reached = Baseline { values: before.values.clone(), unix_nanos: Some(unix_nanos) };
        let mut written = Vec::new();
        let wanted: Vec<&Reading> =
            readings.iter().filter(|reading| subscription.wants(&reading.name)).collect();
        for reading in &wanted {
            if data.metrics_bytes() > bytes_max.saturating_mul(COMPRESSED_BY_MAX) {
                break;
            }
            let counter = (reading.kind == ReadingKind::Counter).then(|| key_of(reading));
            let before_value = counter.as_ref().and_then(|key| before.values.get(key)).copied();
            let (kind, value) = match (reading.kind, subscription.is_delta) {
                (ReadingKind::Gauge, _) => (PointKind::Gauge, reading.value),
                (ReadingKind::Counter, false) => (PointKind::Cumulative, reading.value),
                (ReadingKind::Counter, true) => {
                    (PointKind::Delta, reading.value - before_value.unwrap_or(0.0))
                }
            };
            let since = match kind {
                PointKind::Delta => before.unix_nanos.unwrap_or(since_unix_nanos),
                PointKind::Gauge | PointKind::Cumulative => since_unix_nanos,
            };
            data.add(DataPoint {
                name: &reading.name,
                labels: &reading.labels,
                value,
                kind,
                since_unix_nanos: since,
                unix_nanos,
            });
            written.push(counter.map(|key| (key, reading.value)));
        }
        let (count, codec, bytes) = fit(&data, subscription.codec, bytes_max, resource);
        for (key, value) in written.into_iter().take(count).flatten() {
            reached.values.insert(key, value);
        }
        Self { codec, bytes, left_out: wanted.len() - count, reached }
    }
}

/// As many of the first metrics as fit, by halves, compressed.
fn fit(
    data: &MetricsData,
    codec: Codec,
    bytes_max: usize,
    resource: &[Label],
) -> (usize, Codec, Vec<u8>) {
    let mut count = data.metric_count();
    let mut scratch = CompressionScratch::new();
    loop {
        let message = data.message_of_first(count, resource);
        let mut compressed = Vec::new();
        let result = scratch.compress(&message, Compression::of(codec), &mut compressed);
        let (codec, bytes) = match result {
            Ok(()) => (codec, compressed),
            Err(_) => (Codec::None, message),
        };
        if bytes.len() <= bytes_max || count == 0 {
            return (count, codec, bytes);
        }
        count /= 2;
    }
}
