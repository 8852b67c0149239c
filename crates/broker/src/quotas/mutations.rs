//! The quota of changes to topics: one request's share of it (KIP-599).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_broker_core::controller::Refusal;
use streamledger_broker_core::quota::TokenBucket;
use streamledger_protocol::ErrorCode;

use crate::node::Node;

/// What a request may change, and for how long its client is to wait.
#[derive(Debug)]
pub(crate) struct MutationQuota {
    permits: Option<Permits>,
    /// Whether the client knows THROTTLING_QUOTA_EXCEEDED.
    is_strict: bool,
    wait: Duration,
}

/// Where permits are taken from.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    pub(super) bound: f64,
    pub(super) bucket: Arc<Mutex<TokenBucket>>,
}

impl MutationQuota {
    /// Of the broker itself, which has no quota.
    pub(crate) const fn none() -> Self {
        Self { permits: None, is_strict: false, wait: Duration::ZERO }
    }

    pub(super) const fn new(permits: Option<Permits>, is_strict: bool) -> Self {
        Self { permits, is_strict, wait: Duration::ZERO }
    }

    /// Takes a permit for each partition that is made or deleted, before it is.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED: nothing is to be changed.
    pub(crate) fn take(&mut self, node: &Node, partitions: usize) -> Result<(), Refusal> {
        let Some(Permits { bound, bucket }) = &self.permits else { return Ok(()) };
        let (now, window) = (node.store.now().monotonic, node.settings.mutation_window);
        let permits = partitions as f64;
        let wait_ms = match self.is_strict {
            false => bucket.lock().take(now, window, permits, *bound),
            true => match bucket.lock().take_if_left(now, window, permits, *bound) {
                Ok(()) => return Ok(()),
                Err(wait_ms) => wait_ms,
            },
        };
        self.wait = self.wait.max(Duration::from_millis(wait_ms));
        match self.is_strict {
            false => Ok(()),
            true => {
                let message = "The throttling quota has been exceeded.";
                Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, message))
            }
        }
    }

    /// For how long the client is to send nothing.
    pub(crate) const fn wait(&self) -> Duration {
        self.wait
    }
}
