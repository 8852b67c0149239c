//! Means, maxima and rates over the last while: Kafka's `SampledStat` and `Rate`.
//!
//! Time is cut into samples of `metrics.sample.window.ms`, of which the last `metrics.num.samples`
//! count. A sample begins with its first value, so time without values makes none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over how much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowConfig {
    /// How long a sample is (`metrics.sample.window.ms`).
    pub sample: Duration,
    /// How many count, the one that runs included (`metrics.num.samples`).
    pub samples: u32,
}

impl Default for WindowConfig {
    /// Kafka's: half a minute to a minute.
    fn default() -> Self {
        Self { sample: Duration::from_secs(30), samples: 2 }
    }
}

impl WindowConfig {
    fn whole(self) -> Duration {
        self.sample.saturating_mul(self.samples.max(1))
    }
}

/// The values of the last while.
#[derive(Debug, Clone, Default)]
pub struct Windowed {
    config: WindowConfig,
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    began: Instant,
    last: Instant,
    count: u64,
    sum: f64,
    max: f64,
}

impl Windowed {
    /// No values yet.
    #[must_use]
    pub fn new(config: WindowConfig) -> Self {
        Self { config, samples: VecDeque::new() }
    }

    /// Takes in a value.
    pub fn record(&mut self, now: Instant, value: f64) {
        let (sample, whole) = (self.config.sample, self.config.whole());
        if let Some(running) = self.samples.back_mut()
            && now.saturating_duration_since(running.began) < sample
        {
            running.last = running.last.max(now);
            running.count += 1;
            running.sum += value;
            running.max = running.max.max(value);
            return;
        }
        let samples = self.config.samples.max(1) as usize;
        self.samples.retain(|sample| now.saturating_duration_since(sample.last) < whole);
        while self.samples.len() >= samples {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { began: now, last: now, count: 1, sum: value, max: value });
    }

    /// The mean of the values; 0 if there were none (NaN in Kafka).
    #[must_use]
    pub fn mean(&self, now: Instant) -> f64 {
        let (count, sum) = self
            .recent(now)
            .fold((0, 0.0), |(count, sum), sample| (count + sample.count, sum + sample.sum));
        if count == 0 { 0.0 } else { sum / count as f64 }
    }

    /// The largest value; 0 if there were none (NaN in Kafka).
    #[must_use]
    pub fn max(&self, now: Instant) -> f64 {
        self.recent(now).map(|sample| sample.max).reduce(f64::max).unwrap_or(0.0)
    }

    /// The sum of the values a second. The time is that since the oldest sample began, and before
    /// all samples but the running one are full, as if they were: a first value is no burst.
    #[must_use]
    pub fn per_second(&self, now: Instant) -> f64 {
        // From 0 on: the sum of no numbers is -0 to Rust.
        let sum = self.recent(now).fold(0.0, |sum, sample| sum + sample.sum);
        sum / self.seconds(now)
    }

    fn seconds(&self, now: Instant) -> f64 {
        let oldest = self.recent(now).next();
        let elapsed = oldest.map_or(Duration::ZERO, |it| now.saturating_duration_since(it.began));
        let sample = self.config.sample.max(Duration::from_millis(1));
        let full_min = self.config.samples.saturating_sub(1);
        let full = u32::try_from(elapsed.as_nanos() / sample.as_nanos()).unwrap_or(u32::MAX);
        let missing = sample.saturating_mul(full_min.saturating_sub(full));
        elapsed.saturating_add(missing).max(sample).as_secs_f64()
    }

    /// How many values there are a second, over the same time.
    #[must_use]
    pub fn events_per_second(&self, now: Instant) -> f64 {
        let count: u64 = self.recent(now).map(|sample| sample.count).sum();
        count as f64 / self.seconds(now)
    }

    /// The samples that still count, the oldest first.
    fn recent(&self, now: Instant) -> impl Iterator<Item = &Sample> {
        let whole = self.config.whole();
        self.samples.iter().filter(move |sample| now.saturating_duration_since(sample.last) < whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::some_moment;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} is not {other}");
    }

    #[test]
    fn a_value_is_forgotten_when_its_samples_are_over() {
        let start = some_moment();
        let mut values = Windowed::default();
        values.record(start, 100.0);
        values.record(start + seconds(10), 50.0);
        values.record(start + seconds(35), 1.0);
        close(values.max(start + seconds(69)), 100.0);
        close(values.mean(start + seconds(69)), 151.0 / 3.0);
        close(values.max(start + seconds(70)), 1.0);
        close(values.mean(start + seconds(70)), 1.0);
        close(values.mean(start + seconds(95)), 0.0);
        close(values.max(start + seconds(95)), 0.0);
        assert!(values.per_second(start + seconds(95)).is_sign_positive(), "0, not -0");
    }

    #[test]
    fn no_more_samples_count_than_configured() {
        let start = some_moment();
        let config = WindowConfig { sample: seconds(1), samples: 3 };
        let mut values = Windowed::new(config);
        for second in 0..10 {
            values.record(start + seconds(second), second as f64);
        }
        close(values.mean(start + seconds(9)), 8.0);
        assert_eq!(values.samples.len(), 3);
    }

    #[test]
    fn a_rate_is_of_the_window_and_a_first_value_is_no_burst() {
        let start = some_moment();
        let mut values = Windowed::default();
        values.record(start, 300.0);
        close(values.per_second(start), 10.0);
        close(values.per_second(start + seconds(10)), 300.0 / 40.0);
        close(values.events_per_second(start + seconds(10)), 1.0 / 40.0);
        for second in 1..=59 {
            values.record(start + seconds(second), 300.0);
        }
        close(values.per_second(start + seconds(60)), 300.0);
        // The first sample is gone; the second has its thirty seconds and one as if before it.
        values.record(start + seconds(60), 300.0);
        close(values.per_second(start + seconds(60)), 31.0 * 300.0 / 30.0);
        close(values.per_second(start + seconds(200)), 0.0);
    }

    #[test]
    fn negative_values_have_a_maximum_too() {
        let start = some_moment();
        let mut values = Windowed::default();
        values.record(start, -5.0);
        close(values.max(start), -5.0);
    }
}
