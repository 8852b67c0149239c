//! How fast something goes, over a window of samples (Kafka's `Rate` and `SampledStat`).

use std::collections::VecDeque;

use crate::time::MonotonicMs;

/// Over how long a rate is taken: `quota.window.num` samples of `quota.window.size.seconds` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaWindow {
    /// Samples.
    pub sample_count: u64,
    /// Milliseconds of one.
    pub sample_ms: u64,
}

impl QuotaWindow {
    /// After so long without use nothing is left of a rate, in ms.
    #[must_use]
    pub const fn memory_ms(self) -> u64 {
        self.sample_count.saturating_mul(self.sample_ms)
    }

    /// The window of a rate that has just begun, in ms: all samples but the present one.
    #[must_use]
    pub const fn shortest_ms(self) -> u64 {
        self.sample_count.saturating_sub(1).saturating_mul(self.sample_ms)
    }
}

/// What was used, by samples.
#[derive(Debug, Clone, Default)]
pub struct RateMeter {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    begun: MonotonicMs,
    last: MonotonicMs,
    sum: f64,
}

impl RateMeter {
    /// Counts a use; milliseconds to wait until the rate a second is at the bound again.
    #[must_use = "whoever is over its bound is to wait"]
    pub fn charge(&mut self, now: MonotonicMs, window: QuotaWindow, value: f64, bound: f64) -> u64 {
        self.record(now, window, value);
        let elapsed_ms = self.elapsed_ms(now, window) as f64;
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        let rate = sum / elapsed_ms * 1000.0;
        if rate <= bound {
            return 0;
        }
        // Kafka's `QuotaUtils.throttleTime`: in that time more the same use is the bound's.
        ((rate - bound) / bound * elapsed_ms).round() as u64
    }

    /// Takes back what was just charged.
    pub(super) fn take_back(&mut self, value: f64) {
        if let Some(sample) = self.samples.back_mut() {
            sample.sum -= value;
        }
    }

    /// Whether nothing is left to remember.
    #[must_use]
    pub fn is_idle(&self, now: MonotonicMs, window: QuotaWindow) -> bool {
        self.samples.back().is_none_or(|last| now.since(last.last) >= window.memory_ms())
    }

    fn record(&mut self, now: MonotonicMs, window: QuotaWindow, value: f64) {
        // One that began before the window and reaches into it counts still.
        self.samples.retain(|sample| now.since(sample.last) < window.memory_ms());
        match self.samples.back_mut() {
            Some(sample) if now.since(sample.begun) < window.sample_ms => {
                sample.sum += value;
                sample.last = now;
            }
            _ => self.samples.push_back(Sample { begun: now, last: now, sum: value }),
        }
        if self.samples.len() as u64 > window.sample_count + 1 {
            self.samples.pop_front();
        }
    }

    /// How long the window is, in ms: since the oldest sample began, and no less than all samples
    /// but the present one, so that a first use isn't taken for a high rate.
    fn elapsed_ms(&self, now: MonotonicMs, window: QuotaWindow) -> u64 {
        let since_oldest = self.samples.front().map_or(0, |oldest| now.since(oldest.begun));
        let full = since_oldest / window.sample_ms.max(1);
        let missing = window.sample_count.saturating_sub(1).saturating_sub(full);
        (since_oldest + missing * window.sample_ms).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const KAFKAS: QuotaWindow = QuotaWindow { sample_count: 11, sample_ms: 1000 };

    // A use of bytes at a moment, and what the last of them has to wait, by hand from the formulas.
    #[rstest]
    #[case::a_first_use_is_of_ten_seconds(&[(0, 10_000.0)], 1000.0, 0)]
    #[case::twice_that_waits_as_long_again(&[(0, 20_000.0)], 1000.0, 10_000)]
    #[case::of_one_sample_all_counts(&[(0, 5000.0), (999, 6000.0)], 1000.0, 1)]
    #[case::a_second_later(&[(0, 5000.0), (1000, 6000.0)], 1000.0, 1000)]
    #[case::ten_seconds_on_the_window_grows(&[(0, 10_000.0), (10_500, 2000.0)], 1000.0, 1500)]
    #[case::what_is_too_old_is_forgotten(&[(0, 90_000.0), (11_000, 10_000.0)], 1000.0, 0)]
    fn a_rate_over_its_bound_waits(
        #[case] uses: &[(u64, f64)],
        #[case] bound: f64,
        #[case] expected: u64,
    ) {
        let mut meter = RateMeter::default();
        let mut wait = 0;
        for (at, value) in uses {
            wait = meter.charge(MonotonicMs(1 << 42).plus(*at), KAFKAS, *value, bound);
        }
        assert_eq!(wait, expected);
    }

    proptest! {
        /// Whoever waits as told keeps about to the bound: by Kafka's formula a tenth more, as
        /// samples are forgotten that the window reached back to.
        #[test]
        fn who_waits_as_told_keeps_about_to_the_bound(
            values in prop::collection::vec(1.0..5000.0_f64, 200..400),
            pauses in prop::collection::vec(0..200_u64, 400),
        ) {
            let bound = 1000.0;
            let mut meter = RateMeter::default();
            let (mut now, mut sum) = (0, 0.0);
            for (value, pause) in values.into_iter().zip(pauses) {
                sum += value;
                now += pause + meter.charge(MonotonicMs(now), KAFKAS, value, bound);
            }
            let allowed = 1.25 * bound * (now as f64 / 1000.0 + 12.0) + 5000.0;
            prop_assert!(sum <= allowed, "{sum} in {now} ms");
            prop_assert!(meter.samples.len() <= 12);
            prop_assert!(meter.is_idle(MonotonicMs(now + 20_000), KAFKAS));
        }
    }
}
