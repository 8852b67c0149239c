//! Faults on purpose: a broker that is slow, silent, or says no, so that tests and demonstrations
//! can show what a client makes of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_protocol::{ApiKey, ErrorCode};
use tokio::sync::watch;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is looked at only after this long; what comes behind it on the connection waits too.
    DelayRequest(Duration),
    /// It is done at once, and answered only after this long; what comes behind it is done
    /// meanwhile. A long way to the broker, in other words.
    DelayResponse(Duration),
    /// It is not done, and answered with this error, for every topic and partition in it.
    AnswerWith(ErrorCode),
    /// It is not done, and its connection is closed.
    DropConnection,
    /// It is done, and its connection is closed instead of answering (FAILURES.md 3).
    DropResponse,
    /// It is looked at only after [`Faults::release`].
    Hold,
}

#[derive(Debug)]
struct Planned {
    api: ApiKey,
    fault: Fault,
    times_left: usize,
}

struct Shared {
    planned: Mutex<Vec<Planned>>,
    /// How many plans there are, so that a broker without faults takes no lock for them.
    plan_count: AtomicUsize,
    strikes: AtomicUsize,
    /// Counts releases; a held request waits for the next.
    releases: watch::Sender<u64>,
}

/// A handle to a broker's faults; clones are the same.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("planned", &*self.shared.planned.lock()).finish()
    }
}

impl Faults {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            planned: Mutex::default(),
            plan_count: AtomicUsize::new(0),
            strikes: AtomicUsize::new(0),
            releases: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Plans a fault for the next `times` requests of an API, after those planned before.
    pub fn inject(&self, api: ApiKey, fault: Fault, times: usize) {
        if times > 0 {
            let mut planned = self.shared.planned.lock();
            planned.push(Planned { api, fault, times_left: times });
            self.shared.plan_count.store(planned.len(), Ordering::Release);
        }
    }

    /// Forgets all that is planned, and lets held requests go on.
    pub fn clear(&self) {
        let mut planned = self.shared.planned.lock();
        planned.clear();
        self.shared.plan_count.store(0, Ordering::Release);
        drop(planned);
        self.release();
    }

    /// Lets the requests that are held go on.
    pub fn release(&self) {
        self.shared.releases.send_modify(|count| *count += 1);
    }

    /// How many requests a fault has struck so far.
    #[must_use]
    pub fn strikes(&self) -> usize {
        self.shared.strikes.load(Ordering::Acquire)
    }

    /// What shall go wrong with the request at hand, if anything.
    pub(crate) fn strike(&self, api: ApiKey) -> Option<(Fault, HeldRequest)> {
        if self.shared.plan_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut planned = self.shared.planned.lock();
        let index = planned.iter().position(|plan| plan.api == api)?;
        let fault = planned[index].fault;
        planned[index].times_left -= 1;
        if planned[index].times_left == 0 {
            planned.remove(index);
            self.shared.plan_count.store(planned.len(), Ordering::Release);
        }
        // Before it is counted: whoever has seen that it struck can release what it holds.
        let releases = self.shared.releases.subscribe();
        self.shared.strikes.fetch_add(1, Ordering::AcqRel);
        Some((fault, HeldRequest { releases }))
    }
}

/// A request that a fault has struck, and that may be held.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    releases: watch::Receiver<u64>,
}

impl HeldRequest {
    /// Resolves at the next release after it was struck.
    pub(crate) async fn released(held: Option<Self>) {
        let Some(mut held) = held else { return };
        // The sender lives as long as any clone of `Faults`; if all are gone, so are the holds.
        let _ = held.releases.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_in_order_as_often_as_planned_and_only_their_api() {
        let faults = Faults::new();
        assert!(faults.strike(ApiKey::Produce).is_none());
        faults.inject(ApiKey::Produce, Fault::DropResponse, 2);
        faults.inject(ApiKey::Produce, Fault::Hold, 1);
        assert!(faults.strike(ApiKey::Fetch).is_none());
        let strike = |_| faults.strike(ApiKey::Produce).map(|(fault, _)| fault);
        let struck: Vec<_> = (0..4).map(strike).collect();
        let expected =
            [Some(Fault::DropResponse), Some(Fault::DropResponse), Some(Fault::Hold), None];
        assert_eq!(struck, expected);
        assert_eq!(faults.strikes(), 3);
    }

    #[tokio::test]
    async fn a_release_frees_what_was_counted_before_it() {
        let faults = Faults::new();
        faults.inject(ApiKey::Produce, Fault::Hold, 1);
        let (_, held) = faults.strike(ApiKey::Produce).unzip();
        assert_eq!(faults.strikes(), 1);
        faults.release();
        HeldRequest::released(held).await;
    }
}
