//! Latencies and their percentiles, in microseconds; and, for the bench, each record's latency from
//! the ends of batches, without a cost per record at their end.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies are told apart up to this long, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// A histogram of latencies, to three figures.
#[derive(Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// Percentiles of a latency, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half are faster.
    pub p50: u64,
    /// One in a hundred is slower.
    pub p99: u64,
    /// One in a thousand is slower.
    pub p999: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Latencies { histogram: histogram.expect("the bounds are constants and valid") }
    }
}

impl Latencies {
    /// Counts a latency that so many records had.
    pub fn record(&mut self, latency: Duration, record_count: u64) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.histogram.saturating_record_n(latency_us, record_count);
    }

    /// The percentiles so far; zero of nothing.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.histogram.value_at_quantile(0.5),
            p99: self.histogram.value_at_quantile(0.99),
            p999: self.histogram.value_at_quantile(0.999),
        }
    }
}

/// The end of a batch, as the producer's thread saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchEnd {
    /// The partition of its records.
    pub partition: i32,
    /// How many records it has.
    pub record_count: u64,
    /// When it ended, counted from the start of the run.
    pub at: Duration,
    /// Whether it was acknowledged.
    pub is_acked: bool,
}

/// Records sent one after the other that were due, and sent, at the same time.
#[derive(Debug, Clone, Copy)]
struct Sent {
    due: Duration,
    at: Duration,
    record_count: u64,
}

/// Pairs records with the ends of their batches: within a partition, batches end in the order in
/// which their records were sent.
#[derive(Debug)]
pub struct LatencyBook {
    /// By partition: the records that have no end yet.
    open: Vec<VecDeque<Sent>>,
    latencies: Latencies,
    from_send: Latencies,
    /// Acknowledged records still to leave out: the run's start-up.
    left_out: u64,
    acked: u64,
    failed: u64,
}

impl LatencyBook {
    /// A book that leaves the first `left_out` acknowledged records out of the latencies.
    pub fn new(left_out: u64) -> LatencyBook {
        LatencyBook {
            open: Vec::new(),
            latencies: Latencies::default(),
            from_send: Latencies::default(),
            left_out,
            acked: 0,
            failed: 0,
        }
    }

    /// A record was sent to a partition; when it was due and when it was sent are counted from the
    /// start of the run.
    #[inline]
    pub fn sent(&mut self, partition: i32, due: Duration, at: Duration) {
        let partition = usize::try_from(partition).unwrap_or(0);
        if partition >= self.open.len() {
            self.open.resize_with(partition + 1, VecDeque::new);
        }
        let queue = &mut self.open[partition];
        match queue.back_mut() {
            Some(last) if last.due == due && last.at == at => last.record_count += 1,
            _ => queue.push_back(Sent { due, at, record_count: 1 }),
        }
    }

    /// A batch ended whose records were all entered by [`LatencyBook::sent`] before.
    pub fn ended(&mut self, end: BatchEnd) {
        let Some(queue) =
            usize::try_from(end.partition).ok().and_then(|index| self.open.get_mut(index))
        else {
            return;
        };
        let mut rest = end.record_count;
        while rest > 0 {
            let Some(sent) = queue.front_mut() else { break };
            let taken = rest.min(sent.record_count);
            let latency = end.at.saturating_sub(sent.due);
            let from_send = end.at.saturating_sub(sent.at);
            sent.record_count -= taken;
            rest -= taken;
            if sent.record_count == 0 {
                queue.pop_front();
            }
            if !end.is_acked {
                self.failed += taken;
                continue;
            }
            self.acked += taken;
            let left_out = taken.min(self.left_out);
            self.left_out -= left_out;
            if taken > left_out {
                self.latencies.record(latency, taken - left_out);
                self.from_send.record(from_send, taken - left_out);
            }
        }
    }

    /// Records acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Records that failed so far.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// The percentiles from the call of send on, of what wasn't left out.
    pub fn percentiles_from_send(&self) -> Percentiles {
        self.from_send.percentiles()
    }

    /// The percentiles from when records were due, of what wasn't left out.
    pub fn percentiles(&self) -> Percentiles {
        self.latencies.percentiles()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn end(partition: i32, record_count: u64, at: Duration) -> BatchEnd {
        BatchEnd { partition, record_count, at, is_acked: true }
    }

    #[test]
    fn a_records_latency_runs_from_when_it_was_due_to_its_batchs_end() {
        let mut book = LatencyBook::new(0);
        for index in 0..1000 {
            book.sent(index % 2, ms(index as u64 / 10), ms(index as u64 / 10 + 30));
        }
        book.ended(end(1, 500, ms(100)));
        book.ended(end(0, 500, ms(200)));
        assert_eq!((book.acked(), book.failed()), (1000, 0));
        let Percentiles { p50, p99, .. } = book.percentiles();
        assert!((99_000..=101_500).contains(&p50), "{p50}");
        assert!((197_000..=200_500).contains(&p99), "{p99}");
        let p50 = book.percentiles_from_send().p50;
        assert!((69_000..=71_500).contains(&p50), "{p50}");
    }

    #[test]
    fn the_start_up_and_failed_records_are_left_out() {
        let mut book = LatencyBook::new(10);
        for _ in 0..30 {
            book.sent(0, ms(0), ms(0));
        }
        book.ended(end(0, 15, ms(50)));
        book.ended(BatchEnd { is_acked: false, ..end(0, 5, ms(900)) });
        book.ended(end(0, 10, ms(70)));
        assert_eq!((book.acked(), book.failed()), (25, 5));
        let Percentiles { p50, p999, .. } = book.percentiles();
        assert!((69_000..=70_500).contains(&p50) && p999 < 71_000, "{p50} {p999}");
        book.ended(end(0, 10, ms(70)));
        book.ended(end(7, 10, ms(70)));
        assert_eq!(book.acked(), 25, "ends of what was never sent count for nothing");
    }
}
