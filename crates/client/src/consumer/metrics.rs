//! What a consumer counts of its fetches, for telemetry: once a request, never once a record.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use streamledger_client_core::window::{WindowConfig, Windowed};
use streamledger_protocol::BrokerId;

use crate::observe::{FetchMetrics, NodeLatency};

/// Counts the fetches of a consumer, on its I/O thread.
pub(super) struct FetchMeter {
    window: WindowConfig,
    counts: RefCell<Counts>,
}

struct Counts {
    fetches: u64,
    bytes: u64,
    latency_ms: Windowed,
    fetch_bytes: Windowed,
    node_latency_ms: BTreeMap<BrokerId, Windowed>,
}

impl FetchMeter {
    pub(super) fn new(window: WindowConfig) -> Self {
        let counts = Counts {
            fetches: 0,
            bytes: 0,
            latency_ms: Windowed::new(window),
            fetch_bytes: Windowed::new(window),
            node_latency_ms: BTreeMap::new(),
        };
        Self { window, counts: RefCell::new(counts) }
    }

    /// Counts a fetch that was answered, with the bytes of its records.
    pub(super) fn count(&self, broker: BrokerId, latency: Duration, bytes: usize) {
        let (now, millis) = (Instant::now(), latency.as_secs_f64() * 1000.0);
        let counts = &mut *self.counts.borrow_mut();
        counts.fetches += 1;
        counts.bytes += bytes as u64;
        counts.latency_ms.record(now, millis);
        counts.fetch_bytes.record(now, bytes as f64);
        let node = counts.node_latency_ms.entry(broker);
        node.or_insert_with(|| Windowed::new(self.window)).record(now, millis);
    }

    pub(super) fn read(&self) -> (FetchMetrics, Vec<(BrokerId, NodeLatency)>) {
        let (counts, now) = (self.counts.borrow(), Instant::now());
        let metrics = FetchMetrics {
            fetch_total: counts.fetches,
            fetch_rate: counts.fetch_bytes.events_per_second(now),
            latency_ms: (counts.latency_ms.mean(now), counts.latency_ms.max(now)),
            fetch_bytes: (counts.fetch_bytes.mean(now), counts.fetch_bytes.max(now)),
            bytes_total: counts.bytes,
            bytes_rate: counts.fetch_bytes.per_second(now),
        };
        let nodes = counts.node_latency_ms.iter();
        let nodes =
            nodes.map(|(id, ms)| (*id, NodeLatency { mean: ms.mean(now), max: ms.max(now) }));
        (metrics, nodes.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_are_counted_together_and_by_broker() {
        let meter = FetchMeter::new(WindowConfig::default());
        meter.count(BrokerId(1), Duration::from_millis(10), 1000);
        meter.count(BrokerId(2), Duration::from_millis(30), 3000);
        let (metrics, nodes) = meter.read();
        assert_eq!((metrics.fetch_total, metrics.bytes_total), (2, 4000));
        assert_eq!((metrics.latency_ms, metrics.fetch_bytes), ((20.0, 30.0), (2000.0, 3000.0)));
        let maxima: Vec<_> = nodes.iter().map(|(id, latency)| (id.0, latency.max)).collect();
        assert_eq!(maxima, [(1, 10.0), (2, 30.0)]);
    }
}
