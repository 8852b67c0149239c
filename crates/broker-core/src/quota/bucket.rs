//! What may still be changed: a bucket of permits that fills up by the second (KIP-599).

use super::rate::QuotaWindow;
use crate::time::MonotonicMs;

/// Permits that are left (Kafka's `TokenBucket`): as many as the whole window allows to begin with,
/// and never more; negative when more were taken than were there.
#[derive(Debug, Clone, Default)]
pub struct TokenBucket {
    left: Option<f64>,
    filled: MonotonicMs,
    full_at: MonotonicMs,
}

impl TokenBucket {
    /// Takes permits if any are left, be they fewer (Kafka's `StrictControllerMutationQuota`).
    ///
    /// # Errors
    /// None is left, and none was taken: milliseconds until that has changed.
    pub fn take_if_left(
        &mut self,
        now: MonotonicMs,
        window: QuotaWindow,
        permits: f64,
        bound: f64,
    ) -> Result<(), u64> {
        let left = self.fill(now, window, bound);
        if left < 0.0 {
            return Err(wait_ms(left, bound));
        }
        self.take_from(left, now, window, permits, bound);
        Ok(())
    }

    /// Takes permits whether there are any or not (Kafka's `PermissiveControllerMutationQuota`);
    /// milliseconds until what was taken too much is made up for.
    #[must_use = "whoever took more than there was is to wait"]
    pub fn take(&mut self, now: MonotonicMs, window: QuotaWindow, permits: f64, bound: f64) -> u64 {
        let left = self.fill(now, window, bound);
        wait_ms(self.take_from(left, now, window, permits, bound), bound)
    }

    /// Whether it is as full as at the beginning.
    #[must_use]
    pub fn is_idle(&self, now: MonotonicMs) -> bool {
        self.left.is_none() || now >= self.full_at
    }

    fn fill(&mut self, now: MonotonicMs, window: QuotaWindow, bound: f64) -> f64 {
        let full = full(window, bound);
        let since = now.since(self.filled) as f64 / 1000.0;
        let left = self.left.map_or(full, |left| (left + bound * since).min(full));
        self.left = Some(left);
        self.filled = now;
        left
    }

    fn take_from(
        &mut self,
        left: f64,
        now: MonotonicMs,
        window: QuotaWindow,
        permits: f64,
        bound: f64,
    ) -> f64 {
        let left = left - permits;
        self.left = Some(left);
        let missing = (full(window, bound) - left) / bound * 1000.0;
        self.full_at = now.plus(missing.ceil() as u64);
        left
    }
}

fn full(window: QuotaWindow, bound: f64) -> f64 {
    window.memory_ms() as f64 / 1000.0 * bound
}

fn wait_ms(left: f64, bound: f64) -> u64 {
    (-left / bound * 1000.0).round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: QuotaWindow = QuotaWindow { sample_count: 11, sample_ms: 1000 };
    const TWO: f64 = 2.0;

    fn at(ms: u64) -> MonotonicMs {
        MonotonicMs((1 << 40) + ms)
    }

    #[test]
    fn it_begins_full_and_may_be_overdrawn_once() {
        let mut bucket = TokenBucket::default();
        // 22 at two a second over eleven: twenty and then thirty go, though only two are left.
        assert_eq!(bucket.take_if_left(at(0), KAFKAS, 20.0, TWO), Ok(()));
        assert_eq!(bucket.take_if_left(at(0), KAFKAS, 30.0, TWO), Ok(()));
        assert_eq!(bucket.take_if_left(at(0), KAFKAS, 1.0, TWO), Err(14_000));
        // Who is refused has taken nothing, and waits no longer for having asked.
        assert_eq!(bucket.take_if_left(at(13_000), KAFKAS, 1.0, TWO), Err(1000));
        assert_eq!(bucket.take_if_left(at(14_000), KAFKAS, 1.0, TWO), Ok(()));
        assert_eq!(bucket.take_if_left(at(14_000), KAFKAS, 1.0, TWO), Err(500));
    }

    #[test]
    fn older_clients_take_all_the_same_and_wait() {
        let mut bucket = TokenBucket::default();
        assert_eq!(bucket.take(at(0), KAFKAS, 22.0, TWO), 0);
        assert_eq!(bucket.take(at(0), KAFKAS, 3.0, TWO), 1500);
        assert_eq!(bucket.take(at(1000), KAFKAS, 3.0, TWO), 2000);
        assert_eq!(bucket.take_if_left(at(1000), KAFKAS, 3.0, TWO), Err(2000));
    }

    #[test]
    fn it_fills_up_to_the_window_and_is_forgotten_then() {
        let mut bucket = TokenBucket::default();
        assert!(bucket.is_idle(at(0)));
        assert_eq!(bucket.take(at(0), KAFKAS, 5.0, TWO), 0);
        assert!(!bucket.is_idle(at(2499)) && bucket.is_idle(at(2500)));
        // An hour later there is what there was at first.
        assert_eq!(bucket.take(at(3_600_000), KAFKAS, 22.0, TWO), 0);
        assert_eq!(bucket.take(at(3_600_000), KAFKAS, 1.0, TWO), 500);
        // A smaller quota holds for what is left, too.
        assert_eq!(bucket.take(at(7_200_000), KAFKAS, 12.0, 1.0), 1000);
    }
}
