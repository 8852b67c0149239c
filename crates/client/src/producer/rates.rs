//! Rates: how much the counts have grown since an earlier snapshot.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A snapshot this old is what rates are counted from, if there is one.
const WINDOW: Duration = Duration::from_secs(30);
/// Snapshots closer than this to the one before are not kept.
const APART: Duration = Duration::from_secs(1);

/// The counts that have a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) records_sent: f64,
    pub(super) record_errors: f64,
    pub(super) record_retries: f64,
    pub(super) requests: f64,
    pub(super) responses: f64,
    pub(super) bytes: f64,
    pub(super) memory_wait_seconds: f64,
}

/// Earlier snapshots, the oldest first.
#[derive(Debug)]
pub(super) struct Rates(VecDeque<(Instant, Counts)>);

impl Rates {
    /// A producer that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self(VecDeque::from([(now, Counts::default())]))
    }

    /// How much each count has grown a second.
    pub(super) fn per_second(&mut self, now: Instant, counts: Counts) -> Counts {
        // Of those outside the window only the newest is needed.
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.0.pop_front();
        }
        let (since, before) = self.0.front().copied().unwrap_or((now, counts));
        let newest = self.0.back().map_or(now, |(at, _)| *at);
        if now.saturating_duration_since(newest) >= APART {
            self.0.push_back((now, counts));
        }
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        let rate =
            |now: f64, before: f64| if seconds > 0.0 { (now - before) / seconds } else { 0.0 };
        Counts {
            records_sent: rate(counts.records_sent, before.records_sent),
            record_errors: rate(counts.record_errors, before.record_errors),
            record_retries: rate(counts.record_retries, before.record_retries),
            requests: rate(counts.requests, before.requests),
            responses: rate(counts.responses, before.responses),
            bytes: rate(counts.bytes, before.bytes),
            memory_wait_seconds: rate(counts.memory_wait_seconds, before.memory_wait_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_was_before_its_window() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let sent = |records_sent| Counts { records_sent, ..Counts::default() };
        // A hundred a second for ten seconds, then nothing.
        for second in 1..=10 {
            let rate = rates.per_second(at(second), sent(100.0 * second as f64));
            assert!((rate.records_sent - 100.0).abs() < 1e-9);
        }
        let slower = rates.per_second(at(20), sent(1000.0)).records_sent;
        assert!((slower - 50.0).abs() < 1e-9, "{slower}");
        assert_eq!(rates.per_second(at(60), sent(1000.0)), Counts::default());
        assert!(rates.0.len() < 10);
    }

    #[test]
    fn many_snapshots_in_a_second_are_one() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        for millis in 0..900 {
            rates.per_second(start + Duration::from_millis(millis), Counts::default());
        }
        assert_eq!(rates.0.len(), 1);
    }
}
