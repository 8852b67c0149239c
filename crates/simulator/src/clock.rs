//! Simulated time: it stands still while anything happens, and jumps from event to event.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

use streamledger_broker_core::time::{MonotonicMs, Now};
use streamledger_protocol::TimestampMs;

/// Microseconds since the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(pub u64);

/// The wall clock when a run begins.
const WALL_START_MS: i64 = 1_790_000_000_000;
/// The brokers' monotonic clock when a run begins: far from 0.
const MONOTONIC_START_MS: u64 = 1 << 40;

impl SimTime {
    /// A moment so many milliseconds after the beginning.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1000)
    }

    /// What the wall clock says.
    #[must_use]
    pub fn wall(self) -> TimestampMs {
        TimestampMs(WALL_START_MS + i64::try_from(self.0 / 1000).unwrap_or(i64::MAX / 2))
    }

    /// What a broker's clocks say.
    #[must_use]
    pub fn broker_now(self) -> Now {
        let monotonic = MonotonicMs(MONOTONIC_START_MS + self.0 / 1000);
        Now { wall: self.wall(), monotonic }
    }

    /// When the brokers' monotonic clock says that.
    #[must_use]
    pub(crate) fn from_monotonic(moment: MonotonicMs) -> Self {
        Self::from_ms(moment.0.saturating_sub(MONOTONIC_START_MS))
    }
}

impl Add<Duration> for SimTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}.{:03} ms", self.0 / 1000, self.0 % 1000)
    }
}

/// Turns simulated time into what the client's core takes. `Instant` has no zero of its own, so a
/// run borrows one; only differences reach a decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstantBase(Instant);

impl InstantBase {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn instant(self, time: SimTime) -> Instant {
        self.0 + Duration::from_micros(time.0)
    }

    /// The first whole microsecond at or after an instant.
    pub(crate) fn time(self, instant: Instant) -> SimTime {
        let nanos = instant.saturating_duration_since(self.0).as_nanos();
        SimTime(u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX))
    }
}
