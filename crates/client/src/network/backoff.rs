//! How long to wait before trying again: twice as long each time, up to a maximum, spread by
//! chance.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The rule of Kafka's `ExponentialBackoff`: `first * 2^attempt`, give or take a fifth, at most
/// `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExponentialBackoff {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

/// The part by which a wait is made longer or shorter (`CommonClientConfigs.RETRY_BACKOFF_JITTER`).
const SPREAD: f64 = 0.2;

impl ExponentialBackoff {
    /// The wait before attempt number `attempt`, counted from 0; `chance` is from 0 to 1.
    pub(crate) fn wait(self, attempt: u32, chance: f64) -> Duration {
        let doubled = self.first.as_secs_f64() * 2_f64.powi(attempt.min(62) as i32);
        let spread = doubled * (1.0 - SPREAD + 2.0 * SPREAD * chance);
        let max = self.max.as_secs_f64();
        Duration::from_secs_f64(spread.min(max).max(0.0))
    }
}

/// A source of chance that is good enough to spread clients out, and for nothing else.
#[derive(Debug)]
pub(crate) struct Jitter(Cell<u64>);

impl Jitter {
    /// Seeded by the standard library's per-process randomness.
    pub(crate) fn new() -> Self {
        Self(Cell::new(RandomState::new().hash_one(0_u8) | 1))
    }

    /// The next number from 0 (included) to 1 (excluded).
    pub(crate) fn chance(&self) -> f64 {
        // xorshift64 (Marsaglia 2003); the top 53 bits fill a double's mantissa.
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `count`; 0 if there is nothing to choose from.
    pub(crate) fn below(&self, count: usize) -> usize {
        ((self.chance() * count as f64) as usize).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let ms = Duration::from_millis;
        let backoff = ExponentialBackoff { first: ms(100), max: ms(1000) };
        let waits: Vec<_> = (0..5).map(|attempt| backoff.wait(attempt, 0.5).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000]);
        assert_eq!(backoff.wait(0, 0.0), ms(80));
        assert_eq!(backoff.wait(u32::MAX, 1.0), ms(1000));
        let none = ExponentialBackoff { first: Duration::ZERO, max: Duration::ZERO };
        assert_eq!(none.wait(9, 0.9), Duration::ZERO);
    }

    #[test]
    fn chance_spreads_over_its_range() {
        let jitter = Jitter::new();
        let numbers: Vec<f64> = (0..1000).map(|_| jitter.chance()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|n| *n < 0.2) && numbers.iter().any(|n| *n > 0.8));
        assert_eq!(jitter.below(0), 0);
        assert!((0..100).all(|_| jitter.below(3) < 3));
    }
}
