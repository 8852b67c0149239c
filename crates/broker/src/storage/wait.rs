//! The futures that wait for a flush or for data: plain wakers, on any executor, cheap to drop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use streamledger_broker_core::log::ReadLimit;
use streamledger_protocol::Offset;

use super::config::FlushPolicy;
use super::errors::StorageOffline;
use super::partition::{LogState, Partition};
use super::waiters::{OffsetWaiters, WaiterKey};

/// What is waited for.
#[derive(Debug, Clone, Copy)]
enum Goal {
    Flushed,
    Visible(ReadLimit),
}

/// Waits until a partition's log has reached more than an offset.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Reached {
    partition: Arc<Partition>,
    goal: Goal,
    above: Offset,
    key: Option<WaiterKey>,
}

impl Partition {
    /// Waits until the record at `offset` is on disk; at once unless the policy is
    /// `FlushPolicy::Commit`, or the topic has `flush.messages`.
    ///
    /// # Errors
    /// (Of the future) the partition went offline: whether the record is on disk is not known.
    pub fn wait_flushed(self: &Arc<Self>, offset: Offset) -> Reached {
        let above = match (self.shared.flush, self.config().flush_messages) {
            (FlushPolicy::Commit, _) => offset,
            (FlushPolicy::Interval(_) | FlushPolicy::Os, None) => Offset::NONE,
            // As many as that, this one not counted, may be lost.
            (FlushPolicy::Interval(_) | FlushPolicy::Os, Some(limit)) => {
                let left = i64::try_from(limit).unwrap_or(i64::MAX) - 1;
                Offset(offset.0.saturating_sub(left)).max(Offset::NONE)
            }
        };
        Reached { partition: Arc::clone(self), goal: Goal::Flushed, above, key: None }
    }

    /// Waits until a reader can see the record at `from`.
    ///
    /// # Errors
    /// (Of the future) the partition went offline.
    pub fn wait_for_data(self: &Arc<Self>, from: Offset, limit: ReadLimit) -> Reached {
        let goal = Goal::Visible(limit);
        Reached { partition: Arc::clone(self), goal, above: from, key: None }
    }

    fn check_not_gone(&self) -> Result<(), StorageOffline> {
        self.check_alive()?;
        match &*self.state.lock() {
            LogState::Gone(offline) => Err(offline.clone()),
            LogState::Cold(_) | LogState::Open(_) => Ok(()),
        }
    }
}

impl Reached {
    fn reached(&self) -> bool {
        let offset = match self.goal {
            Goal::Flushed => self.partition.flushed_offset(),
            Goal::Visible(limit) => self.partition.limit_offset(limit),
        };
        offset > self.above
    }

    fn waiters(&self) -> &OffsetWaiters {
        match self.goal {
            Goal::Flushed => &self.partition.flush_waiters,
            Goal::Visible(limit) => self.partition.data_waiters(limit),
        }
    }
}

impl Future for Reached {
    type Output = Result<(), StorageOffline>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.reached() {
            return Poll::Ready(Ok(()));
        }
        let key = self.waiters().register(self.key, self.above, context.waker());
        self.key = Some(key);
        // Again, after having registered: what came in between woke nobody.
        if self.reached() {
            return Poll::Ready(Ok(()));
        }
        match self.partition.check_not_gone() {
            Ok(()) => Poll::Pending,
            Err(offline) => Poll::Ready(Err(offline)),
        }
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.waiters().forget(key);
        }
    }
}
