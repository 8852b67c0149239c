//! Counts a client's connections, for its metrics.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use streamledger_client_core::window::{WindowConfig, Windowed};

/// Counts the connections of a client, on its I/O thread; read from any thread.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionMeter(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    created: u64,
    closed: u64,
    creations: Windowed,
    closes: Windowed,
}

/// A client's connections at one moment: of Kafka's selector, what says something here.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ConnectionMetrics {
    pub(crate) creation_total: u64,
    pub(crate) creation_rate: f64,
    pub(crate) close_total: u64,
    pub(crate) close_rate: f64,
    pub(crate) count: u64,
}

impl ConnectionMeter {
    pub(crate) fn new(window: WindowConfig) -> Self {
        let (creations, closes) = (Windowed::new(window), Windowed::new(window));
        Self(Arc::new(Mutex::new(Counts { created: 0, closed: 0, creations, closes })))
    }

    pub(super) fn count_created(&self) {
        let mut counts = self.0.lock();
        counts.created += 1;
        counts.creations.record(Instant::now(), 1.0);
    }

    pub(super) fn count_closed(&self) {
        let mut counts = self.0.lock();
        counts.closed += 1;
        counts.closes.record(Instant::now(), 1.0);
    }

    pub(crate) fn read(&self) -> ConnectionMetrics {
        let (counts, now) = (self.0.lock(), Instant::now());
        ConnectionMetrics {
            creation_total: counts.created,
            creation_rate: counts.creations.per_second(now),
            close_total: counts.closed,
            close_rate: counts.closes.per_second(now),
            count: counts.created.saturating_sub(counts.closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_closed_were_created_and_are_no_more() {
        let meter = ConnectionMeter::new(WindowConfig::default());
        for _ in 0..3 {
            meter.count_created();
        }
        meter.count_closed();
        let metrics = meter.read();
        assert_eq!((metrics.creation_total, metrics.close_total, metrics.count), (3, 1, 2));
        assert!(metrics.creation_rate > metrics.close_rate && metrics.close_rate > 0.0);
    }
}
