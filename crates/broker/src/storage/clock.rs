//! The clocks that the log is told: the machine's, or a test's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use streamledger_broker_core::time::{MonotonicMs, Now};
use streamledger_protocol::TimestampMs;

/// Where the monotonic clock of a process begins: far from 0, so that "silent for a year" fits
/// before it.
const MONOTONIC_START_MS: u64 = 1 << 42;

/// The clocks of one log store.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// Added to both clocks: how far a test has moved them.
    shifted_ms: AtomicI64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), shifted_ms: AtomicI64::new(0) }
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shifted = self.shifted_ms.load(Ordering::Relaxed);
        let monotonic = MONOTONIC_START_MS.saturating_add(passed).saturating_add_signed(shifted);
        Now { wall: TimestampMs(wall.saturating_add(shifted)), monotonic: MonotonicMs(monotonic) }
    }

    /// Lets time pass at once, for a test.
    #[cfg(test)]
    pub(super) fn advance(&self, ms: i64) {
        self.shifted_ms.fetch_add(ms, Ordering::Relaxed);
    }
}
