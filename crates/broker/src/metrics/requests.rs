//! What is counted of connections and requests, in atomics that cost no lock; errors alone, which
//! are few, have one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_protocol::ErrorCode;

use crate::api::SERVED;
use crate::node::Node;

/// The upper bounds of the histogram of requests, in seconds.
pub(super) const BOUNDS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What is counted of connections and requests. APIs are in the order of the list of served ones.
#[derive(Debug)]
pub(crate) struct RequestMeters {
    by_api: Vec<ApiMeters>,
    /// By the place of the API in the list and the error's code: no more than there are of both.
    errors: Mutex<BTreeMap<(usize, i16), u64>>,
    throttled: AtomicU64,
    throttled_ms: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct ApiMeters {
    requests: AtomicU64,
    /// How many answers took up to each bound, and longer than all.
    buckets: [AtomicU64; BOUNDS_S.len() + 1],
    answered_ns: AtomicU64,
}

/// How long answers took: how many up to each bound, in all, and altogether.
#[derive(Debug, PartialEq)]
pub(super) struct Durations {
    pub(super) up_to: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum_s: f64,
}

/// What is counted of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionCounts {
    pub(super) open: u64,
    pub(super) opened: u64,
    pub(super) refused: u64,
}

/// An open connection, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Node>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.requests.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl RequestMeters {
    pub(crate) fn new() -> Self {
        Self {
            by_api: SERVED.iter().map(|_| ApiMeters::default()).collect(),
            errors: Mutex::default(),
            throttled: AtomicU64::new(0),
            throttled_ms: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts a connection for as long as what this gives lives.
    pub(crate) fn open(node: &Arc<Node>) -> OpenConnection {
        node.requests.opened.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(node))
    }

    /// Counts a connection that was not let in.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request of the API in that place of the list.
    pub(crate) fn count(&self, place: usize) {
        if let Some(api) = self.by_api.get(place) {
            api.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an answer, and what it took.
    pub(crate) fn answered(&self, place: usize, took: Duration) {
        let Some(api) = self.by_api.get(place) else { return };
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_S.iter().position(|bound| seconds <= *bound);
        if let Some(count) = api.buckets.get(bucket.unwrap_or(BOUNDS_S.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        api.answered_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Counts an error in an answer; none is none.
    pub(crate) fn count_error(&self, place: usize, error: ErrorCode) {
        if error != ErrorCode::None {
            *self.errors.lock().entry((place, error.code())).or_default() += 1;
        }
    }

    /// Counts an answer that tells its client to wait.
    pub(crate) fn throttle(&self, wait: Duration) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.throttled_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> ConnectionCounts {
        let closed = self.closed.load(Ordering::Relaxed);
        let opened = self.opened.load(Ordering::Relaxed);
        let refused = self.refused.load(Ordering::Relaxed);
        ConnectionCounts { open: opened.saturating_sub(closed), opened, refused }
    }

    /// How many answers told their clients to wait, and for how many ms.
    pub(super) fn throttles(&self) -> (u64, u64) {
        (self.throttled.load(Ordering::Relaxed), self.throttled_ms.load(Ordering::Relaxed))
    }

    /// The APIs that were asked, and how often.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = SERVED.iter().zip(&self.by_api);
        named.map(|(served, api)| (served.key.name(), api.requests.load(Ordering::Relaxed)))
    }

    /// The errors there were, by API.
    pub(super) fn errors(&self) -> Vec<(&'static str, &'static str, u64)> {
        let errors = self.errors.lock();
        let named = errors.iter().filter_map(|(&(place, code), &count)| {
            let served = SERVED.get(place)?;
            Some((served.key.name(), ErrorCode::from_code(code).name(), count))
        });
        named.collect()
    }

    /// How long the answers took, of the APIs that have answered.
    pub(super) fn durations(&self) -> Vec<(&'static str, Durations)> {
        let named = SERVED.iter().zip(&self.by_api);
        let of = |api: &ApiMeters| {
            let mut count = 0;
            let mut so_far = |bucket: &AtomicU64| {
                count += bucket.load(Ordering::Relaxed);
                count
            };
            let counts: Vec<u64> = api.buckets.iter().map(&mut so_far).collect();
            let up_to = BOUNDS_S.iter().copied().zip(counts).collect();
            let sum_s = api.answered_ns.load(Ordering::Relaxed) as f64 / 1e9;
            Durations { up_to, count, sum_s }
        };
        let all = named.map(|(served, api)| (served.key.name(), of(api)));
        all.filter(|(_, durations)| durations.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_each_bucket_that_it_fits() {
        let meters = RequestMeters::new();
        let ms = Duration::from_millis;
        for took in [ms(1), ms(2), ms(2), ms(70_000)] {
            meters.answered(0, took);
        }
        let durations = meters.durations();
        let [(api, durations)] = &*durations else { panic!("{durations:?}") };
        assert_eq!((*api, durations.count), ("Produce", 4));
        assert!((durations.sum_s - 70.005).abs() < 1e-6);
        let up_to = |bound: f64| {
            let found = durations.up_to.iter().find(|(at, _)| (at - bound).abs() < 1e-9);
            found.map(|(_, count)| *count)
        };
        let counts = [0.0005, 0.001, 0.0025, 60.0].map(up_to);
        assert_eq!(counts, [Some(0), Some(1), Some(3), Some(3)]);
    }

    #[test]
    fn errors_are_counted_by_api_and_code_and_success_is_none() {
        let meters = RequestMeters::new();
        let errors =
            [ErrorCode::NotLeaderOrFollower, ErrorCode::None, ErrorCode::NotLeaderOrFollower];
        errors.into_iter().for_each(|error| meters.count_error(0, error));
        assert_eq!(meters.errors(), [("Produce", "NOT_LEADER_OR_FOLLOWER", 2)]);
    }
}
