//! Warnings that a hostile client could cause without end: one a second is loud, the rest is not.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const PAUSE: Duration = Duration::from_secs(1);

/// Lets one warning through, then none for a second.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    last: Mutex<Option<Instant>>,
}

impl LogLimit {
    /// Whether this one may be loud.
    pub(super) fn allows(&self) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock();
        let allows = last.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if allows {
            *last = Some(now);
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_loud_once() {
        let limit = LogLimit::default();
        let started = Instant::now();
        let loud = (0..1000).filter(|_| limit.allows()).count();
        assert!(loud as u64 <= 1 + started.elapsed().as_secs());
        *limit.last.lock() = Instant::now().checked_sub(PAUSE);
        assert!(limit.allows());
    }
}
