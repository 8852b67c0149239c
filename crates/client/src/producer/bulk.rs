//! Many records, one future: what is kept is a run for each batch they went into.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use streamledger_client_core::accumulator::Delivery;

use super::ProduceError;
use crate::wait::wait;

/// Runs that are looked at for one that goes on: as many partitions as mostly take turns.
const OPEN_RUNS: usize = 16;

/// The end of many records. Dropping it changes nothing for them.
#[derive(Debug, Default)]
#[must_use = "it is the only way to learn whether the records were delivered"]
pub struct BulkDelivery {
    runs: Vec<Run>,
    records: u64,
    /// Runs before this one are done.
    done: usize,
}

/// Records that are next to each other in a batch.
#[derive(Debug)]
struct Run {
    first: Delivery,
    records: u32,
}

/// How many records came to what end.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BulkReport {
    /// Records that were acknowledged.
    pub delivered: u64,
    /// Records that were not.
    pub failed: u64,
    /// Why the first of those was not, if there is one.
    pub first_error: Option<ProduceError>,
}

/// A record of many was not accepted.
#[derive(Debug)]
pub struct BulkError {
    /// The ones before it, which were.
    pub accepted: BulkDelivery,
    /// Why it was not.
    pub error: ProduceError,
}

impl BulkDelivery {
    /// Adds a record. Allocates nothing while its batch is one of the last few.
    #[inline]
    pub(super) fn add(&mut self, delivery: Delivery) {
        self.records += 1;
        let open = self.runs.len().saturating_sub(OPEN_RUNS);
        for run in self.runs[open..].iter_mut().rev() {
            if run.first.is_followed_by(&delivery, run.records) {
                run.records += 1;
                return;
            }
        }
        self.runs.push(Run { first: delivery, records: 1 });
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.records
    }

    /// Blocks this thread until all ends are known.
    pub fn wait(self) -> BulkReport {
        wait(self)
    }

    fn report(&self) -> BulkReport {
        let mut report = BulkReport::default();
        for run in &self.runs {
            for place in 0..run.records {
                let record = run.first.nth(place);
                match record.failure() {
                    None => report.delivered += 1,
                    Some(failure) => {
                        report.failed += 1;
                        report.first_error.get_or_insert_with(|| failure.clone().into());
                    }
                }
            }
        }
        report
    }
}

impl Future for BulkDelivery {
    type Output = BulkReport;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<BulkReport> {
        while let Some(run) = self.runs.get(self.done) {
            // The records of a run end together, or a split batch's in order.
            let last = run.first.nth(run.records - 1);
            for record in [&run.first, &last] {
                if !record.is_settled() && record.poll_result(context).is_pending() {
                    return Poll::Pending;
                }
            }
            self.done += 1;
        }
        Poll::Ready(self.report())
    }
}

impl BulkReport {
    /// Whether every record was delivered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed == 0
    }
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.accepted.records + 1, self.error)
    }
}

impl std::error::Error for BulkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
