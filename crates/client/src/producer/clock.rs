//! The two clocks: cheap wall time for record timestamps, and monotonic time for everything else.

use streamledger_protocol::TimestampMs;

/// The wall time for a record that brings none: some 5 ns, and up to a tick (1 to 10 ms) old, as
/// the kernel keeps it (`CLOCK_REALTIME_COARSE`).
#[cfg(target_os = "linux")]
#[inline]
pub(super) fn record_timestamp() -> TimestampMs {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    TimestampMs(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// The wall time for a record that brings none.
#[cfg(not(target_os = "linux"))]
pub(super) fn record_timestamp() -> TimestampMs {
    let since_epoch =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn the_record_clock_is_the_wall_clock_to_some_milliseconds() {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let record_ms = super::record_timestamp().0;
        assert!((record_ms - wall_ms).abs() < 1000, "{record_ms} {wall_ms}");
    }
}
