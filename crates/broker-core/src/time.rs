//! The two clocks a decision may need, handed in by the shell or made up by the simulator.

use std::fmt;

use streamledger_protocol::TimestampMs;

/// Milliseconds of a clock that only goes forward; its zero is arbitrary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicMs(pub u64);

impl MonotonicMs {
    /// Milliseconds from `earlier` to this; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `ms` later.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for MonotonicMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// One reading of both clocks.
///
/// Anything that waits or expires goes by `monotonic`; `wall` only stamps records and is compared
/// with stamps, because it may jump either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: TimestampMs,
    /// The clock that never jumps.
    pub monotonic: MonotonicMs,
}
