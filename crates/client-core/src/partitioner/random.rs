//! Chance as an argument, so that a simulated run repeats from its seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where random numbers come from: the shell's entropy, or a simulator's seed.
pub trait RandomSource: Send + Sync {
    /// A number, each of the 2^32 as likely as the others.
    fn next_u32(&self) -> u32;
}

/// The numbers of SplitMix64 from a seed, shared by any number of threads.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

/// 2^64 divided by the golden ratio: steps by it visit every state.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl SeededRandom {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl RandomSource for SeededRandom {
    fn next_u32(&self) -> u32 {
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half is the better mixed one; the shift leaves 32 bits.
        ((bits ^ (bits >> 31)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let random = SeededRandom::new(seed);
            (0..100).map(|_| random.next_u32()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }
}
